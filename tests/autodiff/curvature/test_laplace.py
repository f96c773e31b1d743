"""Laplace's approximation, against Bayesian linear regression in closed form, scikit-learn and laplace-torch."""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import nn
import optim
from autodiff import curvature

# laplace-torch 0.3 on torch 2.13.0: float64, δ = 0.7, σ = 0.4, of the network and the data below
THEIRS = json.loads((Path(__file__).parents[2] / "data" / "laplace_torch.json").read_text())


def case():
    """The network 2-4-3, its data (x, labels, targets), and two new inputs."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s) for s in ((4, 2), (4,), (3, 4), (3,))]
    data = rng.normal(size=(12, 2)), rng.integers(0, 3, 12), rng.normal(size=(12, 3))
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    for p, w in zip(model.parameters(), weights):
        p.data[...] = w
    return model, *data, rng.normal(size=(2, 2))


def regression(n=20, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, X @ rng.normal(size=d) + 0.3 * rng.normal(size=n)


def ridge(X, y, penalty):
    """A linear model without bias, whose weights are those of ridge regression."""
    model = nn.Linear(X.shape[1], 1, bias=False, dtype=np.float64)
    model.weight.data[...] = np.linalg.solve(X.T @ X + penalty * np.eye(X.shape[1]), X.T @ y)
    return model


@pytest.mark.parametrize("structure", ["full", "last_layer", "kron"])
def test_of_a_linear_model_posterior_evidence_and_prediction_are_exact(structure):
    X, y = regression()
    δ, σ = 0.8, 0.5
    model = ridge(X, y, δ * σ**2)
    posterior = curvature.laplace(
        model, (X, y[:, None]), "gaussian", structure, sigma_noise=σ, prior_precision=δ, batch_size=7
    )
    S = np.linalg.inv(X.T @ X / σ**2 + δ * np.eye(3))
    np.testing.assert_allclose(posterior.covariance(), S, rtol=1e-9, atol=1e-12)
    evidence = multivariate_normal(np.zeros(20), σ**2 * np.eye(20) + X @ X.T / δ).logpdf(y)
    assert posterior.log_marginal_likelihood() == pytest.approx(evidence, rel=1e-11)
    new = np.random.default_rng(1).normal(size=(5, 3))
    mean, covariance = posterior.predict(new)
    np.testing.assert_allclose(mean[:, 0], new @ S @ X.T @ y / σ**2, rtol=1e-10)
    np.testing.assert_allclose(covariance[:, 0, 0], np.einsum("ni,ij,nj->n", new, S, new), rtol=1e-9)
    (drawn,) = posterior.sample(20_000, rng=0)
    assert drawn.shape == (20_000, 1, 3)
    np.testing.assert_allclose(np.cov(drawn[:, 0].T), S, atol=0.02 * S.max())


def test_the_evidence_is_largest_where_scikit_learns_bayesian_ridge_ends():
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = regression(50, 4)
    theirs = linear_model.BayesianRidge(
        fit_intercept=False, alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-12, max_iter=10_000
    ).fit(X, y)
    model = ridge(X, y, theirs.lambda_ / theirs.alpha_)
    found = curvature.laplace(model, (X, y[:, None]), "gaussian", sigma_noise=None, prior_precision=None)
    assert found.prior_precision == pytest.approx(theirs.lambda_, rel=1e-5)
    assert found.sigma_noise == pytest.approx(theirs.alpha_**-0.5, rel=1e-5)
    fixed = curvature.laplace(model, (X, y[:, None]), "gaussian", sigma_noise=None, prior_precision=theirs.lambda_)
    assert fixed.sigma_noise == pytest.approx(theirs.alpha_**-0.5, rel=1e-5)
    best = found.log_marginal_likelihood()
    for factor in (0.99, 1.01):
        assert found.log_marginal_likelihood(prior_precision=factor * found.prior_precision) < best
        assert found.log_marginal_likelihood(sigma_noise=factor * found.sigma_noise) < best


@pytest.mark.parametrize("key", sorted(THEIRS))
def test_evidence_predictions_and_best_prior_are_laplace_torchs(key, monkeypatch):
    # laplace-torch gives a bias a factor of its own; with its weight, as here, it is exact for a linear layer
    monkeypatch.setattr(sys.modules["autodiff.curvature.laplace"], "KFAC", partial(curvature.KFAC, separate=True))
    likelihood, structure = key.split(":")
    theirs = THEIRS[key]
    model, X, labels, Y, new = case()
    data = (X, labels if likelihood == "softmax" else Y)
    noise = {} if likelihood == "softmax" else {"sigma_noise": 0.4}
    found = curvature.laplace(model, data, likelihood, structure, prior_precision=0.7, **noise)
    assert found.log_marginal_likelihood() == pytest.approx(theirs["evidence"], rel=1e-9)
    predicted = found.predict(new)
    if likelihood == "softmax":
        np.testing.assert_allclose(predicted, theirs["probit"], rtol=1e-8)
    else:
        np.testing.assert_allclose(predicted.mean, theirs["mean"], rtol=1e-8)
        np.testing.assert_allclose(predicted.covariance, theirs["covariance"], rtol=1e-8, atol=1e-10)
    best = curvature.laplace(model, data, likelihood, structure, prior_precision=None, **noise)
    assert best.prior_precision == pytest.approx(theirs["best_precision"], rel=1e-3)  # Adam's 500 steps


def test_draws_average_to_what_sampled_outputs_give():
    model, X, labels, _, new = case()
    found = curvature.laplace(model, (X, labels), structure="full", prior_precision=0.7)
    probabilities = found.predict(new, "mc", samples=20_000, rng=0)
    J = curvature.Jacobian(lambda: model(new), list(model.parameters())).to_dense()
    z = (
        np.random.default_rng(1)
        .multivariate_normal(model(new).numpy().ravel(), J @ found.covariance() @ J.T, size=20_000)
        .reshape(-1, 2, 3)
    )
    e = np.exp(z)
    np.testing.assert_allclose(probabilities, (e / e.sum(2, keepdims=True)).mean(0), atol=0.01)
    assert np.array_equal(found.predict(new, "mc", rng=3), found.predict(new, "mc", rng=3))


def test_a_model_in_training_mode_is_taken_in_evaluation_mode_and_left_as_it_was(rng):
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3)).double()
    X, labels = rng.normal(size=(12, 2)), rng.integers(0, 3, 12)
    model[1].eval()
    state = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    found = curvature.laplace(model, (X, labels), structure="diag")
    np.testing.assert_array_equal(found.predict(X), found.predict(X))
    assert [m.training for m in model] == [True, False, True, True, True]
    for name, t in model.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), state[name])
    np.testing.assert_allclose(found.predict(X[:1]), found.predict(X)[:1], rtol=1e-12)


def test_the_data_may_be_batches_a_data_set_or_one_sample(rng):
    model, X, labels, _, new = case()
    whole = curvature.laplace(model, (X, labels), structure="diag").log_marginal_likelihood()

    class Set:
        def __len__(self):
            return 12

        def __getitem__(self, i):
            return X[i], labels[i]

    halves = [(X[:5], labels[:5]), (X[5:], labels[5:])]
    for data in (Set(), halves, iter(halves), optim.batches(X, labels, 5)):
        assert curvature.laplace(model, data, structure="diag").log_marginal_likelihood() == pytest.approx(whole)
    assert np.isfinite(curvature.laplace(model, (X[:1], labels[:1])).predict(new)).all()


def test_the_last_layer_is_the_one_used_last_wherever_it_is_defined(rng):
    class HeadFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body = nn.Linear(4, 3, rng=rng), nn.Linear(2, 4, rng=rng)

        def forward(self, x):
            return self.head(np.tanh(self.body(x)))

    _, X, labels, _, _ = case()
    model = HeadFirst().double()
    posterior = curvature.laplace(model, (X, labels), structure="last_layer")
    assert all(p is q for p, q in zip(posterior.params, model.head.parameters(), strict=True))


def test_single_precision_gives_the_same_to_its_digits():
    model, X, labels, _, new = case()
    double = curvature.laplace(model, (X, labels)).predict(new)
    np.testing.assert_allclose(curvature.laplace(model.float(), (X, labels)).predict(new), double, rtol=1e-4)


def test_what_is_no_posterior_is_refused_with_what_would_be_right():
    model, X, labels, Y, new = case()
    with pytest.raises(ValueError, match="class indices 0 … 2"):
        curvature.laplace(model, (X, labels + 1))
    with pytest.raises(ValueError, match=r"of the output's shape \(12, 3\)"):
        curvature.laplace(model, (X, labels), "gaussian")
    with pytest.raises(ValueError, match="structure one of"):
        curvature.laplace(model, (X, labels), structure="block")
    with pytest.raises(TypeError, match=r"takes \(model, data, likelihood\), the likelihood a name, not tuple"):
        curvature.laplace(model, nn.CrossEntropyLoss(), (X, labels))
    with pytest.raises(ValueError, match="prior_precision must be a positive number, not 0"):
        curvature.laplace(model, (X, labels), prior_precision=0)
    with pytest.raises(ValueError, match="sigma_noise is for the gaussian"):
        curvature.laplace(model, (X, labels), sigma_noise=2.0)
    with pytest.raises(ValueError, match="no samples"):
        curvature.laplace(model, (X[:0], labels[:0]))
    with pytest.raises(ValueError, match="nan in row 3"):
        curvature.laplace(model, (np.where(np.arange(12)[:, None] == 3, np.nan, X), labels))
    with pytest.raises(ValueError, match="holds no samples"):
        curvature.laplace(model, [])
    with pytest.raises(ValueError, match=r"must have shape \(n, classes\)"):
        curvature.laplace(nn.Linear(2, 1).double(), (X, labels))
    with pytest.raises(ValueError, match="no maximum"):
        nought = nn.Linear(2, 3).double()
        for p in nought.parameters():
            p.data[...] = 0
        curvature.laplace(nought, (X, labels), prior_precision=None)
    with pytest.raises(ValueError, match="the fit is perfect"):  # fewer targets than weights: all that is left is noise
        curvature.laplace(model, (X[:4], model(X[:4]).numpy()), "gaussian", sigma_noise=None, prior_precision=None)
    found = curvature.laplace(model, (X, labels))
    for samples in (0, 1.5, True):
        with pytest.raises(ValueError, match="samples must be a whole number from 1"):
            found.predict(new, "mc", samples=samples)
    for n in (-1, 2.5):
        with pytest.raises(ValueError, match="n must be a whole number from 0"):
            found.sample(n)
    with pytest.raises(ValueError, match="inf in row 0"):
        found.predict(new * np.inf)
    with pytest.raises(ValueError, match="'probit' or 'mc'"):
        found.predict(new, "map")
    model[0].weight.data += 1
    with pytest.raises(RuntimeError, match="were changed"):
        found.predict(new)
    model[0].weight.data[...] = np.nan
    with pytest.raises(np.linalg.LinAlgError, match="finite"):
        curvature.laplace(model, (X, labels))


def test_against_laplace_torch_itself_where_it_is_installed(monkeypatch):
    theirs = pytest.importorskip("laplace")
    import torch

    model, X, labels, _, new = case()
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)).double()
    with torch.no_grad():
        for p, q in zip(net.parameters(), model.parameters()):
            p.copy_(torch.tensor(q.numpy()))
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(labels)), 12)
    for structure in ("full", "diag", "kron"):
        other = theirs.Laplace(net, "classification", "all", structure, prior_precision=0.7)
        other.fit(data)
        monkeypatch.setattr(sys.modules["autodiff.curvature.laplace"], "KFAC", partial(curvature.KFAC, separate=True))
        ours = curvature.laplace(model, (X, labels), structure=structure, prior_precision=0.7)
        assert ours.log_marginal_likelihood() == pytest.approx(float(other.log_marginal_likelihood()), rel=1e-9)
