"""The keys of all jobs of the shipped grids, which must not change.

To accept changed keys: LTBENCH_UPDATE_GOLDEN=1 pytest tests/launch/test_keys.py, then drop the
records of the old keys.
"""

import hashlib
import os
from pathlib import Path

import pytest

from ltbench.config.files import available
from ltbench.data import image_cache, sources, split
from ltbench.launch.plan import Request, make_plan

GOLDEN = Path(__file__).parents[1] / "golden" / "keys.txt"


@pytest.fixture
def _no_images(monkeypatch):
    """Replace measurements of images by fixed values."""
    monkeypatch.setattr(
        sources,
        "measure_fingerprint",
        lambda spec, _root: hashlib.sha256(spec.id.encode()).hexdigest(),
    )
    monkeypatch.setattr(image_cache, "measure_bad_images", lambda *_: None)
    monkeypatch.setattr(split, "check_longtailed", lambda *_: None)
    monkeypatch.setattr(split, "present_groups", lambda *_: ("many", "medium", "few"))


def written(grid):
    """Return name, number of jobs, and hash of keys of a grid."""
    keys = sorted(make_plan(Request(grid))[0].jobs)
    return f"{grid} {len(keys)} {hashlib.sha256(' '.join(keys).encode()).hexdigest()}"


@pytest.mark.usefixtures("_no_images")
def test_the_keys_of_the_shipped_grids_do_not_change(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lines = [written(grid) for grid in sorted(available("grids"))]
    if os.environ.get("LTBENCH_UPDATE_GOLDEN"):
        GOLDEN.write_text("\n".join(lines) + "\n")
    assert lines == GOLDEN.read_text().splitlines()
