"""The words of the contract: category, hyper-parameters, progress, trained teachers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

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

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


@dataclass(frozen=True)
class TrainedTeacher:
    """The state of a trained teacher.

    Attributes:
        weights: its state.
        classes: [K] the classes that it was trained on, which its logits [B, K] stand for.
    """

    weights: Mapping[str, Tensor]
    classes: Tensor
