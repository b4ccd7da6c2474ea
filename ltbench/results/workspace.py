"""Where a run keeps things: records, and a folder a job with its log, checkpoints, weights."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltbench.config.keys import file_hash
from ltbench.results.claim import Claim, Claims


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, whatever happens.

    Args:
        path: the file; its folder is made.
        data: its new content.
        durable: whether the bytes are on the disk before this returns.

    Raises:
        OSError: naming the file, where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_json(path: Path, value: object) -> None:
    """Write a small JSON file that may be lost in a crash."""
    write_atomically(path, json.dumps(value).encode(), durable=False)


def read_json(path: Path) -> Any:
    """Return a small JSON file's value, or None where it is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


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
    def claims(self) -> Claims:
        """Who works on the job, and who did."""
        return Claims(self.path / "claims")

    @contextlib.contextmanager
    def claim(self, **details: str) -> Iterator[Claim | None]:
        """Hold the job for this process; yields None where another process holds it."""
        claim = self.claims.take(**details)
        try:
            yield claim
        finally:
            if claim is not None:
                claim.release()


@dataclass(frozen=True)
class Workspace:
    """The folder that `ltbench run` writes to (`runs/`, or `--out`)."""

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
