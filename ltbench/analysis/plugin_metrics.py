"""Metrics of plugins, checked before they join the registry."""

from collections.abc import Iterator

from ltbench.analysis.metrics import METRICS, Metric
from ltbench.analysis.runs import TAKEN
from ltbench.config.errors import Location, Problem, format_value, raise_all


def add_metrics(found: object, location: Location) -> None:
    """Add a plugin's metrics to METRICS, behind those that are there; twice is once.

    Args:
        found: what the plugin has as METRICS, a list of `Metric`.
        location: the plugin.

    Raises:
        ConfigError: naming everything that is wrong.
    """
    here = location.at("METRICS")
    if not isinstance(found, list | tuple):
        raise here.error("plugin", "is not a list of Metric")
    raise_all(_problems(found, here))
    METRICS.update({metric.key: metric for metric in found})


def _problems(found: list[object] | tuple[object, ...], location: Location) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, metric in enumerate(found):
        here = location.at(i)
        if not isinstance(metric, Metric):
            yield here.problem("plugin", f"is of type {type(metric).__name__}, not a Metric")
            continue
        if metric.key in TAKEN or METRICS.get(metric.key, metric) is not metric:
            yield here.problem("duplicate", f"the name {format_value(metric.key)} is taken")
        if metric.key in seen:
            yield here.problem("duplicate", f"there are two {format_value(metric.key)}")
        if not callable(metric.compute):
            yield here.problem(
                "plugin", f"{format_value(metric.key)} has no function that computes it"
            )
        seen.add(metric.key)
