"""Where BLAS's functions begin in memory: those of NumPy's own library, with which machine code multiplies as fast as
NumPy and in the same threads; SciPy's where NumPy's cannot be found."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

NAMES = ("sgemm", "dgemm", "sgemv", "dgemv")
SPELLED = ("scipy_{}_64_", "{}_64_", "{}_")
"""How a library that NumPy was built with calls a function of Fortran's."""
INTEGER = "i64"
"""Integers are handed over by address: of these 64 bits a library of 32 reads the first half."""


@functools.cache
def addresses() -> dict[str, int]:
    """The addresses of BLAS's functions by name.

    Raises:
        ImportError: neither library multiplies rightly when it is called so.
    """
    for library in (of_numpy, of_scipy):
        found = library()
        if found and multiplies(found):
            return {f"autodiff_{name}": address for name, address in found.items()}
    raise ImportError(
        "ad.compile: machine code calls BLAS by address, and neither NumPy's nor SciPy's multiplies two matrices "
        "rightly when called so: pip install --force-reinstall numpy scipy, or write backend='numpy'"
    )


def of_numpy() -> dict[str, int]:
    """The functions with which NumPy multiplies, by name; none where its library does not show them."""
    file = getattr(sys.modules.get("numpy._core._multiarray_umath"), "__file__", None)
    if file is None:
        return {}
    try:
        library = ctypes.CDLL(file)  # in which names of the libraries that it needs are found too
    except OSError:
        return {}
    for spelled in SPELLED:
        try:
            return {name: _address(getattr(library, spelled.format(name))) for name in NAMES}
        except AttributeError:
            continue
    return {}


def of_scipy() -> dict[str, int]:
    """Those that SciPy exports to Cython."""
    from scipy.linalg import cython_blas

    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsules = cython_blas.__pyx_capi__
    return {full: int(pointer(capsules[full], name(capsules[full]))) for full in NAMES}


def _address(found: Any) -> int:
    return ctypes.cast(found, ctypes.c_void_p).value or 0


def multiplies(found: Mapping[str, int]) -> bool:
    """Whether these functions add right products of small whole numbers to what is there, of turned matrices too."""
    for (full, address), turned in product(found.items(), (False, True)):
        dtype = {"s": np.float32, "d": np.float64}[full[0]]
        left, right = np.arange(1, 9, dtype=dtype).reshape(4, 2), np.arange(2, 8, dtype=dtype).reshape(2, 3)
        stored = right.T.copy() if turned else right  # right.T by columns
        n, k, m, one, step = (np.array([x], np.int64) for x in (3, 2, 4, 1, stored.shape[1]))
        result: Any
        way, unit = np.array([b"T" if turned else b"N"]), np.ones(1, dtype)
        if full.endswith("gemm"):
            result, expected = np.ones((4, 3), dtype), left @ right + 1
            given = [way, np.array([b"N"]), n, m, k, unit, stored, step, left, k, unit, result, n]
        else:
            result, expected = np.ones(3, dtype), left[0] @ right + 1
            given = [way, *((k, n) if turned else (n, k)), unit, stored, step, left, one, unit, result, one]
        call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(given))(address)
        call(*(x.ctypes.data for x in given))
        if not np.array_equal(result, expected):
            return False
    return True
