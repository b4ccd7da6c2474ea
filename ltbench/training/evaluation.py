"""Evaluation: exact test counts from predictions, independent of the number of ranks.

The job's test, the tests between epochs and `ltbench evaluate` share this context and loader.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from ltbench.config.recipe import Recipe
from ltbench.core.batch import Batch
from ltbench.core.distributed import all_sum, gather, rank, world_size
from ltbench.core.groups import GROUPS, Group
from ltbench.methods.contract import Method
from ltbench.metrics.calibration import calibration_bins
from ltbench.metrics.per_class import confusion_rows, hits_and_totals
from ltbench.metrics.ranking import ClassRanking, rank_class
from ltbench.networks.folding import folded_batchnorm
from ltbench.runs.record import Calibration, Counts, EvaluationResult
from ltbench.training.divergence import check_confidence
from ltbench.training.precision import autocast, eager

CLASSES_AT_ONCE = 256
"""Classes whose scores are gathered from the ranks at a time."""


def probabilities(logits: Tensor) -> Tensor:
    """Return the float64 class probabilities [B, C] of logits."""
    return logits.double().softmax(dim=1)


def of_all_classes(scores: Tensor, known: Tensor, classes: int) -> Tensor:
    """Return scores [B, C] of all classes, 0 for unknown ones."""
    scattered = scores.new_zeros(scores.shape[0], classes)  # an export to ONNX follows the shape
    scattered[:, known] = scores
    return scattered


@contextmanager
def predicting(
    method: Method, recipe: Recipe, first: Callable[[], Tensor], device: torch.device
) -> Iterator[None]:
    """Open the context of a test: eager mode, autocast, folded BatchNorm.

    The caller is in inference mode, as Lightning's test is.

    Args:
        method: in evaluation mode.
        recipe: of the job.
        first: returns the first image [1, C, H, W].
        device: of the images.
    """
    with ExitStack() as stack:
        stack.enter_context(eager())
        stack.enter_context(autocast(recipe, device))
        if recipe.fold_batchnorm:
            images = first().repeat_interleave(2, dim=0)
            stack.enter_context(folded_batchnorm(method, lambda: method.predict(images)))
        yield


class Evaluation:
    """Collects predictions of this rank's contiguous share of the test set.

    Args:
        classes: C, number of classes of the test set.
        known: [K] classes of the logits; images of other classes count as wrong.
        device: of logits and labels.
        groups: [C] shot group of each class, which `result` needs; with them the scores are kept,
            four bytes of host memory per image and class.
    """

    def __init__(
        self,
        classes: int,
        known: Tensor,
        device: torch.device,
        groups: Sequence[Group] = (),
    ) -> None:
        self.classes, self.known, self.groups = classes, known.to(device), groups
        empty = torch.empty(0, dtype=torch.int64, device=device)
        self.parts: list[tuple[Tensor, Tensor, Tensor]] = [(empty, empty.double(), empty)]
        self.scores = [torch.empty(0, classes)] if groups else []

    def add_all(self, method: Method, batches: Iterable[Batch], *prior: Tensor | None) -> None:
        """Predict batches and add the predictions.

        A rank without images has one empty batch.

        Args:
            method: predicts.
            batches: of the test images.
            prior: [C] test prior, if the method is given one.
        """
        for batch in batches:
            if len(batch) > 0:
                self.add(method.predict(batch.images, *prior), batch.labels)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add logits [B, K] and labels [B]."""
        scores = probabilities(logits)
        confidence, prediction = scores.max(dim=1)
        self.parts.append((self.known[prediction], confidence, labels))
        if self.scores:
            all_scores = of_all_classes(scores, self.known, self.classes)
            self.scores.append(all_scores.float().cpu())

    def predictions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return predictions, confidences and labels [N] of this rank."""
        prediction, confidence, labels = map(torch.cat, zip(*self.parts, strict=True))
        return prediction, confidence, labels

    def correct_confidence(self) -> Tensor:
        """Return the confidence of this rank's correct predictions."""
        prediction, confidence, labels = self.predictions()
        return confidence[prediction == labels]

    def _gathered(self, what: str) -> tuple[Tensor, Tensor, Tensor]:
        """Gather predictions, confidences and labels [N] of all ranks."""
        check_confidence(torch.cat([part[1] for part in self.parts]), what)
        prediction, confidence, labels = (
            gather(torch.cat(part)).cpu() for part in zip(*self.parts, strict=True)
        )
        return prediction, confidence, labels

    def counts(self, what: str = "test images") -> Counts:
        """Return hits and totals of each class over all ranks.

        Args:
            what: name of the images in an error message.

        Raises:
            DivergedError: if a prediction is not finite.
        """
        prediction, _, labels = self._gathered(what)
        hits, totals = hits_and_totals(prediction, labels, self.classes)
        return Counts(hits=tuple(hits.tolist()), totals=tuple(totals.tolist()))

    def result(self) -> EvaluationResult:
        """Return the test result over all ranks, in test set order.

        It needs shot groups.

        Raises:
            DivergedError: if a prediction is not finite.
        """
        prediction, confidence, labels = self._gathered("test images")
        correct = prediction == labels
        hits, totals = hits_and_totals(prediction, labels, self.classes)
        rankings = self._rankings(labels)
        return EvaluationResult(
            hits=tuple(hits.tolist()),
            totals=tuple(totals.tolist()),
            confusion=tuple(confusion_rows(prediction, labels, self.classes)),
            auroc_pairs=tuple(each.pairs for each in rankings),
            average_precision=tuple(each.average_precision for each in rankings),
            predicted=tuple(torch.bincount(prediction, minlength=self.classes).tolist()),
            selection="last_epoch",
            correct=EvaluationResult.pack(correct.numpy()),
            calibration=_calibration(confidence, correct),
            group_calibration={
                group: _calibration(confidence[within], correct[within])
                for group in GROUPS
                if (within := self._of_group(labels, group)).any()
            },
        )

    def _rankings(self, labels: Tensor) -> list[ClassRanking]:
        """Return the ranking of all images by each class's score.

        Each rank computes a part of the classes. A class without a logit scores all images equally.

        Args:
            labels: [N] of all images.
        """
        pairs = torch.zeros(self.classes, dtype=torch.int64, device=self.known.device)
        precision = torch.zeros(self.classes, dtype=torch.float64, device=self.known.device)
        for first in range(0, self.classes, CLASSES_AT_ONCE):
            parts = [part[:, first : first + CLASSES_AT_ONCE] for part in self.scores]
            scores = gather(torch.cat(parts).to(pairs.device)).cpu().T.contiguous()
            for k, column in enumerate(scores, first):
                if k % world_size() == rank():
                    ranking = rank_class(column.numpy(), (labels == k).numpy())
                    pairs[k], precision[k] = ranking.pairs, ranking.average_precision or 0.0
        results = zip(all_sum(pairs).tolist(), all_sum(precision).tolist(), strict=True)
        return [ClassRanking(count, value or None) for count, value in results]

    def _of_group(self, labels: Tensor, group: Group) -> Tensor:
        """Return which labels [N] are classes of a shot group."""
        return torch.tensor([each == group for each in self.groups])[labels]


def _calibration(confidence: Tensor, correct: Tensor) -> Calibration:
    bins = calibration_bins(confidence, correct)
    return Calibration(
        counts=tuple(bins.counts.tolist()),
        confidence=tuple(bins.confidence.tolist()),
        accuracy=tuple(bins.accuracy.tolist()),
        ece=float(bins.ece),
    )
