import os
from pathlib import Path

import pytest

from ltbench.config.errors import ConfigError
from ltbench.launch import machine
from ltbench.launch.machine import local_slots

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that /dev has this many GPUs and CUDA_VISIBLE_DEVICES says this."""

    def pretend(count, visible=None):
        devices = [Path(f"/dev/nvidia{i}") for i in range(count)]
        monkeypatch.setattr(machine.Path, "glob", lambda self, pattern: iter(devices))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return pretend


def test_without_a_gpu_a_slot_is_a_core(gpus):
    gpus(0, "0,1")
    assert local_slots() == local_slots("cpu") == [("",)] * CORES
    assert local_slots(slots=1) == [("",)]
    assert local_slots(devices=CORES) == [("",) * CORES]
    with pytest.raises(
        ConfigError, match=f"--slots: {CORES + 1} asked for, this machine has {CORES}"
    ):
        local_slots(slots=CORES + 1)
    with pytest.raises(ConfigError, match="no GPU is visible"):
        local_slots("gpu")
    with pytest.raises(
        ConfigError, match=f"--devices: {CORES + 1} asked for, this machine has {CORES} cores"
    ):
        local_slots(devices=CORES + 1)


def test_a_slot_is_a_gpu_each_once_before_any_twice(gpus):
    gpus(2)
    assert local_slots() == [("0",), ("1",)]
    assert local_slots(jobs_per_gpu=2) == [("0",), ("1",), ("0",), ("1",)]
    assert local_slots(slots=3, jobs_per_gpu=2) == [("0",), ("1",), ("0",)]
    assert local_slots("cpu") == [("",)] * CORES
    with pytest.raises(ConfigError, match="3 asked for, this machine has 2"):
        local_slots(slots=3)


def test_a_slot_of_several_gpus_has_different_ones(gpus):
    gpus(5)
    assert local_slots(devices=2) == [("0", "1"), ("2", "3")]
    assert local_slots(devices=2, jobs_per_gpu=2) == [("0", "1"), ("2", "3")] * 2
    assert local_slots(devices=5) == [("0", "1", "2", "3", "4")]
    with pytest.raises(ConfigError, match="--devices: 6 asked for, this machine has 5 GPUs"):
        local_slots(devices=6, jobs_per_gpu=2)
    with pytest.raises(ConfigError, match="--slots: 3 asked for, this machine has 2"):
        local_slots(slots=3, devices=2)


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
