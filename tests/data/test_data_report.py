import pytest

from ltbench.data.errors import DataError
from ltbench.data.report import check, describe, histogram, write_figure


def test_check_of_digits(digits):
    report = check(digits)
    assert report.counts[0] == 120
    assert report.twin_per_class == 40
    assert report.no_twin is None
    assert report.groups == ("many",) * 3 + ("medium",) * 4 + ("few",) * 3
    text = describe(report)
    for part in ("405 images, 6 to 120 a class", "40 a class", "3 many, 4 medium, 3 few"):
        assert part in text
    assert report.train_hash in text
    assert f"{report.fingerprint} (as pinned)" in text


def test_no_twin_is_said_with_its_reason(root, make_spec):
    report = check(make_spec(), root)
    assert report.twin_per_class is None
    assert "class 2 has 2 images, the split needs 4" in report.no_twin
    assert report.no_twin in describe(report)
    assert "(not pinned)" in describe(report)


def test_histogram_is_to_scale_and_printable(root, make_spec):
    for part in ("train", "test"):
        (root / "toy" / part / "b").rename(root / "toy" / part / "b\x1b[31m")
    rows = histogram(check(make_spec(), root)).splitlines()
    assert [row.count("█") for row in rows] == [40, 26, 13]
    assert "\x1b" not in "".join(rows)
    assert "b\\x1b[31m" in rows[1]


def test_figure(digits, tmp_path):
    pytest.importorskip("matplotlib")
    assert write_figure(check(digits), tmp_path / "digits.png")
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_missing_images(make_spec, tmp_path):
    with pytest.raises(DataError, match="no usable"):
        check(make_spec(), tmp_path)
