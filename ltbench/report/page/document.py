"""The page as HTML: one file without requests, whatever the names of its methods say.

Jinja escapes every value. A content security policy names the two scripts by their hashes and
allows nothing else to run or load; without scripts the page is plain tables.
"""

import hashlib
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ltbench import __version__
from ltbench.analysis.board import Board
from ltbench.analysis.findings import Finding
from ltbench.config.catalogue import MethodInfo
from ltbench.config.expand import Plan
from ltbench.core.exact import fixed, measured
from ltbench.core.files import write_atomically
from ltbench.report.families import FAMILIES, family_of
from ltbench.report.figures import Figure, themed
from ltbench.report.findings_table import findings_table
from ltbench.report.page import markup
from ltbench.report.page.cells import View, percent, view_of
from ltbench.report.page.groups import default_group, group_of
from ltbench.report.page.methods import Curve, method_sections
from ltbench.report.ranks_table import ranks_table
from ltbench.report.recipes_table import recipes_tables
from ltbench.runs.store import Loaded

HERE = Path(__file__).parent


def write_page(
    plans: Sequence[tuple[Plan, Sequence[Board]]],
    loaded: Loaded,
    methods: Mapping[str, MethodInfo],
    out_dir: Path,
    findings: Sequence[Finding] = (),
    figures: Mapping[tuple[str, str], Sequence[Figure]] | None = None,
) -> Path:
    """Write `index.html`. Equal records give equal bytes.

    Args:
        plans: grids and their boards.
        loaded: what the record stores hold.
        methods: the catalogue's.
        out_dir: folder of the leaderboard.
        findings: claims to test on every board.
        figures: of boards, by grid and board.

    Returns:
        The file.
    """
    records = loaded.records
    groups = [group_of(board, plan, methods, records) for plan, found in plans for board in found]
    every = [group.board for group in groups]
    claims = view_of(findings_table(findings, every), "findings", "Findings")
    across = [ranks_table(every), *(table for _, of in plans for table in recipes_tables(of))]
    finished = [stored.record.environment.finished for stored in records.values()]
    html = (
        _environment(methods)
        .get_template("index.html")
        .render(
            version=__version__,
            date=max(finished).date().isoformat() if finished else None,
            records=len(records),
            records_hash=hashlib.sha256("".join(sorted(records)).encode()).hexdigest()[:7],
            groups=groups,
            default=default_group(groups),
            findings=claims,
            verdicts=_verdicts(claims),
            across=[view_of(table, table.name, table.title) for table in across if table],
            families=FAMILIES.values(),
            sections=method_sections(groups, methods, records),
            figures=figures or {},
            bad=loaded.bad,
            style=Markup(_file("style.css")),  # noqa: S704  (ours, not data)
            first_script=_script("theme.js"),
            script=_script("page.js"),
        )
    )
    path = out_dir / "index.html"
    write_atomically(path, html.encode(), durable=False)
    return path


def _environment(methods: Mapping[str, MethodInfo]) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        visible=markup.visible, name=markup.name, inline=inline, percent=percent
    )
    environment.globals.update(
        cell=markup.cell,
        words=markup.words,
        note_marks=markup.note_marks,
        state_class=markup.state_class,
        line=curve_line,
        area=curve_area,
    )
    environment.globals["family_key"] = lambda key: family_of(key, methods).key
    environment.globals["method_info"] = methods.get
    return environment


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _script(name: str) -> tuple[Markup, str]:
    """Return a script and its hash for the policy."""
    text = _file(name)
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"  # noqa: S704  (ours, not data)


def _verdicts(findings: View) -> dict[str, int]:
    """Return how many tests of findings came out how."""
    tally: dict[str, int] = {}
    for line in findings.lines:
        verdict = line.cells[-1].text
        tally[verdict] = tally.get(verdict, 0) + 1
    return tally


def inline(figure: Figure) -> Markup:
    """Return a figure's drawing for the page; its text is escaped where it is drawn."""
    return Markup(themed(figure.svg))  # noqa: S704  (made by matplotlib, which escapes labels)


def curve_line(values: Sequence[Fraction], width: int, height: int) -> str:
    """Return accuracies in percent as points of a polyline."""
    step = Fraction(width, max(len(values) - 1, 1))
    return " ".join(
        f"{fixed(i * step, 1)},{fixed(height * (1 - value / 100), 1)}"
        for i, value in enumerate(values)
    )


def curve_area(curve: Curve, width: int, height: int) -> str:
    """Return training images, on a scale of logarithms, as points of a polygon."""
    top = math.log1p(max(curve.images)) or 1.0
    shares = [measured(100 * math.log1p(n) / top) for n in curve.images]
    return f"0,{height} {curve_line(shares, width, height)} {width},{height}"
