"""The first signal asks to stop, the second ends the program; a thread receives none."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest

from cpca_jax.runtime.signals import ASKING, exit_codes, stop_asked


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


@pytest.mark.parametrize("number", ASKING)
def test_every_signal_asks(number):
    with exit_codes_of(number), stop_asked() as stop:
        signal.raise_signal(number)
        assert stop.asked


@contextlib.contextmanager
def exit_codes_of(number):
    """Hear signals as programs do, whatever this test's own parent ignores."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with exit_codes():
            yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", ASKING)
def test_every_signal_ends_a_program_in_one_sentence(number, capsys):
    with pytest.raises(SystemExit) as ended, exit_codes_of(number):
        signal.raise_signal(number)
    assert ended.value.code == (130 if number == signal.SIGINT else 75)
    said = capsys.readouterr().err
    assert said.endswith("; run the same command again to continue\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("number", ASKING)
def test_what_is_ignored_stays_ignored(number):
    """As SIGHUP is under nohup."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with exit_codes(), stop_asked() as stop:
            signal.raise_signal(number)
            assert not stop.asked
    finally:
        signal.signal(number, before)


def test_a_signal_during_an_import_ends_after_it(tmp_path, monkeypatch):
    """Within an import, the exception could be lost or leave half a module behind."""
    (tmp_path / "slow_module.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGTERM)\ntime.sleep(0.2)\nWHOLE = True\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SystemExit) as ended, exit_codes_of(signal.SIGTERM):
        import slow_module

        assert slow_module.WHOLE
        time.sleep(5)
    assert ended.value.code == 75
    assert "slow_module" in sys.modules


def test_a_host_application_keeps_its_own_signal():
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda *given: heard.append(given[0]))
    try:
        with stop_asked() as stop:
            signal.raise_signal(signal.SIGUSR1)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]
