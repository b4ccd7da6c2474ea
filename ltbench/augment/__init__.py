"""Augmentation of whole batches. Plain torch."""

from ltbench.augment.batch import Placement, ResidentImages, draw_placement
from ltbench.augment.distortion import distort
from ltbench.augment.mixing import mix, mixup
from ltbench.augment.policy import PolicyEpoch, draw_policy
from ltbench.augment.rotation import TURNS, turned

__all__ = [
    "TURNS",
    "Placement",
    "PolicyEpoch",
    "ResidentImages",
    "distort",
    "draw_placement",
    "draw_policy",
    "mix",
    "mixup",
    "turned",
]
