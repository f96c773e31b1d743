"""Derivatives keep their digits: far out in the tails, near the ends of the range, in float64 and in float32.

Every smooth function of one number that the engine has is compared with mpmath, first and second derivative, wherever
the derivative is a number that the format holds.
"""

import functools

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from autodiff.primitive import REGISTRY

mp = pytest.importorskip("mpmath")

DIGITS = 420  # of the reference: 1 + exp(−300) and its second difference are told from 1
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}

SIZES = [1e-20, 1e-5, 1e-3, 0.1, 0.5, 1.0, 1.5, 2.5, 3.2, 4.5, 8.5, 12.0, 16.0, 20.5, 33.0, 43.0, 60.0, 86.0, 120.0]
NUMBERS = [-x for x in SIZES] + [0.0] + SIZES + [-300.0, 300.0]
POSITIVE = [1.7 * 10.0**k for k in (-100, -77, -30, -15, -5, -2, -1, 0, 1, 3, 8, 11, 15, 30, 77, 100)]
SIGNED = [-x for x in POSITIVE] + POSITIVE
INSIDE = [1e-20, 1e-10, 1e-4, 0.1, 0.5, 0.9, 0.9999, 1 - 2.0**-20]
UNIT = [-x for x in INSIDE] + INSIDE


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def softplus(x):
    return mp.log1p(mp.exp(x))


def between(points, low, high):
    return [x for x in points if low < x < high]


CASES = {
    "exp": (ad.exp, lambda x: mp.exp(x), NUMBERS),
    "exp2": (ad.exp2, lambda x: mp.mpf(2) ** x, NUMBERS),
    "expm1": (ad.expm1, lambda x: mp.expm1(x), NUMBERS),
    "log": (ad.log, lambda x: mp.log(x), POSITIVE),
    "log2": (ad.log2, lambda x: mp.log(x, 2), POSITIVE),
    "log10": (ad.log10, lambda x: mp.log10(x), POSITIVE),
    "log1p": (ad.log1p, lambda x: mp.log1p(x), [*POSITIVE, -0.5, -0.9, -0.99999]),
    "sqrt": (ad.sqrt, lambda x: mp.sqrt(x), POSITIVE),
    "cbrt": (ad.cbrt, lambda x: mp.cbrt(x), POSITIVE),
    "reciprocal": (ad.reciprocal, lambda x: 1 / x, SIGNED),
    "divide": (lambda x: 1 / x, lambda x: 1 / x, SIGNED),
    "power": (lambda x: x**-1.5, lambda x: x ** mp.mpf(-1.5), POSITIVE),
    "power by its exponent": (lambda x: 2.0**x, lambda x: mp.mpf(2) ** x, NUMBERS),
    "square": (ad.square, lambda x: x * x, SIGNED),
    "multiply": (lambda x: x * x, lambda x: x * x, SIGNED),
    "sin": (ad.sin, lambda x: mp.sin(x), NUMBERS),
    "cos": (ad.cos, lambda x: mp.cos(x), NUMBERS),
    "tan": (ad.tan, lambda x: mp.tan(x), between(NUMBERS, -20, 20)),
    "arcsin": (ad.arcsin, lambda x: mp.asin(x), UNIT),
    "arccos": (ad.arccos, lambda x: mp.acos(x), UNIT),
    "arctan": (ad.arctan, lambda x: mp.atan(x), SIGNED),
    "sinh": (ad.sinh, lambda x: mp.sinh(x), NUMBERS),
    "cosh": (ad.cosh, lambda x: mp.cosh(x), NUMBERS),
    "tanh": (ad.tanh, lambda x: mp.tanh(x), NUMBERS),
    "over_cosh_squared": (lambda x: ad.gradients(ad.tanh(x).sum(), x, create_graph=True)[0], lambda x: mp.sech(x) ** 2, NUMBERS),
    "arcsinh": (ad.arcsinh, lambda x: mp.asinh(x), SIGNED),
    "arccosh": (ad.arccosh, lambda x: mp.acosh(x), [1 + 2.0**-20, 1.001, *between(POSITIVE, 1, 1e300)]),
    "arctanh": (ad.arctanh, lambda x: mp.atanh(x), UNIT),
    "sigmoid": (ad.sigmoid, sigmoid, NUMBERS),
    "softplus": (ad.softplus, softplus, NUMBERS),
    "log_expit": (ad.special.log_expit, lambda x: -softplus(-x), NUMBERS),
    "logaddexp": (lambda x: np.logaddexp(x, 0.25), lambda x: mp.log(mp.exp(x) + mp.exp(0.25)), NUMBERS),
    "logaddexp2": (lambda x: np.logaddexp2(0.25, x), lambda x: mp.log(2**x + mp.mpf(2) ** 0.25, 2), NUMBERS),
    "sinc": (ad.sinc, lambda x: mp.sinc(mp.pi * x), between(NUMBERS, -50, 50)),
    "hypot": (lambda x: np.hypot(x, 1.0), lambda x: mp.sqrt(x * x + 1), SIGNED),
    "cosine_of_angle": (lambda x: np.hypot(1.0, x), lambda x: mp.sqrt(x * x + 1), NUMBERS),
    "arctan2": (lambda x: np.arctan2(x, 1.0), lambda x: mp.atan(x), SIGNED),
    "arctan2 by its second": (lambda x: np.arctan2(1.0, x), lambda x: mp.atan2(1, x), SIGNED),
    "erf": (ad.special.erf, lambda x: mp.erf(x), between(NUMBERS, -20, 20)),
    "erfc": (ad.special.erfc, lambda x: mp.erfc(x), between(NUMBERS, -20, 20)),
    "erfi": (ad.special.erfi, lambda x: mp.erfi(x), between(NUMBERS, -20, 20)),
    "ndtr": (ad.special.ndtr, lambda x: mp.ncdf(x), between(NUMBERS, -20, 20)),
    "log_ndtr": (ad.special.log_ndtr, lambda x: mp.log(mp.ncdf(x)), between(NUMBERS, -10, 10)),
    "logit": (ad.special.logit, lambda x: mp.log(x / (1 - x)), between(INSIDE, 0, 1)),
    "entr": (ad.special.entr, lambda x: -x * mp.log(x), POSITIVE),
    "rel_entr": (lambda x: ad.special.rel_entr(x, 1.5), lambda x: x * mp.log(x / mp.mpf(1.5)), POSITIVE),
    "kl_div": (lambda x: ad.special.kl_div(x, 1.5), lambda x: x * mp.log(x / mp.mpf(1.5)) - x + mp.mpf(1.5), POSITIVE),
    "pseudo_huber": (
        lambda x: ad.special.pseudo_huber(1.5, x),
        lambda x: mp.mpf(1.5) ** 2 * (mp.sqrt(1 + (x / mp.mpf(1.5)) ** 2) - 1),
        between(SIGNED, -1e20, 1e20),
    ),
    "huber_function": (lambda x: ad.special.huber(1.5, x), lambda x: x * x / 2 if abs(x) < 1.5 else 1.5 * abs(x) - 1.125, [x for x in NUMBERS if abs(x) != 1.5]),
    "erfcinv": (ad.special.erfcinv, lambda x: mp.erfinv(1 - x), [1e-5, 0.01, 0.3, 0.9, 1.2, 1.7]),
    "xlogy": (lambda x: ad.special.xlogy(1.5, x), lambda x: 1.5 * mp.log(x), POSITIVE),
    "xlog1py": (lambda x: ad.special.xlog1py(1.5, x), lambda x: 1.5 * mp.log1p(x), POSITIVE),
    "gammaln": (ad.special.gammaln, lambda x: mp.loggamma(x), [1e-5, 0.1, 0.7, 3.0, 40.0]),
    "digamma": (ad.special.digamma, lambda x: mp.digamma(x), [1e-5, 0.1, 0.7, 3.0, 40.0]),
    "gamma": (ad.special.gamma, lambda x: mp.gamma(x), [1e-5, 0.1, 0.7, 3.0, 30.0]),
    "softmax": (lambda x: ad.softmax(np.stack([x, 0 * x]), 0)[0], sigmoid, between(NUMBERS, 0.01, 1e3)),
    "softmax of the other": (lambda x: ad.softmax(np.stack([x, 0 * x]), 0)[1], lambda x: sigmoid(-x), between(NUMBERS, 0.01, 1e3)),
    "log_softmax": (lambda x: ad.log_softmax(np.stack([x, 0 * x]), 0)[0], lambda x: -softplus(-x), NUMBERS),
    "logsumexp": (lambda x: ad.logsumexp(np.stack([x, 0 * x]), 0), softplus, NUMBERS),
    "cross_entropy": (
        lambda x: ad.cross_entropy(np.stack([x, 0 * x]), np.zeros(x.shape, int), axis=0, reduction="none"),
        lambda x: softplus(-x),
        NUMBERS,
    ),
}  # fmt: skip

SLOPES = {
    "arctan": lambda x: 1 / (1 + x * x),
    "arctan2": lambda x: 1 / (1 + x * x),
    "arctan2 by its second": lambda x: -1 / (1 + x * x),
    "hypot": lambda x: x / mp.sqrt(1 + x * x),
}
"""First derivatives, where a second difference of the function itself would need more digits."""

LINEAR_OR_TABLED = {
    "add", "subtract", "negative", "deg2rad", "rad2deg", "erfinv", "ndtri", "inverse_mills", "polygamma",
    "one_minus_square", "arctan2", "softmax_pullback", "modulus",
}  # fmt: skip
"""Elementwise operations without a tail of their own: linear ones, inverse functions that mpmath lacks (their rules are
compared with SciPy in test_special.py), parts of the rules of those above, and the size of complex numbers."""


@functools.cache
def truth(name, x, order):
    """The derivative of the reference, by mpmath's difference quotients at hundreds of digits."""
    _, reference, _ = CASES[name]
    if name in SLOPES:
        reference, order = SLOPES[name], order - 1
    with mp.workdps(DIGITS):
        return mp.re(mp.diff(reference, mp.mpf(x), order, relative=x != 0))


LONG = "erfi", "gamma", "gammaln", "erfcinv", "digamma"
"""Their references take mpmath seconds."""


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in CASES])
def test_first_and_second_derivatives_keep_their_digits_over_the_whole_range(name, dtype):
    function, _, points = CASES[name]
    limits = np.finfo(dtype)
    points = np.array([x for x in points if x == 0 or limits.tiny <= abs(x) <= limits.max], dtype)
    x = Tensor(points, requires_grad=True)
    with np.errstate(all="ignore"):
        (first,) = ad.gradients(function(x).sum(), x, create_graph=True)
        (plain,) = ad.gradients(function(x).sum(), x)
        (second,) = ad.gradients(first.sum(), x)
    tolerance = TOLERANCE[dtype]
    for order, found in ((1, first), (1, plain), (2, second)):
        for at, value in zip(points.tolist(), found.tolist()):
            expected = truth(name, at, order)
            if limits.tiny <= abs(expected) <= limits.max:
                off = abs((mp.mpf(value) - expected) / expected) if np.isfinite(value) else mp.inf
                assert off < tolerance, (
                    f"{name}: derivative of order {order} at {at} is {value}, not {mp.nstr(expected, 17)}"
                )


def test_no_smooth_elementwise_operation_of_one_number_is_left_out():
    smooth = {
        name
        for name, record in REGISTRY.items()
        if record.jvps == "elementwise" and name in {p.primitive.name for p in vars_of_operations()}
    }
    assert smooth <= CASES.keys() | LINEAR_OR_TABLED


def vars_of_operations():
    from autodiff.ops import elementwise, fused, reductions, special

    return [v for m in (elementwise, fused, reductions, special) for v in vars(m).values() if hasattr(v, "primitive")]
