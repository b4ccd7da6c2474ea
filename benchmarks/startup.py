"""What is not training: seconds of the verbs that only look, and of a run around its work.

`ltbench run` is timed for one job of one epoch on the digits, in a folder of its own: all its
seconds but those of the epoch and of the test. Caches are warm, as in every run but the first.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

from rounds import interleaved, report

LTBENCH = shutil.which("ltbench") or "ltbench"
JOB = (
    "run --grid quickstart --only variant=Softmax,split=longtailed,seed=0 "
    "--set recipe.first.epochs=1 --set recipe.first.schedule.milestones=[] "
    "--set recipe.first.schedule.warmup=0 --set recipe.first.defer=1 --wandb off"
)


def verb(words: str) -> float:
    """Return the seconds of a verb."""
    began = time.perf_counter()
    subprocess.run([LTBENCH, *words.split()], check=True, capture_output=True)
    return time.perf_counter() - began


def around() -> float:
    """Return the seconds of a run of one job that are not its work."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run([LTBENCH, *JOB.split(), "--out", folder], check=True, capture_output=True)
        seconds = time.perf_counter() - began
        (path,) = Path(folder, "records").rglob("*.json")
        cost = json.loads(path.read_text())["cost"]
    return float(seconds - cost["train_seconds"] - cost["test_seconds"])


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    verbs = ("--help", "plan --grid quickstart", "status --grid quickstart", "methods")
    variants = {f"ltbench {each}": partial(verb, each) for each in verbs}
    variants["ltbench run, around one job"] = around
    report("startup", "seconds", interleaved(variants, words.rounds), "ltbench --help")


if __name__ == "__main__":
    main()
