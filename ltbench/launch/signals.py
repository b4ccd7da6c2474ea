"""Stop signals: Ctrl-C, SIGTERM, and SIGHUP of a terminal or pipe."""

import signal
import time
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

DEBOUNCE = 1.0
"""Seconds in which further signals count as the first one, which wrappers may pass on again."""


class Interruption(BaseException):
    """Raised when a signal interrupts the program.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


class StopSignals:
    """Record the first stop signal, and raise `Interruption` on the second.

    Ignored signals stay ignored, for nohup.

    Args:
        at_once: raise on the first signal, too.

    Attributes:
        signal: number of the first signal, None before.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.signal: int | None = None
        self.since = 0.0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self.before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self.since = number, time.monotonic()
            if self.at_once:
                raise Interruption(number)
        elif time.monotonic() - self.since > DEBOUNCE:
            raise Interruption(number)


class DeferredInterruption(StopSignals):
    """Defer a signal to the end of a block; a second interrupts."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        super().__exit__(kind)
        if kind is None and self.signal is not None:
            raise Interruption(self.signal)
