"""Records made by hand, for what needs no training."""

from datetime import UTC, datetime

import numpy as np

from ltbench.runs.record import (
    Cost,
    Environment,
    EvaluationResult,
    Passes,
    Record,
    SplitFacts,
    Training,
    Weights,
)

PASSES = Passes(gradient=1.0, forward=0.0, teachers=0)


def training(job, loss=1.0):
    """Build the training of a job's record; None for untrained stages."""
    epochs = job.stage_recipe.epochs if job.stage_recipe else 0
    if not epochs:
        return None
    return Training(epochs=epochs, steps=epochs, losses=(loss,) * epochs, passes=PASSES)


def evaluation_result(hits, totals, **changes):
    """Build a test whose misses are predicted as the last class, by scores without information."""
    images = sum(totals)
    values = {
        "hits": tuple(hits),
        "totals": tuple(totals),
        "predicted": (*hits[:-1], images - sum(hits[:-1])),
        "correct": EvaluationResult.pack(np.arange(images) < sum(hits)),
        "calibration": {"counts": (images,), "confidence": (0.5,), "accuracy": (0.5,), "ece": 0.0},
        "group_calibration": {},
        "auroc_pairs": tuple(n * (images - n) for n in totals),
        "average_precision": tuple(0.5 if n else None for n in totals),
    }
    return EvaluationResult.model_validate({**values, **changes})


def record(job, hits, *, counts, totals=None, grid="toy_grid", rate=1000.0, **changes):
    """Build a job's record with the hits of each class.

    Classes have 50 test images unless `totals` are given.
    """
    totals = tuple(totals or (50,) * len(hits))
    values = {
        "schema_version": 2,
        "key": job.key,
        "grid": grid,
        "method": job.method,
        "job": job,
        "split": SplitFacts(
            train_hash="a" * 64,
            train_counts=tuple(counts),
            longtailed_counts=tuple(counts),
            test_hash="b" * 64,
            auxiliary_hash="d" * 64 if job.dataset.auxiliary else None,
            auxiliary_counts=(1,) * len(counts) if job.dataset.auxiliary else None,
            bad_images=job.dataset.bad_images.total if job.dataset.bad_images else 0,
        ),
        "training": training(job),
        "test": evaluation_result(hits, totals),
        "weights": Weights(sha256="c" * 64, parameters=1000),
        "cost": Cost(
            train_seconds=1.0,
            test_seconds=0.1,
            images_per_second=rate if job.stage_recipe else None,
            peak_memory_mb=300.0,
            devices=1,
            attempts=1,
            cpu_seconds=1.1,
        ),
        "environment": Environment(
            ltbench="0.1.0",
            commit=None,
            python="3.11",
            torch="2.11",
            lightning="2.6",
            hardware="CPU",
            threads=1,
            finished=datetime(2026, 1, 1, tzinfo=UTC),
        ),
    }
    return Record(**{**values, **changes})


def with_confusion(record, names=None):
    """Return a record with names, whose misses of a class are predicted as the next one."""
    test, split = record.test, record.split
    classes = len(test.hits)
    confusion = tuple(
        {j: n for j, n in ((k, hits), ((k + 1) % classes, total - hits)) if n}
        for k, (hits, total) in enumerate(zip(test.hits, test.totals, strict=True))
    )
    predicted = tuple(sum(row.get(k, 0) for row in confusion) for k in range(classes))
    return record.model_copy(
        update={
            "test": test.model_copy(update={"confusion": confusion, "predicted": predicted}),
            "split": split.model_copy(update={"class_names": names}),
        }
    )
