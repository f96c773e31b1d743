"""Bessel functions: derivatives by their argument against arbitrary precision, and the refusal of those by the order."""

import mpmath as mp
import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor, special
from tests.mathematics import derivatives_agree

ORDERS = [(0.0, 0.3), (1.0, 2.0), (2.5, 7.0), (3.0, 20.0), (0.3, 0.01)]


@pytest.mark.parametrize(
    "name, theirs", [("jv", mp.besselj), ("yv", mp.bessely), ("iv", mp.besseli), ("kv", mp.besselk)]
)
def test_bessel_functions_have_the_derivatives_of_arbitrary_precision(name, theirs):
    few = ORDERS if name in ("jv", "iv") else [(2.5, 7.0), (0.3, 0.01)]  # of whole orders mpmath takes seconds
    derivatives_agree(getattr(special, name), theirs, few)


@pytest.mark.parametrize("letter", "jyik")
def test_functions_of_order_0_and_1_have_the_derivatives_that_their_general_form_has(letter):
    x = Tensor([0.01, 0.3, 2.0, 20.0], requires_grad=True)
    for order in (0, 1):
        found, right = getattr(special, f"{letter}{order}")(x), getattr(special, f"{letter}v")(order, x)
        for _ in range(4):
            np.testing.assert_allclose(found.numpy(), right.numpy(), rtol=1e-11)
            found, right = (ad.gradients(y, x, np.ones(4), create_graph=True)[0] for y in (found, right))


def test_scaled_functions_have_derivatives_that_do_not_cancel_far_out():
    points = [
        (0.0, 0.3),
        (1.0, 2.0),
        (2.5, 7.0),
        (3.0, 29.0),
        (0.0, 31.0),
        (1.0, -3.0),
        (0.0, -500.0),
        (2.5, 1e5),
        (8.0, 40.0),
    ]
    derivatives_agree(special.ive, lambda v, x: mp.exp(-abs(x)) * mp.besseli(v, x), points, rtol=1e-8)
    for order, f in enumerate((special.i0e, special.i1e)):
        derivatives_agree(
            f,
            lambda x, v=order: mp.exp(-abs(x)) * mp.besseli(v, x),
            [(x,) for x in (0.3, -2.0, 28.0, 31.0, -1e6)],
            rtol=1e-8,
        )


def test_a_scaled_function_has_at_its_kink_the_mean_slope_and_no_second_derivative():
    d = ad.grad(special.i0e)
    assert d(0.0) == 0 and np.isnan(ad.grad(d)(0.0))
    assert ad.grad(special.i1e)(0.0) == 0.5


@pytest.mark.parametrize("name", ["jv", "yv", "iv", "kv", "ive"])
def test_a_derivative_by_the_order_is_refused_by_name(name):
    with pytest.raises(TypeError, match=name + r": has no derivative by the order of a Bessel function \(input 0\)"):
        getattr(special, name)(Tensor(1.5, requires_grad=True), 2.0)
