"""Checkpoints: content hash in the name, last two kept, loaded with `weights_only`.

Those of later epochs than the one just written are left alone: this attempt could not use them, as
they are damaged or of another training.
"""

import hashlib
import io
import logging
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from ltbench.core.files import write_atomically

KEPT = 2
NAME = re.compile(r"epoch-(\d{5})(?:-step-(\d{7}))?-([0-9a-f]{16})\.pt")
log = logging.getLogger(__name__)


def _newest_first(folder: Path) -> list[tuple[int, int, str, Path]]:
    """Return epoch, step, hash and path of the checkpoints, newest first."""
    matches = [(NAME.fullmatch(path.name), path) for path in folder.glob("epoch-*.pt")]
    checkpoints = [(int(m[1]), int(m[2] or 0), m[3], path) for m, path in matches if m]
    return sorted(checkpoints, reverse=True)


def save_checkpoint(folder: Path, epoch: int, state: dict[str, Any], step: int = 0) -> None:
    """Write a checkpoint; remove all but the last two up to it.

    Args:
        folder: of the job's checkpoints.
        epoch: epochs completed.
        state: tensors and plain values, which `torch.load` reads with `weights_only=True`.
        step: optimization steps completed of the next epoch.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()[:16]
    within = f"-step-{step:07d}" if step else ""
    written = folder / f"epoch-{epoch:05d}{within}-{digest}.pt"
    write_atomically(written, data)
    found = _newest_first(folder)
    earlier = [path for e, s, _, path in found if (e, s) <= (epoch, step) and path != written]
    for path in earlier[KEPT - 1 :]:
        path.unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, device: torch.device, training: str | None = None
) -> dict[str, Any] | None:
    """Load the newest valid checkpoint of a training, None without one.

    Damaged checkpoints are skipped with a warning.

    Args:
        folder: of the job's checkpoints.
        device: of the tensors.
        training: key of the training, the state's `training`; None for any.

    Raises:
        torch.OutOfMemoryError: if the device has no room for it.
    """
    for epoch, step, digest, path in _newest_first(folder):
        try:
            state = _read(path, digest, device)
            if training in (None, state.get("training")):
                return state
        except torch.OutOfMemoryError:  # the checkpoint is not damaged
            raise
        except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0]
            where = f"epoch {epoch}" + (f", step {step}" if step else "")
            log.warning("skipping the damaged checkpoint of %s: %s: %s", where, path.name, reason)
    return None


def _read(path: Path, digest: str, device: torch.device) -> dict[str, Any]:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest()[:16] != digest:
        raise ValueError("its hash does not match its name")
    state: dict[str, Any] = torch.load(io.BytesIO(data), device, weights_only=True)
    return state
