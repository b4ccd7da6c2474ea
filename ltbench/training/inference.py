"""Inference with exported weights: restore a method, evaluate labeled images."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ltbench.config.job import Job
from ltbench.core.groups import subset_classes
from ltbench.data.batch_maker import batch_maker
from ltbench.data.loaders import OrderedLoader
from ltbench.data.raw_dataset import LabeledImages
from ltbench.methods.contract import Method
from ltbench.methods.plugins import find_method
from ltbench.runs.errors import RecordError
from ltbench.runs.record import EvaluationResult, Record
from ltbench.training.build import build_method
from ltbench.training.evaluation import Evaluation, predicting
from ltbench.training.precision import set_precision


def restore(record: Record, weights: Path, plugins: Sequence[str] = ()) -> Method:
    """Restore a trained method, in evaluation mode on the CPU.

    Args:
        record: of the job.
        weights: safetensors file of the method's state.
        plugins: Python files with the user's own methods.

    Raises:
        RecordError: if no plugin has the method, or the weights do not fit it.
    """
    job = record.job
    try:
        find_method(job.method, map(Path, plugins))
    except KeyError:
        message = f"no method {job.method}: pass the plugin that has it, as when it was trained"
        raise RecordError(message, "mismatch") from None
    counts = torch.tensor(record.split.train_counts)[trained_classes(record)]
    recipe = job.recipe.model_copy(update={"pretrained": None})  # the weights are loaded below
    try:
        method = build_method(job.model_copy(update={"recipe": recipe}), counts, plugins)
        method.stage = method.stage_of(job.stage)
        method.on_stage_start(method.stage)
        missing, unexpected = method.load_state_dict(load_file(weights), strict=False)
    except (KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise RecordError(f"{weights} does not fit {job.method}: {error}", "mismatch") from error
    if missing or (unexpected and not method.teachers):  # teachers are not needed to predict
        names = ", ".join([*missing, *unexpected])
        raise RecordError(
            f"{weights} does not fit {job.method}, missing or unexpected: {names}", "mismatch"
        )
    return method.eval()


def evaluate_labeled(
    method: Method, record: Record, labeled: LabeledImages, device: torch.device
) -> EvaluationResult:
    """Test a restored method; on the same images the job's own result."""
    return predict_labeled(method, record, labeled, device).result()


def predict_labeled(
    method: Method, record: Record, labeled: LabeledImages, device: torch.device
) -> Evaluation:
    """Predict labeled images as in the job's test."""
    job = record.job
    move(method, record, device)
    maker = batch_maker(labeled.images, job.dataset, job.recipe, device)
    loader = OrderedLoader(
        maker,
        torch.from_numpy(labeled.labels),
        job.recipe.test_batch_size(on_gpu=device.type == "cuda"),
    )
    evaluation = Evaluation(job.dataset.classes, trained_classes(record), device, record.groups)
    with torch.inference_mode(), predicting(method, job.recipe, loader.first_image, device):
        evaluation.add_all(method, loader)
    return evaluation


def move(method: Method, record: Record, device: torch.device) -> None:
    """Move a method to a device; set the job's precision and threads."""
    recipe = record.job.recipe
    torch.set_num_threads(record.environment.threads)
    set_precision(recipe)
    method.to(device)
    if recipe.channels_last:
        method.to(memory_format=torch.channels_last)


def trained_classes(record: Record) -> torch.Tensor:
    """Return the classes [K] that a job was trained on."""
    job: Job = record.job
    counts = record.split.longtailed_counts
    return torch.tensor(subset_classes(job.subset, counts, job.dataset.shot_rule))
