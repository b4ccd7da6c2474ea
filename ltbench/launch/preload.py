"""Preloads modules into the forkserver, so that jobs fork without imports.

The forkserver reports how its children ended and must outlive them, so it ignores the signals that
schedulers send to whole process groups or sessions. It ends with the runner, and at once: tearing
down an interpreter that holds torch takes seconds. While it imports, it dies with the runner.
"""

import atexit
import os
import signal

from ltbench.launch.ranks import die_with_parent

die_with_parent(signal.SIGTERM)

import ltbench.tracking.wandb  # noqa: E402 - slow, after the line above
import ltbench.training.fit  # noqa: E402, F401

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
atexit.register(os._exit, 0)
