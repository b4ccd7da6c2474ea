"""The test run again under shifted class frequencies, by methods that know something of a test set.

Methods whose predictions are fixed need none of it: their per-class counts say how they would do.
The others are tested on lists of test images that are chosen for each shift by the generator of
long-tailed CIFAR, with its truncated counts, as in Zhang et al., NeurIPS 2022 (arXiv:2107.09249):
adapted to unlabelled views of exactly these images, or told their class frequencies as in Hong et
al., CVPR 2021 (arXiv:2012.00321). A shift begins with the method as it was trained, so that the
main test and the weights stay what they are.
"""

import copy
from collections.abc import Sequence

import torch

from ltbench.core.label_shift import SHIFTS, Shift
from ltbench.data.datamodule import DataModule
from ltbench.data.imbalance import exponential
from ltbench.data.subsample import split_hash, subsample
from ltbench.methods.contract import Method
from ltbench.runs.record import ShiftedTest, ShiftedTests
from ltbench.training.evaluation import Evaluation
from ltbench.training.precision import autocast, eager


def shifted_tests(method: Method, data: DataModule) -> ShiftedTests | None:
    """Return the tests of a method that was trained on the long-tailed split.

    Args:
        method: in evaluation mode; it is left as it is.
        data: its data.

    Returns:
        None for a method whose predictions are fixed, for the balanced split, and where a class has
        no test images.
    """
    totals = torch.bincount(data.test_labels, minlength=data.spec.classes)
    if method.test_time == "inductive" or data.split != "longtailed" or not totals.all():
        return None
    # `adapt` may want gradients, which inference mode forbids.
    with torch.inference_mode(mode=False), torch.no_grad(), eager():
        tests = tuple(_test(method, data, shift, totals.tolist()) for shift in SHIFTS)
    return ShiftedTests(test_time=method.test_time, tests=tests)


def shifted_counts(totals: Sequence[int], counts: Sequence[int], shift: Shift) -> list[int]:
    """Return the test images of each class under a shift, at least one.

    They fall from the most that an even test set has of a class; of an uneven one, as many are
    taken as its classes allow.

    Args:
        totals: [C], test images of each class, none of them zero.
        counts: [C], long-tailed training images of each class.
        shift: the class frequencies.
    """
    classes, places = len(totals), shift.class_ranks(counts)
    allowed = [
        total * shift.ratio ** (place / (classes - 1))
        for total, place in zip(totals, places, strict=True)
    ]
    falling = exponential(classes, int(min(allowed)), shift.ratio)
    return [min(max(falling[place], 1), total) for total, place in zip(totals, places, strict=True)]


def _test(method: Method, data: DataModule, shift: Shift, totals: Sequence[int]) -> ShiftedTest:
    counts = shifted_counts(totals, data.longtailed_counts.tolist(), shift)
    chosen = subsample(data.test_labels.numpy(), counts, data.spec.split_seed)
    index, prior = torch.from_numpy(chosen), None
    method = copy.deepcopy(method)
    evaluation = Evaluation(data.spec.classes, data.classes, data.device)
    with autocast(data.recipe, data.device):
        if method.test_time == "transductive":
            method.adapt(data.test_views(index, shift.title))
        else:
            prior = torch.tensor(counts, dtype=torch.float64, device=data.device) / sum(counts)
        evaluation.add_all(method, data.test_batches(index), prior)
    result = evaluation.counts()
    return ShiftedTest(
        hits=result.hits,
        totals=result.totals,
        direction=shift.direction,
        ratio=shift.ratio,
        index_hash=split_hash(chosen),
    )
