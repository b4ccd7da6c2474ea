"""Verbs of `ltbench config`: show configurations and their schemas."""

import json
from typing import Annotated

import typer

from ltbench.cli.options import DataRoot, OnlyRows, Plugins, Selection, Sets
from ltbench.cli.screen import errors, print_text
from ltbench.cli.verbs import Needs, Verbs, unless
from ltbench.config.errors import Location

config_app = Verbs(help="Show configurations and their JSON schemas.", no_args_is_help=True)

JOBS = Needs("--jobs")


@config_app.command("show")
def config_show(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a grid, recipe, dataset, variant set or method, e.g. digits or "
            "datasets/digits, or path of a grid."
        ),
    ],
    resolved: Annotated[
        bool,
        typer.Option("--resolved", help="Show inherited values and defaults, with their sources."),
    ] = False,
    jobs: Annotated[
        bool,
        typer.Option("--jobs", help="Show all jobs of the grid with their settings."),
        unless("--resolved"),
    ] = False,
    data_root: Annotated[DataRoot, JOBS] = None,
    sets: Sets = None,
    only: Annotated[OnlyRows, JOBS] = None,
    plugins: Plugins = None,
) -> None:
    """Show a configuration: its file, its resolved values, or a grid's jobs."""
    import yaml

    from ltbench.config.overrides import Target, parse_overrides
    from ltbench.config.show import find_any, resolved_file, resolved_grid
    from ltbench.config.yaml_file import read_text
    from ltbench.launch.plan import make_plan, read_grid

    request = Selection(data_root, plugins, sets, only).request(name)
    (kind, path), *others = find_any(name)
    for other, _ in others:
        note = f"{name} is also in configs/{other}: `ltbench config show {other}/{name}`"
        errors.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if jobs and kind != "grids":
        raise Location("--jobs").error("no-effect", f"has no effect: {name} is in configs/{kind}")
    if jobs:
        plan, _ = make_plan(request)
        values = {key: job.model_dump(mode="json") for key, job in plan.jobs.items()}
        print_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())
    elif resolved and kind == "grids":
        loaded, registry, changes = read_grid(request)
        print_text(resolved_grid(loaded, changes, registry))
    elif resolved:
        targets: dict[str, tuple[Target, ...]] = {"recipes": ("recipe",), "datasets": ("dataset",)}
        overrides = parse_overrides(request.sets, targets.get(kind, ()))
        print_text(resolved_file(kind, path, overrides))
    elif sets:
        raise Location("--set").error("no-effect", "has no effect without --resolved or --jobs")
    else:
        print_text(read_text(path).rstrip())


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schemas of the configuration files."""
    from ltbench.config.load import schema

    print_text(json.dumps(schema(), indent=1))
