"""Machine code sees which arrays are not laid out as expected."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

from autodiff.machine import arrays
from autodiff.machine.layouts import differ


class Subclass(np.ndarray):
    """An array with a life of its own."""


def layout(x: np.ndarray) -> tuple[tuple[int, ...], np.dtype, tuple[int, ...]]:
    return x.shape, x.dtype, x.strides


def test_an_array_differs_by_type_dtype_shape_strides_and_alignment_and_by_nothing_else() -> None:
    x = np.ones((3, 4), np.float32)
    other = differ([layout(x), ((), np.dtype(np.int64), ())])
    number = np.array(1)
    assert other((x, number)) is False
    assert other((np.full((3, 4), np.nan, np.float32), np.array(7))) is False
    bytes_ = np.zeros(49, np.uint8)
    odd = [
        x.view(Subclass), x.astype(np.float64), x.astype(">f4"), x.T, x[:, :3], np.ones((3, 8), np.float32)[:, ::2],
        np.asfortranarray(x), x[None], np.float32(1), 1.0, None, [x], bytes_[1:].view(np.float32).reshape(3, 4),
    ]  # fmt: skip
    assert all(other((y, number)) is True for y in odd)
    assert all(other(given) is True for given in [(), (x,), (x, number, x), (number, x), (x, np.int64(1))])


def test_what_is_written_is_writeable_and_shares_no_memory() -> None:
    memory = np.zeros(20)
    other = differ([((4,), memory.dtype, (8,)), ((3,), memory.dtype, (-16,)), ((0,), memory.dtype, (8,))], [1])
    empty = memory[:0]
    back = memory[13:8:-2]  # of 9, 11, 13
    for start in range(16):
        part = memory[start : start + 4]
        apart = start + 4 <= 9 or start > 13
        assert other((part, back, empty)) is not apart, start
    assert other((memory[:4], np.zeros(6)[5::-2], empty)) is False
    still = np.zeros(6)[5::-2]
    still.flags.writeable = False
    assert other((memory[:4], still, empty)) is True


def test_it_holds_no_reference_to_what_it_is_given_and_gives_back_what_it_has() -> None:
    x = np.ones(3)
    other = differ([layout(x)])
    before = sys.getrefcount(x)
    for _ in range(100):
        other((x,))
    assert sys.getrefcount(x) == before
    for _ in range(100):
        differ([layout(x)])((x,))
    gc.collect()
    assert sys.getrefcount(x) == before


def test_nothing_is_asked_of_unusual_dtypes_or_of_a_python_with_other_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    assert differ([((2,), np.dtype("U3"), (12,))]) is None
    assert differ([((2,), np.dtype(">f8"), (8,))]) is None
    assert differ([]) is None
    monkeypatch.setattr(arrays, "as_expected", lambda: False)
    assert differ([((2,), np.dtype(float), (8,))]) is None
