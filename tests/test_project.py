"""The project's own papers: versions, changelog, licence, and nothing of anybody's machine."""

import os
import re
import shutil
import tomllib
import warnings
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import ltbench
from tests.support import processes

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Written in pieces, so that this file is none of the finds.
PRIVATE = re.compile(r"(?<![\w.~/$}-])/(?:" + "|".join(["work", "root", "home", "Users"]) + r")/\w")
HOSTS = re.compile(r"\b(?:" + "|".join(["pypi", "pythonhosted", "npmjs"]) + r")\.(?:org|com)\b")


def own_files():
    """Return the files that git has or would take."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = processes.run(command, cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    return [path for path in files if path.is_file()]


def test_git_leaves_no_source_out():
    sources = {path for folder in ("ltbench", "tests") for path in (ROOT / folder).rglob("*.py")}
    assert sources - set(own_files()) == set()


def test_no_file_names_a_machine_or_a_registry():
    finds = []
    for path in own_files():
        data = path.read_bytes()
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8").splitlines(), 1):
            if PRIVATE.search(line) or HOSTS.search(line):
                finds.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert finds == []


def test_the_search_finds_what_it_should():
    for folder in ("work", "root", "home"):
        assert PRIVATE.search(f"see /{folder}/x")
        assert PRIVATE.search(f"path='/{folder}/x'")
        for other in (f"net/{folder}/x", f"https://host/{folder}/x", f"./{folder}/x", f"/{folder}"):
            assert not PRIVATE.search(other)
    assert HOSTS.search("from files." + "pythonhosted" + ".org")


def modules_of_ours():
    """Return names that modules of ours have while tests run: of the package and of tests."""
    return ["ltbench", "ltbench.cli.runs", __name__, processes.__name__]


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning])
def test_deprecations_of_ours_are_errors(category):
    with pytest.raises(category):
        warnings.warn("x", category, stacklevel=1)
    for module in modules_of_ours():
        with pytest.raises(category):
            warnings.warn_explicit("x", category, "x.py", 1, module=module)


def test_deprecations_of_libraries_are_no_errors():
    with warnings.catch_warnings(record=True) as caught:
        for module in ("torch.nn", "pytorch_lightning.utilities._pytree", "wandb.sdk", "databases"):
            warnings.warn_explicit("x", FutureWarning, "x.py", 1, module=module)
    assert len(caught) == 3  # all but Lightning's


def test_one_version_everywhere():
    assert "version" in PROJECT["dynamic"]
    assert metadata.version("ltbench") == ltbench.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == ltbench.__version__


def required():
    """Return the ranges of what ltbench and the extras that tests use need, by name."""
    extras = PROJECT["optional-dependencies"]
    used = Requirement(next(text for text in extras["dev"] if text.startswith("ltbench["))).extras
    texts = [*PROJECT["dependencies"], *(text for extra in used for text in extras[extra])]
    return {each.name: each.specifier for each in map(Requirement, texts)}


def pinned(end):
    """Return the versions of a file of constraints, by name."""
    lines = (ROOT / "constraints" / f"{end}.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_a_tested_version_of_each_dependency_is_within_its_bounds(end):
    ranges, versions = required(), pinned(end)
    assert versions.keys() == ranges.keys()
    assert [name for name in ranges if not ranges[name].contains(versions[name])] == []


def test_the_lowest_tested_versions_are_the_lower_bounds():
    lower = {
        name: next(each.version for each in specifier if each.operator == ">=")
        for name, specifier in required().items()
    }
    lowest, highest = pinned("lowest"), pinned("highest")
    assert {name: Version(text) for name, text in lowest.items()} == {
        name: Version(text) for name, text in lower.items()
    }
    assert all(Version(highest[name]) >= Version(lowest[name]) for name in lowest)


def test_the_changelog_is_up_to_date():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1] == ltbench.__version__


def test_one_licence_everywhere():
    assert PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["license"] == "MIT"


def test_ci_can_be_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    processes.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


def test_every_target_of_the_makefile_is_described_and_known_to_make():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    assert re.findall(r"^([a-z-]+):.*  ## \w", text, re.MULTILINE) == phony
    if shutil.which("make"):
        processes.run(["make", "--dry-run", *phony], cwd=ROOT, capture_output=True, check=True)
