"""The model card of a run, in markdown."""

from fractions import Fraction

from ltbench.analysis.board import DECIMALS, EMPTY
from ltbench.analysis.class_metrics import group_accuracies
from ltbench.config.catalogue import MethodInfo
from ltbench.core.exact import fixed, mean_accuracy, measured
from ltbench.core.groups import GROUPS, RULES, class_groups
from ltbench.report.render import escape_markdown, markdown
from ltbench.report.tables import Cell, Table
from ltbench.runs.record import Record, TestResult


def accuracy_table(result: TestResult, record: Record, title: str) -> Table:
    """Return the accuracies of a test, over all classes and by the groups of a run.

    Args:
        result: of the test.
        record: of the run, whose long-tailed split says which class is in which group.
        title: what was tested.
    """
    rule = record.job.dataset.groups
    groups = class_groups(record.split.longtailed_counts, rule)
    within = group_accuracies(result.hits, result.totals, groups)
    numbers: dict[str, Fraction | None] = {
        "Acc": result.accuracy,
        "Balanced acc": mean_accuracy(result.hits, result.totals),
        **{group.capitalize(): within[group] for group in GROUPS},
        "ECE": measured(result.calibration.ece),
    }
    return Table(
        name="test",
        title=title,
        caption=f"In %. Groups: {RULES[rule]}.",
        columns=("Images", *numbers),
        rows=((Cell(str(sum(result.totals))), *(Cell(_percent(n)) for n in numbers.values())),),
    )


def _percent(fraction: Fraction | None) -> str:
    return EMPTY if fraction is None else fixed(100 * fraction, DECIMALS)


def model_card(record: Record, info: MethodInfo) -> str:
    """Return the model card, in markdown."""
    job, recipe, counts = record.job, record.job.recipe, record.split.train_counts
    paper = ""
    if info.paper is not None:
        said = f"{info.paper.authors}: {info.paper.title}. {info.paper.venue} {info.paper.year}."
        paper = f"\n- Paper: {escape_markdown(said)}"
    facts = f"""\
# {escape_markdown(job.label)} on {escape_markdown(job.dataset.title)}

An image classifier, trained on the {job.split} split of {job.dataset.id} with ltbench.

- Method: {escape_markdown(info.title)} (`{job.method}`, version {job.version}), stage {job.stage}\
{paper}
- Images: {sum(counts)} of {len(counts)} classes, {min(counts)} to {max(counts)} each
- Recipe: {escape_markdown(recipe.title)} (`{job.recipe_name}`), network {recipe.network}
- Parameters: {record.weights.parameters:,}; SHA-256 of the weights: {record.weights.sha256}
- Trained with ltbench {record.environment.ltbench}, torch {record.environment.torch}; key \
{record.key}, seed {job.seed}
"""
    parts = [facts]
    if record.test is not None:
        parts.append(markdown(accuracy_table(record.test, record, "Test, last epoch"), level=2))
    parts.append(
        "## Use\n\n`ltbench evaluate` and the path of this folder tests it again; `--images` names "
        "a folder with a\nfolder of images a class. `config.yaml` says how images are made ready "
        "and what the classes are called.\n"
    )
    return "\n".join(parts)
