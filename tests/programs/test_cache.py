"""The compilation cache that docs recommend says nothing when it is used."""

import pytest
from commands import call

STEP = """
import sys
from cpca_jax.programs import launch
sys.argv = ["x"]
def main():
    import jax
    import jax.numpy as jnp
    print(jax.jit(lambda x: jnp.sort(x @ x.T).sum())(jnp.ones((64, 64))))
launch.run(launch.Program(""), main)
"""


@pytest.mark.slow
def test_the_second_start_with_a_cache_is_quiet(tmp_path):
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    results = [call("-c", STEP, **cache) for _ in range(2)]
    assert list(tmp_path.iterdir())
    assert [result.returncode for result in results] == [0, 0]
    assert [result.stderr for result in results] == ["", ""]
