import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ltbench.data.errors import DataError
from ltbench.data.evaluation_data import images_of_folder, part_of_dataset
from ltbench.data.sources import load_raw_dataset
from ltbench.runs.errors import RecordError
from ltbench.runs.export import read_export, write_export
from ltbench.runs.run_dir import RunDirectory
from ltbench.training.fit import run_job
from ltbench.training.inference import evaluate_labeled, restore
from tests.support.errors import raises
from tests.support.training_jobs import DIGITS, job, options

CPU = torch.device("cpu")
NAMES = tuple(map(str, range(10)))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return RunDirectory(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def softmax(run_dir):
    return run_job(job("softmax", epochs=1), run_dir, options())


def export(record, run_dir, folder, classes=NAMES):
    write_export(record, run_dir.job(record.key), classes, "card", folder)
    return read_export(folder)


def retest(exported, part="test"):
    record = exported.record
    images = part_of_dataset(DIGITS, part, record.job.split)
    return evaluate_labeled(restore(record, exported.weights), record, images, CPU)


@pytest.mark.parametrize(
    "changes", [{"fold_batchnorm": True, "precision": "fp32"}, {"channels_last": True}]
)
def test_a_recipe_is_followed(run_dir, tmp_path, changes):
    one = job("ride", epochs=1, norm="batch", **changes)
    record = run_job(one, run_dir, options())
    assert retest(export(record, run_dir, tmp_path)) == record.test


def test_the_prior_is_that_of_the_training_images(run_dir, tmp_path):
    first = job(split="balanced", epochs=1)
    second = job("posthoc_logit_adjustment", split="balanced", depends_on=[first.key])
    _, record = (run_job(one, run_dir, options()) for one in (first, second))
    assert record.split.train_counts != record.split.longtailed_counts
    assert retest(export(record, run_dir, tmp_path)) == record.test


def test_images_of_a_part_are_tested_as_in_the_job(softmax, run_dir, tmp_path):
    exported = export(softmax, run_dir, tmp_path)
    assert retest(exported) == softmax.test
    again = retest(exported, "train")
    assert again.totals == softmax.split.train_counts
    assert again.hits == softmax.training.hits
    with raises(DataError, "missing-data"):
        retest(exported, "val")


def test_labels_of_a_folder_follow_from_class_names(softmax, run_dir, tmp_path, caplog):
    exported = export(softmax, run_dir, tmp_path / "export")
    raw = load_raw_dataset(DIGITS)
    for label in (7, 3):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for i in np.flatnonzero(raw.test_labels == label):
            path = tmp_path / "images" / str(label) / f"{i:04d}.png"
            Image.fromarray(raw.test_images.pixels[i, 0]).save(path)
    recipe = softmax.job.recipe
    (tmp_path / "images" / "3" / "notes.txt").write_text("no image")
    found = images_of_folder(tmp_path / "images", DIGITS, recipe, NAMES)
    assert "3/notes.txt" in caplog.text
    result = evaluate_labeled(restore(softmax, exported.weights), softmax, found, CPU)
    expected = [h if k in (3, 7) else 0 for k, h in enumerate(softmax.test.hits)]
    assert list(result.hits) == expected
    (tmp_path / "images" / "owl").mkdir()
    shutil.copy(next((tmp_path / "images" / "3").iterdir()), tmp_path / "images" / "owl")
    with raises(DataError, "mismatch", "\n  owl"):
        images_of_folder(tmp_path / "images", DIGITS, recipe, NAMES)
    (tmp_path / "images" / "3" / "link.png").symlink_to(tmp_path / "beside.png")
    with raises(DataError, "bad-layout", "3/link.png links to"):
        images_of_folder(tmp_path / "images", DIGITS, recipe, NAMES)


def test_weights_of_another_shape_are_rejected(softmax, run_dir, tmp_path):
    exported = export(softmax, run_dir, tmp_path)
    state = load_file(exported.weights)
    for name in list(state)[:1]:
        del state[name]
    save_file(state, exported.weights)
    with raises(RecordError, "mismatch", exported.weights, "softmax"):
        restore(softmax, exported.weights)
    job = softmax.job.model_copy(update={"method": "mine"})
    with raises(RecordError, "mismatch", "mine", "plugin"):
        restore(softmax.model_copy(update={"job": job}), exported.weights)
    exported.weights.write_bytes(b"\x80\x04no pickle is read")
    with raises(RecordError, "mismatch", exported.weights, "softmax"):
        restore(softmax, exported.weights)
