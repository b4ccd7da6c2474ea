import torch

from ltbench.samplers import draw_epoch
from ltbench.samplers.resampled import _distinct, oversampled, undersampled

COUNTS = (40, 0, 9, 1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def labels_of(counts):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=generator(7))]


def test_a_capped_subset_has_the_same_few_images_of_each_class():
    labels = labels_of(COUNTS)
    first, other = (
        draw_epoch("capped(per_class=12)", labels, 0, 1, 44, generator(seed))[0] for seed in (0, 1)
    )
    passes = first.view(2, 22).sort(dim=1).values
    assert passes[0].equal(passes[1])
    assert torch.bincount(labels[first]).tolist() == [24, 0, 18, 2]
    assert first.sort().values.equal(other.sort().values)
    assert not first.equal(other)


def test_oversampling_fills_every_class_up_to_the_largest():
    labels = labels_of(COUNTS)
    drawn = oversampled(labels, 120, generator())
    uses = torch.bincount(drawn, minlength=len(labels))
    assert torch.bincount(labels[drawn]).tolist() == [40, 0, 40, 40]
    assert set(uses[labels == 0].tolist()) == {1}
    assert sorted(uses[labels == 2].tolist()) == [4] * 5 + [5] * 4
    assert uses[labels == 3].tolist() == [40]
    other = torch.bincount(oversampled(labels, 120, generator(1)), minlength=len(labels))
    assert not torch.equal(uses, other)  # other images fill up


def test_an_oversampled_epoch_is_a_random_part_of_the_balanced_set():
    labels = labels_of((4000, 900, 100))
    drawn = draw_epoch("oversampled", labels, 0, 1, 100, generator()).flatten()
    uses = torch.bincount(drawn, minlength=len(labels))
    assert uses[labels == 0].max() == 1
    assert uses[labels == 1].max() <= 5
    assert uses[labels == 2].max() <= 40
    shares = torch.bincount(labels[drawn]) / len(drawn)
    assert ((shares - 1 / 3).abs() < 0.03).all()


def test_undersampling_keeps_the_smallest_number_of_each_class_for_good():
    labels = labels_of((400, 0, 90, 3))
    epochs = [
        draw_epoch("undersampled", labels, epoch, 3, 9, generator(epoch)) for epoch in range(3)
    ]
    kept = epochs[0].unique()
    assert torch.bincount(labels[kept]).tolist() == [3, 0, 3, 3]
    assert all(torch.equal(epoch.unique(), kept) for epoch in epochs)
    passes = epochs[0].sort(dim=1).values
    assert (passes == passes[0]).all()  # here a batch is a pass, without repetition
    assert len({tuple(row.tolist()) for row in epochs[0]}) > 40


def test_undersampling_keeps_random_images():
    positions = undersampled(torch.tensor([0] * 1000 + [1] * 100), 200, generator())
    head = positions[positions < 1000].double()
    assert abs(float(head.mean()) - 500) < 100
    assert positions.equal(undersampled(torch.tensor([0] * 1000 + [1] * 100), 200, generator()))


def test_oversampling_of_many_classes_draws_without_their_permutation():
    labels = torch.cat([torch.zeros(1_000_000, dtype=torch.int64), torch.arange(10_000)])
    drawn = draw_epoch("oversampled", labels, 0, 1, 1000, generator()).flatten()
    assert len(drawn) == 1_010_000
    counts = torch.bincount(labels[drawn], minlength=10_000)
    assert (counts - 101).abs().max() < 60  # six standard deviations


def test_entries_that_are_drawn_singly_are_distinct_and_uniform(monkeypatch):
    monkeypatch.setattr("ltbench.samplers.resampled.MOST_PERMUTED", 0)
    drawn = torch.stack([_distinct(33, 2, generator(seed)) for seed in range(5000)])
    assert (drawn[:, 0] != drawn[:, 1]).all()
    for column in drawn.T:
        counts = torch.bincount(column, minlength=33)
        assert (counts - 5000 / 33).abs().max() < 70
