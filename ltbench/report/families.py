"""The survey's families of methods, with their colors and markers."""

from collections.abc import Mapping
from dataclasses import dataclass

from ltbench.analysis.result_set import VariantResult
from ltbench.config.registry import OWN_FAMILY, MethodInfo


@dataclass(frozen=True)
class Family:
    """A family; `marker` is matplotlib's, `color` that of light pages.

    Colors are unique among those of light pages, as `drawing.themed` replaces them.
    """

    key: str
    title: str
    marker: str
    color: str


FAMILIES = {
    family.key: family
    for family in (
        Family("baseline", "Baseline", "o", "#1b1f23"),
        Family("rebalancing", "Class re-balancing", "s", "#2563c9"),
        Family("augmentation", "Information augmentation", "^", "#b85000"),
        Family("module_improvement", "Module improvement", "D", "#0b8068"),
        Family("ensembles", "Ensembles", "P", "#8e2f77"),
        Family(OWN_FAMILY, "Own", "v", "#57606b"),
    )
}
"""Families by key. The survey counts ensembles among module improvement."""


def listed_method(entry: VariantResult, methods: Mapping[str, MethodInfo]) -> str:
    """Return the method that a variant is listed under.

    Softmax that is initialized from another method is listed under that one, and any variant under
    the method that pre-trains it, such as SSP, which has no row of its own.
    """
    method, init = entry.variant.method, (entry.init_method or "").split("+")
    stages = [method, *filter(None, reversed(init))]
    for key in stages:
        if key in methods and not methods[key].predicts:
            return key
    return next((key for key in stages if family_of(key, methods).key != "baseline"), method)


def family_of(method: str, methods: Mapping[str, MethodInfo]) -> Family:
    """Return the family of a method, `OWN_FAMILY` if it is a plugin's."""
    info = methods.get(method)
    if info is None:
        return FAMILIES[OWN_FAMILY]
    key = "baseline" if info.category == "baseline" else info.family
    return FAMILIES.get(key, FAMILIES[OWN_FAMILY])
