import fcntl
import os
import shutil

import pytest

from tests.support.project import Project


@pytest.fixture
def project(tmp_path):
    """An empty project."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A project whose tiny grid is trained, once for all tests (and their processes); only read."""
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
    """A copy of the finished project, to be changed."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)
