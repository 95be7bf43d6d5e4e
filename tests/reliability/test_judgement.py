"""The judgement of damaged files itself: what breaks a promise is found, and can be made again."""

import mmap
import os
import signal

import fuzzing
import kinds
import pytest

from cpca_jax.errors import InputError


@pytest.fixture
def judged(tmp_path, monkeypatch, capfd):
    """Return a function that judges a reader which acts on every file but the original."""
    content = b"12345678"
    monkeypatch.setattr("sys.argv", ["cpca"])
    monkeypatch.setattr(fuzzing, "WAITING_SECONDS", 2.0)
    before = signal.signal(signal.SIGALRM, fuzzing._wait)

    def judge(act, **changes):
        def read(folder):
            if (folder / "a").read_bytes() != content:
                act()
            return {"a": (folder / "a").read_bytes()}

        kind = kinds.Kind(lambda folder: (folder / "a").write_bytes(content), read, **changes)
        monkeypatch.setitem(kinds.KINDS, "tried", kind)
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        with capfd.disabled():
            return fuzzing.Fuzzer("tried", place).judge(0)["fault"]

    yield judge
    signal.signal(signal.SIGALRM, before)


def refusing(text):
    def act():
        raise InputError(text)

    return act


def fail():
    raise ZeroDivisionError


def wait():
    while True:
        signal.pause()


def take_memory():
    """Take 600 MB from the system: what earlier tests have freed is still this process's own."""
    with mmap.mmap(-1, 600 << 20) as taken:
        for page in range(0, len(taken), mmap.PAGESIZE):
            taken[page] = 1


needs_peak = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak of memory can be measured here"
)


@needs_peak
@pytest.mark.parametrize("act", [lambda: None, refusing("a: is damaged")])
def test_a_content_or_a_sentence_is_no_fault(judged, act):
    assert judged(act) == ""


@needs_peak
@pytest.mark.parametrize(
    ("act", "changes", "fault"),
    [
        (fail, {}, "ZeroDivisionError"),
        (wait, {}, "TooLongError"),
        (lambda: None, {"protected": True}, "not the original"),
        (refusing("a: of Marker"), {}, "attribute of the patient"),
        (lambda: os.write(1, b"Zebrafink\n"), {}, "attribute of the patient"),
        (lambda: os.write(1, b"\x1b[31m\n"), {}, "no printable sentence"),
        (lambda: os.write(2, b"noise\n"), {}, "prints 1 lines"),
        (take_memory, {}, " MB"),
    ],
)
def test_what_breaks_a_promise_is_a_fault(judged, act, changes, fault):
    assert fault in judged(act, **changes)


@needs_peak
def test_what_takes_long_is_a_fault(judged, monkeypatch):
    monkeypatch.setattr(fuzzing, "SECONDS", 0.05)
    assert judged(lambda: sum(range(10**7))).startswith("took 0.")


def test_a_mutant_is_a_function_of_its_number(tmp_path):
    made = []
    for place in ("a", "b"):
        mutants = fuzzing.Fuzzer("split-file", tmp_path / place)
        made.append([(mutants.make(n) / "split.json").read_bytes() for n in range(5)])
    assert made[0] == made[1]
    assert len(set(made[0])) == 5
