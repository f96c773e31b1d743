"""Functions defined by integrals: their derivatives against arbitrary precision."""

import mpmath as mp
import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor, special
from autodiff.ops.integrals import bivariate_normal
from tests.mathematics import derivatives_agree


def line(*points):
    return [(x,) for x in points]


def test_the_scaled_error_function_and_dawsons_integral_have_derivatives_that_do_not_cancel_far_out():
    derivatives_agree(
        special.erfcx,
        lambda x: mp.exp(x * x) * mp.erfc(x),
        line(-2.0, -0.3, 0.0, 0.7, 3.0, 6.9, 7.1, 30.0, 1e4),
        rtol=1e-9,
    )
    derivatives_agree(
        special.dawsn, lambda x: mp.exp(-x * x) * mp.erfi(x) * mp.sqrt(mp.pi) / 2,
        line(-8.0, -2.0, 0.0, 0.7, 3.0, 6.9, 7.1, 30.0, -1e4), rtol=1e-9, digits=60,
    )  # fmt: skip


def test_exponential_integrals_have_the_derivatives_of_arbitrary_precision():
    derivatives_agree(special.expi, mp.ei, line(-3.0, -0.1, 0.5, 20.0))
    derivatives_agree(special.exp1, mp.e1, line(0.1, 0.5, 20.0))
    points = [(0.0, 0.3), (1.0, 2.0), (2.0, 7.0), (3.0, 0.01), (5.0, 1.0)]
    derivatives_agree(lambda n, x: special.expn(n.astype(int), x), mp.expint, points)


def test_sine_and_cosine_integrals_have_the_derivatives_of_arbitrary_precision():
    derivatives_agree(lambda x: special.sici(x)[0], mp.si, line(-2.0, 0.0, 0.3, 30.0))
    derivatives_agree(lambda x: special.sici(x)[1], mp.ci, line(0.3, 30.0))


def test_fresnels_integrals_and_the_imaginary_error_function_have_the_derivatives_of_arbitrary_precision():
    derivatives_agree(lambda x: special.fresnel(x)[0], mp.fresnels, line(-1.9, 0.0, 0.3, 5.2))
    derivatives_agree(lambda x: special.fresnel(x)[1], mp.fresnelc, line(-1.9, 0.0, 0.3, 5.2))
    derivatives_agree(special.erfi, mp.erfi, line(-2.0, 0.0, 0.3, 5.0))


def test_owens_function_has_its_derivatives_by_both_inputs():
    def owen(h, a):
        return mp.quad(lambda t: mp.exp(-h * h * (1 + t * t) / 2) / (1 + t * t), [0, a]) / (2 * mp.pi)

    points = [(0.5, 0.3), (2.0, 1.0)]
    derivatives_agree(special.owens_t, owen, points, (0, 1, 2), digits=20)
    derivatives_agree(lambda a, h: special.owens_t(h, a), lambda a, h: owen(h, a), points, (0, 1, 2), digits=20)


def test_the_bivariate_normal_distribution_is_that_of_quadrature_with_all_derivatives():
    def theirs(h, k, r):
        inner = lambda t: mp.npdf(t) * mp.ncdf((k - r * t) / mp.sqrt(1 - r * r))
        return mp.quad(inner, [-mp.inf, -9, -4, -2, -1, h] if h > -1 else [-mp.inf, -9, -4, h])

    for h, k, r in [
        (0.3, -0.7, 0.5),
        (0.0, 0.4, -0.9),
        (-1.0, 0.0, 0.99),
        (0.0, 0.0, 0.3),
        (2.0, 1.5, -0.5),
        (-0.0, -2.0, 0.1),
    ]:
        found = bivariate_normal(h, k, r).item()
        assert abs(found - theirs(*map(mp.mpf, (h, k, r)))) < 2e-16
        ad.gradcheck(bivariate_normal, (h, k, r))
        ad.gradgradcheck(bivariate_normal, (h, k, r), rtol=1e-4)
    x = Tensor([np.inf, -np.inf, np.inf], requires_grad=True)
    y = bivariate_normal(x, [0.3, 0.3, np.inf], 0.5)
    np.testing.assert_allclose(y.numpy(), [float(mp.ncdf(0.3)), 0, 1], rtol=1e-15)
    assert ad.gradients(y.sum(), x)[0].tolist() == [0, 0, 0]


def test_the_order_of_an_exponential_integral_has_no_derivative_and_says_so():
    with pytest.raises(TypeError, match=r"expn: has no derivative by the order n \(input 0\)"):
        special.expn(Tensor(2.0, requires_grad=True), 1.0)
    assert np.isnan(ad.grad(special.exp1)(-1.0))
