"""Small datasets in their official layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltbench.config.load import load_dataset
from ltbench.data.errors import DataError
from ltbench.data.images import FileImages, InMemoryImages
from ltbench.data.raw_dataset import RawDataset
from ltbench.data.sources import load_raw_dataset, measure_fingerprint
from ltbench.data.split import make_split
from tests.support import processes
from tests.support.errors import raises
from tests.support.listed_images import picture

CONFIGS = Path(__file__).parents[2] / "configs" / "datasets"


@pytest.fixture(autouse=True)
def own_cache(cache):
    """A cache folder of the test's own."""


def spec_of(name, **changes):
    return load_dataset(name).model_copy(
        update={
            "imbalance_type": "natural",
            "imbalance_ratio": None,
            "max_per_class": None,
            **changes,
        }
    )


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(path))


def check(spec, root, train, test):
    """Load a dataset of files; return its training and its test paths."""
    raw = load_raw_dataset(spec, root, download=False)
    assert isinstance(raw.train_images, FileImages)
    assert raw.train_labels.tolist() == train
    assert raw.test_labels.tolist() == test
    for images in (raw.train_images, raw.test_images):
        assert all((images.root / path).is_file() for path in images.paths)
    assert make_split(spec, raw, "longtailed").counts == tuple(np.bincount(train))
    assert measure_fingerprint(spec, root) == raw.fingerprint
    return raw


def test_food101(tmp_path):
    folder = tmp_path / "food-101"
    for part, counts in (("train", (3, 2)), ("test", (1, 1))):
        names = {
            kind: [f"{kind}/{part}{i}" for i in range(n)]
            for kind, n in zip(("pie", "ribs"), counts, strict=True)
        }
        for name in (*names["pie"], *names["ribs"]):
            write(folder / "images" / f"{name}.jpg")
        (folder / "meta").mkdir(exist_ok=True)
        (folder / "meta" / f"{part}.json").write_text(json.dumps(names))
    spec = spec_of("food101", classes=2)
    raw = check(spec, tmp_path, [0, 0, 0, 1, 1], [0, 1])
    assert raw.class_names == ("pie", "ribs")
    assert raw.train_images.paths[3] == "images/ribs/train0.jpg"
    (folder / "images/ribs/train0.jpg").unlink()
    (folder / "images/pie/test0.jpg").unlink()
    with raises(DataError, "bad-layout", "images/ribs/train0.jpg", "images/pie/test0.jpg"):
        load_raw_dataset(spec, tmp_path)
    (folder / "meta/test.json").write_text('{"pie": []}')
    with raises(DataError, "bad-layout", "different classes"):
        load_raw_dataset(spec, tmp_path)


def test_fgvc_aircraft(tmp_path):
    data = tmp_path / "fgvc-aircraft-2013b" / "data"
    lines = {"trainval": ["01 707-320", "02 A300 B4", "03 A300 B4"], "test": ["04 707-320"]}
    for part, listed in lines.items():
        for line in listed:
            write(data / "images" / f"{line[:2]}.jpg")
        (data / f"images_variant_{part}.txt").write_text("\n".join(listed))
    (data / "variants.txt").write_text("707-320\nA300 B4\n")
    raw = check(spec_of("fgvc_aircraft", classes=2), tmp_path, [0, 1, 1], [0])
    assert raw.class_names == ("707-320", "A300 B4")


def test_inaturalist2021_mini(tmp_path):
    kinds = ["00000_Animalia_C_P_O_F_G_first", "00001_Plantae_C_P_O_F_G_second"]
    for part, count in (("2021_train_mini", 2), ("2021_valid", 1)):
        for kind in kinds:
            for i in range(count):
                write(tmp_path / "inaturalist2021" / part / kind / f"{part}{i}.jpg")
    raw = check(spec_of("inaturalist2021_mini", classes=2), tmp_path, [0, 0, 1, 1], [0, 1])
    assert raw.class_names == tuple(kinds)


def test_cub200_by_the_list_that_its_command_makes(tmp_path):
    folder = tmp_path / "CUB_200_2011"
    names = ["001.Albatross/a.jpg", "001.Albatross/b.jpg", "002.Wren/c.jpg", "002.Wren/d.jpg"]
    for name in names:
        write(folder / "images" / name)
    columns = {
        "images": names,
        "image_class_labels": (1, 1, 2, 2),
        "train_test_split": (1, 0, 1, 0),
    }
    for name, values in columns.items():
        lines = [f"{i} {value}" for i, value in enumerate(values, 1)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    header = (CONFIGS / "cub200.yaml").read_text().splitlines()
    (command,) = (line.removeprefix("#").strip() for line in header if "paste" in line)
    processes.run(["sh", "-c", command], cwd=folder, check=True)
    raw = check(spec_of("cub200", classes=2), tmp_path, [0, 1], [0, 1])
    assert raw.train_images.paths == (f"images/{names[0]}", f"images/{names[2]}")


@pytest.mark.parametrize("name", ["food101", "fgvc_aircraft", "inaturalist2021_mini", "cub200"])
def test_missing_photographs_are_one_clear_error(name, tmp_path):
    spec = load_dataset(name)
    assert spec.any_size
    with raises(DataError, "missing-data", name, tmp_path):
        load_raw_dataset(spec, tmp_path)  # nothing is fetched
    assert measure_fingerprint(spec, tmp_path) is None


def test_svhn(tmp_path, monkeypatch):
    import hashlib

    from scipy.io import savemat
    from torchvision.datasets import SVHN

    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (32, 32, 3, 7), dtype=np.uint8)
    labels = np.array([10, 1, 2, 2, 9, 10, 1])
    (tmp_path / "svhn").mkdir()
    parts = {}
    for part in ("train", "test"):
        path = tmp_path / "svhn" / f"{part}_32x32.mat"
        savemat(path, {"X": pixels, "y": labels[:, None]})
        parts[part] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", parts)
    raw = load_raw_dataset(spec_of("svhn"), tmp_path, download=False)
    assert raw.train_images.pixels.shape == (7, 3, 32, 32)
    assert np.array_equal(raw.train_images.pixels[4], pixels[..., 4].transpose(2, 0, 1))
    assert raw.train_labels.tolist() == [0, 1, 2, 2, 9, 0, 1]
    assert raw.class_names == tuple("0123456789")


def medmnist(folder, **changes):
    generator = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 9), ("val", 4), ("test", 5)):
        arrays[f"{part}_images"] = generator.integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 7)[:, None].astype(np.uint8)
    folder.mkdir(exist_ok=True)
    arrays |= changes
    np.savez(folder / "dermamnist.npz", **arrays)
    return arrays


def test_medmnist(tmp_path):
    arrays = medmnist(tmp_path / "medmnist")
    spec = load_dataset("dermamnist")
    raw = load_raw_dataset(spec, tmp_path)
    assert np.array_equal(raw.test_images.pixels, arrays["test_images"].transpose(0, 3, 1, 2))
    assert raw.val_labels.tolist() == [0, 1, 2, 3]
    assert spec.auxiliary_or_default.id == "official_val"
    assert make_split(spec, raw, "longtailed").counts == (2, 2, 1, 1, 1, 1, 1)
    gray = {f"{part}_images": arrays[f"{part}_images"][..., 0] for part in ("train", "val", "test")}
    medmnist(tmp_path / "medmnist", **gray)
    with raises(DataError, "mismatch", "(1, 28, 28)"):
        load_raw_dataset(spec, tmp_path)


@pytest.mark.parametrize(
    ("changes", "code", "fact"),
    [
        ({"train_labels": np.zeros((9, 14), np.uint8)}, "bad-layout", "one label each"),
        ({"test_labels": np.full((5, 1), 7)}, "bad-layout", "below 7"),
        ({"val_images": np.zeros((4, 28, 28))}, "bad-layout", "uint8"),
        ({"train_labels": np.array([[object()]] * 9)}, "missing-data", "Object arrays"),
    ],
)
def test_invalid_medmnist_files_are_rejected(tmp_path, changes, code, fact):
    medmnist(tmp_path / "medmnist", **changes)
    with raises(DataError, code, fact):
        load_raw_dataset(load_dataset("dermamnist"), tmp_path)


def test_missing_and_damaged_medmnist_files(tmp_path):
    spec = load_dataset("dermamnist")
    assert measure_fingerprint(spec, tmp_path) is None
    with raises(DataError, "missing-data", "dermamnist.npz"):
        load_raw_dataset(spec, tmp_path)
    medmnist(tmp_path / "medmnist")
    path = tmp_path / "medmnist/dermamnist.npz"
    path.write_bytes(path.read_bytes()[:1000])
    with raises(DataError, "missing-data", "dermamnist.npz"):
        load_raw_dataset(spec, tmp_path)


@pytest.fixture
def tiny(tmp_path):
    """Two classes in Tiny-ImageNet's layout, 3 training and 2 test images each."""
    folder = tmp_path / "tiny-imagenet-200"
    generator = np.random.default_rng(0)
    lines = []
    for k, name in enumerate(("n2", "n1")):
        paths = [folder / "train" / name / "images" / f"{name}_{i}.JPEG" for i in range(3)]
        paths += [folder / "val/images" / f"val_{2 * i + k}.JPEG" for i in range(2)]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert("L" if k else "RGB").save(path, "JPEG")
        lines += [f"{path.name}\t{name}\t0\t32\t44\t62" for path in paths[3:]]
        (folder / "train" / name / f"{name}_boxes.txt").touch()
    (folder / "val/val_annotations.txt").write_text("\n".join(lines))
    return folder


def test_tiny_imagenet(tiny):
    spec = spec_of("tinyimagenet", classes=2)
    raw = load_raw_dataset(spec, tiny.parent)
    assert raw.class_names == ("n1", "n2")
    assert raw.train_images.pixels.shape == (6, 3, 64, 64)
    assert raw.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert raw.test_labels.tolist() == [0, 0, 1, 1]
    last = Image.open(tiny / "val/images/val_2.JPEG")
    assert np.array_equal(raw.test_images.pixels[3], np.asarray(last).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("ratio", "longtailed", "balanced"),
    [
        (
            100,
            "6538a11a004101a70339e6726f3d0a49a571a616282f07cbcd8ef21a82464590",
            "9cb875a8a44b0d8899cea980378a8eab2b4f510e0b39158bdaff4fe75da7e9c9",
        ),
        (
            50,
            "4af7ce0d2c5b8e29a6fa66ef38b7bdb87862acb7c20fa5ae01efee7e953e6143",
            "9847d731ead2bd5adbdd7f6c8e4fe54ccc8a296fa067b8e97d17e1cceeefd190",
        ),
        (
            10,
            "eb868346601712e13b488130175f1c59c4553679d8d767f57f4d9a26010a2a5a",
            "74a28f1a86632a016a4286d08c2abdd41d1d3aba8ce568aa5e6845f626f22e79",
        ),
    ],
)
@pytest.mark.parametrize("name", ["tinyimagenet", "tinyimagenet32"])
def test_tiny_imagenet_lt_is_a_published_split(name, ratio, longtailed, balanced):
    spec = load_dataset(name).model_copy(update={"imbalance_ratio": float(ratio)})
    labels = np.repeat(np.arange(200), 500)
    images = InMemoryImages(labels[:0])
    raw = RawDataset(images, labels, images, labels[:0], ("",) * 200, "")
    assert make_split(spec, raw, "longtailed").train_hash == longtailed
    assert make_split(spec, raw, "balanced").train_hash == balanced


def test_incomplete_tiny_imagenet(tiny):
    spec = spec_of("tinyimagenet", classes=2)
    annotations = tiny / "val/val_annotations.txt"
    annotations.write_text(annotations.read_text() + "\nval_9.JPEG\tn3\t0\nval_10.JPEG\tn1\t0")
    (tiny / "train/n1/images").rename(tiny / "train/n1/pictures")
    facts = ("train/n1/images/ has no", "val_annotations.txt:5:", "val/images/val_10.JPEG")
    with raises(DataError, "bad-layout", *facts):
        load_raw_dataset(spec, tiny.parent)
    annotations.unlink()
    with raises(DataError, "bad-layout", "val_annotations.txt cannot be read"):
        load_raw_dataset(spec, tiny.parent)
    with raises(DataError, "missing-data", "tiny-imagenet-200.zip"):
        load_raw_dataset(spec, tiny)
