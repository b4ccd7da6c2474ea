"""Outputs are the same on any processor."""

import json
import math
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from ltbench.analysis.findings import Finding
from ltbench.analysis.verification import differences
from ltbench.core.label_shift import SHIFTS
from ltbench.report.context import Leaderboard
from ltbench.report.figure_cache import draw_figures, write_figures
from ltbench.report.formats import FORMATS
from ltbench.report.leaderboard import write_formats, write_leaderboard
from ltbench.report.page.document import write_page
from ltbench.report.readme import refresh_readme
from ltbench.runs.record import (
    Calibration,
    EvaluationResult,
    OpenSetTest,
    ShiftedTest,
    ShiftedTests,
)
from ltbench.runs.store import Loaded
from tests.support.made_records import evaluation_result

ROOT = Path(__file__).parents[2]
TOTALS = (50, 40, 30, 20, 10, 7)
COUNTS = (200, 150, 60, 30, 10, 5)
VARIANTS = [
    {"label": "Softmax", "method": "softmax"},
    {"label": "Balanced Softmax", "method": "balanced_softmax"},
    {"label": "LDAM-DRW", "method": "ldam_drw"},
    {"label": "cRT", "method": "crt", "init_from": "Softmax"},
    {"label": "Own", "method": "plugin"},
]
CLAIM = {"id": "gain", "claim": "c", "source": "s", "published": "p", "share": 0.55}
COMPARED = {"left": {"method": "*"}, "op": ">", "right": {"method": "softmax"}}


def calibration(rng, images):
    """Bins whose numbers print as ties."""
    counts = (images // 3, images - images // 3)
    numbers = [round(float(x), 2) + 0.0005 for x in rng.random(5)]
    return Calibration(counts=counts, confidence=numbers[:2], accuracy=numbers[2:4], ece=numbers[4])


def answered(rng):
    """Return a test of random predictions, with all optional fields."""
    hits = tuple(int(rng.integers(0, n + 1)) for n in TOTALS)
    bits = np.concatenate(
        [rng.permutation(np.arange(n) < h) for h, n in zip(hits, TOTALS, strict=True)]
    )
    return evaluation_result(
        hits,
        TOTALS,
        correct=EvaluationResult.pack(bits),
        calibration=calibration(rng, sum(TOTALS)),
        group_calibration={name: calibration(rng, 30) for name in ("many", "medium", "few")},
    )


def shifted(rng):
    return ShiftedTests(
        test_time="transductive",
        tests=tuple(
            ShiftedTest(
                hits=tuple(int(rng.integers(0, n + 1)) for n in TOTALS),
                totals=TOTALS,
                direction=shift.direction,
                ratio=shift.ratio,
                index_hash="e" * 64,
            )
            for shift in SHIFTS
        ),
    )


@pytest.fixture(scope="module")
def world(toy):
    """Five datasets, of which the last has one seed: every table has rows."""
    rng = np.random.default_rng(0)
    plans, records = [], {}
    for i in range(5):
        dataset = toy.dataset(name=f"toy{i}", open_set="texture")
        seeds = (0, 1, 2) if i < 4 else (0,)
        plan = toy.plan(VARIANTS, seeds=seeds, dataset=dataset, name=f"grid{i}")
        plans.append(plan)
        for key, job in plan.jobs.items():
            test = answered(rng)
            right = sorted((int(n) for n in rng.integers(0, sum(test.hits) + 1, 5)), reverse=True)
            made = toy.record(job, test.hits, totals=TOTALS, test=test, grid=plan.grid.name)
            cost = made.cost.model_copy(
                update={
                    "train_seconds": 3.6 * int(rng.integers(1, 99)) + 0.018,
                    "images_per_second": int(rng.integers(1, 999)) + 0.5,
                    "peak_memory_mb": int(rng.integers(1, 999)) + 0.5,
                }
            )
            open_set = OpenSetTest(
                dataset="texture",
                fingerprint="f" * 64,
                images=99,
                thresholds=(0.1, 0.3, 0.5, 0.7, 0.9),
                right=right,
                mistaken=(90, 70, 50, 30, 10),
            )
            again = shifted(rng) if job.method == "plugin" else None
            found = {"cost": cost, "open_set": open_set, "shifted": again}
            records[key] = made.model_copy(update=found)
    return plans, records


def moved(value, end):
    """Return a value whose floats are moved to the next one towards an end."""
    if isinstance(value, float):
        return math.nextafter(value, end)
    if isinstance(value, tuple):
        return tuple(moved(part, end) for part in value)
    if isinstance(value, dict):
        return {name: moved(part, end) for name, part in value.items()}
    if isinstance(value, BaseModel):
        parts = {name: moved(getattr(value, name), end) for name in type(value).model_fields}
        return value.model_copy(update=parts)
    return value


def files(toy, plans, records, folder, end=None):
    """Return the bytes of all outputs, for floats moved by one unit in the last place."""
    methods, claim = toy.methods, Finding(**CLAIM, compare=(COMPARED,))
    if end is not None:
        parts = ("test", "training", "cost", "shifted")
        records = {
            key: record.model_copy(update={p: moved(getattr(record, p), end) for p in parts})
            for key, record in records.items()
        }
        methods = {
            key: info.model_copy(
                update={"cost": replace(info.cost, megaflops=moved(info.cost.megaflops, end))}
            )
            for key, info in methods.items()
        }
        claim = moved(claim, end)
    loaded = Loaded(toy.stored(*records.values()))
    of = Leaderboard.of(plans, loaded, methods, [claim])
    write_leaderboard(of, folder / "README.md")
    write_formats(of, FORMATS, folder)
    drawn = draw_figures(of.boards[:1], methods, loaded.records)
    write_figures(of.boards[:1], drawn, folder / "figures")
    write_page(of, folder, drawn)
    (folder / "choice.md").write_text(
        "<!-- evidence:begin -->\n<!-- evidence:end -->\n"
        "<!-- leaderboard:begin -->\n<!-- leaderboard:end -->\n"
    )
    refresh_readme(folder / "choice.md", of)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def differing(ours, theirs):
    """Return which files differ: drawings in the numbers that they show, others in a byte."""
    assert ours.keys() == theirs.keys()
    return [name for name in ours if any(differences(Path(name), ours[name], theirs[name]))]


@pytest.fixture(scope="module")
def written(toy, world, tmp_path_factory):
    return files(toy, *world, tmp_path_factory.mktemp("written"))


def test_the_world_has_every_table(written):
    names = {table["name"] for table in json.loads(written["grid0.json"])["tables"]}
    assert names >= {
        *("main", "groups", "decoupling", "paired", "calibration", "shifts", "open set"),
        *("classes", "cost", "metrics"),
    }
    assert b"Mean ranks over 5 datasets" in written["README.md"]
    assert sum(name.startswith("figures/") for name in written) == 6


@pytest.mark.parametrize("end", [-math.inf, math.inf])
def test_outputs_do_not_depend_on_the_last_bit_of_floats(toy, world, written, tmp_path, end):
    assert differing(files(toy, *world, tmp_path, end), written) == []


X86 = platform.machine() in ("x86_64", "AMD64")
SIMD = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
PLAIN = {"NPY_DISABLE_CPU_FEATURES": " ".join(SIMD)} if SIMD else {}


def core_types():
    """Return the kinds of core whose kernels OpenBLAS can run here."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.exists() else []
    wanted = {"Nehalem": "sse4_2", "Haswell": "avx2", "Zen": "avx2", "SkylakeX": "avx512f"}
    wanted["SapphireRapids"] = "avx512_bf16"
    return [name for name, flag in wanted.items() if X86 and flag in flags]


def published(tmp_path, grids, **environment):
    """Return the files that a process of its own writes of the published records."""
    folder = tmp_path / "-".join((*environment.values(), "written")).replace(" ", "-")
    chosen = [word for grid in grids for word in ("--grid", grid)]
    subprocess.run(
        [
            *(sys.executable, "-m", "ltbench", "leaderboard", *chosen, "--published-only"),
            *("--to", str(folder), "--readme", str(copied(tmp_path))),
        ],
        cwd=ROOT,
        env={**os.environ, "LTBENCH_CACHE": str(folder / "cache"), **environment},
        check=True,
        capture_output=True,
    )
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "cache" not in path.parts
    }


def copied(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_bytes((ROOT / "README.md").read_bytes())
    return readme


def test_the_plainest_kernels_write_the_same_tables(tmp_path):
    """Both of OpenBLAS and of numpy; one grid of the published records."""
    grids = ("quickstart",)
    environment = {**PLAIN, "OPENBLAS_CORETYPE": "Nehalem"} if X86 else PLAIN
    ours, theirs = published(tmp_path, grids, **environment), published(tmp_path, grids)
    assert differing(ours, theirs) == []


@pytest.mark.slow
@pytest.mark.parametrize("core", core_types())
def test_every_kind_of_core_writes_the_published_tables(tmp_path, core):
    ours = published(tmp_path, (), OPENBLAS_CORETYPE=core)
    assert differing(ours, published(tmp_path, (), **PLAIN)) == []
