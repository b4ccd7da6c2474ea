"""Verbs of `ltbench config`: list and show configurations, and print their schemas."""

import json
from typing import Annotated, Any, Literal, get_args

import typer

from ltbench.cli.options import DataRoot, OnlyRows, Plugins, Selection, Sets
from ltbench.cli.screen import print_table, print_text, print_warning
from ltbench.cli.verbs import Needs, Verbs, unless
from ltbench.config.errors import Location, Problem, collect_errors, raise_all

config_app = Verbs(
    help="List and show configurations and their JSON schemas.", no_args_is_help=True
)

Listed = Literal["grids", "recipes", "datasets", "variants"]

JOBS = Needs("--jobs")


@config_app.command("list")
def config_list(
    kind: Annotated[
        Listed | None, typer.Argument(help="Kind of the configurations; default: all.")
    ] = None,
) -> None:
    """List the grids, recipes, datasets and variant sets by name."""
    from ltbench.config.files import Kind, available, find_file, read_file

    kinds: tuple[Kind, ...] = get_args(Listed) if kind is None else (kind,)
    problems: list[Problem] = []
    rows = []
    for each in kinds:
        for name in available(each):
            with collect_errors(problems):
                values, _ = read_file(each, find_file(each, name))
                rows.append((each, name, _title(values)))
    print_table(("Kind", "Name", "Title"), rows)
    raise_all(problems)


def _title(values: Any) -> str:
    """Return the title of a configuration, or what it holds."""
    if not isinstance(values, dict):
        return ""
    variants = values.get("variants")
    held = f"{len(variants)} variants" if isinstance(variants, list) else ""
    return str(values.get("title", held))


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
    from ltbench.config.overrides import Target, parse_overrides
    from ltbench.config.show import find_any, resolved_file, resolved_grid
    from ltbench.config.yaml_file import dump_yaml, read_text
    from ltbench.launch.plan import make_plan, read_grid

    request = Selection(data_root, plugins, sets, only).request(name)
    (kind, path), *others = find_any(name)
    for other, _ in others:
        note = f"{name} is also in configs/{other}: `ltbench config show {other}/{name}`"
        print_warning(note)
    if jobs and kind != "grids":
        raise Location("--jobs").error("no-effect", f"has no effect: {name} is in configs/{kind}")
    if jobs:
        plan, _ = make_plan(request)
        values = {key: job.model_dump(mode="json") for key, job in plan.jobs.items()}
        print_text(dump_yaml(values).rstrip())
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
