"""Words that several verbs understand, and what they become."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltbench.cli.verbs import Needs
from ltbench.tracking.mode import Mode
from ltbench.training.options import Device, Options

if TYPE_CHECKING:
    from ltbench.config.expand import Plan
    from ltbench.launch.plan import Request
    from ltbench.runs.store import Loaded

RUNS = Path("runs")
PUBLISHED = Path("results/records")

GridName = Annotated[
    str, typer.Option("--grid", "-g", help="A grid's name, or the path of its YAML file.")
]
GridNames = Annotated[
    list[str] | None, typer.Option("--grid", "-g", help="Grids; default: those of configs/grids.")
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Override, e.g. recipe.first.epochs=5.")
]
Only = Annotated[list[str] | None, typer.Option("--only", help="Filter, e.g. variant=LDAM,NCM.")]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder of the images; else LTBENCH_DATA, else ./data.")
]
Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", help="Python file with methods of your own.")
]
Out = Annotated[Path, typer.Option(help="Folder that runs are written to.")]
Published = Annotated[Path, typer.Option(help="Folder of the published records.")]
Where = Annotated[Device, typer.Option("--device", help="Where to train.")]
Slots = Annotated[
    int | None,
    typer.Option(min=1, help="Jobs at a time; default: one a GPU, else one a core."),
    Needs("--launcher local"),
]
JobsPerGpu = Annotated[
    int,
    typer.Option(min=1, help="Jobs that share a GPU."),
    Needs("--launcher local"),
    Needs("--device auto gpu"),
]
Devices = Annotated[int, typer.Option(min=1, help="GPUs (or cores) of each job.")]
Tracking = Annotated[Mode, typer.Option("--wandb", help="Weights & Biases mirror.")]
CheckpointEvery = Annotated[float, typer.Option(min=0, help="Least seconds between checkpoints.")]
HungAfter = Annotated[
    float, typer.Option(min=1, help="Seconds without a step before a job is tried again.")
]
Huge = Annotated[bool, typer.Option("--yes", help="Do not ask about a huge grid.")]
DatasetName = Annotated[str, typer.Argument(help="A dataset of configs/datasets.")]


def make_request(
    grid: str,
    data_root: Path | None = None,
    plugins: list[Path] | None = None,
    sets: list[str] | None = None,
    only: list[str] | None = None,
) -> "Request":
    """Return what a user asks for."""
    from ltbench.launch.plan import Request

    return Request(grid, tuple(sets or ()), tuple(only or ()), data_root, tuple(plugins or ()))


def make_plans(
    names: list[str], data_root: Path | None, plugins: list[Path] | None
) -> "list[Plan]":
    """Return the plans of whole grids."""
    from ltbench.launch.plan import make_plan

    return [make_plan(make_request(name, data_root, plugins))[0] for name in names]


def load_records(out: Path, published: Path) -> "Loaded":
    """Return the published records and those of the runs."""
    from ltbench.runs.run_dir import Workspace
    from ltbench.runs.store import RecordStore

    return RecordStore(published, Workspace(out).records).load()


def make_options(
    made: "Plan",
    request: "Request",
    device: Device,
    devices: int,
    tracking: Mode,
    checkpoint_every: float = 30.0,
    hung_after: float = 1800.0,
) -> Options:
    """Return what every job's process is told."""
    from ltbench.launch.session import code_commit

    root = request.data_root
    return Options(
        grid=made.grid.name,
        data_root=None if root is None else str(root.absolute()),
        device=device,
        devices=devices,
        tracking=tracking,
        commit=code_commit(),
        checkpoint_every=checkpoint_every,
        hung_after=hung_after,
        plugins=tuple(str(path.absolute()) for path in request.plugins),
    )
