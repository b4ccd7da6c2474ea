"""Check that image files can be decoded, once for each version of a file.

Good files are remembered in the cache folder, by their root: path, size and ctime. Changed files
are decoded again, bad ones at every check.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from ltbench.config.keys import content_hash
from ltbench.core.files import read_json, write_json
from ltbench.data.decode import BadImageError, decode, decoder, read_file
from ltbench.data.errors import DataError, listed
from ltbench.data.files import cache_root
from ltbench.data.images import FileImages
from ltbench.data.parallel import run_in_processes

CHUNK = 64
"""Files that a process decodes at a time."""

State = list[int]
"""Size and ctime of a file, in bytes and nanoseconds."""


def check_images(
    name: str,
    parts: Iterable[FileImages],
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> int:
    """Decode the image files of a dataset that are new or changed.

    Args:
        name: of the dataset.
        parts: its images in files.
        processes: number of processes that decode.
        progress: called with the number of files decoded and of all to decode.

    Returns:
        Number of all files.

    Raises:
        DataError: naming the bad files, with their number.
    """
    paths: dict[tuple[Path, int], dict[str, None]] = {}
    for part in parts:
        paths.setdefault((part.root, part.channels), {}).update(dict.fromkeys(part.paths))
    bad: list[str] = []
    for (root, channels), files in paths.items():
        bad += _check_folder(root, list(files), channels, processes, progress)
    total = sum(map(len, paths.values()))
    if bad:
        raise DataError(
            f"{name}: {len(bad):,} of {total:,} images cannot be used:\n{listed(sorted(bad))}",
            "bad-images",
        )
    return total


def _check_folder(
    root: Path,
    paths: Sequence[str],
    channels: int,
    processes: int,
    progress: Callable[[int, int], None],
) -> list[str]:
    """Return the bad images of a folder: path and reason."""
    signature = content_hash([str(root.absolute()), channels, decoder()])[:16]
    cache = cache_root() / f"sound-{signature}.json"
    good: dict[str, State] = read_json(cache) or {}
    new = [path for path in paths if path not in good or _state(root / path) != good[path]]
    if not new:
        return []
    bad: list[str] = []
    chunks = [new[first : first + CHUNK] for first in range(0, len(new), CHUNK)]
    done = 0
    progress(done, len(new))
    try:
        with closing(
            run_in_processes(partial(_decode, root, channels), chunks, processes)
        ) as decoded:
            for results in decoded:
                for path, state in results.items():
                    if isinstance(state, str):
                        bad.append(f"{path} {state}")
                        good.pop(path, None)
                    else:
                        good[path] = state
                done += len(results)
                progress(done, len(new))
    finally:
        with suppress(OSError):  # without the cache the next check takes longer
            write_json(cache, good)
    return bad


def _state(path: Path) -> State | None:
    """Return size and ctime of a file; None if it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_ctime_ns]


def _decode(root: Path, channels: int, paths: Sequence[str]) -> dict[str, State | str]:
    """Decode images; return the state of each, or its error, by path."""
    results: dict[str, State | str] = {}
    for path in paths:
        state = _state(root / path)
        try:
            decode(read_file(root / path), channels)
        except BadImageError as error:
            results[path] = str(error)
        else:
            results[path] = state or "has vanished"
    return results
