"""Image files are decoded before anything trains on them, each version of a file once.

Which files were sound stands below the cache folder, by the folder that they lie in: path, size and
time of change. A file that changed is decoded again; a bad one always is.
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
from ltbench.data.parallel import spread

SOME = 64
"""Files that a process decodes at a time."""

State = list[int]
"""Size of a file, and its time of change in nanoseconds."""


def check_images(
    name: str,
    parts: Iterable[FileImages],
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> int:
    """Decode image files that were not found sound before.

    Args:
        name: of the dataset.
        parts: of its files.
        processes: that decode at once.
        progress: called with the files done and all that are to be decoded.

    Returns:
        How many files there are.

    Raises:
        DataError: naming all files that cannot be used, with the number of them.
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
    """Return the paths of a folder's bad images, each with what is wrong."""
    signature = content_hash([str(root.absolute()), channels, decoder()])[:16]
    memory = cache_root() / f"sound-{signature}.json"
    sound: dict[str, State] = read_json(memory) or {}
    new = [path for path in paths if path not in sound or _state(root / path) != sound[path]]
    if not new:
        return []
    bad: list[str] = []
    groups = [new[first : first + SOME] for first in range(0, len(new), SOME)]
    done = 0
    progress(done, len(new))
    try:
        with closing(spread(partial(_decode, root, channels), groups, processes)) as decoded:
            for found in decoded:
                for path, state in found.items():
                    if isinstance(state, str):
                        bad.append(f"{path} {state}")
                        sound.pop(path, None)
                    else:
                        sound[path] = state
                done += len(found)
                progress(done, len(new))
    finally:
        with suppress(OSError):  # a cache that cannot be written to costs time alone
            write_json(memory, sound)
    return bad


def _state(path: Path) -> State | None:
    """Return what tells that a file changed; None where it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_ctime_ns]


def _decode(root: Path, channels: int, paths: Sequence[str]) -> dict[str, State | str]:
    """Decode images; return the state of each, or what is wrong with it."""
    found: dict[str, State | str] = {}
    for path in paths:
        state = _state(root / path)
        try:
            decode(read_file(root / path), channels)
        except BadImageError as error:
            found[path] = str(error)
        else:
            found[path] = state or "has vanished"
    return found
