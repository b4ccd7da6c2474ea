"""ONNX export of a classifier, checked against PyTorch; needs `ltbench[onnx]`."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltbench.config.errors import Location
from ltbench.core.files import write_atomically
from ltbench.runs.errors import RecordError
from ltbench.training.classifier import Classifier

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

TOLERANCE = 1e-4
"""Largest difference of a probability from PyTorch's."""


def require_onnx() -> None:
    """Check that the packages of the export are installed.

    Raises:
        ConfigError: if one is missing.
    """
    try:
        for name in PACKAGES:
            import_module(name)
    except ImportError as error:
        message = f"ONNX is not installed ({error}): pip install 'ltbench[onnx]'"
        raise Location("--onnx").error("unavailable", message) from error


def write_onnx(classifier: Classifier, path: Path) -> None:
    """Write a classifier to an ONNX file, in single precision.

    It maps `images` [batch, C, H, W], transformed as by `Classifier.transform`, to `probabilities`
    [batch, classes]. Its metadata have `classes` and `preprocessing` in JSON.

    Args:
        classifier: on the CPU.
        path: of the file.

    Raises:
        ConfigError: if a package is missing.
        RecordError: if the method cannot be exported, or the file predicts otherwise than PyTorch.
    """
    require_onnx()
    single, job = copy.deepcopy(classifier).float(), classifier.job
    spec, recipe = job.dataset, job.recipe
    generator = torch.Generator().manual_seed(0)
    traced, *others = (
        torch.randn(batch, spec.channels, spec.image_size, spec.image_size, generator=generator)
        for batch in (2, 1, 5)
    )
    try:
        with _one_cudnn_precision():
            program = torch.onnx.export(
                single,
                (traced,),
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                dynamo=True,
                verbose=False,
            )
    except RuntimeError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        message = f"{job.method} cannot be exported to ONNX: {reason}"
        raise RecordError(message, "mismatch") from error
    assert program is not None  # noqa: S101 - of `dynamo=True`
    preprocessing = {
        "resize_shorter_side": recipe.resize_shorter_side,
        "center_crop": spec.image_size,
        **spec.normalization.model_dump(mode="json"),
    }
    program.model.metadata_props["classes"] = json.dumps(classifier.classes, ensure_ascii=False)
    program.model.metadata_props["preprocessing"] = json.dumps(preprocessing)
    with TemporaryDirectory() as folder:
        file = Path(folder, path.name)
        program.save(file, external_data=False)
        for images in (traced, *others):
            difference = _difference(single, file, images)
            if not difference <= TOLERANCE:
                raise RecordError(
                    f"the ONNX file of {job.method} differs from PyTorch by {difference:.1g} in a "
                    f"probability of {len(images)} images",
                    "mismatch",
                )
        write_atomically(path, file.read_bytes())


@contextmanager
def _one_cudnn_precision() -> Iterator[None]:
    """Give cuDNN's convolutions the precision of its RNNs, for torch.export."""
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = torch.backends.cudnn.rnn.fp32_precision  # type: ignore[attr-defined]
    try:
        yield
    finally:
        convolutions.fp32_precision = before


def _difference(classifier: Classifier, file: Path, images: Tensor) -> float:
    """Return the largest difference between PyTorch's and ONNX's probabilities."""
    import onnxruntime

    with torch.inference_mode():
        expected = classifier(images).numpy()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images.numpy()})
    return float(np.abs(found - expected).max())
