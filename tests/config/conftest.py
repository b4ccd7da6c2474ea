import json
from textwrap import dedent

import pytest

from ltbench.config import files
from ltbench.config import registry as registry_module
from tests.support.toy_project import DATASET, GRID, METHODS, RECIPE


@pytest.fixture
def registry(tmp_path, monkeypatch):
    path = tmp_path / "registry.json"
    path.write_text(json.dumps(METHODS))
    monkeypatch.setattr(registry_module, "REGISTRY_FILE", path)
    return registry_module.load_registry()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Work in an empty folder without shipped configurations; write files of its configs/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "installed" / "ltbench")

    def write(path, text):
        file = tmp_path / "configs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    return write


@pytest.fixture
def project(write):
    """A small project: the dataset toys, the recipe short, the grid toys."""
    write("datasets/toys.yaml", DATASET)
    write("recipes/short.yaml", RECIPE)
    write("grids/toys.yaml", GRID)
    return write
