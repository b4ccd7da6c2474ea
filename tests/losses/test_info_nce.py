import torch
import torch.nn.functional as F

from ltbench.losses import info_nce


def unit(*shape):
    generator = torch.Generator().manual_seed(len(shape))
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64))


def test_it_is_the_share_of_the_positive_key():
    queries, keys, others = unit(4, 5), unit(4, 5).roll(1, 1), unit(7, 5).roll(2, 1)
    queries.requires_grad_()
    value = info_nce(queries, keys, others, temperature=0.2)
    for i in range(4):
        own = (queries[i] @ keys[i] / 0.2).exp()
        rest = torch.stack([(queries[i] @ other / 0.2).exp() for other in others]).sum()
        value = value + (own / (own + rest)).log() / 4
    torch.testing.assert_close(value, torch.zeros_like(value))
    assert info_nce(queries, keys, others[:0], 0.2) == 0  # nothing to tell it from


def test_extreme_similarities_are_finite():
    queries = unit(3, 4).float().requires_grad_()
    value = info_nce(queries, -queries.detach(), queries.detach(), temperature=1e-3)
    (gradient,) = torch.autograd.grad(value, queries)
    assert value.isfinite()
    assert gradient.isfinite().all()
