"""A job, the unit that is trained, and its key."""

import json
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ltbench.config.base import LATER, NOTE, Model, Name, Pooled, Spec, Title, identity_of
from ltbench.config.dataset import DatasetSpec, Split
from ltbench.config.keys import KEY_LENGTH, PROTOCOL, canonical, mapping_hash
from ltbench.config.recipe import Recipe, StageRecipe
from ltbench.core.types import ClassSubset


class Job(Model):
    """One stage of a variant on a split with a seed.

    The unit that is trained and has a record.

    `label`, `recipe_name` and `stage` describe; the number depends on the rest. `depends_on` holds
    the keys of the jobs whose weights it needs, the one it continues from first. A job on a
    `subset` of the classes has no others: it is trained on their images alone and predicts no
    other. A method of a plugin has the hash of its source beside its version.
    """

    SPECS: ClassVar[set[str]] = {"dataset", "recipe", "stage_recipe"}
    """The parts that many jobs share."""

    label: Title = Field(json_schema_extra=NOTE)
    recipe_name: str = Field(json_schema_extra=NOTE)
    dataset: Annotated[DatasetSpec, Pooled()]
    split: Split
    method: Name
    version: int = Field(ge=1)
    plugin_hash: str | None = Field(None, json_schema_extra=LATER)
    stage: Name
    hparams: dict[str, Any]
    recipe: Annotated[Recipe, Pooled()]
    stage_recipe: Annotated[StageRecipe, Pooled()] | None
    seed: int = Field(ge=0)
    depends_on: tuple[str, ...] = ()
    subset: ClassSubset = Field("all", json_schema_extra=LATER)
    overrides: tuple[str, ...] = Field((), json_schema_extra=NOTE)

    def specs(self) -> dict[str, Spec | None]:
        """Return the parts that many jobs share, by field."""
        return {
            "dataset": self.dataset,
            "recipe": self.recipe,
            "stage_recipe": self.stage_recipe,
        }

    @cached_property
    def key(self) -> str:
        """Hash of what can change the number."""
        return mapping_hash(self.key_texts())[:KEY_LENGTH]

    def key_texts(self) -> dict[str, str]:
        """Return the canonical texts of the settings by name, to be hashed."""
        own = identity_of(self, self.model_dump(mode="json", exclude=self.SPECS))
        texts = {name: canonical(value) for name, value in own.items()}
        for name, spec in self.specs().items():
            texts[name] = canonical(None) if spec is None else spec.key_text
        return {"protocol": canonical(PROTOCOL), **texts}

    def settings(self) -> dict[str, Any]:
        """Return the values that the key hashes, as plain JSON."""
        return {name: json.loads(text) for name, text in self.key_texts().items()}

    @property
    def ad_hoc(self) -> bool:
        """Whether `--set` changed it: its record is shown, never ranked."""
        return bool(self.overrides)

    @property
    def title(self) -> str:
        """One line that identifies the job for people."""
        where = f"{self.dataset.id} {self.split} seed {self.seed}"
        return f"{self.label} [{self.stage}] on {where}, {self.recipe_name}"
