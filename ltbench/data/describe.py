"""Reports of `ltbench data`: check, plot, prepare, cache. Imports no torch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np

from ltbench.config.dataset import DatasetSpec, ImageLists
from ltbench.core.groups import GROUPS, RULES, Group, class_groups
from ltbench.data.cache_building import CacheReport
from ltbench.data.errors import DataError, listed, printable
from ltbench.data.files import format_bytes
from ltbench.data.images import FileImages, Images
from ltbench.data.official_lists import pinned_fingerprint
from ltbench.data.prepare import PreparationReport
from ltbench.data.raw_dataset import RawDataset
from ltbench.data.sources import load_raw_dataset, resolve_root
from ltbench.data.split import make_split

BAR = 40
"""Characters of the longest bar of the histogram."""

NATURAL = "none, as of any natural imbalance: no UA and RA"
"""Why a dataset has no balanced split."""

COLORS = {"many": "#4477aa", "medium": "#ccbb44", "few": "#ee6677"}


@dataclass(frozen=True)
class DataReport:
    """A dataset on this machine, and its two splits.

    Attributes:
        root: the data root.
        class_names: names of the source, made printable.
        raw_counts, counts, test_counts: [C] images of each class: of the raw dataset's training
            images, of the long-tailed split, of the test set.
        gini, effective_classes: of `counts`; see the functions of these names.
        groups: [C] shot group of each class.
        train_hash, test_hash: of the long-tailed split.
        balanced_per_class: images of each class in the balanced counterpart; None without one.
        balanced_hash: of the balanced counterpart; None without one.
        no_balanced_counterpart: reason why there is none; None if there is one.
        auxiliary: source and number of the auxiliary images, or the reason why there are none.
        images: by part, validation included.
        skipped: files in its folders that are no images.
    """

    spec: DatasetSpec
    root: Path
    fingerprint: str
    class_names: tuple[str, ...]
    raw_counts: tuple[int, ...]
    counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    gini: float
    effective_classes: float
    groups: tuple[Group, ...]
    train_hash: str
    test_hash: str
    balanced_per_class: int | None
    balanced_hash: str | None
    no_balanced_counterpart: str | None
    auxiliary: str
    images: Mapping[str, Images]
    skipped: tuple[str, ...]

    @property
    def files(self) -> dict[str, FileImages]:
        """Images that are read from their files, by part."""
        return {k: images for k, images in self.images.items() if isinstance(images, FileImages)}


def check(spec: DatasetSpec, data_root: str | Path | None = None) -> DataReport:
    """Load a dataset and make both splits.

    Raises:
        DataError: if the images cannot be loaded or the long-tailed split cannot be made.
    """
    raw = load_raw_dataset(spec, data_root)
    plain = spec.model_copy(update={"auxiliary": None})
    longtailed = make_split(plain, raw, "longtailed")
    balanced = None
    reason: str | None = NATURAL
    if spec.has_balanced_counterpart:
        try:
            balanced, reason = make_split(plain, raw, "balanced"), None
        except DataError as error:
            reason = str(error)
    return DataReport(
        spec=spec,
        root=resolve_root(data_root).absolute(),
        fingerprint=raw.fingerprint,
        class_names=tuple(printable(name) for name in raw.class_names),
        raw_counts=tuple(np.bincount(raw.train_labels, minlength=spec.classes).tolist()),
        counts=longtailed.counts,
        test_counts=tuple(np.bincount(raw.test_labels, minlength=spec.classes).tolist()),
        gini=gini(longtailed.counts),
        effective_classes=effective_classes(longtailed.counts),
        groups=class_groups(longtailed.counts, spec.shot_rule),
        train_hash=longtailed.train_hash,
        test_hash=longtailed.test_hash,
        balanced_per_class=balanced.counts[0] if balanced else None,
        balanced_hash=balanced.train_hash if balanced else None,
        no_balanced_counterpart=reason,
        auxiliary=_auxiliary(spec, raw),
        images=raw.parts,
        skipped=raw.skipped,
    )


def gini(counts: Sequence[int]) -> float:
    """Return the Gini coefficient of class sizes, correctly rounded.

    0 for equal classes, (C - 1) / C where one of C classes has all images: half the mean absolute
    difference of two classes over their mean size. Yang, Jiang, Song, Guo, "A Survey on Long-Tailed
    Visual Recognition", IJCV 2022, propose it for image datasets.

    Args:
        counts: [C] images of each class, in any order, not all 0.
    """
    classes, images = len(counts), sum(counts)
    ranked = sum(rank * count for rank, count in enumerate(sorted(counts), start=1))
    return float(Fraction(2 * ranked - (classes + 1) * images, classes * images))


def effective_classes(counts: Sequence[int]) -> float:
    """Return the effective number of classes, the same on every processor.

    The exponential of the entropy of the classes' shares p of the images, exp(-sum p ln p): C for
    C equal classes, 1 where one class has all images. It is the Hill number of order 1: Hill,
    "Diversity and Evenness", Ecology 1973; Jost, "Entropy and Diversity", Oikos 2006. The effective
    number of images of a class (`class_balanced`) is another quantity.

    Args:
        counts: [C] images of each class, not all 0.
    """
    with localcontext(Context(prec=40)):  # whose ln and exp are correctly rounded, unlike libm's
        images = sum(counts)
        sizes = Counter(counts).items()
        logs = sum((n * classes * Decimal(n).ln() for n, classes in sizes if n), Decimal())
        return float((Decimal(images).ln() - logs / images).exp())


def _auxiliary(spec: DatasetSpec, raw: RawDataset) -> str:
    auxiliary = spec.auxiliary_or_default
    try:
        split = make_split(spec.model_copy(update={"auxiliary": auxiliary}), raw, "longtailed")
    except DataError as error:
        return str(error)
    images = 0 if split.auxiliary is None else len(split.auxiliary.labels)
    return f"{auxiliary.id}, {images} images"


def describe(report: DataReport) -> str:
    """Return a report as text."""
    spec, counts = report.spec, report.counts
    sizes = Counter(report.groups)
    pinned = spec.fingerprint or (spec.official_lists and pinned_fingerprint(spec.official_lists))
    status = "as pinned" if pinned else "not pinned"
    location = "" if spec.source == "digits" else f" in {report.root}"
    shape = (spec.channels, spec.image_size, spec.image_size)
    groups = ", ".join(f"{sizes[group]} {group}" for group in GROUPS)
    balanced = report.no_balanced_counterpart or f"{report.balanced_per_class} a class"
    lines = [
        f"{spec.id}: {spec.title}, {spec.source}{location}",
        f"images             {' x '.join(map(str, shape))}, {spec.classes} classes",
        f"training images    {_range(report.raw_counts)}",
        f"long-tailed split  {_range(counts)}, imbalance ratio {max(counts) / min(counts):.4g}",
        f"Gini coefficient   {report.gini:.3f}",
        f"effective classes  {report.effective_classes:.1f}",
        f"balanced split     {balanced}",
        f"test set           {_range(report.test_counts)}",
        f"auxiliary images   {report.auxiliary}",
        f"shot groups        {groups} ({RULES[spec.shot_rule]})",
        f"fingerprint        {report.fingerprint} ({status})",
        f"long-tailed hash   {report.train_hash}",
        f"balanced hash      {report.balanced_hash or '-'}",
        f"test hash          {report.test_hash}",
    ]
    if report.skipped:
        lines.append(f"skipped files      {len(report.skipped):,}, no images or hidden:")
        lines.append(listed(report.skipped))
    return "\n".join(lines)


def describe_lists(lists: ImageLists, images: Mapping[str, int]) -> str:
    """Return the state of each official list as text.

    Args:
        lists: of the dataset.
        images: of each list that was found and checked, by part.
    """
    lines = []
    for part, file in lists.files.items():
        official = f"official, git blob {file.blob}" if file.blob else "not pinned"
        state = f"{images[part]:,} images, {official}" if part in images else "missing"
        lines.append(f"{file.file:24}{state}")
    return "\n".join(lines)


def describe_preparation(prepared: PreparationReport) -> str:
    """Return the report of a preparation as text."""
    titles = {
        "train": "long-tailed split",
        "val": "validation set",
        "test": "test set",
        "balanced": "balanced split",
    }
    lines = [f"prepared dataset   {prepared.folder.absolute()}"]
    lines += [f"images             {prepared.root}"]
    lines += [f"{titles[part]:19}{count:,} images" for part, count in prepared.images.items()]
    if prepared.no_balanced_counterpart is not None:
        lines.append(f"{titles['balanced']:19}none: {prepared.no_balanced_counterpart}")
    lines += [f"{f'{part} paths':19}{form}" for part, form in prepared.paths.items()]
    return "\n".join([*lines, f"fingerprint        {prepared.fingerprint}"])


def describe_cache(built: CacheReport) -> str:
    """Return the report of an image cache as text."""
    bad = [f"{path} {why}" for path, why in built.bad.items()]
    lines = [
        f"cache   {built.folder}",
        f"images  {built.images:,}, {format_bytes(built.bytes)}, {len(bad):,} undecodable",
    ]
    if built.bad_images is not None:
        fields = ", ".join(f"{k}: {value}" for k, value in built.bad_images.model_dump().items())
        lines += [listed(bad), f"to plan without the cache: bad_images: {{{fields}}}"]
    return "\n".join(lines)


def histogram(report: DataReport) -> str:
    """Return a text histogram of the long-tailed split's class counts."""
    width = max(len(name) for name in report.class_names)
    digits = len(str(max(report.counts)))
    rows = zip(report.class_names, report.counts, report.groups, strict=True)
    return "\n".join(
        f"{name:{width}}  {count:{digits}d}  {group:6}  {_bar(count, max(report.counts))}"
        for name, count, group in rows
    )


def write_figure(report: DataReport, path: Path) -> bool:
    """Write a figure of the class counts of both splits.

    Args:
        report: of the dataset.
        path: of the figure; its suffix sets the format (.png, .svg, .pdf).

    Returns:
        Whether it was written: False without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for group in GROUPS:
        classes = [k for k, its_group in enumerate(report.groups) if its_group == group]
        heights = [report.counts[k] for k in classes]
        axes.bar(classes, heights, width=1, color=COLORS[group], label=group)
    if report.balanced_per_class is not None:
        level = report.balanced_per_class
        axes.axhline(level, color="black", linestyle="--", label="balanced counterpart")
    axes.set(xlabel="class", ylabel="training images", title=report.spec.id, yscale="log")
    axes.legend()
    figure.savefig(path)
    return True


def _range(counts: tuple[int, ...]) -> str:
    least, most = min(counts), max(counts)
    each = f"{least}" if least == most else f"{least} to {most}"
    return f"{sum(counts)} images, {each} a class"


def _bar(count: int, largest: int) -> str:
    """Return a bar in eighths of a character, at least one."""
    whole, eighths = divmod(max(round(8 * BAR * count / largest), 1), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()
