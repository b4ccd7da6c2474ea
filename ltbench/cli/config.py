"""Verbs of `ltbench config`."""

import json
from typing import Annotated

import typer

from ltbench.cli.options import DataRoot, OnlyRows, Plugins, Selection, Sets
from ltbench.cli.screen import print_text
from ltbench.cli.verbs import Needs, Verbs

config_app = Verbs(help="Look at configurations.", no_args_is_help=True)

RESOLVED = Needs("--resolved")


@config_app.command("show")
def config_show(
    grid: Annotated[str, typer.Argument(help="A grid's name or path.")],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Every job with all its settings.")
    ] = False,
    data_root: Annotated[DataRoot, RESOLVED] = None,
    sets: Sets = None,
    only: Annotated[OnlyRows, RESOLVED] = None,
    plugins: Plugins = None,
) -> None:
    """Print a grid as it is understood, or every job that it means."""
    import yaml

    from ltbench.launch.plan import make_plan, read_grid

    request = Selection(data_root, plugins, sets, only).request(grid)
    if resolved:
        made, _ = make_plan(request)
        value = {key: job.model_dump(mode="json") for key, job in made.jobs.items()}
    else:
        value = read_grid(request)[0].model_dump(mode="json")
    print_text(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip())


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schemas of the configuration files."""
    from ltbench.config.load import schema

    print_text(json.dumps(schema(), indent=1))
