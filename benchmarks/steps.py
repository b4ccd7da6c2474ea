"""Training steps of a job against the usual loop, images per second.

ResNet-32, batch size 128, images of CIFAR's shape; work.py describes both loops.
"""

import argparse
from functools import partial

import torch
from rounds import interleaved, report
from work import device, network, noise_dataset, our_steps, ready, recipe, usual_steps

STEPS = 16


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="also bf16")
    parser.add_argument("--compile", action="store_true", help="also compiled networks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images, where = noise_dataset(128 * STEPS), device()

    def ours(**changes: object) -> float:
        settings = recipe(network=args.network, **changes)
        return our_steps(settings, images, where, ready(settings))

    forms: dict[str, dict[str, object]] = {
        "fp32": {},
        "fp32 channels last": {"channels_last": True},
    }
    if where.type == "cuda":
        forms["tf32 channels last"] = {"channels_last": True, "precision": "tf32"}
    if args.bf16:
        forms["bf16 channels last"] = {"channels_last": True, "precision": "bf16"}
    if args.compile:
        compiled = {f"{name} compiled": form | {"compile": "on"} for name, form in forms.items()}
        forms |= compiled
    variants = {"usual loop": lambda: usual_steps(images, network(args.network), where, STEPS)}
    for name, form in forms.items():
        variants[f"ours, {name}"] = partial(ours, **form)
    report(
        f"steps_{args.network}",
        "images a second",
        interleaved(variants, args.rounds),
        "usual loop",
    )


if __name__ == "__main__":
    main()
