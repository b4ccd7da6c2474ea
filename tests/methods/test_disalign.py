"""DisAlign: what a calibration trains, and by which loss."""

import pytest
import torch

from ltbench.core.batch import Batch
from ltbench.testing import steps
from ltbench.testing.jobs import Case
from tests.losses.test_loss_oracles import EXACT
from tests.methods.test_method_oracles import build

CALIBRATION = {"scale", "offset", "confidence.weight", "confidence.bias"}


@pytest.mark.oracle("disalign", has=["loss"])
def test_disalign(oracle):
    method = build("disalign", oracle, rho=oracle.hparams["exp_scale"])
    batch = Batch(oracle["logits_after"], oracle["labels"], oracle["labels"])
    torch.testing.assert_close(method.training_loss(batch), oracle["loss"], **EXACT)


def started(**hparams):
    start = steps.build(Case("softmax"), norm="batch")
    method = steps.build(Case("disalign", hparams), norm="batch")
    method.init_from_weights(start.state_dict())
    method.on_stage_start(method.stage)
    return start, method


@pytest.mark.parametrize("form", ["classification", "paper"])
def test_the_calibration_alone_is_trained_and_changes_no_class(form):
    start, method = started(form=form)
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    assert trained == {f"network.classifier.{name}" for name in CALIBRATION}
    images = torch.randn(6, 3, 8, 8)
    found, expected = method.eval().predict(images), start.eval().predict(images)
    assert found.argmax(1).equal(expected.argmax(1))
    if form == "paper":
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("update_bn", [True, False])
def test_batchnorm_statistics_move_as_declared(update_bn):
    _, method = started(update_bn=update_bn)
    layer = next(m for m in method.modules() if isinstance(m, torch.nn.BatchNorm2d))
    before = layer.running_mean.clone()
    method.train().training_loss(steps.training_batch(method))
    assert layer.running_mean.equal(before) != update_bn
