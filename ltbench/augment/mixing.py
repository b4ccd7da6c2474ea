"""Mixing of images in pairs: convex combinations and pasted boxes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
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


@dataclass(frozen=True)
class MixedBatch:
    """Mixed images, and both labels of each.

    The soft label is share * labels + (1 - share) * partners.

    Attributes:
        images: [B, C, H, W].
        labels: [B], int64.
        partners: [B], int64, the second labels.
        share: of the first labels, in [0, 1].
    """

    images: Tensor
    labels: Tensor
    partners: Tensor
    share: float

    def loss(self, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the mixed loss of both labels.

        For cross-entropy it is that of the soft labels.

        Args:
            loss_of: labels [B] -> loss.
        """
        return mix(loss_of(self.labels), loss_of(self.partners), self.share)


def unmixed(batch: Batch) -> MixedBatch:
    """Return a batch as it is.

    Its loss is, bit for bit, that of its labels.
    """
    return MixedBatch(batch.images, batch.labels, batch.labels, share=1.0)


def permuted(batch: Batch, rng: GlobalBatchRNG) -> tuple[Tensor, Tensor]:
    """Return partners of images, by a permutation of the global batch.

    Args:
        batch: images [B, C, H, W].
        rng: of the method.

    Returns:
        Images [B, C, H, W] and labels [B], of any rank.
    """
    order = rng.permutation(batch.labels)
    return rng.gather_permuted(batch.images, order), rng.gather_permuted(batch.labels, order)


def mixup(batch: Batch, alpha: float, rng: GlobalBatchRNG) -> MixedBatch:
    """Mix a batch's images with a permutation of the global batch.

    Zhang et al., see `mix`; the whole batch has one share, as in their code.

    Args:
        batch: images [B, C, H, W].
        alpha: of Beta(alpha, alpha), the distribution of the share.
        rng: of the method.
    """
    share = rng.beta(alpha)
    images, labels = permuted(batch, rng)
    return MixedBatch(mix(batch.images, images, share), batch.labels, labels, share)


def box(
    share: float, sizes: tuple[int, int], center: tuple[int, int], *, round_up: bool = False
) -> tuple[slice, slice]:
    """Return the rows and columns of a box of CutMix.

    Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features", ICCV 2019 (arXiv:1905.04899), section 3.1. As in their code its sides are rounded
    down to even numbers of pixels, and what exceeds the image is cut off.

    Args:
        share: of the image that remains, before the cut.
        sizes: rows and columns of the image, H and W.
        center: row and column.
        round_up: whether sides are first rounded up to pixels instead of down, as in GLMC's code.
    """
    whole = math.ceil if round_up else math.floor
    halves = [whole(size * math.sqrt(1 - share)) // 2 for size in sizes]
    rows, columns = (
        slice(max(middle - half, 0), min(middle + half, size))
        for size, middle, half in zip(sizes, center, halves, strict=True)
    )
    return rows, columns


def paste(batch: Batch, images: Tensor, labels: Tensor, where: tuple[slice, slice]) -> MixedBatch:
    """Paste a box of other images into a batch's images.

    The share is that of the pixels that remain.

    Args:
        batch: images [B, C, H, W].
        images: [B, C, H, W], those that the box is cut from.
        labels: [B], of these.
        where: rows and columns.
    """
    pasted = batch.images.clone()
    pasted[:, :, *where] = images[:, :, *where]
    area = math.prod(part.stop - part.start for part in where)
    share = 1 - area / math.prod(pasted.shape[-2:])
    return MixedBatch(pasted, batch.labels, labels, share)


def cutmix(
    batch: Batch, images: Tensor, labels: Tensor, alpha: float, rng: GlobalBatchRNG
) -> MixedBatch:
    """Paste a random box of other images into a batch.

    Yun et al., see `box`; the whole batch has one box, whose center is uniform over the pixels.

    Args:
        batch: images [B, C, H, W].
        images: [B, C, H, W], those that the box is cut from.
        labels: [B], of these.
        alpha: of Beta(alpha, alpha), the distribution of the share before the cut.
        rng: of the method.
    """
    share, (row, column) = rng.beta(alpha), rng.shared(2).tolist()
    height, width = batch.images.shape[-2:]
    center = int(row * height), int(column * width)
    return paste(batch, images, labels, box(share, (height, width), center))


def relabel(mixed: MixedBatch, counts: Tensor, ratio: float, threshold: float) -> MixedBatch:
    """Favor the rarer label of pairs of unequal classes.

    Chou et al., "Remix: Rebalanced Mixup", ECCV 2020 workshops (arXiv:2007.03943): the
    label of an image has the share 0 instead of lambda, if it has at least `ratio` times as many
    training images as its partner's and lambda < `threshold`; 1 the other way round.

    Args:
        mixed: by `mixup`.
        counts: [C], training images per class.
        ratio: of the counts, above 1 (kappa).
        threshold: share of the common class below which its label is dropped (tau).
    """
    own, other = counts[mixed.labels], counts[mixed.partners]  # [B]
    drop_own = (own >= ratio * other) & (mixed.share < threshold)
    drop_other = (other >= ratio * own) & (1 - mixed.share < threshold)
    return replace(
        mixed,
        labels=torch.where(drop_own, mixed.partners, mixed.labels),
        partners=torch.where(drop_other, mixed.labels, mixed.partners),
    )
