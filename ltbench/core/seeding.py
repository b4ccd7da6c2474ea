"""Named random streams: a CPU generator for each purpose.

A further draw for one purpose never changes the numbers of another. To resume, no state has to be
stored: a generator is made again from its name, such as (seed, "augmentation", epoch).
"""

import hashlib

import torch


def derive_seed(seed: int, *name: str | int) -> int:
    """Return a 63-bit seed: the hash of a seed and a name."""
    text = "/".join(str(part) for part in (seed, *name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def make_generator(seed: int, *name: str | int) -> torch.Generator:
    """Return a new CPU generator for a named purpose."""
    return torch.Generator().manual_seed(derive_seed(seed, *name))
