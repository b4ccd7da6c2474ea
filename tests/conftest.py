import os
from pathlib import Path

import processes
import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: threads only wait for each other
settings.register_profile("untimed", deadline=None)  # a busy machine is no wrong result
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _no_process_left():
    """End what a test has started and left, whatever became of the test."""
    before = processes.running()
    yield
    processes.end_all(but=before)


def pytest_addoption(parser):
    default = Path(__file__).parent / "oracles"
    parser.addoption("--oracles", type=Path, default=default, help="folder of reference numbers")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "oracle(file, has, variants, level): run for each case or variant of the file"
    )


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("oracle")
    if marker is not None:
        from oracle_files import discover  # imports torch, which other tests must not have loaded

        (file,) = marker.args
        path = metafunc.config.getoption("oracles") / f"{file}.npz"
        found = discover(path, **marker.kwargs)
        metafunc.parametrize("oracle", found, ids=[oracle.id for oracle in found])
