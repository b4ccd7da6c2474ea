"""Who works on a job: numbered claim files, of which the last one counts.

A claim is a file that one process alone can have made, on any file system. Its holder locks it,
touches it every few seconds, and says in it when the job is free again. A holder on this machine is
dead when its lock is gone: the kernel's word, whatever becomes of process ids. One on another
machine, whose locks may not be seen here, is dead when its claim was not touched for a minute, as
watched from here: no clocks are compared, so that they may differ or jump. Locks are never removed
and numbers never used twice, so that a holder who was taken for dead by mistake finds the next
claim, and stops.
"""

import contextlib
import fcntl
import json
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

BEAT = 5.0
"""Seconds between a holder's signs of life."""

STALE = 60.0
"""Seconds without a sign of life after which a holder on another machine counts as dead; more than
the seconds for which NFS may show an old time."""

FREE = b"free\n"
NUMBER = re.compile(r"\d{5}")


class LockLostError(Exception):
    """Another process took over the job, or its folder is gone."""


def machine() -> str:
    """Return what tells this machine, since it was started, from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return socket.gethostname()


@dataclass(frozen=True)
class Holder:
    """Who holds a job, as its claim says.

    Attributes:
        number: of the claim.
        touched: time of its last sign of life by the file system's clock, in nanoseconds.
        host: name of its machine.
        pid: id of its process there.
        details: what else it says.
        here: whether this machine's kernel says that it lives.
    """

    number: int
    touched: int
    host: str
    pid: int
    details: dict[str, str]
    here: bool


class HeldLock:
    """A job that this process holds; processes forked from it keep it locked too."""

    def __init__(self, path: Path, handle: int, details: dict[str, str]) -> None:
        self.path = path
        self.handle = handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except OSError:  # a file system without locks: signs of life alone count
            locked = False
        who = {"host": socket.gethostname(), "pid": os.getpid(), "machine": machine()}
        os.write(handle, json.dumps({**who, "locked": locked, "details": details}).encode())

    def beat(self) -> None:
        """Give a sign of life.

        Raises:
            LockLostError: when the job is no longer this process's.
        """
        os.utime(self.handle)
        try:
            same = os.path.samestat(self.path.stat(), os.fstat(self.handle))
        except FileNotFoundError:
            same = False
        if not same:
            raise LockLostError(f"{self.path} is gone")
        if _numbered(self.path.parent, int(self.path.name) + 1).exists():
            raise LockLostError("another process took the job over")

    def release(self) -> None:
        """Let go of the job."""
        os.ftruncate(self.handle, 0)
        os.pwrite(self.handle, FREE, 0)
        os.close(self.handle)


class JobLock:
    """The claims of one job, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, **details: str) -> HeldLock | None:
        """Lock the job for this process; None where another process holds it.

        Args:
            details: what else others should know of the holder.
        """
        number = self._last()
        if self._holder(number) is not None:
            return None
        made = self._make(number + 1)
        if made is None:
            return None
        try:
            return HeldLock(*made, details)
        except OSError:  # a full disk: nobody has seen more than that the number is being used
            made[0].unlink(missing_ok=True)
            raise

    def holder(self) -> Holder | None:
        """Return who holds the job, None where it is free or its holder on this machine is dead."""
        return self._holder(self._last())

    def free(self, holder: Holder) -> None:
        """Make the job free whose holder is dead; nothing if someone else did so before."""
        if made := self._make(holder.number + 1):
            _, handle = made
            os.write(handle, FREE)
            os.close(handle)

    def _holder(self, number: int) -> Holder | None:
        try:
            file = _numbered(self.folder, number).open("rb")
        except FileNotFoundError:
            return None
        with file:
            text, touched = file.read(), os.fstat(file.fileno()).st_mtime_ns
            if text == FREE:
                return None
            said = _said(text)
            here = bool(said.get("locked")) and said.get("machine") == machine()
            if here and _unlocked(file):
                return None
        host, pid, details = said.get("host", ""), said.get("pid", 0), said.get("details", {})
        return Holder(number, touched, host, pid, details, here)

    def _last(self) -> int:
        """Return the last number used, 0 where there is none."""
        with contextlib.suppress(FileNotFoundError):
            names = [path.name for path in self.folder.iterdir()]
            return max((int(name) for name in names if NUMBER.fullmatch(name)), default=0)
        return 0

    def _make(self, number: int) -> tuple[Path, int] | None:
        """Make the claim of a number and open it; None where it was made before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = _numbered(self.folder, number)
        try:
            return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return None


def _numbered(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}"


def _said(text: bytes) -> dict[str, Any]:
    """Return what a claim says; nothing where its holder is about to write it."""
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _unlocked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Watch:
    """Finds out whether holders on other machines are dead, by looking again and again."""

    def __init__(self) -> None:
        self.seen: dict[Path, tuple[tuple[int, int], float]] = {}

    def is_dead(self, claims: JobLock, holder: Holder) -> bool:
        """Return whether a job's holder has given no sign of life since it was first looked at."""
        sign, now = (holder.number, holder.touched), time.monotonic()
        before, since = self.seen.get(claims.folder, (None, now))
        if holder.here or sign != before:
            self.seen[claims.folder] = (sign, now)
            return False
        return now - since > STALE
