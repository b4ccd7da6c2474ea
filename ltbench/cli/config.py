"""Verbs of `ltbench config`: show configurations and their schemas."""

import json
from typing import Annotated

import typer

from ltbench.cli.options import DataRoot, OnlyRows, Plugins, Selection, Sets
from ltbench.cli.screen import print_text
from ltbench.cli.verbs import Needs, Verbs

config_app = Verbs(help="Show grids with all defaults, and JSON schemas.", no_args_is_help=True)

RESOLVED = Needs("--resolved")


@config_app.command("show")
def config_show(
    grid: Annotated[str, typer.Argument(help="Name of a grid, or path of its YAML file.")],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Show every job with all its settings instead.")
    ] = False,
    data_root: Annotated[DataRoot, RESOLVED] = None,
    sets: Sets = None,
    only: Annotated[OnlyRows, RESOLVED] = None,
    plugins: Plugins = None,
) -> None:
    """Print a grid with all defaults, or all its jobs."""
    import yaml

    from ltbench.launch.plan import make_plan, read_grid

    request = Selection(data_root, plugins, sets, only).request(grid)
    if resolved:
        plan, _ = make_plan(request)
        value = {key: job.model_dump(mode="json") for key, job in plan.jobs.items()}
    else:
        value = read_grid(request)[0].model_dump(mode="json")
    print_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip())


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schemas of the configuration files."""
    from ltbench.config.load import schema

    print_text(json.dumps(schema(), indent=1))
