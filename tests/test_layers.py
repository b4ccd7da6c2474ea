"""Rules over sources: imports, what stays unloaded, first lines of docstrings."""

import ast
import sys
from pathlib import Path

import pytest

import ltbench
from tests.support import processes

PACKAGE = Path(ltbench.__file__).parent
TOOLBOX = {"losses", "samplers", "classifiers", "augment", "networks", "metrics"}
LIGHT = {
    f"core.{name}"
    for name in (
        *("exact", "files", "garbage", "groups", "label_shift", "open_set", "taxonomy", "text"),
        "types",
    )
}
"""The modules of core that need no torch."""

BASE = {"core": set(), "config": LIGHT}
TOOLS = {name: {"core"} | TOOLBOX for name in TOOLBOX}
SIBLINGS = {
    "data": {"core", "config"} | TOOLBOX,
    "methods": {"core", "config"} | TOOLBOX,
}
RECORDS = {"runs": {"config", "data.errors"} | LIGHT}
ANALYSIS = {"runs", "config", "data"} | LIGHT
RECORDS["tracking"] = {"analysis"} | ANALYSIS
MAY_IMPORT = BASE | TOOLS | SIBLINGS | RECORDS
for upper in ("training", "launch"):  # each may import all that is listed before it
    MAY_IMPORT[upper] = set(MAY_IMPORT)
MAY_IMPORT["launch"].add("analysis")
MAY_IMPORT["analysis"] = ANALYSIS
MAY_IMPORT["report"] = {"analysis", "runs", "config"} | LIGHT
for upper in ("testing", "cli", "__main__"):
    MAY_IMPORT[upper] = set(MAY_IMPORT)

TORCH = {"torch", "torchvision", "torchmetrics", "timm", "safetensors"}
LIGHTNING = {"pytorch_lightning", "lightning", "lightning_fabric"}
NEVER = {
    "config": TORCH | LIGHTNING,
    "runs": TORCH | LIGHTNING,
    "analysis": TORCH | LIGHTNING,
    "report": TORCH | LIGHTNING,
    "core": LIGHTNING,
    **dict.fromkeys(TOOLBOX, LIGHTNING),
    "methods": LIGHTNING,
}

STANDARD = {"typing", "collections.abc", "os", "pathlib"}
LOADED_BY_A_CALL = {
    "ltbench.analysis.runs",
    "ltbench.launch.plan",
    "ltbench.runs.export",
    "ltbench.training.classifier",
}
"""What the functions of the package itself import when they are called."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(path):
    """Return a module's name below ltbench: `core.types`, `config` for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path):
    """Return the full names of all that a module imports, wherever in its text."""
    package = ["ltbench", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*start, *filter(None, [node.module])])
            if source == "ltbench":
                yield from (f"ltbench.{alias.name}" for alias in node.names)
            elif node.module is None or is_package(source):
                yield from (f"{source}.{alias.name}" for alias in node.names)
            else:
                yield source


def is_package(name):
    return name.startswith("ltbench.") and PACKAGE.parent.joinpath(*name.split(".")).is_dir()


def reaches(target, allowed):
    return any(target == name or target.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: dotted(path) or "ltbench")
def test_imports_run_one_way(path):
    name = dotted(path)
    if not name:
        assert set(imports(path)) <= STANDARD | LOADED_BY_A_CALL
        return
    layer = name.split(".")[0]
    assert layer in MAY_IMPORT, f"give {layer} its place among the layers"
    inside = {layer} | MAY_IMPORT[layer] | {"__version__"}
    for target in imports(path):
        root, _, rest = target.partition(".")
        if root == "ltbench" and rest:
            assert reaches(rest, inside), f"{name} may not import {target}"
        assert root not in NEVER.get(layer, ()), f"{name} may not import {target}"


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_the_light_part_of_core_needs_nothing_but_itself(name):
    module = PACKAGE.joinpath(*name.split(".")).with_suffix(".py")
    for target in imports(module):
        root, _, rest = target.partition(".")
        assert reaches(rest, LIGHT) if root == "ltbench" else root in sys.stdlib_module_names


def loaded_by(code, *argv):
    """Return the top-level modules that a fresh interpreter holds after running some code."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = processes.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_the_package_itself_loads_nothing_but_python():
    loaded = loaded_by("import ltbench; ltbench.load_runs") - loaded_by("pass")
    assert loaded <= {*sys.stdlib_module_names, "ltbench"}


def test_reading_runs_loads_no_torch(tmp_path):
    loaded = loaded_by("import sys, ltbench; ltbench.load_runs(sys.argv[1])", str(tmp_path))
    assert not loaded & (TORCH | LIGHTNING | {"pandas"})


def test_the_toolbox_loads_without_lightning():
    loaded = loaded_by("\n".join(f"import ltbench.{name}" for name in sorted(TOOLBOX)))
    assert "torch" in loaded
    assert not loaded & LIGHTNING


def test_predicting_loads_no_lightning():
    loaded = loaded_by("import ltbench.training.classifier")
    assert "torch" in loaded
    assert not loaded & (LIGHTNING | {"timm", "wandb", "onnx"})


def test_networks_of_our_own_train_without_timm():
    code = """
import ltbench.training.fit
from ltbench.networks import NetworkSpec, build_backbone
from ltbench.networks.multi_expert import build_experts
build_backbone(NetworkSpec("resnet8", 10))
build_experts(NetworkSpec("resnet8", 10), 2, reduced=True)"""
    assert not loaded_by(code) & {"timm", "wandb"}


COMMAND = """
from ltbench.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "methods list",
        "methods show ride",
        "methods survey",
        "config list",
        "config show quickstart --resolved",
        "plan --grid quickstart --run-dir {out} --records {out}",
        "status --grid quickstart --run-dir {out} --records {out}",
        "leaderboard --grid quickstart --run-dir {out} --records {out} --to {out}",
    ],
    ids=lambda command: command.split(" -")[0],
)
def test_what_trains_nothing_loads_no_torch(command, tmp_path):
    loaded = loaded_by(COMMAND, *command.format(out=tmp_path).split())
    assert "ltbench" in loaded
    assert not loaded & (TORCH | LIGHTNING | {"wandb"})


CLAMPS = {"clamp", "clamp_", "clamp_min", "clamp_max", "clip", "clip_", "hardtanh", "relu6"}


@pytest.mark.parametrize("layer", ["losses", "methods"])
def test_nothing_is_clamped(layer):
    """PyTorch 2.14 changed the gradient of clamp at its bounds; a mask says which one it has."""
    for path in PACKAGE.joinpath(layer).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = isinstance(node, ast.Attribute) and node.attr in CLAMPS
            assert not found, f"{dotted(path)}: line {node.lineno}: use torch.where"


WORDS = 12
"""Most words in the first line of a docstring."""

DESCRIBED = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef


def long_first_lines(source):
    """Yield line numbers and texts of first lines with too many words."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DESCRIBED) and (docstring := ast.get_docstring(node)):
            first = docstring.splitlines()[0]
            if len(first.split()) > WORDS:
                yield getattr(node, "lineno", 1), first


def test_docstrings_begin_with_a_short_line():
    paths = [*MODULES, *sorted(PACKAGE.parent.joinpath("benchmarks").rglob("*.py"))]
    finds = [
        f"{path.relative_to(PACKAGE.parent)}:{number}: {line}"
        for path in paths
        for number, line in long_first_lines(path.read_text(encoding="utf-8"))
    ]
    assert finds == []


def test_a_long_first_line_is_found_wherever_it_is():
    short, long = " ".join("x" * WORDS), " ".join("x" * (WORDS + 1))
    for first, found in ((short, []), (long, [long])):
        docstring = f'"""{first}\n\n{long}\n"""'
        for head in (
            "",
            "class A:\n ",
            "def f():\n ",
            "async def f():\n ",
            "class A:\n def f():\n  ",
        ):
            assert [line for _, line in long_first_lines(head + docstring)] == found
