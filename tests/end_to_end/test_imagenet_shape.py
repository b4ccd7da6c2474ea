"""ImageNet-LT in small: 1,000 Pareto-distributed classes, from lists to a record.

LTBENCH_PHOTOS may name a folder of photographs to use; by default small ones are generated.
"""

from pathlib import Path

import pytest

from ltbench.config.job import Job
from ltbench.config.load import load_recipe
from ltbench.config.recipe import Schedule
from ltbench.data.cache_building import build_cache
from ltbench.data.errors import DataError
from ltbench.data.imbalance import pareto_counts
from ltbench.data.sources import load_raw_dataset
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import read_record, record_path
from ltbench.testing.imagenet_shape import few_steps, make_tree, prepare_tree
from ltbench.testing.ranks import ranks
from tests.support.errors import raises
from tests.support.training_jobs import job

pytestmark = pytest.mark.slow

COUNTS = pareto_counts(1000, 128, 25.6)
CLASSES = [f"n{k:08}" for k in range(1000)]
SIDE, QUALITY = 40, 90


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a folder of images and lists, and its dataset."""
    place = tmp_path_factory.mktemp("imagenet")
    parts = {"train": COUNTS, "test": [1] * 1000}
    return place, make_tree(place, parts, name="shape", image_size=32)


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


def test_lists_and_images_that_are_wrong_are_refused(tree):
    place, spec = tree
    path = place / "official_lists" / spec.official_lists.train.file
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    path.write_text("".join([lines[1], lines[0], *lines[2:]]))
    with raises(DataError, "bad-layout", path.name):
        prepare_tree(spec, place)
    path.write_text("".join(lines[:-1]))
    with raises(DataError, "bad-layout", f"{sum(COUNTS) - 1:,} images"):
        prepare_tree(spec, place)
    path.write_text(text)
    gone = [place / "images/train" / name / f"{name}_4.JPEG" for name in CLASSES[-3:]]
    for image in gone:
        image.rename(f"{image}.aside")
    names = (image.name for image in gone)
    with raises(DataError, "missing-data", f"3 of {sum(COUNTS):,} train", *names):
        prepare_tree(spec, place)
    for image in gone:
        Path(f"{image}.aside").rename(image)


def test_from_lists_to_a_record_on_two_ranks(tree, monkeypatch):
    place, spec = tree
    monkeypatch.setenv("LTBENCH_CACHE", str(place / "cache"))
    preparation = prepare_tree(spec, place)
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
    record, other = ranks(2)(few_steps, one, place, place / "runs")
    assert record.numbers() == other.numbers()
    assert read_record(record_path(RunDirectory(place / "runs").records, one)).repeats(record)
    assert record.training.steps == 2
    assert record.split.train_counts == tuple(COUNTS)
    assert record.test.totals == (1,) * 1000
    assert sum(record.test.predicted) == 1000
    assert record.cost.devices == 2
