"""Estimates for other hardware: measured there, else from the arithmetic."""

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ltbench.config.base import Model
from ltbench.config.errors import Location, did_you_mean, format_value
from ltbench.config.job import Job
from ltbench.config.validation import validate
from ltbench.config.yaml_file import read_yaml
from ltbench.launch.cost import CostModel, duration
from ltbench.runs.store import Loaded

Precision = Literal["fp64", "fp32", "tf32", "bf16"]
Share = Annotated[float, Field(gt=0, le=1)]


class Hardware(Model):
    """A device that one may not have.

    Attributes:
        name: on the command line; also part of the names by which drivers know the device.
        teraflops: peak throughput of dense arithmetic by precision.
        source: of these numbers.
    """

    name: str
    title: str
    source: str
    teraflops: dict[Precision, Annotated[float, Field(gt=0)]]

    def matches(self, measured: str) -> bool:
        """Return whether a driver's name is of this hardware."""
        return self.name in re.sub(r"[^a-z0-9]", "", measured.lower())


class HardwareTable(Model):
    """The hardware of `hardware.yaml`.

    Attributes:
        utilization: least and most part of the peak that is assumed to be reached.
    """

    utilization: dict[Precision, tuple[Share, Share]]
    hardware: tuple[Hardware, ...]


@cache
def hardware_table() -> HardwareTable:
    """Return the table of `hardware.yaml`.

    Raises:
        ConfigError: for a file that is not of that form.
    """
    path = Path(__file__).parent / "hardware.yaml"
    value, locate = read_yaml(path)
    return validate(HardwareTable, value, Location(path.name, locate))


def find_hardware(name: str) -> Hardware:
    """Return the hardware of a name.

    Raises:
        ConfigError: for an unknown name, with the known ones.
    """
    known = {each.name: each for each in hardware_table().hardware}
    if name not in known:
        message = f"unknown hardware {format_value(name)}"
        raise Location("--hardware").error("unknown-value", message, did_you_mean(name, known))
    return known[name]


def describe_cost_on(
    hardware: Hardware,
    jobs: Iterable[Job],
    loaded: Loaded,
    count: Callable[[Job], tuple[float | None, float] | None],
    data_root: Path | None = None,
) -> str:
    """Describe the estimated cost of jobs on hardware, and its source.

    Args:
        hardware: the device.
        jobs: to estimate.
        loaded: the records; those measured on such hardware come first.
        count: returns a job's floating-point operations per image of training and test, None if
            they could not be counted.
        data_root: of images that are counted.
    """
    jobs = list(jobs)
    names = {each.record.environment.hardware for each in loaded.records.values()}
    names |= {each.hardware for job in jobs for each in job.recipe.throughput}
    there = next((name for name in sorted(names) if hardware.matches(name)), None)
    cost = CostModel(loaded, there or hardware.title, data_root)
    seconds, operations, unknown = list[float](), dict[Precision, list[float]](), 0
    for job in jobs:
        estimate = cost.estimate(job) if there else None
        if estimate is not None and estimate.hardware == there:
            seconds.append(estimate.seconds)
        elif (flops := _operations(job, cost, count)) is not None:
            operations.setdefault(job.recipe.precision, []).append(flops)
        else:
            unknown += 1
    groups = [(len(seconds), f"about {duration(sum(seconds))} on one {there}, as measured there")]
    groups += [(len(of), _range(hardware, name, sum(of))) for name, of in operations.items()]
    groups += [(unknown, "of unknown duration, as their images or operations are not known")]
    return "; ".join(
        text if number == len(jobs) else f"{number} of them {text}"
        for number, text in groups
        if number
    )


def _operations(
    job: Job, cost: CostModel, count: Callable[[Job], tuple[float | None, float] | None]
) -> float | None:
    """Return a job's floating-point operations, None if unknown."""
    counted = count(job)
    images = 0 if job.stage_recipe is None else cost.images_seen(job)
    if counted is None or images is None:
        return None
    train, test = counted
    return images * (train or 0.0) + cost.images_tested(job) * test


def _range(hardware: Hardware, precision: Precision, operations: float) -> str:
    """Return the time of operations on a device, and its source."""
    least, most = hardware_table().utilization[precision]
    peak = hardware.teraflops[precision]
    hours = [operations / (share * peak * 1e12) / 3600 for share in (most, least)]
    low, high = (f"{float(f'{each:.2g}'):g}" for each in hours)
    return (
        f"about {low} to {high} h on one {hardware.title}, not measured: {operations:.2g} "
        f"floating-point operations at an assumed {100 * least:g} to {100 * most:g} % of "
        f"{peak:g} TFLOP/s in {precision} ({hardware.source})"
    )
