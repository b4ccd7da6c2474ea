"""RIDE with distillation: few experts learn from a RIDE with six.

Wang, Lian, Miao, Liu, Yu, "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts",
ICLR 2021 (arXiv:2010.01809), section 3.4 and the authors' code.

    L_student = sum_k L + lambda_kd T^2 KL(softmax(z_teacher / T) || softmax(z / T))    implemented

Ours is the form of the code, which gave the published numbers: both z are the means of the experts'
logits, and RIDE's whole loss L and the divergence are added once an expert, so that everything is
multiplied by the number of experts. On CIFAR the authors warm up over 20 epochs here instead of 5;
ours warms up as the recipe says.

The teacher is a job of its own: RIDE with six experts under the same recipe, in evaluation mode,
where the authors' code leaves it in training mode and BatchNorm uses statistics of the batch. The
student's network is that of `ride`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ltbench.losses import distillation
from ltbench.methods.contract import Batch, Loss, Teacher, TrainedTeacher
from ltbench.methods.ensembles.ride import RIDE, RIDEHParams
from ltbench.networks import NetworkSpec


class RIDEDistillHParams(RIDEHParams):
    """Hyper-parameters of RIDE and of its distillation."""

    distillation: float = Field(1.0, ge=0, description="weight of the teacher (lambda_kd)")
    teacher_temperature: float = Field(1.5, gt=0, description="temperature of both (T)")


class RIDEDistill(RIDE):
    """A RIDE that also matches the mean prediction of a larger one."""

    title = "RIDE + distillation"
    teachers = (Teacher("ride", {"experts": 6}),)
    HParams = RIDEDistillHParams
    hparams: RIDEDistillHParams

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: Any = None) -> None:
        super().__init__(spec, counts, hparams)
        (declared,) = self.teachers
        self.teacher = RIDE(spec, counts, RIDEHParams(**declared.hparams))
        self.freeze(self.teacher)

    def load_teachers(self, teachers: Sequence[TrainedTeacher]) -> None:
        """Take the trained teacher's state."""
        (trained,) = teachers
        self.teacher.load_state_dict(trained.weights)

    def training_loss(self, batch: Batch) -> Loss:
        """Return RIDE's losses and the divergence from the teacher, times the number of experts."""
        cosines = self.network(batch.images)  # [E, B, C]
        with torch.no_grad():
            taught = self.teacher.predict(batch.images)
        losses = self.expert_losses(cosines, batch.labels)
        temperature = self.hparams.teacher_temperature
        logits = self.hparams.scale * cosines.mean(dim=0)  # [B, C]
        divergence = temperature**2 * distillation(logits, taught, temperature)
        losses["distillation"] = self.hparams.distillation * divergence
        return {name: len(cosines) * loss for name, loss in losses.items()}
