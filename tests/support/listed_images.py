"""A tiny dataset of lists: three classes with 6, 2 and 1 images, a few more in their folders."""

import hashlib
import io

import numpy as np
from PIL import Image

from ltbench.config.models import DatasetSpec
from ltbench.data.official_lists import ListEntry, blob_id, canonical_text, forms_of

CLASSES = ("n01", "n02-outdoor", "n03")
COUNTS = (6, 2, 1)
IN_FOLDERS = 8  # images of each class's training folder, listed or not
TRAIN_FORMS = ("train/{class}/{name}", "data/{initial}/{nested}/{name}")
TEST_FORMS = ("val/{class}/{name}", "val/{name}")


def images(part):
    """Return the images of a list; the validation image of a class is the last in its folder."""
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
    """Return the dataset, its lists pinned."""

    def file(part, form):
        found = images(part)
        blob = blob_id(canonical_text(found, form))
        return {"file": f"{part}_list.txt", "images": len(found), "blob": blob}

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
            "train": file("train", TRAIN_FORMS[0]) | {"paths": TRAIN_FORMS, "archive": "train.tar"},
            "val": file("val", TRAIN_FORMS[0]),
            "test": file("test", TEST_FORMS[0]) | {"paths": TEST_FORMS, "archive": "val.tar"},
            "max_per_class": 6,
            "smallest": 1,
            "group_sizes": (0, 0, 3),
        },
    }
    return DatasetSpec(**values | changes)


def write_lists(folder, spec, form=0):
    """Write the files of the lists with the paths in the forms of a number."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, file in spec.official_lists.files.items():
        text = canonical_text(images(part), forms_of(spec.official_lists, part)[form])
        (folder / file.file).write_text(text)


def write_images(root, form=0, content=lambda path: b"x"):
    """Write all files of the training folders, and the test images, in the forms of a number."""
    raw = [ListEntry(name, f"{i}.jpg", 0) for name in CLASSES for i in range(IN_FOLDERS)]
    for found, forms in ((raw, TRAIN_FORMS), (images("test"), TEST_FORMS)):
        for line in canonical_text(found, forms[form]).splitlines():
            path = root / line.rpartition(" ")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(path))


def resized_recipe(**changes):
    """Return the values of a recipe for images of any size, cut to a side of 8."""
    return {
        "augment": "resized_crop_flip",
        "resize_shorter_side": 12,
        "color_jitter": 0.4,
        "batch_size": 4,
        "eval_batch_size": 4,
    } | changes


def picture(path):
    """Return the bytes of a JPEG whose size and pixels depend on its path, at least 10 x 10."""
    digest = hashlib.sha256(path.name.encode() + path.parent.name.encode()).digest()
    generator = np.random.default_rng(list(digest))
    height, width = generator.integers(10, 30, 2)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((int(width), int(height))).save(file, "JPEG", quality=95)
    return file.getvalue()
