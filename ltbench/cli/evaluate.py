"""The verb that evaluates exported weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ltbench.cli.options import DataRoot, DeviceName, Plugins
from ltbench.cli.screen import print_report, print_text
from ltbench.cli.verbs import unless
from ltbench.config.errors import Location, raise_all

if TYPE_CHECKING:
    from ltbench.config.models import DatasetSpec
    from ltbench.runs.record import EvaluationResult, Record


Part = Literal["test", "train", "val"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder written by `ltbench results export`.")],
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
    data_root: Annotated[DataRoot, unless("--images")] = None,
    plugins: Plugins = None,
    device: DeviceName = "auto",
) -> None:
    """Evaluate exported weights on a dataset or on a folder of images."""
    from ltbench.config.load import load_dataset
    from ltbench.launch.devices import local_slots
    from ltbench.launch.plan import read_registry
    from ltbench.report.model_card import TESTED, Tested
    from ltbench.report.table import build
    from ltbench.runs.export import read_export

    export = read_export(run)
    record = export.record
    if record.test is None:
        raise Location("RUN").error(
            "no-effect", "is a pre-training stage, which predicts no classes"
        )
    read_registry(plugins or ()).get(record.method, Location("config.yaml").at("job", "method"))
    on_gpu = any(local_slots(device, 1)[0])

    import torch

    from ltbench.data.evaluation_data import images_of_folder, part_of_dataset
    from ltbench.training.inference import evaluate as test
    from ltbench.training.inference import restore

    trained_on = record.job.dataset
    if images is not None:
        if export.config.classes is None:
            raise Location("--images").error(
                "missing-key",
                "the export has no class names; export the run again where its dataset is present",
            )
        test_images = images_of_folder(images, trained_on, record.job.recipe, export.config.classes)
    else:
        spec = trained_on
        if dataset is not None:
            spec = load_dataset(dataset)
            _check_compatible(spec, trained_on)
        test_images = part_of_dataset(
            spec, part, record.job.split, data_root, export.config.classes
        )
    method = restore(record, export.weights, tuple(map(str, plugins or ())))
    result = test(method, record, test_images, torch.device("cuda" if on_gpu else "cpu"))
    tested_on = str(images) if images else f"{dataset or trained_on.id}, {part} images"
    for table in build([TESTED], Tested(result, record, f"{record.job.label} on {tested_on}")):
        print_report(table)
    if dataset is None and images is None and part == "test":
        print_text(_comparison(result, record))


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
