import re
from unicodedata import normalize

import numpy as np
import pytest
from pydantic import ValidationError

from ltbench.config.load import load_recipe
from ltbench.config.recipe import Recipe
from ltbench.data.cache_building import build_cache
from ltbench.data.errors import DataError
from ltbench.data.image_cache import open_images
from ltbench.data.image_list import list_files, list_unsplit
from ltbench.data.sources import load_raw_dataset, measure_fingerprint
from ltbench.data.split import make_split
from tests.support.errors import raises
from tests.support.listed_images import resized_recipe
from tests.support.own_images import COUNTS, NAMES, SPEC, rows, write_own

BOTH = {"train": "own.csv", "test": "own.csv"}


@pytest.fixture
def folder(tmp_path, cache):
    write_own(tmp_path / "root" / "own", rows(("train", "test", "val")))
    return tmp_path / "root" / "own"


@pytest.fixture
def spec(make_spec):
    return make_spec(**SPEC)


def rejected(folder, names=BOTH, classes=3):
    """Return the error of each line, and the whole message."""
    with raises(DataError, "bad-layout") as caught:
        list_files(folder, names, classes)
    text = str(caught.value)
    return dict(re.findall(r"^  (\w+\.csv:\d+): (.*)$", text, re.MULTILINE)), text


def test_a_list_is_a_dataset_of_files(folder, spec):
    raw = load_raw_dataset(spec, folder.parent)
    assert raw.class_names == NAMES
    for part, images, labels in (
        ("train", raw.train_images, raw.train_labels),
        ("test", raw.test_images, raw.test_labels),
    ):
        assert np.bincount(labels).tolist() == list(COUNTS[part])
        assert images.paths == tuple(line.split(",")[0] for line in rows((part,)))
        assert images.root == folder
    assert raw.val_images is None
    assert make_split(spec, raw, "longtailed").counts == COUNTS["train"]
    assert measure_fingerprint(spec, folder.parent) == raw.fingerprint


def test_validation_images_are_optional(folder, make_spec):
    spec = make_spec(**SPEC, val_list="own.csv")
    raw = load_raw_dataset(spec, folder.parent)
    assert raw.val_labels.tolist() == [0, 1, 2]
    assert spec.auxiliary_or_default.id == "official_val"
    split = make_split(
        spec.model_copy(update={"auxiliary": spec.auxiliary_or_default}), raw, "longtailed"
    )
    assert split.auxiliary.counts(3) == (1, 1, 1)


def test_images_of_one_size_are_kept_in_memory(tmp_path, cache, make_spec):
    write_own(tmp_path / "own", rows(), side=8)
    small = load_raw_dataset(make_spec(**SPEC | {"sizes": "equal"}), tmp_path)
    assert small.train_images.pixels.shape == (12, 3, 8, 8)
    files = load_raw_dataset(make_spec(**SPEC), tmp_path)
    assert files.fingerprint == small.fingerprint
    assert files.train_labels.tolist() == small.train_labels.tolist()


def test_folders_may_hold_images_of_any_size(folder, make_spec):
    for name in NAMES:
        for part in ("train", "test"):
            class_folder = folder / part / name
            class_folder.mkdir(parents=True)
            for path in (folder / "images" / name).glob(f"{part} *"):
                path.rename(class_folder / path.name)
    spec = make_spec(name="own", sizes="any")
    raw = load_raw_dataset(spec, folder.parent)
    assert raw.train_images.paths[0] == "train/ant/train 0.jpg"
    assert np.bincount(raw.train_labels).tolist() == list(COUNTS["train"])
    with raises(DataError, "bad-images", "train/ant/train 0.jpg: ", "not 8x8"):
        load_raw_dataset(make_spec(name="own"), folder.parent)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: ["path,label,split", *lines],
        lambda lines: (
            ["Label,id,Split,Path"]
            + [
                ",".join((line.split(",")[1], "7", line.split(",")[2], line.split(",")[0]))
                for line in lines
            ]
        ),
        lambda lines: [line.replace(",", "\t") for line in lines],
        lambda lines: ["", *(line.replace(",", ", ") for line in lines), "  "],
        lambda lines: ['"' + line.replace(",", '","') + '"' for line in lines],
        lambda lines: [line.replace(",", ";") for line in lines],
        lambda lines: [
            "path;label;split;note",
            *(f"{line.replace(',', ';')};a,b,c" for line in lines),
        ],
        lambda lines: ["# photos, of 2024", "", *lines],
        lambda lines: ["# photos", "path,label,split", *lines],
        lambda lines: ["path,label,split,note", *(f'{line},"two\nlines"' for line in lines)],
        lambda lines: ["path,label,split,note", *(f"{line},two\u2028lines" for line in lines)],
        lambda lines: ["path,label,split", *lines, ",,", ",,"],
        lambda lines: [",path,label,split", *(f"{i},{line}" for i, line in enumerate(lines))],
    ],
    ids=[
        "header",
        "columns",
        "tabs",
        "spaces",
        "quotes",
        "semicolons",
        "semicolons-in-header",
        "comment",
        "comment-and-header",
        "line-ends",
        "line-separators",
        "empty-cells",
        "index-column",
    ],
)
def test_list_formats_are_equivalent(folder, change):
    plain = list_files(folder, BOTH, 3)
    lines = change(rows())
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        for end in ("\n", "\r\n"):
            data = "\n".join(lines).replace("\n", end).encode(encoding)
            (folder / "own.csv").write_bytes(data)
            assert list_files(folder, BOTH, 3) == plain


def test_paths_may_be_absolute_if_they_are_inside_the_folder(folder):
    plain = list_files(folder, BOTH, 3)
    link = folder.parent / "link"
    link.symlink_to(folder)
    for start in (folder, link):
        (folder / "own.csv").write_text("\n".join(f"{start}/{line}" for line in rows()))
        assert list_files(folder, BOTH, 3) == plain


def test_a_file_is_listed_once_however_its_path_is_written(folder):
    (folder / "alike").symlink_to(folder / "images")
    first, *others = rows()
    again = [
        first.replace("images/", start) for start in ("./images/", "alike/", f"{folder}/alike/")
    ]
    (folder / "own.csv").write_text("\n".join([first, *others, *again]))
    lines, _ = rejected(folder)
    number = len(others) + 2
    assert list(lines) == [f"own.csv:{number + i}" for i in range(3)]
    assert all("already listed in own.csv:1" in problem for problem in lines.values())


def test_labels_are_all_names_or_all_class_indices(folder):
    def labeled(ant, bee, cow):
        named = zip(NAMES, (ant, bee, cow), strict=True)
        text = "\n".join(rows())
        for name, label in named:
            text = text.replace(f",{name},", f",{label},")
        (folder / "own.csv").write_text(text)
        return rejected(folder)[0]

    cows = {f"own.csv:{n}" for n, line in enumerate(rows(), 1) if ",cow," in line}
    for label in ("x", "\N{SUPERSCRIPT TWO}", "nan"):
        assert labeled(0, 1, label).keys() == cows
    assert labeled("ant", "bee", 2).keys() == cows
    for label in ("-1", "2.0", "+2", "2.5", "2."):
        wrong = labeled(0, 1, label)
        assert wrong.keys() == cows
        assert all(f"label {label} is no class index" in text for text in wrong.values())


def test_labels_that_look_alike_are_one_class(folder):
    lines = [line.replace(",ant,", ",caf\u00e9,") for line in rows()]
    lines[0] = lines[0].replace("\u00e9", "e\u0301")
    (folder / "own.csv").write_text("\n".join(lines), encoding="utf-8")
    assert list_files(folder, BOTH, 3).classes == ("bee", "caf\u00e9", "cow")
    lines[0] = lines[0].replace("cafe", "Cafe")
    (folder / "own.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "configuration 3: Caf\u00e9, bee, caf\u00e9, cow" in rejected(folder)[1]


def test_odd_cells_are_located(folder):
    lines = ["path,label,split", *rows()]
    lines[1] = f"images/{'a' * 300}.jpg,ant,train"
    lines[2] = lines[2].replace("/", "\\")
    lines[3] = '"images"x,ant,train'
    lines[-1] = f'"{lines[-1]}'
    (folder / "own.csv").write_text("\n".join(lines))
    found, _ = rejected(folder)
    assert found.keys() == {f"own.csv:{number}" for number in (2, 3, 4, len(lines))}
    assert "separated by /" in found["own.csv:3"]
    (folder / "own.csv").write_text("path,label,path,split\n")
    assert "path" in rejected(folder)[0]["own.csv:1"]


def test_columns_that_are_nearly_split_or_group_are_errors(folder):
    for header, column in (
        ("path,label,split,gruop", "gruop"),
        ("path,label,Splits,x", "splits"),
        ("path,label,split,groups", "groups"),
    ):
        (folder / "own.csv").write_text("\n".join([header, *(f"{row},a" for row in rows())]))
        with raises(DataError, "bad-layout", f'own.csv:1: column "{column}"'):
            list_files(folder, BOTH, 3)
    (folder / "own.csv").write_text(
        "\n".join(["path,label,split,group_id", *(f"{row},a" for row in rows())])
    )
    assert list_files(folder, BOTH, 3).classes == NAMES


def test_separate_lists_need_no_split_column(folder):
    plain = list_files(folder, BOTH, 3)
    for part in BOTH:
        lines = (line.split(",") for line in rows((part,)))
        text = "".join(f"{path} {NAMES.index(name)}\n" for path, name, _ in lines)
        (folder / f"{part}.txt").write_text(text)
    found = list_files(folder, {part: f"{part}.txt" for part in BOTH}, 3)
    assert found.parts == plain.parts
    assert found.classes == ("0", "1", "2")
    _, text = rejected(folder, {"train": "train.txt", "test": "train.txt"})
    assert "train.txt needs a column" in text


def test_all_problems_are_reported_with_their_lines(folder):
    lines = rows()
    lines[0] = lines[0].replace("train", "tain")
    lines[1] = lines[1].replace(",train", ",tran")
    lines[2] += ",more"
    lines[3] = "/etc/passwd,ant,train"
    lines[4] = "images/../../x.jpg,ant,train"
    lines[5] = ",ant,train"
    lines[7] = lines[6]
    lines[10:12] = []
    (folder / "own.csv").write_text("\n".join(lines))
    lines, text = rejected(folder)
    for number, facts in {
        1: ['"tain"'],
        2: ['"tran"', 'did you mean "train"?'],
        3: ["4 columns, expected 3"],
        4: ["/etc/passwd is outside"],
        5: ["images/../../x.jpg is outside"],
        6: ["no path"],
        8: ["images/bee/train 0.jpg is already listed", "own.csv:7"],
    }.items():
        assert all(fact in lines[f"own.csv:{number}"] for fact in facts)
    assert "class cow has no" in text


def test_a_label_of_many_digits_is_no_class_index(folder):
    lines = [re.sub(",(ant|bee|cow)", lambda m: f",{NAMES.index(m[1])}", row) for row in rows()]
    lines[0] = lines[0].replace(",0", f",{'9' * 5000}")
    (folder / "own.csv").write_text("\n".join(lines))
    problems, _ = rejected(folder)
    assert [*problems] == ["own.csv:1"]


def test_invalid_lines(folder):
    lines = ["file,kind,part", *rows()]
    lines[1] = "a" * 140_000 + ",ant,train"
    lines[2] = "images/a\0/b.jpg,ant,train"
    (folder / "own.csv").write_text("\n".join(lines))
    lines, _ = rejected(folder)
    assert '"part"' in lines["own.csv:1"]
    assert "header" in lines["own.csv:1"]
    assert "field limit" in lines["own.csv:2"]
    assert "no path" in lines["own.csv:3"]
    (folder / "own.csv").write_text("\n".join(["file,kind", "images/ant/train 0.jpg,ant"]))
    _, text = rejected(folder, {"train": "own.csv", "test": "other.csv"})
    assert "file file is missing" in text
    assert "header" in text


def test_folders_in_a_list_are_no_missing_files(folder):
    (folder / "own.csv").write_text("\n".join([*rows(), "images/cow,cow,train"]))
    lines, _ = rejected(folder)
    assert "folder" in lines[f"own.csv:{len(rows()) + 1}"]


def test_an_image_is_no_list(folder):
    with raises(DataError, "bad-layout", "train 0.jpg is an image"):
        list_unsplit(folder / "images/ant/train 0.jpg")


def test_all_missing_files_are_named(folder):
    (folder / "images/cow/test 0.jpg").unlink()
    (folder / "images/bee/train 2.jpg").unlink()
    lines, _ = rejected(folder)
    assert "images/bee/train 2.jpg" in lines["own.csv:9"]
    assert "images/cow/test 0.jpg" in lines["own.csv:18"]
    assert len(lines) == 2


def test_links_to_outside_of_the_folder_are_rejected(folder):
    path = folder / "images/ant/train 0.jpg"
    path.rename(folder.parent / "elsewhere.jpg")
    path.symlink_to(folder.parent / "elsewhere.jpg")
    lines, _ = rejected(folder)
    assert f"images/ant/train 0.jpg links to {folder.parent}/elsewhere.jpg" in lines["own.csv:1"]


@pytest.mark.parametrize("start", ["./images", "images/../images", "images/"])
def test_a_path_with_dots_is_the_same_file(start, folder):
    again = f"{start}/ant/train 0.jpg"
    (folder / "own.csv").write_text("\n".join([*rows(), f"{again},ant,test"]))
    assert "already listed in own.csv:1" in rejected(folder)[0]["own.csv:19"]


@pytest.mark.parametrize("link", ["hardlink_to", "symlink_to"])
def test_a_file_in_two_parts_is_refused(link, folder):
    path = folder / "images/ant/test 0.jpg"
    path.unlink()
    getattr(path, link)(folder / "images/ant/train 0.jpg")
    _, text = rejected(folder)
    assert "1 files" in text
    assert "images/ant/test 0.jpg is images/ant/train 0.jpg" in text


@pytest.mark.parametrize(("disk", "listed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_alike_in_every_unicode_form(disk, listed, folder, spec):
    path = folder / "images/ant/train 0.jpg"
    path.rename(folder / f"images/ant/{normalize(disk, 'é')}.jpg")
    lines = [line.replace("ant/train 0", f"ant/{normalize(listed, 'é')}") for line in rows()]
    for i, form in ((10, "NFC"), (11, "NFD"), (17, "NFD")):
        lines[i] = lines[i].replace(",cow,", f",{normalize(form, 'ü')},")
    (folder / "own.csv").write_text("\n".join(lines))
    raw = load_raw_dataset(spec, folder.parent)
    assert raw.class_names == ("ant", "bee", "ü")
    assert np.bincount(raw.train_labels).tolist() == list(COUNTS["train"])
    assert len(raw.train_images.read([0])) == 1


def test_numeric_labels_are_class_indices(folder):
    lines = [
        line.replace("cow,", "3,").replace("ant,", "0,").replace("bee,", "1,") for line in rows()
    ]
    (folder / "own.csv").write_text("\n".join(lines))
    lines, text = rejected(folder)
    assert "3 is not below 3" in lines["own.csv:11"]
    assert "class 2 has no" in text


def test_lists_must_have_the_configured_number_of_classes(folder):
    (folder / "own.csv").write_text("\n".join(rows()))
    _, text = rejected(folder, classes=4)
    assert "3 classes, the configuration 4" in text


def test_missing_and_empty_lists(folder):
    _, text = rejected(folder, {"train": "no.csv", "test": "own.csv"})
    assert text.splitlines()[1:] == ["  no.csv is missing"]
    (folder / "own.csv").write_text("\n".join(rows(("train",))))
    assert "own.csv has no test" in rejected(folder)[1]
    assert "class cow" not in rejected(folder, {"train": "no.csv", "test": "own.csv"})[1]
    (folder / "own.csv").write_bytes(b"a.jpg,ant,train\nb.jpg,caf\xe9,train\n")
    assert "UTF-8" in rejected(folder)[0]["own.csv:2"]
    (folder / "own.csv").write_bytes(b"")
    assert "needs a column" not in rejected(folder)[1]


def test_other_bytes_or_labels_change_the_fingerprint(folder, spec):
    before = load_raw_dataset(spec, folder.parent).fingerprint
    assert load_raw_dataset(spec, folder.parent).fingerprint == before
    path = folder / "images/ant/train 0.jpg"
    path.write_bytes(path.read_bytes() + b" ")
    changed = load_raw_dataset(spec, folder.parent).fingerprint
    text = (folder / "own.csv").read_text()
    (folder / "own.csv").write_text(text.replace("train 1.jpg,ant", "train 1.jpg,bee", 1))
    assert len({before, changed, load_raw_dataset(spec, folder.parent).fingerprint}) == 3


def test_bad_images_are_excluded_from_the_split(folder, spec):
    (folder / "images/ant/train 3.jpg").write_bytes(b"no image")
    raw = load_raw_dataset(spec, folder.parent)
    bad = build_cache(spec, raw, 12, on_bad="skip").bad_images
    recipe = Recipe(**load_recipe("digits").model_dump() | resized_recipe(resize_shorter_side=12))
    rest = open_images(spec.model_copy(update={"bad_images": bad}), raw, recipe)
    assert bad.train == 1
    split = make_split(spec, rest, "longtailed")
    assert split.counts == (5, 4, 2)
    assert 3 not in split.train
    read = rest.train_images[split.train].read(range(len(split.train)))
    assert all(min(image.shape[:2]) == 12 for image in read)
    imposed = spec.model_copy(
        update={"imbalance_type": "step", "imbalance_ratio": 2.0, "max_per_class": 4}
    )
    assert make_split(imposed, rest, "longtailed").counts == (4, 2, 2)


def test_a_missing_folder_is_one_clear_error(tmp_path, spec):
    with raises(DataError, "missing-data", tmp_path / "own", "own.csv"):
        load_raw_dataset(spec, tmp_path)


def test_list_fields_need_their_source(make_spec):
    for wrong in (
        {"source": "image_list"},
        {"train_list": "a.csv"},
        {"test_list": "a.csv"},
        {"source": "digits", "sizes": "any"},
    ):
        with pytest.raises(ValidationError, match=r"needs (the source|train_list)"):
            make_spec(**wrong)
