"""Convolutions and recursive filters of signals: SciPy computes, the derivatives are convolutions and filters again.

Order: convolution, with a boundary, recursive filters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, declare, polymorphic
from ..protocols import optioned
from ..tensor import Tensor
from .guards import checked_axis, common, raw
from .linalg import as_real
from .samples import draw
from .shape import moveaxis, pad

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "fftconvolve", "lfilter"]


# Convolution


def _flipped(x: Any) -> Any:
    return x[(slice(None, None, -1),) * x.ndim]


def _full(a: Any, b: Any, method: str) -> Any:
    from scipy.signal import convolve

    return convolve(a, b, "full", method)


def _correlated(g: Any, a: Any, b: Any, method: str) -> Any:
    """Σⱼ g[i + j] b[j] for the places i of a."""
    y = _full_of(g, _flipped(b), method=method)
    return y[tuple([slice(n - 1, n - 1 + m) for m, n in zip(a.shape, b.shape)])]


_convolve = declare(
    "convolve_full", _full,
    [lambda g, y, a, b, method: _correlated(g, a, b, method), lambda g, y, a, b, method: _correlated(g, b, a, method)],
    jvps="multilinear", formula="{0} ∗ {1}", derivatives=["Σⱼ ·[i + j] {1}[j]", "Σⱼ ·[i + j] {0}[j]"],
    opaque="SciPy, by FFT or direct",
    samples=lambda rng: [Sample((draw(rng, s), draw(rng, t)), {"method": m}) for s, t, m in [
        ((4,), (2,), "direct"), ((2,), (3,), "fft"), ((3, 2), (2, 2), "direct"), ((1,), (1,), "direct")]],
)  # fmt: skip
_full_of: Any = polymorphic(_convolve)


def _convolved(name: str, a: Any, b: Any, mode: str, method: str) -> Tensor:
    a, b = as_real(a, name), as_real(b, name)
    if mode not in ("full", "valid", "same"):
        raise ValueError(f'{name}: mode={mode!r}; it is "full", "valid" or "same"')
    if a.ndim != b.ndim or a.ndim == 0 or 0 in (*a.shape, *b.shape):
        raise ValueError(
            f"{name}: shapes {a.shape} and {b.shape} do not fit; they have the same number of axes, at least one, and "
            f"elements"
        )
    y = _convolve(a, b, method=method)
    if mode == "full":
        return y
    if mode == "same":
        return y[tuple([slice((n - 1) // 2, (n - 1) // 2 + m) for m, n in zip(a.shape, b.shape)])]
    if not (all(m >= n for m, n in zip(a.shape, b.shape)) or all(m <= n for m, n in zip(a.shape, b.shape))):
        raise ValueError(f'{name}: mode="valid" for shapes {a.shape} and {b.shape}, of which neither holds the other')
    return y[tuple([slice(min(m, n) - 1, max(m, n)) for m, n in zip(a.shape, b.shape)])]


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Tensor:
    """The convolution of two arrays of any number of axes, as `scipy.signal.convolve`: y[k] = Σⱼ in1[k − j] in2[j].

    Args:
        in1, in2: shapes with the same number of axes.
        mode: "full", "same" (the middle, of the shape of in1) or "valid" (where nothing is padded).
        method: "direct", "fft", or "auto" for the one that SciPy expects to be faster.

    Raises:
        ValueError: shapes that do not fit, another mode or method.

    >>> convolve([1.0, 2.0, 3.0], [1.0, 1.0], "valid")
    Tensor([3., 5.])
    """
    if method not in ("auto", "direct", "fft"):
        raise ValueError(f'convolve: method={method!r}; it is "auto", "direct" or "fft"')
    return _convolved("convolve", in1, in2, mode, method)


def fftconvolve(in1: Any, in2: Any, mode: str = "full") -> Tensor:
    """The convolution over all axes by Fourier transforms, as `scipy.signal.fftconvolve`. Arguments and errors as
    `convolve`.

    >>> fftconvolve([1.0, 2.0], [1.0, 1.0]).numpy().round(12)
    array([1., 3., 2.])
    """
    return _convolved("fftconvolve", in1, in2, mode, "fft")


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Tensor:
    """The correlation of two arrays, as `scipy.signal.correlate`: the convolution of in1 with in2 turned around.
    Arguments and errors as `convolve`.

    >>> correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    Tensor([0.5, 2. , 3.5, 3. , 0. ])
    """
    return convolve(in1, _flipped(as_real(in2, "correlate")), mode, method)


# With a boundary

_BOUNDARIES = {"fill": "constant", "wrap": "wrap", "symm": "symmetric"}
"""By SciPy's name, the mode of `numpy.pad`."""


def _bounded(name: str, a: Any, b: Any, mode: str, boundary: str, fillvalue: Any, late: int = 0) -> Tensor:
    """`late` is 1 where the middle of an even length lies behind it."""
    a, b = as_real(a, name), as_real(b, name)
    if boundary not in _BOUNDARIES:
        raise ValueError(f'{name}: boundary={boundary!r}; it is "fill", "wrap" or "symm"')
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"{name}: shapes {a.shape} and {b.shape}; both have two axes")
    if mode not in ("full", "same") or 0 in (*a.shape, *b.shape):
        return _convolved(name, a, b, mode, "auto")
    options = {"constant_values": fillvalue} if boundary == "fill" else {}
    wide = pad(a, [(n - 1, n - 1) for n in b.shape], _BOUNDARIES[boundary], **options)
    y = _convolved(name, wide, b, "valid", "auto")
    starts = [(n - 1 + late) // 2 for n in b.shape]
    return y if mode == "full" else y[tuple([slice(i, i + m) for i, m in zip(starts, a.shape)])]


def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Tensor:
    """The convolution of two images, as `scipy.signal.convolve2d`.

    Args:
        in1, in2: matrices; in1 is the one that is continued.
        mode: "full", "same" or "valid", as of `convolve`.
        boundary: how in1 goes on outside: "fill" (`fillvalue` everywhere), "wrap" (from the other side) or "symm" (as
            in a mirror).
        fillvalue: a number.

    Raises:
        ValueError: shapes that do not fit, another mode or boundary.

    >>> convolve2d([[1.0, 2.0]], [[1.0, 1.0]], "same", "wrap")
    Tensor([[3., 3.]])
    """
    return _bounded("convolve2d", in1, in2, mode, boundary, fillvalue)


def correlate2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Tensor:
    """The correlation of two images, as `scipy.signal.correlate2d`: the convolution of in1 with in2 turned around.
    Arguments and errors as `convolve2d`."""
    a, b = as_real(in1, "correlate2d"), as_real(in2, "correlate2d")
    return _bounded("correlate2d", a, _flipped(b), mode, boundary, fillvalue, late=1)


# Recursive filters


def _filtered(b: Any, a: Any, x: Any) -> Any:
    from scipy.signal import lfilter

    return lfilter(b, a, x)


def _back(x: Any) -> Any:
    return x[..., ::-1]


def _of_coefficients(g: Any, x: Any, a: Any, n: int) -> Any:
    """Σ g[t] w[t − k] over all times, for k = 0 … n − 1, where w is x filtered by 1/a."""
    w = _filter_of(np.ones_like(a[:1]), a, x)
    times = x.shape[-1]
    parts = [(g[..., k:] * w[..., : times - k]).sum() for k in range(min(n, times))]
    return np.stack(parts + [parts[0] * 0] * (n - len(parts)))


def _filter_samples(rng: np.random.Generator) -> list[Sample]:
    sizes: list[tuple[int, int, tuple[int, ...]]] = [(2, 2, (4,)), (1, 3, (2, 3)), (3, 1, (2,))]
    return [
        Sample((draw(rng, (p,)), np.array([2.0, *draw(rng, (q - 1,), -0.6, 0.6)]), draw(rng, s)), smooth=2)
        for p, q, s in sizes
    ]


_filter = declare(
    "lfilter", _filtered,
    [lambda g, y, b, a, x: _of_coefficients(g, x, a, b.shape[0]),
     lambda g, y, b, a, x: -_of_coefficients(g, y, a, a.shape[0]),
     lambda g, y, b, a, x: _back(_filter_of(b, a, _back(g)))],
    formula="{2} filtered by {0} / {1}",
    derivatives=["Σₜ ·[t] w[t − k], w = {2} filtered by 1 / {1}", "−Σₜ ·[t] v[t − k], v = {y} filtered by 1 / {1}",
                 "· filtered backwards by {0} / {1}"],
    opaque="SciPy, step by step",
    samples=_filter_samples,
)  # fmt: skip
_filter_of: Any = polymorphic(_filter)


@optioned
def lfilter(b: Any, a: Any, x: Any, axis: int = -1) -> Tensor:
    """A signal through a recursive (IIR) or a finite (FIR) filter, as `scipy.signal.lfilter`, from rest:
    a[0] y[t] = Σ b[k] x[t − k] − Σ a[k] y[t − k], the last over k ≥ 1.

    Args:
        b, a: the coefficients of the numerator (p,) and the denominator (q,), a[0] not 0.
        x: signals of any shape.
        axis: the axis of time.

    Raises:
        ValueError: coefficients that are no vectors, or an a[0] of 0. AxisError: an axis that does not exist.

    >>> lfilter([1.0], [1.0, -0.5], [1.0, 0.0, 0.0])
    Tensor([1.  , 0.5 , 0.25])
    """
    b, a, x = as_real(b, "lfilter"), as_real(a, "lfilter"), as_real(x, "lfilter")
    if a.ndim != 1 or b.ndim != 1 or 0 in (*a.shape, *b.shape) or not common(raw(a)[0] != 0):
        raise ValueError(
            f"lfilter: b of shape {b.shape} and a of shape {a.shape}; they are vectors of coefficients, a[0] not 0"
        )
    axis = checked_axis("lfilter", axis, x.shape)
    y = _filter(b, a, moveaxis(x, axis, -1))
    return moveaxis(y, -1, axis)
