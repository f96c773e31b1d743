"""Padding, as a function of any axes and as modules over one, two and three spatial ones."""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor

from ..arguments import as_tensor, choice, held, integer, number
from ..axes import LENGTHS, OverAxes

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _widths(name: str, width: Any, n: int | None = None) -> tuple[int, ...]:
    """PyTorch's list of widths: a pair for each axis, from the last axis on."""
    values = tuple(width) if isinstance(width, (tuple, list, np.ndarray)) else (width,) * (2 * n if n else 1)
    if len(values) % 2 or (n and len(values) != 2 * n):
        wanted = f"one integer or {2 * n}" if n else "a pair of integers for each axis, from the last axis on"
        raise ValueError(f"{name}: takes {wanted}, not {width!r}")
    return tuple(integer(name, "a width", v) for v in values)


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """The input lengthened at both ends of its last axes.

    Args:
        input: any shape.
        pad: (before, after) of the last axis, then of the one before it, and so on; negative numbers shorten.
        mode: "constant", "reflect" (mirrored at the element at the end), "replicate" (the element at the end) or
            "circular" (from the other end).
        value: what "constant" puts there, 0 by default.

    Raises:
        TypeError, ValueError: for an odd number of widths, more pairs than axes, an unknown mode, or widths for which
            the input is too short.

    >>> pad([[1.0, 2.0, 3.0]], (1, 2), mode="reflect")
    Tensor([[2., 1., 2., 3., 2., 1.]])
    """
    return padded("pad", as_tensor(input), _widths("pad", pad), mode, value)


def padded(name: str, x: Tensor, widths: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Tensor:
    """`pad` for the function or layer of this name."""
    choice(name, "mode", mode, list(_MODES))
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)]
    if len(pairs) > x.ndim:
        raise ValueError(f"{name}: got input of shape {x.shape} and widths for {len(pairs)} axes")
    pairs = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    if value is not None and mode != "constant":
        raise ValueError(f"{name}: value={value!r} is for mode 'constant', not {mode!r}")
    cut = tuple([slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pairs)])
    if any(n + before + after < 0 or min(n + before, n + after) < 0 for n, (before, after) in zip(x.shape, pairs)):
        raise ValueError(f"{name}: got input of shape {x.shape}, of which pad={widths} leaves nothing")
    shortened = min(map(min, pairs), default=0) < 0
    if shortened and mode in ("constant", "circular"):
        x = x[cut]
    added = [(max(b, 0), max(a, 0)) for b, a in pairs]
    limits = {"reflect": "less than the length of its axis", "circular": "at most the length of its axis"}
    for n, pair in zip(x.shape, added):
        if mode != "constant" and any(pair) and (n == 0 or (max(pair) > n - (mode == "reflect") and mode in limits)):
            limit = limits.get(mode, "for an axis that is not empty")
            raise ValueError(f"{name}: with mode {mode!r} a width is {limit}; got shape {x.shape} and pad={widths}")
    if any(map(any, added)):
        filled: dict[str, Any] = {}
        if mode == "constant":
            filled["constant_values"] = held(name, "value", value or 0, x.dtype, "input")
        x = ad.pad(x, added, mode=_MODES[mode], **filled)
    if shortened and mode in ("reflect", "replicate"):  # the elements cut off may have been repeated, as PyTorch's
        x = x[tuple([slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pairs)])]
    return x


class _Pad(OverAxes):
    """Base of the layers that lengthen spatial axes."""

    _mode = "constant"
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        self.padding = _widths(type(self).__name__, padding, self._axes)

    def forward(self, input: Any) -> Tensor:
        """The input with its surroundings."""
        x, n = as_tensor(input), self._axes
        if x.ndim not in (n + 1, n + 2):
            expected = f"(N, C, {LENGTHS[n]}) or (C, {LENGTHS[n]})"
            raise ValueError(f"{type(self).__name__}: got input of shape {x.shape}, expects {expected}")
        return padded(type(self).__name__, x, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


_PADDED = """{What} around {axes}.

    Args:
        padding: how many on every side, or a pair (before, after) for each axis, from the last axis on; negative
            numbers cut off.{more}

    Shapes: input (N, C, {L}) or (C, {L}), output (…, before + length + after).

    Raises:
        TypeError, ValueError: for other widths, and inputs of another number of axes or too short.

    >>> import numpy as np, nn
    >>> nn.{Name}Pad{n}d(1{and})(np.ones((5, 3, {4 ...}))).shape
    (5, 3, {6 ...})
    """


def _padded_text(name: str, what: str, more: str = "", arguments: str = "") -> str:
    text = _PADDED.replace("{What}", what).replace("{Name}", name)
    return text.replace("{more}", more).replace("{and}", arguments)


class _ZeroPad(_Pad):
    _text = _padded_text("Zero", "Zeros")


class ZeroPad1d(_ZeroPad, axes=1): ...


class ZeroPad2d(_ZeroPad, axes=2): ...


class ZeroPad3d(_ZeroPad, axes=3): ...


class _ConstantPad(_Pad):
    _text = _padded_text("Constant", "A number", "\n        value: the number.", ", 0.5")

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = number(type(self).__name__, "value", value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad, axes=1): ...


class ConstantPad2d(_ConstantPad, axes=2): ...


class ConstantPad3d(_ConstantPad, axes=3): ...


class _ReflectionPad(_Pad):
    _mode = "reflect"
    _text = _padded_text("Reflection", "The input, mirrored at the element at the end,")


class ReflectionPad1d(_ReflectionPad, axes=1): ...


class ReflectionPad2d(_ReflectionPad, axes=2): ...


class ReflectionPad3d(_ReflectionPad, axes=3): ...


class _ReplicationPad(_Pad):
    _mode = "replicate"
    _text = _padded_text("Replication", "The element at the end, again and again,")


class ReplicationPad1d(_ReplicationPad, axes=1): ...


class ReplicationPad2d(_ReplicationPad, axes=2): ...


class ReplicationPad3d(_ReplicationPad, axes=3): ...


class _CircularPad(_Pad):
    _mode = "circular"
    _text = _padded_text("Circular", "What is at the other end")


class CircularPad1d(_CircularPad, axes=1): ...


class CircularPad2d(_CircularPad, axes=2): ...


class CircularPad3d(_CircularPad, axes=3): ...
