import fcntl
import os
import shutil

import pytest

from tests.support.project import Project


@pytest.fixture
def project(tmp_path):
    """Return an empty project."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return a project with its tiny grid trained, shared and read-only."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        project = Project(folder)
        if not (folder / "said").exists():
            said = project.run().stdout
            (folder / "said").write_text(said)
    return project


@pytest.fixture
def copied(finished, tmp_path):
    """Return a copy of the finished project."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)
