"""Estimates from random probes against dense matrices: unbiased, with the errors they state; known eigenpairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
from autodiff.curvature import Hessian, diagonal, eigenpairs, norm, spectral_density, trace, xdiag, xtrace
from tests.autodiff.curvature.test_operators import data, forward, network


def spectrum(values, seed=0):
    Q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return Q * values @ Q.T


SPECTRA = {
    "falling": 1 / np.arange(1, 61.0) ** 2,
    "indefinite": np.random.default_rng(1).standard_normal(60),
    "steep": 0.5 ** np.arange(60),
}
ESTIMATES = {
    "xtrace": (xtrace, np.trace),
    "xdiag": (xdiag, np.diag),
    "norm": (norm, np.linalg.norm),
    "hutchinson, deflated": (
        lambda A, m, rng: trace(A, "hutchinson", m, rng, deflate=eigenpairs(A, 3, "LM")),
        np.trace,
    ),
    "hutch++, deflated": (lambda A, m, rng: trace(A, "hutch++", m, rng, deflate=eigenpairs(A, 3, "LM")), np.trace),
}


@pytest.mark.parametrize("values", SPECTRA)
@pytest.mark.parametrize("name", ESTIMATES)
def test_estimates_are_unbiased_and_off_by_about_the_error_they_state(name, values):
    A = spectrum(SPECTRA[values])
    estimate, exact = ESTIMATES[name]
    found = [estimate(A, 24, seed) for seed in range(60)]
    off = np.array([e.value for e in found]) - exact(A)
    rms = np.sqrt(np.mean(off**2))
    stated = np.sqrt(np.mean([np.square(e.error) for e in found]))
    assert 0.6 < stated / rms < 1.5
    mean = np.abs(off.mean(axis=0)) / (off.std(axis=0) / np.sqrt(len(found)))  # a norm's bias is far smaller
    assert np.max(mean) < 4.5


def test_xtrace_and_xdiag_are_better_than_hutch_plus_plus_and_than_signs():
    A = spectrum(SPECTRA["steep"])
    seeds = range(15)

    def rms(estimate, exact):
        return np.sqrt(np.mean([(estimate(s).value - exact) ** 2 for s in seeds]))

    assert rms(lambda s: xtrace(A, 30, s), np.trace(A)) < 0.5 * rms(lambda s: trace(A, "hutch++", 30, s), np.trace(A))
    assert rms(lambda s: xdiag(A, 30, s), np.diag(A)) < 0.01 * rms(lambda s: diagonal(A, 30, s), np.diag(A))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 30), rank=st.integers(0, 30), probes=st.integers(4, 40), draw=st.integers(0, 1000))
def test_xtrace_and_xdiag_are_exact_below_full_rank_and_with_enough_probes(n, rank, probes, draw):
    values = np.where(np.arange(n) < rank, np.random.default_rng(draw).uniform(0.5, 2, n), 0.0)
    A = spectrum(values, draw)
    if rank >= probes // 2 and probes < n:
        assert np.isfinite(xtrace(A, probes, 0).value) and np.isfinite(xdiag(A, probes, 0).value).all()
        return
    for estimate, exact in ((xtrace(A, probes, 0), np.trace(A)), (xdiag(A, probes, 0), np.diag(A))):
        np.testing.assert_allclose(estimate.value, exact, atol=1e-10)
        np.testing.assert_allclose(estimate.error, 0, atol=1e-10)


def test_xtrace_is_exact_for_multiples_of_the_identity():
    found = xtrace(2 * np.eye(40), 10, 0)  # what the basis leaves out is counted by its dimension
    assert found.value == pytest.approx(80, rel=1e-12) and found.error < 1e-12


def test_estimates_of_a_network_are_those_of_its_dense_hessian(rng):
    params, (x, y) = network(rng), data(rng)
    H = Hessian(lambda: ad.cross_entropy(forward(params, x), y), params)
    A = H.to_dense()
    assert norm(H, H.size).value == pytest.approx(np.linalg.norm(A), rel=1e-12)
    assert xtrace(H, H.size).value == pytest.approx(np.trace(A), rel=1e-12)
    np.testing.assert_allclose(xdiag(H, H.size).value, np.diag(A), atol=1e-13)
    assert norm(H, H.size).error == 0
    for estimate, exact in ((xtrace(H, 60, 0), np.trace(A)), (norm(H, 60, 0), np.linalg.norm(A))):
        assert abs(estimate.value - exact) < 6 * estimate.error < 2 * np.linalg.norm(A)


def test_known_eigenpairs_count_exactly_in_the_density_and_the_rest_is_that_of_the_matrix():
    values = np.r_[100.0, -50.0, np.linspace(0, 1, 78)]
    A = spectrum(values)
    for k in (1, 2, 79, 80):
        found = spectral_density(A, 3, rng=0, deflate=eigenpairs(A, k, "LM"))
        for low, high in ((99, 101), (-51, -49), (-0.01, 1.01)):
            exact = np.mean((values > low) & (values < high))
            assert found.fraction(low, high) == pytest.approx(exact, abs=1e-9 if k > 1 else 0.03)
        assert np.trapezoid(found.density, found.grid) == pytest.approx(1, rel=1e-6)
    top = eigenpairs(A, 2, "LM")
    assert trace(A, num_probes=20, rng=0, deflate=top).error < 0.03 * trace(A, num_probes=20, rng=0).error


def test_all_probes_of_a_density_take_one_recording_of_every_batch_a_step(rng):
    params, recorded = network(rng), []
    batches = [data(rng, n) for n in (4, 6)]

    def loss(x, y):
        recorded.append(len(x))
        return ad.cross_entropy(forward(params, x), y)

    spectral_density(Hessian(loss, params, batches=batches), 5, 7, rng=0)
    assert recorded == [4, 6] * 7


def test_the_logarithmic_density_is_the_histogram_of_the_magnitudes():
    rng = np.random.default_rng(0)
    values = 10 ** rng.uniform(-3, 3, 60) * rng.choice([-1, 1], 60)
    values[:6] = 0
    found = spectral_density(spectrum(values), 60, 60, rng=0, log=True, width=0.25)
    assert found.log
    centres = np.log10(np.abs(values[6:]))
    exact = np.exp(-0.5 * ((found.grid[:, None] - centres) / 0.25) ** 2).sum(axis=1) / (60 * 0.25 * np.sqrt(2 * np.pi))
    above = found.grid > -6
    np.testing.assert_array_less(np.abs(found.density - exact)[above], 5 * found.error[above] + 1e-6)
    zeros = np.trapezoid(found.density[~above], found.grid[~above])  # far below all others, at the rounding's level
    assert zeros == pytest.approx(0.1, abs=0.03)
    assert spectral_density(np.zeros((3, 3)), rng=0, log=True).grid.max() < -290


def test_a_logarithmic_density_says_so_at_its_axis(plt):
    ax = spectral_density(np.diag([1.0, 10.0]), rng=0, log=True).plot()
    assert ax.get_xlabel() == "log₁₀ |eigenvalue|"


EYE = (np.array([1.0]), np.eye(3, 1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: xtrace(np.eye(9), 3), ValueError, "xtrace: num_probes must be a whole number from 4, not 3"),
        (lambda: xdiag(np.eye(9), True), ValueError, "xdiag: num_probes must be a whole number from 4"),
        (lambda: norm(np.eye(9), 0), ValueError, "norm: num_probes must be a whole number from 1"),
        (lambda: xtrace(np.ones((2, 3))), ValueError, "xtrace: needs a symmetric operator"),
        (lambda: norm(np.full((2, 2), np.nan)), np.linalg.LinAlgError, "norm: .* NaN or infinite"),
        (
            lambda: trace(np.eye(4), deflate=EYE),
            ValueError,
            r"trace: deflate needs k .* \(k,\) and \(4, k\), .* \(3, 1\)",
        ),
        (lambda: trace(np.eye(3), deflate=(EYE[0], 2 * EYE[1])), ValueError, "not orthonormal"),
        (lambda: trace(3 * np.eye(3), deflate=EYE), ValueError, "no eigenpairs of the operator"),
        (lambda: spectral_density(np.ones((3, 3)), deflate=EYE), ValueError, "spectral_density: .* no eigenpairs"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
