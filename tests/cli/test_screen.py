"""Output in any locale, to any stream."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ltbench.cli.screen import print_bad
from ltbench.runs.store import BadRecord
from tests.support import processes

LOCALES = {
    "posix": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "c": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "strict": {"PYTHONIOENCODING": "ascii:strict"},
    "utf-8": {"PYTHONUTF8": "1"},
}
NAME = "\u732b \u00fc"  # in another script, and in none of Latin-1's
TEXT = f"1.0 \u00b1 0.2 \u2013 3 \u2192 4 {NAME} \udce4"
MAIN = "from ltbench.cli import main; main()"
PRINTS = f"""
import sys
from ltbench.cli import app, main
from ltbench.cli.screen import console, errors, print_table, print_text

@app.command()
def shows():
    text = {TEXT!a}
    print_text(text)
    print_table(("\\u0394",), [(text,)])
    console.print(text)
    errors.print(text)
    print(text, file=sys.stderr)
    print(sys.getfilesystemencoding())

main()
"""


def environment(**changes):
    known = ("LC_", "LANG", "PYTHONIO", "PYTHONUTF8", "PYTHONCOERCE")
    return {k: v for k, v in os.environ.items() if not k.startswith(known)} | changes


def prints(*words, code=PRINTS, **how):
    command = [sys.executable, "-c", code, *words]
    return processes.run(command, capture_output=True, **how)


@pytest.mark.parametrize("locale", LOCALES)
def test_any_text_is_printed_in_any_locale(locale):
    done = prints("shows", env=environment(**LOCALES[locale]))
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    encoding = {"utf-8": "utf-8", "latin-1": "latin-1"}.get(locale, "ascii")
    lines = done.stdout.decode(encoding).splitlines()
    assert lines[-1] == "utf-8"
    if encoding == "ascii":
        assert lines[0] == r"1.0 +- 0.2 - 3 -> 4 \u732b \xfc \udce4"
    if encoding == "latin-1":
        assert lines[0] == "1.0 \u00b1 0.2 - 3 -> 4 \\u732b \u00fc \\udce4"
    if encoding == "utf-8":
        assert lines[0] == f"1.0 \u00b1 0.2 \u2013 3 \u2192 4 {NAME} \\udce4"


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("words", [("--help",), ("run", "--nothing"), ("config", "show", NAME)])
def test_help_and_errors_are_printed_in_any_locale(locale, words):
    done = prints(
        *words, code="from ltbench.cli import main; main()", env=environment(**LOCALES[locale])
    )
    assert done.returncode == (0 if words == ("--help",) else 2)
    assert done.stdout or done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("redirected", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_opened_on_dev_null(redirected):
    script = f'exec "$0" -c "$1" shows {redirected}'
    done = processes.run(["bash", "-c", script, sys.executable, PRINTS], capture_output=True)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("both", [False, True])
def test_output_without_a_reader_exits_by_sighup(both):
    ours, theirs = os.pipe()
    os.close(ours)
    how = {"stdout": theirs, "stderr": theirs if both else subprocess.PIPE}
    process = processes.start([sys.executable, "-c", PRINTS, "shows"], **how)
    os.close(theirs)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert b"Traceback" not in (said or b"")


REPORT = """
from fractions import Fraction
from ltbench.analysis.result_set import Estimate
from ltbench.cli.screen import print_report
from ltbench.report.table import PERCENT, Cell, Column, Table

def value(number, rank=0):
    return Cell(Estimate(Fraction(number), n=1, planned=1, state="complete"), rank=rank)

titles = [f"A longer title {i}" for i in range(9)]
columns = (Column("Method", names=True), *(Column(title, kind=PERCENT) for title in titles))
rows = tuple(
    (Cell(name, notes=notes), *(value(10 + i, rank) for i in range(9)))
    for name, notes, rank in (("a_b <i>|", ("why",), 1), ("\\x1b[2J", (), 2))
)
print_report(Table("x", "Title", "Words. " * 30, columns, rows))
"""


def test_without_a_terminal_a_wide_table_is_split_into_blocks():
    done = prints(code=REPORT, env=environment(PYTHONUTF8="1"))
    lines = done.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert [text.count(f"A longer title {i}") for i in range(9)] == [1] * 9
    assert text.count("a_b <i>| [1]") == text.count("Method") > 1
    assert "[1] why" in text
    assert not [mark for mark in ("\x1b", "**", "<u>", "&gt;", "\\_") if mark in text]


def test_on_a_terminal_best_is_bold_and_second_underlined():
    ours, theirs = pty.openpty()
    process = processes.start(
        [sys.executable, "-c", REPORT],
        stdout=theirs,
        env=environment(PYTHONUTF8="1", TERM="xterm", COLUMNS="80"),
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = b"".join(parts).decode()
    for style in ("1", "4"):
        assert re.search(rf"\x1b\[{style}m *10\.0\x1b\[0m", text)
    assert "\x1b[2J" not in text


def test_a_bad_record_is_named_with_its_folder(capsys):
    bad = BadRecord(Path("runs/records/a.json"), "a.json", "run", "is empty")
    print_bad([bad])
    said = capsys.readouterr().err
    assert said == "Record runs/records/a.json is ignored: is empty [invalid-record]\n"
