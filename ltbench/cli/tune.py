"""The verb that chooses hyper-parameters by trials."""

from pathlib import Path
from typing import Annotated

import typer

from ltbench.cli.options import Folders, GridName, Inputs, foreign_files
from ltbench.cli.screen import print_bad, print_report, print_text
from ltbench.config.errors import raise_all

HEAD = "# Written by `ltbench tune"


def tune(
    grid: GridName,
    to: Annotated[
        Path | None, typer.Option(help="Variant set to write, e.g. configs/variants/tuned.yaml.")
    ] = None,
    *,
    folders: Folders,
    inputs: Inputs,
) -> None:
    """Choose hyper-parameters by the trials of a grid, on auxiliary images.

    The variants of the grid have a `sweep`, and its dataset `tested_on: auxiliary`. Prints the
    trials; --to writes the tuned variants as a variant set, for other grids.
    """
    from ltbench.analysis.tuning import tunings
    from ltbench.config.yaml_file import dump_yaml
    from ltbench.core.files import write_atomically
    from ltbench.report.table import build
    from ltbench.report.tuning_table import TRIALS_TABLE

    raise_all(foreign_files("--to", {} if to is None else {to: HEAD}))
    loaded = folders.read()
    plan = inputs.plan(grid)
    tuned = tunings(plan, loaded.records)
    for table in build([TRIALS_TABLE], tuned):
        print_report(table)
    if to is not None:
        variants = [each.variant.model_dump(exclude_defaults=True, mode="json") for each in tuned]
        head = f"{HEAD} --grid {plan.grid.name}`; never edited by hand.\n"
        text = head + dump_yaml({"variants": variants})
        write_atomically(to, text.encode(), durable=False)
        print_text(f"{to}, for grids that have {{set: {to.stem}}} among their variants")
    print_bad(loaded.bad)
