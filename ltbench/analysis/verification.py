"""Whether records, their splits, the methods' versions and the written leaderboard agree.

Each problem has the file that it is about as its location.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from ltbench.config.codes import Code
from ltbench.config.errors import Location, Problem, format_value
from ltbench.config.planning import Plan
from ltbench.config.registry import MethodInfo
from ltbench.data.errors import DataError
from ltbench.data.image_cache import open_cache
from ltbench.data.raw_dataset import exclude_images
from ltbench.data.sources import is_there, load_raw_dataset
from ltbench.data.split import make_split
from ltbench.runs.errors import RecordError
from ltbench.runs.record import Record
from ltbench.runs.state import coordinates
from ltbench.runs.store import Loaded, Stored, record_path, with_confusion

CONTEXT = 20
"""Characters of a line that are shown before those that differ."""

PNG = b"\x89PNG"
DRAWN_PNG = re.compile(rb"tEXtnumbers\x00([0-9a-f]{16})")
DRAWN_SVG = re.compile(rb'<svg (data-numbers="[0-9a-f]{16}").*?</svg>', re.DOTALL)
"""Drawings that say which numbers they show."""


def record_problems(
    loaded: Loaded, root: Path, plans: Sequence[Plan], methods: Mapping[str, MethodInfo]
) -> list[Problem]:
    """Return what is wrong with published records: files, places, versions, plans and starts.

    Args:
        loaded: the published records.
        root: folder that they lie in.
        plans: of the grids that they were trained for.
        methods: the registry's.
    """
    grids = {plan.grid.name for plan in plans}
    planned: dict[tuple[str, ...], set[str]] = {}
    for key, job in chain.from_iterable(plan.jobs.items() for plan in plans):
        planned.setdefault(coordinates(job), set()).add(key)
    found = [Location(bad.name).problem(bad.code, bad.reason) for bad in loaded.bad]
    for stored in loaded.records.values():
        here = Location(stored.name)
        problems = _of_record(stored.record, methods, grids, planned, loaded.records)
        found += [here.problem(code, message) for code, message in problems]
        try:
            with_confusion(stored)
        except RecordError as error:
            found.append(here.problem(error.code, str(error)))
        expected = record_path(root, stored.record.job)
        if stored.path != expected:
            found.append(here.problem("mismatch", f"belongs to {expected}"))
    return found


def _of_record(
    record: Record,
    methods: Mapping[str, MethodInfo],
    grids: Collection[str],
    planned: Mapping[tuple[str, ...], Collection[str]],
    records: Mapping[str, Stored],
) -> Iterator[tuple[Code, str]]:
    job, info = record.job, methods.get(record.method)
    if info is None:
        yield "unknown-method", f"there is no method {format_value(record.method)}"
    elif info.version != job.version:
        message = f"made by version {job.version} of {record.method}, which is at {info.version}"
        yield "out-of-date", message
    elif record.grid not in grids:
        yield "unknown-grid", f"there is no grid {format_value(record.grid)}"
    elif job.ad_hoc:
        yield "mismatch", f"made with settings from the command line: {', '.join(job.overrides)}"
    elif record.key not in planned.get(coordinates(job), (record.key,)):
        now = " or ".join(sorted(planned[coordinates(job)]))
        yield "out-of-date", f"its configuration has changed: {now} is planned in its place"
    for start in job.depends_on:
        if start not in records:
            message = f"there is no record of the job that it starts or learns from, {start}"
            yield "missing-record", message


def split_problems(records: Mapping[str, Stored], data_root: Path | None = None) -> list[Problem]:
    """Return where records of one split disagree, or disagree with the images where these are.

    Records of one dataset have one test set, and those of a split the same training images.
    """
    firsts: dict[tuple[str, str], tuple[Stored, object]] = {}
    found: list[Problem] = []
    for stored in records.values():
        for images, of, facts in _shared(stored.record):
            first, expected = firsts.setdefault((images, of), (stored, facts))
            if facts != expected:
                message = f"other {images} images than {first.name}"
                found.append(Location(stored.name).problem("mismatch", message))
    for (images, _), (stored, _) in firsts.items():
        if images == "training" and is_there(stored.record.job.dataset, data_root):
            found += _against_images(stored, data_root)
    return found


def _shared(record: Record) -> Iterator[tuple[str, str, object]]:
    """Yield what other records share with one: which images, of what, and the facts of them."""
    job, split, spec = record.job, record.split, record.job.dataset
    raw = f"{spec.name} {spec.fingerprint}"
    yield "test", raw, split.test_hash
    if record.test is not None:
        yield "tested", raw, record.test.totals
    facts = (split.train_hash, split.train_counts, split.longtailed_counts, split.auxiliary_hash)
    yield "training", f"{spec.identity()} {job.split} {job.subset}", facts


def _against_images(stored: Stored, data_root: Path | None) -> Iterator[Problem]:
    """Yield what differs between a record and the split that its images make today."""
    job, facts, here = stored.record.job, stored.record.split, Location(stored.name)
    try:
        raw = load_raw_dataset(job.dataset, data_root, download=False)
        bad, side = job.dataset.bad_images, job.recipe.resize_shorter_side
        if bad is not None and side is not None:
            cache = open_cache(job.dataset, raw, side, job.recipe.jpeg_quality)
            if cache is None or cache[1] != bad:
                return  # nobody here knows what was left out
            raw = exclude_images(raw, cache[0]["train"].excluded)
        made = make_split(job.dataset, raw, job.split, job.subset)
    except DataError as error:
        yield here.problem(error.code, f"its images cannot be used: {error}")
        return
    for name, ours in (
        ("train_hash", made.train_hash),
        ("train_counts", made.counts),
        ("longtailed_counts", made.longtailed_counts),
        ("test_hash", made.test_hash),
        ("auxiliary_hash", made.auxiliary_hash),
    ):
        if getattr(facts, name) != ours:
            yield here.problem("mismatch", f"{name} is not that of the images in the data folder")


def file_problems(folder: Path, made: Path) -> list[Problem]:
    """Return which files of a folder are not those that were made anew, and where they differ.

    Files beside those, and folders beside those, that were made are none of them.
    """
    tops = [path.name for path in made.iterdir()]
    old, new = (
        {
            path.relative_to(root): path.read_bytes()
            for top in tops
            for path in (root / top, *(root / top).rglob("*"))
            if path.is_file()
        }
        for root in (folder, made)
    )
    found = []
    for name in sorted(old | new):
        here = Location(str(folder / name))
        if name not in new:
            found.append(here.problem("out-of-date", "the records give no such file"))
        elif name not in old:
            found.append(here.problem("missing-file", "missing"))
        else:
            found += differences(folder / name, old[name], new[name])
    return found


def differences(path: Path, old: bytes, new: bytes) -> Iterator[Problem]:
    """Yield where a file first differs from the one made anew, and how; nothing where nowhere.

    Drawings are compared by the numbers that they show.
    """
    old, new = _numbers_for_drawings(old), _numbers_for_drawings(new)
    if old == new:
        return
    lines = zip_longest(*(text.decode(errors="replace").split("\n") for text in (old, new)))
    for number, (there, made) in enumerate(lines, start=1):
        if there != made:
            pairs = enumerate(zip_longest(there or "", made or ""))
            first = next((i for i, (a, b) in pairs if a != b), 0)
            start = max(first - CONTEXT, 0)
            has, gives = (None if line is None else line[start:] for line in (there, made))
            message = f"has {format_value(has)}, the records give {format_value(gives)}"
            yield Problem(str(path), number, "", "out-of-date", message)
            return
    yield Location(str(path)).problem("out-of-date", "differs in bytes that are no text")


def _numbers_for_drawings(content: bytes) -> bytes:
    """Return a file with the hash of its numbers in place of each drawing."""
    if content.startswith(PNG) and (drawn := DRAWN_PNG.search(content)):
        return drawn[1]
    return DRAWN_SVG.sub(rb"<svg \1/>", content)
