from pathlib import Path

import pytest
from pydantic import ValidationError

from ltbench.analysis.causes import Cause, explain
from ltbench.analysis.findings import Finding, load_findings
from ltbench.analysis.result_set import DECIMALS, EMPTY, boards, boards_of_seeds
from ltbench.config.files import available
from ltbench.config.load import load_grid
from ltbench.config.registry import load_registry
from ltbench.core.exact import fixed

REPOSITORY = Path(__file__).parents[2]
SOFTMAX = {"label": "Softmax", "method": "softmax"}
OTHER = {"label": "BS, other loss", "method": "balanced_softmax"}
HITS = {0: (45, 45, 30, 20, 5, 1), 1: (35, 35, 30, 20, 5, 1)}


@pytest.fixture
def world(toy):
    """A claim's grid with two seeds, and one with the first seed that shows causes."""
    plans = [
        toy.plan([SOFTMAX], seeds=(0, 1), splits=("longtailed",)),
        toy.plan([SOFTMAX, OTHER], seeds=(0,), splits=("longtailed",), name="trials"),
    ]
    records = [toy.record(job, HITS[job.seed]) for plan in plans for job in plan.jobs.values()]
    return plans, toy.stored(*records)


def explained(world, cause):
    plans, records = world
    own, *others = [board for plan in plans for board in boards(plan, records)]

    def narrowed(board, seeds):
        [found] = boards_of_seeds(plans[0], records, seeds)
        assert found.id == board.id
        return found

    causes = {} if cause is None else {own.id: cause}
    return explain(causes, own, [own, *others], narrowed)


def shown(world, grid, metric="acc"):
    """The figure of the first variant of a grid, as tables print it."""
    plans, records = world
    (board,) = boards(plans[grid], records)
    return fixed(board.entries[0].values[metric].mean, DECIMALS)


def test_figures_are_accuracies_or_other_metrics_over_the_seeds_of_the_board(world):
    found = explained(world, Cause(text="{Softmax} %, of frequent classes {Softmax | many} %"))
    assert found == f"{shown(world, 0)} %, of frequent classes {shown(world, 0, 'many')} %"


def test_the_grid_that_shows_a_cause_is_named_and_its_rows_come_first(world):
    one = shown(world, 1)
    assert one != shown(world, 0)
    found = explained(world, Cause(text="{Softmax}, {BS, other loss}", grid="trials"))
    assert found == f"{one}, {one}. Shown by grid trials, seed 0"


def test_rows_of_the_board_itself_are_shown_at_the_seeds_of_the_grid(toy, world):
    plans, _ = world
    alone = toy.plan([OTHER], seeds=(0,), splits=("longtailed",), name="trials")
    jobs = [*plans[0].jobs.values(), *alone.jobs.values()]
    both = [plans[0], alone], toy.stored(*(toy.record(job, HITS[job.seed]) for job in jobs))
    found = explained(both, Cause(text="{Softmax}", grid="trials"))
    assert found == f"{shown(world, 1)}. Shown by grid trials, seed 0"


def test_figures_without_results_are_dashes(world):
    assert explained(world, Cause(text="{None}, {Softmax | ra}")) == f"{EMPTY}, {EMPTY}"
    assert explained(world, Cause(text="{None}", grid="absent")) == f"{EMPTY}. Shown by grid absent"


def test_causes_of_other_boards_are_not_found(world):
    assert explained(world, None) == "cause not found"
    plans, records = world
    own, shows = (board for plan in plans for board in boards(plan, records))
    for place in (f"{own.dataset.id}, long", "other, short"):
        causes = {place: Cause(text="{Softmax}", grid="trials")}
        assert explain(causes, own, [own, shows], lambda board, _: board) == "cause not found"


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ({"text": "{Softmax | fwe}"}, 'no metric "fwe"; did you mean "few"'),
        ({"text": "so", "recipe": "short"}, "give the `grid`, too"),
        ({"text": "so", "grids": "short"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_causes_are_refused(cause, message):
    with pytest.raises(ValidationError, match=message):
        Finding.model_validate(
            {
                "id": "x",
                "claim": "c",
                "source": "s",
                "published": "p",
                "causes": {"toy_r40, short": cause},
                "compare": [{"left": {"method": "a"}, "op": ">", "right": {"method": "b"}}],
            }
        )


def test_shipped_causes_name_variants_of_grids_and_have_all_figures():
    """Each label is one of the cited grid, or of a grid with the recipe of the claim."""
    registry = load_registry()
    grids = {name: load_grid(name, (), registry) for name in available("grids")}
    by_recipe: dict[str, set[str]] = {}
    for grid in grids.values():
        labels = {variant.label for variant in grid.variants}
        for recipe in grid.recipes:
            by_recipe.setdefault(recipe, set()).update(labels)
    causes = [
        (finding.id, board.partition(", ")[2], cause)
        for finding in load_findings(REPOSITORY / "results" / "findings.yaml")
        for board, cause in finding.causes.items()
    ]
    unknown = [
        (claim, label)
        for claim, recipe, cause in causes
        for label, _ in cause.figures
        if label not in by_recipe[recipe]
        if cause.grid is None or label not in {v.label for v in grids[cause.grid].variants}
    ]
    assert causes
    assert not unknown
    whys = [
        line
        for line in (REPOSITORY / "results" / "README.md").read_text().splitlines()
        if line.startswith("  Why: ")
    ]
    assert whys
    assert not [why for why in whys if EMPTY in why]
