"""Named random streams: each purpose draws from its own generator, always on the CPU.

Adding a draw for one purpose never moves the draws of another, and no state has to be stored to
resume: a stream is made again from its name, for example (seed, "augmentation", epoch).
"""

import hashlib

import torch


def derive_seed(seed: int, *name: str | int) -> int:
    """Return a 63-bit seed that depends on every part of the name."""
    text = "/".join(str(part) for part in (seed, *name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def make_generator(seed: int, *name: str | int) -> torch.Generator:
    """Return a fresh CPU generator for a named purpose."""
    return torch.Generator().manual_seed(derive_seed(seed, *name))
