"""Convex combinations of samples with their partners."""

from torch import Tensor

from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG


def mix(values: Tensor, partners: Tensor, share: float | Tensor) -> Tensor:
    """Return share * values + (1 - share) * partners.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018 (arXiv:1710.09412).

    Args:
        values: images or losses, of any shape.
        partners: of the same shape.
        share: of the values, in [0, 1]; a tensor must broadcast.
    """
    return share * values + (1 - share) * partners


def mixup(batch: Batch, alpha: float, rng: GlobalBatchRNG) -> tuple[Tensor, Tensor, float]:
    """Mix a batch's images with a permutation of the global batch.

    Zhang et al., see `mix`; the whole batch has one share, as in their code.

    Args:
        batch: images [B, C, H, W].
        alpha: of Beta(alpha, alpha), the distribution of the share.
        rng: of the method.

    Returns:
        Mixed images [B, C, H, W], the partners' labels [B], the share of the batch's images.
    """
    share = rng.beta(alpha)
    order = rng.permutation(batch.labels)
    images = mix(batch.images, rng.gather_permuted(batch.images, order), share)
    return images, rng.gather_permuted(batch.labels, order), share
