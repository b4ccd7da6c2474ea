"""A record store with every cell state, hostile names and three groups."""

from types import SimpleNamespace

from ltbench.report.context import Leaderboard
from ltbench.report.page.document import write_page
from ltbench.runs.store import BadRecord, RecordStore, record_path, write_record
from tests.support.made_records import with_confusion

HOSTILE = "<script>document.title='run'</script><img src=x onerror=alert(1)>\"></td>"
VARIANTS = [
    {"label": "Softmax", "method": "softmax"},
    {"label": "Balanced Softmax", "method": "balanced_softmax"},
    {"label": "LDAM-DRW", "method": "ldam_drw"},
    {"label": "cRT", "method": "crt", "init_from": "Softmax"},
    {"label": "Half", "method": "weighted_softmax"},
    {"label": "LDAM", "method": "ldam_drw", "hparams": {"deferred": "none"}},
    {"label": "Stale", "method": "lws", "init_from": "Softmax"},
    {"label": "NCM", "method": "ncm", "init_from": "Softmax"},
]
CLASSES = ("cat", "dog", "horse", "frog", "deer")
HITS = {  # of 50 a class; long-tailed, by seed
    "Softmax": [(45, 43, 30, 20, 5, 1), (46, 42, 28, 22, 3, 0)],
    "Balanced Softmax": [(42, 41, 33, 28, 20, 15), (43, 40, 31, 27, 21, 14)],
    "LDAM-DRW": [(43, 40, 32, 28, 22, 14), (42, 41, 32, 26, 21, 10)],
    "cRT": [(43, 41, 31, 26, 16, 10), (42, 42, 32, 25, 15, 9)],
    "Half": [(41, 40, 30, 25, 12, 8)],
}
BALANCED = {"Softmax": (40, 38, 36, 35, 34, 33), "LDAM-DRW": (42, 40, 38, 36, 36, 36)}


def make_world(toy, root, hostile=HOSTILE):
    """Write records and the page; one variant and one class have a hostile name."""
    named = {"label": hostile, "method": "own_method"}
    plan = toy.plan([*VARIANTS, named])
    old = toy.plan([VARIANTS[0], VARIANTS[6]], versions={"lws": 7})
    changed = toy.plan(
        VARIANTS[:1],
        recipe=toy.recipe(batch_size=64),
        overrides=("recipe.batch_size=64",),
        seeds=(0,),
    )
    other = toy.dataset(name="other", title="Other <b>data</b>", imbalance_ratio=10)
    second = toy.plan(VARIANTS[:2], seeds=(0,), dataset=other, name="second_grid")
    third = toy.plan(
        VARIANTS[:3],
        splits=("longtailed",),
        recipe=toy.recipe(name="slow", title="Slow"),
        name="third_grid",
    )
    hits = {**HITS, hostile: [(30, 30, 30, 30, 30, 30), (31, 30, 30, 30, 30, 30)]}
    records = []
    for label, runs in hits.items():
        for seed, run in enumerate(runs):
            records.append(toy.record(plan.jobs[toy.key_of(plan, label, seed)], run))
    for label, run in BALANCED.items():
        for seed in (0, 1):
            key = toy.key_of(plan, label, seed, "balanced")
            records.append(toy.record(plan.jobs[key], run))
    records.append(toy.record(old.jobs[toy.key_of(old, "Stale")], HITS["cRT"][0]))
    records.append(toy.record(changed.jobs[toy.key_of(changed, "Softmax")], HITS["cRT"][1]))
    for label in ("Softmax", "Balanced Softmax"):
        job = second.jobs[toy.key_of(second, label)]
        records.append(toy.record(job, HITS[label][1], counts=(20, 15, 12, 9, 5, 2)))
        job = third.jobs[toy.key_of(third, label)]
        records.append(toy.record(job, HITS[label][0]))
    store = root / "results" / "records"
    for record in {record.key: record for record in records}.values():
        named = with_confusion(record, (*CLASSES, hostile))
        write_record(named, record_path(store, record.job))
    loaded = RecordStore(store).load()
    assert not loaded.bad
    loaded.bad.append(
        BadRecord(store / "bad.json", "bad.json", "published", "numbers that do not add up")
    )
    failed = {toy.key_of(plan, "LDAM", seed) for seed in (0, 1)}
    plans = [plan, second, third]
    leaderboard = Leaderboard.of(plans, loaded, toy.methods, failed=failed)
    return SimpleNamespace(
        toy=toy,
        root=root,
        hits=hits,
        plans=plans,
        failed=failed,
        loaded=loaded,
        boards=leaderboard.boards,
        page=write_page(leaderboard, root / "results" / "leaderboard"),
    )
