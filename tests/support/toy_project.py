"""The files of a small project."""

PAPER = {"title": "T", "authors": "A", "venue": "V", "year": 2020, "arxiv": "2007.07314"}
STAGE = {
    "name": "train",
    "samplers": ["instance"],
    "trains": True,
    "observes": False,
    "second": False,
    "views": 1,
}


def method(title, start_from=None, **hyper):
    return {
        "title": title,
        "family": "rebalancing",
        "category": "baseline",
        "paper": PAPER,
        "version": 1,
        "stages": [STAGE],
        "start_from": start_from,
        "coupling": "none",
        "balanced_equals": None,
        "oracle": None,
        "hyper": {"additionalProperties": False, "properties": hyper, "type": "object"},
    }


METHODS = {
    "softmax": method("Softmax"),
    "balanced_softmax": method("Balanced Softmax"),
    "ldam_drw": method(
        "LDAM-DRW",
        scale={"default": 30.0, "exclusiveMinimum": 0, "type": "number"},
        defer={"default": "drw", "enum": ["none", "drw", "drs"], "type": "string"},
    ),
    "crt": method("cRT", start_from="softmax"),
}

DATASET = """\
title: Toy-LT
source: digits
classes: 10
image_size: 8
channels: 1
normalisation: {mean: [0.3], std: [0.4]}
profile: exponential
ratio: 20
"""

RECIPE = """\
title: Short
network: resnet8
batch: 32
first:
  epochs: 30
  optimizer: {lr: 0.1, weight_decay: 2e-4}
  schedule: {kind: step, warmup: 5, milestones: [24, 27], gamma: 0.01}
  defer: 24
second:
  epochs: 10
  optimizer: {lr: 0.1}
  schedule: {kind: cosine}
"""

GRID = """\
title: Toys
datasets: [toys]
recipes: [short]
variants:
  - softmax
  - {label: LDAM, method: ldam_drw, hyper: {defer: none}}
  - {label: LDAM-DRW, method: ldam_drw}
"""
