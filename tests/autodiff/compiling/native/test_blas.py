"""Where BLAS is found, and that what does not multiply rightly is not called."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import autodiff as ad
from autodiff.compiling.native import blas


def test_numpys_own_library_is_called_where_it_shows_its_functions() -> None:
    """NumPy's wheels do, and threadpoolctl says which library that is."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    found = blas.of_numpy()
    if not found:
        pytest.skip("this build of NumPy hides its BLAS")
    assert blas.addresses() == {f"autodiff_{name}": address for name, address in found.items()}
    libraries = [x["filepath"] for x in threadpoolctl.threadpool_info() if "numpy" in x["filepath"]]
    for file in libraries:
        library = ctypes.CDLL(file)
        spelled = next(s for s in blas.SPELLED if hasattr(library, s.format("sgemm")))
        there = {name: ctypes.cast(getattr(library, spelled.format(name)), ctypes.c_void_p).value for name in found}
        assert there == found


def test_scipys_library_multiplies_where_numpys_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """With integers of 32 bits: matrices and vectors of all layouts, products large enough for BLAS."""
    monkeypatch.setattr(blas, "of_numpy", dict)
    blas.addresses.cache_clear()
    try:
        assert set(blas.addresses().values()) == set(blas.of_scipy().values())
        rng = np.random.default_rng(0)
        for dtype, tolerance in ((np.float32, 2e-5), (np.float64, 1e-13)):
            a, b, v = (rng.standard_normal(shape).astype(dtype) for shape in ((90, 70), (70, 80), (300,)))
            w = rng.standard_normal((300, 400)).astype(dtype)

            def f(a, b, v, w):
                return a @ b, b.T @ a.T, v @ w, w.T @ v

            for got, want in zip(ad.compile(f, backend="native")(a, b, v, w), f(a, b, v, w), strict=True):
                np.testing.assert_allclose(np.asarray(got), want, tolerance, tolerance * 50)
    finally:
        blas.addresses.cache_clear()


def test_a_library_that_multiplies_wrongly_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(lambda *given: None)
    address = ctypes.cast(nothing, ctypes.c_void_p).value
    assert blas.multiplies(blas.of_scipy())
    for name in blas.NAMES:
        wrong = blas.of_scipy() | {name: address}
        assert not blas.multiplies(wrong)
        monkeypatch.setattr(blas, "of_numpy", lambda wrong=wrong: wrong)
        blas.addresses.cache_clear()
        assert set(blas.addresses().values()) == set(blas.of_scipy().values())
    monkeypatch.setattr(blas, "of_scipy", blas.of_numpy)
    blas.addresses.cache_clear()
    with pytest.raises(ImportError, match="neither NumPy's nor SciPy's multiplies"):
        blas.addresses()
    blas.addresses.cache_clear()
