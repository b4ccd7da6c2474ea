"""Say why claims do not hold, with figures read from records.

The texts are data in `results/findings.yaml`. `{LOCE}` stands for the accuracy in percent of the
variant LOCE, `{LOCE | few}` for another metric of it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from ltbench.analysis.metrics import check_metric
from ltbench.analysis.result_set import DECIMALS, EMPTY, ResultSet
from ltbench.config.base import Model, Name
from ltbench.core.exact import fixed

NO_CAUSE = "cause not found"

_FIGURE = re.compile(r"\{([^{}|]*?)(?: *\| *(\w*))?\}")

Narrowed = Callable[[ResultSet, frozenset[int]], ResultSet]
"""Returns a board as if it had no results of other seeds."""


class Cause(Model):
    """Why a claim does not hold on a board.

    Attributes:
        text: the cause, with figures of variants by label.
        grid: whose runs show it; its rows come before those of the claim's board.
        recipe: of the grid's board, if the grid has several.
    """

    text: str
    grid: Name | None = None
    recipe: Name | None = None

    @model_validator(mode="after")
    def _known_metrics(self) -> Self:
        """Refuse an unknown metric, and a recipe without a grid."""
        for _, metric in self.figures:
            check_metric(metric)
        if self.recipe is not None and self.grid is None:
            raise ValueError("`recipe` is that of a grid's board: give the `grid`, too")
        return self

    @property
    def figures(self) -> list[tuple[str, str]]:
        """Label and metric of each figure."""
        return [_named(match) for match in _FIGURE.finditer(self.text)]


def _named(figure: re.Match[str]) -> tuple[str, str]:
    """Return the label and the metric of a figure."""
    return figure[1], figure[2] or "acc"


def _with_text(value: Any) -> Any:
    """Return a lone text as a cause without a grid."""
    return {"text": value} if isinstance(value, str) else value


Causes = dict[
    Annotated[str, Field(pattern=r"^[^,]+, [^,]+$")],
    Annotated[Cause, BeforeValidator(_with_text, json_schema_input_type=str | Cause)],
]
"""Causes by the id of a board: that of its dataset, a comma, its recipe."""


def explain(
    causes: Mapping[str, Cause], board: ResultSet, boards: Sequence[ResultSet], narrowed: Narrowed
) -> str:
    """Return why a claim does not hold on a board.

    A figure without a result is a dash.

    Args:
        causes: of the claim, by board.
        board: of the claim.
        boards: of all grids.
        narrowed: returns a board with results of some seeds alone.
    """
    cause = causes.get(board.id)
    if cause is None:
        return NO_CAUSE
    if cause.grid is None:
        return _filled(cause, [board])
    shown = [
        other
        for other in boards
        if other.grid == cause.grid and cause.recipe in (None, other.recipe.name)
    ]
    seeds = sorted({seed for other in shown for seed in other.seeds})
    text = _filled(cause, [*shown, narrowed(board, frozenset(seeds))])
    word = "seed" if len(seeds) == 1 else "seeds"
    numbers = f", {word} {', '.join(map(str, seeds))}" if seeds else ""
    return f"{text}. Shown by grid {cause.grid}{numbers}"


def _filled(cause: Cause, boards: Sequence[ResultSet]) -> str:
    """Return the text of a cause with figures from boards, in order."""

    def figure(match: re.Match[str]) -> str:
        label, metric = _named(match)
        for board in boards:
            for entry in board.entries:
                mean = entry.values[metric].mean
                if entry.variant.label == label and mean is not None:
                    return fixed(mean, DECIMALS)
        return EMPTY

    return _FIGURE.sub(figure, cause.text)
