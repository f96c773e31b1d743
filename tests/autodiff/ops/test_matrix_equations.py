"""Systems with structure against SciPy, dense solutions and PyTorch."""

import numpy as np
import pytest
import scipy.linalg

import autodiff as ad
from autodiff import Tensor, linalg
from autodiff.checking.gradcheck import gradcheck, gradgradcheck

RNG = np.random.default_rng(1)
A, B, Q = RNG.normal(size=(3, 3)) + 4 * np.eye(3), RNG.normal(size=(2, 2)) + 3 * np.eye(2), RNG.normal(size=(3, 2))


def test_sylvesters_equation_is_solved_as_by_scipy_and_refused_without_a_single_solution():
    np.testing.assert_allclose(
        linalg.solve_sylvester(A, B, Q).numpy(), scipy.linalg.solve_sylvester(A, B, Q), rtol=1e-13
    )
    gradcheck(linalg.solve_sylvester, (A, B, Q))
    with pytest.raises(np.linalg.LinAlgError, match="eigenvalue in common"):
        linalg.solve_sylvester(np.eye(2), -np.eye(2), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"q of shape \(2, 3\) do not fit"):
        linalg.solve_sylvester(A, B, Q.T)


@pytest.mark.parametrize("lower, upper, n", [(1, 1, 5), (2, 0, 4), (0, 2, 4), (2, 3, 4), (0, 0, 3)])
def test_a_banded_system_is_solved_as_the_dense_one_with_its_gradients(lower, upper, n):
    ab = RNG.normal(size=(lower + upper + 1, n))
    ab[upper] += 8
    place = [(i, j) for i in range(n) for j in range(n) if -upper <= i - j <= lower]

    def dense(ab, b):
        a = ad.zeros((n, n))
        for i, j in place:
            a = a.at[i, j].set(ab[upper + i - j, j])
        return np.linalg.solve(a, b)

    for b in (RNG.normal(size=n), RNG.normal(size=(n, 2))):
        np.testing.assert_allclose(
            linalg.solve_banded((lower, upper), ab, b).numpy(),
            scipy.linalg.solve_banded((lower, upper), ab, b),
            rtol=1e-14,
        )
        banded = lambda ab, b: linalg.solve_banded((lower, upper), ab, b)
        for f in (lambda f: ad.grad(lambda *x: (f(*x) ** 2).sum(), (0, 1)),
                  lambda f: lambda *x: ad.hvp(lambda *v: (f(*v) ** 3).sum(), x, (np.ones_like(x[0]), np.ones_like(x[1])))):  # fmt: skip
            for found, right in zip(f(banded)(ab, b), f(dense)(ab, b)):
                np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="do not fit"):
        linalg.solve_banded((lower + 1, upper), ab, np.ones(n))


@pytest.mark.parametrize("lower", [False, True])
def test_a_system_is_solved_from_its_cholesky_factor(lower):
    a, b = A @ A.T, RNG.normal(size=(3, 2))
    c, which = linalg.cho_factor(a, lower)
    assert which is lower
    theirs = scipy.linalg.cho_factor(a, lower)[0]
    np.testing.assert_allclose(c.numpy(), np.tril(theirs) if lower else np.triu(theirs), rtol=1e-13)
    np.testing.assert_allclose(linalg.cho_solve((c, lower), b).numpy(), np.linalg.solve(a, b), rtol=1e-11)
    f = lambda a, b: linalg.cho_solve(linalg.cho_factor((a + a.T) / 2, lower), b)
    gradcheck(f, (a, b))


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 3), (1, 1)])
def test_lu_factors_are_scipys_with_the_derivatives_of_torch(shape):
    a = RNG.normal(size=shape)
    for x, right in zip(linalg.lu(Tensor(a, requires_grad=True)), scipy.linalg.lu(a), strict=True):
        np.testing.assert_allclose(x.numpy(), right, rtol=1e-12, atol=1e-14)
    torch = pytest.importorskip("torch")
    x, z = Tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    (_, lower, upper), (_, theirs, others) = linalg.lu(x), torch.linalg.lu(z)
    y, w = (lower**3).sum() + (upper**2).sum() / 2, (theirs**3).sum() + (others**2).sum() / 2
    (d,), (right,) = ad.gradients(y, x), torch.autograd.grad(w, z)
    np.testing.assert_allclose(d.numpy(), right.numpy(), rtol=1e-8, atol=1e-10)
    gradgradcheck(lambda a: linalg.lu(a, permute_l=True), a)


def test_dependent_columns_have_no_derivative_of_their_factors():
    with pytest.raises(np.linalg.LinAlgError, match="dependent"):
        linalg.lu(Tensor([[1.0, 2.0], [2.0, 4.0]], requires_grad=True))
