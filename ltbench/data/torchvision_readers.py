"""Datasets read by torchvision, as arrays or as files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ltbench.data.errors import DataError
from ltbench.data.file_index import FileIndex, stat_files, unusable
from ltbench.data.image_formats import is_image_file


class Reader(NamedTuple):
    """A torchvision dataset class and its arguments.

    Attributes:
        name: of the class.
        folder: that it reads, below the data root.
        train, test: keyword arguments of each part.
        root: its `root` argument, below the data root.
    """

    name: str
    folder: str
    train: Mapping[str, Any]
    test: Mapping[str, Any]
    root: str = ""

    def of(self, root: Path) -> Callable[..., Any]:
        """Return the class with its root bound, below the data root."""
        from torchvision import datasets

        return partial(getattr(datasets, self.name), root / self.root)


BY_FLAG: tuple[Mapping[str, Any], Mapping[str, Any]] = ({"train": True}, {"train": False})
BY_SPLIT: tuple[Mapping[str, Any], Mapping[str, Any]] = ({"split": "train"}, {"split": "test"})
IN_MEMORY = {
    "cifar10": Reader("CIFAR10", "cifar-10-batches-py", *BY_FLAG),
    "cifar100": Reader("CIFAR100", "cifar-100-python", *BY_FLAG),
    "fashion_mnist": Reader("FashionMNIST", "FashionMNIST/raw", *BY_FLAG),
    "svhn": Reader("SVHN", "svhn", *BY_SPLIT, root="svhn"),
}
"""Sources of small images, which torchvision can download."""

AS_FILES = {
    "food101": Reader("Food101", "food-101", *BY_SPLIT),
    "fgvc_aircraft": Reader(
        "FGVCAircraft", "fgvc-aircraft-2013b", {"split": "trainval"}, {"split": "test"}
    ),
    "inaturalist2021_mini": Reader(
        "INaturalist",
        "inaturalist2021",
        {"version": "2021_train_mini"},
        {"version": "2021_valid"},
        root="inaturalist2021",
    ),
}
"""Sources of photographs in torchvision's layout; users download them."""

TORCHVISION = IN_MEMORY | AS_FILES


def list_dataset(folder: Path, train: Any, test: Any) -> FileIndex:
    """Return the files of a dataset's parts in torchvision's order.

    Args:
        folder: of the dataset; paths are relative to it.
        train: training part, created with `loader=str`, so that its items are paths and labels.
        test: test part, likewise.

    Raises:
        DataError: if the parts have different classes, or files are missing.
    """
    classes = _class_names(train)
    if _class_names(test) != classes:
        raise DataError(
            f"{folder.absolute()}: training and test images have different classes",
            "bad-layout",
        )
    problems: list[str] = []
    files = [tuple(stat_files(folder, _items(folder, part), problems)) for part in (train, test)]
    if problems:
        raise unusable(folder, problems)
    return FileIndex(classes, {"train": files[0], "test": files[1]})


def _class_names(dataset: Any) -> tuple[str, ...]:
    names: Sequence[str] = getattr(dataset, "classes", None) or dataset.all_categories
    return tuple(names)


def _items(folder: Path, dataset: Any) -> Iterator[tuple[str, int]]:
    for i in range(len(dataset)):
        path, label = dataset[i]
        if is_image_file(Path(path)):
            yield Path(path).relative_to(folder).as_posix(), int(label)
