"""What jobs will take: images to go through, over images a second that were measured before.

An estimate is of the hardware that its rate was measured on. One of other hardware says nothing of
the slots of this machine, and is never added to one of this.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from ltbench.config.keys import content_hash
from ltbench.config.models import Job
from ltbench.core.files import read_json, write_json
from ltbench.data.files import cache_root
from ltbench.data.imbalance import split_size
from ltbench.runs.store import Loaded

OVERHEAD = 1.0
"""Seconds that a job takes beside its training and its tests: its start, its record."""

Source = str
"""Where a rate comes from, in words."""

MEASURED, RECORDS, STATED = "measured here", "by records", "by the recipe's own rate"


@dataclass(frozen=True)
class Estimate:
    """Seconds that a job will take on some hardware, and where that is known from."""

    seconds: float
    hardware: str
    source: str

    def on(self, hardware: str) -> float | None:
        """Return the seconds where they are of some hardware, None where of other."""
        return self.seconds if self.hardware == hardware else None


@dataclass(frozen=True)
class Rates:
    """Images a second that a job trains on (None where it does not) and is tested on."""

    train: float | None
    test: float


Measures = dict[tuple[object, ...], list[float]]
"""What records measured, by provenance, hardware and a key of likeness."""


class CostModel:
    """Estimates jobs by rates measured here, by records of like jobs, or by their recipes' rates.

    What was measured on this hardware counts before what was on other; records of the run folder
    before published ones.

    Args:
        loaded: the records.
        hardware: of this machine's slots.
    """

    def __init__(self, loaded: Loaded, hardware: str) -> None:
        self.hardware = hardware
        self.rates: Measures = {}
        self.tests: Measures = {}
        self.test_images: dict[str, int] = {}
        self.places: dict[tuple[str, str], None] = {("run", hardware): None}
        self.places["published", hardware] = None
        for stored in loaded.records.values():
            record = stored.record
            job, cost = record.job, record.cost
            place = (stored.provenance, record.environment.hardware)
            self.places[place] = None
            if record.test is not None:
                self.test_images[job.dataset.name] = sum(record.test.totals)
            for like in _likeness(job):
                where = (*place, *like)
                if cost.images_per_second is not None:
                    self.rates.setdefault(where, []).append(cost.images_per_second)
                self.tests.setdefault((*where, job.dataset.name), []).append(cost.test_seconds)

    def estimate(self, job: Job) -> Estimate | None:
        """Return what a job will take, None where nothing like it was measured.

        Tests count, shifted and open ones too, where their time is known on the same hardware.
        """
        measured = read_rates(job, self.hardware)
        if measured is not None:
            return self._by_rates(job, measured)
        if job.stage_recipe is None:
            return Estimate(self._around(job, self.hardware), self.hardware, RECORDS)
        images = _trained_images(job)
        found = self._recorded(job) or _stated(job)
        if images is None or found is None:
            return None
        rate, hardware, source = found
        return Estimate(self._around(job, hardware) + images / rate, hardware, source)

    def _by_rates(self, job: Job, rates: Rates) -> Estimate | None:
        tests = _stated_test_images(job) or self.test_images.get(job.dataset.name, 0)
        seconds = OVERHEAD + tests / rates.test
        images = _trained_images(job)
        if job.stage_recipe is not None:
            if images is None or rates.train is None:
                return None
            seconds += images / rates.train
        return Estimate(seconds, self.hardware, MEASURED)

    def _recorded(self, job: Job) -> tuple[float, str, Source] | None:
        for place in sorted(self.places, key=lambda place: place[1] != self.hardware):
            for like in _likeness(job):
                if found := self.rates.get((*place, *like)):
                    return median(found), place[1], RECORDS
        return None

    def _around(self, job: Job, hardware: str) -> float:
        for provenance, its in self.places:
            for like in _likeness(job):
                place = (provenance, its, *like, job.dataset.name)
                if its == hardware and (found := self.tests.get(place)):
                    return OVERHEAD + median(found)
        return OVERHEAD


def _trained_images(job: Job) -> int | None:
    """Return how many images a job goes through, None where only the images tell."""
    images = split_size(job.dataset, job.split, job.subset)
    if images is None or job.stage_recipe is None:
        return None
    return images // job.recipe.batch_size * job.recipe.batch_size * job.stage_recipe.epochs


def _stated(job: Job) -> tuple[float, str, Source] | None:
    """Return images a second as the job's recipe states them, and of which hardware."""
    stage = "second" if job.stage_recipe == job.recipe.stage2 else "first"
    measured = [t for t in job.recipe.throughput if t.stage == stage] or job.recipe.throughput
    return (measured[0].images_per_second, measured[0].hardware, STATED) if measured else None


def _stated_test_images(job: Job) -> int | None:
    spec = job.dataset
    if spec.official_lists is not None:
        return spec.official_lists.test.images
    return None if spec.test_per_class is None else spec.test_per_class * spec.classes


def _likeness(job: Job) -> list[tuple[object, ...]]:
    """Keys of ever looser likeness; the network, the images and the arithmetic always count."""
    recipe = job.recipe
    base = (recipe.network, job.dataset.image_size, recipe.precision, recipe.channels_last)
    return [(*base, job.method, job.stage), (*base, job.stage)]


def kind(job: Job) -> str:
    """Return a hash of what a step costs: jobs that share it are measured once."""
    recipe, spec = job.recipe, job.dataset
    step: dict[str, Any] = {
        "method": [job.method, job.version, job.stage, job.hparams],
        "network": [recipe.network, recipe.norm, spec.classes, spec.channels, spec.image_size],
        "step": [recipe.batch_size, recipe.precision, recipe.channels_last],
        "stage": None if job.stage_recipe is None else job.stage_recipe.model_dump(mode="json"),
    }
    return content_hash(step)


def read_rates(job: Job, hardware: str) -> Rates | None:
    """Return the rates of a job's kind that were measured on some hardware earlier."""
    value = read_json(_place(job, hardware))
    try:
        return None if value is None else Rates(**value)
    except TypeError:
        return None


def keep_rates(job: Job, hardware: str, rates: Rates) -> None:
    """Remember the rates of a job's kind below `cache_root()`: they are in no record."""
    write_json(_place(job, hardware), {"train": rates.train, "test": rates.test})


def _place(job: Job, hardware: str) -> Any:
    return cache_root() / "rates" / f"{content_hash([hardware, kind(job)])[:16]}.json"


def time_left(seconds: Collection[float | None], slots: int) -> float | None:
    """Return the seconds until jobs are done in a number of slots, None where one is unknown.

    It is at least the longest job; that some jobs wait for others is not counted.
    """
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return None
    return max(sum(known) / slots, max(known, default=0.0))


def outlook(estimates: Iterable[Estimate | None], slots: int, hardware: str) -> str:
    """Say what jobs will take in the slots of some hardware, and what others of them elsewhere."""
    estimates = list(estimates)
    groups: dict[tuple[str, str], list[float]] = {}
    for each in estimates:
        if each is not None:
            source = "" if each.hardware == hardware else each.source
            groups.setdefault((each.hardware, source), []).append(each.seconds)
    parts = []
    for (its, source), seconds in groups.items():
        whose = "" if len(seconds) == len(estimates) else f"{len(seconds)} of them "
        if its == hardware:
            whole = max(sum(seconds) / slots, *seconds)
            parts.append(f"{whose}about {duration(whole)} in {slots} slots of this {its}")
        else:
            parts.append(f"{whose}about {duration(sum(seconds))} on one {its}, {source}")
    if unknown := estimates.count(None):
        parts.append(f"cost unknown: nothing like {unknown} of them was measured yet")
    if unknown or any(its != hardware for its, _ in groups):
        parts.append("`ltbench plan --measure` times them here")
    return "; ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds in words: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"
