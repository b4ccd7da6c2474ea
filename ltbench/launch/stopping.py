"""Requests to stop a run: the first one kindly, the second one at once."""

import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

APART = 1.0
"""Seconds between two requests; what comes sooner is the first one, passed on by a wrapper too."""


class StopRequests:
    """Takes Ctrl-C, SIGTERM and the end of the terminal as requests to stop.

    Attributes:
        signal: number of the first one, None before.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.since = 0.0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                self.before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self.since = number, time.monotonic()
        elif time.monotonic() - self.since > APART:
            raise KeyboardInterrupt
