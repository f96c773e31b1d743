"""At poles, kinks, ends of the domain and infinities a derivative is the limit, ±∞ where that is infinite, and NaN where
there is none, never another number: every smooth function of one number, first and second derivative, by mpmath."""

import functools
import math

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.autodiff.ops.test_tails import CASES

mp = pytest.importorskip("mpmath")

POINTS = [-np.inf, -2.0, -1.0, -0.0, 0.0, 1.0, 2.0, np.inf]

REFERENCES = {name: (function, reference) for name, (function, reference, _) in CASES.items()} | {
    "x ** 0.5": (lambda x: x**0.5, mp.sqrt),
    "x ** 1.5": (lambda x: x**1.5, lambda x: mp.sqrt(x) ** 3),
    "x ** 0.5 by an array": (lambda x: x ** np.array(0.5), mp.sqrt),
    "x ** 3": (lambda x: x**3, lambda x: x**3),
    "x ** -2": (lambda x: x**-2, lambda x: 1 / x**2),
    "cbrt": (ad.cbrt, lambda x: mp.sign(x) * mp.cbrt(abs(x))),
    "gammaln": (ad.special.gammaln, lambda x: mp.log(abs(mp.gamma(x)))),
    "erfinv": (ad.special.erfinv, mp.erfinv),
    "logaddexp with −∞": (lambda x: np.logaddexp(x, -np.inf), lambda x: x),
    "quotient": (lambda x: 1 / (x * x - 1), lambda x: 1 / (x * x - 1)),
    "xlogy of x": (lambda x: ad.special.xlogy(x, 2.0), lambda x: x * mp.log(2)),
    "arctan2 of no second": (lambda x: np.arctan2(x, 0.0) * 0.0, lambda x: x * 0),
    "float power": (lambda x: np.float_power(x, 2.5), lambda x: mp.sqrt(x) ** 5),
}

SHARED = {"softmax", "softmax of the other", "log_softmax", "logsumexp", "cross_entropy"}
"""They are called with 0 · x in CASES, which is NaN at infinity; infinite logits have tests of their own."""

UNSETTLED = {
    ("sinc", math.inf), ("gamma", math.inf), ("digamma", math.inf), ("gammaln", -math.inf), ("digamma", -math.inf),
    ("log_ndtr", -math.inf), ("logit", 0.0), ("logit", 1.0), ("quotient", 1.0),
    ("quotient", math.inf), ("gamma", -math.inf), ("gamma", -1.0), ("gamma", -2.0), ("logaddexp with −∞", -math.inf),
}  # fmt: skip
"""Where the rules' own arithmetic has ∞ − ∞ or 0 · ∞ though a limit exists (NaN), where the function oscillates, and
where both exponents are −∞, whose derivative is a choice that is documented."""


@functools.cache
def side(name, order, x, sign):
    """The limit of the derivative of that order as x is approached from one side: a float, or None where the function
    is not real there or there is no limit."""
    _, reference = REFERENCES[name]
    steps = (10, 30, 50) if math.isfinite(x) else (4, 5, 6)
    values = []
    with mp.workdps(250):
        for k in steps:
            z = mp.mpf(x) + sign * mp.mpf(10) ** -k if math.isfinite(x) else sign * mp.mpf(10) ** k
            try:
                value = mp.diff(reference, z, order, h=abs(z if x == 0 or math.isinf(x) else z - x) * mp.mpf(10) ** -60)
                imaginary = abs(mp.im(reference(z)))
            except (ValueError, ZeroDivisionError, mp.libmp.NoConvergence):
                return None
            if abs(mp.im(value)) > mp.mpf(10) ** -40 * abs(value) or imaginary > 0:
                return None
            values.append(mp.re(value))
        first, second, third = values
        if abs(third - second) <= abs(third) * mp.mpf(10) ** -3:
            return float(third)
        if abs(third) < abs(second) / 2 < abs(first) / 4 or abs(third) < mp.mpf(10) ** -6:
            return 0.0
        if abs(third) > abs(second) > abs(first) and abs(third - second) > 0.9 * abs(second - first):
            return math.copysign(math.inf, third)
    return None


def sides(x):
    return [-1, 1] if math.isfinite(x) else [math.copysign(1, x)]


LONG = "digamma", "erfcinv", "erfinv", "gamma"
"""Their references take mpmath seconds."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in sorted(REFERENCES.keys() - SHARED)]
)
def test_at_a_point_where_a_function_ends_the_derivative_is_its_limit_or_nan(name):
    function, _ = REFERENCES[name]
    t = Tensor(POINTS, requires_grad=True)
    with np.errstate(all="ignore"):
        (first,) = ad.gradients(function(t).sum(), t, create_graph=True)
        second = ad.gradients(first.sum(), t)[0].tolist() if first.requires_grad else [0.0] * len(POINTS)
        pushed = ad.jvp(function, np.array(POINTS), np.ones(len(POINTS)))[1]
        (plain,) = ad.gradients(function(t).sum(), t)
    for ours in (plain.data, pushed):
        np.testing.assert_array_equal(ours, first.data)
    for order, found in ((1, first.tolist()), (2, second)):
        for x, value in zip(POINTS, found):
            limits = [d for s in sides(x) if (d := side(name, order, x, s)) is not None]
            if (name, abs(x)) in UNSETTLED or (name, x) in UNSETTLED:
                continue
            what = f"{name}: derivative of order {order} at {x} is {value}, its limits {limits}"
            if math.isnan(value):
                assert len(set(limits)) != 1, what
            else:
                assert any(d == value or abs(d - value) <= 1e-3 * abs(d) + 1e-6 for d in limits), what


@pytest.mark.parametrize("f", [np.mod, np.fmod, np.remainder])
def test_a_remainder_that_does_not_exist_has_no_derivative(f):
    with np.errstate(all="ignore"):
        for a, b in [(np.inf, 2.0), (-np.inf, 2.0), (3.0, 0.0), (np.nan, 2.0)]:
            assert np.isnan(ad.grad(f, (0, 1))(a, b)).all()
        slopes = ad.grad(lambda a: f(a, 2.0).sum())(np.array([3.5, np.inf, -0.5]))
        np.testing.assert_array_equal(slopes, [1, np.nan, 1])


def test_the_parts_of_infinity_are_numpys():
    x = np.array([-np.inf, -1.5, 2.25, np.inf])
    for ours, numpys in zip(np.modf(Tensor(x)), np.modf(x)):
        np.testing.assert_array_equal(ours.data, numpys)
    np.testing.assert_array_equal(ad.grad(lambda x: np.modf(x)[0].sum())(x), [0, 1, 1, 0])


def test_the_side_of_a_triangle_that_is_infinite_has_the_limits_of_the_others():
    assert ad.grad(np.hypot, (0, 1))(np.inf, 2.0) == (1.0, 0.0)
    assert ad.grad(np.hypot, (0, 1))(3.0, -np.inf) == (0.0, -1.0)
    assert np.isnan(ad.grad(np.hypot, (0, 1))(np.inf, np.inf)).all()
    assert (ad.hessian(lambda v: np.hypot(v[0], v[1]))(np.array([np.inf, 2.0])) == 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200])
@pytest.mark.parametrize("p", [1.5, 3, 5, 0.5, 200])
def test_a_norm_beyond_the_range_of_its_powers_beside_a_zero_has_its_derivatives_and_no_warning(p, scale):
    values = [0.75 * scale, 0.0, -1.5 * scale, 1.25 * scale]
    others, v = [i for i, a in enumerate(values) if a], np.array([1.0, 0.0, 2.0, -1.0])

    def exact(*free):
        return sum(abs(a) ** mp.mpf(p) for a in free) ** (1 / mp.mpf(p))

    with mp.workdps(60):
        free, n = [mp.mpf(values[i]) for i in others], len(others)
        y, slopes = exact(*free), [mp.sign(a) * (abs(a) / exact(*free)) ** (mp.mpf(p) - 1) for a in free]
        # ∂²y/∂xᵢ∂xⱼ = (p − 1)/y · (δᵢⱼ |xᵢ/y|^(p−2) − slopeᵢ slopeⱼ)
        curved = [
            (mp.mpf(p) - 1) / y * sum(
                ((abs(free[i]) / y) ** (mp.mpf(p) - 2) * (i == j) - slopes[i] * slopes[j]) * mp.mpf(v[others[j]])
                for j in range(n)
            )
            for i in range(n)
        ]  # fmt: skip
        expected = [np.array([float(a) for a in found]) for found in ([y], slopes, curved)]
    x = Tensor(values, requires_grad=True)
    norm = ad.linalg.norm(x, p)
    (g,) = ad.gradients(norm, x, create_graph=True)
    (h,) = ad.gradients(g, x, v)
    np.testing.assert_allclose(norm.item(), expected[0][0], rtol=1e-12)
    np.testing.assert_allclose(g.numpy()[others], expected[1], rtol=1e-11)
    np.testing.assert_allclose(h.numpy()[others], expected[2], rtol=1e-9, atol=1e-13 / scale)
    assert g.numpy()[1] == 0 and (np.isnan(h.numpy()[1]) or h.numpy()[1] == 0)
    same = ad.gradients(norm, x)[0].numpy()
    np.testing.assert_allclose(same, g.numpy(), rtol=1e-15)
