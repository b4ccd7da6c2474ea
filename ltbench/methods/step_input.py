"""Input of a training step without a dataset, for measurements and checks."""

import torch

from ltbench.core.batch import Batch, StepInput
from ltbench.methods.contract import EpochDraw, Method


def example_draw(method: Method, batch_size: int) -> EpochDraw:
    """Return the draw of an epoch on images ordered by class.

    Args:
        method: in an epoch.
        batch_size: of a global batch; all images if there are fewer.
    """
    counts = method.counts.cpu()
    labels = torch.arange(len(counts)).repeat_interleave(counts)  # [N]
    progress = method.progress
    return EpochDraw(labels, progress.epoch, progress.epochs, min(batch_size, len(labels)), seed=0)


def step_input(method: Method, batch: Batch) -> StepInput:
    """Return a step's input: a batch, or rows of it by stream.

    They are spread over the batch, so that the rows of its halves are halves of the rows.
    """
    draw = example_draw(method, len(batch))
    streams = {}
    for name, index in method.epoch_indices(draw).items():
        count = len(batch) * index.shape[1] // draw.batch
        if count == len(batch):
            streams[name] = batch
            continue
        rows = torch.arange(count, device=batch.labels.device) * len(batch) // count
        images = batch.images.index_select(batch.images.ndim - 4, rows)  # views come first
        streams[name] = Batch(images, batch.labels[rows], batch.index[rows])
    if method.stage.has_auxiliary_stream:
        streams["auxiliary"] = batch
    return next(iter(streams.values())) if len(streams) == 1 else streams
