"""Locks, atomically made folders and manifests, for what several processes prepare at once."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ltbench.config.keys import content_hash

MANIFEST = "manifest.json"


def cache_root() -> Path:
    """Return the folder of what can be made again: LTBENCH_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("LTBENCH_CACHE"):
        return Path(chosen).expanduser() / "ltbench"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ltbench"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; others wait. The kernel lets go of it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
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
