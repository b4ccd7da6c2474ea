import pytest

from ltbench.launch import cost as module
from ltbench.launch.cost import (
    MEASURED,
    OVERHEAD,
    RECORDS,
    STATED,
    CostModel,
    DurationEstimate,
    MeasuredThroughput,
    cost_key,
    describe_cost,
    duration,
    read_throughput,
    save_throughput,
    time_left,
)
from ltbench.runs.store import Loaded, Stored
from tests.support import own_images, toy_board
from tests.support.quickstart import key, quickstart, record


def loaded(*records, provenance="run"):
    return Loaded({r.key: Stored(r, None, "", provenance) for r in records})


HERE = "CPU"  # as the records made here say
OTHER = "NVIDIA RTX 3090"


@pytest.fixture(autouse=True)
def _no_measurements(monkeypatch, tmp_path):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path))


def model(records=None):
    return CostModel(Loaded() if records is None else records, HERE)


def seconds(cost, one):
    estimate = cost.estimate(one)
    return None if estimate is None else estimate.seconds


def on(hardware, made):
    environment = made.environment.model_copy(update={"hardware": hardware})
    return made.model_copy(update={"environment": environment})


def with_throughput(one, *rates):
    """Return a job whose recipe has the throughput of another machine."""
    values = one.recipe.model_dump() | {"throughput": [{"hardware": OTHER} | r for r in rates]}
    return one.model_copy(update={"recipe": type(one.recipe)(**values)})


@pytest.fixture(scope="module")
def plan():
    return quickstart("seed=0", "split=longtailed")


def job(plan, label):
    return plan.jobs[key(plan, label)]


TESTS = 0.1  # seconds, in the records made here
IMAGES = 405 // 32 * 32 * 40  # of an epoch's full batches, in 40 epochs


def test_the_duration_is_images_over_images_per_second(plan):
    cost = model(loaded(record(job(plan, "Softmax"), rate=500.0)))
    assert seconds(cost, job(plan, "Softmax")) == pytest.approx(OVERHEAD + TESTS + IMAGES / 500)


def test_own_images_are_counted_where_they_are(plan, tmp_path):
    softmax = job(plan, "Softmax")
    own = toy_board.dataset(
        **own_images.SPEC, classes=3, imbalance_type="natural", imbalance_ratio=None
    )
    recipe = softmax.recipe.model_copy(update={"batch_size": 5})
    one = softmax.model_copy(update={"dataset": own, "recipe": recipe})
    assert CostModel(Loaded(), HERE, tmp_path).images_seen(one) is None
    own_images.write_own(tmp_path / "own", own_images.rows())
    assert CostModel(Loaded(), HERE, tmp_path).images_seen(one) == 12 // 5 * 5 * 40
    (tmp_path / "own" / "own.csv").write_text("")
    assert CostModel(Loaded(), HERE, tmp_path).images_seen(one) is None


def test_the_same_method_comes_before_others_and_runs_before_published(plan):
    softmax, ldam = (
        record(job(plan, "Softmax"), rate=500.0),
        record(job(plan, "LDAM-DRW"), rate=250.0),
    )
    own, theirs = loaded(softmax), loaded(ldam, provenance="published")
    both = Loaded(theirs.records | own.records)  # in the order in which they are read
    for hardware in (HERE, OTHER):  # that of the records, and another
        cost = CostModel(both, hardware)
        rates = {
            label: IMAGES / (seconds(cost, job(plan, label)) - OVERHEAD - TESTS)
            for label in ("Softmax", "LDAM-DRW")
        }
        assert rates == pytest.approx({"Softmax": 500.0, "LDAM-DRW": 500.0})
    all_own = model(loaded(softmax, ldam))
    assert seconds(all_own, job(plan, "LDAM-DRW")) == pytest.approx(OVERHEAD + TESTS + IMAGES / 250)
    middle = seconds(all_own, job(plan, "Class-balanced sampling"))
    assert middle == pytest.approx(OVERHEAD + TESTS + IMAGES / 375)


def test_records_of_another_number_of_devices_do_not_count(plan):
    one = record(job(plan, "Softmax"), rate=500.0)
    shared = one.model_copy(update={"cost": one.cost.model_copy(update={"devices": 4})})
    softmax = job(plan, "Softmax")
    for made, devices in ((one, 4), (shared, 1)):
        assert CostModel(loaded(made), HERE, devices=devices).estimate(softmax) is None
    found = CostModel(loaded(shared), HERE, devices=4).estimate(softmax).seconds
    assert found == seconds(model(loaded(one)), softmax)
    save_throughput(softmax, HERE, MeasuredThroughput(200.0, 1000.0))  # of one device
    assert CostModel(Loaded(), HERE, devices=4).estimate(softmax) is None


def test_without_records_the_throughput_of_the_recipe_counts_for_its_hardware(plan):
    softmax = job(plan, "Softmax")
    assert model().estimate(with_throughput(softmax)) is None
    one = with_throughput(softmax, {"images_per_second": 100.0})
    assert model().estimate(one) == DurationEstimate(
        pytest.approx(OVERHEAD + IMAGES / 100), OTHER, STATED
    )
    assert model().estimate(one).on(HERE) is None
    again = with_throughput(
        job(plan, "Decouple-IB-CRT"),
        {"images_per_second": 100.0},
        {"stage": "stage2", "images_per_second": 400.0},
    )
    quarter = IMAGES / again.recipe.stage1.epochs * again.recipe.stage2.epochs / 400
    assert seconds(model(), again) == pytest.approx(OVERHEAD + quarter)


def test_records_of_this_hardware_come_before_those_of_other(plan):
    softmax, ldam = job(plan, "Softmax"), job(plan, "LDAM-DRW")
    theirs, ours = on(OTHER, record(ldam, rate=1e6)), record(softmax, rate=500.0)
    cost = model(loaded(theirs, ours))
    assert cost.estimate(ldam) == DurationEstimate(
        pytest.approx(OVERHEAD + TESTS + IMAGES / 500), HERE, RECORDS
    )
    alone = model(loaded(theirs))
    assert alone.estimate(ldam).hardware == OTHER
    assert alone.estimate(ldam).on(HERE) is None


def test_throughput_measured_here_comes_first_for_jobs_of_equal_cost(plan):
    softmax, ldam = job(plan, "Softmax"), job(plan, "LDAM-DRW")
    save_throughput(softmax, HERE, MeasuredThroughput(200.0, 1000.0))
    save_throughput(softmax, OTHER, MeasuredThroughput(1e9, 1e9))
    cost = model(loaded(record(softmax, rate=500.0)))
    tests = softmax.dataset.test_per_class * softmax.dataset.classes
    expected = OVERHEAD + tests / 1000 + IMAGES / 200
    assert cost.estimate(softmax) == DurationEstimate(pytest.approx(expected), HERE, MEASURED)
    assert cost.estimate(ldam).source == RECORDS
    assert cost_key(softmax) == cost_key(softmax.model_copy(update={"seed": 7, "label": "x"}))
    assert cost_key(softmax) != cost_key(ldam)
    assert read_throughput(ldam, HERE) is None


def test_damaged_throughput_files_are_ignored(plan):
    softmax = job(plan, "Softmax")
    save_throughput(softmax, HERE, MeasuredThroughput(200.0, 1000.0))
    module._throughput_file(softmax, HERE).write_text('{"rate": 1}')
    assert read_throughput(softmax, HERE) is None


def test_estimates_of_other_hardware_are_not_divided_among_slots():
    here, there = DurationEstimate(7200.0, HERE, RECORDS), DurationEstimate(3600.0, OTHER, STATED)
    assert f"about 2 h 00 min in 2 slots of this {HERE}" in describe_cost([here, here], 2, HERE)
    assert f"about 2 h 00 min on one {OTHER}, {STATED}" in describe_cost([there, there], 2, HERE)
    said = describe_cost([here, there, None], 2, HERE)
    for part in (
        f"1 of them about 2 h 00 min in 2 slots of this {HERE}",
        f"1 of them about 60 min on one {OTHER}",
        "1 of them unknown",
        "--measure",
    ):
        assert part in said
    assert "--measure" not in describe_cost([here], 1, HERE)


def test_test_seconds_of_similar_jobs_count_on_the_same_images(plan):
    measured = record(job(plan, "NCM"))
    measured = measured.model_copy(
        update={"cost": measured.cost.model_copy(update={"test_seconds": 20.0})}
    )
    cost = model(loaded(measured))
    assert seconds(cost, job(plan, "NCM")) == OVERHEAD + 20
    other = job(plan, "NCM").dataset.model_copy(update={"name": "other"})
    assert seconds(cost, job(plan, "NCM").model_copy(update={"dataset": other})) == OVERHEAD


def test_a_job_without_training_takes_the_overhead(plan):
    assert seconds(model(), job(plan, "NCM")) == OVERHEAD


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
