"""Labelled images that a trained network can be tested on: a part of a dataset, or a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ltbench.config.models import DatasetSpec, Recipe, Split
from ltbench.data.decode import BadImageError, decode, read_file
from ltbench.data.errors import DataError, listed
from ltbench.data.image_folder import list_folder
from ltbench.data.pool import ImageFiles, Images, Labels
from ltbench.data.sources import load_pool
from ltbench.data.split import make_split

TestPart = Literal["test", "train", "val"]


@dataclass(frozen=True)
class LabelledImages:
    """Images [N, C, H, W], or files, and their labels [N]."""

    images: Images | ImageFiles
    labels: Labels


def part_of_dataset(
    spec: DatasetSpec,
    part: TestPart,
    split: Split,
    data_root: str | Path | None = None,
    classes: tuple[str, ...] | None = None,
) -> LabelledImages:
    """Return the test, training or validation images of a dataset.

    Args:
        spec: the dataset.
        part: which images.
        split: whose training images.
        data_root: folder of all datasets.
        classes: what they must be called, in order; None for whatever they are called.

    Raises:
        DataError: where they cannot be had, or are of other classes.
    """
    pool = load_pool(spec, data_root)
    if classes is not None and pool.class_names != classes:
        raise DataError(
            f"{spec.name} has other classes than this run, or in another order", "mismatch"
        )
    if part == "test":
        return LabelledImages(pool.test_images, pool.test_labels)
    if part == "train":
        chosen = make_split(spec, pool, split).train
        return LabelledImages(pool.train_images[chosen], pool.train_labels[chosen])
    if pool.val_images is None or pool.val_labels is None:
        raise DataError(f"{spec.name} has no validation images", "missing-data")
    return LabelledImages(pool.val_images, pool.val_labels)


def images_of_folder(
    folder: Path, spec: DatasetSpec, recipe: Recipe, classes: tuple[str, ...]
) -> LabelledImages:
    """Return the images of a folder that has a folder a class.

    Args:
        folder: holds `<class>/<file>`; classes may be missing.
        spec: size and channels of the images, unless the recipe is for images of any size.
        recipe: of the run.
        classes: their names in the order of labels.

    Raises:
        DataError: naming everything that is wrong with the folder or its images.
    """
    folder = folder.resolve()
    listing = list_folder(folder.parent, {"train": folder.name})
    if unknown := sorted(set(listing.classes) - set(classes)):
        raise DataError(
            f"{folder} has classes that this run does not know:\n{listed(unknown)}", "mismatch"
        )
    label_of = {name: label for label, name in enumerate(classes)}
    files = listing.parts["train"]
    labels = np.array([label_of[listing.classes[file.label]] for file in files], np.int64)
    paths = ImageFiles(folder.parent, tuple(file.path for file in files))
    if recipe.short_side is not None:
        return LabelledImages(paths, labels)
    return LabelledImages(_decoded(paths, spec), labels)


def _decoded(files: ImageFiles, spec: DatasetSpec) -> Images:
    size, problems = (spec.image_size, spec.image_size), []
    images = np.zeros((len(files.paths), spec.channels, *size), np.uint8)
    for image, path in zip(images, files.paths, strict=True):
        try:
            pixels = np.asarray(decode(read_file(files.root / path), spec.channels, size))
            image[...] = np.atleast_3d(pixels).transpose(2, 0, 1)
        except BadImageError as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise DataError(f"bad images ({len(problems)}):\n{listed(problems)}", "bad-images")
    return images
