"""Duration estimates of jobs: number of images over measured images per second.

An estimate is for the hardware that its throughput was measured on. Estimates of different hardware
are never added up.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ltbench.config.dataset import DatasetSpec
from ltbench.config.job import Job
from ltbench.config.keys import content_hash
from ltbench.core.files import read_json, write_json
from ltbench.data.files import cache_root
from ltbench.runs.store import Loaded

OVERHEAD = 1.0
"""Seconds of a job outside training and tests: start-up and record."""

MEASURED, RECORDS, STATED = "measured here", "from records", "from the recipe's throughput"
"""Sources of an estimate."""


@dataclass(frozen=True)
class DurationEstimate:
    """Estimated seconds of a job on some hardware, and their source."""

    seconds: float
    hardware: str
    source: str

    def on(self, hardware: str) -> float | None:
        """Return the seconds on some hardware, None for other hardware."""
        return self.seconds if self.hardware == hardware else None


@dataclass(frozen=True)
class MeasuredThroughput:
    """Images per second in training (None without training) and test."""

    train: float | None
    test: float


Measurements = dict[tuple[object, ...], list[float]]
"""Measurements in records by provenance, hardware and similarity key."""


class CostModel:
    """Estimate durations from measurements here, records of similar jobs, or recipes.

    Measurements on this hardware come before those on other hardware, records of the run folder
    before published ones.

    Args:
        loaded: the records.
        hardware: hardware of this machine's slots.
        data_root: of images that are counted, where a split depends on them.
        devices: of a job; throughput under another number of them says nothing.
    """

    def __init__(
        self,
        loaded: Loaded,
        hardware: str,
        data_root: str | Path | None = None,
        devices: int = 1,
    ) -> None:
        self.hardware, self.data_root, self.devices = hardware, data_root, devices
        self.split_sizes: dict[tuple[DatasetSpec, str, str], int | None] = {}
        self.training: Measurements = {}  # images per second
        self.tests: Measurements = {}  # seconds
        self.test_images: dict[str, int] = {}
        sources: dict[tuple[str, str], None] = {}  # provenance and hardware of the records
        for stored in loaded.records.values():
            record = stored.record
            job, cost = record.job, record.cost
            source = (stored.provenance, record.environment.hardware)
            sources[source] = None
            if record.test is not None:
                self.test_images[job.dataset.test_name] = sum(record.test.totals)
            for similar in _similarity_keys(job, cost.devices):
                key = (*source, *similar)
                if cost.images_per_second is not None:
                    self.training.setdefault(key, []).append(cost.images_per_second)
                self.tests.setdefault((*key, job.dataset.test_name), []).append(cost.test_seconds)
        self.sources = sorted(sources, key=lambda each: (each[1] != hardware, each[0] != "run"))

    def estimate(self, job: Job) -> DurationEstimate | None:
        """Estimate a job's duration; None if no similar job was measured.

        All tests count, label-shift and open-set tests too, if their time is known on the same
        hardware.
        """
        measured = read_throughput(job, self.hardware) if self.devices == 1 else None
        if measured is not None:
            return self._from_measurement(job, measured)
        if job.stage_recipe is None:
            return DurationEstimate(self._test_seconds(job, self.hardware), self.hardware, RECORDS)
        images = self.images_seen(job)
        known = self._from_records(job) or _from_recipe(job)
        if images is None or known is None:
            return None
        rate, hardware, source = known
        return DurationEstimate(self._test_seconds(job, hardware) + images / rate, hardware, source)

    def images_seen(self, job: Job) -> int | None:
        """Return the images seen in training; None if unknown."""
        if job.stage_recipe is None:
            return None
        key = (job.dataset, job.split, job.subset)
        if key not in self.split_sizes:
            from ltbench.data.split import present_size

            self.split_sizes[key] = present_size(*key, self.data_root)
        images, batch = self.split_sizes[key], job.recipe.batch_size
        return None if images is None else images // batch * batch * job.stage_recipe.epochs

    def images_tested(self, job: Job) -> int:
        """Return the number of a job's test images; 0 if unknown."""
        return _pinned_test_images(job) or self.test_images.get(job.dataset.test_name, 0)

    def _from_measurement(
        self, job: Job, throughput: MeasuredThroughput
    ) -> DurationEstimate | None:
        seconds = OVERHEAD + self.images_tested(job) / throughput.test
        images = self.images_seen(job)
        if job.stage_recipe is not None:
            if images is None or throughput.train is None:
                return None
            seconds += images / throughput.train
        return DurationEstimate(seconds, self.hardware, MEASURED)

    def _from_records(self, job: Job) -> tuple[float, str, str] | None:
        """Return images per second, their hardware and source."""
        for source in self.sources:
            for similar in _similarity_keys(job, self.devices):
                if rates := self.training.get((*source, *similar)):
                    return median(rates), source[1], RECORDS
        return None

    def _test_seconds(self, job: Job, hardware: str) -> float:
        """Return the seconds of tests and overhead."""
        for source in self.sources:
            for similar in _similarity_keys(job, self.devices):
                seconds = self.tests.get((*source, *similar, job.dataset.test_name))
                if source[1] == hardware and seconds:
                    return OVERHEAD + median(seconds)
        return OVERHEAD


def _from_recipe(job: Job) -> tuple[float, str, str] | None:
    """Return the recipe's images per second, their hardware and source."""
    stage = "stage2" if job.stage_recipe == job.recipe.stage2 else "stage1"
    measured = [t for t in job.recipe.throughput if t.stage == stage] or job.recipe.throughput
    return (measured[0].images_per_second, measured[0].hardware, STATED) if measured else None


def _pinned_test_images(job: Job) -> int | None:
    spec = job.dataset
    if spec.tested_on == "auxiliary":
        return None
    if spec.official_lists is not None:
        return spec.official_lists.test.images
    return None if spec.test_per_class is None else spec.test_per_class * spec.classes


def _similarity_keys(job: Job, devices: int) -> list[tuple[object, ...]]:
    """Return keys that similar jobs share, the most specific first.

    Network, image size, precision and number of devices always count.
    """
    recipe, size = job.recipe, job.dataset.image_size
    base = (devices, recipe.network, size, recipe.precision, recipe.channels_last)
    return [(*base, job.method, job.stage), (*base, job.stage)]


def cost_key(job: Job) -> str:
    """Return a hash of all that affects the cost of a step."""
    recipe, spec = job.recipe, job.dataset
    step: dict[str, Any] = {
        "method": [job.method, job.version, job.stage, job.hparams],
        "network": [recipe.network, recipe.norm, spec.classes, spec.channels, spec.image_size],
        "step": [recipe.batch_size, recipe.precision, recipe.channels_last],
        "stage": None if job.stage_recipe is None else job.stage_recipe.model_dump(mode="json"),
    }
    return content_hash(step)


def read_throughput(job: Job, hardware: str) -> MeasuredThroughput | None:
    """Return the throughput of such jobs, if measured on the hardware."""
    value = read_json(_throughput_file(job, hardware))
    try:
        return None if value is None else MeasuredThroughput(**value)
    except TypeError:
        return None


def save_throughput(job: Job, hardware: str, throughput: MeasuredThroughput) -> None:
    """Save a measured throughput below `cache_root()`; it belongs to no record."""
    write_json(_throughput_file(job, hardware), asdict(throughput))


def _throughput_file(job: Job, hardware: str) -> Path:
    return cache_root() / "throughput" / f"{content_hash([hardware, cost_key(job)])[:16]}.json"


def time_left(seconds: Collection[float | None], slots: int) -> float | None:
    """Return the seconds until jobs are done; None if unknown.

    It is at least that of the longest job; dependencies between jobs are ignored.
    """
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return None
    return max(sum(known) / slots, max(known, default=0.0))


def describe_cost(estimates: Iterable[DurationEstimate | None], slots: int, hardware: str) -> str:
    """Describe the estimated cost of jobs in the slots of some hardware."""
    estimates = list(estimates)
    groups: dict[tuple[str, str], list[float]] = {}
    for each in estimates:
        if each is not None:
            source = "" if each.hardware == hardware else each.source
            groups.setdefault((each.hardware, source), []).append(each.seconds)
    parts = []
    for (group, source), seconds in groups.items():
        share = "" if len(seconds) == len(estimates) else f"{len(seconds)} of them "
        if group == hardware:
            total = time_left(seconds, slots) or 0.0
            parts.append(f"{share}about {duration(total)} in {slots} slots of this {group}")
        else:
            parts.append(f"{share}about {duration(sum(seconds))} on one {group}, {source}")
    if unknown := estimates.count(None):
        parts.append(f"duration of {unknown} of them unknown: no similar job was measured yet")
    if unknown or any(group != hardware for group, _ in groups):
        parts.append("`ltbench plan --measure` times them here")
    return "; ".join(parts)


def duration(seconds: float) -> str:
    """Format seconds: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"
