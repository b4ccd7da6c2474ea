"""In which order jobs can be trained."""

from collections.abc import Mapping

from ltbench.config.models import Job


def levels(jobs: Mapping[str, Job]) -> list[dict[str, Job]]:
    """Return jobs in steps: each starts from jobs of earlier steps, or from none among them.

    Args:
        jobs: by key, starts before what starts from them.
    """
    step: dict[str, int] = {}
    found: list[dict[str, Job]] = []
    for key, job in jobs.items():
        step[key] = max((step[start] + 1 for start in job.depends_on if start in step), default=0)
        if step[key] == len(found):
            found.append({})
        found[step[key]][key] = job
    return found


def critical_path(jobs: Mapping[str, Job], seconds: Mapping[str, float | None]) -> dict[str, float]:
    """Return the seconds from each job's start to the end of the longest chain behind it.

    A job of unknown length counts as a second.

    Args:
        jobs: by key, starts before what starts from them.
        seconds: of each job.
    """
    own = {key: seconds[key] or 1.0 for key in jobs}
    length = dict(own)
    for key in reversed(list(jobs)):
        for start in jobs[key].depends_on:
            if start in length:
                length[start] = max(length[start], own[start] + length[key])
    return length
