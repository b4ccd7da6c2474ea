"""ACSL: the classifier of a trained network goes on."""

import pytest
import torch

from ltbench.testing import steps
from ltbench.testing.jobs import Case
from tests.methods.test_method_oracles import build, check


@pytest.mark.oracle("acsl", variants=["fg_thr"])
def test_acsl(oracle):
    check(build("acsl", oracle, threshold=oracle.hparams["score_thr"]), oracle)


def test_the_trained_classifier_alone_goes_on():
    start = steps.build(Case("softmax"))
    method = steps.build(Case("acsl"))
    method.init_from_weights(start.state_dict())
    method.on_stage_start(method.stage)
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    assert trained == {"network.classifier.weight", "network.classifier.bias"}
    images = torch.randn(4, 3, 8, 8)
    assert method.eval().predict(images).equal(start.eval().predict(images))
    assert not any(module.training for module in method.train().network.backbone.modules())
    assert method.stage.lr_scale == 2
