"""Augmented views of an epoch's training images: crop, flip, color, policy.

Augmentation parameters are drawn for the global batch, on the CPU; ranks take equal columns.
"""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Generator, Tensor

from ltbench.augment import PolicyEpoch, draw_policy
from ltbench.config.models import DatasetSpec, Recipe
from ltbench.core.distributed import rank, world_size
from ltbench.data.batch_maker import BatchMaker
from ltbench.samplers import rank_columns


def local_columns(values: Tensor) -> Tensor:
    """Return this rank's columns of a global batch's values [steps, B, ...]."""
    return rank_columns(values, rank(), world_size())


def augmented_view(
    maker: BatchMaker[Any],
    index: Tensor,
    spec: DatasetSpec,
    recipe: Recipe,
    generators: Callable[[str], Generator],
    first: int = 0,
) -> Iterator[Tensor]:
    """Yield an augmented view of each step's images, [B, C, H, W].

    Args:
        maker: batch maker of the training images.
        index: [steps, B] positions of the images of global batches, on the CPU.
        spec: the dataset, for the image size.
        recipe: for the policy.
        generators: returns the view's generator for a purpose.
        first: step to begin with.
    """
    steps, batch = index.shape
    params = maker.draw(steps, batch, generators).map(local_columns)
    policy, side, local = recipe.policy, spec.image_size, local_columns(index)
    if policy.kind == "none" and not policy.cutout:
        return maker.epoch(local, params, None, first)
    policy_params = draw_policy(
        policy.kind,
        steps,
        batch,
        (side, side),
        generators("policy"),
        num_ops=policy.num_ops,
        magnitude=policy.magnitude,
        cutout=policy.cutout > 0,
    )
    transform = PolicyEpoch(policy_params.map(local_columns), policy.cutout, maker.device)
    return maker.epoch(local, params, transform, first)
