import errno
import fcntl
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from ltbench.runs import job_lock as module
from ltbench.runs.job_lock import HEARTBEAT_TIMEOUT, DeadHolderDetector, JobLock, LockLostError

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def lock(tmp_path):
    return JobLock(tmp_path / "job" / "lock")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def last_file(lock):
    return max(lock.folder.iterdir())


def move_to_other_machine(lock, **changes):
    """Rewrite the last lock file as another machine would have written it."""
    path = last_file(lock)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": "other"} | changes))


def hold(lock, pipe):
    """Hold the lock and wait."""
    pipe.send(lock.acquire() is not None)
    time.sleep(600)


def holding(lock):
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=hold, args=(lock, theirs), daemon=True)
    process.start()
    assert ours.recv()
    return process


def test_one_process_holds_the_lock_until_it_releases_it(lock):
    assert lock.holder() is None
    first = lock.acquire(launcher="slurm 7")
    holder = lock.holder()
    assert (holder.number, holder.pid, holder.here) == (1, os.getpid(), True)
    assert holder.details == {"launcher": "slurm 7"}
    assert lock.acquire() is None
    first.release()
    assert lock.holder() is None
    second = lock.acquire()
    assert lock.holder().number == 2
    second.release()
    assert [path.read_bytes() for path in sorted(lock.folder.iterdir())] == [b"free\n"] * 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_holder_is_seen_at_once(lock, how):
    process = holding(lock)
    assert lock.holder().pid == process.pid
    os.kill(process.pid, how)
    process.join()
    assert lock.holder() is None
    lock.acquire().release()


def test_a_suspended_holder_keeps_the_lock(lock):
    process = holding(lock)
    os.kill(process.pid, signal.SIGSTOP)
    assert lock.acquire() is None
    process.kill()
    process.join()


def test_forked_processes_keep_the_lock(lock):
    held = lock.acquire()
    child = FORK.Process(target=time.sleep, args=(600,), daemon=True)
    child.start()
    os.close(held.handle)  # as if the holder had died
    assert lock.holder() is not None
    child.kill()
    child.join()
    assert lock.holder() is None


def race(lock, start, wins):
    start.wait()
    for number in range(40):
        if held := lock.acquire():
            path = lock.folder.parent / f"{number}.{os.getpid()}"
            with (lock.folder.parent / "only_one").open("x"):
                path.touch()
            (lock.folder.parent / "only_one").unlink()
            held.release()
            wins.put(1)


def test_racing_processes_never_hold_the_lock_together(lock):
    lock.folder.mkdir(parents=True)
    start, wins = FORK.Barrier(4), FORK.SimpleQueue()
    racers = [FORK.Process(target=race, args=(lock, start, wins)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 4
    numbers = [int(path.name) for path in lock.folder.iterdir()]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    total = 0
    while not wins.empty():
        total += wins.get()
    assert total == len(numbers) >= 4


def test_a_holder_on_another_machine_lives_by_its_heartbeats(lock, clock):
    held, detector = lock.acquire(), DeadHolderDetector()
    move_to_other_machine(lock)
    for _ in range(5):
        clock[0] += HEARTBEAT_TIMEOUT - 1
        held.beat()
        assert not lock.holder().here
        assert not detector.is_dead(lock, lock.holder())
    clock[0] += HEARTBEAT_TIMEOUT - 1
    assert not detector.is_dead(lock, lock.holder())
    clock[0] += 2
    assert detector.is_dead(lock, lock.holder())


@pytest.fixture
def slept(clock, monkeypatch):
    """Let sleeping move the clock; return what is called after each sleep."""
    calls = []

    def sleep(seconds):
        clock[0] += seconds
        for call in calls:
            call()

    monkeypatch.setattr(module.time, "sleep", sleep)
    return calls


def test_the_lock_of_a_dead_holder_elsewhere_is_freed(lock, clock, slept):
    lock.free_from_dead()  # nobody holds it
    held = lock.acquire()
    lock.free_from_dead()  # the holder lives here
    assert clock[0] == 1000
    move_to_other_machine(lock)
    lock.free_from_dead()
    assert HEARTBEAT_TIMEOUT < clock[0] - 1000 < HEARTBEAT_TIMEOUT + 2
    assert lock.holder() is None
    assert lock.acquire() is not None
    held.release()


def test_a_heartbeat_ends_the_wait_for_a_holder_elsewhere(lock, clock, slept):
    held = lock.acquire()
    move_to_other_machine(lock)
    slept.append(lambda: clock[0] >= 1003 and os.utime(last_file(lock), ns=(7, 7)))
    lock.free_from_dead()
    assert clock[0] == 1003
    assert lock.acquire() is None
    held.release()


def test_clocks_do_not_matter(lock, clock):
    lock.acquire()
    detector = DeadHolderDetector()
    move_to_other_machine(lock)
    for jump in (-1e9, 1e9, 0.0):
        os.utime(last_file(lock), (time.time() + jump, time.time() + jump))
        clock[0] += HEARTBEAT_TIMEOUT - 1
        assert not detector.is_dead(lock, lock.holder())


def test_one_process_takes_over_from_a_dead_holder(lock):
    dead = lock.acquire()
    move_to_other_machine(lock)
    holder = lock.holder()
    assert lock.acquire() is None
    for _ in range(2):
        lock.break_lock(holder)
    new = lock.acquire()
    assert lock.holder().number == 3
    lock.break_lock(holder)  # by a slow process
    assert lock.acquire() is None
    with pytest.raises(LockLostError, match="took the job over"):
        dead.beat()
    dead.release()
    assert lock.acquire() is None
    new.beat()


def test_an_incomplete_lock_file_counts_as_held(lock, clock):
    lock.acquire().release()
    path = lock.folder / "00002"
    path.touch()
    assert lock.acquire() is None
    assert not DeadHolderDetector().is_dead(lock, lock.holder())
    path.write_text('{"host"')
    assert lock.acquire() is None


def test_a_restarted_machine_is_another_machine(lock, monkeypatch):
    held = lock.acquire()
    monkeypatch.setattr(module, "machine_id", lambda: "since the restart")
    assert lock.holder() is not None
    assert not lock.holder().here
    held.release()


def test_without_flock_heartbeats_count(lock, monkeypatch):
    def unsupported(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    held = lock.acquire()
    assert lock.acquire() is None
    assert not lock.holder().here
    os.close(held.handle)
    assert lock.acquire() is None  # its holder may live
    lock.break_lock(lock.holder())
    assert lock.acquire() is not None


def test_a_full_disk_leaves_no_lock_file(lock, monkeypatch):
    lock.acquire().release()
    handles = set(Path("/proc/self/fd").iterdir())

    def full(handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        lock.acquire()
    monkeypatch.undo()
    assert set(Path("/proc/self/fd").iterdir()) == handles
    assert lock.holder() is None
    assert lock.acquire() is not None


def test_a_full_disk_does_not_keep_the_lock(lock, monkeypatch):
    held = lock.acquire()

    def cut(handle, length):
        assert length == len(b"free\n")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", cut)
    with pytest.raises(OSError, match="No space"):
        held.release()
    assert last_file(lock).read_bytes().startswith(b"free\n")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held.handle)


def test_a_removed_folder_is_noticed(lock):
    held = lock.acquire()
    held.beat()
    last_file(lock).unlink()
    with pytest.raises(LockLostError, match="is gone"):
        held.beat()
    new = lock.acquire()
    with pytest.raises(LockLostError, match="is gone"):
        held.beat()
    new.beat()
