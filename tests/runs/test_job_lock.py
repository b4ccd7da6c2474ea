import errno
import fcntl
import json
import multiprocessing
import os
import signal
import time

import pytest

from ltbench.runs import job_lock as module
from ltbench.runs.job_lock import STALE, JobLock, LockLostError, Watch

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def claims(tmp_path):
    return JobLock(tmp_path / "job" / "claims")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def last(claims):
    return max(claims.folder.iterdir())


def elsewhere(claims, **changes):
    """Rewrite the last claim as another machine would have written it."""
    path = last(claims)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": "other"} | changes))


def hold(claims, pipe):
    """Hold a lock in a process of its own, and wait."""
    pipe.send(claims.take() is not None)
    time.sleep(600)


def holding(claims):
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=hold, args=(claims, theirs), daemon=True)
    process.start()
    assert ours.recv()
    return process


def test_one_holds_until_it_lets_go(claims):
    assert claims.holder() is None
    first = claims.take(launcher="slurm 7")
    holder = claims.holder()
    assert (holder.number, holder.pid, holder.here) == (1, os.getpid(), True)
    assert holder.details == {"launcher": "slurm 7"}
    assert claims.take() is None
    first.release()
    assert claims.holder() is None
    second = claims.take()
    assert claims.holder().number == 2
    second.release()
    assert [path.read_bytes() for path in sorted(claims.folder.iterdir())] == [b"free\n"] * 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_kernel_says_that_a_holder_is_dead(claims, how):
    process = holding(claims)
    assert claims.holder().pid == process.pid
    os.kill(process.pid, how)
    process.join()
    assert claims.holder() is None
    claims.take().release()


def test_a_stopped_holder_lives(claims):
    process = holding(claims)
    os.kill(process.pid, signal.SIGSTOP)
    assert claims.take() is None
    process.kill()
    process.join()


def test_processes_forked_from_the_holder_keep_it(claims):
    claim = claims.take()
    child = FORK.Process(target=time.sleep, args=(600,), daemon=True)
    child.start()
    os.close(claim.handle)  # as if the holder had died
    assert claims.holder() is not None
    child.kill()
    child.join()
    assert claims.holder() is None


def race(claims, start, wins):
    start.wait()
    for number in range(40):
        if claim := claims.take():
            path = claims.folder.parent / f"{number}.{os.getpid()}"
            with (claims.folder.parent / "only_one").open("x"):
                path.touch()
            (claims.folder.parent / "only_one").unlink()
            claim.release()
            wins.put(1)


def test_many_at_once_never_hold_together(claims):
    claims.folder.mkdir(parents=True)
    start, wins = FORK.Barrier(4), FORK.SimpleQueue()
    racers = [FORK.Process(target=race, args=(claims, start, wins)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 4
    numbers = [int(path.name) for path in claims.folder.iterdir()]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    total = 0
    while not wins.empty():
        total += wins.get()
    assert total == len(numbers) >= 4


def test_a_holder_elsewhere_lives_as_long_as_it_gives_signs(claims, clock):
    claim, watch = claims.take(), Watch()
    elsewhere(claims)
    for _ in range(5):
        clock[0] += STALE - 1
        claim.beat()
        assert not claims.holder().here
        assert not watch.is_dead(claims, claims.holder())
    clock[0] += STALE - 1
    assert not watch.is_dead(claims, claims.holder())
    clock[0] += 2
    assert watch.is_dead(claims, claims.holder())


def test_clocks_do_not_matter(claims, clock):
    claims.take()
    watch = Watch()
    elsewhere(claims)
    for jump in (-1e9, 1e9, 0.0):
        os.utime(last(claims), (time.time() + jump, time.time() + jump))
        clock[0] += STALE - 1
        assert not watch.is_dead(claims, claims.holder())


def test_one_of_many_takes_over_from_the_dead(claims):
    dead = claims.take()
    elsewhere(claims)
    holder = claims.holder()
    assert claims.take() is None
    for _ in range(2):
        claims.free(holder)
    new = claims.take()
    assert claims.holder().number == 3
    claims.free(holder)  # by somebody who was slow
    assert claims.take() is None
    with pytest.raises(LockLostError, match="took the job over"):
        dead.beat()
    dead.release()
    assert claims.take() is None
    new.beat()


def test_a_claim_about_to_be_written_is_held(claims, clock):
    claims.take().release()
    path = claims.folder / "00002"
    path.touch()
    assert claims.take() is None
    assert not Watch().is_dead(claims, claims.holder())
    path.write_text('{"host"')
    assert claims.take() is None


def test_a_restarted_machine_is_another(claims, monkeypatch):
    claim = claims.take()
    monkeypatch.setattr(module, "machine", lambda: "since the restart")
    assert claims.holder() is not None
    assert not claims.holder().here
    claim.release()


def test_without_locks_signs_of_life_count(claims, monkeypatch):
    def unsupported(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    claim = claims.take()
    assert claims.take() is None
    assert not claims.holder().here
    os.close(claim.handle)
    assert claims.take() is None  # who knows
    claims.free(claims.holder())
    assert claims.take() is not None


def test_a_full_disk_leaves_no_claim(claims, monkeypatch):
    claims.take().release()

    def full(handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        claims.take()
    monkeypatch.undo()
    assert claims.holder() is None
    assert claims.take() is not None


def test_a_removed_folder_is_noticed(claims):
    claim = claims.take()
    claim.beat()
    last(claims).unlink()
    with pytest.raises(LockLostError, match="is gone"):
        claim.beat()
    last_one = claims.take()
    with pytest.raises(LockLostError, match="is gone"):
        claim.beat()
    last_one.beat()
