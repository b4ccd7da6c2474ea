"""UNO-IC: posterior of a trained network, re-balanced by a validated strength.

Tian, Liu, Glaser, Hsu, Kira, "Posterior Re-calibration for Imbalanced Datasets", NeurIPS 2020
(arXiv:2010.11820).

    p_r ~ p / pi_train * pi_test, the posterior under the test prior              implemented
    p_f ~ p^(1 - lambda) * p_r^lambda, lambda may exceed 1                        implemented
    lambda by the accuracy on validation images                                   implemented
    temperature of the likelihood                                                 implemented
    uncertainty of single images, fusion of sensors        left out: for degraded images

With a uniform test prior the logits of p_f are z - lambda log pi_train. Here lambda is the best of
0, 0.1, .. 2 by the mean accuracy of the classes; the authors try values by hand. The temperature T
divides these logits, which equals dividing z by T and using lambda / T. It minimizes the negative
log-likelihood of the validation images, and changes confidences but no predictions.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ltbench.losses import prior_rebalancing
from ltbench.methods.contract import Batch, Method, Paper, Stage
from ltbench.metrics import fit_temperature, grid_search, mean_class_accuracy
from ltbench.networks import NetworkSpec

STRENGTHS = [step / 10 for step in range(21)]


class UNOIC(Method):
    """A trained network with shifted and scaled logits."""

    title = "UNO-IC"
    paper = Paper(
        title="Posterior Re-calibration for Imbalanced Datasets",
        authors="Junjiao Tian, Yen-Cheng Liu, Nathaniel Glaser, Yen-Chang Hsu, Zsolt Kira",
        venue="NeurIPS",
        year=2020,
        arxiv="2010.11820",
    )
    category = "logit adjustment"
    stages = (
        Stage("rebalance", is_trained=False, tunes_on_validation="end", recipe_stage="stage2"),
    )
    version = 2
    init_from = "softmax"
    required_init_tensors = ("weight", "bias")
    test_time = "known_test_prior"
    oracle = "uno_ic"

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the default network; register strength and temperature."""
        self.strength: Tensor
        self.temperature: Tensor
        self.register_buffer("strength", torch.tensor(0.0))
        self.register_buffer("temperature", torch.tensor(1.0))
        return super().build_network(spec)

    def tune_on_validation(self, batches: Iterable[Batch]) -> None:
        """Choose the strength by accuracy, then the temperature by likelihood."""
        pairs = [(self.network(batch.images), batch.labels) for batch in batches]
        logits, labels = (torch.cat(part) for part in zip(*pairs, strict=True))

        def accuracy(strength: float) -> float:
            predictions = prior_rebalancing(logits, self.counts, strength).argmax(dim=1)
            return mean_class_accuracy(predictions, labels, self.spec.classes)

        strength = grid_search(STRENGTHS, accuracy)
        self.strength.fill_(strength)
        rebalanced = prior_rebalancing(logits, self.counts, strength)
        self.temperature.fill_(fit_temperature(rebalanced, labels))

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return re-balanced logits [B, classes] of images."""
        strength = float(self.strength)
        logits = prior_rebalancing(self.network(images), self.counts, strength, target_prior)
        return logits / self.temperature.to(logits.dtype)
