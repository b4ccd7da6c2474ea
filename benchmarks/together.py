"""Several jobs at once against the usual loop on all cores.

Rates are images per second. Each process trains ResNet-32 with batch size 128. On CPUs each of our
jobs has one core and the usual loop has all of them, as it is usually run; on a GPU all processes
share it.
"""

import argparse
import os
import subprocess
import sys
import time
from functools import partial
from itertools import product

import torch
from rounds import interleaved, report
from work import device, network, noise_dataset, our_steps, ready, recipe, usual_steps

STEPS = 16


def work(kind: str, name: str, threads: int) -> float:
    """Return images per second of one process after warm-up."""
    torch.set_num_threads(threads)
    images, where = noise_dataset(128 * STEPS), device()
    compiled = "on" if kind == "compiled" else "off"
    settings = recipe(network=name, channels_last=True, compile=compiled)

    def once() -> float:
        if kind == "usual":
            return usual_steps(images, network(name), where, STEPS)
        return our_steps(settings, images, where, ready(settings))

    once()
    print("warm", flush=True)
    sys.stdin.readline()
    return once()


def together(kind: str, count: int, name: str, threads: int) -> float:
    """Return images per second of processes started together after warm-up."""
    command = [sys.executable, __file__, "--work", kind, "--network", name]
    silent = {**os.environ, "PYTHONWARNINGS": "ignore"}
    workers = [
        subprocess.Popen(
            [*command, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=silent,
        )
        for _ in range(count)
    ]
    for worker in workers:
        while worker.stdout.readline().strip() != "warm":  # type: ignore[union-attr]
            time.sleep(0.01)
    for worker in workers:
        print(file=worker.stdin, flush=True)
    return sum(float(worker.communicate()[0].split()[-1]) for worker in workers)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, nargs="+", help="numbers of jobs; default: by cores")
    parser.add_argument("--compile", action="store_true", help="also compiled networks")
    parser.add_argument("--work", choices=("ours", "compiled", "usual"), help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        print(work(args.work, args.network, args.threads))
        return
    cores = os.cpu_count() or 1
    numbers = args.jobs or ([1, 2, 4, 8] if torch.cuda.is_available() else sorted({1, cores}))
    variants = {"usual loop, all cores": partial(together, "usual", 1, args.network, cores)}
    kinds = ("ours", "compiled") if args.compile else ("ours",)
    for kind, count in product(kinds, numbers):
        variants[f"{kind}, {count} at once"] = partial(together, kind, count, args.network, 1)
    figures = interleaved(variants, args.rounds)
    report(f"together_{args.network}", "images a second", figures, "usual loop, all cores")


if __name__ == "__main__":
    main()
