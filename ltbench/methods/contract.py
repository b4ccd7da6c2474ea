"""The contract of a method: everything its author needs in one file.

A method is a PyTorch module that returns a training loss and predicts logits; the suite builds,
trains, tests and records it. It gives `title`, `paper`, `category` and `training_loss`, and
overrides further hooks of `Method` where it needs them. A whole plugin, `my_focal.py`:

    from pydantic import Field
    from torch.nn.functional import cross_entropy

    from ltbench.core.distributed import global_mean
    from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper

    class FocalHParams(HParams):
        gamma: float = Field(2.0, ge=0, description="exponent of the focusing factor")

    class Focal(Method):
        title = "Focal loss"
        paper = Paper("Focal Loss for Dense Object Detection", "Lin et al.", "ICCV", 2017)
        category = "cost-sensitive"
        HParams = FocalHParams
        hparams: FocalHParams

        def training_loss(self, batch: Batch) -> Loss:
            losses = cross_entropy(self.network(batch.images), batch.labels, reduction="none")
            return global_mean((1 - (-losses).exp()) ** self.hparams.gamma * losses)

    METHODS = {"my_focal": Focal}

`ltbench methods check my_focal.py` runs the checks that the suite's own methods pass, and
`ltbench run --grid GRID --plugin my_focal.py` trains it. Three rules hold for every hook:

Ranks. Each of W ranks has B / W rows of the global batch of B, and a job's numbers do not depend on
W. A mean over samples is `core.distributed.global_mean`; other sums over samples use `all_sum` and
`gather` of that module; random numbers come from `self.rng`. Parameters, buffers and control flow
are equal on every rank.

State. All that predictions, later steps or later stages need is a parameter or a buffer:
checkpoints and exported weights hold nothing else. Parameters train if they require a gradient when
`on_stage_start` returns, and all of these take part in every loss.

Speed. Hooks up to `weight_decay` run on the CPU, later ones on the device of the parameters.
`training_loss` reads no tensor back to the host (`.item()`, `.tolist()`): the step would wait.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.config.base import LATER
from ltbench.config.json_schema import Related
from ltbench.core.batch import Batch, StepInput
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.stepping import Loss
from ltbench.core.types import Paper, Stage, Teacher, TestTime
from ltbench.losses.counts import require_images
from ltbench.methods.weight_transfer import transfer_weights
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.samplers import EpochDraw

__all__ = [
    "LATER",
    "Batch",
    "Category",
    "EpochDraw",
    "GlobalBatchRNG",
    "HParams",
    "Loss",
    "Method",
    "Network",
    "NetworkSpec",
    "Paper",
    "Progress",
    "Stage",
    "StepInput",
    "Teacher",
    "TestTime",
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


class HParams(Related):
    """Base of a method's hyper-parameters.

    Each field has the paper's value as its default, bounds, and a one-line description. A field
    that is added later, with `json_schema_extra=LATER`, has what the method did before as its
    default, and leaves the keys of jobs with that value as they were.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Progress:
    """Training progress at the start of an epoch.

    Attributes:
        epoch: epochs completed, from 0.
        epochs: epochs of the stage.
        deferred: whether the recipe's `deferred_from_epoch` is reached (DRW, DRS).
        lr: the recipe's learning rate in this epoch, that of parameters with scale 1.
        backbone_lr: the rate of the backbone, relative to `lr`.
    """

    epoch: int
    epochs: int
    deferred: bool
    lr: float = 0.0
    backbone_lr: float = 1.0

    @property
    def fraction(self) -> float:
        """Completed share of the stage, in [0, 1)."""
        return self.epoch / self.epochs

    def lr_of(self, parameter: str) -> float:
        """Return the learning rate of a parameter in this epoch.

        Args:
            parameter: its name in the network, such as "backbone.conv1.weight".
        """
        return self.lr * (self.backbone_lr if parameter.startswith("backbone.") else 1.0)


@dataclass(frozen=True)
class TrainedTeacher:
    """Weights of a trained teacher.

    Attributes:
        weights: its state dict.
        classes: [K] int64, the classes that it was trained on; column k of its logits [B, K] is
            class `classes[k]`.
    """

    weights: Mapping[str, Tensor]
    classes: Tensor


def no_beat() -> None:
    """Report to no launcher."""


class Method(nn.Module):
    """Base class of all methods.

    Class attributes, read into the registry:
        title: name in tables.
        paper: source, or None.
        category: heading of the survey.
        aliases: other keys in grids.
        version: raised when the method's numbers change; old records are then stale.
        stages: in order; each is a job of its own.
        init_from: method whose trained network the first stage starts from; grids may override it.
        required_init_tensors: classifier tensors ("weight", "bias") that its weights must have.
        teachers: methods that are trained first and passed to `load_teachers`, in this order.
        can_compile: whether the recipe may compile the backbone; not where the loss takes gradients
            of gradients (see `core.inner`), which torch.compile cannot.
        batch_dependence: which rows of a batch affect a row's loss: "none", those "gathered" from
            all ranks, or those "per_rank" (the numbers then depend on the number of ranks).
        reduces_to: method that this one equals bit for bit if all classes have equally many images;
            hyper-parameters that both have keep their values.
        test_time: what predictions may know of the test set: nothing ("inductive"), its unlabeled
            images ("transductive", see `adapt`), or its class prior ("known_test_prior", see
            `predict`). The last two are also tested under shifted class frequencies.
        oracle: file of reference numbers in tests/oracles that a test compares the method with.
        oracle_by_others: whether these are of other people's code, not of the authors'.
        metric_terms: names of losses of `training_loss` that compare images of a class, and are
            zero if a batch has too few of them. It is an error if one is zero in all steps of an
            epoch and was in all before; once active it may reach its margin. The record has the
            steps in which each is not zero, of those that do not leave it out.
        own_reading: whether equations are ours, as those of the paper were not at hand: a footnote
            says so, and no published number is compared with the method's.
        HParams: class of its hyper-parameters.

    Attributes:
        hparams: values of the hyper-parameters.
        spec: backbone, classes and channels.
        counts: [classes] int64, training images per class.
        network: images [B, C, H, W] -> logits [B, classes].
        stage: the stage that runs.
        progress: set at the start of each epoch.
        rng: random numbers of an epoch, drawn for the global batch; new at the start of each epoch.
        beat: to be called every few seconds in a hook that takes minutes, lest the job counts as
            hung; raises an error if the job is to stop.

    Hooks stand below in the order of a stage's life: build, load, epochs, test.
    """

    title: ClassVar[str]
    paper: ClassVar[Paper | None]
    category: ClassVar[Category]
    aliases: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    stages: ClassVar[tuple[Stage, ...]] = (Stage("train"),)
    init_from: ClassVar[str | None] = None
    required_init_tensors: ClassVar[tuple[str, ...]] = ()
    teachers: ClassVar[tuple[Teacher, ...]] = ()
    can_compile: ClassVar[bool] = True
    batch_dependence: ClassVar[Literal["none", "gathered", "per_rank"]] = "none"
    reduces_to: ClassVar[str | None] = None
    test_time: ClassVar[TestTime] = "inductive"
    oracle: ClassVar[str | None] = None
    oracle_by_others: ClassVar[bool] = False
    metric_terms: ClassVar[tuple[str, ...]] = ()
    own_reading: ClassVar[bool] = False
    HParams: ClassVar[type[HParams]] = HParams

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: Any = None) -> None:
        """Build the method of any stage.

        Torch's default generator is seeded by the job's seed and stage, equally on every rank and
        for every method, so that initial weights are paired.

        Args:
            spec: backbone, classes and channels.
            counts: [classes] int64, training images per class.
            hparams: an instance of `HParams`; None for the defaults.

        Raises:
            ValueError: if the number of counts is wrong, or a class has no images.
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
        self.beat: Callable[[], object] = no_beat
        self.frozen: list[nn.Module] = []
        self.network = self.build_network(spec)

    def stage_of(self, name: str) -> Stage:
        """Return a stage under this method's hyper-parameters."""
        return {stage.name: stage for stage in self.stages}[name].resolve(self.hparams.model_dump())

    def own_teachers(self) -> list[Teacher]:
        """Return the teachers under this method's hyper-parameters."""
        hparams = self.hparams.model_dump()
        return [teacher for teacher in self.teachers if teacher.teaches(hparams)]

    # Build and load: on the CPU, before the optimizer is made.

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network; by default a backbone with a linear classifier.

        Called by the constructor, when `hparams` and `counts` are set; it may register buffers.
        The parts' names `backbone` and `classifier` matter: weights are transferred, the backbone
        gets a learning rate of its own, is compiled and, if frozen, its features are cached (the
        network is then given features [B, D], or [B, E, D] of experts, in place of images).
        """
        backbone, width = build_backbone(spec)
        return Network(backbone, linear(width, spec.classes))

    def init_from_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Initialize from the trained weights of `init_from` or of the stage before.

        Called once, before `on_stage_start`, with the same weights on every rank. By default all
        tensors are taken if all names and shapes match; else those of the backbone, and those of
        the classifier that fit.

        Raises:
            ValueError: naming each tensor that is missing or of another shape.
        """
        self.load_state_dict(
            transfer_weights(self.state_dict(), weights, self.required_init_tensors)
        )

    def load_teachers(self, teachers: Sequence[TrainedTeacher]) -> None:
        """Load the weights of trained teachers.

        Called once, before `on_stage_start`, with the same weights on every rank.

        Args:
            teachers: in the order of the class attribute; a class subset without classes has none.
        """

    def on_stage_start(self, stage: Stage) -> None:
        """Prepare a stage: freeze or re-initialize parts.

        Called once in training mode, with `self.stage` set and all weights loaded; again when a job
        resumes or weights are restored, whose state is loaded afterwards. New random weights come
        from torch's default generator, which has the same state on every rank.
        """

    def lr_scale(self, parameter: str) -> float:  # noqa: ARG002
        """Return a parameter's learning rate, relative to the recipe's.

        Called once for each parameter that trains; the recipe's schedule multiplies the result.

        Args:
            parameter: its name, such as "network.classifier.weight".
        """
        return 1.0

    def weight_decay_scale(self, parameter: str) -> float:  # noqa: ARG002
        """Return a parameter's weight decay, relative to the recipe's.

        Called once for each parameter that trains.

        Args:
            parameter: its name, such as "network.classifier.bias".
        """
        return 1.0

    def weight_decay(self, parameter: str, recipe: float) -> float:
        """Return a parameter's weight decay.

        By default the recipe's times `weight_decay_scale`; overridden where a paper gives the value
        itself. Called once for each parameter that trains.

        Args:
            parameter: its name, such as "network.classifier.bias".
            recipe: the recipe's weight decay.
        """
        return recipe * self.weight_decay_scale(parameter)

    # Epochs: in training mode; `forward` of the network runs under the recipe's precision.

    def on_epoch_start(self, progress: Progress) -> None:
        """Update what depends on the epoch.

        Called on every rank, with `self.progress` and `self.rng` set. If a job resumes within an
        epoch it is called again, before the saved state is loaded.
        """

    def lr_multiplier(self) -> float:
        """Return a factor of all learning rates in the coming epoch.

        Called after `on_epoch_start`; must depend on nothing but progress and hyper-parameters.
        `progress.lr` is without it.
        """
        return 1.0

    def needs_statistics_now(self) -> bool:
        """Return whether the coming epoch begins with a statistics pass.

        By default the first does. Called after `on_epoch_start` if the stage has
        `needs_statistics_pass`; equal on every rank. If a job resumes within an epoch the pass is
        run again, before the saved state is loaded. A buffer that is not saved, such as features of
        a frozen backbone, is empty when a job resumes: return True until it is filled.
        """
        return self.progress.epoch == 0

    def update_statistics(self, batch: Batch) -> None:
        """Update statistics of the training set with its next batch.

        Called in evaluation mode, without gradient, in the passes before epochs, and before the
        test if a stage with `needs_statistics_pass` is not trained. Every rank gets all training
        images once, in the order of the split, with the test transform, so that statistics need no
        communication.

        Args:
            batch: images [B, C, H, W], labels [B]; the last batch may be smaller.
        """

    def finalize_statistics(self) -> None:
        """Finish the statistics, after the last batch of the pass."""

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return the training images of the coming epoch's batches, by stream.

        By default a stream for each of the stage's samplers. Called after the statistics, on every
        rank; if a job resumes within an epoch, again with the saved state, and must return the
        same. So it depends only on `draw` and on buffers that change between epochs or, once an
        epoch, here; and it draws from `draw.generator("purpose")`, not from `self.rng`.

        Args:
            draw: labels [N] of the training images, on the CPU; steps and batch, the size of a
                global batch; `draw.sampler(name)` are the images of a sampler.

        Returns:
            [steps, n] int64 positions in the training set for each name, on the CPU, of global
            batches; the number of ranks must divide n. With one stream a step gets a batch, else a
            dict. The stream "auxiliary" of a stage with `has_auxiliary_stream` is added.
        """
        return {name: draw.sampler(name) for name in self.stage.samplers}

    def training_loss(self, batch: Any) -> Loss:
        """Return the loss of a step, or named losses to be summed.

        Called in every step, with gradient; losses are scalars. The suite averages gradients over
        ranks and takes the optimizer's step: the mean over ranks of the returned loss must be the
        loss of the global batch, as it is for `global_mean`.

        Args:
            batch: this rank's rows of the global batch. Images [B, C, H, W], with several `views`
                [V, B, C, H, W]; labels [B]; index [B]. A dict of batches by name if
                `epoch_indices` has several streams, or the stage an auxiliary one.
        """
        raise NotImplementedError(f"{type(self).__name__} has no trained stage")

    def on_step_end(self) -> None:
        """Restore what must hold of the parameters, after each optimizer step.

        Called without gradient, on every rank.
        """

    def on_epoch_end(self) -> None:
        """Finish an epoch, before its checkpoint and its test.

        Called without gradient, on every rank, with BatchNorm's statistics averaged over ranks.
        """

    # Test: in evaluation mode, without gradient.

    def tune_on_validation(self, batches: Iterable[Batch]) -> None:
        """Tune hyper-parameters left free (e.g. tau) on the held-out images.

        Called once after training, before the test, if the stage has `tunes_on_validation="end"`;
        after `on_epoch_end` of each epoch, before its checkpoint and its test, if it has "epochs".
        Every rank gets the same batches: all held-out images, in order, with the test transform.
        Keep the result in a buffer.
        """

    def adapt(self, batches: Iterable[Tensor]) -> None:
        """Adapt to a test set's unlabeled images, if `test_time` is "transductive".

        Called on a copy of the trained method before each test under shifted class frequencies,
        which is then tested on these images. Every rank gets the same batches. A gradient needs
        `torch.enable_grad()`.

        Args:
            batches: [V, B, C, H, W], V random views of each image.
        """

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return logits [B, classes] of images [B, C, H, W].

        Called with this rank's share of the test images, of which the last batch may be smaller: a
        row must not depend on the other rows. Class probabilities are the softmax of the result.

        Args:
            images: normalized, with the test transform.
            target_prior: [classes], class probabilities of the test set; given only in tests under
                shifted class frequencies, if `test_time` is "known_test_prior".
        """
        logits: Tensor = self.network(images)
        return logits

    # For use in hooks.

    def freeze(self, module: nn.Module, *, update_bn: bool = False) -> None:
        """Stop training a module, from `on_stage_start` or the constructor.

        Args:
            module: its parameters get no gradient any more, and it stays in evaluation mode.
            update_bn: leave it in training mode: BatchNorm uses and updates batch statistics.
        """
        module.requires_grad_(requires_grad=False)
        if not update_bn:
            self.frozen.append(module.eval())

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode, except of frozen modules."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self
