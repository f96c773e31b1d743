"""Inverses of symmetric operators, against LU decompositions of dense matrices; what has none is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
from autodiff import Tensor
from autodiff.curvature import EKFAC, KFAC, Fisher, GaussNewton, Hessian, Inverse
from tests.autodiff.curvature.test_operators import data, forward, network


def spectrum(rng, values):
    Q, _ = np.linalg.qr(rng.standard_normal((len(values), len(values))))
    return Q * values @ Q.T


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 12), k=st.integers(0, 4), method=st.sampled_from(["cg", "minres"]), draw=st.integers(0, 1000))
def test_the_inverse_of_a_matrix_of_any_size_is_numpys(n, k, method, draw):
    rng = np.random.default_rng(draw)
    values = rng.uniform(0.5, 3, n) * (1 if method == "cg" else rng.choice([-1, 1], n))
    A, B = spectrum(rng, values), rng.standard_normal((n, k))
    found = Inverse(A, method=method, tol=1e-12) @ B
    assert found.shape == (n, k)
    np.testing.assert_allclose(found, np.linalg.solve(A, B), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("method", ["cg", "minres"])
def test_damped_curvature_of_a_network_is_inverted_as_its_dense_matrix(rng, method):
    params, (x, y) = network(rng), data(rng)
    V = rng.standard_normal((sum(p.size for p in params), 3))
    V[:, 1] = 0
    operators = [
        GaussNewton(lambda: forward(params, x), lambda z: ad.cross_entropy(z, y), params),
        Fisher(lambda: forward(params, x), None, params, kind="mc", rng=0, damping=0.05),
    ]
    if method == "minres":
        operators.append(Hessian(lambda: ad.cross_entropy(forward(params, x), y), params))
    for op in operators:
        inverse = Inverse(op, 0.1, method, tol=1e-11)
        expected = np.linalg.solve(op.to_dense() + 0.1 * np.eye(op.size), V)
        np.testing.assert_allclose(inverse @ V, expected, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(inverse.T @ V[:, 0], expected[:, 0], rtol=1e-8, atol=1e-9)
        assert not (inverse @ V[:, 1]).any()


def test_columns_go_on_in_lockstep_so_that_batches_are_recorded_once_a_step(rng):
    params, calls = network(rng), []
    batches = [data(rng, n) for n in (5, 9)]

    def output(x, y):
        calls.append(len(x))
        return forward(params, x)

    G = GaussNewton(output, lambda z, x, y: ad.cross_entropy(z, y), params, batches=batches)
    V = rng.standard_normal((G.size, 6))
    inverse = Inverse(G, 0.5, tol=1e-3)
    took = []
    for B in (V, *(V[:, [i]] for i in range(6))):
        calls.clear()
        inverse @ B
        took.append(len(calls))
    assert took[0] <= max(took[1:]) + 4  # not their sum


def test_a_preconditioner_that_knows_the_scales_saves_products(rng):
    scales = 10.0 ** rng.uniform(-3, 3, 60)
    A = spectrum(rng, rng.uniform(1, 2, 60)) * np.sqrt(scales) * np.sqrt(scales)[:, None]
    b = rng.standard_normal(60)
    plain, helped = (
        Inverse(A, tol=1e-9, maxiter=25),
        Inverse(A, tol=1e-9, maxiter=25, preconditioner=np.diag(1 / scales)),
    )
    np.testing.assert_allclose(A @ (helped @ b), b, atol=1e-7)
    with pytest.raises(
        np.linalg.LinAlgError, match=r"cg has not converged after 25 products: the residual is .* damping"
    ):
        plain @ b


def test_float32_operators_have_inverses_to_single_precision(rng):
    params, (x, y) = network(rng, dtype=np.float32), data(rng)
    G = GaussNewton(lambda: forward(params, x.astype(np.float32)), lambda z: ad.cross_entropy(z, y), params)
    b = rng.standard_normal(G.size)
    found = Inverse(G, 0.1) @ b
    assert found.dtype == np.float32
    expected = np.linalg.solve(G.to_dense().astype(float) + 0.1 * np.eye(G.size), b)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("kind", [KFAC, EKFAC])
def test_factors_of_kfac_give_its_inverse_at_once_and_help_conjugate_gradients_elsewhere(kind, rng):
    params, (x, _) = network(rng), data(rng)
    K = kind(lambda: forward(params, x), None, params, damping=0.1)
    V = rng.standard_normal((K.size, 2))
    np.testing.assert_allclose(
        Inverse(K, 0.2, "kfac") @ V, np.linalg.solve(K.to_dense() + 0.2 * np.eye(K.size), V), rtol=1e-8, atol=1e-9
    )
    F = Fisher(lambda: forward(params, x), None, params)
    helped = Inverse(F, 1e-3, preconditioner=K.inverse(1e-3))
    expected = np.linalg.solve(F.to_dense() + 1e-3 * np.eye(F.size), V)
    np.testing.assert_allclose(helped @ V, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    inverse = Inverse(K, method="kfac")
    params[0].data = 2 * params[0].data
    K.refresh()
    np.testing.assert_allclose(K @ (inverse @ V), V, atol=1e-9)
    block = K.block(params[2:4])
    start = sum(p.size for p in params[:2])
    cut = slice(start, start + block.size)
    np.testing.assert_allclose(block.to_dense(), K.to_dense()[cut, cut], atol=1e-12)
    with pytest.raises(ValueError, match=r"KFAC.block: the parameters cut a layer in two"):
        K.block(params[2])
    with pytest.raises(TypeError, match=r"method='kfac' inverts a KFAC or EKFAC, not Fisher; .* preconditioner="):
        Inverse(F, 0.1, "kfac")


def test_what_has_no_inverse_is_an_error_not_a_number(rng):
    indefinite, singular = np.diag([2.0, -1.0]), np.diag([1.0, 0.0, 3.0])
    for A in (indefinite, singular):
        with pytest.raises(
            np.linalg.LinAlgError, match="not positive definite, which method='cg' needs: its curvature"
        ):
            Inverse(A) @ np.ones(len(A))
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        Inverse(np.eye(2), damping=-2.0) @ np.ones(2)
    np.testing.assert_allclose(Inverse(np.eye(2), -2.0, "minres") @ np.ones(2), -np.ones(2))
    with pytest.raises(np.linalg.LinAlgError, match="minres has not converged"):
        Inverse(singular, method="minres") @ np.ones(3)
    for method in ("cg", "minres"):  # a right side in the range of a singular matrix
        np.testing.assert_allclose(Inverse(singular, method=method) @ [1.0, 0.0, 1.0], [1, 0, 1 / 3], rtol=1e-12)
    w = Tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(all="ignore"), pytest.raises(np.linalg.LinAlgError, match=r"Inverse: .* NaN or infinite"):
        Inverse(Hessian(lambda: (w**0.5).sum(), w), 1.0) @ np.ones(2)
    with pytest.raises(np.linalg.LinAlgError, match="preconditioner is not positive definite"):
        Inverse(np.eye(2), preconditioner=-np.eye(2)) @ np.ones(2)


def test_an_operator_whose_parameters_changed_has_no_inverse_until_it_is_refreshed(rng):
    w = Tensor([1.0, 2.0], requires_grad=True)
    H = Hessian(lambda: (w**3).sum(), w)
    inverse = Inverse(H)
    np.testing.assert_allclose(inverse @ [1.0, 1.0], [1 / 6, 1 / 12])
    w.data = np.array([2.0, 4.0])
    with pytest.raises(RuntimeError, match="was changed"):
        inverse @ [1.0, 1.0]
    H.refresh()
    np.testing.assert_allclose(inverse @ [1.0, 1.0], [1 / 12, 1 / 24])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Inverse(np.eye(2), method="lu"), ValueError, "method must be one of 'cg', 'minres'"),
        (lambda: Inverse(np.eye(2), damping=np.inf), ValueError, "damping must be a finite number"),
        (lambda: Inverse(np.eye(2), tol=0), ValueError, "tol must be a number between 0 and 1, not 0"),
        (lambda: Inverse(np.eye(2), maxiter=0), ValueError, "maxiter must be a whole number from 1, not 0"),
        (lambda: Inverse(np.ones((2, 3))), ValueError, r"symmetric operator, not one of shape \(2, 3\)"),
        (lambda: Inverse("A"), TypeError, "an operator or a matrix, not str"),
        (lambda: Inverse(np.eye(2), preconditioner=np.eye(3)), ValueError, r"preconditioner has shape \(3, 3\)"),
        (lambda: Inverse(np.eye(2), method="minres", preconditioner=np.eye(2)), ValueError, "goes with method='cg'"),
        (lambda: Inverse(np.eye(2)) @ [1.0, np.nan], ValueError, "the vector has NaN"),
        (lambda: Inverse(np.eye(2)) @ np.ones(3), ValueError, "mismatch"),
        (lambda: Inverse(np.eye(2)) @ [1j, 1.0], TypeError, "must hold real numbers, not complex128"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
