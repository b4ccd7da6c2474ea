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
    assert local_slots() == local_slots("cpu") == [""] * CORES
    assert local_slots(slots=1) == [""]
    with pytest.raises(
        ConfigError, match=f"--slots: {CORES + 1} asked for, this machine has {CORES}"
    ):
        local_slots(slots=CORES + 1)
    with pytest.raises(ConfigError, match="no GPU is visible"):
        local_slots("gpu")


def test_a_slot_is_a_gpu_each_once_before_any_twice(gpus):
    gpus(2)
    assert local_slots() == ["0", "1"]
    assert local_slots(jobs_per_gpu=2) == ["0", "1", "0", "1"]
    assert local_slots(slots=3, jobs_per_gpu=2) == ["0", "1", "0"]
    assert local_slots("cpu") == [""] * CORES
    with pytest.raises(ConfigError, match="3 asked for, this machine has 2"):
        local_slots(slots=3)


@pytest.mark.parametrize(
    ("visible", "slots"), [("1,3", ["1", "3"]), ("GPU-5e,", ["GPU-5e"]), ("-1", None), ("", None)]
)
def test_only_visible_gpus_count(gpus, visible, slots):
    gpus(4, visible)
    assert local_slots() == (slots or [""] * CORES)
