"""What jobs will take: images to train on, over images a second measured before."""

from collections.abc import Collection
from statistics import median

from ltbench.config.models import Job
from ltbench.data.profiles import split_size
from ltbench.results.store import Loaded

OVERHEAD = 1.0
"""Seconds that a job takes beside its training and its tests: its start, its record."""


Measures = dict[tuple[object, ...], list[float]]
"""What was measured, by where the records are and a key of likeness."""


class CostModel:
    """Estimates seconds of a job from records of like jobs, else from its recipe's measured rate.

    Records of the run folder count before published ones, which another machine may have made.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.rates: Measures = {}
        self.tests: Measures = {}
        for stored in loaded.records.values():
            job, cost = stored.record.job, stored.record.cost
            for like in _likeness(job):
                where = (stored.provenance, *like)
                if cost.images_per_second is not None:
                    self.rates.setdefault(where, []).append(cost.images_per_second)
                self.tests.setdefault((*where, job.dataset.name), []).append(cost.test_seconds)

    def seconds(self, job: Job) -> float | None:
        """Return the seconds that a job will take, None where nothing like it was measured.

        Tests count, shifted and open ones too, where like ones were measured on the same images.
        """
        around = OVERHEAD + (_likest(job, self.tests, job.dataset.name) or 0.0)
        if job.stage_recipe is None:
            return around
        images = split_size(job.dataset, job.split, job.subset)
        rate = _likest(job, self.rates) or _stated_rate(job)
        if images is None or rate is None:
            return None
        steps = images // job.recipe.batch
        return around + steps * job.recipe.batch * job.stage_recipe.epochs / rate


def _likest(job: Job, measures: Measures, *more: object) -> float | None:
    """Return the median of what the likest jobs took."""
    for provenance in ("run", "published"):
        for like in _likeness(job):
            if found := measures.get((provenance, *like, *more)):
                return median(found)
    return None


def _stated_rate(job: Job) -> float | None:
    """Return images a second as the job's recipe states them."""
    stage = "second" if job.stage_recipe == job.recipe.second else "first"
    measured = [t for t in job.recipe.throughput if t.stage == stage] or job.recipe.throughput
    return measured[0].images_per_second if measured else None


def time_left(seconds: Collection[float | None], slots: int) -> float | None:
    """Return the seconds until jobs are done in a number of slots, None where one is unknown.

    It is at least the longest job; that some jobs wait for others is not counted.
    """
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return None
    return max(sum(known) / slots, max(known, default=0.0))


def duration(seconds: float) -> str:
    """Return seconds in words: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def _likeness(job: Job) -> list[tuple[object, ...]]:
    """Keys of ever looser likeness; the network, the images and the arithmetic always count."""
    recipe = job.recipe
    base = (recipe.network, job.dataset.image_size, recipe.precision, recipe.channels_last)
    return [(*base, job.method, job.stage), (*base, job.stage)]
