from types import SimpleNamespace

from ltbench.launch.scheduling import critical_path, levels

STARTS = {"a": (), "b": ("a",), "c": ("a",), "d": ("c", "b"), "e": ("elsewhere",)}
JOBS = {key: SimpleNamespace(start=start) for key, start in STARTS.items()}


def test_a_chain_is_as_long_as_its_longest_branch():
    seconds = {"a": 10.0, "b": 100.0, "c": 1.0, "d": 50.0, "e": None}
    assert critical_path(JOBS, seconds) == {"a": 160.0, "b": 150.0, "c": 51.0, "d": 50.0, "e": 1.0}


def test_levels_have_what_they_start_from_before_them():
    assert [list(level) for level in levels(JOBS)] == [["a", "e"], ["b", "c"], ["d"]]
    assert levels({}) == []
