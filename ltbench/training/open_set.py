"""The open-set test: images of another dataset among the own, rejected by the largest probability.

As in Liu et al., CVPR 2019 (arXiv:1904.05160), for any method; `core/open_set.py` says what the
counts mean.
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


def open_set_test(method: Method, data: DataModule, own: Evaluation) -> OpenSetTest | None:
    """Return how many images are taken for known, over all ranks.

    Args:
        method: in evaluation mode.
        data: its data.
        own: what it predicted of its own test images.

    Returns:
        None without an open set, and for the balanced split.

    Raises:
        DivergedError: where a prediction is not finite.
    """
    raw, name = data.open_set, data.spec.open_set
    if raw is None or name is None or data.split != "longtailed":
        return None
    right = own.confidence_where_right()
    seen = [right[:0]]
    with autocast(data.recipe, data.device):
        seen += [
            probabilities(method.predict(batch.images)).amax(dim=1)
            for batch in data.open_batches(raw)
            if len(batch) > 0
        ]
    confidence = torch.cat(seen)
    check_confidence(confidence, f"images of {name}")
    return OpenSetTest(
        dataset=name,
        fingerprint=raw.fingerprint,
        images=len(raw.test_labels),
        thresholds=THRESHOLDS,
        right=tuple(all_sum(reaching(right)).tolist()),
        mistaken=tuple(all_sum(reaching(confidence)).tolist()),
    )


def reaching(confidence: Tensor) -> Tensor:
    """Return how many values [N] are at or above each threshold, int64."""
    thresholds = torch.tensor(THRESHOLDS, dtype=confidence.dtype, device=confidence.device)
    return (confidence[:, None] >= thresholds).sum(dim=0)
