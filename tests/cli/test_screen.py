"""Output in any locale, to any file, read or not."""

import os
import signal
import subprocess
import sys

import pytest

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
def test_closed_streams_are_none(redirected):
    script = f'exec "$0" -c "$1" shows {redirected}'
    done = processes.run(["bash", "-c", script, sys.executable, PRINTS], capture_output=True)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("both", [False, True])
def test_output_without_a_reader_is_a_hang_up(both):
    ours, theirs = os.pipe()
    os.close(ours)
    how = {"stdout": theirs, "stderr": theirs if both else subprocess.PIPE}
    process = processes.start([sys.executable, "-c", PRINTS, "shows"], **how)
    os.close(theirs)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert b"Traceback" not in (said or b"")
