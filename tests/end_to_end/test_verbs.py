"""Every verb on a finished run. Only `run` with missing jobs may load torch."""

import json
import re
import sys

import pytest
import yaml

import ltbench
from ltbench.core.exact import fixed
from tests.support import processes
from tests.support.errors import printed


def test_a_run_ends_with_tables_and_records(finished):
    said = (finished.folder / "said").read_text()
    assert "12 jobs, 12 to train" in said
    for table in ("relative accuracy", "many, medium and few", "decoupled representations"):
        assert table in said
    assert said.index("Highest accuracy: ") < said.index("relative accuracy"), "the headline"
    records = finished.by_name()
    assert len(records) == 12
    assert all(record.cost.attempts == 1 for record in records.values())
    accuracy = fixed(100 * records["NCM", "longtailed"].accuracy, 1)
    assert accuracy in next(line for line in said.splitlines() if line.startswith("NCM "))


def test_without_a_terminal_events_are_lines(finished):
    lines = (finished.folder / "said").read_text().splitlines()
    assert sum(line.startswith("start   ") for line in lines) == 12
    done = [line for line in lines if line.startswith("done    ")]
    assert [re.search(r": (\d+)/12, ", line)[1] for line in done] == [str(n) for n in range(1, 13)]
    assert done[-1].endswith("0 s left")
    assert all("\x1b" not in line for line in lines)


def test_equal_stages_are_one_job(finished):
    records = finished.by_name()
    for split in ("longtailed", "balanced"):
        start = records["Softmax", split].key
        decoupled = [records[name, split] for name in ("cRT", "LWS", "NCM", "tau-norm")]
        assert {record.job.depends_on for record in decoupled} == {(start,)}
    assert records["Post-hoc", "longtailed"].job.depends_on == (
        records["Softmax", "longtailed"].key,
    )
    assert ("Balanced Softmax", "balanced") not in records
    assert ("Post-hoc", "balanced") not in records


def test_the_log_of_a_job_has_its_output(finished):
    key = finished.by_name()["Softmax", "longtailed"].key
    log = finished.run_dir.job(key).log.read_text()
    assert "Softmax [train] on digits_r20 longtailed seed 0, tiny" in log
    assert "GPU available: False" in log  # Lightning's own words


def test_a_second_run_trains_nothing(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.out.rglob("*") if path.is_file()}
    said = finished.run(torch=False).stdout
    assert said.startswith("Nothing to train: all 12 jobs have records.")
    assert "\nNCM " in said
    assert {p: p.stat().st_mtime_ns for p in finished.out.rglob("*") if p.is_file()} == before


def test_plan_shows_shared_jobs(finished):
    said = finished.verb("plan", torch=False).stdout
    row = {
        (name, split): rest
        for line in said.splitlines()
        if len(cells := re.split(r"\s{2,}", line.strip())) >= 4
        for name, split, *rest in [cells]
    }
    assert row["Softmax", "longtailed"] == ["1", "1"]
    assert row["cRT", "balanced"] == ["1", "1", "needs Softmax"]
    assert row["Balanced Softmax", "balanced"] == ["1", "0", "same as Softmax"]
    assert "14 runs, 12 jobs; all have records" in said


def test_plan_shows_the_cost_of_missing_jobs(finished):
    words = ("--set", "grid.seeds=[0, 1]", "--max-parallel", "1")
    said = finished.verb("plan", "tiny.yaml", *words, torch=False).stdout
    assert re.search(r"28 runs, 24 jobs; 12 to train, about \d+ s in 1 slots", said)


def test_status_counts_done_jobs(finished):
    counts, text = finished.status(torch=False)
    assert counts == {"done": 12}
    assert text.count("run record") == 12


def test_leaderboard_writes_the_results_and_other_formats_on_demand(finished, tmp_path):
    words = ("--to", str(tmp_path / "results"))
    said = finished.verb("leaderboard", "tiny.yaml", *words, torch=False).stdout
    files = [
        "README.md",
        "grids/tiny.md",
        "runs.csv",
        "leaderboard/index.html",
        "leaderboard/cost.png",
    ]
    assert said.split() == [str(tmp_path / "results" / name) for name in files]
    assert "12 of 12 jobs are done" in (tmp_path / "results" / "README.md").read_text()
    words += ("--tables", str(tmp_path / "tables"), "--format", "csv", "--format", "svg")
    finished.verb("leaderboard", "tiny.yaml", *words, torch=False)
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    assert "tiny.csv" in names
    assert {path.rpartition(".")[2] for path in names} == {"csv", "svg"}
    words = ("--format", "cvs", "--format", "pdf")
    said = finished.verb("leaderboard", "tiny.yaml", *words, torch=False, code=2).stderr
    assert [word for word in ("cvs", "pdf") if f'"{word}"' not in said] == []


def test_published_records_replace_the_run_folder(copied):
    said = copied.verb("results publish", torch=False).stdout
    assert said.startswith("12 records published")
    assert copied.verb("results publish", torch=False).stdout.startswith("0 records published")
    copied.out.rename(copied.folder / "away")
    copied.call("status", "-g", "tiny.yaml", *copied.stores, torch=False, code=2)  # no such folder
    copied.out.mkdir()
    counts, text = copied.status(torch=False)
    assert counts == {"done": 12}
    assert text.count("published record") == 12
    assert "Nothing to train" in copied.run(torch=False).stdout


@pytest.mark.slow  # each command plans all grids
def test_clean_keeps_the_jobs_of_grids_that_were_run_here(copied):
    (copied.folder / "published").mkdir()
    said = copied.call("clean", *copied.stores, "--yes", torch=False).stdout
    assert said.startswith("Removed 0 job folders")
    (copied.folder / "tiny.yaml").unlink()
    copied.grid("softmax", name="tiny")  # edited since, and not yet run
    said = copied.call("clean", *copied.stores, "--yes", torch=False).stdout
    assert said.startswith("Removed 0 job folders")
    assert len(list(copied.out.glob("jobs/*"))) == 12


def test_clean_removes_jobs_of_no_grid(copied):
    small = copied.grid("softmax", "ncm", name="small")
    where = ("--run-dir", str(copied.out))
    said = copied.call("clean", "-g", small, *where, torch=False).stdout
    assert "Would remove (pass --yes) 10 job folders" in said
    assert "cRT [classifier] on digits_r20 longtailed seed 0, tiny" in said
    assert len(list(copied.out.glob("jobs/*"))) == 12
    copied.call("clean", "-g", small, *where, "--yes", torch=False)
    kept = {path.name for path in copied.out.glob("jobs/*")}
    records = copied.by_name()
    assert kept == {records[name, "longtailed"].key for name in ("Softmax", "NCM")}
    assert copied.status()[0] == {"done": 12}
    assert copied.call("clean", "-g", "tiny.yaml", *where, "--yes").stdout.startswith(
        "Removed 0 job"
    )


def test_config_show_and_schema(project):
    text = project.call("config", "show", "tiny.yaml", torch=False).stdout
    assert text == (project.folder / "tiny.yaml").read_text()
    resolved = project.call("config", "show", "tiny.yaml", "--resolved", torch=False).stdout
    grid, hparams = yaml.safe_load_all(resolved)
    assert grid == yaml.safe_load(text)
    assert list(hparams) == [variant["label"] for variant in grid["variants"]]
    recipe = project.call("config", "show", "recipes/tiny", torch=False).stdout
    assert recipe == (project.folder / "configs/recipes/tiny.yaml").read_text()
    jobs = project.call("config", "show", "tiny.yaml", "--jobs", torch=False).stdout
    jobs = yaml.safe_load(jobs)
    assert len(jobs) == 12
    assert {job["recipe"]["network"] for job in jobs.values()} == {"resnet8"}
    schema = json.loads(project.call("config", "schema", torch=False).stdout)
    assert set(schema) == {"dataset", "recipe", "grid", "variants", "method"}


def test_methods_help_and_version(project):
    assert "balanced_softmax" in project.call("methods", "list", torch=False).stdout
    version = project.call("--version", torch=False).stdout
    assert version == f"ltbench {ltbench.__version__}\n"
    assert "leaderboard" in project.call("--help", torch=False).stdout


def test_data_check_and_plot(project):
    said = project.call("data", "check", "digits").stdout
    assert "digits_r20" in said
    assert "405 images, 6 to 120 a class, imbalance ratio 20" in said
    words = ("--figure", "digits.svg", "--set", "dataset.imbalance_ratio=10")
    said = project.call("data", "plot", "digits", *words).stdout
    assert "█" in said
    assert said.endswith("Figure: digits.svg\n")
    assert "<svg" in (project.folder / "digits.svg").read_text()


def test_a_closed_pipe_is_no_error(project):
    command = f"{sys.executable} -m ltbench config show tiny.yaml --resolved | head -1"
    done = processes.run(
        ["bash", "-c", command], cwd=project.folder, env=project.environment, capture_output=True
    )
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_only_brings_what_ua_needs(copied):
    said = copied.verb("plan", "tiny.yaml", "--only", "variant=LWS", torch=False).stdout
    assert "Softmax (for UA)" in said
    assert "3 runs, 4 jobs" in said
    said = copied.run("tiny.yaml", "--only", "variant=LWS", torch=False).stdout
    row = next(line for line in said.splitlines() if line.startswith("LWS "))
    tables = (copied.folder / "said").read_text()
    whole = next(line for line in tables.splitlines() if line.startswith("LWS "))
    numbers = r"\d+\.\d"
    assert len(re.findall(numbers, row)) == 3
    assert re.findall(numbers, row) == re.findall(numbers, whole)


def test_two_variants_are_compared(finished):
    said = finished.verb("compare NCM cRT", "tiny.yaml", "--classes", "2", torch=False).stdout
    records = finished.by_name()
    row = next(line for line in said.splitlines() if line.startswith("All "))
    for label in ("NCM", "cRT"):
        assert f" {fixed(100 * records[label, 'longtailed'].accuracy, 1)} " in row
    words = " ".join(said.split())
    assert "1 of 1 seeds, so this is about these trained networks alone" in words
    assert "2 of 10 classes, the largest change first." in words


def test_a_comparison_names_everything_unknown(finished):
    words = ("--dataset", "digit", "--recipe", "teeny")
    said = finished.verb("compare NCN cRT", "tiny.yaml", *words, torch=False, code=2).stderr
    assert printed(said) == [
        ("compare", "", f"unknown-{kind}") for kind in ("variant", "dataset", "recipe")
    ]
    assert re.findall(r'did you mean "(\w+)"', said) == ["NCM", "digits", "tiny"]


def test_a_comparison_needs_records_of_both(finished, tmp_path):
    empty = ("--grid", "tiny.yaml", "--run-dir", str(tmp_path), "--records", str(tmp_path))
    said = finished.call("compare", "NCM", "cRT", *empty, torch=False, code=2).stderr
    assert all(code == "missing-record" for *_, code in printed(said))
    assert "ltbench run --grid tiny" in said
    said = finished.call("compare", "NCM", "NCM", *empty, torch=False, code=2).stderr
    assert printed(said) == [("compare", "", "no-effect")]
