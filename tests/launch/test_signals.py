import os
import signal

import pytest

from ltbench.launch import signals
from ltbench.launch.signals import SIGNALS, Interruption, StopSignals, DeferredInterruption


@pytest.fixture(autouse=True)
def _as_before():
    """Start with default signals, whatever started the tests, and leave them as they were."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_request_is_noted_and_the_next_interrupts(monkeypatch, number):
    with StopSignals() as requests:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)  # at once: a wrapper passed it on
        assert requests.signal == number
        monkeypatch.setattr(signals, "APART", -1.0)
        with pytest.raises(Interruption) as raised:
            os.kill(os.getpid(), signal.SIGINT)
    assert raised.value.signal == signal.SIGINT
    assert all(signal.getsignal(each) is signal.default_int_handler for each in SIGNALS)


def test_at_once_is_at_once():
    with pytest.raises(Interruption) as raised, StopSignals(at_once=True):
        os.kill(os.getpid(), signal.SIGHUP)
    assert raised.value.signal == signal.SIGHUP


def test_an_unbroken_block_ends_first():
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


def test_what_was_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals(at_once=True) as requests:
        os.kill(os.getpid(), signal.SIGINT)
    assert requests.signal is None


def test_a_run_of_others_inside_has_the_requests_to_itself():
    with StopSignals(at_once=True) as outer, StopSignals() as inner:
        os.kill(os.getpid(), signal.SIGINT)
    assert (outer.signal, inner.signal) == (None, signal.SIGINT)
