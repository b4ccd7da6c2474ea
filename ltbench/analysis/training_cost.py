"""What training took and what work it was: all stages, starts and teachers of a result together.

Seconds are as measured, on hardware that may have been busy. Work is counted from the records, so
that it is the same anywhere: the passes of images through networks, as the registry has both (with
ResNet-32, default hyper-parameters). A pass with a gradient counts as three that are forward alone,
for backward is twice the arithmetic. Passes of training, of observing, of choosing on auxiliary
images and through teachers are counted, those of tests are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import compress

from ltbench.analysis.result_set import VariantResult
from ltbench.config.planning import BASELINE
from ltbench.config.registry import MethodInfo
from ltbench.core.exact import mean, measured
from ltbench.core.groups import subset_classes
from ltbench.core.types import NetworkCost, Stage
from ltbench.runs.record import Record
from ltbench.runs.store import Stored


@dataclass(frozen=True)
class TrainingTime:
    """What one run took.

    Attributes:
        seconds: of one device, mean over seeds.
        hardware: that they were spent on.
        n: seeds.
        keys: of the records of all runs.
    """

    seconds: Fraction
    hardware: frozenset[str]
    n: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class TrainingFlops:
    """What one run had to do.

    Attributes:
        megaflops: millions of multiplications and additions, mean over seeds.
        known: whether the registry has all networks; one that it lacks counts as softmax's.
    """

    megaflops: Fraction
    known: bool


def training_cost(entry: VariantResult, records: Mapping[str, Stored]) -> TrainingTime | None:
    """Return what the runs of an entry took; None where a record of a part is not there."""
    runs = _runs(entry, records)
    if not runs:
        return None
    return TrainingTime(
        seconds=mean([_device_seconds(run) for run in runs]),
        hardware=frozenset(record.environment.hardware for run in runs for record in run),
        n=len(runs),
        keys=tuple(dict.fromkeys(record.key for run in runs for record in run)),
    )


def _device_seconds(run: Sequence[Record]) -> Fraction:
    spent = (measured(r.cost.train_seconds) * r.cost.devices for r in run)
    return sum(spent, Fraction(0))


def forward_ratio(own: NetworkCost, plain: NetworkCost) -> Fraction:
    """Return the arithmetic of one prediction beside that of another."""
    return measured(own.megaflops) / measured(plain.megaflops)


def training_work(
    entry: VariantResult, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> TrainingFlops | None:
    """Return what the runs of an entry had to do; None where a record of a part is not there.

    Args:
        entry: of a board.
        methods: the registry's, with the cost of a pass through their networks.
        records: sound records by key.
    """
    runs, plain = _runs(entry, records), methods.get(BASELINE)
    if not runs or plain is None or plain.cost is None:
        return None
    done = [_done(record, methods, plain.cost) for run in runs for record in run]
    total = sum((megaflops for megaflops, _ in done), Fraction(0))
    return TrainingFlops(total / len(runs), all(known for _, known in done))


def _done(
    record: Record, methods: Mapping[str, MethodInfo], plain: NetworkCost
) -> tuple[Fraction, bool]:
    """Return the megaflops of a job, and whether the registry has all networks of them."""
    info, job, settings = methods.get(record.method), record.job, record.job.stage_recipe
    stages = {stage.name: stage for stage in info.stages} if info else {}
    stage = stages.get(job.stage, Stage(job.stage)).resolve(job.hparams)
    cost = info.cost if info and job.stage in stages else None
    own, teachers = measured((cost or plain).megaflops), Fraction(0)
    if info is not None:
        each = cost.teachers if cost else [plain.megaflops] * len(info.teachers)
        counts, rule = record.split.longtailed_counts, job.dataset.shot_rule
        there = [len(subset_classes(t.subset, counts, rule)) > 0 for t in info.teachers]
        teachers = sum(map(measured, compress(each, there)), Fraction(0))
    images = sum(record.split.train_counts)
    seen = sum(record.split.auxiliary_counts or ()) * (stage.tunes_on_validation != "never")
    # What is observed of teachers needs the own network no more.
    total = stage.needs_statistics_pass * images * (teachers or own) + seen * own
    if record.training is not None and settings is not None:
        counted = record.training.passes
        gradient = counted.gradient if counted else stage.passes
        forward = counted.forward if counted else stage.forward_passes
        passes = 3 * measured(gradient) + measured(forward)
        drawn = record.training.steps * job.recipe.batch_size * len(stage.samplers)
        if settings.cached_features and not gradient:
            drawn = images  # features of a frozen backbone, computed once
        total += drawn * (passes * own + teachers)
    return total, cost is not None or not total


def _runs(entry: VariantResult, records: Mapping[str, Stored]) -> list[list[Record]]:
    """Return the records of each seed's run; nothing where one is not there."""
    chains = [chain(key, records) for key in entry.keys if key in records]
    return [[records[key].record for key in keys] for keys in chains] if all(chains) else []


def chain(key: str, records: Mapping[str, Stored]) -> tuple[str, ...]:
    """Return a job and all that it needed, each once; nothing where a record is not there."""
    found: dict[str, None] = {}
    wanted = [key]
    while wanted:
        key = wanted.pop()
        if key not in records:
            return ()
        if key not in found:
            found[key] = None
            wanted += records[key].record.job.depends_on
    return tuple(found)
