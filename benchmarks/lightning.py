"""Steps through Lightning against a bare loop over the same batches.

Rates are images per second. ResNet-32, and a tiny CNN with steps as short as a GPU's, on which a
millisecond shows. Both sum losses on the device and read them once per epoch.
"""

import argparse
import time
from functools import partial

import torch
from rounds import interleaved, report
from torch import nn
from work import data_module, device, noise_dataset, our_steps, ready, recipe

from ltbench.losses import cross_entropy
from ltbench.methods import METHODS
from ltbench.methods.contract import Method
from ltbench.networks import Network, NetworkSpec
from ltbench.training.schedule import build_optimizer


class Tiny(METHODS["softmax"]):  # type: ignore[misc]
    """Softmax on three narrow convolutions."""

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return images [B, C, 32, 32] -> logits [B, classes]."""
        layers: list[nn.Module] = []
        for channels, width in ((spec.channels, 4), (4, 8), (8, 8)):
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.ReLU(inplace=True)]
        backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return Network(backbone, nn.Linear(8, spec.classes))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    where = device()
    settings = recipe(channels_last=True)

    def bare(kind: type[Method], steps: int) -> float:
        method = ready(settings, kind).to(where).train()
        data = data_module(settings, noise_dataset(128 * steps))
        optimizer = build_optimizer(settings.stage1.optimizer, method)
        total = torch.zeros((), device=where, dtype=torch.float64)
        began, seen = time.perf_counter(), 0
        for batch in data.epoch(0):
            loss = cross_entropy(method.network(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
            seen += len(batch.labels)
        total.item()
        return seen / (time.perf_counter() - began)

    def ours(kind: type[Method], steps: int) -> float:
        return our_steps(settings, noise_dataset(128 * steps), where, ready(settings, kind))

    for name, kind, steps in (("tiny", Tiny, 320), ("resnet32", METHODS["softmax"], 16)):
        variants = {
            "bare loop": partial(bare, kind, steps),
            "Lightning": partial(ours, kind, steps),
        }
        figures = interleaved(variants, args.rounds)
        report(f"lightning_{name}", "images a second", figures, "bare loop")


if __name__ == "__main__":
    main()
