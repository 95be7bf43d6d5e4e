"""The first signal asks to stop, the second ends the program; a thread receives none."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import CHECKOUT

from cpca_jax.runtime.signals import exit_codes, stop_asked

# Written out, so that none can be left out unnoticed.
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


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
    begun = time.monotonic()
    with pytest.raises(SystemExit) as ended, exit_codes_of(signal.SIGTERM):
        import slow_module

        assert slow_module.WHOLE
        time.sleep(5)
    assert time.monotonic() - begun < 2
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


# A call that Python cannot interrupt for minutes, as a compilation is.
COMPILING = """
import hashlib, sys
from cpca_jax.runtime import signals
with signals.exit_codes(), signals.stop_asked():
    with signals.ending_at_once():
        print("begun", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
"""


@pytest.mark.parametrize("number", ASKING)
def test_a_signal_ends_a_program_in_a_call_that_does_not_return(number):
    process = subprocess.Popen(
        [sys.executable, "-c", COMPILING],
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        restore_signals=True,
    )
    assert process.stdout.readline() == "begun\n"
    begun = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert process.returncode == (130 if number == signal.SIGINT else 75)
    assert said == "stopped as asked; run the same command again to continue\n"


def test_a_signal_that_python_hears_in_time_ends_nothing_at_once():
    from cpca_jax.runtime.signals import ending_at_once

    with exit_codes_of(signal.SIGTERM), stop_asked() as stop, ending_at_once():
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
    time.sleep(1.2)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_host_application_is_never_ended():
    """A notebook's interrupt is noted, however long the cell's call takes."""
    from cpca_jax.runtime.signals import ending_at_once

    with stop_asked() as stop, ending_at_once():
        assert signal.set_wakeup_fd(-1) == -1
        signal.raise_signal(signal.SIGINT)
        time.sleep(1.2)
    assert stop.asked
