"""From official lists and a folder of images to a prepared dataset. Imports no torch.

A prepared dataset is a folder below the data root: `train.txt`, `test.txt` and `val.txt`, the list
of its balanced counterpart in `balanced.txt`, all with the paths that the images have here, and a
manifest that names the images' root and hashes it all. Jobs believe the manifest; nothing is
searched twice.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ltbench.config.models import DatasetSpec, ImageLists, ListedPart, Split
from ltbench.data.errors import DataError, listed
from ltbench.data.files import atomic_directory, file_lock, read_manifest, write_manifest
from ltbench.data.images import FileImages
from ltbench.data.imbalance import balanced_counts
from ltbench.data.official_lists import (
    ListEntry,
    OfficialLists,
    blobs_of,
    canonical_text,
    forms_of,
    lists_fingerprint,
    path_of,
    read_lists,
)
from ltbench.data.raw_dataset import PredefinedSplit, RawDataset

SPLITS: dict[Split, str] = {"longtailed": "train", "balanced": "balanced"}
"""The list that says each split."""

NAMED = 5
"""Missing images of a part that a message names."""


@dataclass(frozen=True)
class PreparationReport:
    """What was found and written down.

    Attributes:
        folder: the prepared dataset.
        root: folder of the images.
        fingerprint: of the lists.
        paths: form of the images' paths, by part.
        images: number of them, by list.
        no_balanced_counterpart: why there is no balanced counterpart; None where there is one.
    """

    folder: Path
    root: Path
    fingerprint: str
    paths: Mapping[str, str]
    images: Mapping[str, int]
    no_balanced_counterpart: str | None


def prepare(spec: DatasetSpec, root: Path, lists_folder: Path, folder: Path) -> PreparationReport:
    """Check a dataset's lists, find its images and choose its balanced split.

    Args:
        spec: the dataset.
        root: folder of the images.
        lists_folder: holds the files of the lists.
        folder: of the prepared dataset, which is made anew.

    Raises:
        DataError: with everything that is wrong with lists and images.
    """
    lists = spec.official_lists
    if lists is None:
        raise DataError(
            f"{spec.name} is not made of lists: there is nothing to prepare", "conflict"
        )
    missing: list[DataError] = []
    if not root.is_dir():
        missing.append(DataError(f"there is no folder {root.absolute()} of images"))
    try:
        found = read_lists(spec, lists, lists_folder)
    except DataError as error:
        raise DataError.joined([*missing, error]) from None
    if missing:
        raise DataError.joined(missing)
    there = _Folders(root)
    paths = _find_images(lists, found, there)
    parts = dict(found.parts)
    no_balanced_counterpart: str | None = (
        spec.no_balanced_counterpart or "nothing says what it could be drawn from"
    )
    if spec.full_train_images is not None:
        try:
            parts["balanced_counterpart"] = _balanced_counterpart(
                spec, found, there, paths["train"]
            )
            no_balanced_counterpart = None
        except DataError as error:
            no_balanced_counterpart = str(error)
    prepared = PreparationReport(
        folder=folder,
        root=root.absolute(),
        fingerprint=lists_fingerprint(blobs_of(lists, found)),
        paths=paths,
        images={part: len(images) for part, images in parts.items()},
        no_balanced_counterpart=no_balanced_counterpart,
    )
    _write(prepared, lists, found.classes, parts)
    return prepared


def open_prepared(spec: DatasetSpec, folder: Path) -> RawDataset:
    """Return the images of a prepared dataset: the listed, then the balanced split's.

    Raises:
        DataError: where the dataset was not prepared, or its folder was altered since.
    """
    content = read_manifest(folder)
    if content is None:
        raise DataError(
            f"{spec.name} is not prepared in {folder.absolute()}: say `ltbench data prepare "
            f"{spec.name} --root IMAGES --lists LISTS` (with --data-root or LTBENCH_DATA for "
            "another place)",
            "missing-data",
        )
    root = Path(content["root"])
    lists = {part: _read(folder / f"{part}.txt", sha) for part, sha in content["files"].items()}
    train = lists["train"] | lists.get(
        "balanced_counterpart", {}
    )  # listed images keep their places
    place = {path: position for position, path in enumerate(train)}
    predefined: dict[Split, PredefinedSplit] = {}
    for split, part in SPLITS.items():
        if part in lists:
            positions = np.array([place[path] for path in lists[part]], np.int64)
            predefined[split] = PredefinedSplit(positions, content["hashes"][part])
    val = lists.get("val")
    return RawDataset(
        train_images=FileImages(root, tuple(train), spec.channels),
        train_labels=np.array([*train.values()], np.int64),
        test_images=FileImages(root, tuple(lists["test"]), spec.channels),
        test_labels=np.array([*lists["test"].values()], np.int64),
        class_names=tuple(content["classes"]),
        fingerprint=content["fingerprint"],
        val_images=None if val is None else FileImages(root, tuple(val), spec.channels),
        val_labels=None if val is None else np.array([*val.values()], np.int64),
        predefined=predefined,
        no_balanced_counterpart=content["no_balanced_counterpart"],
    )


def _read(path: Path, sha256: str) -> dict[str, int]:
    """Return the class of each path of a prepared list, in its order."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path.absolute()} cannot be read: prepare it again ({error})", "unreadable"
        ) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{path.absolute()} was altered: prepare it again", "mismatch")
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
            here = canonical_text(images, prepared.paths["test" if part == "test" else "train"])
            (temporary / f"{part}.txt").write_text(here, encoding="utf-8")
            official = canonical_text(images, forms_of(lists, part)[0])
            for name, text in (("files", here), ("hashes", official)):
                content[name][part] = hashlib.sha256(text.encode()).hexdigest()
        write_manifest(temporary, content)


class _Folders:
    """The files of folders below a root, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[str, frozenset[str]] = {}

    def files(self, folder: str) -> frozenset[str]:
        """Return the names of a folder's files; none where there is no such folder."""
        if folder not in self.known:
            try:
                with os.scandir(self.root / folder) as entries:
                    names = frozenset(e.name for e in entries if e.is_file())
            except (FileNotFoundError, NotADirectoryError):
                names = frozenset()
            self.known[folder] = frozenset(name for name in names if not name.startswith("."))
        return self.known[folder]

    def missing(self, images: Iterable[ListEntry], form: str) -> list[str]:
        """Return the paths in a form that no file stands at."""
        paths = (path_of(image, form) for image in images)
        return [path for path in paths if path.rpartition("/")[2] not in self.files(_folder(path))]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _find_images(lists: ImageLists, found: OfficialLists, there: _Folders) -> dict[str, str]:
    """Return the form of path that each part's images have here.

    Raises:
        DataError: with all images that are missing.
    """
    wanted: dict[str, tuple[ListedPart, list[ListEntry]]] = {
        "train": (lists.train, [*found.parts["train"], *found.parts.get("val", ())]),
        "test": (lists.test, [*found.parts["test"]]),
    }
    paths: dict[str, str] = {}
    problems: list[str] = []
    for part, (facts, images) in wanted.items():
        missing = {form: there.missing(images, form) for form in facts.paths}
        paths[part] = form = min(missing, key=lambda form: len(missing[form]))
        if missing[form]:
            problems.append(
                f"{len(missing[form]):,} of {len(images):,} {part} images are not in "
                f"{there.root.absolute()}; they come in {facts.archive}:\n"
                f"{listed(missing[form], NAMED)}"
            )
    if problems:
        raise DataError("\n".join(problems))
    return paths


def _balanced_counterpart(
    spec: DatasetSpec, found: OfficialLists, there: _Folders, form: str
) -> tuple[ListEntry, ...]:
    """Choose the balanced split: of each class the mean number of images, rounded down.

    They are drawn from the listed images of the class; where these are too few all are taken, and
    more are drawn from the rest of its folder, without the validation images. This is the rule of
    Kang et al., "Exploring Balanced Feature Spaces", ICLR 2021. NumPy's legacy generator, seeded
    once, permutes for each class what is drawn from: the listed images in their order, then the
    rest by name.

    Raises:
        DataError: where the folders do not hold the whole pool.
    """
    folders = [_folder(path_of(ListEntry(name, "-", 0), form)) for name in found.classes]
    pool = sum(len(there.files(folder)) for folder in folders)
    if pool != spec.full_train_images:
        raise DataError(
            f"it is drawn from all {spec.full_train_images:,} training images, {pool:,} are here",
            "split",
        )
    generator = np.random.RandomState(spec.split_seed)
    listed_of: list[list[str]] = [[] for _ in found.classes]
    taken: list[set[str]] = [set() for _ in found.classes]
    for image in found.parts["train"]:
        listed_of[image.label].append(image.name)
    for image in (*found.parts["train"], *found.parts.get("val", ())):
        taken[image.label].add(image.name)
    counts = balanced_counts([len(names) for names in listed_of])
    balanced_counterpart: list[ListEntry] = []
    for label, (own, count) in enumerate(zip(listed_of, counts, strict=True)):
        rest = sorted(there.files(folders[label]) - taken[label])
        names = [own[i] for i in generator.permutation(len(own))[:count]]
        names += [rest[i] for i in generator.permutation(len(rest))[: count - len(names)]]
        if len(names) < count:
            raise DataError(f"class {found.classes[label]} has fewer than {count} images", "split")
        balanced_counterpart += [ListEntry(found.classes[label], name, label) for name in names]
    return tuple(balanced_counterpart)
