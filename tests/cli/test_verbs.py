"""Options without effect are refused, all at once."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ltbench.cli import app
from ltbench.cli.options import Inputs
from ltbench.cli.tables import plans_of, trained_grids
from ltbench.config.errors import ConfigError
from ltbench.data.errors import DataError
from ltbench.runs.store import Loaded
from tests.support import processes

WITHOUT_SLURM = ("--partition gpu", "--time 8:00:00", "--nodes 1", "--slurm-option mem=32G")


def refused(command):
    """Return the options that a command refuses."""
    result = CliRunner().invoke(app, command.split())
    assert isinstance(result.exception, ConfigError), result.output
    assert {problem.code for problem in result.exception.problems} == {"no-effect"}
    return [problem.file for problem in result.exception.problems]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (f"run -g quickstart {' '.join(WITHOUT_SLURM)}", [w.split()[0] for w in WITHOUT_SLURM]),
        ("run -g quickstart --address auto", ["--address"]),
        ("run -g quickstart --launcher ray --nodes 2", ["--nodes"]),
        (
            "run -g quickstart --launcher slurm --max-parallel 2 --address auto",
            ["--max-parallel", "--address"],
        ),
        ("run -g quickstart --launcher ray --jobs-per-gpu 2", ["--jobs-per-gpu"]),
        ("run -g quickstart --device cpu --jobs-per-gpu 2", ["--jobs-per-gpu"]),
        ("worker -g quickstart --device cpu --jobs-per-gpu 2", ["--jobs-per-gpu"]),
        ("plan -g quickstart --export sbatch --max-parallel 1", ["--max-parallel"]),
        ("plan -g quickstart --wandb off", ["--wandb"]),
        (
            "plan -g quickstart --hardware h100 --measure --jobs-per-gpu 2 --device cpu",
            ["--device", "--jobs-per-gpu", "--jobs-per-gpu", "--measure"],
        ),
        ("plan -g quickstart --hardware h100 --export commands", ["--hardware"]),
        ("reproduce --seed 1 --ua --run-dir x", ["--run-dir", "--seed", "--ua"]),
        ("reproduce --max-parallel 1 --devices 2", ["--max-parallel", "--devices"]),
        ("reproduce a/b/1 --dry-run --tolerance 2", ["--tolerance"]),
        ("evaluate run --images x --part val --data-root y", ["--part", "--data-root"]),
        ("evaluate run --images x --dataset digits", ["--dataset"]),
        ("leaderboard --published-only --run-dir x", ["--run-dir"]),
        ("leaderboard --tables x", ["--tables"]),
        ("config show quickstart --only seed=0 --data-root x", ["--data-root", "--only"]),
        ("wandb sync --plugin x.py", ["--plugin"]),
        ("job folder --exit-with-parent --requeue", ["--exit-with-parent"]),
    ],
)
def test_options_without_effect_are_refused(command, options):
    assert sorted(refused(command)) == sorted(options)


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (
            "run -g quickstrt --set foo=1 --partition x",
            [
                ("--partition", "no-effect"),
                ("--set", "unknown-key"),
                ("configs/grids", "unknown-grid"),
            ],
        ),
        (
            "plan -g none.yaml --wandb off",
            [("--wandb", "no-effect"), ("none.yaml", "missing-file")],
        ),
        (
            "data plot digts --set recipe.x=1",
            [("--set", "no-effect"), ("configs/datasets", "unknown-dataset")],
        ),
    ],
)
def test_problems_of_options_hide_no_others(command, found):
    problems = CliRunner().invoke(app, command.split()).exception.problems
    assert [(problem.file, problem.code) for problem in problems] == found


@pytest.mark.parametrize(
    "command",
    [
        "plan -g quickstart --max-parallel 1",
        "plan -g quickstart --hardware h100 --only variant=Softmax",
        "plan -g quickstart --only variant=Softmax --device cpu",
        "config show quickstart --resolved --set grid.seeds=[0]",
        "reproduce",
    ],
)
def test_options_with_an_effect_are_accepted(command):
    assert CliRunner().invoke(app, command.split()).exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        "status -g quickstart",
        "cancel -g quickstart",
        "results publish -g quickstart",
        "clean",
        "wandb sync",
    ],
)
def test_a_run_folder_that_is_not_there_is_an_error(command, tmp_path):
    result = CliRunner().invoke(app, [*command.split(), "--run-dir", str(tmp_path / "none")])
    (problem,) = result.exception.problems
    assert (problem.file, problem.code) == ("--run-dir", "missing-file")


READING = ("leaderboard", "agreement", "survey", "compare A B", "results export 0", "clean")


@pytest.mark.parametrize("command", READING)
def test_folders_that_are_not_there_are_not_read_as_empty(command, tmp_path):
    folders = ["--run-dir", str(tmp_path / "none"), "--records", str(tmp_path / "none")]
    problems = CliRunner().invoke(app, [*command.split(), *folders]).exception.problems
    assert {problem.code for problem in problems} == {"missing-file"}
    assert problems[0].file == "--run-dir"


def test_published_records_that_are_not_there_are_not_read_as_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for command in (
        "leaderboard --published-only --records none",
        "agreement --records none",
        "plan -g quickstart --records file",
    ):
        (problem,) = CliRunner().invoke(app, command.split()).exception.problems
        assert (problem.file, problem.code) == ("--records", "missing-file")


def test_clean_removes_nothing_without_the_published_records(tmp_path):
    weights = tmp_path / "jobs" / "0123456789abcdef" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    command = ["clean", "--yes", "--run-dir", str(tmp_path), "--records", str(tmp_path / "none")]
    (problem,) = CliRunner().invoke(app, command).exception.problems
    assert (problem.file, problem.code) == ("--records", "missing-file")
    assert weights.exists()


def test_a_history_that_is_not_there_is_an_error():
    result = CliRunner().invoke(app, ["agreement", "--history", "none.csv"])
    (problem,) = result.exception.problems
    assert (problem.file, problem.code) == ("--history", "missing-file")


@pytest.mark.parametrize("words", [("--run-dir", ""), ("--run-dir=",), ("--records", "")])
def test_an_empty_name_of_a_folder_is_refused(words):
    result = CliRunner().invoke(app, ["plan", "-g", "quickstart", *words])
    assert result.exit_code == 2
    assert "empty" in result.output


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("data check digits --set recipe.batch_size=64 --set dataset.classes=10", ["--set"]),
        ("config show recipes/digits --resolved --set dataset.classes=10", ["--set"]),
        ("config show survey --resolved --set recipe.batch_size=64", ["--set"]),
        ("config show recipes/digits --jobs", ["--jobs"]),
    ],
)
def test_settings_of_another_configuration_are_refused(command, options):
    assert refused(command) == options


@pytest.mark.parametrize(
    "verb", ["prepare digits --root . --lists .", "check-lists digits --lists ."]
)
def test_a_dataset_without_official_lists_is_not_prepared(verb):
    result = CliRunner().invoke(app, ["data", *verb.split()])
    assert isinstance(result.exception, DataError), result.output
    assert result.exception.code == "conflict"


def test_configurations_are_listed_with_titles_and_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("pets", "extends: imagenet_lt"), ("cats", "a: [")):
        path = Path("configs/datasets", f"{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    result = CliRunner().invoke(app, ["config", "list", "datasets"])
    rows = [line.split(maxsplit=2) for line in result.output.splitlines()[2:]]
    assert {name: title.strip() for _, name, title in rows}["pets"] == "ImageNet-LT"
    assert {kind for kind, _, _ in rows} == {"datasets"}
    (problem,) = result.exception.problems
    assert (problem.file, problem.code) == ("configs/datasets/cats.yaml", "invalid-yaml")
    everything = CliRunner().invoke(app, ["config", "list"]).output
    assert all(name in everything for name in ("quickstart", "cifar_200", "survey"))


def test_a_configuration_of_several_kinds_names_the_others():
    result = CliRunner().invoke(app, ["config", "show", "imagenet_lt"])
    assert "datasets/imagenet_lt" in result.stderr


def test_records_that_are_not_there_are_not_verified(tmp_path):
    options = ("--records", "--findings", "--readme")
    words = [word for option in options for word in (option, str(tmp_path / "none"))]
    result = CliRunner().invoke(app, ["results", "verify", *words])
    problems = result.exception.problems
    assert [(problem.file, problem.code) for problem in problems] == [
        (option, "missing-file") for option in options
    ]


@pytest.mark.parametrize(
    "command", ["results verify --records .", "leaderboard --published-only --to board"]
)
def test_problems_of_findings_and_readme_are_named_together(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("findings.yaml").write_text("findigs: []")
    Path("own.md").write_text("without markers")
    words = ["--findings", "findings.yaml", "--readme", "own.md"]
    result = CliRunner().invoke(app, [*command.split(), *words])
    assert {problem.file for problem in result.exception.problems} == {"findings.yaml", "own.md"}


@pytest.mark.parametrize(
    ("splits", "noted"), [("longtailed,balanced", True), ("longtailed", False)]
)
def test_a_balanced_split_that_there_is_not_is_noted(splits, noted):
    command = f"plan -g inaturalist2018 --only variant=Softmax --set grid.splits=[{splits}]"
    result = CliRunner().invoke(app, [*command.split(), "--set", "grid.seeds=[0]"])
    assert ("no balanced counterpart" in result.output) == noted, result.output


def test_rules_of_no_method_are_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs/methods").mkdir(parents=True)
    Path("configs/methods/sesaw.yaml").write_text("rules: []")
    command = "plan -g quickstart --only variant=Softmax"
    result = CliRunner().invoke(app, command.split())
    (line,) = (line for line in result.output.splitlines() if "sesaw" in line)
    assert line.startswith("configs/methods/sesaw.yaml: ")
    assert line.endswith('did you mean "seesaw"? [unknown-method]')


def test_a_figure_of_another_format_is_refused():
    result = CliRunner().invoke(app, ["data", "plot", "digits", "--figure", "classes.gif"])
    (problem,) = result.exception.problems
    assert (problem.file, problem.code) == ("--figure", "unknown-value")


def test_files_that_the_leaderboard_needs_are_checked_before_it_is_written(tmp_path):
    paths = ["--findings", "none.yaml", "--readme", "none.md", "--format", "xlsx"]
    result = CliRunner().invoke(app, ["leaderboard", "--to", str(tmp_path / "to"), *paths])
    assert [(problem.file, problem.code) for problem in result.exception.problems] == [
        ("--format", "unknown-value"),
        ("--findings", "missing-file"),
        ("--readme", "missing-file"),
    ]
    assert not (tmp_path / "to").exists()


def test_files_of_the_user_are_not_overwritten(tmp_path):
    results = ("README.md", "grids/quickstart.md", "runs.csv", "leaderboard/index.html")
    names = (*results, "methods.md", "tuned.yaml")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    to = f"--to {tmp_path} --methods {tmp_path}/methods.md"
    for command, options in (
        (f"leaderboard --published-only {to}", [*["--to"] * 4, "--methods"]),
        (f"tune --grid tuning_fast --to {tmp_path}/tuned.yaml", ["--to"]),
    ):
        problems = CliRunner().invoke(app, command.split()).exception.problems
        assert [problem.file for problem in problems] == options
        assert {problem.code for problem in problems} == {"conflict"}
    assert {(tmp_path / name).read_text() for name in names} == {"mine"}


def test_files_of_ltbench_are_written_again(tmp_path):
    command = f"leaderboard --published-only --records {tmp_path} --to {tmp_path}/board"
    for _ in range(2):
        words = [*command.split(), "--methods", str(tmp_path / "methods.md")]
        assert CliRunner().invoke(app, words).exit_code == 0


def said_of(command):
    """Return what a command says, on one line, and check that it is no traceback."""
    result = CliRunner().invoke(app, command.split(), env={"COLUMNS": "400"})
    assert isinstance(result.exception, SystemExit), result.exception
    return " ".join(result.output.split())


def test_a_grid_without_its_option_is_understood():
    assert "`--grid quickstart`" in said_of("plan quickstart --device cpu")
    assert "Did you mean" not in said_of("plan --device cpu")


def test_values_that_there_are_not_are_named_without_the_words_of_a_library():
    said = said_of("plan --grid quickstart --export files")
    assert "'files'" in said
    assert "error," not in said


def test_help_has_a_line_a_paragraph():
    result = CliRunner().invoke(app, ["worker", "--help"], env={"COLUMNS": "400"})
    (line,) = (line for line in result.output.splitlines() if "--run-dir; jobs" in line)
    assert line.rstrip().endswith("have failed.")


def test_an_error_of_the_system_names_the_file(tmp_path):
    path = tmp_path / "file"
    path.touch()
    command = ["leaderboard", "--to", str(path), "--records", str(tmp_path), "--published-only"]
    done = processes.run(
        [sys.executable, "-m", "ltbench", *command], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr.strip()) == (2, f"{path}: File exists")


def test_a_comparison_without_any_records_asks_for_a_grid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["compare", "Softmax", "LDAM"])
    (problem,) = result.exception.problems
    assert (problem.file, problem.code) == ("compare", "missing-record")
    assert "--grid" in problem.message


def test_grids_with_records_are_found_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pets.yaml").touch()
    records = {
        name: SimpleNamespace(record=SimpleNamespace(grid=name))
        for name in ("pets", "quickstart", "elsewhere")
    }
    assert trained_grids(Loaded(records, [])) == ["quickstart", "pets.yaml"]


def test_a_grid_that_cannot_be_planned_is_left_out_unless_it_is_named(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("pets.yaml").write_text("recipes: [gone]")
    names = ("pets", "quickstart", "elsewhere")
    records = {name: SimpleNamespace(record=SimpleNamespace(grid=name)) for name in names}
    loaded = Loaded(records, [])
    (plan,) = plans_of(None, loaded, Inputs())
    assert plan.grid.name == "quickstart"
    left_out = re.findall(r"Left out: grid (\S+):", capsys.readouterr().err)
    assert left_out == ["pets.yaml", "elsewhere"]
    with pytest.raises(ConfigError):
        plans_of(["pets.yaml"], loaded, Inputs())
    del records["quickstart"]
    with pytest.raises(ConfigError):
        plans_of(None, loaded, Inputs())


def test_a_plugin_that_cannot_be_used_leaves_no_grid_out(tmp_path):
    (tmp_path / "bad.py").write_text("METHODS = [")
    with pytest.raises(ConfigError):
        plans_of(None, Loaded({}, []), Inputs(plugins=[tmp_path / "bad.py"]))
