"""Metrics of plugins, checked before they join the registry."""

from collections.abc import Iterator

from ltbench.analysis.metrics import METRICS, Metric
from ltbench.analysis.runs import TAKEN
from ltbench.config.errors import Problem, Source, raise_all, show


def add_metrics(found: object, source: Source) -> None:
    """Add a plugin's metrics to METRICS, behind those that are there; twice is once.

    Args:
        found: what the plugin has as METRICS, a list of `Metric`.
        source: the plugin.

    Raises:
        ConfigError: naming everything that is wrong.
    """
    here = source.at("METRICS")
    if not isinstance(found, list | tuple):
        raise here.error("is not a list of Metric")
    raise_all(_problems(found, here))
    METRICS.update({metric.key: metric for metric in found})


def _problems(found: list[object] | tuple[object, ...], source: Source) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, metric in enumerate(found):
        here = source.at(i)
        if not isinstance(metric, Metric):
            yield here.problem(f"is a {type(metric).__name__}, not a Metric")
            continue
        if metric.key in TAKEN or METRICS.get(metric.key, metric) is not metric:
            yield here.problem(f"the name {show(metric.key)} is taken")
        if metric.key in seen:
            yield here.problem(f"there are two {show(metric.key)}")
        if not callable(metric.compute):
            yield here.problem(f"{show(metric.key)} has no function that computes it")
        seen.add(metric.key)
