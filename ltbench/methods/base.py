"""The contract of a method: an ordinary module, which the suite trains, tests and records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.batch import Batch
from ltbench.core.draws import Draws
from ltbench.core.nouns import Paper, Stage, Teacher, TestTime
from ltbench.core.stepping import Loss
from ltbench.losses.counts import require_images
from ltbench.methods.start import continued
from ltbench.methods.terms import Category, Hyper, Progress, TrainedTeacher
from ltbench.networks import Network, NetworkSpec, build_backbone

__all__ = ["Batch", "Category", "Hyper", "Loss", "Method", "Paper", "Progress", "Stage", "Teacher"]


class Method(nn.Module):
    """Base of every method; only `training_loss` has to be given (none for untrained stages).

    Class attributes, read into the catalogue:
        title, aliases, paper, category: name in tables, other keys, source, the survey's heading.
        version, oracle: bumped when behaviour moves; file of reference numbers that checks it.
        stages: the stages that are jobs of their own, in order.
        start_from: variant whose trained network the first stage needs; a grid may name another.
        teachers: methods whose trained weights `load_teachers` gets, in this order.
        start_needs: classifier tensors that this network must have.
        coupling: how samples of a batch meet: "none", "gathered" from all ranks, or "per_rank".
        balanced_equals: method that this one computes bit for bit when all counts are equal.
        test_time: whether shifted tests are run again, after `adapt` or with their prior given.
    """

    title: ClassVar[str]
    paper: ClassVar[Paper | None]
    category: ClassVar[Category]
    aliases: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    stages: ClassVar[tuple[Stage, ...]] = (Stage("train"),)
    start_from: ClassVar[str | None] = None
    teachers: ClassVar[tuple[Teacher, ...]] = ()
    start_needs: ClassVar[tuple[str, ...]] = ()
    coupling: ClassVar[Literal["none", "gathered", "per_rank"]] = "none"
    balanced_equals: ClassVar[str | None] = None
    test_time: ClassVar[TestTime] = "fixed"
    oracle: ClassVar[str | None] = None
    Hyper: ClassVar[type[Hyper]] = Hyper

    def __init__(self, spec: NetworkSpec, counts: Tensor, hyper: Any = None) -> None:
        """Build the network.

        Args:
            spec: backbone, classes and channels.
            counts: [classes] int64, training images a class.
            hyper: values of `Hyper`; defaults where None.

        Raises:
            ValueError: for counts of another length, or a class without images.
        """
        super().__init__()
        if len(counts) != spec.classes:
            raise ValueError(f"{len(counts)} counts for {spec.classes} classes")
        require_images(counts)
        self.spec = spec
        self.hyper = self.Hyper() if hyper is None else hyper
        self.counts: Tensor
        self.register_buffer("counts", counts, persistent=False)
        self.stage = self.stage_of(self.stages[0].name)
        self.progress = Progress(0, 1, deferred=False)
        self.draws: Draws
        self.frozen: list[nn.Module] = []
        self.network = self.build_network(spec)

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network: features and a linear classifier, unless the method has its own."""
        backbone, width = build_backbone(spec)
        return Network(backbone, linear(width, spec.classes))

    def stage_of(self, name: str) -> Stage:
        """Return one of the stages as it is under the hyper-parameters."""
        return {stage.name: stage for stage in self.stages}[name].under(self.hyper.model_dump())

    def training_loss(self, batch: Any) -> Loss:
        """Return the loss of a step: a scalar, or named scalars to be summed.

        A mean over samples is `core.distributed.global_mean`, and random numbers are `self.draws`,
        new in each epoch, so that ranks agree.

        Args:
            batch: a `Batch`; for a stage with several samplers a dict of them by sampler name.
        """
        raise NotImplementedError(f"{type(self).__name__} has no trained stage")

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return logits [B, classes] of images [B, C, H, W].

        Args:
            images: normalised test images.
            target_prior: [classes] class probabilities of the test set, where they are known.
        """
        logits: Tensor = self.network(images)
        return logits

    def samplers(self) -> tuple[str, ...]:
        """Return the samplers of the coming epoch; asked after `on_epoch_start`."""
        return self.stage.samplers

    def observe(self, batch: Batch) -> None:
        """See the training set once, in order, test transform, no gradient, alike on every rank."""

    def on_observed(self) -> None:
        """Finish what `observe` gathered."""

    def validate(self, batches: Iterable[Batch]) -> None:
        """Choose what is open on auxiliary images: seen as by `observe`, alike on every rank."""

    def load_start(self, weights: Mapping[str, Tensor]) -> None:
        """Continue from a trained method's state: all of it where names and shapes are the same.

        Of another method's it is the backbone, and the classifier where that fits.

        Raises:
            ValueError: naming what the start lacks.
        """
        self.load_state_dict(continued(self.state_dict(), weights, self.start_needs))

    def load_teachers(self, teachers: Sequence[TrainedTeacher]) -> None:
        """Take the trained `teachers`: those there are, in order; an empty group has none."""

    def adapt(self, batches: Iterable[Tensor]) -> None:
        """Adapt to unlabelled test views [V, B, C, H, W], alike on every rank, before a test."""

    def on_stage_start(self, stage: Stage) -> None:
        """Prepare a stage: freeze, re-initialise. Runs after the start is loaded."""

    def on_epoch_start(self, progress: Progress) -> None:
        """Take note of where training stands; `self.progress` is set before."""

    def lr_factor(self, parameter: str) -> float:  # noqa: ARG002
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
