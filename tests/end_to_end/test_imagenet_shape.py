"""ImageNet-LT in small: 1,000 Pareto-distributed classes, from lists to a record.

LTBENCH_PHOTOS may name a folder of photographs to use; by default small ones are generated.
"""

import os
from pathlib import Path
from unittest.mock import PropertyMock, patch

import numpy as np
import pytest
from PIL import Image

from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.models import DatasetSpec, Job, Schedule
from ltbench.data import datamodule
from ltbench.data.cache_building import build_cache
from ltbench.data.errors import DataError
from ltbench.data.imbalance import pareto_counts
from ltbench.data.official_lists import ListEntry, blob_id, canonical_text
from ltbench.data.prepare import prepare
from ltbench.data.sources import load_raw_dataset
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import read_record, record_path
from ltbench.samplers import EpochDraw
from ltbench.testing.ranks import ranks
from ltbench.training import fit
from tests.support.errors import raises
from tests.support.training_jobs import job, options

pytestmark = pytest.mark.slow

COUNTS = pareto_counts(1000, 128, 25.6)
CLASSES = [f"n{k:08}" for k in range(1000)]
FORM = "{class}/{name}"
SIDE, QUALITY = 40, 90


def photographs(folder):
    """Return photographs of several sizes, some of them PNGs named .jpg."""
    if given := os.environ.get("LTBENCH_PHOTOS"):
        return sorted(Path(given).iterdir())
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(40):
        width, height = generator.integers(42, 90, 2).tolist()
        coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), int)
        grainy = (smooth + generator.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(grainy).save(folder / f"{i:02}.jpg", "PNG" if i % 20 == 7 else "JPEG")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a folder of images and lists, and its dataset."""
    place = tmp_path_factory.mktemp("imagenet")
    files = photographs(place / "photos")
    lists = {}
    (place / "official_lists").mkdir()
    official = load_dataset("imagenet_lt").model_dump()
    for part, counts in (("train", COUNTS), ("test", [1] * 1000)):
        images = [
            ListEntry(name, f"{name}_{i}.JPEG", k)
            for k, name in enumerate(CLASSES)
            for i in range(counts[k])
        ]
        folder = official["official_lists"][part]["paths"][0].partition("/")[0]
        for number, image in enumerate(images):
            path = place / "images" / folder / image.folder / image.name
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(files[number % len(files)], path)
        text = canonical_text(images, f"{folder}/{FORM}")
        name = official["official_lists"][part]["file"]
        (place / "official_lists" / name).write_text(text)
        lists[part] = official["official_lists"][part] | {
            "images": len(images),
            "blob": blob_id(text),
        }
    lists |= {"val": None, "max_per_class": 128, "min_per_class": 5}
    lists["group_sizes"] = [
        sum(n > 100 for n in COUNTS),
        sum(20 <= n <= 100 for n in COUNTS),
        sum(n < 20 for n in COUNTS),
    ]
    changes = {
        "name": "shape",
        "image_size": 32,
        "full_train_images": None,
        "official_lists": lists,
    }
    return place, DatasetSpec(**official | changes)


def prepared(place, spec):
    return prepare(spec, place / "images", place / "official_lists", place / "data" / spec.name)


def shape_job(spec) -> Job:
    """Return a job of imagenet_lt_90 with a batch of 16."""
    recipe = load_recipe("imagenet_lt_90")
    once = recipe.stage1.model_copy(
        update={"epochs": 1, "schedule": Schedule(kind="constant"), "deferred_from_epoch": None}
    )
    changes = {
        "batch_size": 16,
        "resize_shorter_side": SIDE,
        "jpeg_quality": QUALITY,
        "precision": "fp32",
    }
    recipe = recipe.model_copy(update={**changes, "eval_batch_size": 50, "stage1": once})
    return job().model_copy(update={"dataset": spec, "recipe": recipe, "stage_recipe": once})


def two_steps(one: Job, place: Path) -> Record:
    """Run a job with an epoch of two steps."""
    sampled, two = EpochDraw.sampler, PropertyMock(return_value=2)
    with (
        patch.object(EpochDraw, "sampler", lambda draw, name: sampled(draw, name)[:2]),
        patch.object(EpochDraw, "steps", two),
        patch.object(datamodule.DataModule, "steps_per_epoch", two),
        patch.dict(os.environ, {"LTBENCH_CACHE": str(place / "cache")}),
    ):
        return fit.run_job(
            one, RunDirectory(place / "runs"), options(data_root=str(place / "data"))
        )


def test_lists_and_images_that_are_wrong_are_refused(tree):
    place, spec = tree
    path = place / "official_lists" / spec.official_lists.train.file
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    path.write_text("".join([lines[1], lines[0], *lines[2:]]))
    with raises(DataError, "bad-layout", path.name):
        prepared(place, spec)
    path.write_text("".join(lines[:-1]))
    with raises(DataError, "bad-layout", f"{sum(COUNTS) - 1:,} images"):
        prepared(place, spec)
    path.write_text(text)
    gone = [place / "images/train" / name / f"{name}_4.JPEG" for name in CLASSES[-3:]]
    for image in gone:
        image.rename(f"{image}.aside")
    names = (image.name for image in gone)
    with raises(DataError, "missing-data", f"3 of {sum(COUNTS):,} train", *names):
        prepared(place, spec)
    for image in gone:
        Path(f"{image}.aside").rename(image)


def test_from_lists_to_a_record_on_two_ranks(tree, monkeypatch):
    place, spec = tree
    monkeypatch.setenv("LTBENCH_CACHE", str(place / "cache"))
    preparation = prepared(place, spec)
    assert preparation.images == {"train": sum(COUNTS), "test": 1000}
    raw = load_raw_dataset(spec, place / "data")

    bad = place / "images/train" / CLASSES[7] / f"{CLASSES[7]}_0.JPEG"
    whole = bad.read_bytes()
    bad.unlink()  # removes one link, the others stay
    bad.write_bytes(whole[: len(whole) // 2])
    with raises(DataError, "bad-images", "1 images", f"{bad.name} is damaged"):
        build_cache(spec, raw, SIDE, quality=QUALITY, processes=2)
    bad.write_bytes(whole)
    built = build_cache(spec, raw, SIDE, quality=QUALITY, processes=2)  # resumes at that shard
    assert built.images == sum(COUNTS) + 1000
    assert not built.bad

    one = shape_job(spec)
    record, other = ranks(2)(two_steps, one, place)
    assert record.numbers() == other.numbers()
    assert read_record(record_path(RunDirectory(place / "runs").records, one)).repeats(record)
    assert record.training.steps == 2
    assert record.split.train_counts == tuple(COUNTS)
    assert record.test.totals == (1,) * 1000
    assert sum(record.test.predicted) == 1000
    assert record.cost.devices == 2
