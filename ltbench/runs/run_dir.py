"""Layout of a run folder: records, and a folder per job."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ltbench.config.keys import file_hash
from ltbench.runs.job_lock import HeldLock, JobLock


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job: weights, checkpoints, log and lock.

    The result is in the record: everything here can be lost without losing a result.
    """

    path: Path

    @property
    def weights(self) -> Path:
        """Weights of the trained method."""
        return self.path / "weights.safetensors"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, empty once the job is done."""
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        """Output of the job, all attempts."""
        return self.path / "log.txt"

    @property
    def progress(self) -> Path:
        """Epoch and speed of the running job."""
        return self.path / "progress.json"

    @property
    def failure(self) -> Path:
        """Reason why the last attempt failed; absent if it did not."""
        return self.path / "failure.json"

    @property
    def retries(self) -> Path:
        """Number of attempts ended from outside, and the epoch they reached."""
        return self.path / "retries.json"

    @property
    def submission(self) -> Path:
        """Id that the scheduler gave the job."""
        return self.path / "submission.json"

    @property
    def lock(self) -> JobLock:
        """Lock that at most one process holds while it runs the job."""
        return JobLock(self.path / "lock")

    def leftovers(self) -> Iterator[Path]:
        """Yield the files of an earlier attempt that are of no use.

        Half-written weights and checkpoints of a killed process are among them.
        """
        yield from (self.progress, self.failure)
        yield from self.path.glob(f".{self.weights.name}.*")
        yield from self.checkpoints.glob(".*")

    def has_weights(self, sha256: str) -> bool:
        """Return whether the weights have the hash that a record gives."""
        return self.weights.exists() and file_hash(self.weights) == sha256

    @contextlib.contextmanager
    def hold(self, **details: str) -> Iterator[HeldLock | None]:
        """Hold the job's lock; yields None if another process holds it.

        Args:
            details: what other processes should know of the holder.
        """
        held = self.lock.acquire(**details)
        try:
            yield held
        finally:
            if held is not None:
                held.release()


@dataclass(frozen=True)
class RunDirectory:
    """The run folder: `runs/`, or what --run-dir names."""

    root: Path

    @property
    def records(self) -> Path:
        """Records of finished jobs."""
        return self.root / "records"

    @property
    def plans(self) -> Path:
        """Jobs of the grids trained here, a file per edition."""
        return self.root / "plans"

    @property
    def jobs(self) -> Path:
        """Folders of the jobs."""
        return self.root / "jobs"

    def job(self, key: str) -> JobFolder:
        """Return the folder of a job."""
        return JobFolder(self.jobs / key)

    def job_keys(self) -> set[str]:
        """Return the keys of the jobs that have a folder."""
        try:
            return {path.name for path in self.jobs.iterdir()}
        except FileNotFoundError:
            return set()
