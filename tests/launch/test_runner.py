"""In which order jobs are begun, whatever runs them."""

import io

from launch.grids import quickstart
from rich.console import Console

from ltbench.launch.display import RunDisplay
from ltbench.launch.runner import Runner
from ltbench.launch.state import note_failure
from ltbench.results.workspace import Workspace


class Failing(Runner):
    """Has room for one job at a time, which fails at once."""

    begun = ()

    def has_room(self):
        return not self.ready

    def start(self, job):
        self.begun += (job.method,)
        self.ready = [job.key]
        note_failure(self.workspace.job(job.key), "ValueError", "no")

    def ended(self):
        ended, self.ready = self.ready, []
        return [(key, 1) for key in ended]

    def ask_to_stop(self):
        raise AssertionError("nobody asked")

    def kill(self):
        assert not self.running


def test_the_longest_chain_is_begun_first(tmp_path):
    plan = quickstart("seed=0", "split=longtailed", "variant=softmax,ldam_drw,ncm,lws")
    seconds = {"softmax": 10.0, "ldam_drw": 30.0, "ncm": 1.0, "lws": 25.0}
    known = {key: seconds[job.method] for key, job in plan.jobs.items()}
    workspace = Workspace(tmp_path)
    display = RunDisplay(Console(file=io.StringIO()), known, 1)
    runner = Failing(plan.jobs, {}, workspace, known, display)
    runner.ready = []
    outcome = runner.run()
    assert runner.begun == ("softmax", "ldam_drw")  # 10 and 25 s behind each other before 30 s
    assert [plan.jobs[key].method for key in outcome.failed] == ["softmax", "ldam_drw"]
    assert {plan.jobs[key].method for key in outcome.blocked} == {"ncm", "lws"}
