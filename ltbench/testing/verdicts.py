"""Results of the checks of a method."""

import inspect
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ltbench.config.errors import Location, did_you_mean, format_value, raise_all
from ltbench.config.yaml_file import display
from ltbench.methods import METHODS
from ltbench.methods.contract import Method
from ltbench.methods.plugins import import_plugin
from ltbench.testing.checks import CHECKS, Check, FailedError
from ltbench.testing.jobs import Bench, Case
from ltbench.testing.ranks import quiet, ranks

if TYPE_CHECKING:
    import pytest

CheckState = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check: its name, its state, what was measured."""

    check: str
    state: CheckState
    sentence: str

    def __str__(self) -> str:
        return f"{self.check} {self.state}: {self.sentence}"


def check_method(method: type[Method], *names: str) -> None:
    """Check a method as those of the suite are checked.

    It trains on the digits that come with scikit-learn, in seconds. Two checks start processes: in
    a script, call it below `if __name__ == "__main__":`.

    Args:
        method: its class, in a file whose METHODS has it.
        *names: of the checks; all where none is named.

    Raises:
        AssertionError: naming every check that failed.
        ConfigError: where the file cannot be used as a plugin, or there is no such check.
    """
    found = verdicts(case_of(method), names)
    failed = [str(verdict) for verdict in found if verdict.state == "failed"]
    if failed:
        raise AssertionError("\n".join([f"{method.__name__} fails:", *failed]))


def parametrize_with_checks(methods: Iterable[type[Method]]) -> "pytest.MarkDecorator":
    """Return the mark that gives a test every check of methods.

        @parametrize_with_checks([GCE])
        def test_method(method, check):
            check(method)

    Checks that are not applicable are skipped. A method's checks share what they train.
    """
    import pytest

    parameters = []
    for method in methods:
        case = case_of(method)
        bench = Bench(plugins=case.plugins)
        for name, check in CHECKS.items():
            excuse = check.excuse(method, len(method.stages) - 1)
            marks = [pytest.mark.skip(excuse)] if excuse else []
            call = partial(_assert, check, bench, case)
            parameters.append(pytest.param(method, call, id=f"{case.key}-{name}", marks=marks))
    return pytest.mark.parametrize(("method", "check"), parameters)


def _assert(check: Check, bench: Bench, case: Case, _: type[Method]) -> None:
    verdict = judge(check, bench, case)
    if verdict.state == "failed":
        raise AssertionError(str(verdict))


def case_of(method: type[Method]) -> Case:
    """Return how a method is found by the processes that train it.

    Raises:
        ConfigError: if it is in no file, or one that cannot be used as a plugin.
    """
    key = next((key for key, own in METHODS.items() if own is method), None)
    if key is not None:
        return Case(key)
    try:
        path = Path(inspect.getfile(method))
    except (OSError, TypeError):
        path = Path(method.__module__)
    for key, found in import_plugin(path).methods.items():
        if found.__qualname__ == method.__qualname__:
            return Case(key, plugin=path)
    name = method.__name__
    message = f"METHODS lacks {name}: add METHODS = {{{format_value(name.lower())}: {name}}}"
    raise Location(display(path)).error("plugin", message)


def verdicts(case: Case, names: Iterable[str] = ()) -> Iterator[CheckResult]:
    """Yield the result of each check as it finishes.

    Args:
        case: the method.
        names: of the checks; all where none is named.

    Raises:
        ConfigError: naming the checks that there are not, or what is wrong with the method.
    """
    wanted = tuple(names) or tuple(CHECKS)
    raise_all(
        Location("--check").problem(
            "unknown-value", f"no check {format_value(name)}", did_you_mean(name, CHECKS)
        )
        for name in wanted
        if name not in CHECKS
    )
    case.registry.get(case.key)  # refuses what is no method at all
    bench = Bench(plugins=case.plugins)
    try:
        for name in wanted:
            yield judge(CHECKS[name], bench, case)
    finally:
        ranks(2).stop()


def judge(check: Check, bench: Bench, case: Case) -> CheckResult:
    """Return the result of a check over all stages of a method."""
    found: dict[CheckState, dict[str, None]] = {"failed": {}, "passed": {}, "not applicable": {}}
    names = [stage.name for stage in case.method.stages]
    for stage in check.stages(case.method):
        state, sentence = _measured(check, bench, case, stage)
        several = check.each_stage and len(names) > 1
        found[state][f"{names[stage]}: {sentence}" if several else sentence] = None
    state = next(state for state, sentences in found.items() if sentences)
    return CheckResult(check.name, state, "; ".join(found[state]))


def _measured(check: Check, bench: Bench, case: Case, stage: int) -> tuple[CheckState, str]:
    if excuse := check.excuse(case.method, stage):
        return "not applicable", excuse
    try:
        with quiet():
            return "passed", check.run(bench, case, stage)
    except FailedError as error:
        return "failed", str(error)
    except Exception as error:  # noqa: BLE001 - whatever the method raises
        return "failed", _described(error, case)


def _described(error: Exception, case: Case) -> str:
    """Return an error's last line with its place in the method's file."""
    file = inspect.getfile(case.method)
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file
    ]
    return f"{text} ({display(Path(file))}:{frames[-1].lineno})" if frames else text
