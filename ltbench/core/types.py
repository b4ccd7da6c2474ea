"""Types without torch: papers, stages, teachers, network costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

TestTime = Literal["inductive", "transductive", "known_test_prior"]
"""What a method knows of the test set beside the image at hand: nothing, its images, its prior."""
ClassSubset = Literal["all", "many", "medium", "few"]
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
    """Describe one stage of a method; each stage of a variant is a job of its own.

    Attributes:
        name: what the stage does, e.g. "train", "classifier", "statistics".
        samplers: one sampler name a stream of batches; two make the batch a dict by sampler name.
        is_trained: whether the optimizer runs.
        needs_statistics_pass: whether `Method.update_statistics` gets the whole training set:
            before training, or before the test if the stage is not trained.
        tunes_on_validation: whether `Method.tune_on_validation` gets the auxiliary images at the
            end, before the test.
        recipe_stage: the recipe's settings that apply: "stage1" trains a network, "stage2" what is
            built on a trained one.
        views: independently augmented views of each image in a batch.
        passes: forward and backward passes through the network for each image of a batch; a part
            of the network counts by its arithmetic.
        forward_passes: passes without a gradient for the weights: frozen parts, momentum encoders.
            Teachers are not among them.
        is_evaluated: whether the stage predicts classes. Pre-training does not: its record has no
            test, and no table has a row of it.
        changes: pairs of hyper-parameter values and the fields that differ under them.
    """

    name: str
    samplers: tuple[str, ...] = ("instance",)
    is_trained: bool = True
    needs_statistics_pass: bool = False
    tunes_on_validation: Literal["never", "end"] = "never"
    recipe_stage: Literal["stage1", "stage2"] = "stage1"
    views: int = 1
    passes: float = 1.0
    forward_passes: float = 0.0
    is_evaluated: bool = True
    changes: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()

    def resolve(self, hparams: Mapping[str, Any]) -> "Stage":
        """Return the stage under given hyper-parameters."""
        fields = [
            changed for when, changed in self.changes if when.items() <= dict(hparams).items()
        ]
        return replace(self, **{name: value for each in fields for name, value in each.items()})


@dataclass(frozen=True)
class Teacher:
    """Another method, trained on the same split with the same seed, that a method learns from.

    Each image of a batch, and of a statistics pass, passes through every teacher once, forward.

    Attributes:
        method: its key.
        hparams: its hyper-parameters, where they are not the defaults.
        subset: the classes that it is trained on, alone; for an empty group there is no teacher.
        batch_share: its batch as a share of the recipe's, for subsets with few images.
    """

    method: str
    hparams: Mapping[str, Any] = field(default_factory=dict)
    subset: ClassSubset = "all"
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
