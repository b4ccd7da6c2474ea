"""The table of metric losses of a board: shares of active steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from ltbench.analysis.result_set import Estimate, VariantResult
from ltbench.analysis.training_cost import run_keys
from ltbench.report.context import BoardContext, over_seeds
from ltbench.report.table import PERCENT, Column, TableSpec


@dataclass(frozen=True)
class _MetricLoss:
    """A metric loss of a variant, and its share of active steps."""

    entry: VariantResult
    name: str
    share: Estimate


def _metric_losses(of: BoardContext) -> Iterator[_MetricLoss]:
    """Return the metric losses of all variants that have some."""
    for entry in of.entries:
        shares: dict[str, dict[str, Fraction]] = {}
        for key in entry.values["acc"].keys:
            for name, share in _shares(of, entry, key).items():
                shares.setdefault(name, {})[key] = share
        for name, by_key in shares.items():
            yield _MetricLoss(entry, name, over_seeds(entry.values["acc"], by_key))


def _shares(of: BoardContext, entry: VariantResult, key: str) -> dict[str, Fraction]:
    """Return the active share of each metric loss of a run."""
    jobs = (of.records[each].record for each in run_keys([key], of.records))
    own = (job.training for job in jobs if job.method == entry.variant.method and job.training)
    return {name: share for training in own for name, share in training.active_shares.items()}


METRIC_LOSSES_TABLE: TableSpec[BoardContext, _MetricLoss] = TableSpec(
    name="metric losses",
    title=lambda of: f"{of.board.title}: metric losses",
    caption=lambda of: (
        f"{of.setting} Active steps: share of training steps in which a loss that compares images "
        "was not zero. A loss that is zero in all steps so far ends the training."
    ),
    columns=lambda _: [
        Column("Method", lambda row: row.entry.variant.label, names=True),
        Column("Loss", lambda row: row.name, names=True),
        Column("Active steps", lambda row: row.share, PERCENT),
    ],
    rows=_metric_losses,
)
