"""An oracle test that finds nothing to compare must not pass."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.oracle_files import discover

TESTS = Path(__file__).parent
CLAIMS = (
    "losses/test_loss_oracles.py::test_balanced_softmax",
    "losses/test_rebalancing.py::test_class_balanced",
    "losses/test_paco.py::test_the_authors_numbers",
)


def outcomes(folder):
    """Return the exit code of pytest on three oracle files, and what came of each case."""
    command = [sys.executable, "-m", "pytest", *CLAIMS, "-v", "--oracles", folder]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=TESTS, capture_output=True, text=True
    )
    found = re.findall(r"::(test_\w+)\[(.+?)\] ([A-Z]+)\b", done.stdout)
    return done.returncode, {(test, case): outcome for test, case, outcome in found}


def test_a_claim_that_no_case_meets_fails(tmp_path):
    """One file has lost some variants, one all cases, and one is not there."""
    np.savez(tmp_path / "balanced_softmax.npz", meta="no case")
    with np.load(TESTS / "oracles" / "class_balanced.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files if "/port_focal" not in name}
    assert 0 < len(kept) < len(arrays.files)
    np.savez(tmp_path / "class_balanced.npz", **kept)

    code, found = outcomes(tmp_path)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert found.pop(("test_balanced_softmax", "none")) == "ERROR"
    assert found.pop(("test_class_balanced", "none port_focal")) == "ERROR"
    assert found.pop(("test_the_authors_numbers", "none")) == "SKIPPED"
    assert {test for test, _ in found} == {"test_class_balanced"}
    assert set(found.values()) == {"PASSED"}


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert outcomes(tmp_path / "none") == (pytest.ExitCode.USAGE_ERROR, {})


def test_an_empty_array_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", **{"a/curve": np.zeros(0), "a/loss": np.ones(1)})
    (oracle,) = discover(tmp_path / "x.npz")
    assert oracle["loss"].tolist() == [1]
    with pytest.raises(AssertionError):
        oracle["curve"]
