"""A tiny dataset with official lists: three classes, 9 training images."""

import hashlib
import io

import numpy as np
from PIL import Image

from ltbench.config.dataset import DatasetSpec
from ltbench.data.official_lists import ListEntry, blob_id, canonical_text, path_formats

CLASSES = ("n01", "n02-outdoor", "n03")
COUNTS = (6, 2, 1)
IN_FOLDERS = 8  # images of each class's training folder, listed or not
TRAIN_FORMATS = ("train/{class}/{name}", "data/{initial}/{nested}/{name}")
TEST_FORMATS = ("val/{class}/{name}", "val/{name}")


def images(part):
    """Return the images of a list; the last is for validation."""
    numbers = {
        "train": lambda k: range(COUNTS[k]),
        "val": lambda k: [IN_FOLDERS - 1],
        "test": lambda k: [100 + 2 * k, 101 + 2 * k],
    }[part]
    return [
        ListEntry(name, f"{number}.jpg", k)
        for k, name in enumerate(CLASSES)
        for number in numbers(k)
    ]


def listed_spec(**changes):
    """Return the specification of the dataset, its lists pinned."""

    def file(part, path_format):
        entries = images(part)
        blob = blob_id(canonical_text(entries, path_format))
        return {"file": f"{part}_list.txt", "images": len(entries), "blob": blob}

    values = {
        "name": "toy_lt",
        "title": "Toy-LT",
        "source": "official_lists",
        "classes": 3,
        "image_size": 8,
        "normalization": {"mean": (0.5,) * 3, "std": (0.5,) * 3},
        "imbalance_type": "natural",
        "split_seed": 2020,
        "full_train_images": IN_FOLDERS * len(CLASSES),
        "official_lists": {
            "train": file("train", TRAIN_FORMATS[0])
            | {"paths": TRAIN_FORMATS, "archive": "train.tar"},
            "val": file("val", TRAIN_FORMATS[0]),
            "test": file("test", TEST_FORMATS[0]) | {"paths": TEST_FORMATS, "archive": "val.tar"},
            "max_per_class": 6,
            "min_per_class": 1,
            "group_sizes": (0, 0, 3),
        },
    }
    return DatasetSpec(**values | changes)


def write_lists(folder, spec, which=0):
    """Write the list files in one of their two path formats."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, file in spec.official_lists.files.items():
        text = canonical_text(images(part), path_formats(spec.official_lists, part)[which])
        (folder / file.file).write_text(text)


def write_images(root, which=0, content=lambda path: b"x"):
    """Write all training and test images at the paths of one format."""
    training = [ListEntry(name, f"{i}.jpg", 0) for name in CLASSES for i in range(IN_FOLDERS)]
    for entries, formats in ((training, TRAIN_FORMATS), (images("test"), TEST_FORMATS)):
        for line in canonical_text(entries, formats[which]).splitlines():
            path = root / line.rpartition(" ")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(path))


def resized_recipe(**changes):
    """Return recipe values for images of any size, cropped to 8 pixels."""
    return {
        "augment": "resized_crop_flip",
        "resize_shorter_side": 12,
        "color_jitter": 0.4,
        "batch_size": 4,
        "eval_batch_size": 4,
    } | changes


def picture(path):
    """Return a small JPEG, its size and pixels seeded by its path."""
    digest = hashlib.sha256(path.name.encode() + path.parent.name.encode()).digest()
    generator = np.random.default_rng(list(digest))
    height, width = generator.integers(10, 30, 2)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((int(width), int(height))).save(file, "JPEG", quality=95)
    return file.getvalue()
