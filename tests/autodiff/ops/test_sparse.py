"""Products with sparse matrices against the dense ones."""

import numpy as np
import pytest
import scipy.sparse

import autodiff as ad
from autodiff import Tensor
from autodiff.checking.gradcheck import gradcheck, gradgradcheck

FORMATS = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]
KINDS = {"array": scipy.sparse.coo_array, "matrix": scipy.sparse.coo_matrix}


def matrix(rng, form="csr", kind="array", dtype=np.float64, shape=(5, 4)):
    dense = np.round(rng.normal(size=shape) * 3) * (rng.uniform(size=shape) < 0.5)
    return KINDS[kind](dense.astype(dtype)).asformat(form), dense.astype(dtype)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_product_in_either_order_is_the_dense_one_with_its_derivatives(form, kind, rng):
    A, dense = matrix(rng, form, kind)
    assert A.format == form
    for shape, order in [((4,), "A @ t"), ((4, 3), "A @ t"), ((5,), "t @ A"), ((3, 5), "t @ A"), ((4, 0), "A @ t")]:
        t, e = rng.normal(size=shape), rng.normal(size=shape)

        def ours(x, order=order):
            return ad.sparse_matmul(A, x) if order == "A @ t" else ad.sparse_matmul(x, A)

        def theirs(x, order=order):
            return dense @ x if order == "A @ t" else x @ dense

        x = Tensor(t, requires_grad=True)
        y = ours(x)
        assert type(y) is Tensor and type(y.numpy()) is np.ndarray
        np.testing.assert_allclose(y.numpy(), theirs(t), atol=1e-14)
        g = rng.normal(size=y.shape)
        np.testing.assert_allclose(
            ad.gradients(y, x, g)[0].numpy(), dense.T @ g if order == "A @ t" else g @ dense.T, atol=1e-14
        )
        np.testing.assert_allclose(ad.jvp(ours, t, e)[1], theirs(e), atol=1e-14)
        if t.size:
            results = []
            for f in (ours, theirs):
                loss = lambda x, f=f: np.sin(f(x)).sum()
                results.append([ad.hvp(loss, t, e), ad.jvp(ad.grad(loss), t, e)[1], ad.hessian(loss)(t)])
            for found, expected in zip(*results):
                np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_product_passes_gradcheck_to_the_second_order(rng):
    A, _ = matrix(rng)
    for f, shape in [
        (lambda x: ad.sparse_matmul(A, x) ** 3, (4, 2)), (lambda x: ad.sparse_matmul(x, A) ** 3, (5,)),
    ]:  # fmt: skip
        gradcheck(f, [rng.normal(size=shape)])
        gradgradcheck(f, [rng.normal(size=shape)], rtol=1e-4)


@pytest.mark.parametrize("stored", [np.float32, np.float64, np.int64, np.int8, bool])
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_the_dtype_is_scipys_and_the_gradient_keeps_that_of_the_tensor(stored, given, rng):
    A, _ = matrix(rng, dtype=stored)
    t = rng.normal(size=(4, 2)).astype(given)
    x = Tensor(t, requires_grad=True)
    y = ad.sparse_matmul(A, x)
    assert y.dtype == (A @ t).dtype
    np.testing.assert_array_equal(y.numpy(), A @ t)
    (d,) = ad.gradients(y.sum(), x, create_graph=True)
    assert d.dtype == given
    assert ad.jvp(lambda x: ad.sparse_matmul(A, x), t, t)[1].dtype == y.dtype
    assert ad.sparse_matmul(A, np.arange(4)).dtype == (A @ np.arange(4)).dtype


def test_a_chain_of_sparse_products_has_no_dense_matrix_of_the_sparse_ones_size():
    """A graph's Laplacian of a million entries a side: dense it would take 8 TB."""
    n = 1_000_000
    A = scipy.sparse.diags_array([np.full(n, 2.0), np.full(n - 1, -1.0), np.full(n - 1, -1.0)], offsets=[0, 1, -1])
    x = Tensor(np.ones(n), requires_grad=True)
    (0.5 * (x * ad.sparse_matmul(A, x)).sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), A @ np.ones(n))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda A: ad.sparse_matmul(A, np.ones(5)), ValueError, "shapes (5, 4) and (5,) do not fit"),
        (lambda A: ad.sparse_matmul(A, np.ones(5)), ValueError, "must be (4,) or (4, k)"),
        (lambda A: ad.sparse_matmul(np.ones(4), A), ValueError, "must be (5,) or (k, 5)"),
        (lambda A: ad.sparse_matmul(A, np.ones((2, 4, 1))), ValueError, "shapes (5, 4) and (2, 4, 1)"),
        (lambda A: ad.sparse_matmul(A, 2.0), ValueError, "shapes (5, 4) and ()"),
        (lambda A: ad.sparse_matmul(A, A), TypeError, "both operands are sparse, of shapes (5, 4) and (5, 4)"),
        (lambda A: ad.sparse_matmul(np.ones((2, 2)), Tensor([1.0, 2.0])), TypeError, "shape (2, 2) and shape (2,)"),
        (lambda A: ad.sparse_matmul(A * 1j, np.ones(4)), TypeError, "dtype complex128 is refused"),
        (lambda A: ad.sparse_matmul(A, np.ones(4) * 1j), TypeError, "complex"),
        (lambda A: ad.sparse_matmul(scipy.sparse.coo_array(np.ones(4)), np.ones(4)), ValueError, "must be a matrix"),
        (lambda A: ad.sparse_matmul(A, None), TypeError, "sparse_matmul"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_shapes(call, error, words, rng):
    with pytest.raises(error) as raised:
        call(matrix(rng)[0])
    assert words in str(raised.value)


def test_a_sparse_product_is_drawn_and_explained(rng):
    A, _ = matrix(rng, shape=(2, 2))
    y = ad.sparse_matmul(A, Tensor([1.0, 2.0], requires_grad=True)).sum()
    assert "sparse_matmul" in ad.graph(y).source
    assert "A · v1" in str(ad.explain(y)) and "Aᵀ" in str(ad.explain(y))
