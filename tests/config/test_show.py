"""Configurations with what they build on, and where each value came from."""

import re

import pytest
import yaml

from ltbench.config.files import available, read_file, with_variants
from ltbench.config.load import read_grid_file
from ltbench.config.overrides import parse_overrides
from ltbench.config.registry import load_registry
from ltbench.config.show import find_any, resolved_file, resolved_grid
from tests.support.errors import problems, suggested


def comments(text):
    """Return the comments of YAML lines by what stands before the colon."""
    found = (
        re.fullmatch(r"\s*(?:- )?([^#]*?): ?[^#]*(?:# (.*))?", line) for line in text.split("\n")
    )
    return [(line.group(1), line.group(2)) for line in found if line]


def resolved(*texts):
    overrides, registry = parse_overrides(texts), load_registry()
    return resolved_grid(read_grid_file("own", overrides, registry), overrides, registry)


@pytest.fixture
def own(project):
    """A grid of a set of variants that extends another, with a rule for one of its methods."""
    project("variants/pair.yaml", "variants: [softmax, {label: F, method: focal}]\n")
    project(
        "grids/toys.yaml", "title: T\ndatasets: [toys]\nrecipes: [short]\nvariants: [softmax]\n"
    )
    project(
        "grids/own.yaml",
        """\
        extends: toys
        datasets: [{name: toys, imbalance_ratio: [10, 20, 50]}]
        variants: [{set: pair}, {label: G, method: focal, hparams: {gamma: 1}}]
        """,
    )
    rule = "{when: {imbalance_ratio: 50}, hparams: {gamma: 2}, source: Table 1}"
    project("methods/focal.yaml", f"rules: [{rule}]\n")
    return project


def test_a_name_is_found_among_all_kinds(own):
    own("recipes/toys.yaml", "title: R\n")

    def kinds(name):
        return [kind for kind, _ in find_any(name)]

    assert kinds("toys") == ["grids", "recipes", "datasets"]
    assert kinds("recipes/toys") == ["recipes"]
    assert kinds("short") == ["recipes"]
    assert kinds("pair") == ["variants"]
    assert kinds("focal") == ["methods"]
    assert kinds("configs/grids/toys.yaml") == ["grids"]
    assert problems(lambda: find_any("tois")) == [("configs", "", "missing-file")]
    assert suggested(lambda: find_any("tois")) == [["toys"]]
    assert problems(lambda: find_any("recipes/tois")) == [("configs/recipes", "", "unknown-recipe")]


def test_values_from_other_files_say_from_which(own):
    own("recipes/long.yaml", "extends: short\ntitle: Long\nstage1: {epochs: 40}\n")
    overrides = parse_overrides(["recipe.stage1.optimizer.lr=0.2"])
    text = resolved_file(*find_any("long")[0], overrides)
    assert comments(text) == [
        ("title", None),
        ("network", "from short.yaml"),
        ("batch_size", "from short.yaml"),
        ("stage1", None),
        ("epochs", None),
        ("optimizer", None),
        ("lr", "from --set"),
        ("weight_decay", "from short.yaml"),
        ("schedule", "from short.yaml"),
        ("deferred_from_epoch", "from short.yaml"),
        ("stage2", "from short.yaml"),
    ]
    assert yaml.safe_load(text)["stage1"]["optimizer"] == {"lr": 0.2, "weight_decay": 2e-4}


def test_a_grid_says_where_hyper_parameters_come_from(own):
    text = resolved("hparams.G.detach=false")
    grid, hparams = yaml.safe_load_all(text)
    assert [item if isinstance(item, str) else item["label"] for item in grid["variants"]] == [
        "softmax",
        "F",
        "G",
    ]
    assert hparams == {
        "softmax": {"toys_r10, toys_r20, toys_r50": {}},
        "F": {
            "toys_r10, toys_r20": {"gamma": 3.0, "detach": True},
            "toys_r50": {"gamma": 2.0, "detach": True},
        },
        "G": {"toys_r10, toys_r20, toys_r50": {"gamma": 1.0, "detach": False}},
    }
    found = comments(text)
    assert ("title", "from toys.yaml") in found
    assert ("datasets", None) in found
    assert [comment for name, comment in found if name in ("gamma", "detach")] == [
        "default",
        "default",
        "configs/methods/focal.yaml:1: Table 1",
        "default",
        "configs/grids/own.yaml:3",
        "--set",
    ]


@pytest.mark.parametrize("kind", ["grids", "recipes", "datasets", "variants", "methods"])
def test_what_is_printed_is_what_was_read(kind):
    for name in available(kind):
        path = find_any(f"{kind}/{name}")[0][1]
        values, location = read_file(kind, path)
        if kind == "grids":
            values, _ = with_variants(values, location, [])
            loaded = read_grid_file(name, registry=load_registry())
            text = resolved_grid(loaded, (), load_registry()).partition("\n---\n")[0]
        else:
            text = resolved_file(kind, path)
        assert yaml.safe_load(text) == values
