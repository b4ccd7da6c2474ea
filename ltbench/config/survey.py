"""The methods that the survey describes, from ltbench/methods/survey.yaml."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import RootModel

from ltbench.config.errors import Location
from ltbench.config.models import Model
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display, read_yaml

SURVEY = Path(__file__).parent.parent / "methods" / "survey.yaml"

Section = Literal["re-balancing", "information augmentation", "module improvement", "ensembles"]


class SurveyMethod(Model):
    """A method of the survey, with its key if it is implemented."""

    name: str
    venue: str | None = None
    year: int | None = None
    key: str | None = None


class Survey(RootModel[Mapping[Section, tuple[SurveyMethod, ...]]]):
    """Methods by section."""


def survey_methods() -> Iterator[tuple[Section, SurveyMethod]]:
    """Yield the methods of the survey with their sections, in its order.

    Raises:
        ConfigError: if the file cannot be read, or naming everything wrong with it.
    """
    value, locate = read_yaml(SURVEY)
    for section, methods in validate(Survey, value, Location(display(SURVEY), locate)).root.items():
        yield from ((section, method) for method in methods)
