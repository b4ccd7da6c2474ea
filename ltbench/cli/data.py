"""Verbs of `ltbench data`: split, check, plot, prepare and cache datasets."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltbench.cli.options import DataRoot, DatasetName
from ltbench.cli.screen import console, print_text
from ltbench.cli.verbs import Verbs, unless
from ltbench.config.errors import Location, Problem, collect_errors, raise_all
from ltbench.data.errors import DataError, OnBad

if TYPE_CHECKING:
    from ltbench.config.dataset import DatasetSpec, ImageLists
    from ltbench.data.describe import DataReport

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")

data_app = Verbs(help="Split, check, plot, prepare and cache datasets.", no_args_is_help=True)


@dataclass(frozen=True)
class Dataset:
    """A dataset and its folder."""

    name: DatasetName
    data_root: DataRoot = None
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override a setting, e.g. dataset.imbalance_ratio=50; repeatable."
        ),
    ] = None

    def spec(self) -> "DatasetSpec":
        """Load the specification of the dataset.

        Raises:
            ConfigError: with all problems of its file and of --set.
        """
        from ltbench.config.load import load_dataset
        from ltbench.config.overrides import Override, Target, parse_overrides

        targets: tuple[Target, ...] = ("dataset",)
        problems: list[Problem] = []
        overrides: tuple[Override, ...] = ()
        with collect_errors(problems):
            overrides = parse_overrides(self.sets or (), targets)
        with collect_errors(problems):
            spec = load_dataset(self.name, overrides)
        raise_all(problems)
        return spec

    def report(self) -> "DataReport":
        """Check the images of the dataset."""
        from ltbench.data.describe import check

        return check(self.spec(), self.data_root)


@data_app.command("split")
def data_split(
    source: Annotated[
        Path, typer.Argument(help="Folder with a subfolder per class, or list without a split.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="List to write; default: split.csv beside the images.")
    ] = None,
    test_fraction: Annotated[
        float,
        typer.Option(help="Fraction of each class for the test."),
        unless("--test-per-class"),
    ] = 0.2,
    test_per_class: Annotated[
        int | None, typer.Option(min=1, help="Test images of each class.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice.")] = 0,
) -> None:
    """Split photographs into training and test images; write the list of both.

    Every image file is decoded. Images of equal bytes stay together, and those of a list that have
    the same `group`.
    """
    from ltbench.data.files import expand_home
    from ltbench.data.train_test_split import (
        SPLIT_LIST,
        Share,
        choose_test_images,
        describe_split,
        read_photographs,
        write_split,
    )
    from ltbench.launch.display import progress_bar

    if not 0 < test_fraction < 1:
        raise Location("--test-fraction").error("out-of-range", "must be more than 0, less than 1")
    source = expand_home(source)
    if not source.exists():
        hint = "name a folder with a subfolder of images per class, or a list of images"
        raise Location(str(source)).error("missing-file", "no such folder or list", hint)
    with progress_bar(console, "Decoding images") as progress:
        photographs = read_photographs(source, _cores(), progress)
    test = choose_test_images(photographs.entries, Share(test_fraction, test_per_class), seed)
    path = photographs.folder / SPLIT_LIST if out is None else expand_home(out)
    write_split(photographs, test, path)
    print_text(describe_split(photographs, test))
    print_text(f"List: {path}")


@data_app.command("check")
def data_check(dataset: Dataset) -> None:
    """Check a dataset; print its images, classes, shot groups and split hashes.

    Every image file is decoded, unless it was before and has not changed. Equal images are counted;
    those that are in several parts are named.
    """
    from ltbench.data.describe import describe
    from ltbench.data.equal_images import describe_equal, equal_images
    from ltbench.data.soundness import check_images
    from ltbench.launch.display import progress_bar

    report = dataset.report()
    print_text(describe(report))
    files = report.files
    with progress_bar(console, "Decoding images") as progress:
        sound = check_images(dataset.name, files.values(), processes=_cores(), progress=progress)
    if files:
        total = len({path for part in files.values() for path in part.paths})
        print_text(f"image files        {total} images, all decodable")
    groups = equal_images(report.images, dict(zip(files, sound, strict=True)))
    print_text(describe_equal(groups))


@data_app.command("plot")
def data_plot(
    figure: Annotated[
        Path | None,
        typer.Option(help="Figure to write (.png, .svg or .pdf); default: DATASET.png."),
    ] = None,
    *,
    dataset: Dataset,
) -> None:
    """Plot the number of training images per class."""
    from ltbench.data.describe import histogram, write_figure

    if figure is not None and figure.suffix not in FIGURE_SUFFIXES:
        message = f"expected a file name ending in {', '.join(FIGURE_SUFFIXES)}"
        raise Location("--figure").error("unknown-value", message)
    report = dataset.report()
    path = figure or Path(f"{report.spec.id}.png")
    print_text(histogram(report))
    if write_figure(report, path):
        print_text(f"Figure: {path}")
    else:
        print_text("No figure: matplotlib is missing (`pip install 'ltbench[plots]'`).")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@data_app.command("prepare")
def data_prepare(
    root: Annotated[Path, typer.Option(help="Folder of the images.")],
    lists: Annotated[Path, typer.Option(help="Folder of the official lists.")],
    dataset: Dataset,
) -> None:
    """Prepare a dataset with official lists; choose its balanced split."""
    from ltbench.data.describe import describe_preparation
    from ltbench.data.files import expand_home
    from ltbench.data.prepare import prepare
    from ltbench.data.sources import dataset_path, resolve_root

    spec = dataset.spec()
    _official_lists(spec)
    folder = dataset_path(spec, resolve_root(dataset.data_root))
    prepared = prepare(spec, expand_home(root), expand_home(lists), folder)
    print_text(describe_preparation(prepared))


@data_app.command("check-lists")
def data_check_lists(
    name: DatasetName,
    lists: Annotated[Path, typer.Option(help="Folder of the official lists; some may be missing.")],
) -> None:
    """Check the official lists of a dataset, without its images."""
    from ltbench.config.load import load_dataset
    from ltbench.data.describe import describe_lists
    from ltbench.data.files import expand_home
    from ltbench.data.official_lists import check_lists

    spec = load_dataset(name)
    official = _official_lists(spec)
    checked = check_lists(spec, official, expand_home(lists))
    print_text(describe_lists(official, checked))


def _official_lists(spec: "DatasetSpec") -> "ImageLists":
    """Return the official lists of a dataset.

    Raises:
        DataError: if it has none.
    """
    if spec.official_lists is None:
        raise DataError(
            f"{spec.name} has no official lists, and needs no preparation: "
            f"`ltbench data check {spec.name}` checks its images",
            "conflict",
        )
    return spec.official_lists


@data_app.command("cache")
def data_cache(
    dataset: Dataset,
    resize_shorter_side: Annotated[
        int, typer.Option(min=1, help="The recipe's resize_shorter_side.")
    ] = 256,
    quality: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="The recipe's jpeg_quality; default: decoded pixels."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes that decode; default: one per core."),
    ] = None,
    on_bad: Annotated[OnBad, typer.Option(help="What to do with undecodable images.")] = "error",
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the existing cache first.")
    ] = False,
) -> None:
    """Decode a dataset's images once, for all jobs; resumes if interrupted."""
    from ltbench.data.cache_building import build_cache, drop_damaged
    from ltbench.data.describe import describe_cache
    from ltbench.data.image_cache import cache_folder
    from ltbench.data.sources import load_raw_dataset
    from ltbench.launch.display import progress_bar

    spec = dataset.spec()
    raw = load_raw_dataset(spec, dataset.data_root)
    if not raw.files:
        raise DataError(
            f"{spec.name} needs no cache: its images are small and of one size", "no-effect"
        )
    if verify:
        for shard in drop_damaged(cache_folder(spec, raw, resize_shorter_side, quality)):
            print_text(f"{shard} was damaged and is built again")
    with progress_bar(console, "Shards") as progress:
        built = build_cache(
            spec,
            raw,
            resize_shorter_side,
            quality=quality,
            processes=processes or _cores(),
            on_bad=on_bad,
            progress=progress,
        )
    print_text(describe_cache(built))
