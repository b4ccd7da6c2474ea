"""Multi-head normalized classifier of De-confound-TDE, and its total direct effect.

Tang, Huang, Zhang, "Long-Tailed Classification by Keeping the Good and Removing the Bad Momentum
Causal Effect", NeurIPS 2020 (arXiv:2009.12991).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalNormClassifier(nn.Module):
    """Mean of K normalized classifiers on D / K features each.

        z = scale / K sum_k w_k / (||w_k|| + gamma) . x_k / ||x_k||

    Features [B, D] -> logits [B, C].

    Args:
        width: D.
        classes: C.
        heads: K.
        scale: inverse temperature (tau in the paper).
        gamma: added to the norms of class weights.

    Raises:
        ValueError: if D is not divisible by K.
    """

    def __init__(
        self, width: int, classes: int, heads: int = 2, scale: float = 16.0, gamma: float = 1 / 32
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{width} features are not divisible by {heads} heads")
        self.heads, self.scale, self.gamma = heads, scale, gamma
        self.weight = nn.Parameter(torch.empty(classes, width).uniform_(-1, 1) / width**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [B, C] of features [B, D]."""
        return self._logits(self._directions(features))

    def direct_effect(self, features: Tensor, mean: Tensor, alpha: float) -> Tensor:
        """Return logits [B, C] without the effect of the mean feature.

        Args:
            features: [B, D].
            mean: [D]; each head uses its direction only; zero removes nothing.
            alpha: weight of the component along the mean that is subtracted.
        """
        directions, mean_directions = self._directions(features), self._directions(mean[None])
        cosines = (directions * mean_directions).sum(dim=2, keepdim=True)  # [B, K, 1]
        return self._logits(directions - alpha * cosines * mean_directions)

    def _split(self, values: Tensor) -> Tensor:
        return values.reshape(len(values), self.heads, -1)  # [B, D] -> [B, K, D / K]

    def _directions(self, features: Tensor) -> Tensor:
        return F.normalize(self._split(features), dim=2)

    def _logits(self, directions: Tensor) -> Tensor:
        weight = self._split(self.weight)  # [C, K, D / K]
        weight = weight / (torch.linalg.vector_norm(weight, dim=2, keepdim=True) + self.gamma)
        return self.scale / self.heads * F.linear(directions.flatten(1), weight.flatten(1))
