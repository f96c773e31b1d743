"""The gradient noise, against covariances of gradients taken one by one."""

import numpy as np
import pytest

import nn
from autodiff import curvature


def case(seed=0):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(3, 5, rng=rng), nn.Tanh(), nn.Linear(5, 4, rng=rng)).double()
    return model, rng.normal(size=(30, 3)), rng.integers(0, 4, 30)


def gradients(model, loss, X, y):
    """The gradient of each example's loss alone."""
    rows = []
    for i in range(len(X)):
        model.zero_grad()
        loss(model(X[i : i + 1]), y[i : i + 1]).backward()
        rows.append(np.concatenate([p.grad.numpy().ravel() for p in model.parameters()]))
    return np.array(rows)


@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_of_examples_it_is_the_trace_of_numpys_covariance_and_both_are_unbiased(batch_size):
    model, X, y = case()
    g = gradients(model, nn.CrossEntropyLoss(), X, y)
    found = curvature.gradient_noise(model, nn.CrossEntropyLoss(), (X, y), batch_size=batch_size)
    trace = np.trace(np.cov(g.T))
    assert found.trace == pytest.approx(trace, rel=1e-10) and found.groups == 30
    assert found.squared_norm == pytest.approx(g.mean(axis=0) @ g.mean(axis=0) - trace / 30, rel=1e-9)
    assert found.scale == found.trace / found.squared_norm


def test_of_batches_it_is_the_two_batch_form_of_the_paper():
    model, X, y = case()
    g = gradients(model, nn.CrossEntropyLoss(), X, y)
    found = curvature.gradient_noise(model, nn.CrossEntropyLoss(), (X, y), groups="batches", batch_size=5)
    small = np.mean([(g[i : i + 5].mean(axis=0) ** 2).sum() for i in range(0, 30, 5)])
    large = (g.mean(axis=0) ** 2).sum()
    assert found.trace == pytest.approx((small - large) / (1 / 5 - 1 / 30), rel=1e-10) and found.groups == 6
    assert found.squared_norm == pytest.approx((30 * large - 5 * small) / (30 - 5), rel=1e-9)


@pytest.mark.slow
def test_over_many_draws_of_the_data_both_estimates_average_to_the_truth(rng):
    model = nn.Linear(1, 1, bias=False, dtype=np.float64)
    model.weight.data[...] = 0
    half = lambda z, y: 0.5 * ((z - y) ** 2).mean()
    for groups, size in (("examples", None), ("batches", 2)):
        found = [
            curvature.gradient_noise(
                model, half, (np.ones((7, 1)), rng.normal(0.5, 2.0, size=(7, 1))), groups=groups, batch_size=size
            )
            for _ in range(400)
        ]
        assert np.mean([one.trace for one in found]) == pytest.approx(4.0, rel=0.15)
        assert np.mean([one.squared_norm for one in found]) == pytest.approx(0.25, abs=0.15)


def test_ignored_targets_are_no_examples_and_class_weights_are_weights():
    model, X, y = case()
    ignoring = curvature.gradient_noise(model, nn.CrossEntropyLoss(ignore_index=2), (X, y), batch_size=8)
    without = curvature.gradient_noise(model, nn.CrossEntropyLoss(), (X[y != 2], y[y != 2]))
    np.testing.assert_allclose(ignoring, without, rtol=1e-10)
    g, c = gradients(model, nn.CrossEntropyLoss(), X, y), np.array([1.0, 2.0, 0.0, 4.0])[y]
    found = curvature.gradient_noise(model, nn.CrossEntropyLoss([1.0, 2.0, 0.0, 4.0]), (X, y), batch_size=8)
    mean = c @ g / c.sum()
    trace = c @ ((g - mean) ** 2).sum(axis=1) / (np.count_nonzero(c) - 1)
    np.testing.assert_allclose(found, [trace, mean @ mean - trace / c.sum(), np.count_nonzero(c)], rtol=1e-9)


def test_without_gradient_the_scale_is_infinite_and_without_anything_it_is_not_a_number():
    model = nn.Linear(1, 1, bias=False, dtype=np.float64)
    model.weight.data[...] = 0
    half = lambda z, y: 0.5 * ((z - y) ** 2).mean()
    x = np.ones((2, 1))
    assert curvature.gradient_noise(model, half, (x, np.array([[1.0], [-1.0]]))).scale == np.inf
    assert np.isnan(curvature.gradient_noise(model, half, (x, 0 * x)).scale)
    assert curvature.gradient_noise(model, half, (x, x)).scale == 0


def test_fewer_than_two_groups_and_what_is_not_finite_are_refused():
    model, X, y = case()
    loss = nn.CrossEntropyLoss()
    with pytest.raises(ValueError, match="needs two examples that count"):
        curvature.gradient_noise(model, loss, (X[:1], y[:1]))
    with pytest.raises(ValueError, match="smaller batch_size="):
        curvature.gradient_noise(model, loss, (X, y), groups="batches")
    with pytest.raises(ValueError, match="'examples' or 'batches'"):
        curvature.gradient_noise(model, loss, (X, y), groups="layers")
    with pytest.raises(ValueError, match="holds no samples that count"):
        curvature.gradient_noise(model, nn.CrossEntropyLoss(ignore_index=2), (X[:3], np.full(3, 2)))
    with pytest.raises(TypeError, match="the model must be callable and have parameters"):
        curvature.gradient_noise(nn.Linear, loss, (X, y))
    with pytest.raises(ValueError, match="needs at least one parameter"):
        curvature.gradient_noise(nn.Sequential(nn.Tanh()), loss, (X, y))
    with pytest.raises(ValueError, match="the reduction 'none'"):
        curvature.gradient_noise(model, nn.CrossEntropyLoss(reduction="none"), (X, y))
    model[0].bias.data[...] = np.nan
    with pytest.raises(np.linalg.LinAlgError, match="not all finite"):
        curvature.gradient_noise(model, loss, (X, y))
