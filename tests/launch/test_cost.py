import pytest
from launch.grids import key, quickstart, record

from ltbench.launch.cost import OVERHEAD, CostModel, duration, time_left
from ltbench.results.store import Loaded, Stored


def loaded(*records, provenance="run"):
    return Loaded({r.key: Stored(r, None, "", provenance) for r in records})


@pytest.fixture(scope="module")
def plan():
    return quickstart("seed=0", "split=longtailed")


def job(plan, label):
    return plan.jobs[key(plan, label)]


TESTS = 0.1  # seconds, in the records made here
IMAGES = 405 // 32 * 32 * 40  # of an epoch's full batches, in 40 epochs


def test_images_over_images_a_second(plan):
    cost = CostModel(loaded(record(job(plan, "Softmax"), rate=500.0)))
    assert cost.seconds(job(plan, "Softmax")) == pytest.approx(OVERHEAD + TESTS + IMAGES / 500)


def test_the_same_method_counts_before_another_and_a_run_before_published(plan):
    softmax, ldam = (
        record(job(plan, "Softmax"), rate=500.0),
        record(job(plan, "LDAM-DRW"), rate=250.0),
    )
    own, theirs = loaded(softmax), loaded(ldam, provenance="published")
    both = Loaded(own.records | theirs.records)
    rates = {
        label: IMAGES / (CostModel(both).seconds(job(plan, label)) - OVERHEAD - TESTS)
        for label in ("Softmax", "LDAM-DRW")
    }
    assert rates == pytest.approx({"Softmax": 500.0, "LDAM-DRW": 500.0})
    all_own = CostModel(loaded(softmax, ldam))
    assert all_own.seconds(job(plan, "LDAM-DRW")) == pytest.approx(OVERHEAD + TESTS + IMAGES / 250)
    middle = all_own.seconds(job(plan, "Logit adjustment"))
    assert middle == pytest.approx(OVERHEAD + TESTS + IMAGES / 375)


def test_without_records_the_recipe_says_or_nobody_knows(plan):
    softmax = job(plan, "Softmax")
    recipe = softmax.recipe.model_copy(update={"throughput": ()})
    assert CostModel(Loaded()).seconds(softmax.model_copy(update={"recipe": recipe})) is None
    measured = [{"hardware": "two cores", "images_per_second": 100.0}]
    recipe = type(recipe)(**recipe.model_dump() | {"throughput": measured})
    known = CostModel(Loaded()).seconds(softmax.model_copy(update={"recipe": recipe}))
    assert known == pytest.approx(OVERHEAD + IMAGES / 100)
    measured.append({"hardware": "two cores", "stage": "second", "images_per_second": 400.0})
    recipe = type(recipe)(**recipe.model_dump() | {"throughput": measured})
    again = job(plan, "Decouple-IB-CRT").model_copy(update={"recipe": recipe})
    quarter = IMAGES / recipe.first.epochs * recipe.second.epochs / 400
    assert CostModel(Loaded()).seconds(again) == pytest.approx(OVERHEAD + quarter)


def test_the_tests_of_like_jobs_count_on_the_same_images(plan):
    measured = record(job(plan, "NCM"))
    measured = measured.model_copy(
        update={"cost": measured.cost.model_copy(update={"test_seconds": 20.0})}
    )
    cost = CostModel(loaded(measured))
    assert cost.seconds(job(plan, "NCM")) == OVERHEAD + 20
    other = job(plan, "NCM").dataset.model_copy(update={"name": "other"})
    assert cost.seconds(job(plan, "NCM").model_copy(update={"dataset": other})) == OVERHEAD


def test_what_does_not_train_takes_little(plan):
    assert CostModel(Loaded()).seconds(job(plan, "NCM")) == OVERHEAD


def test_time_left():
    assert time_left([], 2) == 0
    assert time_left([10.0, 20.0, 30.0], 2) == 30
    assert time_left([10.0, 20.0, 50.0], 2) == 50
    assert time_left([10.0, None], 2) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "1 h 30 min"),
        (3600 * 26 + 299, "26 h 05 min"),
    ],
)
def test_duration(seconds, words):
    assert duration(seconds) == words
