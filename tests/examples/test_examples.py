"""The examples: each runs as it stands, is short, and its numbers are those of something that we did not write, or that
knows nothing of derivatives."""

import itertools
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

import autodiff as ad

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(request, capsys):
    """What an example defines and computes when it is run as a program."""

    def of(name):
        found = SimpleNamespace(**runpy.run_path(FOLDER / f"{name}.py", run_name="__main__"))
        found.said = capsys.readouterr().out
        return found

    return of


def differences(f, p, step=1e-5):
    """The gradient of a function of a dict of arrays by central differences."""
    slopes = {name: np.zeros(np.shape(value)) for name, value in p.items()}
    for name, value in p.items():
        for i in np.ndindex(np.shape(value)):
            at = []
            for sign in (1, -1):
                moved = np.array(value, float)
                moved[i] += sign * step
                at.append(float(f({**p, name: moved})))
            slopes[name][i] = (at[0] - at[1]) / (2 * step)
    return slopes


def assert_same(found, right, rtol):
    assert found.keys() == right.keys()
    for name in right:
        np.testing.assert_allclose(found[name], right[name], rtol=rtol, atol=rtol * np.abs(right[name]).max())


def test_every_example_is_tested_here_and_shorter_than_60_lines():
    tests = Path(__file__).read_text(encoding="utf-8")
    for path in FOLDER.glob("*.py"):
        assert f'run("{path.stem}")' in tests, path.stem
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60, path.stem


def test_the_gaussian_process_has_the_likelihood_optimum_and_predictions_of_scikit_learn(run):
    example = run("gaussian_process")
    kernel = ConstantKernel(1.0) * RBF(1.0) + WhiteKernel(np.exp(-2.0))
    theirs = GaussianProcessRegressor(kernel, alpha=0).fit(example.x[:, None], example.y)
    p = {"log_length": 0.3, "log_scale": -0.2, "log_noise": -0.9}
    value, slope = theirs.log_marginal_likelihood(np.array([-0.4, 0.3, -1.8]), eval_gradient=True)
    np.testing.assert_allclose(example.surprise(p, example.x, example.y), -value, rtol=1e-10)
    found = ad.grad(lambda p: example.surprise(p, example.x, example.y))(p)
    np.testing.assert_allclose([found["log_scale"] / 2, found["log_length"], found["log_noise"] / 2], -slope, rtol=1e-8)
    scale, length, noise = np.exp(theirs.kernel_.theta)
    np.testing.assert_allclose(
        np.exp([2 * example.found["log_scale"], example.found["log_length"], 2 * example.found["log_noise"]]),
        [scale, length, noise], rtol=1e-3,
    )  # fmt: skip
    new = np.array([-2.5, 0.1, 4.0])
    ours = {"log_scale": np.log(scale) / 2, "log_length": np.log(length), "log_noise": np.log(noise) / 2}
    mean, width = example.predict(ours, example.x, example.y, new)
    right, whole = theirs.predict(new[:, None], return_std=True)  # the noise of a new observation included
    np.testing.assert_allclose(mean, right, rtol=1e-8)
    np.testing.assert_allclose(width**2 + noise, whole**2, rtol=1e-8)


def test_variational_inference_ends_at_the_exact_posterior(run):
    example = run("variational_inference")
    x, y = example.data()
    precision = np.eye(3) + x.T @ x / 0.25
    np.testing.assert_allclose(example.mean, np.linalg.solve(precision, x.T @ y / 0.25), rtol=1e-4)
    np.testing.assert_allclose(example.covariance, np.linalg.inv(precision), rtol=0.005)


def test_the_gradient_of_the_hidden_markov_model_is_the_expected_counts_over_all_paths(run):
    example = run("hidden_markov")
    rng = np.random.default_rng(3)
    start, jump, show = (rng.dirichlet(np.ones(k), size=n) for n, k in ((1, 2), (2, 2), (2, 6)))
    start, symbols = start[0], [5, 0, 2, 5, 5, 1]
    total, counts = 0.0, [np.zeros_like(p) for p in (start, jump, show)]
    for path in itertools.product(range(2), repeat=len(symbols)):
        weight = start[path[0]] * np.prod([jump[i, j] for i, j in itertools.pairwise(path)])
        weight *= np.prod([show[i, k] for i, k in zip(path, symbols)])
        total += weight
        counts[0][path[0]] += weight
        for i, j in itertools.pairwise(path):
            counts[1][i, j] += weight
        for i, k in zip(path, symbols):
            counts[2][i, k] += weight
    found, value = example.expected_counts([np.log(p) for p in (start, jump, show)], symbols)
    assert value == pytest.approx(np.log(total), rel=1e-12)
    for mine, right in zip(found, counts):
        np.testing.assert_allclose(mine, right / total, rtol=1e-10)
    assert (np.diff(example.history) > 0).all()  # as Baum and Welch promise


def test_the_neural_ode_fits_the_spiral_and_its_gradient_is_that_of_differences(run):
    example = run("neural_ode")
    first, last = (float(word.strip(",")) for word in example.said.split()[2::2])
    assert last < first / 1000
    p = example.begin()
    direct, checkpointed = (
        ad.grad(lambda p: example.loss(p, example.points, adjoint))(p) for adjoint in ("direct", "checkpoint")
    )
    assert_same(checkpointed, direct, 1e-12)
    some = {name: p.pop(name) for name in ("bias", "out")}
    right = differences(lambda q: example.loss({**p, **q}, example.points).item(), some, 1e-4)
    assert_same({name: direct[name] for name in some}, right, 1e-3)  # SciPy's choice of steps moves a little with p


def test_phase_retrieval_finds_the_signal_and_its_gradient_is_the_closed_form(run):
    example = run("phase_retrieval")
    np.testing.assert_allclose(example.turned, example.z, atol=1e-6)
    z, masks = example.z + 0.3j, example.masks
    seen = example.intensities(example.z, masks)
    found = ad.grad(lambda z: example.loss(z, masks, seen))(z)
    fourier = scipy.linalg.dft(len(z), scale="sqrtn")
    waves = (masks * z) @ fourier.T
    right = 4 * (masks.conj() * (((abs(waves) ** 2 - seen) * waves) @ fourier.conj())).sum(axis=0) / masks.size
    np.testing.assert_allclose(found, right, rtol=1e-11)


def test_the_rates_of_one_interval_are_the_logarithm_of_the_matrix_of_frequencies(run):
    example = run("matrix_exponential")
    (t, n), *_ = visits = example.data()
    found, covariance = example.fit(visits[:1])
    rates = scipy.linalg.logm(n / n.sum(axis=1, keepdims=True)) / t
    np.testing.assert_allclose(np.exp(found), rates[example.ALLOWED], rtol=1e-6)
    slope = lambda r: np.asarray(ad.grad(example.surprise)(r, visits[:1]))
    columns = [(slope(found + e) - slope(found - e)) / 2e-5 for e in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(np.linalg.inv(covariance), columns, rtol=1e-5, atol=1e-5)


def test_the_implicit_layer_has_the_gradient_of_endless_turns_and_learns_the_rings(run):
    example = run("implicit_layer")
    assert "100% right" in example.said

    def unrolled(p):
        W, z = 0.9 * p["W"] / np.linalg.norm(p["W"]), np.zeros((len(example.x), len(p["b"])))
        for _ in range(300):
            z = np.tanh(z @ W.T + example.x @ p["U"].T + p["b"])
        return np.logaddexp(0, -example.y * (z @ p["out"])).mean()

    p = example.begin()
    assert_same(ad.grad(lambda p: example.loss(p, example.x, example.y))(p), differences(unrolled, p), 1e-7)
