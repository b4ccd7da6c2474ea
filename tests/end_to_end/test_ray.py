"""Grids on a real Ray cluster: dependencies, a lost node, stopping, addresses."""

import signal

import pytest

from ltbench.core.files import read_json
from tests.support.errors import printed
from tests.support.project import PATIENCE, Project, wait_until

pytest.importorskip("ray")
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def nodes(cluster):
    """Return a cluster of two nodes, restored after each test."""
    second = cluster.add_node(**NODE)
    yield cluster, second
    if second in cluster.list_all_nodes():
        cluster.remove_node(second)


def on(cluster):
    return ("--launcher", "ray", "--address", cluster.address, "--checkpoint-every", "0")


def long(project):
    project.recipe("long", 80, 2, norm="group")
    return project.grid("softmax", "ldam_drw", recipes="[long]")


def under_way(project, count):
    """Wait until a number of jobs have trained some epochs."""

    def trained():
        folders = [project.run_dir.job(path.name) for path in project.out.glob("jobs/*")]
        return sum((read_json(each.progress) or {"epoch": 0})["epoch"] > 3 for each in folders)

    wait_until(lambda: trained() >= count)


def numbers(project):
    return {key: record.numbers() for key, record in project.records().items()}


def test_a_grid_with_prerequisites_ends_as_a_local_run(nodes, project, finished):
    cluster, _ = nodes
    grid = project.grid("{label: cRT, method: crt, init_from: softmax}", "ncm", name="short")
    assert "3 jobs, 3 to train in 2 slots" in project.run(grid, *on(cluster)).stdout
    assert len(project.records()) == 3
    assert numbers(project).items() <= numbers(finished).items()
    wait_until(lambda: not project.processes())


def test_the_job_of_a_lost_node_is_finished_by_another(nodes, project, tmp_path_factory):
    cluster, second = nodes
    grid = long(project)
    alone = Project(tmp_path_factory.mktemp("alone"))
    alone.run(long(alone))
    run = project.start(grid, *on(cluster))
    under_way(project, 2)
    cluster.remove_node(second, allow_graceful=False)
    assert run.wait(PATIENCE) == 0, (project.folder / "run.log").read_text()
    assert numbers(project) == numbers(alone)
    assert max(record.cost.attempts for record in project.records().values()) == 2
    wait_until(lambda: not project.processes())


def test_a_stopped_run_saves_and_resumes(nodes, project):
    cluster, _ = nodes
    grid = long(project)
    run = project.start(grid, *on(cluster))
    under_way(project, 2)
    run.send_signal(signal.SIGINT)
    assert run.wait(PATIENCE) == 128 + signal.SIGINT, (project.folder / "run.log").read_text()
    wait_until(lambda: not project.processes())
    logs = [log.read_text() for log in project.out.glob("jobs/*/log.txt")]
    assert all("stopped, and saved for the next attempt" in log for log in logs)
    project.run(grid, *on(cluster))
    assert {record.cost.attempts for record in project.records().values()} == {2}


def test_a_killed_run_leaves_no_job_behind(nodes, project):
    cluster, _ = nodes
    run = project.start(long(project), *on(cluster))
    under_way(project, 2)
    run.kill()
    run.wait()
    wait_until(lambda: not project.trainers())


def test_a_local_cluster_ends_with_the_run(project):
    grid = project.grid("softmax")
    project.run(grid, "--launcher", "ray")
    assert len(project.records()) == 1
    wait_until(lambda: not project.processes())


@pytest.mark.parametrize(
    ("address", "code"), [("127.0.0.1:1", "unavailable"), ("here", "malformed")]
)
def test_an_address_without_ray_is_refused(project, address, code):
    words = ("--launcher", "ray", "--address", address)
    said = project.run(project.grid("softmax"), *words, code=2).stderr
    assert printed(said) == [("--address", "", code)]


def test_jobs_that_fit_no_node_are_refused(nodes, project):
    cluster, _ = nodes
    said = project.run("tiny.yaml", *on(cluster), "--devices", "2", code=2)
    assert ("--devices", "", "unavailable") in printed(said.stderr)
