"""EQL v2: weights of a step come from the steps before it."""

import torch

from ltbench.core.batch import Batch
from ltbench.losses import binary, gradient_guided_weights, gradient_sums, one_vs_all_targets
from tests.methods.test_method_oracles import build

COUNTS = torch.tensor([40, 12, 5, 1])


def test_each_step_has_the_weights_of_those_before_it():
    method = build("eql_v2", {"counts": COUNTS}, gamma=6.0, mu=0.5, alpha=2.0)
    generator, sums = torch.Generator().manual_seed(0), torch.zeros(2, 4).double()
    losses = set()
    for _ in range(3):
        logits = torch.randn(8, 4, generator=generator).double()
        labels = torch.randint(4, (8,), generator=generator)
        targets = one_vs_all_targets(labels, logits.shape)
        weights = torch.where(targets, *gradient_guided_weights(sums, 6.0, 0.5, 2.0))
        loss = method.training_loss(Batch(logits, labels, labels))
        assert loss.equal(binary(logits, targets, weights))
        sums += gradient_sums(logits, targets, weights)
        assert method.gradients.equal(sums)
        losses.add(float(loss / binary(logits, targets)))
    assert len(losses) == 3
    assert 1.0 in losses  # the first step


def test_sums_of_gradients_are_saved_in_double_precision():
    state = build("eql_v2", {"counts": COUNTS}).state_dict()
    assert state["gradients"].dtype == torch.float64
    assert state["gradients"].shape == (2, 4)
