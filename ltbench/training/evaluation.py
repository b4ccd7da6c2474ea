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
from ltbench.core.distributed import all_sum, gather, rank, world_size
from ltbench.core.groups import GROUPS, Group
from ltbench.data.loaders import OrderedLoader
from ltbench.methods.contract import Method
from ltbench.metrics.calibration import calibration_bins
from ltbench.metrics.per_class import confusion_rows, hits_and_totals
from ltbench.metrics.ranking import ClassRanking, rank_class
from ltbench.networks.folding import folded_batchnorm
from ltbench.runs.record import Calibration, Counts, EvaluationResult
from ltbench.training.divergence import check_confidence
from ltbench.training.precision import autocast, eager

COLUMNS = 256
"""Classes whose scores of all images are gathered at a time."""


def probabilities(logits: Tensor) -> Tensor:
    """Return the class probabilities [B, C], float64, of logits [B, C]."""
    return logits.double().softmax(dim=1)


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
        ranking: whether scores are kept for a ranking of the images by every class; it takes four
            bytes of the host for each of them.
    """

    def __init__(
        self,
        classes: int,
        known: Tensor,
        device: torch.device,
        groups: Sequence[Group] = (),
        *,
        ranking: bool = False,
    ) -> None:
        self.classes, self.known, self.shot_rule = classes, known.to(device), groups
        none = torch.empty(0, dtype=torch.int64, device=device)
        self.parts: list[tuple[Tensor, Tensor, Tensor]] = [(none, none.double(), none)]
        self.scores = [torch.empty(0, classes)] if ranking else []

    def add_all(self, method: Method, batches: Iterable[Batch], *prior: Tensor | None) -> None:
        """Predict batches, told a prior or not; a rank without images has one that is empty."""
        for batch in batches:
            if len(batch) > 0:
                self.add(method.predict(batch.images, *prior), batch.labels)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take note of logits [B, K] and labels [B]."""
        scores = probabilities(logits)
        confidence, prediction = scores.max(dim=1)
        self.parts.append((self.known[prediction], confidence, labels))
        if self.scores:
            kept = scores.new_zeros(len(scores), self.classes)
            kept[:, self.known] = scores
            self.scores.append(kept.float().cpu())

    def confidence_where_right(self) -> Tensor:
        """Return the confidence of this rank's right predictions."""
        prediction, confidence, labels = map(torch.cat, zip(*self.parts, strict=True))
        return confidence[prediction == labels]

    def _gathered(self, what: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return predictions, confidences and labels [N] over all ranks, on the host."""
        check_confidence(torch.cat([part[1] for part in self.parts]), what)
        prediction, confidence, labels = (
            gather(torch.cat(part)).cpu() for part in zip(*self.parts, strict=True)
        )
        return prediction, confidence, labels

    def counts(self, what: str = "test images") -> Counts:
        """Return hits and totals over all ranks.

        Args:
            what: the images are, for the error.

        Raises:
            DivergedError: where a prediction is not finite.
        """
        prediction, _, labels = self._gathered(what)
        hits, totals = hits_and_totals(prediction, labels, self.classes)
        return Counts(hits=tuple(hits.tolist()), totals=tuple(totals.tolist()))

    def result(self) -> EvaluationResult:
        """Return what is counted over all ranks, in the order of the test set.

        Raises:
            DivergedError: where a prediction is not finite.
        """
        prediction, confidence, labels = self._gathered("test images")
        correct = prediction == labels
        hits, totals = hits_and_totals(prediction, labels, self.classes)
        rankings = self._rankings(labels) if self.scores else None
        return EvaluationResult(
            hits=tuple(hits.tolist()),
            totals=tuple(totals.tolist()),
            confusion=tuple(confusion_rows(prediction, labels, self.classes)),
            auroc_pairs=tuple(one.pairs for one in rankings) if rankings else None,
            average_precision=tuple(one.average_precision for one in rankings)
            if rankings
            else None,
            predicted=tuple(torch.bincount(prediction, minlength=self.classes).tolist()),
            selection="last_epoch",
            correct=EvaluationResult.pack(correct.numpy()),
            calibration=_calibration(confidence, correct),
            group_calibration={
                group: _calibration(confidence[within], correct[within])
                for group in GROUPS
                if (within := self._of_group(labels, group)).any()
            }
            if self.shot_rule
            else None,
        )

    def _rankings(self, labels: Tensor) -> list[ClassRanking]:
        """Return how all images, of labels [N], rank by each class; every rank counts some classes.

        A class that logits do not stand for scores all images alike.
        """
        pairs = torch.zeros(self.classes, dtype=torch.int64, device=self.known.device)
        precision = torch.zeros(self.classes, dtype=torch.float64, device=self.known.device)
        for first in range(0, self.classes, COLUMNS):
            parts = [part[:, first : first + COLUMNS] for part in self.scores]
            scores = gather(torch.cat(parts).to(pairs.device)).cpu().T.contiguous()
            for k, column in enumerate(scores, first):
                if k % world_size() == rank():
                    ranking = rank_class(column.numpy(), (labels == k).numpy())
                    pairs[k], precision[k] = ranking.pairs, ranking.average_precision or 0.0
        every = zip(all_sum(pairs).tolist(), all_sum(precision).tolist(), strict=True)
        return [ClassRanking(count, value or None) for count, value in every]

    def _of_group(self, labels: Tensor, group: Group) -> Tensor:
        """Return which labels [N] are of a group's classes."""
        return torch.tensor([own == group for own in self.shot_rule])[labels]


def _calibration(confidence: Tensor, correct: Tensor) -> Calibration:
    bins = calibration_bins(confidence, correct)
    return Calibration(
        counts=tuple(bins.counts.tolist()),
        confidence=tuple(bins.confidence.tolist()),
        accuracy=tuple(bins.accuracy.tolist()),
        ece=float(bins.ece),
    )
