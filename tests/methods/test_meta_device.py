"""Steps on the meta device, whose tensors have no values: what would wait for a GPU is an error."""

import pytest
import torch

from ltbench.core.batch import Batch
from ltbench.core.stepping import total_loss
from ltbench.methods import METHODS
from ltbench.methods.step_input import step_input
from ltbench.testing import steps
from ltbench.testing.jobs import Case

STAGES = [
    pytest.param(key, number, id=f"{key}-{stage.name}")
    for key, method in METHODS.items()
    for number, stage in enumerate(method.stages)
    if stage.is_trained
]


def on_meta(batch):
    if isinstance(batch, Batch):
        return Batch(*(each.to("meta") for each in (batch.images, batch.labels, batch.index)))
    return {name: on_meta(stream) for name, stream in batch.items()}


def loss_of_an_epoch(key, stage, epoch):
    """Return the loss of an epoch's first step; the second epoch is deferred."""
    method = steps.begin(Case(key), stage)
    steps.begin_epoch(method, epoch)
    batch = step_input(method, steps.training_batch(method))
    method.train().to("meta")
    return total_loss(method.training_loss(on_meta(batch)))


@pytest.mark.parametrize(("key", "stage"), STAGES)
def test_a_step_reads_no_value_and_mixes_no_devices(key, stage):
    for epoch in range(2):
        if (key, epoch) == ("rsg", 1):  # the labels of a batch say how many maps are generated
            with pytest.raises(NotImplementedError, match="nonzero"):
                loss_of_an_epoch(key, stage, epoch)
            continue
        loss = loss_of_an_epoch(key, stage, epoch)
        assert loss.is_meta
        loss.backward()


def test_reads_and_mixed_devices_are_errors():
    values = torch.ones(2, device="meta")
    reads = (values.tolist, values.max().item, values.nonzero)
    for mistake in (*reads, lambda: values + torch.ones(2)):
        with pytest.raises((RuntimeError, NotImplementedError)):
            mistake()
