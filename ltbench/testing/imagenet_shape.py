"""A small tree of ImageNet-LT's shape, and jobs of few steps."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import PropertyMock, patch

import numpy as np
from PIL import Image

from ltbench.config.dataset import DatasetSpec
from ltbench.config.job import Job
from ltbench.config.load import load_dataset
from ltbench.core.groups import GROUPS, class_groups
from ltbench.data.datamodule import DataModule
from ltbench.data.loaders import OrderedLoader
from ltbench.data.official_lists import ListEntry, blob_id, canonical_text, path_formats
from ltbench.data.prepare import PreparationReport, prepare
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.samplers import EpochDraw
from ltbench.testing.jobs import epochs_of, options
from ltbench.training import fit

PHOTOGRAPHS = 40
"""Photographs that are generated where no folder of photographs is given."""


def photographs(folder: Path) -> list[Path]:
    """Return photographs: those of LTBENCH_PHOTOS, else small ones.

    The small ones are written to the folder, in several sizes, some as PNGs named .jpg.
    """
    if given := os.environ.get("LTBENCH_PHOTOS"):
        return sorted(Path(given).absolute().iterdir())
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for i in range(PHOTOGRAPHS):
        width, height = generator.integers(42, 90, 2).tolist()
        coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), int)
        grainy = (smooth + generator.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(grainy).save(folder / f"{i:02}.jpg", "PNG" if i % 20 == 7 else "JPEG")
    return sorted(folder.absolute().iterdir())


def make_tree(place: Path, parts: dict[str, Sequence[int]], **changes: Any) -> DatasetSpec:
    """Write lists and links to photographs; return their dataset.

    Args:
        place: folder of all of it: `photos`, `images` and `official_lists`.
        parts: images of each class [C] in the lists "train", "test" and, if there is one, "val".
        **changes: fields that differ from those of `imagenet_lt`.
    """
    official = load_dataset("imagenet_lt")
    lists, values = official.official_lists, official.model_dump()
    if lists is None:
        raise ValueError("imagenet_lt has no official lists")
    files = photographs(place / "photos")
    (place / "official_lists").mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = dict.fromkeys(lists.files)
    taken = [0] * len(parts["train"])  # validation images lie among the training ones
    for part, counts in parts.items():
        first = taken if part == "val" else [0] * len(counts)
        images = [
            ListEntry(f"n{k:08}", f"n{k:08}_{first[k] + i}.JPEG", k)
            for k, count in enumerate(counts)
            for i in range(count)
        ]
        taken = list(counts) if part == "train" else taken
        text = canonical_text(images, path_formats(lists, part)[0])
        for number, line in enumerate(text.splitlines()):
            path = place / "images" / line.rpartition(" ")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(files[number % len(files)])
        (place / "official_lists" / lists.files[part].file).write_text(text)
        facts[part] = lists.files[part].model_dump() | {
            "images": len(images),
            "blob": blob_id(text),
        }
    train = list(parts["train"])
    groups = class_groups(train, official.shot_rule)
    facts |= {"max_per_class": max(train), "min_per_class": min(train)}
    facts["group_sizes"] = [groups.count(group) for group in GROUPS]
    changes = {"full_train_images": None, "official_lists": facts} | changes
    return DatasetSpec(**values | changes)


def prepare_tree(spec: DatasetSpec, place: Path) -> PreparationReport:
    """Prepare the dataset of a tree as `ltbench data prepare` does."""
    return prepare(spec, place / "images", place / "official_lists", place / "data" / spec.name)


def few_steps(job: Job, place: Path, root: Path, steps: int = 2) -> Record:
    """Run a job on a tree in a few steps.

    Every rank calls this. Passes over all training images are those of any job, but for the count
    of training hits, which has one batch.

    Args:
        job: with epochs, each of which has at least one step.
        place: folder of the tree, with its image cache if there is one.
        root: of the run folder.
        steps: of the job, shared by its epochs.
    """
    each = max(steps // max(epochs_of(job), 1), 1)
    drawn, number = EpochDraw.sampler, PropertyMock(return_value=each)
    with (
        patch.object(EpochDraw, "sampler", lambda draw, name: drawn(draw, name)[:each]),
        patch.object(EpochDraw, "steps", number),
        patch.object(DataModule, "steps_per_epoch", number),
        patch.object(DataModule, "training_batches", _one_batch(DataModule.training_batches)),
        patch.dict(os.environ, {"LTBENCH_CACHE": str(place / "cache")}),
    ):
        return fit.run_job(job, RunDirectory(root), options(data_root=str(place / "data")))


def _one_batch(loader: Callable[[DataModule], OrderedLoader]) -> Callable[[DataModule], Any]:
    """Return a loader's maker, cut to a training batch of each rank."""

    def cut(data: DataModule) -> OrderedLoader:
        whole = loader(data)
        whole.span = whole.span[: data.recipe.batch_size]
        return whole

    return cut
