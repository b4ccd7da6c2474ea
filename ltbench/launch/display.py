"""What a run looks like: a live table on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ltbench.config.models import Job


def duration(seconds: float | None) -> str:
    """Return seconds in words a person reads: 45 s, 12 min, 3 h 20 min; a dash where unknown."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


class RunDisplay:
    """Shows jobs done, running and failed, epochs, images a second and the time left.

    Args:
        console: where to write; without a terminal each event is a line.
        total: jobs to train.
        seconds: estimated seconds of all jobs on one slot, where they are known.
        slots: jobs at a time.
    """

    def __init__(self, console: Console, total: int, seconds: dict[str, float | None], slots: int) -> None:
        self.console = console
        self.seconds = seconds
        self.slots = slots
        self.began = time.monotonic()
        self.failures = 0
        self.finished = 0
        self.total = total
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
        self.overall = self.live.add_task("jobs", total=total, note="")

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def started(self, job: Job) -> None:
        """Add a line for a job."""
        epochs = job.stage_recipe.epochs if job.stage_recipe else 1
        self.tasks[job.key] = self.live.add_task(escape(job.title), total=epochs, note="")
        self._line(f"start   {job.title}")

    def progress(self, job: Job, state: dict[str, float]) -> None:
        """Move a job's line."""
        rate = state.get("images_per_second")
        note = f"{rate:,.0f} img/s" if rate else ""
        self.live.update(self.tasks[job.key], completed=state["epoch"], note=note)
        self._overall()

    def done(self, job: Job) -> None:
        """Take a finished job's line away."""
        self._end(job)
        self._line(f"done    {job.title}  ({self.finished}/{self.total}, {self._left()} left)")

    def failed(self, job: Job, reason: str, log_tail: str) -> None:
        """Say why a job failed, with the end of its log."""
        self.failures += 1
        self._end(job)
        self.console.print(f"FAILED  {job.title}\n        {reason}", markup=False, style="red")
        if log_tail:
            self.console.print(log_tail, markup=False, highlight=False, style="dim")

    def blocked(self, job: Job) -> None:
        """Say that a job has nothing to start from."""
        self._end(job)
        self.console.print(f"BLOCKED {job.title}: what it starts from failed", markup=False)

    def _end(self, job: Job) -> None:
        self.finished += 1
        self.seconds.pop(job.key, None)
        if job.key in self.tasks:
            self.live.remove_task(self.tasks.pop(job.key))
        self._overall()

    def _overall(self) -> None:
        note = f"{self.failures} failed, {self._left()} left" if self.failures else f"{self._left()} left"
        self.live.update(self.overall, completed=self.finished, note=note)

    def _left(self) -> str:
        """Return the time left by estimate, else by the jobs' mean so far."""
        known = [s for s in self.seconds.values() if s is not None]
        if len(known) == len(self.seconds):
            return duration(sum(known) / self.slots)
        if not self.finished:
            return "–"
        return duration((time.monotonic() - self.began) / self.finished * (self.total - self.finished))

    def _line(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
