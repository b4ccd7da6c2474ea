"""The LightningModule that trains and tests one stage of any method."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from ltbench.config.job import Job
from ltbench.config.recipe import StageRecipe
from ltbench.core.batch import Batch, StepInput
from ltbench.core.distributed import all_sum, world_size
from ltbench.core.groups import class_groups
from ltbench.core.hardware import cpu_seconds
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import derive_seed, make_generator
from ltbench.core.stepping import ActiveSteps, Stepper
from ltbench.data.datamodule import DataModule
from ltbench.data.loaders import OrderedLoader
from ltbench.methods.contract import Method, Progress, no_beat
from ltbench.methods.cost import read_parameters
from ltbench.runs.record import EvaluationResult, OpenSetTest, ShiftedTests
from ltbench.training.divergence import LEARNING_RATE_ADVICE, DivergedError, check_weights
from ltbench.training.evaluation import Evaluation, predicting
from ltbench.training.label_shift import shifted_tests
from ltbench.training.metric_terms import check_terms
from ltbench.training.open_set import open_set_test
from ltbench.training.precision import autocast, compile_backbone, eager, should_compile
from ltbench.training.schedule import build_optimizer, schedule_factor

log = logging.getLogger(__name__)

PROBE = 16
"""Test images predicted to find the parameters that inference reads."""


@dataclass
class History:
    """Progress of a training; part of every checkpoint."""

    losses: list[float] = field(default_factory=list)
    curve: list[tuple[int, list[int]]] = field(default_factory=list)  # epoch, hits of each class
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of all ranks
    active_steps: dict[str, list[int]] = field(default_factory=dict)  # of metric terms; all steps


def average_batchnorm(module: nn.Module) -> None:
    """Average the BatchNorm running statistics of all ranks.

    They are linear in the batch statistics, so that averaging at an epoch's end equals averaging
    after every step. Frozen layers are not touched.
    """
    if world_size() == 1:
        return
    batchnorm = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - torch's own base
    for layer in module.modules():
        if isinstance(layer, batchnorm) and layer.training:
            for statistic in (layer.running_mean, layer.running_var):
                if statistic is not None:
                    statistic.copy_(all_sum(statistic) / world_size())


def frozen_backbone(method: Method) -> nn.Module | None:
    """Return a method's backbone if weights and statistics are frozen."""
    backbone: nn.Module | None = getattr(method.network, "backbone", None)
    if backbone is None or any(p.requires_grad for p in backbone.parameters()):
        return None
    return None if any(module.training for module in backbone.modules()) else backbone


class TrainingModule(pl.LightningModule):
    """Wraps a method for one stage.

    Lightning drives epochs, devices and ranks; a Lightning step is a chunk of optimization steps
    (core/stepping.py), so that its overhead does not dominate short steps.

    Args:
        method: ready to train: init weights loaded, stage started.
        job: for settings and seed of the stage.
        epoch_ended: called after every epoch, for checkpoints and trackers.
        chunk_started: called before every chunk of steps; its exceptions end the job.
    """

    def __init__(
        self,
        method: Method,
        job: Job,
        epoch_ended: Callable[["TrainingModule"], None],
        chunk_started: Callable[["TrainingModule"], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.method = method
        self.job = job
        self.epoch_ended = epoch_ended
        self.chunk_started = chunk_started
        self.history = History()
        self.optimizer_state: dict[str, Any] | None = None
        self.position: dict[str, Any] | None = None
        self.cpu_counted = cpu_seconds()
        self.active_steps = ActiveSteps(method.metric_terms)
        self.training_hits: tuple[int, ...] | None = None
        self.read: int | None = None
        self.test_result: EvaluationResult | None = None
        self.shifted: ShiftedTests | None = None
        self.open_set: OpenSetTest | None = None
        self.test_seconds = 0.0
        self.test_context = ExitStack()
        self.compiled = False

    @property
    def settings(self) -> StageRecipe:
        """Training settings of the stage."""
        if self.job.stage_recipe is None:
            raise RuntimeError(f"stage {self.job.stage!r} of {self.job.method} does not train")
        return self.job.stage_recipe

    @property
    def data(self) -> DataModule:
        """Data module of the job."""
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer; load its state from a checkpoint."""
        self.optimizer = build_optimizer(self.settings.optimizer, self.method)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        if self.optimizer_state is not None:
            self.optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        return self.optimizer

    def on_train_start(self) -> None:
        """Cache features, or compile."""
        self.stepper = Stepper(self.optimizer, self.manual_backward)
        recipe, settings = self.job.recipe, self.settings
        backbone = frozen_backbone(self.method)
        if settings.cached_features and backbone is not None:
            with torch.no_grad(), autocast(recipe, self.device):
                self.data.cache_features(backbone)
            return
        if settings.cached_features:
            log.warning("features are not cached: the backbone or its BatchNorm is not frozen")
        steps = self.data.steps_per_epoch * settings.epochs
        if self.method.can_compile and should_compile(recipe, steps):
            compile_backbone(self.method, self.device)
            self.compiled = True

    def on_train_epoch_start(self) -> None:
        """Set the progress and rates of the epoch; run its statistics pass."""
        method, settings, epoch = self.method, self.settings, self.current_epoch
        factor = schedule_factor(settings.schedule, epoch + 1, settings.epochs)
        deferred = epoch >= settings.first_deferred_epoch
        lr, backbone_lr = settings.optimizer.lr * factor, settings.optimizer.backbone_lr
        method.progress = Progress(epoch, settings.epochs, deferred, lr, backbone_lr)
        method.rng = GlobalBatchRNG(make_generator(self.job.seed, "method", epoch))
        method.on_epoch_start(method.progress)
        multiplier = method.lr_multiplier()
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor * multiplier
        if method.stage.needs_statistics_pass and method.needs_statistics_now():
            with eager():
                self.update_statistics()
            method.train()
        torch.manual_seed(derive_seed(self.job.seed, "epoch", epoch))  # for dropout and the like
        self.epoch_began = time.perf_counter()
        if self.position is not None:
            self._resume(self.position)
            self.position = None

    def pause(self) -> dict[str, Any]:
        """Return the position within the epoch, to resume from.

        All ranks must call this.

        With the states of method and optimizer the rest of the epoch is the same as without an
        interruption: bit for bit on one rank, up to rounding on several ranks, whose running
        statistics and losses are averaged here as at an epoch's end.
        """
        average_batchnorm(self.method)
        self.count_cpu()
        return {
            "steps": self.stepper.steps,
            "loss_sum": self._rank_sum(self.stepper.loss_sum()) / world_size(),
            "active_steps": self.active_steps.counts(),
            "seconds": time.perf_counter() - self.epoch_began,
            "rng": self.method.rng.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def _resume(self, position: dict[str, Any]) -> None:
        """Resume an epoch, whose start hook has just run, at a position."""
        self.method.load_state_dict(position["method"])
        self.stepper.resume(position["steps"], position["loss_sum"])
        self.active_steps.resume(position.get("active_steps", {}))
        self.method.rng.generator.set_state(position["rng"].cpu())
        torch.set_rng_state(position["torch"].cpu())
        if position["cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(position["cuda"].cpu(), self.device)
        self.epoch_began -= position["seconds"]

    def training_step(self, chunk: Iterable[StepInput]) -> None:
        """Take one optimization step for each batch of the chunk."""
        self.chunk_started(self)
        for batch in chunk:
            if self.compiled:
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            with autocast(self.job.recipe, self.device):
                loss = self.method.training_loss(batch)
            self.active_steps.add(loss)
            self.stepper.step(loss)
            with torch.no_grad():
                self.method.on_step_end()

    def on_train_epoch_end(self) -> None:
        """Record the epoch; test the network if the recipe says so.

        Raises:
            DivergedError: if the mean loss, or a weight after the last epoch, is not finite.
            InactiveTermError: if a metric term was zero in all steps so far.
        """
        history, steps = self.history, self.stepper.steps
        history.losses.append(self._rank_sum(self.stepper.mean_loss()) / world_size())
        history.steps += steps
        history.images += steps * self.job.recipe.batch_size
        history.seconds += time.perf_counter() - self.epoch_began
        if not math.isfinite(history.losses[-1]):
            what = f"the loss of epoch {self.current_epoch + 1} is {history.losses[-1]}"
            raise DivergedError(f"{what}: {LEARNING_RATE_ADVICE}")
        self._count_active_steps()
        average_batchnorm(self.method)
        with torch.no_grad():
            self.method.on_epoch_end()
        if self.method.stage.tunes_on_validation == "epochs":
            self.method.eval()
            with eager():
                self.tune_on_validation()
            self.method.train()
        self.count_cpu()
        epoch, every = self.current_epoch + 1, self.job.recipe.eval_every_n_epochs
        if epoch == self.settings.epochs:
            check_weights(self.method)
        tests = self.method.stage.is_evaluated and epoch < self.settings.epochs
        if tests and every and epoch % every == 0:
            history.curve.append((epoch, list(self.evaluate())))
        self.epoch_ended(self)

    def _count_active_steps(self) -> None:
        """Add the epoch's counts of metric terms to the history."""
        counts, total = self.active_steps.counts(), self.history.active_steps
        check_terms(self.job.method, self.current_epoch + 1, counts, total)
        for term, added in counts.items():
            total[term] = [sum(pair) for pair in zip(total.get(term, [0, 0]), added, strict=True)]
        self.active_steps.reset()

    def count_cpu(self) -> None:
        """Add the CPU time since the last call; all ranks call this."""
        now = cpu_seconds()
        self.history.cpu_seconds += self._rank_sum(now - self.cpu_counted)
        self.cpu_counted = now

    def _rank_sum(self, number: float) -> float:
        """Return the sum of a number over all ranks."""
        return float(all_sum(torch.tensor(number, dtype=torch.float64, device=self.device)))

    def update_statistics(self) -> None:
        """Run the statistics pass: the training set, not augmented, in eval mode."""
        self.method.eval()
        with torch.inference_mode(), autocast(self.job.recipe, self.device), self.beating():
            for batch in self.data.statistics_batches():
                self.method.update_statistics(batch)
            self.method.finalize_statistics()

    def tune_on_validation(self) -> None:
        """Let the method tune on the held-out images."""
        with torch.inference_mode(), autocast(self.job.recipe, self.device), self.beating():
            self.method.tune_on_validation(self.data.auxiliary_batches())

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Let the method beat as batches do.

        Afterwards it does not: a copy of the method must not hold this module.
        """
        self.method.beat = self.data.on_batch
        try:
            yield
        finally:
            self.method.beat = no_beat

    def evaluate(self) -> tuple[int, ...]:
        """Return the hits of each class on the test set, between epochs."""
        loader, recipe = self.data.test_dataloader(), self.job.recipe
        self.method.eval()
        context = predicting(self.method, recipe, loader.first_image, self.device)
        with torch.inference_mode(), context:
            hits = self._hits(loader, "test images")
        self.method.train()
        return hits

    def _hits(self, loader: OrderedLoader, what: str) -> tuple[int, ...]:
        """Return the correct predictions of each class over all ranks."""
        evaluation = Evaluation(self.job.dataset.classes, self.data.classes, self.device)
        evaluation.add_all(self.method, loader)
        return evaluation.counts(what).hits

    def on_test_start(self) -> None:
        """Run statistics and tuning passes; count training hits; open the test."""
        self.test_began = time.perf_counter()
        self.method.eval()
        stage, recipe = self.method.stage, self.job.recipe
        with eager():
            if stage.needs_statistics_pass and not stage.is_trained:
                self.update_statistics()
            if stage.tunes_on_validation == "end":
                self.tune_on_validation()
            with autocast(recipe, self.device):
                loader = self.data.test_dataloader()
                images = loader.load_batch(0, PROBE).images
                self.read = read_parameters(self.method, images)
        context = predicting(self.method, recipe, loader.first_image, self.device)
        self.test_context.enter_context(context)
        if stage.is_trained:
            self.training_hits = self._hits(self.data.training_batches(), "training images")
        spec, counts = self.job.dataset, self.data.longtailed_counts.tolist()
        groups = class_groups(counts, spec.shot_rule)
        self.evaluation = Evaluation(spec.classes, self.data.classes, self.device, groups)

    def test_step(self, batch: Batch) -> None:
        """Predict one batch, which is empty on a rank without images."""
        self.evaluation.add_all(self.method, [batch])

    def on_test_epoch_end(self) -> None:
        """Combine the ranks' counts; run the open-set and label-shift tests."""
        self.test_result = self.evaluation.result()
        self.open_set = open_set_test(self.method, self.data, self.evaluation)
        self.test_context.close()
        self.shifted = shifted_tests(self.method, self.data)
        self.test_seconds = time.perf_counter() - self.test_began
        self.count_cpu()
