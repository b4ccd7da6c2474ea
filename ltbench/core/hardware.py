"""What this machine calls its processor and its GPUs; imports no torch."""

import os
import platform
from pathlib import Path


def processor() -> str:
    """Return the name of the processor, and how many cores there are."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} ({os.cpu_count()} cores)"
    return platform.processor() or platform.machine()


def gpu() -> str:
    """Return the name of the first GPU, as its driver and CUDA have it."""
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                return line.split(":", 1)[1].strip()
    return "GPU"
