import os
import re
from pathlib import Path

import pytest

from ltbench.launch import devices as module
from ltbench.launch.devices import local_slots
from tests.support.errors import problems_of

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that the machine has some GPUs, of which some are visible."""

    def pretend(count, visible=None):
        files = [Path(f"/dev/nvidia{i}") for i in range(count)]
        monkeypatch.setattr(module.Path, "glob", lambda self, pattern: iter(files))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return pretend


def refused(**arguments):
    """Return option, code and numbers of the error."""
    (problem,) = problems_of(lambda: local_slots(**arguments))
    return problem.file, problem.code, [int(n) for n in re.findall(r"\d+", problem.message)]


def test_without_a_gpu_a_slot_is_a_core(gpus):
    gpus(0, "0,1")
    assert local_slots() == local_slots("cpu") == [("",)] * CORES
    assert local_slots(slots=1) == [("",)]
    assert local_slots(devices=CORES) == [("",) * CORES]
    assert refused(slots=CORES + 1) == ("--max-parallel", "out-of-range", [CORES + 1, CORES])
    assert refused(device="gpu") == ("--device", "unavailable", [])
    assert refused(devices=CORES + 1) == ("--devices", "out-of-range", [CORES + 1, CORES])


def test_every_gpu_is_a_slot_before_any_is_shared(gpus):
    gpus(2)
    assert local_slots() == [("0",), ("1",)]
    assert local_slots(jobs_per_gpu=2) == [("0",), ("1",), ("0",), ("1",)]
    assert local_slots(slots=3, jobs_per_gpu=2) == [("0",), ("1",), ("0",)]
    assert local_slots("cpu") == [("",)] * CORES
    assert refused(slots=3) == ("--max-parallel", "out-of-range", [3, 2])


def test_a_slot_of_several_gpus_has_distinct_ones(gpus):
    gpus(5)
    assert local_slots(devices=2) == [("0", "1"), ("2", "3")]
    assert local_slots(devices=2, jobs_per_gpu=2) == [("0", "1"), ("2", "3")] * 2
    assert local_slots(devices=5) == [("0", "1", "2", "3", "4")]
    assert refused(devices=6, jobs_per_gpu=2) == ("--devices", "out-of-range", [6, 5])
    assert refused(slots=3, devices=2) == ("--max-parallel", "out-of-range", [3, 2])


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1,3", ["1", "3"]),
        (" 3 , 1", ["3", "1"]),
        ("GPU-5e6b,MIG-77c1/1/0", ["GPU-5e6b", "MIG-77c1/1/0"]),
        ("GPU-5e,", ["GPU-5e"]),
        ("0,4,1", ["0"]),
        ("2,-1,3", ["2"]),
        ("-1", None),
        ("", None),
    ],
)
def test_only_visible_gpus_count(gpus, visible, names):
    gpus(4, visible)
    assert local_slots() == ([(name,) for name in names] if names else [("",)] * CORES)
