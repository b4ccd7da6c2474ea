"""The verbs that use exported weights: evaluate, predict."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltbench.cli.options import DataRoot, DeviceName, Plugins
from ltbench.cli.screen import errors, print_report, print_table, print_text, print_warning
from ltbench.cli.verbs import unless
from ltbench.config.errors import Location, Problem, collect_errors, raise_all
from ltbench.data.errors import listed
from ltbench.data.file_index import Part
from ltbench.training.options import Device

if TYPE_CHECKING:
    import torch

    from ltbench.config.dataset import DatasetSpec
    from ltbench.runs.export import Export
    from ltbench.runs.record import EvaluationResult, Record
    from ltbench.training.classifier import Classifier
    from ltbench.training.evaluation import Evaluation

ExportFolder = Annotated[Path, typer.Argument(help="Folder written by `ltbench results export`.")]

PREDICTION = ("predicted", "probability")
"""Columns of a prediction in a CSV file."""

HEADER = re.compile(
    r"image,(true,)?predicted,probability(,predicted_\d+,probability_\d+)*(,error)?"
)
"""First line of a CSV file of predictions."""


def evaluate(
    run: ExportFolder,
    dataset: Annotated[
        str | None,
        typer.Option(help="Name of a dataset in configs/datasets; default: that of the run."),
        unless("--images"),
    ] = None,
    part: Annotated[Part, typer.Option(help="Part of the dataset."), unless("--images")] = "test",
    images: Annotated[
        Path | None,
        typer.Option(help="Folder with one subfolder of images per class, instead of a dataset."),
    ] = None,
    to_csv: Annotated[
        Path | None,
        typer.Option("--csv", help="CSV file of the predictions to write, one row per image."),
    ] = None,
    data_root: Annotated[DataRoot, unless("--images")] = None,
    plugins: Plugins = None,
    device: DeviceName = "auto",
) -> None:
    """Evaluate exported weights on a dataset or on a folder of images."""
    from ltbench.report.model_card import TESTED_TABLE, Tested
    from ltbench.report.table import build

    export, spec = _read_test(run, plugins, dataset, images, to_csv)
    record, trained_on = export.record, export.record.job.dataset
    on = _torch_device(device)

    from ltbench.data.evaluation_data import images_of_folder, part_of_dataset
    from ltbench.training.inference import predict_labeled, restore

    if images is not None:
        test_images = images_of_folder(images, trained_on, record.job.recipe, export.class_names())
    else:
        test_images = part_of_dataset(
            spec, part, record.job.split, data_root, export.config.classes
        )
    method = restore(record, export.weights, tuple(map(str, plugins or ())))
    evaluation = predict_labeled(method, record, test_images, on)
    result = evaluation.result()
    tested_on = str(images) if images else f"{dataset or trained_on.id}, {part} images"
    tested = Tested(result, record, f"{record.job.label} on {tested_on}")
    for table in build([TESTED_TABLE], tested):
        print_report(table)
    if dataset is None and images is None and part == "test":
        print_text(_comparison(result, record))
    if to_csv is not None:
        classes = export.config.classes or tuple(map(str, range(trained_on.classes)))
        _write_test(to_csv, test_images.names, classes, evaluation)


def _read_test(
    run: Path,
    plugins: Sequence[Path] | None,
    dataset: str | None,
    images: Path | None,
    to_csv: Path | None,
) -> "tuple[Export, DatasetSpec]":
    """Read the export and the dataset of a test; check its options.

    Raises:
        ConfigError: with all problems.
    """
    from ltbench.config.load import load_dataset

    problems: list[Problem] = []
    with collect_errors(problems):
        _check_csv(to_csv)
    with collect_errors(problems):
        if images is not None and not images.is_dir():
            raise Location("--images").error(
                "missing-file",
                f"no such folder: {images}",
                "name a folder with one subfolder of images per class",
            )
    with collect_errors(problems):
        export = _read(run, plugins)
        trained_on = export.record.job.dataset
        spec = trained_on if dataset is None else load_dataset(dataset)
        _check_compatible(spec, trained_on)
    raise_all(problems)
    return export, spec


def _write_test(
    to_csv: Path, names: Sequence[str], classes: Sequence[str], evaluation: "Evaluation"
) -> None:
    """Write the class, prediction and confidence of each test image."""
    with _rows(to_csv, ("image", "true", *PREDICTION)) as write:
        predictions = zip(names, *evaluation.predictions(), strict=True)
        for name, predicted, confidence, label in predictions:
            cells = _prediction(classes[predicted], confidence.float())
            write((name, classes[label], *cells))


def predict(
    run: ExportFolder,
    paths: Annotated[
        list[Path],
        typer.Argument(help="Images, folders of images, or lists of images (.csv, .tsv, .txt)."),
    ],
    to_csv: Annotated[
        Path | None,
        typer.Option("--csv", help="CSV file to write, one row per image; default: a table."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of most probable classes.")] = 1,
    plugins: Plugins = None,
    device: DeviceName = "auto",
) -> None:
    """Predict the classes of images by exported weights.

    An image that cannot be read has a row with the error; the exit code is then 1.
    """
    from ltbench.data.image_paths import find_images

    found = find_images(paths)
    problems = found.problems
    with collect_errors(problems):
        _check_csv(to_csv)
    with collect_errors(problems):
        export = _read(run, plugins)
        if top > len(export.class_names()):
            message = f"{top} requested, the run has {len(export.class_names())} classes"
            raise Location("--top").error("out-of-range", message)
    raise_all(problems)
    if found.others:
        _warn(f"{len(found.others):,} other files are left out:", found.others)
    on = _torch_device(device)

    from ltbench.training.classifier import load
    from ltbench.training.inference import move

    classifier = load(export, tuple(map(str, plugins or ())))
    move(classifier.method, export.record, on)
    classifier.to(on)
    bad = _write_predictions(to_csv, classifier, found.files, top)
    total = len(found.files)
    if to_csv is not None:
        print_text(f"{total - len(bad):,} images predicted: {to_csv}")
    if bad:
        _warn(f"{len(bad):,} of {total:,} images cannot be read:", bad)
        raise typer.Exit(1)


def _write_predictions(
    to_csv: Path | None, classifier: "Classifier", files: Sequence[Path], top: int
) -> list[str]:
    """Write the most probable classes of images; return the bad images.

    Args:
        to_csv: the file; None for a table.
        classifier: on its device.
        files: the images.
        top: number of classes of each.
    """
    from ltbench.launch.display import progress_bar

    header = [*PREDICTION, *(f"{name}_{k}" for k in range(2, top + 1) for name in PREDICTION)]
    bad: list[str] = []
    with (
        _rows(to_csv, ("image", *header, "error")) as write,
        progress_bar(errors, "Predicting images") as progress,
    ):
        progress(0, len(files))
        predictions = zip(files, classifier.predict_each(files), strict=True)
        for done, (file, prediction) in enumerate(predictions, 1):
            if isinstance(prediction, str):
                bad.append(f"{file}: {prediction}")
                write((str(file), *[""] * len(header), prediction))
            else:
                best = zip(*prediction.topk(top), strict=True)
                cells = (_prediction(classifier.classes[k], p) for p, k in best)
                write((str(file), *chain.from_iterable(cells), ""))
            progress(done, len(files))
    return bad


def _read(run: Path, plugins: Sequence[Path] | None) -> "Export":
    """Read an export that predicts classes by a known method."""
    from ltbench.launch.plan import read_registry
    from ltbench.runs.export import read_export

    export = read_export(run)
    export.require_test()
    method = Location("config.yaml").at("job", "method")
    read_registry(plugins or ()).get(export.record.method, method)
    return export


def _torch_device(device: Device) -> "torch.device":
    from ltbench.launch.devices import local_slots

    on_gpu = any(local_slots(device, 1)[0])

    import torch

    return torch.device("cuda" if on_gpu else "cpu")


def _check_csv(path: Path | None) -> None:
    """Check that a CSV file of predictions can be written.

    Raises:
        ConfigError: if not.
    """
    location = Location("--csv")
    if path is None:
        return
    if path.suffix.lower() != ".csv":
        raise location.error("malformed", f"{path}: expected a file name that ends in .csv")
    if not path.absolute().parent.is_dir():
        raise location.error("not-writable", f"{path}: there is no folder {path.parent}")
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            if not HEADER.fullmatch(file.readline().rstrip("\n")):
                message = f"{path} exists, and has no predictions"
                raise location.error("conflict", message, "remove it, or name another file")


@contextmanager
def _rows(path: Path | None, header: Sequence[str]) -> Iterator[Callable[[Sequence[str]], object]]:
    """Write rows to a CSV file, or print them at the end.

    Yields a function that takes a row. The table has no empty columns.
    """
    if path is None:
        rows: list[Sequence[str]] = []
        yield rows.append
        columns = [i for i in range(len(header)) if any(row[i] for row in rows)]
        print_table([header[i] for i in columns], ([row[i] for i in columns] for row in rows))
        return
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        yield writer.writerow


def _prediction(name: str, probability: "torch.Tensor") -> tuple[str, str]:
    """Return the cells of a predicted class."""
    return name, f"{float(probability):.6g}"


def _warn(title: str, items: Iterable[object]) -> None:
    print_warning(f"{title}\n{listed([str(item) for item in items])}")


def _check_compatible(spec: "DatasetSpec", trained_on: "DatasetSpec") -> None:
    """Check that a dataset has the image shape and classes of another.

    Raises:
        ConfigError: naming every field that differs.
    """
    raise_all(
        Location("--dataset").problem(
            "mismatch",
            f"{spec.name} has {field} {getattr(spec, field)}, "
            f"the run was trained with {getattr(trained_on, field)}",
        )
        for field in ("channels", "image_size", "classes")
        if getattr(spec, field) != getattr(trained_on, field)
    )


def _comparison(result: "EvaluationResult", record: "Record") -> str:
    """Compare a repeated test with the run's record."""
    if record.test is None or result.repeats(record.test):
        return "Equal to the run's record, bit for bit."
    if result.totals != record.test.totals:
        return "The run's record is of other test images."
    differ = int((result.bits() != record.test.bits()).sum())
    return f"The run's record differs in {differ} of {sum(result.totals)} images."
