"""Reproducing a published row, exporting and evaluating a run."""

import base64
import json
import re

import pytest

from ltbench.core.exact import fixed
from tests.support.errors import printed

pytestmark = pytest.mark.slow

ROW = "digits_r20/softmax/2"


def reproduce(project, *words, **how):
    published = str(project.folder / "published")
    return project.call("reproduce", *words, "--grid", "tiny.yaml", "--records", published, **how)


def publish(project):
    project.verb("results publish", "tiny.yaml")


def test_a_published_row_is_reproduced_bit_for_bit(copied):
    publish(copied)
    listed = reproduce(copied, torch=False).stdout
    assert ROW in listed
    said = reproduce(copied, ROW, "--dry-run", torch=False).stdout
    assert "1 jobs of grid tiny, 1 to train" in said
    assert not (copied.folder / "reproductions").exists()
    said = reproduce(copied, ROW, "--device", "cpu").stdout
    assert "1 of 1 published records are reproduced bit for bit." in said
    assert "4 numbers within tolerance, 0 outside." in said
    said = reproduce(copied, ROW, "--device", "cpu", "--ua").stdout
    assert "2 of 2 published records are reproduced bit for bit." in said
    assert "6 numbers within tolerance, 0 outside." in said
    error = reproduce(copied, "digits_r20/softmaxx/2", code=2, torch=False).stderr
    assert printed(error) == [("reproduce", "", "unknown-value")]
    assert f'did you mean "{ROW}"' in error


def test_a_number_outside_tolerance_is_reported(copied):
    publish(copied)
    (path,) = copied.folder.glob("published/digits_r20/longtailed/softmax/*.json")
    record = json.loads(path.read_text())
    test = record["test"]
    images = sum(test["totals"])
    bits = (1 << images) - 1 << -images % 8
    test["hits"] = test["predicted"] = test["totals"]
    test["correct"] = base64.b64encode(bits.to_bytes((images + 7) // 8, "big")).decode()
    del test["confusion"]  # it would give the forger away
    path.write_text(json.dumps(record))
    said = reproduce(copied, ROW, "--device", "cpu", code=1).stdout
    assert "0 of 1 published records are reproduced bit for bit." in said
    assert "outside" in said


def test_an_exported_run_is_evaluated(copied):
    record = copied.by_name()["cRT", "longtailed"]
    out = ("--run-dir", str(copied.out), "--records", str(copied.folder / "published"))
    said = copied.call("results", "export", record.key[:8], *out).stdout
    folder = copied.folder / "exports" / record.key
    assert sorted(said.split()) == sorted(
        f"exports/{record.key}/{p.name}" for p in folder.iterdir()
    )
    said = copied.call("evaluate", str(folder), "--device", "cpu").stdout
    assert "Equal to the run's record, bit for bit." in said
    assert re.search(rf" {fixed(100 * record.accuracy, 1)} ", said)
    said = copied.call("evaluate", str(folder), "--dataset", "digits", "--device", "cpu").stdout
    assert re.search(rf" {fixed(100 * record.accuracy, 1)} ", said)
    copied.call("evaluate", str(folder), "--dataset", "digits", "--images", "x", code=2)
    error = copied.call("evaluate", str(folder), "--dataset", "cifar10", code=2).stderr
    assert printed(error) == [("--dataset", "", "mismatch")] * 2  # channels and image size
