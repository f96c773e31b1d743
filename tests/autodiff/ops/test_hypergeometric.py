"""Hypergeometric functions: their derivatives against arbitrary precision, and the refusal of those by parameters."""

import mpmath as mp
import pytest
import scipy.special

from autodiff import Tensor, special
from tests.mathematics import derivatives_agree


def test_hypergeometric_functions_have_the_derivatives_of_arbitrary_precision():
    derivatives_agree(special.hyp0f1, mp.hyp0f1, [(0.7, 0.3), (2.5, -4.0), (1.0, 10.0)], rtol=1e-10)
    derivatives_agree(special.hyp1f1, mp.hyp1f1, [(0.7, 1.3, 0.3), (-2.0, 0.5, 2.0), (1.5, 2.5, -3.0)], rtol=1e-10)
    points = [(0.7, 1.3, 2.2, 0.3), (1.0, 0.5, 1.5, -0.8), (-3.0, 2.0, 0.6, 0.5)]
    derivatives_agree(special.hyp2f1, mp.hyp2f1, points, rtol=1e-9)


def test_a_polynomial_among_them_has_its_last_derivatives():
    x = Tensor(0.5, requires_grad=True)
    y = scipy.special.hyp2f1(-1.0, 2.0, 4.0, x)  # 1 − x/2
    assert y.item() == 0.75
    y.backward()
    assert x.grad.item() == -0.5


def test_their_parameters_have_no_derivative_and_are_named():
    with pytest.raises(TypeError, match=r"hyp1f1: has no derivative by parameter 1 of a hypergeometric function"):
        scipy.special.hyp1f1(1.0, Tensor(2.0, requires_grad=True), 0.5)
