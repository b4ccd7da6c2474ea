"""The memory of several keys for each class: reading, and writing by rule."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.networks.slot_memory import SlotMemory


def memory(classes=3, slots=2, width=2, **settings):
    return SlotMemory(classes, slots, width, **settings).double()


def filled(**settings):
    """Return the memory of the example: two keys of class 0, one of each other."""
    example = memory(**settings)
    keys = torch.tensor([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]], dtype=torch.float64)
    example.keys[[0, 1, 2, 4]] = keys
    example.filled[[0, 1, 2, 4]] = True
    return example


def units(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, dtype=torch.float64, generator=generator), dim=-1)


QUERY = torch.tensor([[1.0, 0.0]], dtype=torch.float64)


def test_reading_is_a_softmax_over_filled_slots():
    example = filled(temperature=0.5)
    slots = example.scores(QUERY).softmax(dim=1)[0]
    wanted = [0.62383815, 0.08442731, 0.01142599, 0, 0.28030855, 0]
    assert slots.tolist() == pytest.approx(wanted, abs=5e-9)
    found = example(QUERY)[0]
    assert found.neg().tolist() == pytest.approx([0.34493631, 4.47186433, 1.27186433], abs=5e-9)
    assert float(found.exp().sum()) == pytest.approx(1)


def test_the_gradient_is_that_of_the_value_though_keys_are_written_before():
    example, queries = filled(), units(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(example, queries)
    loss = example(queries).sum()
    expected = torch.autograd.grad(filled()(queries).sum(), queries)
    example.write(queries, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(torch.autograd.grad(loss, queries), expected)


def test_an_empty_memory_is_even_and_has_finite_gradients():
    queries = units(2, 2).requires_grad_()
    found = memory()(queries)
    assert found.exp().flatten().tolist() == pytest.approx([1 / 3] * 6)
    found.sum().backward()
    assert queries.grad.isfinite().all()
    partly = filled()
    partly.filled[2] = False
    queries = queries.detach().requires_grad_()
    (partly(queries) * torch.tensor([1.0, 0.0, 1.0])).sum().backward()
    assert queries.grad.isfinite().all()


def test_the_first_queries_of_a_class_fill_its_slots():
    example, queries = memory(), units(4, 2)
    example.write(queries, torch.tensor([2, 0, 2, 2]))
    assert example.filled.tolist() == [True, False, False, False, True, True]
    assert example.keys[0].equal(queries[1])
    assert example.keys[4:].equal(queries[[0, 2]])
    assert not example.uses.any()


def test_a_predicted_query_moves_the_nearest_slot():
    example, query = filled(), F.normalize(torch.tensor([[0.1, 1.0]], dtype=torch.float64))
    before = example.keys.clone()
    example.filled[4] = False
    example.write(query, torch.tensor([0]))
    torch.testing.assert_close(example.keys[1], F.normalize(0.9 * before[1] + 0.1 * query)[0])
    assert example.uses.tolist() == [0, 1, 0, 0, 0, 0]
    before[1] = example.keys[1]
    assert example.keys.equal(before)


def test_a_query_that_is_not_predicted_replaces_the_slot_with_the_fewest_uses():
    example = filled()
    query = -QUERY  # the key of class 1
    example.uses[0] = 3
    example.uses[1] = 2
    before = example.keys.clone()
    example.write(query, torch.tensor([0]))
    assert example.keys[1].equal(query[0])
    assert example.uses.tolist() == [3, 0, 0, 0, 0, 0]
    before[1] = query[0]
    assert example.keys.equal(before)


def test_several_queries_that_are_not_predicted_take_different_slots():
    example = filled()
    queries = F.normalize(torch.tensor([[-1.0, 0.1], [-1.0, 0.2], [-1.0, 0.3]]).double())
    example.write(queries, torch.zeros(3).long())
    assert example.keys[:2].equal(queries[:2])


def test_queries_with_the_same_nearest_slot_move_it_to_their_mean():
    example = filled()
    queries = F.normalize(torch.tensor([[1.0, 0.1], [1.0, -0.3]]).double())
    example.write(queries, torch.zeros(2).long())
    expected = F.normalize(0.9 * QUERY[0] + 0.1 * queries.mean(dim=0), dim=0)
    torch.testing.assert_close(example.keys[0], expected)
    assert example.uses[0] == 2


def test_other_classes_keep_their_slots_bit_for_bit():
    example = memory(classes=5, slots=3, width=4)
    for seed in range(4):
        example.write(units(20, 4, seed=seed), torch.arange(20) % 5)
    before = {name: value.clone() for name, value in example.named_buffers()}
    example.write(units(9, 4, seed=9), torch.arange(9) % 2)
    for name, value in example.named_buffers():
        assert value[6:].equal(before[name][6:])
    assert not example.keys[:6].equal(before["keys"][:6])


def test_one_query_at_a_time_is_the_rule_of_single_queries():
    """The rule written down for one query, without the batch."""
    example, plain = memory(classes=3, slots=2, width=3), {}
    for step in range(60):
        query, label = units(3, seed=step), step % 3 if step % 5 else 0
        slots = plain.setdefault(label, [])
        scores = {
            k: sum(float(torch.exp(10 * query @ key)) for key, _ in of_class)
            for k, of_class in plain.items()
        }
        if len(slots) < 2:
            slots.append([query, 0])
        elif max(scores, key=scores.get) == label:
            nearest = max(slots, key=lambda slot: float(slot[0] @ query))
            nearest[0] = F.normalize(0.9 * nearest[0] + 0.1 * query, dim=0)
            nearest[1] += 1
        else:
            min(slots, key=lambda slot: slot[1])[:] = [query, 0]
        example.write(query[None], torch.tensor([label]))
    wanted = torch.stack([key for label in range(3) for key, _ in plain[label]])
    torch.testing.assert_close(example.keys, wanted)
    assert example.uses.tolist() == [uses for label in range(3) for _, uses in plain[label]]
    assert 0 < int(example.uses.sum()) < 54
