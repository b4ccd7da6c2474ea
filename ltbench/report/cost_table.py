"""What the variants of a board cost: to train with all they need, and to predict with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from ltbench.analysis.beside_softmax import RelativeCost, relative_costs
from ltbench.analysis.board import EMPTY, Board, Entry, State, Value
from ltbench.analysis.significance import find_plain
from ltbench.analysis.training_cost import Training, forward_ratio, training_cost
from ltbench.config.catalogue import MethodInfo
from ltbench.config.expand import BASELINE
from ltbench.core.exact import fixed, mean, measured, significant
from ltbench.report.render import seeds_text
from ltbench.report.tables import Cell, Table, setting
from ltbench.runs.record import Record
from ltbench.runs.store import Stored

COLUMNS = (
    *("Method", "Device-hours", "Over softmax", "Work over softmax", "Images a second"),
    *("Peak memory, MB", "Parameters", "Forward cost", "Hardware"),
)


def cost_table(
    board: Board, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> Table:
    """Return training time and work, throughput, memory and size of each variant."""
    plain = find_plain(board, BASELINE)
    unit = None if plain is None else training_cost(plain, records)
    work = relative_costs(board, methods, records)
    rows = []
    for entry in board.entries:
        found = [records[key].record for key in entry.values["acc"].keys]
        spent = training_cost(entry, records)
        hardware = sorted(spent.hardware if spent else {r.environment.hardware for r in found})
        row = (
            Cell(entry.variant.label),
            _hours(entry, spent),
            _over(entry, spent, unit),
            _work(entry, work.get(entry.variant.label), spent, unit),
            _measured(entry, {r.key: r.cost.images_per_second for r in found}),
            _memory(entry, found),
            _parameters(entry, found),
            Cell(_forward(entry, methods)),
            Cell("; ".join(hardware) or EMPTY),
        )
        rows.append(row)
    return Table(
        name="cost",
        title=f"{board.title}: cost",
        caption=f"{setting(board)} Device-hours: of a GPU, or of one process on a CPU, to train a "
        "variant and all that it starts or learns from, mean over seeds; ~ where softmax had other "
        "hardware. Images a second and the memory of the largest process are those of its last "
        "stage; what did not train has no rate. These are as measured: a busy machine is slower. "
        "Work: passes of images through networks in training, teachers and momentum copies too, "
        "counted; one with a gradient is three that are forward alone. ~ where a network is one's "
        "own, counted as softmax's. "
        "Forward cost: multiplications and additions of one prediction beside softmax's, with "
        "ResNet-32 and default hyper-parameters.",
        columns=COLUMNS,
        rows=tuple(rows),
    )


def _hours(entry: Entry, spent: Training | None) -> Cell:
    acc = entry.values["acc"]
    if spent is None:
        state: State = "not available" if acc.keys else acc.state
        return Cell(value=Value(planned=acc.planned, state=state))
    hours = spent.seconds / 3600
    value = _value(acc, hours, spent.n, spent.keys)
    return Cell(f"{_short(hours)}{seeds_text(value)}", value)


def _over(entry: Entry, spent: Training | None, unit: Training | None) -> Cell:
    if spent is None or unit is None or unit.seconds == 0:
        return Cell(EMPTY)
    ratio = spent.seconds / unit.seconds
    about = "" if spent.hardware == unit.hardware else "~"
    return _ratio(entry, f"{about}{fixed(ratio, 1)}x", ratio, spent, unit)


def _work(
    entry: Entry, cost: RelativeCost | None, spent: Training | None, unit: Training | None
) -> Cell:
    if cost is None or spent is None or unit is None:
        return Cell(EMPTY)
    return _ratio(entry, str(cost), cost.ratio, spent, unit)


def _ratio(entry: Entry, text: str, ratio: Fraction, spent: Training, unit: Training) -> Cell:
    keys = tuple(dict.fromkeys((*spent.keys, *unit.keys)))
    return Cell(text, _value(entry.values["acc"], ratio, spent.n, keys))


def _measured(entry: Entry, numbers: Mapping[str, float | None]) -> Cell:
    known = {key: number for key, number in numbers.items() if number is not None}
    if not known:
        return Cell(EMPTY)
    middle, acc = mean([measured(number) for number in known.values()]), entry.values["acc"]
    return Cell(fixed(middle, 0, ","), _value(acc, middle, len(known), tuple(known)))


def _memory(entry: Entry, found: Sequence[Record]) -> Cell:
    """Return the memory used, marked where it is a GPU's; nothing where seeds differ in that."""
    kinds = {record.cost.memory for record in found}
    if len(kinds) != 1:
        return Cell(EMPTY)
    cell = _measured(entry, {record.key: record.cost.peak_memory_mb for record in found})
    return replace(cell, text=f"{cell.text} GPU") if kinds == {"gpu"} else cell


def _parameters(entry: Entry, found: Sequence[Record]) -> Cell:
    if not found:
        return Cell(EMPTY)
    number, acc = found[0].weights.parameters, entry.values["acc"]
    return Cell(f"{number:,}", _value(acc, Fraction(number), acc.n, acc.keys))


def _value(acc: Value, number: Fraction, n: int, keys: tuple[str, ...]) -> Value:
    state: State = "complete" if n == acc.planned else "partial"
    return replace(acc, mean=number, std=None, n=n, state=state, keys=keys)


def _forward(entry: Entry, methods: Mapping[str, MethodInfo]) -> str:
    """Return the arithmetic of one prediction beside softmax's, as the catalogue has it."""
    own, plain = (methods.get(method) for method in (entry.variant.method, BASELINE))
    if own is None or plain is None or own.cost is None or plain.cost is None:
        return EMPTY
    return f"{fixed(forward_ratio(own.cost, plain.cost), 2)}x"


def _short(number: Fraction) -> str:
    """Return a number with three significant digits, or all of those before the point."""
    return fixed(number, 0, ",") if number >= 100 else significant(number, 3)
