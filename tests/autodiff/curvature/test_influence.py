"""Influence functions, against retraining without an example and against dense algebra."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit

import nn
import optim
from autodiff import curvature

half_square = lambda z, y: 0.5 * ((z - y) ** 2).mean()


def linear(weights):
    weights = np.atleast_2d(weights)
    model = nn.Linear(weights.shape[1], weights.shape[0], bias=False, dtype=np.float64)
    model.weight.data[...] = weights
    return model


def network(rng, sizes=(3, 6, 4)):
    layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b, rng=rng), nn.Tanh())]
    return nn.Sequential(*layers[:-1]).double()


@pytest.mark.parametrize("method", ["cg", "exact", "kfac"])  # of a linear model KFAC is exact
def test_in_ridge_regression_leaving_an_example_out_changes_the_weights_by_the_score_over_one_minus_leverage(
    rng, method
):
    n, d, λ = 25, 4, 0.1
    X, new = rng.normal(size=(n, d)), rng.normal(size=(3, d))
    y, t = X @ rng.normal(size=d) + rng.normal(size=n), rng.normal(size=3)
    A = X.T @ X + n * λ * np.eye(d)
    w = np.linalg.solve(A, X.T @ y)
    found = curvature.influence(
        linear(w), half_square, (X, y[:, None]), (new, t[:, None]), damping=λ, method=method, batch_size=8, tol=1e-13
    )
    leverage = np.einsum("ni,in->n", X, np.linalg.solve(A, X.T))
    for i in range(n):
        kept = np.arange(n) != i
        without = np.linalg.solve(A - np.outer(X[i], X[i]), X[kept].T @ y[kept])
        change = (new @ w - t) * (new @ (without - w))  # ∇ℓ_t · Δw
        np.testing.assert_allclose(-found.scores[:, i] / n / (1 - leverage[i]), change, rtol=1e-9, atol=1e-12)


def test_in_logistic_regression_scores_follow_retraining_without_each_example(rng):
    n, λ = 60, 0.05
    X = rng.normal(size=(n, 2))
    y = (X[:, 0] + 0.8 * rng.normal(size=n) > 0).astype(int)
    new, t = rng.normal(size=(5, 2)), np.array([0, 1, 0, 1, 1])

    def trained(kept):
        s = (2 * y[kept] - 1)[:, None] * X[kept]
        loss = lambda w: -log_expit(s @ w).sum() / n + 0.5 * λ * w @ w
        slope = lambda w: -expit(-s @ w) @ s / n + λ * w
        return minimize(loss, np.zeros(2), method="BFGS", jac=slope, options={"gtol": 1e-9}).x

    tests = lambda w: -log_expit((2 * t - 1) * (new @ w))
    w = trained(np.ones(n, bool))
    found = curvature.influence(
        linear(w), nn.BCEWithLogitsLoss(), (X, y[:, None].astype(float)), (new, t[:, None].astype(float)), damping=λ
    )
    changes = np.array([tests(trained(np.arange(n) != i)) - tests(w) for i in range(n)]).T
    assert np.corrcoef(changes.ravel(), -found.scores.ravel())[0, 1] > 0.99
    worst = found.harmful(1)[0]
    assert changes.sum(axis=0).argmin() == worst and found.helpful(1)[0] == changes.sum(axis=0).argmax()


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss([1.0, 2, 3, 0.5], ignore_index=2)])
def test_scores_of_a_network_are_those_of_dense_algebra(rng, loss):
    model = network(rng)
    X, y, new, t = rng.normal(size=(20, 3)), rng.integers(0, 4, 20), rng.normal(size=(6, 3)), rng.integers(0, 4, 6)
    y[:4] = 2  # with batches of four, one that does not count at all
    params = list(model.parameters())
    found = {
        (method, size): curvature.influence(
            model, loss, (X, y), (new, t), damping=0.1, method=method, batch_size=size, tol=1e-12
        ).scores
        for method in ("cg", "exact")
        for size in (4, None)
    }
    G = curvature.GaussNewton(lambda: model(X), lambda z: loss(z, y), params).to_dense()

    def gradients(x, target):
        rows = []
        for i in range(len(x)):
            model.zero_grad()
            if loss.count(target[i : i + 1]):
                (loss(model(x[i : i + 1]), target[i : i + 1]) * loss.count(target[i : i + 1])).backward()
                rows.append(np.concatenate([p.grad.numpy().ravel() for p in params]))
            else:
                rows.append(np.zeros(len(G)))
        return np.array(rows)

    dense = -gradients(new, t) @ np.linalg.solve(G + 0.1 * np.eye(len(G)), gradients(X, y).T)
    for scores in found.values():
        np.testing.assert_allclose(scores, dense, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.MSELoss()])
def test_with_kfac_scores_are_those_of_its_dense_matrix_on_the_scale_of_the_loss(rng, loss):
    model = network(rng)
    X = rng.normal(size=(20, 3))
    y = rng.integers(0, 4, 20) if isinstance(loss, nn.CrossEntropyLoss) else rng.normal(size=(20, 4))
    params = list(model.parameters())
    likelihood, scale = ("softmax", 1.0) if y.ndim == 1 else ("gaussian", 2 / 4)  # the mean of squares over 4 outputs
    K = curvature.KFAC(lambda: model(X), None, params, likelihood=likelihood).to_dense() * scale
    rows = [part.reshape(20, -1) for part in curvature.per_example_gradients(model(X), lambda z: loss(z, y), params)]
    g = np.concatenate(rows, axis=1) * 20
    found = curvature.influence(model, loss, (X, y), (X, y), damping=0.1, method="kfac")
    np.testing.assert_allclose(found.scores, -g @ np.linalg.solve(K + 0.1 * np.eye(len(K)), g.T), rtol=1e-8, atol=1e-9)
    exact = curvature.influence(model, loss, (X, y), (X, y), damping=0.1, method="exact")
    assert np.corrcoef(exact.scores.ravel(), found.scores.ravel())[0, 1] > 0.9


def test_kfac_refuses_a_loss_whose_curvature_is_of_no_likelihood_it_knows(rng):
    model = network(rng)
    X, y = rng.normal(size=(8, 3)), rng.integers(0, 4, 8)
    with pytest.raises(ValueError, match="without class weights or ignored targets"):
        loss = nn.CrossEntropyLoss([1.0, 5.0, 1.0, 0.1])
        curvature.influence(model, loss, (X, y), (X, y), damping=0.1, method="kfac")


def test_the_gradients_of_all_training_examples_are_never_there_at_once(rng):
    import tracemalloc

    model = nn.Sequential(nn.Linear(100, 50, rng=rng), nn.Tanh(), nn.Linear(50, 2, rng=rng)).double()
    X, y = rng.normal(size=(512, 100)), rng.integers(0, 2, 512)
    tracemalloc.start()
    curvature.influence(model, nn.CrossEntropyLoss(), (X, y), (X[:2], y[:2]), damping=10.0, tol=0.1, batch_size=64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.3 * 512 * 5_152 * 8


def test_wrong_labels_are_among_the_harmful_examples(rng):
    X = np.concatenate([rng.normal(size=(30, 2)) + 2, rng.normal(size=(30, 2)) - 2])
    y = np.repeat([0, 1], 30)
    wrong = np.array([3, 17, 41])
    given = y.copy()
    given[wrong] = 1 - given[wrong]
    model = nn.Linear(2, 2, rng=rng).double()
    optim.fit(model, nn.CrossEntropyLoss(), (X, given), optimizer=optim.Adam(model.parameters(), 0.1), epochs=30, rng=0)
    found = curvature.influence(model, nn.CrossEntropyLoss(), (X, given), (X, y), damping=1e-3)
    assert set(found.harmful(3)) == set(wrong) and len(found.helpful(100)) == 60
    assert found.helpful(1, test=3)[0] == found.scores[3].argmin()


def test_a_model_in_training_mode_is_taken_in_evaluation_mode_and_left_as_it_was(rng):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).double()
    X, y = rng.normal(size=(10, 3)), rng.integers(0, 2, 10)
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    given = nn.CrossEntropyLoss(), (X, y), (X, y)
    found = curvature.influence(model, *given, damping=0.1)
    assert all(m.training for m in model)
    model.eval()
    np.testing.assert_array_equal(found.scores, curvature.influence(model, *given, damping=0.1).scores)
    for name, t in model.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[name])


def test_what_has_no_influence_is_refused_with_what_would_be_right(rng):
    model = network(rng)
    X, y = rng.normal(size=(5, 3)), rng.integers(0, 4, 5)
    loss = nn.CrossEntropyLoss()
    go = lambda train=(X, y), test=(X, y), **options: curvature.influence(
        model, loss, train, test, **{"damping": 0.1, **options}
    )
    with pytest.raises(np.linalg.LinAlgError, match=r"G . λI is singular for damping 0"):
        go(damping=0.0, method="exact")
    with pytest.raises(np.linalg.LinAlgError, match=r"not positive definite|not converged"):
        go(damping=0.0, test=(-10 * X, y))
    for damping in (-1.0, np.nan, True, "0.1"):
        with pytest.raises(ValueError, match="damping must be a finite number of at least 0"):
            go(damping=damping)
    with pytest.raises(ValueError, match="method must be one of"):
        go(method="lissa")
    with pytest.raises(ValueError, match="train is shuffled"):
        go(train=optim.batches(X, y, shuffle=True))
    with pytest.raises(ValueError, match="test: data: there are no samples"):
        go(test=(X[:0], y[:0]))
    with pytest.raises(ValueError, match="must be a mean"):
        curvature.influence(model, nn.CrossEntropyLoss(reduction="sum"), (X, y), (X, y), damping=0.1)
    for total in (lambda z, y: loss(z, y) * len(y), lambda z, y: loss(z, y) * len(y) / 100):
        with pytest.raises(ValueError, match="must be a mean over the batch; of a batch taken twice"):
            curvature.influence(model, total, (X, y), (X, y), damping=0.1)
    with pytest.raises(ValueError, match="test: data holds no samples that count"):
        ignoring = nn.CrossEntropyLoss(ignore_index=-1)
        curvature.influence(model, ignoring, (X, y), (X, np.full(5, -1)), damping=0.1)
    with pytest.raises(TypeError, match="have parameters"):
        curvature.influence(lambda x: x, loss, (X, y), (X, y), damping=0.1)
    with pytest.raises(ValueError, match="whole number from 0"):
        go().helpful(-1)
    model[0].bias.data[...] = np.nan
    with pytest.raises(np.linalg.LinAlgError, match="outputs are not all finite"):
        go()


def test_the_picture_ranks_the_examples(rng, plt):
    model = network(rng)
    X, y = rng.normal(size=(12, 3)), rng.integers(0, 4, 12)
    found = curvature.influence(model, nn.CrossEntropyLoss(), (X, y), (X, y), damping=0.1)
    ax = found.plot()
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(sorted(heights), np.sort(found.scores.sum(axis=0)))
    assert found.plot(2).get_title() == "Influence on test 2"
    assert repr(found) == "Influence(scores=array of shape (12, 12))"
