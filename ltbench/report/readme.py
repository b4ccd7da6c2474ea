"""What the README shows of records, and the page of the methods: written, never edited."""

import ast
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ltbench.analysis.beside_softmax import relative_costs
from ltbench.analysis.board import EMPTY, Board, boards
from ltbench.analysis.training_cost import forward_ratio
from ltbench.config.catalogue import OWN, MethodInfo
from ltbench.config.expand import BASELINE, Plan
from ltbench.core.exact import fixed
from ltbench.core.nouns import NetworkCost
from ltbench.report.leaderboard import update_between_markers
from ltbench.report.render import escape_markdown, markdown
from ltbench.report.tables import Cell, Table
from ltbench.runs.store import Loaded, Stored

PACKAGE = Path(__file__).parent.parent
GENERATED = "Written by `make leaderboard`; never edited by hand."

OTHER_TASKS = """\
The suite classifies single images. What the survey names of other tasks is left out: FrameStack
(videos), LST (incremental instance segmentation), DT2 (scene graphs) and UD (objects without
labels), and of its datasets LVIS (detection and segmentation), VOC-LT and COCO-LT (several labels
an image) and VideoLT (videos)."""

METHOD_COLUMNS = (
    "Key",
    "Method",
    "Paper",
    "Venue",
    "Year",
    "Category",
    "Stages",
    "Extra parameters",
    "Forward cost",
    "Oracle",
    "Status",
)


def methods_table(methods: Mapping[str, MethodInfo], recorded: Collection[str] = ()) -> Table:
    """Return the methods: where they come from, what they cost, how they are checked.

    Args:
        methods: those of the catalogue, and of plugins.
        recorded: keys of the methods that have published records.
    """
    plain = methods[BASELINE].cost
    rows = []
    for key, info in methods.items():
        paper = info.paper
        start = [f"({info.start_from})"] if info.start_from else []
        words = (
            key,
            info.title,
            paper.title if paper else EMPTY,
            paper.venue if paper else EMPTY,
            str(paper.year) if paper else EMPTY,
            info.category,
            " → ".join([*start, *(stage.name for stage in info.stages)]),
            *_relative_cost(info.cost, plain),
            info.oracle or EMPTY,
            _status(info, recorded),
        )
        rows.append(tuple(map(Cell, words)))
    return Table(
        name="methods",
        title="Methods",
        caption="A stage in brackets is that of the method it starts from unless a grid names "
        "another. Extra parameters (teachers and momentum copies too) and forward cost of one "
        "prediction (convolutions and matrix products) are beside softmax's, with ResNet-32, 100 "
        "classes and default hyper-parameters. Oracle: the file of reference numbers in "
        "tests/oracles. Status: what stands behind a method: the contract tests, an oracle, "
        "published records.",
        columns=METHOD_COLUMNS,
        rows=tuple(rows),
    )


def _relative_cost(cost: NetworkCost | None, plain: NetworkCost | None) -> tuple[str, str]:
    """Return extra parameters and forward cost beside plain softmax's."""
    if cost is None or plain is None:
        return EMPTY, EMPTY
    extra = cost.parameters - plain.parameters
    return f"{extra:+,}" if extra else "0", f"{fixed(forward_ratio(cost, plain), 2)}x"


def _status(info: MethodInfo, recorded: Collection[str]) -> str:
    """Return what stands behind a method's numbers."""
    if info.family == OWN:
        return "own"
    words = ["contract"]
    if info.oracle:
        words.append("oracle")
    if info.key in recorded:
        words.append("records")
    return ", ".join(words)


def choice_table(
    board: Board, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> Table:
    """Return the variants of a board that have a result, the most accurate first, with their cost.

    Args:
        board: what was measured.
        methods: the catalogue's, for the cost of a prediction.
        records: sound records by key, for the images trained on.
    """
    costs = relative_costs(board, methods, records)
    shown = [entry for entry in board.entries if entry.values["acc"].mean is not None]
    rows = []
    for entry in sorted(shown, key=lambda entry: -(entry.values["acc"].mean or 0)):
        info = methods.get(entry.variant.method)
        _, forward = _relative_cost(info.cost if info else None, methods[BASELINE].cost)
        times = str(costs.get(entry.variant.label, EMPTY))
        values = (Cell(value=entry.values[metric]) for metric in ("acc", "few", "ra"))
        rows.append((Cell(entry.variant.label), *values, Cell(times), Cell(forward)))
    return Table(
        name="choice",
        title=f"{board.title}, {board.recipe.title}",
        caption="The most accurate first. Training: passes through networks of all stages, what "
        "it starts from and teachers included, one with a gradient as three that are forward "
        "alone; prediction: one forward pass; both beside softmax's. Few: accuracy on classes with "
        "few training images.",
        columns=("Method", "Acc", "Few", "RA", "Training", "Prediction"),
        rows=tuple(rows),
    )


def refresh_readme(
    readme: Path, plans: Sequence[Plan], loaded: Loaded, methods: Mapping[str, MethodInfo]
) -> None:
    """Write into the README what to choose by the board with the most variants measured.

    Raises:
        ValueError: if the README lacks a marker.
    """
    every = [board for plan in plans for board in boards(plan, loaded.records)]
    text = ""
    if every:
        fullest = max(every, key=lambda b: sum(e.values["acc"].n > 0 for e in b.entries))
        text = markdown(choice_table(fullest, methods, loaded.records))
    update_between_markers(readme, "leaderboard", text)


def methods_page(methods: Mapping[str, MethodInfo], recorded: Collection[str] = ()) -> str:
    """Return the page of the methods: a table, then each with the equations that open its file.

    Args:
        methods: those of the catalogue.
        recorded: keys of the methods that have published records.
    """
    parts = [
        "# Methods",
        f"{GENERATED} The text of a method is the head of its file.",
        "[Docs](README.md)",
        markdown(methods_table(methods, recorded), level=2).strip(),
    ]
    for family in dict.fromkeys(info.family for info in methods.values()):
        parts.append(f"## {family.replace('_', ' ').capitalize()}")
        for key, info in methods.items():
            if info.family == family:
                place = f"ltbench/methods/{family}/{key}.py"
                source = (PACKAGE.parent / place).read_text(encoding="utf-8")
                said = ast.get_docstring(ast.parse(source)) or ""
                parts.append(f"### {escape_markdown(info.title)}")
                keys = ", also ".join(f"`{name}`" for name in (key, *info.aliases))
                parts.append(f"Key {keys}, [{place}](../{place})")
                parts.append(f"```text\n{said}\n```")
    parts += ["## Other tasks", OTHER_TASKS]
    return "\n\n".join(parts) + "\n"


def published_methods(loaded: Loaded) -> set[str]:
    """Return the keys of the methods that have published records."""
    found = loaded.records.values()
    return {stored.record.method for stored in found if stored.provenance == "published"}
