"""Eigenvalues, traces, spectra and the quadratic model, against dense matrices, ARPACK on torch's products, closed
forms, and the worked examples of the documents."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, eigsh

import autodiff as ad
from autodiff import Tensor
from autodiff.curvature import (
    GaussNewton,
    Hessian,
    Jacobian,
    classify_stationary_point,
    condition_number,
    curvature_along,
    density,
    diagonal,
    eigenpairs,
    max_stable_lr,
    quadratic_model,
    sharpness,
    spectral_density,
    trace,
)
from autodiff.curvature.eigen import symmetric
from tests.autodiff.curvature.test_operators import data, forward, network, theirs, torch_hvp
from tests.documents import ENTRIES


def cross_entropy_hessian(rng, sizes, n=60, **options):
    params, (x, y) = network(rng, sizes), data(rng, n, sizes)
    return Hessian(lambda: ad.cross_entropy(forward(params, x), y), params, **options), params, x, y


def random_symmetric(rng, n):
    A = rng.standard_normal((n, n))
    return (A + A.T) / 2


# Eigenvalues


def test_the_top_five_eigenvalues_of_a_thousand_parameters_are_those_of_the_dense_matrix(rng):
    H, *_ = cross_entropy_hessian(rng, (12, 24, 24, 4))
    assert 1000 <= H.size <= 1020
    dense = H.to_dense()
    exact = np.linalg.eigvalsh((dense + dense.T) / 2)
    top, bottom = eigenpairs(H, 5, rng=0), eigenpairs(H, 5, "SA", rng=0)
    np.testing.assert_allclose(top.values, exact[::-1][:5], rtol=1e-9)
    np.testing.assert_allclose(bottom.values, exact[:5], rtol=1e-9, atol=1e-9 * exact[-1])
    np.testing.assert_allclose(dense @ top.vectors, top.vectors * top.values, atol=1e-9 * exact[-1])
    assert sharpness(H, rng=0) == pytest.approx(exact[-1], rel=1e-9)
    largest = eigenpairs(H, 3, "LM", rng=0).values
    np.testing.assert_allclose(largest, exact[np.argsort(-np.abs(exact))[:3]], rtol=1e-9)


@pytest.mark.slow
def test_the_top_eigenvalues_of_ten_thousand_parameters_are_those_of_arpack_on_torchs_products(rng):
    H, params, x, y = cross_entropy_hessian(rng, (30, 80, 80, 10), n=200)
    assert 9_500 <= H.size <= 10_500
    loss, ps = theirs(params, x, y)
    torchs = LinearOperator(H.shape, lambda v: torch_hvp(loss, ps, np.ravel(v)), dtype=float)
    expected = eigsh(torchs, 5, which="LA", return_eigenvectors=False)[::-1]
    np.testing.assert_allclose(eigenpairs(H, 5, rng=0).values, np.sort(expected)[::-1], rtol=1e-6)


@given(st.integers(1, 60), st.sampled_from(["LA", "SA", "LM"]), st.data())
@settings(max_examples=40)
def test_eigenpairs_of_any_matrix_are_numpys(n, which, draw):
    k = draw.draw(st.integers(1, n))
    rng = np.random.default_rng(n)
    A = random_symmetric(rng, n)
    exact = np.linalg.eigvalsh(A)
    expected = {"LA": exact[::-1], "SA": exact, "LM": exact[np.argsort(-np.abs(exact))]}[which][:k]
    values, vectors = eigenpairs(A, k, which, rng=0)
    np.testing.assert_allclose(values, expected, atol=1e-9)
    np.testing.assert_allclose(A @ vectors, vectors * values, atol=1e-8)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-8)


def test_the_zero_matrix_and_one_of_low_rank_have_eigenpairs(rng):
    w = Tensor(np.ones(100), requires_grad=True)
    values, vectors = eigenpairs(Hessian(lambda: w.sum(), w), 3)
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(vectors.T @ vectors, np.eye(3))
    u = rng.standard_normal(100)
    np.testing.assert_allclose(
        eigenpairs(Hessian(lambda: 0.5 * (w @ u) ** 2, w), 3, rng=0).values, [u @ u, 0, 0], atol=1e-10
    )


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e150])
def test_eigenpairs_are_as_good_at_any_scale(rng, which, scale):
    A = rng.standard_normal((60, 60))
    A = (A + A.T) * scale
    expected = np.linalg.eigvalsh(A)
    found = eigenpairs(A, 2, which, rng=0)
    if which == "LM":
        expected = expected[np.argsort(-np.abs(expected))]
    np.testing.assert_allclose(found.values, expected[::-1][:2] if which == "LA" else expected[:2], rtol=1e-10)
    np.testing.assert_allclose(A @ found.vectors, found.vectors * found.values, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_eigenvalue_zero_of_a_singular_matrix_is_found(sign):
    """ARPACK alone loses it: the first product takes the whole kernel out of the start vector."""
    A = sign * np.diag(np.repeat([2.0, 0.0], 30))
    for which in ("LA", "SA"):
        for k in (1, 3):
            expected = 2 * sign if (which == "LA") == (sign > 0) else 0.0
            np.testing.assert_allclose(eigenpairs(A, k, which, rng=0).values, expected, atol=1e-13)


def test_float32_operators_give_eigenvalues_to_single_precision(rng):
    params, (x, y) = network(rng, (4, 8, 3), np.float32), data(rng, 30, (4, 3))
    x = x.astype(np.float32)
    G = GaussNewton(lambda: forward(params, x), lambda z: ad.cross_entropy(z, y), params)
    exact = np.linalg.eigvalsh(G.to_dense().astype(float))
    np.testing.assert_allclose(eigenpairs(G, 3, rng=0).values, exact[::-1][:3], rtol=1e-4)
    t = trace(G, num_probes=200, rng=0)
    assert isinstance(t.value, float) and abs(t.value - exact.sum()) < 4 * t.error + 1e-5


def test_condition_number_of_a_definite_matrix(rng):
    w = Tensor(np.ones(2), requires_grad=True)
    H = Hessian(lambda: 0.5 * (1e6 * w[0] ** 2 + w[1] ** 2), w)
    assert condition_number(H) == pytest.approx(1e6)
    big = np.diag(np.linspace(1, 50, 1200))  # by Lanczos
    assert condition_number(big, rng=0) == pytest.approx(50, rel=1e-9)
    assert condition_number(np.diag([1.0, 0.0])) == np.inf
    assert condition_number(Hessian(lambda: w.sum(), w)) == np.inf
    A = rng.standard_normal((20, 5))
    p = Tensor(np.zeros(5), requires_grad=True)
    singular_values = np.linalg.svd(A, compute_uv=False)
    found = condition_number(Hessian(lambda: ((A @ p) ** 2).sum(), p))
    assert found == pytest.approx((singular_values[0] / singular_values[-1]) ** 2, rel=1e-10)


def test_indefinite_and_negative_curvature_is_an_error_where_definite_is_needed():
    w = Tensor(np.ones(2), requires_grad=True)
    saddle, top = Hessian(lambda: w[0] * w[1], w), Hessian(lambda: -(w**2).sum(), w)
    with pytest.raises(np.linalg.LinAlgError, match=r"from -1 to 1.*add damping"):
        condition_number(saddle)
    with pytest.raises(np.linalg.LinAlgError, match="negative definite"):
        max_stable_lr(top)
    saddle.damping = 3.0
    assert condition_number(saddle) == pytest.approx(2)
    assert max_stable_lr(Hessian(lambda: w.sum(), w)) == np.inf


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_gradient_descent_converges_below_the_largest_stable_rate_and_diverges_above(momentum):
    scale = np.array([100.0, 1.0])
    w = Tensor(np.ones(2), requires_grad=True)
    limit = max_stable_lr(Hessian(lambda: 0.5 * (scale * w**2).sum(), w), momentum=momentum)
    for lr, converges in ((0.98 * limit, True), (1.02 * limit, False)):
        x, velocity = np.ones(2), np.zeros(2)
        for _ in range(2000):
            velocity = momentum * velocity + scale * x
            x = x - lr * velocity
        assert bool(np.abs(x).max() < 1e-3) is converges
    with pytest.raises(ValueError, match="momentum"):
        max_stable_lr(np.eye(2), momentum=1.0)


def test_curvature_along_a_direction_is_the_rayleigh_quotient(rng):
    H, params, *_ = cross_entropy_hessian(rng, (4, 6, 5, 3))
    u, dense = rng.standard_normal(H.size), H.to_dense()
    for direction in (u, 3 * u, H.split(u), [Tensor(p) for p in H.split(u)]):
        assert curvature_along(H, direction) == pytest.approx(u @ dense @ u / (u @ u), rel=1e-10)
    assert curvature_along(np.diag([2.0, 4.0]), [1, 0]) == 2
    for zero in (np.zeros(H.size), H.split(np.zeros(H.size))):
        with pytest.raises(ValueError, match="zero"):
            curvature_along(H, zero)
    with pytest.raises(ValueError, match="needs shape"):
        curvature_along(H, np.ones(3))


# Probes


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
def test_the_trace_is_within_its_stated_error(rng, method):
    H, *_ = cross_entropy_hessian(rng, (4, 8, 8, 3))
    exact = np.trace(H.to_dense())
    off = []
    for seed in range(20):
        value, error = trace(H, method, 60, rng=seed)
        assert 0 < error < 0.5 * exact
        off.append(abs(value - exact) / error)
    assert np.mean(np.array(off) < 2) >= 0.8 and max(off) < 5
    assert trace(H, method, 30, rng=3) == trace(H, method, 30, rng=3)


def test_hutch_plus_plus_is_exact_at_low_rank_and_better_where_few_eigenvalues_dominate(rng):
    Q = np.linalg.qr(rng.standard_normal((200, 200)))[0]
    low = (Q[:, :5] * [5, 4, 3, 2, 1]) @ Q[:, :5].T
    assert trace(low, "hutch++", 30, rng=0).value == pytest.approx(15, rel=1e-10)
    assert trace(np.diag([1.0, 2.0]), "hutch++", 9, rng=0) == pytest.approx((3.0, 0.0))
    A = (Q / np.arange(1, 201.0) ** 2) @ Q.T
    errors = {m: np.mean([trace(A, m, 60, rng=s).error for s in range(5)]) for m in ("hutchinson", "hutch++")}
    assert errors["hutch++"] < 0.2 * errors["hutchinson"]


def test_one_probe_has_no_error_estimate():
    assert trace(np.ones((2, 2)), num_probes=1).error == np.inf
    assert np.isinf(diagonal(np.ones((3, 3)), 1).error).all()


def test_the_diagonal_is_within_its_stated_error_and_exact_with_enough_probes(rng):
    H, *_ = cross_entropy_hessian(rng, (4, 6, 5, 3))
    exact = np.diag(H.to_dense())
    value, error = diagonal(H, 60, rng=0)
    assert value.shape == error.shape == (H.size,) and H.size > 60
    assert np.mean(np.abs(value - exact) <= 3 * error + 1e-15) > 0.95
    np.testing.assert_allclose(diagonal(H, H.size).value, exact, rtol=1e-9, atol=1e-15)
    assert not diagonal(H, H.size).error.any()


# Spectra


def test_the_spectral_density_is_the_histogram_of_the_eigenvalues(rng):
    A = random_symmetric(rng, 300)
    exact = np.linalg.eigvalsh(A)
    d = spectral_density(A, 20, 60, rng=0, width=2.0)
    smooth = np.exp(-0.5 * ((d.grid[:, None] - exact) / 2) ** 2).mean(axis=1) / (2 * np.sqrt(2 * np.pi))
    assert np.trapezoid(d.density, d.grid) == pytest.approx(1, abs=1e-4)
    assert np.abs(d.density - smooth).max() < 0.12 * smooth.max()
    assert np.mean(np.abs(d.density - smooth) <= 4 * d.error + 1e-3 * smooth.max()) > 0.95
    for low, high in ((-np.inf, 0), (-5, 5), (30, np.inf)):
        assert d.fraction(low, high) == pytest.approx(np.mean((exact >= low) & (exact <= high)), abs=0.04)
    assert (d.weights.sum(axis=1) == pytest.approx(np.ones(20))) and d.nodes.shape == (20, 60)


def test_probes_go_on_together_and_end_each_where_its_vectors_span_no_more(rng, monkeypatch):
    A = np.diag([1.0, 1.0, 3.0, 7.0, 7.0])
    Z = np.array([[1.0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]]).T
    for z, (on, off), found in zip(
        Z.T, density.lanczos(symmetric("lanczos", A), Z, 5), ([1], [1], [1, 3, 7], [1, 3, 7])
    ):
        np.testing.assert_allclose(eigh_tridiagonal(on, off)[0], found, rtol=1e-12)
    B = rng.standard_normal((40, 40))
    together = spectral_density(B + B.T, 5, 20, rng=1)
    monkeypatch.setattr(density, "ROOM", 2 * 20 * 40)
    np.testing.assert_allclose(spectral_density(B + B.T, 5, 20, rng=1).nodes, together.nodes, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eigenvalues_that_are_found_early_come_once(dtype):
    values = np.concatenate([np.zeros(300), np.geomspace(1e-3, 1e3, 300)]).astype(dtype)
    for row in spectral_density(np.diag(values), 2, 80, rng=0).nodes:
        np.testing.assert_allclose(
            np.sort(row)[-20:], values[-20:], rtol=20 * np.finfo(dtype).eps, atol=1e-3 * np.finfo(dtype).eps
        )
        np.testing.assert_allclose(row[row > 0.99 * values[-30]].size, 30, atol=0)


def test_the_vectors_of_a_probe_stay_orthogonal_when_the_spectrum_is_wide():
    values = np.concatenate([np.zeros(60), np.geomspace(1e-3, 1e3, 60)])  # the largest are found early, once each
    for row in spectral_density(np.diag(values), 3, 61, rng=0).nodes:
        np.testing.assert_allclose(np.sort(row)[1:], values[60:], rtol=1e-6, atol=1e-6)


def test_spectra_of_degenerate_matrices(rng):
    for A, value in ((np.zeros((5, 5)), 0.0), (3 * np.eye(5), 3.0), (np.array([[2.0]]), 2.0)):
        d = spectral_density(A, 2, 10, rng=0)
        assert d.grid[np.argmax(d.density)] == pytest.approx(value, abs=0.02)
        assert np.trapezoid(d.density, d.grid) == pytest.approx(1, abs=1e-4)
    grid = np.linspace(0, 4, 50)
    d = spectral_density(np.diag([1.0, 3.0]), 1, grid=grid, width=0.2)
    np.testing.assert_array_equal(d.grid, grid)
    assert np.isinf(d.error).all()


def test_a_spectrum_can_be_plotted(plt):
    d = spectral_density(np.diag(np.arange(20.0)), 2, 5, rng=0)
    axes = d.plot(color="black")
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "eigenvalue"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), d.density)
    assert d.plot(axes, log=False) is axes and len(axes.lines) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("grid", [np.linspace(100.0, 200.0, 50), np.array([0.5])])
def test_a_density_of_0_all_over_says_so_and_is_drawn_on_a_linear_axis(plt, grid):
    axes = spectral_density(np.diag([0.0, 1.0]), rng=0, grid=grid).plot()
    axes.figure.canvas.draw()
    assert axes.get_yscale() == "linear" and [text.get_text() for text in axes.texts] == ["the density is 0 all over"]


def test_the_logarithmic_axis_of_a_spectrum_has_no_empty_decades_and_shows_its_lowest_peak(plt):
    even = spectral_density(np.diag(np.linspace(0, 1, 50)), 5, rng=0)
    low, high = even.plot().get_ylim()
    assert even.density.max() < high < 10 * even.density.max() and low > 1e-3 * high
    # 999 eigenvalues around 0, and one far away: a thousandth of the mass
    lonely = spectral_density(np.diag([*np.linspace(-0.1, 0.1, 999), 10.0]), 20, rng=0)
    low, high = lonely.plot().get_ylim()
    peak = lonely.density[lonely.grid > 9].max()
    assert 0.02 * peak < low < peak


def test_a_spectrum_drawn_over_another_leaves_it_in_sight(plt):
    lonely = spectral_density(np.diag([*np.zeros(999), 10.0]), 20, rng=0)
    axes = lonely.plot()
    low = axes.get_ylim()[0]
    spectral_density(np.diag(np.linspace(0, 1, 50)), 5, rng=0).plot(axes)
    assert axes.get_ylim()[0] <= low


@pytest.mark.slow
def test_the_spectral_density_of_a_hundred_thousand_parameters_takes_less_than_a_minute(rng):
    params, (x, y) = network(rng, (64, 256, 256, 64, 10)), data(rng, 256, (64, 10))
    H = Hessian(lambda: ad.cross_entropy(forward(params, x), y), params)
    assert H.size >= 99_000
    start = time.process_time()  # of two processors together, which others' work does not lengthen
    d = spectral_density(H, 10, 80, rng=0)
    assert time.process_time() - start < 2 * 60
    assert np.trapezoid(d.density, d.grid) == pytest.approx(1, abs=1e-3)
    assert d.fraction(-0.01 * d.grid[-1], 0.01 * d.grid[-1]) > 0.7  # most directions are flat
    assert d.nodes.max() == pytest.approx(sharpness(H, rng=0), rel=1e-6)


# The quadratic model and stationary points


def test_the_quadratic_model_predicts_a_quadratic_exactly(rng):
    A, b = random_symmetric(rng, 4), rng.standard_normal(4)
    w = Tensor(rng.standard_normal(4), requires_grad=True)
    f = lambda v: 1.5 + b @ v + 0.5 * v @ A @ v
    model = quadratic_model(lambda: 1.5 + b @ w + 0.5 * w @ (A @ w), w)
    assert model.value == pytest.approx(f(w.data))
    np.testing.assert_allclose(model.gradient, b + A @ w.data)
    for _ in range(3):
        s = rng.standard_normal(4)
        assert model(s) == pytest.approx(f(w.data + s))
        assert model.predicted_decrease([s]) == pytest.approx(f(w.data) - f(w.data + s))
    np.testing.assert_allclose(w.data + model.stationary_step, -np.linalg.solve(A, b), rtol=1e-9)
    np.testing.assert_allclose(model.eigenvalues, np.linalg.eigvalsh(A), rtol=1e-10)
    x = w.data.copy()
    for _ in range(7):
        x = x - 0.1 * (b + A @ x)
    np.testing.assert_allclose(w.data + model.descent(0.1, 7), x, rtol=1e-9, atol=1e-12)
    low, high = np.linalg.eigvalsh(A)[[0, -1]]
    assert low < 0 < high
    for name in ("best_lr", "best_rate"):
        with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
            getattr(model, name)


def test_descent_on_a_model_with_a_flat_direction():
    w = Tensor([1.0, 2.0], requires_grad=True)
    model = quadratic_model(lambda: 2 * w[0] ** 2 + 3 * w[1], w)
    np.testing.assert_allclose(model.descent(0.1, 5), [0.6**5 - 1, -0.1 * 5 * 3])
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        model.stationary_step


def test_the_kind_of_a_stationary_point_of_a_large_problem(rng):
    scale = np.linspace(0.5, 2, 1200)
    w = Tensor(np.zeros(1200), requires_grad=True)
    for signs, kind in ((1, "minimum"), (-1, "maximum"), (np.where(np.arange(1200) < 3, -1, 1), "saddle")):
        found = classify_stationary_point(lambda: (signs * scale * w**2).sum(), w)
        assert found.kind == kind
        np.testing.assert_allclose(found.eigenvalues, np.sort(2 * signs * scale)[[0, -1]], rtol=1e-9)


@pytest.mark.parametrize(
    "f, kind",
    [
        (lambda x, y: x**4 + y**2, "degenerate"),
        (lambda x, y: x**2 + 1e-12 * y**2, "degenerate"),
        (lambda x, y: 1e-9 * (x**2 + y**2), "minimum"),
        (lambda x, y: x**4 + y**4, "degenerate"),
        (lambda x, y: -(x**2) - 3 * y**2, "maximum"),
        (lambda x, y: x * y, "saddle"),
        (lambda x, y: 0 * x + 5.0, "degenerate"),
    ],
)
def test_the_kind_of_a_stationary_point(f, kind):
    w = Tensor([0.0, 0.0], requires_grad=True)
    assert classify_stationary_point(lambda: f(w[0], w[1]), w).kind == kind


@pytest.mark.parametrize("f", [lambda x: x, lambda x: x**2 + 1e-3 * x, lambda x: 1e-9 * (x - 1) ** 2])
def test_a_gradient_that_is_not_zero_is_no_stationary_point(f):
    w = Tensor(0.0, requires_grad=True)
    with pytest.raises(ValueError, match="gradient is not zero"):
        classify_stationary_point(lambda: f(w), w)


# Bad input


def test_non_finite_curvature_has_no_spectrum():
    w = Tensor(np.zeros(40), requires_grad=True)
    H = Hessian(lambda: np.sqrt(w).sum(), w)
    for call in (
        lambda: eigenpairs(H, 1), lambda: sharpness(H), lambda: max_stable_lr(H), lambda: condition_number(H),
        lambda: trace(H), lambda: trace(H, "hutch++"), lambda: diagonal(H), lambda: spectral_density(H),
        lambda: quadratic_model(lambda: np.sqrt(w).sum(), w).eigenvalues,
        lambda: classify_stationary_point(lambda: np.sqrt(w).sum(), w),
    ):  # fmt: skip
        with pytest.raises(np.linalg.LinAlgError, match="NaN or infinite"):
            call()


W = Tensor([1.0, 2.0], requires_grad=True)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: eigenpairs(np.eye(3), 4), ValueError, "from 1 to 3"),
        (lambda: eigenpairs(np.eye(3), 0), ValueError, "from 1 to 3"),
        (lambda: eigenpairs(np.eye(3), 1.0), ValueError, "whole number"),
        (lambda: eigenpairs(np.eye(3), 1, "LR"), ValueError, "'LA', 'SA' or 'LM'"),
        (lambda: eigenpairs(Jacobian(lambda: W[:1] * 2, W), 1), ValueError, r"symmetric operator, not one of shape"),
        (lambda: sharpness("H"), TypeError, "operator or a matrix"),
        (lambda: trace(np.eye(2), "exact"), ValueError, "'hutchinson' or"),
        (lambda: trace(np.eye(2), num_probes=0), ValueError, "from 1"),
        (lambda: trace(np.eye(2), "hutch++", 2), ValueError, "from 3"),
        (lambda: diagonal(np.eye(2), 0), ValueError, "from 1"),
        (lambda: spectral_density(np.eye(2), 0), ValueError, "num_probes"),
        (lambda: spectral_density(np.eye(2), 1, 0), ValueError, "steps"),
        (lambda: spectral_density(np.eye(2), width=0.0), ValueError, "width"),
        (lambda: spectral_density(np.eye(2), grid=1), ValueError, "2 points"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_steps_and_directions_of_the_wrong_size_and_complex_matrices_are_refused():
    model = quadratic_model(lambda: (W**2).sum(), W)
    for call in (
        lambda: model([1.0]), lambda: model.predicted_decrease(np.ones(3)), lambda: model(np.ones((2, 1))),
        lambda: model(1.0), lambda: curvature_along(np.eye(2), np.ones(3)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"needs shape \(2,\)"):
            call()
    for f in (trace, diagonal, spectral_density, condition_number, sharpness):
        with pytest.raises(ValueError, match=r"\(0, 0\)"):
            f(np.zeros((0, 0)))
    with pytest.raises(TypeError, match="real symmetric operator, not one of complex128"):
        sharpness(np.array([[1.0, 1j], [-1j, 1.0]]))


def test_every_function_takes_any_operator_or_matrix(rng):
    A = random_symmetric(rng, 6)
    op = LinearOperator((6, 6), matvec=lambda v: A @ v, dtype=float)
    for f in (
        sharpness,
        lambda o: trace(o, rng=0),
        lambda o: tuple(diagonal(o).value),
        lambda o: curvature_along(o, np.ones(6)),
    ):
        assert f(op) == pytest.approx(f(A))
    assert symmetric("", op).shape == (6, 6)


# The documents' examples


def entry(name):
    return ENTRIES[name]["inputs"], ENTRIES[name]["expected"]


def close(found, expected, tolerance=1e-10):
    np.testing.assert_allclose(found, np.asarray(expected, float), rtol=tolerance, atol=1e-12)


def test_quadratic_eigenbasis():
    i, e = entry("quadratic-eigenbasis")
    h, centre = np.array(i["H"]), np.array(i["w_star"])
    w = Tensor(np.array(i["w"]), requires_grad=True)
    model = quadratic_model(lambda: i["E_star"] + 0.5 * (w - centre) @ (h @ (w - centre)), w)
    signs = np.sign(model.eigenvectors[0])  # first component positive, as printed
    close(model.eigenvalues, e["eigenvalues"])
    close(model.eigenvectors * signs, e["eigenvectors_columns"])
    close(model.coefficients * signs, e["alpha"])
    close(model.value, e["E"])
    close(w.data + model.stationary_step, i["w_star"])
    close(w.data + model.descent(i["eta"], 1), e["w_after_one_step"])
    close(model.coefficients * signs * model.convergence_factors(i["eta"]), e["alpha_after_one_step"])
    close(1 / np.sqrt(model.eigenvalues), e["axis_lengths_proportional_to"])
    kinds = {"singular": "degenerate", "saddle although singular": "saddle"}
    for name, matrix in i["classify"].items():
        m = np.array(matrix, float)
        v = Tensor(np.zeros(len(m)), requires_grad=True)
        point = classify_stationary_point(lambda: 0.5 * v @ (m @ v), v)
        close(point.eigenvalues, e["classification_eigenvalues"][name])
        assert point.kind == kinds.get(name, name)


def test_scalar_hvp_quadratic():
    i, e = entry("scalar-hvp-quadratic")
    w = Tensor(np.array(i["w_for_gradient"]), requires_grad=True)
    H = Hessian(lambda: w[0] ** 2 + 3 * w[0] * w[1] + 2 * w[1] ** 2, w)
    close(H.to_dense(), e["hessian"])
    close(H @ i["u"], e["hvp_u"])
    close(H.gradient, e["gradient_at_w"])
    close(eigenpairs(H, 2, "SA").values, e["eigenvalues"])
    close(curvature_along(H, i["u"]), np.dot(i["u"], e["hvp_u"]) / 2)


def test_second_order_taylor_v7():
    i, e = entry("second-order-taylor-v7")
    x = Tensor(np.array(i["x"]), requires_grad=True)
    model = quadratic_model(lambda: x[0] * np.exp(x[1]) + np.cos(x[0] * x[1]), x)
    close(model(i["delta"]), e["second_order"])
    close(model.value + model.gradient @ np.array(i["delta"]), e["first_order"])


def scalar_chain(params, x, y, activations):
    w1, b1, w2, b2, w3, b3 = params
    f, g, h = activations
    return h(w3 * g(w2 * f(w1 * x + b1) + b2) + b3)


@pytest.mark.parametrize("name", ["three-layer-scalar-second-order", "linear-three-layer-hvp"])
def test_three_scalar_layers(name):
    i, e = entry(name)
    params = [Tensor(float(i[n]), requires_grad=True) for n in i["parameter_order"]]
    activations = (ad.relu, np.tanh, ad.sigmoid) if name.startswith("three") else [lambda z: z] * 3
    output = lambda: scalar_chain(params, i["x"], i["y"], activations)
    loss = lambda z: 0.5 * (z - i["y"]) ** 2
    H = Hessian(lambda: loss(output()), params)
    u = np.array(i["u"], float)
    close(H.gradient, e["gradient"])
    close(H.to_dense(), e["hessian"])
    close(H @ u, e["hvp_u"])
    close(eigenpairs(H, 6, "SA").values, e["eigenvalues"])
    close(curvature_along(H, u) * (u @ u), e["uHu"])
    close(H @ H.gradient, e["hvp_gradient"])  # the direction is a constant: not 2 H ∇f
    close(2 * (H @ H.gradient), e["grad_of_squared_gradient_norm"])
    if "gauss_newton_hvp_u" in e:
        close(GaussNewton(output, loss, params) @ u, e["gauss_newton_hvp_u"])


def test_matrix_three_layer_second_order():
    i, e = entry("matrix-three-layer-second-order")
    params = [Tensor(np.array(i[n], float), requires_grad=True) for n in ("W1", "b1", "W2", "b2", "W3", "b3")]
    W1, b1, W2, b2, W3, b3 = params
    x = Tensor(np.array(i["x"], float), requires_grad=True)
    output = lambda: ad.sigmoid(W3 @ np.tanh(W2 @ ad.relu(W1 @ x + b1) + b2) + b3)
    loss = lambda z: 0.5 * ((z - i["y"]) ** 2).sum()
    H = Hessian(lambda: loss(output()), params)
    u = np.array(i["u"], float)
    close(H.to_dense(), e["hessian_parameters"])
    close(H @ u, e["hvp_parameters_u"])
    close(H @ H.gradient, e["hvp_gradient"])
    close(curvature_along(H, u) * (u @ u), e["uHu"])
    close(eigenpairs(H, 15, "SA").values, e["eigenvalues_parameters"], 1e-9)
    close(diagonal(H).value.sum(), e["trace"])
    close(GaussNewton(output, loss, params) @ u, e["gauss_newton_hvp_u"])
    close(Jacobian(output, params).to_dense()[0], e["dyhat_dparameters"])
    in_x = Hessian(lambda: loss(output()), x)
    close(in_x.to_dense(), e["hessian_x"])
    close(in_x @ np.array(i["ux"]), e["hvp_x_ux"])


def test_gd_narrow_valley():
    i, e = entry("gd-narrow-valley")
    scale = np.array(i["lambda"], float)
    w = Tensor(np.array(i["w0"], float), requires_grad=True)
    model = quadratic_model(lambda: 0.5 * (scale * w**2).sum(), w)
    close(max_stable_lr(model.curvature), e["eta_limit"])
    close(model.convergence_factors(i["eta"])[::-1], e["factors"])
    for t, point in e["iterates"].items():
        close(w.data + model.descent(i["eta"], int(t)), point)
    close(condition_number(model.curvature), e["condition_number"])
    close(model.best_lr, e["best_fixed_eta"])
    close(model.best_rate, e["best_rate"])


def test_wavy_error_surface():
    i, e = entry("wavy-error-surface")
    w = Tensor(np.array(e["only_critical_point"]), requires_grad=True)
    f = lambda: (w[0] - 1) ** 2 + (w[1] + 0.5) ** 2 + 0.6 * np.sin(3 * w[0]) * np.sin(3 * w[1])
    point = classify_stationary_point(f, w)
    assert point.kind == "minimum"
    close(point.eigenvalues, e["hessian_eigenvalues_there"])
    w.data = np.array(i["points"][0], float)
    with pytest.raises(ValueError, match="gradient is not zero"):
        classify_stationary_point(f, w)


def test_newton_steps_of_newton_raphson():
    i, e = entry("newton-raphson")
    w = Tensor(np.array(i["start"]), requires_grad=True)
    for k, (point, norm) in enumerate(zip(e["iterates"], e["gradient_norms"])):
        close(w.data, point)
        model = quadratic_model(lambda: w[0] ** 4 + w[0] * w[1] + (1 + w[1]) ** 2, w)
        np.testing.assert_allclose(np.linalg.norm(model.gradient), norm, rtol=1e-5, atol=1e-15)
        if k == 0:
            close(model.curvature.to_dense(), e["hessian_at_start"])
        w.data = w.data + model.stationary_step


# How results are shown


def test_every_result_is_shown_in_a_few_lines_however_large():
    rng = np.random.default_rng(0)
    for n in (2, 7, 900):
        w = ad.Tensor(rng.normal(size=n), requires_grad=True)
        scale = np.arange(1.0, n + 1)
        loss = lambda: (scale * w**2).sum()
        H = Hessian(loss, w)
        at_rest = ad.Tensor(np.zeros(n), requires_grad=True)
        results = [
            H,
            spectral_density(H, 2, steps=5, rng=0),
            eigenpairs(H, min(n, 40), rng=0),
            trace(H, num_probes=2, rng=0),
            diagonal(H, num_probes=2, rng=0),
            quadratic_model(loss, w),
            classify_stationary_point(lambda: (scale * at_rest**2).sum(), at_rest),
        ]
        for result in results:
            text = repr(result)
            assert type(result).__name__ in text
            assert len(text) < 300 and text.count("\n") <= 2, text
            assert str(result) == text
    assert "..., " in repr(results[5]) and "shape=(900,)" in repr(results[5])
    assert repr(eigenpairs(np.diag([1.0, 3.0]), 1)) == "Eigenpairs(values=array([3.]), vectors=array of shape (2, 1))"
