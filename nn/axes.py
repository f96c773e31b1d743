"""One text and one signature for one, two and three spatial axes: a function or layer is written once, of n axes, and
has a name, shapes and a help page of its own for each n.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import FunctionType
from typing import Any, Concatenate, ParamSpec, TypeVar

from autodiff.flags import flagged

from .module.module import Module

P = ParamSpec("P")
R = TypeVar("R")

LENGTHS = {1: "L", 2: "H, W", 3: "D, H, W"}
"""What the lengths of the spatial axes are called."""
_WORDS = {
    "n": {1: "1", 2: "2", 3: "3"},
    "L": LENGTHS,
    "axes": {1: "the last axis", 2: "the last two axes", 3: "the last three axes"},
    "kernel": {1: "kernel", 2: "height, width", 3: "depth, height, width"},
    "BatchNorm": {1: "(N, C) or (N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"},
    "Dropout": {
        1: "(N, C, L) or (C, L)",
        2: "(N, C, H, W) or (N, C, L)",
        3: "(N, C, D, H, W) or (C, D, H, W)",
    },
    "each": {1: "", 2: ", each one number or a pair (height, width)", 3: ", each one number or (depth, height, width)"},
}


def written(text: str, n: int) -> str:
    """A text of n axes: {n}, {L}, {axes}, {kernel}, {each} as they are said of n, {8 ...} for "8, 8" of two."""
    text = re.sub(r"\{(\w+) \.\.\.\}", lambda found: ", ".join([found[1]] * n), text)
    return re.sub(r"\{(\w+)\}", lambda found: _WORDS[found[1]][n] if found[1] in _WORDS else found[0], text)


def over_axes(
    function: Callable[Concatenate[int, P], R],
) -> tuple[Callable[P, R], Callable[P, R], Callable[P, R]]:
    """The functions of one, two and three axes of one whose first argument is their number.

    Args:
        function: named "…_nd"; its docstring is a text for `written`, which the three take over.

    Returns:
        functions without that argument, named "…1d", "…2d", "…3d".
    """
    made = _over(function, 1), _over(function, 2), _over(function, 3)
    function.__doc__ = None
    return made


def _over(function: Any, n: int) -> Any:
    name = function.__name__.strip("_").replace("_nd", f"{n}d")
    # A copy of its own name, by which Python's errors about arguments call it.
    own = FunctionType(function.__code__, function.__globals__, name, function.__defaults__, function.__closure__)
    own.__kwdefaults__, own.__qualname__ = function.__kwdefaults__, name

    def called(*args: Any, **kwargs: Any) -> Any:
        return own(n, *args, **kwargs)

    signature = inspect.signature(function)
    called.__name__ = called.__qualname__ = name
    called.__module__, called.__doc__ = function.__module__, written(function.__doc__, n)
    called.__annotations__ = function.__annotations__
    called.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(signature.parameters.values())[1:]
    )
    return flagged(called) if any(str(kind).startswith("bool") for kind in called.__annotations__.values()) else called


class OverAxes(Module):
    """Base of layers over n spatial axes: ``class Conv2d(_Conv, axes=2)`` has the text ``_Conv._text``, said of two."""

    _axes = 1
    _text: str

    def __init_subclass__(cls, axes: int | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if axes is not None:
            cls._axes = axes
            cls.__doc__ = written(cls._text, axes)
