"""Kernels, machine code for arrays of any size, against the same expressions in NumPy's float64."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from scipy import special

from autodiff.machine import arrays, kernels, machine
from autodiff.machine.expressions import Value, fma, polynomial
from autodiff.machine.ir import Builder, Module
from autodiff.machine.kernels import SMALL, Elementwise, Kernel
from autodiff.machine.rows import module_text

DTYPES = [np.float32, np.float64]
COUNTS = [1, 2, 7, 15, 16, 17, 31, 33, 64, 100]
UNEQUAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 1e30, -1e30]


@pytest.fixture(autouse=True)
def every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODIFF_NATIVE", "1")


def numbers(shape: Any, dtype: Any, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def close(found: Any, expected: Any, dtype: Any, ulps: int = 8) -> None:
    np.testing.assert_allclose(found, expected, rtol=ulps * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


EXPRESSIONS: dict[str, Any] = {
    "arithmetic": lambda x, y: (x + 2.0) * y - x / (np.abs(y) + 1.0),
    "functions": lambda x, y: np.exp(x) + np.tanh(y) * special.ndtr(x) - np.sqrt(np.abs(y)),
    "branches": lambda x, y: np.where(np.logical_and(x > y, y >= -1.0), np.maximum(x, 0.5), np.minimum(y, 2.0)),
    "fma": lambda x, y: fma(x, y, polynomial(y, [1.0, -2.0, 3.0])),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_is_what_numpy_makes_of_it(name: str, dtype: Any) -> None:
    function = EXPRESSIONS[name]
    x, y = numbers(SMALL + 13, dtype), numbers(SMALL + 13, dtype, 1)
    x[:8], y[8:16] = np.array(UNEQUAL, dtype), np.array(UNEQUAL, dtype)
    with np.errstate(all="ignore"):
        exact = function(x.astype(float), y.astype(float)).astype(dtype)
        scale = np.nan_to_num(np.abs(x.astype(float) * y) + np.abs(exact) + 1, posinf=1)
        found = Elementwise(function, 2)(x, y)
    same = np.isfinite(exact)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    np.testing.assert_array_equal(found[~same], exact[~same])
    assert (np.abs(found - exact)[same] <= 8 * np.finfo(dtype).eps * scale[same]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_rows_and_columns_is_written_and_nothing_beside(dtype: Any) -> None:
    double = Kernel(lambda row, x, y: row.each(lambda i: y.put(i, x[i] + x[i])), arrays=2)
    for rows in (1, 3):
        for columns in COUNTS:
            x = numbers((rows, columns), dtype)
            whole = np.full((rows, columns + 9), 7.0, dtype)
            double.rows(x, whole[:, 4 : 4 + columns])
            np.testing.assert_array_equal(whole[:, 4 : 4 + columns], 2 * x)
            assert (whole[:, :4] == 7).all() and (whole[:, 4 + columns :] == 7).all()


def _statistics(row: Any, x: Any, total: Any, greatest: Any, count: Any) -> None:
    total.number, greatest.number, count.number = row.sum(lambda i: x[i]), row.max(lambda i: x[i] - 9.0), row.length


STATISTICS = Kernel(_statistics, arrays=4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_and_maxima_of_rows_are_those_of_all_columns_and_no_others(dtype: Any) -> None:
    for columns in COUNTS:
        x = numbers((5, columns + 3), dtype)[:, 1 : 1 + columns]
        total, greatest, count = np.empty((3, 5, 1), dtype)
        STATISTICS.rows(x, total, greatest, count)
        np.testing.assert_allclose(total[:, 0], x.astype(float).sum(1), atol=columns * np.finfo(dtype).eps)
        np.testing.assert_array_equal(greatest[:, 0], (x - dtype(9)).max(1))
        assert (count == columns).all()
    x[2, 1] = np.nan
    STATISTICS.rows(x, total, greatest, count)
    assert np.isnan(greatest[:, 0]).tolist() == [False, False, True, False, False]


def test_an_array_of_one_row_serves_for_every_row() -> None:
    scale = Kernel(lambda row, x, w, y: row.each(lambda i: y.put(i, x[i] * w[i])), arrays=3)
    x, w, y = numbers((6, 21), float), numbers((1, 21), float, 1), np.empty((6, 21))
    scale.rows(x, w, y)
    np.testing.assert_array_equal(y, x * w)


def test_sums_over_rows_keep_their_digits_in_single_precision() -> None:
    column_sums = Kernel(lambda row, x, sums: row.each(lambda i: sums.put(i, sums[i] + x[i])), arrays=2)
    x = np.random.default_rng(0).uniform(1, 2, (40_000, 9)).astype(np.float32)
    np.testing.assert_allclose(column_sums.sums(x), x.astype(float).sum(0), rtol=3e-6)
    assert column_sums.sums(x[:0]).tolist() == [0.0] * 9


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_of_any_layout_gives_the_same_values_in_the_layout_of_the_first(dtype: Any) -> None:
    f = Elementwise(lambda x, y: x * 2.0 - y, 2)
    x = numbers((40, 30, 20), dtype)
    unaligned = np.frombuffer(b"?" + x.tobytes(), np.uint8)[1:].view(dtype).reshape(x.shape)
    layouts = [
        x, x.transpose(2, 0, 1), np.asfortranarray(x), x[::2], x[:, ::-1], x[..., :7],
        np.broadcast_to(x[:1], x.shape), unaligned,
    ]  # fmt: skip
    for a in layouts:
        b = numbers(a.shape, dtype, 2)
        for first, second in ((a, b), (b, a)):
            found = f(first, second)
            np.testing.assert_array_equal(found, first * dtype(2) - second)
            assert found.strides == np.empty_like(first).strides and found.base is None


def test_what_is_no_kernels_business_is_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    f = Elementwise(lambda x, y: x + y, 2)
    x = np.ones(SMALL + 1)
    assert f(x, x) is not None
    others = [
        (x[1:], x[1:]), (x, x.astype("f")), (x, x[None]), (x.astype(">f8"),) * 2, (x.astype("e"),) * 2,
        (x.astype(int),) * 2, (np.ma.array(x),) * 2, (x.astype(complex),) * 2, (x, 1.0),
    ]  # fmt: skip
    assert all(f(*given) is None for given in others)
    monkeypatch.setenv("AUTODIFF_NATIVE", "0")
    assert f(x, x) is None


@pytest.mark.parametrize("shared", [1, 10**9])
def test_threads_give_the_same_bits(shared: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "count", lambda: 3)
    monkeypatch.setattr(kernels, "SHARED", shared)
    x = numbers((101, 333), float)
    found = Elementwise(lambda x: np.exp(x) * 3.0, 1)(x)
    total, greatest, count = np.empty((3, 101, 1))
    STATISTICS.rows(x, total, greatest, count)
    monkeypatch.setattr(kernels, "SHARED", 10**9)
    np.testing.assert_array_equal(found, Elementwise(lambda x: np.exp(x) * 3.0, 1)(x))
    np.testing.assert_array_equal(greatest[:, 0], (x - 9).max(1))


def test_a_kernel_is_compiled_once_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    code = kernels.Kernel._code
    monkeypatch.setattr(kernels.Kernel, "_code", lambda self, t: (made.append(t), code(self, t))[1])
    f, x, found = Elementwise(lambda x: x * 5.0, 1), numbers(SMALL + 1, float), []
    threads = [threading.Thread(target=lambda: found.append(f(x))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8 and all((y == 5 * x).all() for y in found)
    assert made == ["d"]


def test_where_arrays_lie_otherwise_in_memory_kernels_run_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "as_expected", lambda: False)
    scale = Kernel(lambda row, x, w, y: row.each(lambda i: y.put(i, x[i] * w[i])), arrays=3)
    x, w, y = numbers((6, 40), float)[:, ::1][:, 3:30], numbers((1, 27), float, 1), np.empty((6, 27))
    scale.rows(x, w, y)
    np.testing.assert_array_equal(y, x * w)


def test_what_is_no_instruction_is_named() -> None:
    x = Value(Builder(Module(256), 8), "f", "%x")
    with pytest.raises(TypeError, match="spacing: is no instruction"):
        np.spacing(x)
    with pytest.raises(TypeError, match="add: machine code has no reduce"):
        np.add.reduce(x)
    with pytest.raises(TypeError, match="concatenate: is no instruction"):
        np.concatenate([x, x])


def test_a_module_is_written_for_vectors_of_every_machine() -> None:
    for t in "fd":
        for width in (128, 256, 512):
            assert f"<{width // 8 // {'f': 4, 'd': 8}[t]} x" in module_text(_statistics, 4, t, width)
            machine.Machine(module_text(_statistics, 4, t, width))
