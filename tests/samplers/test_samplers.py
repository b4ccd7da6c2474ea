import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ltbench.core.seeding import make_generator
from ltbench.samplers import (
    SAMPLERS,
    EpochDraw,
    class_balanced,
    draw_epoch,
    draw_images,
    effective_number,
    instance,
    progressive,
    rank_columns,
    require_indices,
    reversed_frequency,
    square_root,
)
from ltbench.samplers.draw import by_class, class_aware
from ltbench.samplers.probabilities import power

PROBABILITIES = {
    "instance": instance,
    "bag_instance": instance,
    "class_balanced": class_balanced,
    "sqrt": square_root,
    "bag_square": square_root,
    "cuberoot": lambda counts: power(counts, 1 / 3),
    "reversed_bbn": reversed_frequency,
    "effective_ldam": effective_number,
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def labels_of(counts, seed=0):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.as_tensor(counts))
    return labels[torch.randperm(len(labels), generator=generator(seed))]


@pytest.mark.oracle("samplers", level="case")
def test_class_probabilities(oracle):
    counts = oracle["counts"]
    claimed = [name for name in oracle.own if name in PROBABILITIES]
    assert len(claimed) >= 5
    for name in claimed:
        torch.testing.assert_close(PROBABILITIES[name](counts), oracle[name], rtol=1e-9, atol=0)


@pytest.mark.oracle("samplers", level="case", has=["progressive_decoupling"])
def test_progressive_probabilities(oracle):
    total = int(oracle["progressive_total_epochs"])
    epochs = oracle["progressive_epochs"].tolist()
    for name, last in (("progressive_decoupling", total - 1), ("progressive_bagoftricks", total)):
        for epoch, expected in zip(epochs, oracle[name], strict=False):
            got = progressive(oracle["counts"], min(epoch / last, 1))
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=0)


@pytest.mark.oracle("samplers", level="case", has=["reversed_bbn_weights"])
def test_weights_of_classes_and_images(oracle):
    """The same probabilities, as the weights that the authors' loaders take."""
    counts = oracle["counts"]
    weights = reversed_frequency(counts)
    torch.testing.assert_close(
        weights / weights.min(), oracle["reversed_bbn_weights"], rtol=1e-9, atol=0
    )
    expected = oracle["effective_sample_weight"]
    image = effective_number(counts) / counts
    torch.testing.assert_close(image / image.sum(), expected / expected.sum(), rtol=1e-9, atol=0)


@pytest.mark.oracle("samplers", level="case", has=["class_aware_spc1_len"])
@pytest.mark.parametrize("per_class", [1, 4])
def test_class_aware_statistics(oracle, per_class):
    counts, name = oracle["counts"], f"class_aware_spc{per_class}"
    labels = labels_of(counts)
    drawn = class_aware(labels, int(oracle[f"{name}_len"]), generator(), per_class)
    histogram = torch.bincount(labels[drawn], minlength=len(counts))
    assert histogram.tolist() == oracle[f"{name}_class_hist"].tolist()
    uses = torch.bincount(drawn, minlength=len(labels))
    extremes = [
        [int(uses[labels == k].min()), int(uses[labels == k].max())] for k in range(len(counts))
    ]
    assert extremes == oracle[f"{name}_minmax_use_per_image"].tolist()


def test_class_aware_takes_several_images_of_a_class_at_a_time():
    labels = labels_of([40, 9, 1])
    drawn = draw_epoch("class_aware(per_class=4)", labels, 0, 1, 24, generator())
    fours = labels[drawn].view(-1, 4)
    assert (fours == fours[:, :1]).all()
    assert (fours[:, 0].view(-1, 3).sort(dim=1).values == torch.arange(3)).all()
    first = drawn.view(-1, 4)[(fours[:, 0] == 0)]
    assert len(first.unique()) == first.numel()
    once = draw_epoch("class_aware(per_class=1)", labels, 0, 1, 24, generator())
    assert once.equal(draw_epoch("class_aware", labels, 0, 1, 24, generator()))


def test_power_sampling_has_the_probabilities_of_its_exponent():
    labels = labels_of([900, 90, 10])
    for name, same in (("power(exponent=0)", "class_balanced"), ("power(exponent=-1)", "reversed")):
        drawn = draw_epoch(name, labels, 0, 1, 100, generator())
        assert drawn.equal(draw_epoch(same, labels, 0, 1, 100, generator()))
    roots = draw_epoch("power(exponent=0.5)", labels, 0, 1, 100, generator())
    assert roots.equal(draw_epoch("square_root", labels, 0, 1, 100, generator()))


def test_bilevel_sampling_draws_classes_of_a_batch_then_their_images():
    labels = labels_of([400, 90, 9, 1])
    drawn = draw_epoch("bilevel(classes=3)", labels, 0, 1, 10, generator())
    assert drawn.shape == (50, 10)
    classes = labels[drawn]
    for first, last in ((0, 4), (4, 7), (7, 10)):
        assert (classes[:, first:last] == classes[:, first : first + 1]).all()
    chosen = classes[:, [0, 4, 7]]
    assert (chosen[:, 0] == chosen[:, 1]).any()  # with replacement
    assert torch.bincount(chosen.flatten()).min() > 20  # uniform: 37.5 of each
    assert len(drawn[classes == 1].unique()) > 60
    few = labels[draw_epoch("bilevel(classes=16)", labels, 0, 1, 8, generator())]
    assert (few[:, 1:] != few[:, :1]).any(dim=0).all()


def test_bilevel_sampling_leaves_out_classes_without_images():
    labels = labels_of([40, 0, 9])
    drawn = draw_epoch("bilevel(classes=4)", labels, 0, 1, 8, generator())
    assert labels[drawn].unique().tolist() == [0, 2]


@pytest.mark.parametrize(
    "name",
    [
        "capped",
        "power",
        "capped()",
        "bilevel",
        "capped(per_class=0)",
        "class_aware(per_class=1.5)",
        "class_aware(exponent=2)",
        "power(exponent=1e3)",
        "power(exponent=0.5",
        "instance(per_class=2)",
    ],
)
def test_an_unknown_sampler_or_parameter_is_refused(name):
    with pytest.raises(ValueError, match="no sampler"):
        draw_epoch(name, labels_of([40, 9, 1]), 0, 1, 8, generator())


def test_an_epoch_draws_from_generators_by_purpose_and_epoch():
    labels = labels_of([40, 9, 1])
    draw = EpochDraw(labels, 1, 3, 8, seed=5)
    assert draw.steps == 6
    expected = draw_epoch("reversed", labels, 1, 3, 8, make_generator(5, "sampling", "reversed", 1))
    assert draw.sampler("reversed").equal(expected)
    drawn = [draw.generator(*purpose).initial_seed() for purpose in ((), ("a",), ("a",), ("b",))]
    assert drawn[1] == drawn[2]
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(
    ("streams", "named"),
    [
        ({}, "no stream"),
        ({"a": torch.zeros(5, 8, dtype=torch.int64)}, "'a'"),
        ({"a": torch.zeros(6, 8)}, "int64"),
        ({"a": torch.zeros(6, 8, dtype=torch.int64), "b": torch.full((6, 8), 50)}, "'b'"),
        ({"a": torch.full((6, 8), -1)}, "0..49"),
        ({"a": torch.zeros(6, 4, dtype=torch.int64)}, "BatchNorm"),
    ],
)
def test_indices_that_are_no_images_are_refused(streams, named):
    draw = EpochDraw(labels_of([40, 9, 1]), 0, 1, 8, seed=0)
    with pytest.raises(ValueError, match=named):
        require_indices(streams, draw)
    require_indices({"a": draw.sampler("instance")}, draw)


def test_class_aware_goes_through_all_classes_in_every_pass_and_reshuffles():
    labels = labels_of([7, 3, 1])
    drawn = class_aware(labels, 31, generator())
    passes = labels[drawn[:30]].view(10, 3)
    assert (passes.sort(dim=1).values == torch.arange(3)).all()
    assert len({tuple(row.tolist()) for row in passes}) > 1
    of_one = drawn[labels[drawn] == 1][:9].view(3, 3)
    assert (of_one.sort(dim=1).values == of_one[0].sort().values).all()
    orders = {
        tuple(drawn[labels[drawn] == 0][:7].tolist())
        for drawn in (class_aware(labels, 30, generator(seed)) for seed in range(8))
    }
    assert len(orders) > 4


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_epoch_is_full_batches_of_training_images(name):
    labels = labels_of([40, 9, 1])
    drawn = draw_epoch(name, labels, 1, 3, 8, generator())
    assert drawn.shape == (6, 8)
    assert drawn.dtype == torch.int64
    assert ((drawn >= 0) & (drawn < 50)).all()
    assert torch.equal(drawn, draw_epoch(name, labels, 1, 3, 8, generator()))
    assert not torch.equal(drawn, draw_epoch(name, labels, 1, 3, 8, generator(1)))


def test_instance_sampling_takes_no_image_twice():
    drawn = draw_epoch("instance", labels_of([40, 9, 1]), 0, 1, 8, generator())
    assert len(drawn.unique()) == 48


@pytest.mark.parametrize(
    "probabilities", [class_balanced, square_root, reversed_frequency, effective_number]
)
def test_draws_follow_the_probabilities(probabilities):
    counts = torch.tensor([500, 0, 60, 3])
    labels = labels_of(counts)
    expected = probabilities(counts)
    draws = 200_000
    drawn = by_class(labels, expected, draws, generator())
    frequency = torch.bincount(labels[drawn], minlength=4) / draws
    assert frequency[1] == 0
    deviation = (expected * (1 - expected) / draws).sqrt()
    assert ((frequency - expected).abs() <= 5 * deviation).all()
    uses = torch.bincount(drawn, minlength=len(labels))
    mean = draws * (expected / counts)[labels]
    assert ((uses - mean).abs() <= 6 * mean.sqrt()).all()


def test_progressive_starts_by_image_and_ends_by_class():
    labels = labels_of([900, 90, 10])
    first, last, only = (
        labels[draw_epoch("progressive", labels, epoch, epochs, 100, generator())].double()
        for epoch, epochs in ((0, 10), (9, 10), (0, 1))
    )
    assert torch.equal(first, only)
    assert abs(float((first == 0).double().mean()) - 0.9) < 0.05
    assert abs(float((last == 0).double().mean()) - 1 / 3) < 0.05


@given(
    steps=st.integers(1, 4),
    share=st.integers(1, 5),
    world=st.sampled_from([1, 2, 4]),
)
def test_ranks_share_every_global_batch(steps, share, world):
    draws = torch.arange(steps * share * world).view(steps, -1)
    parts = [rank_columns(draws, rank, world) for rank in range(world)]
    assert torch.equal(torch.cat(parts, dim=1), draws)
    assert {part.shape for part in parts} == {(steps, share)}


def test_bad_input():
    with pytest.raises(ValueError, match="batch size 9 exceeds the 8"):
        draw_epoch("instance", labels_of([5, 3]), 0, 1, 9, generator())
    with pytest.raises(ValueError, match="no sampler 'instanse'"):
        draw_epoch("instanse", labels_of([5, 3]), 0, 1, 4, generator())
    with pytest.raises(ValueError, match="6 is not divisible by 4"):
        rank_columns(torch.zeros(2, 6), 0, 4)


def test_draws_scale_to_the_largest_datasets():
    """8,142 classes and 437,513 images, as in iNaturalist 2018."""
    counts = torch.full((8142,), 53)
    counts[:500] += 11
    labels = labels_of(counts)
    for name in ("class_balanced", "class_aware"):
        drawn = draw_epoch(name, labels, 0, 1, 512, generator())
        assert torch.bincount(labels[drawn.flatten()], minlength=8142).min() > 0


def test_an_image_of_each_class():
    labels = labels_of([500, 0, 60, 3])[torch.randperm(563, generator=generator())]
    classes = torch.tensor([[0, 3], [2, 2]]).repeat(50, 1)
    uniform = torch.rand(100, 2, dtype=torch.float64, generator=generator())
    drawn = draw_images(labels, classes, uniform)
    assert labels[drawn].equal(classes)
    assert labels[drawn[::2, 1]].eq(3).all()
    assert len(drawn[::2, 1].unique()) == 3
    assert len(drawn[::2, 0].unique()) > 40
