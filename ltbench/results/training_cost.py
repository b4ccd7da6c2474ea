"""What training took, from records: all stages, starts and teachers of a result together."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from ltbench.results.board import Entry
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

    seconds: float
    hardware: frozenset[str]
    n: int
    keys: tuple[str, ...]


def training_cost(entry: Entry, records: Mapping[str, Stored]) -> Training | None:
    """Return what the runs of an entry took; None where a record of a part is not there."""
    chains = [chain(key, records) for key in entry.keys if key in records]
    if not chains or not all(chains):
        return None
    runs = [[records[key].record for key in chain] for chain in chains]
    return Training(
        seconds=fmean(sum(r.cost.train_seconds * r.cost.devices for r in run) for run in runs),
        hardware=frozenset(record.environment.hardware for run in runs for record in run),
        n=len(runs),
        keys=tuple(dict.fromkeys(key for chain in chains for key in chain)),
    )


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
