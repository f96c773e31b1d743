"""Polynomials by their coefficients, in NumPy's older functions (`polynomials`) and newer ones (`series`)."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.against_numpy import same_as_numpy, same_values

rng = np.random.default_rng(6)
A, V, W = rng.normal(size=(4, 5)), rng.normal(size=7), rng.normal(size=3)


@pytest.mark.parametrize(
    "name, call",
    [
        ("polyval", lambda f: f(W, A)),
        ("polyval", lambda f: f(W, 2.0)),
        ("polyval", lambda f: f(A, np.ones(5))),
        ("polyval", lambda f: f([1, 2], np.arange(3))),
        ("vander", lambda f: f(V)),
        ("vander", lambda f: f(V, 3)),
        ("vander", lambda f: f(np.array([0.0, 1.0, -2.0]), 4, increasing=True)),
        ("vander", lambda f: f(np.arange(4))),
        ("vander", lambda f: f(V.astype(np.float32), 2)),
        ("polyadd", lambda f: f(V, W)),
        ("polysub", lambda f: f(W, V)),
        ("polymul", lambda f: f(V, W)),
        ("polyder", lambda f: f(V)),
        ("polyder", lambda f: f(V, 2)),
        ("polyint", lambda f: f(V)),
        ("polyint", lambda f: f(V, 2, [1.0, 2.0])),
        ("polyint", lambda f: f(V, 2, 3.0)),
        ("polydiv", lambda f: f(V, W)),
        ("polydiv", lambda f: f(W, V)),
        ("polydiv", lambda f: f(np.array([1.0, 3.0, 2.0]), [1.0, 1.0])),
        ("poly", lambda f: f(V)),
        ("roots", lambda f: f(np.array([2.0, -3.0, -5.0, 1.0]))),
        ("roots", lambda f: f(np.array([1.0, 2.0j, 0.5]))),
        ("roots", lambda f: f(W[:1])),
        ("polyfit", lambda f: f(V, np.sin(V), 2)),
        ("polyfit", lambda f: f(V, np.stack([V**3, np.cos(V)], 1), 1, w=V**2 + 0.1)),
        ("polyfit", lambda f: f(V, np.sin(V), 2, cov=True)),
        ("polyfit", lambda f: f(V, np.stack([V**3, np.cos(V)], 1), 1, cov=True)),
        ("polyfit", lambda f: f(V, np.sin(V), 2, w=V, cov="unscaled")),
        ("polyfit", lambda f: f(np.arange(4), np.array([0.0, 1.0, 4.0, 9.5]), 2)),
    ],
)
def test_functions_of_coefficients(name, call):
    same_as_numpy(name, call)


def test_roots_that_are_left_out_and_pairs_of_conjugate_ones():
    same_as_numpy("roots", lambda f: f(np.array([0.0, 1.0, 0.3, 2.0, -0.4])), derivatives=0)
    same_as_numpy("roots", lambda f: f(np.zeros(3)), derivatives=0)
    same_as_numpy("poly", lambda f: f(np.array([1 + 2j, 1 - 2j, 0.5])), derivatives=0)
    same_as_numpy("poly", lambda f: f(A[:3, :3] + np.diag([1.0, 4.0, 9.0])), derivatives=1)
    assert ad.poly(np.ones(0)).tolist() == [1.0]
    ad.gradcheck(lambda a, b: ad.poly(ad.stack([a + 1j * b, a - 1j * b])), (0.3, 0.7))


def test_a_root_at_zero_moves_with_the_last_coefficient_and_repeated_ones_have_no_derivative():
    p = np.array([1.0, 0.5, -2.0, 0.0])
    same_values(ad.roots(p), np.roots(p))
    x = Tensor(p, requires_grad=True)
    r = ad.roots(x)
    np.testing.assert_allclose(np.sort(r.numpy()), np.sort(np.roots(p)), atol=1e-15)
    (d,) = ad.gradients(r[-1], x, create_graph=True)  # z = −d/c − b d²/c³ + …
    np.testing.assert_allclose(d.numpy(), [0, 0, 0, 0.5], atol=1e-15)
    (d2,) = ad.gradients(d[-1], x)
    np.testing.assert_allclose(d2.numpy(), [0, 0, 0.25, 2 * 0.5 / 8], atol=1e-14)
    y = Tensor([1.0, 1.0, 0.0, 0.0], requires_grad=True)
    assert np.isnan(ad.gradients(ad.roots(y)[1], y)[0].numpy()).any()


@pytest.mark.parametrize(
    "p",
    [[0.0, 1.0, -3.0, 2.0], [0.0, 0.0, 1.0, 0.4, 2.0], [0.0, 2.0, 1.0, 0.0], [1e-9, 1.0, -3.0, 2.0], [0.0, 1j, 2.0]],
)
def test_finite_roots_move_with_first_coefficients_that_are_0(p):
    p = np.array(p)
    roots = np.roots(p)
    powers = roots[:, None] ** np.arange(len(p) - 1, -1, -1)
    slopes = np.polyval(np.polyder(p), roots)
    expected = -powers / slopes[:, None]
    for k, row in enumerate(expected):  # a real loss: the conjugate of the derivative, real for a real polynomial
        x = Tensor(p, requires_grad=True)
        (g,) = ad.gradients(np.real(ad.roots(x)[k]), x)
        np.testing.assert_allclose(g.numpy(), row.conj() if p.dtype.kind == "c" else row.real, rtol=1e-12, atol=1e-15)
        tangent = ad.jvp(lambda p, k=k: ad.roots(p)[k], (p,), (np.ones(len(p)),))[1]
        np.testing.assert_allclose(tangent, row.sum(), rtol=1e-12)
    if p[0] == 0:  # to the second order: x as a power series of the first coefficient, by Newton's method in mpmath
        import mpmath as mp

        with mp.workdps(50):
            root = lambda e: mp.findroot(
                lambda x: mp.polyval([e, *map(mp.mpmathify, p[1:])], x), mp.mpmathify(roots[-1])
            )
            second = complex(mp.diff(root, 0, 2))
        x = Tensor(p, requires_grad=True)
        (g,) = ad.gradients(np.real(ad.roots(x)[-1]), x, create_graph=True)
        (h,) = ad.gradients(np.real(g[0]), x)
        expected = second.conjugate() if p.dtype.kind == "c" else second.real
        np.testing.assert_allclose(h[0].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_roots_keep_single_precision():
    r = ad.roots(Tensor(np.array([1.0, -3.0, 2.0], np.float32), requires_grad=True))
    assert r.dtype == np.float32
    np.testing.assert_allclose(r.detach().numpy(), [2, 1], rtol=1e-5)


@pytest.mark.filterwarnings("ignore::autodiff.batching.batch.PerformanceWarning")
def test_roots_of_each_example():
    rows = np.array([[1.0, -3.0, 2.0], [2.0, 3.0, -5.0]])
    np.testing.assert_allclose(ad.vmap(np.roots)(Tensor(rows)), [np.roots(row) for row in rows])
    slope = ad.grad(lambda p: np.sum(ad.roots(p) ** 3))
    np.testing.assert_allclose(ad.vmap(slope)(rows), [slope(row) for row in rows], rtol=1e-12)


def test_the_powers_of_zero_have_all_their_derivatives():
    f = lambda x: np.vander(x, 4)[0] @ np.array([1.0, 1.0, 1.0, 1.0])  # x³ + x² + x + 1
    x = np.array([0.0])
    d1 = ad.grad(f)
    d2 = ad.grad(lambda x: d1(x).sum())
    d3 = ad.grad(lambda x: d2(x).sum())
    assert (d1(x).item(), d2(x).item(), d3(x).item()) == (1.0, 2.0, 6.0)


def test_numpys_polynomial_object_takes_tensors():
    t = Tensor(V, requires_grad=True)
    p, q = np.poly1d(t), np.poly1d(V)
    for ours, theirs in (
        (p(2.0), q(2.0)),
        (p.deriv()(0.5), q.deriv()(0.5)),
        (p.integ()(0.5), q.integ()(0.5)),
        ((p * p + p)(0.5), (q * q + q)(0.5)),
        (q(Tensor(0.5, requires_grad=True)), q(0.5)),
    ):
        assert ours.requires_grad
        np.testing.assert_allclose(ours.detach(), theirs, rtol=1e-12)
    assert np.poly1d(Tensor([0.0, 0.0, 1.0, 2.0])).coeffs.tolist() == [1, 2]


MODULES = {"poly": "polynomial", "cheb": "chebyshev", "leg": "legendre", "herm": "hermite", "herme": "hermite_e",
           "lag": "laguerre"}  # fmt: skip


@pytest.mark.parametrize("family", MODULES)
def test_series_are_those_of_numpy_with_all_derivatives(family):
    ours = getattr(ad.polynomial, f"{family}val")
    theirs = getattr(getattr(np.polynomial, MODULES[family]), f"{family}val")
    for x, c in ((V, W), (0.3, V), (A[:2], V[:2]), (W, A[:, :2]), (np.array(0.3), A), (W, V[:1])):
        same_values(ours(x, c), np.asarray(theirs(x, c)))
        arrays = [np.asarray(x), c]
        ad.gradcheck(ours, arrays)
        ad.gradgradcheck(ours, arrays, rtol=1e-4)
    with pytest.raises(TypeError, match=rf"np.polynomial.{MODULES[family]}.{family}val .* ad.polynomial.{family}val"):
        theirs(0.5, Tensor(W, requires_grad=True))
    same_values(ours(A[:, 0], A.T, tensor=False), theirs(A[:, 0], A.T, tensor=False))
    same_values(ours(V.astype(np.float32), W.astype(np.float32)), theirs(V.astype(np.float32), W.astype(np.float32)))


@pytest.mark.parametrize(
    "call, kind, match",
    [
        (lambda: np.polyval(Tensor(V), np.poly1d([1, 2])), TypeError, "polyval: a polynomial at a polynomial"),
        (lambda: np.polyval(Tensor(np.ones(0)), 2.0), ValueError, r"polyval: coefficients .* unlike shape \(0,\)"),
        (lambda: np.vander(Tensor(A)), ValueError, r"vander: takes a vector, not shape \(4, 5\)"),
        (lambda: np.polyadd(Tensor(A), V), ValueError, r"polyadd: coefficients have one axis .* shape \(4, 5\)"),
        (
            lambda: np.poly(Tensor(A)),
            ValueError,
            r"poly: takes a vector of roots or a square matrix, not shape \(4, 5\)",
        ),
        (lambda: np.roots(Tensor(A)), ValueError, "roots: coefficients have one axis"),
        (lambda: np.polyfit(Tensor(V), V, 1, full=True), TypeError, "polyfit: full=True .* ad.linalg.lstsq"),
        (lambda: np.polyfit(Tensor(V), W, 1), ValueError, r"polyfit: x of shape \(7,\), y of shape \(3,\), degree 1"),
        (lambda: np.polyfit(Tensor(V), V, 1, w=W), ValueError, r"polyfit: weights of shape \(3,\) for 7 points"),
        (lambda: np.polyfit(Tensor(W), W, 2, cov=True), ValueError, "polyfit: 3 points do not show"),
        (lambda: np.polyder(Tensor(V), -1), ValueError, "polyder: the order must not be negative"),
        (lambda: np.polyint(Tensor(V), 3, [1.0, 2.0]), ValueError, "polyint: 2 integration constants for 3"),
        (lambda: ad.polynomial.legval(2.0, Tensor(1.0)), ValueError, r"legval: coefficients lie along an axis"),
    ],
)
def test_arguments_that_do_not_fit_are_named(call, kind, match):
    with pytest.raises(kind, match=match):
        call()


def test_polynomials_of_complex_numbers():
    c = W + 1j * W[::-1]
    same_as_numpy("polyval", lambda f: f(c, V), derivatives=1)
    same_as_numpy("polyval", lambda f: f(V, c), derivatives=1)
    same_as_numpy("vander", lambda f: f(c), derivatives=1)
    same_values(ad.polynomial.legval(c, V), np.polynomial.legendre.legval(c, V))
