"""Augmentation of whole batches. Plain torch."""

from ltbench.augment.batch import Placement, ResidentImages, draw_placement
from ltbench.augment.mixing import mix, mixup

__all__ = ["Placement", "ResidentImages", "draw_placement", "mix", "mixup"]
