"""Requests to stop: Ctrl-C, SIGTERM, and the hang-up of a terminal or of who reads the output."""

import signal
import time
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

APART = 1.0
"""Seconds between two requests; what comes sooner is the first one, passed on by a wrapper too."""


class Interruption(BaseException):
    """The end of what a program does, because of a signal.

    Attributes:
        signal: its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class StopSignals:
    """Takes signals as requests to stop, of which none is lost: the first one kindly.

    The second one interrupts. Signals that were ignored before stay so, as nohup has it.

    Args:
        at_once: whether the first one interrupts, too.

    Attributes:
        signal: number of the first one, None before.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.signal: int | None = None
        self.since = 0.0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self.before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self.since = number, time.monotonic()
            if self.at_once:
                raise Interruption(number)
        elif time.monotonic() - self.since > APART:
            raise Interruption(number)


class Unbroken(StopSignals):
    """A block that ends before a signal interrupts it; a second one does at once."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        super().__exit__(kind)
        if kind is None and self.signal is not None:
            raise Interruption(self.signal)
