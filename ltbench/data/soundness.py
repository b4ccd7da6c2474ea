"""Check that image files can be decoded, once per version.

Good files are remembered in the cache folder, by their root: path, size, ctime and a hash of their
bytes. Changed files are decoded again, bad ones at every check.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from ltbench.config.keys import content_hash
from ltbench.core.files import read_json, write_json
from ltbench.data.decode import BadImageError, decoder, read_file
from ltbench.data.errors import DataError, listed
from ltbench.data.files import cache_root
from ltbench.data.images import FileImages
from ltbench.data.parallel import run_in_processes

CHUNK = 64
"""Files that a process decodes at a time."""

FileState = list[int]
"""Size and ctime of a file, in bytes and nanoseconds."""

Sound = tuple[FileState, str]
"""State of a good file, and a hash of its bytes."""


def check_images(
    name: str,
    parts: Iterable[FileImages],
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[list[str]]:
    """Decode the image files of a dataset that are new or changed.

    Args:
        name: of the dataset.
        parts: its images in files.
        processes: number of processes that decode.
        progress: called with the number of files decoded and of all to decode.

    Returns:
        For each part a hash of each file's bytes.

    Raises:
        DataError: naming the bad files, with their number, or the folder if it has none of them.
    """
    parts = list(parts)
    paths: dict[FileImages, dict[str, None]] = {}
    for part in parts:
        paths.setdefault(replace(part, paths=()), {}).update(dict.fromkeys(part.paths))
    good: dict[FileImages, dict[str, Sound]] = {}
    bad: list[str] = []
    for folder, files in paths.items():
        if not any((folder.root / path).exists() for path in files):
            raise DataError(
                f"{name}: {folder.root} has none of its {len(files):,} images. If they are on a "
                "disk, mount it; if they were moved, change `folder` or prepare the dataset again"
            )
        good[folder] = _check_folder(folder, [*files], bad, processes, progress)
    if bad:
        total = sum(map(len, paths.values()))
        raise DataError(
            f"{name}: {len(bad):,} of {total:,} images cannot be used:\n{listed(sorted(bad), 100)}",
            "bad-images",
        )
    return [[good[replace(part, paths=())][path][1] for path in part.paths] for part in parts]


def _check_folder(
    files: FileImages,
    paths: Sequence[str],
    bad: list[str],
    processes: int,
    progress: Callable[[int, int], None],
) -> dict[str, Sound]:
    """Return the good images of a folder; add others to `bad`."""
    settings = [files.channels, files.upright, files.max_pixels]
    signature = content_hash([str(files.root.absolute()), *settings, decoder()])[:16]
    cache = cache_root() / f"sound-{signature}.json"
    good: dict[str, Sound] = read_json(cache) or {}
    new = [path for path in paths if path not in good or _state(files.root / path) != good[path][0]]
    if not new:
        return good
    chunks = [new[first : first + CHUNK] for first in range(0, len(new), CHUNK)]
    done = 0
    progress(done, len(new))
    try:
        with closing(run_in_processes(partial(_decode, files), chunks, processes)) as decoded:
            for results in decoded:
                for path, result in results.items():
                    if isinstance(result, str):
                        bad.append(f"{path} {result}")
                        good.pop(path, None)
                    else:
                        good[path] = result
                done += len(results)
                progress(done, len(new))
    finally:
        with suppress(OSError):  # without the cache the next check takes longer
            write_json(cache, good)
    return good


def _state(path: Path) -> FileState | None:
    """Return size and ctime of a file; None if it is missing."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_ctime_ns]


def _decode(files: FileImages, paths: Sequence[str]) -> dict[str, Sound | str]:
    """Decode images; return each state and hash, or error, by path."""
    results: dict[str, Sound | str] = {}
    for path in paths:
        state = _state(files.root / path)
        try:
            data = read_file(files.root / path)
            files.decode(data)
        except BadImageError as error:
            results[path] = str(error)
        else:
            digest = hashlib.sha256(data).hexdigest()[:32]
            results[path] = (state, digest) if state else "has vanished"
    return results
