"""Classifier with a learned calibration of its logits (DisAlign)."""

from typing import Literal

import torch
from torch import Tensor, nn

Form = Literal["classification", "paper"]


class AlignedClassifier(nn.Linear):
    """Linear classifier with logits calibrated by the confidence of an image.

    Features x [B, D] -> [B, C], from the logits z = W x + b and a confidence s = sigmoid(v x + u):

        z + s (a z + c)                 form "classification", of the authors' code
        (1 - s) z + s (a z + c)         form "paper"

    a and c, one number a class, start at 1 and 0, v at 0.1: in the second form the calibration
    starts at identity, in the first at a factor 1 + s, which does not change the largest logit.
    Zhang, Li, Yan, He, Sun, CVPR 2021 (arXiv:2103.16370). Takes the `weight` and
    `bias` of a linear classifier; the caller chooses what is trained.
    """

    def __init__(self, width: int, classes: int, form: Form = "classification") -> None:
        super().__init__(width, classes)
        self.form = form
        self.scale = nn.Parameter(torch.ones(classes))
        self.offset = nn.Parameter(torch.zeros(classes))
        self.confidence = nn.Linear(width, 1)
        nn.init.constant_(self.confidence.weight, 0.1)

    def forward(self, features: Tensor) -> Tensor:
        """Return calibrated logits [B, C] of features [B, D]."""
        logits = super().forward(features)
        confidence: Tensor = self.confidence(features).sigmoid()  # [B, 1]
        aligned = confidence * (self.scale * logits + self.offset)
        kept = logits if self.form == "classification" else (1 - confidence) * logits
        return kept + aligned
