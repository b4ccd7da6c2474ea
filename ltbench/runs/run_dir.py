"""Where a run keeps things: records, and a folder a job with its log, checkpoints, weights."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ltbench.config.keys import file_hash
from ltbench.runs.job_lock import HeldLock, JobLock


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job; everything in it can be lost without losing a result."""

    path: Path

    @property
    def weights(self) -> Path:
        """The trained method's state."""
        return self.path / "weights.safetensors"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints; empty once the job is done."""
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        """What the job printed, all attempts."""
        return self.path / "log.txt"

    @property
    def progress(self) -> Path:
        """Where the running job says how far it is."""
        return self.path / "progress.json"

    @property
    def failure(self) -> Path:
        """Why the last attempt failed; absent where none did."""
        return self.path / "failure.json"

    @property
    def ends(self) -> Path:
        """How often something outside has ended attempts at the epoch that it stands at."""
        return self.path / "ends.json"

    @property
    def ticket(self) -> Path:
        """What a scheduler calls the job."""
        return self.path / "ticket.json"

    def has_weights(self, sha256: str) -> bool:
        """Return whether the weights of a record are here, byte for byte."""
        return self.weights.exists() and file_hash(self.weights) == sha256

    @property
    def claims(self) -> JobLock:
        """Who works on the job, and who did."""
        return JobLock(self.path / "claims")

    @contextlib.contextmanager
    def claim(self, **details: str) -> Iterator[HeldLock | None]:
        """Hold the job for this process; yields None where another process holds it."""
        claim = self.claims.take(**details)
        try:
            yield claim
        finally:
            if claim is not None:
                claim.release()


@dataclass(frozen=True)
class RunDirectory:
    """The folder that `ltbench run` writes to (`runs/`, or `--run-dir`)."""

    root: Path

    @property
    def records(self) -> Path:
        """Records of finished jobs."""
        return self.root / "records"

    @property
    def plans(self) -> Path:
        """Which jobs the grids have that were trained here, an edition of a grid a file."""
        return self.root / "plans"

    def job(self, key: str) -> JobFolder:
        """Return the folder of a job."""
        return JobFolder(self.root / "jobs" / key)
