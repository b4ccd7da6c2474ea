"""RIDE with distillation from a RIDE with six experts.

Wang, Lian, Miao, Liu, Yu, "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts",
ICLR 2021 (arXiv:2010.01809), section 3.4 and the authors' code.

    L_student = sum_k L + lambda_kd T^2 KL(softmax(z_teacher / T) || softmax(z / T))    implemented

Ours is the form of the code, which gave the published numbers: both z are the means of the experts'
logits, and RIDE's loss L and the divergence are added once per expert, so that everything is
multiplied by the number of experts. On CIFAR the authors warm up for 20 epochs here instead of 5;
ours warms up as the recipe says.

The teacher is a job of its own: RIDE with six experts of the same width under the same recipe. It
is in evaluation mode; in the authors' code it is in training mode, and BatchNorm uses the
statistics of the batch. The student's network is that of `ride`.
"""

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ltbench.losses import distillation
from ltbench.methods.contract import Batch, Loss, Teacher
from ltbench.methods.ensembles.ride import RIDE, RIDEHParams
from ltbench.methods.shared import OneTeacher
from ltbench.networks import NetworkSpec


class RIDEDistillHParams(RIDEHParams):
    """Hyper-parameters of RIDE and of its distillation."""

    distillation: float = Field(1.0, ge=0, description="weight of the distillation (lambda_kd)")
    teacher_temperature: float = Field(
        1.5, gt=0, description="temperature of the distillation, of teacher and student (T)"
    )


class RIDEDistill(OneTeacher, RIDE):
    """RIDE that also matches the mean logits of a larger one."""

    title = "RIDE + distillation"
    version = 2
    teachers = (Teacher("ride", {"experts": 6}, same=("reduced",)),)
    HParams = RIDEDistillHParams
    hparams: RIDEDistillHParams

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: Any = None) -> None:
        super().__init__(spec, counts, hparams)
        (declared,) = self.teachers
        untrained = replace(spec, weights=None)  # those of its job are loaded
        theirs = RIDEHParams(**declared.hparams_for(self.hparams.model_dump()))
        self.add_teacher(RIDE(untrained, counts, theirs))

    def training_loss(self, batch: Batch) -> Loss:
        """Return RIDE's losses and the distillation, times the number of experts."""
        cosines = self.network(batch.images)  # [E, B, C]
        with torch.no_grad():
            teacher_logits = self.teacher.predict(batch.images)  # [B, C]
        losses = self.expert_losses(cosines, batch.labels)
        temperature = self.hparams.teacher_temperature
        logits = self.hparams.scale * cosines.mean(dim=0)  # [B, C]
        divergence = temperature**2 * distillation(logits, teacher_logits, temperature)
        losses["distillation"] = self.hparams.distillation * divergence
        return {name: len(cosines) * loss for name, loss in losses.items()}
