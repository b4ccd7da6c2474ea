"""The body of a job's process: claim the job, train it, leave a record or the reason why not."""

import logging
import os
import sys
import threading
import traceback
from multiprocessing import parent_process
from pathlib import Path

from ltbench.config.models import Job
from ltbench.launch.state import finished
from ltbench.results.record import Record
from ltbench.results.store import read_record, record_path
from ltbench.results.workspace import Workspace, write_json
from ltbench.training.options import Options

log = logging.getLogger(__name__)

BUSY = 75
"""Exit code of a process that found its job claimed by another."""


def die_with_runner() -> None:
    """End this process when the runner that asked for it is gone, however it went."""
    runner = parent_process()
    if runner is None:
        return

    def wait() -> None:
        runner.join()
        os.kill(os.getpid(), 9)

    threading.Thread(target=wait, daemon=True).start()


def main(job_text: str, root: str, options: Options, environment: dict[str, str]) -> None:
    """Run one job in a fresh process of its own session."""
    os.setsid()
    os.environ.update(environment)
    die_with_runner()
    job, workspace = Job.model_validate_json(job_text), Workspace(Path(root))
    folder = workspace.job(job.key)
    with folder.claim() as mine:
        if not mine:
            sys.exit(BUSY)
        path = record_path(workspace.records, job)
        before = read_record(path) if path.exists() else None
        if finished(job, workspace):
            return  # by another runner since this one looked
        _redirect(folder.log)
        record = _train(job, workspace, options)
        if before is not None and before.numbers() != record.numbers():
            log.warning("trained again for its weights, the record differs from the one before")


def _train(job: Job, workspace: Workspace, options: Options) -> Record:
    from ltbench.training.fit import run_job

    try:
        return run_job(job, workspace, options)
    except BaseException as error:
        traceback.print_exc()
        write_json(workspace.job(job.key).failure, {"kind": type(error).__name__, "message": str(error)})
        sys.exit(1)


def _redirect(path: Path) -> None:
    """Send everything the process prints, C libraries included, to the job's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
