"""Box–Cox transforms and their kin: derivatives against arbitrary precision, at a power of 0 above all."""

import math

import mpmath as mp
import numpy as np

import autodiff as ad
from autodiff import special
from tests.mathematics import derivatives_agree

POINTS = [(2.0, 1e-9), (2.0, 0.5), (0.1, -3.0), (0.1, 3.0), (50.0, 8.0), (0.3, 0.05)]


def swapped(points):
    return [(b, a) for a, b in points]


def test_exprel_and_cosm1_keep_their_digits_in_every_derivative():
    points = [(x,) for x in (-700.0, -40.0, -1.0, -0.3, 1e-3, 0.5, 8.0, 29.9, 30.1, 200.0)]
    derivatives_agree(special.exprel, lambda x: mp.expm1(x) / x, points)
    derivatives_agree(special.cosm1, lambda x: mp.cos(x) - 1, [(1e-8,), (0.3,), (3.0,)])


def test_spences_function_has_every_derivative_at_1_too():
    derivatives_agree(
        special.spence, lambda x: mp.polylog(2, 1 - x), [(x,) for x in (1e-3, 0.4, 1.0, 1.7, 30.0)], rtol=1e-10
    )


def test_spences_function_keeps_its_digits_beside_0():
    first = ad.grad(special.spence)
    for x in (1e-300, 1e-30, 1e-12, 0.01):
        np.testing.assert_allclose(first(x), math.log(x) / (1 - x), rtol=1e-14)
        second = 1 / (x * (1 - x)) + math.log(x) / (1 - x) ** 2
        np.testing.assert_allclose(ad.grad(first)(x), second, rtol=1e-13)
    assert first(0.0) == -np.inf
    assert first(np.float32(1e-20)).dtype == np.float32


def test_box_cox_transforms_have_their_derivatives_by_value_and_power():
    def boxcox(x, p):
        return mp.expm1(p * mp.log(x)) / p

    derivatives_agree(special.boxcox, boxcox, POINTS, rtol=1e-10)
    derivatives_agree(lambda p, x: special.boxcox(x, p), lambda p, x: boxcox(x, p), swapped(POINTS), rtol=1e-9)
    derivatives_agree(special.boxcox1p, lambda x, p: boxcox(1 + x, p), POINTS, rtol=1e-10)


def test_the_inverse_box_cox_transform_has_its_derivatives_by_value_and_power():
    def inverse(y, p):
        return mp.exp(mp.log1p(p * y) / p)

    points = [*POINTS, (-0.1, 3.0), (1.0, -0.3)]
    points = [(y, p) for y, p in points if 1 + p * y > 0]
    derivatives_agree(special.inv_boxcox, inverse, points, rtol=1e-10)
    derivatives_agree(lambda p, y: special.inv_boxcox(y, p), lambda p, y: inverse(y, p), swapped(points), rtol=1e-8)


def test_a_power_of_0_is_the_logarithm_with_the_limits_of_all_derivatives():
    log = math.log(3.0)
    d = ad.grad(special.boxcox, 1)
    np.testing.assert_allclose([d(3.0, 0.0), ad.grad(d, 1)(3.0, 0.0)], [log**2 / 2, log**3 / 3], rtol=1e-14)
    np.testing.assert_allclose(ad.grad(special.inv_boxcox, 1)(2.0, 0.0), -2 * math.exp(2.0), rtol=1e-14)
    assert ad.grad(special.boxcox, 1)(0.0, 2.0) == 0.25
