"""Types that need no torch: papers, stages, teachers, network costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

TestTime = Literal["inductive", "transductive", "known_test_prior"]
"""What predictions may use of the test set: nothing, its unlabeled images, or its class prior."""
ClassSubset = Literal["all", "many", "medium", "few"]
"""Classes that a job is trained on: all, or one shot group of the dataset."""

ViewKind = Literal["recipe", "distorted"]
"""How a view is augmented: as the recipe's training images, or by a strong distortion.

Distorted views are randomly resized crops of at least a fifth of the image, flipped where the
recipe flips, with changed colors, sometimes gray, and blurred if images are larger than 64 pixels:
the augmentation of MoCo v2. The recipe's policy and color jitter have no part in them.
"""

CIFAR_RESNETS = {"resnet8": 1, "resnet20": 3, "resnet32": 5}
"""Blocks in each stage of the CIFAR ResNets."""

FASTNETS = {
    "fastnet_narrow": (24, 96, 96),
    "fastnet": (32, 128, 128),
    "fastnet_wide": (64, 256, 256),
}
"""Channels of the stages of networks that fit small images in few epochs."""

SMALL_BACKBONES = frozenset({*CIFAR_RESNETS, *FASTNETS})
"""Backbones for small images, built in `networks`; all others are timm's."""

RESNETS = frozenset(
    {*(f"resnet{n}" for n in (10, 18, 34, 50, 101, 152)), "resnext50_32x4d", "resnext101_32x4d"}
)
"""timm's ResNets of the field, known without importing timm."""


@dataclass(frozen=True)
class Paper:
    """The paper that a method comes from."""

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str | None = None

    @property
    def url(self) -> str | None:
        """Address on arXiv, if any."""
        return None if self.arxiv is None else f"https://arxiv.org/abs/{self.arxiv}"


@dataclass(frozen=True)
class Stage:
    """One stage of a method; each is a job of its own.

    Attributes:
        name: such as "train", "classifier", "statistics".
        samplers: a sampler for each batch of a step, such as "class_aware(per_class=4)"; with
            several, the batch is a dict by name.
        is_trained: the optimizer runs.
        needs_statistics_pass: `Method.update_statistics` gets the whole training set, before the
            first epoch (see `Method.needs_statistics_now`), or before the test if the stage is not
            trained.
        tunes_on_validation: `Method.tune_on_validation` gets the held-out images: "end" after
            training, before the test; "epochs" after each epoch.
        has_auxiliary_stream: each step also has a batch "auxiliary" of held-out images, drawn by
            `class_aware` and augmented as training images are; the batch is a dict by name.
        recipe_stage: the part of the recipe that applies: "stage1" for a network, "stage2" for a
            classifier on a trained network.
        epochs_scale: epochs of the stage, relative to the recipe's; milestones, warm-up and the
            deferred epoch move along.
        lr_scale: learning rate of the stage, relative to the recipe's.
        views: kinds of the independently augmented views of each image in a batch.
        passes: forward and backward passes through the network per image of a batch of a sampler,
            also if `Method.epoch_indices` has streams of other sizes; a part of the network counts
            by its share of the arithmetic.
        forward_passes: passes without a gradient for weights: frozen parts, momentum encoders,
            statistics passes after the first; not teachers.
        is_evaluated: the stage predicts classes. Pre-training does not: its record has no test,
            and no table has a row for it.
        changes: pairs of hyper-parameter values and the fields that differ under them.
    """

    name: str
    samplers: tuple[str, ...] = ("instance",)
    is_trained: bool = True
    needs_statistics_pass: bool = False
    tunes_on_validation: Literal["never", "end", "epochs"] = "never"
    has_auxiliary_stream: bool = False
    recipe_stage: Literal["stage1", "stage2"] = "stage1"
    epochs_scale: float = 1.0
    lr_scale: float = 1.0
    views: tuple[ViewKind, ...] = ("recipe",)
    passes: float = 1.0
    forward_passes: float = 0.0
    is_evaluated: bool = True
    changes: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()

    def __post_init__(self) -> None:
        """Refuse scales that leave nothing to train, and views of no kind.

        Raises:
            ValueError: naming the stage.
        """
        if min(self.epochs_scale, self.lr_scale) <= 0:
            raise ValueError(f"stage {self.name!r}: epochs_scale and lr_scale must be above 0")
        views, kinds = self.views, get_args(ViewKind)
        if not isinstance(views, Sequence) or not views or not set(kinds).issuperset(views):
            raise ValueError(
                f"stage {self.name!r}: views must be a tuple of {', '.join(kinds)}, not {views!r}"
            )

    @property
    def needs_auxiliary(self) -> bool:
        """Whether it needs held-out images, to train with or to tune on."""
        return self.has_auxiliary_stream or self.tunes_on_validation != "never"

    def resolve(self, hparams: Mapping[str, Any]) -> "Stage":
        """Return the stage under given hyper-parameters."""
        fields = [
            changed for when, changed in self.changes if when.items() <= dict(hparams).items()
        ]
        if not fields:
            return self
        return replace(self, **{name: value for each in fields for name, value in each.items()})


@dataclass(frozen=True)
class Teacher:
    """A method that is trained first, on the same split.

    Each image of a batch, and of a statistics pass, passes through every teacher once, forward.

    Attributes:
        method: its key.
        hparams: hyper-parameters that differ from the defaults.
        same: hyper-parameters that have the values of the method that it teaches.
        unless: hyper-parameters of that method with which it has no such teacher.
        subset: the classes that it is trained on; an empty group has no teacher.
        batch_share: its batch size relative to the recipe's, for subsets with few images.
        seed_scale: its seed is that of the job times `seed_scale`, plus `seed_offset`.
        seed_offset: see `seed_scale`.
    """

    method: str
    hparams: Mapping[str, Any] = field(default_factory=dict)
    same: tuple[str, ...] = ()
    unless: Mapping[str, Any] = field(default_factory=dict)
    subset: ClassSubset = "all"
    batch_share: float = 1.0
    seed_scale: int = 1
    seed_offset: int = 0

    def teaches(self, student: Mapping[str, Any]) -> bool:
        """Return whether a method with given hyper-parameters has this teacher."""
        return not self.unless or not self.unless.items() <= dict(student).items()

    def hparams_for(self, student: Mapping[str, Any]) -> dict[str, Any]:
        """Return its hyper-parameters, given those of the method that it teaches."""
        return {**self.hparams, **{name: student[name] for name in self.same}}


@dataclass(frozen=True)
class NetworkCost:
    """Size of a method's network, and arithmetic of one prediction.

    Attributes:
        parameters: of the method's module, trained or not.
        megaflops: millions of multiplications and additions per image.
        teachers: megaflops of each teacher, in the method's order.
    """

    parameters: int
    megaflops: float
    teachers: tuple[float, ...] = ()


COST_BACKBONE = "resnet32"
"""Backbone on which costs are counted if they are not known on the board's own."""
