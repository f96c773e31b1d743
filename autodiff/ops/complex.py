"""Parts of complex numbers: operations that are not holomorphic. (What a cotangent is there says backward.py.)

The derivatives are said as that of a holomorphic function is, the factor d of dL = Re(g d dz), and with the place of g
where there is no such factor.

Order: real and imaginary part, the conjugate, the angle, and size and direction, which stand in for `absolute` and
`sign` of complex numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, as_tensor, declare, internal
from ..protocols import implements
from ..tensor import Tensor
from .guards import common, inverse_or_zero, raw, times
from .samples import draw

__all__ = ["angle", "conj", "conjugate", "imag", "real", "real_if_close"]


def _points(rng: np.random.Generator) -> list[Sample]:
    """Complex numbers in every quadrant, away from 0."""
    return [Sample((draw(rng, s, 0.5, 2.0) * np.exp(1j * draw(rng, s, -3.0, 3.0)),)) for s in ((), (4,), (2, 1), (0,))]


_real = declare(
    "real", lambda x: x.real, [lambda g, y, x: g], complex=True,
    jvps="linear", formula="Re {0}", derivatives=["1"],
    samples=lambda rng: [*_points(rng), Sample((draw(rng, (3,)),))],
)  # fmt: skip

_imag = declare(
    "imag", lambda x: x.imag, [lambda g, y, x: g * -1j if x.dtype.kind == "c" else np.zeros_like(x)], complex=True,
    jvps="linear", formula="Im {0}", derivatives=["−i"],
    samples=lambda rng: [*_points(rng), Sample((draw(rng, (3,)),))],
)  # fmt: skip

_conj = declare(
    "conj", np.conjugate, [lambda g, y, x: np.conjugate(g)], arity=1, complex=True,
    jvps="linear", formula="conj {0}", derivatives=["·*"],
    samples=lambda rng: [*_points(rng), Sample((draw(rng, (3,)),))],
)  # fmt: skip

_angle = declare(
    "angle", np.angle, [lambda g, y, x: g * (-1j * inverse_or_zero(x)) if x.dtype.kind == "c" else np.zeros_like(x)],
    complex=True, jvps="elementwise", formula="angle {0}", derivatives=["−i / {0}"],
    samples=lambda rng: [*_points(rng), Sample((draw(rng, (3,)),))],
)  # fmt: skip

# y = z/|z| moves by dy = i y Im(y* dz)/|z|. Size and slope are apart, for at 0 they have no product.

direction = internal(declare(
    "direction", np.sign, [lambda g, y, x: (times(g, 1 / np.absolute(x)) * y).imag * 1j * np.conjugate(y)], arity=1,
    jvps=[lambda t, y, x: (times(t, 1 / np.absolute(x)) * np.conjugate(y)).imag * 1j * y], complex=True, singular=True,
    formula="{0} / |{0}|", derivatives=["i {y}* Im({y} ·) / |{0}|"], samples=_points,
    doc="z/|z| of complex numbers, 0 at 0, where its derivative is NaN.",
))  # fmt: skip

size = internal(declare(
    "modulus", np.absolute, [lambda g, y, x: g * np.conjugate(np.sign(x))], arity=1, jvps="elementwise", complex=True,
    formula="|{0}|", derivatives=["({0} / |{0}|)*"], samples=_points,
    doc="|z| of complex numbers; the derivative at 0 is 0, the second NaN.",
))  # fmt: skip


@implements(np.real)
def real(val: Any) -> Tensor:
    """The real part, as `numpy.real`: a real tensor itself.

    >>> real(Tensor([1 + 2j, 3.0]))
    Tensor([1., 3.])
    """
    x = as_tensor(val, "real")
    return _real(x) if x.dtype.kind == "c" else x


@implements(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Tensor:
    """The real part, if no imaginary one is larger than `tol` times the resolution of the dtype (or than `tol` itself,
    unless it is greater than 1), else `a` itself, as `numpy.real_if_close`.

    >>> real_if_close(Tensor([1 + 1e-15j, 2.0]))
    Tensor([1., 2.])
    """
    x = as_tensor(a, "real_if_close")
    if x.dtype.kind != "c":
        return x
    limit = tol * np.finfo(x.dtype).eps if tol > 1 else tol
    return real(x) if common((np.abs(raw(x).imag) < limit).all()) else x


@implements(np.imag)
def imag(val: Any) -> Tensor:
    """The imaginary part, as `numpy.imag`: zeros of a real tensor.

    >>> imag(Tensor([1 + 2j, 3.0]))
    Tensor([2., 0.])
    """
    return _imag(as_tensor(val, "imag"))


@implements(np.conjugate)
def conj(x: Any, /) -> Tensor:
    """The complex conjugate, as `numpy.conj`: a real tensor itself.

    >>> conj(Tensor([1 + 2j, 3.0]))
    Tensor([1.-2.j, 3.-0.j])
    """
    x = as_tensor(x, "conj")
    return _conj(x) if x.dtype.kind == "c" else x


conjugate = conj


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Tensor:
    """The angle of complex numbers in radians (or degrees), as `numpy.angle`; at 0 the derivative is 0.

    >>> angle(Tensor([1j, -1.0]), deg=True)
    Tensor([ 90., 180.])
    """
    y: Any = _angle(as_tensor(z, "angle"))
    return y * (180 / np.pi) if deg else y
