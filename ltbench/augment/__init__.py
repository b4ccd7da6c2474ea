"""Augmentation of whole batches. Plain torch."""

from ltbench.augment.batch import Placement, ResidentImages, draw_placement

__all__ = ["Placement", "ResidentImages", "draw_placement"]
