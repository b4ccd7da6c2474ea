"""Plans of shipped grids and handmade records, without training."""

import hashlib

from ltbench.launch.plan import Request, make_plan
from ltbench.runs.record import Weights
from ltbench.runs.store import RecordStore, record_path, write_record
from tests.support import made_records


def quickstart(*only, sets=()):
    """Return the plan of the quickstart grid, by default of one seed."""
    return make_plan(Request("quickstart", tuple(sets), only or ("seed=0",)))[0]


def key(plan, label, split="longtailed"):
    """Return the key that a variant is reported by."""
    (found,) = {r.key for r in plan.rows if (r.variant.label, r.split) == (label, split)}
    return found


def record(job, rate=1000.0, sha256="c" * 64, loss=1.0):
    """Build the record of a job of ten classes."""
    return made_records.record(
        job,
        (0,) * 10,
        counts=(40,) * 10,
        totals=(8,) * 10,
        grid="quickstart",
        rate=rate,
        training=made_records.training(job, loss),
        weights=Weights(sha256=sha256, parameters=1),
    )


def finish(run_dir, job, weights=b"weights", **changes):
    """Write what a finished job leaves."""
    folder = run_dir.job(job.key)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.weights.write_bytes(weights)
    made = record(job, sha256=hashlib.sha256(weights).hexdigest(), **changes)
    write_record(made, record_path(run_dir.records, job))
    return made


def load(run_dir, published=None):
    return RecordStore(published, run_dir.records).load()
