import json
from dataclasses import replace

import pytest

from ltbench.report.drawing import draw
from ltbench.report.figure_cache import draw_cached
from ltbench.report.figures import figures_of
from tests.support.page_world import make_world


@pytest.fixture(scope="module")
def figure(tmp_path_factory, toy):
    world = make_world(toy, tmp_path_factory.mktemp("drawings"))
    figures = figures_of(world.boards[0], toy.methods, world.loaded.records)
    return next(figure for figure in figures if figure.name == "cost")


def test_a_drawing_is_cached_and_drawn_again_if_damaged(figure, tmp_path):
    drawn = draw_cached(figure, tmp_path)
    assert drawn == draw(figure)
    (path,) = tmp_path.iterdir()
    marked = {**json.loads(path.read_text()), "svg": "Kept."}
    path.write_text(json.dumps(marked))
    assert draw_cached(figure, tmp_path).svg == "Kept."
    for damaged in ('{"svg": 1}', "{", json.dumps({**marked, "png": 1})):
        path.write_text(damaged)
        assert draw_cached(figure, tmp_path) == drawn


def test_another_figure_has_a_file_of_its_own(figure, tmp_path):
    draw_cached(figure, tmp_path)
    draw_cached(replace(figure, board="another"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
