import pytest
import torch
from torch import nn

from ltbench.methods import METHODS
from ltbench.networks import NetworkSpec
from ltbench.networks.folding import folded_batchnorm


def shaken(module):
    """Give every BatchNorm statistics and parameters that matter."""
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                values.data.uniform_(0.5, 1.5, generator=generator)
    return module.double().eval()


@pytest.mark.parametrize("backbone", ["resnet8", "fastnet", "test_resnet"])
@pytest.mark.parametrize("key", [key for key, m in METHODS.items() if m.stages[-1].is_evaluated])
def test_no_prediction_moves_and_all_is_put_back(key, backbone):
    method = shaken(METHODS[key](NetworkSpec(backbone, 4), torch.tensor([40, 20, 5, 2])))
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.inference_mode():
        plain = method.predict(images)
        with folded_batchnorm(method, lambda: method.predict(images)):
            left = [m for m in method.network.modules() if type(m) is nn.BatchNorm2d]
            folded = method.predict(images)
    torch.testing.assert_close(folded, plain, rtol=1e-9, atol=1e-9)
    assert len(left) < sum(type(m) is nn.BatchNorm2d for m in method.network.modules())
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


class Changed(nn.Module):
    """Convolutions whose maps are changed in place or used twice."""

    def __init__(self, how):
        super().__init__()
        self.conv, self.norm, self.how = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), how

    def forward(self, images):
        maps = self.conv(images)
        if self.how == "in place":
            return self.norm(maps.relu_())
        return self.norm(maps) + self.norm(2 * maps)


@pytest.mark.parametrize("how", ["in place", "twice"])
def test_only_single_affine_maps_are_folded(how):
    module = shaken(Changed(how))
    images = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    with torch.inference_mode(), folded_batchnorm(module, lambda: module(images)):
        assert isinstance(module.norm, nn.BatchNorm2d)
