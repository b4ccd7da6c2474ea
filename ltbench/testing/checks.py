"""Checks of a method's stages, on a bench that trains them."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from ltbench.config.job import Job
from ltbench.core.stepping import total_loss
from ltbench.data.evaluation_data import part_of_dataset
from ltbench.methods.contract import Category, Method
from ltbench.methods.step_input import example_draw, step_input
from ltbench.runs.record import EvaluationResult, Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import read_record, record_path
from ltbench.samplers import require_indices
from ltbench.testing.jobs import (
    BATCH,
    DATASET,
    Bench,
    Case,
    epochs_of,
    largest_difference,
    shares,
    train,
    train_in_turn,
    train_interrupted,
    train_stopped,
)
from ltbench.testing.ranks import ranks
from ltbench.testing.steps import (
    begin,
    begin_epoch,
    build,
    descend,
    evaluation_batch,
    finish,
    gradients,
    has_drawn,
    loss_of,
    mean_of_stage,
    mean_over_ranks,
    rng_states,
    start_stage,
    tensors,
    training_batch,
)
from ltbench.training.build import build_method
from ltbench.training.inference import evaluate_labeled, restore
from ltbench.training.metric_terms import FEW_IMAGES_ADVICE

RTOL = 1e-9
"""Relative difference, in float64, that the order of a sum may make."""
COUPLED = 1e-3
"""Relative difference that images of a batch make which affect each other's loss."""
SINGLES = ((5000, 40, 1, 1), (1, 1, 1, 1))
"""Training images a class, without a second image of some classes or of any."""
CPU = torch.device("cpu")
BOUND = "bound what is divided by, and the arguments of logarithms and roots"
SUPER = "call the method of the same name of super()"
GLOBAL = "a mean is core.distributed.global_mean, a random number self.rng, a sum all_sum"
SAVED = "keep what later steps, stages or predictions need in parameters or persistent buffers"

CheckFunction = Callable[[Bench, Case, int], str]
"""Measures a stage; returns a sentence, raises FailedError, or whatever the method raises."""
Excuse = Callable[[type[Method], int], str | None]
"""Returns why a check is not applicable to a stage of a method; None where it is."""


class FailedError(AssertionError):
    """A failed check: what was measured, and what to do."""


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
    run: CheckFunction
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


def _check(
    *, each_stage: bool = True, excuse: Excuse = _always
) -> Callable[[CheckFunction], CheckFunction]:
    """Return a decorator that registers a check under its name."""

    def add(run: CheckFunction) -> CheckFunction:
        CHECKS[run.__name__] = Check(run.__name__, run, each_stage, excuse)
        return run

    return add


def _no_metric_terms(method: type[Method], _: int) -> str | None:
    return None if method.metric_terms else "the method declares no metric_terms"


def _untested(method: type[Method], stage: int) -> str | None:
    return None if method.stages[stage].is_evaluated else "the stage predicts no classes"


def _untrained(method: type[Method], stage: int) -> str | None:
    return None if method.stages[stage].is_trained else "the stage is not trained"


def _untrained_beside_others(method: type[Method], stage: int) -> str | None:
    trains = any(each.is_trained for each in method.stages)
    return _untrained(method, stage) if trains else None


def _from_scratch(method: type[Method], _: int) -> str | None:
    return None if method.init_from else "the method starts from scratch"


def _first(_: type[Method], stage: int) -> str | None:
    return None if stage else "no stage goes before it"


def _unreduced(method: type[Method], _: int) -> str | None:
    return None if method.reduces_to else "the method declares no reduces_to"


@_check(each_stage=False)
def declarations(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check the declarations: paper, category, descriptions of hyper-parameters.

    A method of the user's own may have no paper yet.
    """
    method, fields = case.method, case.method.HParams.model_fields
    faults = [] if method.title else ["an empty title"]
    if method.category not in get_args(Category):
        faults.append(f"category {method.category!r}, which is none of {get_args(Category)}")
    if method.paper is None and method.category != "baseline" and case.plugin is None:
        faults.append("no paper: give the source, Paper(title, authors, venue, year)")
    named = [method.init_from, method.reduces_to, *(teacher.method for teacher in method.teachers)]
    faults += [f"no method {name!r}" for name in named if name and name not in case.registry]
    faults += [f"{name} has no description" for name, f in fields.items() if not f.description]
    faults += [f"{name} has no default" for name, f in fields.items() if f.is_required()]
    require(not faults, "; ".join(faults))
    paper = "no paper" if method.paper is None else "paper"
    return f"title, {paper}, category and {len(fields)} hyper-parameters are declared"


@_check(each_stage=False)
def counts(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check that counts of zero and of other classes are refused."""
    for bad, words in (
        ((4, 3, 0, 1), "without training images: 2"),
        ((4, 3, 1), "3 counts for 4 classes"),
    ):
        try:
            build(case, bad)
        except ValueError as error:
            require(words in str(error), f"of counts {bad} it says {error}: {SUPER}")
        else:
            raise FailedError(f"counts {bad} are taken for 4 classes: {SUPER}")
    return "both raise a ValueError"


@_check(each_stage=False, excuse=_from_scratch)
def init_weights(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check that init weights are taken over, and refused where they differ.

    The error of what does not fit names the tensor and both shapes.
    """
    given = build(Case(str(case.method.init_from), plugin=case.plugin)).state_dict()
    backbone = [name for name in given if name.startswith("network.backbone.")]
    method = build(case)
    method.init_from_weights(given)
    own = method.state_dict()
    lost = [name for name in backbone if not own[name].equal(given[name])]
    require(not lost, f"{', '.join(lost[:3])} is not taken over: {SUPER}")
    name = next(name for name in backbone if given[name].ndim == 4)
    shape = [*given[name].shape]
    other = torch.zeros(shape[0], shape[1] + 1, *shape[2:])
    for weights, facts in (
        ({k: v for k, v in given.items() if k != name}, (name, shape)),
        (given | {name: other}, (name, shape, [*other.shape])),
        (given | {"network.backbone.more": torch.zeros(1)}, ("network.backbone.more", [1])),
    ):
        try:
            build(case).init_from_weights(weights)
        except ValueError as error:
            told = all(str(fact) in str(error) for fact in facts)
            require(told, f"of weights that do not fit it says {error}: {SUPER}")
        else:
            raise FailedError(f"weights that do not fit are taken ({facts}): {SUPER}")
    return f"{len(backbone)} tensors of the backbone of {case.method.init_from} are taken over"


@_check(each_stage=False)
def test_time(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check that `test_time` says what the method knows of the test set."""
    kind = case.method
    adapts = kind.adapt is not Method.adapt
    require(
        adapts == (kind.test_time == "transductive"),
        f'test_time is "{kind.test_time}" and adapt {"is" if adapts else "is not"} overridden',
    )
    if not kind.stages[stage].is_evaluated:
        return "it predicts no classes"
    method = finish(begin(case, stage))
    images, prior = evaluation_batch(method).images, torch.tensor([0.6, 0.2, 0.1, 0.1])
    with torch.inference_mode():
        same = method.predict(images).equal(method.predict(images, prior))
    if kind.test_time != "known_test_prior":
        require(same, 'predictions change with target_prior: say test_time = "known_test_prior"')
    elif kind.stages[stage].tunes_on_validation == "never":  # one may tune to change nothing
        require(not same, f'target_prior changes nothing: test_time is not "{kind.test_time}"')
    return f"it is {kind.test_time}"


@_check(excuse=_untrained_beside_others)
def step(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check that a step moves all trained parameters and lowers the loss."""
    method = begin(case, stage)
    batch = training_batch(method)
    if not method.stage.is_trained:
        try:
            method.training_loss(batch)
        except NotImplementedError:
            return "nothing is trained, and there is no loss"
        raise FailedError("no stage is_trained, but there is a training_loss")
    state = {name: value.clone() for name, value in _moved_by_the_method(method)}
    before = float(loss_of(method, batch).detach())
    with torch.no_grad():  # queues and means have moved on
        for name, value in _moved_by_the_method(method):
            value.copy_(state[name])
    found = _require_finite_step(method, 0, "in a first step")
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    idle = sorted(trained - found.keys())
    require(not idle, f"{', '.join(idle[:3])} get no gradient: freeze them in on_stage_start")
    slope = sum(float(gradient.double().square().sum()) for gradient in found.values())
    size = min(1e-3, abs(before) / 100 / slope) if slope else 1e-3  # a hundredth of the loss
    descend(method, found, size)
    with torch.no_grad():
        for name, value in _moved_by_the_method(method):
            value.copy_(state[name])
        after = float(loss_of(method, batch))
    require(after < before, f"a small step against the gradient moves {before:.6g} to {after:.6g}")
    return f"{len(found)} tensors move, the loss falls from {before:.4g} to {after:.4g}"


def _moved_by_the_method(method: Method) -> Iterator[tuple[str, Tensor]]:
    """Yield buffers, and parameters that the optimizer does not move."""
    yield from method.named_buffers()
    yield from ((name, p) for name, p in method.named_parameters() if not p.requires_grad)


@_check(excuse=_untrained)
def mean(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check that the loss is a mean over images and over ranks.

    A loss that draws random numbers, or in which images depend on each other, is not that of its
    halves.
    """
    method = begin(case, stage).double()
    loss, found = mean_over_ranks(method)
    means = []
    if case.method.batch_dependence == "none" and not has_drawn(method):
        starts = (begin(case, stage).double() for _ in range(2))
        halves = map(loss_of, starts, shares(training_batch(method), 2))
        half = sum(float(each.detach()) for each in halves) / 2
        require(
            math.isclose(loss, half, rel_tol=RTOL),
            f"the loss of a batch is {loss:.6g}, that of its halves {half:.6g} on average: "
            f"{GLOBAL}; declare batch_dependence where images change each other's loss",
        )
        means.append("its halves")
    if case.method.batch_dependence != "per_rank":
        both, others = ranks(2)(mean_of_stage, replace(case), stage)[0]
        gap, name = largest_difference(tensors(others), tensors(found))
        require(
            math.isclose(loss, both, rel_tol=RTOL) and gap <= RTOL,
            f"the loss is {loss:.6g} in one process and {both:.6g} on two, the gradient of {name} "
            f"differs by {gap:.1e}: {GLOBAL}",
        )
        means.append("two ranks")
    return f"the loss is {loss:.6g}, and the mean of {' and of '.join(means) or 'no parts'}"


@_check(excuse=_untrained)
def epoch_indices(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check that an epoch's images are the same after a step.

    A job that resumes within an epoch asks for them again.
    """
    method = begin(case, stage)
    begin_epoch(method)
    batch = training_batch(method)
    draw = example_draw(method, BATCH)
    states, first = rng_states(method), method.epoch_indices(draw)
    try:
        require_indices(first, draw)
    except ValueError as error:
        raise FailedError(str(error)) from error
    require(
        rng_states(method).equal(states),
        "epoch_indices draws from a generator of the steps: use draw.generator",
    )
    found = gradients(method, total_loss(method.training_loss(step_input(method, batch))))
    descend(method, found, 0.1)
    with torch.no_grad():
        method.on_step_end()
    again = method.epoch_indices(draw)
    other = [name for name in first if name not in again or not again[name].equal(first[name])]
    require(
        not other and list(again) == list(first),
        f"stream {', '.join(other or again)} has other images after a step: epoch_indices may "
        "depend on its draw and on what changes between epochs",
    )
    sizes = ", ".join(f"{name} {index.shape[1]}" for name, index in first.items())
    return f"of a batch of {draw.batch}: {sizes}; the same after a step"


@_check()
def training(bench: Bench, case: Case, stage: int) -> str:
    """Check that a stage trains to a valid record with finite weights."""
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
    epochs = epochs_of(job)
    steps = epochs * (sum(record.split.train_counts) // BATCH)
    if record.training is None or record.training.steps != steps:
        raise FailedError(f"not all of {steps} steps are in the record")
    losses = record.training.losses
    require(
        len(losses) == epochs and all(map(math.isfinite, losses)),
        f"the losses of {epochs} epochs are {losses}: all must be finite",
    )
    return (
        f"{steps} steps, mean loss {losses[0]:.3g} in the first epoch, {losses[-1]:.3g} in the last"
    )


@_check(each_stage=False, excuse=_no_metric_terms)
def metric_terms(bench: Bench, case: Case, stage: int) -> str:  # noqa: ARG001
    """Check that metric terms are active in half of the steps.

    Each must be active in at least half of the steps that have it.
    """
    counts: dict[str, tuple[int, int]] = {}
    for number, each in enumerate(case.method.stages):
        if each.is_trained:
            training = bench.train(case.jobs(number)).training
            counts |= (training.active_steps if training else None) or {}
    lost = sorted(set(case.method.metric_terms) - counts.keys())
    require(
        not lost,
        f"no loss is called {' or '.join(lost)}: return a dict from training_loss that has the "
        "names of metric_terms",
    )
    shares = ", ".join(f"{term} in {a} of {n} steps" for term, (a, n) in counts.items())
    require(all(2 * a >= n for a, n in counts.values()), f"active: {shares}; {FEW_IMAGES_ADVICE}")
    return f"active: {shares}"


@_check()
def interruption(bench: Bench, case: Case, stage: int) -> str:
    """Check that an interrupted job equals an uninterrupted one bit for bit.

    It is stopped after its first epoch, and two steps into its second, or into its only one.
    """
    trained = case.method.stages[stage].is_trained
    root = bench.folder()
    job = bench.lend_starts(case.jobs(stage), root)
    epochs = train_interrupted(job, root, bench.options)
    require(epochs == int(trained), f"the interrupted job has trained {epochs} epochs")
    if trained:
        train_stopped(job, root, 2, bench.options)
    record, hashes = train(job, root, bench.options)
    left = epochs_of(job) - (epochs_of(job) > 1)  # no checkpoint is saved after the last one
    require(len(hashes) == left, "an epoch was trained twice")
    require(record.cost.attempts == 2 + trained, f"{record.cost.attempts} attempts are counted")
    gap, name = largest_difference(Bench(root).state(job), bench.state(job))
    same = Bench(root).weights(job) == bench.weights(job)
    require(same, f"{name} differs by {gap:.1e} from that of an unbroken job: {SAVED}")
    require(
        record.numbers() == bench.records[job.key].numbers(),
        f"weights are those of an unbroken job, losses or test are not: {SAVED}",
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
    """Return the largest difference between ranks and one process, if small enough.

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
    record = _train_on_ranks(bench, world, root, job)
    require(record.cost.devices == world, f"{record.cost.devices} devices are in the record")
    for loss, expected in zip(_losses(record), _losses(alone), strict=True):
        require(
            math.isclose(loss, expected, rel_tol=RTOL, abs_tol=0),
            f"{world} ranks have loss {loss:.6g} where one process has {expected:.6g}: {GLOBAL}",
        )
    ours, theirs = (each.training and each.training.active_steps for each in (record, alone))
    require(ours == theirs, f"{world} ranks have active steps {ours}, one process has {theirs}")
    gap, name = largest_difference(Bench(root).state(job), bench.state(job))
    require(gap <= RTOL, f"{name} differs by {gap:.1e} between {world} ranks and one: {GLOBAL}")
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
    """Check that ranks equal one process that takes their shares in turn.

    The network has BatchNorm, of which each rank sees its share. Arguments as above.
    """
    root = bench.folder()
    job = bench.lend_starts(case.jobs(stage, norm="batch"), root)
    _train_on_ranks(bench, world, root, job)
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


def _train_on_ranks(bench: Bench, world: int, root: Path, job: Job) -> Record:
    """Return the record of ranks whose states agree after every epoch."""
    answers = ranks(world)(train, job, root, bench.options)
    record: Record = answers[0][0]
    hashes: list[str] = answers[0][1]
    advice = "all buffers and random numbers must be the same on all ranks"
    for other, same_hashes in answers:
        require(other.numbers() == record.numbers(), f"ranks have different records: {advice}")
        require(same_hashes == hashes, f"ranks have different states after an epoch: {advice}")
    require(len(hashes) == epochs_of(job), f"{len(hashes)} epochs were trained")
    return record


@_check(excuse=_untested)
def evaluation(bench: Bench, case: Case, stage: int) -> str:
    """Check that a test counts each image once, at any batch size."""
    _require_single_predictions(finish(begin(case, stage, norm="batch").double()))
    jobs = case.jobs(stage)
    record, images = bench.train(jobs), part_of_dataset(DATASET, "test", jobs[-1].split)
    count = len(images.labels)
    counted = sum(_test_of(record).totals)
    require(counted == count, f"a test of {count} images counts {counted}")
    method = restore(record, bench.weights_path(jobs[-1]), bench.options.plugins)
    hits = {}
    for size in (count, 7):
        batched = record.job.recipe.model_copy(update={"eval_batch_size": size})
        job = record.job.model_copy(update={"recipe": batched})
        again = record.model_copy(update={"job": job})
        found = evaluate_labeled(method, again, images, CPU)
        hits[size] = (sum(found.hits), found.correct)
    sizes = ", ".join(f"{right} of {count} right by {size}" for size, (right, _) in hits.items())
    require(
        len(set(hits.values())) == 1,
        f"predictions change with the size of a batch ({sizes}): predict must treat each image "
        "as if it were alone",
    )
    return f"{counted} images counted; {sizes}"


def _require_single_predictions(method: Method) -> None:
    """Require finite logits of the right shape, independent of the batch."""
    images = evaluation_batch(method).images
    with torch.inference_mode():
        logits = method.predict(images)
        parts = torch.cat([method.predict(images[i : i + 3]) for i in range(0, len(images), 3)])
    shape = [len(images), method.spec.classes]
    require([*logits.shape] == shape, f"logits are {[*logits.shape]}: return {shape}")
    require(bool(logits.isfinite().all()), f"logits are not finite: {BOUND}")
    gap, _ = largest_difference({"logits": parts}, {"logits": logits})
    require(
        gap <= RTOL,
        f"logits in batches of 3 and of {len(images)} differ by {gap:.1e}: predict must treat each "
        "image as if it were alone; is BatchNorm in evaluation mode?",
    )


@_check(excuse=_untested)
def saved_weights(bench: Bench, case: Case, stage: int) -> str:
    """Check that the saved weights alone give the predictions."""
    untrained, other = finish(begin(case, stage)), build(case).eval()
    lost, left = other.load_state_dict(untrained.state_dict(), strict=False)
    require(not lost, f"{', '.join(lost)} is not among the saved weights: {SAVED}")
    require(not left or bool(case.method.teachers), f"{', '.join(left)}: register it in __init__")
    other.stage = untrained.stage
    _require_equal_logits(other, untrained)
    jobs = case.jobs(stage)
    record, job = bench.train(jobs), jobs[-1]
    method = restore(record, bench.weights_path(job), bench.options.plugins)
    found = evaluate_labeled(method, record, part_of_dataset(DATASET, "test", job.split), CPU)
    expected = _test_of(record)
    require(
        found == expected,
        f"restored weights get {sum(found.hits)} of {sum(found.totals)} right where the job had "
        f"{sum(expected.hits)}, or with other confidence: {SAVED}",
    )
    return f"{sum(found.hits)} of {sum(found.totals)} right, as in the job"


@_check(excuse=_first)
def stages(bench: Bench, case: Case, stage: int) -> str:
    """Check that a stage takes over all state of the previous one."""
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
    return f"all {len(before)} tensors are taken over; {_stage_goes_on(case, stage)}"


def _stage_goes_on(case: Case, stage: int) -> str:
    """Check that saved weights hold all state between two stages.

    What is in an attribute that is no parameter or buffer is lost in between.
    """
    left = begin(case, stage - 1)
    if left.stage.is_trained:
        gradients(left, loss_of(left, training_batch(left)))
    finish(left).requires_grad_()
    left.frozen.clear()
    saved = {name: value.clone() for name, value in left.state_dict().items()}
    restored = begin(case, stage, weights=saved)
    start_stage(left, stage)
    if left.stage.is_trained:
        batch = training_batch(restored)
        with torch.no_grad():
            loss, expected = loss_of(restored, batch), loss_of(left, batch)
        require(
            loss.equal(expected),
            f"the first loss is {loss:.6g} from saved weights, and {expected:.6g} where the stage "
            f"before has just ended: {SAVED}",
        )
    if left.stage.is_evaluated:
        _require_equal_logits(finish(restored), finish(left))
    return "it begins as where the stage before ended"


def _require_equal_logits(method: Method, other: Method) -> None:
    images = evaluation_batch(other).images
    with torch.inference_mode():
        same = method.predict(images).equal(other.predict(images))
    require(same, f"predictions from saved weights are others: {SAVED}")


def _moved(value: Tensor) -> Tensor:
    return value.logical_not() if value.dtype == torch.bool else value + 1


@_check()
def bf16(bench: Bench, case: Case, stage: int) -> str:
    """Check that a stage trains under bfloat16 autocast with float32 state."""
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
    """Check that classes of one image give finite losses, gradients and predictions."""
    for counts in SINGLES:
        weights = None
        for number, each in enumerate(case.method.stages):
            method = begin(case, number, counts, weights=weights)
            where = f"in stage {each.name} with {[*counts]} training images"
            for epoch in range(2 if method.stage.is_trained else 0):
                _require_finite_step(method, epoch, where)
            finish(method)
            if method.stage.is_evaluated:
                with torch.inference_mode():
                    logits = method.predict(evaluation_batch(method).images)
                require(bool(logits.isfinite().all()), f"logits are not finite {where}: {BOUND}")
            weights = method.state_dict()
    return f"loss, gradients and logits are finite with {' and '.join(map(str, SINGLES))} images"


def _require_finite_step(method: Method, epoch: int, where: str) -> dict[str, Tensor]:
    """Refuse a loss or gradients that are not finite; return the gradients."""
    loss = loss_of(method.train(), training_batch(method), epoch)
    require(loss.ndim == 0, f"the loss has shape {[*loss.shape]} {where}: return a scalar")
    require(bool(loss.isfinite()), f"the loss is {loss:.3g} {where}: {BOUND}")
    found = gradients(method, loss)
    require(bool(found), f"no parameter has a gradient {where}")
    broken = [name for name, gradient in found.items() if not gradient.isfinite().all()]
    require(not broken, f"gradients of {', '.join(broken[:3])} are not finite {where}: {BOUND}")
    return found


@_check(each_stage=False, excuse=_unreduced)
def equal_counts(bench: Bench, case: Case, stage: int) -> str:
    """Check that equal counts give the method of `reduces_to` bit for bit."""
    reduced = str(case.method.reduces_to)
    other = Case(reduced, case.registry[reduced].shared_hparams(case.hparams), case.plugin)
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
