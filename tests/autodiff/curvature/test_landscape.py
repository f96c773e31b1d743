"""Loss landscapes: values against the loss itself, directions against their definitions, weights as they were."""

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff import curvature
from autodiff.random import generator


def case(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 3))
    model = nn.Sequential(nn.Linear(3, 5, rng=rng), nn.Tanh(), nn.Linear(5, 2, rng=rng)).double()
    return model, (X, (X[:, 0] * X[:, 1] > 0).astype(int))


def weights(model):
    return np.concatenate([p.numpy().ravel() for p in model.parameters()])


def at(model, vector, data):
    """The loss at a vector of weights, without touching the model."""
    other, start = case()[0], 0
    for p in other.parameters():
        p.data[...] = vector[start : start + p.size].reshape(p.shape)
        start += p.size
    return nn.CrossEntropyLoss()(other(data[0]), data[1]).item()


@pytest.mark.parametrize("batch_size", [7, None])
def test_the_values_are_the_loss_at_the_weights_plus_both_directions(batch_size):
    model, data = case()
    w, u, v = weights(model), *np.random.default_rng(1).normal(size=(2, 32))
    seen = curvature.landscape(
        model, nn.CrossEntropyLoss(), data, directions=[u, v], span=0.5, steps=3, batch_size=batch_size
    )
    there = [[at(model, w + a * u + b * v, data) for a in (-0.5, 0, 0.5)] for b in (-0.5, 0, 0.5)]
    np.testing.assert_allclose(seen.values, there, rtol=1e-12)
    np.testing.assert_array_equal(seen.a, [-0.5, 0, 0.5])
    np.testing.assert_array_equal(weights(model), w)


def test_random_directions_have_filters_as_long_as_the_weights_and_leave_biases_alone():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 4)).double()
    X, y = np.random.default_rng(0).normal(size=(5, 2, 3, 3)), np.arange(5) % 4
    seen = curvature.landscape(model, nn.CrossEntropyLoss(), (X, y), steps=2, rng=0)
    for direction in seen.directions:
        start = 0
        for p in model.parameters():
            d, start = direction[start : start + p.size].reshape(p.shape), start + p.size
            if p.ndim == 1:
                assert not d.any()
            else:
                norms = lambda a: np.linalg.norm(a.reshape(len(a), -1), axis=1)
                np.testing.assert_allclose(norms(d), norms(p.numpy()), rtol=1e-12)


def test_eigen_directions_are_the_hessians_first_eigenvectors():
    model, data = case()
    seen = curvature.landscape(model, nn.CrossEntropyLoss(), data, directions="eigen", steps=2, rng=0)
    H = curvature.Hessian(lambda: nn.CrossEntropyLoss()(model(data[0]), data[1]), list(model.parameters())).to_dense()
    values, vectors = np.linalg.eigh(H)
    np.testing.assert_allclose(abs(seen.directions @ vectors[:, -2:]), np.eye(2)[::-1], atol=1e-7)
    assert seen.names[0] == f"eigenvector of λ = {values[-1]:.3g}"


def test_pca_directions_are_the_first_eigenvectors_of_the_paths_scatter_around_the_present_weights(rng):
    model, data = case()
    w = weights(model)
    path = w + rng.normal(size=(6, 32)) * np.linspace(1, 0, 6)[:, None]
    seen = curvature.landscape(model, nn.CrossEntropyLoss(), data, directions="pca", path=path, steps=2)
    values, vectors = np.linalg.eigh((path - w).T @ (path - w))
    np.testing.assert_allclose(abs(seen.directions @ vectors[:, :-3:-1]), np.eye(2), atol=1e-9)
    assert seen.names[0] == f"first principal axis ({values[-1] / values.sum():.0%})"
    np.testing.assert_allclose(seen.path, (path - w) @ seen.directions.T, atol=1e-12)
    np.testing.assert_allclose(seen.a[-1], 1.2 * abs(seen.path).max())
    lists = [
        [part.reshape(p.shape) for part, p in zip(np.split(one, [15, 20, 30]), model.parameters())] for one in path
    ]
    again = curvature.landscape(model, nn.CrossEntropyLoss(), data, directions="pca", path=lists, steps=2)
    np.testing.assert_array_equal(again.values, seen.values)


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, RuntimeError, None])
def test_weights_statistics_modes_and_generators_are_restored_whatever_happens(trouble):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5, rng=rng), nn.Linear(4, 2)).double()
    model[1].eval()
    calls = []

    class Noisy:
        """A model that draws, and keeps a count, whenever it is called."""

        def parameters(self):
            return model.parameters()

        def buffers(self):
            return model.buffers()

        def modules(self):
            return model.modules()

        def __call__(self, x):
            calls.append(model.training)
            if trouble and len(calls) == 3:
                raise trouble("stop")
            with ad.no_grad():
                model[1].num_batches_tracked.data += 1
            return model(x) * (generator().normal() + np.random.normal())

    X, y = rng.normal(size=(6, 3)), np.arange(6) % 2
    recorded = nn.CrossEntropyLoss()(nn.Linear(3, 2).double()(X), y)
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    arrays = [p.data for p in model.parameters()]
    states = [generator().bit_generator.state, rng.bit_generator.state, np.random.get_state()[1].copy()]
    given = nn.CrossEntropyLoss(), (X, y)
    if trouble:
        with pytest.raises(trouble):
            curvature.landscape(Noisy(), *given, steps=2, rng=0)
    else:
        seen = curvature.landscape(Noisy(), *given, steps=2, rng=0)
        again = curvature.landscape(Noisy(), *given, steps=2, rng=0)
        np.testing.assert_array_equal(seen.values, again.values)
        near = curvature.landscape(Noisy(), *given, span=1e-9, steps=2, rng=0)
        assert np.ptp(near.values) < 1e-6  # the same draws at every point
        curvature.landscape(model, *given, steps=2)
        assert [m.training for m in model] == [True, False, True, True]
    for name, t in model.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[name], err_msg=name)
    assert all(p.data is array for p, array in zip(model.parameters(), arrays))  # as the optimiser knows them
    assert states[0] == generator().bit_generator.state
    np.testing.assert_array_equal(np.random.get_state()[1], states[2])
    recorded.backward()


def test_measuring_without_moving_leaves_recorded_graphs_alive():
    model, data = case()
    loss = nn.CrossEntropyLoss()(model(data[0]), data[1])
    curvature.gradient_noise(model, nn.CrossEntropyLoss(), data)
    curvature.laplace(model, data, structure="diag")
    loss.backward()


def test_the_pictures_show_values_and_path(plt):
    model, data = case()
    path = []
    adam = optim.Adam(model.parameters(), lr=0.05)
    optim.fit(
        model, nn.CrossEntropyLoss(), data, optimizer=adam, epochs=6, rng=0,
        callbacks=[lambda state: path.append(weights(model))],
    )  # fmt: skip
    seen = curvature.landscape(model, nn.CrossEntropyLoss(), data, directions="pca", path=path, steps=7)
    ax = seen.plot()
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), seen.path)
    assert ax.get_xlabel().startswith("first principal axis (")
    surface = seen.plot("surface")
    assert surface.name == "3d" and surface.get_zlabel() == "loss"
    assert repr(seen).startswith("LossLandscape(7 × 7 points, loss from ") and repr(seen).endswith("6 points)")
    with pytest.raises(ValueError, match="'contour' or 'surface'"):
        seen.plot("heatmap")
    with pytest.raises(TypeError, match="projection='3d'"):
        seen.plot("surface", ax=ax)
    nowhere = curvature.LossLandscape(seen.a, seen.b, seen.values * np.nan, seen.directions, None, seen.names)
    assert [t.get_text() for t in nowhere.plot().texts] == ["no finite value"]
    nowhere.plot("surface")


def test_where_the_loss_is_not_finite_neither_are_the_values():
    model = nn.Linear(2, 1, bias=False, dtype=np.float64)
    model.weight.data[...] = 1.0
    data = np.ones((2, 2)), np.ones((2, 1))
    seen = curvature.landscape(model, lambda z, y: ad.log(z).mean(), data, directions=np.eye(2), span=2, steps=3)
    np.testing.assert_array_equal(np.isfinite(seen.values), np.add.outer([-2, 0, 2], [-2, 0, 2]) > -2)


def test_what_is_no_plane_is_refused_with_what_would_be_right():
    model, data = case()
    go = lambda **options: curvature.landscape(model, nn.CrossEntropyLoss(), data, **options)
    u = np.ones(32)
    for directions in ([u, u], [u, 0 * u], [u, u * np.nan]):
        with pytest.raises(ValueError, match="neither zero nor parallel"):
            go(directions=directions)
    with pytest.raises(ValueError, match="or two arrays, not"):
        go(directions=[u, u, u])
    with pytest.raises(ValueError, match="vectors of 32 entries, or lists of arrays"):
        go(directions=[u[:3], u])
    with pytest.raises(ValueError, match="'random', 'eigen', 'pca'"):
        go(directions="newton")
    for path in (None, [weights(model)], [weights(model) + u, weights(model) + 2 * u]):
        with pytest.raises(ValueError, match="needs path="):
            go(directions="pca", path=path)
    for path in ([], 5):
        with pytest.raises(ValueError, match="path must hold the weights of one point at least"):
            go(path=path)
    with pytest.raises(ValueError, match="or two arrays, not 3"):
        go(directions=3)
    tiny = nn.Linear(1, 1, bias=False).double()
    with pytest.raises(ValueError, match="one number, and a plane needs two"):
        curvature.landscape(tiny, nn.MSELoss(), (np.ones((3, 1)), np.ones((3, 1))), directions="eigen")
    tiny.weight.data[...] = 0
    with pytest.raises(ValueError, match="all zero; give directions="):
        curvature.landscape(tiny, nn.MSELoss(), (np.ones((3, 1)), np.ones((3, 1))))
    for span in (0, -1, np.inf, np.nan, "1", True):
        with pytest.raises(ValueError, match="span must be a positive number"):
            go(span=span)
    for steps in (1, 2.5, True):
        with pytest.raises(ValueError, match="steps must be a whole number from 2"):
            go(steps=steps)
