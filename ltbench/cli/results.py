"""Verbs of `ltbench results`: publish, export and verify records."""

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from ltbench.cli.options import (
    Folders,
    GridName,
    Inputs,
    OnlyRows,
    RecordsDir,
    existing,
    missing_records,
)
from ltbench.cli.screen import print_bad, print_text
from ltbench.cli.tables import (
    FINDINGS_FILE,
    RESULTS,
    read_leaderboard,
    source_problems,
    trained_grids,
    write_results,
)
from ltbench.cli.verbs import Verbs
from ltbench.config.errors import Location, raise_all
from ltbench.data.errors import printable

EXPORTS = Path("exports")
README = Path("README.md")

results_app = Verbs(help="Publish, export and verify records.", no_args_is_help=True)


@results_app.command("publish")
def results_publish(
    grid: GridName,
    folders: Folders,
    inputs: Inputs,
    only: OnlyRows = None,
) -> None:
    """Publish the records of a grid: copy them from --run-dir to --records."""
    from ltbench.launch.plan import make_plan
    from ltbench.runs.store import RecordStore, publish

    records = existing(folders.run_dir).records
    plan, _ = make_plan(replace(inputs.request(grid), only=tuple(only or ())))
    loaded = RecordStore(runs=records).load()
    print_bad(loaded.bad)
    keys = [key for key in plan.jobs if key in loaded.records]
    if not keys:
        ad_hoc = sum(stored.record.job.ad_hoc for stored in loaded.records.values())
        hint = f"the {ad_hoc} of runs with --set are never published" if ad_hoc else None
        message = f"{records} has no record of the grid {plan.grid.name}"
        raise Location("publish").error("missing-record", message, hint)
    written = publish(records, keys, folders.records)
    print_text(f"{len(written)} records published to {folders.records}")


@results_app.command("export")
def results_export(
    run: Annotated[str, typer.Argument(help="Key of the job, or a unique prefix.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to; default: exports/KEY.")
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write model.onnx too, checked against PyTorch.")
    ] = False,
    *,
    folders: Folders,
    inputs: Inputs,
) -> None:
    """Export a run: weights, configuration, record and model card."""
    if onnx:
        from ltbench.training.onnx_export import require_onnx, write_onnx

        require_onnx()
    from ltbench.data.sources import is_there, load_raw_dataset
    from ltbench.report.model_card import model_card
    from ltbench.runs.export import ONNX, find_run, write_export

    record = find_run(run, folders.read().records)
    card = model_card(record, inputs.methods().get(record.method))
    spec, classes = record.job.dataset, None
    if is_there(spec, inputs.data_root):
        classes = load_raw_dataset(spec, inputs.data_root, download=False).class_names
    folder = to or EXPORTS / record.key
    job = folders.runs.job(record.key)
    for path in write_export(record, job, classes, card, folder):
        print_text(str(path))
    if onnx:
        import ltbench

        path = folder / ONNX
        write_onnx(ltbench.load(folder, inputs.plugins or ()), path)
        print_text(str(path))


@results_app.command("verify")
def results_verify(
    records: RecordsDir = Folders.records,
    results: Annotated[Path, typer.Option(help="Folder of the leaderboard to check.")] = RESULTS,
    findings: Annotated[
        Path, typer.Option(help="File of the findings that it tests.")
    ] = FINDINGS_FILE,
    readme: Annotated[
        Path, typer.Option(help="README whose table to check, if it exists.")
    ] = README,
    *,
    inputs: Inputs,
) -> None:
    """Check that published records, splits, method versions and leaderboard agree.

    Tuned variants are checked against their trials.
    Splits are also built again from the images of the datasets that are present. The exit code is 1
    if anything disagrees; each disagreement is one line.
    """
    from ltbench.analysis.tuning import tuning_problems
    from ltbench.analysis.verification import (
        differences,
        file_problems,
        record_problems,
        split_problems,
    )
    from ltbench.report.drawing import can_draw
    from ltbench.report.figure_cache import draw_figures
    from ltbench.runs.store import RecordStore

    raise_all(missing_records(records) + source_problems(findings, readme, FINDINGS_FILE, README))
    loaded = RecordStore(records).load()
    plans = [inputs.plan(name) for name in trained_grids(loaded)]
    methods = inputs.methods().methods
    disagreements = record_problems(loaded, records, plans, methods)
    disagreements += split_problems(loaded.records, inputs.data_root)
    disagreements += tuning_problems(plans, loaded.records)
    with TemporaryDirectory() as folder:
        expected, copy = Path(folder, "results"), Path(folder, "readme")
        refreshed = Path(shutil.copy(readme, copy)) if readme.exists() else None
        board = read_leaderboard(plans, loaded, methods, findings)
        drawn = draw_figures(board.boards, methods, loaded.records) if can_draw() else None
        files = write_results(board, expected, drawn, refreshed)
        disagreements += file_problems(results, expected)
        if refreshed:
            disagreements += differences(readme, readme.read_bytes(), refreshed.read_bytes())
    for disagreement in disagreements:
        print_text(printable(disagreement.described()))
    planned = {key for plan in plans for key in plan.jobs}
    extra = sum(key not in planned for key in loaded.records)
    counts = f"{len(loaded.records)} records ({extra} in no grid) and {len(files)} files"
    if disagreements:
        print_text(f"{counts}: {len(disagreements)} disagreements.")
        raise typer.Exit(1)
    print_text(f"{counts} agree.")
