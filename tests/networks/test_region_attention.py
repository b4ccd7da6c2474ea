"""Attention of positions to regions."""

import math

import pytest
import torch

from ltbench.networks.region_attention import RegionAttention, regions


def maps(size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 8, size, size, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_it_begins_as_the_identity(size):
    values = maps(size)
    assert RegionAttention(8).double()(values).equal(values)


@pytest.mark.parametrize(("size", "count"), [(1, 5), (4, 5), (6, 5), (7, 14)])
def test_regions_are_cells_of_grids(size, count):
    values = maps(size)
    found = regions(values)
    assert found.shape == (2, count, 8)
    torch.testing.assert_close(found[:, 0], values.mean(dim=(2, 3)))
    if size == 4:
        torch.testing.assert_close(found[:, 2], values[:, :, :2, 2:].mean(dim=(2, 3)))


def test_every_position_mixes_the_values_of_regions():
    torch.manual_seed(0)
    layer, values = RegionAttention(8).double(), maps()
    torch.nn.init.normal_(layer.out.weight)
    tokens = regions(values)
    position = values[1, :, 2, 3]
    query = layer.query.weight[:, :, 0, 0] @ position + layer.query.bias
    weights = (tokens[1] @ layer.key.weight.T @ query / math.sqrt(2)).softmax(dim=0)
    mixed = weights @ layer.value(tokens[1])
    expected = position + layer.out.weight[:, :, 0, 0] @ mixed
    torch.testing.assert_close(layer(values)[1, :, 2, 3], expected)
