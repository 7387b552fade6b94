"""Arrays come back once nobody holds them, and never before."""

from __future__ import annotations

import numpy as np
import pytest

from fcn_edge.device import usable_cpus
from fcn_edge.workspace import ARRAYS, SHAPES, ArrayPool, Workspace


def address(array):
    return array.__array_interface__["data"][0]


def test_array_that_nobody_holds_is_given_again():
    pool = ArrayPool()
    first = address(pool.take((5, 7), np.uint8))
    assert address(pool.take((5, 7), np.uint8)) == first


@pytest.mark.parametrize(
    "keep", [lambda a: a, lambda a: a[1:, 2], lambda a: memoryview(a)], ids=["it", "part", "buffer"]
)
def test_array_that_somebody_holds_is_left_alone(keep):
    pool = ArrayPool()
    kept = keep(pool.take((5, 7), np.uint8))
    before = np.array(kept)
    for _ in range(3):
        pool.take((5, 7), np.uint8)[...] = 99
    np.testing.assert_array_equal(np.array(kept), before)


def test_shape_and_type_are_what_was_asked_for():
    pool = ArrayPool()
    for shape, kind in [((5, 7), np.uint8), ((7, 5), np.uint8), ((5, 7), np.float32)]:
        array = pool.take(shape, kind)
        assert array.shape == shape and array.dtype == kind and array.flags.c_contiguous


def test_pool_keeps_a_bounded_number_of_arrays():
    pool = ArrayPool()
    held = [pool.take((5, 7), np.uint8) for _ in range(3 * ARRAYS)]
    assert len({address(array) for array in held}) == 3 * ARRAYS
    for side in range(1, 3 * SHAPES):
        pool.take((side,), np.uint8)
    assert sum(map(len, pool._arrays.values())) <= SHAPES


def test_workspace_takes_the_threads_it_is_given_or_all():
    assert Workspace(3).threads == 3
    assert Workspace().threads == usable_cpus() >= 1
