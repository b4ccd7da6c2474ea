"""Every method as it is checked, and jobs of the suite's own tests."""

from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from ltbench.config.job import Job
from ltbench.methods import METHODS
from ltbench.runs.record import EvaluationResult
from ltbench.runs.run_dir import JobFolder, RunDirectory
from ltbench.testing.jobs import Case, options, train
from ltbench.training import fit
from ltbench.training.module import TrainingModule, average_batchnorm

# Methods as they are (a long one with few steps), and settings in which one does something else.
CASES = {key: Case(key) for key in METHODS}
CASES["balms-held-out"] = Case("balanced_meta_softmax", {"meta_images": "held_out"})
CASES["bayesian_uncertainty-margins"] = Case("bayesian_uncertainty", {"start": 0.5})
CASES["ib_loss-from-the-start"] = Case("ib_loss", {"start": 0.0})
CASES["lfme-validation"] = Case("lfme", {"accuracies": "validation"})
CASES["lmle"] = Case("lmle", {"smallest": 5})  # three of ten classes with several clusters
CASES["metamodelnet"] = Case("metamodelnet", {"draws": 3, "fit_steps": 20, "most_steps": 10})
CASES["mixup-ldam"] = Case("mixup", {"loss": "ldam"})
CASES["rsg-drw"] = Case("rsg", {"loss": "drw"})
CASES["seesaw-cosine"] = Case("seesaw", {"classifier": "cosine"})
CASES["ssp-moco"] = Case("ssp", {"task": "moco", "queue": 40, "width": 8})


def batchnorm_after_averaging(training: Tensor, frozen: Tensor) -> list[list[float]]:
    """Return a training and a frozen layer's statistics; each rank starts from its row [W, C]."""
    layers = torch.nn.ModuleList(torch.nn.BatchNorm1d(training.shape[1]) for _ in range(2))
    layers[1].eval()
    for layer, rows in zip(layers, (training, frozen), strict=True):
        layer.running_mean.copy_(rows[torch.distributed.get_rank()])
    average_batchnorm(layers)
    return [layer.running_mean.tolist() for layer in layers]


def try_few_images(job: Job, root: Path, count: int) -> EvaluationResult | None:
    """Test an untrained job on its first test images alone."""
    data, method = fit.prepare(job, RunDirectory(root), options())
    data.test_labels = data.test_labels[:count]
    module = TrainingModule(method, job, lambda _: None)
    fit.make_trainer(job, torch.device("cpu")).test(module, datamodule=data, verbose=False)
    return module.test_result


def joined_when_counting_attempts(job: Job, root: Path) -> list[bool]:
    """Train a job; return whether the process group was there whenever attempts were counted."""
    count, joined = fit._count_attempt, []

    def look_and_count(folder: JobFolder) -> int:
        joined.append(torch.distributed.is_initialized())
        return count(folder)

    with patch.object(fit, "_count_attempt", look_and_count):
        train(job, root)
    return joined
