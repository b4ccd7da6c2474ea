"""Measure every stage of every method on 1, 2 and 4 ranks, and write the table of differences.

python tests/contract/ddp_table.py docs/ddp.md
"""

import argparse
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from ltbench.analysis.result_set import EMPTY
from ltbench.methods import METHODS
from ltbench.report.formats import markdown
from ltbench.report.table import Cell, Column, Table
from ltbench.runs.run_dir import RunDirectory
from ltbench.testing.jobs import (
    BATCH,
    EPOCHS,
    Bench,
    Case,
    largest_difference,
    train,
    train_in_turn,
)
from ltbench.testing.ranks import ranks

WORLDS = (2, 4)
HEADER = """\
# Ranks change nothing but the time

Written by `make ddp-table`, never edited. Each stage of each method is trained in float64 on digits
({epochs} epochs, global batch {batch}) by 1, 2 and 4 processes. *Loss* and *state* are the largest
relative differences from one process, of the epochs' losses and of all parameters and buffers (of
each tensor relative to its largest value); *counts* says whether each test image was judged alike.
The network has GroupNorm, as BatchNorm sees a rank's share only. A method whose `batch_dependence`
is `per_rank` has BatchNorm, and is compared with one process that takes the ranks' shares in turn.

"""


def measure(key, stage, world, bench, root):
    """Return the differences of loss and state, and whether counts agree; None where not asked."""
    shared = METHODS[key].batch_dependence == "per_rank"
    job = bench.lend_starts(Case(key).jobs(stage, **({"norm": "batch"} if shared else {})), root)
    record, _ = ranks(world)(train, job, root)[0]
    state = Bench(root).state(job)
    if shared and METHODS[key].stages[stage].is_trained:
        in_turn = train_in_turn(job, RunDirectory(root), world)
        return None, largest_difference(state, in_turn)[0], None
    alone = bench.records[job.key]
    loss = None
    if record.training is not None:
        pairs = zip(record.training.losses, alone.training.losses, strict=True)
        loss = max(abs(ours - theirs) / abs(theirs) for ours, theirs in pairs)
    same = None  # of what only pre-trains
    if record.test is not None:
        same = record.test.correct == alone.test.correct and record.test.hits == alone.test.hits
    return loss, largest_difference(state, bench.state(job))[0], same


def shown(value):
    match value:
        case None:
            return EMPTY
        case bool():
            return "equal" if value else "differ"
        case _:
            return "0" if value == 0 else f"{value:.0e}"


def table(folder):
    bench = Bench(folder / "alone")
    rows = []
    for key, method in METHODS.items():
        for number, stage in enumerate(method.stages):
            row = [key, stage.name, method.batch_dependence]
            for world in WORLDS:
                found = measure(key, number, world, bench, folder / f"{key}-{number}-{world}")
                row += [shown(value) for value in found]
            rows.append(tuple(Cell(text) for text in row))
            sys.stdout.write(" ".join(row) + "\n")
    columns = [f"{what}, {world}" for world in WORLDS for what in ("Loss", "State", "Counts")]
    return Table(
        name="ddp",
        title="Differences from one process",
        caption=f"On {' and '.join(map(str, WORLDS))} ranks.",
        columns=tuple(map(Column, ("Method", "Stage", "Batch dependence", *columns))),
        rows=tuple(rows),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = table(Path(folder))
    finally:
        for world in WORLDS:
            ranks(world).stop()
    file.write_text(HEADER.format(epochs=EPOCHS, batch=BATCH) + markdown(made, 2) + "\n")


if __name__ == "__main__":
    main()
