"""What the variants of a board cost: to train with all they need, and to predict with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from ltbench.analysis.relative_to_baseline import RelativeCost, relative_costs
from ltbench.analysis.result_set import Estimate, State, VariantResult
from ltbench.analysis.significance import find_baseline
from ltbench.analysis.training_cost import TrainingTime, forward_ratio, training_cost
from ltbench.config.planning import BASELINE
from ltbench.config.registry import MethodInfo
from ltbench.core.exact import mean, measured
from ltbench.report.context import BoardContext
from ltbench.report.table import COUNT, FINE_TIMES, HOURS, TIMES, Cell, Column, TableSpec
from ltbench.runs.record import Record


@dataclass(frozen=True)
class _Cost:
    """What a variant took, and softmax's `unit`, as far as records have both."""

    entry: VariantResult
    found: list[Record]
    spent: TrainingTime | None
    unit: TrainingTime | None
    work: RelativeCost | None
    forward: Fraction | None

    @property
    def hours(self) -> Estimate:
        acc = self.entry.values["acc"]
        if self.spent is None:
            state: State = "not available" if acc.keys else acc.state
            return Estimate(planned=acc.planned, state=state)
        return self._value(self.spent.seconds / 3600, self.spent.n, self.spent.keys)

    @property
    def over_softmax(self) -> Cell:
        if self.spent is None or self.unit is None or self.unit.seconds == 0:
            return Cell()
        ratio = self._beside(self.spent.seconds / self.unit.seconds, self.spent, self.unit)
        return Cell(ratio, about=self.spent.hardware != self.unit.hardware)

    @property
    def work_over_softmax(self) -> Cell:
        if self.work is None or self.spent is None or self.unit is None:
            return Cell()
        value = self._beside(self.work.ratio, self.spent, self.unit)
        return Cell(value, about=not self.work.known)

    @property
    def rate(self) -> Estimate | None:
        return self._measured({r.key: r.cost.images_per_second for r in self.found})

    @property
    def memory(self) -> Cell:
        """Memory used, marked where it is a GPU's; nothing where seeds differ in that."""
        kinds = {record.cost.memory for record in self.found}
        if len(kinds) != 1:
            return Cell()
        value = self._measured({r.key: r.cost.peak_memory_mb for r in self.found})
        return Cell(value, unit="GPU" if kinds == {"gpu"} else "")

    @property
    def parameters(self) -> Estimate | None:
        if not self.found:
            return None
        acc = self.entry.values["acc"]
        return self._value(Fraction(self.found[0].weights.parameters), acc.n, acc.keys)

    @property
    def hardware(self) -> str | None:
        own = {record.environment.hardware for record in self.found}
        return "; ".join(sorted(self.spent.hardware if self.spent else own)) or None

    def _beside(self, ratio: Fraction, spent: TrainingTime, unit: TrainingTime) -> Estimate:
        return self._value(ratio, spent.n, tuple(dict.fromkeys((*spent.keys, *unit.keys))))

    def _measured(self, numbers: Mapping[str, float | None]) -> Estimate | None:
        known = {key: measured(number) for key, number in numbers.items() if number is not None}
        if not known:
            return None
        return self._value(mean(list(known.values())), len(known), tuple(known))

    def _value(self, number: Fraction, n: int, keys: tuple[str, ...]) -> Estimate:
        acc = self.entry.values["acc"]
        state: State = "complete" if n == acc.planned else "partial"
        return replace(acc, mean=number, std=None, n=n, state=state, keys=keys)


def forward_cost(info: MethodInfo | None, methods: Mapping[str, MethodInfo]) -> Fraction | None:
    """Return the arithmetic of one prediction beside softmax's, as the registry has it."""
    plain = methods.get(BASELINE)
    if info is None or plain is None or info.cost is None or plain.cost is None:
        return None
    return forward_ratio(info.cost, plain.cost)


def _costs(of: BoardContext) -> list[_Cost]:
    plain = find_baseline(of.board, BASELINE)
    unit = None if plain is None else training_cost(plain, of.records)
    work = relative_costs(of.board, of.methods, of.records)
    return [
        _Cost(
            entry=entry,
            found=of.records_of(entry),
            spent=training_cost(entry, of.records),
            unit=unit,
            work=work.get(entry.variant.label),
            forward=forward_cost(of.methods.get(entry.variant.method), of.methods),
        )
        for entry in of.entries
    ]


COST: TableSpec[BoardContext, _Cost] = TableSpec(
    name="cost",
    title=lambda of: f"{of.board.title}: cost",
    caption=lambda of: (
        f"{of.setting} Device-hours: of a GPU, or of one process on a CPU, to train a variant and "
        "all that it starts or learns from, mean over seeds; ~ where softmax had other hardware. "
        "Images a second and the memory of the largest process are those of its last stage; what "
        "did not train has no rate. These are as measured: a busy machine is slower. Work: passes "
        "of images through networks in training, teachers and momentum copies too, counted; one "
        "with a gradient is three that are forward alone. ~ where a network is one's own, counted "
        "as softmax's. Forward cost: multiplications and additions of one prediction beside "
        "softmax's, with ResNet-32 and default hyper-parameters."
    ),
    columns=lambda _: [
        Column("Method", lambda row: row.entry.variant.label, names=True),
        Column("Device-hours", lambda row: row.hours, HOURS, "lowest"),
        Column("Over softmax", lambda row: row.over_softmax, TIMES, "lowest"),
        Column("Work over softmax", lambda row: row.work_over_softmax, TIMES, "lowest"),
        Column("Images a second", lambda row: row.rate, COUNT, "highest"),
        Column("Peak memory, MB", lambda row: row.memory, COUNT, "lowest"),
        Column("Parameters", lambda row: row.parameters, COUNT, "lowest"),
        Column("Forward cost", lambda row: row.forward, FINE_TIMES, "lowest"),
        Column("Hardware", lambda row: row.hardware),
    ],
    rows=_costs,
)
