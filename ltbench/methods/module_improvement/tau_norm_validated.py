"""tau-normalized classifier, tau chosen on validation images.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    w~_i = w_i / ||w_i||^tau    (3)                  implemented
    tau by the accuracy on validation images         implemented

As in the authors' code tau is the best of 0, 0.1, .. 2 by the mean accuracy of the classes, and the
bias is dropped. Without validation images use `tau_norm`, with a fixed tau, or `tau_norm_learned`.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltbench.classifiers import tau_normalized
from ltbench.methods.contract import Batch, Method, Stage
from ltbench.methods.papers import DECOUPLING
from ltbench.metrics import grid_search, mean_class_accuracy
from ltbench.networks import Network, NetworkSpec

TAUS = [step / 10 for step in range(21)]


class TauNormValidated(Method):
    """A trained network with rescaled class weights."""

    title = "tau-norm (validated)"
    paper = DECOUPLING
    category = "decoupled"
    stages = (Stage("rescale", is_trained=False, tunes_on_validation="end", recipe_stage="stage2"),)
    version = 2
    init_from = "softmax"
    required_init_tensors = ("weight",)
    oracle = "classifiers"
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the default network; register tau."""
        self.tau: Tensor
        self.register_buffer("tau", torch.tensor(0.0))
        return super().build_network(spec)

    def tune_on_validation(self, batches: Iterable[Batch]) -> None:
        """Choose tau, normalize the weights and drop the bias."""
        classifier = cast("nn.Linear", self.network.classifier)
        pairs = [(self.network.features(batch.images), batch.labels) for batch in batches]
        features, labels = (torch.cat(part) for part in zip(*pairs, strict=True))

        def accuracy(tau: float) -> float:
            logits = F.linear(features, tau_normalized(classifier.weight, tau))
            return mean_class_accuracy(logits.argmax(dim=1), labels, self.spec.classes)

        self.tau.fill_(grid_search(TAUS, accuracy))
        classifier.weight.copy_(tau_normalized(classifier.weight, float(self.tau)))
        classifier.bias.zero_()
