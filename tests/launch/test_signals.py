import os
import signal

import pytest

from ltbench.launch import signals
from ltbench.launch.signals import SIGNALS, DeferredInterruption, Interruption, StopSignals


@pytest.fixture(autouse=True)
def _default_handlers():
    """Reset signal handlers for the test, and restore them afterwards."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_recorded_and_the_second_interrupts(monkeypatch, number):
    with StopSignals() as stop:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)  # at once: a wrapper passed it on
        assert stop.signal == number
        monkeypatch.setattr(signals, "DEBOUNCE", -1.0)
        with pytest.raises(Interruption) as raised:
            os.kill(os.getpid(), signal.SIGINT)
    assert raised.value.signal == signal.SIGINT
    assert all(signal.getsignal(each) is signal.default_int_handler for each in SIGNALS)


def test_at_once_the_first_signal_interrupts():
    with pytest.raises(Interruption) as raised, StopSignals(at_once=True):
        os.kill(os.getpid(), signal.SIGHUP)
    assert raised.value.signal == signal.SIGHUP


def test_a_block_ends_before_a_deferred_interruption():
    ended = []

    def block():
        with DeferredInterruption():
            os.kill(os.getpid(), signal.SIGTERM)
            ended.append(True)

    with pytest.raises(Interruption):
        block()
    assert ended == [True]
    with DeferredInterruption():
        pass


def test_ignored_signals_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals(at_once=True) as stop:
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.signal is None


def test_the_inner_handler_takes_the_signals():
    with StopSignals(at_once=True) as outer, StopSignals() as inner:
        os.kill(os.getpid(), signal.SIGINT)
    assert (outer.signal, inner.signal) == (None, signal.SIGINT)
