"""KFAC as an optimiser, and as the preconditioner of the others."""

import pickle
import time

import numpy as np
import pytest
import scipy.sparse.linalg

import autodiff as ad
import nn
import optim
from autodiff.curvature import KFAC, Fisher


def problem(seed=0, dtype="float64"):
    """A small network on badly scaled data, with the closure of its mean squared error."""
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(40, 4)) * [1, 3, 0.3, 10]).astype(dtype)
    t = np.sin(X[:, :2]).astype(dtype)
    model = nn.Sequential(nn.Linear(4, 8, rng=rng), nn.Tanh(), nn.Linear(8, 2, rng=rng)).to(dtype)

    def closure():
        z = model(X)
        return z, 0.5 * ((z - t) ** 2).sum() / len(X)

    return model, closure


def test_of_a_linear_model_the_exact_kind_makes_newtons_step():
    rng = np.random.default_rng(0)
    X, t = rng.normal(size=(30, 3)) * [1, 10, 100], rng.normal(size=(30, 2))
    model = nn.Linear(3, 2).double()
    optimizer = optim.KFAC(model.parameters(), 1e-12, min_damping=1e-12, kind="exact", likelihood="gaussian")

    def closure():
        z = model(X)
        return z, 0.5 * ((z - t) ** 2).sum() / len(X)

    optimizer.step(closure)
    ones = np.column_stack([X, np.ones(30)])
    solution = np.linalg.lstsq(ones, t, rcond=None)[0]
    np.testing.assert_allclose(model.weight.numpy(), solution[:3].T, atol=1e-4)
    np.testing.assert_allclose(model.bias.numpy(), solution[3], atol=1e-4)


def test_the_first_step_is_the_best_along_the_factored_direction():
    model, closure = problem()
    params = list(model.parameters())
    x = np.concatenate([p.numpy().ravel() for p in params])
    z, loss = closure()
    g = np.concatenate([d.numpy().ravel() for d in ad.gradients(loss, params)])
    K = KFAC(z, None, params, likelihood="gaussian")
    G = Fisher(z, None, params, likelihood="gaussian").to_dense() + 0.5 * np.eye(K.size)
    found = []
    for damping in (0.5, 0.5 / 1.3, 0.5 * 1.3):
        d = -(K.inverse(damping, heuristic=True) @ g)
        alpha = -(g @ d) / (d @ G @ d)
        found.append((alpha * (g @ d) + 0.5 * alpha**2 * (d @ G @ d), alpha * d))
    optimizer = optim.KFAC(params, 0.5, factor=1.3, every=1, kind="exact", likelihood="gaussian")
    optimizer.step(closure)
    moved = np.concatenate([p.numpy().ravel() for p in params]) - x
    np.testing.assert_allclose(moved, min(found, key=lambda one: one[0])[1], rtol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"momentum": False}, {"kind": "exact", "every": 2}, {"sharing": "reduce"}])
def test_the_loss_never_rises_and_falls_further_than_with_tuned_gradient_descent(options, dtype):
    model, closure = problem(dtype=dtype)
    optimizer, losses = optim.KFAC(model.parameters(), likelihood="gaussian", rng=0, **options), []
    for _ in range(60):
        losses.append(optimizer.step(closure).item())
    assert all(after <= before * (1 + 1e-5) for before, after in zip(losses, losses[1:]))
    best = np.inf
    for lr in (0.003, 0.01, 0.03, 0.1):
        model, closure = problem(dtype=dtype)
        descent = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        for _ in range(60):
            descent.zero_grad()
            closure()[1].backward()
            descent.step()
        best = min(best, closure()[1].item())
    assert losses[-1] < 0.5 * best


@pytest.mark.parametrize("every", [1, 4])
def test_a_snapshot_continues_to_the_last_bit(every):
    model, closure = problem()
    optimizer = optim.KFAC(model.parameters(), likelihood="gaussian", every=every, rng=3)
    for _ in range(6):
        optimizer.step(closure)
    snapshot = pickle.loads(pickle.dumps((model.state_dict(), optimizer.state_dict())))
    other, again = problem()
    resumed = optim.KFAC(other.parameters(), likelihood="gaussian")
    resumed.step(again)  # whose inverse is another
    other.load_state_dict(snapshot[0])
    resumed.load_state_dict(snapshot[1])
    for _ in range(6):
        optimizer.step(closure)
        resumed.step(again)
    for p, q in zip(model.parameters(), other.parameters()):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_another_closure_may_give_the_curvature():
    model, closure = problem()
    half = lambda: (z := model(np.ones((5, 4))), (z**2).sum())
    optimizer = optim.KFAC(model.parameters(), likelihood="gaussian", rng=0)
    before = closure()[1].item()
    for _ in range(20):
        optimizer.step(closure, curvature=half)
    assert closure()[1].item() < before


def test_a_graph_that_uses_the_parameters_in_another_way_is_an_error():
    w = ad.Tensor(np.ones((3, 2)), requires_grad=True)
    optimizer = optim.KFAC([w], likelihood="gaussian")
    optimizer.step(lambda: (z := np.eye(3) @ w, (z**2).sum()))
    with pytest.raises(ValueError, match="in another way than in the step before"):
        optimizer.step(lambda: (z := np.tanh(w), (z**2).sum()))


@pytest.mark.parametrize("options, text", [
    ({"damping": 0}, "damping"), ({"min_damping": 0}, "min_damping"), ({"factor": 0.9}, "factor"),
    ({"decay": 2}, "decay"), ({"every": 0}, "every"), ({"kind": "empirical"}, "'mc' or 'exact'"),
    ({"sharing": "both"}, "'expand' or 'reduce'"),
])  # fmt: skip
def test_hyper_parameters_out_of_range_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        optim.KFAC([ad.Tensor([1.0], requires_grad=True)], **options)


# As a preconditioner


@pytest.mark.parametrize("cls, options", [
    (optim.HessianFree, {"memory": 0}), (optim.NaturalGradient, {"max_kl": None}), (optim.NewtonCG, {"radius": 100.0}),
    (optim.NewtonCG, {"strategy": "line_search"}),
])  # fmt: skip
def test_with_few_products_logistic_regression_gets_further_with_kfac_as_preconditioner(cls, options):
    rng = np.random.default_rng(0)
    X, t = rng.normal(size=(60, 5)) * [0.1, 1, 3, 10, 30], rng.integers(0, 3, 60)
    ends = []
    for with_kfac in (False, True):
        layer = nn.Linear(5, 3, rng=np.random.default_rng(1)).double()

        def pair(layer=layer):
            z = layer(X)
            return z, nn.functional.cross_entropy(z, t)

        def preconditioner(damping, pair=pair, layer=layer):
            return KFAC(pair()[0], None, layer.parameters()).inverse(damping)

        optimizer = cls(
            layer.parameters(), damping=1e-3, cg_max=2, preconditioner=preconditioner if with_kfac else None, **options
        )
        for _ in range(6):
            optimizer.step(pair if optimizer.pair else lambda pair=pair: pair()[1])
        ends.append(pair()[1].item())
    assert ends[1] < ends[0] - 0.01


def test_a_preconditioner_that_is_none_is_one_clear_error():
    x = ad.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="NewtonCG: preconditioner must be a function of the damping"):
        optim.NewtonCG([x], preconditioner=np.eye(2))
    with pytest.raises(TypeError, match=r"such as lambda damping: K\.inverse\(damping\) for a KFAC K, not .*Operator"):
        optim.NewtonCG([x], preconditioner=scipy.sparse.linalg.aslinearoperator(np.eye(2)))
    for made, error, text in [
        (3.0, TypeError, "must return an operator or a function of a vector, not float"),
        (lambda r: r[:1], ValueError, r"of a vector of shape \(2,\) one of shape \(1,\)"),
        (lambda r: r * np.nan, ValueError, "not finite"),
    ]:
        optimizer = optim.NewtonCG([x], preconditioner=lambda damping, made=made: made)
        with pytest.raises(error, match=text):
            optimizer.step(lambda: (x**2).sum())
        assert x.numpy().tolist() == [1.0, 2.0]


@pytest.mark.slow
def test_kfac_has_a_fifth_less_error_than_tuned_full_batch_adam_on_the_digits_autoencoder_in_equal_processor_time():
    datasets = pytest.importorskip("sklearn.datasets")
    X, seconds = (datasets.load_digits().data / 16).astype(np.float32), 1.5

    def autoencoder():
        rng = np.random.default_rng(0)
        return nn.Sequential(
            nn.Linear(64, 32, rng=rng), nn.Sigmoid(), nn.Linear(32, 8, rng=rng),
            nn.Linear(8, 32, rng=rng), nn.Sigmoid(), nn.Linear(32, 64, rng=rng),
        )  # fmt: skip

    def squares(z, x):
        return 0.5 * ((z - x) ** 2).sum() / len(x)

    def adam(model, lr):
        optimizer = optim.Adam(model.parameters(), lr=lr)

        def step():
            optimizer.zero_grad()
            squares(model(X), X).backward()
            optimizer.step()

        return step

    def kfac(model):
        rng = np.random.default_rng(0)
        optimizer = optim.KFAC(model.parameters(), likelihood="gaussian", damping=0.03, every=2, decay=0.9, rng=0)

        def closure(x=X):
            z = model(x)
            return z, squares(z, x)

        def step():
            some = X[rng.permutation(len(X))[:150]]
            optimizer.step(closure, curvature=lambda: closure(some))

        return step

    models = {lr: autoencoder() for lr in (0.01, 0.02, 0.03, "KFAC")}
    steps = {lr: kfac(model) if lr == "KFAC" else adam(model, lr) for lr, model in models.items()}
    spent = dict.fromkeys(models, 0.0)
    while min(spent.values()) < seconds:  # in turns, so that a busy machine is so for all of them
        for name, step in steps.items():
            end = spent[name] + 0.25
            while spent[name] < min(end, seconds):
                start = time.process_time()
                step()
                spent[name] += time.process_time() - start
    errors = {name: float(((model(X).numpy() - X) ** 2).mean()) for name, model in models.items()}
    print(errors)
    assert errors["KFAC"] < 0.8 * min(error for name, error in errors.items() if name != "KFAC")
