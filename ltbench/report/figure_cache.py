"""Drawings of figures, cached between runs.

Drawing a board takes seconds, and most figures do not change. A drawing is cached in a file named
by a hash of the figure's numbers, the drawing module and matplotlib's version.
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

MAX_AGE = 30 * 86400
"""Seconds that a drawing is cached after its last use."""


Drawn = dict[tuple[str, str], list[tuple[Figure, Drawing]]]
"""Figures and their drawings, by grid and board."""


def draw_figures(
    boards: Sequence[ResultSet],
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
    cache_dir: Path | None = None,
) -> Drawn:
    """Draw the figures of boards.

    Args:
        boards: to draw.
        methods: of the registry.
        records: valid records by key.
        cache_dir: folder of cached drawings; None draws all figures.

    Raises:
        ModuleNotFoundError: if a figure is not cached and matplotlib is not installed.
    """
    return {
        (board.grid, board.id): [
            (figure, draw_cached(figure, cache_dir))
            for figure in figures_of(board, methods, records)
        ]
        for board in boards
    }


def write_figures(boards: Sequence[ResultSet], drawn: Drawn, folder: Path) -> list[Path]:
    """Write drawings as SVG files; return their paths.

    Files are named by grid, dataset, recipe and figure.
    """
    written = []
    for board in boards:
        for figure, image in drawn[board.grid, board.id]:
            name = f"{board.grid}-{board.dataset.id}-{board.recipe.name}-{figure.name}.svg"
            write_atomically(folder / name, image.svg.encode(), durable=False)
            written.append(folder / name)
    return written


def draw_cached(figure: Figure, cache_dir: Path | None) -> Drawing:
    """Return the drawing of a figure, from the cache if possible.

    Raises:
        ModuleNotFoundError: if it is not cached and matplotlib is not installed.
    """
    if cache_dir is None:
        return draw(figure)
    content = f"{figure.numbers_hash} {_drawing_version()}"
    path = cache_dir / f"{hashlib.sha256(content.encode()).hexdigest()}.json"
    drawn = _read(path)
    if drawn is None:
        drawn = draw(figure)
        with suppress(OSError):  # a read-only cache only costs time
            write_atomically(path, drawn.model_dump_json().encode(), durable=False)
            _remove_old(cache_dir.glob("*.json"))
    return drawn


@cache
def _drawing_version() -> str:
    """Return the SHA-256 of the drawing module, and matplotlib's version."""
    code = hashlib.sha256(Path(drawing.__file__).read_bytes()).hexdigest()
    return f"{code} {version('matplotlib')}"


def _read(path: Path) -> Drawing | None:
    """Return the drawing in a file, None if absent or damaged."""
    try:
        drawn = Drawing.model_validate_json(path.read_bytes(), strict=True)
        path.touch()
    except (OSError, ValidationError):
        return None
    return drawn


def _remove_old(paths: Iterable[Path]) -> None:
    for path in paths:
        if time.time() - path.stat().st_mtime > MAX_AGE:
            path.unlink()
