import sys

import pytest

from ltbench.launch.ray_cluster import Needs, connected
from tests.support.errors import problems_of
from tests.support.training_jobs import options


@pytest.mark.parametrize(
    ("needs", "jobs"),
    [(Needs(1, 0), 8), (Needs(3, 0), 2), (Needs(1, 1), 4), (Needs(3, 3), 1), (Needs(5, 5), 0)],
)
def test_jobs_that_a_node_can_take(needs, jobs):
    assert needs.fit({"CPU": 8.0, "GPU": 4.0, "memory": 1e9}) == jobs


def test_a_node_without_gpus_takes_no_job_that_needs_one():
    assert Needs(1, 1).fit({"CPU": 8.0}) == 0


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    (problem,) = problems_of(lambda: connected(None, options()).__enter__())
    assert (problem.file, problem.code) == ("--launcher", "unavailable")
    assert "ltbench[ray]" in problem.message
