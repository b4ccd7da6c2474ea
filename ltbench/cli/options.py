"""Groups of options that several verbs share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import ltbench
from ltbench.cli.verbs import Needs, unless
from ltbench.config.errors import Location, Problem, collect_errors, format_value, raise_all
from ltbench.tracking.mode import Mode
from ltbench.training.options import Device, Options

if TYPE_CHECKING:
    from ltbench.config.planning import Plan
    from ltbench.config.registry import MethodRegistry
    from ltbench.launch.devices import Slot
    from ltbench.launch.plan import Request
    from ltbench.runs.run_dir import RunDirectory
    from ltbench.runs.store import Loaded

GridName = Annotated[
    str, typer.Option("--grid", "-g", help="Name of a grid, or path of its YAML file.")
]
GridNames = Annotated[
    list[str] | None,
    typer.Option("--grid", "-g", help="Name of a grid or path of its YAML file; repeatable."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Override a setting, e.g. recipe.batch_size=64, hparams.LDAM-DRW.max_margin=0.3, or "
        "recipe.stage1.scaled_epochs=5 for epochs with the schedule; repeatable.",
    ),
]
OnlyRows = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        help="Filter runs, e.g. variant=LDAM,NCM or seed=0, a label with commas in double quotes; "
        "repeatable.",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="Folder of the datasets; default: LTBENCH_DATA, else ./data."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="Python file with custom methods or metrics; repeatable."),
]


def _folder(text: str) -> Path:
    """Return the path of a folder; refuse an empty one."""
    if not str(text):
        raise typer.BadParameter("is empty; . is the working directory")
    return Path(text)


RunDir = Annotated[
    Path,
    typer.Option(
        help="Run folder: records, weights and logs of your runs.", parser=_folder, metavar="<path>"
    ),
    unless("--published-only"),
]
RecordsDir = Annotated[
    Path,
    typer.Option(help="Folder of the published records.", parser=_folder, metavar="<path>"),
]
DeviceName = Annotated[
    Device, typer.Option("--device", help="Device; auto: a GPU if there is one.")
]
Tracking = Annotated[
    Mode, typer.Option("--wandb", help="Weights & Biases mode; auto: online if logged in.")
]
Confirmed = Annotated[bool, typer.Option("--yes", help="Skip the confirmation for large grids.")]
DatasetName = Annotated[str, typer.Argument(help="Name of a dataset in configs/datasets.")]


DEFAULT_RUN_DIR = Path(ltbench.RUNS)
DEFAULT_RECORDS = Path(ltbench.PUBLISHED)

BEGINNING = 10_000
"""Bytes of a file in which ltbench marks it as its own."""


def existing(run_dir: Path) -> "RunDirectory":
    """Return an existing run folder; the default one may be missing.

    Raises:
        ConfigError: if there is no such folder.
    """
    from ltbench.runs.run_dir import RunDirectory

    if run_dir != DEFAULT_RUN_DIR and not run_dir.is_dir():
        message = f"no such run folder: {format_value(str(run_dir))}"
        hint = "name the --run-dir of `ltbench run`, which creates it"
        raise Location("--run-dir").error("missing-file", message, hint)
    return RunDirectory(run_dir)


def missing_records(records: Path) -> list[Problem]:
    """Return the problem of a folder of published records that is missing."""
    if records.is_dir():
        return []
    message = f"no such folder: {format_value(str(records))}"
    hint = "name the --records of `ltbench results publish`, which creates it"
    return [Location("--records").problem("missing-file", message, hint)]


def missing_files(paths: Mapping[str, Path | None], *defaults: Path) -> list[Problem]:
    """Return the options that name a missing file, unless the default."""
    return [
        Location(option).problem("missing-file", f"no such file: {format_value(str(path))}")
        for option, path in paths.items()
        if path is not None and path not in defaults and not path.is_file()
    ]


def foreign_files(option: str, marks: Mapping[Path, str]) -> list[Problem]:
    """Return the files to write that are the user's own.

    Args:
        option: that names them.
        marks: text near the beginning of each file if ltbench has written it.
    """
    problems = []
    for path, mark in marks.items():
        if not path.is_file():
            continue
        with path.open("rb") as file:
            beginning = file.read(BEGINNING)
        if mark.encode() not in beginning:
            message = f"{path} exists, and was not written by this command"
            hint = "remove it, or name another"
            problems.append(Location(option).problem("conflict", message, hint))
    return problems


@dataclass(frozen=True)
class Folders:
    """Folders of runs and records."""

    run_dir: RunDir = DEFAULT_RUN_DIR
    records: RecordsDir = DEFAULT_RECORDS

    @property
    def runs(self) -> "RunDirectory":
        """The run folder."""
        from ltbench.runs.run_dir import RunDirectory

        return RunDirectory(self.run_dir)

    def load(self) -> "Loaded":
        """Load the published records and those of the run folder."""
        from ltbench.runs.store import RecordStore

        return RecordStore(self.records, self.runs.records).load()

    def read(self, *, published_only: bool = False, with_published: bool = False) -> "Loaded":
        """Load the records for a verb that trains nothing.

        The default folders may be missing, and --records beside a run folder, as in `run`.

        Args:
            published_only: read no run folder.
            with_published: --records may not be missing beside a run folder either.

        Raises:
            ConfigError: if a folder is missing.
        """
        from ltbench.runs.store import RecordStore

        problems: list[Problem] = []
        if not published_only:
            with collect_errors(problems):
                existing(self.run_dir)
        needed = with_published or published_only or not self.run_dir.is_dir()
        if needed and self.records != DEFAULT_RECORDS:
            problems += missing_records(self.records)
        raise_all(problems)
        return RecordStore(self.records).load() if published_only else self.load()


@dataclass(frozen=True)
class Inputs:
    """Datasets and plugins."""

    data_root: DataRoot = None
    plugins: Plugins = None

    def request(self, grid: str) -> "Request":
        """Return the request for a grid."""
        from ltbench.launch.plan import Request

        return Request(grid, data_root=self.data_root, plugins=tuple(self.plugins or ()))

    def plan(self, grid: str) -> "Plan":
        """Plan a grid."""
        from ltbench.launch.plan import make_plan

        return make_plan(self.request(grid))[0]

    def methods(self) -> "MethodRegistry":
        """Return the methods of the package and of plugins."""
        from ltbench.launch.plan import read_registry

        return read_registry(self.plugins or ())


@dataclass(frozen=True)
class Selection(Inputs):
    """Filters and overrides of a grid."""

    sets: Sets = None
    only: OnlyRows = None

    def request(self, grid: str) -> "Request":
        """Return the request for a grid, with overrides and filters."""
        request = super().request(grid)
        return replace(request, sets=tuple(self.sets or ()), only=tuple(self.only or ()))


@dataclass(frozen=True)
class Machine:
    """Devices of the jobs."""

    device: DeviceName = "auto"
    max_parallel: Annotated[
        int | None,
        typer.Option(min=1, help="Jobs at a time; default: one per GPU, else one per core."),
        Needs("--launcher local"),
        unless("--export"),
    ] = None
    jobs_per_gpu: Annotated[
        int,
        typer.Option(min=1, help="Number of jobs that share a GPU."),
        Needs("--launcher local"),
        Needs("--device auto gpu"),
        unless("--export"),
    ] = 1
    devices: Annotated[int, typer.Option(min=1, help="GPUs (or cores) per job.")] = 1

    def local_slots(self) -> "list[Slot]":
        """Return the slots of this machine.

        Raises:
            ConfigError: if it has fewer than requested.
        """
        from ltbench.launch.devices import local_slots

        return local_slots(self.device, self.max_parallel, self.jobs_per_gpu, self.devices)


@dataclass(frozen=True)
class JobOptions:
    """Tracking, checkpoints, heartbeat and threads of jobs."""

    wandb: Tracking = "auto"
    checkpoint_every: Annotated[
        float, typer.Option(min=0, help="Minimum seconds between checkpoints.")
    ] = Options.checkpoint_every
    heartbeat_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds without progress before a job is restarted.")
    ] = Options.heartbeat_timeout
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads of each process, which also read its images.")
    ] = Options.threads


def make_options(
    plan: "Plan", inputs: Inputs, device: Device, devices: int, of_jobs: JobOptions
) -> Options:
    """Return the options of a run."""
    from ltbench.launch.run import code_commit

    root = inputs.data_root
    return Options(
        grid=plan.grid.name,
        data_root=None if root is None else str(root.absolute()),
        device=device,
        devices=devices,
        tracking=of_jobs.wandb,
        commit=code_commit(),
        checkpoint_every=of_jobs.checkpoint_every,
        heartbeat_timeout=of_jobs.heartbeat_timeout,
        threads=of_jobs.threads,
        plugins=tuple(str(path.absolute()) for path in inputs.plugins or ()),
    )
