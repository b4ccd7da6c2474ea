import pickle
import sys
import textwrap
from dataclasses import replace

from ltbench.report.context import Leaderboard
from ltbench.report.formats import FORMATS
from ltbench.report.leaderboard import write_formats, write_leaderboard
from ltbench.runs.store import Loaded, RecordStore, record_path, write_record
from tests.support import processes

SOFTMAX = {"label": "Softmax", "method": "softmax"}
VARIANTS = [
    SOFTMAX,
    *({"label": f"M{i}", "method": "mine", "hparams": {"i": i}} for i in range(24)),
]


def written(plans, loaded, toy, folder):
    """Return the leaderboard of plans, then the files of their grids."""
    of = Leaderboard.of(plans, loaded, toy.methods)
    return [path.read_text() for path in write_leaderboard(of, folder / "README.md")]


def test_order_of_records_and_path_of_the_store_do_not_matter(toy, tmp_path):
    plan = toy.plan([SOFTMAX, {"label": "cRT", "method": "crt", "init_from": "Softmax"}])
    records = [toy.record(job, (40, 40, 30, 20, 5, 1)) for job in plan.jobs.values()]
    texts = []
    for name, order in (("one", records), ("another", records[::-1])):
        for record in order:
            write_record(record, record_path(tmp_path / name / "records", record.job))
        loaded = RecordStore(tmp_path / name / "records").load()
        of, folder = Leaderboard.of([plan], loaded, toy.methods), tmp_path / name / "results"
        paths = [*write_leaderboard(of, folder / "README.md"), *write_formats(of, FORMATS, folder)]
        endings = ["md", "md", *FORMATS]
        assert [path.suffix for path in paths] == [f".{ending}" for ending in endings]
        texts.append([path.read_bytes() for path in paths])
    assert texts[0] == texts[1]
    assert str(tmp_path).encode() not in b"".join(texts[0])


def test_no_records_and_no_plans_still_make_an_index(toy, tmp_path):
    (index,) = written([], Loaded(), toy, tmp_path)
    assert index.startswith("# Leaderboard")
    index, grid = written([toy.plan([SOFTMAX])], Loaded(), toy, tmp_path)
    assert "[A toy grid](grids/toy_grid.md): 0 of 4 jobs are done." in index
    assert grid.startswith("# A toy grid")
    assert "0 of 4 jobs are done." in grid
    assert (tmp_path / "grids/toy_grid.md").read_text() == grid


def test_a_bad_record_is_listed_and_in_no_table(toy, tmp_path):
    plan = toy.plan([SOFTMAX], seeds=(0,), splits=("longtailed",))
    [job] = plan.jobs.values()
    path = record_path(tmp_path / "records", job)
    write_record(toy.record(job, (40, 40, 30, 20, 5, 1)), path)
    path.write_text(path.read_text().replace('"hits": [40', '"hits": [39'))
    loaded = RecordStore(runs=tmp_path / "records").load()
    index, grid = written([plan], loaded, toy, tmp_path)
    assert "disagree with hits" in index
    assert path.name in index
    assert "| missing" in grid
    assert path.name not in grid


def test_a_thousand_records_without_torch(toy, tmp_path):
    """What `ltbench leaderboard` does, in a fresh process; `pytest -s` shows how long it takes."""
    plan = toy.plan(VARIANTS, seeds=range(20), dataset=toy.dataset(classes=100, name="hundred"))
    assert len(plan.jobs) == 1000
    counts = tuple(500 - 4 * k for k in range(100))
    for i, job in enumerate(plan.jobs.values()):
        hits = tuple(30 + (i + k) % 50 for k in range(100))
        record = toy.record(job, hits, counts=counts, totals=(100,) * 100)
        path = record_path(tmp_path / "records", job)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.model_dump_json())
    (tmp_path / "plan.pickle").write_bytes(pickle.dumps(plan))
    code = f"""
        import sys, time
        start = time.perf_counter()
        from pathlib import Path
        from ltbench.report.context import Leaderboard
        from ltbench.report.leaderboard import write_leaderboard
        from ltbench.runs.store import RecordStore
        imported = time.perf_counter()
        folder = Path({str(tmp_path)!r})
        loaded = RecordStore(folder / "records").load()
        read = time.perf_counter()
        assert len(loaded.records) == 1000 and not loaded.bad, loaded.bad[:3]
        import pickle
        plan = pickle.loads((folder / "plan.pickle").read_bytes())
        unpickled = time.perf_counter()
        write_leaderboard(Leaderboard.of([plan], loaded, {{}}), folder / "README.md")
        written = time.perf_counter()
        slow = {{"torch", "scipy", "pytorch_lightning", "matplotlib"}} & sys.modules.keys()
        assert not slow, slow
        parts = imported - start, read - imported, written - unpickled
        print("import {{:.2f}} s, load {{:.2f}} s, write {{:.2f}} s".format(*parts))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    processes.run(command, check=True)
    assert "1000 of 1000 jobs are done" in (tmp_path / "README.md").read_text()


def test_a_headline_grid_with_results_comes_before_fuller_ones(toy):
    full, small = toy.plan(VARIANTS[:3], seeds=(0,)), toy.plan(VARIANTS[:1], seeds=(0,))
    grid = small.grid.model_copy(update={"name": "small", "headline": True})
    small = replace(small, grid=grid)
    records = toy.stored(*(toy.record(job, (9,) * 6) for job in full.jobs.values()))

    def first(plans, stored):
        return Leaderboard.of(plans, Loaded(stored), toy.methods).fullest.grid

    assert first([full, small], records) == "small"
    assert (
        first(
            [full, replace(small, grid=small.grid.model_copy(update={"headline": False}))], records
        )
        == full.grid.name
    )
    unmeasured = toy.plan([{"label": "Other", "method": "other"}], seeds=(0,))
    assert first([full, replace(unmeasured, grid=grid)], records) == full.grid.name
