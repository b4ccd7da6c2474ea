"""The verb that tests exported weights again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ltbench.cli.options import DataRoot, Plugins, Where
from ltbench.cli.screen import print_report, print_text
from ltbench.cli.verbs import unless
from ltbench.config.errors import Location

if TYPE_CHECKING:
    from ltbench.config.models import DatasetSpec
    from ltbench.runs.record import EvaluationResult, Record


Part = Literal["test", "train", "val"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder that `ltbench results export` wrote.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="A dataset of configs/datasets; default: that of the run."),
        unless("--images"),
    ] = None,
    part: Annotated[Part, typer.Option(help="Which of its images."), unless("--images")] = "test",
    images: Annotated[
        Path | None, typer.Option(help="A folder with a folder of images a class, instead.")
    ] = None,
    data_root: Annotated[DataRoot, unless("--images")] = None,
    plugins: Plugins = None,
    device: Where = "auto",
) -> None:
    """Test exported weights on a dataset's images or on a folder's, and print the accuracies."""
    from ltbench.config.load import load_dataset
    from ltbench.launch.devices import local_slots
    from ltbench.launch.plan import read_registry
    from ltbench.report.model_card import TESTED, Tested
    from ltbench.report.table import build
    from ltbench.runs.export import read_export

    export = read_export(run)
    record = export.record
    if record.test is None:
        raise Location("RUN").error("no-effect", "is pre-training, which predicts no classes")
    read_registry(plugins or ()).get(record.method, Location("config.yaml").at("job", "method"))
    on_gpu = any(local_slots(device, 1)[0])

    import torch

    from ltbench.data.evaluation_data import images_of_folder, part_of_dataset
    from ltbench.training.inference import evaluate as test
    from ltbench.training.inference import restore

    own = record.job.dataset
    if images is not None:
        if export.config.classes is None:
            raise Location("--images").error(
                "missing-key",
                "the export does not name its classes; export the run where its images are",
            )
        found = images_of_folder(images, own, record.job.recipe, export.config.classes)
    else:
        spec = own if dataset is None else _like(load_dataset(dataset), own)
        found = part_of_dataset(spec, part, record.job.split, data_root, export.config.classes)
    method = restore(record, export.weights, tuple(map(str, plugins or ())))
    result = test(method, record, found, torch.device("cuda" if on_gpu else "cpu"))
    what = str(images) if images else f"{dataset or own.id}, {part} images"
    for table in build([TESTED], Tested(result, record, f"{record.job.label} on {what}")):
        print_report(table)
    if dataset is None and images is None and part == "test":
        print_text(_agreement(result, record))


def _like(spec: "DatasetSpec", own: "DatasetSpec") -> "DatasetSpec":
    """Return a dataset whose images and classes are like those of the run.

    Raises:
        ConfigError: where they are not.
    """
    for field in ("channels", "image_size", "classes"):
        if (theirs := getattr(spec, field)) != (ours := getattr(own, field)):
            message = f"{spec.name} has {field} {theirs}, the run was trained with {ours}"
            raise Location("--dataset").error("mismatch", message)
    return spec


def _agreement(result: "EvaluationResult", record: "Record") -> str:
    """Say whether a test of the run's own test images came out as its record says."""
    if record.test is None or result.repeats(record.test):
        return "Equal to the run's record, bit for bit."
    if result.totals != record.test.totals:
        return "The run's record is of other test images."
    differ = int((result.bits() != record.test.bits()).sum())
    return f"The run's record differs in {differ} of {sum(result.totals)} images."
