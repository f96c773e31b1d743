"""Integrals of one variable, whose derivatives by the parameters are integrals again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..mode import no_grad
from ..ops.guards import raw
from ..ops.linalg import as_real
from ..primitive import primitive
from ..tensor import Tensor
from ..transforms.functional import vjp
from .parameters import Function, Parameters


def _integral(h: Function, tolerances: Any, a: Any, b: Any, values: Any) -> tuple[Any, float]:
    """∫ₐᵇ h(x, values) dx of a vector, as an operation on a, b and the values, and the error that SciPy estimates.

    Its pullback integrates the pullback of h, with the cotangent among the values: the same operation again.
    """
    from scipy.integrate import quad_vec

    error = 0.0

    def forward(a: Any, b: Any, *values: Any) -> Any:
        nonlocal error

        def of_number(x: float) -> Any:
            with no_grad():
                return np.asarray(h(Tensor(float(x)), values)._ndarray, np.float64)

        y, estimate = quad_vec(of_number, float(a), float(b), **tolerances)[:2]
        error = max(error, estimate)
        return y

    def pulled(g: Any, y: Any, a: Any, b: Any, *values: Any) -> Any:
        def slopes(x: Any, values: Any) -> Any:
            g, *others = values
            found = vjp(lambda *v: h(x, v), *others)[1](g)
            return np.concatenate([d.reshape(-1) if isinstance(d, Tensor) else Tensor(d).reshape(-1) for d in found])

        ends = [
            None
            if not np.isfinite(raw(end))
            else (sign * g * h(end if isinstance(end, Tensor) else Tensor(end), values)).sum()
            for end, sign in ((a, -1.0), (b, 1.0))
        ]
        found: list[Any] = []
        if values:
            flat, _ = _integral(slopes, tolerances, a, b, (g, *values))
            start = 0
            for v in values:
                size = math.prod(v.shape)
                found.append(flat[start : start + size].reshape(v.shape))
                start += size
        results = [*ends, *found]
        return results if isinstance(g, Tensor) else [d._ndarray if isinstance(d, Tensor) else d for d in results]

    operation = primitive(
        forward, name="quad", vjp=pulled, opaque="a quadrature", formula="∫ f(x, …) dx from {0} to {1}",
        derivatives=["−f({0})", "f({1})", "∫ ∂f/∂p dx"],
    )  # fmt: skip
    return operation(a, b, *values), error


def quad(
    f: Function, a: Any, b: Any, args: Any = (), epsabs: float = 1.49e-8, epsrel: float = 1.49e-8, limit: int = 10000
) -> tuple[Tensor, float]:
    """∫ₐᵇ f(x, *args) dx, as `scipy.integrate.quad`, differentiable by the bounds and by args to any order.

    Args:
        f: of a number x; it gives one number, written with operators and NumPy functions.
        a, b: the bounds, which may be infinite, and then have no derivative.
        args: further arguments, nested lists, tuples and dicts of Tensors, arrays and numbers.
        epsabs, epsrel: the error that is allowed, in every derivative too.
        limit: the largest number of intervals.

    Returns:
        The integral, in double precision, and an estimate of its error; inside `ad.vmap` the largest of the examples'.

    Raises:
        ValueError: f gives more than one number.
        TypeError: f gives no Tensor, or reads a Tensor that requires a gradient beside its arguments.

    >>> p = Tensor(2.0, requires_grad=True)
    >>> y, error = quad(lambda x, p: np.exp(-p * x), 0.0, np.inf, (p,))
    >>> y.backward(); p.grad  # −1/p²
    Tensor(-0.25)
    """
    parameters = Parameters("quad", args)
    low, high = as_real(a, "quad"), as_real(b, "quad")
    for name, end in (("a", low), ("b", high)):
        if end.requires_grad and not np.isfinite(end._ndarray):
            raise ValueError(
                f"quad: the bound {name} is {end._ndarray}, by which there is no derivative; pass a number"
            )
    finite = [float(e._ndarray) for e in (low, high) if np.isfinite(e._ndarray)]
    sample = parameters.called(f, sum(finite) / len(finite) + 0.5 * (len(finite) == 1) if finite else 0.0)
    if sample.size != 1:
        raise ValueError(f"quad: the function gives shape {sample.shape}, not one number")

    def h(x: Any, values: Any) -> Any:
        return f(x, *parameters.args(values)).reshape(1)

    tolerances = {"epsabs": epsabs, "epsrel": epsrel, "limit": limit}
    y, error = _integral(h, tolerances, low, high, parameters.values)
    return y.reshape(()), float(error)
