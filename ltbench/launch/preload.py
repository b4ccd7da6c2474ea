"""Loaded once into the forkserver, so that every job is a fork that has it all.

The forkserver tells how its children ended, and must outlive them: a signal that is sent to whole
groups or sessions, as schedulers do, is not for it. It ends with the runner, and at once: taking
down an interpreter that holds torch takes seconds.
"""

import atexit
import os
import signal

import ltbench.tracking.wandb
import ltbench.training.fit  # noqa: F401

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)
atexit.register(os._exit, 0)
