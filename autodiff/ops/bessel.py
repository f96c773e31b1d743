"""Bessel functions of real order: by their argument, to any order of derivative. By their own order they have no closed
derivative, and say so.

Order: first and second kind, modified ones, exponentially scaled ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..primitive import Sample, polymorphic
from ..protocols import implements
from .guards import times
from .samples import PAIRS, Samples, draw, unary
from .ufuncs import declare, scipy_ufunc

__all__ = ["i0", "i0e", "i1", "i1e", "iv", "ive", "j0", "j1", "jv", "k0", "k1", "kv", "y0", "y1", "yn", "yv"]

_ORDER = {0: "the order of a Bessel function"}
_FAR = 30.0


def _of_orders(low: float = 0.5, high: float = 4.0) -> Samples:
    return lambda rng: [Sample((np.array([0, 1, 3])[: s[-1] if s else 1].reshape(s[-1:]), draw(rng, t, low, high)))
                        for s, t in PAIRS if s != (0, 3)]  # fmt: skip


def _bessel(name: str, letter: str, before: int, after: int, low: float = 0.5, high: float = 4.0, doc: str = "") -> Any:
    """A function of order and argument with f′ᵥ = (± fᵥ₋₁ ± fᵥ₊₁) / 2."""

    def slope(g: Any, y: Any, v: Any, x: Any) -> Any:
        return times(0.5 * g, before * either(v - 1, x) + after * either(v + 1, x))

    signs = ("−" if before < 0 else ""), ("−" if after < 0 else "+")
    function = declare(
        name, scipy_ufunc(name), [None, slope], fixed=_ORDER, scipy=name, singular=True,
        formula=f"{letter}_{{0}}({{1}})",
        derivatives=["none", f"({signs[0]}{letter}_({{0}} − 1) {signs[1]} {letter}_({{0}} + 1))({{1}}) / 2"],
        samples=_of_orders(low, high), doc=doc,
    )  # fmt: skip
    either = polymorphic(function)
    return function, either


jv, _jv_of = _bessel("jv", "J", 1, -1, -4.0, doc="The Bessel function of the first kind Jᵥ(x).")
yv, _yv_of = _bessel("yv", "Y", 1, -1, doc="The Bessel function of the second kind Yᵥ(x), x > 0.")
yn, _ = _bessel("yn", "Y", 1, -1, doc="The Bessel function of the second kind Yₙ(x) of whole order, x > 0.")
iv, _iv_of = _bessel("iv", "I", 1, 1, -4.0, doc="The modified Bessel function of the first kind Iᵥ(x).")
kv, _kv_of = _bessel("kv", "K", -1, -1, doc="The modified Bessel function of the second kind Kᵥ(x), x > 0.")


def _of_order_0(name: str, letter: str, slope: Any, low: float, sign: str, kind: str) -> Any:
    return declare(
        name, scipy_ufunc(name), [lambda g, y, x: times(g, slope(x))], arity=1, scipy=name, singular=True,
        formula=f"{letter}_0({{0}})", derivatives=[f"{sign}{letter}_1({{0}})"], samples=unary(low, 4.0),
        doc=f"The {kind} of order 0.",
    )  # fmt: skip


def _of_order_1(name: str, letter: str, slope: Any, low: float, signs: str, kind: str) -> Any:
    before, after = signs.split()
    return declare(
        name, scipy_ufunc(name), [lambda g, y, x: times(0.5 * g, slope(x))], arity=1, scipy=name, singular=True,
        formula=f"{letter}_1({{0}})", derivatives=[f"({before}{letter}_0 {after} {letter}_2)({{0}}) / 2"],
        samples=unary(low, 4.0), doc=f"The {kind} of order 1.",
    )  # fmt: skip


_FIRST, _SECOND = "Bessel function of the first kind", "Bessel function of the second kind"
_of: dict[str, Any] = {}  # as rules call them
j1 = _of_order_1("j1", "J", lambda x: _of["j0"](x) - _jv_of(2.0, x), -4.0, "+ −", _FIRST)
j0 = _of_order_0("j0", "J", lambda x: -_of["j1"](x), -4.0, "−", _FIRST)
y1 = _of_order_1("y1", "Y", lambda x: _of["y0"](x) - _yv_of(2.0, x), 0.5, "+ −", _SECOND)
y0 = _of_order_0("y0", "Y", lambda x: -_of["y1"](x), 0.5, "−", _SECOND)
i1 = _of_order_1("i1", "I", lambda x: _of["i0"](x) + _iv_of(2.0, x), -4.0, "+ +", f"modified {_FIRST}")
i0 = _of_order_0("i0", "I", lambda x: _of["i1"](x), -4.0, "", f"modified {_FIRST}")
k1 = _of_order_1("k1", "K", lambda x: -_of["k0"](x) - _kv_of(2.0, x), 0.5, "− −", f"modified {_SECOND}")
k0 = _of_order_0("k0", "K", lambda x: -_of["k1"](x), 0.5, "−", f"modified {_SECOND}")
implements(np.i0)(i0)
_of |= {f.__name__: polymorphic(f) for f in (j0, j1, y0, y1, i0, i1, k0, k1)}


# Exponentially scaled


def _scaled(v: Any, x: Any, order: int = 0) -> Any:
    """The derivative by x of e^(−|x|) Iᵥ(x), of that order.

    Near 0 it is Leibniz' rule, with I⁽ᵏ⁾ᵥ = Σ C(k, j) Iᵥ₋ₖ₊₂ⱼ / 2ᵏ, which cancels where x is large: there Hankel's
    asymptotic series is differentiated term by term. At 0, a kink, the first derivative that jumps is the mean of both
    sides, and further ones are NaN.
    """
    from scipy.special import ive

    kind = np.result_type(x, np.float32) if getattr(x, "dtype", np.dtype(float)).kind == "f" else np.dtype(float)
    v, x = np.broadcast_arrays(np.asarray(v, np.float64), np.asarray(x, np.float64))
    size = np.abs(x)
    whole = v == np.round(v)
    sign = np.where(x < 0, np.where((v + order) % 2, -1.0, 1.0), 1.0)
    near = np.minimum(size, np.maximum(_FAR, v * v))

    def at_order(n: Any) -> Any:
        return ive(np.where(whole, np.abs(n), n), near)

    moved = [
        sum(math.comb(k, j) * at_order(v - k + 2 * j) for j in range(k + 1)) / 2**k for k in range(order + 1)
    ]  # fmt: skip
    even = sum(math.comb(order, k) * moved[k] for k in range(order, -1, -2))
    jumps = [
        sum((math.comb(m, k) * moved[k] for k in range(m - 1, -1, -2)), np.zeros_like(near)) for m in range(order + 1)
    ]
    y = even - jumps[order]
    kink = (size == 0) & whole & np.any([jump != 0 for jump in jumps], axis=0)
    y = np.where(kink, even if order == 1 else np.nan, y)
    far = size > near
    if far.any():
        t = np.where(far, size, near + 1)
        term, series = np.ones_like(t), np.zeros_like(t)
        for k in range(40):
            series += term * math.prod(-0.5 - k - i for i in range(order))
            term = term * -(4 * v * v - (2 * k + 1) ** 2) / (8 * (k + 1) * t)
        y = np.where(far, series * t ** (-0.5 - order) / math.sqrt(2 * math.pi), y)
    return np.where((x < 0) & ~whole, np.nan, sign * y).astype(kind)[()]


_scaled_moved = declare(
    "ive_derivative", _scaled, [None, lambda g, y, v, x, order=1: g * _scaled_of(v, x, order=order + 1)], fixed=_ORDER,
    formula="(e^−|x| I_{0})⁽ⁿ⁾({1})", derivatives=["none", "(e^−|x| I_{0})⁽ⁿ⁺¹⁾({1})"],
    opaque="SciPy, in double precision", stacks="leading",
    samples=lambda rng: [*(Sample(s.inputs, {"order": 1}) for s in _of_orders()(rng)),
                         Sample((np.array(1), draw(rng, (3,), 25.0, 60.0)), {"order": 2})],
)  # fmt: skip
_scaled_of: Any = polymorphic(_scaled_moved)

ive = declare(
    "ive", scipy_ufunc("ive"), [None, lambda g, y, v, x: g * _scaled_of(v, x, order=1)], fixed=_ORDER, scipy="ive",
    formula="e^−|{1}| I_{0}({1})", derivatives=["none", "(e^−|x| I_{0})′({1})"], samples=_of_orders(),
    doc="The modified Bessel function of the first kind Iᵥ(x), times exp(−|x|).",
)  # fmt: skip
i0e = declare(
    "i0e", scipy_ufunc("i0e"), [lambda g, y, x: g * _scaled_of(0.0, x, order=1)], arity=1, scipy="i0e",
    formula="e^−|{0}| I_0({0})", derivatives=["e^−|{0}| I_1({0}) − sign({0}) {y}"], samples=unary(0.5, 4.0),
    doc="I₀(x) exp(−|x|); the derivative at 0, a kink, is 0.",
)  # fmt: skip
i1e = declare(
    "i1e", scipy_ufunc("i1e"), [lambda g, y, x: g * _scaled_of(1.0, x, order=1)], arity=1, scipy="i1e",
    formula="e^−|{0}| I_1({0})", derivatives=["(e^−|x| I_1)′({0})"], samples=unary(0.5, 4.0),
    doc="I₁(x) exp(−|x|).",
)  # fmt: skip
