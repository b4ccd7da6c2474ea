"""SADE: experts for three class priors, weighted on test images.

It was first called TADE.

Zhang, Hooi, Hong, Feng, "Self-Supervised Aggregation of Diverse Experts for Test-Agnostic
Long-Tailed Recognition", NeurIPS 2022 (arXiv:2107.09249; first as "Test-Agnostic Long-Tailed
Recognition by Test-Time Aggregating Diverse Experts with Self-Supervision").

    expert 1: CE(z_1)                                               (2)    implemented
    expert 2: CE(z_2 + log pi)                                      (3)    implemented
    expert 3: CE(z_3 + log pi - tau log pi')                        (4)    implemented
    test time: max_w mean_x cos(p(view 1 of x), p(view 2 of x)),
        p = softmax(sum_k softmax(w)_k z_k)                         (5)    implemented in `adapt`

pi' is the inverse prior: the same values in reversed order of the classes. As in the authors' code
1e-9 is added to each prior inside the logarithm; the weights w start equal and are trained by SGD
(learning rate 0.1, Nesterov momentum 0.9, weight decay 5e-4), for 5 epochs or until a weight is
below 0.05. Without `adapt`, as in the main test, the prediction is the mean of the experts. The
authors' script for CIFAR adapts to training images with the class frequencies of the test; we adapt
to the test images, as the paper and their other scripts do.

The network is that of `ride` with three experts: cosines times 30, the same shared stages and
widths; full width on CIFAR-10-LT and Places-LT. Their learning rates are 0.1 on CIFAR-100-LT, 0.05
on CIFAR-10-LT, and on Places-LT 0.01 for classifiers and 0.001 elsewhere. On CIFAR their weight
decay is 5e-4, with Nesterov momentum; here both are the recipe's.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.losses import cross_entropy, inverse_softmax, logit_adjustment
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper
from ltbench.networks import NetworkSpec
from ltbench.networks.multi_expert import build_cosine_experts

EXPERTS = 3
EPSILON = 1e-9


class SADEHParams(HParams):
    """Hyper-parameters of SADE."""

    tau: float = Field(2.0, ge=0, description="strength of the inverse prior")
    reduced: bool = Field(
        True, description="whether the experts' stages of a ResNet have 3/4 of the channels"
    )
    scale: float = Field(30.0, gt=0, description="factor of the cosines")
    lr: float = Field(1.0, gt=0, description="learning rate, relative to the recipe's")
    classifier_lr: float = Field(
        1.0, gt=0, description="learning rate of classifiers, relative to `lr`"
    )
    test_epochs: int = Field(5, ge=1, description="passes over the test images in `adapt`")
    test_lr: float = Field(0.1, gt=0, description="learning rate of the experts' weights")
    least_weight: float = Field(
        0.05, ge=0, description="`adapt` stops once an expert's weight is below this"
    )


class SADE(Method):
    """Experts for the training, the uniform and the inverse prior."""

    title = "SADE"
    aliases = ("tade",)
    paper = Paper(
        title="Self-Supervised Aggregation of Diverse Experts for Test-Agnostic "
        "Long-Tailed Recognition",
        authors="Yifan Zhang, Bryan Hooi, Lanqing Hong, Jiashi Feng",
        venue="NeurIPS",
        year=2022,
        arxiv="2107.09249",
    )
    category = "ensemble"
    test_time = "transductive"
    oracle = "sade"
    HParams = SADEHParams
    hparams: SADEHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return three experts with cosine classifiers; register their weights."""
        self.weights: Tensor
        self.register_buffer("weights", torch.full((EXPERTS,), 1 / EXPERTS))
        return build_cosine_experts(spec, EXPERTS, reduced=self.hparams.reduced)

    def logits(self, images: Tensor) -> Tensor:
        """Return the experts' logits [E, B, C]."""
        logits: Tensor = self.hparams.scale * self.network(images)
        return logits

    def lr_scale(self, parameter: str) -> float:
        """Return a parameter's learning rate, relative to the recipe's."""
        in_classifier = parameter.startswith("network.classifier.")
        return self.hparams.lr * (self.hparams.classifier_lr if in_classifier else 1.0)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses of the three experts."""
        (first, second, third), labels = self.logits(batch.images), batch.labels
        return {
            "training prior": cross_entropy(first, labels),
            "uniform prior": logit_adjustment(second, labels, self.counts, epsilon=EPSILON),
            "inverse prior": inverse_softmax(third, labels, self.counts, self.hparams.tau, EPSILON),
        }

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the weighted sum of the experts' logits [B, classes]."""
        return aggregate(self.weights, self.logits(images))

    def adapt(self, batches: Iterable[Tensor]) -> None:
        """Train the experts' weights so that views of an image agree.

        Args:
            batches: [2, B, C, H, W], two views of each test image, equal on every rank; iterated
                once per epoch.
        """
        hparams = self.hparams
        with torch.inference_mode(mode=False), torch.enable_grad():
            scores = nn.Parameter(torch.full_like(self.weights, 1 / EXPERTS))  # weights' logits
            optimizer = torch.optim.SGD(
                [scores], lr=hparams.test_lr, momentum=0.9, weight_decay=5e-4, nesterov=True
            )
            for _ in range(hparams.test_epochs):
                for views in batches:
                    with torch.no_grad():
                        first, second = map(self.logits, views)
                    loss = -agreement(scores.softmax(dim=0), first, second)
                    (scores.grad,) = torch.autograd.grad(loss, scores)
                    optimizer.step()
                if (scores.detach().softmax(dim=0).round(decimals=2) < hparams.least_weight).any():
                    break
            self.weights.copy_(scores.detach().softmax(dim=0))


def aggregate(weights: Tensor, logits: Tensor) -> Tensor:
    """Return the weighted sum of the experts' logits.

    Args:
        weights: [E].
        logits: [E, B, C].

    Returns:
        [B, C].
    """
    return torch.einsum("e,ebc->bc", weights, logits)


def agreement(weights: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the mean cosine similarity of two views' class probabilities.

    Args:
        weights: [E], of the experts.
        first: [E, B, C], the experts' logits of the first views.
        second: [E, B, C], those of the second views.
    """
    one, two = (aggregate(weights, logits).softmax(dim=1) for logits in (first, second))
    return F.cosine_similarity(one, two, eps=1e-6).mean()
