"""Ray: jobs are tasks of a cluster, each placed on one node by the devices it needs.

A task runs the command that any machine could run, and ends it when Ray ends the task. Ray itself
retries nothing: the record of a job is believed, and the claim of one whose node is gone runs out.
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
from ltbench.config.models import Job
from ltbench.launch.runner import POLL, Runner, RunnerConfig
from ltbench.launch.task import command, write_task
from ltbench.training.options import Options

if TYPE_CHECKING:
    from ray import ObjectRef

ANSWER = 5.0
"""Seconds that a cluster may take to answer."""

REPORTS = "RAY_USAGE_STATS_ENABLED"
"""Variable by which Ray is told to report to nobody."""


@dataclass(frozen=True)
class Needs:
    """What a job needs of the node that it runs on."""

    cpus: int
    gpus: int

    def places(self) -> int:
        """Return how many jobs the nodes that are there can run at a time."""
        import ray

        return sum(self.fit(node["Resources"]) for node in ray.nodes() if node["Alive"])

    def fit(self, has: Mapping[str, float]) -> int:
        """Return how many jobs a node with these resources can run at a time."""
        cpus = int(has.get("CPU", 0)) // self.cpus
        return min(cpus, int(has.get("GPU", 0)) // self.gpus) if self.gpus else cpus


@contextmanager
def connected(address: str | None, options: Options) -> Iterator[Needs]:
    """Be connected to a cluster, or to one of this machine alone; yields what its jobs need.

    Args:
        address: host:port, or "auto" for the cluster that this machine is a node of.
        options: of the run; a device of "auto" is a GPU where a node has one.

    Raises:
        ConfigError: where there is no Ray, no cluster at the address, or no node that can take a
            job.
    """
    os.environ.setdefault(REPORTS, "0")
    try:
        import ray
    except ImportError as error:
        message = "ray needs Ray: pip install 'ltbench[ray]'"
        raise Location("--launcher").error("unavailable", message) from error
    where = Location("--address")
    if address not in (None, "auto"):
        _check_answers(str(address), where)
    try:
        ray.init(address or "local", log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise where.error("unavailable", f"no Ray at {address}: {error}") from error
    try:
        on_gpus = options.device == "gpu"
        if options.device == "auto":
            on_gpus = ray.cluster_resources().get("GPU", 0) > 0
        needs = Needs(options.devices, options.devices if on_gpus else 0)
        if needs.places() == 0:
            kind = "GPUs" if on_gpus else "cores"
            raise Location("--devices").error(
                "unavailable", f"no node of the cluster has {options.devices} {kind}"
            )
        yield needs
    finally:
        ray.shutdown()


def _check_answers(address: str, where: Location) -> None:
    host, _, port = address.rpartition(":")
    try:
        with closing(socket.create_connection((host, int(port)), ANSWER)):
            pass
    except ValueError as error:
        raise where.error("malformed", "is written host:port, or auto") from error
    except OSError as error:
        raise where.error("unavailable", f"nothing answers at {address}: {error}") from error


class RayRunner(Runner):
    """Trains jobs as tasks of the cluster that this process is connected to.

    Args:
        config: what to train.
        needs: what each job needs of a node.
    """

    def __init__(self, config: RunnerConfig, needs: Needs) -> None:
        import ray

        super().__init__(config)
        self.needs = needs
        self.task = ray.remote(num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=0)(_run)
        self.tasks: dict[str, ObjectRef[int]] = {}
        self.asked: set[str] = set()
        self.settings = {
            name: value for name, value in os.environ.items() if name.startswith("LTBENCH_")
        }

    def has_free_slot(self) -> bool:
        """Return whether the nodes that are there now can run another job."""
        return len(self.tasks) < self.needs.places()

    def start(self, job: Job) -> None:
        """Write the job down for the node that will run it, and submit it."""
        folder = write_task(job, self.run_dir, self.options)
        self.tasks[job.key] = self.task.remote(str(folder), str(Path.cwd()), self.settings)

    def poll_finished(self) -> Iterable[tuple[str, int | None]]:
        """Wait for a task to end, for a moment."""
        import ray
        from ray.exceptions import RayError

        ready, _ = ray.wait(list(self.tasks.values()), timeout=POLL)
        for key, task in list(self.tasks.items()):
            if task in ready:
                del self.tasks[key]
                code = None
                with suppress(RayError):  # the node, or the worker, is gone
                    code = ray.get(task)
                yield key, code

    def ask_to_stop(self) -> None:
        """Cancel every task, which hands that on to its job."""
        import ray

        for key in self.tasks.keys() - self.asked:  # once: a task may be handing it on
            ray.cancel(self.tasks[key])
            self.asked.add(key)

    def kill(self) -> None:
        """Cancel every task at once; its job ends with it."""
        import ray

        for task in self.tasks.values():
            ray.cancel(task, force=True)


def _run(folder: str, cwd: str, settings: Mapping[str, str]) -> int:
    """Run the job of a folder in a process of its own, which ends when this one does.

    Returns:
        The code it ends with.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray cancels by it, ignored or not
    words = [*command(Path(folder)), "--exit-with-parent"]
    process = subprocess.Popen(  # noqa: S603 - our own command
        words,
        cwd=cwd,
        env={**os.environ, **settings},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        while process.poll() is None:
            time.sleep(POLL)  # a cancelled task is interrupted between two of these
    except KeyboardInterrupt:
        process.terminate()
    return process.wait()
