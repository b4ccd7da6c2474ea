"""An augmented view of an epoch's training images: crops, flips, colors and policy are drawn here.

Every draw is made for the global batch, on the CPU; ranks take equal columns of it.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Generator, Tensor

from ltbench.augment import PolicyEpoch, draw_policy
from ltbench.config.models import DatasetSpec, Recipe
from ltbench.core.distributed import rank, world_size
from ltbench.data.batch_maker import BatchMaker
from ltbench.samplers import rank_columns


def own_columns(draws: Tensor) -> Tensor:
    """Return this rank's columns of global draws [steps, B, ...]."""
    return rank_columns(draws, rank(), world_size())


def augmented_view(
    maker: BatchMaker[Any],
    index: Tensor,
    spec: DatasetSpec,
    recipe: Recipe,
    streams: Callable[[str], Generator],
    first: int = 0,
) -> Iterator[Tensor]:
    """Yield a view of each step's images, [B, C, H, W].

    Args:
        maker: of batches of the training images.
        index: [steps, B] positions of this rank's images, on the CPU.
        spec: the dataset, for the size of images.
        recipe: for the global batch and the policy.
        streams: returns the view's generator for a purpose.
        first: step to begin with.
    """
    draws = maker.draw(len(index), recipe.batch_size, streams).map(own_columns)
    policy, side = recipe.policy, spec.image_size
    if policy.kind == "none" and not policy.cutout:
        return maker.epoch(index, draws, None, first)
    drawn = draw_policy(
        policy.kind,
        len(index),
        recipe.batch_size,
        (side, side),
        streams("policy"),
        num_ops=policy.num_ops,
        magnitude=policy.magnitude,
        cutout=policy.cutout > 0,
    )
    altered = PolicyEpoch(drawn.map(own_columns), policy.cutout, maker.device)
    return maker.epoch(index, draws, altered, first)
