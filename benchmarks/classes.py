"""Losses and samplers by number of classes, in steps per second.

The batch size is 128. A loss is its forward and backward pass on given logits; a sampler's step is
its share of the draw of an epoch of 500 batches. The number of images is the same for all numbers
of classes.
"""

import argparse
import time
from functools import partial

import torch
from rounds import interleaved, report
from work import device

from ltbench.losses import balanced_softmax, cross_entropy, focal, ldam
from ltbench.samplers import SAMPLERS, draw_epoch

BATCH, STEPS, IMAGES = 128, 500, 100_000
CLASSES = (10, 1000, 8142)


def labels_of(classes: int) -> torch.Tensor:
    """Return [IMAGES] labels: exponential, at least one image per class."""
    weights = 100 ** -torch.linspace(0, 1, classes, dtype=torch.float64)
    more = (weights / weights.sum() * (IMAGES - classes)).long() + 1
    more[0] += IMAGES - more.sum()
    return torch.arange(classes).repeat_interleave(more)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    where = device()
    labels_by_classes = {classes: labels_of(classes) for classes in CLASSES}
    losses = {
        "cross-entropy": lambda logits, labels, _: cross_entropy(logits, labels),
        "balanced softmax": balanced_softmax,
        "focal": lambda logits, labels, _: focal(logits, labels),
        "LDAM": ldam,
    }

    def of_loss(name: str, classes: int) -> float:
        all_labels = labels_by_classes[classes]
        counts = torch.bincount(all_labels).to(where)
        labels = all_labels[torch.randperm(IMAGES)[:BATCH]].to(where)
        logits = torch.randn(BATCH, classes, device=where, requires_grad=True)
        steps, began = 50, time.perf_counter()
        for _ in range(steps):
            losses[name](logits, labels, counts).backward()
        float(logits.grad.sum())  # type: ignore[union-attr]
        return steps / (time.perf_counter() - began)

    def of_sampler(name: str, classes: int) -> float:
        generator = torch.Generator().manual_seed(0)
        began = time.perf_counter()
        drawn = draw_epoch(name, labels_by_classes[classes], 0, 10, BATCH, generator)
        return len(drawn) / (time.perf_counter() - began)

    variants, reference = {}, {}
    for measure, names in ((of_loss, losses), (of_sampler, SAMPLERS)):
        for name in names:
            for classes in CLASSES:
                variant = f"{name}, {classes} classes"
                variants[variant] = partial(measure, name, classes)
                reference[variant] = f"{name}, {CLASSES[0]} classes"
    report("classes", "steps a second", interleaved(variants, args.rounds), reference)


if __name__ == "__main__":
    main()
