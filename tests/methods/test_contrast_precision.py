"""Keys and similarities of contrastive methods under bfloat16 autocast."""

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ltbench.methods.step_input import step_input
from ltbench.networks.momentum import KeyQueue
from ltbench.testing import steps
from ltbench.testing.jobs import Case

QUEUE = {"queue": 24, "width": 8}
CASES = {
    "hybrid_psc": Case("hybrid_psc", {"width": 8}),
    "hybrid_sc": Case("hybrid_sc", {"width": 8}),
    "bcl": Case("bcl", {"width": 8}),
    "gpaco": Case("gpaco", QUEUE),
    "kcl": Case("kcl", QUEUE),
    "ncl": Case("ncl", QUEUE),
    "paco": Case("paco", QUEUE),
    "ssd": Case("ssd", QUEUE),
    "ssp": Case("ssp", {"task": "moco", **QUEUE}),
    "tsc": Case("tsc", QUEUE),
}


class Products(TorchFunctionMode):
    """Collects the precisions of matrix products, layers excepted."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in (Tensor.matmul, Tensor.__matmul__, torch.matmul):
            self.found.append(result.dtype)
        return result


@pytest.mark.parametrize(("name", "stage"), [*((name, 0) for name in CASES), ("tsc", 1)])
def test_similarities_and_keys_are_in_single_precision(name, stage):
    method = steps.begin(CASES[name], stage)
    steps.begin_epoch(method)
    batch = step_input(method, steps.training_batch(method))
    with torch.autocast("cpu", torch.bfloat16), Products() as products:
        method.training_loss(batch)
    assert set(products.found) == {torch.float32}
    for queue in (module for module in method.modules() if isinstance(module, KeyQueue)):
        torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(24))
