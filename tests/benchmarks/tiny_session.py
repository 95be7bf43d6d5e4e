"""A session on tiny sizes, shared by the tests of one process."""

from functools import lru_cache

from benchmarks.harness.session import Session
from benchmarks.subjects.sizes import TINY


@lru_cache(maxsize=1)
def tiny_session() -> Session:
    """Return the session; it has no peers, whether PyTorch is installed or not."""
    made = Session(TINY)
    made.peers = ()
    return made
