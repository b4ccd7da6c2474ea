"""Open-set test: OOD images are rejected by their largest class probability.

As in Liu et al., CVPR 2019 (arXiv:1904.05160), for any method; see `core/open_set.py` for the
meaning of the counts.
"""

import torch
from torch import Tensor

from ltbench.core.distributed import all_sum
from ltbench.core.open_set import THRESHOLDS
from ltbench.data.datamodule import DataModule
from ltbench.methods.contract import Method
from ltbench.runs.record import OpenSetTest
from ltbench.training.divergence import check_confidence
from ltbench.training.evaluation import Evaluation, probabilities
from ltbench.training.precision import autocast


def open_set_test(method: Method, data: DataModule, evaluation: Evaluation) -> OpenSetTest | None:
    """Count accepted images at each threshold over all ranks.

    Args:
        method: in evaluation mode.
        data: of the job.
        evaluation: its predictions of the closed test set.

    Returns:
        The test; None without an open set, and for the balanced split.

    Raises:
        DivergedError: if a prediction is not finite.
    """
    raw, name = data.open_set, data.spec.open_set
    if raw is None or name is None or data.split != "longtailed":
        return None
    correct = evaluation.correct_confidence()
    parts = [correct[:0]]
    with autocast(data.recipe, data.device):
        parts += [
            probabilities(method.predict(batch.images)).amax(dim=1)
            for batch in data.open_set_batches(raw)
            if len(batch) > 0
        ]
    confidence = torch.cat(parts)
    check_confidence(confidence, f"images of {name}")
    return OpenSetTest(
        dataset=name,
        fingerprint=raw.fingerprint,
        images=len(raw.test_labels),
        thresholds=THRESHOLDS,
        right=tuple(all_sum(count_accepted(correct)).tolist()),
        mistaken=tuple(all_sum(count_accepted(confidence)).tolist()),
    )


def count_accepted(confidence: Tensor) -> Tensor:
    """Count the values [N] at or above each threshold, int64."""
    thresholds = torch.tensor(THRESHOLDS, dtype=confidence.dtype, device=confidence.device)
    return (confidence[:, None] >= thresholds).sum(dim=0)
