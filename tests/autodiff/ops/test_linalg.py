"""Linear algebra against PyTorch, closed forms and NumPy's own values."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
import autodiff.linalg as la
from autodiff import Tensor, no_grad
from autodiff.checking.gradcheck import gradcheck, gradgradcheck
from tests.against_numpy import same_as_numpy
from tests.against_torch import agrees_with_torch


def regular(rng, *shape):
    """Random matrices with well separated, non-zero singular values."""
    n = min(shape[-2:])
    u, _, vt = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    return (u * rng.uniform(0.8, 1.2, n) * np.arange(1, n + 1)) @ vt


def t(x):
    return x.swapaxes(-1, -2)


def positive(x):
    return x @ t(x) + 0.5 * x[..., :1, :1] ** 2 * np.eye(x.shape[-1])


BATCHES = [(), (2,), (2, 1, 3)]


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


# Systems, inverses, determinants


@pytest.mark.parametrize("batch", BATCHES)
def test_inv_det_and_slogdet_agree_with_torch(batch, rng, torch):
    a = regular(rng, *batch, 3, 3)
    agrees_with_torch(np.linalg.inv, torch.linalg.inv, a)
    agrees_with_torch(np.linalg.det, torch.linalg.det, a)
    agrees_with_torch(lambda x: np.linalg.slogdet(x).logabsdet, lambda x: torch.linalg.slogdet(x)[1], a)
    sign, log = la.slogdet(Tensor(a))
    np.testing.assert_allclose(sign.numpy() * np.exp(log.numpy()), np.linalg.det(a))


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 3), (3,)),
        ((3, 3), (3, 2)),
        ((2, 3, 3), (3,)),
        ((2, 3, 3), (2, 3, 1)),
        ((3, 3), (4, 3, 2)),
        ((2, 1, 3, 3), (4, 3, 2)),
    ],
)
def test_solve_agrees_with_torch_for_vectors_matrices_and_batches(shapes, rng, torch):
    a, b = regular(rng, *shapes[0]), rng.normal(size=shapes[1])

    def theirs(x, y):
        return torch.linalg.solve(x, y) if y.ndim > 1 else torch.linalg.solve(x, y[:, None])[..., 0]

    agrees_with_torch(np.linalg.solve, theirs, a, b)


def test_a_vector_is_one_only_if_it_has_one_axis(rng):
    """NumPy 2's rule: (2, 2, 2) and (2, 2) is a batch of two systems with one and the same matrix on the right."""
    a, b = regular(rng, 2, 2, 2), rng.normal(size=(2, 2))
    np.testing.assert_allclose(la.solve(a, b).numpy(), np.stack([np.linalg.solve(x, b) for x in a]))


@pytest.mark.parametrize("lower, trans, unit", [*itertools.product([False, True], [0, "T"], [False, True])])
def test_solve_triangular_is_scipys_with_torchs_derivatives(lower, trans, unit, rng, torch):
    from scipy.linalg import solve_triangular

    a, b = rng.normal(size=(3, 3)) + 3 * np.eye(3), rng.normal(size=(3, 2))
    options = {"lower": lower, "trans": trans, "unit_diagonal": unit}
    for right in (b, b[:, 0]):
        np.testing.assert_allclose(
            la.solve_triangular(a, right, **options).numpy(), solve_triangular(a, right, **options)
        )

    def theirs(x, y):
        x = torch.tril(x) if lower else torch.triu(x)
        x = x - torch.diag(torch.diagonal(x)) + torch.eye(3) if unit else x
        return torch.linalg.solve(x.mT if trans else x, y)

    agrees_with_torch(lambda x, y: la.solve_triangular(x, y, **options), theirs, a, b)


def test_solve_triangular_takes_batches_and_never_reads_the_other_triangle(rng, torch):
    a, b = rng.normal(size=(2, 3, 3)) + 3 * np.eye(3), rng.normal(size=(4, 1, 3, 2))
    agrees_with_torch(
        la.solve_triangular, lambda x, y: torch.linalg.solve_triangular(torch.triu(x), y, upper=True), a, b
    )
    x = Tensor(a[0], requires_grad=True)
    (d,) = ad.gradients(la.solve_triangular(x, np.ones(3), lower=True).sum(), x)
    assert (np.triu(d.numpy(), 1) == 0).all() and d.numpy()[2, 0] != 0
    y = la.solve_triangular(Tensor(a.astype(np.float32)), b.astype(np.float32))
    assert y.dtype == np.float32 and y.shape == (4, 2, 3, 2)
    assert la.solve_triangular(np.zeros((0, 3, 3)), np.ones(3)).shape == (0, 3)


def leibniz(n):
    """det as a polynomial of the entries, Σ over permutations."""

    def det(a):
        total = 0.0
        for p in itertools.permutations(range(n)):
            parity = np.linalg.det(np.eye(n)[list(p)])
            term = parity
            for i in range(n):
                term = term * a[i, p[i]]
            total = total + term
        return total

    return det


@pytest.mark.parametrize("n, rank", [(n, r) for n in (1, 2, 3, 4) for r in range(n + 1)])
def test_det_has_its_first_three_derivatives_at_matrices_of_any_rank(n, rank, rng):
    a = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n))
    xs = [Tensor(a, requires_grad=True) for _ in range(2)]
    vs = [rng.normal(size=(n, n)) for _ in range(3)]
    for i, tolerance in enumerate((1e-11, 1e-10, 1e-8)):
        if i == 0:
            ys = [np.linalg.det(xs[0]), leibniz(n)(xs[1])]
        ds = []
        for x, y in zip(xs, ys):
            d = None
            if y.requires_grad:
                (d,) = ad.gradients(y, x, create_graph=True, allow_unused=True)
            ds.append(Tensor(np.zeros((n, n))) if d is None else d)
        np.testing.assert_allclose(ds[0].numpy(), ds[1].numpy(), rtol=tolerance, atol=tolerance)
        ys = [(d * vs[i]).sum() for d in ds]


def test_det_of_a_batch_with_one_singular_matrix_is_right_for_all(rng):
    a = rng.normal(size=(3, 3, 3))
    a[1] = np.outer([1, 2, 3], [1, 0, -1.0])
    x = Tensor(a, requires_grad=True)
    (d,) = ad.gradients(np.linalg.det(x).sum(), x)
    for i in range(3):
        y = Tensor(a[i], requires_grad=True)
        np.testing.assert_allclose(d.numpy()[i], ad.gradients(leibniz(3)(y), y)[0].numpy(), atol=1e-12)
    f32 = Tensor(a.astype(np.float32), requires_grad=True)
    np.testing.assert_allclose(ad.gradients(la.det(f32).sum(), f32)[0].numpy(), d.numpy(), rtol=1e-4, atol=1e-5)


def test_slogdet_of_a_singular_matrix_that_a_where_left_out_gets_gradient_zero(rng):
    a = np.stack([np.eye(2), np.ones((2, 2))])
    x = Tensor(a, requires_grad=True)
    sign, log = la.slogdet(x)
    y = np.where(sign.numpy() == 0, 0.0, log)
    (d,) = ad.gradients(y.sum(), x, create_graph=True)
    np.testing.assert_allclose(d.numpy(), [np.eye(2), np.zeros((2, 2))])
    (dd,) = ad.gradients((d * d).sum(), x)
    assert np.isfinite(dd.numpy()).all()


@pytest.mark.parametrize("singular", [np.ones((2, 2)), np.zeros((2, 2)), np.diag([1.0, 0.0])])
def test_the_logarithm_of_a_determinant_of_zero_has_no_derivative(singular, rng):
    """It falls to −∞ from both sides: no slope, finite or infinite, is its derivative. (That of det is exact.)"""
    x = Tensor(np.stack([np.eye(2), singular]), requires_grad=True)
    (d,) = ad.gradients(la.slogdet(x).logabsdet.sum(), x)
    assert np.isnan(d.numpy()[1]).all()
    np.testing.assert_array_equal(d.numpy()[0], np.eye(2))
    _, slope = ad.jvp(lambda a: la.slogdet(a).logabsdet, x.numpy(), rng.normal(size=(2, 2, 2)))
    assert np.isnan(slope[1]) and np.isfinite(slope[0])


def test_slogdet_of_a_large_matrix_does_not_overflow(rng):
    x = Tensor(1e3 * np.eye(200, dtype=np.float32), requires_grad=True)
    (d,) = ad.gradients(la.slogdet(x).logabsdet, x)
    np.testing.assert_allclose(d.numpy(), 1e-3 * np.eye(200), rtol=1e-5)


# Factorisations


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_agrees_with_torch_and_its_gradient_is_symmetric(batch, upper, rng, torch):
    a = regular(rng, *batch, 3, 3)
    agrees_with_torch(
        lambda x: np.linalg.cholesky(positive(x), upper=upper),
        lambda x: torch.linalg.cholesky(x @ x.mT + 0.5 * x[..., :1, :1] ** 2 * torch.eye(3), upper=upper),
        a,
    )
    x = Tensor(positive(a), requires_grad=True)
    y = np.linalg.cholesky(x, upper=upper)
    np.testing.assert_allclose((t(y) @ y if upper else y @ t(y)).numpy(), x.numpy())
    (d,) = ad.gradients((y * y).sum() + y.sum(), x)
    np.testing.assert_allclose(d.numpy(), t(d.numpy()))


def symmetric(x):
    return (x + t(x)) / 2


def symmetric_torch(x):
    return (x + x.mT) / 2


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("UPLO", ["L", "U"])
def test_eigh_agrees_with_torch_on_what_has_no_sign(batch, UPLO, rng, torch):
    u = np.linalg.qr(rng.normal(size=(*batch, 3, 3)))[0]
    a = (u * [-1.0, 0.7, 2.0]) @ t(u)
    agrees_with_torch(
        lambda x: np.linalg.eigh(symmetric(x), UPLO)[0], lambda x: torch.linalg.eigh(symmetric_torch(x), UPLO)[0], a
    )
    agrees_with_torch(
        lambda x: np.linalg.eigvalsh(symmetric(x)), lambda x: torch.linalg.eigvalsh(symmetric_torch(x)), a
    )

    def ours(x):
        w, v = la.eigh(symmetric(x), UPLO)
        return (v * v * np.exp(w)[..., None, :]) @ t(v * v)

    def theirs(x):
        w, v = torch.linalg.eigh(symmetric_torch(x), UPLO)
        return (v * v * torch.exp(w)[..., None, :]) @ (v * v).mT

    agrees_with_torch(ours, theirs, a, rtol=1e-8, atol=1e-9)
    x = Tensor(a, requires_grad=True)
    w, v = la.eigh(x)
    np.testing.assert_allclose((x @ v).numpy(), (v * w[..., None, :]).numpy(), atol=1e-12)
    (d,) = ad.gradients((v * v * v).sum() + (w * w).sum(), x)
    np.testing.assert_allclose(d.numpy(), t(d.numpy()))


def in_a_basis(values, rng):
    u = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    return symmetric((u * values) @ u.T)


REPEATED = [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 2.0], [-1.0, 2.0, 2.0, 2.0]]


def second_derivatives(f, a, direction):
    """∂²f along `direction`, by all the ways that the engine has."""
    x = Tensor(a, requires_grad=True)
    (d,) = ad.gradients(f(x), x, create_graph=True)
    (twice,) = ad.gradients((d * direction).sum(), x)
    return [
        twice.numpy(),
        ad.hvp(f, a, direction),
        ad.jvp(ad.grad(f), a, direction)[1],
        ad.grad(lambda x: ad.jvp(f, x, direction)[1])(a),
        np.einsum("ijkl,kl->ij", ad.hessian(f)(a), direction),
    ]


@pytest.mark.parametrize("values", REPEATED)
@pytest.mark.parametrize("basis", ["axes", "random"])
@pytest.mark.parametrize("eigenvalues", [la.eigvalsh, lambda x: la.eigh(x).eigenvalues, lambda x: la.eigvalsh(x, "U")])
def test_symmetric_functions_of_repeated_eigenvalues_have_exact_gradients(values, basis, eigenvalues, rng):
    a = np.diag(values) if basis == "axes" else in_a_basis(values, rng)
    direction = symmetric(rng.normal(size=a.shape))
    for f, exact in [
        (lambda w: w.sum(), np.eye(len(a))),  # the trace
        (lambda w: (w**2).sum(), 2 * a),  # the trace of a²
        (lambda w: (w**3).sum(), 3 * a @ a),
        (
            lambda w: np.prod(1 + w * w),
            np.linalg.det(np.eye(len(a)) + a @ a) * 2 * a @ np.linalg.inv(1 * np.eye(len(a)) + a @ a),
        ),
    ]:
        np.testing.assert_allclose(ad.grad(lambda x: f(eigenvalues(x)))(a), exact, atol=1e-12)
        slope = ad.jvp(lambda x: f(eigenvalues(x)), a, direction)[1]
        np.testing.assert_allclose(slope, (exact * direction).sum(), atol=1e-12)


@pytest.mark.parametrize("values", REPEATED)
def test_the_hessian_of_a_sum_of_squares_of_repeated_eigenvalues_is_never_a_wrong_number(values, rng):
    """It is 2 for every entry (the sum is the squared Frobenius norm); where eigenvalues repeat the rule cannot know."""
    for a in (np.diag(values), in_a_basis(values, rng)):
        for f in (lambda x: (la.eigvalsh(x) ** 2).sum(), lambda x: ((la.eigh(x).eigenvalues - 1) ** 2).sum()):
            found = second_derivatives(f, a, symmetric(rng.normal(size=a.shape)))
            assert all(np.isnan(d).all() for d in found)
    h = ad.hessian(lambda x: (np.linalg.eigvalsh((x + x.T) / 2) ** 2).sum())(np.eye(2))
    exact = ad.hessian(lambda x: (((x + x.T) / 2) ** 2).sum())(np.eye(2))
    assert (np.isnan(h) | (h == exact)).all()


@pytest.mark.parametrize("values", REPEATED)
def test_the_trace_by_eigenvalues_has_second_derivative_zero_where_they_repeat(values, rng):
    for a in (np.diag(values), in_a_basis(values, rng)):
        for d in second_derivatives(lambda x: la.eigvalsh(x).sum(), a, rng.normal(size=a.shape))[:3]:
            np.testing.assert_allclose(d, 0, atol=1e-12)


@pytest.mark.parametrize("largest", [lambda w: w[-1], lambda w: w.max()])
def test_the_largest_eigenvalue_has_its_hessian_where_the_others_repeat(largest, rng):
    """d²λ = 2 Σ (vᵀEvᵢ)²/(λ − λᵢ), perturbation theory of second order."""
    for values in ([1.0, 1.0, 2.0], [0.0, 0.0, 0.0, 3.0]):
        a = in_a_basis(values, rng)
        w, v = np.linalg.eigh(a)
        e = symmetric(rng.normal(size=a.shape))
        exact = 2 * sum((v[:, -1] @ e @ v[:, i]) ** 2 / (w[-1] - w[i]) for i in range(len(w) - 1))
        for d in second_derivatives(lambda x: largest(la.eigvalsh(x)), a, e)[:3]:
            np.testing.assert_allclose((d * e).sum(), exact, rtol=1e-10)


@pytest.mark.parametrize("values", REPEATED)
@pytest.mark.parametrize("f", [np.exp, np.log1p, lambda w: w - 1.0, lambda w: w])
def test_a_function_of_the_eigenvectors_of_a_repeated_eigenvalue_is_never_a_wrong_number(values, f, rng):
    """The last two are zero at 1 and at 0, so that every cotangent of the vectors is zero too, by chance."""

    def matrix_function(x):
        w, v = la.eigh(x)
        return (v * f(np.maximum(w, -0.5))) @ v.T

    for a in (np.diag(values), in_a_basis(values, rng)):
        for g in (rng.normal(size=a.shape), np.eye(len(a))[0][:, None] * np.eye(len(a))[1]):
            assert np.isnan(ad.grad(lambda x, g=g: (matrix_function(x) * g).sum())(a)).all()
            assert np.isnan(ad.jvp(matrix_function, a, symmetric(g))[1]).any()


def test_weights_of_repeated_eigenvalues_that_move_or_differ_have_no_second_derivative(rng):
    a, e = np.diag([1.0, 1.0, 2.0]), symmetric(rng.normal(size=(3, 3)))
    for f in (lambda x: la.eigvalsh(x)[0], lambda x: la.eigvalsh(x)[:2].prod(), lambda x: np.exp(la.eigvalsh(x)).sum()):
        assert all(np.isnan(d).all() for d in second_derivatives(f, a, e))
    exact = 2 * e[2, 2] ** 2 + 4 * 2 * (e[2, 0] ** 2 + e[2, 1] ** 2)  # (λ²)″ = 2 λ′² + 2 λ λ″ of the single one
    for d in second_derivatives(lambda x: la.eigvalsh(x)[-1] ** 2, a, e):
        assert np.isnan(d).all() or np.isclose((d * e).sum(), exact)
    c = np.ones(3)
    mixed = ad.jacobian(lambda c: ad.grad(lambda x: (c * la.eigvalsh(x)).sum())(a), 0)
    assert np.isnan(mixed(c)[..., :2]).all()


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 3), (2, 4, 2), (2, 2, 4)])
def test_svd_agrees_with_torch_on_what_has_no_sign(shape, rng, torch):
    a = regular(rng, *shape)
    k = min(shape[-2:])
    weights = np.arange(1.0, k + 1) ** 2

    def ours(x):
        u, s, vh = np.linalg.svd(x, full_matrices=False)
        return (u * (weights + np.sin(s))[..., None, :]) @ vh

    def theirs(x):
        u, s, vh = torch.linalg.svd(x, full_matrices=False)
        return (u * (torch.tensor(weights) + torch.sin(s))[..., None, :]) @ vh

    agrees_with_torch(ours, theirs, a, rtol=1e-8, atol=1e-9)
    agrees_with_torch(np.linalg.svdvals, torch.linalg.svdvals, a)
    agrees_with_torch(
        lambda x: np.linalg.svd(x, False).U ** 2, lambda x: torch.linalg.svd(x, False)[0] ** 2, a, rtol=1e-8
    )
    agrees_with_torch(
        lambda x: np.linalg.svd(x, False).Vh ** 2, lambda x: torch.linalg.svd(x, False)[2] ** 2, a, rtol=1e-8
    )
    u, s, vh = la.svd(a, full_matrices=False)
    for found, exact in zip((u, s, vh), np.linalg.svd(a, full_matrices=False)):
        assert found.shape == exact.shape
    np.testing.assert_allclose(((u * s[..., None, :]) @ vh).numpy(), a)


def with_singular_values(m, n, values, rng):
    u, v = (np.linalg.qr(rng.normal(size=(k, len(values))))[0] for k in (m, n))
    return (u * values) @ v.T


SHAPES_AND_VALUES = [
    (3, 3, [1.0, 1.0, 1.0]), (3, 3, [2.0, 2.0, 0.0]), (3, 2, [2.0, 2.0]), (2, 4, [3.0, 0.0]), (3, 4, [1.0, 0.0, 0.0]),
    (3, 3, [2.0, 1.0, 0.0]), (1, 1, [0.0]),
]  # fmt: skip


@pytest.mark.parametrize("m, n, values", SHAPES_AND_VALUES)
@pytest.mark.parametrize("basis", ["axes", "random"])
def test_repeated_and_zero_singular_values_have_exact_gradients_and_no_wrong_second_ones(m, n, values, basis, rng):
    a, e = with_singular_values(m, n, values, rng), rng.normal(size=(m, n))
    if basis == "axes":  # without rounding
        a = np.eye(m, len(values)) * values @ np.eye(len(values), n)
    for singular_values in (la.svdvals, lambda x: la.svd(x, full_matrices=False).S):
        for f, exact, second in [
            (lambda s: (s**2).sum(), 2 * a, 2 * e),
            (lambda s: (s**4).sum(), 4 * a @ a.T @ a, 4 * (e @ a.T @ a + a @ e.T @ a + a @ a.T @ e)),
        ]:
            np.testing.assert_allclose(ad.grad(lambda x: f(singular_values(x)))(a), exact, atol=1e-12)
            slope = ad.jvp(lambda x: f(singular_values(x)), a, e)[1]
            np.testing.assert_allclose(slope, (exact * e).sum(), atol=1e-12)
            for d in second_derivatives(lambda x: f(singular_values(x)), a, e):
                assert np.isnan(d).all() or np.allclose(d, second)
    if len(set(values)) < len(values) or (m != n and 0 in values):
        assert np.isnan(ad.grad(lambda x: (la.svd(x, full_matrices=False).U ** 3).sum())(a)).all()


def test_the_nuclear_norm_has_its_gradient_and_hessian_where_singular_values_repeat(rng):
    """Of a regular matrix it is the trace of the square root of aᵀa, whose gradient is a (aᵀa)^(−1/2)."""
    from scipy.linalg import polar

    for m, n, values in [(3, 3, [1.0, 1.0, 1.0]), (3, 3, [2.0, 2.0, 1.0]), (4, 3, [2.0, 2.0, 2.0])]:
        a, e = with_singular_values(m, n, values, rng), rng.normal(size=(m, n))
        np.testing.assert_allclose(ad.grad(lambda x: la.norm(x, "nuc"))(a), polar(a)[0], atol=1e-12)
        step = 1e-5
        difference = (polar(a + step * e)[0] - polar(a - step * e)[0]) / (2 * step)
        for d in second_derivatives(lambda x: la.norm(x, "nuc"), a, e)[:3]:
            np.testing.assert_allclose(d, difference, atol=1e-8)


def test_the_spectral_norm_has_its_hessian_where_the_other_singular_values_repeat_or_are_zero(rng, torch):
    for m, n, values in [(3, 3, [2.0, 1.0, 1.0]), (4, 3, [2.0, 1.0, 1.0]), (3, 3, [2.0, 0, 0]), (3, 5, [2.0, 0, 0])]:
        a, e = with_singular_values(m, n, values, rng), rng.normal(size=(m, n))

        def theirs(x):
            return torch.linalg.eigvalsh(x @ x.mT)[-1] ** 0.5

        step = 1e-5
        slopes = [torch.func.grad(theirs)(torch.tensor(a + h * e)).numpy() for h in (step, -step)]
        for d in second_derivatives(lambda x: la.norm(x, 2), a, e)[:3]:
            np.testing.assert_allclose(d, (slopes[0] - slopes[1]) / (2 * step), atol=1e-7)


def test_a_kink_of_the_nuclear_norm_at_a_zero_singular_value_has_a_subgradient():
    a = np.diag([2.0, 1.0, 0.0])
    np.testing.assert_allclose(ad.grad(lambda x: la.norm(x, "nuc"))(a), np.diag([1.0, 1.0, 0.0]), atol=1e-14)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 3), (2, 4, 2), (2, 2, 4)])
def test_qr_agrees_with_torch_on_what_has_no_sign(shape, rng, torch):
    a = regular(rng, *shape)
    agrees_with_torch(lambda x: np.linalg.qr(x).R ** 2, lambda x: torch.linalg.qr(x)[1] ** 2, a)
    agrees_with_torch(lambda x: np.linalg.qr(x).Q ** 2, lambda x: torch.linalg.qr(x)[0] ** 2, a)
    agrees_with_torch(lambda x: np.linalg.qr(x, "r") ** 2, lambda x: torch.linalg.qr(x, "reduced")[1] ** 2, a)
    q, r = la.qr(a)
    np.testing.assert_allclose((q @ r).numpy(), a, atol=1e-14)
    for found, exact in zip((q, r), np.linalg.qr(a)):
        np.testing.assert_allclose(found.numpy(), exact)
    if shape[-2] <= shape[-1]:
        for found, exact in zip(np.linalg.qr(Tensor(a), "complete"), np.linalg.qr(a, "complete")):
            np.testing.assert_allclose(found.numpy(), exact)


# Norms


@pytest.mark.parametrize("ord", [None, np.inf, -np.inf, 0, 1, 2, 3, -1, -2, 0.5, 1.5, 2.5, 4.0])
@pytest.mark.parametrize("axis, keepdims", [(None, False), (0, False), (-1, True), (1, False)])
def test_vector_norms_agree_with_numpy_and_torch(ord, axis, keepdims, rng, torch):
    a = rng.normal(size=(3, 2, 4)) if axis is not None else rng.normal(size=5)
    np.testing.assert_allclose(la.norm(a, ord, axis, keepdims).numpy(), np.linalg.norm(a, ord, axis, keepdims))
    order = 2 if ord is None else ord
    agrees_with_torch(
        lambda x: np.linalg.norm(x, ord, axis, keepdims),
        lambda x: torch.linalg.vector_norm(x, order, axis, keepdims),
        a,
    )


@pytest.mark.parametrize("ord", [None, "fro", "nuc", np.inf, -np.inf, 1, -1, 2, -2])
@pytest.mark.parametrize("axis, keepdims", [(None, False), ((0, 1), False), ((2, 0), True), ((-1, -2), False)])
def test_matrix_norms_agree_with_numpy_and_torch(ord, axis, keepdims, rng, torch):
    a = rng.normal(size=(3, 4, 3)) if axis is not None else regular(rng, 3, 4)
    np.testing.assert_allclose(la.norm(a, ord, axis, keepdims).numpy(), np.linalg.norm(a, ord, axis, keepdims))
    agrees_with_torch(
        lambda x: np.linalg.norm(x, ord, axis, keepdims),
        lambda x: torch.linalg.matrix_norm(
            x, "fro" if ord is None else ord, (-2, -1) if axis is None else axis, keepdims
        ),
        a,
        rtol=1e-8,
    )


def test_vector_norm_and_matrix_norm_are_numpys(rng, torch):
    a = rng.normal(size=(2, 3, 4))
    for kwargs in (
        {},
        {"axis": (0, 2)},
        {"axis": (2, 1, 0), "keepdims": True, "ord": 3},
        {"axis": 1, "ord": np.inf},
        {"ord": 1},
    ):
        np.testing.assert_allclose(
            np.linalg.vector_norm(Tensor(a), **kwargs).numpy(), np.linalg.vector_norm(a, **kwargs)
        )
    for kwargs in ({}, {"ord": "nuc"}, {"ord": 1, "keepdims": True}, {"ord": -2}):
        np.testing.assert_allclose(
            np.linalg.matrix_norm(Tensor(a), **kwargs).numpy(), np.linalg.matrix_norm(a, **kwargs)
        )
    agrees_with_torch(lambda x: la.norm(x), lambda x: torch.linalg.norm(x), a)
    assert la.norm(a, keepdims=True).shape == (1, 1, 1)


@pytest.mark.parametrize("ord", [None, np.inf, -np.inf, 0, 1, 2, 3, -1, 0.5, 1.5, 2.5])
def test_a_norm_at_the_zero_vector_has_derivative_zero_and_a_second_one_that_is_zero_or_none(ord):
    x = Tensor(np.zeros((2, 3)), requires_grad=True)
    with np.errstate(all="ignore"):
        y = la.norm(x, ord, axis=1)
        (d,) = ad.gradients(y.sum(), x, create_graph=True)
        np.testing.assert_array_equal(d.numpy(), 0)
        if d.requires_grad:
            (dd,) = ad.gradients((d * np.arange(6.0).reshape(2, 3)).sum(), x, allow_unused=True)
            smooth_nearby = ord in (None, 2, 3, 1.5, 2.5)  # but not at the zero vector itself
            assert dd is None or (np.isnan(dd.numpy()) if smooth_nearby else dd.numpy() == 0).all()


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, 2, np.inf])
def test_a_norm_at_the_zero_matrix_has_gradient_zero(ord):
    x = Tensor(np.zeros((2, 3)), requires_grad=True)
    np.testing.assert_array_equal(ad.gradients(la.norm(x, ord), x)[0].numpy(), 0)


@pytest.mark.parametrize("ord", [1.2, 1.5, 2.5, 3, 0.5, -1])
def test_a_p_norm_where_an_element_is_zero(ord):
    """Its gradient is 0 there; the second derivative is |x|^(p−2) and so infinite for 1 < p < 2: never a number."""
    x = Tensor([0.0, 3.0, -4.0, 0.0], requires_grad=True)
    with np.errstate(all="ignore"):
        y = la.norm(x, ord)
        (d,) = ad.gradients(y, x, create_graph=True)
        (dd,) = ad.gradients((d * [1.0, 2.0, 3.0, 4.0]).sum(), x, create_graph=True)
    assert np.isfinite(d.numpy()).all() and np.isfinite(dd.numpy()[[1, 2]]).all()
    np.testing.assert_array_equal(d.numpy()[[0, 3]], 0)
    if 1 < ord < 2:
        assert not np.isfinite(dd.numpy()[[0, 3]]).any()
    else:
        np.testing.assert_array_equal(dd.numpy()[[0, 3]], 0)


def test_norm_of_float32_and_of_integers(rng):
    x = Tensor(rng.normal(size=(3, 3)).astype(np.float32), requires_grad=True)
    for ord in (None, "nuc", 1, 2, np.inf):
        y = la.norm(x, ord)
        assert y.dtype == np.float32 and ad.gradients(y, x)[0].dtype == np.float32
    for ord in (0, 1, 1.5, 3, -1):
        y = la.norm(x, ord, axis=0)
        assert y.dtype == np.float32 and ad.gradients(y.sum(), x)[0].dtype == np.float32
    np.testing.assert_allclose(la.norm(Tensor([3, 4])).numpy(), 5.0)
    np.testing.assert_allclose(la.norm([3, 4], -1).numpy(), np.linalg.norm([3, 4], -1))


# What is composed


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 4, 2)])
def test_pinv_agrees_with_torch(shape, rng, torch):
    agrees_with_torch(np.linalg.pinv, torch.linalg.pinv, regular(rng, *shape))


def test_pinv_of_matrices_of_less_than_full_rank_has_the_derivative_at_constant_rank(rng):
    def low_rank(x, y):
        return np.linalg.pinv(x @ y, rcond=1e-8)

    arrays = rng.normal(size=(4, 2)), rng.normal(size=(2, 3))
    gradcheck(low_rank, arrays)
    gradgradcheck(low_rank, arrays, rtol=1e-4)


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 3, 5, 8])
def test_matrix_power_agrees_with_torch(n, rng, torch):
    a = regular(rng, 2, 3, 3) / 2
    agrees_with_torch(
        lambda x: np.linalg.matrix_power(x, n),
        lambda x: torch.linalg.matrix_power(x, n) + 0 * x,
        a,
        rtol=1e-8,
        atol=1e-9,
    )


@settings(max_examples=40)
@given(st.lists(st.integers(1, 4), min_size=3, max_size=6), st.booleans(), st.booleans())
def test_multi_dot_is_the_product_of_all(lengths, row, column):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(m, n)) for m, n in itertools.pairwise(lengths)]
    if row:
        arrays[0] = arrays[0][0]
    if column:
        arrays[-1] = arrays[-1][:, 0]
    y = np.linalg.multi_dot([Tensor(a, requires_grad=True) for a in arrays])
    np.testing.assert_allclose(y.numpy(), np.linalg.multi_dot(arrays), atol=1e-12)
    gradcheck(lambda *xs: la.multi_dot(xs), arrays)


def test_multi_dot_takes_the_cheap_order():
    a, b, c = Tensor(np.ones((2, 50)), requires_grad=True), Tensor(np.ones((50, 60))), Tensor(np.ones((60, 3)))
    assert [x.shape for x in la.multi_dot([a, b, c]).inputs] == [(2, 60), (60, 3)]
    a, b, c = Tensor(np.ones((60, 50)), requires_grad=True), Tensor(np.ones((50, 40))), Tensor(np.ones((40, 1)))
    assert [x.shape for x in la.multi_dot([a, b, c]).inputs] == [(60, 50), (50, 1)]


@pytest.mark.parametrize("shapes", [((5, 3), (5,)), ((5, 3), (5, 2)), ((3, 3), (3,)), ((2, 4), (2,))])
def test_lstsq_has_numpys_results_and_the_derivatives_of_its_solution(shapes, rng):
    a, b = regular(rng, *shapes[0]), rng.normal(size=shapes[1])
    for found, exact in zip(np.linalg.lstsq(Tensor(a), b), np.linalg.lstsq(a, b)):
        np.testing.assert_allclose(np.asarray(found), exact, atol=1e-13)
    gradcheck(lambda x, y: la.lstsq(x, y)[0], (a, b))
    if shapes[0][0] > shapes[0][1]:
        gradcheck(lambda x, y: la.lstsq(x, y)[1], (a, b))


@pytest.mark.parametrize("p", [None, 2, -2, "fro", 1, -1, np.inf])
def test_cond_agrees_with_torch(p, rng, torch):
    a = regular(rng, 2, 3, 3)
    np.testing.assert_allclose(la.cond(a, p).numpy(), np.linalg.cond(a, p))

    def theirs(x):
        if p in (None, 2, -2):
            return torch.linalg.cond(x, p)
        return torch.linalg.norm(x, p, (-2, -1)) * torch.linalg.norm(torch.linalg.inv(x), p, (-2, -1))

    agrees_with_torch(lambda x: np.linalg.cond(x, p), theirs, a, rtol=1e-8)


def test_the_rest_of_numpys_namespace_works_on_tensors(rng):
    a, b = rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 3))
    x = Tensor(a, requires_grad=True)
    for ours, exact in [
        (np.linalg.trace(x), np.linalg.trace(a)),
        (np.linalg.trace(x, offset=1), np.linalg.trace(a, offset=1)),
        (np.linalg.diagonal(x, offset=-1), np.linalg.diagonal(a, offset=-1)),
        (np.linalg.matrix_transpose(x), np.linalg.matrix_transpose(a)),
        (np.linalg.cross(x, b), np.linalg.cross(a, b)),
        (np.linalg.cross(x, b, axis=1), np.linalg.cross(a, b, axis=1)),
        (np.linalg.outer(x[0, 0], b[0, 0]), np.linalg.outer(a[0, 0], b[0, 0])),
        (np.linalg.matmul(x, b), a @ b),
        (np.linalg.tensordot(x, b, axes=((1,), (2,))), np.linalg.tensordot(a, b, axes=((1,), (2,)))),
        (np.linalg.vecdot(x, b), np.linalg.vecdot(a, b)),
    ]:
        np.testing.assert_allclose(ours.numpy(), exact, atol=1e-14)
        assert ad.gradients(ours.sum(), x)[0].shape == a.shape
    rank = np.linalg.matrix_rank(x)
    assert not rank.requires_grad and rank.shape == (2,)
    from autodiff.linalg import solve

    assert solve is la.solve is ad.linalg.solve


def test_empty_batches_and_empty_matrices_keep_numpys_shapes():
    a = np.zeros((0, 2, 2))
    x = Tensor(a, requires_grad=True)
    for f in (np.linalg.inv, np.linalg.det, np.linalg.pinv, np.linalg.cholesky, np.linalg.eigvalsh, np.linalg.svdvals):
        y = f(x)
        assert y.shape == f(a).shape
        assert ad.gradients(y.sum(), x)[0].shape == (0, 2, 2)
    for f in (np.linalg.slogdet, np.linalg.eigh, np.linalg.svd, np.linalg.qr):
        assert [y.shape for y in f(x)] == [y.shape for y in f(a)]
    e = Tensor(np.zeros((0, 0)), requires_grad=True)
    assert np.linalg.det(e).item() == 1 and ad.gradients(np.linalg.det(e), e)[0].shape == (0, 0)
    for ord in (None, 1, 2, np.inf, "nuc"):  # as NumPy's from 2.2; before, some were an error
        assert la.norm(np.zeros((0, 2)), ord, axis=(0, 1)).item() == 0
    assert la.solve(np.zeros((0, 2, 2)), np.ones(2)).shape == (0, 2)


def test_float32_stays_float32_through_every_function(rng):
    a = (positive(regular(rng, 3, 3))).astype(np.float32)
    x = Tensor(a, requires_grad=True)
    results = [
        la.inv(x), la.det(x), la.pinv(x), la.cholesky(x), *la.slogdet(x), *la.eigh(x), *la.svd(x), *la.qr(x),
        la.solve(x, a), la.solve_triangular(x, a), la.norm(x), la.matrix_power(x, -2), la.multi_dot([x, x, x]),
        la.cond(x), la.lstsq(x, a)[0], la.matrix_power(x, 0),
    ]  # fmt: skip
    for y in results:
        assert y.dtype == np.float32
        (d,) = ad.gradients(y, x, np.ones(y.shape, np.float32), create_graph=True)
        assert d.dtype == np.float32 and np.isfinite(d.numpy()).all()


# What cannot be done


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: la.inv(Tensor(np.ones((2, 3)))), "inv(shape (2, 3))"),
        (lambda: la.inv(Tensor(np.ones((2, 2)))), "inv(shape (2, 2)): Singular"),
        (lambda: la.det(Tensor(np.ones(3))), "det(shape (3,))"),
        (lambda: la.solve(Tensor(np.ones((2, 2))), np.ones(2)), "solve(shape (2, 2), shape (2,)): Singular"),
        (
            lambda: la.solve(Tensor(np.ones((2, 3))), np.ones(2)),
            "solve: needs square matrices (..., n, n), not shape (2, 3)",
        ),
        (lambda: la.slogdet(Tensor(np.ones((2, 3)))), "slogdet: needs square"),
        (lambda: la.cholesky(Tensor(-np.eye(2))), "cholesky(shape (2, 2)): Matrix is not positive definite"),
        (lambda: la.cholesky(Tensor(np.ones((2, 3)))), "cholesky: needs square"),
        (lambda: la.eigh(Tensor(np.ones((2, 3)))), "eigh: needs square"),
        (lambda: la.matrix_power(Tensor(np.ones((2, 3))), 2), "matrix_power: needs square"),
        (lambda: la.solve_triangular(np.diag([1.0, 0.0]), Tensor(np.ones(2))), "solve_triangular"),
        (lambda: la.svd(Tensor(np.ones(3))), "svd: needs matrices"),
        (lambda: la.qr(Tensor(np.ones(3))), "qr: needs matrices"),
        (lambda: la.lstsq(Tensor(np.ones((3, 2))), np.ones(2)), "lstsq: shapes (3, 2) and (2,)"),
        (lambda: la.cond(Tensor(np.ones((2, 3))), 1), "cond: needs square"),
    ],
)
def test_a_matrix_that_does_not_fit_is_a_linalg_error_that_names_the_operation(call, words):
    with pytest.raises(np.linalg.LinAlgError) as error:
        call()
    assert words in str(error.value)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: la.solve(Tensor(np.eye(2)), np.ones(3)), "right-hand sides of shape (3,) do not fit"),
        (lambda: la.solve(np.ones((2, 3, 3)), Tensor(np.ones((4, 3, 1)))), "batch axes"),
        (lambda: la.solve_triangular(np.eye(2), Tensor([1.0, np.nan])), "NaN or infinity"),
        (lambda: la.solve_triangular(np.eye(2), Tensor([1.0, 1.0]), trans=3), "trans=3"),
        (lambda: la.svd(Tensor(np.ones((2, 3)))), "pass full_matrices=False"),
        (lambda: la.qr(Tensor(np.ones((3, 2))), "complete"), 'use mode="reduced"'),
        (lambda: la.qr(Tensor(np.ones((3, 2))), "raw"), "mode='raw'"),
        (lambda: la.eigh(Tensor(np.eye(2)), "X"), "UPLO='X'"),
        (lambda: la.norm(Tensor(np.ones(3)), "fro"), "ord='fro' is no norm of vectors"),
        (lambda: la.norm(Tensor(np.ones((3, 3))), 3), "ord=3 is no norm of matrices"),
        (lambda: la.norm(Tensor(np.ones((3, 3, 3))), 2), "name one axis"),
        (lambda: la.norm(Tensor(np.ones((3, 3, 3))), axis=(0, 1, 2)), "one axis (vectors) or two"),
        (lambda: la.norm(Tensor(np.ones((3, 3))), axis=(1, 1)), "twice"),
        (lambda: la.norm(Tensor(np.ones((3, 3))), axis=4), "axis 4 is out of bounds"),
        (lambda: la.multi_dot([Tensor(np.ones((2, 3)))]), "at least two"),
        (
            lambda: la.multi_dot([Tensor(np.ones((2, 3))), np.ones((4, 2))]),
            "matrix 0 has 3 columns, matrix 1 has 4 rows",
        ),
        (lambda: la.multi_dot([Tensor(np.ones((2, 3))), np.ones(3), np.ones((3, 2))]), "must be a matrix"),
        (lambda: la.outer(Tensor(np.ones((2, 3))), np.ones(3)), "two vectors"),
        (lambda: la.cross(Tensor(np.ones((2, 2))), np.ones(2)), "3 components"),
        (lambda: la.pinv(Tensor(np.eye(2)), 0.1, rtol=0.2), "not both"),
    ],
)
def test_what_does_not_fit_otherwise_is_a_value_error_that_says_what_would(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert words in str(error.value)


def test_wrong_kinds_of_arguments_are_type_errors():
    for call in (lambda: la.matrix_power(Tensor(np.eye(2)), 0.5), lambda: la.norm(Tensor([1.0]), axis="x")):
        with pytest.raises(TypeError):
            call()


def test_the_derivative_of_qr_at_a_matrix_without_full_rank_is_refused_by_name():
    x = Tensor(np.array([[1.0, 0.0], [1.0, 0.0]]), requires_grad=True)
    y = la.qr(x).R.sum()
    with pytest.raises(np.linalg.LinAlgError, match="qr: has no derivative here"):
        ad.gradients(y, x)


def test_a_graph_of_decompositions_is_freed_by_reference_counting(no_collector, rng):
    import weakref

    x = Tensor(positive(regular(rng, 3, 3)), requires_grad=True)
    for f in (
        la.inv,
        la.det,
        la.cholesky,
        la.eigvalsh,
        la.svdvals,
        la.pinv,
        la.norm,
        lambda x: la.multi_dot([x, x, x]),
    ):
        y = f(x)
        (d,) = ad.gradients(y.sum(), x, create_graph=True)
        ad.gradients((d * d).sum(), x)
        alive = weakref.ref(y), weakref.ref(d)
        del y, d
        assert [a() for a in alive] == [None, None]


def test_without_gradients_the_values_are_numpys(rng):
    a = positive(regular(rng, 3, 3))
    with no_grad():
        for ours, exact in [
            (la.eigh(a), np.linalg.eigh(a)),
            (la.svd(a), np.linalg.svd(a)),
            (la.slogdet(a), np.linalg.slogdet(a)),
        ]:
            assert ours._fields == exact._fields
            for x, y in zip(ours, exact):
                np.testing.assert_allclose(x.numpy(), y, atol=1e-13)


@pytest.mark.parametrize(
    "f",
    [
        la.cholesky,
        la.eigvalsh,
        lambda a: la.eigh(a).eigenvalues,
        lambda a: la.eigvalsh(a, "U"),
        lambda a: la.svd(a, hermitian=True).S,
        lambda a: la.pinv(a, hermitian=True),
    ],
)
def test_a_matrix_kept_as_one_triangle_is_refused_where_its_gradient_is_taken(f):
    p = np.array([2.0, 0.7, 1.0])
    with pytest.raises(ValueError, match=r"is not symmetric.*write its symmetric part.*np\.tril"):
        ad.grad(lambda p: f(ad.array([[p[0], 0.0], [p[1], p[2]]])).sum())(p)

    def mended(p):
        a = ad.array([[p[0], 0.0], [p[1], p[2]]])
        return f(np.tril(a) + np.tril(a, -1).mT).sum()

    assert gradcheck(mended, p)


def test_of_constant_matrices_one_triangle_is_read_as_numpy_reads_it():
    a = np.array([[2.0, 0.0], [0.7, 1.0]])
    np.testing.assert_allclose(la.eigvalsh(a).data, np.linalg.eigvalsh(a))
    np.testing.assert_allclose(la.cholesky(a).data, np.linalg.cholesky(a))


def test_tensors_are_inverted_and_solved_as_numpy_does():
    a = np.eye(6) + np.random.default_rng(3).normal(size=(6, 6)) / 9
    b = np.arange(6.0) - 2
    for call in (
        lambda f: f(a.reshape(2, 3, 6), b.reshape(2, 3)),
        lambda f: f(a.reshape(6, 2, 3), b),
        lambda f: f(a.reshape(6, 2, 3).transpose(1, 0, 2), b, axes=(0, 2)),
    ):
        same_as_numpy("linalg.tensorsolve", call, derivatives=1)
    same_as_numpy("linalg.tensorinv", lambda f: f(a.reshape(2, 3, 6), ind=2), derivatives=1)
    same_as_numpy("linalg.tensorinv", lambda f: f(a.reshape(6, 2, 3), ind=1), derivatives=1)
    with pytest.raises(np.linalg.LinAlgError, match=r"tensorsolve: shapes \(6, 6\) and \(3,\) do not fit"):
        la.tensorsolve(a, b[:3])
    with pytest.raises(np.linalg.LinAlgError, match=r"tensorinv\(shape \(6, 6\), ind=2\)"):
        la.tensorinv(a)
