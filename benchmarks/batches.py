"""Batch preparation from resident bytes against PIL and DataLoader, images a second a core."""

import time

import torch
from rounds import interleaved, report
from work import data_module, pool, recipe, usual_loader

STEPS = 60


def main() -> None:
    """Measure and report."""
    torch.set_num_threads(1)
    images = pool()
    loader = usual_loader(images)

    def usual() -> float:
        began, batches = time.perf_counter(), iter(loader)
        seen = sum(len(next(batches)[1]) for _ in range(STEPS))
        return seen / (time.perf_counter() - began)

    def ours(*, channels_last: bool) -> float:
        module = data_module(recipe(channels_last=channels_last), images)
        chunks = iter(module.train_dataloader())
        next(chunks)  # moves the bytes and draws the epoch
        began, seen = time.perf_counter(), 0
        for chunk in chunks:
            seen += sum(len(batch) for batch in chunk)  # type: ignore[misc]
        return seen / (time.perf_counter() - began)

    figures = interleaved(
        {
            "PIL and DataLoader": usual,
            "resident, contiguous": lambda: ours(channels_last=False),
            "resident, channels last": lambda: ours(channels_last=True),
        }
    )
    report("batches", "images a second", figures, "PIL and DataLoader")


if __name__ == "__main__":
    main()
