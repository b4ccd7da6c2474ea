from dataclasses import replace
from pathlib import Path

from ltbench.analysis.board import boards
from ltbench.config.catalogue import load_catalogue
from ltbench.report.readme import (
    choice_table,
    methods_page,
    methods_table,
    published_methods,
    refresh_readme,
)
from ltbench.runs.store import Loaded, RecordStore

METHODS = load_catalogue().methods
ROOT = Path(__file__).parents[2]


def test_the_page_of_the_methods_is_that_of_the_files():
    recorded = published_methods(RecordStore(ROOT / "results" / "records").load())
    page = methods_page(METHODS, recorded)
    assert (ROOT / "docs" / "methods.md").read_text() == page
    assert page.count("```text\n") == len(METHODS)


def test_a_readme_is_refreshed_in_place_and_only_between_its_markers(tmp_path, toy):
    copy = tmp_path / "README.md"
    copy.write_text("before\n<!-- leaderboard:begin -->\n<!-- leaderboard:end -->\nafter\n")
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}])
    loaded = Loaded(toy.stored(*(toy.record(job, (1,) * 6) for job in plan.jobs.values())))
    refresh_readme(copy, [plan], loaded, METHODS)
    first = copy.read_text()
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "| Softmax" in first
    refresh_readme(copy, [plan], loaded, METHODS)
    assert copy.read_text() == first


def test_what_to_choose_stands_by_accuracy_with_the_cost_of_all_its_stages(toy):
    plan = toy.plan(
        [
            {"label": "Softmax", "method": "softmax"},
            {"label": "cRT", "method": "crt", "start_from": "Softmax"},
            {"label": "RIDE", "method": "ride"},
        ],
        splits=("longtailed",),
    )
    hits = {"Softmax": (10,) * 6, "cRT": (20,) * 6}
    jobs = [job for job in plan.jobs.values() if job.label in hits]
    records = toy.stored(*(toy.record(job, hits[job.label]) for job in jobs))
    (board,) = boards(plan, records)
    table = choice_table(board, METHODS, records)
    assert [row[0].text for row in table.rows] == ["cRT", "Softmax"]
    assert [row[4].text for row in table.rows] == [
        "1.3x",
        "1.0x",
    ]  # a stage that is forward alone is a third
    assert [row[5].text for row in table.rows] == ["1.00x", "1.00x"]


def cells(table, key):
    (row,) = (row for row in table.rows if row[0].text == key)
    return dict(zip(table.columns, (cell.text for cell in row), strict=True))


def test_a_method_is_described_by_what_is_known_of_it():
    own = METHODS["lws"].model_copy(update={"key": "mine", "family": "own", "cost": None})
    table = methods_table({**METHODS, "mine": own}, recorded={"sade", "mine"})
    softmax, sade, mine = (cells(table, key) for key in ("softmax", "sade", "mine"))
    assert (softmax["Extra parameters"], softmax["Forward cost"]) == ("0", "1.00x")
    assert (softmax["Paper"], softmax["Venue"], softmax["Year"]) == ("\N{EN DASH}",) * 3
    assert sade["Extra parameters"] == "+313,852"
    assert (sade["Venue"], sade["Year"]) == ("NeurIPS", "2022")
    assert sade["Status"] == "contract, oracle, records"
    assert cells(table, "lws")["Stages"] == "(softmax) → scales"
    assert cells(table, "crt")["Status"] == "contract"
    assert (mine["Extra parameters"], mine["Forward cost"]) == ("\N{EN DASH}",) * 2
    assert mine["Status"] == "own"


def test_only_published_records_count(toy):
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}, {"label": "x", "method": "lws"}])
    records = toy.stored(*(toy.record(job, (1,) * 6) for job in plan.jobs.values()))
    assert published_methods(Loaded(records)) == {"softmax", "lws"}
    runs = {key: replace(stored, provenance="run") for key, stored in records.items()}
    assert published_methods(Loaded(runs)) == set()
