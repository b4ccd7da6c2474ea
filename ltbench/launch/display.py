"""Progress of a run: a live table on a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from ltbench.config.job import Job
from ltbench.data.errors import printable
from ltbench.launch.cost import duration, time_left

LINE_EVERY = 60.0
"""Seconds between plain lines of one running job."""


@contextmanager
def progress_bar(console: Console | None, title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar; yields a callback that takes done and total.

    Without a terminal, one line is printed at the beginning.
    """
    shown = console is not None and console.is_terminal
    with Progress(console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(title)

        def progress(done: int, total: int) -> None:
            if done == 0 and console is not None:
                console.print(f"{title}: {total:,}", highlight=False)
            bar.update(task, completed=done, total=total)

        yield progress


class RunDisplay:
    """Display of jobs, their epochs and speed, and the time left.

    Args:
        console: to print to; without a terminal each event is a line.
        seconds: estimated duration of each job, None if unknown.
        slots: number of jobs at a time.
    """

    def __init__(self, console: Console, seconds: Mapping[str, float | None], slots: int) -> None:
        self.console = console
        self.seconds = seconds
        self.slots = slots
        self.left = dict(seconds)
        self.failures = 0
        self.first_start: float | None = None
        self.last_line: dict[str, float] = {}
        self.first_seen: dict[str, dict[float, float]] = {}  # time of each epoch, by key
        self.live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}
        self.overall = self.live.add_task("jobs", total=len(seconds), note="")

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def started(self, job: Job) -> None:
        """Show that a job's process started."""
        if self.first_start is None:  # the first job has waited for the forkserver
            self.first_start = time.monotonic()
        epochs = job.stage_recipe.epochs if job.stage_recipe else None
        self.tasks[job.key] = self.live.add_task(escape(job.title), total=epochs, note="")
        self.last_line[job.key] = time.monotonic()
        self.first_seen.pop(job.key, None)
        self._event("start", job)

    def progress(self, job: Job, state: Mapping[str, float]) -> None:
        """Show the epoch, epochs and images_per_second of a job."""
        epoch, epochs = state["epoch"], state["epochs"]
        note = "testing" if epoch == epochs else f"{state['images_per_second']:,.0f} images/s"
        self.left[job.key] = self._seconds_of(job, epoch, epochs)
        self.live.update(self.tasks[job.key], completed=epoch, note=note)
        self._overall()
        if time.monotonic() - self.last_line[job.key] >= LINE_EVERY:
            self.last_line[job.key] = time.monotonic()
            self._event("running", job, f"epoch {epoch}/{epochs}, {note}; {self._summary()}")

    def claimed_by_other(self, job: Job) -> None:
        """Show that another run is training a job."""
        self._remove(job)
        self._event("wait", job, "another run is training it")

    def retrying(self, job: Job, reason: str) -> None:
        """Show why a job was ended; it will resume."""
        self._remove(job)
        self._print(f"RETRY   {job.title}: {printable(reason)}", "yellow")

    def stopping(self, running: int) -> None:
        """Show that the run is stopping once its running jobs have saved."""
        message = f"Stopping: {running} jobs save a checkpoint first; interrupt again to stop now."
        self._print(message, "yellow")

    def done(self, job: Job, *, changed: bool) -> None:
        """Show that a job has its record, and whether it changed."""
        self._end(job)
        self._event("done", job, self._summary())
        if changed:
            message = f"CHANGED {job.title}: trained again, the result differs from its record"
            self._print(message, "yellow")

    def failed(self, job: Job, reason: str, log_tail: str) -> None:
        """Show why a job failed, with the end of its log."""
        self.failures += 1
        self._end(job)
        lines = "\n".join(f"        {printable(line)}" for line in reason.splitlines())
        self._print(f"FAILED  {job.title}\n{lines}", "red")
        if log_tail:
            self._print(log_tail, "dim")

    def blocked(self, jobs: Sequence[Job], cause: str) -> None:
        """Show why jobs are not started."""
        for job in jobs:
            self._end(job)
        what = jobs[0].title if len(jobs) == 1 else f"{len(jobs)} jobs"
        self._print(f"BLOCKED {what}: {printable(cause)}", "red")

    def _end(self, job: Job) -> None:
        del self.left[job.key]
        self._remove(job)
        self._overall()

    def _remove(self, job: Job) -> None:
        if job.key in self.tasks:
            self.live.remove_task(self.tasks.pop(job.key))

    def _overall(self) -> None:
        ended = len(self.seconds) - len(self.left)
        self.live.update(self.overall, completed=ended, note=self._outlook(ended))

    def _summary(self) -> str:
        ended = len(self.seconds) - len(self.left)
        return f"{ended}/{len(self.seconds)}, {self._outlook(ended)}"

    def _outlook(self, ended: int) -> str:
        failures = f"{self.failures} failed, " if self.failures else ""
        seconds = self._seconds_left(ended)
        left = "time left unknown" if seconds is None else f"{duration(seconds)} left"
        return failures + left

    def _seconds_left(self, ended: int) -> float | None:
        """Return the time left: estimated, else from the mean duration so far."""
        estimate = time_left(self.left.values(), self.slots)
        if estimate is None and ended and self.first_start is not None:
            return (time.monotonic() - self.first_start) / ended * len(self.left)
        return estimate

    def _seconds_of(self, job: Job, epoch: float, epochs: float) -> float | None:
        """Return the time left of a job, measured by its epochs."""
        seen = self.first_seen.setdefault(job.key, {})
        now = seen.setdefault(epoch, time.monotonic())
        first, since = next(iter(seen.items()))
        if epoch > first:
            return (now - since) / (epoch - first) * (epochs - epoch)
        whole = self.seconds[job.key]
        return None if whole is None else whole * (1 - epoch / epochs)

    def _event(self, event: str, job: Job, details: str = "") -> None:
        """Print a line unless the live table shows the same."""
        if not self.console.is_terminal:
            self._print(f"{event:7} {job.title}{details and f': {details}'}")

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
