"""One `ltbench run`: check the data, find what is missing, train it, say what became of it."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ltbench.config.expand import Plan
from ltbench.data.errors import DataError
from ltbench.launch.cost import CostModel
from ltbench.launch.display import RunDisplay, duration
from ltbench.launch.local import LocalRunner, Outcome, cpu_slots, gpu_slots
from ltbench.launch.state import to_train
from ltbench.results.store import Loaded, RecordStore
from ltbench.results.workspace import Workspace
from ltbench.training.options import Options


@dataclass(frozen=True)
class Machine:
    """The slots of this machine.

    Attributes:
        gpus: GPUs by the name CUDA_VISIBLE_DEVICES knows them by; empty for CPU jobs.
        slots: jobs at a time.
        jobs_per_gpu: how many of them share a GPU.
    """

    gpus: tuple[str, ...]
    slots: int
    jobs_per_gpu: int = 1

    def environments(self) -> list[dict[str, str]]:
        """Return the environment variables of each slot."""
        if not self.gpus:
            return cpu_slots(self.slots)
        return gpu_slots(self.gpus, self.jobs_per_gpu)[: self.slots]


def this_machine(device: str = "auto", slots: int | None = None, jobs_per_gpu: int = 1) -> Machine:
    """Return the slots that a user asks for, by default every GPU, else every core.

    Raises:
        ValueError: for more than there is.
    """
    gpus = () if device == "cpu" else visible_gpus()
    if device == "gpu" and not gpus:
        raise ValueError("no GPU is visible")
    most = len(gpus) * jobs_per_gpu if gpus else len(os.sched_getaffinity(0))
    if slots is not None and not 1 <= slots <= most:
        raise ValueError(f"--slots {slots} asked for, this machine has 1 to {most}")
    return Machine(gpus, slots or most, jobs_per_gpu)


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, without loading a CUDA library."""
    devices = sorted(int(path.name[6:]) for path in Path("/dev").glob("nvidia[0-9]*"))
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return tuple(map(str, range(len(devices))))
    return tuple(name for name in listed.split(",") if name and name != "-1") if devices else ()


def code_commit() -> str | None:
    """Return the git commit of the code, marked where files differ from it; None outside git."""
    root = Path(__file__).parent.parent.parent
    git = ["git", "-C", str(root)]
    try:
        top, commit = subprocess.run(  # noqa: S603 - fixed words
            [*git, "rev-parse", "--show-toplevel", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.split()
        status = subprocess.run(  # noqa: S603 - fixed words
            [*git, "status", "--porcelain", "--", "ltbench", "configs"],
            capture_output=True, text=True, check=True,
        ).stdout
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if status else "") if Path(top) == root else None


def check_data(plan: Plan, keys: Sequence[str], data_root: Path | None) -> None:
    """Load the images and make the splits that jobs will need, before any of them starts.

    Raises:
        DataError: naming everything that is missing, damaged or impossible.
    """
    from ltbench.data.sources import load_pool
    from ltbench.data.split import make_split

    splits = dict.fromkeys((plan.jobs[key].dataset, plan.jobs[key].split) for key in keys)
    problems: dict[str, None] = {}
    for spec in dict.fromkeys(spec for spec, _ in splits):
        try:
            pool = load_pool(spec, data_root)
        except DataError as error:
            problems[str(error)] = None
            continue
        for split in (split for other, split in splits if other == spec):
            try:
                found = make_split(spec, pool, split)
            except DataError as error:
                problems[str(error)] = None
                continue
            batch = min(plan.jobs[k].recipe.batch for k in keys if plan.jobs[k].dataset == spec)
            if len(found.train) < batch:
                problems[f"{spec.id} {split}: batch {batch} is more than its {len(found.train)} images"] = None
    if problems:
        raise DataError("\n".join(problems))


def run_plan(
    plan: Plan,
    workspace: Workspace,
    published: Path,
    machine: Machine,
    options: Options,
    console: Console,
) -> Outcome:
    """Train every job of a plan that has no record yet."""
    store = RecordStore(published, workspace.records)
    loaded = _quarantined(store, console)
    keys = to_train(plan, loaded, workspace)
    if not keys:
        console.print(f"Nothing to train: all {len(plan.jobs)} jobs have their records.")
        return Outcome()
    check_data(plan, keys, Path(options.data_root) if options.data_root else None)
    cost = CostModel(stored.record for stored in loaded.records.values())
    seconds = {key: cost.seconds(plan.jobs[key]) for key in keys}
    slots = machine.environments()
    known = [s for s in seconds.values() if s is not None]
    about = duration(sum(known) / len(slots)) if len(known) == len(seconds) else "an unknown time"
    console.print(
        f"{len(plan.jobs)} jobs, {len(keys)} to train in {len(slots)} slots: about {about}.",
        highlight=False,
    )
    with RunDisplay(console, len(keys), seconds, len(slots)) as display:
        return LocalRunner(plan, keys, workspace, options, slots, cost.seconds, display).run()


def _quarantined(store: RecordStore, console: Console) -> Loaded:
    """Load the records, moving damaged ones of the run out of the way of those to come."""
    loaded = store.load()
    moved = [(bad, store.quarantine(bad)) for bad in loaded.bad]
    for bad, place in moved:
        what = f"moved to {place}" if place else "set aside"
        console.print(f"Record {bad.place} is {what}: {bad.reason}", style="yellow", markup=False)
    return store.load() if any(place for _, place in moved) else loaded
