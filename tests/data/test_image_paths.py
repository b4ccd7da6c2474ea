"""Which files `ltbench predict` reads: named ones, those of folders, those of lists."""

from pathlib import Path

import pytest

from ltbench.data.image_paths import find_images
from tests.support.errors import where


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.PNG",
        "a b.jpg",
        "sub/cat/1.webp",
        "sub/notes.txt",
        ".hidden.jpg",
        ".git/x.jpg",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "photos/sub/loop").symlink_to("..")
    return tmp_path


def found(*paths):
    images = find_images(map(Path, paths))
    assert not images.problems
    return [str(path) for path in images.files]


def test_folders_are_searched_in_the_order_of_names(folder):
    photos = ["photos/a b.jpg", "photos/b.PNG", "photos/sub/cat/1.webp"]
    assert found("photos") == photos
    assert [str(path) for path in find_images([Path("photos")]).others] == ["photos/sub/notes.txt"]
    assert found("photos/b.PNG", "photos") == ["photos/b.PNG", *photos]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("path\na b.jpg\nb.PNG\n", ["a b.jpg", "b.PNG"]),
        ("a b.jpg\n\nmissing too.jpg\n", ["a b.jpg", "missing too.jpg"]),
        ("a b.jpg 0\nb.PNG 12\n", ["a b.jpg", "b.PNG"]),
        ("b.PNG,cat\nsub/cat/1.webp,owl\n", ["b.PNG", "sub/cat/1.webp"]),
        ("\ufefflabel\tPath\ncat\ta b.jpg\n", ["a b.jpg"]),
        ('path,label\n"x, y.jpg",cat\n', ["x, y.jpg"]),
    ],
)
def test_a_list_has_a_column_of_paths_relative_to_its_folder(folder, text, paths):
    (folder / "photos/list.csv").write_text(text)
    assert found("photos/list.csv") == [f"photos/{path}" for path in paths]


def test_all_problems_are_found_together(folder):
    (folder / "empty").mkdir()
    (folder / "no_text.csv").write_bytes(b"\xff\xfe\0")
    (folder / "header.tsv").write_text("path\tlabel\n")
    (folder / "lines.csv").write_text("path,label\nphotos/b.PNG,cat\n,cat\na\0.jpg,owl\n")
    names = ("gone.jpg", "empty", "no_text.csv", "header.tsv", "lines.csv")
    problems = find_images(map(Path, names)).problems
    assert [(where(problem), problem.code) for problem in problems] == [
        ("gone.jpg", "missing-file"),
        ("empty", "bad-layout"),
        ("no_text.csv", "unreadable"),
        ("header.tsv", "bad-layout"),
        ("lines.csv:3", "malformed"),
        ("lines.csv:4", "malformed"),
    ]
