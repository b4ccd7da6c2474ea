import pytest

from ltbench.data.describe import (
    check,
    describe,
    effective_classes,
    gini,
    histogram,
    write_figure,
)
from ltbench.data.errors import DataError
from tests.support.errors import raises


def test_check_of_digits(digits):
    report = check(digits)
    assert report.counts[0] == 120
    assert report.balanced_per_class == 40
    assert report.no_balanced_counterpart is None
    assert report.groups == ("many",) * 3 + ("medium",) * 4 + ("few",) * 3
    assert report.gini == gini(report.counts)
    assert report.effective_classes == effective_classes(report.counts)
    text = describe(report)
    for part in ("405 images, 6 to 120 a class", "40 a class", "3 many, 4 medium, 3 few"):
        assert part in text
    assert report.train_hash in text
    assert f"{report.fingerprint} (as pinned)" in text


@pytest.mark.parametrize(
    ("counts", "coefficient", "effective"),
    [
        ([7], 0, 1),
        ([5] * 10, 0, 10),
        ([3] * 8142, 0, 8142),
        ([0, 0, 9, 0], 3 / 4, 1),
        ([9, 9, 0, 0], 1 / 2, 2),
        ([1, 3], 1 / 4, 4 / 3**0.75),  # (1/4)^(-1/4) (3/4)^(-3/4)
        ([4, 1, 2, 1], 5 / 16, 2 * 2**0.75),  # entropy (1/2 + 2/4 + 3/8 + 3/8) ln 2
        ([500, 50, 5], 22 / 37, 1.42374131),
    ],
)
def test_imbalance_of_class_sizes(counts, coefficient, effective):
    assert gini(counts) == pytest.approx(coefficient, rel=1e-15)
    assert effective_classes(counts) == pytest.approx(effective, rel=1e-8)
    assert (gini(counts[::-1]), effective_classes(counts[::-1])) == (
        gini(counts),
        effective_classes(counts),
    )


def test_imbalance_of_equal_classes_is_exact():
    for classes in (1, 2, 3, 10, 365, 1000):
        assert gini([17] * classes) == 0
        assert effective_classes([17] * classes) == classes


def test_gini_is_half_the_relative_mean_difference():
    counts = [120, 71, 3, 3, 1]
    differences = sum(abs(a - b) for a in counts for b in counts)
    assert gini(counts) == differences / (2 * len(counts) * sum(counts))


def test_a_missing_balanced_split_has_a_reason(root, make_spec):
    spec = make_spec(imbalance_type="exponential", imbalance_ratio=6, max_per_class=6)
    report = check(spec, root)
    assert report.balanced_per_class is None
    assert "class c has 2 images" in report.no_balanced_counterpart
    assert report.no_balanced_counterpart in describe(report)
    assert "(not pinned)" in describe(report)


@pytest.mark.parametrize("sizes", ["equal", "unequal"])
def test_natural_imbalance_has_no_balanced_split(sizes, root, make_spec):
    if sizes == "equal":
        for path in (*root.glob("toy/train/a/[2-5].png"), *root.glob("toy/train/b/[23].png")):
            path.unlink()
    report = check(make_spec(), root)
    assert (report.balanced_per_class, report.balanced_hash) == (None, None)
    (line,) = (line for line in describe(report).splitlines() if line.startswith("balanced split"))
    assert "natural" in line
    assert "class" not in line


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
    with raises(DataError, "missing-data", tmp_path):
        check(make_spec(), tmp_path)
