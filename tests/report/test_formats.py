import csv
import io
import json
import re
from fractions import Fraction
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ltbench.analysis.result_set import EMPTY, Estimate
from ltbench.report.formats import csv_text, html, json_text, latex, markdown
from ltbench.report.table import (
    COUNT,
    P_VALUE,
    PERCENT,
    TIMES,
    Cell,
    Column,
    NumberRange,
    Table,
    value_text,
)

NASTY = [
    "a|b",
    "\\|",
    "<script>alert(1)</script>",
    "&amp; &lt;",
    "[x](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "http://example.org www.example.org me@example.org",
    "*b* _i_ `c` ~~s~~ $x$ # h",
    "a\nb\r\nc\td",
    "a\u2028b\u202ec\x00d\ufeff",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    " =1+1",
    "\t=1",
    "\uff1d1",
    '"; DROP',
    "\\input{/etc/passwd} 50% #1 $x$ a_b ^ ~ {}",
    "[t]",
    "*",
    "--- | ---",
    "",
]


NAME, TEXT, ACC = Column("Name", names=True), Column("Text"), Column("Acc", kind=PERCENT)


def table(*texts, title="Title", caption="", notes=()):
    rows = tuple((Cell("row"), Cell(text, notes=notes)) for text in texts)
    return Table("main", title, caption, (NAME, TEXT), rows)


def one(content, column=ACC, **marks):
    """Return a table of a single cell."""
    return Table("x", "T", "C", (column,), ((Cell(content, **marks),),))


def words(text):
    """What is left of a text on one line without unprintable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shown(source):
    """Parse as GitHub would and return the text of each table cell; any markup is an error."""
    cells = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source):
        if token.type == "inline":
            assert {child.type for child in token.children} <= {"text"}, token.children
            cells.append("".join(child.content for child in token.children))
    return cells


def nasty(test):
    for text in NASTY:
        test = example(text)(test)
    return given(st.text(max_size=60))(test)


@nasty
def test_markdown_shows_any_text_as_it_is(text):
    source = markdown(table(text, title="T", caption="C"))
    assert shown(source) == ["T", "C", "Name", "Text", "row", words(text)]


@nasty
def test_titles_captions_columns_and_notes_are_text_too(text):
    rows = ((Cell("a", notes=(text,)),),)
    source = markdown(Table("x", text, "c" + text, (Column(text),), rows))
    body = source.replace("<sup>1</sup>", "n")
    expected = [words(text), words("c" + text), words(text), "an", words("n " + text)]
    assert [cell for cell in shown(body) if cell] == [cell for cell in expected if cell]


@nasty
def test_no_link_is_made_of_bare_addresses(text):
    source = markdown(table(text))
    assert not re.search(r"(?i)(https?|ftp)://|www\.|[^\s]@[^\s]", source)


@nasty
def test_csv_is_read_back_and_never_a_formula(text):
    rows = list(csv.reader(io.StringIO(csv_text([(text, table(text))]))))
    assert len(rows) == 2
    entry = dict(zip(rows[0], rows[1], strict=True))
    for column in ("board", "text"):
        assert entry[column].removeprefix("'") == words(text).removeprefix("'")
        assert not entry[column].lstrip().startswith(tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20"))
    assert entry["row"] == "row"


COMMANDS = (
    r"\\(?:textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}"
    r"|\\[{}$&%#_]|\$\\pm\$|\$\\tau\$|\{[\[\]*]\}"
)


@nasty
def test_latex_has_no_live_character(text):
    [line] = [line for line in latex(table(text)).splitlines() if line.startswith("row")]
    cell = line.removeprefix("row & ").removesuffix(r" \\")
    assert not set(re.sub(COMMANDS, "", cell)) & set("\\{}$&%#_^~[]*<>|\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Estimate(Fraction("45.449"), Fraction("0.251"), None, 3, 3, "complete"), "45.4 ± 0.3"),
        (Estimate(Fraction("45.45"), None, None, 1, 1, "complete"), "45.4"),
        (
            Estimate(
                Fraction("88.2"), None, (Fraction("86.04"), Fraction("90.06")), 2, 2, "complete"
            ),
            "88.2 (86.0 to 90.1)",
        ),
        (Estimate(Fraction(45), Fraction(1, 4), None, 2, 3, "partial"), "45.0 ± 0.2 (2/3 seeds)"),
        (
            Estimate(Fraction(45), None, None, 1, 3, "partial", failed=2),
            "45.0 (1/3 seeds, 2 failed)",
        ),
        (Estimate(planned=2, state="missing"), "missing"),
        (Estimate(planned=2, state="failed", failed=1), "failed"),
        (Estimate(planned=2, state="stale"), "stale"),
        (Estimate(planned=2, state="not available", reason="why"), "n/a"),
        (Estimate(planned=2, n=2, state="empty"), EMPTY),
    ],
)
def test_value_text(value, text):
    assert value_text(value) == text


def test_marks_and_alignment():
    value = Estimate(Fraction(50), None, None, 1, 1, "complete")
    rows = (
        (Cell("a", notes=("one", "two")), Cell(value, rank=1)),
        (Cell("długi 名"), Cell(value, rank=2)),
        (Cell("c"), Cell(value)),
    )
    source = markdown(Table("x", "T", "", (NAME, ACC), rows), level=2)
    assert source == (
        "## T\n"
        "\n"
        "| Name            |         Acc |\n"
        "| --------------- | ----------: |\n"
        "| a<sup>1,2</sup> |    **50.0** |\n"
        "| długi 名        | <u>50.0</u> |\n"
        "| c               |        50.0 |\n"
        "\n"
        "<sup>1</sup> one\n"
        "\n"
        "<sup>2</sup> two\n"
    )


def test_latex_marks():
    value = Estimate(Fraction(50), Fraction(1), None, 2, 2, "complete")
    rows = (
        (Cell("a"), Cell(value, rank=1)),
        (Cell("b"), Cell(value, rank=2, notes=("note",))),
    )
    source = latex(Table("x", "T", "C", (NAME, ACC), rows))
    assert r"a & \textbf{50.0 $\pm$ 1.0} \\" in source
    assert r"b & \underline{50.0 $\pm$ 1.0}\textsuperscript{1} \\" in source
    assert r"\begin{tabular}{lr}" in source


class Cells(HTMLParser):
    """Collects the text of every element; attributes and elements other than ours are errors."""

    KNOWN = frozenset(
        ("table", "caption", "thead", "tbody", "tr", "th", "td", "b", "ol", "li", "sup")
    )

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.cells = [""]
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert tag in self.KNOWN
        assert {name for name, _ in attrs} <= {"scope", "align"}
        self.cells.append("")

    def handle_data(self, data):
        self.cells[-1] += data

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


@nasty
def test_html_shows_any_text_as_it_is(text):
    found = Cells(html(table(text, title=text, caption="C", notes=(text,)))).cells
    shown = [cell.strip() for cell in found if cell.strip()]
    expected = [words(f"{text} C"), "Name", "Text", "row", words(text), "1", words(text)]
    assert shown == [cell for cell in expected if cell]


@nasty
def test_json_is_read_back_and_ends_no_script(text):
    source = json_text([(text, table(text, title=text))])
    assert not set(source) & set("<>&")
    assert source.isascii()
    (found,) = json.loads(source)["tables"]
    assert (found["board"], found["title"]) == (text, text)
    assert found["rows"] == [[{"text": "row"}, {"text": text}] if text else [{"text": "row"}, {}]]


def test_json_has_all_of_a_value():
    value = Estimate(
        Fraction(50), Fraction(1), (Fraction(1, 3), Fraction(60)), 1, 2, "partial", 1, "why", ("k",)
    )
    (found,) = json.loads(json_text([("b", one(value, rank=2))]))["tables"]
    assert found["columns"] == [{"title": "Acc", "kind": "percent"}]
    assert found["notes"] == ["why"]
    assert found["rows"] == [
        [
            {
                "text": "50.0 ± 1.0 (0.3 to 60.0) (1/2 seeds, 1 failed)",
                "rank": 2,
                "notes": [1],
                "mean": 50.0,
                "std": 1.0,
                "interval": [0.333333, 60.0],
                "n": 1,
                "planned": 2,
                "state": "partial",
                "failed": 1,
                "reason": "why",
                "keys": ["k"],
            }
        ]
    ]


def test_json_keeps_small_p_values():
    source = json_text([("b", one(Fraction(4, 3 * 10**9), Column("p", kind=P_VALUE)))])
    assert json.loads(source)["tables"][0]["rows"][0][-1]["number"] == 1.333e-09


def test_json_keeps_zeros_and_omits_absent_fields():
    value = Estimate(Fraction(0), None, None, 1, 1, "complete", keys=("k",))
    source = json_text([("b", one(value))])
    (((cell,),),) = (found["rows"] for found in json.loads(source)["tables"])
    assert (cell["mean"], cell["failed"]) == (0.0, 0)
    assert cell.keys() == {"text", "mean", "n", "planned", "state", "failed", "keys"}


def test_html_marks_and_names():
    value = Estimate(Fraction(50), None, None, 1, 1, "complete")
    row = (Cell("a"), Cell(value, rank=1, notes=("n", "m")))
    source = html(Table("x", "T", "C", (NAME, ACC), (row,)))
    expected = (
        '<tr><th scope="row">a</th><td align="right"><strong>50.0</strong><sup>1,2</sup></td></tr>'
    )
    assert expected in source
    assert source.endswith("<ol>\n<li>n</li>\n<li>m</li>\n</ol>\n")


@pytest.mark.parametrize(
    ("content", "kind", "marks", "fields", "text"),
    [
        (1234, COUNT, {}, ["1234", "", "", ""], "1,234"),
        (Fraction(9, 8), TIMES, {"about": True}, ["1.1250", "", "", ""], "~1.1x"),
        (Fraction(300), COUNT, {"unit": "GPU"}, ["300.0000", "", "", ""], "300 GPU"),
        (
            NumberRange(Fraction(42), Fraction(43)),
            PERCENT,
            {},
            ["", "", "42.0000", "43.0000"],
            "42.0 to",
        ),
        (Estimate(Fraction(-4, 100), n=1), PERCENT, {}, ["-0.0400", "", "", ""], "0.0"),
        (Fraction(4, 3 * 10**9), P_VALUE, {}, ["1.333e-09", "", "", ""], "&lt; 0.001"),
        (Fraction(1), P_VALUE, {}, ["1", "", "", ""], "1.000"),
    ],
)
def test_numbers_are_exact_for_programs_and_rounded_for_people(content, kind, marks, fields, text):
    made = one(content, Column("A", kind=kind), **marks)
    [_, row] = csv.reader(io.StringIO(csv_text([("b", made)])))
    assert row[4:8] == fields
    assert text in markdown(made)
    assert "-0.0" not in markdown(made)


def test_a_table_without_text_is_still_a_table():
    assert markdown(Table("x", "T", "", (NAME, ACC), ())).count("|") == 6
