import io
import re

import pytest
from rich.console import Console

from ltbench.launch import display as module
from ltbench.launch.display import RunDisplay
from tests.support.quickstart import key, quickstart


@pytest.fixture(scope="module")
def jobs():
    plan = quickstart("seed=0", "split=longtailed")
    return [plan.jobs[key(plan, label)] for label in ("Softmax", "LDAM-DRW", "NCM")]


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def shown(jobs, seconds, slots=1, terminal=False):
    console = Console(file=io.StringIO(), width=200, force_terminal=terminal)
    times = dict(zip([job.key for job in jobs], seconds, strict=True))
    display = RunDisplay(console, times, slots)
    return display, lambda: console.file.getvalue().splitlines()


def state(epoch):
    return {"epoch": epoch, "epochs": 40, "images_per_second": 1234.5}


def test_each_event_is_a_line(jobs):
    display, lines = shown(jobs, (40.0, 20.0, 1.0))
    one, two, three = jobs
    with display:
        display.started(one)
        display.progress(one, state(20))
        display.done(one, changed=False)
        display.started(two)
        display.failed(two, "ValueError: a\x1b[2J\nb", "the end\nof a log")
        display.blocked([three], "no start\x1b[2J")
    assert lines() == [
        "start   Softmax [train] on digits_r20 longtailed seed 0, digits",
        "done    Softmax [train] on digits_r20 longtailed seed 0, digits: 1/3, 21 s left",
        "start   LDAM-DRW [train] on digits_r20 longtailed seed 0, digits",
        "FAILED  LDAM-DRW [train] on digits_r20 longtailed seed 0, digits",
        "        ValueError: a\\x1b[2J",
        "        b",
        "the end",
        "of a log",
        "BLOCKED NCM [means] on digits_r20 longtailed seed 0, digits: no start\\x1b[2J",
    ]


def test_time_left_takes_progress_and_slots_into_account(jobs, clock):
    display, lines = shown(jobs, (40.0, 20.0, 4.0), slots=2)
    one, two, three = jobs
    display.started(one)
    display.started(two)
    display.progress(one, state(30))  # 10 s of its 40 are left
    display.done(two, changed=False)
    assert lines()[-1].endswith(": 1/3, 10 s left")
    display.done(one, changed=False)
    assert lines()[-1].endswith(": 2/3, 4 s left")
    display.done(three, changed=False)
    assert lines()[-1].endswith(": 3/3, 0 s left")


def test_time_left_of_a_running_job_is_measured_by_its_epochs(jobs, clock):
    display, lines = shown(jobs[:1], (40.0,))
    display.started(jobs[0])
    for clock[0], epoch in ((20.0, 0), (140.0, 1), (200.0, 1)):
        display.progress(jobs[0], state(epoch))
    assert lines()[-1].endswith("epoch 1/40, 1,234 images/s; 0/1, 78 min left")
    display.retrying(jobs[0], "Ended")
    display.started(jobs[0])
    display.progress(jobs[0], state(30))  # after a resume, nothing is measured yet
    clock[0] += 120.0
    display.progress(jobs[0], state(31))
    assert lines()[-1].endswith("0/1, 18 min left")


def test_without_an_estimate_the_mean_duration_so_far_counts(jobs, clock):
    display, lines = shown(jobs, (None, None, 1.0))
    clock[0] = 100.0  # a slow start is not a job's time
    display.started(jobs[0])
    clock[0] = 160.0
    display.progress(jobs[0], state(30))
    assert lines()[-1].endswith("epoch 30/40, 1,234 images/s; 0/3, time left unknown")
    clock[0] = 180.0
    display.done(jobs[0], changed=False)
    assert lines()[-1].endswith(": 1/3, 3 min left")


def test_a_long_job_prints_its_progress_once_a_minute(jobs, clock):
    display, lines = shown(jobs, (None, None, None))
    display.started(jobs[0])
    for clock[0], epoch in ((30.0, 1), (61.0, 2), (90.0, 3), (122.0, 4)):
        display.progress(jobs[0], state(epoch))
    printed = [line for line in lines() if line.startswith("running ")]
    assert [line.split("epoch ")[1].split(",")[0] for line in printed] == ["2/40", "4/40"]
    clock[0] = 190.0
    display.progress(jobs[0], state(40))
    assert lines()[-1].endswith("epoch 40/40, testing; 0/3, time left unknown")


def test_a_job_of_another_run_may_come_back(jobs):
    display, lines = shown(jobs, (1.0, 1.0, 1.0))
    display.started(jobs[0])
    display.claimed_by_other(jobs[0])
    display.started(jobs[0])
    display.done(jobs[0], changed=True)
    assert "another run is training it" in lines()[1]
    assert lines()[-1].startswith("CHANGED Softmax")
    assert display.tasks == {}


def test_a_job_ended_from_outside_is_retried(jobs):
    display, lines = shown(jobs, (1.0, 1.0, 1.0))
    display.started(jobs[0])
    display.retrying(jobs[0], "Ended: by \x1b[2J")
    display.started(jobs[0])
    display.stopping(1)
    assert lines()[1] == f"RETRY   {jobs[0].title}: Ended: by \\x1b[2J"
    assert lines()[-1].startswith("Stopping: 1 jobs save")


def test_on_a_terminal_a_live_table_replaces_the_lines(jobs):
    display, lines = shown(jobs, (40.0, 20.0, 1.0), terminal=True)
    with display:
        display.started(jobs[0])
        display.progress(jobs[0], state(10))
        display.live.refresh()
        display.done(jobs[0], changed=False)
        display.live.refresh()
    text = "\n".join(lines())
    assert "start   " not in text
    assert "10/40" in text
    assert "1,234 images/s" in text
    assert re.search(r"1/3\S* 21 s left", text)
