"""The leaderboard of the toy grid, byte for byte.

To accept changed tables: LTBENCH_UPDATE_GOLDEN=1 pytest tests/report/test_golden.py, then read the
difference of tests/golden/leaderboard/ as you would read a table in a paper.
"""

import os
from pathlib import Path

import pytest

from ltbench.analysis.findings import load_findings
from ltbench.report.context import Leaderboard
from ltbench.report.formats import FORMATS
from ltbench.report.leaderboard import write_formats, write_leaderboard
from ltbench.runs.store import BadRecord, Loaded

GOLDEN = Path(__file__).parent.parent / "golden" / "leaderboard"
FINDINGS = Path(__file__).parents[1] / "support" / "toy_findings.yaml"

VARIANTS = [
    {"label": "Softmax", "method": "softmax"},
    {"label": "Weighted Softmax", "method": "weighted_softmax"},
    {"label": "Balanced Softmax", "method": "balanced_softmax"},
    {"label": "LDAM", "method": "ldam_drw", "hparams": {"deferred": "none"}},
    {"label": "LDAM-DRW", "method": "ldam_drw"},
    {"label": "cRT", "method": "crt", "init_from": "Softmax"},
    {"label": "LWS", "method": "lws", "init_from": "Softmax", "recipe": "longer"},
    {"label": "NCM", "method": "ncm", "init_from": "Softmax"},
    {"label": "BS + cRT", "method": "crt", "init_from": "Balanced Softmax"},
    {"label": "=a|b & <i>x</i> _1_", "method": "plugin"},
]

HITS = {  # of 50 a class; by label, split and seed
    ("Softmax", "longtailed"): [(45, 43, 30, 20, 5, 1), (46, 42, 28, 22, 3, 0)],
    ("Softmax", "balanced"): [(40, 38, 36, 35, 34, 33), (39, 38, 37, 35, 33, 34)],
    ("Weighted Softmax", "longtailed"): [(41, 40, 30, 25, 12, 8)],
    ("Weighted Softmax", "balanced"): [(40, 38, 36, 35, 34, 33), (41, 38, 37, 35, 33, 34)],
    ("Balanced Softmax", "longtailed"): [(42, 41, 33, 28, 20, 15), (43, 40, 31, 27, 21, 14)],
    ("LDAM-DRW", "longtailed"): [(43, 40, 32, 28, 22, 14), (42, 41, 32, 26, 21, 14)],
    ("LDAM-DRW", "balanced"): [(42, 40, 38, 36, 36, 36), (41, 40, 39, 37, 35, 36)],
    ("cRT", "longtailed"): [(43, 41, 31, 26, 16, 10), (42, 42, 32, 25, 15, 9)],
    ("cRT", "balanced"): [(40, 38, 36, 35, 34, 33), (39, 38, 37, 35, 33, 34)],
    ("LWS", "longtailed"): [(43, 42, 31, 26, 18, 11), (43, 40, 33, 27, 17, 10)],
    ("BS + cRT", "longtailed"): [(42, 41, 32, 27, 19, 14), (43, 40, 31, 26, 20, 14)],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory, toy):
    old = toy.plan(VARIANTS[:5], versions={"ldam_drw": 7})
    plan = toy.plan(VARIANTS)
    ad_hoc = toy.plan(
        [{"label": "Softmax", "method": "softmax"}],
        recipe=toy.recipe(batch_size=64),
        overrides=("recipe.batch_size=64",),
    )
    labels = [variant["label"] for variant in VARIANTS]
    records, names = [], {}
    for (label, split), runs in HITS.items():
        for seed, hits in enumerate(runs):
            key = toy.key_of(plan, label, seed, split)
            names[key] = f"v{labels.index(label)}-{split}-s{seed}".ljust(16, "_")
            records.append(toy.record(plan.jobs[key], hits))
    stale = toy.key_of(old, "LDAM")
    records.append(toy.record(old.jobs[stale], (1, 1, 1, 1, 1, 1)))
    other = toy.key_of(ad_hoc, "Softmax")
    names[other] = "ad-hoc".ljust(16, "_")
    records.append(toy.record(ad_hoc.jobs[other], (50, 50, 50, 50, 50, 50)))
    bad = BadRecord(Path("/x/toy/broken.json"), "toy/broken.json", "run", "not JSON: <b>|</b>")
    failed = {toy.key_of(plan, "Weighted Softmax", 1)}
    folder = tmp_path_factory.mktemp("leaderboard")
    loaded = Loaded(toy.stored(*records), [bad])
    of = Leaderboard.of([plan], loaded, toy.methods, load_findings(FINDINGS), failed)
    write_leaderboard(of, folder / "README.md")
    write_formats(of, FORMATS, folder)
    texts = {}
    for path in folder.rglob("*.*"):
        text = path.read_text()
        for key, name in names.items():  # keys move with the configuration's models
            text = text.replace(key, name)
        texts[path.relative_to(folder).as_posix()] = text
    return texts


NAMES = ["README.md", "grids/toy_grid.md", *(f"toy_grid.{form}" for form in FORMATS)]


@pytest.mark.parametrize("name", NAMES)
def test_leaderboard_is_byte_for_byte(written, name):
    golden = GOLDEN / name
    if os.environ.get("LTBENCH_UPDATE_GOLDEN"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(written[name])
    assert written[name] == golden.read_text()


def test_no_other_files(written):
    golden = (path for path in GOLDEN.rglob("*") if path.is_file())
    assert sorted(written) == sorted(path.relative_to(GOLDEN).as_posix() for path in golden)
