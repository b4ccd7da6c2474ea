"""Confusion matrices of a board, drawn for the chosen variant."""

from dataclasses import dataclass

from ltbench.analysis.confusion import confusion_matrix
from ltbench.analysis.relative_to_baseline import by_frequency
from ltbench.report.context import BoardContext

MAX_COUNTS = 40_000
"""Confusion counts on the page for each board, zeros included; two variants have theirs anyway."""


@dataclass(frozen=True)
class Confusion:
    """Confusion counts of the leading variants of a board.

    Attributes:
        classes: names, the most frequent class in training first.
        counts: by label of the variant, C x C numbers as text, by true and then predicted class;
            zeros are empty. Without any, they are in files beside the records.
    """

    classes: tuple[str, ...]
    counts: dict[str, str]


def confusion_of(of: BoardContext) -> Confusion | None:
    """Return the confusion counts of a board, None without any."""
    leading = of.leading(max(2, MAX_COUNTS // of.board.dataset.classes**2))
    tests = [record.test for entry in leading for record in of.records_of(entry) if record.test]
    if not any(test.confusion or test.confusion_sha256 for test in tests):
        return None
    order = [k for k, _ in by_frequency(leading[0], of.records)]
    names = of.records_of(leading[0])[0].split.classes
    matrices = {entry.variant.label: confusion_matrix(of.records_of(entry)) for entry in leading}
    return Confusion(
        classes=tuple(names[k] for k in order),
        counts={
            label: ",".join(str(n) if n else "" for n in matrix[order][:, order].flat)
            for label, matrix in matrices.items()
            if matrix is not None
        },
    )
