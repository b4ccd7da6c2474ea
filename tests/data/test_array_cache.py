import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ltbench.data.errors import DataError
from ltbench.data.sources import load_raw_dataset, measure_fingerprint
from tests.support import processes
from tests.support.errors import raises


def caches(cache):
    return sorted(path for path in cache.iterdir() if not path.name.startswith("."))


def test_pixels_labels_and_order(root, make_spec):
    raw = load_raw_dataset(make_spec(), root)
    folder = root / "toy" / "train"
    files = [
        folder / name / f"{i}.png"
        for name, n in zip("abc", (6, 4, 2), strict=True)
        for i in range(n)
    ]
    expected = [np.asarray(Image.open(path)).transpose(2, 0, 1) for path in files]
    assert np.array_equal(raw.train_images.pixels, expected)
    assert raw.train_labels.tolist() == [0] * 6 + [1] * 4 + [2] * 2
    assert raw.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert raw.class_names == ("a", "b", "c")
    assert isinstance(raw.train_images.pixels, np.memmap)
    assert not raw.train_images.pixels.flags.writeable


def test_gray_images(root, make_spec):
    gray = {"channels": 1, "normalization": {"mean": (0.5,), "std": (0.5,)}}
    raw = load_raw_dataset(make_spec(**gray), root)
    expected = np.asarray(Image.open(root / "toy" / "train" / "a" / "0.png").convert("L"))
    assert np.array_equal(raw.train_images.pixels[0, 0], expected)


def test_opening_a_cache_again_decodes_nothing(root, cache, make_spec):
    first = load_raw_dataset(make_spec(), root)
    (built,) = caches(cache)
    before = {path.name: path.stat().st_mtime_ns for path in built.iterdir()}
    second = load_raw_dataset(make_spec(), root)
    assert np.array_equal(first.train_images.pixels, second.train_images.pixels)
    assert caches(cache) == [built]
    assert {path.name: path.stat().st_mtime_ns for path in built.iterdir()} == before


def test_files_are_listed_for_sha256sum(root, cache, make_spec):
    load_raw_dataset(make_spec(), root)
    (built,) = caches(cache)
    for part in ("train", "test"):
        check = ["sha256sum", "--check", "--quiet", str(built / f"{part}.sha256")]
        assert processes.run(check, cwd=root / "toy").returncode == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda built: os.truncate(built / "train_images.npy", 400),
        lambda built: (built / "test_labels.npy").unlink(),
        lambda built: (built / "manifest.json").write_text("{"),
        lambda built: alter_manifest(built / "manifest.json"),
    ],
    ids=["truncated", "absent", "half-written", "altered"],
)
def test_a_damaged_cache_is_built_again(damage, root, cache, make_spec):
    raw = load_raw_dataset(make_spec(), root)
    pixels = np.array(raw.train_images.pixels)
    (built,) = caches(cache)
    damage(built)
    again = load_raw_dataset(make_spec(), root)
    assert np.array_equal(again.train_images.pixels, pixels)
    assert again.fingerprint == raw.fingerprint
    assert caches(cache) == [built]


def test_temporary_folders_of_killed_processes_are_removed(root, cache, make_spec):
    load_raw_dataset(make_spec(), root)
    (built,) = caches(cache)
    (cache / f".{built.name}.killed").mkdir()
    (built / "manifest.json").unlink()
    load_raw_dataset(make_spec(), root)
    assert not [path for path in cache.iterdir() if path.is_dir() and path != built]


def alter_manifest(path):
    manifest = json.loads(path.read_text())
    manifest["content"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(manifest))


def test_a_changed_folder_gets_a_new_cache(root, cache, make_spec):
    raw = load_raw_dataset(make_spec(), root)
    path = root / "toy" / "train" / "b" / "0.png"
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(path)
    changed = load_raw_dataset(make_spec(), root)
    assert (changed.train_images.pixels[6] == 7).all()
    assert changed.fingerprint != raw.fingerprint
    assert len(caches(cache)) == 2


def test_a_file_replaced_by_one_of_the_same_size_is_read_again(root, make_spec):
    path = root / "toy" / "train" / "a" / "0.png"
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path, "BMP")
    before, stat = load_raw_dataset(make_spec(), root), path.stat()
    Image.new("RGB", (8, 8), (4, 5, 6)).save(path, "BMP")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as archives and copies set it
    after = load_raw_dataset(make_spec(), root)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert [raw.train_images.pixels[0, :, 0, 0].tolist() for raw in (before, after)] == [
        [1, 2, 3],
        [4, 5, 6],
    ]
    assert before.fingerprint != after.fingerprint


def test_the_fingerprint_depends_on_bytes_and_labels_only(root, cache, make_spec):
    fingerprint = load_raw_dataset(make_spec(), root).fingerprint
    for path in (root / "toy").rglob("*.png"):
        os.utime(path, (1, 1))
    (root / "toy" / "train" / "c").rename(root / "toy" / "train" / "d")
    (root / "toy" / "test" / "c").rename(root / "toy" / "test" / "d")
    assert measure_fingerprint(make_spec(), root) == fingerprint
    (root / "toy" / "train" / "d").rename(root / "toy" / "train" / "A")
    (root / "toy" / "test" / "d").rename(root / "toy" / "test" / "A")
    assert measure_fingerprint(make_spec(), root) != fingerprint


def test_all_bad_images_are_reported_together(root, cache, make_spec):
    folder = root / "toy" / "train" / "a"
    whole = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    whole.save(folder / "cut.jpg")
    os.truncate(folder / "cut.jpg", (folder / "cut.jpg").stat().st_size - 40)
    (folder / "empty.png").touch()
    (folder / "page.jpg").write_text("not an image")
    whole.resize((9, 8)).save(folder / "wide.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "deep.png")
    expected = {"cut.jpg": "damaged", "empty.png": "empty", "page.jpg": "not an image"}
    expected |= {"wide.png": "9x8, not 8x8", "deep.png": "8 bits"}
    with raises(DataError, "bad-images", "(5)") as caught:
        load_raw_dataset(make_spec(), root)
    lines = dict(line.split(": ", 1) for line in str(caught.value).splitlines()[1:])
    assert all(word in lines[f"  train/a/{name}"] for name, word in expected.items())
    assert caches(cache) == []
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_all_problems_of_a_folder_are_reported_together(root, make_spec):
    toy = root / "toy"
    (toy / "train" / "extra").mkdir()
    (toy / "test" / "c").rename(toy / "test" / "other")
    (toy / "train" / "a" / "deeper").mkdir()
    (toy / "train" / "stray.png").touch()
    (toy / "train" / ".hidden").touch()
    classes = ('class "c" is in train/', 'class "other" is in test/')
    files = ("train/extra/ has no", "train/a/deeper is a folder", "train/stray.png is not")
    with raises(DataError, "bad-layout", *classes, *files) as caught:
        load_raw_dataset(make_spec(), root)
    assert str(caught.value).endswith("(1):\n  train/.hidden")


def test_links_to_outside_of_the_folder_are_rejected(root, tmp_path, make_spec):
    secret = tmp_path / "secret.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(secret)
    (root / "toy" / "train" / "a" / "link.png").symlink_to(secret)
    (root / "toy" / "train" / "out").symlink_to(tmp_path)
    with raises(DataError, "bad-layout", "train/a/link.png links", "train/out links"):
        load_raw_dataset(make_spec(), root)
    with raises(DataError, "bad-layout", "outside of"):
        load_raw_dataset(make_spec(train_folder="../../.."), root)


def test_links_to_inside_of_the_folder_are_followed(root, tmp_path, make_spec):
    (root / "toy" / "train" / "c" / "link.png").symlink_to(root / "toy" / "train" / "a" / "0.png")
    (root / "alias").symlink_to(root / "toy")
    raw = load_raw_dataset(make_spec(folder="alias"), root)
    assert raw.train_labels.tolist() == [0] * 6 + [1] * 4 + [2] * 3
    assert np.array_equal(raw.train_images.pixels[-1], raw.train_images.pixels[0])


def test_two_processes_build_one_cache(root, cache, make_spec):
    code = (
        "import sys; from ltbench.config.dataset import DatasetSpec;"
        "from ltbench.data.sources import load_raw_dataset;"
        "spec = DatasetSpec.model_validate_json(sys.argv[1]);"
        "print(load_raw_dataset(spec, sys.argv[2]).fingerprint)"
    )
    command = [sys.executable, "-c", code, make_spec().model_dump_json(), str(root)]
    running = [processes.start(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate()[0] for process in running}
    assert answers == {load_raw_dataset(make_spec(), root).fingerprint + "\n"}
    assert len(caches(cache)) == 1
