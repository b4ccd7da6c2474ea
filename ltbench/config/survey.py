"""The methods and datasets that the survey names, from ltbench/methods/survey.yaml."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import RootModel, model_validator

from ltbench.config.base import Model
from ltbench.config.errors import Location
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display, read_yaml

SURVEY_FILE = Path(__file__).parent.parent / "methods" / "survey.yaml"

Section = Literal[
    "re-balancing", "information augmentation", "module improvement", "ensembles", "datasets"
]


class SurveyEntry(Model):
    """A method or dataset of the survey.

    Attributes:
        key: of the method, or name of the dataset, if it is implemented.
        task: that it is for, if the suite does not have it.
    """

    name: str
    venue: str | None = None
    year: int | None = None
    key: str | None = None
    task: str | None = None

    @model_validator(mode="after")
    def _one_state(self) -> Self:
        if self.key is not None and self.task is not None:
            raise ValueError("has a key or a task, not both")
        return self

    @property
    def state(self) -> str:
        """Whether it is implemented, planned, or of another task."""
        if self.key is not None:
            return f"implemented ({self.key})"
        return "planned" if self.task is None else f"another task ({self.task})"


class Survey(RootModel[Mapping[Section, tuple[SurveyEntry, ...]]]):
    """Entries by section."""


def survey_entries() -> Iterator[tuple[Section, SurveyEntry]]:
    """Yield the entries of the survey with their sections, in its order.

    Raises:
        ConfigError: if the file cannot be read, or naming everything wrong with it.
    """
    value, locate = read_yaml(SURVEY_FILE)
    survey = validate(Survey, value, Location(display(SURVEY_FILE), locate))
    for section, entries in survey.root.items():
        yield from ((section, entry) for entry in entries)
