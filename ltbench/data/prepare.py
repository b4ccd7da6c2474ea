"""Preparation of a dataset that official lists define. Imports no torch.

A prepared dataset is a folder below the data root: the lists `train.txt`, `test.txt`, `val.txt` and
`balanced.txt`, with the paths that the images have on this machine, and a manifest with the root of
the images and the hash of each list. Jobs trust the manifest: images are searched for only once.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ltbench.config.dataset import DatasetSpec, ImageLists, ListedPart, Split
from ltbench.data.errors import DataError, listed
from ltbench.data.files import atomic_directory, file_lock, read_manifest, write_manifest
from ltbench.data.image_formats import is_image_file
from ltbench.data.images import FileImages
from ltbench.data.imbalance import balanced_counts
from ltbench.data.official_lists import (
    ListEntry,
    OfficialLists,
    blobs_of,
    canonical_text,
    lists_fingerprint,
    path_formats,
    path_of,
    read_lists,
)
from ltbench.data.raw_dataset import PredefinedSplit, RawDataset

SPLIT_LISTS: dict[Split, str] = {"longtailed": "train", "balanced": "balanced"}
"""The list of each split."""

SHOWN = 5
"""Missing images of a part that an error message shows."""


@dataclass(frozen=True)
class PreparationReport:
    """The result of a preparation.

    Attributes:
        folder: of the prepared dataset.
        root: folder of the images.
        fingerprint: of the lists.
        paths: path format of the images, by part ("train", "test").
        images: number of images, by list.
        no_balanced_counterpart: reason why there is no balanced split; None if there is one.
    """

    folder: Path
    root: Path
    fingerprint: str
    paths: Mapping[str, str]
    images: Mapping[str, int]
    no_balanced_counterpart: str | None


def prepare(spec: DatasetSpec, root: Path, lists_folder: Path, folder: Path) -> PreparationReport:
    """Check a dataset's lists, find its images and draw its balanced split.

    Args:
        spec: the dataset.
        root: folder of the images.
        lists_folder: folder of the list files.
        folder: of the prepared dataset; replaced if it exists.

    Raises:
        DataError: with all errors of lists and images.
    """
    lists = spec.official_lists
    if lists is None:
        raise DataError(
            f"{spec.name} has no official lists: there is nothing to prepare", "conflict"
        )
    missing: list[DataError] = []
    if not root.is_dir():
        missing.append(DataError(f"the image folder {root.absolute()} does not exist"))
    try:
        official = read_lists(spec, lists, lists_folder)
    except DataError as error:
        raise DataError.joined([*missing, error]) from None
    if missing:
        raise DataError.joined(missing)
    directory = _Directory(root)
    paths = _find_images(lists, official, directory)
    parts = dict(official.parts)
    reason: str | None = spec.no_balanced_counterpart or "full_train_images is not given"
    if spec.full_train_images is not None:
        try:
            parts["balanced"] = _draw_balanced(spec, official, directory, paths["train"])
            reason = None
        except DataError as error:
            reason = str(error)
    prepared = PreparationReport(
        folder=folder,
        root=root.absolute(),
        fingerprint=lists_fingerprint(blobs_of(lists, official)),
        paths=paths,
        images={part: len(images) for part, images in parts.items()},
        no_balanced_counterpart=reason,
    )
    _write(prepared, lists, official.classes, parts)
    return prepared


def open_prepared(spec: DatasetSpec, folder: Path) -> RawDataset:
    """Open a prepared dataset.

    Training images are those of the training list, then the others of the balanced split.

    Raises:
        DataError: if the dataset is not prepared, or its folder was changed afterwards.
    """
    content = read_manifest(folder)
    if content is None:
        raise DataError(
            f"{spec.name} is not prepared in {folder.absolute()}: run `ltbench data prepare "
            f"{spec.name} --root IMAGES --lists LISTS` (--data-root or LTBENCH_DATA set another "
            "data root)",
            "missing-data",
        )
    root = Path(content["root"])
    lists = {part: _read(folder / f"{part}.txt", sha) for part, sha in content["files"].items()}
    train = lists["train"] | lists.get("balanced", {})  # the training list keeps its positions
    position_of = {path: position for position, path in enumerate(train)}
    predefined: dict[Split, PredefinedSplit] = {}
    for split, part in SPLIT_LISTS.items():
        if part in lists:
            positions = np.array([position_of[path] for path in lists[part]], np.int64)
            predefined[split] = PredefinedSplit(positions, content["hashes"][part])
    val = lists.get("val")
    return RawDataset(
        train_images=FileImages.of(spec, root, train),
        train_labels=np.array([*train.values()], np.int64),
        test_images=FileImages.of(spec, root, lists["test"]),
        test_labels=np.array([*lists["test"].values()], np.int64),
        class_names=tuple(content["classes"]),
        fingerprint=content["fingerprint"],
        val_images=None if val is None else FileImages.of(spec, root, val),
        val_labels=None if val is None else np.array([*val.values()], np.int64),
        predefined=predefined,
        no_balanced_counterpart=content["no_balanced_counterpart"],
    )


def _read(path: Path, sha256: str) -> dict[str, int]:
    """Read a prepared list: the label of each path, in order."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path.absolute()} cannot be read: prepare the dataset again ({error})", "unreadable"
        ) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{path.absolute()} was changed: prepare the dataset again", "mismatch")
    rows = (line.rpartition(" ") for line in data.decode().splitlines())
    return {name: int(label) for name, _, label in rows}


def _write(
    prepared: PreparationReport,
    lists: ImageLists,
    classes: tuple[str, ...],
    parts: Mapping[str, tuple[ListEntry, ...]],
) -> None:
    content: dict[str, Any] = {
        "fingerprint": prepared.fingerprint,
        "root": str(prepared.root),
        "no_balanced_counterpart": prepared.no_balanced_counterpart,
        "classes": classes,
        "files": {},
        "hashes": {},
    }
    folder = prepared.folder
    with file_lock(folder.parent / f".{folder.name}.lock"), atomic_directory(folder) as temporary:
        for part, images in parts.items():
            local = canonical_text(images, prepared.paths["test" if part == "test" else "train"])
            (temporary / f"{part}.txt").write_text(local, encoding="utf-8")
            official = canonical_text(images, path_formats(lists, part)[0])
            for name, text in (("files", local), ("hashes", official)):
                content[name][part] = hashlib.sha256(text.encode()).hexdigest()
        write_manifest(temporary, content)


class _Directory:
    """The files below a root, each folder listed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listed: dict[str, frozenset[str]] = {}

    def files(self, folder: str) -> frozenset[str]:
        """Return the image files of a folder; none if it is missing."""
        if folder not in self.listed:
            try:
                with os.scandir(self.root / folder) as entries:
                    visible = (e for e in entries if not e.name.startswith(".") and e.is_file())
                    names = frozenset(e.name for e in visible if is_image_file(Path(e)))
            except (FileNotFoundError, NotADirectoryError):
                names = frozenset()
            self.listed[folder] = names
        return self.listed[folder]

    def missing(self, images: Iterable[ListEntry], path_format: str) -> list[str]:
        """Return the paths of images, in a format, without a file."""
        paths = (path_of(image, path_format) for image in images)
        return [path for path in paths if path.rpartition("/")[2] not in self.files(_folder(path))]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _find_images(
    lists: ImageLists, official: OfficialLists, directory: _Directory
) -> dict[str, str]:
    """Return the path format of each part's images.

    Raises:
        DataError: with all images that are missing.
    """
    parts: dict[str, tuple[ListedPart, list[ListEntry]]] = {
        "train": (lists.train, [*official.parts["train"], *official.parts.get("val", ())]),
        "test": (lists.test, [*official.parts["test"]]),
    }
    paths: dict[str, str] = {}
    problems: list[str] = []
    for part, (facts, images) in parts.items():
        missing = {form: directory.missing(images, form) for form in facts.paths}
        paths[part] = best = min(missing, key=lambda form: len(missing[form]))
        if missing[best]:
            problems.append(
                f"{len(missing[best]):,} of {len(images):,} {part} images are missing in "
                f"{directory.root.absolute()}; they are part of {facts.archive}:\n"
                f"{listed(missing[best], SHOWN)}"
            )
    if problems:
        raise DataError("\n".join(problems))
    return paths


def _draw_balanced(
    spec: DatasetSpec, official: OfficialLists, directory: _Directory, path_format: str
) -> tuple[ListEntry, ...]:
    """Draw the balanced split: `floor(n / C)` images of each class.

    They are drawn from the class's images in the training list; a smaller class is taken whole and
    filled up from the rest of its folder, without the validation images. This is the rule of Kang
    et al., "Exploring Balanced Feature Spaces", ICLR 2021. NumPy's legacy generator, seeded once,
    permutes for each class first the listed images in the order of the list, then the rest by name.

    Raises:
        DataError: if the folders do not hold the full training set, or a class has too few images.
    """
    classes = official.classes
    folders = [_folder(path_of(ListEntry(name, "-", 0), path_format)) for name in classes]
    total = sum(len(directory.files(folder)) for folder in folders)
    if total != spec.full_train_images:
        raise DataError(
            f"it is drawn from the full training set of {spec.full_train_images:,} images, "
            f"{total:,} were found",
            "split",
        )
    generator = np.random.RandomState(spec.split_seed)
    listed_names: list[list[str]] = [[] for _ in classes]
    used: list[set[str]] = [set() for _ in classes]
    for image in official.parts["train"]:
        listed_names[image.label].append(image.name)
    for image in (*official.parts["train"], *official.parts.get("val", ())):
        used[image.label].add(image.name)
    counts = balanced_counts([len(names) for names in listed_names])
    balanced: list[ListEntry] = []
    for label, (first, count) in enumerate(zip(listed_names, counts, strict=True)):
        rest = sorted(directory.files(folders[label]) - used[label])
        names = [first[i] for i in generator.permutation(len(first))[:count]]
        names += [rest[i] for i in generator.permutation(len(rest))[: count - len(names)]]
        if len(names) < count:
            raise DataError(f"class {classes[label]} has fewer than {count} images", "split")
        balanced += [ListEntry(classes[label], name, label) for name in names]
    return tuple(balanced)
