from dataclasses import replace
from pathlib import Path

from ltbench.config.catalogue import load_catalogue
from ltbench.results.leaderboard import update_between_markers
from ltbench.results.readme import methods_table, published_methods, refresh_readme
from ltbench.results.render import markdown
from ltbench.results.store import Loaded, RecordStore

METHODS = load_catalogue().methods
README = Path(__file__).parents[2] / "README.md"


def test_the_readme_lists_the_methods_that_there_are(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text())
    recorded = published_methods(RecordStore(README.parent / "results" / "records").load())
    update_between_markers(copy, "methods", markdown(methods_table(METHODS, recorded)))
    assert copy.read_text() == README.read_text()


def test_a_readme_is_refreshed_in_place_and_only_between_its_markers(tmp_path):
    copy = tmp_path / "README.md"
    marks = "".join(
        f"<!-- {m}:{end} -->\n" for m in ("leaderboard", "methods") for end in ("begin", "end")
    )
    copy.write_text(f"before\n{marks}after\n")
    refresh_readme(copy, [], Loaded(), METHODS)
    first = copy.read_text()
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "| softmax" in first
    refresh_readme(copy, [], Loaded(), METHODS)
    assert copy.read_text() == first


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
