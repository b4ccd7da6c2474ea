"""Training time and training FLOPs of a variant.

Both include init jobs, teachers and the trials of a tuned variant, neither includes tests. Seconds
are as measured: the time of a GPU, or the CPU time of all processes, as the wall time of cores that
other work shares says little. A record has the CPU time of training and tests together, of which
training has its share of the wall time. FLOPs are counted from the records and are the same
anywhere: the number of forward and backward passes of images, times the cost of the networks in the
registry (with default hyper-parameters, and on ResNet-32 if it has none for the backbone). A pass
with a gradient counts as three forward passes, as backward is twice the arithmetic. Passes of
training, of statistics, of tuning on held-out images and through teachers are counted, those of
tests are not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import compress

from ltbench.analysis.result_set import VariantResult
from ltbench.config.planning import BASELINE
from ltbench.config.registry import MethodInfo
from ltbench.core.exact import mean, measured
from ltbench.core.groups import subset_classes
from ltbench.core.types import NetworkCost, Stage
from ltbench.runs.record import Cost, Record
from ltbench.runs.store import Stored, with_dependencies


@dataclass(frozen=True)
class TrainingTime:
    """Device-seconds of a run.

    Attributes:
        seconds: of all devices, mean over seeds.
        hardware: that was used.
        n: number of seeds.
        keys: of the records of all runs and trials.
    """

    seconds: Fraction
    hardware: frozenset[str]
    n: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class TrainingFlops:
    """Floating-point operations of a run.

    Attributes:
        megaflops: millions of multiplications and additions, mean over seeds.
        known: whether the registry has the cost of all networks; the others count as softmax's.
    """

    megaflops: Fraction
    known: bool


def training_time(entry: VariantResult, records: Mapping[str, Stored]) -> TrainingTime | None:
    """Return a variant's training time, None if a record is missing."""
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
    """Return GPU-seconds or CPU-seconds of training alone."""
    return sum((_training_seconds(record.cost) for record in run), Fraction(0))


def _training_seconds(cost: Cost) -> Fraction:
    train, test = measured(cost.train_seconds), measured(cost.test_seconds)
    if cost.memory == "gpu":
        return train * cost.devices
    return measured(cost.cpu_seconds) * train / (train + test) if train else train


def forward_ratio(cost: NetworkCost, baseline: NetworkCost) -> Fraction:
    """Return the FLOPs of a prediction relative to a baseline."""
    return measured(cost.megaflops) / measured(baseline.megaflops)


def training_flops(
    entry: VariantResult, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> TrainingFlops | None:
    """Return a variant's training FLOPs, None if a record is missing.

    Args:
        entry: of a board.
        methods: of the registry, with the forward cost of their networks.
        records: valid records by key.
    """
    runs, baseline = _runs(entry, records), methods.get(BASELINE)
    if not runs or baseline is None or baseline.cost is None:
        return None
    jobs = [
        _job_flops(record, methods, baseline.cost_on(record.job.recipe.network) or baseline.cost)
        for run in runs
        for record in run
    ]
    total = sum((megaflops for megaflops, _ in jobs), Fraction(0))
    return TrainingFlops(total / len(runs), all(known for _, known in jobs))


def _job_flops(
    record: Record, methods: Mapping[str, MethodInfo], baseline: NetworkCost
) -> tuple[Fraction, bool]:
    """Return the megaflops of a job, and whether all networks are known."""
    info, job, settings = methods.get(record.method), record.job, record.job.stage_recipe
    stages = {stage.name: stage for stage in info.stages} if info else {}
    stage = (stages.get(job.stage) or Stage(job.stage)).resolve(job.hparams)
    cost = info.cost_on(job.recipe.network) if info and job.stage in stages else None
    network, teachers = measured((cost or baseline).megaflops), Fraction(0)
    if info is not None:
        each = cost.teachers if cost else [baseline.megaflops] * len(info.teachers)
        counts, rule = record.split.longtailed_counts, job.dataset.shot_rule
        used = [
            t.teaches(job.hparams) and len(subset_classes(t.subset, counts, rule)) > 0
            for t in info.teachers
        ]
        teachers = sum(map(measured, compress(each, used)), Fraction(0))
    images = sum(record.split.train_counts)
    tunings = {"never": 0, "end": 1, "epochs": settings.epochs if settings else 0}
    tuned_on = sum(record.split.auxiliary_counts or ()) * tunings[stage.tunes_on_validation]
    # Statistics of teachers need no forward pass of the method's own network.
    total = stage.needs_statistics_pass * images * (teachers or network) + tuned_on * network
    if record.training is not None and settings is not None:
        counted = record.training.passes
        passes = 3 * measured(counted.gradient) + measured(counted.forward)
        drawn = record.training.steps * job.recipe.batch_size * len(stage.samplers)
        if settings.cached_features and not counted.gradient:
            drawn = images  # features of a frozen backbone, computed once
        total += drawn * (passes * network + teachers)
    return total, cost is not None or not total


def _runs(entry: VariantResult, records: Mapping[str, Stored]) -> list[list[Record]]:
    """Return the records of each recorded seed, with dependencies and trials.

    Empty if one of these has no record.
    """
    trials = entry.variant.trials
    runs = [run_keys((key, *trials), records) for key in entry.keys if key in records]
    return [[records[key].record for key in keys] for keys in runs] if all(runs) else []


def run_keys(jobs: Iterable[str], records: Mapping[str, Stored]) -> tuple[str, ...]:
    """Return jobs and their dependencies, empty if a record is missing."""
    keys = with_dependencies(jobs, records)
    return keys if all(each in records for each in keys) else ()
