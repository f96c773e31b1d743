"""Linear algebra of complex matrices: NumPy's values, PyTorch's derivatives."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.against_torch import agrees_with_torch

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(8)


def matrices(*shape):
    return RNG.normal(size=shape) + 1j * RNG.normal(size=shape)


A, B, S, TALL, WIDE, V = matrices(3, 3), matrices(3, 2), matrices(2, 3, 3), matrices(4, 2), matrices(2, 4), matrices(3)
R = RNG.normal(size=(3, 3))


def hermitian(xp, a):
    return (a + xp.conj(a.swapaxes(-1, -2))) / 2


def positive(xp, a):
    return a @ xp.conj(a.swapaxes(-1, -2)) + (np.eye(3) if xp is np else torch.eye(3))


def projected(xp, v, weights=(1.0, 2.0, 3.0)):
    """What does not depend on the phases of vectors."""
    w = np.array(weights[: v.shape[-1]]) if xp is np else torch.tensor(weights[: v.shape[-1]])
    return (v * w) @ xp.conj(v.swapaxes(-1, -2))


CASES = {
    "inv": (lambda xp, a: xp.linalg.inv(a), A),
    "inv of real": (lambda xp, a: xp.linalg.inv(a) * 1j, R),
    "solve": (lambda xp, a, b: xp.linalg.solve(a, b), A, B),
    "solve a stack": (lambda xp, a, b: xp.linalg.solve(a, b), S, B),
    "solve for real": (lambda xp, a, b: xp.linalg.solve(a, b + 0j), A, B.real.copy()),
    "det": (lambda xp, a: xp.linalg.det(a), S),
    "slogdet": (lambda xp, a: xp.linalg.slogdet(a)[1] * xp.linalg.slogdet(a)[0], S),
    "matrix_power": (lambda xp, a: xp.linalg.matrix_power(a, 3), A),
    "cholesky": (lambda xp, a: xp.linalg.cholesky(positive(xp, a)), A),
    "eigvalsh": (lambda xp, a: xp.linalg.eigvalsh(hermitian(xp, a)), S),
    "eigh": (lambda xp, a: projected(xp, xp.linalg.eigh(hermitian(xp, a))[1]), S),
    "svdvals": (lambda xp, a: xp.linalg.svd(a, full_matrices=False)[1], TALL),
    "svd": (lambda xp, a: projected(xp, xp.linalg.svd(a, full_matrices=False)[0]), TALL),
    "svd of wide": (lambda xp, a: xp.abs(xp.linalg.svd(a, full_matrices=False)[2]) ** 2, WIDE),
    "polar": (lambda xp, a: (lambda u, s, v: u @ v)(*xp.linalg.svd(a, full_matrices=False)), A),
    "qr": (lambda xp, a: xp.linalg.qr(a)[0] * 2 + 1j * xp.linalg.qr(a)[1], A),
    "qr of tall": (lambda xp, a: xp.linalg.qr(a)[0], TALL),
    "qr of wide": (lambda xp, a: xp.linalg.qr(a)[1], WIDE),
    "pinv": (lambda xp, a: xp.linalg.pinv(a), TALL),
    "eigvals": (lambda xp, a: xp.linalg.eigvals(a).sum() ** 2 + (xp.linalg.eigvals(a) ** 3).sum(), A),
    "eigvals of real": (lambda xp, a: (xp.exp(xp.linalg.eigvals(a)) * (1 + 0j)).sum(), np.array([[0, 1.5], [-1, 0.3]])),
    "eig": (lambda xp, a: projected(xp, xp.linalg.eig(a)[1], (1.0, 1.0, 1.0)), A),
    "norm": (lambda xp, a: xp.linalg.norm(a), S),
    "norm of order 3": (lambda xp, a: xp.linalg.norm(a, 3), V),
    "nuclear": (lambda xp, a: xp.linalg.norm(a, "nuc"), TALL),
    "vdot": (lambda xp, a, b: xp.vdot(a, b), V, A[0]),
    "std": (lambda xp, a: xp.std(a) + xp.var(a), V),
    "prod": (lambda xp, a: xp.prod(a) + xp.cumprod(a, 0)[1], V),
    "einsum": (lambda xp, a, b: xp.einsum("bij,jk->bik", a, b), S, B),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_linear_algebra_of_complex_numbers_has_pytorchs_derivatives(name):
    function, *arrays = CASES[name]
    if name in ("std",):
        theirs = lambda a: torch.std(a, correction=0) + torch.var(a, correction=0)
        agrees_with_torch(lambda a: function(np, a), theirs, *arrays, rtol=1e-8)
        return
    agrees_with_torch(lambda *xs: function(np, *xs), lambda *ts: function(torch, *ts), *arrays, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["vdot", "vecdot", "vecmat", "matvec", "inner", "outer", "kron", "dot", "tensordot"])
def test_products_conjugate_where_numpys_do(name):
    a, b = (
        (A, B) if name in ("dot", "kron") else (V, A) if name == "vecmat" else (A, V) if name == "matvec" else (V, A[1])
    )
    if name == "tensordot":
        a, b = A, A
    if not hasattr(np, name):
        pytest.skip(f"this NumPy has no {name}")
    for x, y in ((a, b), (a.real.copy(), b), (a, b.real.copy())):
        found = getattr(ad, name)(Tensor(x), Tensor(y))
        np.testing.assert_allclose(found.data, getattr(np, name)(x, y), rtol=1e-13)
        assert ad.gradcheck(lambda p, q: getattr(ad, name)(p, q), (x, y))


def test_what_depends_on_the_phases_of_vectors_is_an_error_that_says_what_does_not():
    h = hermitian(np, A)
    for f, name in (
        (lambda a: np.linalg.eigh(a).eigenvectors.real.sum(), "eigh"),
        (lambda a: np.linalg.svd(a).U.imag.sum(), "svd"),
        (lambda a: np.linalg.eig(a).eigenvectors.real.sum(), "eig"),
    ):
        with pytest.raises(ValueError, match=rf"{name}: has no derivative here: .*phases"):
            ad.grad(f)(h)


def test_a_matrix_that_is_not_hermitian_is_refused_and_says_how_to_make_one():
    for f in (np.linalg.eigh, np.linalg.eigvalsh, np.linalg.cholesky):
        with pytest.raises(ValueError, match=r"is not Hermitian.*\(a \+ a\.conj\(\)\.swapaxes\(-1, -2\)\) / 2"):
            f(Tensor(A, requires_grad=True))


def test_eigenvalues_are_real_where_numpys_are_and_repeated_ones_have_no_derivative():
    real, turned = np.array([[2.0, 1.0], [0.5, 3.0]]), np.array([[0.0, 1.0], [-1.0, 0.0]])
    for a in (real, turned, real.astype(np.float32), turned.astype(np.float32), real + 0j):
        found, plain = np.linalg.eig(Tensor(a)), np.linalg.eig(a)
        for x, y in zip(found, plain):
            assert x.dtype == y.dtype
            np.testing.assert_allclose(x.data, y, rtol=1e-6)
        assert np.linalg.eigvals(Tensor(a)).dtype == np.linalg.eigvals(a).dtype
    assert ad.gradcheck(np.linalg.eigvals, real) and ad.gradgradcheck(np.linalg.eigvals, real)
    assert np.isnan(ad.grad(lambda a: np.linalg.eigvals(a).sum())(np.eye(2))).all()
    f = ad.compile(lambda a: abs(np.linalg.eigvals(a) * (1 + 1j)).sum())
    for a in (real, turned, real):
        np.testing.assert_allclose(f(Tensor(a)).item(), abs(np.linalg.eigvals(a) * (1 + 1j)).sum(), rtol=1e-12)


def test_the_derivatives_of_the_determinant_of_a_singular_complex_matrix_are_exact():
    u = np.outer(V, V.conj())
    adjugate = lambda a: np.array([[a[1, 1], -a[1, 0]], [-a[0, 1], a[0, 0]]])
    a = np.array([[1 + 1j, 2j], [1 - 1j, 2.0]])
    np.testing.assert_allclose(ad.grad(np.linalg.det, holomorphic=True)(a), adjugate(a), rtol=1e-12)
    assert ad.gradcheck(np.linalg.det, u) and ad.gradgradcheck(np.linalg.det, u)
