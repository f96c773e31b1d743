"""Discrete Fourier transforms, as `numpy.fft`: the namespace `ad.fft`.

Three are primitives: the transform of complex numbers (with its inverse), that of real numbers, and its inverse. The
matrix of the first is symmetric, so that its transpose is itself; the others are parts of it. What has several axes is
composed as NumPy composes it, along the last axis and along the others.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..primitive import Sample, as_tensor, declare, internal
from ..protocols import implements
from ..tensor import Tensor
from .complex import conj
from .guards import checked_axis, raw
from .samples import draw
from .shape import roll

__all__ = [
    "fft", "fft2", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft", "irfft2",
    "irfftn", "rfft", "rfft2", "rfftn",
]  # fmt: skip

_OPPOSITE: dict[Any, Any] = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The scale that the transform the other way has under the other name."""


@internal
def resized(x: Any, lengths: dict[int, int]) -> Any:
    """x cut, or continued with zeros, to these lengths along some axes: the transpose of how a transform does that."""
    for axis, n in lengths.items():
        if x.shape[axis] > n:
            x = x[(slice(None),) * axis + (slice(n),)]
        elif x.shape[axis] < n:
            x = np.pad(x, [(0, n - x.shape[axis] if i == axis else 0) for i in range(x.ndim)])
    return x


# The primitives: n is the length along each axis


def _fft_forward(x: Any, n: Any, axes: Any, norm: Any, inverse: bool = False) -> Any:
    return (np.fft.ifftn if inverse else np.fft.fftn)(x, n, axes, norm)


def _fft_rule(g: Any, y: Any, x: Any, n: Any, axes: Any, norm: str, inverse: bool = False) -> Any:
    return resized(_fft_forward(g, n, axes, norm, inverse), {a: x.shape[a] for a in axes})


_CASES: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
    ((4,), (4,), (0,)), ((3,), (3,), (0,)), ((4,), (2,), (0,)), ((3,), (6,), (0,)), ((3, 2), (3,), (0,)),
]  # fmt: skip

_fft = declare(
    "fft", _fft_forward, [_fft_rule], jvps="linear", complex=True, formula="fft {0}", derivatives=["F"],
    samples=lambda rng: [
        Sample((draw(rng, s),), {"n": n, "axes": axes, "norm": norm, "inverse": inverse})
        for (s, n, axes), norm, inverse in zip(
            [*_CASES, ((2, 3), (4, 2), (0, 1))], [*_OPPOSITE, *_OPPOSITE], [False, True, True, False, True, False])],
)  # fmt: skip


def _rfft_forward(x: Any, n: int, axis: int, norm: Any) -> Any:
    return np.fft.rfft(x, n, axis, norm)


_rfft = declare(
    "rfft", _rfft_forward,
    [lambda g, y, x, n, axis, norm: resized(np.fft.fft(g, n, axis, norm).real, {axis: x.shape[axis]})],
    jvps="linear", formula="rfft {0}", derivatives=["Fᵀ"],
    samples=lambda rng: [Sample((draw(rng, s),), {"n": n[0], "axis": axes[0], "norm": norm})
                         for (s, n, axes), norm in zip(_CASES, [*_OPPOSITE, *_OPPOSITE])],
)  # fmt: skip


def _irfft_rule(g: Any, y: Any, x: Any, n: int, axis: int, norm: Any) -> Any:
    """Every number but the first (and, of an even length, the last) also stands for its conjugate, and counts twice."""
    d = np.conjugate(np.fft.rfft(g, n, axis, _OPPOSITE[norm]))
    twice = np.full(d.shape[axis], 2, g.dtype)
    twice[0] = 1
    twice[(n + 1) // 2 :] = 1
    twice = twice.reshape((-1,) + (1,) * (d.ndim - axis - 1))
    return resized(d * np.asarray(twice, like=raw(d)), {axis: x.shape[axis]})


_irfft = declare(
    "irfft", lambda x, n, axis, norm: np.fft.irfft(x, n, axis, norm), [_irfft_rule], complex=True,
    jvps="linear", formula="irfft {0}", derivatives=["F⁻ᵀ"],
    samples=lambda rng: [Sample((draw(rng, s),), {"n": n, "axis": axis, "norm": norm}) for s, n, axis, norm in [
        ((3,), 4, 0, "backward"), ((3,), 5, 0, "ortho"), ((2,), 1, 0, "forward"), ((3, 2), 6, 0, "backward"),
        ((4,), 3, 0, "backward")]],
)  # fmt: skip


# As NumPy's functions


def _norm(name: str, norm: Any) -> str:
    if norm is not None and norm not in _OPPOSITE:
        raise ValueError(f'{name}: norm={norm!r}; it is "backward", "ortho" or "forward"')
    return norm or "backward"


def _length(name: str, n: Any, default: int, shape: tuple[int, ...]) -> int:
    n = default if n is None else operator.index(n)
    if n < 1:
        raise ValueError(f"{name}(shape {shape}): a transform needs at least one point, not {n}")
    return n


def _several(name: str, x: Any, s: Any, axes: Any) -> tuple[list[int], list[int]]:
    """Lengths and axes of a transform along several of them."""
    if s is not None and axes is not None and len(s) != len(axes):
        raise ValueError(f"{name}(shape {x.shape}): s={s!r} and axes={axes!r} must be equally many")
    if axes is None:
        axes = range(x.ndim) if s is None else range(-len(s), 0)
    along = [checked_axis(name, a, x.shape) for a in axes]
    if not along:
        raise ValueError(f"{name}(shape {x.shape}): needs at least one axis")
    given = [None] * len(along) if s is None else [None if n is None or n == -1 else n for n in s]
    return [_length(name, n, x.shape[a], x.shape) for n, a in zip(given, along)], along


def _transformed(name: str, a: Any, s: Any, axes: Any, norm: Any, inverse: bool) -> Tensor:
    x = as_tensor(a, name)
    options = {"norm": _norm(name, norm)} | ({"inverse": True} if inverse else {})
    n, along = _several(name, x, s, axes)
    if len(set(along)) == len(along):
        return _fft(x, n=tuple(n), axes=tuple(along), **options)
    for length, axis in zip(n[::-1], along[::-1]):  # an axis that is named twice is transformed twice
        x = _fft(x, n=(length,), axes=(axis,), **options)
    return x


@implements(np.fft.fft)
def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The discrete Fourier transform yₖ = Σⱼ aⱼ exp(−2πi jk/n) along an axis, as `numpy.fft.fft`.

    Args:
        a: real or complex numbers.
        n: the number of points; `a` is cut or continued with zeros. By default its length.
        axis: the axis that is transformed.
        norm: "backward" (no factor here, 1/n in the inverse), "ortho" (1/√n in both) or "forward" (1/n here).

    Returns:
        A complex Tensor. The gradient of a real `a` is real.

    Raises:
        ValueError: less than one point, or another `norm`. AxisError: no such axis.

    >>> fft([1.0, 0.0, 0.0, 0.0])
    Tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])
    """
    return _transformed("fft", a, None if n is None else (n,), (axis,), norm, inverse=False)


@implements(np.fft.ifft)
def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`, as `numpy.fft.ifft`."""
    return _transformed("ifft", a, None if n is None else (n,), (axis,), norm, inverse=True)


@implements(np.fft.fftn)
def fftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Tensor:
    """The discrete Fourier transform along several axes (all by default), as `numpy.fft.fftn`; `s` gives the number of
    points along each."""
    return _transformed("fftn", a, s, axes, norm, inverse=False)


@implements(np.fft.ifftn)
def ifftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`, as `numpy.fft.ifftn`."""
    return _transformed("ifftn", a, s, axes, norm, inverse=True)


@implements(np.fft.fft2)
def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`fftn` along two axes, as `numpy.fft.fft2`."""
    return _transformed("fft2", a, s, axes, norm, inverse=False)


@implements(np.fft.ifft2)
def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `fft2`, as `numpy.fft.ifft2`."""
    return _transformed("ifft2", a, s, axes, norm, inverse=True)


def _real_transformed(name: str, a: Any, s: Any, axes: Any, norm: Any) -> Tensor:
    x = as_tensor(a, name)
    if x.dtype.kind == "c":
        raise TypeError(f"{name}(shape {x.shape}): takes real numbers, not {x.dtype}; write fft, or {name} of t.real")
    n, along = _several(name, x, s, axes)
    y = _rfft(x, n=n[-1], axis=along[-1], norm=_norm(name, norm))
    return _transformed(name, y, n[:-1], along[:-1], norm, inverse=False) if along[:-1] else y


def _back_to_real(name: str, a: Any, s: Any, axes: Any, norm: Any) -> Tensor:
    x, norm = as_tensor(a, name), _norm(name, norm)
    n, along = _several(name, x, s, axes)
    last = along[-1]
    if s is None or s[-1] is None or s[-1] == -1:
        n[-1] = _length(name, None, 2 * (x.shape[last] - 1), x.shape)
    if along[:-1]:
        x = _transformed(name, x, n[:-1], along[:-1], norm, inverse=True)
    return _irfft(x, n=n[-1], axis=last, norm=norm)


@implements(np.fft.rfft)
def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The first n // 2 + 1 numbers of the discrete Fourier transform of real numbers (the others are their conjugates),
    as `numpy.fft.rfft`.

    Args:
        a: real numbers.
        n, axis, norm: as for `fft`.

    Returns:
        A complex Tensor; gradients are real.

    Raises:
        TypeError: complex numbers. ValueError, AxisError: as `fft`.

    >>> rfft([1.0, 2.0, 3.0]).shape
    (2,)
    """
    return _real_transformed("rfft", a, None if n is None else (n,), (axis,), norm)


@implements(np.fft.irfft)
def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`, n real numbers (by default an even number, twice the length less one), as
    `numpy.fft.irfft`. The imaginary part of the first number (and, of an even n, of the last) is not read.

    >>> irfft(rfft([1.0, 2.0, 3.0]), 3)
    Tensor([1., 2., 3.])
    """
    return _back_to_real("irfft", a, None if n is None else (n,), (axis,), norm)


@implements(np.fft.rfftn)
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Tensor:
    """`rfft` along the last of several axes and `fft` along the others, as `numpy.fft.rfftn`."""
    return _real_transformed("rfftn", a, s, axes, norm)


@implements(np.fft.irfftn)
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`, as `numpy.fft.irfftn`."""
    return _back_to_real("irfftn", a, s, axes, norm)


@implements(np.fft.rfft2)
def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`rfftn` along two axes, as `numpy.fft.rfft2`."""
    return _real_transformed("rfft2", a, s, axes, norm)


@implements(np.fft.irfft2)
def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `rfft2`, as `numpy.fft.irfft2`."""
    return _back_to_real("irfft2", a, s, axes, norm)


@implements(np.fft.hfft)
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The real transform of a signal whose second half are the conjugates of the first, as `numpy.fft.hfft`."""
    return irfft(conj(a), n, axis, _OPPOSITE[_norm("hfft", norm)])


@implements(np.fft.ihfft)
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`, as `numpy.fft.ihfft`."""
    return conj(rfft(a, n, axis, _OPPOSITE[_norm("ihfft", norm)]))


def _shifted(name: str, x: Any, axes: Any, towards: int) -> Tensor:
    x = as_tensor(x, name)
    given = range(x.ndim) if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    along = tuple(checked_axis(name, a, x.shape) for a in given)
    return roll(x, tuple([towards * (x.shape[a] // 2) for a in along]), along)


@implements(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Tensor:
    """The frequency 0 moved to the middle along some axes (all by default), as `numpy.fft.fftshift`.

    >>> fftshift([0.0, 1.0, 2.0, -2.0, -1.0])
    Tensor([-2., -1.,  0.,  1.,  2.])
    """
    return _shifted("fftshift", x, axes, 1)


@implements(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Tensor:
    """The inverse of `fftshift`, as `numpy.fft.ifftshift`."""
    return _shifted("ifftshift", x, axes, -1)
