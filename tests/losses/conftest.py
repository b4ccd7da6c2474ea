import pytest
import torch


@pytest.fixture
def batch():
    """Return logits of 13 samples and 7 classes, in float64, and labels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(13, 7, dtype=torch.float64, generator=generator)
    return logits, torch.randint(7, (13,), generator=generator)
