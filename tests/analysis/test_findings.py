from pathlib import Path

import pytest
from pydantic import ValidationError

from ltbench.analysis.findings import Finding, evaluate, load_findings
from ltbench.analysis.result_set import boards
from ltbench.report.context import Leaderboard
from ltbench.report.summary_tables import FINDINGS
from ltbench.runs.store import Loaded
from tests.support.errors import problems


def findings_table(findings, boards):
    return FINDINGS.build(Leaderboard([(None, boards)], Loaded(), {}, findings))


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


@pytest.fixture
def board(toy):
    return make_board(toy)


def make_board(toy, labels=tuple(HITS), variants=VARIANTS, **changes):
    plan = toy.plan(variants, seeds=(0,), splits=("longtailed",), **changes)
    jobs = {label: plan.jobs[toy.key_of(plan, label)] for label in labels}
    return boards(plan, toy.stored(*(toy.record(j, HITS[n]) for n, j in jobs.items())))[0]


def finding(*compare, **changes):
    values = {"id": "x", "claim": "c", "source": "s", "published": "p", "compare": compare}
    return Finding(**{**values, **changes})


def term(method, metric="acc", **more):
    return {"method": method, "metric": metric, **more}


def verdict(board, *compare, **changes):
    return evaluate(finding(*compare, **changes), board).verdict


@pytest.mark.parametrize(
    ("op", "margin", "expected"),
    [  # balanced softmax 55.0, softmax 48.67: 6.33 points
        (">", 0, "holds"),
        (">", 6.3, "holds"),
        (">", 6.4, "does not hold"),
        ("<", 0, "does not hold"),
        ("<", 6.4, "holds"),
        (">=", 6.4, "does not hold"),
        ("<=", 6.4, "holds"),
    ],
)
def test_operators_and_margins(board, op, margin, expected):
    comparison = {
        "left": term("balanced_softmax"),
        "op": op,
        "right": term("softmax"),
        "margin": margin,
    }
    assert verdict(board, comparison) == expected


def test_init_from_distinguishes_variants_of_one_method(board):
    from_softmax, from_bs = (
        term("crt", init_from="softmax"),
        term("crt", init_from="balanced_softmax"),
    )
    helps = {"left": from_softmax, "op": ">", "right": term("softmax")}
    does_not = {"left": from_bs, "op": "<=", "right": term("balanced_softmax")}
    assert verdict(board, helps, does_not) == "holds"
    assert verdict(board, {**helps, "left": term("crt")}) == "not testable"


def test_difference_of_gains(board):
    few = term("balanced_softmax", "few", minus=term("softmax", "few"))  # 25 - 6 = 19
    medium = term("balanced_softmax", "medium", minus=term("softmax", "medium"))  # 56 - 50 = 6
    result = evaluate(finding({"left": few, "op": ">", "right": medium, "margin": 12.9}), board)
    assert result.verdict == "holds"
    assert result.ours == "BS Few +19.0, BS Medium +6.0"


def test_wildcard_and_share(board):
    any_over_bs = {"left": term("*"), "op": ">", "right": term("balanced_softmax")}
    any_over_softmax = {"left": term("*"), "op": ">", "right": term("softmax")}
    assert verdict(board, any_over_softmax) == "holds"
    assert verdict(board, any_over_bs, share=0.1) == "does not hold"
    both = (any_over_softmax, any_over_bs)
    assert verdict(board, *both, share=0.5) == "holds"
    assert verdict(board, *both, share=0.51) == "does not hold"


def test_a_claim_about_all_methods_needs_a_minimum_of_comparisons(board):
    every = {"left": term("*"), "op": ">", "right": term("softmax")}
    assert verdict(board, every, fewest=3) == "holds"
    result = evaluate(finding(every, fewest=4), board)
    assert (result.verdict, result.ours) == ("not testable", "too few to compare: 3 of 4")


def test_grids_with_the_same_numbers_share_a_row(toy, board):
    other = make_board(toy, name="other_grid")
    fewer = make_board(toy, labels=["Softmax", "BS"], variants=VARIANTS[:2], name="small_grid")
    claim = finding({"left": term("*"), "op": ">", "right": term("softmax")})
    rows = findings_table([claim], [board, other, fewer]).rows
    assert [row[3].text for row in rows] == [
        "toy_grid, other_grid: toy_r40, short",
        "small_grid: toy_r40, short",
    ]


def test_not_testable_names_the_missing_values(toy):
    board = make_board(toy, labels=["Softmax"])
    comparisons = [
        {"left": term("balanced_softmax"), "op": ">", "right": term("softmax")},
        {"left": term("lws", init_from="softmax"), "op": ">", "right": term("softmax", "ra")},
        {
            "left": term("ldam_drw", hparams={"deferred": "none"}),
            "op": ">",
            "right": term("softmax"),
        },
        {"left": term("softmax", recipe="half"), "op": ">", "right": term("softmax")},
    ]
    result = evaluate(finding(*comparisons), board)
    assert result.verdict == "not testable"
    assert result.ours == (
        "BS Acc is missing; no lws from softmax; no ldam_drw with deferred=none; "
        "no softmax with recipe half"
    )


def test_a_variant_with_its_own_recipe_is_named_by_it(toy, monkeypatch):
    half = {"label": "Softmax, half", "method": "softmax", "recipe": "half"}
    monkeypatch.setitem(HITS, half["label"], (46, 45, 30, 20, 5, 1))
    board = make_board(toy, (*HITS, half["label"]), (half, *VARIANTS))
    alike = {"left": term("softmax", recipe="half"), "op": ">", "right": term("softmax")}
    result = evaluate(finding(alike), board)
    assert (result.verdict, result.ours) == ("holds", "Softmax, half 49.0, Softmax 48.7")
    every = evaluate(finding({"left": term("*"), "op": ">", "right": term("softmax")}), board)
    assert "half" not in every.ours


def test_empty_group_is_not_testable(toy):
    plan = toy.plan(VARIANTS, seeds=(0,), splits=("longtailed",))
    records = toy.stored(*(toy.record(j, (9,) * 6, counts=(500,) * 6) for j in plan.jobs.values()))
    [board] = boards(plan, records)
    comparison = {
        "left": term("crt", "few", init_from="softmax"),
        "op": "<",
        "right": term("softmax"),
    }
    assert evaluate(finding(comparison), board).ours == "cRT Few is empty"


def test_table_has_a_row_per_board_that_can_test(toy, board):
    other = make_board(toy, labels=["Softmax"], recipe=toy.recipe(name="other"))
    claims = [
        finding({"left": term("balanced_softmax"), "op": ">", "right": term("softmax")}),
        finding({"left": term("lws", init_from="softmax"), "op": ">", "right": term("softmax")}),
    ]
    table = findings_table(claims, [board, other])
    assert [(row[3].text, row[5].text) for row in table.rows] == [
        ("toy_grid: toy_r40, short", "holds"),
        ("toy_grid: toy_r40, short", "not testable"),
    ]


def test_a_claim_about_recipes_compares_a_row_to_itself(toy, board):
    longer = make_board(toy, recipe=toy.recipe(name="longer"))
    claim = finding({"left": term("*"), "op": ">=", "margin": -0.1}, over={"longer": "short"})
    table = findings_table([claim], [board, longer])
    [row] = [[cell.text for cell in row] for row in table.rows]
    assert row[3] == "toy_grid: toy_r40, longer"
    assert row[4].startswith("Softmax 48.7, with short 48.7; BS 55.0, with short 55.0")
    assert row[5] == "holds"
    worse = finding({"left": term("*"), "op": ">"}, over={"longer": "short"})
    assert findings_table([worse], [board, longer]).rows[0][5].text == "does not hold"


def test_a_claim_about_recipes_needs_both(toy, board):
    claim = finding({"left": term("*"), "op": ">"}, over={"longer": "short"})
    [row] = findings_table([claim], [board]).rows
    assert [cell.text for cell in row[3:]] == ["", "not tested here", "not testable"]
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
        [{"left": term("softmax"), "op": ">", "right": term("softmax"), "margin": float("nan")}],
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
