"""Batches from images in memory against PIL and DataLoader.

Rates are images per second and core.
"""

import time

import torch
from rounds import interleaved, report
from torch import nn
from torchvision.transforms import RandAugment
from work import data_module, noise_dataset, recipe, usual_loader

from ltbench.config.recipe import Policy

STEPS = 60


def main() -> None:
    """Measure and report."""
    torch.set_num_threads(1)
    images = noise_dataset()

    def usual(*policy: nn.Module) -> float:
        began, batches = time.perf_counter(), iter(usual_loader(images, *policy))
        seen = sum(len(next(batches)[1]) for _ in range(STEPS))
        return seen / (time.perf_counter() - began)

    def ours(*, channels_last: bool, **policy: object) -> float:
        settings = recipe(channels_last=channels_last, policy=Policy.model_validate(policy))
        module = data_module(settings, images)
        steps = module.epoch(0)
        next(steps)  # copies the images and draws the epoch
        began = time.perf_counter()
        seen = sum(len(batch) for batch in steps)
        return seen / (time.perf_counter() - began)

    figures = interleaved(
        {
            "PIL and DataLoader": usual,
            "PIL and DataLoader, RandAugment": lambda: usual(RandAugment()),
            "resident, contiguous": lambda: ours(channels_last=False),
            "resident, channels last": lambda: ours(channels_last=True),
            "the same, RandAugment": lambda: ours(channels_last=True, kind="randaugment"),
            "the same, AutoAugment and Cutout": lambda: ours(
                channels_last=True, kind="autoaugment_cifar10", cutout=16
            ),
        }
    )
    report("batches", "images a second", figures, "PIL and DataLoader")


if __name__ == "__main__":
    main()
