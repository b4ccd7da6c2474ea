"""What every method promises, each a check of a method's stages on a bench that trains them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from ltbench.config.models import Job
from ltbench.core.batch import Batch
from ltbench.core.groups import subset_classes
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import total_loss
from ltbench.data.evaluation_data import part_of_dataset
from ltbench.methods.contract import Category, Method, Progress, Teacher, TrainedTeacher
from ltbench.networks import NetworkSpec
from ltbench.runs.record import EvaluationResult, Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import read_record, record_path
from ltbench.testing.jobs import (
    BATCH,
    DATASET,
    EPOCHS,
    Bench,
    Case,
    largest_difference,
    train,
    train_in_turn,
    train_interrupted,
    train_stopped,
)
from ltbench.testing.ranks import ranks
from ltbench.training.fit import build_method
from ltbench.training.inference import evaluate, restore

RTOL = 1e-9
"""Relative difference, in float64, that the order of a sum may make."""
COUPLED = 1e-3
"""Relative difference that images of a batch make which affect each other's loss."""
SINGLES = ((5000, 40, 1, 1), (1, 1, 1, 1))
"""Training images a class, without a second image of some classes or of any."""
CPU = torch.device("cpu")
BOUND = "bound what is divided by, and the arguments of logarithms and roots"


Run = Callable[[Bench, Case, int], str]
"""Measures a stage; returns a sentence, raises FailedError, or whatever the method raises."""
Excuse = Callable[[type[Method], int], str | None]
"""Returns why a check is not applicable to a stage of a method; None where it is."""


class FailedError(AssertionError):
    """A promise that a method does not keep: what was measured, and what to do."""


def require(holds: bool, sentence: str) -> None:
    """Refuse a method for which something does not hold.

    Raises:
        FailedError: with the sentence.
    """
    if not holds:
        raise FailedError(sentence)


@dataclass(frozen=True)
class Check:
    """One promise of every method.

    Attributes:
        name: after `--check`.
        run: of one stage.
        each_stage: whether it is run for each stage, or once for all of them.
        excuse: of one stage.
    """

    name: str
    run: Run
    each_stage: bool
    excuse: Excuse

    def stages(self, method: type[Method]) -> range:
        """Return the numbers of the stages that it is run for."""
        last = len(method.stages)
        return range(0 if self.each_stage else last - 1, last)


CHECKS: dict[str, Check] = {}
"""The checks by name, in the order in which they are run."""


def _always(_method: type[Method], _stage: int) -> None:
    """Excuse no method."""


def _check(*, each_stage: bool = True, excuse: Excuse = _always) -> Callable[[Run], Run]:
    """Return a decorator that adds a function to the checks under its name."""

    def add(run: Run) -> Run:
        CHECKS[run.__name__] = Check(run.__name__, run, each_stage, excuse)
        return run

    return add


def _untested(method: type[Method], stage: int) -> str | None:
    return None if method.stages[stage].is_evaluated else "the stage predicts no classes"


def _first(_: type[Method], stage: int) -> str | None:
    return None if stage else "no stage goes before it"


def _unreduced(method: type[Method], _: int) -> str | None:
    return None if method.reduces_to else "the method declares no reduces_to"


@_check(each_stage=False)
def declarations(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check that a method says where it comes from, and what its hyper-parameters mean."""
    method, fields = case.method, case.method.HParams.model_fields
    faults = [] if method.title else ["an empty title"]
    if method.category not in get_args(Category):
        faults.append(f"category {method.category!r}, which is none of {get_args(Category)}")
    if method.paper is None and method.category != "baseline":
        faults.append("no paper: give the source, Paper(title, authors, venue, year)")
    named = [method.init_from, method.reduces_to, *(teacher.method for teacher in method.teachers)]
    faults += [f"no method {name!r}" for name in named if name and name not in case.registry]
    faults += [f"{name} has no description" for name, f in fields.items() if not f.description]
    faults += [f"{name} has no default" for name, f in fields.items() if f.is_required()]
    require(not faults, "; ".join(faults))
    return f"title, paper, category and {len(fields)} hyper-parameters are declared"


@_check()
def training(bench: Bench, case: Case, stage: int) -> str:
    """Check that a stage trains to a valid record: finite losses and weights, all steps counted."""
    jobs = case.jobs(stage)
    record, job = bench.train(jobs), jobs[-1]
    stored = read_record(record_path(bench.run_dir.records, job))
    require(stored == record, "the record that was read is not the one that was written")
    require(record.split.train_counts[-1] == 1, "the last class does not have one image")
    require(
        (record.test is not None) == case.method.stages[stage].is_evaluated,
        "a stage has a test if and only if it says is_evaluated",
    )
    _require_finite(bench.state(job))
    if not case.method.stages[stage].is_trained:
        require(record.training is None, "a stage that is not trained has losses")
        return "the record is valid; nothing is trained"
    steps = EPOCHS * (sum(record.split.train_counts) // BATCH)
    if record.training is None or record.training.steps != steps:
        raise FailedError(f"not all of {steps} steps are in the record")
    losses = record.training.losses
    require(
        len(losses) == EPOCHS and all(map(math.isfinite, losses)),
        f"the losses of {EPOCHS} epochs are {losses}: all must be finite",
    )
    return (
        f"{steps} steps, mean loss {losses[0]:.3g} in the first epoch, {losses[-1]:.3g} in the last"
    )


@_check()
def interruption(bench: Bench, case: Case, stage: int) -> str:
    """Check that an interrupted job ends bit for bit like an unbroken one.

    It is stopped after its first epoch, and two steps into its second.
    """
    trained = case.method.stages[stage].is_trained
    root = bench.folder()
    job = bench.lend_starts(case.jobs(stage), root)
    epochs = train_interrupted(job, root, bench.options)
    require(epochs == int(trained), f"the interrupted job has trained {epochs} epochs")
    if trained:
        train_stopped(job, root, 2, bench.options)
    record, hashes = train(job, root, bench.options)
    require(len(hashes) == (EPOCHS - 1 if trained else 0), "an epoch was trained twice")
    require(record.cost.attempts == 2 + trained, f"{record.cost.attempts} attempts are counted")
    advice = "keep what training changes in parameters or in buffers, which checkpoints have"
    gap, name = largest_difference(Bench(root).state(job), bench.state(job))
    same = Bench(root).weights(job) == bench.weights(job)
    require(same, f"{name} differs by {gap:.1e} from that of an unbroken job: {advice}")
    require(
        record.numbers() == bench.records[job.key].numbers(),
        f"weights are those of an unbroken job, losses or test are not: {advice}",
    )
    return f"equal bit for bit after {record.cost.attempts} attempts"


@_check()
def two_ranks(bench: Bench, case: Case, stage: int) -> str:
    """Check that two processes compute what one does.

    Where `batch_dependence` is "per_rank", one process that goes through their shares in turn.
    """
    coupled = case.method.batch_dependence == "per_rank" and case.method.stages[stage].is_trained
    return (equals_shares_in_turn if coupled else equals_one_process)(bench, case, stage)


def equals_one_process(
    bench: Bench, case: Case, stage: int, world: int = 2, batch: int = BATCH
) -> str:
    """Check that ranks end where one process does, and return the largest difference.

    Args:
        bench: that trains.
        case: the method.
        stage: number of the stage.
        world: number of ranks.
        batch: images of the global batch.
    """
    root = bench.folder()
    job = bench.lend_starts(case.jobs(stage, batch_size=batch), root)
    alone = bench.records[job.key]
    record = _train_on_ranks(bench, case, stage, world, root, job)
    advice = "a mean is core.distributed.global_mean, a random number self.rng, a sum all_sum"
    require(record.cost.devices == world, f"{record.cost.devices} devices are in the record")
    for loss, expected in zip(_losses(record), _losses(alone), strict=True):
        require(
            math.isclose(loss, expected, rel_tol=RTOL, abs_tol=0),
            f"{world} ranks have loss {loss:.6g} where one process has {expected:.6g}: {advice}",
        )
    gap, name = largest_difference(Bench(root).state(job), bench.state(job))
    require(gap <= RTOL, f"{name} differs by {gap:.1e} between {world} ranks and one: {advice}")
    for field in ("hits", "totals", "correct"):
        ours, theirs = getattr(record.test, field, None), getattr(alone.test, field, None)
        require(
            ours == theirs,
            f"{world} ranks that share the test have {field} {ours}, one process has {theirs}: "
            "a prediction must depend on its image alone",
        )
    require(record.shifted == alone.shifted, f"{world} ranks have another test under label shift")
    return f"the largest relative difference between {world} ranks and one is {gap:.1e}"


def equals_shares_in_turn(bench: Bench, case: Case, stage: int, world: int = 2) -> str:
    """Check that ranks end where one process does that goes through their shares in turn.

    The network has BatchNorm, of which each rank sees its share. Arguments as above.
    """
    root = bench.folder()
    job = bench.lend_starts(case.jobs(stage, norm="batch"), root)
    _train_on_ranks(bench, case, stage, world, root, job)
    in_turn = train_in_turn(job, RunDirectory(root), world, bench.options)
    gap, name = largest_difference(Bench(root).state(job), in_turn)
    require(
        gap <= RTOL,
        f"{name} differs by {gap:.1e} between {world} ranks and their shares in turn: the loss of "
        'an image may depend on those of its own rank alone where batch_dependence is "per_rank"',
    )
    whole, _ = largest_difference(bench.state(job), in_turn)
    require(whole > COUPLED, 'shares make no difference: batch_dependence "none" is enough')
    return f"the largest relative difference between {world} ranks and shares in turn is {gap:.1e}"


def _train_on_ranks(
    bench: Bench, case: Case, stage: int, world: int, root: Path, job: Job
) -> Record:
    """Return the record of ranks, which must be alike on all after every epoch."""
    answers = ranks(world)(train, job, root, bench.options)
    record: Record = answers[0][0]
    hashes: list[str] = answers[0][1]
    advice = "all buffers and random numbers must be the same on all ranks"
    for other, same_hashes in answers:
        require(other.numbers() == record.numbers(), f"ranks have different records: {advice}")
        require(same_hashes == hashes, f"ranks have different states after an epoch: {advice}")
    trained = case.method.stages[stage].is_trained
    require(len(hashes) == (EPOCHS if trained else 0), f"{len(hashes)} epochs were trained")
    return record


@_check(excuse=_untested)
def evaluation(bench: Bench, case: Case, stage: int) -> str:
    """Check that a test counts each image once, however large the batch is that it is in."""
    jobs = case.jobs(stage)
    record, images = bench.train(jobs), part_of_dataset(DATASET, "test", jobs[-1].split)
    count = len(images.labels)
    counted = sum(_test_of(record).totals)
    require(counted == count, f"a test of {count} images counts {counted}")
    method = restore(record, bench.weights_path(jobs[-1]), bench.options.plugins)
    hits = {}
    for size in (count, 7, 1):
        batched = record.job.recipe.model_copy(update={"eval_batch_size": size})
        job = record.job.model_copy(update={"recipe": batched})
        again = record.model_copy(update={"job": job})
        found = evaluate(method, again, images, CPU)
        hits[size] = (sum(found.hits), found.correct)
    sizes = ", ".join(f"{right} of {count} right by {size}" for size, (right, _) in hits.items())
    require(
        len(set(hits.values())) == 1,
        f"predictions change with the size of a batch ({sizes}): predict must treat each image "
        "as if it were alone",
    )
    return f"{counted} images counted; {sizes}"


@_check(excuse=_untested)
def saved_weights(bench: Bench, case: Case, stage: int) -> str:
    """Check that the saved weights alone give the predictions."""
    jobs = case.jobs(stage)
    record, job = bench.train(jobs), jobs[-1]
    method = restore(record, bench.weights_path(job), bench.options.plugins)
    found = evaluate(method, record, part_of_dataset(DATASET, "test", job.split), CPU)
    expected = _test_of(record)
    require(
        found == expected,
        f"restored weights get {sum(found.hits)} of {sum(found.totals)} right where the job had "
        f"{sum(expected.hits)}, or with other confidence: keep what predict needs in parameters "
        "or persistent buffers",
    )
    return f"{sum(found.hits)} of {sum(found.totals)} right, as in the job"


@_check(excuse=_first)
def stages(bench: Bench, case: Case, stage: int) -> str:
    """Check that a stage takes over the whole state of the one before."""
    jobs = case.jobs(stage - 1)
    record = bench.train(jobs)
    # Moved, as what training leaves where it was would look as if it were taken over.
    before = {name: _moved(value) for name, value in bench.state(jobs[-1]).items()}
    counts = torch.tensor(record.split.train_counts)
    method = build_method(case.jobs(stage)[-1], counts, bench.options.plugins).double()
    method.init_from_weights(before)
    state = method.state_dict()
    lost = [n for n in before if n not in state or not state[n].equal(before[n])]
    require(
        not lost,
        f"{len(lost)} of {len(before)} tensors are lost: {', '.join(lost[:3])}: init_from_weights "
        "must take over all of a state with the same names and shapes; register buffers in "
        "__init__; begin anew in on_stage_start",
    )
    return f"all {len(before)} tensors are taken over"


def _moved(value: Tensor) -> Tensor:
    return value.logical_not() if value.dtype == torch.bool else value + 1


@_check()
def bf16(bench: Bench, case: Case, stage: int) -> str:
    """Check that a stage trains under bfloat16 autocast, and keeps its state in float32."""
    jobs = case.jobs(stage, norm="batch", precision="bf16", channels_last=True)
    record = bench.train(jobs)
    state = bench.state(jobs[-1])
    _require_finite(state)
    half = [name for name, value in state.items() if value.dtype == torch.bfloat16]
    require(not half, f"{', '.join(half)}: bfloat16 in the state; keep what is summed in float32")
    if record.test is not None:
        counted, expected = record.test.totals, _test_of(bench.train(case.jobs(stage))).totals
        require(counted == expected, f"{sum(counted)} test images, {sum(expected)} in float64")
    return f"{len(state)} tensors are finite, none is bfloat16"


@_check(each_stage=False)
def single_image_classes(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check that loss, gradients and predictions are finite where classes have one image."""
    for counts in SINGLES:
        _train_on_counts(case, torch.tensor(counts))
    return f"loss, gradients and logits are finite with {' and '.join(map(str, SINGLES))} images"


@_check(each_stage=False, excuse=_unreduced)
def equal_counts(bench: Bench, case: Case, stage: int) -> str:
    """Check that equal counts give the method of `reduces_to` bit for bit."""
    other = Case(str(case.method.reduces_to), plugin=case.plugin)
    ours, theirs = (each.jobs(stage, split="balanced") for each in (case, other))
    record, expected = bench.train(ours), bench.train(theirs)
    require(len(set(record.split.train_counts)) == 1, "the balanced split is not balanced")
    advice = (
        f"with equal counts do what {other.key} does, in the same order, or declare no reduces_to"
    )
    gap, name = largest_difference(bench.state(ours[-1]), bench.state(theirs[-1]))
    same = bench.weights(ours[-1]) == bench.weights(theirs[-1])
    require(same, f"{name} differs by {gap:.1e} from that of {other.key}: {advice}")
    require(record.test == expected.test, f"the test is not that of {other.key}: {advice}")
    if case.method.stages[stage].is_trained:
        require(
            record.training == expected.training,
            f"the losses are not those of {other.key}: {advice}",
        )
    return f"weights and test are those of {other.key}, bit for bit"


def _require_finite(state: Mapping[str, Tensor]) -> None:
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    require(not broken, f"{', '.join(broken)}: not finite: {BOUND}")


def _losses(record: Record) -> tuple[float, ...]:
    return () if record.training is None else record.training.losses


def _test_of(record: Record) -> EvaluationResult:
    if record.test is None:
        raise FailedError("the record has no test")
    return record.test


def _train_on_counts(case: Case, counts: Tensor) -> None:
    """Train two steps of each stage on random images of classes with so many training images.

    Raises:
        FailedError: naming the first number that is not finite.
    """
    torch.manual_seed(0)
    kind, classes = case.method, len(counts)

    def untrained(name: str, known: Sequence[int], **hparams: Any) -> Method:
        spec = NetworkSpec("resnet8", len(known), channels=1, norm="group")
        method = case.find(name)
        return method(spec, counts[list(known)], method.HParams(**hparams))

    def taught(teacher: Teacher) -> TrainedTeacher:
        known = subset_classes(teacher.subset, counts.tolist(), "rank_thirds")
        trained = untrained(teacher.method, known, **teacher.hparams)
        return TrainedTeacher(trained.state_dict(), torch.tensor(known))

    every = range(classes)
    state = untrained(kind.init_from, every).state_dict() if kind.init_from else None
    images, labels = torch.randn(classes, 1, 8, 8), torch.arange(classes)
    for stage in kind.stages:
        method = untrained(case.key, every, **case.hparams)
        if state is not None:
            method.init_from_weights(state)
        method.load_teachers([taught(teacher) for teacher in kind.teachers])
        method.stage = method.stage_of(stage.name)
        method.on_stage_start(stage)
        method.eval()
        with torch.inference_mode():
            if stage.needs_statistics_pass:
                method.update_statistics(Batch(images, labels, labels))
                method.finalize_statistics()
        where = f"in stage {stage.name} with {counts.tolist()} training images"
        for epoch in range(2 if stage.is_trained else 0):
            _take_step(method, epoch, where)
        with torch.inference_mode():
            if stage.tunes_on_validation == "end":
                method.eval().tune_on_validation([Batch(images, labels, labels)])
            if stage.is_evaluated:
                logits = method.eval().predict(images)
                require(logits.shape == (classes, classes), f"logits are {[*logits.shape]} {where}")
                require(bool(logits.isfinite().all()), f"logits are not finite {where}: {BOUND}")
        state = method.state_dict()


def _take_step(method: Method, epoch: int, where: str) -> None:
    """Compute loss and gradients in one of two epochs, the second deferred."""
    method.train().zero_grad()
    method.progress = Progress(epoch, 2, deferred=epoch == 1)
    method.rng = GlobalBatchRNG(make_generator(0, "method", epoch))
    method.on_epoch_start(method.progress)
    loss = total_loss(method.training_loss(_batch_of(method)))
    require(bool(loss.isfinite()), f"the loss is {loss:.3g} {where}: {BOUND}")
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    require(bool(gradients), f"no parameter has a gradient {where}")
    broken = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    require(not broken, f"gradients of {', '.join(broken[:3])} are not finite {where}: {BOUND}")


def _batch_of(method: Method) -> Batch | dict[str, Batch]:
    """Return what the method's stage trains on: its batch, views and samplers."""
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 2, 3])
    images = torch.randn(method.stage.views, len(labels), 1, 8, 8).squeeze(0)
    batch = Batch(images, labels, torch.arange(len(labels)) % int(method.counts.sum()))
    names = method.samplers()
    return batch if len(names) == 1 else dict.fromkeys(names, batch)
