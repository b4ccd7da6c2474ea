import math
import shutil
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from ltbench.config.dataset import Auxiliary, DatasetSpec
from ltbench.core.seeding import derive_seed
from ltbench.data.datamodule import DataModule
from ltbench.data.errors import DataError
from ltbench.data.sources import measure_fingerprint
from ltbench.methods import METHODS
from ltbench.methods.contract import Stage
from ltbench.methods.plugins import find_method
from ltbench.methods.rebalancing.softmax import Softmax
from ltbench.runs.record import BFloat16, Passes
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import read_record, record_path
from ltbench.testing.jobs import Bench, Case, train
from ltbench.testing.ranks import ranks
from ltbench.training import fit
from ltbench.training.build import build_method
from ltbench.training.checkpoint import load_checkpoint
from ltbench.training.divergence import DivergedError
from ltbench.training.heartbeat import Heartbeat, StoppedError
from tests.support.errors import raises
from tests.support.listed_images import picture, resized_recipe
from tests.support.own_images import SPEC, rows, write_own
from tests.support.training_jobs import DIGITS, job, options, recipe, weights


def recipe_values(stage, **changes):
    return getattr(recipe(), stage).model_dump() | changes


@pytest.fixture
def run_dir(tmp_path):
    return RunDirectory(tmp_path / "runs")


def test_training_is_a_plain_loop_bit_for_bit(run_dir):
    one = job(precision="fp32", norm="batch", channels_last=True)
    fit.run_job(one, run_dir, options())

    data = DataModule.of_job(one, None)
    method = build_method(one, data.counts)
    network = method.network.to(memory_format=torch.channels_last).train()
    settings = one.stage_recipe
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, weight_decay=settings.optimizer.weight_decay
    )
    for epoch, lr in enumerate((0.1, 0.1, 0.1 * settings.schedule.gamma)):
        optimizer.param_groups[0]["lr"] = lr
        for batch in data.epoch(epoch):
            optimizer.zero_grad()
            F.cross_entropy(network(batch.images), batch.labels).backward()
            optimizer.step()
    trained = load_file(run_dir.job(one.key).weights)
    for name, value in network.state_dict().items():
        assert torch.equal(trained[f"network.{name}"], value), name


PLUGIN = """
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Method


class Mine(Method):
    title = "Mine"
    paper = None
    category = "baseline"

    def training_loss(self, batch):
        return 1 * cross_entropy(self.network(batch.images), batch.labels)


METHODS = {"mine": Mine}
"""


def test_a_plugin_edited_after_the_plan_is_rejected(run_dir, tmp_path):
    (tmp_path / "before").mkdir()
    planned, edited = tmp_path / "before" / "mine.py", tmp_path / "mine.py"
    planned.write_text(PLUGIN)
    edited.write_text(PLUGIN.replace("1 *", "0 *"))
    _, source = find_method("mine", [planned])
    one = job().model_copy(update={"method": "mine", "plugin_hash": source})
    with pytest.raises(fit.CodeError):
        fit.run_job(one, run_dir, options(plugins=(str(edited),)))
    assert not run_dir.job(one.key).weights.exists()
    record = fit.run_job(one, run_dir, options(plugins=(str(planned),)))
    assert record.job.plugin_hash == source
    assert one.key != job().model_copy(update={"method": "mine"}).key


def test_another_version_than_planned_is_rejected(run_dir):
    one = job()
    one = one.model_copy(update={"version": one.version + 1})
    with pytest.raises(fit.CodeError):
        fit.run_job(one, run_dir, options())
    assert not run_dir.job(one.key).weights.exists()


def test_a_resumed_job_ends_with_the_same_record(run_dir, tmp_path, monkeypatch):
    one = job(precision="fp32", norm="batch", epochs=4)
    whole = fit.run_job(one, run_dir, options())

    other = RunDirectory(tmp_path / "broken")
    save = fit.save_checkpoint

    def save_then_die(folder, epoch, *state):
        save(folder, epoch, *state)
        if epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit, "save_checkpoint", save_then_die)
    with pytest.raises((KeyboardInterrupt, SystemExit, InterruptedError)):
        fit.run_job(one, other, options())
    assert not record_path(other.records, one).exists()
    state = load_checkpoint(other.job(one.key).checkpoints, torch.device("cpu"))
    assert len(state["history"]["losses"]) == 2
    monkeypatch.setattr(fit, "save_checkpoint", save)
    resumed = fit.run_job(one, other, options())
    assert resumed.cost.attempts == 2
    assert resumed.numbers() == whole.numbers()
    assert weights(other, one.key) == weights(run_dir, one.key)


class StopInTheTest(Heartbeat):
    """Requests a stop after all training chunks and some test batches."""

    def __init__(self, calls):
        self.remaining = calls

    def stop_asked(self):
        self.remaining -= 1
        return self.remaining < 0


@pytest.mark.parametrize(
    ("method", "calls", "hparams"),
    [("softmax", 3 + 1, {}), ("softmax", 3 + 2, {}), ("sade", 3 + 3 + 5, {"test_epochs": 1})],
    ids=["on training images", "plain", "adapting"],
)
def test_a_job_stopped_in_its_test_repeats_only_the_test(
    method, calls, hparams, run_dir, tmp_path, monkeypatch
):
    one = job(method, hparams=hparams)
    whole = fit.run_job(one, run_dir, options())
    other = RunDirectory(tmp_path / "broken")
    with pytest.raises(StoppedError):
        fit.run_job(one, other, options(checkpoint_every=1e9), StopInTheTest(calls))
    state = load_checkpoint(other.job(one.key).checkpoints, torch.device("cpu"))
    assert len(state["history"]["losses"]) == 3

    def again(self, chunk):
        raise AssertionError("trained again")

    monkeypatch.setattr(fit.TrainingModule, "training_step", again)
    assert fit.run_job(one, other, options()).numbers() == whole.numbers()


class Counted(Heartbeat):
    """Counts beats; requests a stop from one on."""

    def __init__(self, last=math.inf):
        self.beats, self.last = 0, last

    def beat(self):
        self.beats += 1

    def stop_asked(self):
        return self.beats > self.last


def test_a_method_beats_in_a_long_hook_and_is_stopped_in_it(tmp_path, monkeypatch):
    bench = Bench(tmp_path)
    *starts, one = Case("ncm").jobs()
    bench.train(starts)
    plain, longer, stopped = Counted(), Counted(), Counted(20)
    fit.run_job(one, bench.run_dir, options(), plain)
    finalize, methods = METHODS["ncm"].finalize_statistics, []

    def slow(self):
        methods.append(self)
        for _ in range(50):
            self.beat()
        finalize(self)

    monkeypatch.setattr(METHODS["ncm"], "finalize_statistics", slow)
    fit.run_job(one, bench.run_dir, options(), longer)
    assert longer.beats == plain.beats + 50
    methods[0].beat()
    assert longer.beats == plain.beats + 50  # copies of a method hold no heart
    with pytest.raises(StoppedError):
        fit.run_job(one, bench.run_dir, options(), stopped)
    assert stopped.beats == 21


class NoTraining(Exception):
    pass


def again(self, chunk):
    raise NoTraining


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A dataset of image files; a function that plans a job."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    write_own(tmp_path / "data" / "own", rows())
    normalization = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    facts = {"title": "Own", "classes": 3, "image_size": 8, "imbalance_type": "natural"}
    spec = DatasetSpec(**SPEC, **facts, normalization=normalization)
    settings = resized_recipe(precision="fp32", epochs=2, eval_every_n_epochs=1)

    def make():
        fingerprint = measure_fingerprint(spec, tmp_path / "data")
        found = spec.model_copy(update={"fingerprint": fingerprint})
        return job(**settings).model_copy(update={"dataset": found})

    return make


def test_a_job_with_a_failed_test_repeats_only_the_test(own, run_dir, tmp_path, monkeypatch):
    """Damage a test image after training; repair it, then restore it."""
    where, one = options(data_root=str(tmp_path / "data")), own()
    whole = fit.run_job(one, RunDirectory(tmp_path / "whole"), where)
    path = tmp_path / "data/own/images/bee/test 0.jpg"
    sound, on_training_end = path.read_bytes(), fit._ProgressWriter.on_training_end

    def damage(progress, module):
        on_training_end(progress, module)
        path.write_bytes(b"<html>")

    monkeypatch.setattr(fit._ProgressWriter, "on_training_end", damage)
    with raises(DataError, "bad-images", "test 0.jpg"):
        fit.run_job(one, run_dir, where)
    monkeypatch.setattr(fit._ProgressWriter, "on_training_end", on_training_end)
    monkeypatch.setattr(fit.TrainingModule, "training_step", again)

    path.write_bytes(picture(tmp_path / "images/cow/another.jpg"))
    repaired = own()
    assert repaired.key != one.key
    record = fit.run_job(repaired, run_dir, where)
    assert record.training.losses == whole.training.losses
    assert record.training.curve == ()  # of the images before
    assert record.weights == whole.weights
    path.write_bytes(sound)
    assert own().key == one.key
    assert fit.run_job(one, run_dir, where).numbers() == whole.numbers()


def test_another_training_image_is_another_training(own, run_dir, tmp_path, monkeypatch):
    where = options(data_root=str(tmp_path / "data"))
    monkeypatch.setattr(fit.TrainingModule, "test_step", again)
    with pytest.raises(NoTraining):
        fit.run_job(own(), run_dir, where)
    path = tmp_path / "data/own/images/bee/train 0.jpg"
    path.write_bytes(picture(tmp_path / "images/cow/another.jpg"))
    monkeypatch.setattr(fit.TrainingModule, "training_step", again)
    with pytest.raises(NoTraining):
        fit.run_job(own(), run_dir, where)


def test_checkpoints_and_progress_may_fail_to_be_written(run_dir, monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fit, "write_json", full)
    monkeypatch.setattr(fit, "save_checkpoint", full)
    monkeypatch.setattr(fit, "_count_attempt", lambda folder: 1)
    fit.run_job(job(), run_dir, options())
    assert "a checkpoint could not be written: [Errno 28] No space left on device" in caplog.text


def test_a_device_is_that_of_the_local_rank(monkeypatch):
    assert fit.local_device(options()) == torch.device("cpu")
    assert fit.local_device(options(device="gpu")) == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert fit.local_device(options()) == torch.device("cpu")
    assert fit.local_device(options(device="gpu")) == torch.device("cuda:3")


def test_the_memory_of_a_job_is_that_of_its_device(run_dir):
    cost = fit.run_job(job(epochs=1), run_dir, options()).cost
    assert cost.memory == "host"
    assert 100 < cost.peak_memory_mb < 100_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_memory_of_a_job_on_a_gpu_is_the_gpus(run_dir):
    torch.cuda.reset_peak_memory_stats()
    cost = fit.run_job(job(epochs=1, precision="fp32"), run_dir, options(device="gpu")).cost
    assert cost.memory == "gpu"
    assert cost.peak_memory_mb == pytest.approx(torch.cuda.max_memory_allocated() / 2**20, abs=0.1)


def test_the_record_on_disk_is_the_one_returned(run_dir):
    one = job()
    record = fit.run_job(one, run_dir, options())
    assert read_record(record_path(run_dir.records, one)) == record
    assert record.training.steps == 3 * (404 // one.recipe.batch_size)
    assert sum(record.test.totals) == 500
    assert not list(run_dir.job(one.key).checkpoints.glob("*.pt"))


def test_a_second_stage_starts_from_its_init_job(run_dir):
    first = job()
    second = job("crt", depends_on=[first.key])
    records = [fit.run_job(one, run_dir, options()) for one in (first, second)]
    parameters = [record.weights.parameters for record in records]
    assert parameters[0] == parameters[1]  # whether they train or not
    before, after = (load_file(run_dir.job(k).weights) for k in (first.key, second.key))
    for name in before:
        same = torch.equal(before[name], after[name])
        assert same == name.startswith("network.backbone"), name


def test_an_expert_predicts_its_own_classes_alone(run_dir):
    one = job(subset="few", batch_size=4)
    record = fit.run_job(one, run_dir, options())
    assert record.split.train_counts == (0,) * 7 + (11, 8, 6)
    assert record.test.totals == (50,) * 10
    assert not any(record.test.hits[:7])
    assert sum(record.test.hits) > 0
    state = load_file(run_dir.job(one.key).weights)
    assert state["network.classifier.weight"].shape == (3, 64)
    assert one.key != job(batch_size=4).key


def test_missing_init_weights_are_an_error(run_dir):
    with pytest.raises(FileNotFoundError, match="weights"):
        fit.run_job(job("crt", depends_on=["0" * 16]), run_dir, options())


def test_deferred_sampling_switches_in_its_epoch(run_dir, monkeypatch):
    samplers = []
    kind = METHODS["ldam_drw"]
    plain = kind.epoch_indices

    def noted(self, draw):
        streams = plain(self, draw)
        samplers.append((*streams,))
        return streams

    monkeypatch.setattr(kind, "epoch_indices", noted)
    fit.run_job(job("ldam_drw", hparams={"deferred": "drs"}, epochs=5), run_dir, options())
    assert samplers == [("instance",)] * 4 + [("class_balanced",)]


def test_random_numbers_of_a_method_differ_by_epoch_and_seed(run_dir, monkeypatch):
    drawn = []

    class Drawing(Softmax):
        def training_loss(self, batch):
            drawn.append((self.rng.uniform(batch.labels)[0].item(), torch.rand(()).item()))
            return super().training_loss(batch)

    monkeypatch.setitem(METHODS, "softmax", Drawing)
    for seed in (0, 1, 0):
        fit.run_job(job(seed=seed, batch_size=400, epochs=2), run_dir, options())
    assert drawn[4:] == drawn[:2]
    given, from_torch = zip(*drawn[:4], strict=True)
    assert len(set(given)) == len(set(from_torch)) == 4


def test_a_statistics_pass_comes_before_training_and_is_not_augmented(run_dir, monkeypatch):
    seen = []

    class Observing(Softmax):
        stages = (Stage("train", needs_statistics_pass=True),)

        def update_statistics(self, batch):
            seen.append(("observes", self.training, torch.is_grad_enabled(), len(batch)))

        def training_loss(self, batch):
            seen.append(("trains", self.training, torch.is_grad_enabled(), len(batch)))
            return super().training_loss(batch)

    monkeypatch.setitem(METHODS, "softmax", Observing)
    fit.run_job(job(batch_size=400, eval_batch_size=500, epochs=2), run_dir, options())
    assert seen == [("observes", False, False, 405), *[("trains", True, True, 400)] * 2]


def test_calibration_by_group_uses_the_longtailed_groups_on_the_balanced_split(run_dir):
    shots = DIGITS.model_copy(update={"shot_rule": "shots"})
    one = job(split="balanced", epochs=1).model_copy(update={"dataset": shots})
    record = fit.run_job(one, run_dir, options())
    assert set(record.split.train_counts) == {40}
    images = {g: sum(bins.counts) for g, bins in record.test.group_calibration.items()}
    assert images == {"many": 50, "medium": 250, "few": 200}


def test_a_diverged_loss_is_an_error(run_dir):
    one = job(
        stage1={"epochs": 3, "optimizer": {"lr": 1e30}, "schedule": {"kind": "constant"}},
    )
    with pytest.raises(DivergedError, match="loss of epoch"):
        fit.run_job(one, run_dir, options())
    assert not record_path(run_dir.records, one).exists()


@pytest.mark.parametrize(
    ("method", "lr", "message"),
    [("softmax", 1e8, "^the predictions of 405 training "), ("ssp", 1e17, "^the weights network")],
)
def test_divergence_without_a_diverged_loss_is_an_error(run_dir, method, lr, message):
    """Predictions, or weights of a stage without test, are not finite."""
    stage = {"epochs": 1, "optimizer": {"lr": lr}, "schedule": {"kind": "constant"}}
    changes = {"norm": "batch", "precision": "fp32", "stage1": stage, "batch_size": 200}
    one = job(method, epochs=1, **changes)
    with pytest.raises(DivergedError, match=message):
        fit.run_job(one, run_dir, options())
    assert not record_path(run_dir.records, one).exists()


def test_equal_seeds_give_equal_initialization_across_methods():
    counts = torch.full((10,), 40)
    methods = ("softmax", "balanced_softmax")
    ones = [build_method(job(m), counts).network.state_dict() for m in methods]
    assert all(torch.equal(ones[0][name], ones[1][name]) for name in ones[0])
    assert derive_seed(0, "init", "train") != derive_seed(1, "init", "train")


def test_cached_features_are_those_of_unaugmented_images(run_dir):
    first = job()
    fit.run_job(first, run_dir, options())
    cached, fixed = recipe_values("stage2", cached_features=True), {"update_bn": False}
    plain = job("crt", depends_on=[first.key], hparams=fixed, augment="none")
    quick = job("crt", depends_on=[first.key], hparams=fixed, stage2=cached)
    fit.run_job(plain, run_dir, options())
    fit.run_job(quick, run_dir, options())
    assert plain.key != quick.key
    states = [load_file(run_dir.job(one.key).weights) for one in (plain, quick)]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-9, atol=1e-12)


def test_features_of_a_trainable_backbone_are_not_cached(run_dir):
    plain, cached = job(), job(stage1=recipe_values("stage1", cached_features=True))
    losses = [fit.run_job(one, run_dir, options()).training.losses for one in (plain, cached)]
    assert losses[0] == losses[1]


def test_features_of_experts_are_cached(run_dir):
    first = job("ride", hparams={"experts": 2}, epochs=1)
    fit.run_job(first, run_dir, options())
    cached = recipe_values("stage2", cached_features=True)
    settings = {"depends_on": [first.key], "hparams": {"experts": 2}}
    plain = fit.run_job(job("ride_router", augment="none", **settings), run_dir, options())
    quick = fit.run_job(job("ride_router", stage2=cached, **settings), run_dir, options())
    assert quick.training.losses == pytest.approx(plain.training.losses, rel=1e-9)


def test_features_are_not_cached_if_batchnorm_is_updated(run_dir, caplog):
    first = job(norm="batch")
    fit.run_job(first, run_dir, options())
    cached = recipe_values("stage2", cached_features=True)
    plain = job("crt", depends_on=[first.key], norm="batch")
    other = job("crt", depends_on=[first.key], norm="batch", stage2=cached)
    losses = [fit.run_job(one, run_dir, options()).training.losses for one in (plain, other)]
    assert losses[0] == losses[1]
    own = [r.levelname for r in caplog.records if r.name == "ltbench.training.module"]
    assert own == ["WARNING"]


def test_tests_between_epochs_change_nothing(run_dir, tmp_path):
    plain, watched = job(norm="batch"), job(norm="batch", eval_every_n_epochs=2, epochs=3)
    assert plain.key == watched.key
    other = RunDirectory(tmp_path / "watched")
    records = fit.run_job(plain, run_dir, options()), fit.run_job(watched, other, options())
    assert records[0].numbers() == records[1].numbers()
    assert [point.epoch for point in records[1].training.curve] == [2]
    assert max(records[1].training.curve[0].hits) > 0
    assert weights(run_dir, plain.key) == weights(other, plain.key)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet8", "fastnet"])
def test_a_compiled_network_learns_the_same(run_dir, network):
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler")
    plain, compiled = (
        job(epochs=1, network=network, **changes) for changes in ({}, {"compile": "on"})
    )
    records = [fit.run_job(one, run_dir, options()) for one in (plain, compiled)]
    assert plain.key != compiled.key
    assert records[1].training.losses == pytest.approx(records[0].training.losses, rel=1e-9)
    names = [set(load_file(run_dir.job(one.key).weights)) for one in (plain, compiled)]
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_fastnet_learns_the_same_on_several_ranks(run_dir, tmp_path, world):
    softmax = job(epochs=1, network="fastnet")
    alone = fit.run_job(softmax, run_dir, options())
    record, _ = ranks(world)(train, softmax, tmp_path)[0]
    assert record.training.losses == pytest.approx(alone.training.losses, rel=1e-9)
    assert record.test.correct == alone.test.correct


def test_folded_batchnorm_tests_the_same_network(run_dir):
    plain, folded = job(norm="batch"), job(norm="batch", fold_batchnorm=True)
    assert plain.key != folded.key
    records = [fit.run_job(one, run_dir, options()) for one in (plain, folded)]
    assert records[0].test.hits == records[1].test.hits
    assert weights(run_dir, plain.key) == weights(run_dir, folded.key)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_fp32_is_ieee_unless_the_recipe_says_tf32(run_dir, precision):
    fit.run_job(job(precision=precision, epochs=1), run_dir, options())
    meaning = {"fp32": "ieee", "tf32": "tf32"}[precision]
    assert torch.backends.cudnn.conv.fp32_precision == meaning
    assert torch.backends.cuda.matmul.fp32_precision == meaning


def test_tuning_uses_held_out_images(run_dir):
    held_out = {"auxiliary": Auxiliary(source="train_holdout", per_class=5)}
    dataset = DIGITS.model_copy(update=held_out)
    first = job().model_copy(update={"dataset": dataset})
    second = job("uno_ic", depends_on=[first.key]).model_copy(update={"dataset": dataset})
    start, chosen = (fit.run_job(one, run_dir, options()) for one in (first, second))

    assert start.split == chosen.split
    assert chosen.split.train_counts == (115, 81, 56, 39, 26, 17, 11, 6, 4, 3)
    assert chosen.split.auxiliary_counts == (5,) * 8 + (4, 3)
    assert chosen.training is None
    assert read_record(record_path(run_dir.records, second)) == chosen

    before, after = (load_file(run_dir.job(one.key).weights) for one in (first, second))
    assert all(torch.equal(after[name], value) for name, value in before.items())
    strength, temperature = after["strength"], after["temperature"]
    data = DataModule.of_job(second, None)
    method = build_method(second, data.counts).eval()
    method.load_state_dict(before | {"strength": strength, "temperature": temperature})
    with torch.inference_mode():
        (batch,) = data.auxiliary_batches()
        nll = {
            scale: float(F.cross_entropy(method.predict(batch.images) / scale, batch.labels))
            for scale in (0.9, 1.0, 1.1)
        }
    assert 0 <= strength <= 2
    assert min(nll, key=nll.get) == 1.0


def test_a_job_with_tuning_needs_auxiliary_images(run_dir):
    first = job(epochs=1)
    fit.run_job(first, run_dir, options())
    with raises(DataError, "missing-data"):
        fit.run_job(job("uno_ic", depends_on=[first.key]), run_dir, options())


def test_a_record_has_parameters_passes_and_cost(run_dir):
    plain = fit.run_job(job(epochs=1), run_dir, options())
    classifier = fit.run_job(job("crt", epochs=1, depends_on=(plain.key,)), run_dir, options())
    means = fit.run_job(job("ncm", depends_on=(plain.key,)), run_dir, options())
    weights = plain.weights
    assert weights.trained == weights.read == weights.parameters
    head = 10 * 64 + 10
    assert classifier.weights.trained == head
    assert classifier.weights.read == classifier.weights.parameters
    assert means.weights.trained == 0
    assert means.weights.read == means.weights.parameters == weights.parameters - head
    assert means.training is None
    assert plain.training.passes == Passes(gradient=1.0, forward=0.0, teachers=0)
    for record in (plain, classifier, means):
        assert 0 < record.cost.cpu_seconds < 600
        assert record.environment.processor == record.environment.hardware
        assert record.environment.bf16 in get_args(BFloat16)
        assert record.environment.gpu_memory_mb is None
        assert sum(sum(row.values()) for row in record.test.confusion) == 500
        assert len(record.test.auroc_pairs) == len(record.test.average_precision) == 10


def test_cpu_seconds_of_an_interrupted_attempt_count(run_dir, tmp_path):
    other = RunDirectory(tmp_path / "broken")
    with pytest.raises(StoppedError):
        fit.run_job(job(), other, options(), StopInTheTest(3 + 1))
    state = load_checkpoint(other.job(job().key).checkpoints, torch.device("cpu"))
    spent = state["history"]["cpu_seconds"]
    assert spent > 0
    assert fit.run_job(job(), other, options()).cost.cpu_seconds > spent
