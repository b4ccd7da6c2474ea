"""Checkpoints at epoch ends: hashed in their name, the last two kept, never unpickled unsafely."""

import hashlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import torch

from ltbench.results.workspace import write_atomically

KEPT = 2
NAME = re.compile(r"epoch-(\d{5})-([0-9a-f]{16})\.pt")
log = logging.getLogger(__name__)


def _newest_first(folder: Path) -> list[tuple[int, str, Path]]:
    found = [(NAME.fullmatch(path.name), path) for path in folder.glob("epoch-*.pt")]
    named = [(int(match[1]), match[2], path) for match, path in found if match]
    return sorted(named, reverse=True)


def save_checkpoint(folder: Path, epoch: int, state: dict[str, Any]) -> None:
    """Write the state after an epoch (counted from 1) and drop all but the last two."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()[:16]
    write_atomically(folder / f"epoch-{epoch:05d}-{digest}.pt", data)
    for _, _, path in _newest_first(folder)[KEPT:]:
        path.unlink(missing_ok=True)


def load_checkpoint(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Return the newest whole checkpoint, or None; a damaged one is said and passed over."""
    for epoch, digest, path in _newest_first(folder):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest()[:16] == digest:
            state: dict[str, Any] = torch.load(io.BytesIO(data), device, weights_only=True)
            return state
        log.warning("the checkpoint of epoch %d is damaged and passed over: %s", epoch, path.name)
    return None
