"""Reference numbers: arrays `<case>/<array>` and `<case>/<variant>/<array>` of an oracle file.

A test claims a file with the marker `oracle` and receives each of its cases or variants as the
argument `oracle`. Files that no test claims are ignored.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch


@dataclass
class Oracle:
    """A case of a file, or a variant of one; the arrays of a variant's case are at hand too."""

    id: str
    own: dict
    case: dict

    def __getitem__(self, name):
        """Return an array as a tensor, floats in double precision."""
        array = self.own[name] if name in self.own else self.case[name]
        tensor = torch.from_numpy(np.asarray(array))
        return tensor.double() if tensor.is_floating_point() else tensor

    @property
    def hparams(self):
        text = self.own.get("hparams", self.case.get("hparams"))
        return {} if text is None else json.loads(str(text))


def discover(path: Path, has=(), variants=None, level=None):
    """Return what a file holds, in its order.

    Args:
        path: the .npz file; one that is not there holds nothing.
        has: arrays that the case or variant itself must have.
        variants: beginnings of the names of the variants wanted.
        level: "case" or "variant", for only one of them.
    """
    if not path.exists():
        return []
    cases = {}
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            if name != "meta":
                case, *variant, array = name.split("/")
                cases.setdefault(case, {}).setdefault("/".join(variant), {})[array] = file[name]
    return [
        Oracle(f"{case}-{variant}".rstrip("-"), own, parts.get("", {}))
        for case, parts in cases.items()
        for variant, own in parts.items()
        if set(has) <= own.keys()
        and (variants is None or variant.startswith(tuple(variants)))
        and (level is None or (level == "variant") == bool(variant))
    ]
