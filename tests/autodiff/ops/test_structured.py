"""Block-diagonal and Toeplitz matrices and distances against SciPy and differences."""

import numpy as np
import pytest
import scipy.linalg
from scipy.spatial.distance import cdist

import autodiff as ad
from autodiff import linalg
from autodiff.checking.gradcheck import gradcheck

A, B = np.array([[0.3, 1.0, -2.0], [0.5, 0.1, 1.0]]), np.array([[1.0, 2.0, 0.4]])


def test_a_block_diagonal_matrix_is_scipys():
    for blocks in ([A, B], [A, 2.0], [[1.0, 2.0], B.T], [np.zeros((2, 0)), A], []):
        np.testing.assert_array_equal(linalg.block_diag(*blocks).numpy(), scipy.linalg.block_diag(*blocks))
    gradcheck(linalg.block_diag, (A, B))
    with pytest.raises(ValueError, match=r"\(1, 1, 1\)"):
        linalg.block_diag(np.ones((1, 1, 1)))


def test_a_toeplitz_matrix_is_scipys():
    for c, r in ((A[0], None), (A[0], B[0]), (A[0], A[:, 0]), (A[:, 0], A[0])):
        np.testing.assert_array_equal(linalg.toeplitz(c, r).numpy(), scipy.linalg.toeplitz(c, r))
    gradcheck(lambda c, r: linalg.toeplitz(c, r) ** 2, (A[0], A[1]))
    with pytest.raises(ValueError, match=r"column of shape \(2, 3\)"):
        linalg.toeplitz(A)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cityblock", "chebyshev", "minkowski"])
def test_distances_are_scipys_with_the_derivatives_of_differences(metric):
    options = {"p": 3.0} if metric == "minkowski" else {}
    np.testing.assert_allclose(
        linalg.cdist(A, B, metric, **options).numpy(), cdist(A, B, metric, **options), rtol=1e-14
    )
    gradcheck(lambda a, b: linalg.cdist(a, b, metric, **options), (A, B))


def test_the_distance_of_equal_points_has_gradient_0():
    d = ad.grad(lambda a: linalg.cdist(a, a).sum())(A)
    assert np.isfinite(d).all()
    with pytest.raises(ValueError, match="'cosine'; it is one of"):
        linalg.cdist(A, B, "cosine")
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(3, 1\) do not fit"):
        linalg.cdist(A, B.T)


def test_a_toeplitz_matrix_of_a_complex_column_is_hermitian():
    c = A[0] + 1j * B[0]
    np.testing.assert_array_equal(linalg.toeplitz(c).numpy(), scipy.linalg.toeplitz(c))
    gradcheck(lambda c: linalg.toeplitz(c) ** 2, (c,))
