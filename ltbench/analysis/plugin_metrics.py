"""Registration of a plugin's metrics."""

from collections.abc import Iterator

from ltbench.analysis.metrics import METRICS, Metric
from ltbench.analysis.runs import TAKEN
from ltbench.config.errors import Location, Problem, format_value, raise_all


def add_metrics(metrics: object, location: Location) -> None:
    """Append a plugin's metrics to METRICS; a repeated call changes nothing.

    Args:
        metrics: the plugin's METRICS, a list of `Metric`.
        location: the plugin.

    Raises:
        ConfigError: with all problems.
    """
    here = location.at("METRICS")
    if not isinstance(metrics, list | tuple):
        raise here.error("plugin", "is not a list of Metric")
    raise_all(_problems(metrics, here))
    METRICS.update({metric.key: metric for metric in metrics})


def _problems(metrics: list[object] | tuple[object, ...], location: Location) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, metric in enumerate(metrics):
        here = location.at(i)
        if not isinstance(metric, Metric):
            yield here.problem("plugin", f"is of type {type(metric).__name__}, not a Metric")
            continue
        if metric.key in TAKEN or METRICS.get(metric.key, metric) is not metric:
            yield here.problem("duplicate", f"the name {format_value(metric.key)} is taken")
        if metric.key in seen:
            yield here.problem("duplicate", f"{format_value(metric.key)} is defined twice")
        if not callable(metric.compute):
            yield here.problem("plugin", f"{format_value(metric.key)} has no function as `compute`")
        seen.add(metric.key)
