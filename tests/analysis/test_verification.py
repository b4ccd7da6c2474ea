import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from ltbench.analysis.verification import (
    differences,
    file_problems,
    record_problems,
    split_problems,
)
from ltbench.config.load import load_dataset
from ltbench.config.registry import load_registry
from ltbench.data.sources import load_raw_dataset
from ltbench.data.split import make_split
from ltbench.runs.record import SplitFacts
from ltbench.runs.store import RecordStore, record_path, write_record
from tests.support import processes
from tests.support import toy_board as toy
from tests.support.errors import printed

ROOT = Path(__file__).parents[2]
METHODS = load_registry().methods
VERSIONS = {"crt": METHODS["crt"].version}
SOFTMAX = {"label": "Softmax", "method": "softmax"}
CRT = {"label": "cRT", "method": "crt", "init_from": "Softmax"}
HITS = (45, 40, 30, 20, 5, 1)
ABSENT = toy.dataset(source="image_folder")


def written(root, jobs, **changes):
    """Write the records of jobs and load them again."""
    for job in jobs:
        write_record(toy.record(job, HITS, **changes), record_path(root, job))
    return RecordStore(root).load()


def problems_of(root, loaded, *plans):
    """Return file, code and message of each problem with records."""
    found = record_problems(loaded, root, plans, METHODS)
    return [(problem.file, problem.code, problem.message) for problem in found]


def test_valid_records_have_no_problem(tmp_path):
    plan = toy.plan([SOFTMAX, CRT], dataset=ABSENT, versions=VERSIONS)
    loaded = written(tmp_path, plan.jobs.values())
    assert record_problems(loaded, tmp_path, [plan], METHODS) == []
    assert split_problems(loaded.records, tmp_path) == []


def test_a_damaged_and_a_misplaced_record(tmp_path):
    plan = toy.plan([SOFTMAX], seeds=(0, 1), splits=("longtailed",))
    loaded = written(tmp_path, plan.jobs.values())
    one, other = (stored.path for stored in loaded.records.values())
    one.write_text(one.read_text().replace('"hits": [45', '"hits": [44'))
    moved = tmp_path / "elsewhere.json"
    other.rename(moved)
    found = problems_of(tmp_path, RecordStore(tmp_path).load(), plan)
    damaged = one.relative_to(tmp_path).as_posix()
    assert {place: code for place, code, _ in found} == {
        damaged: "invalid-record",
        "elsewhere.json": "mismatch",
    }
    assert str(other) in {place: message for place, _, message in found}["elsewhere.json"]


def test_missing_confusion_counts_are_a_problem(tmp_path):
    plan = toy.plan([SOFTMAX], seeds=(0,), splits=("longtailed",))
    [job] = plan.jobs.values()
    record = toy.record(job, HITS)
    test = record.test.model_copy(update={"confusion_sha256": "a" * 64})
    write_record(record.model_copy(update={"test": test}), record_path(tmp_path, job))
    [(place, code, _)] = problems_of(tmp_path, RecordStore(tmp_path).load(), plan)
    assert place == record_path(tmp_path, job).relative_to(tmp_path).as_posix()
    assert code == "unreadable"


def test_versions_methods_grids_configurations_and_dependencies(tmp_path):
    plan = toy.plan([SOFTMAX, CRT], seeds=(0,), splits=("longtailed",), versions=VERSIONS)

    def only(jobs, **changes):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        ((_, code, message),) = problems_of(root, written(root, jobs, **changes), plan)
        return code, message

    softmax = [SOFTMAX]
    old = toy.plan(softmax, seeds=(0,), splits=("longtailed",), versions={"softmax": 99})
    code, message = only(old.jobs.values())
    assert code == "out-of-date"
    assert re.findall(r"\d+", message) == ["99", str(METHODS["softmax"].version)]
    gone = toy.plan([{"label": "x", "method": "gone"}], seeds=(0,), splits=("longtailed",))
    assert only(gone.jobs.values())[0] == "unknown-method"
    own = [job for job in plan.jobs.values() if job.method == "softmax"]
    assert only(own, grid="other")[0] == "unknown-grid"
    batch = toy.recipe(batch_size=64)
    changed = toy.plan(softmax, seeds=(0,), splits=("longtailed",), recipe=batch)
    code, message = only(changed.jobs.values())
    assert code == "out-of-date"
    assert own[0].key in message
    asked = {"recipe": batch, "overrides": ("recipe.batch_size=64",)}
    ad_hoc = toy.plan(softmax, seeds=(0,), splits=("longtailed",), **asked)
    code, message = only(ad_hoc.jobs.values())
    assert code == "mismatch"
    assert message.endswith(": recipe.batch_size=64")
    second = [job for job in plan.jobs.values() if job.method == "crt"]
    code, message = only(second)
    assert code == "missing-record"
    assert own[0].key in message


def test_a_seed_that_no_grid_plans_is_no_problem(tmp_path):
    planned, more = (toy.plan([SOFTMAX], seeds=seeds) for seeds in ((0,), (0, 1)))
    loaded = written(tmp_path, more.jobs.values())
    assert record_problems(loaded, tmp_path, [planned], METHODS) == []


def test_records_of_one_split_have_the_same_images(tmp_path):
    plan = toy.plan(
        [SOFTMAX, CRT], seeds=(0,), splits=("longtailed",), dataset=ABSENT, versions=VERSIONS
    )
    first, second = plan.jobs.values()
    written(tmp_path, [first])
    split = toy.record(second, HITS).split
    for change, images in (
        ({"train_hash": "e" * 64}, "training"),
        ({"test_hash": "e" * 64}, "test"),
    ):
        loaded = written(tmp_path, [second], split=split.model_copy(update=change))
        (problem,) = split_problems(loaded.records, tmp_path)
        assert problem.code == "mismatch"
        assert f"{images} images" in problem.message


def test_splits_are_made_again_from_the_images(tmp_path):
    spec = load_dataset("digits")
    made = make_split(spec, load_raw_dataset(spec), "longtailed")
    plan = toy.plan([SOFTMAX], seeds=(0,), splits=("longtailed",), dataset=spec)
    facts = SplitFacts(
        train_hash=made.train_hash,
        train_counts=made.counts,
        longtailed_counts=made.longtailed_counts,
        test_hash=made.test_hash,
    )
    hits = {"hits": (25,) * 10, "counts": made.counts, "split": facts}
    (job,) = plan.jobs.values()
    assert split_problems(toy.stored(toy.record(job, **hits))) == []
    counts = (made.counts[1], made.counts[0], *made.counts[2:])
    hits["split"] = facts.model_copy(update={"train_hash": "e" * 64, "train_counts": counts})
    found = split_problems(toy.stored(toy.record(job, **hits)))
    assert [problem.message.split()[0] for problem in found] == ["train_hash", "train_counts"]
    assert {problem.code for problem in found} == {"mismatch"}


def test_missing_stray_and_changed_files(tmp_path):
    folder, made = tmp_path / "folder", tmp_path / "made"
    for root, files in (
        (
            folder,
            {"same": "a", "beside": "b", "deep/stray": "b", "deep/other": "one\ntwo and more\n"},
        ),
        (made, {"same": "a", "new": "c", "deep/other": "one\ntwo and less\n"}),
    ):
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    assert [(p.file, p.line, p.code) for p in file_problems(folder, made)] == [
        (f"{folder}/deep/other", 2, "out-of-date"),
        (f"{folder}/deep/stray", None, "out-of-date"),
        (f"{folder}/new", None, "missing-file"),
    ]
    assert file_problems(made, made) == []


def test_the_first_difference_is_shown_where_it_is():
    def shown(old, new):
        return [
            (problem.line, re.findall('nothing|"[^"]*"', problem.message))
            for problem in differences(Path("f"), old, new)
        ]

    assert shown(b"a\n", b"a\n") == []
    assert shown(b"a\n", b"a\nb\n") == [(2, ['""', '"b"'])]
    assert shown(b"a", b"a\n") == [(2, ["nothing", '""'])]
    long = b"x" * 500
    assert shown(long + b"1", long + b"2") == [(1, [f'"{"x" * 20}1"', f'"{"x" * 20}2"'])]
    assert shown(b"\xff", b"\xfe") == [(None, [])]


def verify(*words, folder=ROOT):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LTBENCH_")}
    command = [sys.executable, "-m", "ltbench", "results", "verify", *words]
    return processes.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_records_and_the_leaderboard_of_the_project_agree():
    done = verify()
    assert done.returncode == 0, done.stdout + done.stderr
    assert " agree." in done.stdout


@pytest.mark.slow
def test_a_changed_leaderboard_is_refused(tmp_path):
    results = tmp_path / "results"
    shutil.copytree(ROOT / "results", results, ignore=shutil.ignore_patterns("records"))
    index, notes = results / "README.md", results / "leaderboard" / "notes.md"
    index.write_text(index.read_text().replace("# Leaderboard", "# Our leaderboard"))
    notes.write_text("by hand")
    readme, begin = tmp_path / "README.md", "<!-- leaderboard:begin -->\n"
    readme.write_text((ROOT / "README.md").read_text().replace(begin, f"{begin}\nBy hand.\n"))
    done = verify("--results", str(results), "--readme", str(readme))
    assert done.returncode == 1
    found = printed(done.stdout)
    assert (f"{index}:1", "", "out-of-date") in found
    assert (str(notes), "", "out-of-date") in found
    assert [place.rpartition(":")[0] for place, *_ in found].count(str(readme)) == 1
    assert len(found) == 3
