import pytest
import torch

from ltbench.data.datamodule import DataModule
from ltbench.data.fixed_size import FixedSizeBatches
from ltbench.data.sources import load_raw_dataset
from ltbench.data.tta_views import BATCH, TTAViews


@pytest.fixture
def make_data(digits, make_recipe):
    def make(seed=0, **changes):
        return DataModule(digits, "longtailed", make_recipe(**changes), seed=seed)

    return make


def color_views(**settings):
    pixels = torch.randint(256, (10, 3, 12, 12), dtype=torch.uint8)
    maker = FixedSizeBatches(pixels, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), **settings)
    return TTAViews(maker, 10, colored=True, seed=0, name="x")


def test_an_epoch_goes_through_all_images_once(make_data):
    data = make_data(augment="none", batch_size=16)
    index = torch.arange(0, 300, 2)
    views = data.test_views(index, "even")
    batches = list(views)
    assert len(batches) == len(views) == 2
    assert [batch.shape for batch in batches] == [(2, BATCH, 1, 8, 8), (2, 22, 1, 8, 8)]
    seen = torch.cat(batches, dim=1)
    assert torch.equal(seen[0], seen[1])  # nothing is cut, mirrored or distorted
    expected = torch.cat([batch.images for batch in data.test_batches(index)])
    order = (seen[0].flatten(1)[:, None] - expected.flatten(1)[None]).abs().amax(dim=2) < 1e-5
    assert order.any(dim=0).all()
    assert order.any(dim=1).all()


def test_epochs_differ_and_repeat(make_data):
    index = torch.arange(50)

    def epochs(seed=0, name="one"):
        views = make_data(seed=seed).test_views(index, name)
        return [torch.cat(list(views), dim=1) for _ in range(2)]

    first, second = epochs()
    again = epochs()
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, epochs(seed=1)[0])
    assert not torch.equal(first, epochs(name="two")[0])


def test_color_images_are_distorted():
    (batch,) = color_views()
    assert batch.shape == (2, 10, 3, 12, 12)
    assert not torch.equal(batch[0], batch[1])


@pytest.mark.parametrize(
    ("dtype", "channels_last"), [(torch.bfloat16, True), (torch.float64, False)]
)
def test_type_of_the_batches(dtype, channels_last):
    views = color_views(dtype=dtype, channels_last=channels_last)
    assert next(iter(views)).dtype == dtype


def test_test_batches_follow_the_index(make_data, digits):
    data, raw = make_data(eval_batch_size=500), load_raw_dataset(digits)
    index = torch.tensor([499, 3, 3, 250])
    (batch,) = data.test_batches(index)
    assert torch.equal(batch.index, index)
    assert batch.labels.tolist() == raw.test_labels[index].tolist()
    (whole,) = data.test_dataloader()
    assert torch.equal(batch.images, whole.images[index])
