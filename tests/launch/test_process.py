import os
import signal
from multiprocessing import get_context

import pytest

from ltbench.core.files import read_json
from ltbench.launch.local import PRELOAD
from ltbench.launch.process import BUSY, main
from ltbench.launch.task import command, write_task
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import finished, read_failure
from tests.support import processes
from tests.support.project import PATIENCE, children, is_alive, wait_until
from tests.support.training_jobs import job, options, weights

LONG = 20_000  # epochs; no test waits for their end


@pytest.fixture
def run_dir(tmp_path):
    return RunDirectory(tmp_path)


@pytest.fixture
def start(run_dir):
    """Start jobs as a runner does; kill those that a test leaves."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    started = []

    def begin(one, ranks=1, **changes):
        arguments = (one.model_dump_json(), str(run_dir.root), options(**changes), ("",) * ranks)
        process = context.Process(target=main, args=arguments)
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def under_way(run_dir, one, epoch=1):
    """Wait until a job has trained some epochs."""
    progress = run_dir.job(one.key).progress
    wait_until(lambda: (read_json(progress) or {"epoch": 0})["epoch"] >= epoch)


def checkpoints(run_dir, one):
    return sorted(path.name for path in run_dir.job(one.key).checkpoints.glob("*.pt"))


def ended(process, code):
    process.join(PATIENCE)
    assert process.exitcode == code


def test_one_rank_and_two_give_the_same_counts(run_dir, start, tmp_path):
    one = job()
    ended(start(one), 0)
    alone = finished(one, run_dir)
    run_dir.job(one.key).path.rename(tmp_path / "alone")
    ended(start(one, ranks=2), 0)
    shared = finished(one, run_dir)
    assert (alone.cost.devices, shared.cost.devices) == (1, 2)
    assert shared.test.correct == alone.test.correct
    assert shared.training.losses == pytest.approx(alone.training.losses, rel=1e-9)


def test_a_job_held_by_another_process_is_left_alone(run_dir, start):
    one = job()
    with run_dir.job(one.key).hold():
        ended(start(one), BUSY)
    assert not run_dir.job(one.key).log.exists()


def test_no_socket_stays_open(run_dir):
    one = job()
    arguments = command(write_task(one, run_dir, options()))
    arguments[1:1] = ["-W", "always::ResourceWarning"]
    with run_dir.job(one.key).hold():
        done = processes.run(arguments, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (BUSY, "")


@pytest.mark.parametrize("ranks", [1, 2])
def test_sigterm_saves_within_the_epoch_and_stops(run_dir, start, ranks):
    one = job(epochs=LONG)
    process = start(one, ranks, checkpoint_every=1e9)
    under_way(run_dir, one)
    assert checkpoints(run_dir, one) == []
    os.kill(process.pid, signal.SIGTERM)
    process.join(PATIENCE)
    assert len(checkpoints(run_dir, one)) == 1
    assert read_failure(run_dir.job(one.key)) is None
    assert run_dir.job(one.key).lock.holder() is None
    assert "stopped, and saved" in run_dir.job(one.key).log.read_text()


def test_half_written_files_of_a_killed_attempt_are_removed(run_dir, start):
    one = job()
    folder = run_dir.job(one.key)
    half = [folder.path / ".weights.safetensors.x1", folder.checkpoints / ".epoch-00001.pt.x2"]
    for path in half:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    ended(start(one), 0)
    assert not any(path.exists() for path in half)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_job_at_once_and_is_named(run_dir, start, victim):
    one = job(epochs=LONG)
    process = start(one, ranks=2)
    under_way(run_dir, one)
    ranks = sorted(children(process.pid))
    os.kill(ranks[victim], signal.SIGKILL)
    process.join(PATIENCE)
    assert not process.is_alive()
    failure = read_failure(run_dir.job(one.key))
    assert failure.startswith(f"Ended: rank {victim} of 2 was ended by SIGKILL")
    wait_until(lambda: not any(map(is_alive, ranks)))


def test_ranks_die_with_their_leader(run_dir, start):
    one = job(epochs=LONG)
    process = start(one, ranks=2)
    under_way(run_dir, one)
    ranks = children(process.pid)
    assert len(ranks) == 2
    process.kill()
    process.join()
    wait_until(lambda: not any(map(is_alive, ranks)))
    wait_until(lambda: run_dir.job(one.key).lock.holder() is None)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_job_that_hangs_is_given_up(run_dir, start, ranks):
    one = job(epochs=LONG)
    process = start(one, ranks, heartbeat_timeout=3.0)
    under_way(run_dir, one)
    os.kill(max(children(process.pid)), signal.SIGSTOP)
    process.join(PATIENCE)
    assert not process.is_alive()
    assert read_failure(run_dir.job(one.key)) == "Ended: the job made no progress for 3 s"


def test_a_job_whose_folder_is_gone_ends(run_dir, start, tmp_path):
    one = job(epochs=LONG)
    process = start(one)
    under_way(run_dir, one)
    run_dir.job(one.key).path.rename(tmp_path / "away")
    process.join(PATIENCE)
    assert not process.is_alive()
    assert "lock/00001 is gone: this attempt ends" in (tmp_path / "away/log.txt").read_text()


def test_a_job_that_another_process_took_over_ends(run_dir, start):
    one = job(epochs=LONG)
    process = start(one)
    under_way(run_dir, one)
    lock = run_dir.job(one.key).lock
    lock.break_lock(lock.holder())
    with run_dir.job(one.key).hold() as held:
        assert held is not None
        process.join(PATIENCE)
        assert not process.is_alive()
        assert lock.holder().pid == os.getpid()
    assert read_failure(run_dir.job(one.key)) is None


def test_a_resumed_job_equals_an_uninterrupted_one(run_dir, start, tmp_path):
    one = job(epochs=20, precision="fp32", norm="batch")
    ended(start(one), 0)
    expected, trained = finished(one, run_dir), weights(run_dir, one.key)
    run_dir.job(one.key).path.rename(tmp_path / "expected")
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        process = start(one)
        under_way(run_dir, one)
        os.kill(process.pid, how)
        process.join(PATIENCE)
        wait_until(lambda: run_dir.job(one.key).lock.holder() is None)
    ended(start(one), 0)
    record = finished(one, run_dir)
    assert record.numbers() == expected.numbers()
    assert weights(run_dir, one.key) == trained
