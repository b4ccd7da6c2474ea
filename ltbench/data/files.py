"""Locks, atomically made folders and manifests, for what several processes prepare at once."""

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ltbench.config.keys import content_hash
from ltbench.data.errors import DataError

MANIFEST = "manifest.json"


def cache_root() -> Path:
    """Return the folder of what can be made again: LTBENCH_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("LTBENCH_CACHE"):
        return Path(chosen).expanduser() / "ltbench"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ltbench"


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock file; others wait. The kernel lets go of it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def making_cache(folder: Path, needs: int = 0) -> Iterator[None]:
    """Hold the lock of a folder of the cache; others wait.

    Args:
        folder: to be made or mended.
        needs: bytes that it takes at least, 0 where that is not known.

    Raises:
        DataError: where the cache cannot be written to, with the room that is needed and there.
    """
    try:
        with file_lock(folder.parent / f".{folder.name}.lock"):
            _check_room(folder.parent, needs)
            yield
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()  # where nothing was put into it
        room = f" (it needs {_megabytes(needs)})" if needs else ""
        with suppress(OSError):
            room += f"; {_megabytes(shutil.disk_usage(folder.parent).free)} are free there"
        raise DataError(
            f"the cache {folder} cannot be written{room}: {error.strerror}; LTBENCH_CACHE names "
            "another place",
            "not-writable",
        ) from error


def _check_room(folder: Path, needs: int) -> None:
    if needs > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def reserve(path: Path) -> None:
    """Reserve the room that a file says it takes, so that writing to its map cannot fail.

    Raises:
        OSError: where there is not so much.
    """
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@contextmanager
def removed_on_error(path: Path) -> Iterator[None]:
    """Remove a file where a block that writes it fails."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` only if the block succeeds.

    The caller holds a lock, so that what stands half-made beside it was left by a killed process.
    """
    for left in folder.parent.glob(f".{folder.name}.*/"):
        shutil.rmtree(left)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield temporary
        if folder.exists():
            shutil.rmtree(folder)
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write what a prepared folder holds, with a hash of it."""
    manifest = {"content": content, "sha256": content_hash(content)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return what a prepared folder holds; None where nobody wrote it or somebody altered it."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        content: dict[str, Any] = manifest["content"]
        return content if manifest["sha256"] == content_hash(content) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
