from types import SimpleNamespace

from ltbench.launch.local import chain_lengths


def test_a_chain_is_as_long_as_its_longest_branch():
    starts = {"a": (), "b": ("a",), "c": ("a",), "d": ("c",), "e": ("elsewhere",)}
    jobs = {key: SimpleNamespace(start=start) for key, start in starts.items()}
    seconds = {"a": 10.0, "b": 100.0, "c": 1.0, "d": 50.0, "e": None}
    assert chain_lengths(jobs, seconds) == {"a": 110.0, "b": 100.0, "c": 51.0, "d": 50.0, "e": 1.0}
