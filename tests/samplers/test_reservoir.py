"""The partitioning reservoir: its probabilities, and what it holds after a stream."""

import pytest
import torch

from ltbench.samplers.reservoir import (
    FREE,
    PartitioningReservoir,
    entry_probabilities,
    exit_probabilities,
    memory_shares,
)
from tests.samplers.test_samplers import generator, labels_of

SEEN = torch.tensor([60, 30, 10])
EXACT = {"rtol": 0, "atol": 1e-8}


def empty(labels, slots, rho=0.0):
    classes = int(labels.max()) + 1
    seen = torch.zeros(classes, dtype=torch.int64)
    return PartitioningReservoir(labels, torch.full((slots,), FREE), seen, rho)


def passes(labels, count, steps=1):
    """Return a stream of passes over all images, [count * steps, n]."""
    orders = [torch.randperm(len(labels), generator=generator(seed)) for seed in range(count)]
    return torch.cat(orders).view(count * steps, -1)


def held(reservoir):
    return torch.bincount(torch.tensor(reservoir.labels)[reservoir.images], minlength=3).tolist()


@pytest.mark.parametrize(
    ("rho", "expected"),
    [
        (1.0, [0.6, 0.3, 0.1]),
        (0.0, [1 / 3, 1 / 3, 1 / 3]),
        (-0.03, [0.32507261, 0.33190307, 0.34302432]),
        (-1.0, [1 / 9, 2 / 9, 2 / 3]),
    ],
)
def test_shares(rho, expected):
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(memory_shares(SEEN, rho), expected, **EXACT)
    unseen = torch.cat([SEEN, torch.tensor([0])])
    assert memory_shares(unseen, rho)[3] == 0
    torch.testing.assert_close(memory_shares(unseen, rho)[:3], expected, **EXACT)


def test_probabilities_of_entry_and_exit():
    shares = memory_shares(SEEN, 0.0)
    expected = torch.tensor([0.06666667, 0.13333333, 0.4], dtype=torch.float64)
    torch.testing.assert_close(entry_probabilities(SEEN, shares, 12), expected, **EXACT)
    assert entry_probabilities(SEEN, shares, 300).tolist() == [1, 1, 1]
    expected = torch.tensor([0.95033021, 0.04731416, 0.00235563], dtype=torch.float64)
    found = exit_probabilities(torch.tensor([7, 4, 1]), shares)
    torch.testing.assert_close(found, expected, **EXACT)
    assert exit_probabilities(torch.tensor([7, 0, 1]), shares)[1] == 0


def test_an_image_of_a_new_class_enters():
    seen = torch.tensor([60, 0])
    assert entry_probabilities(seen, memory_shares(seen, 0.0), 12).tolist() == [0.2, 1]


def test_equal_shares_are_held_as_far_as_there_are_images():
    labels = labels_of([400, 94, 6])
    reservoir = empty(labels, 60)
    reservoir.replay(passes(labels, 20), generator())
    large, medium, small = held(reservoir)
    assert small == 6
    assert abs(large - medium) <= 2
    assert large + medium == 54


def test_shares_of_the_stream_are_those_of_a_plain_reservoir():
    labels = labels_of([400, 94, 6])
    reservoir = empty(labels, 60, rho=1.0)
    reservoir.replay(passes(labels, 3), generator())
    for found, expected in zip(held(reservoir), (48, 11.28, 0.72), strict=True):
        assert found == pytest.approx(expected, abs=2)


def test_never_more_than_its_slots_and_no_image_twice():
    labels = labels_of([40, 9, 1])
    reservoir = empty(labels, 12)
    for image in passes(labels, 6).flatten().tolist():
        reservoir.take(image, 0.0, 0.5, 0.5)
        assert len(reservoir.images) == len(set(reservoir.images)) <= 12
        assert reservoir.sizes.tolist() == held(reservoir)
    assert reservoir.seen.tolist() == [240, 54, 6]


def test_any_image_of_a_class_may_leave():
    labels, left = torch.tensor([0, 0, 0, 0, 1]), set()
    for number in (0.1, 0.4, 0.8):
        reservoir = empty(labels, 3)
        for image in (0, 1, 2):
            reservoir.take(image, 0.0, 0.5, 0.5)
        reservoir.take(4, 0.0, 0.5, number)
        left |= {0, 1, 2} - set(reservoir.images)
    assert left == {0, 1, 2}


def test_without_entry_the_first_images_stay():
    labels = labels_of([40, 9, 1])
    reservoir, stream = empty(labels, 12), passes(labels, 1).flatten()
    for image in stream.tolist() + stream.tolist():
        reservoir.take(image, 1.0, 0.5, 0.5)
    assert sorted(reservoir.images) == sorted(stream[:12].tolist())


def test_a_step_gets_what_was_in_the_stream_before():
    labels = labels_of([40, 9, 1])
    stream = passes(labels, 1, steps=10)  # [10, 5]
    found = empty(labels, 12).replay(stream, generator())
    assert found.shape == stream.shape
    assert sorted(found[0].tolist()) == sorted(stream[0].tolist())
    for step in range(1, 10):
        images = found[step].tolist()
        assert set(images) <= set(stream[:step].flatten().tolist())
        assert len(set(images)) == 5
    small = empty(labels, 2).replay(stream, generator())[1:]
    assert all(len(set(images)) == 2 for images in small.tolist())


def test_it_goes_on_from_what_it_holds():
    labels = labels_of([40, 9, 1])
    stream = passes(labels, 4)
    first = empty(labels, 12)
    first.replay(stream, generator())
    again = PartitioningReservoir(labels, first.memory, first.seen, 0.0)
    more, same = (each.replay(stream, generator(1)) for each in (first, again))
    assert more.equal(same)
    assert again.memory.equal(first.memory)
    assert again.seen.tolist() == [320, 72, 8]


def test_free_slots_are_at_the_end():
    labels = labels_of([5, 2, 1])
    reservoir = empty(labels, 12)
    reservoir.replay(passes(labels, 2), generator())
    assert reservoir.memory[:8].sort().values.equal(torch.arange(8))
    assert (reservoir.memory[8:] == FREE).all()


@pytest.mark.parametrize("labels", [torch.tensor([0, 5]), torch.tensor([0.0, 1.0])])
def test_labels_that_are_no_classes(labels):
    with pytest.raises((ValueError, TypeError), match=r"^labels: "):
        PartitioningReservoir(labels, torch.full((4,), FREE), torch.zeros(2).long(), 0.0)
