from itertools import chain

import pytest
import torch

from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.testing.ranks import ranks
from tests.support.collectives import drawn


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_what_one_process_draws(world):
    alone, together = drawn(8), ranks(world)(drawn, 8)
    for step, expected in enumerate(alone):
        shares = [answer[step] for answer in together]
        for name in ("uniform", "normal", "partners"):
            assert list(chain.from_iterable(share[name] for share in shares)) == expected[name]
        assert all(share["shared"] == expected["shared"] for share in shares)
        assert {share["beta"] for share in shares} == {expected["beta"]}


def test_every_sample_is_a_partner_once():
    rng, samples = GlobalBatchRNG(make_generator(0, "method", 0)), torch.arange(6.0)
    orders = [rng.permutation(samples) for _ in range(2)]
    assert not orders[0].equal(orders[1])
    for order in orders:
        assert rng.gather_permuted(samples, order).sort().values.equal(samples)


def test_normal_numbers_have_mean_0_and_variance_1():
    rng = GlobalBatchRNG(make_generator(0, "method", 0))
    numbers = rng.normal(torch.zeros(100), 10, 10)
    assert numbers.shape == (100, 10, 10)
    assert numbers.mean() == pytest.approx(0, abs=0.03)
    assert numbers.std() == pytest.approx(1, abs=0.03)
    uniform = rng.shared(1000, 10)
    assert ((uniform >= 0) & (uniform < 1)).all()
    assert uniform.mean() == pytest.approx(0.5, abs=0.01)


def test_beta_has_its_mean_and_variance():
    rng = GlobalBatchRNG(make_generator(0, "method", 0))
    drawn_ones = torch.tensor([rng.beta(2.0) for _ in range(4000)])
    assert drawn_ones.mean() == pytest.approx(0.5, abs=0.015)
    assert drawn_ones.var() == pytest.approx(0.05, rel=0.08)  # 1 / (4 (2 alpha + 1))
