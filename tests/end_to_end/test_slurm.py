"""Grids on a real Slurm: prerequisites, several nodes, preemption, cancelling, lost nodes."""

import json

import pytest

from ltbench.core.files import read_json
from tests.support.cluster import Cluster, missing
from tests.support.project import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]
EPOCHS = 300
SLURM = ("--launcher", "slurm", "--checkpoint-every", "1000")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    yield cluster
    cluster.stop()


def long_grids(folder):
    """Return a project with six jobs, three depending on the others."""
    project = Project(folder)
    project.recipe("long", EPOCHS, 20, "{kind: cosine}", norm="group")
    project.grid("softmax", "crt", name="long", recipes="[long]", seeds="[0, 1, 2]")
    project.grid("balanced_softmax", name="pair", recipes="[long]")
    return project


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Return the records of both grids from undisturbed runs without Slurm."""
    project = long_grids(tmp_path_factory.mktemp("local"))
    project.run("long.yaml")
    project.run("pair.yaml", "--devices", "2")
    return project.records()


@pytest.fixture
def project(tmp_path, cluster):
    cluster.ready()
    project = long_grids(tmp_path)
    project.environment |= {"SLURM_CONF": cluster.environment["SLURM_CONF"]}
    project.environment["PATH"] = cluster.environment["PATH"]
    yield project
    cluster.call("scancel", "--user", "root")
    cluster.wait_for(lambda: not cluster.queue())
    cluster.wait_for(lambda: not project.processes())


def under_way(cluster, project):
    """Wait until jobs have trained some epochs; return their keys."""

    def found():
        jobs = [project.run_dir.job(path.name) for path in project.out.glob("jobs/*")]
        return [
            job.path.name
            for job in jobs
            if job.lock.holder() and (read_json(job.progress) or {"epoch": 0})["epoch"] > 3
        ]

    return cluster.wait_for(found)


def preempt(cluster):
    """Preempt all jobs by one of higher priority."""
    words = ("--partition=high", "--nodes=2", "--ntasks-per-node=2", "--output=/dev/null")
    cluster.call("sbatch", *words, "--wrap", "sleep 1")


def assert_as_local(project, local):
    records = project.records()
    assert records
    for key, record in records.items():
        assert record.numbers() == local[key].numbers(), record.job.title


def test_a_grid_with_prerequisites_is_preempted_and_ends_as_without_slurm(cluster, project, local):
    with cluster.closed("low"):
        said = project.run("long.yaml", *SLURM, "--time", "30").stdout
        assert "6 jobs are queued in Slurm" in said
        counts, text = project.status("long.yaml")
        assert counts == {"queued": 6}
        names = cluster.call("squeue", "--noheader", "--array", "--format=%j").split()
        methods = ("softmax", "crt")
        assert sorted(names) == sorted(
            f"{method}.digits_r20.longtailed.s{seed}" for method in methods for seed in range(3)
        )
        assert text.count("PENDING (") == 6
        assert len(cluster.dependent()) == 3
        assert "6 jobs are queued in Slurm" in project.run("long.yaml", *SLURM).stdout
        assert len(cluster.queue()) == 6  # none twice
    for number in range(2):
        cluster.wait_for(lambda: not cluster.held())
        under_way(cluster, project)
        preempt(cluster)
        cluster.wait_for(lambda number=number: stops(project) > number)
    cluster.wait_for(lambda: not cluster.queue(), 500)
    assert project.status("long.yaml")[0] == {"done": 6}
    records = project.records()
    assert len(records) == 6
    assert_as_local(project, local)
    assert sum(record.cost.attempts for record in records.values()) >= 8


def stops(project):
    logs = "".join(log.read_text() for log in project.out.glob("jobs/*/log.txt"))
    return logs.count("stopped, and saved for the next attempt")


def test_two_nodes_train_one_job_and_are_preempted(cluster, project, local):
    project.run(
        "pair.yaml", *SLURM, "--devices", "2", "--nodes", "2", "--slurm-option", "gres=gpu:1"
    )
    (key,) = under_way(cluster, project)
    holder = project.run_dir.job(key).lock.holder()
    assert holder.details["launch"].startswith("slurm ")
    preempt(cluster)
    cluster.wait_for(lambda: stops(project))
    cluster.wait_for(lambda: not cluster.queue())
    record = project.records()[key]
    assert record.cost.devices == 2
    assert record.cost.attempts == 2
    assert record.test == local[key].test
    assert record.weights == local[key].weights
    # Ranks that stop within an epoch average its losses once more than others.
    assert record.training.losses == pytest.approx(local[key].training.losses, rel=1e-12)


def test_canceled_jobs_are_not_requeued_and_resume_later(cluster, project, local):
    only = ("--only", "seed=0")
    project.run("long.yaml", *SLURM, *only)
    under_way(cluster, project)
    words = ("--grid", "long.yaml", "--run-dir", str(project.out), *only)
    assert "2 jobs canceled" in project.call("cancel", *words, torch=False).stdout
    cluster.wait_for(lambda: not cluster.queue())
    counts, text = project.status("long.yaml", *only)
    assert counts == {"missing": 2}
    assert "is over and left no record" in text
    project.run("long.yaml", *only)  # without Slurm
    assert_as_local(project, local)


def test_a_job_that_slurm_has_completed_is_not_done_without_its_record(cluster, project):
    said = project.verb("plan", "pair.yaml", "--export", "commands").stdout
    key = said.split()[-1].rpartition("/")[2]
    number = cluster.call("sbatch", "--parsable", "--output=/dev/null", "--wrap", "true").strip()
    folder = project.run_dir.job(key)
    folder.submission.write_text(json.dumps({"slurm": number}))
    cluster.wait_for(lambda: not cluster.queue())
    counts, text = project.status("pair.yaml")
    assert counts == {"missing": 1}
    assert f"Slurm job {number} is over and left no record" in text


def test_a_lost_node_is_survived(cluster, project, local):
    only = ("--only", "seed=0", "--only", "variant=softmax")
    project.run("long.yaml", *SLURM, *only)
    (key,) = under_way(cluster, project)
    node = cluster.call("squeue", "-h", "-o", "%N").strip()
    cluster.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        cluster.wait_for(lambda: project.run_dir.job(key).lock.holder() is None)
        cluster.wait_for(lambda: not cluster.queue())
    finally:
        cluster.resume(node)
    assert_as_local(project, local)
    assert project.records()[key].cost.attempts >= 2


def test_jobs_that_depend_on_a_failed_job_do_not_wait(cluster, project):
    plugin = project.write("mine.py", FAILING)
    grid = project.grid("fails", "{label: after, method: crt, init_from: fails}", recipes="[long]")
    project.run(grid, *SLURM, "--plugin", plugin)
    cluster.wait_for(lambda: not cluster.queue())
    counts, text = project.status(grid, "--plugin", plugin)
    assert counts == {"failed": 1, "missing": 1}
    assert "RuntimeError: no luck" in text


FAILING = """\
from ltbench.methods.contract import Method


class Fails(Method):
    title = "Fails"
    paper = None
    category = "baseline"

    def training_loss(self, batch):
        raise RuntimeError("no luck")


METHODS = {"fails": Fails}
"""
