"""From predictions to exact test counts, the same under any number of ranks.

The job's test, the tests between epochs and that of exported weights predict in one context, over
one kind of loader.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from ltbench.config.models import Recipe
from ltbench.core.batch import Batch
from ltbench.core.distributed import gather
from ltbench.core.groups import GROUPS, Group
from ltbench.data.loaders import OrderedLoader
from ltbench.methods.base import Method
from ltbench.metrics.calibration import calibration_bins
from ltbench.metrics.per_class import hits_and_totals
from ltbench.networks.folding import folded_batchnorm
from ltbench.runs.record import Calibration, TestResult
from ltbench.training.arithmetic import autocast, eager
from ltbench.training.divergence import check_confidence


def predicted(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest class probability [B], float64, and its class [B] of logits [B, C]."""
    confidence, prediction = logits.double().softmax(dim=1).max(dim=1)
    return confidence, prediction


@contextmanager
def predicting(
    method: Method, recipe: Recipe, loader: OrderedLoader, device: torch.device
) -> Iterator[None]:
    """Open the context of a test: nothing compiled, the recipe's arithmetic, BatchNorm folded.

    Whoever opens it is in inference mode, as Lightning's test is.

    Args:
        method: in evaluation mode.
        recipe: of the job.
        loader: of the test images.
        device: of these.
    """
    with ExitStack() as stack:
        stack.enter_context(eager())
        stack.enter_context(autocast(recipe, device))
        if recipe.fold_batchnorm:
            images = loader.load_batch(0, 1).images.repeat_interleave(2, dim=0)
            stack.enter_context(folded_batchnorm(method, lambda: method.predict(images)))
        yield


class Evaluation:
    """Gathers predictions of this rank's contiguous share of the test set, unpadded.

    Args:
        classes: C, of the test set.
        known: [K] those that logits stand for; images of others count as wrong.
        device: of logits and labels.
        groups: [C], of the classes, where calibration is wanted by group.
    """

    def __init__(
        self, classes: int, known: Tensor, device: torch.device, groups: Sequence[Group] = ()
    ) -> None:
        self.classes, self.known, self.groups = classes, known.to(device), groups
        none = torch.empty(0, dtype=torch.int64, device=device)
        self.parts: list[tuple[Tensor, Tensor, Tensor]] = [(none, none.double(), none)]

    def add_all(self, method: Method, batches: Iterable[Batch], *prior: Tensor | None) -> None:
        """Predict batches, told a prior or not; a rank without images has one that is empty."""
        for batch in batches:
            if len(batch) > 0:
                self.add(method.predict(batch.images, *prior), batch.labels)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take note of logits [B, K] and labels [B]."""
        confidence, prediction = predicted(logits)
        self.parts.append((self.known[prediction], confidence, labels))

    def confidence_where_right(self) -> Tensor:
        """Return the confidence of this rank's right predictions."""
        prediction, confidence, labels = map(torch.cat, zip(*self.parts, strict=True))
        return confidence[prediction == labels]

    def result(self) -> TestResult:
        """Return the counts over all ranks, in the order of the test set.

        Raises:
            DivergedError: where a prediction is not finite.
        """
        check_confidence(torch.cat([part[1] for part in self.parts]), "test images")
        prediction, confidence, labels = (
            gather(torch.cat(part)).cpu() for part in zip(*self.parts, strict=True)
        )
        correct = prediction == labels
        hits, totals = hits_and_totals(prediction, labels, self.classes)
        return TestResult(
            hits=tuple(hits.tolist()),
            totals=tuple(totals.tolist()),
            predicted=tuple(torch.bincount(prediction, minlength=self.classes).tolist()),
            correct=TestResult.pack(correct.numpy()),
            calibration=_calibration(confidence, correct),
            group_calibration={
                group: _calibration(confidence[within], correct[within])
                for group in GROUPS
                if (within := self._of_group(labels, group)).any()
            }
            if self.groups
            else None,
        )

    def _of_group(self, labels: Tensor, group: Group) -> Tensor:
        """Return which labels [N] are of a group's classes."""
        return torch.tensor([own == group for own in self.groups])[labels]


def _calibration(confidence: Tensor, correct: Tensor) -> Calibration:
    bins = calibration_bins(confidence, correct)
    return Calibration(
        counts=tuple(bins.counts.tolist()),
        confidence=tuple(bins.confidence.tolist()),
        accuracy=tuple(bins.accuracy.tolist()),
        ece=float(bins.ece),
    )
