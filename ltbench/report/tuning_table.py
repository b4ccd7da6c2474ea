"""The table of trials, and of the values that they give."""

from collections.abc import Sequence
from dataclasses import dataclass

from ltbench.analysis.tuning import Trial, Tuning
from ltbench.core.exact import percent
from ltbench.report.table import PERCENT, Column, TableSpec


@dataclass(frozen=True)
class _Row:
    """A trial, and whether it was chosen."""

    trial: Trial
    chosen: bool


def _rows(tunings: Sequence[Tuning]) -> list[_Row]:
    return [_Row(trial, trial is each.best) for each in tunings for trial in each.trials]


def _images(tunings: Sequence[Tuning]) -> int:
    """Return the number of images that trials are tested on."""
    test = tunings[0].trials[0].records[0].test
    return 0 if test is None else sum(test.totals)


TRIALS_TABLE: TableSpec[Sequence[Tuning], _Row] = TableSpec(
    name="trials",
    title=lambda _: "Trials",
    caption=lambda of: (
        f"Mean of class accuracies on {_images(of)} auxiliary images in %, over seeds. Chosen is "
        "the highest of a variant, the first of equals."
    ),
    columns=lambda _: [
        Column("Trial", lambda row: row.trial.variant.label, names=True),
        Column("Accuracy", lambda row: percent(row.trial.accuracy), PERCENT),
        Column("Chosen", lambda row: "yes" if row.chosen else None),
    ],
    rows=_rows,
)
