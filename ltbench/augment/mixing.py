"""Convex mixtures of samples with their partners."""

from torch import Tensor

from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG


def mix(values: Tensor, partners: Tensor, share: float | Tensor) -> Tensor:
    """Return share * values + (1 - share) * partners: images, losses, whatever is mixed alike.

    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018 (arXiv:1710.09412).

    Args:
        values: any shape.
        partners: of the same shape.
        share: of the values, in [0, 1]; a tensor must broadcast.
    """
    return share * values + (1 - share) * partners


def mixup(batch: Batch, alpha: float, rng: GlobalBatchRNG) -> tuple[Tensor, Tensor, float]:
    """Mix a batch's images with those of partners from a permutation of the global batch.

    Zhang et al., as above; one share serves the whole batch, as in their code.

    Args:
        batch: images [B, C, H, W].
        alpha: of Beta(alpha, alpha), which the share is drawn from.
        rng: of the step.

    Returns:
        Mixed images [B, C, H, W], the partners' labels [B], the share of the batch's own.
    """
    share = rng.beta(alpha)
    order = rng.permutation(batch.labels)
    images = mix(batch.images, rng.gather_permuted(batch.images, order), share)
    return images, rng.gather_permuted(batch.labels, order), share
