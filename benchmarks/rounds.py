"""What every benchmark shares: interleaved rounds, medians, ratios, a file of results.

Variants run in turn (A B C A B C ...), so that a machine whose speed drifts treats them alike; the
figures to trust are ratios of medians within one run.
"""

import json
import platform
import statistics
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from ltbench.training.fit import hardware

RESULTS = Path(__file__).parent / "results"


def interleaved(
    variants: Mapping[str, Callable[[], float]], rounds: int = 5
) -> dict[str, list[float]]:
    """Return each variant's figures (higher is better), one a round, after a round of warm-up."""
    for variant in variants.values():
        variant()
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            figures[name].append(variant())
    return figures


def report(name: str, unit: str, figures: Mapping[str, list[float]], reference: str) -> None:
    """Print medians and ratios to the reference, and write them to results/<name>.json."""
    medians = {variant: statistics.median(values) for variant, values in figures.items()}
    print(f"{name} [{unit}], medians of {len(figures[reference])} rounds")
    for variant, median in medians.items():
        low, high = min(figures[variant]), max(figures[variant])
        ratio = median / medians[reference]
        print(f"  {variant:<40} {median:>12,.1f}  ({low:,.1f} to {high:,.1f})  x{ratio:.2f}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    value = {
        "name": name,
        "unit": unit,
        "reference": reference,
        "figures": figures,
        "medians": medians,
        "ratios": {variant: median / medians[reference] for variant, median in medians.items()},
        "hardware": hardware(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": version("pytorch-lightning"),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")
