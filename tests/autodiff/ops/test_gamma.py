"""Gamma and beta functions: their derivatives by every input against arbitrary precision, SciPy and differences."""

import mpmath as mp
import numpy as np
import pytest
import scipy.special

import autodiff as ad
from autodiff import Tensor, special
from autodiff.checking.gradcheck import gradcheck
from tests.mathematics import derivatives_agree

BELOW = [(0.01, 0.5), (1e-3, 0.5), (0.5, 0.5), (2.0, 3.0), (30.0, 3.0), (3.0, 30.0), (1000.0, 950.0), (1000.0, 1100.0),
         (0.5, 0.02), (1e-8, 0.1), (60.0, 0.3)]  # fmt: skip
INSIDE = [(0.5, 0.3, 0.2), (2.0, 0.3, 5.0), (2.0, 0.97, 5.0), (50.0, 0.5, 50.0), (500.0, 0.45, 600.0), (1.0, 1e-3, 0.5),
          (0.01, 0.5, 0.02), (3.0, 0.999, 0.1)]  # fmt: skip


def test_the_reciprocal_of_gamma_has_all_derivatives_at_the_poles_of_gamma_too():
    derivatives_agree(special.rgamma, mp.rgamma, [(x,) for x in (-5.0, -3.5, -1.0, 0.0, 0.3, 1.0, 4.5, 30.0)])


def test_gamma_and_beta_functions_have_the_derivatives_of_arbitrary_precision():
    derivatives_agree(special.loggamma, mp.loggamma, [(0.1,), (1.5,), (30.0,)])
    derivatives_agree(special.beta, mp.beta, [(0.5, 0.3), (2.0, -0.7), (30.0, 20.0)])
    derivatives_agree(special.betaln, lambda a, b: mp.log(mp.beta(a, b)), [(0.5, 0.3), (30.0, 20.0), (200.0, 300.0)])
    derivatives_agree(special.zeta, mp.zeta, [(2.0, 0.5), (3.0, 7.0)])


def test_incomplete_gamma_functions_have_their_derivatives_by_the_parameter_in_both_tails():
    points = [(x, a) for a, x in [(a, x) for x, a in BELOW]]
    derivatives_agree(
        lambda x, a: special.gammainc(a, x),
        lambda x, a: mp.gammainc(a, 0, x, regularized=True),
        points,
        (0, 1, 2),
        1e-10,
    )
    derivatives_agree(
        lambda x, a: special.gammaincc(a, x), lambda x, a: mp.gammainc(a, x, mp.inf, regularized=True), points[:6],
        (0, 1, 2), 1e-10,
    )  # fmt: skip


def test_incomplete_beta_functions_have_their_derivatives_by_both_parameters_in_both_tails():
    def integral(a, b, x):
        return mp.betainc(a, b, 0, x, regularized=True)

    derivatives_agree(
        lambda a, x, b: special.betainc(a, b, x), lambda a, x, b: integral(a, b, x), INSIDE, (0, 1, 2), 1e-9
    )
    derivatives_agree(
        lambda b, x, a: special.betainc(a, b, x), lambda b, x, a: integral(a, b, x), INSIDE, (0, 1, 2), 1e-9
    )


def test_incomplete_functions_have_the_derivatives_of_their_densities_by_the_bound():
    derivatives_agree(
        special.gammainc,
        lambda a, x: mp.gammainc(a, 0, x, regularized=True),
        [(a, x) for x, a in BELOW],
        (0, 1, 2),
        1e-10,
    )
    derivatives_agree(
        special.betaincc, lambda a, b, x: mp.betainc(a, b, x, 1, regularized=True), [(a, b, x) for a, x, b in INSIDE],
        (0, 1, 2), 1e-9,
    )  # fmt: skip


def test_mixed_derivatives_of_incomplete_functions_are_those_of_differences():
    gradcheck(ad.grad(lambda a, x: special.gammainc(a, x), (0, 1)), (2.0, 1.3))
    gradcheck(ad.grad(lambda a, b, x: special.betainc(a, b, x), (0, 1, 2)), (2.0, 1.3, 0.4))


def test_incomplete_functions_have_no_slope_by_their_parameters_at_the_ends_and_none_outside():
    a, x = Tensor([2.0, 2.0, 2.0, -1.0], requires_grad=True), Tensor([0.0, np.inf, -1.0, 1.0])
    np.testing.assert_array_equal(ad.gradients(special.gammainc(a, x).sum(), a)[0].numpy(), [0, 0, np.nan, np.nan])
    x = Tensor([0.0, 1.0, 1.5, 0.5])
    np.testing.assert_array_equal(ad.gradients(special.betainc(a, 3.0, x).sum(), a)[0].numpy(), [0, 0, np.nan, np.nan])


def test_a_derivative_without_a_closed_form_is_refused_by_the_name_of_the_input():
    with pytest.raises(TypeError, match=r"zeta: has no derivative by the exponent x \(input 0\)"):
        special.zeta(Tensor(2.0, requires_grad=True), 1.0)


def test_multigammaln_is_scipys_and_says_what_it_needs():
    a = np.array([3.2, 5.0])
    np.testing.assert_allclose(special.multigammaln(a, 3).numpy(), scipy.special.multigammaln(a, 3), rtol=1e-15)
    gradcheck(lambda a: special.multigammaln(a, 3), a)
    with pytest.raises(ValueError, match=r"a > \(d − 1\)/2 and d ≥ 1, not d = 3"):
        special.multigammaln(0.5, 3)
    with pytest.raises(TypeError, match=r"integer, not 1\.5"):
        special.multigammaln(2.0, 1.5)
