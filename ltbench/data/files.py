"""Text files; locks, atomic directories and manifests for caches shared by processes."""

import codecs
import errno
import fcntl
import io
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
from ltbench.data.image_formats import SUFFIXES

MANIFEST = "manifest.json"


def expand_home(path: str | Path) -> Path:
    """Expand the `~` of a path, unless its user is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def cache_root() -> Path:
    """Return the cache folder: LTBENCH_CACHE, else the user's."""
    if chosen := os.environ.get("LTBENCH_CACHE"):
        return expand_home(chosen) / "ltbench"
    return expand_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ltbench"


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, with their ends.

    The text is UTF-8, or UTF-16 with a byte order mark; lines end with a line feed, a carriage
    return or both.

    Raises:
        DataError: if the file is missing or is not such a text.
    """
    try:
        data = path.read_bytes()
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path.name} is missing") from None
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}", "unreadable") from None
    except UnicodeDecodeError as error:
        if path.suffix.lower() in SUFFIXES:
            raise DataError(f"{path.name} is an image, not a list", "unreadable") from None
        line = data.count(b"\n", 0, error.start) + 1
        message = f"{path.name}:{line}: is not text in UTF-8: save the file as UTF-8"
        raise DataError(message, "unreadable") from None
    return list(io.StringIO(text, newline=""))


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a file lock; the kernel releases it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def cache_lock(folder: Path, needs: int = 0) -> Iterator[None]:
    """Hold the lock of a cache folder that is being built.

    Args:
        folder: of the cache.
        needs: least size in bytes; 0 if unknown.

    Raises:
        DataError: if the cache cannot be written, with the space needed and free.
    """
    try:
        with file_lock(folder.parent / f".{folder.name}.lock"):
            _check_space(folder.parent, needs)
            yield
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()  # if it is empty
        space = f" (it needs {format_bytes(needs)})" if needs else ""
        with suppress(OSError):
            space += f"; {format_bytes(shutil.disk_usage(folder.parent).free)} are free there"
        raise DataError(
            f"the cache {folder} cannot be written{space}: {error.strerror}; set LTBENCH_CACHE to "
            "use another folder",
            "not-writable",
        ) from error


def _check_space(folder: Path, needs: int) -> None:
    if needs > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def format_bytes(size: int) -> str:
    """Format a number of bytes, in MB or GB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def reserve(path: Path) -> None:
    """Allocate the disk space of a sparse file.

    Writing to its memory map cannot fail afterwards.

    Raises:
        OSError: if there is not enough space.
    """
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@contextmanager
def removed_on_error(path: Path) -> Iterator[None]:
    """Remove a file if the block that writes it fails."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` if the block succeeds.

    The caller holds a lock, so that other temporary folders were left by killed processes.
    """
    for abandoned in folder.parent.glob(f".{folder.name}.*/"):
        shutil.rmtree(abandoned)
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
    """Write a folder's manifest: its content, with a hash."""
    manifest = {"content": content, "sha256": content_hash(content)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read a folder's manifest; return None if it is missing or changed."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        content: dict[str, Any] = manifest["content"]
        return content if manifest["sha256"] == content_hash(content) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def read_complete(folder: Path) -> dict[str, Any] | None:
    """Return a folder's manifest if its files have the sizes in it.

    Returns:
        The content, with `sizes` in bytes by file; None if the manifest or a file is missing or
        changed.
    """
    content = read_manifest(folder)
    try:
        same = content is not None and all(
            (folder / name).stat().st_size == size for name, size in content["sizes"].items()
        )
    except (OSError, KeyError):
        return None
    return content if same else None
