"""Processes that run a function as the ranks of a gloo group."""

import atexit
import logging
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import connection, get_context
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # re-exported

from ltbench.launch.local import DIGITS, PRELOAD
from ltbench.launch.ranks import LOCALHOST, RankLayout


class RankError(Exception):
    """A rank raised an exception, died, or did not answer in time."""


class Ranks:
    """Rank processes, forked on the first call and kept for further calls.

    They have torchrun's variables, and this process holds their store as torchrun's agent does, so
    that no port has to be guessed.

    Args:
        world: number of ranks.
        joined: whether the process group is there before the first call.
    """

    def __init__(self, world: int, *, joined: bool = True) -> None:
        self.world = world
        self.joined = joined
        self.processes: list[Any] = []
        self.pipes: list[connection.Connection] = []

    def __call__(
        self, function: Callable[..., Any], *arguments: Any, timeout: float = 300
    ) -> list[Any]:
        """Return what a function that can be imported returns on each rank.

        Raises:
            RankError: after which the next call begins with new processes.
        """
        if not self.processes:
            self._start()
        for rank, pipe in enumerate(self.pipes):
            try:
                pipe.send((function, arguments))
            except ConnectionError:
                self._fail(f"rank {rank}: died")
        answers: dict[int, Any] = {}
        deadline = time.monotonic() + timeout
        while len(answers) < self.world:
            silent = [pipe for rank, pipe in enumerate(self.pipes) if rank not in answers]
            ready = connection.wait(silent, deadline - time.monotonic())
            if not ready:
                self._fail(f"no answer within {timeout:g} s")
            for rank in [r for r, pipe in enumerate(self.pipes) if pipe in ready]:
                try:
                    failure, answers[rank] = self.pipes[rank].recv()
                except (EOFError, ConnectionError):
                    failure = "died"
                if failure:
                    self._fail(f"rank {rank}: {failure}")
        return [answers[rank] for rank in range(self.world)]

    def stop(self) -> None:
        """End the processes, whatever they are doing."""
        for process in self.processes:
            process.kill()
            process.join()
        self.processes, self.pipes = [], []

    def _fail(self, message: str) -> None:
        self.stop()
        raise RankError(message)

    def _start(self) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload([*PRELOAD, *DIGITS])
        self.store = TCPStore(LOCALHOST, 0, is_master=True, wait_for_workers=False)
        layout, address = RankLayout.of_one_machine(self.world), f"{LOCALHOST}:{self.store.port}"
        for rank in range(self.world):
            variables = layout.torchrun_env(rank, address) | {"GLOO_SOCKET_IFNAME": "lo"}
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, variables, self.joined), daemon=True
            )
            process.start()
            theirs.close()  # so that the end of the process ends the pipe
            self.processes.append(process)
            self.pipes.append(ours)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings, and what Lightning says of itself, from a terminal."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@cache
def ranks(world: int) -> Ranks:
    """Return the rank processes that all checks share."""
    shared = Ranks(world)
    atexit.register(shared.stop)  # they ignore the signal that multiprocessing ends daemons with
    return shared


def _serve(pipe: connection.Connection, variables: dict[str, str], joined: bool) -> None:
    os.environ.update(variables)
    torch.set_num_threads(1)
    if joined:
        dist.init_process_group("gloo")
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:  # the checks are over
            return
        answer: tuple[str | None, Any]
        try:
            with quiet():
                answer = (None, function(*arguments))
        except Exception:  # noqa: BLE001 - the caller raises it
            answer = (traceback.format_exc(), None)
        pipe.send(answer)
