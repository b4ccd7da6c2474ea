"""That tests' processes obey signals, and end with them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.project import is_alive, wait_until

TESTS = Path(__file__).parent
SLEEP = "import time; time.sleep(600)"
WITH_CHILD = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
{SLEEP}
"""


@pytest.fixture
def ignored():
    """Ignore what a script ignores for its background jobs, and nohup for all."""
    before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_what_is_started_obeys_signals(ignored, number):
    process = processes.start(["sleep", "600"])
    process.send_signal(number)
    assert process.wait(10) == -number


def test_the_end_of_a_process_is_that_of_its_session():
    process = processes.start([sys.executable, "-c", WITH_CHILD])
    wait_until(lambda: len(processes.session(process.pid)) == 2)
    both = processes.session(process.pid)
    processes.end(process)
    wait_until(lambda: not any(map(is_alive, both)))
    assert process not in processes.running()


def test_a_command_that_takes_too_long_is_ended():
    words = [sys.executable, "-c", f"import os; print(os.getpid(), flush=True); {SLEEP}"]
    with pytest.raises(Exception, match="timed out") as raised:
        processes.run(words, timeout=2, capture_output=True)
    assert not is_alive(int(raised.value.output))


def test_what_is_started_dies_with_the_tests():
    code = """
import time
from tests.support import processes
print(processes.start(["sleep", "600"]).pid, flush=True)
time.sleep(600)"""
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    words = [sys.executable, "-c", code]
    tests = processes.start(words, env=environment, stdout=subprocess.PIPE, text=True)
    sleeper = int(tests.stdout.readline())
    tests.kill()
    wait_until(lambda: not is_alive(sleeper), seconds=10)
