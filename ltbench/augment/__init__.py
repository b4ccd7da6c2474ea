"""Augmentation of whole batches. Plain torch."""

from ltbench.augment.colour import JitterDraws, draw_jitter, jitter
from ltbench.augment.crop_flip import CropFlipParams, draw_crop_flip
from ltbench.augment.distortion import distort
from ltbench.augment.mixing import mix, mixup
from ltbench.augment.policy import PolicyEpoch, draw_policy
from ltbench.augment.resized_crop import CropDraws, centre_boxes, crop_boxes, draw_crops, resize
from ltbench.augment.rotation import TURNS, turned

__all__ = [
    "TURNS",
    "CropDraws",
    "CropFlipParams",
    "JitterDraws",
    "PolicyEpoch",
    "centre_boxes",
    "crop_boxes",
    "distort",
    "draw_crop_flip",
    "draw_crops",
    "draw_jitter",
    "draw_policy",
    "jitter",
    "mix",
    "mixup",
    "resize",
    "turned",
]
