"""Reference numbers: arrays `<case>/<array>` and `<case>/<variant>/<array>` of an oracle file.

Files without slashes name them `c0_<array>`, `c1_<array>`, and hyper-parameters `c0_hp_<name>`.

A test claims a file with the marker `oracle` and receives each of its cases or variants as the
argument `oracle`. Files that no test claims are ignored; a claim that a file does not meet fails.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

FLAT = re.compile(r"^(c\d+)_")


@dataclass
class Oracle:
    """A case of an oracle file, or a variant of a case.

    A variant has the arrays of its case too; those of another case are `<case>/<array>`.
    """

    id: str
    own: dict
    case: dict
    file: dict

    def __getitem__(self, name):
        """Return an array as a tensor, floats in double precision."""
        array = next(part[name] for part in (self.own, self.case, self.file) if name in part)
        tensor = torch.from_numpy(np.asarray(array))
        assert tensor.numel(), f"{self.id}: {name} is empty, nothing would be compared"
        return tensor.double() if tensor.is_floating_point() else tensor

    @property
    def hparams(self):
        text = self.own.get("hparams", self.case.get("hparams"))
        if text is not None:
            return json.loads(str(text))
        return {n.removeprefix("hp_"): v.item() for n, v in self.own.items() if n.startswith("hp_")}


def discover(path: Path, has=(), variant="", level=None):
    """Return what a file holds, in its order.

    Args:
        path: the .npz file; one that is not there holds nothing.
        has: arrays that the case or variant itself must have.
        variant: prefix of the names of the variants.
        level: "case" or "variant", for only one of them.
    """
    if not path.exists():
        return []
    with np.load(path, allow_pickle=False) as arrays:
        file = {FLAT.sub(r"\1/", name): arrays[name] for name in arrays.files if name != "meta"}
    cases = {}
    for name, value in file.items():
        case, *inner, array = name.split("/")
        cases.setdefault(case, {}).setdefault("/".join(inner), {})[array] = value
    return [
        Oracle(f"{case}-{name}".rstrip("-"), own, parts.get("", {}), file)
        for case, parts in cases.items()
        for name, own in parts.items()
        if set(has) <= own.keys()
        and name.startswith(variant)
        and (level is None or (level == "variant") == bool(name))
    ]
