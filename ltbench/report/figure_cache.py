"""Drawings as files, and those kept from earlier: most boards are as they were last time.

Drawing a board takes seconds. Its figures are kept in a file named by a hash of all that they are
drawn from: its numbers, the records behind them, its methods, the code of this folder and
matplotlib's version.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ltbench.analysis.board import Board
from ltbench.analysis.training_cost import chain
from ltbench.config.catalogue import MethodInfo
from ltbench.core.files import write_atomically
from ltbench.report.figures import Figure, draw_figures
from ltbench.runs.store import Stored

KEPT = 30 * 86400
"""Seconds that a drawing is kept after it was last of use."""
FIGURES = TypeAdapter(
    list[Figure], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
)
"""The form of a file of drawings."""


def write_figures(
    boards: Sequence[Board],
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
    folder: Path,
    kept: Path | None = None,
) -> dict[tuple[str, str], list[Figure]]:
    """Draw the figures of boards and write them, named by grid, dataset, recipe and figure.

    Args:
        boards: what to draw.
        methods: the catalogue's.
        records: sound records by key.
        folder: where the files go.
        kept: folder of drawings from earlier; None draws everything anew.

    Returns:
        The figures, by grid and board.

    Raises:
        ModuleNotFoundError: where something has to be drawn, without matplotlib.
    """
    drawn = {}
    for board in boards:
        if kept is None:
            figures = draw_figures(board, methods, records)
        else:
            figures = kept_figures(board, methods, records, kept)
        drawn[board.grid, board.id] = figures
        for figure in figures:
            name = f"{board.grid}-{board.dataset.id}-{board.recipe.name}-{figure.name}"
            write_atomically(folder / f"{name}.svg", figure.svg.encode(), durable=False)
            if figure.png is not None:
                write_atomically(folder / f"{name}.png", figure.png, durable=False)
    return drawn


def kept_figures(
    board: Board, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored], kept: Path
) -> list[Figure]:
    """Return the figures of a board, drawn only where the folder has none of the same sources.

    Raises:
        ModuleNotFoundError: where something has to be drawn, without matplotlib.
    """
    path = kept / f"{sources_hash(board, methods, records)}.json"
    figures = _read(path)
    if figures is None:
        figures = draw_figures(board, methods, records)
        with suppress(OSError):  # a folder that cannot be written to costs time alone
            write_atomically(path, FIGURES.dump_json(figures), durable=False)
            _forget(kept.glob("*.json"))
    return figures


def sources_hash(
    board: Board, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> str:
    """Return the SHA-256 of all that the figures of a board are drawn from."""
    keys = {
        behind
        for entry in board.entries
        for value in (entry.keys, *(value.keys for value in entry.values.values()))
        for key in value
        for behind in (key, *chain(key, records))
        if behind in records
    }
    said = [repr(methods.get(entry.variant.method)) for entry in board.entries]
    made = [records[key].record.model_dump_json() for key in sorted(keys)]
    text = "\n".join((_code(), version("matplotlib"), repr(board), *said, *made))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _code() -> str:
    """Return the SHA-256 of the modules that numbers and drawings come from."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> list[Figure] | None:
    """Return the figures of a file; None where it is absent or damaged."""
    try:
        figures = FIGURES.validate_json(path.read_bytes(), strict=True)
        path.touch()
    except (OSError, ValidationError):
        return None
    return figures


def _forget(paths: Iterable[Path]) -> None:
    for path in paths:
        if time.time() - path.stat().st_mtime > KEPT:
            path.unlink()
