from types import SimpleNamespace

import pytest

from ltbench.launch.local import _end, chain_lengths


def test_a_chain_is_as_long_as_its_longest_branch():
    starts = {"a": (), "b": ("a",), "c": ("a",), "d": ("c",), "e": ("elsewhere",)}
    jobs = {key: SimpleNamespace(start=start) for key, start in starts.items()}
    seconds = {"a": 10.0, "b": 100.0, "c": 1.0, "d": 50.0, "e": None}
    assert chain_lengths(jobs, seconds) == {"a": 110.0, "b": 100.0, "c": 51.0, "d": 50.0, "e": 1.0}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "the process was ended by SIGKILL, as the system does when memory runs out"),
        (-11, "the process was ended by SIGSEGV"),
        (3, "the process ended with code 3 and left no record"),
    ],
)
def test_the_end_of_a_process_in_words(code, words):
    assert _end(code) == words
