"""One `ltbench run`: find what is missing, check its data, train it, say what became of it."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ltbench.config.errors import Location, raise_all
from ltbench.config.models import Job
from ltbench.config.planning import Plan
from ltbench.core.hardware import hardware_of
from ltbench.data.errors import DataError, printable
from ltbench.launch.cleaning import note_plan
from ltbench.launch.cost import CostModel, Estimate, duration, time_left
from ltbench.launch.devices import Slot
from ltbench.launch.display import RunDisplay, counted
from ltbench.launch.local import LocalRunner, warm_up
from ltbench.launch.runner import Outcome, RunnerConfig
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import to_train
from ltbench.runs.store import Loaded, RecordStore
from ltbench.training.options import Options

if TYPE_CHECKING:
    from ltbench.data.images import FileImages
    from ltbench.data.raw_dataset import RawDataset


@dataclass(frozen=True)
class PendingJobs:
    """What a run has to train.

    Attributes:
        jobs: by key, starts before what starts from them.
        before: records of jobs that are trained again for their weights.
        estimates: of each job, None where nothing like it was measured.
        hardware: of this machine.
    """

    jobs: dict[str, Job]
    before: dict[str, Record]
    estimates: dict[str, Estimate | None]
    hardware: str

    @property
    def seconds(self) -> dict[str, float | None]:
        """Seconds of each job on whatever hardware, for the order of jobs alone."""
        return {key: None if each is None else each.seconds for key, each in self.estimates.items()}

    @property
    def here(self) -> dict[str, float | None]:
        """Seconds of each job on this machine, None where they are not known."""
        return {
            key: None if each is None else each.on(self.hardware)
            for key, each in self.estimates.items()
        }


def find_pending_jobs(
    plan: Plan, run_dir: RunDirectory, published: Path | None, options: Options, console: Console
) -> PendingJobs:
    """Return every job of a plan that has no record yet; its data is still to be checked.

    Args:
        plan: the jobs.
        run_dir: where records and weights go.
        published: folder of the published records; None trains what these have, too.
        options: what every job's process is told.
        console: where to say what happens.

    Raises:
        ConfigError: when the run_dir cannot be written to, or a batch cannot be shared.
    """
    check_writable(run_dir.root)
    note_plan(plan, run_dir)
    loaded = _quarantined(RecordStore(published, run_dir.records), console)
    jobs = {key: plan.jobs[key] for key in to_train(plan, loaded, run_dir)}
    if not jobs:
        console.print(f"Nothing to train: all {len(plan.jobs)} jobs have their records.")
        return PendingJobs({}, {}, {}, "")
    check_shares(jobs.values(), options.devices)
    hardware = hardware_of(on_gpu=options.device != "cpu")
    cost = CostModel(loaded, hardware)
    before = {key: loaded.records[key].record for key in jobs if key in loaded.records}
    estimates = {key: cost.estimate(job) for key, job in jobs.items()}
    return PendingJobs(jobs, before, estimates, hardware)


def run_here(
    plan: Plan,
    run_dir: RunDirectory,
    published: Path | None,
    slots: Sequence[Slot],
    options: Options,
    console: Console,
) -> Outcome:
    """Train what a plan is missing on this machine.

    Args:
        plan: the jobs.
        run_dir: where records and weights go.
        published: folder of the published records; None trains what these have, too.
        slots: GPUs of each slot, empty texts for cores.
        options: what every job's process is told.
        console: where to say what happens.

    Raises:
        ConfigError: when the run_dir cannot be written to, or a batch cannot be shared.
        DataError: when images or splits that are needed cannot be had.
    """
    work = find_pending_jobs(plan, run_dir, published, options, console)
    if not work.jobs:
        return Outcome()
    warm_up(work.jobs.values(), options)
    check_data(work.jobs.values(), options.data_root, console)
    with _shown(plan, work, run_dir, options, len(slots), console) as config:
        return LocalRunner(config, slots).run()


def run_on_ray(
    plan: Plan,
    run_dir: RunDirectory,
    published: Path,
    address: str | None,
    options: Options,
    console: Console,
) -> Outcome:
    """Train what a plan is missing on the nodes of a Ray cluster.

    Args:
        plan: the jobs.
        run_dir: where records and weights go; on all nodes in the same place.
        published: folder of the published records.
        address: of the cluster; None for one of this machine alone, for this run.
        options: what every job's process is told.
        console: where to say what happens.

    Raises:
        ConfigError: as of `run_here`, and where there is no Ray, no cluster at the address or no
            node that can take a job.
        DataError: as of `run_here`.
    """
    from ltbench.launch.ray_cluster import RayRunner, connected

    work = find_pending_jobs(plan, run_dir, published, options, console)
    if not work.jobs:
        return Outcome()
    check_data(work.jobs.values(), options.data_root, console)
    with (
        connected(address, options) as needs,
        _shown(plan, work, run_dir, options, needs.places(), console) as config,
    ):
        return RayRunner(config, needs).run()


@contextmanager
def _shown(
    plan: Plan,
    work: PendingJobs,
    run_dir: RunDirectory,
    options: Options,
    slots: int,
    console: Console,
) -> Iterator[RunnerConfig]:
    """Print what is to be trained, and yield the runner's configuration."""
    expected = time_left(work.here.values(), slots)
    about = "" if expected is None else f", about {duration(expected)}"
    console.print(
        f"{len(plan.jobs)} jobs, {len(work.jobs)} to train in {slots} slots{about}.",
        highlight=False,
    )
    with RunDisplay(console, work.here, slots) as display:
        yield RunnerConfig(work.jobs, work.before, work.seconds, run_dir, options, display)


def check_writable(folder: Path) -> None:
    """Make a folder, and a file in it for a moment.

    Raises:
        ConfigError: when that does not work.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        message = f"{folder} cannot be written to: {error.strerror}"
        raise Location("--run-dir").error("not-writable", message) from error


def check_shares(jobs: Iterable[Job], devices: int) -> None:
    """Refuse batches that the devices of a job cannot share equally.

    Raises:
        ConfigError: naming every such recipe.
    """
    recipes = dict.fromkeys(job.recipe for job in jobs)
    raise_all(
        Location("--devices").problem(
            "conflict",
            f"{devices} cannot share the batch of {recipe.batch_size} of {recipe.name} equally",
        )
        for recipe in recipes
        if recipe.batch_size % devices
    )


def check_data(jobs: Iterable[Job], data_root: str | None, console: Console | None = None) -> None:
    """Load the images and make the splits that jobs will need, before any of them starts.

    Images that jobs read from files are all decoded, as far as they were not before.

    Args:
        jobs: about to start.
        data_root: folder of all datasets.
        console: where to say what is decoded; None for nowhere.

    Raises:
        DataError: naming everything that is missing, damaged or impossible.
    """
    from ltbench.data.images import FileImages
    from ltbench.data.open_set import load_open_set
    from ltbench.data.sources import load_raw_dataset

    problems: list[DataError] = []
    jobs = list(jobs)
    for spec in dict.fromkeys(job.dataset for job in jobs):
        with _collecting(problems):
            raw = load_raw_dataset(spec, data_root)
            files: list[FileImages] = []
            for job in {_sees(job): job for job in jobs if job.dataset == spec}.values():
                with _collecting(problems):
                    files += _files_of(job, raw)
            _decode(spec.name, files, console)
    tested = {job.dataset.open_set: job.dataset for job in jobs if job.subset == "all"}
    for name, spec in tested.items():
        with _collecting(problems):
            other = load_open_set(spec, data_root)
            if name and other and isinstance(other.test_images, FileImages):
                _decode(name, [other.test_images], console)
    if problems:
        raise DataError.joined(problems)


def _decode(name: str, files: "Sequence[FileImages]", console: Console | None) -> None:
    """Decode image files of a dataset on all cores, and show how far that is.

    Raises:
        DataError: naming all that cannot be used.
    """
    from ltbench.data.soundness import check_images

    with counted(console, f"Decoding images of {name}") as progress:
        cores = len(os.sched_getaffinity(0))
        check_images(name, files, processes=cores, progress=progress)


def _sees(job: Job) -> tuple[object, ...]:
    """Return what tells jobs apart that see other images of a dataset, or see them otherwise."""
    return (
        job.split,
        job.subset,
        job.recipe.batch_size,
        job.recipe.resize_shorter_side,
        job.recipe.jpeg_quality,
    )


def _files_of(job: Job, raw: "RawDataset") -> "Iterator[FileImages]":
    """Yield the image files that a job reads, none that a cache has.

    Raises:
        DataError: where its split is impossible, or smaller than a batch.
    """
    from ltbench.data.images import FileImages
    from ltbench.data.split import open_split

    raw, split = open_split(job.dataset, raw, job.recipe, job.split, job.subset)
    for part, files in raw.files.items():
        yield files[split.train] if part == "train" else files
    if split.auxiliary is not None and isinstance(split.auxiliary.images, FileImages):
        yield split.auxiliary.images


def code_commit() -> str | None:
    """Return the git commit of the code, marked where files differ from it; None outside git."""
    root = Path(__file__).parent.parent.parent
    try:
        top, commit = _git(root, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        changes = _git(root, "status", "--porcelain", "--", "ltbench", "configs")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if changes else "") if Path(top) == root else None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(  # noqa: S603 - fixed words
        command, capture_output=True, text=True, check=True
    ).stdout


@contextmanager
def _collecting(problems: list[DataError]) -> Iterator[None]:
    """Add what a block finds wrong with data to a list, so that further checks still run."""
    try:
        yield
    except DataError as error:
        problems.append(error)


def _quarantined(store: RecordStore, console: Console) -> Loaded:
    """Load the records, moving damaged ones of the run out of the way of those to come."""
    loaded = store.load()
    moved = False
    for bad in loaded.bad:
        place = store.quarantine(bad)
        what = f"is moved to {place}" if place else "is set aside"
        message = printable(f"Record {bad.place} {what}: {bad.described()}")
        console.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)
        moved = moved or place is not None
    return store.load() if moved else loaded
