"""Functions known at points: integrals and derivatives by differences, interpolation, convolution, phases.

All but the convolution are put together from other operations, which the derivatives then pass through.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, as_tensor, declare, polymorphic
from ..protocols import implements, optioned
from ..tensor import Tensor, is_foreign, wrap
from . import elementwise
from .complex import conj
from .elementwise import astype, mod
from .guards import checked_axes, checked_axis, common, raw
from .indexing import picked, take
from .precision import in_single
from .reductions import searchsorted
from .samples import draw
from .shape import concatenate, diff, flip, moveaxis

__all__ = ["convolve", "correlate", "gradient", "interp", "trapezoid", "unwrap"]


def _floating(x: Any, name: str) -> Tensor:
    x = as_tensor(x, name)
    return x if x.dtype.kind in "fc" else astype(x, np.float64)


def _double(x: Any, values: bool = False) -> Tensor:
    """In double precision, the dtype of NumPy's result; complex numbers are values only."""
    x = as_tensor(x, "interp")
    if x.dtype.kind == "c" and not values:
        raise TypeError(f"interp: x and xp are real, not {x.dtype}; only the values fp may be complex")
    return astype(x, np.complex128 if x.dtype.kind == "c" else np.float64, copy=False)


def _beside(v: Tensor, x: Tensor) -> Tensor:
    """What is NumPy's in the array type of x, whose elements may be picked by positions of that type."""
    if not is_foreign(raw(x)) or is_foreign(raw(v)):
        return v
    if v.requires_grad:
        return v + wrap(np.zeros_like(raw(x), shape=v.shape))
    return wrap(np.asarray(raw(v), like=raw(x)))


def _along(v: Tensor, axis: int, ndim: int) -> Tensor:
    """A vector as an array of `ndim` axes, along one of them."""
    return v.reshape((1,) * axis + (-1,) + (1,) * (ndim - axis - 1))


# Integrals and derivatives


@optioned
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral along an axis by the trapezoidal rule, Σ (xᵢ₊₁ − xᵢ) (yᵢ + yᵢ₊₁) / 2, as `numpy.trapezoid`.

    Args:
        y: values, a Tensor or array.
        x: the points, of one axis, or of y's shape (or one that broadcasts to it); with gradient.
        dx: their distance, where `x` is left out.
        axis: along which to integrate.

    Raises:
        ValueError: points that do not fit.

    >>> trapezoid([1.0, 2.0, 3.0], x=[4.0, 6.0, 8.0])
    Tensor(8.)
    """
    y = as_tensor(y, "trapezoid")
    axis = checked_axis("trapezoid", axis, y.shape)
    before = (slice(None),) * axis
    width = dx
    if x is not None:
        x = as_tensor(x, "trapezoid")
        last = axis if x.ndim == y.ndim else x.ndim + axis - y.ndim
        if x.ndim == 1:
            x, last = _along(x, axis, y.ndim), axis
        if last < 0 or x.shape[last] != y.shape[axis]:
            raise ValueError(f"trapezoid: points of shape {x.shape} do not fit values of shape {y.shape}, axis {axis}")
        width = diff(x, axis=last)
    sums = picked(y, index=(*before, slice(1, None))) + picked(y, index=(*before, slice(None, -1)))
    return (sums * width / 2.0).sum(axis)


for _name in ("trapezoid", "trapz"):  # NumPy 2.0, and its former name
    if hasattr(np, _name):
        implements(getattr(np, _name))(trapezoid)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes of values on a grid, by central differences of second order, one-sided at the ends, as `numpy.gradient`.

    Args:
        f: values, a Tensor or array.
        varargs: nothing (steps of 1), a step for all axes, or for each axis a step or the coordinates along it; with
            gradient.
        axis: an axis or several, all by default.
        edge_order: 1 or 2, the order of the one-sided differences.

    Returns:
        A Tensor of f's shape; for several axes a tuple of them.

    Raises:
        ValueError: an axis too short, coordinates that do not fit it, another order. TypeError: not as many steps as
            axes.

    >>> gradient([1.0, 2.0, 4.0, 8.0], 2.0)
    Tensor([0.5 , 0.75, 1.5 , 2.  ])
    """
    f = _floating(f, "gradient")
    axes = tuple(range(f.ndim)) if axis is None else checked_axes("gradient", axis, f.shape)
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order is 1 or 2, not {edge_order!r}")
    steps = list(varargs) or [1.0]
    if len(steps) == 1 and np.ndim(steps[0]) == 0:
        steps *= len(axes)
    if len(steps) != len(axes):
        raise TypeError(f"gradient(shape {f.shape}): {len(varargs)} steps for {len(axes)} axes; give one, or one each")
    slopes = []
    for i, step in zip(axes, steps):
        n = f.shape[i]
        if n < edge_order + 1:
            raise ValueError(
                f"gradient(shape {f.shape}): axis {i} of length {n} is too short; edge_order={edge_order} takes "
                f"{edge_order + 1} values"
            )
        h: Any = step if type(step) in (int, float) else as_tensor(step, "gradient")
        even = np.ndim(h) == 0
        if not even:
            if h.shape != (n,):
                raise ValueError(
                    f"gradient: coordinates of shape {h.shape} for axis {i} of shape {f.shape}; they take ({n},)"
                )
            h = _along(diff(h if h.dtype.kind in "fc" else astype(h, np.float64)), 0, f.ndim)
            if not h.requires_grad and common((raw(h) == raw(h)[:1]).all()):
                h, even = h.reshape(-1)[0], True
        slopes.append(moveaxis(_slopes(moveaxis(f, i, 0), h, even, edge_order), 0, i))
    return slopes[0] if len(slopes) == 1 else tuple(slopes)


def _slopes(f: Tensor, h: Any, even: bool, order: int) -> Tensor:
    """Slopes along the first axis, with one step h or the steps h between neighbours."""
    if even:
        inside = (f[2:] - f[:-2]) / (2.0 * h)
    else:
        p, q = h[:-1], h[1:]
        inside = f[:-2] * (-q / (p * (p + q))) + f[1:-1] * ((q - p) / (p * q)) + f[2:] * (p / (q * (p + q)))
    first = _end(f[:3], h if even else h[:2], even, order)
    last = -_end(f[-3:][::-1], h if even else h[-2:][::-1], even, order)
    return concatenate([first, inside, last])


def _end(f: Tensor, h: Any, even: bool, order: int) -> Tensor:
    """The slope at the first of two or three values."""
    p = h if even else h[:1]
    if order == 1:
        return (f[1:2] - f[:1]) / p
    q = h if even else h[1:2]
    return f[:1] * (-(2.0 * p + q) / (p * (p + q))) + f[1:2] * ((p + q) / (p * q)) + f[2:] * (-p / (q * (p + q)))


# Interpolation


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Tensor:
    """The piecewise linear function through points, as `numpy.interp`.

    Args:
        x: where, a Tensor or array of any shape.
        xp: the points' coordinates, of one axis, increasing.
        fp: the values there.
        left, right: the values before the first and behind the last point; by default those of these points.
        period: with it, coordinates are taken modulo it and need no order; `left` and `right` do not count.

    Returns:
        A Tensor of x's shape, with gradients to x, xp, fp, left and right. At a point the derivative by x is the slope
        to its right, at the last point that to its left; outside it is 0.

    Raises:
        ValueError: points that are not of one axis and equally many, none, or a period of 0.

    >>> x = Tensor([0.5, 1.0, 3.0], requires_grad=True)
    >>> y = interp(x, [0.0, 1.0, 2.0], [0.0, 10.0, 40.0])
    >>> y.detach()
    Tensor([ 5., 10., 40.])
    >>> y.sum().backward()
    >>> x.grad
    Tensor([10., 30.,  0.])
    """
    x, xp, fp = _double(x), _double(xp), _double(fp, values=True)
    if xp.ndim != 1 or fp.shape != xp.shape or not xp.size:
        raise ValueError(
            f"interp: xp of shape {xp.shape} and fp of shape {fp.shape}; both take one axis, of one length"
        )
    if period is not None:
        period = abs(float(period))
        if period == 0:
            raise ValueError("interp: period must not be 0")
        x, xp = mod(x, period), mod(xp, period)
        order = np.argsort(raw(xp), kind="stable")
        xp, fp = take(xp, order), take(fp, order)
        xp = concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = concatenate([fp[-1:], fp, fp[:1]])
        left = right = None
    xp, fp = _beside(xp, x), _beside(fp, x)
    first, last, n = xp[0], xp[-1], xp.shape[0]
    if n == 1:
        y = x * 0.0 + fp[0]
    else:
        i = searchsorted(xp, x, side="right")
        i = np.clip(raw(i) - 1, 0, n - 2)
        x0, y0 = take(xp, i), take(fp, i)
        width = take(xp, i + 1) - x0
        slope = (take(fp, i + 1) - y0) / elementwise.where(raw(width) == 0, 1.0, width)
        y = elementwise.where(raw(x) == raw(last), fp[-1] + (x - last) * slope, y0 + (x - x0) * slope)
    y = elementwise.where(raw(x) < raw(first), fp[0] if left is None else left, y)
    return elementwise.where(raw(x) > raw(last), fp[-1] if right is None else right, y)


# Convolution


def _longer(a: Any, v: Any) -> bool:
    return bool(a.shape[0] >= v.shape[0])


def _of_first(g: Any, y: Any, a: Any, v: Any, mode: str) -> Any:
    return _conv(g, v[::-1], mode="full" if mode == "valid" else "valid")


def _of_second(g: Any, y: Any, a: Any, v: Any, mode: str) -> Any:
    return _conv(a[::-1], g, mode="valid") if mode == "valid" else _conv(g, a[::-1], mode="valid")


_convolution = declare(
    "convolve", in_single(np.convolve, together=True), [_of_first, _of_second],
    jvps="multilinear", complex=True, formula="{0} ∗ {1}", derivatives=["{1} mirrored ∗", "{0} mirrored ∗"],
    samples=lambda rng: [Sample((draw(rng, (n,)), draw(rng, (m,))), {"mode": mode})
                         for n, m, mode in [(4, 3, "full"), (2, 3, "full"), (4, 2, "valid"), (3, 3, "valid"),
                                            (1, 1, "full")]],
)  # fmt: skip
_conv: Any = polymorphic(_convolution)


def _vectors(name: str, *values: Any) -> list[Tensor]:
    vectors = [as_tensor(v, name) for v in values]
    vectors = [v if v.ndim else v.reshape(1) for v in vectors]
    if any(v.ndim > 1 or not v.size for v in vectors):
        met = " and ".join(str(np.shape(raw(v))) for v in values)
        raise ValueError(f"{name}: takes two vectors that are not empty, not shapes {met}")
    return vectors


def _mode(name: str, mode: Any) -> str:
    names = ("valid", "same", "full")
    found = names[mode] if mode in (0, 1, 2) else mode
    if found not in names:
        raise ValueError(f"{name}: mode is 'full', 'same' or 'valid', not {mode!r}")
    return str(found)


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """The convolution of two vectors, yₖ = Σᵢ aᵢ vₖ₋ᵢ, as `numpy.convolve`.

    Args:
        a, v: Tensors or arrays of one axis.
        mode: "full", all n + m − 1 sums; "valid", those in which the shorter vector lies wholly inside the longer one;
            "same", as many as the longer one has, from the middle.

    Raises:
        ValueError: inputs that are empty or of several axes, or another mode.

    >>> convolve([1.0, 2.0, 3.0], [1.0, 10.0])
    Tensor([ 1., 12., 23., 30.])
    """
    (a, v), mode = _vectors("convolve", a, v), _mode("convolve", mode)
    a, v = (a, v) if _longer(a, v) else (v, a)
    y = _convolution(a, v, mode="valid" if mode == "valid" else "full")
    start = (v.shape[0] - 1) // 2
    return y[start : start + a.shape[0]] if mode == "same" else y


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """The cross-correlation of two vectors, cₖ = Σᵢ aᵢ₊ₖ v̄ᵢ, as `numpy.correlate`; the modes are those of `convolve`.

    >>> correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5], "same")
    Tensor([2. , 3.5, 3. ])
    """
    (a, v), mode = _vectors("correlate", a, v), _mode("correlate", mode)
    v = conj(v) if v.dtype.kind == "c" else v
    return convolve(a, flip(v), mode) if _longer(a, v) else flip(convolve(v, flip(a), mode))


# Phases


@implements(np.unwrap, passing=True)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: float = 2 * np.pi) -> Tensor:
    """Jumps of more than half a period (or `discont`, if that is larger) between neighbours taken out, by adding
    multiples of the period, as `numpy.unwrap`; the derivative is 1.

    >>> unwrap([0.0, 3.0, 6.0 - 2 * np.pi])
    Tensor([0., 3., 6.])
    """
    p = as_tensor(p, "unwrap")
    values = raw(p)
    return p + wrap(np.unwrap(values, discont=discont, axis=axis, period=period) - values)
