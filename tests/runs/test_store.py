import errno
import gzip
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ltbench.runs.errors import RecordError
from ltbench.runs.record import MAX_INLINE_CLASSES, EvaluationResult, Record
from ltbench.runs.store import (
    RecordStore,
    confusion_path,
    publish,
    read_record,
    record_path,
    with_confusion,
    write_record,
)
from tests.support import processes
from tests.support.errors import raises

PUBLISHED = Path(__file__).parents[2] / "results" / "records"
HITS = (45, 40, 30, 20, 5, 1)
VARIANTS = [
    {"label": "Softmax", "method": "softmax"},
    {"label": "cRT", "method": "crt", "init_from": "Softmax"},
]


@pytest.fixture
def plan(toy):
    return toy.plan(VARIANTS, seeds=(0,), splits=("longtailed",))


@pytest.fixture
def record(toy, plan):
    return toy.record(plan.jobs[toy.key_of(plan, "Softmax")], HITS)


@pytest.fixture
def roots(tmp_path):
    return tmp_path / "published", tmp_path / "runs" / "records"


def put(record, root):
    path = record_path(root, record.job)
    write_record(record, path)
    return path


def many_classes(toy, classes=MAX_INLINE_CLASSES + 1):
    """Return a record with one image per class, of many classes."""
    spec = toy.dataset(classes=classes, imbalance_ratio=10)
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}], dataset=spec, seeds=(0,))
    job = plan.jobs[toy.key_of(plan, "Softmax")]
    record = toy.record(job, (1,) * classes, counts=(9,) * classes, totals=(1,) * classes)
    rows = tuple({k: 1} for k in range(classes))
    test = EvaluationResult.model_validate({**record.test.model_dump(), "confusion": rows})
    return record.model_copy(update={"test": test})


def test_confusion_of_many_classes_is_a_separate_file(toy, tmp_path):
    record = many_classes(toy)
    path = record_path(tmp_path / "records", record.job)
    write_record(record, path)
    assert '"confusion":' not in path.read_text()
    (stored,) = RecordStore(runs=tmp_path / "records").load().records.values()
    assert stored.record.test.confusion is None
    assert stored.record.repeats(record)
    assert with_confusion(stored) == record
    write_record(record, path)
    assert [path.suffix for path in path.parent.iterdir()].count(".gz") == 1

    (published,) = publish(tmp_path / "records", [record.key], tmp_path / "published")
    assert confusion_path(published).read_bytes() == confusion_path(path).read_bytes()
    confusion_path(path).write_bytes(gzip.compress(b"[]"))
    with raises(RecordError, "mismatch", confusion_path(path).name):
        with_confusion(stored)
    confusion_path(path).write_bytes(gzip.compress(b"[" * 50_000_000))
    with raises(RecordError, "mismatch", confusion_path(path).name):
        with_confusion(stored)
    confusion_path(path).unlink()
    with raises(RecordError, "unreadable", record.key):
        publish(tmp_path / "records", [record.key], tmp_path / "elsewhere")


def test_quarantine_takes_confusion_counts_along(toy, roots):
    path = put(many_classes(toy), roots[1])
    path.write_text("broken")
    store = RecordStore(runs=roots[1])
    [bad] = store.load().bad
    moved = store.quarantine(bad)
    assert confusion_path(moved).exists()
    assert list(path.parent.iterdir()) == []


def test_confusion_of_few_classes_is_in_the_record(toy, tmp_path):
    record = many_classes(toy, MAX_INLINE_CLASSES)
    write_record(record, tmp_path / "a.json")
    assert read_record(tmp_path / "a.json") == record
    assert not confusion_path(tmp_path / "a.json").exists()


def test_round_trip_through_a_file(record, tmp_path):
    path = put(record, tmp_path)
    assert read_record(path) == record
    assert path.relative_to(tmp_path).as_posix() == (
        f"toy_r40/longtailed/softmax/Softmax-train-short-s0-{record.key}.json"
    )
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file is left
    again = path.read_bytes()
    write_record(record, path)
    assert path.read_bytes() == again


@pytest.mark.parametrize(
    "label", ["../../etc/passwd", "a/b\\c", "τ ½", "...", "x" * 80, "=1+1|<i>", "-rf"]
)
def test_path_is_safe_whatever_the_label(toy, label, tmp_path):
    plan = toy.plan([{"label": label, "method": "softmax"}], seeds=(0,), splits=("longtailed",))
    path = record_path(tmp_path, next(iter(plan.jobs.values())))
    assert path.parent == tmp_path / "toy_r40" / "longtailed" / "softmax"
    assert path.name[0].isalnum()
    assert len(path.name) < 200
    assert set(path.name) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-"
    )


def test_labels_that_look_alike_do_not_share_a_file(toy, tmp_path):
    variants = [
        {"label": "LA 1", "method": "la", "hparams": {"tau": 1}},
        {"label": "LA-1", "method": "la", "hparams": {"tau": 2}},
    ]
    plan = toy.plan(variants, seeds=(0,), splits=("longtailed",))
    assert len({record_path(tmp_path, job) for job in plan.jobs.values()}) == 2


BROKEN = {
    "empty": ("", "invalid-record", "JSON"),
    "truncated": (lambda text: text[: len(text) // 2], "invalid-record", "JSON"),
    "binary": (b"\xff\xfe\x00", "invalid-record", "JSON"),
    "deep": ("[" * 100_000, "invalid-record", "JSON"),
    "list": ("[]", "invalid-record", "schema_version"),
    "foreign": ('{"name": "something else"}', "invalid-record", "schema_version"),
    "old boolean": ('{"schema_version": true}', "invalid-record", "schema_version"),
    "future": ('{"schema_version": 3}', "out-of-date", "version 3 "),
    "duplicate": (lambda t: t.replace('"grid"', '"key": "x",\n "grid"', 1), "duplicate", "'key'"),
    "spaced": (lambda t: t.replace('"grid"', '"key" : "x",\n "grid"', 1), "duplicate", "'key'"),
    "escaped": (lambda t: t.replace('"grid"', '"k\\u0065y": 1, "grid"', 1), "duplicate", "'key'"),
    "colon": (lambda t: t.replace('"grid"', '"grid": ":", "grid"', 1), "duplicate", "'grid'"),
    "inside": (lambda t: t.replace('"epochs"', '"epochs": 1, "epochs"'), "duplicate", "'epochs'"),
    "whole": (
        lambda t: t.replace('"schema_version": 2', '"schema_version": 2.0'),
        *("invalid-record", "schema_version"),
    ),
    "nan": (lambda t: t.replace('"ece": 0.0', '"ece": NaN'), "invalid-record", "NaN"),
    "infinite": (lambda t: t.replace('"ece": 0.0', '"ece": 1e999'), "invalid-record", "finite"),
    "text number": (
        lambda t: t.replace('"threads": 1', '"threads": "1"'),
        *("invalid-record", 'environment.threads: expected a whole number, got "1"'),
    ),
    "moved seed": (lambda t: t.replace('"seed": 0', '"seed": 3'), "invalid-record", "not the key"),
    "missing": (
        lambda t: t.replace('"steps": 3, ', ""),
        "invalid-record",
        "training.steps: is missing",
    ),
}


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.replace('": ', '" :\t'),
        lambda text: text.replace('"label": "', '"label": ":'),
        lambda text: text.replace('"label": "', '"label": "\\u00e9'),
        lambda text: json.dumps(json.loads(text)),
    ],
)
def test_a_record_may_be_written_in_any_way(written, record, roots):
    path = put(record, roots[0])
    path.write_text(text := written(path.read_text()))
    job = record.job.model_copy(update={"label": json.loads(text)["job"]["label"]})
    expected = record.model_copy(update={"job": job})
    assert read_record(path) == expected


def test_records_share_equal_parts_of_their_jobs(toy, roots):
    plan = toy.plan(VARIANTS, seeds=(0, 1), splits=("longtailed",))
    records = {key: toy.record(job, HITS) for key, job in plan.jobs.items()}
    for record in records.values():
        put(record, roots[0])
    loaded = RecordStore(roots[0]).load().records
    assert {key: stored.record for key, stored in loaded.items()} == records
    for name in ("dataset", "recipe", "stage_recipe"):
        assert len({id(getattr(stored.record.job, name)) for stored in loaded.values()}) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ('"classes": 6, "classes": 6', "duplicate"),
        ('"classes": 6.5', "invalid-record"),
        ('"classes": "6"', "invalid-record"),
        ('"classes": 6, "more": 1', "invalid-record"),
    ],
)
def test_a_shared_part_does_not_hide_an_invalid_one(change, code, record, roots):
    path = put(record, roots[0])
    text = path.read_text()
    path.write_text(text.replace('"classes": 6', change))
    for name in ("a.json", "z.json"):  # read before and after it
        path.with_name(name).write_text(text)
    loaded = RecordStore(roots[0]).load()
    assert {bad.path.name: bad.code for bad in loaded.bad} == {
        path.name: code,
        "z.json": "duplicate",
    }
    assert [stored.record for stored in loaded.records.values()] == [record]


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_listed_and_never_loaded(kind, record, roots):
    published, runs = roots
    path = put(record, runs)
    content, code, fact = BROKEN[kind]
    text = content(path.read_text()) if callable(content) else content
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with raises(RecordError, code, fact):
        read_record(path)
    loaded = RecordStore(published, runs).load()
    assert loaded.records == {}
    [bad] = loaded.bad
    assert (bad.path, bad.provenance) == (path, "run")
    assert bad.code == code
    assert fact in bad.reason
    assert path.exists()  # reading moves nothing


def test_records_of_an_older_schema_are_one_error_a_folder(record, roots):
    for root in roots:
        path = put(record, root)
        old = path.read_text().replace('"schema_version": 2', '"schema_version": 1')
        path.write_text(old)
        path.with_name("another.json").write_text(old)
    with raises(RecordError, "old-protocol", "version 1"):
        read_record(path)
    store = RecordStore(*roots)
    with raises(RecordError, "old-protocol", *roots, "--run-dir", "--records") as error:
        store.load()
    assert len(str(error.value).splitlines()) == len(roots)
    with raises(RecordError, "old-protocol", roots[1]):
        publish(roots[1], [record.key], roots[0] / "new")
    assert path.read_text() == old


def test_a_truncated_file_is_no_record(record, tmp_path):
    path = put(record, tmp_path)
    data = path.read_bytes().rstrip()
    for cut in range(0, len(data), 97):
        path.write_bytes(data[:cut])
        with pytest.raises(RecordError):
            read_record(path)


def test_unreadable_files_are_listed(tmp_path):
    (tmp_path / "lost.json").symlink_to("nowhere")
    [bad] = RecordStore(tmp_path).load().bad
    assert bad.code == "unreadable"


def test_absent_roots_hold_nothing(tmp_path):
    loaded = RecordStore(tmp_path / "no", tmp_path / "none").load()
    assert (loaded.records, loaded.bad) == ({}, [])


def test_published_and_run_with_equal_numbers_are_one(record, roots):
    published, runs = roots
    put(record, runs)
    put(record.model_copy(update={"grid": "another"}), published)
    loaded = RecordStore(published, runs).load()
    assert loaded.bad == []
    assert loaded.records[record.key].provenance == "published"


def test_published_and_run_with_other_numbers_are_a_problem(toy, record, roots):
    published, runs = roots
    put(record, published)
    put(toy.record(record.job, (44, 40, 30, 20, 5, 1)), runs)
    loaded = RecordStore(published, runs).load()
    assert loaded.records[record.key].record == record
    [bad] = loaded.bad
    assert (bad.provenance, bad.code) == ("run", "mismatch")
    assert "published toy_r40/" in bad.reason


def test_two_files_of_one_key_are_listed(toy, record, roots):
    _, runs = roots
    first = put(record, runs)
    write_record(record, first.with_name("copy.json"))
    write_record(toy.record(record.job, (44, 40, 30, 20, 5, 1)), first.with_name("other.json"))
    loaded = RecordStore(runs=runs).load()
    assert loaded.records[record.key].path == first
    assert [bad.code for bad in loaded.bad] == ["duplicate", "mismatch"]


def test_quarantine_keeps_every_file(record, roots):
    _, runs = roots
    store = RecordStore(runs=runs)
    moved = []
    for content in ("one", "two", "three"):
        path = put(record, runs)
        path.write_text(content)
        [bad] = store.load().bad
        moved.append(store.quarantine(bad))
    assert [path.read_text() for path in moved] == ["one", "two", "three"]
    assert all(path.is_relative_to(runs.parent / "quarantine") for path in moved)
    assert store.load().bad == []


def test_quarantine_leaves_valid_missing_and_published_files(record, roots):
    published, runs = roots
    store = RecordStore(published, runs)
    path = put(record, runs)
    path.write_text("broken")
    [bad] = store.load().bad
    put(record, runs)  # meanwhile another process has trained the job
    assert store.quarantine(bad) is None
    assert read_record(path) == record
    path.unlink()
    assert store.quarantine(bad) is None
    path = put(record, published)
    path.write_text("broken")
    [bad] = store.load().bad
    assert store.quarantine(bad) is None
    assert path.exists()


def test_publish_copies_once(record, roots):
    published, runs = roots
    put(record, runs)
    [path] = publish(runs, [record.key, record.key], published)
    assert read_record(path) == record
    before = path.stat().st_mtime_ns
    assert publish(runs, [record.key], published) == []
    assert path.stat().st_mtime_ns == before


def test_publish_refuses_all_or_nothing(toy, plan, record, roots):
    published, runs = roots
    other = toy.record(plan.jobs[toy.key_of(plan, "cRT")], HITS)
    put(record, runs)
    put(toy.record(other.job, (40, 40, 30, 20, 5, 1)), runs)
    put(other, published)
    with raises(RecordError, "several", "unknown: ", f"{other.key}: "):
        publish(runs, [record.key, "unknown", other.key], published)
    assert list(RecordStore(published).load().records) == [other.key]
    in_the_way = record_path(published, record.job)
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("something of the user's")
    with raises(RecordError, "invalid-record", in_the_way):
        publish(runs, [record.key], published)


def test_a_write_killed_at_its_fsync_leaves_the_old_record(record, tmp_path):
    path = put(record, tmp_path)
    code = f"""
        import os, signal
        from pathlib import Path
        from ltbench.runs.store import read_record, write_record
        path = Path({str(path)!r})
        record = read_record(path)
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        write_record(record.model_copy(update={{"grid": "new"}}), path)
    """
    done = processes.run([sys.executable, "-c", textwrap.dedent(code)])
    assert done.returncode == -9
    assert read_record(path) == record
    loaded = RecordStore(runs=tmp_path).load()
    assert list(loaded.records) == [record.key]
    assert loaded.bad == []  # the temporary file of the killed process is ignored


def test_a_record_and_then_its_folder_are_synced(record, tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def note(handle):
        synced.append(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr("os.fsync", note)
    path = put(record, tmp_path)
    assert synced == [path.stat().st_ino, path.parent.stat().st_ino]


def test_a_failed_write_leaves_nothing(record, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    path = record_path(tmp_path, record.job)
    with pytest.raises(OSError, match="No space"):
        write_record(record, path)
    assert list(path.parent.iterdir()) == []


def test_a_record_is_plain_json_with_one_entry_per_line(record, tmp_path):
    text = put(record, tmp_path).read_text()
    assert Record.model_validate_json(text, strict=True) == record
    assert len(text.splitlines()) == len(json.loads(text)) + 2


LIMITED = """\
import resource, sys
from pathlib import Path
from ltbench.core.files import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), bytes(2000))
except OSError as error:
    print(error.errno, error.filename)
"""


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path = tmp_path / "folder" / "weights"
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{errno.EFBIG} {path}\n"
    assert list(path.parent.iterdir()) == []


def test_published_records_round_trip(tmp_path):
    paths = sorted(PUBLISHED.rglob("*.json"))
    for path in paths:
        write_record(read_record(path), tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert paths
