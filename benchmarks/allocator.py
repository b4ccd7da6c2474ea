"""glibc's allocator settings of CPU jobs against its defaults.

Steps of ResNet-8, images per second. The thresholds are read when a process starts, so that every
measurement is a new process.
"""

import os
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from rounds import interleaved, report
from work import network

from ltbench.launch.local import FORKSERVER_ENVIRONMENT

STEPS = 20


def step_rate() -> float:
    """Return images per second of fp32 channels-last steps in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = network("resnet8").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(128, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(128) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    began = time.perf_counter()
    for step in range(STEPS + 3):
        if step == 3:
            began = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return 128 * STEPS / (time.perf_counter() - began)


def measured(environment: dict[str, str]) -> float:
    """Return the rate of a new process."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, __file__, "--once"],
        env=plain | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Measure and report; with --once, measure this process."""
    if "--once" in sys.argv:
        print(step_rate())
        return
    torch.set_num_threads(1)
    variants = {
        "glibc's defaults": lambda: measured({}),
        "as jobs have it": lambda: measured(FORKSERVER_ENVIRONMENT),
    }
    report("allocator", "images a second", interleaved(variants, rounds=3), "glibc's defaults")


if __name__ == "__main__":
    main()
