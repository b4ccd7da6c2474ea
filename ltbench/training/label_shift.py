"""Tests under label shift, for methods that are not inductive.

The result of an inductive method under a shift follows from its per-class counts. The others are
tested on subsets of the test images, drawn for each shift as for long-tailed CIFAR, with truncated
counts, as in Zhang et al., NeurIPS 2022 (arXiv:2107.09249): transductive methods adapt to unlabeled
views of exactly these images, methods with `known_test_prior` get their class frequencies as in
Hong et al., CVPR 2021 (arXiv:2012.00321). Each shift starts from a copy of the trained method, so
that the main test and the weights are not affected.
"""

import copy
from collections.abc import Sequence

import torch

from ltbench.core.label_shift import SHIFTS, Shift
from ltbench.data.datamodule import DataModule
from ltbench.data.imbalance import exponential_counts
from ltbench.data.subsample import split_hash, subsample
from ltbench.methods.contract import Method
from ltbench.runs.record import ShiftedTest, ShiftedTests
from ltbench.training.evaluation import Evaluation
from ltbench.training.precision import autocast, eager


def shifted_tests(method: Method, data: DataModule) -> ShiftedTests | None:
    """Test a method trained on the long-tailed split under each shift.

    Args:
        method: in evaluation mode; not modified.
        data: of the job.

    Returns:
        The tests; None for an inductive method, for the balanced split, and if a class has no test
        images.
    """
    totals = torch.bincount(data.test_labels, minlength=data.spec.classes)
    if method.test_time == "inductive" or data.split != "longtailed" or not totals.all():
        return None
    # `adapt` may need gradients, which inference mode forbids.
    with torch.inference_mode(mode=False), torch.no_grad(), eager():
        tests = tuple(_test(method, data, shift, totals.tolist()) for shift in SHIFTS)
    return ShiftedTests(test_time=method.test_time, tests=tests)


def shifted_counts(totals: Sequence[int], counts: Sequence[int], shift: Shift) -> list[int]:
    """Return the class counts [C] of a shifted test set.

    Counts decay from the class size of a balanced test set; from an unbalanced one as many images
    are taken as its classes allow. Each class has at least one image.

    Args:
        totals: [C] test images of each class, none of them zero.
        counts: [C] long-tailed training images of each class.
        shift: the class frequencies.
    """
    classes, ranks = len(totals), shift.class_ranks(counts)
    largest = [
        total * shift.ratio ** (rank / (classes - 1))
        for total, rank in zip(totals, ranks, strict=True)
    ]
    decaying = exponential_counts(classes, int(min(largest)), shift.ratio)
    return [min(max(decaying[rank], 1), total) for total, rank in zip(totals, ranks, strict=True)]


def _test(method: Method, data: DataModule, shift: Shift, totals: Sequence[int]) -> ShiftedTest:
    counts = shifted_counts(totals, data.longtailed_counts.tolist(), shift)
    positions = subsample(data.test_labels.numpy(), counts, data.spec.split_seed)
    index, prior = torch.from_numpy(positions), None
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
        index_hash=split_hash(positions),
    )
