"""Augmented views of the training images of an epoch.

A view is cropped and flipped, and changed in color, by a policy or by a distortion. Augmentation
parameters are drawn for the global batch, on the CPU; ranks take equal columns.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from ltbench.augment import DistortionEpoch, PolicyEpoch, draw_distortion, draw_policy
from ltbench.config.dataset import DatasetSpec
from ltbench.config.recipe import Policy, Recipe
from ltbench.core.distributed import rank, world_size
from ltbench.core.types import ViewKind
from ltbench.data.batch_maker import BatchMaker
from ltbench.samplers import rank_columns

BLURRED = 0.5
"""Probability that a distorted view is blurred."""

LARGE = 64
"""Sides of images in pixels; views of larger ones are blurred, as is usual."""


def local_columns(values: Tensor) -> Tensor:
    """Return this rank's columns of a global batch's values [steps, B, ...]."""
    return rank_columns(values, rank(), world_size())


def augmented_view(
    maker: BatchMaker[Any],
    index: Tensor,
    spec: DatasetSpec,
    recipe: Recipe,
    generators: Callable[[str], Generator],
    kind: ViewKind = "recipe",
    first: int = 0,
) -> Iterator[Tensor]:
    """Yield an augmented view of each step's images, [B, C, H, W].

    Args:
        maker: batch maker of the training images.
        index: [steps, B] positions of the images of global batches, on the CPU.
        spec: the dataset, for the image size.
        recipe: for the policy.
        generators: returns the view's generator for a purpose.
        kind: of the augmentation (see `ViewKind`).
        first: step to begin with.
    """
    steps, batch = index.shape
    distorted = kind == "distorted"
    params = maker.draw(steps, batch, generators, distorted=distorted).map(local_columns)
    transform: Callable[[int, Tensor], Tensor] | None = None
    if distorted:
        blurred = BLURRED if spec.image_size > LARGE else 0.0
        drawn = draw_distortion(steps, batch, generators("distortion"), blurred=blurred)
        transform = DistortionEpoch(drawn.map(local_columns), maker.device)
    elif recipe.policy.kind != "none" or recipe.policy.cutout:
        transform = _policy(steps, batch, spec.image_size, recipe.policy, generators, maker.device)
    return maker.epoch(local_columns(index), params, transform, first)


def _policy(
    steps: int,
    batch: int,
    side: int,
    policy: Policy,
    generators: Callable[[str], Generator],
    device: torch.device,
) -> PolicyEpoch:
    """Return the recipe's policy with the parameters of an epoch."""
    params = draw_policy(
        policy.kind,
        steps,
        batch,
        (side, side),
        generators("policy"),
        num_ops=policy.num_ops,
        magnitude=policy.magnitude,
        cutout=policy.cutout > 0,
    )
    return PolicyEpoch(params.map(local_columns), policy.cutout, device)
