"""What a job will take: images to train on, over images a second measured before."""

from collections.abc import Iterable
from statistics import median

from ltbench.config.models import Job
from ltbench.data.profiles import split_counts
from ltbench.results.record import Record


class CostModel:
    """Estimates seconds of a job from records of like jobs, else from its recipe's measured rate."""

    def __init__(self, records: Iterable[Record], hardware: str | None = None) -> None:
        self.rates: dict[tuple[object, ...], list[float]] = {}
        for record in records:
            rate = record.cost.images_per_second
            if rate is not None and (hardware is None or record.environment.hardware == hardware):
                for like in _likeness(record.job):
                    self.rates.setdefault(like, []).append(rate)

    def seconds(self, job: Job) -> float | None:
        """Return the seconds a job will train on one device; None where nothing like it was measured."""
        if job.stage_recipe is None:
            return 0.0
        counts = split_counts(job.dataset, job.split)
        rate = self.rate(job)
        if counts is None or rate is None:
            return None
        steps = sum(counts) // job.recipe.batch
        return steps * job.recipe.batch * job.stage_recipe.epochs / rate

    def rate(self, job: Job) -> float | None:
        """Return images a second of the likest jobs measured."""
        for like in _likeness(job):
            if like in self.rates:
                return median(self.rates[like])
        return job.recipe.throughput[0].images_per_second if job.recipe.throughput else None


def _likeness(job: Job) -> list[tuple[object, ...]]:
    """Keys of ever looser likeness; the network, the images and the arithmetic always count."""
    base = (job.recipe.network, job.dataset.image_size, job.recipe.precision, job.recipe.channels_last)
    return [(*base, job.method, job.stage), (*base, job.stage)]
