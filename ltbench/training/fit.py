"""Training and test of one job, from its data to its record."""

import hashlib
import logging
import os
import platform
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from safetensors.torch import load_file, save

import ltbench
from ltbench.config.job import Job
from ltbench.config.keys import KEY_LENGTH, content_hash, file_hash
from ltbench.core.distributed import all_sum, gather, rank, world_size
from ltbench.core.files import read_json, write_atomically, write_json
from ltbench.core.hardware import cpu_seconds, processor
from ltbench.data.datamodule import DataModule
from ltbench.methods.contract import Method, TrainedTeacher
from ltbench.methods.cost import all_parameters, trained_parameters
from ltbench.methods.plugins import find_method
from ltbench.runs.record import (
    SCHEMA_VERSION,
    Cost,
    CurvePoint,
    Environment,
    Passes,
    Record,
    SplitFacts,
    Training,
    Weights,
)
from ltbench.runs.run_dir import JobFolder, RunDirectory
from ltbench.runs.store import record_path, write_record
from ltbench.tracking.wandb import finish, log_epoch, open_run
from ltbench.training.bf16_emulation import bfloat16_kind
from ltbench.training.build import build_method
from ltbench.training.checkpoint import load_checkpoint, save_checkpoint
from ltbench.training.heartbeat import Heartbeat, StoppedError
from ltbench.training.module import History, TrainingModule
from ltbench.training.options import Options
from ltbench.training.precision import set_precision

if TYPE_CHECKING:
    from pytorch_lightning.loggers import WandbLogger

log = logging.getLogger(__name__)


class CodeError(ValueError):
    """The method's code differs from that of the plan."""


def run_job(
    job: Job, run_dir: RunDirectory, options: Options, heartbeat: Heartbeat | None = None
) -> Record:
    """Train and test one job, resuming an interrupted attempt.

    With torchrun's environment variables this process is one rank of the job.

    Args:
        job: to train; stages without training are only tested.
        run_dir: of the init weights, checkpoints and records.
        options: of the process.
        heartbeat: to the launcher.

    Returns:
        The record, which is also written to the run folder.

    Raises:
        CodeError: if the method's code differs from that of the plan.
        DivergedError: if a loss, a weight or a prediction is not finite.
        FileNotFoundError: if init weights are missing.
        StoppedError: if the heartbeat requested a stop; a checkpoint was saved.
        DataError: if pretrained weights are missing.
        ValueError: if the data or the weights are not those of the job.
    """
    began = cpu_seconds()
    torch.set_num_threads(options.threads)
    set_precision(job.recipe)
    device = local_device(options)
    trainer = make_trainer(job, device)
    trainer.strategy.setup_environment()  # starts the process group: `rank` is valid from here on
    folder = run_dir.job(job.key)
    attempts = _count_attempt(folder)
    data, method = prepare(job, run_dir, options)
    logger = open_run(job, options.grid, folder.path, options.tracking)
    record = None
    try:
        training = training_key(job, data, run_dir)
        every = options.checkpoint_every
        progress = _ProgressWriter(job, folder, logger, every, heartbeat or Heartbeat(), training)
        module = TrainingModule(method, job, progress.on_epoch_end, progress.on_chunk_start)
        module.cpu_counted = began
        data.on_batch = partial(progress.on_batch_start, module)
        if method.stage.is_trained:
            _resume(run_dir, job, training, module, data, trainer, device)
            for epoch in range(1, len(module.history.losses) + 1):
                progress.track(module.history, epoch, len(data.test_labels))
            trainer.fit(module, datamodule=data)
            if len(module.history.losses) < module.settings.epochs:
                raise InterruptedError("training stopped before its last epoch")
            progress.on_training_end(module)
        if method.stage.is_evaluated:
            with module.test_context:
                trainer.test(module, datamodule=data, verbose=False)
        record = _make_record(job, data, module, folder, options, attempts)
        if rank() == 0:
            write_record(record, record_path(run_dir.records, job))
            for path in folder.checkpoints.glob("*"):
                path.unlink(missing_ok=True)
            folder.failure.unlink(missing_ok=True)
        return record
    finally:
        if logger is not None:
            finish(logger, record, record_path(run_dir.records, job))


def prepare(job: Job, run_dir: RunDirectory, options: Options) -> tuple[DataModule, Method]:
    """Return a job's data, and its method at the stage's start.

    Raises:
        CodeError: if the method's code differs from that of the plan.
    """
    _check_code(job, options.plugins)
    data = DataModule.of_job(job, options.data_root, local_device(options))
    method = build_method(job, data.counts, options.plugins, options.data_root)
    states = [load_file(run_dir.job(key).weights) for key in job.depends_on]
    subsets = [data.classes_of(teacher.subset) for teacher in method.own_teachers()]
    subsets = [classes for classes in subsets if len(classes)]  # an empty group has no teacher
    first_teacher = len(states) - len(subsets)
    for state in states[:first_teacher]:
        method.init_from_weights(state)
    if subsets:
        method.load_teachers(list(map(TrainedTeacher, states[first_teacher:], subsets)))
    method.stage = method.stage_of(job.stage)
    method.on_stage_start(method.stage)
    if job.recipe.channels_last:
        method.to(memory_format=torch.channels_last)
    data.epoch_indices, data.views = method.epoch_indices, method.stage.views
    data.has_auxiliary_stream = method.stage.has_auxiliary_stream
    return data, method


def _check_code(job: Job, plugins: Sequence[str]) -> None:
    """Check that the method's code has not changed since the plan."""
    kind, plugin_hash = find_method(job.method, map(Path, plugins))
    again = "run the command again to plan anew"
    if kind.version != job.version:
        raise CodeError(
            f"{job.method} was planned with version {job.version}, this ltbench has version "
            f"{kind.version}: {again}"
        )
    if plugin_hash != job.plugin_hash:
        raise CodeError(
            f"{job.method} was planned with other code than that of {', '.join(plugins)}: the "
            f"plugin was edited; {again}"
        )


class _ProgressWriter:
    """Writes progress and checkpoints of a job, and beats its heart.

    A requested stop saves a checkpoint at the next chunk of steps, within the epoch, on which the
    ranks agree. The end of training is saved before the test, so that a job whose test is stopped
    or fails has only the test to repeat. Every chunk and every batch of a test is a heartbeat.
    """

    def __init__(
        self,
        job: Job,
        folder: JobFolder,
        logger: "WandbLogger | None",
        every: float,
        heartbeat: Heartbeat,
        training: str,
    ) -> None:
        self.training = training
        self.job, self.folder, self.logger, self.every = job, folder, logger, every
        self.heartbeat = heartbeat
        self.saved = time.monotonic()

    def on_epoch_end(self, module: TrainingModule) -> None:
        if rank() != 0:
            return
        history, epochs = module.history, module.settings.epochs
        epoch = len(history.losses)
        rate = history.images / history.seconds
        state = {"epoch": epoch, "epochs": epochs, "images_per_second": rate}
        with _log_failure("the progress"):
            write_json(self.folder.progress, state)
        self.track(history, epoch, len(module.data.test_labels))
        if epoch < epochs and time.monotonic() - self.saved >= self.every:
            self._save(module, None)

    def on_training_end(self, module: TrainingModule) -> None:
        if rank() == 0 and module.method.stage.is_evaluated:
            self._save(module, None)
            with _log_failure("the end of training"):
                write_json(trained_mark(self.folder, self.training), self.job.key)

    def track(self, history: History, epoch: int, images: int) -> None:
        """Log an epoch's loss, and its test accuracy if there is one.

        Args:
            history: of the training.
            epoch: counted from 1.
            images: of the test set.
        """
        if self.logger is not None:
            metrics = {"train/loss": history.losses[epoch - 1]}
            for tested, hits in history.curve:
                if tested == epoch:
                    metrics["test/accuracy"] = sum(hits) / images
            log_epoch(self.logger, epoch, metrics)

    def on_chunk_start(self, module: TrainingModule) -> None:
        self.heartbeat.beat()
        stop = self.heartbeat.stop_asked()
        if world_size() > 1:  # ranks step together
            stop = bool(all_sum(torch.tensor(float(stop), device=module.device)))
        if stop:
            position = module.pause()
            if rank() == 0:
                self._save(module, position)
            raise StoppedError("stopped on request")

    def on_batch_start(self, module: TrainingModule) -> None:
        self.heartbeat.beat()
        if module.trainer.testing and self.heartbeat.stop_asked():  # each rank tests its own share
            raise StoppedError("stopped on request")

    def _save(self, module: TrainingModule, position: dict[str, Any] | None) -> None:
        epoch = len(module.history.losses)
        state = {
            "key": self.job.key,
            "training": self.training,
            "method": module.method.state_dict(),
            "optimizer": module.optimizer.state_dict(),
            "history": asdict(module.history),
            "position": position,
        }
        step = position["steps"] if position else 0
        with _log_failure("a checkpoint"):
            save_checkpoint(self.folder.checkpoints, epoch, state, step)
        self.saved = time.monotonic()


@contextmanager
def _log_failure(what: str) -> Iterator[None]:
    """Log that a file could not be written, and continue.

    For files that only save time: a full disk may be freed again.
    """
    try:
        yield
    except OSError as error:
        log.warning("%s could not be written: %s", what, error)


def make_trainer(job: Job, device: torch.device) -> pl.Trainer:
    """Return a job's Trainer: single-device, or a rank in torchrun's environment."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    strategy: Strategy
    cluster: ClusterEnvironment
    if world > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        strategy = DDPStrategy(process_group_backend=backend, broadcast_buffers=False)
        cluster = TorchElasticEnvironment()
    else:
        strategy, cluster = SingleDeviceStrategy(device), LightningEnvironment()
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=world // int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        strategy=strategy,
        plugins=[cluster],  # by default Lightning would requeue and restore jobs under Slurm
        max_epochs=job.stage_recipe.epochs if job.stage_recipe else 0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        log_every_n_steps=0,
    )


def training_key(job: Job, data: DataModule, run_dir: RunDirectory) -> str:
    """Return a hash of what determines a job's weights.

    Unlike the job's key it does not depend on the test images; init weights and teachers count by
    the hash of their files.
    """
    settings = job.settings()
    settings["dataset"]["fingerprint"] = data.training_fingerprint
    settings["depends_on"] = [file_hash(run_dir.job(key).weights) for key in job.depends_on]
    return content_hash([settings, data.train_hash])[:KEY_LENGTH]


def trained_mark(folder: JobFolder, training: str) -> Path:
    """Return the marker file of a finished training without a test."""
    return folder.checkpoints / f"trained-{training}"


def _resume(
    run_dir: RunDirectory,
    job: Job,
    training: str,
    module: TrainingModule,
    data: DataModule,
    trainer: pl.Trainer,
    device: torch.device,
) -> None:
    """Resume from the job's checkpoint, or from an identical finished training.

    The latter is that of a job whose test failed because of bad test images: with repaired images
    the job has another key, and the same weights.
    """
    own, pattern = run_dir.job(job.key), trained_mark(run_dir.job("*"), training)
    finished = (path.parent for path in run_dir.root.glob(str(pattern.relative_to(run_dir.root))))
    folders = (own.checkpoints, *finished)
    states = (load_checkpoint(folder, device, training) for folder in folders)
    state = next((each for each in states if each is not None), None)
    _check_same_on_all_ranks(state, device)
    if state is None:
        return
    if state["key"] != job.key:
        state["history"]["curve"] = []  # of other test images
        log.info("resuming the identical training of job %s", state["key"])
    module.method.load_state_dict(state["method"])
    module.optimizer_state = state["optimizer"]
    module.history = History(**state["history"])
    done, position = len(module.history.losses), state.get("position")
    if position is not None:
        module.position = {**position, "method": state["method"]}
        data.steps_done = position["steps"]
    log.info("resuming after epoch %d and %d steps of the next", done, data.steps_done)
    counters = dict.fromkeys(("ready", "started", "processed", "completed"), done)
    trainer.fit_loop.epoch_progress.current.load_state_dict(counters)


def _check_same_on_all_ranks(state: dict[str, Any] | None, device: torch.device) -> None:
    """Check that all ranks resume from the same place.

    Args:
        state: of this rank's checkpoint, None to train from the start.
        device: of this rank.

    Raises:
        RuntimeError: if not: some could not read the newest checkpoint.
    """
    found = (-1, 0)
    if state is not None:
        found = (len(state["history"]["losses"]), (state.get("position") or {}).get("steps", 0))
    if len({*map(tuple, gather(torch.tensor([found], device=device)).tolist())}) > 1:
        raise RuntimeError(
            "the ranks found different checkpoints: is the run folder the same on all machines?"
        )


def _count_attempt(folder: JobFolder) -> int:
    path = folder.path / "attempts.json"
    attempts = int(read_json(path) or 0) + 1
    if rank() == 0:
        write_json(path, attempts)
    return attempts


def _make_record(
    job: Job,
    data: DataModule,
    module: TrainingModule,
    folder: JobFolder,
    options: Options,
    attempts: int,
) -> Record:
    if module.test_result is None and module.method.stage.is_evaluated:
        raise RuntimeError("the job was not tested")
    weights = save({k: v.contiguous().cpu() for k, v in module.method.state_dict().items()})
    if rank() == 0:
        write_atomically(folder.weights, weights)
    history, device = module.history, local_device(options)
    trained = job.stage_recipe is not None
    return Record(
        schema_version=SCHEMA_VERSION,
        key=job.key,
        grid=options.grid,
        method=job.method,
        job=job,
        split=_split_facts(job, data),
        training=Training(
            epochs=len(history.losses),
            steps=history.steps,
            losses=tuple(history.losses),
            curve=tuple(CurvePoint(epoch=epoch, hits=tuple(hits)) for epoch, hits in history.curve),
            hits=module.training_hits,
            passes=_passes(module.method, data),
            **_active_steps(history),
        )
        if trained
        else None,
        test=module.test_result,
        shifted=module.shifted,
        open_set=module.open_set,
        weights=Weights(
            sha256=hashlib.sha256(weights).hexdigest(),
            parameters=all_parameters(module.method),
            trained=trained_parameters(module.method),
            read=module.read,
        ),
        cost=Cost(
            train_seconds=round(history.seconds, 3),
            test_seconds=round(module.test_seconds, 3),
            images_per_second=round(history.images / history.seconds, 1) if trained else None,
            peak_memory_mb=round(_peak_memory_mb(device), 1),
            devices=int(os.environ.get("WORLD_SIZE", "1")),
            attempts=attempts,
            memory="gpu" if device.type == "cuda" else "host",
            cpu_seconds=round(history.cpu_seconds, 3),
        ),
        environment=_environment(options, device),
    )


def _split_facts(job: Job, data: DataModule) -> SplitFacts:
    auxiliary, bad = data.auxiliary, job.dataset.bad_images
    return SplitFacts(
        train_hash=data.train_hash,
        train_counts=data.train_counts,
        longtailed_counts=tuple(data.longtailed_counts.tolist()),
        test_hash=data.test_hash,
        auxiliary_hash=data.auxiliary_hash,
        auxiliary_counts=auxiliary.counts(job.dataset.classes) if auxiliary else None,
        bad_images=bad.total if bad else 0,
        class_names=data.class_names,
    )


def _environment(options: Options, device: torch.device) -> Environment:
    return Environment(
        ltbench=ltbench.__version__,
        commit=options.commit,
        python=platform.python_version(),
        torch=str(torch.__version__),
        lightning=version("pytorch-lightning"),
        hardware=hardware(device),
        threads=options.threads,
        finished=datetime.now(UTC).replace(microsecond=0),
        processor=processor(),
        bf16=bfloat16_kind(device),
        gpu_memory_mb=_gpu_memory_mb(device),
    )


def _passes(method: Method, data: DataModule) -> Passes:
    """Return the passes per training step; empty groups have no teacher."""
    teachers = sum(len(data.classes_of(teacher.subset)) > 0 for teacher in method.own_teachers())
    stage = method.stage
    return Passes(gradient=stage.passes, forward=stage.forward_passes, teachers=teachers)


def _active_steps(history: History) -> dict[str, Any]:
    """Return the counts of metric terms; nothing of a method without."""
    counts = {term: tuple(count) for term, count in history.active_steps.items()}
    return {"active_steps": counts} if counts else {}


def local_device(options: Options) -> torch.device:
    """Return the process's device: CPU, or GPU of the local rank."""
    if options.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory of a rank: GPU or host memory."""
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return float(gather(torch.tensor([used], device=device)).max())


def _gpu_memory_mb(device: torch.device) -> float | None:
    """Return the total memory of a GPU; None for a CPU."""
    if device.type != "cuda":
        return None
    return round(torch.cuda.get_device_properties(device).total_memory / 2**20, 1)


def hardware(device: torch.device) -> str:
    """Return the name of a device's GPU or processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor()
