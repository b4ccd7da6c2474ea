from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ltbench.analysis.result_set import boards
from ltbench.cli import app
from ltbench.config.registry import load_registry
from ltbench.config.survey import survey_entries
from ltbench.report.context import BoardContext, Leaderboard
from ltbench.report.method_tables import METHODS_TABLE as TABLE
from ltbench.report.method_tables import SUMMARY_TABLE, Methods
from ltbench.report.readme import (
    between_markers,
    methods_page,
    published_methods,
    refresh_readme,
)
from ltbench.runs.record import Passes
from ltbench.runs.store import Loaded, RecordStore
from tests.support.tables import made, said, texts

METHODS_TABLE = load_registry().methods
MARKERS = "".join(
    f"<!-- {name}:{end} -->\n" for name in ("evidence", "leaderboard") for end in ("begin", "end")
)
ROOT = Path(__file__).parents[2]


def test_the_page_of_the_methods_is_up_to_date():
    recorded = published_methods(RecordStore(ROOT / "results" / "records").load())
    page = methods_page(METHODS_TABLE, recorded)
    assert (ROOT / "docs" / "methods.md").read_text() == page
    assert page.count("```text\n") == len(METHODS_TABLE)


def test_a_method_of_a_plugin_has_neither_link_nor_text():
    own = METHODS_TABLE["lws"].model_copy(update={"key": "mine", "family": "own", "title": "Mine"})
    page = methods_page({**METHODS_TABLE, "mine": own})
    assert page.endswith("\n\n## Own\n\n### Mine\n\nKey `mine`\n")


def test_the_page_of_the_methods_lists_the_survey():
    page = methods_page(METHODS_TABLE)
    entries = list(survey_entries())
    lines = [line.split("|") for line in page.splitlines() if line.startswith("|")]
    listed = [[cell.strip().replace("\\", "") for cell in line] for line in lines[-len(entries) :]]
    assert [(line[1], line[2], line[5]) for line in listed] == [
        (section, entry.name, entry.state) for section, entry in entries
    ]


def test_a_readme_is_refreshed_in_place_and_only_between_its_markers(tmp_path, toy):
    copy = tmp_path / "README.md"
    copy.write_text(f"before\n{MARKERS}after\n")
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}])
    loaded = Loaded(toy.stored(*(toy.record(job, (1,) * 6) for job in plan.jobs.values())))
    of = Leaderboard.of([plan], loaded, METHODS_TABLE)
    refresh_readme(copy, of)
    first = copy.read_text()
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "| Softmax" in first
    assert "- **Equations**: " in first
    before = copy.stat().st_mtime_ns
    refresh_readme(copy, of)
    assert copy.read_text() == first
    assert copy.stat().st_mtime_ns == before


def test_only_the_text_between_the_markers_is_replaced():
    text = "a\n<!-- t:begin -->\nold\n<!-- t:end -->\nb <!-- other:begin -->\n"
    assert between_markers(text, "t", "new\n\n") == text.replace("old", "\nnew\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- evidence:begin -->",
        "<!-- evidence:end --><!-- evidence:begin -->",
        "<!-- evidence:begin --><!-- evidence:begin --><!-- evidence:end -->",
    ],
)
def test_a_readme_without_its_markers_is_refused_before_anything_is_written(tmp_path, text):
    readme, to = tmp_path / "README.md", tmp_path / "results"
    readme.write_text(f"{text}<!-- leaderboard:end -->")
    command = ("leaderboard", "--grid", "quickstart", "--records", tmp_path, "--published-only")
    words = [*command, "--to", to, "--readme", readme]
    error = CliRunner().invoke(app, [*map(str, words)]).exception
    assert [(p.file, p.code) for p in error.problems] == [(str(readme), "malformed")] * 2
    assert not to.exists()


def test_the_summary_has_ten_rows_and_softmax(toy):
    labels = [f"LDAM {i}" for i in range(12)]
    others = [
        {"label": label, "method": "ldam_drw", "hparams": {"max_margin": i + 1.0}}
        for i, label in enumerate(labels)
    ]
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}, *others], splits=("longtailed",))
    hits = {label: (20 + i,) * 6 for i, label in enumerate(labels)} | {"Softmax": (9,) * 6}
    jobs = plan.jobs.values()
    records = toy.stored(*(toy.record(job, hits[job.label]) for job in jobs))
    (board,) = boards(plan, records)
    rows = list(texts(made(SUMMARY_TABLE, board, METHODS_TABLE, records)))
    assert rows == [*labels[:2:-1], "Softmax"]


def test_the_summary_is_sorted_by_accuracy_with_the_cost_of_all_stages(toy):
    plan = toy.plan(
        [
            {"label": "Softmax", "method": "softmax"},
            {"label": "cRT", "method": "crt", "init_from": "Softmax"},
            {"label": "RIDE", "method": "ride"},
        ],
        splits=("longtailed",),
    )
    hits = {"Softmax": (10,) * 6, "cRT": (20,) * 6}
    jobs = [job for job in plan.jobs.values() if job.label in hits]
    frozen = Passes(gradient=0.0, forward=1.0, teachers=0)
    found = []
    for job in jobs:
        record = toy.record(job, hits[job.label])
        if job.label == "cRT":
            training = record.training.model_copy(update={"passes": frozen})
            record = record.model_copy(update={"training": training})
        found.append(record)
    records = toy.stored(*found)
    (board,) = boards(plan, records)
    table = made(SUMMARY_TABLE, board, METHODS_TABLE, records)
    assert list(texts(table)) == ["cRT", "Softmax"]
    assert [row[-2:] for row in texts(table).values()] == [
        ["1.3x", "1.00x"],  # a forward-only stage costs a third
        ["1.0x", "1.00x"],
    ]


def test_variants_without_all_seeds_are_below_those_that_have_them(toy):
    labels = {"Softmax": "softmax", "RIDE": "ride", "SADE": "sade"}
    variants = [{"label": label, "method": method} for label, method in labels.items()]
    plan = toy.plan(variants, splits=("longtailed",))
    hits = {"Softmax": (10,) * 6, "RIDE": (20,) * 6, "SADE": (30,) * 6}
    jobs = [job for job in plan.jobs.values() if (job.label, job.seed) != ("SADE", 1)]
    records = toy.stored(*(toy.record(job, hits[job.label]) for job in jobs))
    (board,) = boards(plan, records)
    assert [*texts(made(SUMMARY_TABLE, board, METHODS_TABLE, records))] == [
        "RIDE",
        "Softmax",
        "SADE",
    ]
    leading = BoardContext(board, METHODS_TABLE, records).leading(2)
    assert [entry.variant.label for entry in leading] == ["RIDE", "Softmax"]


def cells(table, key):
    (row,) = (row for row in table.rows if row[0].text == key)
    return dict(zip(table.titles, said(table, row), strict=True))


def test_the_table_of_methods_has_cost_paper_stages_and_status():
    own = METHODS_TABLE["lws"].model_copy(update={"key": "mine", "family": "own", "cost": None})
    table = TABLE.build(Methods({**METHODS_TABLE, "mine": own}, recorded={"sade", "mine"}))
    softmax, sade, mine = (cells(table, key) for key in ("softmax", "sade", "mine"))
    assert (softmax["Extra parameters"], softmax["Forward FLOPs"]) == ("0", "1.00x")
    assert (softmax["Paper"], softmax["Venue"], softmax["Year"]) == ("\N{EN DASH}",) * 3
    assert sade["Extra parameters"] == "+313,852"
    assert (sade["Venue"], sade["Year"]) == ("NeurIPS", "2022")
    assert sade["Status"] == "contract, oracle, records"
    assert cells(table, "lws")["Stages"] == "(softmax) → scales"
    assert cells(table, "crt")["Status"] == "contract"
    assert (mine["Extra parameters"], mine["Forward FLOPs"]) == ("\N{EN DASH}",) * 2
    assert mine["Status"] == "own"


def test_only_published_records_count(toy):
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}, {"label": "x", "method": "lws"}])
    records = toy.stored(*(toy.record(job, (1,) * 6) for job in plan.jobs.values()))
    assert published_methods(Loaded(records)) == {"softmax", "lws"}
    runs = {key: replace(stored, provenance="run") for key, stored in records.items()}
    assert published_methods(Loaded(runs)) == set()
