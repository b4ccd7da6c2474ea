"""Files of Tiny-ImageNet as distributed; its validation images are the test.

`train/<wnid>/images/*`, and `val/images/*` with a line `file<tab>wnid<tab>box` for each in
`val/val_annotations.txt`. Classes are numbered in the order of their names; images are ordered by
class, then by name, as in an image folder.
"""

from collections.abc import Mapping
from pathlib import Path

from ltbench.data.file_index import FileIndex, stat_files, unusable
from ltbench.data.image_formats import is_image_file

ANNOTATIONS = "val/val_annotations.txt"


def list_tiny_imagenet(folder: Path) -> FileIndex:
    """List the files of Tiny-ImageNet without opening them.

    Raises:
        DataError: naming all missing files and unknown classes.
    """
    problems: list[str] = []
    classes = _names(folder / "train")
    if not classes:
        problems.append("train/ has no class folders")
    train = [
        (f"train/{name}/images/{file}", label)
        for label, name in enumerate(classes)
        for file in _names(folder / "train" / name / "images")
        if is_image_file(folder / "train" / name / "images" / file)
    ]
    nonempty = {label for _, label in train}
    problems += [
        f"train/{name}/images/ has no images" for k, name in enumerate(classes) if k not in nonempty
    ]
    test = _annotated(folder, {name: label for label, name in enumerate(classes)}, problems)
    parts = {"train": train, "test": sorted(test, key=lambda image: (image[1], image[0]))}
    files = {part: tuple(stat_files(folder, images, problems)) for part, images in parts.items()}
    if problems:
        raise unusable(folder, problems)
    return FileIndex(tuple(classes), {"train": files["train"], "test": files["test"]})


def _names(folder: Path) -> list[str]:
    """Return the sorted names in a folder; empty if it is missing."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _annotated(
    folder: Path, classes: Mapping[str, int], problems: list[str]
) -> list[tuple[str, int]]:
    try:
        lines = (folder / ANNOTATIONS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{ANNOTATIONS} cannot be read: {error}")
        return []
    images = []
    for number, line in enumerate(lines, 1):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in classes or "/" in name:
            problems.append(f"{ANNOTATIONS}:{number}: expected a file and a class of train/")
        else:
            images.append((f"val/images/{name}", classes[wnid]))
    return images
