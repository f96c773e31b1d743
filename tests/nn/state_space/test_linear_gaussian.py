"""Linear dynamical systems against the joint normal distribution of all their states and observations."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import autodiff as ad
import nn

K, D, T = 2, 3, 4


def made(seed=0, singular=False):
    rng = np.random.default_rng(seed)
    model = nn.LinearGaussianSSM(K, D, dtype="float64", rng=rng)
    for p in model.parameters():
        p.data = rng.normal(size=p.shape) * 0.5 + (0.5 * np.eye(len(p)) if p.shape in ((K, K), (D, D)) else 0)
    model.transition.data = np.array([[0.7, 0.4], [-0.5, 0.6]])  # it would explode otherwise
    if singular:
        model.transition_factor.data = np.zeros((K, K))
    return model


def observed(missing, seed=1):
    x = np.random.default_rng(seed).normal(size=(T, D))
    if missing:
        x[0, 1] = x[1] = x[3, 0] = x[3, 2] = np.nan
    return x


def joint(model, steps):
    """Mean and covariance of (z, x) of all steps, from the definition: each is a linear map of independent noise."""
    a, c, m = (p.numpy() for p in (model.transition, model.emission, model.initial_mean))
    p, q, r = (np.tril(getattr(model, f"{n}_factor").numpy()) for n in ("initial", "transition", "emission"))
    noise = np.zeros((steps * (K + D), steps * (K + D)))
    z_mean, z, x, x_mean = [m], [], [], []
    for t in range(steps):
        row = np.zeros((K, len(noise)))
        row[:, K * t : K * t + K] = q if t else p
        z.append(row + a @ z[-1] if t else row)
        z_mean[t:] = [a @ z_mean[-1] if t else m]
        own = np.zeros((D, len(noise)))
        own[:, K * steps + D * t :][:, :D] = r
        x.append(c @ z[-1] + own)
        x_mean.append(c @ z_mean[-1])
    whole = np.concatenate(z + x)
    return np.concatenate(z_mean + x_mean), whole @ whole.T


def conditional(model, x, steps=T):
    """Mean and covariance of (z, x) of all steps given the first observations x."""
    mean, covariance = joint(model, steps)
    given = np.full(steps * (K + D), np.nan)
    given[K * steps :][: x.size] = x.ravel()
    seen = ~np.isnan(given)
    gain = covariance[:, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    return mean + gain @ (given[seen] - mean[seen]), covariance - gain @ covariance[seen]


@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_likelihood_filter_smoother_and_forecast_are_those_of_the_joint_distribution(missing, singular):
    model, x = made(singular=singular), observed(missing)
    mean, covariance = joint(model, T)
    seen = np.concatenate([np.zeros(K * T, bool), ~np.isnan(x).ravel()])
    expected = multivariate_normal.logpdf(x[~np.isnan(x)], mean[seen], covariance[np.ix_(seen, seen)])
    np.testing.assert_allclose(model(x).item(), expected, rtol=1e-11)
    means, covariances = model.smooth(x)
    expected, spread = conditional(model, x)
    for t in range(T):
        part = slice(K * t, K * t + K)
        np.testing.assert_allclose(means.numpy()[t], expected[part], atol=1e-11)
        np.testing.assert_allclose(covariances.numpy()[t], spread[part, part], atol=1e-11)
    means, covariances = model.filter(x)
    for t in range(T):
        expected, spread = conditional(model, x[: t + 1])
        part = slice(K * t, K * t + K)
        np.testing.assert_allclose(means.numpy()[t], expected[part], atol=1e-11)
        np.testing.assert_allclose(covariances.numpy()[t], spread[part, part], atol=1e-11)
    means, covariances = model.forecast(x, 2)
    expected, spread = conditional(model, x, T + 2)
    for t in range(2):
        part = slice(K * (T + 2) + D * (T + t), K * (T + 2) + D * (T + t + 1))
        np.testing.assert_allclose(means.numpy()[t], expected[part], atol=1e-11)
        np.testing.assert_allclose(covariances.numpy()[t], spread[part, part], atol=1e-11)


def test_a_batch_is_its_sequences_each_with_its_own_missing_observations():
    model, x = made(), np.stack([observed(True), observed(False, 2)])
    np.testing.assert_allclose(model(x).numpy(), [model(row).item() for row in x], rtol=1e-12)
    for method in (model.filter, model.smooth, lambda x: model.forecast(x, 3)):
        for batched, single in zip(method(x), zip(*[method(row) for row in x])):
            np.testing.assert_allclose(batched.numpy(), np.stack([s.numpy() for s in single]), atol=1e-12)


@pytest.mark.parametrize("missing", [False, True])
def test_the_likelihoods_derivatives_are_exact_to_the_second_order(missing):
    model, x = made(), observed(missing)[:3]
    assert ad.gradgradcheck(lambda *p: nn.functional_call(model, dict(zip(dict(model.named_parameters()), p)), x),
                        [p.numpy() for p in model.parameters()])  # fmt: skip


@pytest.mark.parametrize("missing", [False, True])
def test_em_raises_the_likelihood_to_where_its_gradient_vanishes(missing):
    truth = made(3)
    _, x = truth.sample(20, 4, rng=np.random.default_rng(0))
    if missing:
        x[np.random.default_rng(1).random(x.shape) < 0.3] = np.nan
    model = made(4)
    before = model(x).numpy().sum()
    gradient = [np.linalg.norm(g.numpy()) for g in ad.gradients(model(x).sum(), list(model.parameters()))]
    values = model.em(x, 30)
    np.testing.assert_allclose([values[0], values[-1]], [before, model(x).numpy().sum()], rtol=1e-12)
    assert (np.diff(values) > -1e-9).all() and values[-1] > values[0] + 10
    after = [np.linalg.norm(g.numpy()) for g in ad.gradients(model(x).sum(), list(model.parameters()))]
    assert max(after) < 0.1 * max(gradient)


def test_em_of_the_gradient_is_fishers_identity():
    # One step of EM from where the likelihood has a gradient goes up in the direction of that gradient.
    _, x = made(3).sample(10, 5, rng=np.random.default_rng(0))
    for name in dict(made().named_parameters()):
        model = made(5)
        gradient = ad.gradients(model(x).sum(), getattr(model, name))[0].numpy()
        before = getattr(model, name).numpy().copy()
        model.em(x, 1)
        moved = getattr(model, name).numpy() - before
        if name.endswith("factor"):  # its sign is free
            continue
        assert (moved * gradient).sum() > 0


def test_samples_have_the_joint_distributions_moments():
    model = made()
    z, x = model.sample(T, 20000, rng=np.random.default_rng(0))
    rows = np.concatenate([z.reshape(20000, -1), x.reshape(20000, -1)], axis=1)
    mean, covariance = joint(model, T)
    error = np.sqrt(np.diag(covariance) / 20000)
    assert (abs(rows.mean(axis=0) - mean) < 4.5 * error).all()
    np.testing.assert_allclose(np.cov(rows.T), covariance, atol=0.06 * covariance.max())
    assert [a.shape for a in model.sample(3, rng=np.random.default_rng(0))] == [(3, K), (3, D)]


def test_linear_gaussian_models_refuse_what_does_not_fit_by_name():
    model = nn.LinearGaussianSSM(2, 3)
    with pytest.raises(ValueError, match=r"LinearGaussianSSM\(2, 3\): got x of shape \(4, 2\), expects \(T, 3\)"):
        model(np.zeros((4, 2), "float32"))
    with pytest.raises(TypeError, match="floating-point"):
        model(np.zeros((4, 3), int))
    with pytest.raises(ValueError, match="steps is at least 1, not 0"):
        model.forecast(np.zeros((4, 3), "float32"), 0)
    assert model(np.zeros((4, 3), "float32")).dtype == "float32"
    with pytest.raises(ValueError, match="name is 'initial', 'transition' or 'emission', not 'noise'"):
        model.covariance("noise")
    with pytest.raises(ValueError, match=r"x of shape \(0, 4, 3\), expects 1 sequence or more"):
        model.em(np.zeros((0, 4, 3), "float32"), 1)


def test_em_says_so_where_the_likelihood_has_no_maximum_and_min_variance_gives_it_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4))  # fewer observations than numbers in each
    x = np.stack([x, x[::-1]])
    model = nn.LinearGaussianSSM(1, 4, dtype="float64", rng=rng)
    with pytest.raises(ValueError, match=r"a covariance is singular .* min_variance=1e-6"):
        model.em(x, 20)
    model.reset_parameters(rng)
    values = model.em(x, 20, min_variance=1e-4)
    assert (np.diff(values) > -1e-6).all()
    smallest = [np.linalg.eigvalsh(model.covariance(n).numpy())[0] for n in ("initial", "transition", "emission")]
    np.testing.assert_array_less(1e-4 - 1e-12, smallest)
