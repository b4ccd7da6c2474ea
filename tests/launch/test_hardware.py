import re
from typing import get_args

import pytest

from ltbench.config.recipe import Recipe
from ltbench.launch.cost import OVERHEAD
from ltbench.launch.hardware import describe_cost_on, find_hardware, hardware_table
from ltbench.runs.store import Loaded, Stored
from tests.support import toy_board
from tests.support.errors import problems_of
from tests.support.quickstart import key, quickstart, record

TABLE = hardware_table()
TRAIN, TEST = 3e9, 1e9  # operations an image
IMAGES = 405 // 32 * 32 * 40
HOURS = re.compile(r"about (\S+) to (\S+) h on")


@pytest.fixture(scope="module")
def softmax():
    plan = quickstart("seed=0", "split=longtailed")
    return plan.jobs[key(plan, "Softmax")]


def described(jobs, loaded=None):
    return describe_cost_on(
        find_hardware("h100"), jobs, loaded or Loaded(), lambda job: (TRAIN, TEST)
    )


def test_the_table_knows_every_precision():
    precisions = set(get_args(Recipe.model_fields["precision"].annotation))
    assert TABLE.utilization.keys() == precisions
    assert all(each.teraflops.keys() == precisions for each in TABLE.hardware)
    assert all(least < most for least, most in TABLE.utilization.values())


def test_names_are_unique_and_those_of_one_driver_name_each():
    names = [each.name for each in TABLE.hardware]
    assert len(set(names)) == len(names)
    for driver, name in {
        "NVIDIA H100 80GB HBM3": "h100",
        "NVIDIA A100-SXM4-80GB": "a100",
        "NVIDIA GeForce RTX 4090": "rtx4090",
    }.items():
        assert [each.name for each in TABLE.hardware if each.matches(driver)] == [name]


def test_unknown_hardware_is_an_error_that_lists_the_known_once():
    (problem,) = problems_of(lambda: find_hardware("xyz"))
    assert (problem.file, problem.code) == ("--hardware", "unknown-value")
    assert [str(problem).count(each.name) for each in TABLE.hardware] == [1] * len(TABLE.hardware)


def test_hours_are_operations_over_the_assumed_part_of_the_peak(softmax):
    said = described([softmax] * 1000)
    low, high = map(float, HOURS.search(said).groups())
    operations = 1000 * IMAGES * TRAIN
    assert high == pytest.approx(operations / (0.05 * 67e12) / 3600, rel=0.05)
    assert low == pytest.approx(operations / (0.25 * 67e12) / 3600, rel=0.05)
    assert find_hardware("h100").source in said


def test_what_was_measured_there_comes_first(softmax):
    made = record(softmax, rate=2000.0)
    environment = made.environment.model_copy(update={"hardware": "NVIDIA H100 80GB HBM3"})
    made = made.model_copy(update={"environment": environment})
    said = described([softmax], Loaded({made.key: Stored(made, None, "", "published")}))
    assert "NVIDIA H100 80GB HBM3" in said
    assert not HOURS.search(said)
    assert f"{OVERHEAD + 0.1 + IMAGES / 2000:.0f} s" in said


def test_unknown_numbers_of_images_are_counted(softmax):
    natural = toy_board.dataset(
        source="image_folder", imbalance_type="natural", imbalance_ratio=None
    )
    said = described([softmax, softmax.model_copy(update={"dataset": natural})])
    assert re.findall(r"(\d+) of them", said) == ["1", "1"]


def test_jobs_whose_operations_are_not_counted_have_an_unknown_duration(softmax):
    said = describe_cost_on(find_hardware("h100"), [softmax], Loaded(), lambda job: None)
    assert "unknown duration" in said
    assert not HOURS.search(said)
