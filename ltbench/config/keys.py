"""Content hashes: what identifies a job, a split, a file."""

import hashlib
import json
from pathlib import Path
from typing import Any

PROTOCOL = 2
"""Bumped when batching, stepping or evaluation moves numbers; part of every job key."""

KEY_LENGTH = 16


def content_hash(value: Any) -> str:
    """Return the SHA-256 of a JSON value written in one canonical way."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
