"""A function applied to many items in several processes."""

import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
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
