"""What training took and what work it was: all stages, starts and teachers of a result together.

Seconds are as measured, on hardware that may have been busy. Work is counted from the records, as
the forward passes of all images trained on with the networks of the catalogue (ResNet-32, default
hyper-parameters), so that it is the same anywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ltbench.config.catalogue import MethodInfo
from ltbench.config.expand import BASELINE
from ltbench.core.nouns import NetworkCost
from ltbench.results.board import Entry
from ltbench.results.exact import mean, measured
from ltbench.results.record import Record
from ltbench.results.store import Stored


@dataclass(frozen=True)
class Training:
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
class Work:
    """What one run had to do.

    Attributes:
        megaflops: of forward passes, millions of multiplications and additions, mean over seeds.
        known: whether the catalogue has all networks; one that it lacks counts as softmax's.
    """

    megaflops: Fraction
    known: bool


def training_cost(entry: Entry, records: Mapping[str, Stored]) -> Training | None:
    """Return what the runs of an entry took; None where a record of a part is not there."""
    runs = _runs(entry, records)
    if not runs:
        return None
    return Training(
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
    entry: Entry, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> Work | None:
    """Return what the runs of an entry had to do; None where a record of a part is not there.

    Args:
        entry: of a board.
        methods: the catalogue's, with the cost of a pass through their networks.
        records: sound records by key.
    """
    runs, plain = _runs(entry, records), methods.get(BASELINE)
    if not runs or plain is None or plain.cost is None:
        return None
    total, known = Fraction(0), True
    for record in (record for run in runs for record in run):
        if record.training is not None:
            own = _pass_cost(record, methods)
            images = record.training.steps * record.job.recipe.batch
            total += images * (measured(plain.cost.megaflops) if own is None else own)
            known = known and own is not None
    return Work(total / len(runs), known)


def _pass_cost(record: Record, methods: Mapping[str, MethodInfo]) -> Fraction | None:
    """Return the megaflops of one image's passes; None where the catalogue lacks the network."""
    info = methods.get(record.method)
    stages = {stage.name: stage for stage in info.stages} if info else {}
    stage = stages.get(record.job.stage)
    if info is None or info.cost is None or stage is None:
        return None
    return stage.views * len(stage.samplers) * measured(info.cost.megaflops)


def _runs(entry: Entry, records: Mapping[str, Stored]) -> list[list[Record]]:
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
            wanted += records[key].record.job.start
    return tuple(found)
