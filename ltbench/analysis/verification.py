"""Consistency checks of records, splits, method versions and the written leaderboard.

The location of each problem is the file.
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
"""Characters of a line that are shown before the first difference."""

PNG = b"\x89PNG"
DRAWN_PNG = re.compile(rb"tEXtnumbers\x00([0-9a-f]{16})")
DRAWN_SVG = re.compile(rb'<svg (data-numbers="[0-9a-f]{16}").*?</svg>', re.DOTALL)
"""Drawings with the hash of their numbers."""


def record_problems(
    loaded: Loaded, root: Path, plans: Sequence[Plan], methods: Mapping[str, MethodInfo]
) -> list[Problem]:
    """Return the problems of published records.

    Checked are the files and their paths, method versions, plans and dependencies.

    Args:
        loaded: the published records.
        root: their folder.
        plans: of the grids that they were trained for.
        methods: of the registry.
    """
    grids = {plan.grid.name for plan in plans}
    planned: dict[tuple[str, ...], set[str]] = {}
    for key, job in chain.from_iterable(plan.jobs.items() for plan in plans):
        planned.setdefault(coordinates(job), set()).add(key)
    problems = [Location(bad.name).problem(bad.code, bad.reason) for bad in loaded.bad]
    for stored in loaded.records.values():
        here = Location(stored.name)
        for code, message in _of_record(stored.record, methods, grids, planned, loaded.records):
            problems.append(here.problem(code, message))
        try:
            with_confusion(stored)
        except RecordError as error:
            problems.append(here.problem(error.code, str(error)))
        expected = record_path(root, stored.record.job)
        if stored.path != expected:
            problems.append(here.problem("mismatch", f"belongs at {expected}"))
    return problems


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
        message = f"trained with version {job.version} of {record.method}, now at {info.version}"
        yield "out-of-date", message
    elif record.grid not in grids:
        yield "unknown-grid", f"there is no grid {format_value(record.grid)}"
    elif job.ad_hoc:
        yield "mismatch", f"trained with command-line settings: {', '.join(job.overrides)}"
    elif record.key not in planned.get(coordinates(job), (record.key,)):
        now = " or ".join(sorted(planned[coordinates(job)]))
        yield "out-of-date", f"its configuration has changed: the grid now plans {now}"
    for key in job.depends_on:
        if key not in records:
            yield "missing-record", f"it depends on job {key}, which has no record"


def split_problems(records: Mapping[str, Stored], data_root: Path | None = None) -> list[Problem]:
    """Return the contradictions between records of one split.

    Records of one dataset have the same test set, and records of one split the same training
    images. If the images are in the data folder, their splits are made again and compared too.
    """
    firsts: dict[tuple[str, str], tuple[Stored, object]] = {}
    problems: list[Problem] = []
    for stored in records.values():
        for images, split, facts in _shared(stored.record):
            first, expected = firsts.setdefault((images, split), (stored, facts))
            if facts != expected:
                message = f"its {images} images differ from those of {first.name}"
                problems.append(Location(stored.name).problem("mismatch", message))
    for (images, _), (stored, _) in firsts.items():
        if images == "training" and is_there(stored.record.job.dataset, data_root):
            problems += _against_images(stored, data_root)
    return problems


def _shared(record: Record) -> Iterator[tuple[str, str, object]]:
    """Yield what records of one split share: images, split, facts."""
    job, split, spec = record.job, record.split, record.job.dataset
    tested = f"{spec.name} {spec.fingerprint}"
    if spec.tested_on == "auxiliary":
        tested = f"{spec.identity()} {job.split}"
    yield "test", tested, split.test_hash
    if record.test is not None:
        yield "tested", tested, record.test.totals
    facts = (split.train_hash, split.train_counts, split.longtailed_counts, split.auxiliary_hash)
    yield "training", f"{spec.identity()} {job.split} {job.subset}", facts


def _against_images(stored: Stored, data_root: Path | None) -> Iterator[Problem]:
    """Yield the differences between a record and its split made again."""
    job, facts, here = stored.record.job, stored.record.split, Location(stored.name)
    try:
        raw = load_raw_dataset(job.dataset, data_root, download=False)
        bad, side = job.dataset.bad_images, job.recipe.resize_shorter_side
        if bad is not None and side is not None:
            cache = open_cache(job.dataset, raw, side, job.recipe.jpeg_quality)
            if cache is None or cache[1] != bad:
                return  # which images were excluded is not known here
            raw = exclude_images(raw, cache[0]["train"].excluded)
        made = make_split(job.dataset, raw, job.split, job.subset)
    except DataError as error:
        yield here.problem(error.code, f"its images cannot be read: {error}")
        return
    for name, ours in (
        ("train_hash", made.train_hash),
        ("train_counts", made.counts),
        ("longtailed_counts", made.longtailed_counts),
        ("test_hash", made.test_hash),
        ("auxiliary_hash", made.auxiliary_hash),
    ):
        if getattr(facts, name) != ours:
            yield here.problem("mismatch", f"{name} differs from the images in the data folder")


def file_problems(folder: Path, regenerated: Path) -> list[Problem]:
    """Return the differences between a folder and its regenerated files.

    Only files and subfolders whose top-level name was regenerated are compared.
    """
    tops = [path.name for path in regenerated.iterdir()]
    old, new = (
        {
            path.relative_to(root): path.read_bytes()
            for top in tops
            for path in (root / top, *(root / top).rglob("*"))
            if path.is_file()
        }
        for root in (folder, regenerated)
    )
    problems = []
    for name in sorted(old | new):
        here = Location(str(folder / name))
        if name not in new:
            problems.append(here.problem("out-of-date", "no such file is written from the records"))
        elif name not in old:
            problems.append(here.problem("missing-file", "missing"))
        else:
            problems += differences(folder / name, old[name], new[name])
    return problems


def differences(path: Path, old: bytes, new: bytes) -> Iterator[Problem]:
    """Yield the first difference between a file and its regenerated content.

    Drawings are compared by the numbers that they show.
    """
    old, new = _numbers_for_drawings(old), _numbers_for_drawings(new)
    if old == new:
        return
    lines = zip_longest(*(text.decode(errors="replace").split("\n") for text in (old, new)))
    for number, pair in enumerate(lines, start=1):
        if pair[0] != pair[1]:
            characters = enumerate(zip_longest(*(line or "" for line in pair)))
            first = next((i for i, (a, b) in characters if a != b), 0)
            start = max(first - CONTEXT, 0)
            has, gives = (None if line is None else line[start:] for line in pair)
            message = f"has {format_value(has)}, the records give {format_value(gives)}"
            yield Problem(str(path), number, "", "out-of-date", message)
            return
    yield Location(str(path)).problem("out-of-date", "differs in bytes that are not text")


def _numbers_for_drawings(content: bytes) -> bytes:
    """Return a file with each drawing replaced by its numbers' hash."""
    if content.startswith(PNG) and (drawn := DRAWN_PNG.search(content)):
        return drawn[1]
    return DRAWN_SVG.sub(rb"<svg \1/>", content)
