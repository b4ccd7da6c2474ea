import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from ltbench.analysis.result_set import boards
from ltbench.analysis.verification import differences
from ltbench.report.drawing import STYLE, draw, themed
from ltbench.report.families import FAMILIES
from ltbench.report.figure_cache import draw_figures, write_figures
from ltbench.report.figures import FIGURES, LINK, LOSS, figures_of
from tests.support.page_world import CLASSES, HITS, HOSTILE, make_world

NAME = "$x^$ & <b> --> é"
SOFTMAX = [sum(of_class) for of_class in zip(*HITS["Softmax"], strict=True)]
"""Hits of each class over both seeds: accuracy in percent, for there are 50 images of each."""


@pytest.fixture(scope="module")
def world(tmp_path_factory, toy):
    return make_world(toy, tmp_path_factory.mktemp("figures"), hostile=NAME)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def drawn(world, folder):
    found = draw_figures(world.boards[:1], world.toy.methods, world.loaded.records)
    write_figures(world.boards[:1], found, folder)
    return found["toy_grid", "toy_r40, short"]


@pytest.fixture(scope="module")
def figures(world):
    found = figures_of(world.boards[0], world.toy.methods, world.loaded.records)
    return {figure.name: figure for figure in found}


def series(panel, **wanted):
    """Return the series of a panel that are as wanted."""
    return [s for s in panel.series if all(getattr(s, k) == v for k, v in wanted.items())]


def accuracy(label, classes=range(6)):
    return Fraction(sum(run[k] for run in HITS[label] for k in classes), len(classes))


def differing(one, other):
    return list(differences(Path("figure"), one, other))


def test_every_figure_has_a_summary(figures):
    assert list(figures) == list(FIGURES)
    assert all(figure.title and figure.text.endswith(".") for figure in figures.values())
    text = {name: figure.text for name, figure in figures.items()}
    expected = f"{NAME} has the highest accuracy, at 1.0 times the training FLOPs of softmax."
    assert text["cost"] == expected
    assert text["split"] == "455 images of 6 classes, 200 to 5 per class."
    assert NAME in text["trade-off"], "which gets 30 of 50 of every class"


def test_cost_is_accuracy_over_cost_by_family_and_the_front(figures):
    (panel,) = figures["cost"].panels
    assert (panel.x.scale, panel.y.label) == ("times", "Acc (%)")
    (softmax,) = series(panel, label=FAMILIES["baseline"].title)
    assert (softmax.x, softmax.y) == ((Fraction(1),), (accuracy("Softmax"),))
    every = [y for part in series(panel, mark="points", spread=()) for y in part.y]
    ours = ("Softmax", "Balanced Softmax", "LDAM-DRW", "cRT")
    assert sorted(every) == sorted([Fraction(361, 6), *map(accuracy, ours)])
    (front,) = series(panel, mark="steps")
    assert front.y == tuple(sorted(front.y)), "nothing dearer is less accurate"
    assert front.y[-1] == Fraction(361, 6), "of the own method: 30 of 50 but for one"
    names = [name.text for name in panel.names]
    assert (names[0], names[-1], names.count("Softmax")) == (NAME, "Softmax", 1)
    assert panel.series[-1] is softmax, "which is drawn on top"
    (bar,) = [s for s in panel.series if s.spread and s.y == softmax.y]
    assert bar.spread[0] ** 2 == pytest.approx(Fraction(144 - 141, 3) ** 2 / 2, rel=1e-12)


def test_a_board_without_a_complete_variant_shows_those_with_the_most_seeds(toy):
    variants = [{"label": name, "method": name} for name in ("softmax", "balanced_softmax")]
    plan = toy.plan(variants, splits=("longtailed",))
    jobs = [job for job in plan.jobs.values() if job.seed == 1]
    records = toy.stored(*(toy.record(job, (20 + i,) * 6) for i, job in enumerate(jobs)))
    (board,) = boards(plan, records)
    cost = next(f for f in figures_of(board, toy.methods, records) if f.name == "cost")
    assert cost.text.endswith("1 of 2 seeds.")
    assert figures_of(boards(plan, {})[0], toy.methods, {}) == []


def test_there_is_no_overall_gain_without_a_common_seed(toy):
    variants = [{"label": name, "method": name} for name in ("softmax", "balanced_softmax")]
    plan = toy.plan(variants, splits=("longtailed",))
    seeds = {"softmax": 0, "balanced_softmax": 1}
    jobs = [job for job in plan.jobs.values() if job.seed == seeds[job.method]]
    records = toy.stored(*(toy.record(job, (20 + job.seed,) * 6) for job in jobs))
    (board,) = boards(plan, records)
    gains = next(f for f in figures_of(board, toy.methods, records) if f.name == "gains")
    assert gains.text == "No variant has a seed in common with softmax. 1 of 2 seeds."


def test_trade_off_is_few_over_many(figures):
    (panel,) = figures["trade-off"].panels
    many, few = accuracy("Softmax", [0, 1]), accuracy("Softmax", [4, 5])
    (softmax,) = series(panel, label=FAMILIES["baseline"].title)
    assert (softmax.x, softmax.y) == ((many,), (few,))
    (column,), (row,) = series(panel, mark="position"), series(panel, mark="level")
    assert (column.x, row.y) == ((many,), (few,))


def test_by_year_has_the_papers_years_and_softmax_as_a_line(figures, world):
    assert figures["by-year"].title == "Accuracy by year"  # a board may have no relative accuracy
    acc, ra = figures["by-year"].panels
    assert (acc.y.label, ra.y.label) == ("Acc (%)", "RA (%)")
    (line,) = series(acc, mark="level")
    assert (line.y, line.label, line.dashed) == ((accuracy("Softmax"),), "softmax", True)
    found = {point for s in series(acc, mark="points") for point in zip(s.x, s.y, strict=True)}
    paper = world.toy.methods["ldam_drw"].paper
    assert (Fraction(paper.year), accuracy("LDAM-DRW")) in found


def test_curves_and_gains_are_of_classes_by_frequency(figures):
    (panel,) = figures["curves"].panels
    (softmax,) = series(panel, label="softmax")
    assert softmax.y == tuple(map(Fraction, SOFTMAX))
    (area,) = series(panel, mark="area")
    assert (area.y[0], area.y[-1]) == (200, 5)
    panels = figures["gains"].panels
    assert NAME in [panel.title for panel in panels]
    own = next(panel for panel in panels if panel.title == NAME)
    expected = [Fraction(n, 1) - s for n, s in zip((61, 60, 60, 60, 60, 60), SOFTMAX, strict=True)]
    (up,), (down,) = series(own, color=LINK), series(own, color=LOSS)
    found = dict(zip(up.x + down.x, up.y + down.y, strict=True))
    assert [found[k] for k in range(6)] == expected
    assert min(up.y) >= 0 > max(down.y)


def test_axes_name_the_classes_that_fit(figures):
    names = (*CLASSES, NAME)
    for figure in ("curves", "split"):
        assert [panel.x.names for panel in figures[figure].panels] == [names]
    panels = figures["gains"].panels
    assert [panel.x.names for panel in panels] == [names] * len(panels)
    text = "".join(ET.fromstring(draw(figures["split"]).svg).itertext())
    assert all(name in text for name in names)


def test_split_has_the_images_of_each_group(figures):
    (panel,) = figures["split"].panels
    assert sum(sum(part.y) for part in panel.series) == 455
    assert [part.label.split(":")[0] for part in panel.series] == ["many", "medium", "few"]


def test_equal_records_give_equal_figures_and_others_do_not(world, figures):
    records = dict(reversed(world.loaded.records.items()))
    again = figures_of(world.boards[0], world.toy.methods, records)
    assert again == list(figures.values())
    hashes = {figure.numbers_hash for figure in figures.values()}
    assert {figure.numbers_hash for figure in again} == hashes
    other = figures_of(world.boards[2], world.toy.methods, world.loaded.records)
    assert other
    assert hashes.isdisjoint(figure.numbers_hash for figure in other)
    (panel,) = figures["split"].panels
    first, *rest = panel.series
    moved = replace(first, y=(first.y[0] + 1, *first.y[1:]))
    changed = replace(figures["split"], panels=(replace(panel, series=(moved, *rest)),))
    assert changed.numbers_hash not in hashes


def test_labels_are_text_in_every_drawing(drawn):
    """They are neither formulas nor tags."""
    for _, drawing in drawn:
        root = ET.fromstring(drawing.svg)
        tags = {element.tag.split("}")[1] for element in root.iter()}
        assert tags <= {"svg", "g", "path", "defs", "use", "clipPath", "rect", "text", "tspan"}
    (curves,) = (drawing for figure, drawing in drawn if figure.name == "curves")
    assert NAME in "".join(ET.fromstring(curves.svg).itertext())


def test_drawings_hold_the_hash_of_their_numbers(drawn, figures):
    for figure, drawing in drawn:
        assert ET.fromstring(drawing.svg).get("data-numbers") == figure.numbers_hash
    (cost,) = (drawing for figure, drawing in drawn if figure.name == "cost")
    assert figures["cost"].numbers_hash.encode() in cost.png


def test_a_drawing_has_a_mark_for_every_point(figures):
    (panel,) = figures["trade-off"].panels
    crowd = max(series(panel, mark="points"), key=lambda part: len(part.x))
    other = replace(crowd, x=crowd.x[:1], y=crowd.y[:1])
    rest = tuple(part for part in panel.series if part is not crowd)
    ends = tuple(replace(crowd, x=(part(crowd.x),), y=(part(crowd.y),)) for part in (min, max))
    many, few = (
        draw(replace(figures["trade-off"], panels=(replace(panel, series=(*rest, *ends, part)),)))
        for part in (crowd, other)
    )
    assert many.svg.count("<use ") - few.svg.count("<use ") == len(crowd.x) - 1


def test_of_names_that_overlap_only_the_first_is_written(figures):
    (panel,) = figures["cost"].panels
    named = [replace(panel.names[0], text=text) for text in ("first", "second")]
    apart = replace(named[1], x=max(x for part in panel.series for x in part.x), text="third")
    names = (*named, apart)
    svg = draw(replace(figures["cost"], panels=(replace(panel, names=names),))).svg
    assert [text in svg for text in ("first", "second", "third")] == [True, False, True]


def test_drawings_are_verified_by_their_numbers_and_not_by_their_bytes(figures, monkeypatch):
    def files(figure):
        made = draw(figure)
        return made.png, made.svg.encode(), f"<p>\n{made.svg}</p>\n{made.svg}".encode()

    cost = figures["cost"]
    before = files(cost)
    monkeypatch.setitem(STYLE, "font.size", 10)
    again = files(cost)
    assert all(old != new for old, new in zip(before, again, strict=True))
    assert not any(differing(*pair) for pair in zip(before, again, strict=True))
    (panel,) = cost.panels
    other = files(replace(cost, panels=(replace(panel, names=panel.names[1:]),)))
    (png,), (svg,), (page,) = (differing(*pair) for pair in zip(again, other, strict=True))
    assert all(cost.numbers_hash in problem.message for problem in (png, svg, page))
    assert [problem.line for problem in (png, svg, page)] == [1, 1, 2]
    assert differing(before[2], again[2].replace(b"<p>", b"<b>"))


def test_ids_differ_between_drawings_and_nothing_is_loaded(drawn):
    svgs = [drawing.svg for _, drawing in drawn]
    ids = [name for svg in svgs for name in re.findall(r' id="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    for svg in svgs:
        for link in re.findall(r'(?:xlink:href="|url\()#([^")]+)', svg):
            assert f'id="{link}"' in svg
        assert not re.search(r'href="(?!#)|url\((?!#)|<style|<metadata|<!--', svg)
        assert len(svg) < 60_000


def test_a_page_gets_colors_that_follow_its_theme(drawn):
    (cost,) = (drawing for figure, drawing in drawn if figure.name == "cost")
    for family in (FAMILIES["rebalancing"], FAMILIES["baseline"]):
        assert family.color in cost.svg
        assert family.color not in themed(cost.svg)
        assert f"var(--{family.key})" in themed(cost.svg)
    assert themed("<text>#2563c9</text>") == "<text>#2563c9</text>", "only styles are colors"


def test_files_are_named_by_board_and_cost_is_also_png(drawn, folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {f"toy_grid-toy_r40-short-{figure.name}.svg" for figure, _ in drawn}
    pictures = {figure.name: made.png for figure, made in drawn if made.png is not None}
    assert pictures.keys() == {"cost"}
    assert pictures["cost"].startswith(b"\x89PNG")


def test_a_board_without_records_has_none(toy):
    [board] = boards(toy.plan([{"label": HOSTILE[:70], "method": "softmax"}]), {})
    assert figures_of(board, toy.methods, {}) == []
