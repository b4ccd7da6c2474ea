"""Ray: runs jobs as tasks of a cluster, one node each.

A task runs the job's command in a subprocess, which ends when Ray ends the task. Ray itself retries
nothing: whether a job is done is decided by its record, and the lock of a job whose node is gone
expires.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ltbench.config.errors import Location
from ltbench.config.job import Job
from ltbench.launch.process import POLL
from ltbench.launch.runner import Runner, RunnerConfig
from ltbench.launch.task import command, write_task
from ltbench.training.options import Options

if TYPE_CHECKING:
    from ray import ObjectRef

CONNECT_TIMEOUT = 5.0
"""Seconds that a cluster may take to accept a connection."""

USAGE_STATS = "RAY_USAGE_STATS_ENABLED"
"""Environment variable that turns off Ray's usage reports."""


@dataclass(frozen=True)
class JobResources:
    """CPUs and GPUs of one job, all on one node."""

    cpus: int
    gpus: int

    def slots(self) -> int:
        """Return the number of jobs that live nodes can run at once."""
        import ray

        return sum(self.slots_of(node["Resources"]) for node in ray.nodes() if node["Alive"])

    def slots_of(self, node: Mapping[str, float]) -> int:
        """Return the number of jobs that one node can run at once."""
        cpus = int(node.get("CPU", 0)) // self.cpus
        return min(cpus, int(node.get("GPU", 0)) // self.gpus) if self.gpus else cpus


@contextmanager
def connected(address: str | None, options: Options) -> Iterator[JobResources]:
    """Connect to a cluster; yields the resources of one job.

    Args:
        address: host:port, "auto" for the cluster that this machine is a node of, or None for a
            local one.
        options: of the run; a device of "auto" means GPUs if a node has any.

    Raises:
        ConfigError: if Ray is not installed, no cluster answers, or no node can run a job.
    """
    os.environ.setdefault(USAGE_STATS, "0")
    try:
        import ray
    except ImportError as error:
        message = "ray needs Ray: pip install 'ltbench[ray]'"
        raise Location("--launcher").error("unavailable", message) from error
    location = Location("--address")
    if address not in (None, "auto"):
        _check_answers(str(address), location)
    try:
        ray.init(address or "local", log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = "could be started here" if address is None else f"at {address}"
        raise location.error("unavailable", f"no Ray {where}: {error}") from error
    try:
        on_gpus = options.device == "gpu"
        if options.device == "auto":
            on_gpus = ray.cluster_resources().get("GPU", 0) > 0
        resources = JobResources(options.devices, options.devices if on_gpus else 0)
        if resources.slots() == 0:
            kind = "GPUs" if on_gpus else "cores"
            raise Location("--devices").error(
                "unavailable", f"no node of the cluster has {options.devices} {kind}"
            )
        yield resources
    finally:
        ray.shutdown()


def _check_answers(address: str, location: Location) -> None:
    host, _, port = address.rpartition(":")
    try:
        with closing(socket.create_connection((host, int(port)), CONNECT_TIMEOUT)):
            pass
    except ValueError as error:
        raise location.error("malformed", f"expected host:port or auto, got {address}") from error
    except OSError as error:
        raise location.error("unavailable", f"nothing answers at {address}: {error}") from error


class RayRunner(Runner):
    """Trains jobs as tasks of the connected cluster.

    Args:
        config: jobs, run folder and options.
        resources: of each job.
    """

    def __init__(self, config: RunnerConfig, resources: JobResources) -> None:
        import ray

        super().__init__(config)
        self.resources = resources
        self.task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0)(
            _run
        )
        self.tasks: dict[str, ObjectRef[int]] = {}
        self.canceled: set[str] = set()
        self.settings = {
            name: value for name, value in os.environ.items() if name.startswith("LTBENCH_")
        }

    def has_free_slot(self) -> bool:
        """Return whether the live nodes can run another job."""
        return len(self.tasks) < self.resources.slots()

    def start(self, job: Job) -> None:
        """Write the job's task file and submit its task."""
        folder = write_task(job, self.run_dir, self.options)
        self.tasks[job.key] = self.task.remote(str(folder), str(Path.cwd()), self.settings)

    def poll_finished(self) -> Iterable[tuple[str, int | None]]:
        """Wait a moment for tasks to end."""
        if not self.tasks:  # other runs hold the jobs left; `ray.wait` would return at once
            time.sleep(POLL)
            return
        import ray
        from ray.exceptions import RayError

        ready, _ = ray.wait(list(self.tasks.values()), timeout=POLL)
        for key, task in list(self.tasks.items()):
            if task in ready:
                del self.tasks[key]
                code = None
                with suppress(RayError):  # the node or the worker is gone
                    code = ray.get(task)
                yield key, code

    def ask_to_stop(self) -> None:
        """Cancel every task, which stops its job."""
        import ray

        for key in self.tasks.keys() - self.canceled:  # once: a task may be stopping its job
            ray.cancel(self.tasks[key])
            self.canceled.add(key)

    def kill(self) -> None:
        """Kill every task and its job."""
        import ray

        for task in self.tasks.values():
            ray.cancel(task, force=True)


def _run(folder: str, cwd: str, settings: Mapping[str, str]) -> int:
    """Run the job of a folder in a subprocess.

    The subprocess ends with this process.

    Returns:
        The exit code of the subprocess.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray cancels with SIGINT
    arguments = [*command(Path(folder)), "--exit-with-parent"]
    process = subprocess.Popen(  # noqa: S603 - our own command
        arguments,
        cwd=cwd,
        env={**os.environ, **settings},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        while process.poll() is None:
            time.sleep(POLL)  # a canceled task is interrupted between two polls
    except KeyboardInterrupt:
        process.terminate()
    return process.wait()
