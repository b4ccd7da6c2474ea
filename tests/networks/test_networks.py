import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from ltbench.classifiers import linear
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.build import read_weights
from ltbench.networks.multi_expert import build_parts


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize(
    ("backbone", "expected"), [("resnet8", 75_290), ("resnet20", 269_722), ("resnet32", 464_154)]
)
def test_cifar_resnet_has_the_papers_parameters(backbone, expected, norm):
    """Sizes of He et al., table 6, with ten classes."""
    module, width = build_backbone(NetworkSpec(backbone, classes=10, norm=norm))
    blocks = {"resnet8": 1, "resnet20": 3, "resnet32": 5}[backbone]
    stem = 3 * 16 * 9 + 2 * 16
    by_hand = stem + sum(
        9 * inputs * outputs + 9 * outputs**2 * (2 * blocks - 1) + 2 * outputs * 2 * blocks
        for inputs, outputs in ((16, 16), (16, 32), (32, 64))
    )
    assert width == 64
    assert parameters(module) == by_hand
    assert parameters(Network(module, linear(width, 10))) == expected


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "features"), [("resnet8", 64), ("fastnet", 128)])
def test_small_backbones_shapes(name, features, size, channels):
    backbone, width = build_backbone(NetworkSpec(name, classes=5, channels=channels))
    network = Network(backbone, linear(width, 5))
    images = torch.randn(2, channels, size, size)
    assert network.features(images).shape == (2, features)
    assert network(images).shape == (2, 5)
    assert network(images).equal(network.classifier(network.features(images)))


def test_fastnet_has_the_multiply_adds_that_its_docstring_states():
    backbone, width = build_backbone(NetworkSpec("fastnet", classes=10))
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    total = 0
    for convolution in convolutions:
        convolution.register_forward_hook(lambda layer, _, maps: counts.append((layer, maps)))
    counts = []
    backbone(torch.randn(1, 3, 32, 32))
    for layer, maps in counts:
        total += layer.weight.numel() * maps.shape[2] * maps.shape[3]
    assert width == 128
    assert round(total / 1e6) == 33
    assert [maps.shape[-1] for _, maps in counts] == [31, 31, 15, 15, 7, 7, 3]


@pytest.mark.parametrize("name", ["resnet8", "fastnet"])
def test_group_norm_makes_samples_independent_of_their_batch(name):
    backbone, _ = build_backbone(NetworkSpec(name, classes=5, norm="group"))
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(backbone(images)[:1], backbone(images[:1]))


def test_any_other_backbone_is_timms():
    backbone, width = build_backbone(NetworkSpec("resnet18", classes=5, channels=1))
    assert width == 512
    assert backbone(torch.randn(2, 1, 32, 32)).shape == (2, 512)


def test_an_unknown_backbone_is_refused_by_name():
    with pytest.raises(ValueError, match="no backbone 'resnet9000'"):
        build_backbone(NetworkSpec("resnet9000", classes=5))


def test_group_norm_is_refused_where_it_cannot_be_had():
    with pytest.raises(ValueError, match="norm 'group'"):
        build_backbone(NetworkSpec("resnet18", classes=5, norm="group"))


@pytest.mark.parametrize(
    ("backbone", "millions", "width"),
    [  # the encoders of torchvision's models: 25.03 and 25.56 and 60.19 M with their classifiers
        ("resnet10", 4.90, 512),
        ("resnet50", 23.51, 2048),
        ("resnext50_32x4d", 22.98, 2048),
        ("resnet152", 58.14, 2048),
    ],
)
def test_backbones_of_the_large_tables(backbone, millions, width):
    with torch.device("meta"):
        module, found = build_backbone(NetworkSpec(backbone, classes=5))
    assert found == width
    assert parameters(module) / 1e6 == pytest.approx(millions, abs=0.006)


def test_a_backbone_begins_with_the_weights_of_a_file(tmp_path):
    donor = timm.create_model("resnet10", num_classes=7)
    save_file(donor.state_dict(), tmp_path / "weights.safetensors")
    spec = NetworkSpec("resnet10", classes=5, weights=tmp_path / "weights.safetensors")
    module, _ = build_backbone(spec)
    kept = {k: v for k, v in donor.state_dict().items() if not k.startswith("fc.")}
    assert all(torch.equal(module.state_dict()[k], v) for k, v in kept.items())
    assert module.state_dict().keys() == kept.keys()


def test_a_backbone_begins_with_torchvisions_weights(tmp_path):
    donor = torchvision.models.resnet18().state_dict()
    old = {name: value for name, value in donor.items() if "num_batches" not in name}
    torch.save(old, tmp_path / "resnet18.pth")  # as before torchvision counted batches
    module, _ = build_backbone(NetworkSpec("resnet18", 5, weights=tmp_path / "resnet18.pth"))
    state = module.state_dict()
    assert all(torch.equal(state[k], v) for k, v in old.items() if not k.startswith("fc."))


class Code:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", [], {"epoch": 1}, {"a": Code()}])
def test_files_that_are_no_weights_are_refused_unrun(suffix, content, tmp_path, capsys):
    file = tmp_path / f"weights.{suffix}"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(ValueError, match=file.name):
        read_weights(file)
    assert not capsys.readouterr().out


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(timm.create_model("resnet10").state_dict(), tmp_path / "weights.safetensors")
    for backbone, problem in (
        ("resnet18", "does not fit resnet18"),
        ("resnet8", "no pretrained weights"),
    ):
        spec = NetworkSpec(backbone, classes=5, weights=tmp_path / "weights.safetensors")
        with pytest.raises(ValueError, match=problem):
            build_backbone(spec)
    spec = NetworkSpec("resnet10", classes=5, weights=tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="reduced: false"):
        build_parts(spec, reduced=True)


def test_a_tag_is_timms_and_comes_from_its_hub(monkeypatch):
    create, asked = timm.create_model, []

    def offline(name, pretrained=False, **settings):
        asked.append((name, pretrained))
        return create(name, **settings)

    monkeypatch.setattr(timm, "create_model", offline)
    module, width = build_backbone(NetworkSpec("resnet18", classes=5, weights="a1_in1k"))
    assert asked == [("resnet18.a1_in1k", True)]
    assert module(torch.zeros(2, 3, 64, 64)).shape == (2, width)
