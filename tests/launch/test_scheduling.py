from types import SimpleNamespace

from ltbench.launch.scheduling import critical_path, dependency_levels

DEPENDENCIES = {"a": (), "b": ("a",), "c": ("a",), "d": ("c", "b"), "e": ("elsewhere",)}
JOBS = {key: SimpleNamespace(depends_on=keys) for key, keys in DEPENDENCIES.items()}


def test_the_critical_path_is_the_longest_branch():
    seconds = {"a": 10.0, "b": 100.0, "c": 1.0, "d": 50.0, "e": None}
    assert critical_path(JOBS, seconds) == {"a": 160.0, "b": 150.0, "c": 51.0, "d": 50.0, "e": 1.0}


def test_dependencies_are_in_earlier_levels():
    assert [list(level) for level in dependency_levels(JOBS)] == [["a", "e"], ["b", "c"], ["d"]]
    assert dependency_levels({}) == []
