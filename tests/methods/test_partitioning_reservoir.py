"""PRS: its batches, and what it carries on between epochs."""

import pytest
import torch

from ltbench.methods import METHODS
from ltbench.methods.contract import EpochDraw
from ltbench.networks import NetworkSpec
from ltbench.samplers.reservoir import FREE
from tests.samplers.test_samplers import labels_of

COUNTS = (120, 24, 12, 4)
LABELS = labels_of(COUNTS)


def build(counts=COUNTS, **hparams):
    kind = METHODS["partitioning_reservoir"]
    spec = NetworkSpec("resnet8", classes=len(counts))
    return kind(spec, torch.tensor(counts), kind.HParams(**hparams))


def epoch(method, number, seed=0):
    """Return the stream and the memory's images of an epoch, [steps, B / 2] each."""
    (index,) = method.epoch_indices(EpochDraw(LABELS, number, 6, 16, seed)).values()
    assert index.shape == (10, 16)
    return index[:, ::2], index[:, 1::2]


@pytest.mark.parametrize(
    ("counts", "hparams", "slots"),
    [
        ([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50], {}, 2000),
        (COUNTS, {}, 32),
        ((3, 2, 1, 1), {}, 8),
        (COUNTS, {"slots": 10}, 10),
        (COUNTS, {"share": 0.5}, 80),
    ],
)
def test_size_of_the_memory(counts, hparams, slots):
    method = build(counts, **hparams)
    assert method.memory.tolist() == [FREE] * slots


def test_a_pass_of_the_stream_takes_two_epochs():
    method = build()
    streams = [epoch(method, number)[0].flatten() for number in range(4)]
    assert torch.cat(streams[:2]).sort().values.equal(torch.arange(160))
    assert torch.cat(streams[2:]).sort().values.equal(torch.arange(160))
    assert not streams[0].equal(streams[2])


def test_nothing_moves_on_within_an_epoch():
    method = build()
    first = epoch(method, 0)
    assert all(map(torch.equal, epoch(method, 0), first))
    assert (method.memory == FREE).all()
    assert method.seen.sum() == 0
    method.on_epoch_end()
    assert method.seen.sum() == 80
    again = build()
    again.load_state_dict(method.state_dict())
    second = epoch(method, 1)
    assert all(map(torch.equal, epoch(again, 1), second))
    assert not second[1].equal(first[1])


def test_the_memory_becomes_balanced():
    method = build()
    for number in range(6):
        _, replayed = epoch(method, number)
        method.on_epoch_end()
    assert method.seen.tolist() == [3 * n for n in COUNTS]
    held = torch.bincount(LABELS[method.memory], minlength=4).tolist()
    assert sum(held) == 32
    assert held[3] == 4
    assert max(held[:3]) - min(held[:3]) <= 3
    share = torch.bincount(LABELS[replayed.flatten()], minlength=4) / replayed.numel()
    assert share[0] < 0.5
    assert share[3] > 0.08


def test_both_halves_are_in_each_half_of_a_batch():
    method = build()
    epoch(method, 0)
    method.on_epoch_end()
    (index,) = method.epoch_indices(EpochDraw(LABELS, 1, 6, 16, 0)).values()
    stream, replayed = epoch(method, 1)
    for half in (slice(0, 8), slice(8, 16)):
        images = index[:, half]
        assert images[:, ::2].equal(stream[:, half.start // 2 : half.stop // 2])
        assert images[:, 1::2].equal(replayed[:, half.start // 2 : half.stop // 2])
