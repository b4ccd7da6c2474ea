"""Two steps of every variant of imagenet_lt on a small tree.

The tree has the dataset's shape, and images 224 pixels a side. The grid, its recipe and network are
those of the real runs. Smaller are: the batches, of 8 images (16 for methods that divide them),
with the learning rate that goes with them; the tree, 1,000 classes of 120 images down to one, 1,472
in all, so that methods that pass over all training images can be rehearsed, too, and 40 test
images; and some hyper-parameters (`SMALLER`). Each stage takes two steps: two epochs of one where
it has several, so that what is deferred to late epochs is off and on, else an epoch of two.

Each job has processes of its own, on one rank and on two (gloo, on CPUs). What a variant starts
from is trained once, on one rank. The same command goes on where it was cut off: a variant that has
passed is not run again until its jobs have other keys. Photographs are those of LTBENCH_PHOTOS.
"""

import argparse
import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path

from ltbench.config.dataset import DatasetSpec
from ltbench.config.job import Job
from ltbench.config.load import load_grid, load_recipe
from ltbench.config.planning import Plan, PlannedRun, expand
from ltbench.config.recipe import Recipe
from ltbench.config.registry import load_registry
from ltbench.core.hardware import processor
from ltbench.data.cache_building import build_cache
from ltbench.data.official_lists import pinned_fingerprint
from ltbench.data.sources import load_raw_dataset
from ltbench.launch.local import warm_up
from ltbench.runs.record import Record
from ltbench.runs.run_dir import RunDirectory
from ltbench.testing.imagenet_shape import few_steps, make_tree, prepare_tree
from ltbench.testing.jobs import options
from ltbench.testing.ranks import RankError, Ranks, quiet

RESULTS = Path(__file__).parent / "results"
TRAIN = [120, 104, 60, 40, 30, 24, 16, 12, 10, 8, 7, 6, 5, 4, 4, 3, 3, *[2] * 33, *[1] * 950]
TEST = [int(k % 25 == 0) for k in range(len(TRAIN))]
VAL = [1] * len(TRAIN)
GRID, RECIPE = "imagenet_lt", "imagenet_lt_90"
BATCH, EPOCHS, STEPS = 8, 2, 2
LARGER = {"ofa": 16, "ltml": 16}
"""Batch sizes of methods that give BatchNorm a part of the batch."""
SMALLER = {
    "lmle": {"smallest": 121},
    "metamodelnet": {"draws": 3, "fit_steps": 20, "most_steps": 10},
    "tsc": {"target_steps": 20},
}
"""Hyper-parameters: shorter searches, and a cluster a class where the tree has too few images."""
SECONDS = 1800.0
"""Wall time of a job after which it has failed."""

OK = "ok"


@dataclass(frozen=True)
class Rehearsal:
    """A row of the results: a rehearsed variant on some ranks.

    Attributes:
        job: key of its last job.
        result: "ok", or the first line of the error.
        cpu_seconds: of its own stages, all ranks.
        peak_memory_mb: of a rank, the largest of its own stages.
    """

    variant: str
    method: str
    ranks: int
    job: str
    result: str
    cpu_seconds: float
    peak_memory_mb: float
    hardware: str

    def replaced_by(self, row: "Rehearsal") -> bool:
        """Return whether another row has the same variant and ranks."""
        return (self.variant, self.ranks) == (row.variant, row.ranks)


def main() -> None:
    """Rehearse what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="methods or labels of variants")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--place", type=Path, default=Path("runs/rehearsal"), help="working folder")
    args = parser.parse_args()
    place, file = args.place.absolute(), RESULTS / f"rehearsal_{GRID}.csv"
    os.environ["LTBENCH_CACHE"] = str(place / "cache")
    spec = tree(place)
    plan = small_plan(spec)
    wanted = chosen(plan, args.only)
    warm_up(plan.jobs.values(), options())
    with quiet():
        for ranks, run in product(args.ranks, wanted):
            if not passed(read(file), run, ranks):
                row = rehearse(plan, run, ranks, place)
                write(file, [*(each for each in read(file) if not each.replaced_by(row)), row])
                print(f"{row.variant}, ranks: {ranks}: {row.result}", flush=True)
    print(table(read(file)))


def tree(place: Path) -> DatasetSpec:
    """Return the dataset of the tree, prepared and cached.

    What is there is kept.
    """
    spec = make_tree(place, {"train": TRAIN, "test": TEST, "val": VAL})
    if spec.official_lists is None:
        raise RuntimeError("the tree has no lists")
    prepare_tree(spec, place)
    side = load_recipe(RECIPE).resize_shorter_side or spec.image_size
    build_cache(spec, load_raw_dataset(spec, place / "data"), side)
    return spec.model_copy(update={"fingerprint": pinned_fingerprint(spec.official_lists)})


def small_plan(spec: DatasetSpec) -> Plan:
    """Return the grid's long-tailed runs on the tree, made small.

    Batches are small, and epochs are few.
    """
    registry = load_registry()
    recipes = {batch: small_recipe(batch) for batch in {BATCH, *LARGER.values()}}
    grid = load_grid(GRID, registry=registry)
    variants = [
        variant.model_copy(
            update={
                "recipe": recipes[LARGER[variant.method]].name
                if variant.method in LARGER
                else None,
                "hparams": variant.hparams | SMALLER.get(variant.method, {}),
            }
        )
        for variant in grid.variants
    ]
    changes = {"recipes": (RECIPE,), "splits": ("longtailed",), "seeds": (0,)}
    grid = grid.model_copy(update={**changes, "variants": tuple(variants)})
    by_name = {recipe.name: recipe for recipe in recipes.values()}
    return expand(grid, [spec], by_name, registry)


def small_recipe(batch: int) -> Recipe:
    """Return the recipe with another batch size and few epochs.

    The learning rate goes with the batch size; each stage has two epochs.
    """
    recipe = load_recipe(RECIPE)
    share = batch / recipe.batch_size
    stages = {
        "stage1": recipe.stage1.scaled(EPOCHS / recipe.stage1.epochs, share),
        "stage2": recipe.stage2.scaled(EPOCHS / recipe.stage2.epochs, share),
    }
    name = RECIPE if batch == BATCH else f"{RECIPE}_{batch}"
    return recipe.model_copy(update={"name": name, "batch_size": batch, **stages})


def chosen(plan: Plan, only: Sequence[str] | None) -> list[PlannedRun]:
    """Return the runs of some methods or labels; of all for None.

    Raises:
        ValueError: naming those that no variant has.
    """
    names = {name for run in plan.rows for name in (run.variant.label, run.variant.method)}
    if unknown := sorted(set(only or ()) - names):
        raise ValueError(f"no variant is or has {', '.join(unknown)}")
    wanted = names if only is None else set(only)
    return [run for run in plan.rows if {run.variant.label, run.variant.method} & wanted]


def rehearse(plan: Plan, run: PlannedRun, ranks: int, place: Path) -> Rehearsal:
    """Run the stages of a variant on a number of ranks.

    What they start from is run before that, on one rank.
    """
    seconds, memory, result = 0.0, 0.0, OK
    try:
        for key in starts(plan, run):
            if not weights(place, 1, key).exists():
                run_job(plan.jobs[key], 1, place)
        for key in run.jobs:
            record = run_job(plan.jobs[key], ranks, place)
            seconds += record.cost.cpu_seconds
            memory = max(memory, record.cost.peak_memory_mb)
    except RankError as error:
        result = str(error)
    remove_weights(plan, run, ranks, place)
    return Rehearsal(
        run.variant.label,
        run.variant.method,
        ranks,
        run.key,
        result,
        round(seconds, 1),
        round(memory, 1),
        processor(),
    )


def starts(plan: Plan, run: PlannedRun) -> list[str]:
    """Return the keys of what a run starts from, in order."""
    needed = set(run.jobs)
    for key, job in reversed(plan.jobs.items()):
        if key in needed:
            needed.update(job.depends_on)
    return [key for key in plan.jobs if key in needed - set(run.jobs)]


def run_job(job: Job, ranks: int, place: Path) -> Record:
    """Run a job in new processes; lend it what it starts from.

    Raises:
        RankError: if a rank fails.
    """
    for key in job.depends_on:
        lent = weights(place, ranks, key)
        if not lent.exists():
            lent.parent.mkdir(parents=True, exist_ok=True)
            lent.hardlink_to(weights(place, 1, key))
    processes = Ranks(ranks, joined=False)
    try:
        root = runs(place, ranks)
        record: Record = processes(few_steps, job, place, root, STEPS, timeout=SECONDS)[0]
    except RankError as error:
        raise RankError(f"{job.label} [{job.stage}]: {first_line(str(error))}") from error
    finally:
        processes.stop()
    return record


def runs(place: Path, ranks: int) -> Path:
    """Return the run folder of a number of ranks."""
    return place / f"ranks{ranks}"


def weights(place: Path, ranks: int, key: str) -> Path:
    """Return the file of a job's weights."""
    return RunDirectory(runs(place, ranks)).job(key).weights


def remove_weights(plan: Plan, run: PlannedRun, ranks: int, place: Path) -> None:
    """Remove a run's weights that no other variant starts from."""
    others = (job for key, job in plan.jobs.items() if key not in run.jobs)
    kept = {key for job in others for key in job.depends_on} if ranks == 1 else set()
    for key in set(run.jobs) - kept:
        weights(place, ranks, key).unlink(missing_ok=True)


def first_line(error: str) -> str:
    """Return the first line of an error.

    In a traceback it is that of the last exception.
    """
    frames = error.rpartition('\n  File "')[2].splitlines()
    return next((line for line in frames[1:] if line[:1].strip()), error.splitlines()[0])


def passed(rows: Iterable[Rehearsal], run: PlannedRun, ranks: int) -> bool:
    """Return whether a run has passed with its present jobs."""
    wanted = (run.variant.label, ranks, run.key, OK)
    return wanted in ((row.variant, row.ranks, row.job, row.result) for row in rows)


def read(file: Path) -> list[Rehearsal]:
    """Return the rows of a results file, none if it is missing."""
    if not file.exists():
        return []
    kinds = {field.name: field.type for field in fields(Rehearsal)}
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [Rehearsal(**{k: kinds[k](v) for k, v in row.items()}) for row in rows]


def write(file: Path, rows: Iterable[Rehearsal]) -> None:
    """Write a results file."""
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(
            lines, [field.name for field in fields(Rehearsal)], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def table(rows: Iterable[Rehearsal]) -> str:
    """Return rows as markdown, a variant a line, columns by ranks."""
    by_variant: dict[str, dict[int, Rehearsal]] = {}
    for row in rows:
        by_variant.setdefault(row.variant, {})[row.ranks] = row
    worlds = sorted({ranks for cells in by_variant.values() for ranks in cells})
    titles = ["Variant"]
    for ranks in worlds:
        noun = "rank" if ranks == 1 else "ranks"
        titles += [f"{ranks} {noun}", "CPU seconds", "Peak memory (MB)"]
    lines = [titles, ["---"] + ["---", "---:", "---:"] * len(worlds)]
    for variant, cells in by_variant.items():
        line = [variant]
        for ranks in worlds:
            cell = cells.get(ranks)
            line += (
                [cell.result, f"{cell.cpu_seconds:.0f}", f"{cell.peak_memory_mb:,.0f}"]
                if cell
                else [""] * 3
            )
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
