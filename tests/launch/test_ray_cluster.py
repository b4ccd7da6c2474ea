import sys

import pytest

from ltbench.launch.ray_cluster import JobResources, connected
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
