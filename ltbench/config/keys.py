"""Content hashes: what identifies a job, a split, a file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROTOCOL = 2
"""Bumped when batching, stepping or evaluation moves numbers; part of every job key."""

KEY_LENGTH = 16

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """Return a JSON value as text, in one canonical way."""
    return _CANONICAL.encode(value)


def content_hash(value: Any) -> str:
    """Return the SHA-256 of a JSON value's canonical text."""
    return text_hash(canonical(value))


def mapping_hash(texts: Mapping[str, str]) -> str:
    """Return the content hash of a mapping whose values are canonical texts."""
    members = (f"{canonical(name)}:{texts[name]}" for name in sorted(texts))
    return text_hash(f"{{{','.join(members)}}}")


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
