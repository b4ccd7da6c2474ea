"""Augmentation of batches. Plain torch."""

from ltbench.augment.color import JitterParams, draw_jitter, jitter
from ltbench.augment.crop_flip import CropFlipParams, draw_crop_flip
from ltbench.augment.distortion import SMALLEST, DistortionEpoch, distort, draw_distortion
from ltbench.augment.mixing import MixedBatch, cutmix, mix, mixup, permuted, relabel, unmixed
from ltbench.augment.policy import PolicyEpoch, draw_policy
from ltbench.augment.resized_crop import CropParams, center_boxes, crop_boxes, draw_crops, resize
from ltbench.augment.rotation import TURNS, turned

__all__ = [
    "SMALLEST",
    "TURNS",
    "CropFlipParams",
    "CropParams",
    "DistortionEpoch",
    "JitterParams",
    "MixedBatch",
    "PolicyEpoch",
    "center_boxes",
    "crop_boxes",
    "cutmix",
    "distort",
    "draw_crop_flip",
    "draw_crops",
    "draw_distortion",
    "draw_jitter",
    "draw_policy",
    "jitter",
    "mix",
    "mixup",
    "permuted",
    "relabel",
    "resize",
    "turned",
    "unmixed",
]
