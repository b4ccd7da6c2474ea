"""The test of a job against the usual validation loop.

Rates are images per second.
"""

import argparse
from functools import partial

import torch
from rounds import interleaved, report
from work import data_module, device, job, network, noise_dataset, ready, recipe, usual_validation

from ltbench.training.fit import make_trainer
from ltbench.training.module import TrainingModule


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--bf16", action="store_true", help="also bf16")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images, where = noise_dataset(128, args.images), device()

    def ours(**changes: object) -> float:
        settings = recipe(network=args.network, channels_last=True, **changes)
        one = job(settings)
        module = TrainingModule(ready(settings), one, lambda _: None)
        data = data_module(settings, images)
        make_trainer(one, where).test(module, datamodule=data, verbose=False)
        return args.images / module.test_seconds

    variants = {
        "usual validation": lambda: usual_validation(images, network(args.network), where),
        "ours, fp32": ours,
        "ours, fp32 folded": partial(ours, fold_batchnorm=True),
        "ours, fp32, batches of 125": partial(ours, eval_batch_size=125),
        "ours, fp32 folded, batches of 125": partial(
            ours, eval_batch_size=125, fold_batchnorm=True
        ),
    }
    if args.bf16:
        variants["ours, bf16"] = partial(ours, precision="bf16")
        variants["ours, bf16 folded"] = partial(ours, precision="bf16", fold_batchnorm=True)
    figures = interleaved(variants, args.rounds)
    report(f"evaluation_{args.network}", "images a second", figures, "usual validation")


if __name__ == "__main__":
    main()
