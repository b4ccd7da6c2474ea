"""The order of jobs in a run, with scripted processes."""

import io
import signal
from collections.abc import Iterable

import pytest
from rich.console import Console

from ltbench.launch.display import RunDisplay
from ltbench.launch.runner import Runner, RunnerConfig
from ltbench.runs.run_dir import RunDirectory
from ltbench.runs.state import record_failure
from tests.support.quickstart import finish, key, quickstart
from tests.support.training_jobs import options


class Scripted(Runner):
    """Runs one job at a time, which ends while a signal arrives."""

    sent: signal.Signals | None = None

    def has_free_slot(self) -> bool:
        return not self.running

    def start(self, job) -> None:
        finish(self.run_dir, job)

    def poll_finished(self) -> Iterable[tuple[str, int | None]]:
        for one in list(self.running):
            if self.sent is not None:
                signal.raise_signal(self.sent)
            yield one, 0

    def ask_to_stop(self) -> None:
        pass

    def kill(self) -> None:
        pass


@pytest.fixture
def runner(tmp_path):
    """Return the runner of some jobs of the quickstart grid, by label."""
    plan = quickstart("seed=0", "split=longtailed")

    def make(*labels):
        jobs = {key(plan, label): plan.jobs[key(plan, label)] for label in labels}
        seconds = dict.fromkeys(jobs, 1.0)
        display = RunDisplay(Console(quiet=True), seconds, 1)
        run_dir = RunDirectory(tmp_path)
        return Scripted(RunnerConfig(jobs, {}, seconds, run_dir, options(), display))

    return make


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_only_running_job_ends_is_not_lost(runner, sent):
    before = signal.signal(sent, signal.SIG_DFL)
    two = runner("Softmax", "LDAM-DRW")
    two.sent = sent
    outcome = two.run()
    signal.signal(sent, before)
    assert outcome.signal == sent
    assert len(outcome.done) == 1
    assert [title.split()[0] for title in outcome.unfinished] == ["LDAM-DRW"]


def test_a_signal_that_leaves_no_job_unfinished_is_ignored(runner):
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    one = runner("Softmax")
    one.sent = signal.SIGTERM
    outcome = one.run()
    signal.signal(signal.SIGTERM, before)
    assert (outcome.signal, outcome.unfinished) == (None, [])
    assert len(outcome.done) == 1


class Failing(Runner):
    """Runs one job at a time, which fails at once."""

    begun = ()

    def has_free_slot(self):
        return not self.ready

    def start(self, job):
        self.begun += (job.method,)
        self.ready = [job.key]
        record_failure(self.run_dir.job(job.key), "ValueError", "no")

    def poll_finished(self):
        ended, self.ready = self.ready, []
        return [(key, 1) for key in ended]

    def ask_to_stop(self):
        raise AssertionError("no signal was sent")

    def kill(self):
        assert not self.running


def test_the_longest_chain_is_started_first(tmp_path):
    plan = quickstart("seed=0", "split=longtailed", "variant=Softmax,ldam_drw,ncm,crt")
    seconds = {"softmax": 10.0, "ldam_drw": 30.0, "ncm": 1.0, "crt": 25.0}
    known = {key: seconds[job.method] for key, job in plan.jobs.items()}
    run_dir = RunDirectory(tmp_path)
    display = RunDisplay(Console(file=io.StringIO()), known, 1)
    runner = Failing(RunnerConfig(plan.jobs, {}, known, run_dir, options(), display))
    runner.ready = []
    outcome = runner.run()
    assert runner.begun == ("softmax", "ldam_drw")  # a chain of 10 and 25 s comes before 30 s
    assert [plan.jobs[key].method for key in outcome.failed] == ["softmax", "ldam_drw"]
    assert {plan.jobs[key].method for key in outcome.blocked} == {"ncm", "crt"}
