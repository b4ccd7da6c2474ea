"""The body of a job's process: claim the job, train it, leave a record or the reason why not."""

import io
import logging
import os
import signal
import sys
import threading
from multiprocessing import parent_process
from pathlib import Path

from ltbench.config.models import Job
from ltbench.launch.state import finished
from ltbench.results.workspace import Workspace, write_json
from ltbench.training.options import Options

log = logging.getLogger(__name__)

BUSY = 75
"""Exit code of a process that found its job claimed by another."""


def main(job_text: str, root: str, options: Options, gpu: str) -> None:
    """Run one job in a fresh process, which becomes the leader of its own session.

    Args:
        job_text: the job as JSON.
        root: folder of the workspace.
        options: what the run decides for all its jobs.
        gpu: value of CUDA_VISIBLE_DEVICES; empty for a CPU job.
    """
    os.setsid()
    _die_with_runner()
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    job, workspace = Job.model_validate_json(job_text), Workspace(Path(root))
    folder = workspace.job(job.key)
    with folder.claim() as mine:
        if not mine:
            sys.exit(BUSY)
        if finished(job, workspace):
            return  # by another runner since this one looked
        for left in (folder.progress, folder.failure):  # by an attempt before this one
            left.unlink(missing_ok=True)
        _redirect(folder.log)
        log.info("%s, process %d", job.title, os.getpid())
        try:
            from ltbench.training.fit import run_job

            run_job(job, workspace, options)
        except Exception as error:
            log.exception("the job failed")
            failure = {"kind": type(error).__name__, "message": str(error)}
            write_json(folder.failure, failure)
            sys.exit(1)


def _die_with_runner() -> None:
    """End this session when the runner that asked for it is gone, however it went."""
    runner = parent_process()
    if runner is None:
        raise RuntimeError("a job runs in a process of its own")

    def wait() -> None:
        runner.join()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def _redirect(path: Path) -> None:
    """Send everything the process prints, C libraries included, to the job's log."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(handle, stream.fileno())
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # what a killed process said is there
    os.close(handle)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
