"""MedMNIST (Yang et al. 2023): one npz file per dataset, single-label."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ltbench.config.dataset import DatasetSpec
from ltbench.data.errors import DataError
from ltbench.data.images import InMemoryImages
from ltbench.data.raw_dataset import RawDataset, channels_first, content_fingerprint

PARTS = ("train", "test", "val")


def read_medmnist(spec: DatasetSpec, path: Path) -> RawDataset:
    """Read a MedMNIST file; class names are the class numbers.

    Raises:
        DataError: if the file is missing or damaged, or its images or labels are not as expected.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images = [file[f"{part}_images"] for part in PARTS]
            labels = [file[f"{part}_labels"] for part in PARTS]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise DataError(
            f"{spec.name}: no usable {path.absolute()} (as the package medmnist stores it; "
            f"--data-root or LTBENCH_DATA set another data root): {error}",
            "missing-data",
        ) from error
    problems = []
    if any(part.dtype != np.uint8 or part.ndim not in (3, 4) for part in images):
        problems.append("images are not two-dimensional uint8 arrays")
    if any(of.shape != (len(part), 1) for part, of in zip(images, labels, strict=True)):
        problems.append("images do not have one label each")
    elif not all(np.isin(of, range(spec.classes)).all() for of in labels):
        problems.append(f"labels are not all below {spec.classes}")
    if problems:
        raise DataError(
            "\n".join(f"{path.absolute()}: {problem}" for problem in problems), "bad-layout"
        )
    train, test, val = (of[:, 0].astype(np.int64) for of in labels)
    pixels = [channels_first(part) for part in images]
    fingerprint = content_fingerprint(pixels[0], train, pixels[1], test, pixels[2], val)
    names = tuple(map(str, range(spec.classes)))
    stored = [InMemoryImages(part) for part in pixels]
    return RawDataset(stored[0], train, stored[1], test, names, fingerprint, stored[2], val)
