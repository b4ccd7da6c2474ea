import torch
from torch import nn

from ltbench.networks.momentum import KeyQueue, LabeledQueue, MomentumCopy


def test_a_copy_follows_slowly_and_without_gradient():
    encoder = nn.Linear(3, 2)
    copy = MomentumCopy(encoder)
    before = encoder.weight.detach().clone()
    encoder.weight.data += 1
    copy.follow(encoder, momentum=0.75)
    torch.testing.assert_close(copy.encoder[0].weight, before + 0.25)
    assert not any(p.requires_grad for p in copy.parameters())
    keys = copy(torch.randn(5, 3))
    assert not keys.requires_grad
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(5))
    copy.follow(encoder, momentum=0.0)
    assert copy.encoder[0].weight.equal(encoder.weight)


def test_a_queue_forgets_the_oldest_first():
    queue = LabeledQueue(5, 2, classes=3)
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(5))
    for start in (0, 3):
        labels = torch.arange(start, start + 3)
        queue.push(keys=labels[:, None].expand(3, 2).float(), labels=labels)
    assert queue.labels.tolist() == [5, 1, 2, 3, 4]
    assert queue.keys[:, 0].tolist() == [5, 1, 2, 3, 4]
    assert queue.position == 1


def test_a_queue_smaller_than_a_batch_keeps_its_end():
    queue = KeyQueue(2, 1)
    queue.push(keys=torch.arange(5.0)[:, None])
    assert sorted(queue.keys[:, 0].tolist()) == [3, 4]
    assert queue.position == 0


def test_a_snapshot_has_the_keys_before_a_push():
    queue = KeyQueue(2, 1)
    before = queue.keys.clone()
    snapshot = queue.snapshot(before.dtype)
    queue.push(keys=torch.ones(2, 1))
    assert snapshot.equal(before)
    assert queue.snapshot(torch.bfloat16).dtype == torch.bfloat16
