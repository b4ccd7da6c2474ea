"""The order of jobs: dependency levels and critical paths."""

from collections.abc import Mapping

from ltbench.config.job import Job


def dependency_levels(jobs: Mapping[str, Job]) -> list[dict[str, Job]]:
    """Group jobs into levels; each depends only on jobs of earlier levels.

    Args:
        jobs: by key, in dependency order.
    """
    level: dict[str, int] = {}
    levels: list[dict[str, Job]] = []
    for key, job in jobs.items():
        level[key] = max(
            (level[needed] + 1 for needed in job.depends_on if needed in level), default=0
        )
        if level[key] == len(levels):
            levels.append({})
        levels[level[key]][key] = job
    return levels


def critical_path(jobs: Mapping[str, Job], seconds: Mapping[str, float | None]) -> dict[str, float]:
    """Return the seconds of the longest dependency chain from each job.

    A job of unknown duration counts as one second.

    Args:
        jobs: by key, in dependency order.
        seconds: estimated duration of each job, None if unknown.
    """
    duration = {key: seconds[key] or 1.0 for key in jobs}
    length = dict(duration)
    for key in reversed(list(jobs)):
        for needed in jobs[key].depends_on:
            if needed in length:
                length[needed] = max(length[needed], duration[needed] + length[key])
    return length
