from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """Return the folder of the benchmarks, from which they can be imported."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return BENCHMARKS
