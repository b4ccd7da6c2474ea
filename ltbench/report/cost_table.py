"""The cost table of a board: training time, FLOPs, memory and parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from ltbench.analysis.relative_to_baseline import RelativeCost
from ltbench.analysis.result_set import Estimate, EstimateState, VariantResult
from ltbench.analysis.significance import find_baseline
from ltbench.analysis.training_cost import TrainingTime, forward_ratio, training_time
from ltbench.config.planning import BASELINE
from ltbench.config.registry import MethodInfo
from ltbench.core.exact import mean, measured
from ltbench.core.types import COST_BACKBONE
from ltbench.report.context import BoardContext
from ltbench.report.table import COUNT, FINE_TIMES, HOURS, TIMES, Cell, Column, TableSpec
from ltbench.runs.record import Record


@dataclass(frozen=True)
class _Cost:
    """The cost of a variant, and of softmax.

    Attributes:
        records: behind its accuracy.
        time, softmax_time: training times, None if a record is missing.
        flops: training FLOPs relative to softmax.
        forward: forward FLOPs relative to softmax.
    """

    entry: VariantResult
    records: list[Record]
    time: TrainingTime | None
    softmax_time: TrainingTime | None
    flops: RelativeCost | None
    forward: Fraction | None

    @property
    def hours(self) -> Estimate:
        acc = self.entry.values["acc"]
        if self.time is None:
            state: EstimateState = "not available" if acc.keys else acc.state
            return Estimate(planned=acc.planned, state=state)
        return self._value(self.time.seconds / 3600, self.time.n, self.time.keys)

    @property
    def time_over_softmax(self) -> Cell:
        if self.time is None or self.softmax_time is None or self.softmax_time.seconds == 0:
            return Cell()
        ratio = self.time.seconds / self.softmax_time.seconds
        value = self._relative(ratio, self.time, self.softmax_time)
        return Cell(value, about=self.time.hardware != self.softmax_time.hardware)

    @property
    def flops_over_softmax(self) -> Cell:
        if self.flops is None or self.time is None or self.softmax_time is None:
            return Cell()
        value = self._relative(self.flops.ratio, self.time, self.softmax_time)
        return Cell(value, about=not self.flops.known)

    @property
    def rate(self) -> Estimate | None:
        """Images per second of a GPU; CPUs may be shared."""
        on_gpu = (r for r in self.records if r.cost.memory == "gpu")
        return self._measured({r.key: r.cost.images_per_second for r in on_gpu})

    @property
    def memory(self) -> Cell:
        """Peak memory, of GPU or host; empty if seeds differ in that."""
        kinds = {record.cost.memory for record in self.records}
        if len(kinds) != 1:
            return Cell()
        value = self._measured({r.key: r.cost.peak_memory_mb for r in self.records})
        return Cell(value, unit="GPU" if kinds == {"gpu"} else "")

    @property
    def parameters(self) -> Estimate | None:
        if not self.records:
            return None
        acc = self.entry.values["acc"]
        return self._value(Fraction(self.records[0].weights.parameters), acc.n, acc.keys)

    @property
    def hardware(self) -> str | None:
        last_stage = {record.environment.hardware for record in self.records}
        return "; ".join(sorted(self.time.hardware if self.time else last_stage)) or None

    def _relative(self, ratio: Fraction, ours: TrainingTime, softmax: TrainingTime) -> Estimate:
        return self._value(ratio, ours.n, tuple(dict.fromkeys((*ours.keys, *softmax.keys))))

    def _measured(self, numbers: Mapping[str, float | None]) -> Estimate | None:
        exact = {key: measured(number) for key, number in numbers.items() if number is not None}
        if not exact:
            return None
        return self._value(mean(list(exact.values())), len(exact), tuple(exact))

    def _value(self, number: Fraction, n: int, keys: tuple[str, ...]) -> Estimate:
        acc = self.entry.values["acc"]
        state: EstimateState = "complete" if n == acc.planned else "partial"
        return replace(acc, mean=number, std=None, n=n, state=state, keys=keys)


def forward_cost(
    info: MethodInfo | None, methods: Mapping[str, MethodInfo], network: str = COST_BACKBONE
) -> Fraction | None:
    """Return the registry's forward FLOPs of a method relative to softmax.

    Args:
        info: of the method.
        methods: of the registry.
        network: the backbone; ResNet-32 if the registry lacks it.
    """
    baseline = methods.get(BASELINE)
    ours, theirs = (each.cost_on(network) if each else None for each in (info, baseline))
    return None if ours is None or theirs is None else forward_ratio(ours, theirs)


def counted_on(of: BoardContext) -> str:
    """Return the backbone on which the FLOPs of a board are counted."""
    baseline, network = of.methods.get(BASELINE), of.board.recipe.network
    known = baseline is not None and network in baseline.other_costs
    return network if known else COST_BACKBONE


def _costs(of: BoardContext) -> list[_Cost]:
    baseline = find_baseline(of.board, BASELINE)
    softmax_time = None if baseline is None else training_time(baseline, of.records)
    return [
        _Cost(
            entry=entry,
            records=of.records_of(entry),
            time=training_time(entry, of.records),
            softmax_time=softmax_time,
            flops=of.costs.get(entry.variant.label),
            forward=forward_cost(
                of.methods.get(entry.variant.method), of.methods, of.board.recipe.network
            ),
        )
        for entry in of.entries
    ]


COST_TABLE: TableSpec[BoardContext, _Cost] = TableSpec(
    name="cost",
    title=lambda of: f"{of.board.title}: cost",
    caption=lambda of: (
        f"{of.setting} Device-hours: of a GPU, or CPU time of all processes, to train a variant "
        "with its init jobs and teachers, without tests, mean over seeds; CPU time is that of "
        "whole jobs times the share of training in their wall time; ~ if softmax ran on other "
        "hardware. "
        "Images per second, of GPUs alone, and the peak memory of the largest process are those "
        "of the last stage. "
        "Training FLOPs are counted, teachers and momentum networks included; a pass with a "
        "gradient counts as three forward passes; ~ if the registry does not know a network, "
        "which then counts as that of softmax. Forward FLOPs: of one prediction relative to "
        f"softmax. Both are of {counted_on(of)} with 100 classes and default hyper-parameters."
    ),
    columns=lambda _: [
        Column("Method", lambda row: row.entry.variant.label, names=True),
        Column("Device-hours", lambda row: row.hours, HOURS, "lowest"),
        Column("Time over softmax", lambda row: row.time_over_softmax, TIMES, "lowest"),
        Column("FLOPs over softmax", lambda row: row.flops_over_softmax, TIMES, "lowest"),
        Column("Images per second", lambda row: row.rate, COUNT, "highest"),
        Column("Peak memory, MB", lambda row: row.memory, COUNT, "lowest"),
        Column("Parameters", lambda row: row.parameters, COUNT, "lowest"),
        Column("Forward FLOPs", lambda row: row.forward, FINE_TIMES, "lowest"),
        Column("Hardware", lambda row: row.hardware, if_constant="Hardware: {}."),
    ],
    rows=_costs,
)
