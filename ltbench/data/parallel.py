"""A function applied to many items in several processes or threads."""

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Generator[Result, None, None]:
    """Yield a function's results for items in order of completion.

    After an error or an interruption running calls finish and no other is started.

    Args:
        function: importable by other processes, so not a closure.
        items: its arguments, one a call.
        processes: their number; with one of them, or one item, none is started.
    """
    workers = min(processes, len(items))
    if workers < 2:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("forkserver"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C is for the parent alone
    )
    try:
        futures = [pool.submit(function, item) for item in items]
        yield from (future.result() for future in as_completed(futures))
    finally:
        pool.shutdown(cancel_futures=True)


def run_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Iterator[Result]:
    """Yield a function's results for items in their order.

    Args:
        function: of an item.
        items: its arguments, one a call.
        threads: their number.
        ahead: most calls that are not yet yielded.
    """
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
