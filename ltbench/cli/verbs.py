"""Verbs with groups of options and rules between options."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, cleandoc, signature
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand

from ltbench.config.errors import Location, Problem, collect_errors, raise_all

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Needs:
    """Annotation of an option that requires another argument, or its absence.

    A rule about an argument that the verb does not have is ignored.

    Attributes:
        argument: an argument (ROW), an option (--export), or an option and its values, of which one
            is required (--launcher slurm).
        absent: whether it must be absent instead.
    """

    argument: str
    absent: bool = False

    def problem(self, option: str, value_of: Callable[[str], Any]) -> Problem | None:
        """Return the problem with an option that was given, if any.

        Args:
            option: as written on the command line.
            value_of: returns the value of another argument; raises KeyError if the verb has none.
        """
        name, *values = self.argument.split()
        try:
            value = value_of(name)
        except KeyError:
            return None
        present = value in values if values else value not in (None, False, (), [])
        if present != self.absent:
            return None
        relation = "together with" if self.absent else "without"
        message = f"has no effect {relation} {name} {' or '.join(values)}"
        return Location(option).problem("no-effect", message.rstrip())


def unless(argument: str) -> Needs:
    """Return the rule that an option requires the absence of an argument."""
    return Needs(argument, absent=True)


class Verbs(typer.Typer):
    """A group of verbs that reject options without effect, all at once."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        """Return a decorator that registers a verb, like Typer's."""
        command = super().command

        def add(function: Function) -> Function:
            register = command(name, cls=Verb, help=_unwrapped(function.__doc__ or ""), **settings)
            register(_flatten_groups(function))
            return function

        return add


def _unwrapped(text: str) -> str:
    """Return a text with one line per paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(text).split("\n\n"))


class Verb(TyperCommand):
    """A verb that checks the rules of its options first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            typer.BadParameter: in plain words, for the first that is wrong or missing.
        """
        first = args[0] if args and not args[0].startswith("-") else None
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # pydantic's
            missing = error.param is not None and not error.message
            if missing and first is not None and "--grid" in _names(error.param):
                error.message = f"Did you mean `--grid {first}`?"
            raise

    def invoke(self, ctx: Any) -> Any:
        """Check the rules and run the verb.

        Raises:
            ConfigError: naming every option that has no effect, and problems of the grid.
        """
        problems = list(self._problems(ctx))
        if problems and isinstance(ctx.params.get("grid"), str):
            with collect_errors(problems):
                _check_grid(ctx.params)
        raise_all(problems)
        return super().invoke(ctx)

    def _problems(self, ctx: Any) -> Iterator[Problem]:
        parameters = {name: each for each in self.params for name in _names(each)}

        def value_of(name: str) -> Any:
            return ctx.params[str(parameters[name].name)]

        for parameter in self.params:
            source = ctx.get_parameter_source(str(parameter.name))
            if source is None or source.name == "DEFAULT":
                continue
            for rule in _rules(self.callback, str(parameter.name)):
                problem = rule.problem(_names(parameter)[0], value_of)
                if problem is not None:
                    yield problem


def _check_grid(values: Mapping[str, Any]) -> None:
    """Read the grid that options name; errors as of `read_grid`."""
    from ltbench.cli.options import Selection
    from ltbench.launch.plan import read_grid

    chosen = Selection(**{field.name: values.get(field.name) for field in fields(Selection)})
    read_grid(chosen.request(values["grid"]))


def _flatten_groups(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function with each option of its groups as a parameter.

    A group is a dataclass whose fields are declared like options. A rule that annotates the group
    applies to all its options.
    """
    groups: dict[str, Any] = {}
    parameters: list[Parameter] = []
    for each in signature(function, eval_str=True).parameters.values():
        kind, *rules = get_args(each.annotation) or (each.annotation,)
        if not is_dataclass(kind):
            parameters.append(each.replace(kind=Parameter.KEYWORD_ONLY))
            continue
        groups[each.name] = kind
        for option, hint in get_type_hints(kind, include_extras=True).items():
            annotation = Annotated[(hint, *rules)] if rules else hint
            default = getattr(kind, option, Parameter.empty)
            parameters.append(
                Parameter(option, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            )

    @wraps(function)
    def verb(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        function(**values)

    verb.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return verb


def _names(parameter: Any) -> list[str]:
    """Return a parameter's spellings on the command line; arguments in capitals."""
    if isinstance(parameter, TyperArgument):
        return [str(parameter.name).upper()]
    return list(parameter.opts)


def _rules(function: Callable[..., Any] | None, name: str) -> list[Needs]:
    """Return the rules that annotate a function's parameter."""
    parameters = {} if function is None else signature(function).parameters
    declared = get_args(parameters[name].annotation) if name in parameters else ()
    return [each for each in declared if isinstance(each, Needs)]
