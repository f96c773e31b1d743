"""HMMs against the sum over all paths, and their algorithms against brute force and finite differences."""

import itertools

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp
from scipy.stats import norm

import autodiff as ad
import nn

T = 5


def made(gaussian, seed=0):
    rng = np.random.default_rng(seed)
    model = nn.HMM(3, None if gaussian else 4, features=2 if gaussian else None, dtype="float64", rng=rng)
    model.initial.data = rng.normal(size=3)
    if gaussian:
        model.log_variance.data = rng.normal(size=(3, 2))
    x = rng.normal(size=(2, T, 2)) if gaussian else rng.integers(0, 4, (2, T))
    return model, x


def joint(model, x):
    """log p(x, z) by z of all paths, from the definition."""
    initial, transition = log_softmax(model.initial.numpy()), log_softmax(model.transition.numpy(), axis=1)
    if model.symbols is not None:
        emitted = log_softmax(model.emission.numpy(), axis=1)[:, x].T
    else:
        scale = np.exp(model.log_variance.numpy() / 2)
        emitted = norm.logpdf(x[:, None], model.mean.numpy(), scale).sum(axis=-1)
    return {
        z: initial[z[0]]
        + sum(transition[z[t - 1], z[t]] for t in range(1, len(x)))
        + sum(emitted[t, z[t]] for t in range(len(x)))
        for z in itertools.product(range(model.states), repeat=len(x))
    }


@pytest.mark.parametrize("gaussian", [False, True])
def test_the_likelihood_posteriors_and_best_path_are_those_of_all_paths(gaussian):
    model, x = made(gaussian)
    for row in x:
        paths = joint(model, row)
        total = logsumexp(list(paths.values()))
        np.testing.assert_allclose(model(row).item(), total, rtol=1e-12)
        expected = np.zeros((T, 3))
        for z, value in paths.items():
            expected[range(T), z] += np.exp(value - total)
        np.testing.assert_allclose(model.posteriors(row).numpy(), expected, atol=1e-12)
        assert tuple(model.viterbi(row)) == max(paths, key=paths.get)
    for found, one in ((model(x), model), (model.posteriors(x), model.posteriors)):
        np.testing.assert_allclose(found.numpy(), np.stack([one(row).numpy() for row in x]), rtol=1e-12)
    assert (model.viterbi(x) == np.stack([model.viterbi(row) for row in x])).all()


def test_the_derivatives_by_the_logarithms_of_the_probabilities_are_expected_counts():
    model, x = made(gaussian=False)
    x = x[0]
    paths = joint(model, x)
    total = logsumexp(list(paths.values()))
    first, moves, seen = np.zeros(3), np.zeros((3, 3)), np.zeros((3, 4))
    for z, value in paths.items():
        weight = np.exp(value - total)
        first[z[0]] += weight
        np.add.at(moves, (z[:-1], z[1:]), weight)
        np.add.at(seen, (z, x), weight)
    # By the parameters, of which the probabilities are the softmax: counts less what their total would give.
    found = ad.gradients(model(x), [model.initial, model.transition, model.emission])
    for counts, parameter, gradient in zip((first, moves, seen), model.parameters(), found):
        p = np.exp(log_softmax(parameter.numpy(), axis=-1))
        np.testing.assert_allclose(gradient.numpy(), counts - counts.sum(axis=-1, keepdims=True) * p, atol=1e-12)
    # And so a step of EM is these counts, normalised.
    model.em(x, 1)
    for counts, parameter in zip((first, moves, seen), model.parameters()):
        expected = counts / counts.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(np.exp(parameter.numpy()), expected, atol=1e-12)


@pytest.mark.parametrize("gaussian", [False, True])
def test_second_derivatives_are_exact(gaussian):
    model, x = made(gaussian)
    assert ad.gradgradcheck(lambda *p: nn.functional_call(model, dict(zip(dict(model.named_parameters()), p)), x).sum(),
                        [p.numpy() for p in model.parameters()])  # fmt: skip


def test_a_step_of_em_gives_weighted_means_and_variances():
    model, x = made(gaussian=True)
    weights, rows = model.posteriors(x).numpy().reshape(-1, 3), x.reshape(-1, 2)
    model.em(x, 1)
    for k in range(3):
        mean = np.average(rows, axis=0, weights=weights[:, k])
        np.testing.assert_allclose(model.mean.numpy()[k], mean, rtol=1e-12)
        expected = np.average((rows - mean) ** 2, axis=0, weights=weights[:, k])
        np.testing.assert_allclose(np.exp(model.log_variance.numpy()[k]), expected, rtol=1e-12)


@pytest.mark.parametrize("gaussian", [False, True])
def test_em_never_lowers_the_likelihood_of_sequences_of_any_lengths(gaussian):
    truth, _ = made(gaussian, seed=3)
    sequences = [truth.sample(t, rng=np.random.default_rng(t))[1] for t in (40, 25, 1)]
    model, _ = made(gaussian, seed=4)
    before = sum(model(s).item() for s in sequences)
    found = model.em(sequences, 6)
    np.testing.assert_allclose(found[0], before, rtol=1e-12)
    np.testing.assert_allclose(found[-1], sum(model(s).item() for s in sequences), rtol=1e-12)
    assert (np.diff(found) > -1e-9).all() and found[-1] > found[0] + 1


def test_impossible_moves_stay_impossible_and_unmet_states_keep_their_parameters():
    model = nn.HMM(3, 2, dtype="float64", rng=np.random.default_rng(0))
    model.initial.data = np.array([0.0, -np.inf, -np.inf])
    model.transition.data = np.array([[0, 0, -np.inf], [-np.inf, 0, -np.inf], [1.0, 2.0, 3.0]])
    before = model.emission.numpy().copy()
    x = np.array([0, 0, 1, 1])
    values = model.em(x, 5)
    assert np.isfinite(values).all() and (np.diff(values) >= -1e-12).all()
    assert (model.transition.numpy()[[0, 1, 1], [2, 0, 2]] == -np.inf).all()
    assert (model.transition.numpy()[2] == [1, 2, 3]).all() and (model.emission.numpy()[2] == before[2]).all()
    assert model.viterbi(x).tolist() == [0, 0, 1, 1]


def test_samples_have_the_models_frequencies():
    model, _ = made(gaussian=False)
    z, x = model.sample(4, 20000, rng=np.random.default_rng(1))
    assert z.shape == x.shape == (20000, 4)
    p = np.exp(log_softmax(model.initial.numpy()))
    np.testing.assert_allclose(np.bincount(z[:, 0], minlength=3) / 20000, p, atol=0.015)
    moves, seen = np.zeros((3, 3)), np.zeros((3, 4))
    np.add.at(moves, (z[:, :-1].ravel(), z[:, 1:].ravel()), 1)
    np.add.at(seen, (z.ravel(), x.ravel()), 1)
    for counts, parameter in ((moves, model.transition), (seen, model.emission)):
        expected = np.exp(log_softmax(parameter.numpy(), axis=1))
        np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), expected, atol=0.02)
    model, _ = made(gaussian=True)
    z, x = model.sample(20000, rng=np.random.default_rng(1))
    for k in range(3):
        rows = x[z == k]
        error = np.exp(model.log_variance.numpy()[k] / 2) / np.sqrt(len(rows))
        assert (abs(rows.mean(axis=0) - model.mean.numpy()[k]) < 4 * error).all()


def test_hmms_refuse_what_does_not_fit_by_name():
    model, gaussian = nn.HMM(2, 3), nn.HMM(2, features=2)
    with pytest.raises(ValueError, match="symbols= or features=, not both"):
        nn.HMM(2, 3, features=2)
    with pytest.raises(ValueError, match="not neither"):
        nn.HMM(2)
    with pytest.raises(ValueError, match=r"symbols are 0 … 2, but x has 0 … 3"):
        model(np.array([0, 3]))
    with pytest.raises(TypeError, match="expects integers"):
        model(np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"x of shape \(0,\), expects \(T,\) or \(N, T\)"):
        model(np.zeros(0, int))
    with pytest.raises(ValueError, match=r"HMM\(2, features=2\): got x of shape \(4, 3\)"):
        gaussian.viterbi(np.zeros((4, 3)))
    model.initial.data, model.transition.data = np.array([0, -np.inf]), np.array([[0, -np.inf], [0, 0.0]])
    model.emission.data = np.array([[0, 0, -np.inf], [0, 0, 0.0]])
    assert model(np.array([0, 2])).item() == -np.inf
    for method in (model.posteriors, model.viterbi, lambda x: model.em(x, 1)):
        with pytest.raises(ValueError, match="log p\\(x\\) is -inf, so that no states are probable"):
            method(np.array([0, 2]))
    with pytest.raises(ValueError, match="min_variance is greater than 0"):
        gaussian.em(np.zeros((4, 2), "float32"), 1, min_variance=0)
    with pytest.raises(ValueError, match="log p\\(x\\) is nan, so that no states are probable"):
        gaussian.viterbi(np.full((4, 2), np.nan))


def test_the_logarithm_of_probability_zero_has_no_derivative():
    model = nn.HMM(2, 3, dtype="float64", rng=np.random.default_rng(0))
    model.emission.data = np.array([[0, 0, -np.inf], [0, 0, -np.inf]])
    possible, impossible = model(np.array([[0, 1, 0], [0, 2, 0]]))
    assert impossible.item() == -np.inf
    assert all(np.isnan(g.numpy()).all() for g in ad.gradients(impossible, list(model.parameters())))
    alone = ad.gradients(model(np.array([0, 1, 0])), list(model.parameters()))
    for g, expected in zip(ad.gradients(possible, list(model.parameters())), alone):
        np.testing.assert_array_equal(g.numpy(), expected.numpy())


def test_vmap_takes_each_sequence_to_its_own_likelihood_and_gradient():
    model, x = nn.HMM(2, 3, dtype="float64", rng=np.random.default_rng(0)), np.array([[0, 1, 2], [2, 2, 0]])
    np.testing.assert_allclose(ad.vmap(model)(x).numpy(), model(x).numpy())
    of_each = ad.vmap(ad.grad(lambda e, s: nn.functional_call(model, {"emission": e}, s)), in_axes=(None, 0))
    expected = ad.jacobian(lambda e: nn.functional_call(model, {"emission": e}, x))(model.emission.numpy())
    np.testing.assert_allclose(of_each(model.emission.numpy(), x).numpy(), expected.numpy(), atol=1e-14)


def test_em_takes_a_list_of_symbols_as_the_model_does():
    model, again = (nn.HMM(2, 3, dtype="float64", rng=np.random.default_rng(0)) for _ in range(2))
    assert (model.em([0, 1, 2, 0], 2) == again.em(np.array([0, 1, 2, 0]), 2)).all()
