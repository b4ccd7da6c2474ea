"""Jobs of any method, planned as a grid plans them, small enough to be trained many times."""

import copy
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ltbench.config.models import DatasetSpec, Grid, Job
from ltbench.config.planning import expand
from ltbench.config.registry import MethodRegistry
from ltbench.core.batch import Batch
from ltbench.core.stepping import total_loss
from ltbench.data import datamodule
from ltbench.data.loaders import ChunkedEpochs
from ltbench.methods import METHODS
from ltbench.runs.record import EvaluationResult, Record
from ltbench.runs.run_dir import JobFolder, RunDirectory
from ltbench.training import fit
from ltbench.training.heartbeat import Heartbeat, StoppedError
from ltbench.training.module import TrainingModule, average_batchnorm
from tests.support.training_jobs import DIGITS, REGISTRY, options, recipe

# 90 training images in classes of 30 down to a single one; 4 ranks cannot share the 30 test images
# equally.
DATASET = DatasetSpec(
    **DIGITS.model_dump()
    | {"max_per_class": 30, "imbalance_ratio": 30, "test_per_class": 3, "fingerprint": None}
)
EPOCHS, BATCH = 2, 16

# As if no method took the run of another on the balanced split.
UNSHARED = MethodRegistry(
    {key: info.model_copy(update={"reduces_to": None}) for key, info in REGISTRY.methods.items()}
)


# Methods as they are, and settings in which one does something else altogether.
CASES = {key: (key, {}) for key in METHODS}
CASES["ssp-moco"] = ("ssp", {"task": "moco", "queue": 40, "width": 8})


def chain(case: str, stage: int = -1, split: str = "longtailed", **changes) -> list[Job]:
    """Return the jobs that lead to a stage of a method, starts and teachers first."""
    method, hparams = CASES[case]
    settings = recipe(**{"batch_size": BATCH, "epochs": EPOCHS} | changes)
    grid = Grid(
        name="contract",
        title="Contract",
        datasets=[DATASET.name],
        recipes=[settings.name],
        splits=[split],
        variants=[
            {"label": case, "method": method, "hparams": hparams},
            {"label": "start", "method": "softmax", "init_from": case},
        ],
    )
    plan = expand(grid, [DATASET], {settings.name: settings}, UNSHARED)
    own = [job.key for job in plan.jobs.values() if job.label == case]
    needed, jobs = {own[stage]}, []
    for key, job in reversed(plan.jobs.items()):
        if key in needed:
            needed.update(job.depends_on)
            jobs.append(job)
    return jobs[::-1]


class Bench:
    """Trains in this process whatever is asked for, each job once."""

    def __init__(self, root: Path) -> None:
        self.run_dir = RunDirectory(root)
        self.records: dict[str, Record] = {}

    def train(self, jobs: list[Job]) -> Record:
        """Return the record of the last job of a chain."""
        for job in jobs:
            if job.key not in self.records:
                self.records[job.key] = fit.run_job(job, self.run_dir, options())
        return self.records[jobs[-1].key]

    def state(self, job: Job) -> dict[str, Tensor]:
        """Return what a job has left."""
        return load_file(self.run_dir.job(job.key).weights)

    def lend_starts(self, jobs: list[Job], root: Path) -> Job:
        """Return the last job of a chain, ready to be trained in another folder."""
        self.train(jobs)
        for key in jobs[-1].depends_on:
            there = RunDirectory(root).job(key).weights
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.run_dir.job(key).weights, there)
        return jobs[-1]


@contextmanager
def after_each_epoch(look: Callable[[TrainingModule], None]) -> Iterator[None]:
    """Look at the module whenever an epoch is over."""
    over = TrainingModule.on_train_epoch_end

    def over_and_looked_at(module: TrainingModule) -> None:
        over(module)
        look(module)

    with patch.object(TrainingModule, "on_train_epoch_end", over_and_looked_at):
        yield


def train(job: Job, root: Path) -> tuple[Record, list[str]]:
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
        return fit.run_job(job, RunDirectory(root), options()), hashes


class Interrupted(Exception):
    """What ends a job in the middle, with the epochs that it has trained."""


def train_interrupted(job: Job, root: Path) -> int:
    """Stop a job after its first epoch, or before its record where nothing is trained.

    Returns:
        The epochs that it has trained.
    """

    def stop(module: TrainingModule) -> None:
        raise Interrupted(len(module.history.losses))

    with after_each_epoch(stop), patch.object(fit, "_record", side_effect=Interrupted(0)):
        try:
            fit.run_job(job, RunDirectory(root), options())
        except Interrupted as interrupted:
            return int(interrupted.args[0])
    raise AssertionError("the job was not interrupted")


class StopAfter(Heartbeat):
    """Asks to stop when this many chunks of steps have begun."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks

    def stop_asked(self) -> bool:
        self.chunks -= 1
        return self.chunks < 0


def train_stopped(job: Job, root: Path, steps: int) -> None:
    """Ask the last rank of a job to stop after some optimisation steps."""
    last = os.environ.get("RANK", "0") == str(int(os.environ.get("WORLD_SIZE", "1")) - 1)
    heartbeat = StopAfter(steps) if last else Heartbeat()
    with patch.object(datamodule, "ChunkedEpochs", partial(ChunkedEpochs, chunk=1)):
        try:
            fit.run_job(job, RunDirectory(root), options(), heartbeat)
        except StoppedError:
            return
    raise AssertionError("the job was not stopped")


def train_in_turn(job: Job, run_dir: RunDirectory, world: int) -> dict[str, Tensor]:
    """Return the state that ranks end in, by one process that goes through their shares in turn.

    Each rank is a copy of the method, with running statistics of its own until an epoch ends.
    """
    data, method = fit.prepare(job, run_dir, options())
    modules = [TrainingModule(copy.deepcopy(method), job, lambda _: None) for _ in range(world)]
    for module in modules:
        module.train()
        module.configure_optimizers()
    for epoch in range(EPOCHS):
        with patch.object(TrainingModule, "current_epoch", epoch):
            for module in modules:
                module.on_train_epoch_start()
        for batch in data.epoch(epoch):
            for module, share in zip(modules, shares(batch, world), strict=True):
                module.optimizer.zero_grad()
                total_loss(module.method.training_loss(share)).backward()
            average([p.grad for p in m.parameters() if p.grad is not None] for m in modules)
            for module in modules:
                module.optimizer.step()
        average([buffer for buffer in m.buffers() if buffer.is_floating_point()] for m in modules)
    return modules[0].method.state_dict()


def average(ranks: Iterable[list[Tensor]]) -> None:
    """Give each rank's tensors their means over ranks."""
    for same in zip(*ranks, strict=True):
        mean = torch.stack(same).mean(0)
        for tensor in same:
            tensor.copy_(mean)


def shares(batch: Batch, world: int) -> list[Batch]:
    """Return the ranks' shares of a global batch."""
    parts = (values.chunk(world) for values in (batch.images, batch.labels, batch.index))
    return [Batch(*share) for share in zip(*parts, strict=True)]


def batchnorm_after_averaging(training: Tensor, frozen: Tensor) -> list[list[float]]:
    """Return a training and a frozen layer's statistics; each rank starts from its row [W, C]."""
    layers = torch.nn.ModuleList(torch.nn.BatchNorm1d(training.shape[1]) for _ in range(2))
    layers[1].eval()
    for layer, rows in zip(layers, (training, frozen), strict=True):
        layer.running_mean.copy_(rows[torch.distributed.get_rank()])
    average_batchnorm(layers)
    return [layer.running_mean.tolist() for layer in layers]


def largest_difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Return the largest difference of two states, each tensor's relative to its largest value."""
    assert ours.keys() == theirs.keys()
    largest = 0.0
    for name, expected in theirs.items():
        if expected.is_floating_point():
            assert expected.dtype == torch.float64, name
            gap = (ours[name] - expected).abs().max() / expected.abs().max()
            largest = max(largest, float(gap.nan_to_num(0.0)))  # 0 / 0: all are zero in both
        else:
            assert ours[name].equal(expected), name
    return largest


def try_few_images(job: Job, root: Path, count: int) -> EvaluationResult | None:
    """Test an untrained job on its first test images alone."""
    data, method = fit.prepare(job, RunDirectory(root), options())
    data.test_labels = data.test_labels[:count]
    module = TrainingModule(method, job, lambda _: None)
    fit.make_trainer(job, torch.device("cpu")).test(module, datamodule=data, verbose=False)
    return module.test_result


def joined_when_counting_attempts(job: Job, root: Path) -> list[bool]:
    """Train a job; return whether the process group was there whenever attempts were counted."""
    count, joined = fit._count_attempt, []

    def look_and_count(folder: JobFolder) -> int:
        joined.append(torch.distributed.is_initialized())
        return count(folder)

    with patch.object(fit, "_count_attempt", look_and_count):
        train(job, root)
    return joined
