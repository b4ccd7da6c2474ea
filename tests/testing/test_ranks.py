"""Ranks that are gone when they are called."""

import pytest

from ltbench.testing.ranks import RankError, Ranks


def test_ranks_that_died_between_calls_are_an_error_and_begin_anew():
    processes = Ranks(1, joined=False)
    try:
        assert processes(abs, -3) == [3]
        for process in processes.processes:
            process.kill()
            process.join()
        with pytest.raises(RankError, match="rank 0: died"):
            processes(abs, -3)
        assert processes(abs, -4) == [4]
    finally:
        processes.stop()
