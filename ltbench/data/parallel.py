"""Work on many files, spread over processes."""

import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Generator[Result, None, None]:
    """Yield the results of some work on items, each as soon as it is there.

    Whatever interrupts it, no other item is begun; those under way are finished.

    Args:
        work: a function of a module, so that other processes find it.
        items: what it is called with; the first error ends it all.
        processes: that work at once; none are started for one of them, or one item.
    """
    workers = min(processes, len(items))
    if workers < 2:
        yield from map(work, items)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("forkserver"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C is for the process that waits for them
    )
    try:
        running = [pool.submit(work, item) for item in items]
        yield from (future.result() for future in as_completed(running))
    finally:
        pool.shutdown(cancel_futures=True)
