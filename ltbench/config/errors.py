"""Problems of a configuration: location, code, message, and what was probably meant."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher, get_close_matches
from typing import Any, Self

from ltbench.config.codes import Code

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of a file down to a value."""

LONGEST = 60
"""Characters of a value that a message shows."""

SHORTEST = 3
"""Characters of a name that is looked for within others."""

MOST_NEAR = 3
"""Names that a message lists as those that were probably meant."""

MOST_CHOICES = 15
"""Names that a message lists when none is near the unknown one."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: the file, or "--set" and the like for the command line.
        line: its line, from 1, where there is one.
        path: dotted path of the value, empty for the whole file.
        code: kind of the problem, the same when messages are reworded.
        message: what is wrong, a phrase without a full stop.
        suggestion: what was probably meant, a phrase such as `did you mean "lr"?`.
    """

    file: str
    line: int | None
    path: str
    code: Code
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        text = ": ".join(part for part in (where, self.path, self.message) if part)
        return text if self.suggestion is None else f"{text}; {self.suggestion}"

    def described(self) -> str:
        """Return the problem as the command line prints it."""
        return with_code(str(self), self.code)


class CodedError(ValueError):
    """Error with a code, by default that of its class."""

    code: Code

    def __init__(self, message: str, code: Code | None = None) -> None:
        super().__init__(message)
        self.code = code or self.code

    @classmethod
    def joined(cls, errors: Sequence[Self]) -> Self:
        """Return errors joined into one, with their common code or `several`."""
        codes = {error.code for error in errors}
        message = "\n".join(dict.fromkeys(map(str, errors)))
        return cls(message, codes.pop() if len(codes) == 1 else "several")

    def described(self) -> str:
        """Return the error as the command line prints it."""
        return with_code(str(self), self.code)


class ConfigError(ValueError):
    """Everything that is wrong with a configuration, one problem a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def described(self) -> str:
        """Return the problems as the command line prints them."""
        return "\n".join(problem.described() for problem in self.problems)


@dataclass(frozen=True)
class Location:
    """Location of a value: file, path, and a function for lines."""

    file: str
    locate: Callable[[KeyPath], int | None] = lambda _: None
    path: KeyPath = ()

    def at(self, *path: str | int) -> "Location":
        """Return the location of a nested value."""
        return replace(self, path=(*self.path, *path))

    def problem(self, code: Code, message: str, suggestion: str | None = None) -> Problem:
        """Return a problem with the value at this location."""
        line = self.locate(self.path)
        return Problem(self.file, line, format_path(self.path), code, message, suggestion)

    def error(self, code: Code, message: str, suggestion: str | None = None) -> ConfigError:
        """Return a problem with the value at this location, as an exception."""
        return ConfigError([self.problem(code, message, suggestion)])


@dataclass(frozen=True)
class Merged(Location):
    """Location of a mapping or list with values from several locations."""

    parts: Mapping[Any, Location] = field(default_factory=dict)

    @classmethod
    def of(cls, whole: Location, parts: Mapping[Any, Location]) -> Self:
        """Return a location whose values have their own, by key or position."""
        return cls(whole.file, whole.locate, whole.path, parts)

    def at(self, *path: str | int) -> Location:
        """Return the location of a nested value: its own, if any."""
        if path and path[0] in self.parts:
            return self.parts[path[0]].at(*path[1:])
        return Location(self.file, self.locate, (*self.path, *path)) if path else self


COMMAND_LINE = Location("--set")


@contextmanager
def collect_errors(
    problems: list[Any], kind: type[ConfigError] | type[CodedError] = ConfigError
) -> Iterator[None]:
    """Collect the problems that a block raises; later checks still run.

    Args:
        problems: extended by the problems of a ConfigError, or by the error of another kind.
        kind: class of the errors to collect.
    """
    try:
        yield
    except kind as error:
        problems.extend(error.problems if isinstance(error, ConfigError) else [error])


def with_code(text: str, code: Code) -> str:
    """Return a message with its code in brackets, behind the first line."""
    first, *rest = text.split("\n", 1)
    return "\n".join([f"{first} [{code}]", *rest])


def raise_all(problems: Iterable[Problem]) -> None:
    """Raise the distinct problems in the given order, if any."""
    if distinct := list(dict.fromkeys(problems)):
        raise ConfigError(distinct)


def format_value(value: Any) -> str:
    """Return a value for a message: short, printable, on one line."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case str() if len(value) > LONGEST:
            return format_value(value[:LONGEST]) + "..."
        case str():
            return json.dumps(value, ensure_ascii=not value.isprintable())
        case int() if abs(value) >= 10**LONGEST:
            return "a huge number"
        case _:
            return json.dumps(value)


def format_path(path: KeyPath) -> str:
    """Return a path in dotted form: variants[2].hparams.tau."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("-", "_").isidentifier():
            text += f".{part}"
        else:
            text += f"[{format_value(part)}]"
    return text.removeprefix(".")


def join_or(names: Iterable[str]) -> str:
    """Return names quoted and joined: "a", "b" or "c"."""
    *most, last = (format_value(name) for name in names)
    return f"{', '.join(most)} or {last}" if most else last


def did_you_mean(name: str, choices: Iterable[str]) -> str | None:
    """Suggest names for an unknown one.

    They contain it or are nearest to it; else all, if they are few.
    """
    choices, name = sorted(set(choices)), name[:LONGEST].casefold()
    folded = {choice.casefold(): choice for choice in choices}
    near = get_close_matches(name, folded, n=MOST_NEAR)
    longer = [choice for choice in folded if len(name) >= SHORTEST and name in choice]
    longer = [name] if name in folded else longer
    if 0 < len(longer) <= MOST_NEAR:
        return f"did you mean {join_or(folded[choice] for choice in longer)}?"
    if near:
        closeness = [SequenceMatcher(None, choice, name).ratio() for choice in near]
        near = [n for n, c in zip(near, closeness, strict=True) if c > closeness[0] - 0.1]
        return f"did you mean {join_or(folded[choice] for choice in near)}?"
    return f"choose from {', '.join(choices)}" if 0 < len(choices) <= MOST_CHOICES else None
