"""Interleaved rounds, medians, ratios and result files of all benchmarks.

Variants run in turn (A B C A B C ...), so that drifting machine speed affects all alike; ratios of
medians within one run can be trusted.
"""

import json
import logging
import platform
import statistics
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from ltbench.training.fit import hardware

RESULTS = Path(__file__).parent / "results"

for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
    logging.getLogger(name).setLevel(logging.WARNING)  # else a message for each run


def interleaved(
    variants: Mapping[str, Callable[[], float]], rounds: int = 5
) -> dict[str, list[float]]:
    """Return each variant's measurements (rates or seconds), one per round.

    A round of warm-up comes first.
    """
    for variant in variants.values():
        variant()
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            figures[name].append(variant())
    return figures


def report(
    name: str, unit: str, figures: Mapping[str, list[float]], reference: str | Mapping[str, str]
) -> None:
    """Print medians and ratios to a reference, and write them to results/.

    Args:
        name: of the benchmark; results of a GPU have a file of their own, NAME_gpu.
        unit: of the figures.
        figures: of each variant, one per round.
        reference: the variant that all are divided by, or the one for each variant.
    """
    medians = {variant: statistics.median(values) for variant, values in figures.items()}
    of = dict.fromkeys(figures, reference) if isinstance(reference, str) else reference
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = f"{name}_gpu" if device.type == "cuda" else name
    ratios = {variant: median / medians[of[variant]] for variant, median in medians.items()}
    print(f"{name} [{unit}], medians of {max(map(len, figures.values()))} rounds")
    for variant, median in medians.items():
        low, high = min(figures[variant]), max(figures[variant])
        print(
            f"  {variant:<40} {_number(median):>12}  ({_number(low)} to {_number(high)})"
            f"  x{ratios[variant]:.2f}"
        )
    value = {
        "name": name,
        "unit": unit,
        "reference": reference if isinstance(reference, str) else dict(reference),
        "figures": figures,
        "medians": medians,
        "ratios": ratios,
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": version("pytorch-lightning"),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")
    (RESULTS / "README.md").write_text(tables())


def tables() -> str:
    """Return all results as markdown."""
    parts = ["# Results of benchmarks\n", "Written by each benchmark; never edited by hand.\n"]
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        count = max(map(len, result["figures"].values()))
        threads = "1 thread" if result["threads"] == 1 else f"{result['threads']} threads"
        software = f"torch {result['torch']}, Python {result['python']}"
        parts += [
            f"## {result['name']}\n",
            f"{result['hardware']}, {threads}, {software}; medians of {count} rounds.\n",
            f"| | {result['unit']} | least to most | ratio |\n| --- | ---: | ---: | ---: |",
        ]
        for variant, median in result["medians"].items():
            values, ratio = result["figures"][variant], result["ratios"][variant]
            spread = f"{_number(min(values))} to {_number(max(values))}"
            parts.append(f"| {variant} | {_number(median)} | {spread} | {ratio:.2f} |")
        parts.append("")
    return "\n".join(parts)


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 3}f}"
