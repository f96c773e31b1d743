"""Roots, fixed points and minimisers: their derivatives against closed forms and differences."""

import numpy as np
import pytest
import scipy.optimize

import autodiff as ad
from autodiff import Tensor, solvers
from autodiff.checking.gradcheck import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(3, 3)) / 4 + np.eye(3), RNG.normal(size=3)


def cubic(x, a, b):
    return a @ x + x**3 - b


def test_a_root_is_scipys_to_rounding_and_has_the_derivatives_of_its_closed_form():
    f = lambda a: solvers.root(lambda x, a: x * x - a, 1.0, (a,))
    for order, right in enumerate([2**0.5, 0.5 * 2**-0.5, -0.25 * 2**-1.5, 0.375 * 2**-2.5]):
        g = f
        for _ in range(order):
            g = ad.grad(g)
        np.testing.assert_allclose(g(2.0), right, rtol=1e-13)
    x = solvers.root(cubic, np.zeros(3), (A, B)).numpy()
    np.testing.assert_allclose(x, scipy.optimize.root(lambda x: A @ x + x**3 - B, np.zeros(3)).x, rtol=1e-9)
    assert np.abs(A @ x + x**3 - B).max() < 1e-15


def test_a_root_of_several_equations_has_the_derivatives_of_differences_forward_and_twice():
    f = lambda a, b: solvers.root(cubic, np.zeros(3), (a, b))
    gradcheck(f, (A, B))
    gradgradcheck(f, (A, B))
    _, moved = ad.jvp(lambda b: f(A, b), B, np.ones(3))
    x = f(A, B).numpy()
    np.testing.assert_allclose(moved, np.linalg.solve(A + np.diag(3 * x**2), np.ones(3)), rtol=1e-12)
    loss = lambda b: (f(A, b) ** 2).sum()
    np.testing.assert_allclose(ad.hvp(loss, B, np.ones(3)), ad.hessian(loss)(B) @ np.ones(3), rtol=1e-10)


def test_a_fixed_point_has_the_derivatives_of_the_theorem():
    f = lambda a: solvers.fixed_point(lambda x, a: np.cos(a * x), 0.5, (a,))
    x = f(1.3).item()
    slope = -x * np.sin(1.3 * x) / (1 + 1.3 * np.sin(1.3 * x))
    np.testing.assert_allclose(ad.grad(f)(1.3), slope, rtol=1e-12)
    gradgradcheck(f, 1.3)


@pytest.mark.parametrize("method", ["BFGS", "Newton-CG", "trust-exact", "Nelder-Mead"])
def test_a_minimiser_has_the_derivatives_of_ridge_regression(method):
    x, y = RNG.normal(size=(20, 3)), RNG.normal(size=20)
    loss = lambda w, penalty, x: ((x @ w - y) ** 2).sum() + penalty["l2"] * (w**2).sum()
    f = lambda l2: solvers.minimize(loss, np.zeros(3), ({"l2": l2}, x), method)
    closed = lambda l2: np.linalg.solve(x.T @ x + l2 * np.eye(3), x.T @ y)
    np.testing.assert_allclose(f(0.7).numpy(), closed(0.7), rtol=1e-10)
    np.testing.assert_allclose(ad.jacobian(f)(0.7), ad.jacobian(closed)(Tensor(0.7)).numpy(), rtol=1e-9)
    if method == "BFGS":
        gradgradcheck(f, 0.7)


def test_what_has_no_solution_or_would_lose_a_gradient_is_an_error():
    with pytest.raises(ValueError, match="root: none is found"):
        solvers.root(lambda x, a: x * x + a, 1.0, (1.0,))
    t = Tensor(2.0, requires_grad=True)
    with pytest.raises(TypeError, match=r"root: the function reads a Tensor .* pass that in args="):
        solvers.root(lambda x: x - t, 1.0)
    with pytest.raises(TypeError, match=r"minimize: the function reads a Tensor"):
        solvers.minimize(lambda x: ((x - t) ** 2).sum(), 1.0)
    with pytest.raises(ValueError, match=r"3 unknowns of shape \(3,\), but the function gives shape \(2,\)"):
        solvers.root(lambda x: x[:2], np.zeros(3))
    with pytest.raises(ValueError, match=r"minimize: the function gives shape \(3,\); it must give one number"):
        solvers.minimize(lambda x: x * x, np.zeros(3))
    with pytest.raises(TypeError, match="root: the function returned complex numbers"):
        solvers.root(lambda x: x * 1j, 1.0)
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        ad.grad(lambda a: solvers.root(lambda x, a: x**3 * a, 0.0, (a,)))(1.0)


@pytest.mark.parametrize("kind", [list, tuple])
def test_equations_may_be_a_list_as_scipys(kind):
    circle = lambda x, r: kind([x[0] ** 2 + x[1] ** 2 - r * r, x[0] - x[1]])
    found = lambda r: solvers.root(circle, [1.0, 1.0], (r,))
    np.testing.assert_allclose(found(2.0), scipy.optimize.root(circle, [1.0, 1.0], (2.0,)).x, rtol=1e-9)
    np.testing.assert_allclose(ad.jacobian(found)(2.0), np.full(2, 0.5**0.5), rtol=1e-12)
    pair = lambda a: solvers.fixed_point(lambda x, a: kind([np.cos(a * x[0]), x[1] / 2 + a]), [0.5, 0.5], (a,))
    x = pair(1.3).numpy()
    slope = -x[0] * np.sin(1.3 * x[0]) / (1 + 1.3 * np.sin(1.3 * x[0]))
    np.testing.assert_allclose(x[1], 2.6, rtol=1e-12)
    np.testing.assert_allclose(ad.jacobian(pair)(1.3), [slope, 2.0], rtol=1e-12)


def test_an_array_of_tensors_names_what_to_write():
    for solve in (solvers.root, solvers.fixed_point):
        with pytest.raises(TypeError, match=r"returned ndarray, not a Tensor; .*ad\.array\(\[\.\.\.\]\) in place of"):
            solve(lambda x, a: np.array([a * x[0]]), [1.0], (1.0,))
