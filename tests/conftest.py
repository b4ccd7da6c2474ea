import os
from pathlib import Path

import pytest
from hypothesis import settings

from ltbench.analysis.metrics import METRICS
from tests.support import processes

TESTS = Path(__file__).parent
ORACLES = TESTS / "oracles"

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: threads only wait for each other
settings.register_profile("untimed", deadline=None)  # a busy machine is no wrong result
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _no_process_left():
    """End what a test has started and left, whatever became of the test."""
    before = processes.running()
    yield
    processes.end_all(but=before)


@pytest.fixture(autouse=True)
def _no_metric_left():
    """Take away the metrics that a test has added."""
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def pytest_addoption(parser):
    parser.addoption("--oracles", type=Path, default=ORACLES, help="folder of reference numbers")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "oracle(file, has, variants, level): run for each case or variant of the file"
    )
    folder = config.getoption("oracles")
    if not folder.is_dir():
        raise pytest.UsageError(f"--oracles: {folder} is not a folder")
    for category in ("DeprecationWarning", "FutureWarning"):
        config.addinivalue_line("filterwarnings", rf"error::{category}:(ltbench|tests)\b")


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("oracle")
    if marker is not None:
        from tests.support.oracle_files import (
            discover,  # imports torch, which other tests must not have loaded
        )

        (file,), claim = marker.args, dict(marker.kwargs)
        path = metafunc.config.getoption("oracles") / f"{file}.npz"
        found = {}
        for variant in claim.pop("variants", [""]):
            oracles = {oracle.id: oracle for oracle in discover(path, variant=variant, **claim)}
            found |= oracles or {f"none {variant}".rstrip(): path}
        metafunc.parametrize("oracle", found.values(), ids=found, indirect=True)


@pytest.fixture
def oracle(request):
    """Return a case or variant that the test claims; fail where the file holds none.

    Without a case nothing would be compared and the test would pass. A folder of `--oracles` may
    have the files of some methods only: where one is not there at all, its tests are skipped.
    """
    if not isinstance(request.param, Path):
        return request.param
    if request.param.parent != ORACLES and not request.param.exists():
        pytest.skip(f"{request.param} is not there")
    pytest.fail(f"{request.param} holds no case that this test claims")


@pytest.fixture(scope="session")
def toy():
    """Return the makers of a small world to compute tables from."""
    from tests.support import toy_board  # no torch, but much else

    return toy_board.world()
