"""Augmentation of whole batches. Plain torch, and torchvision where it works on batches."""

from ltbench.augment.batch import Placement, ResidentImages, draw_placement
from ltbench.augment.distortion import distort
from ltbench.augment.mixing import mix, mixup
from ltbench.augment.policy import PolicyEpoch, draw_policy

__all__ = [
    "Placement",
    "PolicyEpoch",
    "ResidentImages",
    "distort",
    "draw_placement",
    "draw_policy",
    "mix",
    "mixup",
]
