"""The page in a headless Chromium, from disk and with every name unresolvable."""

import pytest

from ltbench.report.context import Leaderboard
from ltbench.report.page.document import write_page
from ltbench.runs.store import Loaded
from tests.support.browser import CHROMIUM, chromium
from tests.support.page_world import CLASSES, HITS, HOSTILE, make_world

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

ROWS = """[...document.querySelectorAll('.board.current .view.current tbody tr[data-entry]')]
    .filter(row => !row.hidden && row.offsetParent)"""
LABELS = f"{ROWS}.map(row => row.querySelector('bdi').textContent)"
RANKED = f"{ROWS}.filter(row => row.closest('.ranked')).length"
LIVE = "document.querySelector('#live').textContent"


@pytest.fixture(scope="module")
def world(tmp_path_factory, toy):
    return make_world(toy, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(browser, world):
    browser.size(1280, 800)
    browser.media()
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    browser.complaints.clear()
    browser.open(world.page.as_uri())
    yield browser
    assert browser.complaints == []


def click(tab, selector):
    tab.run(f"document.querySelector({selector!r}).click()")


def header(key):
    return f".board.current .view.current th[data-key={key}] .sort"


def column(tab, key):
    """Return what a column of the shown rows holds, None where it has no value."""
    return tab.run(
        f"""(() => {{
            const heads = [...document.querySelectorAll('.board.current .view.current thead th')];
            const i = heads.findIndex(head => head.dataset.key === {key!r});
            return {ROWS}.map(row => row.cells[i].dataset.v ?? null).map(v => v && Number(v));
        }})()"""
    )


def choose(tab, name, value):
    tab.run(
        f"""(() => {{ const menu = document.querySelector('#{name}'); menu.value = {value!r};
        menu.dispatchEvent(new Event(menu.type === 'search' ? 'input' : 'change')); }})()"""
    )
    if name == "find":
        tab.run("new Promise(done => setTimeout(done, 250))")


def test_nothing_but_the_page_is_requested_and_no_name_runs(tab, world):
    assert tab.requests == [world.page.as_uri()]
    assert tab.run("document.title") == "ltbench leaderboard"
    assert HOSTILE in tab.run(LABELS)
    assert tab.run(f"new Set({ROWS}.map(row => row.cells.length)).size") == 1


def test_the_policy_blocks_injected_scripts(tab):
    tab.run(
        """document.body.insertAdjacentHTML('beforeend',
        '<img src="https://example.org/x.png" onerror="document.title = 1">')"""
    )
    tab.run("new Promise(done => setTimeout(done, 100))")
    assert tab.run("document.title") == "ltbench leaderboard"
    assert any("Content Security Policy" in text for text in tab.complaints)
    tab.complaints.clear()


def test_the_first_screen_has_the_answer_and_three_rows(tab, world):
    for width, height in ((1280, 800), (390, 844)):
        tab.size(width, height)
        tab.open(world.page.as_uri())
        bottom = tab.run(f"{ROWS}[2].getBoundingClientRect().bottom")
        assert bottom <= height, f"at {width} pixels"
        assert tab.run("document.querySelector('.headline.current').offsetHeight") > 0


def test_sorting(tab):
    first = tab.run(LABELS)
    click(tab, header("few"))
    few = column(tab, "few")
    ranked = few[: tab.run(RANKED)]
    assert ranked == sorted(ranked, reverse=True)
    assert "Sorted by Few, highest first." in tab.run(LIVE)
    assert tab.run("document.querySelectorAll('.view.current [aria-sort]').length") == 1
    click(tab, header("few"))
    assert column(tab, "few")[: len(ranked)] == ranked[::-1]
    assert "lowest first" in tab.run(LIVE)
    rest = column(tab, "few")[len(ranked) :]
    assert rest == sorted(v for v in rest if v is not None) + [None] * rest.count(None)
    click(tab, header("few"))
    assert tab.run(LABELS) == first
    assert tab.run("document.querySelectorAll('[aria-sort]').length") == 0
    click(tab, header("method"))
    assert "Sorted by Method, A to Z." in tab.run(LIVE)


def test_cost_sorts_the_cheapest_first(tab):
    click(tab, header("cost"))
    assert tab.run("document.querySelector('[data-key=cost]').getAttribute('aria-sort')") == (
        "ascending"
    )


def test_filters_and_their_counts(tab):
    every = len(tab.run(LABELS))
    choose(tab, "family", "own")
    assert tab.run(LABELS) == [HOSTILE]
    assert f"1 of {every} rows, {every - 1} hidden" in tab.run(LIVE)
    click(tab, "#reset")
    click(tab, ".board.current .count.partial")
    assert tab.run(LABELS) == ["Half"]
    click(tab, ".board.current .count.partial")
    choose(tab, "find", "Áuthor ldam")
    assert tab.run(LABELS) == ["LDAM-DRW", "LDAM"]
    choose(tab, "find", "")
    assert len(tab.run(LABELS)) == every


def test_a_search_names_other_boards_with_matches(tab):
    tab.open(tab.run("location.href").split("#")[0] + "#g=second_grid/other_r10/short&q=cRT")
    assert tab.run(LABELS) == []
    assert "Other boards have matches: Toy" in tab.run(LIVE)


def test_a_url_restores_the_state(tab, world):
    address = (
        world.page.as_uri()
        + "#g=third_grid/toy_r40/slow&v=groups&s=few-&f=rebalancing&st=complete&q=ldam"
    )
    tab.open(address)
    assert tab.run("document.querySelector('.board.current').dataset.board") == (
        "third_grid/toy_r40/slow"
    )
    assert (
        tab.run("document.querySelector('.board.current .view.current').dataset.view") == "groups"
    )
    assert tab.run(LABELS) == ["LDAM-DRW"]
    assert tab.run("document.querySelector('#find').value") == "ldam"
    click(tab, "#reset")
    assert tab.run("location.hash") == "#g=third_grid/toy_r40/slow&v=groups"


@pytest.mark.parametrize("hash_", ["g=nowhere", "g=%E0%A4%A", "x" * 10_000, "zz=1&v=nothing&f=bad"])
def test_an_invalid_url_is_the_default_page_with_a_notice(tab, world, hash_):
    tab.open(f"{world.page.as_uri()}#{hash_}")
    assert tab.run("document.querySelector('#notice').hidden") is False
    assert tab.run("document.querySelector('.board.current').dataset.board") == (
        "toy_grid/toy_r40/short"
    )
    assert len(tab.run(LABELS)) == 9


def test_back_returns_to_the_view_before(tab):
    click(tab, ".board.current [data-view=groups]")
    length = tab.run("history.length")
    choose(tab, "find", "ldam")
    assert tab.run("history.length") == length
    tab.run("history.back(), new Promise(done => setTimeout(done, 200))")
    assert (
        tab.run("document.querySelector('.board.current .view.current').dataset.view") == "overview"
    )


def test_a_link_to_a_method_opens_it_and_its_family(tab):
    tab.run("document.querySelectorAll('.family').forEach(part => { part.open = false; })")
    click(tab, ".board.current .view.current a[href='#m-ldam_drw']")
    tab.run("new Promise(done => setTimeout(done, 100))")
    assert tab.run("document.querySelector('#m-ldam_drw').checkVisibility()") is True


def test_a_link_to_a_board_shows_it(tab):
    link = "#m-softmax a[href*=third_grid]"
    tab.run("document.querySelector('#m-softmax').closest('details').open = true")
    tab.run(f"document.querySelector({link!r}).scrollIntoView()")
    click(tab, link)
    tab.run("new Promise(done => setTimeout(done, 100))")
    board = "document.querySelector('.board.current')"
    assert tab.run(f"{board}.dataset.board") == "third_grid/toy_r40/slow"
    assert 0 <= tab.run(f"{board}.getBoundingClientRect().top") < 400


def test_by_keyboard_alone(tab):
    seen = []
    for _ in range(60):
        tab.press("Tab")
        seen.append(
            tab.run(
                """(() => { const e = document.activeElement, s = getComputedStyle(e);
                return [e.className || e.id || e.tagName, parseFloat(s.outlineWidth)]; })()"""
            )
        )
        if tab.run("document.activeElement.matches('th[data-key=acc] .sort')"):
            break
    assert seen[0][0] == "skip"
    assert all(width >= 1 for _, width in seen), seen
    tab.press("Enter")
    assert tab.run("document.querySelector('[data-key=acc]').getAttribute('aria-sort')") == (
        "descending"
    )
    assert tab.run("document.activeElement.matches('th[data-key=acc] .sort')")
    tab.run("document.activeElement.blur()")
    tab.press("/")
    assert tab.run("document.activeElement.id") == "find"


def test_digits_of_a_column_stand_below_each_other(tab):
    rights = tab.run(
        f"""{ROWS}.map(row => row.querySelector('td[data-v] small')?.previousSibling)
        .filter(Boolean).map(node => {{ const range = document.createRange();
        range.selectNode(node); return range.getBoundingClientRect().right; }})"""
    )
    assert max(rights) - min(rights) <= 1


def test_heads_stand_above_the_numbers_of_their_columns(tab):
    tab.size(900, 800)
    for view in ("overview", "cost", "shifts"):
        click(tab, f".board.current [data-view={view}]")
        pairs = tab.run(
            """(() => { const table = document.querySelector('.board.current .view.current table');
            const range = document.createRange();
            const right = (node) => {
                range.selectNode(node); return range.getBoundingClientRect().right; };
            return [...table.tHead.rows[0].cells].map((head, i) => {
                const cell = table.tBodies[0].rows[0].cells[i];
                const space = cell.firstChild.data?.endsWith(' ') ? 4 : 0;
                return head.matches('.num') && cell.dataset.v &&
                    [right(head.querySelector('.sort').firstChild), right(cell.firstChild) - space];
            }).filter(Boolean); })()"""
        )
        assert len(pairs) > 3
        assert all(abs(head - number) <= 2 for head, number in pairs), (view, pairs)


CONTRAST = """(() => {
    const channels = (text) => text.match(/[\\d.]+/g)
        .map((part, i) => Number(part) * (text.startsWith('color(') && i < 3 ? 255 : 1));
    const luminance = (color) => {
        const [r, g, b] = color.map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const color = channels(getComputedStyle(e).backgroundColor);
            if (color.length < 4 || color[3] === 1) return color.slice(0, 3);
        }
        return [255, 255, 255];
    };
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
        const style = getComputedStyle(element);
        const ink = channels(element.closest('svg') ? style.fill : style.color).slice(0, 3);
        const [a, b] = [luminance(ink), luminance(behind(element))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) found.push([texts.currentNode.data.trim(), ratio]);
    }
    return found;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(tab, scheme):
    tab.media(prefers_color_scheme=scheme)
    tab.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert tab.run(CONTRAST) == []


def test_a_narrow_page_scrolls_its_tables_and_not_itself(tab):
    for width, scale in ((320, 1), (640, 2)):
        tab.size(width, 700, scale)
        tab.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert tab.run("document.documentElement.scrollWidth") <= width
        box = "document.querySelector('.view.current .scroll')"
        assert tab.run(f"{box}.tabIndex") == 0
        assert (
            tab.run(f"document.getElementById({box}.getAttribute('aria-labelledby'))") is not None
        )


def test_colors_are_chosen_and_remembered(tab):
    click(tab, "#theme")
    click(tab, "#theme")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(16, 21, 27)"
    tab.open(tab.run("location.href"))
    assert tab.run("document.documentElement.dataset.theme") == "dark"
    click(tab, "#theme")
    assert tab.run("document.querySelector('#theme').textContent") == "Colors: auto"


def test_print_is_light_and_whole(tab):
    tab.media("print", prefers_color_scheme="dark")
    assert tab.run("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
    assert tab.run("document.querySelector('#filters').offsetParent") is None
    assert len(tab.run(LABELS)) == 9


def test_without_scripts_everything_can_be_read(browser, world):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(world.page.as_uri())
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    names = " ".join(node.get("name", {}).get("value", "") for node in tree)
    for word in ("Slow", "failed", "missing", "stale", "Label shift"):
        assert word in names
    browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_what_is_copied_is_what_is_shown(tab):
    choose(tab, "state", "complete")
    click(tab, header("few"))
    labels, few = tab.run(LABELS), column(tab, "few")
    click(tab, "#copy")
    head, *rows = (line.split("\t") for line in tab.run("getSelection().toString()").splitlines())
    at = head.index("Few")
    assert [float(row[at]) for row in rows] == pytest.approx(few, abs=0.05), "without note marks"
    assert all(row[1].startswith(label) for row, label in zip(rows, labels, strict=True))


MATRIX = "document.querySelector('.board.current .view.current .matrix')"


def choose_variant(tab, label):
    tab.run(
        f"""(() => {{ const menu = document.querySelector('.board.current .variant');
        menu.value = {label!r}; menu.dispatchEvent(new Event('change')); }})()"""
    )


def test_a_confusion_matrix_is_that_of_the_chosen_variant(tab, world):
    click(tab, ".board.current [data-view=confusion]")
    choose_variant(tab, "cRT")
    names = tab.run(f"[...{MATRIX}.rows].map(row => row.cells[0].textContent)")
    assert names[1:] == [*CLASSES, HOSTILE]
    cells = f"[...{MATRIX}.rows].slice(1).map(row => [...row.cells].slice(1)"
    numbers = tab.run(f"{cells}.map(cell => Number(cell.textContent)))")
    assert [row[k] for k, row in enumerate(numbers)] == [
        sum(of_class) for of_class in zip(*HITS["cRT"], strict=True)
    ]
    assert {sum(row) for row in numbers} == {100}
    shares = tab.run(f"{cells}.map(cell => Number(cell.style.getPropertyValue('--share'))))")
    assert shares[0][0] ** 2 == pytest.approx(0.85)
    tab.run(f"{MATRIX}.rows[1].cells[2].click()")
    told = "document.querySelector('.view.current .cell').textContent"
    assert tab.run(told) == "cat predicted as dog: 15 of 100 test images"
    assert f"{HOSTILE} predicted as cat: 81 of 100" in tab.run(
        "document.querySelector('.view.current .worst').textContent"
    )
    address = tab.run("location.href")
    tab.open(address)
    assert tab.run(f"{MATRIX}.rows[1].cells[1].textContent") == "85", "the URL has the variant"
    tab.open(address.replace("cRT", "nobody"))
    assert tab.run(f"{MATRIX}.rows.length") == 7


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_of_a_confusion_matrix_can_be_read(tab, scheme):
    tab.media(prefers_color_scheme=scheme)
    click(tab, ".board.current [data-view=confusion]")
    assert tab.run(CONTRAST) == []
    tab.size(320, 700)
    assert tab.run("document.documentElement.scrollWidth") <= 320


def test_no_motion(tab):
    assert tab.run("document.getAnimations().length") == 0


def test_a_large_page_is_quick(browser, toy, tmp_path):
    """A thousand variants in twenty groups; a busy machine may take three times as long."""
    variants = [{"label": f"M{i}", "method": "mine", "hparams": {"i": i}} for i in range(50)]
    plans, records = [], []
    for g in range(20):
        data = toy.dataset(name=f"d{g}", title=f"Data {g}", imbalance_ratio=10 + g)
        plan = toy.plan(variants, seeds=(0,), splits=("longtailed",), dataset=data, name=f"g{g}")
        for i, job in enumerate(plan.jobs.values()):
            records.append(toy.record(job, [(7 * i + k + g) % 50 for k in range(6)]))
        plans.append(plan)
    loaded = Loaded(toy.stored(*records))
    page = write_page(Leaderboard.of(plans, loaded, {}), tmp_path)
    assert page.stat().st_size < 4e6
    browser.open(page.as_uri())
    assert len(browser.run(LABELS)) == 50
    assert browser.run("performance.getEntriesByType('navigation')[0].domComplete") < 5000
    for what in (header("acc"), ".board.current [data-view=groups]"):
        milliseconds = browser.run(
            f"""(() => {{ const start = performance.now();
            document.querySelector({what!r}).click();
            document.body.offsetHeight; return performance.now() - start; }})()"""
        )
        assert milliseconds < 300
    assert browser.run(LIVE).startswith("50 of 50 rows")
