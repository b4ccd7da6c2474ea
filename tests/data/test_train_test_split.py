import shutil

import pytest
from typer.testing import CliRunner

from ltbench.cli import app
from ltbench.data.errors import DataError
from ltbench.data.image_list import list_files
from ltbench.data.train_test_split import (
    Photograph,
    Share,
    choose_test_images,
    read_photographs,
    write_split,
)
from tests.support.errors import raises
from tests.support.listed_images import picture

SIZES = {"cat": 10, "dog": 4, "owl": 2}


@pytest.fixture
def folder(tmp_path):
    return write_photographs(tmp_path / "pets")


def write_photographs(folder):
    for name, count in SIZES.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            path = folder / name / f"{i}, {name}.jpg"
            path.write_bytes(picture(path))
    return folder


def command(*words):
    return CliRunner().invoke(app, ["data", "split", *map(str, words)])


def counts(folder, name="split.csv"):
    """Return the training and test images of each class, as the list's reader counts them."""
    index = list_files(folder, {"train": name, "test": name}, len(SIZES))
    return {
        part: [sum(file.label == k for file in files) for k in range(len(SIZES))]
        for part, files in index.parts.items()
    }


def of_groups(**groups):
    """Return photographs: class -> sizes of its groups."""
    return [
        Photograph(f"{label}/{g}/{i}", label, f"{label} {g}")
        for label, sizes in groups.items()
        for g, size in enumerate(sizes)
        for i in range(size)
    ]


def chosen_sizes(entries, share, seed=0):
    chosen = choose_test_images(entries, share, seed)
    return {
        label: sum(path.startswith(f"{label}/") for path in chosen)
        for label in dict.fromkeys(entry.label for entry in entries)
    }


def test_a_folder_becomes_a_list_that_is_read(folder):
    (folder / "cat" / "notes.txt").write_text("no image")
    done = command(folder)
    assert done.exit_code == 0
    assert "cat/notes.txt" in done.output
    assert counts(folder) == {"train": [8, 3, 1], "test": [2, 1, 1]}


def test_damaged_photographs_are_named_before_a_list_is_written(folder):
    for name in ("cat/0, cat.jpg", "owl/1, owl.jpg"):
        (folder / name).write_bytes((folder / name).read_bytes()[:300])
    with raises(DataError, "bad-images", "2 of 16", "cat/0, cat.jpg", "owl/1, owl.jpg"):
        read_photographs(folder)
    assert command(folder).exit_code == 1
    assert not (folder / "split.csv").exists()


def test_copies_of_a_photograph_stay_together(folder):
    for i in range(4):
        shutil.copy(folder / "cat/0, cat.jpg", folder / f"cat/copy {i}.jpg")
        (folder / f"cat/link {i}.jpg").symlink_to("0, cat.jpg")
    photographs = read_photographs(folder)
    copies = {e.path for e in photographs.entries if e.path[4:8] in ("copy", "link", "0, c")}
    assert len(copies) == 9
    for seed in range(5):
        test = choose_test_images(photographs.entries, Share(0.4), seed)
        assert copies <= test or not copies & test


def test_every_class_has_a_number_of_test_images(folder):
    assert command(folder, "--test-per-class", 1).exit_code == 0
    assert counts(folder) == {"train": [9, 3, 1], "test": [1, 1, 1]}


def test_a_list_may_lie_above_its_photographs(folder):
    assert command(folder, "--out", folder.parent / "all.csv").exit_code == 0
    assert counts(folder.parent, "all.csv")["test"] == [2, 1, 1]
    (folder.parent / "other").mkdir()
    photographs = read_photographs(folder)
    with raises(DataError, "conflict"):
        write_split(photographs, set(), folder.parent / "other" / "list.csv")


def test_equal_seeds_give_equal_lists(folder, tmp_path):
    copy = write_photographs(tmp_path / "copy")
    for each in (folder, copy):
        assert command(each).exit_code == 0
    first = (folder / "split.csv").read_bytes()
    assert (copy / "split.csv").read_bytes() == first
    assert command(folder, "--seed", 1, "--out", folder / "one.csv").exit_code == 0
    assert (folder / "one.csv").read_bytes() != first


def test_a_choice_is_the_same_everywhere():
    entries = of_groups(cat=[1] * 6, owl=[1] * 3)
    assert choose_test_images(entries, Share(0.34), 0) == {"cat/4/0", "cat/5/0", "owl/2/0"}


def test_another_list_is_never_overwritten(folder):
    for _ in range(2):
        assert command(folder).exit_code == 0
    (folder.parent / "link").symlink_to("pets")
    assert command(folder.parent / "link").exit_code == 0
    before = (folder / "split.csv").read_bytes()
    done = command(folder, "--seed", 1)
    assert (done.exit_code, (folder / "split.csv").read_bytes()) == (1, before)
    for out in (folder / "split.csv", folder):
        with raises(DataError, "conflict", "split.csv"):
            write_split(read_photographs(folder), set(), out)


def test_all_classes_that_are_too_small_are_named():
    entries = of_groups(cat=[1] * 5, dog=[1] * 2, owl=[1])
    with raises(DataError, "split", "class dog", "2 of 2", "class owl", "2 of 1") as caught:
        choose_test_images(entries, Share(per_class=2), 0)
    assert "cat" not in str(caught.value)
    with raises(DataError, "split", "class owl", "1 of 1"):
        choose_test_images(entries, Share(0.5), 0)
    with raises(DataError, "split", "class cat"):
        choose_test_images(of_groups(cat=[1] * 5), Share(), 0)


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_a_fraction_leaves_an_image_on_both_sides(fraction):
    sizes = chosen_sizes(of_groups(cat=[1] * 50, owl=[1] * 2), Share(fraction))
    assert sizes == {"cat": 1 if fraction < 0.5 else 49, "owl": 1}


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_not_parted(seed):
    entries = of_groups(cat=[3, 2, 4, 3, 3], owl=[5, 6])
    chosen = choose_test_images(entries, Share(0.2), seed)
    for group in {entry.group for entry in entries}:
        inside = [entry.path in chosen for entry in entries if entry.group == group]
        assert all(inside) or not any(inside)
    sizes = chosen_sizes(entries, Share(0.2), seed)
    assert sizes["cat"] in (2, 3, 4)
    assert sizes["owl"] in (5, 6)


def test_a_class_of_one_group_is_named():
    with raises(DataError, "split", "class owl") as caught:
        choose_test_images(of_groups(cat=[1] * 5, owl=[4]), Share(), 0)
    assert "class cat" not in str(caught.value)


def test_a_list_has_groups_and_keeps_its_names(folder):
    lines = [
        f'"{name}/{i}, {name}.jpg",{name},{name}{i // 2}'
        for name, count in SIZES.items()
        for i in range(count)
        if name != "owl"
    ]
    (folder / "raw.csv").write_text("\n".join(["path,label,group", *lines]))
    photographs = read_photographs(folder / "raw.csv")
    test = choose_test_images(photographs.entries, Share(0.4), 0)
    write_split(photographs, test, folder / "split.csv")
    index = list_files(folder, {"train": "split.csv", "test": "split.csv"}, 2)
    assert index.classes == ("cat", "dog")
    assert (len(index.parts["train"]), len(index.parts["test"])) == (8, 6)


def test_all_problems_of_a_list_are_named(folder):
    lines = [
        "path,label,group",
        '"cat/0, cat.jpg",cat,a',
        '"cat/0, cat.jpg",cat,a',
        "cat/none.jpg,cat,a",
        '"cat/1, cat.jpg",cat,',
    ]
    (folder / "raw.csv").write_text("\n".join(lines))
    with raises(DataError, "bad-layout", "raw.csv:3", "raw.csv:4", "raw.csv:5"):
        read_photographs(folder / "raw.csv")
    (folder / "raw.csv").write_text('path,label,split\n"cat/0, cat.jpg",cat,test\n')
    with raises(DataError, "bad-layout", "split"):
        read_photographs(folder / "raw.csv")
    (folder / "raw.csv").write_text("\n")
    with raises(DataError, "bad-layout", "raw.csv"):
        read_photographs(folder / "raw.csv")


def test_nested_classes_and_images_beside_them_are_named(folder):
    shutil.copytree(folder, folder / "more")
    shutil.copy(folder / "cat/0, cat.jpg", folder / "beside.jpg")
    with raises(DataError, "bad-layout", "more/cat", "more/dog", "more/owl", "beside.jpg"):
        read_photographs(folder)


def test_names_of_classes_may_have_anything_but_space_around_them(folder):
    for old, new in (("cat", 'große, "Katze"'), ("dog", "日本; #1"), ("owl", "EULE.JPG")):
        shutil.move(folder / old, folder / new)
    assert command(folder).exit_code == 0
    assert counts(folder)["test"] == [1, 2, 1]
    shutil.move(folder / "EULE.JPG", folder / "owl ")
    with raises(DataError, "bad-layout", "owl "):
        write_split(read_photographs(folder), set(), folder / "other.csv")


@pytest.mark.parametrize(("names", "good"), [("123", False), ("012", True), (("0", "1", "b"), 0)])
def test_class_names_that_are_numbers_are_indices(folder, names, good):
    for old, new in zip(SIZES, names, strict=True):
        shutil.move(folder / old, folder / new)
    done = command(folder)
    assert (done.exit_code == 0) == good
    assert (folder / "split.csv").exists() == good


def test_options_that_exclude_each_other_and_missing_folders_are_errors(folder, tmp_path):
    both = command(folder, "--test-per-class", 1, "--test-fraction", 0.2)
    nowhere = command(tmp_path / "nowhere")
    bounds = [command(folder, "--test-fraction", bound) for bound in (0, 1, 1.5, "nan")]
    codes = [[each.code for each in done.exception.problems] for done in (both, nowhere, *bounds)]
    assert codes == [["no-effect"], ["missing-file"], *[["out-of-range"]] * 4]
    assert not (folder / "split.csv").exists()
