"""Rows of tables by name, what is published of them, and whether a run comes near enough.

A row is a variant on a dataset under a recipe: `imagenet_lt/ride/200` is RIDE on ImageNet-LT for
200 epochs. Published are the records in the repository, and the figures of the survey and of papers
where dataset, network and epochs are the same.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.published import OURS, PublishedNumber, comparable
from ltbench.analysis.result_set import Estimate, ResultSet, VariantResult
from ltbench.core.exact import measured, root

Word = Literal["within", "outside", "not run"]


@dataclass(frozen=True)
class Verdict:
    """A claim beside our value of it; the tolerance is in points."""

    claim: PublishedNumber
    ours: Estimate
    tolerance: Fraction

    @property
    def difference(self) -> Fraction | None:
        """Ours less the published one, in points; None where ours is not there."""
        return None if self.ours.mean is None else self.ours.mean - self.claim.value

    @property
    def word(self) -> Word:
        """Whether the difference is within the tolerance."""
        if self.difference is None:
            return "not run"
        return "within" if abs(self.difference) <= self.tolerance else "outside"


def row_name(board: ResultSet, entry: VariantResult) -> str:
    """Return a row's name: dataset, label in small letters, epochs and augmentation policy."""
    policy = board.recipe.policy.kind
    budget = f"{board.recipe.stage1.epochs}" + ("" if policy == "none" else f"+{policy}")
    label = re.sub(r"[\W_]+", "-", entry.variant.label.lower()).strip("-")
    return f"{board.dataset.id}/{label}/{budget}"


def claims(board: ResultSet, entry: VariantResult) -> list[PublishedNumber]:
    """Return what is published of a row.

    Args:
        board: computed from published records alone.
        entry: of the board.
    """
    beside, found = comparable(board), []
    for metric in METRICS.values():
        value = entry.values[metric.key]
        if metric.published and value.mean is not None:
            found.append(PublishedNumber(metric.key, value.mean, OURS, value.std, value.n))
        found += beside.of(entry, metric.key, "survey") + beside.of(entry, metric.key, "papers")
    return found


def verdicts(
    published: Iterable[PublishedNumber], entry: VariantResult, least: float
) -> list[Verdict]:
    """Return a row's claims beside what we measured.

    Args:
        published: claims of the row.
        entry: the row, computed from our own records.
        least: points that a difference may have in any case. Where the spread over seeds is known,
            it may also have twice its standard error.
    """
    return [
        Verdict(claim, ours, _tolerance(claim, ours, measured(least)))
        for claim in published
        for ours in (entry.values[claim.metric],)
    ]


def _tolerance(claim: PublishedNumber, ours: Estimate, least: Fraction) -> Fraction:
    spreads = [std for std in (claim.std, ours.std) if std is not None]
    if not spreads or not ours.n:
        return least
    return max(least, 2 * max(spreads) * root(Fraction(1, claim.n) + Fraction(1, ours.n)))
