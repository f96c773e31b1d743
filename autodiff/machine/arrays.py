"""Calls of machine code with arrays: how it finds their memory.

A function takes a tuple of arrays. It reads the addresses from the objects themselves, which costs nothing; where this
Python lays objects out in another way, from a copy that looks the same. Order: how objects lie in memory, calls by
ctypes, calls as of Python's own functions, which take a tenth of the time.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

LENGTH, ITEMS = 16, 24
"""Bytes before a tuple's length and its first item."""
TYPE, DATA, AXES, SHAPE, STRIDES, DTYPE, FLAGS = 8, 16, 24, 32, 40, 56, 64
"""Bytes before what an array keeps: its type, address, number of axes, addresses of shape and strides, dtype, flags."""
ALIGNED, WRITEABLE = 0x100, 0x400


@functools.cache
def as_expected() -> bool:
    """Whether tuples and arrays look like this."""
    array = np.empty((3, 2))
    probe = (None, array)

    def word(place: int) -> int | None:
        return ctypes.c_void_p.from_address(place).value

    base = id(array)
    if word(id(probe) + LENGTH) != 2 or word(id(probe) + ITEMS + 8) != base or word(base + DATA) != array.ctypes.data:
        return False
    shape, strides = word(base + SHAPE), word(base + STRIDES)
    return (
        word(base + TYPE) == id(np.ndarray)
        and word(base + DTYPE) == id(array.dtype)
        and ctypes.c_int.from_address(base + AXES).value == 2
        and bool(ctypes.c_int.from_address(base + FLAGS).value & ALIGNED)
        and shape is not None
        and strides is not None
        and (word(shape), word(shape + 8), word(strides), word(strides + 8)) == (3, 2, 16, 8)
    )


def _look_alike(arrays: tuple[Any, ...]) -> tuple[Any, Any]:
    """The words of a tuple of arrays, in which each has its address and its first axis; and what they point at."""
    first = np.array([(*x.shape[:1], *x.strides[:1]) if x.ndim else (1, 0) for x in arrays], np.int64).reshape(-1, 2)
    boxes = np.zeros((len(arrays) + 1, STRIDES // 8 + 1), np.int64)
    boxes[:-1, DATA // 8] = [x.ctypes.data for x in arrays]
    boxes[:-1, SHAPE // 8] = first.ctypes.data + np.arange(len(arrays)) * first.strides[0]
    boxes[:-1, STRIDES // 8] = boxes[:-1, SHAPE // 8] + first.itemsize
    items = boxes.ctypes.data + np.arange(len(arrays)) * boxes.strides[0]
    return np.concatenate([np.zeros(ITEMS // 8, np.int64), items]), (boxes, first)


def function(address: int, long: bool, integers: int = 0) -> Callable[..., Any]:
    """The function at an address, of arrays and so many integers; a long one lets other threads run."""
    kind = ctypes.CFUNCTYPE if long else ctypes.PYFUNCTYPE
    rest = [ctypes.c_int64] * integers
    if as_expected():
        return kind(None, ctypes.py_object, *rest)(address)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *rest)(address)

    def boxed(arrays: tuple[Any, ...], *numbers: int) -> None:
        table, _boxes = _look_alike(arrays)
        call(table.ctypes.data, *numbers)

    return boxed


class _Definition(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def method(address: int, *kept: Any) -> Callable[[tuple[Any, ...]], Any]:
    """The function at an address as one of Python's own: of a tuple of what is kept for it and of its argument, a tuple
    that nobody checks. It returns an object, of which it has counted the reference."""
    takes_one = 8  # METH_O
    definition = _Definition(b"machine code", address, takes_one, None)
    made: Callable[[tuple[Any, ...]], Any] = _method_maker()(definition, (*kept, definition), None)
    return made


@functools.cache
def _method_maker() -> Callable[..., Any]:
    kind = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.POINTER(_Definition), ctypes.py_object, ctypes.c_void_p)
    return kind(("PyCFunction_NewEx", ctypes.pythonapi))


def symbols() -> dict[str, int]:
    """Addresses of what a method needs to return an object."""
    count = ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value
    assert count is not None
    return {"Py_IncRef": count, "autodiff_none": id(None)}
