"""Single precision that becomes double unnoticed: NumPy promotes, and everything after it runs at half the speed."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from autodiff import Tensor
from autodiff.leaving import user_level

DOUBLE = np.dtype(np.float64)
SINGLE = np.dtype(np.float32)


_DOUBLED = "or model.double() where double precision is meant"


class DtypeWarning(UserWarning):
    """In a layer, float32 met float64 (a parameter the one, data the other), and the output is float64.

    It is said once for each layer and line of the program. To switch it off, where double precision is meant for a
    part of a model::

        warnings.simplefilter("ignore", nn.DtypeWarning)
    """


_said: WeakKeyDictionary[Any, set[tuple[str, int]]] = WeakKeyDictionary()
"""By layer, the lines at which it was said."""


def is_single(arguments: Sequence[Any]) -> bool:
    """Whether the first argument of a call holds float32."""
    return bool(arguments) and getattr(arguments[0], "dtype", None) is SINGLE


def notice(layer: Any, parameters: Iterable[tuple[str, Tensor]], arguments: Sequence[Any]) -> bool:
    """Warn if a layer whose output is float64 made it of float32 and float64.

    Args:
        layer: the module.
        parameters: its own, with their names.
        arguments: of the call.

    Returns:
        Whether one of the parameters is float32.
    """
    named = {p.dtype: name for name, p in parameters}
    if SINGLE in named:
        met = f"parameter {named[SINGLE]!r} is float32, and what it met is float64"
        advice = f"write x.astype('float32') (arrays are float64 unless made with dtype='float32'), {_DOUBLED}"
    elif DOUBLE in named and is_single(arguments):
        met = f"parameter {named[DOUBLE]!r} is float64, and the input float32"
        own = "make the parameter of float32 values (ad.ones(n, dtype='float32'))"
        if any(p.dtype is SINGLE for p in layer.parameters()):
            advice = f"{own}, {_DOUBLED}"
        else:
            advice = f"write x.astype('float64'), or where single precision is meant model.float(), or {own}"
    else:
        return False
    _warn(layer, f"{type(layer).__name__}: {met}, so that the output, and what is made of it, is float64; {advice}")
    return SINGLE in named


def _warn(layer: Any, text: str) -> None:
    """Once for each line of the user's."""
    level = user_level()
    frame = sys._getframe(level - 1)
    line, said = (frame.f_code.co_filename, frame.f_lineno), _said.setdefault(layer, set())
    if line not in said:
        said.add(line)
        warnings.warn(text, DtypeWarning, stacklevel=level)
