"""The first signal asks to stop, the second ends the program; a thread receives none."""

import os
import signal
import threading

import pytest

from cpca_jax.runtime.signals import stop_asked


@pytest.fixture
def interrupting():
    """Make SIGTERM an interruption, as the programs do."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_asks_and_the_second_ends_at_once(interrupting, number):
    before = signal.getsignal(number)
    with stop_asked() as stop:
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_afterwards_signals_do_what_they_did(interrupting):
    with pytest.raises(RuntimeError), stop_asked():
        raise RuntimeError
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_worker_thread_changes_nothing(interrupting, capsys):
    handlers, asked = [], []

    def work():
        with stop_asked() as stop:
            handlers.extend(signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT))
            asked.append(stop.asked)

    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == before
    assert asked == [False]
    assert capsys.readouterr() == ("", "")
