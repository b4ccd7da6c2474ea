"""DiVE: distillation of a balanced teacher's predictions, seen as virtual examples.

He, Wu, Wei, "Distilling Virtual Examples for Long-tailed Recognition", ICCV 2021
(arXiv:2103.15042).

    L = (1 - alpha) L_BSCE(z, y) + alpha T^2 KL(t || softmax(z / T))              implemented
    t ~ softmax(z_teacher / T)^p, normalized                                      implemented
    teacher: balanced softmax, trained first                                      implemented
    T by the distribution of the teacher's virtual examples, then whether p < 1   left out

L_BSCE is balanced softmax. The authors' code is not public: ours is held against that of
zhangyongshun/BagofTricks-LT, whose values on CIFAR are the defaults; a reproduction of the paper
names T = 3 on CIFAR-100-LT, with the same p and alpha. With p the teacher has the temperature T / p
and the student T.

The teacher is a job of its own, balanced softmax under the same recipe, in evaluation mode. Its
logits are the plain ones. Where ours is not theirs: the teacher sees the student's augmented images
of the step, as in that code; whether the paper's does is not known to us.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ltbench.losses import balanced_softmax, distillation
from ltbench.methods.contract import Batch, HParams, Loss, Paper, Teacher
from ltbench.methods.rebalancing.balanced_softmax import BalancedSoftmax
from ltbench.methods.shared import OneTeacher
from ltbench.networks import NetworkSpec


class DiVEHParams(HParams):
    """Hyper-parameters of DiVE."""

    alpha: float = Field(
        0.5, ge=0, le=1, description="weight of the distillation, against balanced softmax"
    )
    temperature: float = Field(2.0, gt=0, description="of teacher and student (T)")
    power: float = Field(
        0.5, gt=0, le=1, description="of the teacher's probabilities; 1 leaves them (p)"
    )


class DiVE(OneTeacher):
    """Balanced softmax that also matches the flattened predictions of another one."""

    title = "DiVE"
    paper = Paper(
        title="Distilling Virtual Examples for Long-tailed Recognition",
        authors="Yin-Yin He, Jianxin Wu, Xiu-Shen Wei",
        venue="ICCV",
        year=2021,
        arxiv="2103.15042",
    )
    category = "transfer"
    version = 2
    teachers = (Teacher("balanced_softmax"),)
    oracle = "ssd_dive"
    oracle_by_others = True
    HParams = DiVEHParams
    hparams: DiVEHParams

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: Any = None) -> None:
        super().__init__(spec, counts, hparams)
        self.add_teacher(BalancedSoftmax(spec, counts))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the weighted losses of labels and of the teacher."""
        alpha, temperature = self.hparams.alpha, self.hparams.temperature
        logits = self.network(batch.images)  # [B, C]
        with torch.no_grad():
            taught = self.teacher.predict(batch.images)  # [B, C]
        divergence = distillation(logits, taught, temperature, self.hparams.power)
        return {
            "labels": (1 - alpha) * balanced_softmax(logits, batch.labels, self.counts),
            "distillation": alpha * temperature**2 * divergence,
        }
