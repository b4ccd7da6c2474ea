"""Samplers: the training images of an epoch's batches. Plain torch."""

from ltbench.samplers.draw import (
    SAMPLERS,
    EpochDraw,
    class_aware,
    draw_by_weight,
    draw_epoch,
    draw_images,
    rank_columns,
    require_indices,
)
from ltbench.samplers.probabilities import (
    class_balanced,
    effective_number,
    instance,
    progressive,
    reversed_frequency,
    square_root,
)
from ltbench.samplers.quintuplets import equal_clusters, half_of_each, mine_quintuplets
from ltbench.samplers.resampled import repeated_passes

__all__ = [
    "SAMPLERS",
    "EpochDraw",
    "class_aware",
    "class_balanced",
    "draw_by_weight",
    "draw_epoch",
    "draw_images",
    "effective_number",
    "equal_clusters",
    "half_of_each",
    "instance",
    "mine_quintuplets",
    "progressive",
    "rank_columns",
    "repeated_passes",
    "require_indices",
    "reversed_frequency",
    "square_root",
]
