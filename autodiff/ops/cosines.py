"""Discrete cosine transforms, as `scipy.fft`: half of the Fourier transform of a signal and its mirror image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..primitive import as_tensor
from ..protocols import optioned
from ..tensor import Tensor
from .elementwise import astype
from .fourier import fft, resized
from .guards import checked_axes, raw
from .shape import moveaxis

__all__ = ["dct", "dctn", "idct", "idctn"]

_NORMS = ("backward", "ortho", "forward")


def _turn(n: int, like: Any) -> Any:
    """exp(−iπk/2n) for k = 0 … n − 1."""
    kind = np.result_type(raw(like).dtype, np.complex64)
    return np.exp(-0.5j * math.pi / n * np.arange(n)).astype(kind)


def _second(x: Any) -> Any:
    """2 Σⱼ xⱼ cos(πk(2j + 1)/2n) along the last axis, type II."""
    n = x.shape[-1]
    y: Any = fft(np.concatenate([x, x[..., ::-1]], axis=-1))
    return (y[..., :n] * _turn(n, x)).real


def _third(x: Any) -> Any:
    """x₀ + 2 Σⱼ xⱼ cos(πj(2k + 1)/2n) along the last axis, type III: 2n times the inverse of type II."""
    n = x.shape[-1]
    y: Any = fft(x * (_turn(n, x) * np.where(np.arange(n) == 0, 1, 2).astype(raw(x).dtype)), 2 * n)
    return y[..., :n].real


def _transformed(
    name: str, x: Any, types: tuple[int, int], lengths: Any, axes: Any, norm: Any, orthogonalize: Any, back: bool
) -> Tensor:
    """`types` are the one that is asked for and the one that does it."""
    norm = "backward" if norm is None else norm
    if types[0] not in (2, 3) or norm not in _NORMS:
        raise ValueError(f"{name}: type={types[0]!r}, norm={norm!r}; the type is 2 or 3, the norm one of {_NORMS}")
    t = as_tensor(x, name)
    if t.dtype.kind == "c":
        raise TypeError(f"{name}: is for real numbers; transform t.real and t.imag")
    t = t if t.dtype.kind == "f" else astype(t, np.float64)
    if axes is None:
        axes = tuple(range(t.ndim)) if lengths is None else tuple(range(-len(lengths), 0))
    axes = checked_axes(name, axes, t.shape)
    lengths = [-1] * len(axes) if lengths is None else list(lengths)
    if len(lengths) != len(axes):
        raise ValueError(f"{name}: {len(lengths)} lengths for {len(axes)} axes")
    lengths = [t.shape[a] if n in (None, -1) else n for a, n in zip(axes, lengths)]
    if any(n < 1 for n in lengths):
        raise ValueError(f"{name}: a length of {min(lengths)}; it is at least 1")
    even = norm == "ortho" if orthogonalize is None else bool(orthogonalize)
    for axis, n in zip(axes, lengths):
        y = moveaxis(resized(t, {axis: n}), axis, -1)
        first = np.ones(n, y.dtype)
        first[0] = math.sqrt(2)
        scale = {"backward": 1.0, "ortho": 1 / math.sqrt(2 * n), "forward": 1 / (2 * n)}[norm]
        if back:
            scale = 1 / (2 * n * scale)
        if types[1] == 2:
            y = _second(y) * scale / (first if even else 1)
        else:
            y = _third(y * first if even else y) * scale
        t = moveaxis(y, -1, axis)
    return t


@optioned
def dct(
    x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, *, orthogonalize: Any = None
) -> Tensor:
    """The discrete cosine transform along an axis, as `scipy.fft.dct`: of type 2, yₖ = 2 Σⱼ xⱼ cos(πk(2j + 1)/2n).

    Args:
        x: a real Tensor or array.
        type: 2, or 3, its inverse up to 2n.
        n: the length to which x is cut or continued with zeros.
        axis: the axis along which.
        norm: "backward" (no scale), "forward" (1/2n), or "ortho", with which the matrix is orthogonal.
        orthogonalize: take the first coefficient by √2 less (of type 3, more); as `norm` "ortho" does.

    Raises:
        ValueError: another type or norm, or no length. TypeError: complex numbers. AxisError: no such axis.

    Source: Ahmed, Natarajan and Rao, "Discrete cosine transform", IEEE Transactions on Computers 23, 1974.

    >>> dct([1.0, 2.0, 3.0]).numpy().round(6)
    array([12.      , -3.464102,  0.      ])
    """
    return _transformed("dct", x, (type, type), None if n is None else (n,), axis, norm, orthogonalize, False)


@optioned
def idct(
    x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, *, orthogonalize: Any = None
) -> Tensor:
    """The inverse of `dct` with the same arguments, as `scipy.fft.idct`."""
    return _transformed("idct", x, (type, 5 - type), None if n is None else (n,), axis, norm, orthogonalize, True)


@optioned
def dctn(
    x: Any, type: int = 2, s: Any = None, axes: Any = None, norm: str | None = None, *, orthogonalize: Any = None
) -> Tensor:
    """`dct` along several axes (all by default), with lengths `s`, as `scipy.fft.dctn`."""
    return _transformed("dctn", x, (type, type), s, axes, norm, orthogonalize, False)


@optioned
def idctn(
    x: Any, type: int = 2, s: Any = None, axes: Any = None, norm: str | None = None, *, orthogonalize: Any = None
) -> Tensor:
    """The inverse of `dctn` with the same arguments, as `scipy.fft.idctn`."""
    return _transformed("idctn", x, (type, 5 - type), s, axes, norm, orthogonalize, True)
