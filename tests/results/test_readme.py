from pathlib import Path

from ltbench.config.catalogue import load_catalogue
from ltbench.results.leaderboard import update_between_markers
from ltbench.results.readme import methods_table, refresh_readme
from ltbench.results.render import markdown
from ltbench.results.store import Loaded

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_lists_the_methods_that_there_are(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text())
    update_between_markers(copy, "methods", markdown(methods_table(load_catalogue().methods)))
    assert copy.read_text() == README.read_text()


def test_a_readme_is_refreshed_in_place_and_only_between_its_markers(tmp_path):
    copy = tmp_path / "README.md"
    marks = "".join(
        f"<!-- {m}:{end} -->\n" for m in ("leaderboard", "methods") for end in ("begin", "end")
    )
    copy.write_text(f"before\n{marks}after\n")
    refresh_readme(copy, [], Loaded(), load_catalogue().methods)
    first = copy.read_text()
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "| softmax" in first
    refresh_readme(copy, [], Loaded(), load_catalogue().methods)
    assert copy.read_text() == first
