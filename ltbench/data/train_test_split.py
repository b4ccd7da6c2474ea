"""Division of the user's photographs into training and test images.

Both are written as one list. The photographs are those of a folder with a subfolder per class, or
of a list without a split. In each class, groups of photographs that belong together, by default
those of equal bytes, are taken in the order of a hash of seed and group: equal seeds give equal
lists on any machine, whatever the names of the files, and copies are never on both sides.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from ltbench.config.keys import content_hash
from ltbench.core.files import write_atomically
from ltbench.data.errors import DataError, listed
from ltbench.data.image_folder import list_folder
from ltbench.data.image_list import LIST_COLUMNS, NUMBER, list_unsplit
from ltbench.data.images import FileImages
from ltbench.data.soundness import check_images

SPLIT_LIST = "split.csv"
"""Name of the list that is written, unless another is given."""


@dataclass(frozen=True)
class Photograph:
    """A photograph: path below its folder, class name and group."""

    path: str
    label: str
    group: str


@dataclass(frozen=True)
class Photographs:
    """Photographs below a folder; files there that are no images."""

    folder: Path
    entries: tuple[Photograph, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Share:
    """Test images of a class: a fraction of it, or a number."""

    fraction: float = 0.2
    per_class: int | None = None

    def of(self, images: int) -> int:
        """Return the test images of a class; a fraction leaves both some."""
        if self.per_class is not None:
            return self.per_class
        return max(1, min(images - 1, int(images * self.fraction + 0.5)))


def read_photographs(
    source: Path,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Photographs:
    """List the photographs of a folder or list; decode them once.

    Args:
        source: the folder or list.
        processes: number of processes that decode.
        progress: called with the number of files decoded and of all to decode.

    Raises:
        DataError: with all problems of the folder or list, or naming all damaged photographs.
    """
    folder = source if source.is_dir() else source.parent
    if source.is_dir():
        index, groups = list_folder(folder, {"train": "."}), None
    else:
        index, groups = list_unsplit(source)
    files = index.parts["train"]
    paths = [str(PurePosixPath(file.path)) for file in files]
    images = FileImages(folder, tuple(paths), 3, upright=True)
    (hashes,) = check_images(folder.name, [images], processes=processes, progress=progress)
    entries = (
        Photograph(normalize("NFC", path), index.classes[file.label], group)
        for path, file, group in zip(paths, files, groups or hashes, strict=True)
    )
    skipped = tuple(path.removeprefix("./") for path in index.skipped)
    return Photographs(folder, tuple(sorted(entries, key=lambda entry: entry.path)), skipped)


def choose_test_images(entries: Sequence[Photograph], share: Share, seed: int) -> set[str]:
    """Choose the test images of each class.

    A group is chosen if that brings the numbers of its classes nearer to those wanted, and leaves
    each class a training image. A class that has no test image then gets its smallest group.

    Args:
        entries: the photographs.
        share: how many of each class.
        seed: of the order of the groups.

    Returns:
        Their paths.

    Raises:
        DataError: naming all classes that are too small, or cannot be divided by their groups.
    """
    images = Counter(entry.label for entry in entries)
    wanted = _test_sizes(images, share)
    sizes: dict[str, Counter[str]] = {}
    for entry in entries:
        sizes.setdefault(entry.group, Counter())[entry.label] += 1
    order = sorted(sizes, key=lambda group: content_hash([seed, group]))
    test = _TestGroups(images, {group: sizes[group] for group in order})
    test.choose(wanted)
    test.choose_for_empty_classes()
    return {entry.path for entry in entries if entry.group in test.chosen}


def _test_sizes(images: Mapping[str, int], share: Share) -> dict[str, int]:
    """Return the wanted number of test images of each class.

    Raises:
        DataError: naming all classes that are too small.
    """
    wanted = {label: share.of(n) for label, n in images.items()}
    problems = [
        f"class {label}: {wanted[label]} of {n} images for the test would leave none to train"
        for label, n in sorted(images.items())
        if wanted[label] >= n
    ]
    problems += [f"class {label} is the only one" for label in images if len(images) == 1]
    if problems:
        raise DataError(f"the images cannot be divided:\n{listed(problems)}", "split")
    return wanted


@dataclass
class _TestGroups:
    """Groups chosen for the test.

    Attributes:
        images: of each class.
        sizes: images of each class in a group, by group, in the order of the choice.
        chosen: groups.
        taken: images of each class in the chosen groups.
    """

    images: Mapping[str, int]
    sizes: Mapping[str, Counter[str]]
    chosen: set[str] = field(default_factory=set)
    taken: Counter[str] = field(default_factory=Counter)

    def choose(self, wanted: Mapping[str, int]) -> None:
        """Choose groups that bring classes nearer to the numbers wanted."""
        for group, size in self.sizes.items():
            missing = {label: wanted[label] - self.taken[label] for label in size}
            gain = sum(abs(missing[label]) - abs(missing[label] - n) for label, n in size.items())
            if gain > 0 and self._may_add(group):
                self._add(group)

    def choose_for_empty_classes(self) -> None:
        """Choose the smallest group of each class without a test image.

        Raises:
            DataError: naming all classes without such a group.
        """
        problems = []
        for label in sorted(self.images):
            if self.taken[label]:
                continue
            with_label = (group for group, size in self.sizes.items() if label in size)
            own = [group for group in with_label if self._may_add(group)]
            if own:
                self._add(min(own, key=lambda group: self.sizes[group].total()))
            else:
                problems.append(
                    f"class {label}: any of its groups for the test would leave none to train"
                )
        if problems:
            raise DataError(f"the groups cannot be divided:\n{listed(problems)}", "split")

    def _may_add(self, group: str) -> bool:
        """Return whether each class would keep a training image."""
        size = self.sizes[group]
        return all(self.taken[label] + n < self.images[label] for label, n in size.items())

    def _add(self, group: str) -> None:
        self.chosen.add(group)
        self.taken.update(self.sizes[group])


def write_split(photographs: Photographs, test: set[str], out: Path) -> None:
    """Write a list `path,label,split`, with paths relative to its folder.

    Args:
        photographs: all.
        test: paths of the test images; the others are training images.
        out: the list; it may exist if it is the same.

    Raises:
        DataError: if a folder or another file is there, the photographs are not below the list's
            folder, or a list cannot have their paths and class names.
    """
    above, folder = out.parent.resolve(), photographs.folder.resolve()
    if not folder.is_relative_to(above):
        raise DataError(
            f"the paths of a list are below its folder, and {photographs.folder} is not below "
            f"{out.parent}",
            "conflict",
        )
    if out.is_dir():
        raise DataError(f"{out} is a folder: name the list in it, {out / SPLIT_LIST}", "conflict")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LIST_COLUMNS)
    rows = [
        (str(folder.relative_to(above) / path), label, "test" if path in test else "train")
        for path, label in ((entry.path, entry.label) for entry in photographs.entries)
    ]
    if problems := _unlistable(rows):
        raise DataError(f"{out} cannot be written:\n{listed(problems)}", "bad-layout")
    writer.writerows(rows)
    data = text.getvalue().encode()
    if out.exists() and out.read_bytes() != data:
        raise DataError(f"{out} is another list: remove it, or name another by --out", "conflict")
    write_atomically(out, data)


def _unlistable(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return the paths and class names that a list cannot have."""
    problems = []
    for path, label, _ in rows:
        odd = [name for name in (path, label) if name != name.strip() or not _is_utf8(name)]
        problems += [f'"{name}" begins or ends with a space, or is no UTF-8' for name in odd]
    names = sorted({label for _, label, _ in rows})
    numbers = {name for name in names if NUMBER.fullmatch(name)}
    if numbers and numbers != {str(k) for k in range(len(names))}:
        problems += [
            f"class {name} is a number: all must be numbers from 0 to C - 1, or none"
            for name in sorted(numbers)
        ]
    return list(dict.fromkeys(problems))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def describe_split(photographs: Photographs, test: set[str]) -> str:
    """Format the training and test images of each class, and skipped files."""
    images = Counter(entry.label for entry in photographs.entries)
    tested = Counter(entry.label for entry in photographs.entries if entry.path in test)
    classes = [
        f"{label}: {n - tested[label]:,} train, {tested[label]:,} test"
        for label, n in sorted(images.items(), key=lambda item: (-item[1], item[0]))
    ]
    text = (
        f"{len(photographs.entries) - len(test):,} training and {len(test):,} test images of "
        f"{len(classes):,} classes:\n{listed(classes, most=200)}"
    )
    if skipped := photographs.skipped:
        text += f"\nskipped, no images or hidden ({len(skipped):,}):\n{listed(skipped)}"
    return text
