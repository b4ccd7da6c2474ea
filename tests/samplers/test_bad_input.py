"""What samplers answer to labels, counts and numbers that they cannot take."""

import pytest
import torch

from ltbench.samplers import (
    SAMPLERS,
    class_balanced,
    draw_epoch,
    effective_number,
    instance,
    progressive,
    rank_columns,
    reversed_frequency,
    square_root,
)

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])


def drawn(name, labels=LABELS, epoch=0, batch=2):
    return draw_epoch(name, labels, epoch, 3, batch, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", SAMPLERS)
def test_labels_and_numbers_of_an_epoch(name):
    for labels in (LABELS[:, None], LABELS - 1, LABELS + 10**12, LABELS[:0]):
        with pytest.raises(ValueError, match=r"^labels: "):
            drawn(name, labels)
    for labels in (LABELS.float(), LABELS.int(), LABELS.tolist()):
        with pytest.raises(TypeError, match=r"^labels: "):
            drawn(name, labels)
    for batch in (0, -2):
        with pytest.raises(ValueError, match=r"^batch: "):
            drawn(name, batch=batch)


@pytest.mark.parametrize(
    "probabilities", [class_balanced, effective_number, instance, reversed_frequency, square_root]
)
def test_counts(probabilities):
    for counts in ([3, 1], torch.tensor([0.75, 0.25]), torch.tensor([3, torch.nan])):
        with pytest.raises(TypeError, match=r"^counts: "):
            probabilities(counts)
    for counts in ([0, 0], [3, -1], [[1, 2], [3, 4]], []):
        with pytest.raises(ValueError, match=r"^counts: "):
            probabilities(torch.tensor(counts, dtype=torch.int64))


def test_numbers():
    counts = torch.tensor([3, 1])
    with pytest.raises(ValueError, match=r"^t: "):
        progressive(counts, 1.5)
    for epoch in (-1, 3):
        with pytest.raises(ValueError, match=r"^t: "):
            drawn("progressive", epoch=epoch)
    with pytest.raises(ValueError, match=r"^beta: "):
        effective_number(counts, 1.0)
    for rank in (-1, 2):
        with pytest.raises(ValueError, match=r"^rank: "):
            rank_columns(torch.zeros(3, 4), rank, 2)
