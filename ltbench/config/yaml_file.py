"""Read and write YAML as plain JSON values.

The line of each value that is read is known. The text is only parsed into events: no object is ever
made from a tag, and anchors and tags can be refused, which composed nodes no longer show. Plain
scalars follow JSON: `null` (or `~`, or nothing), `true` and `false`, decimal numbers (`1e-3` is
one). All else is text: `on`, `off`, `yes`, `no`, dates, `0x1F`, `1_000`, `1:30`, `.inf`, and
numbers with a leading zero (`010` is the text "010"; a field that wants a number then says so).
What is written reads back as the same values.
"""

import math
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from ltbench.config.codes import Code
from ltbench.config.errors import (
    ConfigError,
    KeyPath,
    Location,
    Problem,
    format_path,
    format_value,
    raise_all,
)

MAX_BYTES = 1_000_000
MAX_DEPTH = 30

FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads grids ten times as fast; PyYAML may be built without it."""

Locate = Callable[[KeyPath], int]
"""From a value's path to its line: a key's own line; for what is not there, that of its parent."""

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,999})")
FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


def read_yaml(path: Path) -> tuple[Any, Locate]:
    """Return the value of a YAML file and a function for lines.

    Raises:
        ConfigError: as for `read_text` and `parse_yaml`.
    """
    return parse_yaml(read_text(path), display(path))


def read_text(path: Path) -> str:
    """Return the text of a configuration file of at most 1 MB.

    Raises:
        ConfigError: if it cannot be read, is too large or not UTF-8.
    """
    location = Location(display(path))
    try:
        if not path.is_file():
            message = "is not a file" if path.exists() else "no such file"
            raise location.error("missing-file", message)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise location.error("unreadable", f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise location.error("unreadable", "is larger than 1 MB, too large for a configuration")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = _line(data[: error.start])
        raise _error(location.file, "is not UTF-8 text", line, "unreadable") from error


def parse_yaml(text: str, file: str) -> tuple[Any, Locate]:
    """Return the value of a YAML text and a function for lines.

    Args:
        text: one YAML document.
        file: what messages call it.

    Raises:
        ConfigError: for broken YAML, duplicate keys, aliases, tags, deep nesting, no content, or
            more than one document.
    """
    reader = _Reader(text, file)
    value = reader.document()

    def locate(path: KeyPath) -> int:
        while path not in reader.lines:
            path = path[:-1]
        return reader.lines[path]

    return value, locate


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes text which `parse_yaml` would read as something else."""

    def text(self, value: str) -> yaml.ScalarNode:
        plain = isinstance(_scalar(value), str) and value.isprintable()
        quotes = None if plain else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=quotes)


_Dumper.add_representer(str, _Dumper.text)


def dump_yaml(value: Any, *, in_one_line: bool = False) -> str:
    """Return plain JSON values as YAML.

    Args:
        value: to write.
        in_one_line: whether lists and mappings are in brackets and braces.
    """
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=in_one_line,
        width=10**9 if in_one_line else 80,
        sort_keys=False,
        allow_unicode=True,
    )
    return text


def display(path: Path) -> str:
    """Return a path for messages, relative to the working directory if inside."""
    absolute = path.absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


class _Reader:
    """Builds a value from YAML events, with the line of each part.

    Aliases are refused because a few lines of them can stand for any amount of data.
    """

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {(): 1}
        self.problems: list[Problem] = []
        self.line = 1
        self.events = self._events(text)

    def document(self) -> Any:
        """Return the value of the only document."""
        next(self.events)  # start of the stream
        if isinstance(next(self.events), yaml.StreamEndEvent):
            raise _error(self.file, "is empty", None)
        value = self._value(next(self.events), ())
        next(self.events)  # end of the document
        if not isinstance(next(self.events), yaml.StreamEndEvent):
            raise _error(self.file, "more than one document in a file", self.line)
        raise_all(self.problems)
        return value

    def _events(self, text: str) -> Iterator[yaml.Event]:
        try:
            for event in _parsed(text):
                if event.start_mark is not None:
                    self.line = event.start_mark.line + 1
                yield event
        except yaml.MarkedYAMLError as error:
            problem = error.problem or "broken"
            if "'\\t'" in problem:
                problem = "a tab cannot indent or start a value, use spaces"
            mark = error.problem_mark
            line = self.line if mark is None else mark.line + 1
            raise _error(self.file, f"not valid YAML: {problem}", line) from error
        except yaml.reader.ReaderError as error:
            message = f"character U+{ord(text[error.position]):04X} is not allowed"
            raise _error(self.file, message, _line(text[: error.position].encode())) from error
        except (ValueError, OverflowError) as error:
            message = "a number in an escape or a directive is out of range"
            raise _error(self.file, message, self.line) from error

    def _value(self, event: yaml.Event, path: KeyPath) -> Any:
        line = self.lines.setdefault(path, self.line)
        if len(path) > MAX_DEPTH:
            raise _error(self.file, f"nested deeper than {MAX_DEPTH} levels", line)
        match event:
            case yaml.MappingStartEvent(anchor=None, tag=None):
                return self._mapping(path)
            case yaml.SequenceStartEvent(anchor=None, tag=None):
                return self._sequence(path)
            case yaml.ScalarEvent(anchor=None, tag=None):
                text = self._text(event, path)
                return text if event.style else _scalar(text)
            case _:
                raise _error(self.file, "anchors, aliases and tags are not allowed", line)

    def _sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            line = self.line
            if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
                raise _error(self.file, "a key must be a plain word", line)
            key = self._text(event, path)
            here = (*path, key)
            if key in values:
                message = f"key given twice, first on line {self.lines[here]}"
                self.problems.append(
                    Problem(self.file, line, format_path(here), "duplicate", message)
                )
            self.lines.setdefault(here, line)
            value = self._value(next(self.events), here)
            values.setdefault(key, value)
        return values

    def _text(self, event: yaml.ScalarEvent, path: KeyPath) -> str:
        if any("\ud800" <= letter <= "\udfff" for letter in event.value):  # of escaped pairs
            message = f"{format_value(event.value)} is not Unicode text"
            self.problems.append(
                Problem(self.file, self.line, format_path(path), "invalid-yaml", message)
            )
        return event.value


def _scalar(text: str) -> Any:
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    if FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _parsed(text: str) -> Iterator[yaml.Event]:
    """Yield the events of a text.

    From libyaml; on an error from PyYAML, which has the better messages.
    """
    done = 0
    try:
        for event in yaml.parse(text, Loader=FAST):
            done += 1
            yield event
    except (yaml.YAMLError, ValueError):
        yield from islice(yaml.parse(text, Loader=yaml.SafeLoader), done, None)


def _error(file: str, message: str, line: int | None, code: Code = "invalid-yaml") -> ConfigError:
    return Location(file, lambda _: line).error(code, message)


def _line(before: bytes) -> int:
    return before.count(b"\n") + 1
