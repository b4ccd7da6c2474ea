"""Options of several verbs, in groups, and what they become."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltbench.cli.verbs import Needs, unless
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
    str, typer.Option("--grid", "-g", help="A grid's name, or the path of its YAML file.")
]
GridNames = Annotated[
    list[str] | None, typer.Option("--grid", "-g", help="Grids; default: those of configs/grids.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Override, e.g. recipe.stage1.epochs=5.")
]
OnlyRows = Annotated[
    list[str] | None, typer.Option("--only", help="Filter, e.g. variant=LDAM,NCM.")
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder of the images; else LTBENCH_DATA, else ./data.")
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="Python file with methods or metrics of your own."),
]
RunDir = Annotated[
    Path, typer.Option(help="Folder that runs are written to."), unless("--published-only")
]
RecordsDir = Annotated[Path, typer.Option(help="Folder of the published records.")]
Where = Annotated[Device, typer.Option("--device", help="Where to train.")]
Tracking = Annotated[Mode, typer.Option("--wandb", help="Weights & Biases mirror.")]
Huge = Annotated[bool, typer.Option("--yes", help="Skip the confirmation for large grids.")]
DatasetName = Annotated[str, typer.Argument(help="A dataset of configs/datasets.")]


@dataclass(frozen=True)
class Folders:
    """Where records are."""

    run_dir: RunDir = Path("runs")
    records: RecordsDir = Path("results/records")

    @property
    def runs(self) -> "RunDirectory":
        """The folder of the runs."""
        from ltbench.runs.run_dir import RunDirectory

        return RunDirectory(self.run_dir)

    def load(self) -> "Loaded":
        """Return the published records and those of the runs."""
        from ltbench.runs.store import RecordStore

        return RecordStore(self.records, self.runs.records).load()


@dataclass(frozen=True)
class Inputs:
    """What a plan reads beside configurations."""

    data_root: DataRoot = None
    plugins: Plugins = None

    def request(self, grid: str) -> "Request":
        """Return what a user asks for."""
        from ltbench.launch.plan import Request

        return Request(grid, data_root=self.data_root, plugins=tuple(self.plugins or ()))

    def plan(self, grid: str) -> "Plan":
        """Return the plan of a grid."""
        from ltbench.launch.plan import make_plan

        return make_plan(self.request(grid))[0]

    def methods(self) -> "MethodRegistry":
        """Return the methods of the package and of plugins."""
        from ltbench.launch.plan import read_registry

        return read_registry(self.plugins or ())


@dataclass(frozen=True)
class Selection(Inputs):
    """Which part of a grid is meant, and under which settings."""

    sets: Sets = None
    only: OnlyRows = None

    def request(self, grid: str) -> "Request":
        """Return what a user asks for."""
        asked = super().request(grid)
        return replace(asked, sets=tuple(self.sets or ()), only=tuple(self.only or ()))


@dataclass(frozen=True)
class Machine:
    """What jobs run on."""

    device: Where = "auto"
    max_parallel: Annotated[
        int | None,
        typer.Option(min=1, help="Jobs at a time; default: one a GPU, else one a core."),
        Needs("--launcher local"),
        unless("--export"),
    ] = None
    jobs_per_gpu: Annotated[
        int,
        typer.Option(min=1, help="Jobs that share a GPU."),
        Needs("--launcher local"),
        Needs("--device auto gpu"),
        unless("--export"),
    ] = 1
    devices: Annotated[int, typer.Option(min=1, help="GPUs (or cores) of each job.")] = 1

    def local_slots(self) -> "list[Slot]":
        """Return the slots of this machine.

        Raises:
            ConfigError: where it has fewer than are asked for.
        """
        from ltbench.launch.devices import local_slots

        return local_slots(self.device, self.max_parallel, self.jobs_per_gpu, self.devices)


@dataclass(frozen=True)
class Watching:
    """How jobs are saved, watched and mirrored."""

    wandb: Tracking = "auto"
    checkpoint_every: Annotated[
        float, typer.Option(min=0, help="Least seconds between checkpoints.")
    ] = Options.checkpoint_every
    heartbeat_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds without a step before a job is tried again.")
    ] = Options.heartbeat_timeout


def make_options(
    made: "Plan", inputs: Inputs, device: Device, devices: int, watching: Watching
) -> Options:
    """Return what every job's process is told."""
    from ltbench.launch.run import code_commit

    root = inputs.data_root
    return Options(
        grid=made.grid.name,
        data_root=None if root is None else str(root.absolute()),
        device=device,
        devices=devices,
        tracking=watching.wandb,
        commit=code_commit(),
        checkpoint_every=watching.checkpoint_every,
        heartbeat_timeout=watching.heartbeat_timeout,
        plugins=tuple(str(path.absolute()) for path in inputs.plugins or ()),
    )
