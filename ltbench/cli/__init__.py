"""The command line.

Verbs import torch only when they touch jobs or data.
"""

import os
import signal
import sys
from typing import Annotated

import typer

import ltbench
from ltbench.cli.agreement import agreement
from ltbench.cli.config import config_app
from ltbench.cli.data import data_app
from ltbench.cli.evaluate import evaluate, predict
from ltbench.cli.methods import methods_app
from ltbench.cli.reproduce import reproduce
from ltbench.cli.results import results_app
from ltbench.cli.runs import cancel, clean, job, plan, run, status, worker
from ltbench.cli.screen import console, ensure_utf8, errors, prepare_streams
from ltbench.cli.survey import survey
from ltbench.cli.tables import compare, leaderboard
from ltbench.cli.tune import tune
from ltbench.cli.verbs import Verbs
from ltbench.cli.wandb import wandb_app
from ltbench.config.errors import ConfigError
from ltbench.data.errors import DataError
from ltbench.launch.signals import Interruption, StopSignals
from ltbench.runs.errors import RecordError

app = Verbs(
    name="ltbench",
    help="Benchmark of long-tailed classification: train methods on the same splits, compare them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
VERBS = (
    run,
    plan,
    status,
    leaderboard,
    compare,
    reproduce,
    agreement,
    survey,
    tune,
    evaluate,
    predict,
    worker,
    cancel,
    clean,
)
for verb in VERBS:
    app.command()(verb)
app.command(hidden=True)(job)
COMMAND_GROUPS = {
    "methods": methods_app,
    "config": config_app,
    "data": data_app,
    "results": results_app,
    "wandb": wandb_app,
}
for name, group in COMMAND_GROUPS.items():
    app.add_typer(group, name=name)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        console.print(f"ltbench {ltbench.__version__}", highlight=False)
        raise typer.Exit


def _of_system(error: OSError) -> str:
    """Return an error of the operating system as text."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def main() -> None:
    """Run the command line; print errors of the user without a traceback."""
    ensure_utf8()
    prepare_streams()
    try:
        with StopSignals(at_once=True):
            app()
    except Interruption as error:
        if error.signal != signal.SIGHUP:  # nobody reads the output any more
            name = signal.Signals(error.signal).name
            errors.print(f"Interrupted by {name}.", style="yellow", highlight=False)
        sys.exit(128 + error.signal)
    except (ConfigError, DataError, RecordError, OSError) as error:
        text = _of_system(error) if isinstance(error, OSError) else error.described()
        errors.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
