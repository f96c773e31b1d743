"""Watching operations as they are made: where NaN and infinity come from, and the user's line behind each node.

Both tools are settings of the grad mode (mode.py), so that nothing is looked at, and nothing is paid, while off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from ..backward import reverse
from ..batching.batch import laid_out
from ..leaving import user_line
from ..mode import Setting
from ..primitive import Primitive, describe
from ..tensor import Tensor


class AnomalyError(FloatingPointError):
    """Raised under `detect_anomaly` where a NaN or an infinity first appears."""


class Watch:
    """The value of the grad mode while operations are watched."""

    __slots__ = ("infinity", "nan", "recording")

    def __init__(self, recording: bool, nan: bool = False, infinity: bool = False) -> None:
        self.recording, self.nan, self.infinity = recording, nan, infinity

    def switched(self, recording: bool) -> Watch:
        """The same watch with recording on or off."""
        return Watch(recording, self.nan, self.infinity)

    def made(self, y: Tensor, record: Primitive, inputs: tuple[Any, ...]) -> None:
        """Keep the user's line that made `y`, and look at its values."""
        y._line = user_line()
        if self.nan and self._found(y) and _reversed_node() is None:
            # (What a rule computes on its way is judged by its result: it may guard an infinity of its own.)
            raise AnomalyError(
                f"{record.name}({', '.join(map(describe, inputs))}): the result has {self._found(y)}"
                f"{self._origin(inputs)}\n  {y._line}"
            )

    def pulled(self, d: Any, g: Any, node: Tensor, x: Tensor) -> Any:
        """Look at the cotangent that a rule of `node`, given `g`, returned for its input `x`, and pass it on."""
        if self.nan and self._found(d):
            i = [z is x for z in node._inputs].index(True)
            line = node._line or "line not recorded: compute this tensor inside detect_anomaly() or record_lines()"
            origin = f", but the output had {self._found(node)}" if self._found(node) else self._origin(node._inputs)
            raise AnomalyError(
                f"backward of {node._primitive.name}({', '.join(map(describe, node._inputs))}): the gradient for input "
                f"{i} (shape {x.shape}) has {self._found(d)}{origin}\n  {line}"
            )
        return d

    def _found(self, value: Any) -> str:
        """What is wrong with these values, '' if nothing."""
        a = laid_out(value._ndarray if isinstance(value, Tensor) else value)
        kind = getattr(a, "dtype", np.dtype(type(a)) if isinstance(a, float) else None)
        if kind is None or kind.kind not in "fc" or np.isfinite(a).all():
            return ""
        nans, size = int(np.isnan(a).sum()), int(np.size(a))
        infinite = size - int(np.isfinite(a).sum()) - nans
        if not nans and not self.infinity:
            return ""
        counts = " and ".join(f"{n} {name}" for n, name in ((nans, "NaN"), (infinite, "infinite")) if n)
        return f"{counts} of {size} value{'s' * (size > 1)}"

    def _origin(self, inputs: tuple[Any, ...]) -> str:
        bad = [i for i, x in enumerate(inputs) if self._found(x)]
        if not bad:
            return ", and no input has"
        x = inputs[bad[0]]
        leaf = not isinstance(x, Tensor) or x._primitive is None
        where = "came in from a constant" if leaf else f"was made by {x._primitive.name} outside detect_anomaly()"
        if isinstance(x, Tensor) and leaf and x._requires_grad:
            where = "came in from a leaf that requires a gradient"
        name = f" ({x.name})" if isinstance(x, Tensor) and x.name else ""
        return f"; it {where}: input {bad[0]}{name} has {self._found(x)}"


class _Watching(Setting):
    _nan = _infinity = False

    def __new__(cls, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        setting = super().__new__(cls)
        if function is None:
            return setting
        if not callable(function):
            raise TypeError(f"{cls.__name__}(): takes no argument like {function!r}, only a function to decorate")
        setting.__init__(None, **options)  # type: ignore[misc]  # decorating calls no __init__
        return setting(function)

    def __init__(self, function: None = None) -> None:
        super().__init__()

    def value(self, outer: Any) -> Watch:
        if isinstance(outer, bool):
            return Watch(outer, self._nan, self._infinity)
        return Watch(outer.recording, outer.nan or self._nan, outer.infinity or self._infinity)


class detect_anomaly(_Watching):
    """Raise at the operation whose forward or backward first gives NaN or infinity, and show the line of your code
    that made that node. A context manager and a decorator; slow, for debugging.

    Args:
        infinity: False to look for NaN only, where infinities are meant (masks of −∞, say).

    Raises:
        AnomalyError: a `FloatingPointError` that names the operation, the shapes, how many values, and the line.

    >>> import numpy as np
    >>> x = Tensor([0.0, 1.0], requires_grad=True)
    >>> with detect_anomaly(), np.errstate(all="ignore"):  # doctest: +IGNORE_EXCEPTION_DETAIL
    ...     np.sqrt(x).sum().backward()
    Traceback (most recent call last):
    autodiff.checking.anomaly.AnomalyError: backward of sqrt(shape (2,)): the gradient for input 0 ...has 1 infinite ...
    """

    _nan = True

    def __init__(self, function: None = None, *, infinity: bool = True) -> None:
        super().__init__()
        self._infinity = infinity

    def _again(self) -> detect_anomaly:
        return detect_anomaly(infinity=self._infinity)


class record_lines(_Watching):
    """Keep, with each tensor made here, the line of your code that made it, for pictures and tables. A context
    manager and a decorator.

    >>> x = Tensor(2.0, requires_grad=True)
    >>> with record_lines():
    ...     y = x * x
    >>> y._line.endswith("y = x * x")
    True
    """


def _reversed_node() -> Any:
    """The node whose rule is running, if a reverse pass is on the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is reverse.__code__:
            return frame.f_locals.get("node")
        frame = frame.f_back
    return None
