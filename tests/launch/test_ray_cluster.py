import sys

import pytest
from rich.console import Console

from ltbench.launch import ray_cluster as module
from ltbench.launch.display import RunDisplay
from ltbench.launch.process import POLL
from ltbench.launch.ray_cluster import JobResources, RayRunner, connected
from ltbench.launch.runner import RunnerConfig
from ltbench.runs.run_dir import RunDirectory
from tests.support.errors import problems_of
from tests.support.training_jobs import options


@pytest.mark.parametrize(
    ("cpus", "gpus", "slots"), [(1, 0, 8), (3, 0, 2), (1, 1, 4), (3, 3, 1), (5, 5, 0)]
)
def test_slots_of_a_node(cpus, gpus, slots):
    node = {"CPU": 8.0, "GPU": 4.0, "memory": 1e9}
    assert JobResources(cpus, gpus).slots_of(node) == slots


def test_a_node_without_gpus_has_no_slot_for_a_gpu_job():
    assert JobResources(1, 1).slots_of({"CPU": 8.0}) == 0


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    (problem,) = problems_of(lambda: connected(None, options()).__enter__())
    assert (problem.file, problem.code) == ("--launcher", "unavailable")
    assert "ltbench[ray]" in problem.message


def test_a_runner_without_tasks_waits_for_the_jobs_of_others(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    slept = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    display = RunDisplay(Console(quiet=True), {}, 1)
    config = RunnerConfig({}, {}, {}, RunDirectory(tmp_path), options(), display)
    assert list(RayRunner(config, JobResources(1, 0)).poll_finished()) == []
    assert slept == [POLL]
