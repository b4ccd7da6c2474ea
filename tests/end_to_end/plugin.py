"""A plugin of methods, one that works and several that fail.

Two of them work once a file `mended` exists in this folder. The text of this file is part of keys.
"""

import os
import signal
import sys
from pathlib import Path

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Method, Stage

MENDED = Path(__file__).with_name("mended")


class Twice(Method):
    """Twice the cross-entropy."""

    title = "Twice"
    paper = None
    category = "baseline"

    def training_loss(self, batch):
        return {"loss": 2 * cross_entropy(self.network(batch.images), batch.labels)}


class Diverges(Twice):
    def training_loss(self, batch):
        return super().training_loss(batch)["loss"] * float("nan")


class Raises(Twice):
    def training_loss(self, batch):
        if MENDED.exists():
            return super().training_loss(batch)
        sys.stdout.write("about to fail\n")
        raise RuntimeError("no such \x1b[31mluck")


class Dies(Twice):
    def training_loss(self, batch):
        if not MENDED.exists():
            sys.stdout.write("about to die\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_loss(batch)


class Continues(Twice):
    stages = (Stage("first"), Stage("second", recipe_stage="stage2"))
    init_from = "raises"


METHODS = {
    "twice": Twice,
    "diverges": Diverges,
    "raises": Raises,
    "dies": Dies,
    "continues": Continues,
}
