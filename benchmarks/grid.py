"""A grid with shared first stages against separate usual runs.

Separate runs are those of the usual loop; times are seconds. Softmax, post-hoc logit adjustment,
tau-norm, NCM, cRT and LWS with two seeds, ResNet-8 on CIFAR-10-LT (JPEG). The usual loop trains the
first stage of each of the twelve on all cores and validates after each epoch; its second stages are
not counted. Needs the images.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

import torch
from rounds import interleaved, report
from work import COUNTS, device, network, noise_dataset, usual_steps, usual_validation

LTBENCH = (sys.executable, "-m", "ltbench")
ROWS = ("Softmax", "Post-hoc logit adjustment", "tau-norm", "NCM")
ROWS += ("Decouple-IB-CRT", "Decouple-IB-LWS")
SEEDS = 2
TEST_IMAGES = 10_000


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    images, where = noise_dataset(test=TEST_IMAGES), device()

    def separate() -> float:
        torch.set_num_threads(os.cpu_count() or 1)
        began, model = time.perf_counter(), network("resnet8")
        for _ in range(args.epochs):
            usual_steps(images, model, where, sum(COUNTS) // 128)
            usual_validation(images, model, where)
        return len(ROWS) * SEEDS * (time.perf_counter() - began)

    def shared() -> float:
        settings = (
            "network=resnet8",
            "precision=fp32",
            f"stage1.epochs={args.epochs}",
            "stage1.schedule.warmup=0",
            "stage2.epochs=1",
            "stage2.cached_features=true",
        )
        fixed = [f"--set=hparams.{method}.update_bn=false" for method in ("crt", "lws")]
        command = [*LTBENCH, "run", "--grid", "cifar10_jpeg_lt_fast", "--wandb", "off", "--only"]
        command += [f"variant={','.join(ROWS)},split=longtailed", *fixed]
        for setting in settings:
            command += ["--set", f"recipe.{setting}"]
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            subprocess.run([*command, "--run-dir", folder], check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - began

    variants = {"grid": shared, "separate runs": separate}
    report("grid", "seconds", interleaved(variants, args.rounds), "grid")


if __name__ == "__main__":
    main()
