"""Shot groups: classes with many, medium or few training images."""

from collections.abc import Sequence
from typing import Literal

from ltbench.core.types import ClassSubset

ShotRule = Literal["shots", "rank_thirds"]
"""Rule that divides classes into shot groups."""

Group = Literal["many", "medium", "few"]
GROUPS: tuple[Group, ...] = ("many", "medium", "few")

RULES: dict[ShotRule, str] = {
    "shots": "many > 100, medium 20 to 100, few < 20 training images",
    "rank_thirds": "many, medium and few are thirds of the classes by training images",
}
"""Each rule in words, for table captions."""


def by_size(counts: Sequence[int]) -> list[int]:
    """Return the classes by size, largest first.

    Of equal sizes the lower class index comes first.
    """
    return sorted(range(len(counts)), key=lambda k: -counts[k])


def class_groups(counts: Sequence[int], rule: ShotRule) -> tuple[Group, ...]:
    """Return the shot group of each class.

    `shots` is the rule of the code of Kang et al., ICLR 2020 (arXiv:1910.09217), and of most later
    work: more than 100 training images is many, fewer than 20 few. In the earlier code of Liu et
    al., CVPR 2019 (arXiv:1904.05160), exactly 100 is many and exactly 20 few: seven classes of
    Places-LT differ. `rank_thirds` is for datasets where `shots` leaves a group empty: the
    round(C / 3) largest of C classes are many, as many of the smallest are few, the others are
    medium (3, 4 and 3 of ten classes); of equal counts the lower class index ranks first.

    Args:
        counts: [C], training images of each class in the long-tailed split, also for the balanced
            one.
        rule: "shots" or "rank_thirds".
    """
    if rule == "shots":
        return tuple("many" if n > 100 else "few" if n < 20 else "medium" for n in counts)
    third = round(len(counts) / 3)
    order = by_size(counts)
    groups: list[Group] = ["medium"] * len(counts)
    for k in order[:third]:
        groups[k] = "many"
    for k in order[len(counts) - third :]:
        groups[k] = "few"
    return tuple(groups)


def subset_classes(subset: ClassSubset, counts: Sequence[int], rule: ShotRule) -> tuple[int, ...]:
    """Return the classes of a subset in ascending order.

    Args:
        subset: all classes, or a group, which may be empty.
        counts: [C], see `class_groups`.
        rule: "shots" or "rank_thirds".
    """
    groups = class_groups(counts, rule)
    return tuple(k for k, group in enumerate(groups) if subset in ("all", group))
