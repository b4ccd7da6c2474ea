"""Job locks: numbered lock files, of which the last one counts.

Those of a job are in one folder. A lock file is created exclusively, which works on any file
system. Its holder also locks it with `flock`, touches it every few seconds (the heartbeat), and
writes `free` into it on release. On the same machine a holder is dead when its flock is gone: the
kernel says so, whatever becomes of process ids. On another machine, whose flocks may not be visible
here, a holder is dead when its file was not touched for a minute, as watched from here: no clocks
are compared, so they may differ or jump. Lock files are never removed and numbers are never reused,
so that a holder who was taken for dead by mistake finds the next file, and stops.
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

HEARTBEAT_EVERY = 5.0
"""Seconds between heartbeats of a holder."""

HEARTBEAT_TIMEOUT = 60.0
"""Seconds without a heartbeat after which a holder on another machine counts as dead; more than
the seconds for which NFS may show an old time."""

POLL = 0.5
"""Seconds between looks at the heartbeat of a holder on another machine."""

FREE = b"free\n"
NUMBER = re.compile(r"\d{5}")


class LockLostError(Exception):
    """Another process took over the job, or its folder is gone."""


def machine_id() -> str:
    """Return an id of this machine since its last boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return socket.gethostname()


@dataclass(frozen=True)
class Holder:
    """The process that holds a job, according to its lock file.

    Attributes:
        number: of the lock file.
        touched: time of the last heartbeat by the file system's clock, in nanoseconds.
        host: name of its machine.
        pid: id of its process there.
        details: passed to `JobLock.acquire`.
        here: whether it lives on this machine, according to the kernel.
    """

    number: int
    touched: int
    host: str
    pid: int
    details: dict[str, str]
    here: bool


class HeldLock:
    """A lock held by this process, and by processes forked from it."""

    def __init__(self, path: Path, handle: int, details: dict[str, str]) -> None:
        self.path = path
        self.handle = handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except OSError:  # a file system without flock: only heartbeats count
            locked = False
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "machine": machine_id()}
        os.write(handle, json.dumps({**holder, "locked": locked, "details": details}).encode())

    def beat(self) -> None:
        """Send a heartbeat.

        Raises:
            LockLostError: if another process took over the lock, or its file is gone.
        """
        os.utime(self.handle)
        try:
            same = os.path.samestat(self.path.stat(), os.fstat(self.handle))
        except FileNotFoundError:
            same = False
        if not same:
            raise LockLostError(f"{self.path} is gone")
        if _lock_file(self.path.parent, int(self.path.name) + 1).exists():
            raise LockLostError("another process took the job over")

    def release(self) -> None:
        """Release the lock.

        The bytes are overwritten before they are cut: a full disk has room for them.
        """
        try:
            os.pwrite(self.handle, FREE, 0)
            os.ftruncate(self.handle, len(FREE))
        finally:
            os.close(self.handle)


class JobLock:
    """The lock of one job, a folder of lock files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def acquire(self, **details: str) -> HeldLock | None:
        """Acquire the lock; returns None if another process holds it.

        Args:
            details: what other processes should know of the holder.
        """
        number = self._last_number()
        if self._holder(number) is not None:
            return None
        created = self._create(number + 1)
        if created is None:
            return None
        path, handle = created
        try:
            return HeldLock(path, handle, details)
        except OSError:  # a full disk: others have seen only that the number is in use
            path.unlink(missing_ok=True)
            os.close(handle)
            raise

    def free_from_dead(self) -> None:
        """Free the lock if its holder, on another machine, is dead.

        It waits for the holder's next heartbeat, at most `HEARTBEAT_TIMEOUT` seconds.
        """
        detector, first = DeadHolderDetector(), self.holder()
        holder = first
        while holder is not None and holder == first and not holder.here:
            if detector.is_dead(self, holder):
                self.break_lock(holder)
                return
            time.sleep(POLL)
            holder = self.holder()

    def holder(self) -> Holder | None:
        """Return the holder, or None.

        A process on this machine that died holds nothing. One on another machine may be dead: see
        `DeadHolderDetector`.
        """
        return self._holder(self._last_number())

    def break_lock(self, holder: Holder) -> None:
        """Free a lock whose holder is dead, unless another process has."""
        if created := self._create(holder.number + 1):
            _, handle = created
            try:
                os.write(handle, FREE)
            finally:
                os.close(handle)

    def _holder(self, number: int) -> Holder | None:
        try:
            file = _lock_file(self.folder, number).open("rb")
        except FileNotFoundError:
            return None
        with file:
            text, touched = file.read(), os.fstat(file.fileno()).st_mtime_ns
            if text == FREE:
                return None
            content = _parse(text)
            here = bool(content.get("locked")) and content.get("machine") == machine_id()
            if here and _can_lock(file):
                return None
        host, pid = content.get("host", ""), content.get("pid", 0)
        return Holder(number, touched, host, pid, content.get("details", {}), here)

    def _last_number(self) -> int:
        """Return the last number in use, 0 if there is none."""
        with contextlib.suppress(FileNotFoundError):
            names = [path.name for path in self.folder.iterdir()]
            return max((int(name) for name in names if NUMBER.fullmatch(name)), default=0)
        return 0

    def _create(self, number: int) -> tuple[Path, int] | None:
        """Create the lock file of a number; returns None if it exists."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = _lock_file(self.folder, number)
        try:
            return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return None


def _lock_file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}"


def _parse(text: bytes) -> dict[str, Any]:
    """Return the content of a lock file; empty while being written."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _can_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class DeadHolderDetector:
    """Detects dead holders on other machines by polling their heartbeats."""

    def __init__(self) -> None:
        self.seen: dict[Path, tuple[tuple[int, int], float]] = {}

    def is_dead(self, lock: JobLock, holder: Holder) -> bool:
        """Return whether a holder has missed its heartbeats since first polled."""
        beat, now = (holder.number, holder.touched), time.monotonic()
        before, since = self.seen.get(lock.folder, (None, now))
        if holder.here or beat != before:
            self.seen[lock.folder] = (beat, now)
            return False
        return now - since > HEARTBEAT_TIMEOUT
