"""ltbench: every method of deep long-tailed learning behind one contract, one split, one table."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from ltbench.analysis.runs import Runs

__version__ = "0.1.0"


def load_runs(
    published: "str | PathLike[str]" = "results/records",
    runs: "str | PathLike[str]" = "runs",
    plugins: "Iterable[str | PathLike[str]]" = (),
) -> "Runs":
    """Return the table of all runs, a row a record.

    Args:
        published: folder of the published records.
        runs: folder of runs; of a record in both, the published one counts.
        plugins: Python files with metrics of your own, which are run.

    Raises:
        FileNotFoundError: where there is neither folder.
        ConfigError: if a plugin cannot be used.
    """
    from pathlib import Path

    from ltbench.analysis.runs import read_runs
    from ltbench.launch.plan import read_registry

    read_registry([Path(path) for path in plugins])
    return read_runs(Path(published), Path(runs))
