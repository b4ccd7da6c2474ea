"""LTML: branches of uniform and re-balanced batches that agree on both.

Guo and Wang, "Long-Tailed Multi-Label Visual Recognition by Collaborative Training on Uniform and
Re-balanced Samplings", CVPR 2021.

    trunk, and two branches with a last stage and a classifier of their own            implemented
    L = L_cls(u, y_u) + L_cls(r, y_r) + lambda (|u - u'|^2 + |r - r'|^2)                implemented
    L_cls = -1/C sum_c w_c log sigmoid(+-z_c)                                           implemented
    w_c = exp(1 - rho_c) of positives, exp(rho_c) of negatives                          implemented
    logit compensation z_c sigma_c + mu_c in L_cls, by class and sign                   left out
    test: the mean of the branches                                                      implemented

u are the logits of the uniform branch on its batch, u' those of the other branch; r and r' likewise
of the class-aware batch. Formulas are those of reproductions by others; the paper was not at hand.

Where ours is not theirs: images have one label, rho is the class's share of the images, and we
average logits, not probabilities. Each batch is half of the recipe's, and BatchNorm sees both
together. `reduction: sum` multiplies L_cls by C, as all other sigmoid losses of the suite do, but
not the squared differences, which are means over classes: with C times the weight training
diverges.

Compensation is left out because where sigma and mu come from was not at hand, and what was tried
defeats training: they are chosen by the label, so that they can do the network's work. Learned ones
make the loss vanish with equal logits on all images; running moments of the logits, as constants,
leave few-shot classes unlearned. The authors' ablation gives it 0.2 points of 81.4.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear, one_vs_all
from ltbench.core.autocast import at_least_float32
from ltbench.core.distributed import global_mean
from ltbench.losses import balancing_weights, binary, cross_entropy, one_vs_all_targets
from ltbench.methods.contract import Batch, EpochDraw, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec
from ltbench.networks.multi_expert import ExpertClassifiers, build_last_stages

BRANCHES = 2


class LTMLHParams(HParams):
    """Hyper-parameters of LTML."""

    consistency: float = Field(0.1, ge=0, description="weight of the squared differences (lambda)")
    loss: Literal["binary", "softmax"] = Field(
        "binary", description="softmax: cross-entropy, without weights"
    )
    reduction: Literal["sum", "mean"] = Field(
        "sum",
        description="over classes, of binary losses; the paper has the mean",
        json_schema_extra={"only_with": {"loss": "binary"}},
    )


class LTML(Method):
    """Two branches on batches of two samplers, with a disagreement loss."""

    title = "LTML"
    paper = Paper(
        title="Long-Tailed Multi-Label Visual Recognition by Collaborative Training on Uniform and "
        "Re-balanced Samplings",
        authors="Hao Guo, Song Wang",
        venue="CVPR",
        year=2021,
    )
    category = "ensemble"
    own_reading = True
    stages = (Stage("train", samplers=("instance", "class_aware"), passes=0.5),)
    version = 4
    batch_dependence = "gathered"
    HParams = LTMLHParams
    hparams: LTMLHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return two branches with classifiers."""
        backbone = build_last_stages(spec, BRANCHES)
        new = one_vs_all if self.hparams.loss == "binary" else linear
        classifiers = (new(backbone.width, spec.classes) for _ in range(BRANCHES))
        return Network(backbone, ExpertClassifiers(classifiers))

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return half a batch of each sampler."""
        half = replace(draw, batch=draw.batch // 2)
        return {name: half.sampler(name)[: draw.steps] for name in self.stage.samplers}

    def training_loss(self, batch: Mapping[str, Batch]) -> Loss:
        """Return each branch's loss on its batch, and disagreement on both."""
        uniform, balanced = batch["instance"], batch["class_aware"]
        logits = self.network(torch.cat([uniform.images, balanced.images]))  # [2, B, C]
        logits = at_least_float32(logits)
        images = len(uniform)
        differences = (logits[0] - logits[1]).square().mean(dim=1)  # [B]
        apart = global_mean(differences[:images]) + global_mean(differences[images:])
        return {
            "uniform": self.branch_loss(logits[0, :images], uniform.labels),
            "balanced": self.branch_loss(logits[1, images:], balanced.labels),
            "consistency": self.hparams.consistency * apart,
        }

    def branch_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return a branch's mean loss of logits [B, C]."""
        if self.hparams.loss == "softmax":
            return cross_entropy(logits, labels)
        targets = one_vs_all_targets(labels, logits.shape)
        weights = balancing_weights(targets, self.counts)
        parts = self.spec.classes if self.hparams.reduction == "mean" else 1
        return binary(logits, targets, weights) / parts

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return the mean of the branches' logits [B, classes]."""
        return super().predict(images, target_prior).mean(dim=0)
