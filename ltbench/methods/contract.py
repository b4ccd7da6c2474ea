"""The contract of a method: everything that its author needs.

A method is a PyTorch module that computes a loss and predicts logits; the suite trains, tests and
records it. Only `training_loss` has to be given, and four class attributes:

    from torch.nn.functional import cross_entropy

    from ltbench.core.distributed import global_mean
    from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper

    class FocalHParams(HParams):
        gamma: float = Field(2.0, ge=0, description="exponent of the focusing factor")

    class Focal(Method):
        title = "Focal"
        paper = Paper("Focal Loss for Dense Object Detection", "Lin et al.", "ICCV", 2017)
        category = "cost-sensitive"
        HParams = FocalHParams
        hparams: FocalHParams

        def training_loss(self, batch: Batch) -> Loss:
            losses = cross_entropy(self.network(batch.images), batch.labels, reduction="none")
            return global_mean((1 - (-losses).exp()) ** self.hparams.gamma * losses)

`ltbench methods check FILE` runs the checks that the suite's own methods pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.stepping import Loss
from ltbench.core.types import Paper, Stage, Teacher, TestTime
from ltbench.losses.counts import require_images
from ltbench.methods.weight_transfer import transfer_weights
from ltbench.networks import Network, NetworkSpec, build_backbone

__all__ = [
    "Batch",
    "Category",
    "HParams",
    "Loss",
    "Method",
    "Paper",
    "Progress",
    "Stage",
    "Teacher",
    "TrainedTeacher",
]

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


class HParams(BaseModel):
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


class Method(nn.Module):
    """Base of every method; only `training_loss` has to be given (none for untrained stages).

    Class attributes, read into the registry:
        title, aliases, paper, category: name in tables, other keys, source, the survey's heading.
        version, oracle: bumped when behaviour moves; file of reference numbers that checks it.
        stages: the stages that are jobs of their own, in order.
        init_from: variant whose trained network the first stage needs; a grid may name another.
        teachers: methods whose trained weights `load_teachers` gets, in this order.
        required_init_tensors: classifier tensors that this network must have.
        batch_dependence: which images of a batch affect the loss of one: "none", those "gathered"
            from all ranks, or those "per_rank".
        reduces_to: method that this one computes bit for bit when all counts are equal.
        test_time: whether shifted tests are run again, after `adapt` or with their prior given.
    """

    title: ClassVar[str]
    paper: ClassVar[Paper | None]
    category: ClassVar[Category]
    aliases: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    stages: ClassVar[tuple[Stage, ...]] = (Stage("train"),)
    init_from: ClassVar[str | None] = None
    teachers: ClassVar[tuple[Teacher, ...]] = ()
    required_init_tensors: ClassVar[tuple[str, ...]] = ()
    batch_dependence: ClassVar[Literal["none", "gathered", "per_rank"]] = "none"
    reduces_to: ClassVar[str | None] = None
    test_time: ClassVar[TestTime] = "inductive"
    oracle: ClassVar[str | None] = None
    HParams: ClassVar[type[HParams]] = HParams

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: Any = None) -> None:
        """Build the network.

        Args:
            spec: backbone, classes and channels.
            counts: [classes] int64, training images a class.
            hparams: values of `HParams`; defaults where None.

        Raises:
            ValueError: for counts of another length, or a class without images.
        """
        super().__init__()
        if len(counts) != spec.classes:
            raise ValueError(f"{len(counts)} counts for {spec.classes} classes")
        require_images(counts)
        self.spec = spec
        self.hparams = self.HParams() if hparams is None else hparams
        self.counts: Tensor
        self.register_buffer("counts", counts, persistent=False)
        self.stage = self.stage_of(self.stages[0].name)
        self.progress = Progress(0, 1, deferred=False)
        self.rng: GlobalBatchRNG
        self.frozen: list[nn.Module] = []
        self.network = self.build_network(spec)

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network: features and a linear classifier, unless the method has its own."""
        backbone, width = build_backbone(spec)
        return Network(backbone, linear(width, spec.classes))

    def stage_of(self, name: str) -> Stage:
        """Return one of the stages as it is under the hyper-parameters."""
        return {stage.name: stage for stage in self.stages}[name].resolve(self.hparams.model_dump())

    def training_loss(self, batch: Any) -> Loss:
        """Return the loss of a step: a scalar, or named scalars to be summed.

        A mean over samples is `core.distributed.global_mean`, and random numbers are `self.rng`,
        new in each epoch, so that ranks agree.

        Args:
            batch: a `Batch`; for a stage with several samplers a dict of them by sampler name.
        """
        raise NotImplementedError(f"{type(self).__name__} has no trained stage")

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return logits [B, classes] of images [B, C, H, W].

        Args:
            images: normalized test images.
            target_prior: [classes] class probabilities of the test set, where they are known.
        """
        logits: Tensor = self.network(images)
        return logits

    def samplers(self) -> tuple[str, ...]:
        """Return the samplers of the coming epoch; asked after `on_epoch_start`."""
        return self.stage.samplers

    def update_statistics(self, batch: Batch) -> None:
        """See the training set once, in order, test transform, no gradient, alike on every rank."""

    def finalize_statistics(self) -> None:
        """Finish what `observe` gathered."""

    def tune_on_validation(self, batches: Iterable[Batch]) -> None:
        """Choose what is open on auxiliary images: seen as by `observe`, alike on every rank."""

    def init_from_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Continue from a trained method's state: all of it where names and shapes are the same.

        Of another method's it is the backbone, and the classifier where that fits.

        Raises:
            ValueError: naming what the start lacks.
        """
        self.load_state_dict(
            transfer_weights(self.state_dict(), weights, self.required_init_tensors)
        )

    def load_teachers(self, teachers: Sequence[TrainedTeacher]) -> None:
        """Take the trained `teachers`: those there are, in order; an empty group has none."""

    def adapt(self, batches: Iterable[Tensor]) -> None:
        """Adapt to unlabelled test views [V, B, C, H, W], alike on every rank, before a test."""

    def on_stage_start(self, stage: Stage) -> None:
        """Prepare a stage: freeze, re-initialise. Runs after the start is loaded."""

    def on_epoch_start(self, progress: Progress) -> None:
        """Take note of where training stands; `self.progress` is set before."""

    def lr_scale(self, parameter: str) -> float:  # noqa: ARG002
        """Return the multiple of the recipe's learning rate that a named parameter trains with."""
        return 1.0

    def freeze(self, module: nn.Module, *, update_bn: bool = False) -> None:
        """Train a part no more; BatchNorm's statistics are fixed unless they are to be updated."""
        module.requires_grad_(requires_grad=False)
        if not update_bn:
            self.frozen.append(module.eval())

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all that is not frozen."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self
