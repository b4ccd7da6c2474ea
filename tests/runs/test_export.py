import hashlib
import json

import pytest

from ltbench.report.model_card import model_card
from ltbench.runs import store
from ltbench.runs.errors import RecordError
from ltbench.runs.export import (
    CARD,
    CONFIG,
    RECORD,
    WEIGHTS,
    find_run,
    read_export,
    write_export,
)
from ltbench.runs.record import Weights
from ltbench.runs.run_dir import RunDirectory
from tests.support.errors import problems, problems_of, raises

HOSTILE = "<script>alert(1)</script> | [x](http://y) `z`"
BYTES = b"not looked into here"
NAMES = tuple("abcdef")


@pytest.fixture
def exported(toy, tmp_path):
    plan = toy.plan([{"label": HOSTILE, "method": "balanced_softmax"}], splits=("longtailed",))
    job = plan.jobs[toy.key_of(plan, HOSTILE)]
    digest = hashlib.sha256(BYTES).hexdigest()
    record = toy.record(job, (40, 30, 20, 10, 5, 0), weights=Weights(sha256=digest, parameters=9))
    folder = RunDirectory(tmp_path).job(job.key)
    folder.path.mkdir(parents=True)
    folder.weights.write_bytes(BYTES)
    card, to = model_card(record, toy.methods["balanced_softmax"]), tmp_path / "export"
    paths = write_export(record, folder, NAMES, card, to)
    assert sorted(path.name for path in paths) == sorted([WEIGHTS, CONFIG, RECORD, CARD])
    return to, record


def test_an_export_round_trips(exported):
    folder, record = exported
    found = read_export(folder)
    assert found.record == record
    assert found.config.job == record.job
    assert found.config.classes == NAMES
    assert found.weights.read_bytes() == BYTES


def test_the_model_card_has_no_markup_of_names(exported):
    folder, record = exported
    text = (folder / CARD).read_text()
    assert "<script>" not in text
    assert "](http://" not in text
    for word in ("A. Author", record.key, record.weights.sha256, "toy_r40", "per class", "35.0"):
        assert word in text, word


def edited(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda folder: (folder / WEIGHTS).write_bytes(b"x"), "mismatch"),
        (lambda folder: (folder / WEIGHTS).unlink(), "mismatch"),
        (lambda folder: (folder / RECORD).write_text("[]"), "invalid-record"),
        (
            lambda folder: edited(folder / RECORD, lambda v: v["job"].update(seed=5)),
            "invalid-record",
        ),
        (
            lambda folder: edited(folder / RECORD, lambda v: v.update(schema_version=1)),
            "old-protocol",
        ),
        (
            lambda folder: (folder / CONFIG).write_text(
                (folder / CONFIG).read_text().replace("seed: 0", "seed: 5")
            ),
            "mismatch",
        ),
        (
            lambda folder: (folder / CONFIG).write_text(
                (folder / CONFIG).read_text().replace("- f\n", "")
            ),
            "mismatch",
        ),
    ],
)
def test_invalid_and_mismatched_parts_are_refused(exported, spoil, code):
    folder, _ = exported
    spoil(folder)
    with raises(RecordError, code):
        read_export(folder)


def test_all_damaged_parts_are_named_at_once(exported):
    folder, _ = exported
    (folder / RECORD).write_text("[]")
    (folder / WEIGHTS).unlink()
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(f"{text}other: 1\n")
    with raises(RecordError, "several", RECORD, WEIGHTS, CONFIG):
        read_export(folder)


def test_a_configuration_of_another_job_and_classes_is_named_once(exported):
    folder, _ = exported
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(text.replace("seed: 0", "seed: 5").replace("- f\n", ""))
    with raises(RecordError, "mismatch", "job", "5 classes"):
        read_export(folder)


def test_a_folder_that_is_no_export_is_an_error(tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        (problem,) = problems_of(lambda folder=folder: read_export(folder))
        assert (problem.file, problem.code) == (str(folder), "missing-file")


def test_a_configuration_runs_no_code_and_is_validated(exported):
    folder, _ = exported
    text = (folder / CONFIG).read_text()
    for bad in (f"{text}other: 1\n", "!!python/object/apply:os.system [id]", "- 1"):
        (folder / CONFIG).write_text(bad)
        assert {p.file for p in problems_of(lambda: read_export(folder))} == {str(folder / CONFIG)}


def test_a_run_is_found_by_a_prefix_of_its_key(toy):
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}], splits=("longtailed",))
    records = toy.stored(*(toy.record(job, (1,) * 6) for job in plan.jobs.values()))
    first, *_ = records
    assert find_run(first[:6], records).key == first
    for key, of in (("", records), ("", {first: records[first]}), ("zz", records)):
        found = problems(lambda key=key, of=of: find_run(key, of))
        assert found == [("RUN", "", "unknown-run")]
    two = {"ab1": records[first], "ab2": records[first]}
    (both,) = problems_of(lambda: find_run("ab", two))
    assert all(key in both.message for key in two)


def test_separate_confusion_counts_are_exported(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MAX_INLINE_CLASSES", 5)
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}], splits=("longtailed",), seeds=(0,))
    weights = Weights(sha256=hashlib.sha256(BYTES).hexdigest(), parameters=9)
    made = toy.record(next(iter(plan.jobs.values())), (50,) * 6, weights=weights)
    update = {"confusion": tuple({k: 50} for k in range(6))}
    made = made.model_copy(update={"test": made.test.model_copy(update=update)})
    store.write_record(made, store.record_path(tmp_path / "records", made.job))
    found = find_run(made.key, store.RecordStore(runs=tmp_path / "records").load().records)
    folder = RunDirectory(tmp_path).job(made.key)
    folder.path.mkdir(parents=True)
    folder.weights.write_bytes(BYTES)
    _, _, facts, _, beside = write_export(found, folder, None, "card", tmp_path / "export")
    assert beside == store.confusion_path(facts)
    exported = store.Stored(read_export(tmp_path / "export").record, facts, RECORD, "run")
    assert store.with_confusion(exported) == made
    plain = made.model_copy(update={"test": made.test.model_copy(update={"confusion": None})})
    assert beside not in write_export(plain, folder, None, "card", tmp_path / "export")
    assert not beside.exists()


def test_files_of_something_else_are_not_overwritten(exported, tmp_path):
    folder, record = exported
    run = RunDirectory(tmp_path).job(record.key)
    write_export(record, run, NAMES, "again", folder)  # its own export
    assert (folder / CARD).read_text() == "again"
    other = record.model_copy(update={"key": "0" * 16})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / CARD).write_text("mine")
    for made, to in ((other, folder), (record, tmp_path / "mine")):
        found = problems(lambda made=made, to=to: write_export(made, run, None, "card", to))
        assert found == [(str(to), "", "conflict")]
        assert (to / CARD).read_text() in ("again", "mine")


def test_missing_weights_cannot_be_exported(toy, tmp_path):
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}], splits=("longtailed",))
    record = toy.record(next(iter(plan.jobs.values())), (1,) * 6)
    folder = RunDirectory(tmp_path).job(record.key)
    with raises(RecordError, "mismatch", folder.weights):
        write_export(record, folder, None, "card", tmp_path / "export")
    assert not (tmp_path / "export").exists()
