"""Training steps of every method relative to softmax, images per second.

Every trained stage, with its samplers, views, teachers and batches as in a job, from random
weights, which cost the same.
"""

import argparse
from functools import partial

import torch
from rounds import interleaved, report
from work import device, noise_dataset, our_steps, ready, recipe

from ltbench.core.types import Stage
from ltbench.methods import METHODS
from ltbench.methods.contract import Method

STEPS = 6


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet32")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    images, where = noise_dataset(128 * STEPS), device()
    settings = recipe(network=args.network, channels_last=True)

    def measured(kind: type[Method], stage: Stage) -> float:
        return our_steps(settings, images, where, ready(settings, kind, stage))

    variants = {}
    for key, kind in METHODS.items():
        trained = [stage for stage in kind.stages if stage.is_trained]
        for stage in trained:
            name = key if len(trained) == 1 else f"{key}, {stage.name}"
            variants[name] = partial(measured, kind, stage)
    figures = interleaved(variants, args.rounds)
    report(f"methods_{args.network}", "images a second", figures, "softmax")


if __name__ == "__main__":
    main()
