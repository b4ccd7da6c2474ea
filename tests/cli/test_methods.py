"""Methods on the command line: listed, shown, checked, and those of the survey."""

import re
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from ltbench.cli import app
from ltbench.cli.methods import _allowed
from ltbench.config.errors import ConfigError
from ltbench.config.files import available
from ltbench.config.registry import load_registry
from ltbench.config.survey import SurveyEntry, survey_entries
from tests.support.errors import names
from tests.testing import broken_methods

METHODS = load_registry().methods
BROKEN = Path(broken_methods.__file__)
SOUND = """
from ltbench.methods.rebalancing.softmax import Softmax


class Mine(Softmax):
    title = "Mine"


METHODS = {"mine": Mine}
"""


def call(*words, code=0):
    done = CliRunner().invoke(app, ["methods", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


def rows(text):
    """Return the cells of the rows of a printed table: two spaces between columns."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


def test_every_method_is_listed():
    text = call("list").output
    assert all(key in text for key in METHODS)


@pytest.mark.parametrize("key", METHODS)
def test_every_hyper_parameter_is_shown_with_its_default(key):
    shown = rows(call("show", key).output)
    assert ["Method", METHODS[key].title] in shown
    defaults = {row[0]: row[1] for row in shown if len(row) == 4}
    for name, field in METHODS[key].hparams.get("properties", {}).items():
        default = "null" if field["default"] is None else str(field["default"])
        assert defaults[name].strip('"').lower() == default.lower()


def test_values_by_dataset_are_shown_with_their_source():
    shown = [row for row in rows(call("show", "ride").output) if row[0] == "at least 65 pixels"]
    assert [row[1] for row in shown] == ["diversity: -0.2, spread: 0.02"]
    assert "ImageNet-LT" in shown[0][2]


def test_a_method_is_found_by_its_alias():
    assert call("show", "tade").output == call("show", "sade").output


def test_an_unknown_method_suggests_the_nearest():
    error = CliRunner().invoke(app, ["methods", "show", "mislsa"]).exception
    assert isinstance(error, ConfigError)
    (problem,) = error.problems
    assert (problem.file, problem.code) == ("NAME", "unknown-method")
    assert names(problem.suggestion) == ["mislas"]


VARIANTS = {"tau_norm_validated", "tau_norm_learned", "ride_router", "ride_distill"}
"""Keys beside those of the methods that the survey names: further forms of these."""

BEYOND = {
    *("softmax_ensemble", "balanced_softmax_ensemble", "bal_bce", "weight_balancing"),
    *("ncl", "shike", "gpaco", "bcl", "tsc", "glmc"),
}
"""Keys of methods that the survey does not name."""

OF_OTHER_TASKS = {
    *("CReST", "DARS", "LST", "DT2", "UD", "FrameStack (VideoLT)"),
    *("LVIS v0.5", "LVIS v1", "VOC-LT", "COCO-LT", "VideoLT"),
}


def survey_names(*, datasets):
    """Return the methods or the datasets of the survey."""
    return [entry for section, entry in survey_entries() if (section == "datasets") == datasets]


def test_the_survey_names_each_method_once_and_all_that_there_are():
    listed = survey_names(datasets=False)
    times = Counter(method.key for method in listed if method.key is not None)
    assert set(times) == set(METHODS) - VARIANTS - BEYOND
    assert set(times.values()) == {1}
    assert len({method.name for method in listed}) == len(listed)


def test_datasets_of_the_survey_that_are_built_have_a_configuration():
    built = {dataset.key for dataset in survey_names(datasets=True) if dataset.key is not None}
    assert {"imagenet_lt", "places_lt"} < built <= set(available("datasets"))


def test_the_survey_says_what_methods_say_of_their_papers():
    for method in survey_names(datasets=False):
        if method.key is not None and (paper := METHODS[method.key].paper) is not None:
            assert (method.venue, method.year) == (paper.venue, paper.year), method.name


def test_a_name_of_the_survey_is_built_planned_or_of_another_task():
    states = {entry.name: entry.state for _, entry in survey_entries()}
    assert states["Focal loss"] == "implemented (focal)"
    assert states["VideoLT"] == "another task (videos)"
    assert SurveyEntry(name="LTML").state == "planned"
    others = {name for name, state in states.items() if state.startswith("another task")}
    assert others == OF_OTHER_TASKS


def test_a_name_of_the_survey_has_no_two_states():
    with pytest.raises(ValidationError):
        SurveyEntry(name="LST", key="lst", task="segmentation")


def test_the_survey_is_printed_with_the_number_of_built_methods():
    text = call("survey").output
    listed = [(row[0], row[1], row[-1]) for row in rows(text) if len(row) == 5][1:]
    assert listed == [(section, entry.name, entry.state) for section, entry in survey_entries()]
    methods = [entry for entry in survey_names(datasets=False) if entry.task is None]
    built = sum(method.key is not None for method in methods)
    assert list(map(int, re.findall(r"\d+", text.splitlines()[-1])))[:2] == [built, len(methods)]


def test_a_sound_method_is_checked(tmp_path):
    (tmp_path / "mine.py").write_text(SOUND)
    lines = rows(call("check", tmp_path / "mine.py", "--check", "declarations").output)
    assert [line[:2] for line in lines] == [["mine:"], ["passed", "declarations"]]


def test_a_method_of_ones_own_needs_no_paper(tmp_path):
    unpublished = SOUND.replace('"Mine"', '"Mine"\n    category = "re-sampling"')
    (tmp_path / "mine.py").write_text(unpublished)
    lines = rows(call("check", tmp_path / "mine.py", "--check", "declarations").output)
    assert [line[:2] for line in lines] == [["mine:"], ["passed", "declarations"]]


def test_a_broken_method_ends_with_one():
    text = call("check", BROKEN, "--check", "single_image_classes", code=1).output
    failed = [row[1] for row in rows(text) if row[0] == "failed"]
    assert failed == ["single_image_classes"]
    assert text.count("passed") == len(broken_methods.METHODS) - 1


def test_a_file_without_methods_is_refused(tmp_path):
    (tmp_path / "metrics.py").write_text("METRICS = []\n")
    error = CliRunner().invoke(app, ["methods", "check", str(tmp_path / "metrics.py")]).exception
    assert [problem.code for problem in error.problems] == ["plugin"]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({"enum": ["none", "drw"]}, "none, drw"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "number >= 0, < 1"),
        ({"anyOf": [{"type": "integer"}, {"const": "auto"}]}, "integer or auto"),
        ({"type": "array"}, "list"),
    ],
)
def test_allowed_values_of_a_hyper_parameter_are_described(field, text):
    assert _allowed(field) == text
