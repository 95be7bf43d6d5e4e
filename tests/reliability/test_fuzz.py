"""Damaged files of every kind: our sentence or the content, within a second and 500 MB.

docs/reliability.md says what is promised; `fuzzing` rebuilds a mutant from its kind and number.
"""

import concurrent.futures
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak of memory to be measured here"
)
SCRIPT = Path(__file__).with_name("fuzzing.py")
MUTANTS, FEW = 5000, 90
# Mutants that once gave a traceback or warnings of a library.
FOUND = [
    ("hdf5", 5),
    ("hdf5-packed", 5),
    ("logs", 104),
    ("nifti-2", 29),
    ("nifti-float", 13),
    ("npy", 11),
    ("red-cnn", 18),
    ("sidecar", 106),
    ("store-progress", 68),
]


def judged(mutants, processes):
    """Return the outcomes of mutants (kind, number), judged by several processes."""
    ranked = sorted(mutants)
    parts = [part for part in (ranked[n::processes] for n in range(processes)) if part]
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        return [outcome for answers in pool.map(_answers, parts) for outcome in answers]


def _answers(mutants):
    asked = "".join(f"{kind} {number}\n" for kind, number in mutants)
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, SCRIPT],
        input=asked,
        capture_output=True,
        check=False,
        text=True,
        env=environment,
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    told = [(outcome["kind"], outcome["number"]) for outcome in outcomes]
    assert told == mutants, f"{mutants[len(told)]} ended the process: {done.stderr[-2000:]}"
    return outcomes


def first_mutants(count):
    """Return so many mutants (kind, number), equally many of each kind."""
    import kinds

    return list(itertools.islice(((k, n) for n in itertools.count() for k in kinds.KINDS), count))


def require_no_fault(outcomes):
    faults = [f"{one['kind']} {one['number']}: {one['fault']}" for one in outcomes if one["fault"]]
    assert not faults, "\n".join(faults)


def test_a_few_mutants_of_every_kind_give_our_sentence_or_the_content():
    require_no_fault(judged([*first_mutants(FEW), *FOUND], processes=1))


@pytest.mark.reliability
@pytest.mark.timeout(1800)
def test_five_thousand_mutants_give_our_sentence_or_the_content():
    require_no_fault(judged(first_mutants(MUTANTS), processes=2))
