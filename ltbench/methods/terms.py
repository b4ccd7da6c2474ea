"""The words of the contract: category, hyper-parameters, progress."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

Category = Literal[
    "baseline",
    "re-sampling",
    "cost-sensitive",
    "re-margining",
    "logit adjustment",
    "transfer",
    "augmentation",
    "representation",
    "classifier design",
    "decoupled",
    "ensemble",
]


class Hyper(BaseModel):
    """Hyper-parameters of a method: the paper's defaults, each with a one-line description."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Progress:
    """Where training stands at the start of an epoch.

    Attributes:
        epoch: epochs completed, from 0.
        epochs: epochs of the stage.
        deferred: whether the recipe's deferred switches (DRW, DRS) are on.
    """

    epoch: int
    epochs: int
    deferred: bool

    @property
    def fraction(self) -> float:
        """Completed share of the stage, in [0, 1)."""
        return self.epoch / self.epochs
