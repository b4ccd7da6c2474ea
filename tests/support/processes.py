"""Processes that tests start: with default signals, in sessions of their own that end with a test.

What starts pytest may have signals ignored, as a script has SIGINT for its background jobs, and
what is started inherits that.
"""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from ltbench.launch.ranks import die_with_parent

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)

_started = []


def start(words, **how):
    """Start a command; it is killed where this process ends, whatever ends it."""
    process = subprocess.Popen(words, start_new_session=True, preexec_fn=_prepare, **how)
    _started.append(process)
    return process


def run(words, *, check=False, timeout=300.0, **how):
    """Run a command to its end, in seconds at most; leave nothing of its session behind."""
    if how.pop("capture_output", False):
        how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(words, **how)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        end(process)
    done = subprocess.CompletedProcess(words, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def end(process):
    """Kill what is left of a started process's session."""
    for pid in session(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    _started.remove(process)


def end_all(but=()):
    """End all that was started and is not ended, but some."""
    for process in [each for each in _started if each not in but]:
        end(process)


def running():
    """Return what was started and is not ended."""
    return tuple(_started)


def session(leader):
    """Return the ids of the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it has ended
        if int(number) == leader and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def default_signals():
    """Let this process obey signals as one that was started from a terminal."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _prepare():
    default_signals()
    die_with_parent(signal.SIGKILL)
