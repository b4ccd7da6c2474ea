"""Small jobs of any method on the digits, planned like a grid's."""

import copy
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ltbench.config.dataset import Auxiliary, DatasetSpec
from ltbench.config.grid import Grid
from ltbench.config.job import Job
from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.planning import expand
from ltbench.config.recipe import Recipe
from ltbench.config.registry import MethodRegistry, load_registry
from ltbench.core.batch import Batch, StepInput
from ltbench.core.stepping import total_loss
from ltbench.data import datamodule
from ltbench.data.loaders import ChunkedEpochs
from ltbench.methods.contract import Method
from ltbench.methods.plugins import find_method, with_plugins
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.training import fit
from ltbench.training.heartbeat import Heartbeat, StoppedError
from ltbench.training.module import TrainingModule
from ltbench.training.options import Options

REGISTRY = load_registry()
DIGITS = load_dataset("digits")
DATASET = DatasetSpec(
    **DIGITS.model_dump()
    | {"max_per_class": 30, "imbalance_ratio": 30, "test_per_class": 3, "fingerprint": None}
)
"""90 training images in classes of 30 down to a single one; 4 ranks cannot share its 30 test images
equally."""
WITH_POOL = DATASET.model_copy(update={"auxiliary": Auxiliary(source="unused_pool", per_class=5)})
"""The same with images that no split has: the class of one image has none to hold out."""
EPOCHS, BATCH = 2, 16


def recipe(**changes: Any) -> Recipe:
    """Return a float64 recipe with GroupNorm, changed by `epochs` or fields."""
    values = load_recipe("digits").model_dump(mode="json")
    epochs = changes.pop("epochs", 3)
    for stage in ("stage1", "stage2"):
        values[stage] |= {"epochs": epochs, "deferred_from_epoch": None}
        schedule = values[stage]["schedule"]
        schedule["warmup"] = 1
        if schedule["kind"] == "step":
            schedule["milestones"] = [epochs - 1] if epochs > 1 else []
    values |= {"norm": "group", "precision": "fp64"} | changes
    return Recipe(**values)


def options(**changes: Any) -> Options:
    """Return options under which a checkpoint is saved after every epoch."""
    settings: dict[str, Any] = {"grid": "test", "checkpoint_every": 0.0} | changes
    return Options(**settings)


OPTIONS = options()


@dataclass(frozen=True)
class Case:
    """A method to check.

    Attributes:
        key: of the method.
        hparams: hyper-parameters that are not the defaults.
        plugin: file of the user's own that has it; None for methods of the package.
    """

    key: str
    hparams: Mapping[str, Any] = field(default_factory=dict)
    plugin: Path | None = None

    @property
    def plugins(self) -> tuple[Path, ...]:
        """The file that has the method, if it is a plugin."""
        return () if self.plugin is None else (self.plugin,)

    @property
    def method(self) -> type[Method]:
        """The class of the method."""
        return self.find(self.key)

    def find(self, key: str) -> type[Method]:
        """Return another method's class, from the package or the plugin."""
        return find_method(key, self.plugins)[0]

    @cached_property
    def registry(self) -> MethodRegistry:
        """Return the registry without `reduces_to`, so that balanced runs are trained."""
        known = with_plugins(REGISTRY, self.plugins).methods
        return MethodRegistry(
            {key: info.model_copy(update={"reduces_to": None}) for key, info in known.items()}
        )

    def jobs(self, stage: int = -1, split: str = "longtailed", **changes: Any) -> list[Job]:
        """Return the jobs that lead to a stage, starts and teachers first.

        Args:
            stage: number of the stage.
            split: "longtailed" or "balanced".
            **changes: fields of the recipe.
        """
        settings = recipe(**{"batch_size": BATCH, "epochs": EPOCHS} | changes)
        grid = Grid.model_validate(
            {
                "name": "checks",
                "title": "Checks",
                "datasets": [DATASET.name],
                "recipes": [settings.name],
                "splits": [split],
                "variants": [
                    {"label": self.key, "method": self.key, "hparams": self.hparams},
                    {"label": "start", "method": "softmax", "init_from": self.key},
                ],
            }
        )
        hparams = self.method.HParams(**self.hparams).model_dump()
        stages = (declared.resolve(hparams) for declared in self.method.stages)
        learns = any(stage.has_auxiliary_stream for stage in stages)
        dataset = WITH_POOL if learns else DATASET
        plan = expand(grid, [dataset], {settings.name: settings}, self.registry)
        own = [job.key for job in plan.jobs.values() if job.label == self.key]
        needed, jobs = {own[stage]}, []
        for key, job in reversed(plan.jobs.items()):
            if key in needed:
                needed.update(job.depends_on)
                jobs.append(job)
        return jobs[::-1]


class Bench:
    """Trains in this process whatever is asked for, each job once.

    Args:
        root: folder of the runs; a temporary one where None.
        plugins: files of the user's own that have the methods.
    """

    def __init__(self, root: Path | None = None, plugins: Iterable[Path] = ()) -> None:
        if root is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="ltbench-checks-")
            root = Path(self._temporary.name)
        self.run_dir = RunDirectory(root)
        self.options = options(plugins=tuple(str(path.absolute()) for path in plugins))
        self.records: dict[str, Record] = {}

    def train(self, jobs: list[Job]) -> Record:
        """Return the record of the last job of a chain."""
        for job in jobs:
            if job.key not in self.records:
                self.records[job.key] = fit.run_job(job, self.run_dir, self.options)
        return self.records[jobs[-1].key]

    def state(self, job: Job) -> dict[str, Tensor]:
        """Return what a job has left."""
        state: dict[str, Tensor] = load_file(self.weights_path(job))
        return state

    def weights(self, job: Job) -> bytes:
        """Return the bytes of what a job has left."""
        return self.weights_path(job).read_bytes()

    def weights_path(self, job: Job) -> Path:
        """Return the file of what a job has left."""
        return self.run_dir.job(job.key).weights

    def folder(self) -> Path:
        """Return a new folder for a job that is not shared."""
        self.run_dir.root.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self.run_dir.root))

    def lend_starts(self, jobs: list[Job], root: Path) -> Job:
        """Return the last job of a chain, trainable in a folder."""
        self.train(jobs)
        for key in jobs[-1].depends_on:
            there = RunDirectory(root).job(key).weights
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.run_dir.job(key).weights, there)
        return jobs[-1]


def epochs_of(job: Job) -> int:
    """Return the epochs of a job, none if it is not trained."""
    return 0 if job.stage_recipe is None else job.stage_recipe.epochs


@contextmanager
def after_each_epoch(look: Callable[[TrainingModule], None]) -> Iterator[None]:
    """Look at the module whenever an epoch is over."""
    over = TrainingModule.on_train_epoch_end

    def over_and_looked_at(module: TrainingModule) -> None:
        over(module)
        look(module)

    with patch.object(TrainingModule, "on_train_epoch_end", over_and_looked_at):
        yield


def train(job: Job, root: Path, options: Options = OPTIONS) -> tuple[Record, list[str]]:
    """Train a job whose starts are there; every rank calls this.

    Returns:
        Its record, and hashes of the state after each epoch. (Before a test Lightning gives all
        ranks the state of the first, so that what the record says of it proves nothing.)
    """
    hashes = []

    def take_hash(module: TrainingModule) -> None:
        state = {name: value.contiguous() for name, value in module.method.state_dict().items()}
        hashes.append(hashlib.sha256(save(state)).hexdigest())

    with after_each_epoch(take_hash):
        return fit.run_job(job, RunDirectory(root), options), hashes


class InterruptedJobError(Exception):
    """Interrupts a job; carries the number of epochs trained."""


def train_interrupted(job: Job, root: Path, options: Options = OPTIONS) -> int:
    """Stop a job after its first epoch, or before its record.

    Returns:
        The epochs that it has trained.
    """

    def stop(module: TrainingModule) -> None:
        raise InterruptedJobError(len(module.history.losses))

    with (
        after_each_epoch(stop),
        patch.object(fit, "_make_record", side_effect=InterruptedJobError(0)),
    ):
        try:
            fit.run_job(job, RunDirectory(root), options)
        except InterruptedJobError as interrupted:
            return int(interrupted.args[0])
    raise AssertionError("the job was not interrupted")


class StopAfter(Heartbeat):
    """Asks to stop when this many chunks of steps have begun."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks

    def stop_asked(self) -> bool:
        """Return whether so many chunks have begun."""
        self.chunks -= 1
        return self.chunks < 0


def train_stopped(job: Job, root: Path, steps: int, options: Options = OPTIONS) -> None:
    """Ask the last rank of a job to stop after some steps."""
    last = os.environ.get("RANK", "0") == str(int(os.environ.get("WORLD_SIZE", "1")) - 1)
    heartbeat = StopAfter(steps) if last else Heartbeat()
    with patch.object(datamodule, "ChunkedEpochs", partial(ChunkedEpochs, chunk=1)):
        try:
            fit.run_job(job, RunDirectory(root), options, heartbeat)
        except StoppedError:
            return
    raise AssertionError("the job was not stopped")


def train_in_turn(
    job: Job, run_dir: RunDirectory, world: int, options: Options = OPTIONS
) -> dict[str, Tensor]:
    """Return one process's state after taking the ranks' shares in turn.

    Each rank is a copy of the method, with running statistics of its own until an epoch ends.
    """
    data, method = fit.prepare(job, run_dir, options)
    modules = [TrainingModule(copy.deepcopy(method), job, lambda _: None) for _ in range(world)]
    for module in modules:
        module.train()
        module.configure_optimizers()
    for epoch in range(epochs_of(job)):
        with (
            patch.object(TrainingModule, "current_epoch", epoch),
            patch.object(TrainingModule, "data", data),
        ):
            for module in modules:
                module.on_train_epoch_start()
        for batch in data.epoch(epoch):
            for module, share in zip(modules, shares(batch, world), strict=True):
                module.optimizer.zero_grad()
                total_loss(module.method.training_loss(share)).backward()  # type: ignore[no-untyped-call]
            average([p.grad for p in m.parameters() if p.grad is not None] for m in modules)
            for module in modules:
                module.optimizer.step()
                with torch.no_grad():
                    module.method.on_step_end()
        average([buffer for buffer in m.buffers() if buffer.is_floating_point()] for m in modules)
        with torch.no_grad():
            for module in modules:
                module.method.on_epoch_end()
                if module.method.stage.tunes_on_validation == "epochs":
                    module.method.eval().tune_on_validation(data.auxiliary_batches())
                    module.method.train()
    return modules[0].method.state_dict()


def average(ranks: Iterable[list[Tensor]]) -> None:
    """Give each rank's tensors their means over ranks."""
    for same in zip(*ranks, strict=True):
        mean = torch.stack(same).mean(0)
        for tensor in same:
            tensor.copy_(mean)


def shares(batch: StepInput, world: int) -> list[Any]:
    """Return the ranks' shares of a global batch."""
    if not isinstance(batch, Batch):
        parts = [shares(stream, world) for stream in batch.values()]
        return [dict(zip(batch, share, strict=True)) for share in zip(*parts, strict=True)]
    images = batch.images.chunk(world, dim=batch.images.ndim - 4)  # views come first
    labels, index = batch.labels.chunk(world), batch.index.chunk(world)
    return [Batch(*share) for share in zip(images, labels, index, strict=True)]


def largest_difference(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> tuple[float, str]:
    """Return the largest difference of two states, and its tensor.

    A tensor's difference is relative to its largest value, and infinite where integers, types,
    shapes or names differ.
    """
    gaps = {name: _difference(ours.get(name), theirs.get(name)) for name in {**theirs, **ours}}
    name = max(gaps, key=gaps.__getitem__)
    return gaps[name], name


def _difference(ours: Tensor | None, theirs: Tensor | None) -> float:
    if ours is None or theirs is None or (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        return math.inf
    if ours.equal(theirs):
        return 0.0
    if theirs.dtype != torch.float64:
        return math.inf
    gap = float((ours - theirs).abs().max() / theirs.abs().max())
    return math.inf if math.isnan(gap) else gap
