import torch

from ltbench.networks.projection import projection


def test_a_projection_needs_no_batch_where_the_network_needs_none():
    for norm in ("group", "none"):
        head = projection(8, 3, norm)
        features = torch.randn(4, 8)
        torch.testing.assert_close(head(features)[:1], head(features[:1]))
