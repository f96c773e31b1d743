"""Curvature during training, against dense matrices, and a training that does not notice."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator

import nn
import optim
from autodiff import curvature


def case(seed=0, drop=0.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 3))
    layers = [nn.Linear(3, 8, rng=rng), nn.Tanh(), nn.Dropout(drop, rng=rng), nn.Linear(8, 2, rng=rng)]
    return nn.Sequential(*layers).double(), (X, (X[:, 0] * X[:, 1] > 0).astype(int))


def dense(model, data):
    X, y = data
    model.eval()
    H = curvature.Hessian(lambda: nn.CrossEntropyLoss()(model(X), y), list(model.parameters())).to_dense()
    model.train()
    return H


@pytest.mark.parametrize("batch_size", [7, None])
def test_sharpness_trace_and_noise_are_those_of_the_dense_hessian_at_every_measurement(batch_size):
    model, data = case()
    loss, there = nn.CrossEntropyLoss(), []
    seen = curvature.track(model, loss, data, every=3, num_probes=300, batch_size=batch_size, rng=0)

    class Dense:
        def on_batch_end(self, state):
            if seen.batches % 3 == 0:
                there.append((dense(model, data), curvature.gradient_noise(model, loss, data).scale))

    sgd = optim.SGD(model.parameters(), lr=0.5)
    optim.fit(model, loss, data, optimizer=sgd, epochs=3, batch_size=10, callbacks=[seen, Dense()], rng=0)
    assert seen.batch == [3, 6, 9]
    np.testing.assert_allclose(seen.sharpness, [np.linalg.eigvalsh(H)[-1] for H, _ in there], rtol=1e-4)
    np.testing.assert_allclose(seen.trace, [np.trace(H) for H, _ in there], rtol=0.1)  # 300 probes
    np.testing.assert_allclose(seen.noise, [noise for _, noise in there], rtol=1e-9)
    assert seen.limit == [4.0] * 3


def test_a_warm_start_finds_an_eigenvalue_that_has_overtaken_and_takes_a_third_of_the_products(rng):
    Q, _ = np.linalg.qr(rng.normal(size=(200, 200)))
    values = np.linspace(0, 1, 200) ** 4
    products = []

    def operator(top):
        A = (Q * np.append(values[:-1], top)) @ Q.T
        products.append(0)

        def product(v):
            products[-1] += 1
            return A @ v

        return LinearOperator(A.shape, matvec=product, dtype=float)

    first = curvature.eigenpairs(operator(3.0), 1, tol=1e-4, rng=0)
    again = curvature.eigenpairs(operator(3.1), 1, tol=1e-4, start=first.vectors[:, 0])
    assert again.values[0] == pytest.approx(3.1) and products[1] <= products[0] / 2
    model, data = case()
    seen = curvature.track(model, nn.CrossEntropyLoss(), data)
    for first, second in ((3.0, 0.0), (3.0, 3.2)):  # of which the first's eigenvector holds next to nothing
        found = seen._largest("sharpness", np.diag([first, second, *values[:100]]))
        assert found == pytest.approx(max(first, second), rel=1e-3)
    with pytest.raises(ValueError, match=r"start must be a finite vector of shape \(200,\)"):
        curvature.eigenpairs(operator(1.0), 1, start=np.zeros(200))


def test_adam_is_measured_as_it_preconditions():
    model, data = case()
    loss = nn.CrossEntropyLoss()
    seen = curvature.track(model, loss, data, every=5, noise=False, rng=0)
    adam = optim.Adam(model.parameters(), lr=0.01)
    optim.fit(model, loss, data, optimizer=adam, epochs=5, batch_size=None, callbacks=[seen])
    P = np.concatenate(
        [
            (1 - 0.9**5) * (np.sqrt(adam.state[p]["exp_avg_sq"].ravel() / (1 - 0.999**5)) + 1e-8)
            for p in model.parameters()
        ]
    )
    H = dense(model, data) / np.sqrt(P) / np.sqrt(P)[:, None]
    assert seen.preconditioned == [pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-3)]
    assert seen.limit == [pytest.approx(3800)] and seen.preconditioned != seen.sharpness


@pytest.mark.parametrize(
    "make", [
        lambda p, lr: optim.SGD(p, lr),
        lambda p, lr: optim.SGD(p, lr, momentum=0.8),
        lambda p, lr: optim.SGD(p, lr, momentum=0.8, dampening=0.5),
        lambda p, lr: optim.SGD(p, lr, momentum=0.8, nesterov=True),
        lambda p, lr: optim.SGD(p, lr, momentum=0.8, averaged=True),
    ]
)  # fmt: skip
def test_just_below_the_limit_descent_on_a_quadratic_comes_down_and_just_above_it_goes_up(make):
    for factor, rises in ((0.95, False), (1.05, True)):
        model = nn.Linear(1, 1, bias=False, dtype=np.float64)
        model.weight.data[...] = 1.0
        data = np.array([[np.sqrt(factor)]]), np.zeros((1, 1))
        half = lambda z, y: 0.5 * ((z - y) ** 2).mean()
        first = curvature.track(model, half, data, noise=False)
        first.measure(make(model.parameters(), 1.0))
        optimizer = make(model.parameters(), first.limit[0])  # the curvature is factor: at a limit of 1
        seen = curvature.track(model, half, data, noise=False)
        seen.measure(optimizer)
        assert seen.limit == [pytest.approx(1)] and seen.sharpness == [pytest.approx(factor)]
        optim.fit(model, half, data, optimizer=optimizer, epochs=200, restore_best_weights=False)
        assert (abs(model.weight.item()) > 1) == rises


def test_a_training_with_a_tracker_ends_with_the_same_weights_and_resumes_with_the_same_numbers(tmp_path):
    def trained(tracked, epochs, **options):
        model, data = case(drop=0.3)
        loss = nn.CrossEntropyLoss()
        seen = curvature.track(model, loss, data, every=2, rng=1)
        adam = optim.Adam(model.parameters(), lr=0.01)
        optim.fit(
            model, loss, data, optimizer=adam, epochs=epochs, batch_size=10, rng=0,
            callbacks=[seen] if tracked else [], **options,
        )  # fmt: skip
        return [p.numpy() for p in model.parameters()], seen

    plain, _ = trained(False, 4)
    watched, seen = trained(True, 4)
    for p, q in zip(plain, watched):
        np.testing.assert_array_equal(p, q)
    trained(True, 2, checkpoint=tmp_path)
    _, again = trained(True, 4, checkpoint=tmp_path, resume=True)
    for name in ("batch", "sharpness", "trace", "noise", "limit", "preconditioned"):
        assert getattr(again, name) == getattr(seen, name) and len(seen.batch) == 6, name


@pytest.mark.slow
def test_full_batch_descent_ends_at_the_edge_of_stability(rng):
    x = np.linspace(-1, 1, 40)[:, None]
    model = nn.Sequential(
        nn.Linear(1, 32, rng=rng), nn.Tanh(), nn.Linear(32, 32, rng=rng), nn.Tanh(), nn.Linear(32, 1, rng=rng)
    ).double()
    seen = curvature.track(model, nn.MSELoss(), (x, np.sin(5 * x)), every=40, noise=False, num_probes=1, rng=0)
    sgd = optim.SGD(model.parameters(), lr=0.2)
    optim.fit(model, nn.MSELoss(), (x, np.sin(5 * x)), optimizer=sgd, epochs=800, batch_size=None, callbacks=[seen])
    np.testing.assert_allclose(seen.sharpness[3:], 2 / 0.2, rtol=0.15)


def test_the_picture_says_when_no_limit_is_known(plt):
    model, data = case()
    seen = curvature.track(model, nn.CrossEntropyLoss(), data, noise=False)
    assert [t.get_text() for t in seen.plot().texts] == ["nothing was measured"]
    seen.measure(optim.RMSprop(model.parameters()))
    assert np.isnan(seen.limit[0]) and np.isnan(seen.preconditioned[0])
    ax = seen.plot()
    assert [t.get_text() for t in ax.texts] == ["no limit of stability is known for this optimiser"]
    seen.measure(optim.SGD(model.parameters(), 0.1))
    assert [line.get_label() for line in seen.plot().lines][-1] == "limit of stability"
    assert repr(seen).startswith("Track(2 measurements in 0 batches, the last sharpness ")


def test_what_cannot_be_tracked_is_refused(rng):
    model, data = case()
    loss = nn.CrossEntropyLoss()
    for every in (0, 1.5, True):
        with pytest.raises(ValueError, match="every must be a number of batches from 1"):
            curvature.track(model, loss, data, every)
    with pytest.raises(ValueError, match="num_probes must be a whole number from 1, not 0"):
        curvature.track(model, loss, data, num_probes=0)
    with pytest.raises(TypeError, match="track: data takes a tuple"):
        curvature.track(model, loss, data[0])
    seen = curvature.track(model, loss, data)
    model[0].weight.data[...] = np.nan
    with pytest.raises(np.linalg.LinAlgError, match="NaN or infinite"):
        seen.measure(optim.SGD(model.parameters(), 0.1))
    assert model.training


def test_the_model_of_another_training_is_refused():
    model, data = case()
    other, _ = case(seed=1)
    sgd = optim.SGD(other.parameters(), lr=0.1)
    seen = curvature.track(model, nn.CrossEntropyLoss(), data)
    with pytest.raises(ValueError, match="trains none of the parameters of the model that is measured"):
        optim.fit(other, nn.CrossEntropyLoss(), data, optimizer=sgd, epochs=1, callbacks=[seen])
