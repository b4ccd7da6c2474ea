import sys

import numpy as np
import pytest

from ltbench.config.load import load_dataset
from ltbench.data.errors import DataError, listed
from ltbench.data.sources import load_raw_dataset, measure_fingerprint, resolve_root
from ltbench.data.split import make_split
from tests.support import processes
from tests.support.errors import raises

DIGITS_LT = "dec581222de62c4eb321c21a2345b0f5fa12690e9ecd14a7c186d96a4bd5a7e7"
DIGITS_TWIN = "1dcfe8673715d0ff395b693b6b3229882ce8787d68c74e5a5dfad092d91fe567"


def test_digits_are_the_pinned_ones(digits):
    raw = load_raw_dataset(digits)
    assert raw.fingerprint == digits.fingerprint == measure_fingerprint(digits)
    assert make_split(digits, raw, "longtailed").train_hash == DIGITS_LT
    assert make_split(digits, raw, "balanced").train_hash == DIGITS_TWIN


def test_digits_have_a_fixed_stratified_test_part(digits):
    from sklearn.datasets import load_digits

    raw = load_raw_dataset(digits)
    assert np.bincount(raw.test_labels).tolist() == [50] * 10
    assert len(raw.train_labels) + len(raw.test_labels) == 1797
    threes = load_digits().images[load_digits().target == 3]
    scaled = np.rint(threes * 255 / 16).astype(np.uint8)
    assert np.array_equal(raw.test_images.pixels[raw.test_labels == 3][:, 0], scaled[-50:])
    assert np.array_equal(raw.train_images.pixels[raw.train_labels == 3][:, 0], scaled[:-50])
    assert raw.train_images.pixels.max() == 255


def test_other_images_than_pinned_are_rejected(digits):
    with raises(DataError, "mismatch", "0" * 64, digits.fingerprint):
        load_raw_dataset(digits.model_copy(update={"fingerprint": "0" * 64}))


def test_all_differences_from_the_configuration_are_reported(digits):
    wrong = digits.model_copy(update={"classes": 9, "image_size": 9})
    with raises(DataError, "mismatch", "10 classes", "(1, 8, 8)"):
        load_raw_dataset(wrong)


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "cifar10_jpeg"])
def test_a_missing_root_is_one_clear_error(name, tmp_path):
    spec = load_dataset(name).model_copy(update={"fingerprint": None})
    with raises(DataError, "missing-data", name, tmp_path):
        load_raw_dataset(spec, tmp_path, download=False)
    assert measure_fingerprint(spec, tmp_path) is None


def test_cifar_is_read_from_the_layout_of_torchvision(tmp_path, monkeypatch):
    import hashlib
    import pickle

    from torchvision.datasets import CIFAR10

    spec = load_dataset("cifar10")
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    labels = np.arange(20) % 10
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)

    def write(name, value):
        data = pickle.dumps(value)
        (folder / name).write_bytes(data)
        return name, hashlib.md5(data).hexdigest()

    batch = {"data": pixels, "labels": labels.tolist()}
    monkeypatch.setattr(CIFAR10, "train_list", [write("data_batch_1", batch)])
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", batch)])
    names = {"label_names": [f"class {k}" for k in range(10)]}
    filename, md5 = write("batches.meta", names)
    meta = {"filename": filename, "key": "label_names", "md5": md5}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    raw = load_raw_dataset(spec, tmp_path, download=False)
    assert np.array_equal(raw.train_images.pixels, pixels.reshape(20, 3, 32, 32))
    assert raw.test_labels.tolist() == labels.tolist()
    assert raw.class_names == tuple(names["label_names"])
    assert raw.fingerprint == measure_fingerprint(spec, tmp_path)

    (folder / "data_batch_1").write_bytes(b"other")
    with raises(DataError, "missing-data", "cifar10", tmp_path):
        load_raw_dataset(spec, tmp_path, download=False)


def test_root_is_the_argument_then_the_variable_then_data(monkeypatch, tmp_path):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    assert resolve_root("here").name == "here"
    assert resolve_root() == tmp_path
    monkeypatch.delenv("LTBENCH_DATA")
    assert str(resolve_root()) == "data"


def test_planning_imports_neither_torch_nor_sklearn():
    code = (
        "import sys; from ltbench.config.load import load_dataset;"
        "from ltbench.data.sources import measure_fingerprint;"
        "import ltbench.data.imbalance, ltbench.data.subsample, ltbench.data.split;"
        "measure_fingerprint(load_dataset('digits')), measure_fingerprint(load_dataset('cifar10'));"
        "sys.exit(bool({'torch', 'sklearn', 'torchvision'} & set(sys.modules)))"
    )
    environment = {"LTBENCH_DATA": "/nowhere", "PATH": ""}
    assert processes.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_file_names_cannot_control_the_terminal():
    assert listed(["a\x1b[2Jb", "ä"]) == "  a\\x1b[2Jb\n  ä"
    assert listed(["x"] * 12).endswith("and 2 more")
