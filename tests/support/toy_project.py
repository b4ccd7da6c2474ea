"""The files of a small project."""

PAPER = {"title": "T", "authors": "A", "venue": "V", "year": 2020, "arxiv": "2007.07314"}
STAGE = {
    "name": "train",
    "samplers": ["instance"],
    "is_trained": True,
    "needs_statistics_pass": False,
    "recipe_stage": "stage1",
    "views": ["recipe"],
}


def method(title, init_from=None, **hparams):
    return {
        "title": title,
        "family": "rebalancing",
        "category": "baseline",
        "paper": PAPER,
        "version": 1,
        "stages": [STAGE],
        "init_from": init_from,
        "batch_dependence": "none",
        "reduces_to": None,
        "oracle": None,
        "hparams": {"additionalProperties": False, "properties": hparams, "type": "object"},
    }


METHODS = {
    "softmax": method("Softmax"),
    "balanced_softmax": method("Balanced Softmax"),
    "ldam_drw": method(
        "LDAM-DRW",
        scale={"default": 30.0, "exclusiveMinimum": 0, "type": "number"},
        deferred={"default": "drw", "enum": ["none", "drw", "drs"], "type": "string"},
    ),
    "crt": method("cRT", init_from="softmax"),
}

DATASET = """\
title: Toy-LT
source: digits
classes: 10
image_size: 8
channels: 1
normalization: {mean: [0.3], std: [0.4]}
imbalance_type: exponential
imbalance_ratio: 20
test_per_class: 8
"""

RECIPE = """\
title: Short
network: resnet8
batch_size: 32
stage1:
  epochs: 30
  optimizer: {lr: 0.1, weight_decay: 2e-4}
  schedule: {kind: step, warmup: 5, milestones: [24, 27], gamma: 0.01}
  deferred_from_epoch: 24
stage2:
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
  - {label: LDAM, method: ldam_drw, hparams: {deferred: none}}
  - {label: LDAM-DRW, method: ldam_drw}
"""
