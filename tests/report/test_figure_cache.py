import json
from dataclasses import replace

import pytest

from ltbench.report.figure_cache import kept_figures, sources_hash
from tests.support.page_world import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory, toy):
    return make_world(toy, tmp_path_factory.mktemp("drawings"))


def test_a_drawing_is_kept_and_drawn_anew_where_its_file_is_damaged(world, tmp_path):
    def figures():
        return kept_figures(world.boards[-1], world.toy.methods, world.loaded.records, tmp_path)

    drawn = figures()
    assert figures() == drawn
    (path,) = tmp_path.iterdir()
    marked = [{**each, "text": "Kept."} for each in json.loads(path.read_text())]
    path.write_text(json.dumps(marked))
    assert {figure.text for figure in figures()} == {"Kept."}
    for damaged in ('[{"name": 1}]', "{", json.dumps([{**marked[0], "svg": 1}])):
        path.write_text(damaged)
        assert figures() == drawn


def test_what_is_drawn_from_decides(world):
    board, methods, records = world.boards[0], world.toy.methods, world.loaded.records
    before = sources_hash(board, methods, records)
    assert sources_hash(board, dict(methods), dict(reversed(records.items()))) == before
    assert sources_hash(replace(board, seeds=(0,)), methods, records) != before
    assert sources_hash(world.boards[1], methods, records) != before
    (start,) = (entry for entry in board.entries if entry.variant.label == "Softmax")
    stored = records[start.keys[0]]
    cost = stored.record.cost.model_copy(update={"train_seconds": 2.0})
    slower = replace(stored, record=stored.record.model_copy(update={"cost": cost}))
    assert sources_hash(board, methods, {**records, start.keys[0]: slower}) != before
    mine = {key for entry in board.entries for v in entry.values.values() for key in v.keys}
    other = next(key for key in world.boards[1].entries[0].keys if key not in mine)
    assert sources_hash(board, methods, {k: v for k, v in records.items() if k != other}) == before
