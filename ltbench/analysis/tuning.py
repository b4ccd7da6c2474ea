"""Choose hyper-parameters by trials on auxiliary images.

The trials of a variant are its runs in a grid that is tested on auxiliary images. Chosen is the
trial with the highest mean of class accuracies there, the first of equals. A tuned variant names
the keys of its trials, so that the choice can be made again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ltbench.config.errors import Location, Problem, raise_all
from ltbench.config.grid import Variant
from ltbench.config.job import Job
from ltbench.config.keys import canonical
from ltbench.config.planning import Plan, PlannedRun
from ltbench.core.exact import mean, mean_accuracy
from ltbench.runs.record import Record
from ltbench.runs.store import Stored


@dataclass(frozen=True)
class Trial:
    """A trial of a variant: its records, one a seed."""

    variant: Variant
    records: tuple[Record, ...]

    @property
    def accuracy(self) -> Fraction:
        """Mean of class accuracies on the auxiliary images, over seeds."""
        return _accuracy(self.records)


@dataclass(frozen=True)
class Tuning:
    """The trials of a variant.

    Attributes:
        label: of the variant.
        trials: in the order of the grid.
    """

    label: str
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The chosen trial."""
        return max(self.trials, key=lambda trial: trial.accuracy)

    @property
    def variant(self) -> Variant:
        """The tuned variant, with the values of the chosen trial."""
        keys = tuple(record.key for trial in self.trials for record in trial.records)
        update = {"label": f"{self.label} (tuned)", "trial_of": None, "trials": keys}
        return self.best.variant.model_copy(update=update)


def tunings(plan: Plan, records: Mapping[str, Stored]) -> list[Tuning]:
    """Return the trials of each variant of a grid.

    Raises:
        ConfigError: if the grid has no trials or more than one board, if variants have different
            numbers of trials, or trials have no record.
    """
    raise_all(_problems_of_trials(plan, records))
    runs: dict[str, dict[str, list[PlannedRun]]] = {}
    for row in _trials(plan):
        of_variant = runs.setdefault(row.variant.trial_of or "", {})
        of_variant.setdefault(row.variant.label, []).append(row)
    return [
        Tuning(
            label,
            tuple(
                Trial(rows[0].variant, tuple(records[row.key].record for row in rows))
                for rows in of_variant.values()
            ),
        )
        for label, of_variant in runs.items()
    ]


def _trials(plan: Plan) -> list[PlannedRun]:
    """Return the planned runs of trials."""
    return [row for row in plan.rows if row.split == "longtailed" and row.variant.trial_of]


def _problems_of_trials(plan: Plan, records: Mapping[str, Stored]) -> Iterator[Problem]:
    """Yield why a grid has no trials to choose by."""
    here, rows = Location(f"grid {plan.grid.name}"), _trials(plan)
    if not rows:
        yield here.problem("no-effect", "no variant has a sweep: there are no trials")
    boards = {(row.dataset.id, row.recipe.name) for row in rows}
    if len(boards) > 1:
        message = f"has {len(boards)} pairs of dataset and recipe; values are chosen for one"
        yield here.problem("conflict", message)
    trials = {row.variant.label: row.variant.trial_of for row in rows}
    numbers = Counter(trials.values())
    if len(set(numbers.values())) > 1:
        counts = ", ".join(f"{label} {n}" for label, n in numbers.items())
        message = f"need the same number of trials each, and have: {counts}"
        yield here.at("variants").problem("conflict", message)
    missing = [row.variant.label for row in rows if row.key not in records]
    if missing:
        message = f"{len(missing)} of {len(rows)} trials have no record, the first: {missing[0]}"
        hint = f"`ltbench run --grid {plan.grid.name}` trains them"
        yield here.problem("missing-record", message, hint)


def tuning_problems(plans: Sequence[Plan], records: Mapping[str, Stored]) -> list[Problem]:
    """Return the tuned variants of grids that their trials do not give."""
    problems: list[Problem] = []
    for plan in plans:
        tuned: dict[str, PlannedRun] = {}
        for row in plan.rows:
            if row.split == "longtailed" and row.variant.trials:
                tuned.setdefault(row.variant.label, row)
        for label, row in tuned.items():
            here = Location(f"grid {plan.grid.name}").at("variants", label)
            problems += _tuned_wrongly(row.variant, plan.jobs[row.key], records, here)
    return problems


def _tuned_wrongly(
    variant: Variant, job: Job, records: Mapping[str, Stored], here: Location
) -> Iterator[Problem]:
    missing = [key for key in variant.trials if key not in records]
    if missing:
        yield here.problem("missing-record", f"its trials have no record: {', '.join(missing)}")
        return
    by_settings: dict[str, list[Record]] = {}
    for key in variant.trials:
        by_settings.setdefault(_settings(records[key].record.job), []).append(records[key].record)
    best = max(by_settings.values(), key=_accuracy)[0].job
    if _settings(best) != _settings(job):
        yield here.problem("mismatch", f"has other values than its best trial, {best.label}")


def _accuracy(records: Sequence[Record]) -> Fraction:
    """Return the mean of class accuracies, over records."""
    tests = (record.test for record in records)
    values = (mean_accuracy(test.hits, test.totals) for test in tests if test is not None)
    return mean([value for value in values if value is not None])


def _settings(job: Job) -> str:
    """Return what a trial and the job that it stands for share."""
    recipe = job.recipe.identity()
    return canonical([job.method, job.version, job.stage, job.hparams, recipe])
