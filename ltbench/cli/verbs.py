"""Verbs whose options come in groups and may need other options, without which they are refused."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand

from ltbench.config.errors import Location, Problem, raise_all

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Needs:
    """Beside an option's declaration: it has an effect only beside other words, or without them.

    A rule about words that a verb does not have is none.

    Attributes:
        words: an argument (ROW), an option (--export), or an option and its values, of which one is
            needed (--launcher slurm).
        absent: whether they must not be there instead.
    """

    words: str
    absent: bool = False

    def problem(self, option: str, said: Callable[[str], Any]) -> Problem | None:
        """Return what is wrong with giving an option, None where nothing is.

        Args:
            option: as it is written.
            said: returns the value of another one; raises KeyError where the verb has none.
        """
        name, *values = self.words.split()
        try:
            value = said(name)
        except KeyError:
            return None
        there = value in values if values else value not in (None, False, (), [])
        if there != self.absent:
            return None
        how = "together with" if self.absent else "without"
        return Location(option).problem(
            "no-effect", f"has no effect {how} {name} {' or '.join(values)}".rstrip()
        )


def unless(words: str) -> Needs:
    """Return the rule that an option has no effect beside other words."""
    return Needs(words, absent=True)


class Verbs(typer.Typer):
    """A group of verbs that refuse options which would have no effect, all of them at once."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        """Return what makes a verb of a function, as Typer does."""
        register = super().command(name, cls=Verb, **settings)

        def add(function: Function) -> Function:
            register(_flat(function))
            return function

        return add


class Verb(TyperCommand):
    """A verb that checks the rules beside its options before it begins."""

    def invoke(self, ctx: Any) -> Any:
        """Check the rules and run the verb.

        Raises:
            ConfigError: naming every option that would have no effect.
        """
        raise_all(self._problems(ctx))
        return super().invoke(ctx)

    def _problems(self, ctx: Any) -> Iterator[Problem]:
        names = {name: each for each in self.params for name in _names(each)}

        def said(name: str) -> Any:
            return ctx.params[str(names[name].name)]

        for parameter in self.params:
            source = ctx.get_parameter_source(str(parameter.name))
            if source is None or source.name == "DEFAULT":
                continue
            for rule in _rules(self.callback, str(parameter.name)):
                problem = rule.problem(_names(parameter)[0], said)
                if problem is not None:
                    yield problem


def _flat(function: Callable[..., None]) -> Callable[..., None]:
    """Return a verb with each option of its groups as a parameter.

    A group is a dataclass whose fields are declared as options are, and the annotation of a
    parameter. A rule beside the group is one of all its options.
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
            how = {"default": default, "annotation": annotation}
            parameters.append(Parameter(option, Parameter.KEYWORD_ONLY, **how))

    @wraps(function)
    def verb(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        function(**given)

    verb.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return verb


def _names(parameter: Any) -> list[str]:
    """Return how a user writes a parameter: an argument in capitals."""
    if isinstance(parameter, TyperArgument):
        return [str(parameter.name).upper()]
    return list(parameter.opts)


def _rules(function: Callable[..., Any] | None, name: str) -> list[Needs]:
    """Return the rules beside the declaration of a function's parameter."""
    parameters = {} if function is None else signature(function).parameters
    declared = get_args(parameters[name].annotation) if name in parameters else ()
    return [each for each in declared if isinstance(each, Needs)]
