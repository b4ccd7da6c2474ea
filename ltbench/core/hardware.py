"""Names of this machine's processor and GPUs; imports no torch."""

import os
import platform
from pathlib import Path


def hardware_of(*, on_gpu: bool) -> str:
    """Return the name of the GPU or processor that jobs run on."""
    return gpu() if on_gpu else processor()


def processor() -> str:
    """Return the name of the processor and its number of cores."""
    if name := _cpuinfo("model name"):
        return f"{name} ({os.cpu_count()} cores)"
    return platform.processor() or platform.machine()


def processor_flags() -> frozenset[str]:
    """Return the processor's feature flags, as Linux names them.

    Empty if they are unknown.
    """
    return frozenset(_cpuinfo("flags").split())


def _cpuinfo(field: str) -> str:
    """Return a field of /proc/cpuinfo for the first core, else ""."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return ""


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its finished children.

    User and system time together.
    """
    return sum(os.times()[:4])


def gpu() -> str:
    """Return the name of the first GPU, read from its driver."""
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                return line.split(":", 1)[1].strip()
    return "GPU"
