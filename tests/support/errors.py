"""Assertions on errors: location, key path and code, not sentences."""

import re
from contextlib import contextmanager

import pytest

from ltbench.config.errors import ConfigError


def problems_of(check):
    """Return the problems of a check's ConfigError."""
    with pytest.raises(ConfigError) as caught:
        check()
    return caught.value.problems


def problems(check):
    """Return the problems of a check: ("configs/grids/a.yaml:3", "seeds[0]", "wrong-type")."""
    return [(where(problem), problem.path, problem.code) for problem in problems_of(check)]


def where(problem):
    return problem.file if problem.line is None else f"{problem.file}:{problem.line}"


def suggested(check):
    """Return the names that each problem of a check suggests."""
    return [names(problem.suggestion or "") for problem in problems_of(check)]


def names(suggestion):
    listed = suggestion.removeprefix("choose from ").split(", ") if suggestion else []
    return re.findall('"([^"]*)"', suggestion) or listed


@contextmanager
def raises(kind, code, *facts):
    """Expect a DataError or RecordError with a code.

    Args:
        kind: class of the error.
        code: of the error.
        facts: names and numbers in its message.
    """
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.code == code
    assert [fact for fact in facts if str(fact) not in str(caught.value)] == []


PRINTED = re.compile(r"(.*?): (?:([\w.\[\]-]+): )?.* \[([a-z-]+)\]")


def printed(text):
    """Return the problems (see `problems`) that the command line printed."""
    lines = (PRINTED.fullmatch(line) for line in text.splitlines())
    return [(line[1], line[2] or "", line[3]) for line in lines if line]
