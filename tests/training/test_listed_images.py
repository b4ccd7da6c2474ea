"""Jobs on images of any size, from lists, through the ordinary runner."""

import pytest
import torch
from safetensors.torch import load_file

from ltbench.config.job import Job
from ltbench.data.cache_building import build_cache
from ltbench.data.errors import DataError
from ltbench.data.evaluation_data import part_of_dataset
from ltbench.data.prepare import prepare
from ltbench.data.sources import load_raw_dataset, measure_fingerprint
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.store import read_record, record_path
from ltbench.training import fit
from ltbench.training.inference import evaluate_labeled, restore
from tests.support.errors import raises
from tests.support.listed_images import (
    listed_spec,
    picture,
    resized_recipe,
    write_images,
    write_lists,
)
from tests.support.training_jobs import job, options

RECIPE = resized_recipe(network="resnet10", norm="batch", precision="fp32", epochs=2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    spec = listed_spec()
    write_lists(tmp_path / "official_lists", spec)
    write_images(tmp_path / "images", content=picture)
    prepare(spec, tmp_path / "images", tmp_path / "official_lists", tmp_path / "data" / spec.name)
    return tmp_path


def listed_job(folder, method="softmax", split="longtailed", **changes) -> Job:
    spec = listed_spec()
    spec = spec.model_copy(update={"fingerprint": measure_fingerprint(spec, folder / "data")})
    return job(method, split=split, **RECIPE | changes).model_copy(update={"dataset": spec})


def run(folder, one, name="runs"):
    run_dir = RunDirectory(folder / name)
    record = fit.run_job(one, run_dir, options(data_root=str(folder / "data")))
    assert read_record(record_path(run_dir.records, one)) == record
    return record, load_file(run_dir.job(one.key).weights)


@pytest.mark.parametrize(("split", "quality"), [("longtailed", None), ("balanced", 90)])
def test_a_job_trains_and_tests_with_and_without_a_cache(folder, split, quality):
    one = listed_job(folder, split=split, jpeg_quality=quality)
    record, weights = run(folder, one)
    assert record.training.steps == 4
    assert record.test.totals == (2, 2, 2)
    assert record.split.train_counts == ((6, 2, 1) if split == "longtailed" else (3, 3, 3))
    assert record.split.longtailed_counts == (6, 2, 1)
    assert record.split.bad_images == 0
    raw = load_raw_dataset(one.dataset, folder / "data")
    build_cache(one.dataset, raw, one.recipe.resize_shorter_side, quality=quality)
    again, same = run(folder, one, "cached")
    assert again.numbers() == record.numbers()
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_excluded_images_are_counted_in_the_record(folder):
    one = listed_job(folder)
    raw = load_raw_dataset(one.dataset, folder / "data")
    (raw.files["train"].root / "train/n01/4.jpg").write_bytes(b"not an image")
    built = build_cache(one.dataset, raw, one.recipe.resize_shorter_side, on_bad="skip")
    with raises(DataError, "mismatch", "all images"):
        run(folder, one)
    assert not RunDirectory(folder / "runs").job(one.key).weights.exists()
    known = one.dataset.model_copy(update={"bad_images": built.bad_images})
    other = Job(**one.model_dump() | {"dataset": known})
    assert other.key != one.key
    record, _ = run(folder, other)
    assert record.split.bad_images == 1
    assert record.split.train_counts == (5, 2, 1)


def test_exported_weights_are_tested_on_the_same_pixels(folder):
    """Images have a JPEG round trip in training and test."""
    one = listed_job(folder, jpeg_quality=5)
    record, _ = run(folder, one)
    weights = RunDirectory(folder / "runs").job(one.key).weights
    images = part_of_dataset(one.dataset, "test", one.split, folder / "data")
    result = evaluate_labeled(restore(record, weights), record, images, torch.device("cpu"))
    assert result == record.test


@pytest.mark.parametrize("method", ["class_balanced_sampling", "paco", "ncm"])
def test_other_samplers_views_and_statistics_passes(folder, method):
    depends_on = ()
    if method == "ncm":
        first = listed_job(folder)
        run(folder, first)
        depends_on = (first.key,)
    one = listed_job(folder, method).model_copy(update={"depends_on": depends_on})
    record, _ = run(folder, one)
    assert sum(record.test.totals) == 6
