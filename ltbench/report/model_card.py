"""The model card of a run, in markdown."""

from dataclasses import dataclass
from fractions import Fraction

from ltbench.analysis.metrics import METRICS, metric_values
from ltbench.config.registry import MethodInfo
from ltbench.core.groups import GROUPS, RULES
from ltbench.report.formats import escape_markdown, markdown
from ltbench.report.table import COUNT, PERCENT, Column, TableSpec, build
from ltbench.runs.record import EvaluationResult, Record

SHOWN = ("acc", "balanced_acc", *GROUPS, "ece")


@dataclass(frozen=True)
class Tested:
    """A test of a run's network; its record defines shot groups."""

    result: EvaluationResult
    record: Record
    title: str

    def metrics(self) -> dict[str, Fraction | None]:
        """Return its metrics in percent."""
        values = metric_values(self.record, test=self.result)
        return {key: None if n is None else 100 * n for key, n in values.items()}


def _column(key: str) -> Column[dict[str, Fraction | None]]:
    return Column(METRICS[key].title, lambda metrics: metrics[key], PERCENT, METRICS[key].best)


TESTED_TABLE: TableSpec[Tested, dict[str, Fraction | None]] = TableSpec(
    name="test",
    title=lambda of: of.title,
    caption=lambda of: f"In %. Groups: {RULES[of.record.job.dataset.shot_rule]}.",
    columns=lambda of: [
        Column("Images", lambda _: sum(of.result.totals), COUNT),
        *map(_column, SHOWN),
    ],
    rows=lambda of: [of.metrics()],
)
"""Metrics of a test, overall and by the shot groups of the run."""


def model_card(record: Record, info: MethodInfo) -> str:
    """Return the model card of a run, in markdown."""
    job, recipe, counts = record.job, record.job.recipe, record.split.train_counts
    paper = ""
    if info.paper is not None:
        citation = (
            f"{info.paper.authors}: {info.paper.title}. {info.paper.venue} {info.paper.year}."
        )
        paper = f"\n- Paper: {escape_markdown(citation)}"
    facts = f"""\
# {escape_markdown(job.label)} on {escape_markdown(job.dataset.title)}

An image classifier, trained on the {job.split} split of {job.dataset.id} with ltbench.

- Method: {escape_markdown(info.title)} (`{job.method}`, version {job.version}), stage {job.stage}\
{paper}
- Training images: {sum(counts)} of {len(counts)} classes, {min(counts)} to {max(counts)} per class
- Recipe: {escape_markdown(recipe.title)} (`{job.recipe_name}`), network {recipe.network}
- Parameters: {record.weights.parameters:,}; SHA-256 of the weights: {record.weights.sha256}
- Trained with ltbench {record.environment.ltbench}, torch {record.environment.torch}; key \
{record.key}, seed {job.seed}
"""
    parts = [facts]
    if record.test is not None:
        tested = Tested(record.test, record, "Test, last epoch")
        parts += [markdown(table, level=2) for table in build([TESTED_TABLE], tested)]
        parts.append(_use(record))
    return "\n".join(parts)


def _use(record: Record) -> str:
    """Return how to use an exported run."""
    folder = f"exports/{record.key}"
    return f"""\
## Use

```python
import ltbench

model = ltbench.load("{folder}")  # the path of this folder
probabilities = model.predict(["photo.jpg"])  # [images, classes]
print(model.classes[probabilities[0].argmax()])
```

`model` is a PyTorch module: `model.transform("photo.jpg")` returns the input of the network, and
`model.predict` takes batches of them too. On the command line, with the path of this folder:

```sh
ltbench predict {folder} photo.jpg                          # images, folders, lists
ltbench predict {folder} photos --csv out.csv --top 5
ltbench evaluate {folder} --images FOLDER --csv out.csv     # one subfolder per class
ltbench evaluate {folder}                                   # repeats the test
```

`config.yaml` holds the preprocessing and the class names.
"""
