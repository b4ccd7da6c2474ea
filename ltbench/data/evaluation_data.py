"""Labeled images for `ltbench evaluate`: a part of a dataset, or a folder."""

import logging
from pathlib import Path
from typing import Literal

import numpy as np

from ltbench.config.models import DatasetSpec, Recipe, Split
from ltbench.data.decode import BadImageError, pixels_of, read_file
from ltbench.data.errors import DataError, listed
from ltbench.data.image_folder import list_folder
from ltbench.data.images import FileImages, InMemoryImages
from ltbench.data.raw_dataset import LabeledImages
from ltbench.data.sources import load_raw_dataset
from ltbench.data.split import make_split

log = logging.getLogger(__name__)

TestPart = Literal["test", "train", "val"]


def part_of_dataset(
    spec: DatasetSpec,
    part: TestPart,
    split: Split,
    data_root: str | Path | None = None,
    classes: tuple[str, ...] | None = None,
) -> LabeledImages:
    """Return the test, training or validation images of a dataset.

    Args:
        spec: the dataset.
        part: "test", "train" or "val".
        split: of the training images.
        data_root: folder of all datasets.
        classes: expected class names, in order; None for any.

    Raises:
        DataError: if the images cannot be loaded, or have other classes.
    """
    raw = load_raw_dataset(spec, data_root)
    if classes is not None and raw.class_names != classes:
        raise DataError(
            f"{spec.name} has other classes than the run, or in another order", "mismatch"
        )
    if part == "test":
        return LabeledImages(raw.test_images, raw.test_labels)
    if part == "train":
        index = make_split(spec, raw, split).train
        return LabeledImages(raw.train_images[index], raw.train_labels[index])
    if raw.val_images is None or raw.val_labels is None:
        raise DataError(f"{spec.name} has no validation images", "missing-data")
    return LabeledImages(raw.val_images, raw.val_labels)


def images_of_folder(
    folder: Path, spec: DatasetSpec, recipe: Recipe, classes: tuple[str, ...]
) -> LabeledImages:
    """Return the images of a folder with one subfolder per class.

    Args:
        folder: holds `<class>/<file>`; classes may be missing.
        spec: the dataset, for size and channels of the images; any size if the recipe resizes.
        recipe: of the run.
        classes: class names in the order of labels.

    Raises:
        DataError: with all problems of the folder and its images.
    """
    folder = folder.resolve()
    index = list_folder(folder, {"train": "."})
    if index.skipped:
        log.warning("skipped files, no images or hidden:\n%s", listed(index.skipped))
    if unknown := sorted(set(index.classes) - set(classes)):
        raise DataError(
            f"{folder} has classes that the run does not have:\n{listed(unknown)}", "mismatch"
        )
    label_of = {name: label for label, name in enumerate(classes)}
    files = index.parts["train"]
    labels = np.array([label_of[index.classes[file.label]] for file in files], np.int64)
    images = FileImages.of(spec, folder, (file.path for file in files))
    if recipe.resize_shorter_side is not None:
        return LabeledImages(images, labels)
    return LabeledImages(_decode_all(images, spec.image_size), labels)


def _decode_all(files: FileImages, side: int) -> InMemoryImages:
    """Decode image files of one size.

    Raises:
        DataError: naming all that cannot be read or have another size.
    """
    problems = []
    images = np.zeros((len(files), files.channels, side, side), np.uint8)
    for image, path in zip(images, files.paths, strict=True):
        try:
            data = read_file(files.root / path)
            image[...] = pixels_of(files.decode(data, (side, side))).transpose(2, 0, 1)
        except BadImageError as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise DataError(f"bad images ({len(problems)}):\n{listed(problems)}", "bad-images")
    return InMemoryImages(images)
