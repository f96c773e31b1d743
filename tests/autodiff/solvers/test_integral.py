"""Integrals: derivatives by bounds and parameters against closed forms and differences."""

import numpy as np
import pytest
import scipy.integrate

import autodiff as ad
from autodiff import Tensor, solvers
from autodiff.checking.gradcheck import gradcheck, gradgradcheck


def test_an_integral_is_scipys():
    f = lambda x, p: np.exp(-p[0] * x) * np.sin(p[1] * x)
    for a, b in ((0.0, 2.0), (2.0, -1.0), (0.0, np.inf)):
        y, error = solvers.quad(f, a, b, ((0.7, 2.0),))
        np.testing.assert_allclose(y.numpy(), scipy.integrate.quad(f, a, b, ((0.7, 2.0),))[0], rtol=1e-10)
        assert error < 1e-6


def test_three_derivatives_by_a_parameter_are_those_of_the_closed_form():
    f = lambda p: solvers.quad(lambda x, p: np.exp(-p * x), 0.0, np.inf, (p,))[0]
    for order, right in enumerate([1 / 2, -1 / 4, 2 / 8, -6 / 16]):
        g = f
        for _ in range(order):
            g = ad.grad(g)
        np.testing.assert_allclose(g(2.0), right, rtol=1e-9)


def test_derivatives_by_bounds_and_nested_parameters_are_those_of_differences():
    def f(a, b, p, w):
        return solvers.quad(lambda x, q: np.exp(-q["p"] * x) * (q["w"] * x).sum(), a, b, ({"p": p, "w": w},))[0]

    at = (0.2, 1.3, 0.7, np.array([1.0, -0.3]))
    gradcheck(f, at)
    gradgradcheck(f, at)
    np.testing.assert_allclose(ad.jvp(lambda b: f(0.2, b, 0.7, at[3]), 1.3, 1.0)[1], np.exp(-0.91) * 0.91, rtol=1e-9)


def test_what_has_no_derivative_or_would_lose_one_is_an_error():
    with pytest.raises(ValueError, match="the bound b is inf"):
        solvers.quad(lambda x: np.exp(-x), 0.0, Tensor(np.inf, requires_grad=True))
    t = Tensor(2.0, requires_grad=True)
    with pytest.raises(TypeError, match="quad: the function reads a Tensor"):
        solvers.quad(lambda x: x * t, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"shape \(2,\), not one number"):
        solvers.quad(lambda x: x * np.ones(2), 0.0, 1.0)


@pytest.mark.filterwarnings("ignore::autodiff.batching.batch.PerformanceWarning")
def test_the_error_inside_vmap_bounds_that_of_every_example():
    f = lambda k: solvers.quad(lambda x, k: np.cos(k * x), 0, 1, (k,), epsabs=1e-6)
    rates = np.array([1.0, 40.0, 3.0])
    y, errors = ad.vmap(f)(rates)
    np.testing.assert_allclose(y, np.sin(rates) / rates, atol=1e-6)
    np.testing.assert_array_equal(errors, max(f(k)[1] for k in rates))
