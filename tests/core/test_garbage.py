"""Tests of ltbench.core.garbage."""

import gc

import pytest

from ltbench.core.garbage import gc_paused


def test_pauses_and_resumes_nested() -> None:
    with gc_paused():
        with gc_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_new_objects_are_not_searched_at_the_end() -> None:
    searched: list[str] = []
    gc.callbacks.append(lambda phase, _: searched.append(phase))
    try:
        with gc_paused():
            many = [[] for _ in range(10 * gc.get_threshold()[0])]
        assert not searched
    finally:
        gc.callbacks.pop()
    assert any(each is many for each in gc.get_objects(generation=2))


def test_frozen_objects_stay_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with gc_paused():
            pass
        assert gc.get_freeze_count() == frozen > 0
    finally:
        gc.unfreeze()


def test_resumes_after_an_error() -> None:
    @gc_paused()
    def fail() -> None:
        assert not gc.isenabled()
        raise ValueError("of the function")

    for _ in range(2):  # a decorated function can be called again
        with pytest.raises(ValueError, match="of the function"):
            fail()
        assert gc.isenabled()


def test_leaves_a_disabled_collector_disabled() -> None:
    gc.disable()
    try:
        with gc_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
