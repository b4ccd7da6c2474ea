"""ONNX files of classifiers; skipped without `ltbench[onnx]`."""

import json
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ltbench
from ltbench.cli import app
from ltbench.data.sources import load_raw_dataset
from ltbench.runs.errors import RecordError
from ltbench.runs.export import read_export, write_export
from ltbench.runs.run_dir import RunDirectory
from ltbench.training import onnx_export
from ltbench.training.classifier import Classifier
from ltbench.training.fit import run_job
from tests.support.errors import problems, raises
from tests.support.training_jobs import DIGITS, job, options

NAMES = tuple(f"digit {k}" for k in range(10))


def classifier(folder, one):
    run_dir = RunDirectory(folder / "runs")
    record = run_job(one, run_dir, options())
    write_export(record, run_dir.job(record.key), NAMES, "card", folder / "export")
    return ltbench.load(folder / "export")


@pytest.mark.parametrize(
    ("method", "changes"),
    [("softmax", {"subset": "medium"}), ("sade", {"precision": "fp32", "norm": "batch"})],
)
def test_a_file_predicts_as_pytorch_does(tmp_path, method, changes):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = classifier(tmp_path, job(method, epochs=1, **changes))
    onnx_export.write_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(NAMES)
    normalization = DIGITS.normalization.model_dump(mode="json")
    preprocessing = {"resize_shorter_side": None, "center_crop": 8} | normalization
    assert json.loads(metadata["preprocessing"]) == preprocessing
    raw = load_raw_dataset(DIGITS)
    batch = model._batch(raw.test_images.read(range(50)))
    (found,) = session.run(None, {"images": batch.float().numpy()})
    assert np.allclose(found, model.predict(batch).numpy(), atol=1e-4)
    assert list(tmp_path.glob("model.onnx*")) == [tmp_path / "model.onnx"]


class Rounded(Classifier):
    """A classifier that predicts otherwise than what is exported of it."""

    def forward(self, images):
        return super().forward(images) + (0 if torch.compiler.is_exporting() else 0.01)


def test_a_file_that_predicts_otherwise_is_not_written(tmp_path):
    pytest.importorskip("onnxruntime")
    model = classifier(tmp_path, job(epochs=1))
    other = Rounded(model.method, read_export(tmp_path / "export"))
    with raises(RecordError, "mismatch", "softmax"):
        onnx_export.write_onnx(other, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_missing_packages_are_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.chdir(tmp_path)

    def export():
        raise CliRunner().invoke(app, ["results", "export", "0", "--onnx"]).exception

    assert problems(export) == [("--onnx", "", "unavailable")]
    assert not list(tmp_path.iterdir())
