from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import ValidationError

from ltbench.analysis.findings import Finding, evaluate_findings, load_findings
from ltbench.analysis.result_set import boards, boards_of_seeds
from ltbench.config.files import available
from ltbench.config.load import load_grid
from ltbench.config.registry import load_registry
from ltbench.report.context import Leaderboard
from ltbench.report.summary_tables import FINDINGS_TABLE, findings_tally
from ltbench.runs.store import Loaded
from tests.support.errors import problems

REPOSITORY = Path(__file__).parents[2]
VARIANTS = [
    {"label": "Softmax", "method": "softmax"},
    {"label": "BS", "method": "balanced_softmax"},
    {"label": "cRT", "method": "crt", "init_from": "Softmax"},
    {"label": "BS + cRT", "method": "crt", "init_from": "BS"},
]
HITS = {
    "Softmax": (45, 45, 30, 20, 5, 1),
    "BS": (42, 42, 32, 24, 15, 10),
    "cRT": (43, 43, 31, 21, 12, 8),
    "BS + cRT": (40, 40, 30, 24, 15, 5),
}


@dataclass
class World:
    """Boards and the records behind them."""

    boards: list
    records: dict
    plan: object = None

    def __add__(self, other):
        return World([*self.boards, *other.boards], self.records | other.records, self.plan)

    def narrowed(self, board, seeds):
        (found,) = boards_of_seeds(self.plan, self.records, seeds)
        assert found.id == board.id
        return found

    def evaluate(self, *findings):
        return evaluate_findings(findings, self.boards, self.records, self.narrowed, self.boards)

    def built(self, *findings):
        of = Leaderboard([(self.plan, self.boards)], Loaded(self.records), {}, findings)
        return FINDINGS_TABLE.build(of)

    def tally(self, *findings):
        return findings_tally(
            Leaderboard([(self.plan, self.boards)], Loaded(self.records), {}, findings)
        )

    def table(self, *findings):
        return [[cell.text for cell in row] for row in self.built(*findings).rows]


@pytest.fixture
def board(toy):
    return make_board(toy)


def make_board(toy, labels=tuple(HITS), variants=VARIANTS, hits=HITS, **changes):
    plan = toy.plan(variants, **{"seeds": (0,), "splits": ("longtailed",), **changes})
    rows = {row.key: row.variant.label for row in plan.rows if row.variant.label in labels}
    stored = toy.stored(*(toy.record(plan.jobs[key], hits[label]) for key, label in rows.items()))
    return World(boards(plan, stored), stored, plan)


def finding(*compare, **changes):
    values = {"id": "x", "claim": "c", "source": "s", "published": "p", "compare": compare}
    return Finding(**{**values, **changes})


def term(method, metric="acc", **more):
    return {"method": method, "metric": metric, **more}


def verdict(board, *compare, **changes):
    [result] = board.evaluate(finding(*compare, **changes))
    return result.verdict


def over(left, right, op=">"):
    return {"left": left, "op": op, "right": right}


@pytest.mark.parametrize(("op", "expected"), [(">", "holds"), ("<", "not in this setting")])
def test_a_significant_difference_holds_or_is_reversed(board, op, expected):
    assert verdict(board, over(term("balanced_softmax"), term("softmax"), op)) == expected


def test_a_small_difference_is_not_significant(board):
    comparison = over(term("crt", init_from="softmax"), term("crt", init_from="balanced_softmax"))
    [result] = board.evaluate(finding(comparison))
    assert result.verdict == "not significant"
    assert result.ours == "cRT 52.7, BS + cRT 51.3 (not significant)"


def test_p_is_corrected_for_all_comparisons_on_the_board(toy):
    close = {"Softmax": (45, 45, 30, 20, 5, 1), "BS": (45, 45, 30, 20, 8, 4)}  # p = 0.016
    board = make_board(toy, tuple(close), VARIANTS[:2], close)
    claim = finding(over(term("balanced_softmax"), term("softmax")))
    [alone] = board.evaluate(claim)
    assert alone.verdict == "holds"
    others = [
        finding(over(term("balanced_softmax", group), term("softmax", group)), id=group)
        for group in ("many", "medium", "few")
    ]
    among, *_ = board.evaluate(claim, *others)
    assert among.verdict == "not significant"  # 4 x 0.016
    twice, _ = board.evaluate(claim, claim)  # one test, not two
    assert twice.verdict == "holds"


def test_init_from_distinguishes_variants_of_one_method(board):
    from_softmax, from_bs = (
        term("crt", init_from="softmax"),
        term("crt", init_from="balanced_softmax"),
    )
    helps = over(from_softmax, term("softmax"))
    assert verdict(board, helps, over(from_bs, term("softmax"))) == "holds"
    assert verdict(board, {**helps, "left": term("crt")}) == "not testable"


def test_difference_of_gains(board):
    few = term("balanced_softmax", "few", minus=term("softmax", "few"))  # 25 - 6 = 19
    medium = term("balanced_softmax", "medium", minus=term("softmax", "medium"))  # 56 - 50 = 6
    [result] = board.evaluate(finding(over(few, medium)))
    assert result.ours.startswith("BS Few +19.0, BS Medium +6.0")
    assert result.verdict == "not significant"  # 13 points, standard error 8.4
    many = term("balanced_softmax", "many", minus=term("softmax", "many"))  # 84 - 90 = -6
    assert verdict(board, over(few, many)) == "holds"


def test_gains_over_the_same_method_cancel(board):
    gain = term("balanced_softmax", minus=term("softmax"))
    other = term("crt", init_from="softmax", minus=term("softmax"))
    assert verdict(board, over(gain, other)) == "holds"  # as of images of the two alone
    assert verdict(board, over(gain, gain)) == "not significant"


def test_ua_is_compared_by_the_balanced_runs(toy):
    hits = {**HITS, "BS": (50, 50, 40, 40, 40, 40)}
    board = make_board(toy, splits=("longtailed", "balanced"), hits=hits)
    assert verdict(board, over(term("crt", "ua", init_from="softmax"), term("softmax", "ua"))) == (
        "not significant"
    )
    ra = over(term("balanced_softmax", "ra"), term("softmax", "ra"))
    assert verdict(board, ra) == "holds"


def test_the_wildcard_does_not_stand_for_controls(board):
    """Of three others, cRT on softmax is left out; a control may be absent."""
    controls = ({"method": "crt", "init_from": "softmax"}, {"method": "fasa"})
    every = over(term("*"), term("softmax"))
    [found] = board.evaluate(finding(every, controls=controls, fewest=2))
    assert "BS + cRT" in found.ours
    assert found.ours.replace("BS + cRT", "").count("cRT") == 0
    assert verdict(board, every, controls=controls, fewest=3) == "not testable"


def test_wildcard_and_share(board):
    any_over_bs = over(term("*"), term("balanced_softmax"))
    any_over_softmax = over(term("*"), term("softmax"))
    assert verdict(board, any_over_softmax) == "holds"
    assert verdict(board, any_over_bs, share=0.1) == "not in this setting"
    both = (any_over_softmax, any_over_bs)
    assert verdict(board, *both, share=0.5) == "holds"
    assert verdict(board, *both, share=0.51) == "not in this setting"


def test_a_claim_about_all_methods_needs_a_minimum_of_comparisons(board):
    every = over(term("*"), term("softmax"))
    assert verdict(board, every, fewest=3) == "holds"
    [result] = board.evaluate(finding(every, fewest=4))
    assert (result.verdict, result.ours) == ("not testable", "too few to compare: 3 of 4")


def test_a_wildcard_leaves_out_variants_without_results(toy):
    board = make_board(toy, ["Softmax", "BS", "cRT"])
    every = over(term("*"), term("softmax"))
    [result] = board.evaluate(finding(every, fewest=2))
    assert (result.verdict, result.ours) == (
        "holds",
        "BS 55.0, Softmax 48.7; cRT 52.7, Softmax 48.7; 1 of 3 without results",
    )
    from_bs = term("crt", init_from="balanced_softmax")
    for claim in (finding(every, fewest=3), finding(every, over(from_bs, term("softmax")))):
        [result] = board.evaluate(claim)
        assert (result.verdict, result.ours) == ("not testable", "BS + cRT Acc is missing")


def test_a_finding_that_does_not_hold_has_its_cause(board):
    reversed_ = over(term("softmax"), term("balanced_softmax"))
    [known] = board.evaluate(finding(reversed_, causes={"toy_r40, short": "Because."}))
    [unknown] = board.evaluate(finding(reversed_))
    assert (known.cause, unknown.cause) == ("Because.", "cause not found")
    [holds] = board.evaluate(finding(over(term("balanced_softmax"), term("softmax"))))
    assert holds.cause == ""


def test_grids_with_the_same_numbers_share_a_row(toy):
    first = make_board(toy, variants=VARIANTS[:3])
    other = make_board(toy, variants=[*VARIANTS[:2], VARIANTS[3]], name="other_grid")
    claim = finding(over(term("balanced_softmax"), term("softmax")))
    rows = (first + other).table(claim)
    assert [row[3] for row in rows] == ["toy_grid, other_grid: toy_r40, short"]


def test_a_board_whose_runs_are_all_on_another_is_not_tested_again(toy, board):
    copy = make_board(toy, name="copied_grid")
    fewer = make_board(toy, variants=VARIANTS[:2], name="small_grid")
    longer = make_board(toy, recipe=toy.recipe(name="longer", batch_size=64), name="small_grid")
    claim = finding(over(term("*"), term("softmax")))
    tested = (fewer + board + copy + longer).evaluate(claim)
    assert [(each.board.grid, each.board.recipe.name) for each in tested] == [
        ("toy_grid", "short"),
        ("small_grid", "longer"),
    ]
    recipes = finding({"left": term("*"), "op": ">"}, over={"longer": "short"})
    [result] = (fewer + board + longer).evaluate(recipes)
    assert result.board.grid == "small_grid"


def test_not_testable_names_the_missing_values(toy):
    board = make_board(toy, labels=["Softmax"])
    comparisons = [
        over(term("balanced_softmax"), term("softmax")),
        over(term("lws", init_from="softmax"), term("softmax", "ra")),
        over(term("ldam_drw", hparams={"deferred": "none"}), term("softmax")),
        over(term("softmax", recipe="half"), term("softmax")),
    ]
    [result] = board.evaluate(finding(*comparisons))
    assert result.verdict == "not testable"
    assert result.ours == (
        "BS Acc is missing; no lws from softmax; no ldam_drw with deferred=none; "
        "no softmax with recipe half"
    )


def test_a_variant_with_its_own_recipe_is_named_by_it(toy):
    half = {"label": "Softmax, half", "method": "softmax", "recipe": "half"}
    hits = {**HITS, half["label"]: (46, 45, 30, 20, 5, 1)}
    board = make_board(toy, (*hits,), (half, *VARIANTS), hits)
    [result] = board.evaluate(finding(over(term("softmax", recipe="half"), term("softmax"))))
    assert result.ours.startswith("Softmax, half 49.0, Softmax 48.7")
    [every] = board.evaluate(finding(over(term("*"), term("softmax"))))
    assert "half" not in every.ours


def test_empty_group_is_not_testable(toy):
    plan = toy.plan(VARIANTS, seeds=(0,), splits=("longtailed",))
    made = (toy.record(j, (9,) * 6, counts=(500,) * 6) for j in plan.jobs.values())
    stored = toy.stored(*made)
    comparison = over(term("crt", "few", init_from="softmax"), term("softmax"), "<")
    [result] = World(boards(plan, stored), stored, plan).evaluate(finding(comparison))
    assert result.ours == "cRT Few is empty"


def test_table_has_a_row_per_board_that_can_test_and_counts_other_claims(toy, board):
    other = make_board(toy, labels=["Softmax"], recipe=toy.recipe(name="other"))
    testable = finding(over(term("balanced_softmax"), term("softmax")))
    untested = [
        finding(over(term(method, init_from="softmax"), term("softmax")))
        for method in ("lws", "ncm")
    ]
    assert [(row[3], row[-1]) for row in (board + other).table(testable, *untested)] == [
        ("toy_grid: toy_r40, short", "holds"),
    ]
    caption = board.built(testable, *untested).caption
    assert caption.endswith("Not tested yet, for lack of results here: 2 of 3 claims.")
    assert "Not tested" not in board.built(testable).caption
    assert board.built(*untested) is None


def test_the_tally_counts_claims_by_where_they_hold(toy, board):
    equal = dict.fromkeys(HITS, HITS["Softmax"])
    other = make_board(toy, recipe=toy.recipe(name="other", batch_size=64), hits=equal)
    everywhere = finding(over(term("balanced_softmax"), term("softmax")))
    nowhere = finding(over(term("softmax"), term("balanced_softmax")), id="nowhere")
    untested = finding(over(term("ncm", init_from="softmax"), term("softmax")), id="untested")
    claims = (everywhere, nowhere, untested)
    rest = {"hold on none, and are reversed on some": 1, "not tested yet": 1}
    assert +board.tally(*claims) == {"hold on every board": 1, **rest}
    assert +(board + other).tally(*claims) == {"hold on some boards": 1, **rest}
    assert +other.tally(*claims) == {
        "hold on none, and are not reversed": 2,
        "not tested yet": 1,
    }


def test_a_claim_about_recipes_compares_a_row_to_itself(toy, board):
    more = {label: (*hits[:3], 50, 50, 50) for label, hits in HITS.items()}
    longer = make_board(toy, recipe=toy.recipe(name="longer", batch_size=64), hits=more)
    claim = finding({"left": term("*"), "op": ">"}, over={"longer": "short"})
    [row] = (board + longer).table(claim)
    assert row[3] == "toy_grid: toy_r40, longer"
    assert row[4].startswith("Softmax 90.0, with short 48.7; BS 88.7, with short 55.0")
    assert row[-1] == "holds"
    worse = finding({"left": term("*"), "op": "<"}, over={"longer": "short"})
    assert (board + longer).table(worse)[0][-1] == "not in this setting"


def test_a_claim_about_recipes_needs_both(board):
    claim = finding({"left": term("*"), "op": ">"}, over={"longer": "short"})
    assert board.evaluate(claim) == []
    assert board.built(claim) is None
    with pytest.raises(ValidationError, match="a right side"):
        finding({"left": term("*"), "op": ">"})


@pytest.mark.parametrize(
    "compare",
    [
        [],
        [{"left": term("softmax"), "op": "==", "right": term("softmax")}],
        [{"left": term("softmax", "__class__"), "op": ">", "right": term("softmax")}],
        [{"left": term("softmax"), "op": ">", "right": term("*")}],
        [{"left": term("*", minus=term("*")), "op": ">", "right": term("softmax")}],
        [{"left": "__import__('os')", "op": ">", "right": term("softmax")}],
        [{"left": term("softmax", "worst_class"), "op": ">", "right": term("softmax")}],
    ],
)
def test_invalid_predicates_are_refused(compare):
    with pytest.raises(ValidationError):
        finding(*compare)


def test_file_errors_name_file_and_line(tmp_path):
    path = tmp_path / "findings.yaml"
    path.write_text("findings:\n  - id: a\n    claim: b\n    typo: c\n")
    found = problems(lambda: load_findings(path))
    assert (f"{path}:4", "findings[0].typo", "unknown-key") in found
    assert (f"{path}:2", "findings[0].compare", "missing-key") in found


def test_an_unknown_metric_is_refused(tmp_path):
    path = tmp_path / "findings.yaml"
    path.write_text(
        "findings:\n  - {id: a, claim: b, source: c, published: d, compare: "
        "[{left: {method: softmax, metric: acd}, op: '>', right: {method: crt}}]}\n"
    )
    found = problems(lambda: load_findings(path))
    assert found == [(f"{path}:2", "findings[0].compare[0].left.metric", "unknown-value")]


def test_the_findings_of_the_project():
    findings = load_findings(REPOSITORY / "results" / "findings.yaml")
    assert len({finding.id for finding in findings}) == len(findings) >= 10
    assert all(finding.source and finding.published for finding in findings)


PLAIN = {
    *("oversampling", "undersampling", "cosine"),
    *("tau_norm_validated", "tau_norm_learned", "ride_router", "ride_distill"),
}
"""Methods of which no paper at hand claims anything that a board could test."""


def test_each_method_of_a_paper_is_in_a_finding():
    findings = load_findings(REPOSITORY / "results" / "findings.yaml")
    named = {
        method
        for each in terms_of(findings)
        for method in (each.method, *(each.init_from or "").split("+"))
    }
    methods = load_registry().methods
    ours = {key for key, info in methods.items() if info.own_reading}
    assert methods.keys() - named == ours | PLAIN
    assert not ours & named


def test_each_finding_has_a_grid_with_all_its_variants():
    grids = [load_grid(name) for name in available("grids")]
    having = [({*identities(grid.variants)}, {*grid.recipes}) for grid in grids]
    for each in load_findings(REPOSITORY / "results" / "findings.yaml"):
        needed = {
            (t.method, str(t.hparams), t.init_from) for t in terms_of([each]) if t.method != "*"
        }
        pairs = [{*pair} for pair in each.over.items()] or [set()]
        for pair in pairs:
            assert any(needed <= rows and pair <= recipes for rows, recipes in having), each.id


def terms_of(findings):
    """Yield the terms of findings, and those that they subtract."""
    for each in findings:
        for comparison in each.compare:
            for side in filter(None, (comparison.left, comparison.right)):
                yield from filter(None, (side, side.minus))


def identities(variants):
    """Yield how terms name the variants of a grid."""
    by_label = {variant.label: variant for variant in variants}

    def path(label):
        if label is None:
            return None
        variant = by_label.get(label)
        names = (path(variant.init_from), variant.method) if variant else (label,)
        return "+".join(filter(None, names))

    for variant in variants:
        yield variant.method, str(variant.hparams), path(variant.init_from)


def test_partial_values_are_compared_over_the_seeds_that_they_share(toy):
    plan = toy.plan(VARIANTS[:2], seeds=(0, 1), splits=("longtailed",))
    keys = {(row.variant.label, row.seed): row.key for row in plan.rows}

    def over_seeds(*runs):
        made = (toy.record(plan.jobs[keys[run]], HITS[run[0]]) for run in runs)
        stored = toy.stored(*made)
        claim = finding(over(term("balanced_softmax"), term("softmax")))
        [result] = World(boards(plan, stored), stored, plan).evaluate(claim)
        return result.verdict, result.ours

    assert over_seeds(("BS", 1), ("Softmax", 1)) == (
        "holds",
        "BS 55.0, Softmax 48.7, 1 of 2 seeds",
    )
    assert over_seeds(("BS", 1), ("Softmax", 0), ("Softmax", 1)) == (
        "holds",
        "BS 55.0, Softmax 48.7, 1 of 2 seeds",
    )
    assert over_seeds(("BS", 1), ("Softmax", 0)) == (
        "not testable",
        "BS Acc is partial; Softmax Acc is partial",
    )


def test_no_claim_is_about_tuned_variants(toy):
    tuned = [
        {"label": "BS, lr", "method": "balanced_softmax", "recipe_overrides": {"stage1.epochs": 2}},
        {"label": "BS (tuned)", "method": "balanced_softmax", "trials": ["a" * 16]},
    ]
    hits = {**HITS, "BS, lr": (1,) * 6, "BS (tuned)": (1,) * 6}
    board = make_board(toy, tuple(hits), [*tuned, *VARIANTS], hits)
    assert verdict(board, over(term("balanced_softmax"), term("softmax"))) == "holds"
    any_variant = finding(over(term("*"), term("softmax")))
    assert "BS, lr" not in board.evaluate(any_variant)[0].ours
    alone = make_board(toy, tuple(hits), [VARIANTS[0], *tuned], hits)
    assert verdict(alone, over(term("balanced_softmax"), term("softmax"))) == "not testable"


def test_of_many_comparisons_those_that_fail_are_listed_by_what_they_are_compared_to(toy):
    labels = [f"Same {i}" for i in range(6)]
    same = [{"label": v, "method": "ldam_drw", "hparams": {"kinds": [v]}} for v in labels]
    hits = {**HITS, **dict.fromkeys(labels, HITS["Softmax"])}
    board = make_board(toy, tuple(hits), [*VARIANTS, *same], hits)
    [result] = board.evaluate(finding(over(term("*"), term("softmax")), share=0.1))
    listed = ", ".join(f"{label} 48.7" for label in labels)
    assert result.ours == f"3 of 9 hold; not significant, against Softmax 48.7: {listed}"
