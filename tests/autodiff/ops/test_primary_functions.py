"""Exponential, logarithm and square root of matrices against SciPy, PyTorch and closed forms."""

import numpy as np
import pytest
import scipy.linalg

import autodiff as ad
from autodiff import Tensor, linalg
from autodiff.checking.gradcheck import gradcheck, gradgradcheck
from tests.against_torch import agrees_with_torch

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 4))
POSITIVE = A @ A.T + np.eye(4)
ROTATED = RNG.normal(size=(2, 3, 3)) / 2 + 2 * np.eye(3)  # not symmetric, eigenvalues on the right


@pytest.mark.parametrize("a", [A / 10, A, 8 * A, np.zeros((2, 2)), np.array([[0.0, 1.0], [0.0, 0.0]]), A[:1, :1]])
def test_the_exponential_is_scipys(a):
    np.testing.assert_allclose(linalg.expm(a).numpy(), scipy.linalg.expm(a), rtol=1e-12)
    assert linalg.expm(np.stack([a, a]).astype(np.float32)).dtype == np.float32


def test_the_exponential_has_the_two_derivatives_of_torch():
    torch = pytest.importorskip("torch")
    agrees_with_torch(linalg.expm, torch.linalg.matrix_exp, A / 2)
    agrees_with_torch(linalg.expm, torch.linalg.matrix_exp, ROTATED)


def test_the_derivative_along_a_direction_is_scipys_whatever_its_size():
    for size in (1e-12, 1.0, 1e12):
        e = size * RNG.normal(size=(4, 4))
        _, d = ad.jvp(linalg.expm, A, e)
        np.testing.assert_allclose(d, scipy.linalg.expm_frechet(A, e, compute_expm=False), rtol=1e-11)


def test_logarithm_and_square_root_are_scipys_and_inverse_functions():
    for a in (POSITIVE, *ROTATED, np.eye(3), 1e6 * ROTATED[0], 1e-6 * ROTATED[0]):
        np.testing.assert_allclose(linalg.logm(a).numpy(), scipy.linalg.logm(a), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(linalg.sqrtm(a).numpy(), scipy.linalg.sqrtm(a), rtol=1e-11, atol=1e-12)
    chain = lambda a: linalg.logm(linalg.expm(a))
    np.testing.assert_allclose(ad.jacobian(chain)(A / 3).reshape(16, 16), np.eye(16), atol=1e-9)
    chain = lambda a: linalg.sqrtm(a) @ linalg.sqrtm(a)
    np.testing.assert_allclose(ad.jacobian(chain)(ROTATED[0]).reshape(9, 9), np.eye(9), atol=1e-10)


@pytest.mark.parametrize("name", ["expm", "logm", "sqrtm"])
def test_three_derivatives_are_those_of_differences_where_eigenvalues_repeat_too(name):
    f = getattr(linalg, name)
    for a in (ROTATED[0][:2, :2], np.eye(2), np.array([[1.0, 1.0], [0.0, 1.0]])):
        gradcheck(f, a)
        gradgradcheck(f, a)
    gradgradcheck(ad.grad(lambda a: (f(a) * np.array([[1.0, 0.5], [-0.3, 2.0]])).sum()), ROTATED[0][:2, :2], rtol=1e-4)


def test_the_gradient_of_a_square_root_solves_sylvesters_equation():
    g = RNG.normal(size=(4, 4))
    a = Tensor(POSITIVE, requires_grad=True)
    (d,) = ad.gradients(linalg.sqrtm(a), a, g)
    root = scipy.linalg.sqrtm(POSITIVE)
    np.testing.assert_allclose(d.numpy(), scipy.linalg.solve_sylvester(root.T, root.T, g), rtol=1e-10)


def test_a_matrix_without_a_real_function_is_refused_and_a_singular_one_has_no_derivative():
    for name in ("logm", "sqrtm"):
        with pytest.raises(np.linalg.LinAlgError, match=name + r".*negative real axis"):
            getattr(linalg, name)([[-1.0, 0.0], [0.0, 1.0]])
        with pytest.raises(np.linalg.LinAlgError, match="square matrices"):
            getattr(linalg, name)(np.ones((2, 3)))
    singular = Tensor([[1.0, 0.0], [0.0, 0.0]], requires_grad=True)
    assert np.isnan(linalg.logm(singular).numpy()).all()
    y = linalg.sqrtm(singular)
    np.testing.assert_array_equal(y.numpy(), [[1, 0], [0, 0]])
    assert np.isnan(ad.gradients(y.sum(), singular)[0].numpy()).any()
