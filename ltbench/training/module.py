"""The one LightningModule: it trains and tests any method, stage by stage."""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from ltbench.config.models import Job, StageRecipe
from ltbench.core.batch import Batch
from ltbench.core.distributed import all_sum, world_size
from ltbench.core.groups import class_groups
from ltbench.core.hardware import cpu_seconds
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import derive_seed, make_generator
from ltbench.core.stepping import Stepper
from ltbench.data.datamodule import DataModule
from ltbench.data.loaders import OrderedLoader
from ltbench.methods.contract import Method, Progress
from ltbench.methods.cost import read_parameters
from ltbench.runs.record import EvaluationResult, OpenSetTest, ShiftedTests
from ltbench.training.divergence import ADVICE, DivergedError, check_weights
from ltbench.training.evaluation import Evaluation, predicting
from ltbench.training.label_shift import shifted_tests
from ltbench.training.open_set import open_set_test
from ltbench.training.precision import autocast, compile_backbone, compiles, eager
from ltbench.training.schedule import build_optimizer, schedule_factor

log = logging.getLogger(__name__)

READ = 16
"""Test images that are predicted to see which parameters that reads."""


@dataclass
class History:
    """What training has done so far; part of every checkpoint."""

    losses: list[float] = field(default_factory=list)
    curve: list[tuple[int, list[int]]] = field(default_factory=list)  # epoch, hits of each class
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of all ranks


def average_batchnorm(module: nn.Module) -> None:
    """Give every rank the mean of the ranks' running statistics.

    The running statistics are linear in the batch statistics, so that averaging at an epoch's end
    equals averaging after every step. Those of frozen layers stay as they are, bit for bit.
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
    """Return a method's backbone where neither weights nor statistics move, None elsewhere."""
    backbone: nn.Module | None = getattr(method.network, "backbone", None)
    if backbone is None or any(p.requires_grad for p in backbone.parameters()):
        return None
    return None if any(module.training for module in backbone.modules()) else backbone


class TrainingModule(pl.LightningModule):
    """Wraps a method for one stage.

    Lightning drives epochs, devices and ranks; a Lightning step is a chunk of optimisation steps
    (core/stepping.py), so that short steps do not wait for it.

    Args:
        method: ready to train: start loaded, stage begun.
        job: the stage's settings and seed.
        on_epoch_end: called after every epoch, for checkpoints and trackers.
        on_chunk: called before every chunk of steps; what it raises ends the job.
    """

    def __init__(
        self,
        method: Method,
        job: Job,
        on_epoch_end: Callable[["TrainingModule"], None],
        on_chunk: Callable[["TrainingModule"], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.method = method
        self.job = job
        self.on_epoch_end = on_epoch_end
        self.on_chunk = on_chunk
        self.history = History()
        self.optimizer_state: dict[str, Any] | None = None
        self.position: dict[str, Any] | None = None
        self.cpu_counted = cpu_seconds()
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
        """How the stage is optimised."""
        if self.job.stage_recipe is None:
            raise RuntimeError(f"stage {self.job.stage!r} of {self.job.method} does not train")
        return self.job.stage_recipe

    @property
    def data(self) -> DataModule:
        """What the job trains and is tested on."""
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimiser and give it the state of a checkpoint."""
        self.optimizer = build_optimizer(self.settings.optimizer, self.method)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        if self.optimizer_state is not None:
            self.optimizer.load_state_dict(self.optimizer_state)
            self.optimizer_state = None
        return self.optimizer

    def on_train_start(self) -> None:
        """Make the stepper once Lightning has placed the parameters; observe, compile, cache."""
        self.stepper = Stepper(self.optimizer, self.manual_backward)
        if (
            self.method.stage.needs_statistics_pass and not self.history.losses
        ):  # else the checkpoint has it
            self.update_statistics()
            self.method.train()
        recipe, settings = self.job.recipe, self.settings
        backbone = frozen_backbone(self.method)
        if settings.cached_features and backbone is not None:
            with torch.no_grad(), autocast(recipe, self.device):
                self.data.cache_features(backbone)
            return
        if settings.cached_features:
            log.warning("no features are cached: the backbone trains, or its BatchNorm is updated")
        if compiles(recipe, self.data.steps_per_epoch * settings.epochs):
            compile_backbone(self.method, self.device)
            self.compiled = True

    def on_train_epoch_start(self) -> None:
        """Set what changes by epoch: learning rate, the method's schedule, the global generator."""
        settings, epoch = self.settings, self.current_epoch
        factor = schedule_factor(settings.schedule, epoch + 1, settings.epochs)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        deferred = epoch >= settings.first_deferred_epoch
        self.method.progress = Progress(epoch, settings.epochs, deferred)
        self.method.rng = GlobalBatchRNG(make_generator(self.job.seed, "method", epoch))
        self.method.on_epoch_start(self.method.progress)
        torch.manual_seed(
            derive_seed(self.job.seed, "epoch", epoch)
        )  # dropout, and whatever asks torch
        self.epoch_began = time.perf_counter()
        if self.position is not None:
            self._go_on(self.position)
            self.position = None

    def pause(self) -> dict[str, Any]:
        """Return where in the epoch training stands; every rank must call this.

        Together with the states of the method and the optimiser it makes the rest of the epoch what
        it would have been: bit for bit on one rank, up to rounding on several, whose running
        statistics and losses are averaged here as they are at an epoch's end.
        """
        average_batchnorm(self.method)
        self.count_cpu()
        loss = torch.tensor(self.stepper.loss_sum(), dtype=torch.float64, device=self.device)
        return {
            "steps": self.stepper.steps,
            "loss_sum": float(all_sum(loss)) / world_size(),
            "seconds": time.perf_counter() - self.epoch_began,
            "draws": self.method.rng.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def _go_on(self, position: dict[str, Any]) -> None:
        """Take up an epoch, whose start has just been prepared once more, where it was left."""
        self.method.load_state_dict(position["method"])
        self.stepper.resume(position["steps"], position["loss_sum"])
        self.method.rng.generator.set_state(position["draws"].cpu())
        torch.set_rng_state(position["torch"].cpu())
        if position["cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(position["cuda"].cpu(), self.device)
        self.epoch_began -= position["seconds"]

    def training_step(self, chunk: Iterable[Batch | dict[str, Batch]]) -> None:
        """Take one optimisation step for each batch of the chunk."""
        self.on_chunk(self)
        for batch in chunk:
            if self.compiled:
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            with autocast(self.job.recipe, self.device):
                loss = self.method.training_loss(batch)
            self.stepper.step(loss)

    def on_train_epoch_end(self) -> None:
        """Read the epoch's mean loss, refuse to go on from a loss that is not finite."""
        history, steps = self.history, self.stepper.steps
        mean = self.stepper.mean_loss()
        local = torch.tensor(mean, dtype=torch.float64, device=self.device)
        history.losses.append(float(all_sum(local)) / world_size())
        history.steps += steps
        history.images += steps * self.job.recipe.batch_size
        history.seconds += time.perf_counter() - self.epoch_began
        if not torch.isfinite(torch.tensor(history.losses[-1])):
            raise DivergedError(
                f"the loss of epoch {self.current_epoch + 1} is {history.losses[-1]}; {ADVICE}"
            )
        average_batchnorm(self.method)
        self.count_cpu()
        epoch, every = self.current_epoch + 1, self.job.recipe.eval_every_n_epochs
        if epoch == self.settings.epochs:
            check_weights(self.method)
        tests = self.method.stage.is_evaluated and epoch < self.settings.epochs
        if tests and every and epoch % every == 0:
            history.curve.append((epoch, list(self.evaluate())))
        self.on_epoch_end(self)

    def count_cpu(self) -> None:
        """Add the processor time of all ranks since this was last called, which every rank must."""
        now = cpu_seconds()
        spent = torch.tensor(now - self.cpu_counted, dtype=torch.float64, device=self.device)
        self.history.cpu_seconds += float(all_sum(spent))
        self.cpu_counted = now

    def update_statistics(self) -> None:
        """Let the method see the whole training set, as the test would."""
        self.method.eval()
        with torch.inference_mode(), autocast(self.job.recipe, self.device):
            for batch in self.data.observe_batches():
                self.method.update_statistics(batch)
            self.method.finalize_statistics()

    def evaluate(self) -> tuple[int, ...]:
        """Return the hits on the test set between two epochs, of what the method predicts."""
        loader, recipe = self.data.test_dataloader(), self.job.recipe
        self.method.eval()
        with torch.inference_mode(), predicting(self.method, recipe, loader, self.device):
            hits = self._hits(loader, "test images")
        self.method.train()
        return hits

    def _hits(self, loader: OrderedLoader, what: str) -> tuple[int, ...]:
        """Return the right predictions of each class over all ranks."""
        evaluation = Evaluation(self.job.dataset.classes, self.data.classes, self.device)
        evaluation.add_all(self.method, loader)
        return evaluation.counts(what).hits

    def on_test_start(self) -> None:
        """Show the method what its stage asks for, count on training images, begin the test."""
        self.test_began = time.perf_counter()
        self.method.eval()
        stage, recipe = self.method.stage, self.job.recipe
        with eager():
            if stage.needs_statistics_pass and not stage.is_trained:
                self.update_statistics()
            if stage.tunes_on_validation == "end":
                with torch.inference_mode(), autocast(recipe, self.device):
                    self.method.tune_on_validation(self.data.auxiliary_batches())
            with autocast(recipe, self.device):
                images = self.data.test_dataloader().load_batch(0, READ).images
                self.read = read_parameters(self.method, images)
        context = predicting(self.method, recipe, self.data.test_dataloader(), self.device)
        self.test_context.enter_context(context)
        if stage.is_trained:
            self.training_hits = self._hits(self.data.training_batches(), "training images")
        spec, counts = self.job.dataset, self.data.longtailed_counts.tolist()
        groups = class_groups(counts, spec.shot_rule)
        self.evaluation = Evaluation(
            spec.classes, self.data.classes, self.device, groups, ranking=True
        )

    def test_step(self, batch: Batch) -> None:
        """Predict one batch; a rank without test images has one that is empty."""
        self.evaluation.add_all(self.method, [batch])

    def on_test_epoch_end(self) -> None:
        """Add the ranks' counts; test an open set and shifts where job and method call for it."""
        self.test_result = self.evaluation.result()
        self.open_set = open_set_test(self.method, self.data, self.evaluation)
        self.test_context.close()
        self.shifted = shifted_tests(self.method, self.data)
        self.test_seconds = time.perf_counter() - self.test_began
        self.count_cpu()
