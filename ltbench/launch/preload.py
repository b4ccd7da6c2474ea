"""Loaded once into the forkserver, so that every job is a fork that has it all.

The forkserver tells how its children ended, and must outlive them: a signal that is sent to whole
groups or sessions, as schedulers do, is not for it. It ends with the runner, and at once: taking
down an interpreter that holds torch takes seconds. Until it has loaded everything, it dies with a
runner that ends before.
"""

import atexit
import os
import signal

from ltbench.launch.ranks import die_with_parent

die_with_parent(signal.SIGTERM)

import ltbench.tracking.wandb  # noqa: E402 - takes the seconds during which it may die
import ltbench.training.fit  # noqa: E402, F401

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
atexit.register(os._exit, 0)
