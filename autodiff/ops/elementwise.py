"""Elementwise operations: a table of derivatives. In rules, g is the cotangent of the output y; then come the inputs.

Order: arithmetic, powers and roots, exponentials and logarithms, trigonometric, hyperbolic, piecewise (choices,
steps), activations, and last what has no derivative (comparisons, logic).
"""

from __future__ import annotations

import math
import operator
from functools import partial
from string import ascii_letters
from typing import Any

import numpy as np

from ..backward import of_dtype
from ..primitive import Multiplication, Operation, Sample, internal, polymorphic, without_gradient
from ..primitive import declare as _declare
from ..protocols import implements
from ..tensor import Tensor, is_foreign, plain, values_of
from .complex import direction, imag, real, size
from .guards import common, defined, gated, inverse_or_zero, nonnegative, raw, times, widened
from .precision import in_single
from .samples import binary, draw, unary, with_params

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "allclose",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "around",
    "array_equal",
    "array_equiv",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "cbrt",
    "ceil",
    "clip",
    "copy",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "degrees",
    "divide",
    "divmod",
    "equal",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "fix",
    "float_power", "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "greater",
    "greater_equal",
    "heaviside",
    "hypot",
    "invert",
    "isclose",
    "iscomplex",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "ldexp",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "mod",
    "modf",
    "multiply",
    "nan_to_num",
    "negative",
    "nonzero",
    "not_equal",
    "positive",
    "pow",
    "power",
    "rad2deg",
    "radians",
    "reciprocal",
    "relu",
    "remainder",
    "right_shift",
    "rint",
    "round",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sinh",
    "softplus",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
    "where",
]  # fmt: skip

declare = partial(_declare, jvps="elementwise")

# Arithmetic


def _additions(a: Any, b: Any) -> list[Multiplication]:
    """Either as a weight that is added; axes of length 1 that are broadcast are none of the weight's."""
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    found = []
    for x in (b, a):
        own = np.shape(x)
        axes = [i for i in range(-len(own), 0) if own[i] == shape[i]]
        letters, kept = ascii_letters[: len(shape)], tuple([own[i] for i in axes])
        found.append(Multiplication(x, None, f"{''.join([letters[i] for i in axes])}->{letters}", weight_shape=kept))
    return found


add = declare(
    "add", operator.add, [lambda g, y, a, b: g, lambda g, y, a, b: g], arity=2, numpy=np.add, multiplies=_additions,
    jvps="piecewise", complex=True, formula="{0} + {1}", derivatives=["1", "1"], samples=binary(),
)  # fmt: skip

subtract = declare(
    "subtract", operator.sub, [lambda g, y, a, b: g, lambda g, y, a, b: -g], arity=2, numpy=np.subtract,
    jvps="piecewise", complex=True, formula="{0} − {1}", derivatives=["1", "−1"], samples=binary(),
)  # fmt: skip

multiply = declare(
    "multiply", operator.mul, [lambda g, y, a, b: g * b, lambda g, y, a, b: g * a], arity=2, numpy=np.multiply,
    jvps="multilinear", complex=True, formula="{0} · {1}", derivatives=["{1}", "{0}"], samples=binary(),
)  # fmt: skip

divide = declare(
    "divide", np.divide,
    [lambda g, y, a, b: g / b if type(b) in (float, int) else times(g, 1 / widened(b, y)),
     lambda g, y, a, b: times(g, -y / b)],
    arity=2, numpy=np.divide, singular=lambda a, b: type(b) not in (float, int),
    complex=True, formula="{0} / {1}", derivatives=["1 / {1}", "−{y} / {1}"],
    samples=binary(b=(0.5, 2.0)),
)  # fmt: skip

negative = declare(
    "negative", operator.neg, [lambda g, y, x: -g], arity=1, numpy=np.negative,
    jvps="piecewise", complex=True, formula="−{0}", derivatives=["−1"], samples=unary(),
)  # fmt: skip

positive = declare(
    "positive", np.positive, [lambda g, y, x: g], arity=1, numpy=np.positive,
    jvps="piecewise", complex=True, formula="+{0}", derivatives=["1"], samples=unary(),
)  # fmt: skip

reciprocal = declare(
    "reciprocal", np.reciprocal, [lambda g, y, x: times(g, -(y * y))], arity=1, numpy=np.reciprocal,
    singular=True, complex=True, formula="1 / {0}", derivatives=["−{y}²"], samples=unary(0.5, 2.0),
)  # fmt: skip


def _remainder(g: Any, y: Any) -> Any:
    a = raw(y)
    return g if common(np.vdot(a, a) < math.inf) else g * np.where(np.isnan(a), np.nan, 1).astype(a.dtype)


def _wraps(y: Any, a: Any, b: Any) -> Any:
    """How often b was taken from a to leave y: that, and not ⌊a/b⌋, which rounding moves (1 mod 0.1 is 1 − 9 · 0.1)."""
    return np.rint((a - y) / b)


mod = declare(
    "mod", np.mod, [lambda g, y, a, b: _remainder(g, y), lambda g, y, a, b: -g * _wraps(y, a, b)], arity=2,
    numpy=np.mod, jvps="piecewise", formula="{0} mod {1}", derivatives=["1", "−({0} − {y}) / {1}"],
    samples=lambda rng: [Sample((np.array([5.3, -4.1, 2.7]), np.array([2.0, 1.5, -1.3]))),
                         Sample((np.array([[5.3], [-4.1]]), np.array([2.0, 1.7]))), Sample((np.array(3.3), 2.0))],
)  # fmt: skip

fmod = declare(
    "fmod", np.fmod, [lambda g, y, a, b: _remainder(g, y), lambda g, y, a, b: -g * _wraps(y, a, b)], arity=2,
    numpy=np.fmod, jvps="piecewise", formula="fmod({0}, {1})", derivatives=["1", "−({0} − {y}) / {1}"],
    samples=lambda rng: [Sample((np.array([5.3, -4.1, 2.7]), np.array([2.0, 1.5, -1.3])))],
)  # fmt: skip

absolute = declare(
    "absolute", np.absolute, [lambda g, y, x: g * np.sign(x)], arity=1, numpy=np.absolute, complex=size,
    jvps="piecewise", kinks=lambda x: x == 0, formula="|{0}|", derivatives=["sign({0})"], samples=unary(),
    doc="|x|; the derivative at 0 is 0.",
)  # fmt: skip
implements(np.fabs)(absolute)

copysign = declare(
    "copysign", np.copysign,
    [lambda g, y, a, b: g * (np.sign(a) * np.copysign(1.0, raw(b))), lambda g, y, a, b: np.zeros_like(b)],
    arity=2, numpy=np.copysign, jvps="piecewise", kinks=lambda a, b: (a == 0) | (b == 0),
    formula="|{0}| · sign {1}", derivatives=["sign {0} · sign {1}", "0"], samples=binary(),
    doc="|a| with the sign of b, that of a zero too; by a the derivative at 0 is 0, as that of |a|.",
)  # fmt: skip

deg2rad = declare(
    "deg2rad", np.deg2rad, [lambda g, y, x: g * (math.pi / 180)], arity=1, numpy=np.deg2rad,
    jvps="piecewise", formula="{0} · π/180", derivatives=["π/180"], samples=unary(-180, 180),
)  # fmt: skip
implements(np.radians)(deg2rad)

rad2deg = declare(
    "rad2deg", np.rad2deg, [lambda g, y, x: g * (180 / math.pi)], arity=1, numpy=np.rad2deg,
    jvps="piecewise", formula="{0} · 180/π", derivatives=["180/π"], samples=unary(),
)  # fmt: skip
implements(np.degrees)(rad2deg)


# Powers and roots


def _power_base(g: Any, y: Any, x: Any, p: Any) -> Any:
    """g · p · x^(p−1). A vanishing p ends the chain (x² has third derivative 0 at 0, not 0 · ∞)."""
    if type(p) in (int, float):
        if p == 0:
            return np.zeros_like(x)
        if p == 2 and not isinstance(g, Tensor):
            return g * (2 * x)
        return times(g * p, (x if p % 1 == 0 else nonnegative(x)) ** (p - 1))
    x, p = widened(x, y), widened(p, y)
    if not common((raw(x) >= 0).all()) and y.dtype.kind != "c":
        x = defined(x, (raw(x) >= 0) | (raw(p) % 1 == 0))
    vanishing = (raw(p) == 0) & (raw(x) == 0)  # 0 · 0⁻¹
    return times(g * p, x ** (p - 1 if common(~vanishing.any()) else np.where(vanishing, 1, p - 1)))


def _power_exponent(g: Any, y: Any, x: Any, p: Any) -> Any:
    """g · y · log x; at x = 0 the limit: −∞ (NaN of complex numbers) where p is not positive, else 0 (to p = 1 with no
    further derivative)."""
    x, p = widened(x, y), widened(p, y)
    if y.dtype.kind == "c":
        x = complex(x) if type(x) in (int, float) else x
        zero = raw(x) == 0
        ends = np.where(zero & (raw(p).real <= 0), np.nan, 1)
        return times(g, y * (np.log(np.where(zero, 1, x)) * ends.astype(y.real.dtype)))
    if type(x) in (int, float):
        if x == 0:
            return times(g, y * np.where(p <= 0, -np.inf, 0))
        return g * y * (math.log(x) if x > 0 else math.nan)
    ends = (raw(x) == 0) & (raw(p) > 0)
    if common(~ends.any()):
        return times(g, y * np.log(x))
    local = y * np.log(np.where(ends, 1, x))
    return times(g, np.where(ends & (raw(p) <= 1), inverse_or_zero(np.where(ends, x, 1)), local))


power: Operation = declare(
    "power", operator.pow, [_power_base, _power_exponent], arity=2, numpy=np.power,
    singular=lambda a, b: type(b) not in (float, int) or b < 1,
    complex=True, formula="{0} ^ {1}", derivatives=["{1} · {0} ^ ({1} − 1)", "{y} · log {0}"],
    samples=lambda rng: [*binary(a=(0.5, 2.0))(rng), Sample((draw(rng, (3,)), 3)), Sample((draw(rng, (2, 2)), 2.0)),
                         Sample((np.array([0.0, 1.5]), 2)), Sample((2.0, draw(rng, (3,)))),
                         Sample((np.array(-1.5), -2.0)),
                         Sample((draw(rng, (3,)), np.array([0.0, 1.0, 2.0])), smooth=1,
                                function=lambda x, p: power(x, p.detach()))],
    doc="a ^ b. By a, where b is 0 the derivative is 0; by b, where a is 0 it is 0 (−∞ where b is not positive), "
        "and NaN where a is negative.",
)  # fmt: skip


@implements(np.float_power)
def float_power(a: Any, b: Any) -> Tensor:
    """a ^ b in double precision at least, whatever the inputs are, as `numpy.float_power`."""
    return power(_double(a), _double(b))


def _double(x: Any) -> Any:
    if type(x) in (int, float, bool):
        return float(x)
    x = x if hasattr(x, "dtype") else np.asarray(x)
    wide = np.result_type(x.dtype, np.float64)
    return x if x.dtype == wide else astype(x, wide)


square = declare(
    "square", np.square, [lambda g, y, x: g * (2 * x)], arity=1, numpy=np.square,
    complex=True, formula="{0}²", derivatives=["2 · {0}"], samples=unary(),
)  # fmt: skip

sqrt = declare(
    "sqrt", np.sqrt, [lambda g, y, x: times(g, 0.5 / nonnegative(y))], arity=1, numpy=np.sqrt,
    singular=True, complex=True, formula="√{0}", derivatives=["1 / (2 · {y})"], samples=unary(0.3, 3.0),
    doc="√x; the derivative at 0 is ∞.",
)  # fmt: skip

cbrt = declare(
    "cbrt", np.cbrt, [lambda g, y, x: times(g, (1 / 3) / y / y)], arity=1, numpy=np.cbrt,
    singular=True, formula="∛{0}", derivatives=["1 / (3 · {y}²)"],
    samples=lambda rng: [*unary(0.3, 3.0)(rng), Sample((np.array([-0.5, -2.0]),))],
)  # fmt: skip


@internal
def quotient_or_zero(a: Any, y: Any) -> Any:
    """a/y, and 0 where y is 0, where the derivative by y is NaN. (In a · 1/y the derivative of 1/y over- and underflows
    where that of the quotient does not.)"""
    zero = raw(y) == 0
    if common(~zero.any()):
        return a / y
    return np.where(zero, a * inverse_or_zero(y), a / np.where(zero, 1, y))


def _quotient_or_nan(a: Any, y: Any) -> Any:
    return quotient_or_zero(a, y) + np.where(raw(y) == 0, np.nan, 0).astype(a.dtype)


def _cosine_forward(a: Any, b: Any) -> Any:
    y, r = quotient_or_zero(a, np.hypot(a, b)), np.isinf(a)
    return y if common(~r.any()) else np.where(r & np.isfinite(b), np.sign(a), y)


cosine_of_angle: Any = polymorphic(declare(
    "cosine_of_angle", _cosine_forward,
    [lambda g, y, a, b: times(g, _quotient_or_nan(cosine_of_angle(b, a) * cosine_of_angle(b, a), np.hypot(a, b))),
     lambda g, y, a, b: times(-g, _quotient_or_nan(y * cosine_of_angle(b, a), np.hypot(a, b)))], singular=True,
    arity=2, formula="{0} / √({0}² + {1}²)", derivatives=["{1}² / √({0}² + {1}²)³", "−{0} {1} / √({0}² + {1}²)³"],
    samples=binary(a=(0.5, 2.0)),
))  # fmt: skip
"""a/√(a² + b²), in whose derivatives nothing cancels, over- or underflows."""

hypot = declare(
    "hypot", np.hypot, [lambda g, y, a, b: g * cosine_of_angle(a, b), lambda g, y, a, b: g * cosine_of_angle(b, a)],
    arity=2, numpy=np.hypot, formula="√({0}² + {1}²)", derivatives=["{0} / {y}", "{1} / {y}"],
    samples=binary(a=(0.5, 2.0)), doc="√(a² + b²); at the origin the derivatives are 0.",
)  # fmt: skip


# Exponentials and logarithms

ldexp = declare(
    "ldexp", np.ldexp, [lambda g, y, x, n: np.ldexp(g, raw(n)), None], arity=2, numpy=np.ldexp,
    jvps=[lambda t, y, x, n: np.ldexp(t, raw(n)), None], formula="{0} · 2 ^ {1}", derivatives=["2 ^ {1}", "none"],
    samples=lambda rng: [Sample((draw(rng, (3,)), np.array([1, -2, 0]))), Sample((draw(rng, (2, 1)), np.array([1, 3]))),
                         Sample((draw(rng, ()), 2))],
    doc="x · 2ⁿ, exactly, for integers n.",
)  # fmt: skip

exp = declare(
    "exp", np.exp, [lambda g, y, x: times(g, y)], arity=1, numpy=np.exp,
    singular=True, complex=True, formula="exp({0})", derivatives=["{y}"], samples=unary(),
)  # fmt: skip

exp2 = declare(
    "exp2", np.exp2, [lambda g, y, x: times(g, y * math.log(2))], arity=1, numpy=np.exp2,
    singular=True, complex=True, formula="2 ^ {0}", derivatives=["{y} · log 2"], samples=unary(),
)  # fmt: skip

expm1 = declare(
    "expm1", np.expm1, [lambda g, y, x: times(g, np.exp(x))], arity=1, numpy=np.expm1,
    singular=True, complex=True, formula="exp({0}) − 1", derivatives=["exp({0})"], samples=unary(),
)  # fmt: skip


log = declare(
    "log", np.log, [lambda g, y, x: times(g, 1 / nonnegative(x))], arity=1, numpy=np.log,
    singular=True, complex=True, formula="log {0}", derivatives=["1 / {0}"], samples=unary(0.3, 3.0),
)  # fmt: skip

log2 = declare(
    "log2", np.log2, [lambda g, y, x: times(g, (1 / math.log(2)) / nonnegative(x))], arity=1, numpy=np.log2,
    singular=True, complex=True, formula="log₂ {0}", derivatives=["1 / ({0} · log 2)"], samples=unary(0.3, 3.0),
)  # fmt: skip

log10 = declare(
    "log10", np.log10, [lambda g, y, x: times(g, (1 / math.log(10)) / nonnegative(x))], arity=1, numpy=np.log10,
    singular=True, complex=True, formula="log₁₀ {0}", derivatives=["1 / ({0} · log 10)"], samples=unary(0.3, 3.0),
)  # fmt: skip

log1p = declare(
    "log1p", np.log1p, [lambda g, y, x: times(g, 1 / nonnegative(1 + x))], arity=1, numpy=np.log1p,
    singular=True, complex=True, formula="log(1 + {0})", derivatives=["1 / (1 + {0})"], samples=unary(-0.6, 2.0),
)  # fmt: skip


def _share(a: Any, b: Any, scale: float = 1.0) -> Any:
    """exp(a) / (exp(a) + exp(b)), and 0 where both are −∞; where both are +∞ there is no limit."""
    nothing = (raw(a) == -np.inf) & (raw(b) == -np.inf)
    if common(~nothing.any()):
        return _sigmoid((a - b) * scale)
    return np.where(nothing, 0, _sigmoid((np.where(nothing, 0, a) - b) * scale))


logaddexp = declare(
    "logaddexp", np.logaddexp,
    [lambda g, y, a, b: g * _share(a, b), lambda g, y, a, b: g * _share(b, a)],
    arity=2, numpy=np.logaddexp, formula="log(exp({0}) + exp({1}))",
    derivatives=["exp({0} − {y})", "exp({1} − {y})"], samples=binary(),
    doc="log(exp a + exp b), without overflow. Where both are −∞ the derivatives are 0, where both are +∞ NaN.",
)  # fmt: skip

logaddexp2 = declare(
    "logaddexp2", np.logaddexp2,
    [lambda g, y, a, b: g * _share(a, b, math.log(2)), lambda g, y, a, b: g * _share(b, a, math.log(2))],
    arity=2, numpy=np.logaddexp2, formula="log₂(2^{0} + 2^{1})",
    derivatives=["2 ^ ({0} − {y})", "2 ^ ({1} − {y})"], samples=binary(),
)  # fmt: skip


# Trigonometric

sin = declare(
    "sin", np.sin, [lambda g, y, x: g * np.cos(x)], arity=1, numpy=np.sin,
    complex=True, formula="sin {0}", derivatives=["cos {0}"], samples=unary(),
)  # fmt: skip

cos = declare(
    "cos", np.cos, [lambda g, y, x: -g * np.sin(x)], arity=1, numpy=np.cos,
    complex=True, formula="cos {0}", derivatives=["−sin {0}"], samples=unary(),
)  # fmt: skip


def _tan_rule(g: Any, y: Any, x: Any) -> Any:
    """1 + tan² x; far from the real axis, where that cancels, 1 / cos² x."""
    return times(g, 1 + y * y) if x.dtype.kind != "c" else over_cosh_squared(g, 1j * x)


tan = declare(
    "tan", np.tan, [_tan_rule], arity=1, numpy=np.tan,
    singular=True, complex=True, formula="tan {0}", derivatives=["1 + {y}²"], samples=unary(-1.2, 1.2),
)  # fmt: skip

_one_minus_square: Any = polymorphic(declare(
    "one_minus_square", lambda x: (1 - x) * (1 + x), [lambda g, y, x: g * (-2 * x)], arity=1,
    complex=True, formula="1 − {0}²", derivatives=["−2 · {0}"], samples=unary(),
))  # fmt: skip
"""1 − x², exact near ±1, and in its derivative near 0 as well, where that of the product cancels."""


def _is_complex(x: Any) -> bool:
    return bool(x.dtype.kind == "c")


def _on_branch(root: Any, nearby: Any) -> Any:
    """A square root of complex numbers, or its negative where that is nearer to a value with fewer digits: on a branch
    cut the root alone does not know from which side the function was continued."""
    other = (raw(root) * np.conjugate(nearby)).real < 0
    return root if common(~other.any()) else np.where(other, -root, root)


def _cosine_of(x: Any, y: Any, function: Any) -> Any:
    """cos y or sin y of the angle y with the sine or cosine x: √(1 − x²)."""
    root = np.sqrt(_one_minus_square(x))
    return root if x.dtype.kind != "c" else _on_branch(root, function(raw(y)))


arcsin = declare(
    "arcsin", np.arcsin, [lambda g, y, x: times(g, 1 / _cosine_of(x, y, np.cos))], arity=1, numpy=np.arcsin,
    singular=True, complex=True, formula="arcsin {0}", derivatives=["1 / √(1 − {0}²)"], samples=unary(-0.8, 0.8),
)  # fmt: skip

arccos = declare(
    "arccos", np.arccos, [lambda g, y, x: times(g, -1 / _cosine_of(x, y, np.sin))], arity=1, numpy=np.arccos,
    singular=True, complex=True, formula="arccos {0}", derivatives=["−1 / √(1 − {0}²)"], samples=unary(-0.8, 0.8),
)  # fmt: skip


def _arctan_rule(g: Any, y: Any, x: Any) -> Any:
    """Divided twice, so that nothing overflows in the second derivative, −2x/(1 + x²)², where that is a number."""
    if x.dtype.kind == "c":
        return times(g, 1 / _one_minus_square(1j * x))
    r = np.hypot(x, 1)
    return g / r / r


arctan = declare(
    "arctan", np.arctan, [_arctan_rule], arity=1, numpy=np.arctan, singular=_is_complex,
    complex=True, formula="arctan {0}", derivatives=["1 / (1 + {0}²)"], samples=unary(),
)  # fmt: skip


def _inverse_radius(a: Any, b: Any) -> Any:
    return inverse_or_zero(np.hypot(a, b))


arctan2 = declare(
    "arctan2", np.arctan2,
    [lambda g, y, a, b: g * (b * _inverse_radius(a, b) * _inverse_radius(a, b)),
     lambda g, y, a, b: -g * (a * _inverse_radius(a, b) * _inverse_radius(a, b))],
    arity=2, numpy=np.arctan2, formula="arctan2({0}, {1})",
    derivatives=["{1} / ({0}² + {1}²)", "−{0} / ({0}² + {1}²)"], samples=binary(b=(0.5, 2.0)),
    doc="The angle of the point (b, a); at the origin the derivatives are 0.",
)  # fmt: skip


def _cos_derivative(z: Any, order: int) -> Any:
    return (np.cos, lambda u: -np.sin(u), lambda u: -np.cos(u), np.sin)[order % 4](z)


def _sinc_derivative(x: Any, order: int) -> Any:
    """The n-th derivative of sin(πx)/(πx), from ∫₀¹ cos(πxt) dt: by Gauss–Legendre quadrature of
    ∫₀¹ (πt)ⁿ cos(πxt + nπ/2) dt near 0, and further out by the recurrence z f⁽ⁿ⁾ = sin⁽ⁿ⁾(z) − n f⁽ⁿ⁻¹⁾, z = πx."""
    if order == 0:
        return np.sinc(x)
    z = np.pi * np.asarray(x, dtype=np.result_type(x, np.float64))
    near = np.abs(z) <= max(20.0, 2.0 * order)
    nodes, weights = np.polynomial.legendre.leggauss(48 + 2 * order)
    t, w = (nodes + 1) / 2, weights / 2
    zn = np.where(near, z, 0.0)[..., None]
    inside = (_cos_derivative(zn * t, order) * t**order) @ w
    zf = np.where(near, 1.0, z)
    outside = np.sin(zf) / zf
    for n in range(1, order + 1):
        outside = (-_cos_derivative(zf, n + 1) - n * outside) / zf
    return (np.where(near, inside, outside) * np.pi**order).astype(np.asarray(x).dtype)[()]


def _sinc_rule(g: Any, y: Any, x: Any, order: int = 0) -> Any:
    return g * _sinc_of(x, order=order + 1)


_sinc = declare(
    "sinc", in_single(lambda x, order=0: _sinc_derivative(x, order)), [_sinc_rule],
    complex=True, formula="sinc {0}", derivatives=["(cos π{0} − {y}) / {0}"], opaque="a quadrature of every order",
    stacks="leading",
    samples=lambda rng: [*unary()(rng), Sample((np.array([0.0, 1.0, -7.3, 30.2]),)),
                         Sample((np.array([0.0, 0.4]),), {"order": 2})],
)  # fmt: skip
_sinc_of = polymorphic(_sinc)


@implements(np.sinc)
def sinc(x: Any) -> Tensor:
    """sin(πx)/(πx), 1 at 0, exact to any order of derivative everywhere (the second at 0 is −π²/3)."""
    return _sinc(_floating(x))


# Hyperbolic

sinh = declare(
    "sinh", np.sinh, [lambda g, y, x: times(g, np.cosh(x))], arity=1, numpy=np.sinh,
    singular=True, complex=True, formula="sinh {0}", derivatives=["cosh {0}"], samples=unary(),
)  # fmt: skip

cosh = declare(
    "cosh", np.cosh, [lambda g, y, x: times(g, np.sinh(x))], arity=1, numpy=np.cosh,
    singular=True, complex=True, formula="cosh {0}", derivatives=["sinh {0}"], samples=unary(),
)  # fmt: skip


@np.errstate(over="ignore")  # far out cosh is ∞, and the result 0
def _over_cosh_squared(g: Any, x: Any) -> Any:
    if x.dtype.kind == "c":  # no overflow in both parts, whose quotient is NaN: far out it is 0
        far = np.abs(x.real) > 0.99 * np.log(np.finfo(x.dtype).max)
        c = np.where(far, np.inf, np.cosh(np.where(far, 0, x)))
    else:
        c = np.cosh(x)
    return g / c / c


over_cosh_squared: Any = polymorphic(declare(
    "over_cosh_squared", _over_cosh_squared,
    [lambda h, y, g, x: over_cosh_squared(h, x), lambda h, y, g, x: h * (-2 * np.tanh(x) * y)], arity=2,
    complex=True, formula="{0} / cosh² {1}", derivatives=["1 / cosh² {1}", "−2 · tanh({1}) · {y}"],
    samples=binary(), public=False,
))  # fmt: skip
"""g / cosh² x, the rule of tanh x. From the values of tanh, as g (1 − y²), it loses all digits in the tails; here
nothing cancels in any order."""

tanh = declare(
    "tanh", np.tanh, [lambda g, y, x: over_cosh_squared(g, x)], arity=1, numpy=np.tanh,
    complex=True, formula="tanh({0})", derivatives=["1 / cosh² {0}"], samples=unary(),
)  # fmt: skip


def _arcsinh_rule(g: Any, y: Any, x: Any) -> Any:
    if x.dtype.kind != "c":
        return g / np.hypot(x, 1)
    return times(g, 1 / _on_branch(np.sqrt(_one_minus_square(1j * x)), np.cosh(raw(y))))


arcsinh = declare(
    "arcsinh", np.arcsinh, [_arcsinh_rule], arity=1, numpy=np.arcsinh, singular=_is_complex,
    complex=True, formula="arcsinh {0}", derivatives=["1 / √({0}² + 1)"], samples=unary(),
)  # fmt: skip


def _arccosh_rule(g: Any, y: Any, x: Any) -> Any:
    if x.dtype.kind != "c":
        return times(g, 1 / np.sqrt(x - 1) / np.sqrt(x + 1))
    return times(g, 1 / _on_branch(np.sqrt(x - 1) * np.sqrt(x + 1), np.sinh(raw(y))))


arccosh = declare(
    "arccosh", np.arccosh, [_arccosh_rule], arity=1, numpy=np.arccosh,
    singular=True, complex=True, formula="arccosh {0}", derivatives=["1 / √({0}² − 1)"], samples=unary(1.3, 3.0),
)  # fmt: skip


def _arctanh_rule(g: Any, y: Any, x: Any) -> Any:
    inside = x if x.dtype.kind == "c" else defined(x, np.abs(raw(x)) <= 1)
    return times(g, 1 / _one_minus_square(inside))


arctanh = declare(
    "arctanh", np.arctanh, [_arctanh_rule], arity=1,
    numpy=np.arctanh,
    singular=True, complex=True, formula="arctanh {0}", derivatives=["1 / (1 − {0}²)"], samples=unary(-0.7, 0.7),
)  # fmt: skip


# NumPy's other names for some of these

abs, fabs, pow, true_divide, remainder = absolute, absolute, power, divide, mod
radians, degrees = deg2rad, rad2deg
asin, acos, atan, atan2 = arcsin, arccos, arctan, arctan2
asinh, acosh, atanh = arcsinh, arccosh, arctanh


# Choices: the gradient goes to the input that was chosen; ties share it equally, a NaN that was chosen gets it


def _wins(g: Any, a: Any, b: Any, better: Any) -> Any:
    return np.where(better, g, np.where(a == b, 0.5 * g, 0))


_choice_samples = binary(smooth=2)

maximum = declare(
    "maximum", np.maximum,
    [lambda g, y, a, b: _wins(g, a, b, (a > b) | (a != a)), lambda g, y, a, b: _wins(g, a, b, (b > a) | (b != b))],
    arity=2, numpy=np.maximum, jvps="piecewise", formula="max({0}, {1})",
    derivatives=["1 if {0} > {1} else 0", "1 if {1} > {0} else 0"], samples=_choice_samples,
)  # fmt: skip

minimum = declare(
    "minimum", np.minimum,
    [lambda g, y, a, b: _wins(g, a, b, (a < b) | (a != a)), lambda g, y, a, b: _wins(g, a, b, (b < a) | (b != b))],
    arity=2, numpy=np.minimum, jvps="piecewise", formula="min({0}, {1})",
    derivatives=["1 if {0} < {1} else 0", "1 if {1} < {0} else 0"], samples=_choice_samples,
)  # fmt: skip

fmax = declare(
    "fmax", np.fmax,
    [lambda g, y, a, b: _wins(g, a, b, (a > b) | (b != b)), lambda g, y, a, b: _wins(g, a, b, (b > a) | (a != a))],
    arity=2, numpy=np.fmax, jvps="piecewise", formula="fmax({0}, {1})",
    derivatives=["1 if {0} > {1} else 0", "1 if {1} > {0} else 0"], samples=_choice_samples,
)  # fmt: skip

fmin = declare(
    "fmin", np.fmin,
    [lambda g, y, a, b: _wins(g, a, b, (a < b) | (b != b)), lambda g, y, a, b: _wins(g, a, b, (b < a) | (a != a))],
    arity=2, numpy=np.fmin, jvps="piecewise", formula="fmin({0}, {1})",
    derivatives=["1 if {0} < {1} else 0", "1 if {1} < {0} else 0"], samples=_choice_samples,
)  # fmt: skip

_clip = declare(
    "clip", np.clip,
    [lambda g, y, x, low, high: np.where((x >= low) & (x <= high), g, 0),
     lambda g, y, x, low, high: np.where((x < low) & (low <= high), g, 0),
     lambda g, y, x, low, high: np.where((x > high) | (low > high), g, 0)],
    jvps="piecewise", formula="clip({0}, {1}, {2})",
    derivatives=["1 if {1} ≤ {0} ≤ {2} else 0", "1 if {0} < {1} else 0", "1 if {0} > {2} else 0"],
    samples=lambda rng: [Sample((draw(rng, (2, 5)), np.array(-1.03), np.array([0.4, 0.5, 1.0, 1.2, 0.1])), smooth=2),
                         Sample((draw(rng, ()), -0.5, 0.5), smooth=2), Sample((draw(rng, (0,)), -0.5, 0.5), smooth=2)],
)  # fmt: skip


@implements(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Tensor:
    """`a` limited to an interval, as `numpy.clip`. The derivative is 1 inside and at a bound, 0 outside; a bound gets
    the gradient of what it cut off."""
    low, high = a_min if min is None else min, a_max if max is None else max
    if low is None or high is None:
        kind = (plain(a) if hasattr(a, "dtype") else np.asarray(plain(a))).dtype
        ends: Any = (-math.inf, math.inf) if kind.kind in "fc" else (np.iinfo(kind).min, np.iinfo(kind).max)
        low, high = ends[0] if low is None else low, ends[1] if high is None else high
    return _clip(a, low, high)


_where = declare(
    "where", np.where,
    [lambda g, y, c, a, b: np.zeros_like(c), lambda g, y, c, a, b: np.where(c, g, 0),
     lambda g, y, c, a, b: np.where(c, 0, g)],
    jvps="piecewise", complex=True, formula="{1} where {0} else {2}",
    derivatives=["0", "1 where {0} else 0", "0 where {0} else 1"],
    samples=lambda rng: [Sample((draw(rng, s) > 0, draw(rng, s), draw(rng, t)))
                         for s, t in [((), ()), ((2, 3), (3,)), ((3,), (2, 3)), ((0,), (0,))]],
)  # fmt: skip


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """`x` where the condition holds, `y` elsewhere, as `numpy.where`; the branch that was not taken gets exactly 0.
    With the condition alone, the indices where it holds."""
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("where: give both x and y, or neither")
    result = _where(condition, x, y)
    if result._primitive is not None and (_hides(condition, x, False) or _hides(condition, y, True)):
        result._hooks = {"guard": None}  # see backward._Guard
    return result


def _hides(condition: Any, branch: Any, when: bool) -> bool:
    """Whether a branch is infinite or NaN where it was not taken."""
    a = branch._ndarray if isinstance(branch, Tensor) else branch
    if getattr(a, "dtype", None) is None or a.dtype.kind not in "fc" or common(np.vdot(a, a) < math.inf):
        return False
    c = raw(condition)
    c = (c if is_foreign(c) else np.asarray(c)).astype(bool)
    return not common(~(~np.isfinite(a) & (c == when)).any())


nonzero = without_gradient("nonzero", np.nonzero, np.nonzero)


# Steps: the gradient is 0

floor = declare(
    "floor", np.floor, [lambda g, y, x: np.zeros_like(x)], arity=1, numpy=np.floor,
    jvps="piecewise", formula="⌊{0}⌋", derivatives=["0"], samples=lambda rng: [Sample((np.array([0.3, -1.6, 2.2]),))],
)  # fmt: skip

ceil = declare(
    "ceil", np.ceil, [lambda g, y, x: np.zeros_like(x)], arity=1, numpy=np.ceil,
    jvps="piecewise", formula="⌈{0}⌉", derivatives=["0"], samples=lambda rng: [Sample((np.array([0.3, -1.6, 2.2]),))],
)  # fmt: skip

trunc = declare(
    "trunc", np.trunc, [lambda g, y, x: np.zeros_like(x)], arity=1, numpy=np.trunc,
    jvps="piecewise", formula="trunc({0})", derivatives=["0"],
    samples=lambda rng: [Sample((np.array([0.3, -1.6, 2.2]),))],
)  # fmt: skip
implements(np.fix)(trunc)
fix = trunc

_round = declare(
    "round", np.round, [lambda g, y, x, decimals=0: np.zeros_like(x)],
    jvps="piecewise", complex=True, formula="round({0})", derivatives=["0"],
    samples=lambda rng: [Sample((np.array([0.3, -1.6, 2.2]),)), Sample((np.array([0.23, -1.66]),), {"decimals": 1})],
)  # fmt: skip


@implements(np.round, np.around)
def round(a: Any, decimals: int = 0) -> Tensor:
    """Rounded to a number of decimals, as `numpy.round`; the gradient is 0."""
    return _round(a, decimals=decimals) if decimals else _round(a)


implements(np.rint)(round)
around = rint = round

sign = declare(
    "sign", np.sign, [lambda g, y, x: np.zeros_like(x)], arity=1, numpy=np.sign, complex=direction,
    jvps="piecewise", kinks=lambda x: x == 0, formula="sign({0})", derivatives=["0"], samples=unary(),
)  # fmt: skip

heaviside: Operation = declare(
    "heaviside", np.heaviside, [lambda g, y, x, v: np.zeros_like(x), lambda g, y, x, v: np.where(x == 0, g, 0)],
    arity=2, numpy=np.heaviside, jvps="piecewise",
    formula="heaviside({0}, {1})", derivatives=["0", "1 if {0} = 0 else 0"],
    samples=lambda rng: [Sample((draw(rng, (3,)), draw(rng, (3,)))),
                         Sample((np.array([1.0, 0.0, -1.0]), draw(rng, (3,))),
                                function=lambda x, v: heaviside(x.detach(), v))],
)  # fmt: skip

floor_divide = declare(
    "floor_divide", np.floor_divide, [lambda g, y, a, b: np.zeros_like(a), lambda g, y, a, b: np.zeros_like(b)],
    arity=2, numpy=np.floor_divide, jvps="piecewise", formula="⌊{0} / {1}⌋", derivatives=["0", "0"],
    samples=lambda rng: [Sample((np.array([5.3, -4.1]), np.array([2.0, 1.5])))],
)  # fmt: skip


@implements(np.divmod)
def divmod(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """``(a // b, a % b)``."""
    return floor_divide(a, b), mod(a, b)


@implements(np.modf)
def modf(x: Any) -> tuple[Tensor, Tensor]:
    """Fractional and integral parts, as `numpy.modf`."""
    whole = trunc(x)
    infinite = np.isinf(whole._ndarray)
    return subtract(x if common(~infinite.any()) else _where(infinite, 0.0, x), _where(infinite, 0.0, whole)), whole


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    """NaN and infinities replaced by numbers, as `numpy.nan_to_num`; the gradient there is 0."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind == "c":
        options = {"nan": nan, "posinf": posinf, "neginf": neginf}
        return nan_to_num(real(x), **options) + 1j * nan_to_num(imag(x), **options)
    try:
        replaced = np.nan_to_num(x._ndarray, nan=nan, posinf=posinf, neginf=neginf)
    except (TypeError, ValueError) as error:
        met = f"nan={nan!r}, posinf={posinf!r}, neginf={neginf!r}"
        raise type(error)(f"nan_to_num(shape {x.shape}, {met}): each is a number or broadcasts: {error}") from None
    return _where(np.isfinite(x._ndarray), x, replaced)


# Activations that NumPy lacks


def _stable_sigmoid(x: Any) -> Any:
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))  # not np.where, which is slow on random signs


def _relu_rule(g: Any, y: Any, x: Any) -> Any:
    a = raw(x)
    return gated(g, a > 0, lambda: a < 0)


relu = declare(
    "relu", lambda x: np.maximum(x, 0), [_relu_rule], arity=1,
    jvps="piecewise", kinks=lambda x: x == 0, formula="max(0, {0})", derivatives=["1 if {0} > 0 else 0"],
    samples=unary(smooth=2),
    doc="max(0, x); the derivative at 0 is 0.",
)  # fmt: skip

sigmoid = declare(
    "sigmoid", _stable_sigmoid, [lambda g, y, x: over_cosh_squared(0.25 * g, 0.5 * x)], arity=1, scipy="expit",
    formula="σ({0})", derivatives=["{y} · σ(−{0})"], samples=unary(-4, 4),
    doc="1 / (1 + exp(−x)), without overflow.",
)  # fmt: skip
_sigmoid = polymorphic(sigmoid)


def _softplus_of(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _softplus_opened(x: Any) -> Any:
    """The same, smooth at 0 too: both choices there are those of x ≤ 0."""
    above = raw(x) > 0
    return np.where(above, x, 0) + np.log1p(np.exp(np.where(above, -x, x)))


softplus = declare(
    "softplus", _softplus_of, [lambda g, y, x: g * _sigmoid(x)], arity=1,
    formula="log(1 + exp({0}))", derivatives=["σ({0})"], samples=unary(-4, 4), expansion=_softplus_opened,
    doc="log(1 + exp(x)), without overflow.",
)  # fmt: skip


# Dtype and memory

_astype = declare(
    "astype", lambda x, dtype: x.astype(dtype), [lambda g, y, x, dtype: of_dtype(g, x.dtype)],
    jvps="linear", complex=True, formula="{0}", derivatives=["1"],
    samples=with_params(unary(), {"dtype": np.dtype(np.float64)}),
)  # fmt: skip


@implements(*([np.astype] if hasattr(np, "astype") else []))  # NumPy 2.1
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """`x` in another dtype; the gradient comes back in x's own. Integer and boolean results carry no gradient. Of
    complex numbers a real dtype takes the real part, with NumPy's warning (`real` takes it without). Without `copy`, a
    tensor of that dtype is returned itself. (`device` is accepted for NumPy's sake.)"""
    x = x if isinstance(x, Tensor) else Tensor(x)
    dtype = np.dtype(dtype)
    if not copy and x.dtype == dtype:
        return x
    if dtype.kind in "fc":
        return _astype(x, dtype=dtype)
    return Tensor(x._ndarray.astype(dtype))


_copy = declare(
    "copy", lambda x: x.copy(), [lambda g, y, x: g], arity=1,
    jvps="piecewise", complex=True, formula="{0}", derivatives=["1"], samples=unary(),
)  # fmt: skip


@implements(np.copy)
def copy(x: Any, /) -> Tensor:
    """The same values in memory of their own, with gradient, as `numpy.copy`."""
    y = _copy(x)
    return y if y._requires_grad or not isinstance(x, Tensor) else values_of(x, y)


def _floating(x: Any) -> Any:
    """Integers as float64, everything else as it is."""
    dtype = getattr(x, "dtype", None)
    if dtype is None or dtype.kind in "fc":
        return x
    return astype(x, np.float64)


# No derivative

equal = without_gradient("equal", np.equal, np.equal)
not_equal = without_gradient("not_equal", np.not_equal, np.not_equal)
less = without_gradient("less", np.less, np.less)
less_equal = without_gradient("less_equal", np.less_equal, np.less_equal)
greater = without_gradient("greater", np.greater, np.greater)
greater_equal = without_gradient("greater_equal", np.greater_equal, np.greater_equal)
logical_and = without_gradient("logical_and", np.logical_and, np.logical_and)
logical_or = without_gradient("logical_or", np.logical_or, np.logical_or)
logical_xor = without_gradient("logical_xor", np.logical_xor, np.logical_xor)
logical_not = without_gradient("logical_not", np.logical_not, np.logical_not)
bitwise_and = without_gradient("bitwise_and", np.bitwise_and, np.bitwise_and)
bitwise_or = without_gradient("bitwise_or", np.bitwise_or, np.bitwise_or)
bitwise_xor = without_gradient("bitwise_xor", np.bitwise_xor, np.bitwise_xor)
invert = without_gradient("invert", np.invert, np.invert)
left_shift = without_gradient("left_shift", np.left_shift, np.left_shift)
right_shift = without_gradient("right_shift", np.right_shift, np.right_shift)
isfinite = without_gradient("isfinite", np.isfinite, np.isfinite)
isinf = without_gradient("isinf", np.isinf, np.isinf)
isnan = without_gradient("isnan", np.isnan, np.isnan)
isposinf = without_gradient("isposinf", np.isposinf, np.isposinf)
isneginf = without_gradient("isneginf", np.isneginf, np.isneginf)
iscomplex = without_gradient("iscomplex", np.iscomplex, np.iscomplex)
isreal = without_gradient("isreal", np.isreal, np.isreal)
signbit = without_gradient("signbit", np.signbit, np.signbit)
isclose = without_gradient("isclose", np.isclose, np.isclose)
allclose = without_gradient("allclose", np.allclose, np.allclose)
array_equal = without_gradient("array_equal", np.array_equal, np.array_equal)
array_equiv = without_gradient("array_equiv", np.array_equiv, np.array_equiv)
