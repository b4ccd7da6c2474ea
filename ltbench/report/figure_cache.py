"""Drawings as files, and those kept from earlier: most figures show what they showed last time.

Drawing a board takes seconds. A drawing is kept in a file named by a hash of what it is made of:
the figure, the module that draws and matplotlib's version.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from ltbench.analysis.result_set import ResultSet
from ltbench.config.registry import MethodInfo
from ltbench.core.files import write_atomically
from ltbench.report import drawing
from ltbench.report.drawing import Drawing, draw
from ltbench.report.figures import Figure, figures_of
from ltbench.runs.store import Stored

KEPT = 30 * 86400
"""Seconds that a drawing is kept after it was last of use."""


Drawn = dict[tuple[str, str], list[tuple[Figure, Drawing]]]
"""Figures and their drawings, by grid and board."""


def draw_figures(
    boards: Sequence[ResultSet],
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
    kept: Path | None = None,
) -> Drawn:
    """Draw the figures of boards.

    Args:
        boards: what to draw.
        methods: the registry's.
        records: sound records by key.
        kept: folder of drawings from earlier; None draws everything anew.

    Raises:
        ModuleNotFoundError: where something has to be drawn, without matplotlib.
    """
    return {
        (board.grid, board.id): [
            (figure, draw_once(figure, kept)) for figure in figures_of(board, methods, records)
        ]
        for board in boards
    }


def write_figures(boards: Sequence[ResultSet], drawn: Drawn, folder: Path) -> list[Path]:
    """Write drawings as SVG, named by grid, dataset, recipe and figure; return the files."""
    written = []
    for board in boards:
        for figure, made in drawn[board.grid, board.id]:
            name = f"{board.grid}-{board.dataset.id}-{board.recipe.name}-{figure.name}.svg"
            write_atomically(folder / name, made.svg.encode(), durable=False)
            written.append(folder / name)
    return written


def draw_once(figure: Figure, kept: Path | None) -> Drawing:
    """Return a figure's drawing, from the folder of those from earlier where it is there.

    Raises:
        ModuleNotFoundError: where it has to be drawn, without matplotlib.
    """
    if kept is None:
        return draw(figure)
    made_of = f"{figure.numbers_hash} {_drawn_by()}"
    path = kept / f"{hashlib.sha256(made_of.encode()).hexdigest()}.json"
    made = _read(path)
    if made is None:
        made = draw(figure)
        with suppress(OSError):  # a folder that cannot be written to costs time alone
            write_atomically(path, made.model_dump_json().encode(), durable=False)
            _forget(kept.glob("*.json"))
    return made


@cache
def _drawn_by() -> str:
    """Return the SHA-256 of the module that draws, and matplotlib's version."""
    code = hashlib.sha256(Path(drawing.__file__).read_bytes()).hexdigest()
    return f"{code} {version('matplotlib')}"


def _read(path: Path) -> Drawing | None:
    """Return the drawing of a file; None where it is absent or damaged."""
    try:
        made = Drawing.model_validate_json(path.read_bytes(), strict=True)
        path.touch()
    except (OSError, ValidationError):
        return None
    return made


def _forget(paths: Iterable[Path]) -> None:
    for path in paths:
        if time.time() - path.stat().st_mtime > KEPT:
            path.unlink()
