"""Images in their order, unaugmented and normalised, as every test sees them.

The job's test, tests between epochs, statistics, auxiliary images and the test of exported weights
all read these batches.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ltbench.augment import ResidentImages
from ltbench.config.models import DatasetSpec, Recipe
from ltbench.core.batch import Batch
from ltbench.data.image_store import FileStore
from ltbench.data.loader import OrderedLoader
from ltbench.data.pool import ImageFiles, Images
from ltbench.data.streamed import Stored, StreamedImages

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp64": torch.float64,
}


def normalised(
    source: Tensor | Stored,
    spec: DatasetSpec,
    recipe: Recipe,
    device: torch.device,
    padding: int = 0,
) -> ResidentImages | StreamedImages:
    """Return what makes normalised batches of images.

    Args:
        source: their bytes, or what they are read from.
        spec: the dataset, for its normalisation and size.
        recipe: for precision and memory format.
        device: where batches are made.
        padding: pixels that an image in memory may be shifted by to each side.
    """
    mean, std = spec.normalisation.mean, spec.normalisation.std
    dtype, last = DTYPES[recipe.precision], recipe.channels_last
    if isinstance(source, Stored):
        return StreamedImages(
            source, spec.image_size, mean, std, dtype=dtype, channels_last=last, device=device
        )
    return ResidentImages(
        source, mean, std, padding=padding, dtype=dtype, channels_last=last, device=device
    )


def uncached(
    images: Images | ImageFiles, spec: DatasetSpec, recipe: Recipe, device: torch.device
) -> ResidentImages | StreamedImages:
    """Return what makes normalised batches of images that no cache has, read from their files."""
    if not isinstance(images, ImageFiles):
        return normalised(torch.from_numpy(np.ascontiguousarray(images)), spec, recipe, device)
    side = recipe.short_side or spec.image_size
    threads, quality = torch.get_num_threads(), recipe.jpeg_quality
    store = FileStore(images, spec.channels, side, threads, quality)
    return normalised(Stored(store, np.arange(len(images.paths))), spec, recipe, device)


def in_order(
    images: ResidentImages | StreamedImages,
    labels: Tensor,
    recipe: Recipe,
    device: torch.device,
    *,
    span: range | None = None,
    index: Tensor | None = None,
    on_batch: Callable[[], object] = lambda: None,
) -> OrderedLoader:
    """Return the loader of images in order.

    Args:
        images: what makes their batches.
        labels: [N], int64.
        recipe: for the size of a batch.
        device: where batches are made.
        span: of the index, what this rank goes through; None for all of it.
        index: [M] positions of the images, in order; None for all of them.
        on_batch: called before every batch.
    """
    labels = labels.to(device)
    index = (torch.arange(len(labels)) if index is None else index).to(device)

    def take(first: int, last: int) -> Batch:
        on_batch()
        here = index[first:last]
        return Batch(images(here), labels[here], here)

    return OrderedLoader(take, range(len(index)) if span is None else span, recipe.eval_batch)
