"""Labeled images for `ltbench evaluate`: a dataset's part, or a folder."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ltbench.config.dataset import DatasetSpec, Split
from ltbench.config.recipe import Recipe
from ltbench.data.decode import BadImageError, Pixels, read_file
from ltbench.data.errors import DataError, listed
from ltbench.data.file_index import Part
from ltbench.data.image_folder import list_folder
from ltbench.data.images import DecodedImages, FileImages, Images, InMemoryImages
from ltbench.data.raw_dataset import LabeledImages
from ltbench.data.sources import load_raw_dataset
from ltbench.data.split import make_split

log = logging.getLogger(__name__)


def part_of_dataset(
    spec: DatasetSpec,
    part: Part,
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
    images = image_files(spec, recipe, folder, tuple(file.path for file in files))
    return LabeledImages(images if images.size is None else _decode_all(images), labels, images)


def image_files(
    spec: DatasetSpec, recipe: Recipe, root: Path = Path(), paths: tuple[str, ...] = ()
) -> FileImages:
    """Return image files that are read as in a job's test.

    Their shorter side is resized if the recipe resizes; else they must have the dataset's size.
    """
    side = recipe.resize_shorter_side
    return replace(
        FileImages.of(spec, root, paths),
        resize_shorter_side=side,
        quality=recipe.jpeg_quality,
        size=(spec.image_size, spec.image_size) if side is None else None,
    )


def decoded_images(pixels: Sequence[Pixels], files: FileImages) -> Images:
    """Return images in memory from their decoded pixels [H, W, C]."""
    if files.size is None:
        return DecodedImages(tuple(pixels))
    return InMemoryImages(np.stack(pixels).transpose(0, 3, 1, 2))


def _decode_all(files: FileImages) -> Images:
    """Decode image files of one size.

    Raises:
        DataError: naming all that cannot be read or have another size.
    """
    problems, pixels = [], []
    for path in files.paths:
        try:
            pixels.append(files.pixels(read_file(files.root / path)))
        except BadImageError as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise DataError(f"bad images ({len(problems)}):\n{listed(problems)}", "bad-images")
    return decoded_images(pixels, files)
