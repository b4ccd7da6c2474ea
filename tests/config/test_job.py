"""Keys of jobs, and the parts that they share."""

import pytest
from pydantic import ValidationError

from ltbench.config.base import SpecPool
from ltbench.config.job import Job
from ltbench.config.keys import KEY_LENGTH, content_hash
from ltbench.config.load import load_dataset, load_recipe


def a_job(**changes):
    """Build a job of softmax on CIFAR-10-LT."""
    recipe = load_recipe("cifar_200")
    values = {
        "label": "Softmax",
        "recipe_name": recipe.name,
        "dataset": load_dataset("cifar10"),
        "split": "longtailed",
        "method": "softmax",
        "version": 1,
        "stage": "train",
        "hparams": {"b": [1.0, None], "a": "é"},
        "recipe": recipe,
        "stage_recipe": recipe.stage1,
        "seed": 0,
    }
    return Job(**values | changes)


@pytest.mark.parametrize("trained", [True, False])
def test_the_key_is_the_content_hash_of_the_settings(trained):
    job = a_job(stage_recipe=load_recipe("cifar_200").stage1 if trained else None, subset="few")
    for each in (job, Job.model_validate_json(job.model_dump_json(), strict=True)):
        assert each.key == content_hash(each.settings())[:KEY_LENGTH]


def test_a_copy_of_a_part_has_its_own_text_in_keys():
    dataset = load_dataset("cifar10")
    before = dataset.key_text
    assert before == a_job(dataset=dataset).dataset.key_text
    for deep in (False, True):
        changed = dataset.model_copy(update={"split_seed": 1}, deep=deep)
        assert changed.key_text == before.replace('"split_seed":0', '"split_seed":1') != before
    assert dataset.key_text == before


def test_a_pool_has_one_object_for_equal_parts_and_validates_others():
    pool, job = SpecPool(), a_job()
    text = job.model_dump_json()

    def read(text, strict=True):
        return Job.model_validate_json(text, strict=strict, context=pool)

    first, second = read(text), read(text.replace('"seed":0', '"seed":1'))
    assert first == job == read(text, strict=False)
    assert first.dataset is second.dataset
    assert first.recipe is second.recipe
    assert first.stage_recipe is second.stage_recipe
    for wrong, path in (
        ('"channels":"3"', ("dataset", "channels")),
        ('"channels":3.5', ("dataset", "channels")),
        ('"channels":3,"other":1', ("dataset", "other")),
    ):
        for _ in range(2):
            with pytest.raises(ValidationError) as caught:
                read(text.replace('"channels":3', wrong))
            assert [error["loc"] for error in caught.value.errors()] == [path]
    assert read(text).dataset is first.dataset
