"""Processes started by tests, in sessions that end with the test.

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


def start(command, **options):
    """Start a command that is killed when this process ends."""
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=_prepare, **options)
    _started.append(process)
    return process


def run(command, *, check=False, timeout=300.0, **options):
    """Run a command with a timeout; end all processes of its session."""
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(command, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        end(process)
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def end(process):
    """Kill the remaining processes of a started process's session."""
    for pid in session(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    _started.remove(process)


def end_all(but=()):
    """End all started processes, except some."""
    for process in [each for each in _started if each not in but]:
        end(process)


def running():
    """Return the started processes that have not ended."""
    return tuple(_started)


def session(leader):
    """Return the ids of the running processes of a session."""
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
    """Reset signal handling to that of a terminal's process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _prepare():
    default_signals()
    die_with_parent(signal.SIGKILL)
