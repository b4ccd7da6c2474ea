from ltbench.analysis.confusion import confusion_matrix
from tests.support.made_records import with_confusion

SOFTMAX = {"label": "Softmax", "method": "softmax"}


def runs(toy):
    plan = toy.plan([SOFTMAX], splits=("longtailed",))
    hits = ((50, 43, 30, 20, 5, 1), (50, 42, 28, 22, 3, 0))
    pairs = zip(plan.jobs.values(), hits, strict=True)
    return [with_confusion(toy.record(job, each)) for job, each in pairs]


def test_counts_are_summed_over_seeds(toy):
    matrix = confusion_matrix(runs(toy))
    assert matrix.sum(axis=1).tolist() == [100] * 6
    assert matrix.diagonal().tolist() == [100, 85, 58, 42, 8, 1]
    assert matrix[5].tolist() == [99, 0, 0, 0, 0, 1]
    assert matrix[0].tolist() == [100, 0, 0, 0, 0, 0]


def test_there_is_no_part_of_a_sum(toy):
    """Counts of many classes are in files; older records have none."""
    first, second = runs(toy)
    test = second.test.model_copy(update={"confusion": None, "confusion_sha256": "e" * 64})
    assert confusion_matrix([first, second.model_copy(update={"test": test})]) is None
    assert confusion_matrix([]) is None
