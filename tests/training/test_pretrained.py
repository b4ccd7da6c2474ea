import hashlib

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

import ltbench.networks.resnet10  # noqa: F401 - timm knows it from then on
from ltbench.config.hparams import HParamResolver
from ltbench.config.load import load_dataset
from ltbench.config.recipe import Pretrained
from ltbench.config.registry import load_registry
from ltbench.data.errors import DataError
from ltbench.methods import METHODS
from ltbench.networks import NetworkSpec
from ltbench.training.build import build_method
from ltbench.training.pretrained import missing_weights, pretrained_weights
from ltbench.training.schedule import build_optimizer
from tests.support.errors import raises
from tests.support.training_jobs import job, recipe


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "resnet10.safetensors"
    save_file(timm.create_model("resnet10", in_chans=1).state_dict(), path)
    return path


def start(file, sha256=None):
    sha256 = sha256 or hashlib.sha256(file.read_bytes()).hexdigest()
    return {"file": file.name, "sha256": sha256}


def test_a_method_starts_with_the_pretrained_weights_of_its_recipe(file, tmp_path):
    one = job(network="resnet10", norm="batch", pretrained=start(file))
    counts = torch.full((10,), 5)
    network = build_method(one, counts, data_root=str(tmp_path)).network
    again = build_method(one, counts, data_root=str(tmp_path)).network
    plain = build_method(job(network="resnet10", norm="batch"), counts).network
    assert torch.equal(network.backbone.conv1.weight, again.backbone.conv1.weight)
    assert not torch.equal(network.backbone.conv1.weight, plain.backbone.conv1.weight)
    assert torch.equal(network.classifier.weight, plain.classifier.weight)


@pytest.mark.slow
def test_all_methods_start_from_pretrained_weights_with_their_values_for_places(tmp_path):
    file, counts = tmp_path / "test_resnet.safetensors", torch.tensor([40, 12, 5, 2])
    save_file(timm.create_model("test_resnet").state_dict(), file)
    places, resolver = load_dataset("places_lt"), HParamResolver(load_registry())
    for key, kind in METHODS.items():
        hparams = resolver.resolve(key, {}, places).values
        method = kind(
            NetworkSpec("test_resnet", len(counts), weights=file), counts, kind.HParams(**hparams)
        )
        assert any(p.requires_grad for p in method.parameters()), key


def test_a_file_is_identified_by_its_content(file, tmp_path):
    one, other = recipe(pretrained=start(file)), recipe(pretrained=start(file, "0" * 64))
    moved = recipe(pretrained=start(file) | {"file": "elsewhere"})
    assert one.identity() == moved.identity()
    assert one.identity() != other.identity() != recipe().identity()
    assert "pretrained" not in recipe().identity()
    assert pretrained_weights(one, str(tmp_path)) == file
    with raises(DataError, "mismatch", file, "0" * 64):
        pretrained_weights(other, str(tmp_path))
    with raises(DataError, "missing-file", "elsewhere"):
        pretrained_weights(moved, str(tmp_path))


def test_a_tag_or_a_file_but_not_both(tmp_path):
    assert pretrained_weights(recipe(pretrained={"tag": "tv_in1k"})) == "tv_in1k"
    assert pretrained_weights(recipe()) is None
    for wrong in (
        {},
        {"file": "x"},
        {"sha256": "0" * 64},
        {"tag": "a", "sha256": "0" * 64},
        {"tag": "a", "file": "x", "sha256": "0" * 64},
    ):
        with pytest.raises(ValidationError, match="a tag, or a file"):
            Pretrained(**wrong)


def test_the_backbone_may_have_a_lower_learning_rate():
    one = job()
    settings = one.stage_recipe.optimizer.model_copy(update={"lr": 0.5, "backbone_lr": 0.02})
    method = build_method(one, torch.full((10,), 5))
    rates = {
        group["lr"]: len(group["params"])
        for group in build_optimizer(settings, method).param_groups
    }
    assert rates == {0.01: len(list(method.network.backbone.parameters())), 0.5: 2}


def test_weights_that_are_not_here_are_named_with_their_place(tmp_path):
    assert missing_weights(recipe(), tmp_path) is None
    own = recipe(pretrained={"file": "w.safetensors", "sha256": "0" * 64})
    assert str(tmp_path / "w.safetensors") in missing_weights(own, tmp_path)
    (tmp_path / "w.safetensors").touch()
    assert "0" * 64 in missing_weights(own, tmp_path)
    right = {"file": "w.safetensors", "sha256": hashlib.sha256(b"").hexdigest()}
    assert missing_weights(recipe(pretrained=right), tmp_path) is None
    tagged = recipe(pretrained={"tag": "no_such_tag"})
    assert f"{tagged.network}.no_such_tag.safetensors" in missing_weights(tagged, tmp_path)
