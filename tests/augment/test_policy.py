import pytest
import torch
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, RandAugment

from ltbench.augment import PolicyEpoch, draw_policy
from ltbench.augment.operations import OPERATIONS
from ltbench.augment.policy import (
    NAMES,
    RANDAUGMENT,
    SIGNED,
    PolicyParams,
    autoaugment_pairs,
    cut_out,
    strengths_at,
)

SIZE = (32, 40)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(num_ops=20, channels=3):
    shape = (num_ops, channels, *SIZE)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator())


@pytest.mark.parametrize("policy", [RandAugment(), AutoAugment()], ids=["randaugment", "auto"])
def test_strengths_are_torchvisions(policy):
    levels = 31 if isinstance(policy, RandAugment) else 10
    space = policy._augmentation_space(levels, SIZE)
    for level in range(levels):
        ours = dict(zip(NAMES, strengths_at(level, levels, SIZE).tolist(), strict=True))
        for name, (table, signed) in space.items():
            theirs = float(table[level]) if table.ndim else 0.0
            assert ours[name] == pytest.approx(theirs, rel=1e-6), (name, level)
            assert SIGNED[NAMES.index(name)] == signed


def test_randaugment_draws_from_torchvisions_operations():
    assert set(NAMES[:RANDAUGMENT]) == set(RandAugment()._augmentation_space(31, SIZE))
    assert NAMES[RANDAUGMENT:] == ["Invert"]


def test_randaugment_draws_all_uniformly_at_one_magnitude():
    drawn = draw_policy("randaugment", 50, 200, SIZE, generator(), num_ops=2, magnitude=12)
    assert drawn.operations.shape == drawn.strengths.shape == (50, 200, 2)
    assert drawn.holes is None
    share = torch.bincount(drawn.operations.flatten()) / drawn.operations.numel()
    assert len(share) == RANDAUGMENT
    assert (share - 1 / RANDAUGMENT).abs().max() < 0.01
    at = strengths_at(12, 31, SIZE)[drawn.operations]
    assert drawn.strengths.abs().equal(at)
    negative = drawn.strengths[SIGNED[drawn.operations]] < 0
    assert abs(float(negative.double().mean()) - 0.5) < 0.02
    assert not (drawn.strengths[~SIGNED[drawn.operations]] < 0).any()
    assert not drawn.operations[..., 0].equal(drawn.operations[..., 1])


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_autoaugment_applies_its_pairs_as_often_as_it_says(name):
    pairs, chances, strengths = autoaugment_pairs(name, SIZE)
    found = AutoAugment(AutoAugmentPolicy(name)).policies
    assert [[NAMES[i] for i in pair] for pair in pairs.tolist()] == [
        [operation[0] for operation in pair] for pair in found
    ]
    drawn = draw_policy(f"autoaugment_{name}", 200, 200, SIZE, generator())
    for i, operation in enumerate(NAMES[1:], start=1):
        expected = (chances * (pairs == i)).sum() / len(pairs)
        share = (drawn.operations == i).sum() / (200 * 200)
        assert abs(float(share - expected)) < 0.01, operation
    assert set(drawn.strengths.abs().unique().tolist()) <= set(strengths.unique().tolist())


def test_nothing_but_holes():
    drawn = draw_policy("none", 3, 4, SIZE, generator(), cutout=True)
    assert drawn.operations.shape == (3, 4, 0)
    height, width = drawn.holes.flatten(0, 1).unbind(1)
    assert 0 <= height.min() <= height.max() < 32
    assert 0 <= width.min() <= width.max() < 40


def test_holes_are_where_they_fit():
    middles = torch.tensor([[0, 0], [16, 20], [31, 39]])
    holes = cut_out(torch.ones(3, 1, *SIZE, dtype=torch.uint8), middles, 8) == 0
    for hole, (rows, columns) in zip(
        holes, [((0, 8), (0, 8)), ((8, 24), (12, 28)), ((23, 32), (31, 40))], strict=True
    ):
        expected = torch.zeros(1, *SIZE, dtype=torch.bool)
        expected[:, slice(*rows), slice(*columns)] = True
        assert hole.equal(expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["randaugment", "autoaugment_cifar10", "autoaugment_imagenet"])
def test_images_get_the_operations_drawn_for_them(name, channels, layout):
    drawn = draw_policy(name, 2, 20, SIZE, generator(), num_ops=3, magnitude=15, cutout=True)
    before = images(channels=channels)
    after = PolicyEpoch(drawn, 10, "cpu")(1, before.to(memory_format=layout))
    for i in range(20):
        image = before[i : i + 1]
        for place, strength in zip(drawn.operations[1, i], drawn.strengths[1, i], strict=True):
            image = list(OPERATIONS.values())[place](image, strength[None])
        image = cut_out(image, drawn.holes[1, i : i + 1], 5)
        assert after[i : i + 1].equal(image)


def test_ranks_apply_their_columns():
    drawn = draw_policy("randaugment", 1, 20, SIZE, generator(), cutout=True)
    whole = PolicyEpoch(drawn, 8, "cpu")(0, images())
    for half in (slice(0, 10), slice(10, 20)):
        share = PolicyEpoch(drawn.map(lambda values, half=half: values[:, half]), 8, "cpu")
        assert share(0, images()[half]).equal(whole[half])


def test_params_are_mapped_without_holes_too():
    drawn = PolicyParams(torch.zeros(1, 2, 1), torch.zeros(1, 2, 1))
    assert drawn.map(lambda values: values[:, :1]).strengths.shape == (1, 1, 1)
