"""Arrays come back once nobody holds them, and never before."""

from __future__ import annotations

import numpy as np
import pytest

from fcn_edge.buffers import ARRAYS, SIZES, ArrayPool, Buffers
from fcn_edge.device import usable_cpus


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


def test_memory_of_one_shape_serves_another_of_as_many_bytes():
    pool = ArrayPool()
    first = address(pool.take((4, 6), np.uint8))
    assert address(pool.take((2, 3), np.float32)) == first


def test_shape_and_type_are_what_was_asked_for():
    pool = ArrayPool()
    for shape, kind in [((5, 7), np.uint8), ((7, 5), np.uint8), ((5, 7), np.float32)]:
        array = pool.take(shape, kind)
        assert array.shape == shape and array.dtype == kind and array.flags.c_contiguous


def test_pool_keeps_a_bounded_number_of_arrays():
    pool = ArrayPool()
    held = [pool.take((5, 7), np.uint8) for _ in range(3 * ARRAYS)]
    assert len({address(array) for array in held}) == 3 * ARRAYS
    del held
    for side in range(1, 3 * SIZES):
        pool.take((side,), np.uint8)
    assert len(pool._free) == SIZES and max(map(len, pool._free.values())) <= ARRAYS


def test_no_more_arrays_than_that_are_kept_of_one_size():
    pool = ArrayPool()
    held = [pool.take((5, 7), np.uint8) for _ in range(3 * ARRAYS)]
    del held
    assert sum(map(len, pool._free.values())) == ARRAYS


def test_array_of_no_elements_can_be_taken():
    assert ArrayPool().take((0, 7), np.float32).shape == (0, 7)


def test_workspace_takes_the_threads_it_is_given_or_all():
    assert Buffers(3).threads == 3
    assert Buffers().threads == usable_cpus() >= 1
