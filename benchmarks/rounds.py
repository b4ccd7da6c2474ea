"""What every benchmark shares: interleaved rounds, medians, ratios, files of results.

Variants run in turn (A B C A B C ...), so that a machine whose speed drifts treats them alike; the
figures to trust are ratios of medians within one run.
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
    logging.getLogger(name).setLevel(logging.WARNING)  # a word a run would bury the figures


def interleaved(
    variants: Mapping[str, Callable[[], float]], rounds: int = 5
) -> dict[str, list[float]]:
    """Return each variant's figures (rates or seconds), one a round, after a round of warm-up."""
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
        name: of the benchmark.
        unit: of the figures.
        figures: of each variant, one a round.
        reference: the variant that the others are divided by, or each variant's own.
    """
    medians = {variant: statistics.median(values) for variant, values in figures.items()}
    of = dict.fromkeys(figures, reference) if isinstance(reference, str) else reference
    ratios = {variant: median / medians[of[variant]] for variant, median in medians.items()}
    print(f"{name} [{unit}], medians of {max(map(len, figures.values()))} rounds")
    for variant, median in medians.items():
        low, high = min(figures[variant]), max(figures[variant])
        print(
            f"  {variant:<40} {_number(median):>12}  ({_number(low)} to {_number(high)})"
            f"  x{ratios[variant]:.2f}"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
    """Return the results that are there as markdown."""
    parts = ["# Results of benchmarks\n", "Written by each benchmark; never edited by hand.\n"]
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text())
        count = max(map(len, found["figures"].values()))
        threads = "1 thread" if found["threads"] == 1 else f"{found['threads']} threads"
        software = f"torch {found['torch']}, Python {found['python']}"
        parts += [
            f"## {found['name']}\n",
            f"{found['hardware']}, {threads}, {software}; medians of {count} rounds.\n",
            f"| | {found['unit']} | least to most | ratio |\n| --- | ---: | ---: | ---: |",
        ]
        for variant, median in found["medians"].items():
            values, ratio = found["figures"][variant], found["ratios"][variant]
            spread = f"{_number(min(values))} to {_number(max(values))}"
            parts.append(f"| {variant} | {_number(median)} | {spread} | {ratio:.2f} |")
        parts.append("")
    return "\n".join(parts)


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 3}f}"
