"""Cells as HTML: a large page has a hundred thousand, and a function is quicker than a template.

Every text goes through `visible` and `escape`; only then is it called markup.
"""

from fractions import Fraction

from markupsafe import Markup, escape

from ltbench.core.exact import fixed
from ltbench.report.page.cells import Column, Shown

PLAIN = ("", "complete")
"""States that a cell does not show."""

RANKED = ("{}", "<b>{}</b>", "<u>{}</u>")


def visible(text: str) -> str:
    """Return a text with control and direction characters shown as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def name(text: str) -> Markup:
    """Return a name that somebody else chose: whatever its script, it stands for itself."""
    return Markup(f"<bdi>{escape(visible(text))}</bdi>")  # noqa: S704  (escaped)


def words(shown: Shown) -> Markup:
    """Return the text of a cell, as a link where it has an address."""
    if shown.href is None:
        return escape(visible(shown.text))
    linked = f'<a href="{escape(shown.href)}">{name(shown.text)}</a>'
    return Markup(linked)  # noqa: S704  (escaped)


def note_marks(shown: Shown, notes: str) -> Markup:
    """Return the numbers of a cell's notes, as links to the list whose ids start with `notes`."""
    if not shown.notes:
        return Markup("")
    links = ",".join(f'<a href="#{escape(notes)}-{n}">{n}</a>' for n in shown.notes)
    return Markup(f"<sup>{links}</sup>")  # noqa: S704  (escaped)


def state_class(shown: Shown) -> Markup:
    """Return the class attribute of a value that is not complete."""
    if shown.state in PLAIN:
        return Markup("")
    return Markup(f' class="{shown.state.replace(" ", "-")}"')  # noqa: S704  (one of ours)


def cell(shown: Shown, column: Column, notes: str) -> Markup:
    """Return a cell of a table of numbers."""
    marks = note_marks(shown, notes)
    if shown.points:
        html = f"<td>{shape(shown.points)}</td>"
    elif not column.numeric:
        state = shown.state.replace(" ", "-")
        html = f'<td class="{f"text {state}".strip()}">{words(shown)}{marks}</td>'
    else:
        value = "" if shown.sort is None else f' data-v="{float(shown.sort):.10g}"'
        text = RANKED[shown.rank].format(escape(visible(shown.text)))
        spread = f' <span class="spread {column.spread}">{escape(shown.spread)}</span>'
        beside = spread if column.spread else ""
        html = f"<td{state_class(shown)}{value}>{text}{marks}{beside}</td>"
    return Markup(html)  # noqa: S704  (escaped)


def shape(points: tuple[Fraction | None, ...]) -> str:
    """Return many, medium and few as joined dots, on one scale from 0 to 100."""
    titles = ("many", "medium", "few")
    there = [
        (4 + 20 * i, fixed(14 - p * 12 / 100, 1)) for i, p in enumerate(points) if p is not None
    ]
    if not there:
        return ""
    said = ", ".join(
        f"{title} {'none' if p is None else fixed(p, 1)}"
        for title, p in zip(titles, points, strict=True)
    )
    line = " ".join(f"{x},{y}" for x, y in there)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2"/>' for x, y in there)
    return (
        f'<svg class="shape" viewBox="0 0 48 16" role="img" aria-label="{said}">'
        f'<polyline points="{line}"/>{dots}</svg>'
    )
