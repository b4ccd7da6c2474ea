"""Variants that sweep over values, expanded into their trials."""

from collections import Counter
from itertools import product
from typing import Any

from ltbench.config.errors import Location, format_value, raise_all
from ltbench.config.grid import Variant
from ltbench.config.located import Values, joined, merge
from ltbench.config.overrides import is_stage_field
from ltbench.config.validation import validate


def trials_of(values: dict[str, Any], location: Location) -> list[Values]:
    """Return the trials of a variant.

    There is one for each combination of swept values. The last value that is swept changes first. A
    trial is labeled by its variant and its values.

    Args:
        values: of the variant, with a `sweep`.
        location: where they were written.

    Raises:
        ConfigError: naming what is wrong with the variant, and values given besides or twice.
    """
    variant = validate(Variant, values, location)
    given, swept = {**variant.hparams, **variant.recipe_overrides}, location.at("sweep")
    raise_all(
        swept.at(name).problem("conflict", f"is also given as {format_value(given[name])}")
        for name in variant.sweep
        if name in given
    )
    raise_all(
        swept.at(name, i).problem("duplicate", f"is given twice: {format_value(value)}")
        for name, tried in variant.sweep.items()
        for i, value in enumerate(tried)
        if value in tried[:i]
    )
    base = joined({k: (v, location.at(k)) for k, v in values.items() if k != "sweep"}, location)
    words = _short_names(variant)
    trials: list[Values] = []
    for chosen in product(*map(enumerate, variant.sweep.values())):
        fields: dict[str, dict[str, Values]] = {"hparams": {}, "recipe_overrides": {}}
        label = variant.label
        for name, (i, value) in zip(variant.sweep, chosen, strict=True):
            field = "recipe_overrides" if is_stage_field(name) else "hparams"
            fields[field][name] = (value, swept.at(name, i))
            label += f", {words[name]} {value if isinstance(value, str) else format_value(value)}"
        own = {field: joined(parts, swept) for field, parts in fields.items()}
        own |= {"label": (label, swept), "trial_of": (variant.label, swept)}
        trials.append(merge(joined(own, location), base))
    return trials


def _short_names(variant: Variant) -> dict[str, str]:
    """Return swept names for labels: the last part, if it is unique."""
    last = {name: name.rpartition(".")[2] for name in variant.sweep}
    times = Counter(last.values())
    return {name: word if times[word] == 1 else name for name, word in last.items()}
