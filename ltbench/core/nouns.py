"""Nouns that need no torch: what a method says of itself, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

TestTime = Literal["fixed", "adapted", "prior-known"]
"""What a method knows of a test beside the image at hand: nothing, its images, its class prior."""
Subset = Literal["all", "many", "medium", "few"]
"""Classes that a job knows: all, or one group of the dataset's rule."""

CIFAR_RESNETS = {"resnet8": 1, "resnet20": 3, "resnet32": 5}
"""Blocks in each stage of the backbones that are ours; all others are timm's."""


@dataclass(frozen=True)
class Paper:
    """Where a method comes from."""

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str | None = None

    @property
    def url(self) -> str | None:
        """Address of the paper on arXiv, if it is there."""
        return None if self.arxiv is None else f"https://arxiv.org/abs/{self.arxiv}"


@dataclass(frozen=True)
class Stage:
    """One stage of a method; each stage of a variant is a job of its own.

    Attributes:
        name: what the stage does, e.g. "train", "classifier", "statistics".
        samplers: one sampler name a stream of batches; two make the batch a dict by sampler name.
        trains: whether the optimiser runs; without, the stage only observes or adjusts.
        observes: whether `Method.observe` sees the whole training set: before training, or before
            the test where nothing is trained.
        validates: whether `Method.validate` sees the auxiliary images before the test.
        second: whether the recipe's second-stage settings apply instead of its first.
        views: independently augmented views of each image in a batch.
        passes: through the network, forward and backward, for each image of a batch; a part of the
            network counts by its arithmetic.
        forward_passes: through the network or a copy of it, without a gradient for its weights:
            frozen parts, momentum encoders. Teachers are not among them.
        tests: whether the trained stage predicts classes, and so is tested; pre-training does not:
            its record has no test, and no table a row of it.
        changes: fields that are otherwise under some hyper-parameters: pairs of both.
    """

    name: str
    samplers: tuple[str, ...] = ("instance",)
    trains: bool = True
    observes: bool = False
    validates: bool = False
    second: bool = False
    views: int = 1
    passes: float = 1.0
    forward_passes: float = 0.0
    tests: bool = True
    changes: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()

    def under(self, hyper: Mapping[str, Any]) -> "Stage":
        """Return the stage as it is under hyper-parameters."""
        fields = [changed for when, changed in self.changes if when.items() <= dict(hyper).items()]
        return replace(self, **{name: value for each in fields for name, value in each.items()})


@dataclass(frozen=True)
class Teacher:
    """Another method, trained on the same split with the same seed, that a method learns from.

    Each image of a batch, and each that is observed, passes through every teacher once, forward.

    Attributes:
        method: its key.
        hyper: its hyper-parameters, where they are not the defaults.
        subset: the classes that it is trained on, alone; for an empty group there is no teacher.
        batch_share: its batch as a share of the recipe's, for subsets with few images.
    """

    method: str
    hyper: Mapping[str, Any] = field(default_factory=dict)
    subset: Subset = "all"
    batch_share: float = 1.0


@dataclass(frozen=True)
class NetworkCost:
    """Size of a method's network and arithmetic of one prediction.

    Attributes:
        parameters: of the method's module, whether they train or not.
        megaflops: millions of multiplications and additions for one image.
        teachers: those of each teacher, in the order that the method names them.
    """

    parameters: int
    megaflops: float
    teachers: tuple[float, ...] = ()
