"""Verbs of `ltbench methods`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ltbench.cli.options import Folders, Inputs, Plugins, RecordsDir
from ltbench.cli.screen import print_report, print_table, print_text
from ltbench.cli.verbs import Verbs
from ltbench.config.errors import Location, raise_all

if TYPE_CHECKING:
    from ltbench.config.registry import MethodInfo
    from ltbench.config.rules import When

methods_app = Verbs(help="Look at methods, and check one of your own.", no_args_is_help=True)

NAME = Location("NAME")
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
"""Signs of the bounds of JSON schema."""

TYPES = {"array": "list", "object": "mapping", "null": "none"}
"""Types of JSON schema that YAML calls otherwise."""


@methods_app.command("list")
def methods_list(plugins: Plugins = None, records: RecordsDir = Folders.records) -> None:
    """List the methods with their papers, costs and checks."""
    from ltbench.report.method_tables import METHODS_TABLE, Methods
    from ltbench.report.readme import published_methods
    from ltbench.report.table import build
    from ltbench.runs.store import RecordStore

    infos = Inputs(plugins=plugins).methods().methods
    recorded = published_methods(RecordStore(records).load())
    for table in build([METHODS_TABLE], Methods(infos, recorded)):
        print_report(table)


@methods_app.command("show")
def methods_show(
    name: Annotated[str, typer.Argument(help="A method's key or alias.")], plugins: Plugins = None
) -> None:
    """Show a method: paper, stages, hyper-parameters, and their values by dataset."""
    from ltbench.config.hparams import read_rules

    registry = Inputs(plugins=plugins).methods()
    info = registry.get(name, NAME)
    print_table(("Method", info.title), _facts(info))
    hparams = info.hparams.get("properties", {})
    if not hparams:
        print_text("\nIt has no hyper-parameters.")
        return
    print_text("")
    print_table(
        ("Hyper-parameter", "Default", "Values", "Meaning"),
        (
            (name, _plain(field.get("default")), _allowed(field), field.get("description", ""))
            for name, field in hparams.items()
        ),
    )
    rules = read_rules(info, registry)[0].rules
    if not rules:
        print_text("\nThe defaults hold for every dataset.")
        return
    print_text("")
    print_table(
        ("Data", "Values", "Source"),
        ((_data(rule.when), _values(rule.hparams), rule.source) for rule in rules),
    )


def _allowed(field: Mapping[str, Any]) -> str:
    """Describe the allowed values: words, or a type with bounds."""
    if "anyOf" in field:
        return " or ".join(map(_allowed, field["anyOf"]))
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    bounds = [f"{sign} {field[key]:g}" for key, sign in BOUNDS.items() if key in field]
    kind = field.get("type", "mapping")
    return " ".join([TYPES.get(kind, kind), ", ".join(bounds)]).strip()


def _facts(info: "MethodInfo") -> Iterator[tuple[str, str]]:
    """Yield what a method says of itself, by what it is."""
    yield "Key", ", ".join((info.key, *info.aliases))
    if (paper := info.paper) is not None:
        yield "Paper", f"{paper.authors}: {paper.title}, {paper.venue} {paper.year}"
        if paper.url is not None:
            yield "arXiv", paper.url
    yield "Category", info.category
    yield "Stages", ", ".join(stage.name for stage in info.stages)
    if info.init_from is not None:
        yield "Initialized from", info.init_from
    if info.teachers:
        yield "Teachers", ", ".join(f"{t.method} ({t.subset})" for t in info.teachers)


def _plain(value: Any) -> str:
    """Return a value as YAML and JSON have it, texts without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def _values(hparams: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {_plain(value)}" for name, value in hparams.items())


def _data(when: "When") -> str:
    """Return which datasets a rule is for, in words."""
    parts = list(map(str, when.dataset or ()))
    said = [" or ".join(parts)] if parts else []
    for field, what in ((when.classes, "classes"), (when.image_size, "pixels")):
        if field is not None:
            low = "" if field.min is None else f"at least {field.min}"
            high = "" if field.max is None else f"at most {field.max}"
            said.append(f"{' and '.join(filter(None, (low, high)))} {what}")
    if when.imbalance_ratio is not None:
        said.append(f"imbalance ratio {' or '.join(map(str, when.imbalance_ratio))}")
    return ", ".join(said) or "all"


@methods_app.command("check")
def methods_check(
    file: Annotated[Path, typer.Argument(help="Python file with METHODS of your own.")],
    names: Annotated[
        list[str] | None, typer.Option("--check", help="Run this check only; default: all.")
    ] = None,
) -> None:
    """Check the methods of a file, with a verdict per check."""
    from ltbench.config.files import missing_plugins

    raise_all(missing_plugins([file]))  # before torch is imported
    from ltbench.methods.plugins import import_plugin
    from ltbench.testing.jobs import Case
    from ltbench.testing.verdicts import verdicts

    methods, failed = import_plugin(file).methods, 0
    if not methods:
        hint = "add METHODS, a dict from key to class"
        raise Location(str(file)).error("plugin", "has no METHODS to check", hint)
    for key in methods:
        print_text(f"{key}:")
        for verdict in verdicts(Case(key, plugin=file), names or ()):
            print_text(f"  {verdict.state:<14}  {verdict.check:<20}  {verdict.sentence}")
            failed += verdict.state == "failed"
    if failed:
        print_text(f"{failed} checks failed.")
        raise typer.Exit(1)


@methods_app.command("survey")
def methods_survey() -> None:
    """List the methods and datasets of the survey with their states."""
    from ltbench.config.survey import survey_entries
    from ltbench.report.method_tables import SURVEY_TABLE
    from ltbench.report.table import build, cell_text

    for table in build([SURVEY_TABLE], list(survey_entries())):
        print_table(table.titles, (map(cell_text, row, table.columns) for row in table.rows))
        print_text(f"\n{table.caption}")
