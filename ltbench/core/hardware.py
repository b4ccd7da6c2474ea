"""What this machine calls its processor and its GPUs; imports no torch."""

import os
import platform
from pathlib import Path


def hardware_of(*, on_gpu: bool) -> str:
    """Return the name of what jobs of this machine run on."""
    return gpu() if on_gpu else processor()


def processor() -> str:
    """Return the name of the processor, and how many cores there are."""
    if name := _cpuinfo("model name"):
        return f"{name} ({os.cpu_count()} cores)"
    return platform.processor() or platform.machine()


def processor_flags() -> frozenset[str]:
    """Return what the processor can do, in the kernel's words; empty where it does not say."""
    return frozenset(_cpuinfo("flags").split())


def _cpuinfo(field: str) -> str:
    """Return what the kernel says of the first core; empty where it says nothing."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return ""


def cpu_seconds() -> float:
    """Return user and system seconds of this process, and of its children that have ended."""
    return sum(os.times()[:4])


def gpu() -> str:
    """Return the name of the first GPU, as its driver and CUDA have it."""
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                return line.split(":", 1)[1].strip()
    return "GPU"
