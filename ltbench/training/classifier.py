"""A trained classifier for new images, read from an export.

Imports no Lightning.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

from ltbench.data.batch_maker import DTYPES, batch_maker
from ltbench.data.decode import BadImageError, Pixels, read_file
from ltbench.data.errors import DataError, listed
from ltbench.data.evaluation_data import decoded_images, image_files
from ltbench.data.parallel import run_in_threads
from ltbench.methods.contract import Method
from ltbench.runs.export import Export
from ltbench.training.evaluation import of_all_classes, predicting, probabilities
from ltbench.training.inference import restore, trained_classes

ImageFile = str | PathLike[str] | bytes
"""Path of an image file, or its bytes."""

READERS = 8
"""Threads that read and decode images."""


class Classifier(nn.Module):
    """A trained classifier for images, a PyTorch module in evaluation mode.

    Args:
        method: trained, restored.
        export: of the run.

    Attributes:
        classes: names of the classes, in the order of the probabilities.
        method: the trained method; `method.network` is its network.
    """

    def __init__(self, method: Method, export: Export) -> None:
        super().__init__()
        self.method, self.job, self.classes = method, export.record.job, export.class_names()
        self.known: Tensor
        self.register_buffer("known", trained_classes(export.record), persistent=False)
        self.files = image_files(self.job.dataset, self.job.recipe)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities [B, classes] of transformed images, without autocast."""
        scores = probabilities(self.method.predict(images))
        return of_all_classes(scores, self.known, len(self.classes)).float()

    def transform(self, image: ImageFile) -> Tensor:
        """Return the network's input [C, H, W] for an image.

        Args:
            image: path or bytes of an image file.

        Raises:
            DataError: if it cannot be read or, for networks of small images, has another size.
        """
        pixels = self._read(image)
        if isinstance(pixels, str):
            raise _unreadable([image], [pixels])
        return self._batch([pixels])[0].cpu()

    @torch.inference_mode()
    def predict(self, images: Tensor | Sequence[ImageFile]) -> Tensor:
        """Return the probabilities [B, classes] of images, on the CPU.

        Args:
            images: paths or bytes of image files, or a batch [B, C, H, W] of transformed images.

        Raises:
            DataError: naming all images that cannot be read.
            TypeError: if it is a single image.
        """
        if isinstance(images, Tensor):
            return self._predict(images)
        if isinstance(images, str | bytes | PathLike):
            raise TypeError("expected a list of images: predict([image])")
        results = list(self.predict_each(images))
        if any(isinstance(result, str) for result in results):
            raise _unreadable(images, results)
        rows = [result for result in results if not isinstance(result, str)]
        return torch.stack(rows) if rows else torch.empty(0, len(self.classes))

    def predict_each(self, images: Iterable[ImageFile]) -> Iterator[Tensor | str]:
        """Yield the probabilities [classes] of each image, or its error.

        Images are read in threads, a batch of the test's size ahead.

        Args:
            images: paths or bytes of image files.
        """
        size = self.job.recipe.test_batch_size(on_gpu=self.known.device.type == "cuda")
        results = run_in_threads(self._read, images, READERS, ahead=size)
        while batch := list(islice(results, size)):
            pixels = [result for result in batch if not isinstance(result, str)]
            with torch.inference_mode():
                rows = iter(self._predict(self._batch(pixels)) if pixels else ())
            yield from (result if isinstance(result, str) else next(rows) for result in batch)

    def _read(self, image: ImageFile) -> Pixels | str:
        """Return the pixels [H, W, C] of an image, or its error."""
        try:
            return self.files.pixels(image if isinstance(image, bytes) else read_file(Path(image)))
        except BadImageError as error:
            return str(error)

    def _batch(self, pixels: Sequence[Pixels]) -> Tensor:
        """Return the test's batch [B, C, H, W] of decoded images."""
        images, device = decoded_images(pixels, self.files), self.known.device
        maker = batch_maker(images, self.job.dataset, self.job.recipe, device)
        batch: Tensor = maker(torch.arange(len(pixels), device=device))
        return batch

    def _predict(self, images: Tensor) -> Tensor:
        """Return the probabilities [B, classes] of a batch, as in the test."""
        recipe, device = self.job.recipe, self.known.device
        layout = torch.channels_last if recipe.channels_last else torch.preserve_format
        images = images.to(device, DTYPES[recipe.precision], memory_format=layout)
        with predicting(self.method, recipe, lambda: images[:1], device):
            rows: Tensor = self(images)
        return rows.cpu()


def load(export: Export, plugins: Sequence[str] = ()) -> Classifier:
    """Load the classifier of an exported run, on the CPU.

    Raises:
        ConfigError: if it predicts no classes, or their names are unknown.
        RecordError: if its weights do not fit its method.
    """
    export.require_test()
    export.class_names()  # before the weights are read
    classifier = Classifier(restore(export.record, export.weights, plugins), export)
    if classifier.job.recipe.channels_last:
        classifier.to(memory_format=torch.channels_last)
    return classifier


def _unreadable(images: Sequence[ImageFile], results: Sequence[Tensor | str]) -> DataError:
    """Return the error of images that cannot be read."""
    problems = [
        f"image {number}: {result}" if isinstance(image, bytes) else f"{image}: {result}"
        for number, (image, result) in enumerate(zip(images, results, strict=True))
        if isinstance(result, str)
    ]
    return DataError(f"bad images ({len(problems)}):\n{listed(problems)}", "bad-images")
