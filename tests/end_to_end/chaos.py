"""Chaos: workers train grids while they, their forkservers and trainers are killed at random.

    python tests/end_to_end/chaos.py --minutes 10

Round after round two workers share a folder and a grid of twenty jobs, until the time is over. At
the end of each, every job must have exactly one record, equal to that of an undisturbed run, and no
process may be left.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.project import Project, kill, parent, wait_until

VARIANTS = ("softmax", "balanced_softmax", "crt", "lws", "ncm")
SEEDS = 4
JOBS = len(VARIANTS) * SEEDS
WORKERS = 2


def project_of(folder):
    project = Project(folder)
    project.recipe("some_seconds", 12, 6, "{kind: step, milestones: [9]}")
    project.grid(*VARIANTS, name="chaos", recipes="[some_seconds]", seeds=str(list(range(SEEDS))))
    return project


def new(folder):
    folder.mkdir()
    return folder


class Round:
    """Workers of one folder, killed and restarted until all is done.

    Args:
        folder: an empty folder.
        seed: of the kills.
    """

    def __init__(self, folder, seed):
        self.project = project_of(folder)
        self.chance = random.Random(seed)
        self.kills = Counter()
        self.workers = []
        self.started = 0

    def run(self, until):
        """Kill until a time, then finish; return the kills by kind."""
        while True:
            self.workers = [worker for worker in self.workers if worker.poll() is None]
            if self.started and not self.workers and len(self.project.records()) == JOBS:
                break
            while len(self.workers) < WORKERS:
                self.start()
            time.sleep(self.chance.uniform(0.5, 2.5))
            if time.monotonic() < until:
                self.strike()
        wait_until(lambda: not self.project.processes(), seconds=30)
        return self.kills

    def start(self):
        words = ("--max-parallel", "1", "--checkpoint-every", "0")
        log = f"worker-{self.started}.log"
        self.workers.append(self.project.start("chaos.yaml", *words, log=log, verb="worker"))
        self.started += 1

    def strike(self):
        """Kill one process of a random kind."""
        trainers = self.project.trainers()
        workers = [worker.pid for worker in self.workers]
        servers = [p for p in {parent(pid) for pid in trainers} if parent(p) in workers]
        kinds = {
            "trainer": [pid for pid in trainers if pid not in servers],
            "forkserver": servers,
            "worker": workers,
        }
        kind = self.chance.choices(list(kinds), weights=(6, 1, 2))[0]
        if kinds[kind] and kill(self.chance.choice(sorted(kinds[kind]))):
            self.kills[kind] += 1


def compare(project, expected):
    """Return the problems with the records of a round."""
    records = project.records()
    wrong = [f"{key} has no record" for key in expected.keys() - records.keys()]
    for key, record in records.items():
        if record.numbers() != expected[key].numbers():
            wrong.append(f"{record.job.title} has other numbers")
    files = Counter(path.stem[-16:] for path in project.out.glob("records/**/*.json"))
    wrong += [f"{key} has {count} records" for key, count in files.items() if count != 1]
    return wrong


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def chaos(minutes, seed, folder):
    """Run rounds for some minutes; return all problems and the kills."""
    calm = project_of(new(folder / "calm"))
    calm.run("chaos.yaml")
    expected = calm.records()
    until = time.monotonic() + 60 * minutes
    wrong, kills, rounds = [], Counter(), 0
    while time.monotonic() < until:
        turn = Round(new(folder / str(rounds)), seed + rounds)
        struck = turn.run(until)
        problems = compare(turn.project, expected)
        attempts = sum(record.cost.attempts for record in turn.project.records().values())
        say(f"round {rounds}: {dict(struck)} killed, {attempts} attempts at {len(expected)} jobs")
        wrong += problems
        kills += struck
        rounds += 1
    say(f"{rounds} rounds, {sum(kills.values())} kills, {len(wrong)} wrong")
    return wrong, kills


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    say(f"seed {arguments.seed}")
    with tempfile.TemporaryDirectory() as folder:
        wrong, _ = chaos(arguments.minutes, arguments.seed, Path(folder))
    say("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
