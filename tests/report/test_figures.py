import re
import xml.etree.ElementTree as ET

import pytest

from ltbench.analysis.board import boards
from ltbench.report.families import FAMILIES
from ltbench.report.figure_cache import write_figures
from ltbench.report.figures import FIGURES, draw_figures, themed
from tests.support.page_world import HOSTILE, make_world

NAME = "$x^$ & <b> --> é"


@pytest.fixture(scope="module")
def world(tmp_path_factory, toy):
    return make_world(toy, tmp_path_factory.mktemp("figures"), hostile=NAME)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def drawn(world, folder):
    found = write_figures(world.boards[:1], world.toy.methods, world.loaded.records, folder)
    return found["toy_grid", "toy_r40, short"]


def test_every_figure_is_drawn_and_says_what_there_is_to_see(drawn):
    assert [figure.name for figure in drawn] == list(FIGURES)
    assert all(figure.title and figure.text.endswith(".") for figure in drawn)
    said = {figure.name: figure.text for figure in drawn}
    assert said["cost"] == f"{NAME} has the highest accuracy, at 1.0 times the cost of softmax."
    assert said["split"] == "455 images of 6 classes, 200 of one to 5 of another."
    assert NAME in said["trade-off"], "which gets 30 of 50 of every class"


def test_labels_are_text_in_every_drawing(drawn):
    """They are neither formulas nor tags."""
    for figure in drawn:
        root = ET.fromstring(figure.svg)
        tags = {element.tag.split("}")[1] for element in root.iter()}
        assert tags <= {"svg", "g", "path", "defs", "use", "clipPath", "rect", "text", "tspan"}
    curves = next(figure for figure in drawn if figure.name == "curves")
    assert NAME in "".join(ET.fromstring(curves.svg).itertext())


@pytest.mark.slow
def test_equal_records_give_equal_bytes(world, drawn):
    again = draw_figures(world.boards[0], world.toy.methods, world.loaded.records)
    assert [(f.svg, f.png) for f in again] == [(f.svg, f.png) for f in drawn]


def test_ids_differ_between_drawings_and_nothing_is_loaded(drawn):
    ids = [name for figure in drawn for name in re.findall(r' id="([^"]+)"', figure.svg)]
    assert len(ids) == len(set(ids))
    for figure in drawn:
        for link in re.findall(r'(?:xlink:href="|url\()#([^")]+)', figure.svg):
            assert f'id="{link}"' in figure.svg
        assert not re.search(r'href="(?!#)|url\((?!#)|<style|<metadata|<!--', figure.svg)
        assert len(figure.svg) < 60_000


def test_a_page_gets_colours_that_follow_its_theme(drawn):
    cost = next(figure for figure in drawn if figure.name == "cost")
    for family in (FAMILIES["rebalancing"], FAMILIES["baseline"]):
        assert family.colour in cost.svg
        assert family.colour not in themed(cost.svg)
        assert f"var(--{family.key})" in themed(cost.svg)
    assert themed("<text>#2563c9</text>") == "<text>#2563c9</text>", "only styles are colours"


def test_files_are_named_by_board_and_the_cost_is_a_picture_too(drawn, folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *(f"toy_grid-toy_r40-short-{figure.name}.svg" for figure in drawn),
        "toy_grid-toy_r40-short-cost.png",
    }
    assert (folder / "toy_grid-toy_r40-short-cost.png").read_bytes().startswith(b"\x89PNG")


def test_a_board_without_records_has_none(toy):
    [board] = boards(toy.plan([{"label": HOSTILE[:70], "method": "softmax"}]), {})
    assert draw_figures(board, toy.methods, {}) == []
