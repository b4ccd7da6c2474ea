"""Predictions of new images by an exported run: those of its test, on the same images."""

import pytest
import torch
from PIL import Image

import ltbench
from ltbench.config.dataset import DatasetSpec
from ltbench.data.errors import DataError
from ltbench.data.evaluation_data import part_of_dataset
from ltbench.data.sources import load_raw_dataset, measure_fingerprint
from ltbench.runs.export import read_export, write_export
from ltbench.runs.run_dir import RunDirectory
from ltbench.training.fit import run_job
from ltbench.training.inference import predict_labeled, restore
from tests.support.errors import problems, raises
from tests.support.listed_images import resized_recipe
from tests.support.own_images import NAMES, SPEC, rows, write_own
from tests.support.training_jobs import DIGITS, job, options

CPU = torch.device("cpu")
DIGIT_NAMES = tuple(f"digit {k}" for k in range(10))
FP32 = {"norm": "batch", "precision": "fp32"}
OWN = {
    "title": "Own",
    "classes": 3,
    "image_size": 8,
    "imbalance_type": "natural",
    "normalization": {"mean": (0.5,) * 3, "std": (0.3,) * 3},
}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return RunDirectory(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Return the test images as files, in the order of the test."""
    folder = tmp_path_factory.mktemp("digits")
    raw = load_raw_dataset(DIGITS)
    paths = [folder / f"{i:04d}.png" for i in range(len(raw.test_labels))]
    for path, pixels in zip(paths, raw.test_images.pixels, strict=True):
        Image.fromarray(pixels[0]).save(path)
    return paths


def export(one, run_dir, folder, classes=DIGIT_NAMES, **settings):
    record = run_job(one, run_dir, options(**settings))
    write_export(record, run_dir.job(record.key), classes, "card", folder)
    return read_export(folder)


@pytest.fixture(scope="module")
def softmax(run_dir, tmp_path_factory):
    return export(job(epochs=1), run_dir, tmp_path_factory.mktemp("exports") / "softmax")


def of_the_test(exported, images):
    """Return predictions and confidences of a test."""
    record = exported.record
    method = restore(record, exported.weights)
    predicted, confidence, _ = predict_labeled(method, record, images, CPU).predictions()
    return predicted, confidence.float()


def same(probabilities, expected):
    confidence, predicted = probabilities.max(dim=1)
    return torch.equal(predicted, expected[0]) and torch.equal(confidence, expected[1])


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("softmax", {"precision": "bf16", "channels_last": True}),
        ("ride", FP32 | {"fold_batchnorm": True}),
        ("sade", {"hparams": {"test_epochs": 1}}),
        ("lade", FP32 | {"channels_last": True}),
        ("softmax", {"subset": "medium"}),
    ],
)
def test_predictions_of_files_are_those_of_the_test(run_dir, digits, tmp_path, method, changes):
    exported = export(job(method, epochs=1, **changes), run_dir, tmp_path)
    expected = of_the_test(exported, part_of_dataset(DIGITS, "test", exported.record.job.split))
    classifier = ltbench.load(tmp_path)
    assert classifier.classes == DIGIT_NAMES
    probabilities = classifier.predict(digits)
    assert same(probabilities, expected)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(len(digits)))
    outside = sorted(set(range(10)) - set(classifier.known.tolist()))
    assert not probabilities[:, outside].any()
    hits = probabilities.argmax(dim=1).numpy() == load_raw_dataset(DIGITS).test_labels
    assert hits.sum() == sum(exported.record.test.hits)


@pytest.mark.parametrize("quality", [None, 5])
def test_photographs_are_resized_and_cropped_as_in_the_test(tmp_path, monkeypatch, quality):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "own"
    write_own(folder, rows())
    spec = DatasetSpec(**SPEC, **OWN)
    spec = spec.model_copy(update={"fingerprint": measure_fingerprint(spec, folder.parent)})
    settings = resized_recipe(network="resnet10", jpeg_quality=quality, **FP32)
    one = job(epochs=1, **settings).model_copy(update={"dataset": spec})
    runs, root = RunDirectory(tmp_path / "runs"), str(folder.parent)
    exported = export(one, runs, tmp_path / "export", NAMES, data_root=root)
    images = part_of_dataset(spec, "test", one.split, folder.parent)
    expected = of_the_test(exported, images)
    assert same(ltbench.load(tmp_path / "export").predict(images.names), expected)


def test_images_are_paths_bytes_or_transformed(softmax, digits):
    classifier = ltbench.load(softmax.weights.parent)
    expected = classifier.predict(digits[:3])
    assert torch.equal(classifier.predict([str(path) for path in digits[:3]]), expected)
    assert torch.equal(classifier.predict([path.read_bytes() for path in digits[:3]]), expected)
    batch = torch.stack([classifier.transform(path) for path in digits[:3]])
    assert batch.shape == (3, 1, 8, 8)
    assert torch.equal(classifier.predict(batch), expected)
    assert torch.equal(classifier(batch), expected)  # a PyTorch module
    assert classifier.predict([]).shape == (0, 10)
    with pytest.raises(TypeError):
        classifier.predict(str(digits[0]))


def test_unreadable_images_are_named_together_and_lose_no_others(softmax, digits, tmp_path):
    classifier = ltbench.load(softmax.weights.parent)
    empty, large = tmp_path / "empty.png", tmp_path / "large.png"
    empty.write_bytes(b"")
    Image.new("L", (9, 8)).save(large)
    files = [digits[0], empty, digits[1], large, tmp_path / "gone.png", b"no image"]
    results = list(classifier.predict_each(files))
    bad = [isinstance(result, str) for result in results]
    assert bad == [False, True, False, True, True, True]
    good = classifier.predict(digits[:2])
    assert torch.equal(torch.stack([results[0], results[2]]), good)
    assert "9x8" in results[3]
    with raises(DataError, "bad-images", empty, large, "gone.png", "image 5", "(4)"):
        classifier.predict(files)
    with raises(DataError, "bad-images", large):
        classifier.transform(large)


def test_an_export_without_class_names_or_classes_is_refused(run_dir, tmp_path):
    export(job(epochs=1), run_dir, tmp_path, classes=None)
    config = str(tmp_path / "config.yaml")
    assert problems(lambda: ltbench.load(tmp_path)) == [(config, "classes", "missing-key")]
