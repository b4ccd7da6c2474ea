"""Runs of a plan: find pending jobs, check their data, train them."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ltbench.config.errors import Location, collect_errors, raise_all
from ltbench.config.job import Job
from ltbench.config.planning import Plan
from ltbench.core.hardware import hardware_of
from ltbench.data.errors import DataError, printable
from ltbench.launch.cleaning import save_plan
from ltbench.launch.cost import CostModel, DurationEstimate, duration, time_left
from ltbench.launch.devices import Slot
from ltbench.launch.display import RunDisplay, progress_bar
from ltbench.launch.local import LocalRunner, warm_up
from ltbench.launch.runner import RunnerConfig, RunOutcome
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import jobs_to_train
from ltbench.runs.store import Loaded, RecordStore
from ltbench.training.options import Options

if TYPE_CHECKING:
    from ltbench.data.images import FileImages
    from ltbench.data.raw_dataset import RawDataset


@dataclass(frozen=True)
class PendingJobs:
    """Jobs of a plan that are still to be trained.

    Attributes:
        jobs: by key, in dependency order.
        old_records: records of jobs that are trained again for their weights.
        estimates: duration of each job, None if no similar job was measured.
        hardware: of this machine.
    """

    jobs: dict[str, Job]
    old_records: dict[str, Record]
    estimates: dict[str, DurationEstimate | None]
    hardware: str

    @property
    def seconds(self) -> dict[str, float | None]:
        """Estimated duration of each job on any hardware, to order jobs."""
        return {key: None if each is None else each.seconds for key, each in self.estimates.items()}

    @property
    def seconds_here(self) -> dict[str, float | None]:
        """Estimated duration of each job on this machine, None if unknown."""
        return {
            key: None if each is None else each.on(self.hardware)
            for key, each in self.estimates.items()
        }


def find_pending_jobs(
    plan: Plan, run_dir: RunDirectory, published: Path | None, options: Options, console: Console
) -> PendingJobs:
    """Return the jobs of a plan that have no record yet.

    Damaged records of the run folder are moved out of the way. The jobs' data is not checked.

    Args:
        plan: the plan.
        run_dir: the run folder.
        published: folder of the published records; None trains these jobs again.
        options: of the run, the same for all its jobs.
        console: to print to.

    Raises:
        ConfigError: if the run folder is not writable, or a batch does not divide among devices.
    """
    for folder in (run_dir.root, run_dir.records, run_dir.jobs, run_dir.plans):
        check_writable(folder)
    loaded = _load_and_quarantine(RecordStore(published, run_dir.records), console)
    save_plan(plan, run_dir)
    jobs = {key: plan.jobs[key] for key in jobs_to_train(plan, loaded, run_dir)}
    if not jobs:
        console.print(f"Nothing to train: all {len(plan.jobs)} jobs have records.")
        return PendingJobs({}, {}, {}, "")
    check_batch_sizes(jobs.values(), options.devices)
    hardware = hardware_of(on_gpu=options.device != "cpu")
    cost = CostModel(loaded, hardware, options.data_root, options.devices)
    old_records = {key: loaded.records[key].record for key in jobs if key in loaded.records}
    estimates = {key: cost.estimate(job) for key, job in jobs.items()}
    return PendingJobs(jobs, old_records, estimates, hardware)


def run_here(
    plan: Plan,
    run_dir: RunDirectory,
    published: Path | None,
    slots: Sequence[Slot],
    options: Options,
    console: Console,
) -> RunOutcome:
    """Train the pending jobs of a plan on this machine.

    Args:
        plan: the plan.
        run_dir: the run folder.
        published: folder of the published records; None trains these jobs again.
        slots: devices of each slot.
        options: of the run, the same for all its jobs.
        console: to print to.

    Raises:
        ConfigError: if the run folder is not writable, or a batch does not divide among devices.
        DataError: if images or splits of the jobs are missing or unusable.
    """
    pending = find_pending_jobs(plan, run_dir, published, options, console)
    if not pending.jobs:
        return RunOutcome()
    warm_up(pending.jobs.values(), options)
    check_data(pending.jobs.values(), options.data_root, console)
    with _display(plan, pending, run_dir, options, len(slots), console) as config:
        return LocalRunner(config, slots).run()


def run_on_ray(
    plan: Plan,
    run_dir: RunDirectory,
    published: Path,
    address: str | None,
    options: Options,
    console: Console,
) -> RunOutcome:
    """Train the pending jobs of a plan on a Ray cluster.

    Args:
        plan: the plan.
        run_dir: the run folder; at the same path on all nodes.
        published: folder of the published records.
        address: of the cluster; None starts one on this machine for this run.
        options: of the run, the same for all its jobs.
        console: to print to.

    Raises:
        ConfigError: as in `run_here`, and if Ray is not installed, no cluster answers, or no node
            can run a job.
        DataError: as in `run_here`.
    """
    from ltbench.launch.ray_cluster import RayRunner, connected

    pending = find_pending_jobs(plan, run_dir, published, options, console)
    if not pending.jobs:
        return RunOutcome()
    check_data(pending.jobs.values(), options.data_root, console)
    with (
        connected(address, options) as resources,
        _display(plan, pending, run_dir, options, resources.slots(), console) as config,
    ):
        return RayRunner(config, resources).run()


@contextmanager
def _display(
    plan: Plan,
    pending: PendingJobs,
    run_dir: RunDirectory,
    options: Options,
    slots: int,
    console: Console,
) -> Iterator[RunnerConfig]:
    """Display the run; yields the runner's configuration."""
    expected = time_left(pending.seconds_here.values(), slots)
    about = "" if expected is None else f", about {duration(expected)}"
    console.print(
        f"{len(plan.jobs)} jobs, {len(pending.jobs)} to train in {slots} slots{about}.",
        highlight=False,
    )
    with RunDisplay(console, pending.seconds_here, slots) as display:
        yield RunnerConfig(
            pending.jobs, pending.old_records, pending.seconds, run_dir, options, display
        )


def check_writable(folder: Path) -> None:
    """Create a folder and check that it is writable.

    Raises:
        ConfigError: if it is not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        message = f"{folder} is not writable: {error.strerror}"
        raise Location("--run-dir").error("not-writable", message) from error


def check_batch_sizes(jobs: Iterable[Job], devices: int) -> None:
    """Check that batches divide equally among the devices of a job.

    Raises:
        ConfigError: naming every recipe whose batch does not.
    """
    recipes = dict.fromkeys(job.recipe for job in jobs)
    raise_all(
        Location("--devices").problem(
            "conflict",
            f"{devices} devices cannot share batches of {recipe.batch_size} ({recipe.name})",
        )
        for recipe in recipes
        if recipe.batch_size % devices
    )


def check_data(jobs: Iterable[Job], data_root: str | None, console: Console | None = None) -> None:
    """Check the images, splits and pretrained weights of jobs.

    Image files are decoded unless they were before.

    Args:
        jobs: to be started.
        data_root: folder of all datasets.
        console: to show progress on; None shows nothing.

    Raises:
        DataError: naming everything that is missing, damaged or impossible.
    """
    from ltbench.data.images import FileImages
    from ltbench.data.open_set import load_open_set
    from ltbench.data.sources import load_raw_dataset
    from ltbench.training.pretrained import pretrained_weights

    problems: list[DataError] = []
    jobs = list(jobs)
    for recipe in dict.fromkeys(job.recipe for job in jobs):
        with collect_errors(problems, DataError):
            pretrained_weights(recipe, data_root)
    for spec in dict.fromkeys(job.dataset for job in jobs):
        with collect_errors(problems, DataError):
            raw = load_raw_dataset(spec, data_root)
            files: list[FileImages] = []
            for job in {_images_key(job): job for job in jobs if job.dataset == spec}.values():
                with collect_errors(problems, DataError):
                    files += _files_of(job, raw)
            _decode(spec.name, files, console)
    open_sets: dict[str, RawDataset] = {}
    for spec in dict.fromkeys(job.dataset for job in jobs if job.subset == "all"):
        with collect_errors(problems, DataError):
            if (other := load_open_set(spec, data_root)) is not None:
                open_sets[spec.open_set or ""] = other
    for name, other in open_sets.items():
        if isinstance(other.test_images, FileImages):
            with collect_errors(problems, DataError):
                _decode(name, [other.test_images], console)
    if problems:
        raise DataError.joined(problems)


def _decode(name: str, files: "Sequence[FileImages]", console: Console | None) -> None:
    """Decode image files of a dataset on all cores.

    Raises:
        DataError: naming every unusable file.
    """
    from ltbench.data.soundness import check_images

    with progress_bar(console, f"Decoding images of {name}") as progress:
        cores = len(os.sched_getaffinity(0))
        check_images(name, files, processes=cores, progress=progress)


def _images_key(job: Job) -> tuple[object, ...]:
    """Return what determines the images that a job reads of its dataset."""
    return (
        job.split,
        job.subset,
        job.recipe.batch_size,
        job.recipe.resize_shorter_side,
        job.recipe.jpeg_quality,
    )


def _files_of(job: Job, raw: "RawDataset") -> "Iterator[FileImages]":
    """Yield the uncached image files that a job reads.

    Raises:
        DataError: if its split is impossible, or smaller than a batch.
    """
    from ltbench.data.images import FileImages
    from ltbench.data.split import open_split

    raw, split = open_split(job.dataset, raw, job.recipe, job.split, job.subset)
    for part, files in raw.files.items():
        yield files[split.train] if part == "train" else files
    if split.auxiliary is not None and isinstance(split.auxiliary.images, FileImages):
        yield split.auxiliary.images


def code_commit() -> str | None:
    """Return the git commit of the code; None outside git.

    `+changes` is appended if the package or the configs have uncommitted changes.
    """
    root = Path(__file__).parent.parent.parent
    try:
        top, commit = _git(root, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        changes = _git(root, "status", "--porcelain", "--", "ltbench", "configs")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if changes else "") if Path(top) == root else None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(  # noqa: S603 - fixed arguments
        command, capture_output=True, text=True, check=True
    ).stdout


def _load_and_quarantine(store: RecordStore, console: Console) -> Loaded:
    """Load the records; move damaged ones of the run folder away."""
    loaded = store.load()
    moved = False
    for bad in loaded.bad:
        target = store.quarantine(bad)
        action = f"was moved to {target}" if target else "is ignored"
        message = printable(f"Record {bad.path} {action}: {bad.described()}")
        console.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)
        moved = moved or target is not None
    return store.load() if moved else loaded
