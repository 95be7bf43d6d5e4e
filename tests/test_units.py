"""HU and network range."""

import numpy as np

from cpca_jax.units import Window, whole_hu

WINDOW = Window(-300, 300)


def test_round_trip_is_the_identity_inside_the_window():
    hu = np.linspace(-300, 300, 601, dtype=np.float32)
    np.testing.assert_allclose(WINDOW.to_hu(WINDOW.normalise(hu)), hu, atol=1e-3)


def test_values_outside_are_clipped():
    np.testing.assert_array_equal(
        WINDOW.normalise(np.array([-1024, -301, 301, 3000])), [0, 0, 1, 1]
    )


def test_stored_integers_are_not_truncated():
    np.testing.assert_allclose(WINDOW.normalise(np.array([0, 1], np.int16)), [0.5, 301 / 600])


def test_containment():
    assert WINDOW.contains(Window(-160, 240))
    assert not WINDOW.contains(Window(-1024, 240))


def test_whole_hu_is_rounded_and_clipped_before_it_becomes_int16():
    whole = whole_hu(np.array([-5000.0, -1024.4, 0.5, 1.5, 99.6, 40000.0]))
    assert whole.dtype == np.int16
    np.testing.assert_array_equal(whole, [-1024, -1024, 0, 2, 100, 32767])
