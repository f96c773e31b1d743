"""The Hessian of a plain function at a point, as SciPy's solvers and minimisers take it."""

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der, rosen_hess
from scipy.sparse.linalg import cg, eigsh

import autodiff as ad
from autodiff import Tensor
from autodiff.curvature import Hessian


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


START = np.array([1.3, 0.7, 0.8, 1.9, 1.2])


def test_the_hessian_of_a_plain_function_is_that_of_the_closed_form():
    H = Hessian(rosenbrock, at=START, damping=0.25)
    np.testing.assert_allclose(H.to_dense(), rosen_hess(START) + 0.25 * np.eye(5), rtol=1e-12)
    np.testing.assert_allclose(H.gradient, rosen_der(START), rtol=1e-12)
    assert H.value == pytest.approx(rosen(START))
    np.testing.assert_allclose(
        H(START / 2).to_dense(), rosen_hess(START / 2) + 0.25 * np.eye(5), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(H.to_dense(), rosen_hess(START) + 0.25 * np.eye(5), rtol=1e-12)  # stays where it is


def test_scipys_solvers_take_it():
    H = Hessian(rosenbrock, at=np.ones(40))
    exact = rosen_hess(np.ones(40))
    np.testing.assert_allclose(eigsh(H, 2)[0], np.linalg.eigvalsh(exact)[-2:], rtol=1e-9)
    b = np.arange(40.0)
    solution, info = cg(H, b, rtol=1e-10, maxiter=2000)
    assert info == 0
    np.testing.assert_allclose(exact @ solution, b, atol=1e-7)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-constr", "trust-ncg", "trust-krylov", "trust-exact"])
def test_scipys_minimisers_take_it(method):
    H = Hessian(rosenbrock, at=START)
    how = {
        "trust-ncg": {"hessp": lambda x, p: H(x) @ p},
        "trust-krylov": {"hessp": lambda x, p: H(x) @ p},
        "trust-exact": {"hess": lambda x: H(x).to_dense()},
    }.get(method, {"hess": H})
    found = minimize(rosen, START, method=method, jac=rosen_der, **how)
    assert found.success
    np.testing.assert_allclose(found.x, np.ones(5), atol=1e-3)


@pytest.mark.parametrize(
    ("at", "f"),
    [
        ((np.ones(2), np.full((2, 1), 3.0)), lambda a, b: (a**2).sum() * (b**3).sum()),
        ([np.ones(2), np.full((2, 1), 3.0)], lambda ab: (ab[0] ** 2).sum() * (ab[1] ** 3).sum()),
        ({"a": np.ones(2), "b": Tensor(np.full((2, 1), 3.0))}, lambda p: (p["a"] ** 2).sum() * (p["b"] ** 3).sum()),
    ],
)
def test_a_point_may_be_several_arrays_and_another_is_given_in_its_form_or_flat(at, f):
    H = Hessian(f, at=at)
    whole = lambda x: (x[:2] ** 2).sum() * (x[2:] ** 3).sum()
    np.testing.assert_allclose(H.to_dense(), ad.hessian(whole)(np.array([1.0, 1, 3, 3])), rtol=1e-12)
    there = np.array([0.5, 1, 2, -1])
    np.testing.assert_allclose(H(there).to_dense(), ad.hessian(whole)(there), rtol=1e-12)
    form = type(at)
    parts = [there[:2], there[2:].reshape(2, 1)]
    same = H(dict(zip("ab", parts)) if form is dict else form(parts))
    np.testing.assert_allclose(same.to_dense(), H(there).to_dense())


def test_a_point_of_integers_or_one_number_is_taken_as_it_is_meant_and_single_precision_stays():
    assert Hessian(lambda x: x**3, at=2).to_dense() == 12
    assert Hessian(lambda x: (x**3).sum(), at=np.arange(3, dtype=np.float32)).dtype == np.float32
    x = np.ones(2)
    H = Hessian(lambda x: (x**3).sum(), at=x)
    x[:] = 7  # a copy was taken
    np.testing.assert_allclose(H @ x, [42, 42])


W = Tensor([1.0], requires_grad=True)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Hessian(rosenbrock), TypeError, "needs params, .* or at="),
        (lambda: Hessian(rosenbrock, [W], at=START), TypeError, "needs params, .* or at="),
        (lambda: Hessian(W.sum(), at=START), TypeError, "at= goes with a function"),
        (lambda: Hessian(rosenbrock, at=START, batches=[START]), TypeError, "neither a Tensor nor batches="),
        (lambda: Hessian(3, at=START), TypeError, "loss must be a recorded Tensor or a function, not int"),
        (lambda: Hessian(rosenbrock, at=START + 1j), TypeError, "arrays of real numbers, not complex128"),
        (lambda: Hessian(rosenbrock, at=()), ValueError, "needs at least one parameter"),
        (lambda: Hessian(rosenbrock, at=START)(np.ones(4)), ValueError, r"array 0 has shape \(4,\), not \(5,\)"),
        (lambda: Hessian(lambda x: x, at=START), ValueError, r"the loss has shape \(5,\)"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
