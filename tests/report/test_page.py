"""The page: what its HTML says, without a browser."""

import json
import re
import shlex
from collections import Counter
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev
from types import SimpleNamespace

import pytest

from ltbench.analysis.findings import Finding
from ltbench.config.overrides import parse_only
from ltbench.config.registry import load_registry
from ltbench.report.board_tables import MAIN_TABLE
from ltbench.report.context import BoardContext, Leaderboard
from ltbench.report.page import document
from ltbench.report.page.document import visible, write_page
from ltbench.runs.store import BadRecord, Loaded
from tests.support.made_records import with_confusion
from tests.support.page_world import CLASSES, HOSTILE, VARIANTS, make_world

PAGE = Path(document.__file__).parent
NOTHING = "\N{EN DASH}"
VOID = {"meta", "link", "input", "br"}


class Reader(HTMLParser):
    """Reads a page into cells by table, ids, links and all that might load something."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.loads, self.tags = [], [], [], [], Counter()
        self.tables, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags[tag] += 1
        self.attributes += [name for name, _ in attrs]
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a":
            self.links.append(values.get("href") or values.get("xlink:href"))
        elif tag != "link":
            self.loads += [values[name] for name in ("src", "href", "srcset") if name in values]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append(
                SimpleNamespace(text="", name="", attributes=values, tags=[])
            )
        elif self._cell():
            self._cell().tags.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self._cell():
            self._cell().text += data
            self._cell().name += data if self.open[-1] == "bdi" else ""

    def _cell(self):
        inside = "td" in self.open or "th" in self.open
        return self.tables[-1][-1][-1] if inside else None


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def world(tmp_path_factory, toy):
    return make_world(toy, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(world):
    return read(world.page)


def is_main(table):
    return table[0][0].text == "Rank"


def main_rows(page):
    """Return the first table of numbers as cells by label and column."""
    table = next(t for t in page.tables if is_main(t))
    titles = [cell.text for cell in table[0]]
    rows = [dict(zip(titles, row, strict=True)) for row in table[1:] if len(row) == len(titles)]
    return {row["Method"].name: row for row in rows}


def test_a_hostile_name_is_text_and_nothing_else(world, page):
    """Its tags would add to those of a page where it has a harmless name."""
    harmless = read(make_world(world.toy, world.root / "harmless", hostile="Harmless").page)
    assert page.tags == harmless.tags
    assert page.attributes == harmless.attributes
    assert [[len(row) for row in t] for t in page.tables] == [
        [len(row) for row in t] for t in harmless.tables
    ]
    assert any(HOSTILE in cell.text for t in page.tables for row in t for cell in row)


def test_nothing_is_loaded_and_the_policy_allows_only_our_scripts(world, page):
    assert page.loads == []
    text = world.page.read_text()
    assert "default-src 'none'" in text
    assert "'unsafe-eval'" not in text
    policy = re.search(r"script-src ([^;]+);", text)[1]
    assert re.fullmatch(r"('sha256-[\w+/]+='\s?){2}", policy), "two hashes, nothing else"
    assert not any(name.startswith("on") for name in page.attributes)
    assert "innerHTML" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_links_lead_somewhere(world, page):
    assert [name for name, n in Counter(page.ids).items() if n > 1] == []
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        elif not link.startswith("https://"):
            assert (world.page.parent / link).is_file(), link


def test_accuracies_are_those_of_the_records(world, page):
    for label, runs in world.hits.items():
        fractions = [100 * sum(hits) / 300 for hits in runs]
        cell = main_rows(page)[label]["Acc"]
        assert float(cell.attributes["data-v"]) == pytest.approx(fmean(fractions), rel=1e-9)
        expected = f"{fmean(fractions):.1f}"
        if len(fractions) > 1:
            expected += f" ± {stdev(fractions):.1f}"
        assert cell.text.strip() == expected


def test_a_shape_goes_from_many_to_few(world):
    (drawn,) = set(
        re.findall(
            r'<svg class="shape"[^>]*aria-label="many 81.0, medium 55.0, few 20.0">(.*?)</svg>',
            world.page.read_text(),
        )
    )  # of the variant that has one seed
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    assert heights == sorted(set(heights))  # from the top down


def test_every_state_is_shown(world, page):
    words = {"LDAM": "failed", "Stale": "stale", "NCM": "missing"}
    for label, word in words.items():
        cell = main_rows(page)[label]["Acc"]
        assert cell.text.strip() == word
        assert "data-v" not in cell.attributes, "so that it sorts last"
    partial = main_rows(page)["Half"]
    assert partial["Acc"].attributes["class"] == "partial"
    assert partial["Seeds"].text.strip() == "1 of 2"
    assert main_rows(page)["cRT"]["RA"].text.startswith("n/a")
    text = world.page.read_text()
    assert "Not ranked: incomplete over seeds" in text
    assert "numbers that do not add up" in text
    assert "recipe.batch_size=64" in text, "an ad-hoc record"
    visible_text = " ".join(c.text for t in page.tables for row in t for c in row)
    assert not re.search(r"\b(nan|NaN|None|undefined|inf)\b", visible_text)


def test_best_and_second_stand_once_and_only_among_the_ranked(page):
    rows = list(main_rows(page).values())
    ranked = [row for row in rows if row["Rank"].text != NOTHING]
    for title in ("Acc", "RA", "Many", "Medium", "Few"):
        bold = [row for row in rows if "b" in row[title].tags]
        second = [row for row in rows if "u" in row[title].tags]
        assert len(bold) == 1
        assert len(second) <= 1
        best = max(float(row[title].attributes.get("data-v", "-inf")) for row in ranked)
        assert float(bold[0][title].attributes["data-v"]) == best
        assert all(row in ranked for row in (*bold, *second))


def test_ranked_rows_come_best_first_and_the_others_below(page):
    rows = list(main_rows(page).values())
    places = [row["Rank"].text for row in rows]
    expected = [str(i + 1) for i in range(places.index(NOTHING))]
    assert places == expected + [NOTHING] * places.count(NOTHING)
    values = [float(r["Acc"].attributes["data-v"]) for r in rows if r["Rank"].text != NOTHING]
    assert values == sorted(values, reverse=True)


def test_the_status_adds_up_to_the_rows(world):
    for board, part in zip(
        world.boards, world.page.read_text().split('<p class="status">')[1:], strict=True
    ):
        counts = [int(n) for n in re.findall(r'class="count \w+"[^>]*>(\d+) ', part)]
        assert sum(counts) == len(board.entries)


def test_views_of_boards_are_never_mixed(world, page):
    named = [{row[1].name for row in t[1:] if len(row) > 1} for t in page.tables if is_main(t)]
    assert named == [{e.variant.label for e in board.entries} for board in world.boards]


def test_a_method_has_its_paper_definition_and_curve(world):
    text = world.page.read_text()
    start = text.index('id="m-ldam_drw"')
    section = text[start : text.index("</details>", start)]
    assert "A. Author" in section
    assert "larger margins for smaller classes" in section, "from the method's own file"
    assert "<polyline" in text[text.index('id="m-balanced_softmax"') :]
    assert "ltbench run --grid toy_grid --only variant=ldam_drw" in section


def test_pre_training_has_a_section_of_the_variants_that_start_from_it(toy, tmp_path):
    methods = load_registry().methods
    chosen = {key: methods[key] for key in ("softmax", "ssp", "crt")}
    variants = [
        {"label": "Softmax", "method": "softmax"},
        {"label": "SSP, alone", "method": "softmax", "init_from": "ssp"},
        {"label": "SSP", "method": "crt", "init_from": "SSP, alone"},
    ]
    plan = toy.plan(variants, seeds=(0,), splits=("longtailed",), methods=chosen)
    records = [toy.record(job, (30,) * 6) for job in plan.jobs.values()]
    path = write_page(Leaderboard.of([plan], Loaded(toy.stored(*records)), chosen), tmp_path)
    assert Counter(read(path).links)["#m-ssp"] >= 2
    text = path.read_text()
    section = unescape(text[text.index('id="m-ssp"') :])
    section = section[: section.index("</details>")]
    assert "from SSP, alone" in section
    command = re.search("ltbench run .* --only (.*)</code>", section)[1]
    assert parse_only(shlex.split(command)).variant == ("SSP, alone", "SSP")
    assert 'id="m-crt"' not in text


def test_families_of_many_methods_are_folded(world, monkeypatch, tmp_path):
    assert '<details class="family" open>' in world.page.read_text()
    monkeypatch.setattr(document, "UNFOLDED", 1)
    of = Leaderboard.of(world.plans, world.loaded, world.toy.methods, failed=world.failed)
    text = write_page(of, tmp_path).read_text()
    assert '<details class="family" open>' not in text
    assert 'Baseline</h3> <span class="muted">1 method</span></summary>' in text


def test_records_in_another_order_give_the_same_page(world):
    shuffled = Loaded(dict(reversed(world.loaded.records.items())), world.loaded.bad)
    other = world.page.parent.parent / "again"
    of = Leaderboard.of(world.plans, shuffled, world.toy.methods, failed=world.failed)
    again = write_page(of, other)
    assert again.read_bytes() == world.page.read_bytes()
    assert str(world.root).encode() not in again.read_bytes()


def test_findings_without_results_are_counted_and_have_no_row(world, tmp_path):
    claims = [
        Finding(
            id=method,
            claim=f"{method} does better.",
            source="s",
            published="p",
            compare=[{"left": {"method": method}, "op": ">", "right": {"method": "softmax"}}],
        )
        for method in ("balanced_softmax", "ncl", "bcl")
    ]
    of = Leaderboard.of(world.plans, world.loaded, world.toy.methods, claims, world.failed)
    text = write_page(of, tmp_path).read_text()
    assert "balanced_softmax does better." in text
    assert '<span class="not-testable">2 not tested yet</span>' in text
    tested = Counter(re.findall(r'<span class="[a-z-]+">(\d+ hold on [a-z, ]+)</span>', text))
    assert sum(int(each.split()[0]) for each in tested) == 1
    assert "ncl does better." not in text
    assert "not tested yet" not in world.page.read_text()


def test_no_finding_is_tested_on_a_grid_that_forbids_it(world):
    claim = Finding(
        id="balanced",
        claim="Balanced softmax does better.",
        source="s",
        published="p",
        compare=[
            {"left": {"method": "balanced_softmax"}, "op": ">", "right": {"method": "softmax"}}
        ],
    )
    first = world.plans[0]
    quiet = replace(first, grid=first.grid.model_copy(update={"findings": False}))
    grids = [
        {result.board.grid for result in Leaderboard.of(plans, world.loaded, {}, [claim]).tested}
        for plans in (world.plans, [quiet, *world.plans[1:]])
    ]
    assert grids[0] - grids[1] == {first.grid.name}


def test_no_records_at_all_are_a_page_too(toy, tmp_path):
    text = write_page(Leaderboard.of([], Loaded(), toy.methods), tmp_path).read_text()
    assert "There are no records yet." in text
    of = Leaderboard.of([toy.plan(VARIANTS)], Loaded(), toy.methods)
    text = write_page(of, tmp_path).read_text()
    assert "No variant has all seeds yet: ltbench run --grid toy_grid" in text


def test_a_reason_of_a_bad_record_is_text(toy, tmp_path):
    bad = BadRecord(tmp_path, "<b>x</b>", "run", "<script>alert(1)</script>\u202e")
    of = Leaderboard.of([], Loaded(bad=[bad]), toy.methods)
    text = write_page(of, tmp_path).read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in text


@pytest.mark.parametrize(("text", "shown"), [("é 中", "é 中"), ("a\u202eb\n", "a\\u202eb\\u000a")])
def test_invisible_characters_are_escaped(text, shown):
    assert visible(text) == shown


def test_style_and_scripts_stay_small(world):
    sizes = {name: len((PAGE / name).read_bytes()) for name in ("page.js", "style.css")}
    assert sizes["page.js"] < 20_000
    assert sum(sizes.values()) < 40_000


def matrix_of(text):
    """Return the classes and the counts by label that a page holds for its first board."""
    part = text[text.index('data-view="confusion" id=') :]
    part = part[: part.index('<p class="caption')]
    options = re.findall(r'<option value="([^"]*)" data-counts="([\d,]*)">', part)
    counts = {
        unescape(label): [int(n or 0) for n in numbers.split(",")] for label, numbers in options
    }
    return json.loads(re.search(r"data-classes='([^']*)'", part)[1]), counts


def test_confusion_counts_are_summed_over_seeds_with_names_of_classes(world):
    classes, counts = matrix_of(world.page.read_text())
    assert classes == [*CLASSES, HOSTILE]
    assert counts.keys() == world.hits.keys(), "few classes: of every variant with a record"
    for label, runs in world.hits.items():
        total = [sum(of_class) for of_class in zip(*runs, strict=True)]
        assert counts[label][::7] == total
        assert sum(counts[label]) == 300 * len(runs)


def confusion_page(toy, classes, folder, **test):
    """Write a page of five variants on many classes; return its text."""
    variants = [{"label": f"M{i}", "method": "mine", "hparams": {"i": i}} for i in range(4)]
    variants.append({"label": "Softmax", "method": "softmax"})
    dataset = toy.dataset(classes=classes)
    plan = toy.plan(variants, seeds=(0,), splits=("longtailed",), dataset=dataset)
    records = []
    for i, job in enumerate(plan.jobs.values()):
        counts = tuple(range(5, 5 + classes))
        record = with_confusion(toy.record(job, (40 - i,) * classes, counts=counts))
        records.append(record.model_copy(update={"test": record.test.model_copy(update=test)}))
    of = Leaderboard.of([plan], Loaded(toy.stored(*records)), toy.methods)
    return write_page(of, folder).read_text()


def test_many_classes_have_the_counts_of_softmax_and_the_best(toy, tmp_path):
    text = confusion_page(toy, 100, tmp_path)
    classes, counts = matrix_of(text)
    assert list(counts) == ["M0", "M1", "M2", "Softmax"]
    assert classes == [str(k) for k in reversed(range(100))], "the most frequent first"
    assert counts["M0"][:2] == [40, 0]
    assert counts["M0"][99] == 10, "the last class of the data, taken for its first"
    assert len(text) < 250_000


def test_counts_of_more_classes_are_said_to_be_in_files(toy, tmp_path):
    text = confusion_page(toy, 201, tmp_path, confusion=None, confusion_sha256="e" * 64)
    part = text[text.index('data-view="confusion" id=') :]
    assert ".confusion.json.gz" in part[: part.index("</div>")]
    assert "<option" not in part[: part.index("</div>")]


def test_records_without_confusion_counts_have_no_tab_of_them(toy, tmp_path):
    assert 'data-view="confusion"' not in confusion_page(toy, 6, tmp_path, confusion=None)


def test_a_natural_profile_has_no_ua_and_ra(toy, tmp_path):
    plan = toy.plan(
        [{"label": "Softmax", "method": "softmax"}, {"label": "M", "method": "mine"}],
        splits=("longtailed",),
        dataset=toy.dataset(imbalance_type="natural", imbalance_ratio=None),
    )
    records = [toy.record(job, (30,) * 6) for job in plan.jobs.values()]
    of = Leaderboard.of([plan], Loaded(toy.stored(*records)), toy.methods)
    page = write_page(of, tmp_path)
    titles = {cell.text for table in read(page).tables for cell in table[0]}
    assert "Acc" in titles
    assert titles.isdisjoint({"UA", "RA"})
    assert "Acc, UA, RA" not in page.read_text()
    assert "relative accuracy" not in " ".join(
        MAIN_TABLE.title(BoardContext(b, {}, {})) for b in of.boards
    )


def test_the_page_opens_with_the_board_that_a_readme_begins_with(world):
    last = replace(world.plans[-1], grid=world.plans[-1].grid.model_copy(update={"headline": True}))
    of = Leaderboard.of([*world.plans[:-1], last], world.loaded, world.toy.methods)
    opened = opened_boards(write_page(of, world.root / "opened"))
    first = of.fullest
    assert opened == [f"{first.grid}/{first.dataset.id}/{first.recipe.name}"]
    assert first.grid == last.grid.name
    before = opened_boards(world.page)
    assert len(before) == 1
    assert before != opened


def opened_boards(page):
    """Return the boards that a page shows before anything is chosen."""
    return re.findall(r'<section class="board current"[^>]* data-board="([^"]*)"', page.read_text())
