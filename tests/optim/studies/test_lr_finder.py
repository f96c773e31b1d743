"""The learning-rate finder: the sweep is plain training, the suggestion is its steepest fall, nothing is changed."""

import copy
import sys
import warnings

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from tests.documents import ENTRIES


def problem(seed=0, n=96, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(dtype)
    y = (X @ rng.normal(size=(5, 2)) + 0.1 * rng.normal(size=(n, 2))).astype(dtype)
    model = nn.Sequential(nn.Linear(5, 16, dtype=dtype, rng=rng), nn.Tanh(), nn.Linear(16, 2, dtype=dtype, rng=rng))
    return model, X, y


def in_batches(X, y, size=16):
    return [(X[i : i + size], y[i : i + size]) for i in range(0, len(X), size)]


def test_the_rates_grow_exponentially_as_documented():
    inputs = (entry := ENTRIES["exercise-2-learning-rate-finder"])["inputs"]
    model, X, y = problem()
    found = optim.lr_find(
        model, nn.MSELoss(), (X, y), optimizer=optim.SGD(model.parameters()),
        start=inputs["start_lr"], end=inputs["end_lr"], steps=inputs["batches"],
    )  # fmt: skip
    np.testing.assert_allclose(found.rates, entry["expected"]["lrs"], rtol=1e-12)
    assert len(found.losses) == inputs["batches"]


@pytest.mark.parametrize("name, options", [("SGD", {"momentum": 0.9}), ("Adam", {}), ("RMSprop", {})])
def test_the_losses_are_those_of_training_in_torch_with_growing_rates(name, options):
    torch = pytest.importorskip("torch")
    model, X, y = problem()
    data = in_batches(X, y)
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)).double()
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in model.state_dict().items()})
    optimizer = getattr(torch.optim, name)(theirs.parameters(), lr=1.0, **options)
    found = optim.lr_find(
        model, nn.MSELoss(), data, optimizer=getattr(optim, name)(model.parameters(), **options), end=0.1, steps=40
    )
    losses = []
    for i, rate in enumerate(found.rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, t = (torch.tensor(a) for a in data[i % len(data)])
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(theirs(x), t)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert len(losses) == 40
    np.testing.assert_allclose(found.losses, losses, rtol=1e-9)


def test_the_suggestion_is_where_the_smoothed_loss_falls_most():
    model, X, y = problem()
    optimizer = optim.SGD(model.parameters())
    for smoothing in (0.0, 0.5, 0.9):
        found = optim.lr_find(
            model, nn.MSELoss(), [(X, y)], optimizer=optimizer, end=0.5, steps=60, smoothing=smoothing
        )
        n = len(found.losses)
        expected = []
        for i in range(n):
            weights = [smoothing ** abs(i - j) for j in range(n)]
            expected.append(sum(w * v for w, v in zip(weights, found.losses)) / sum(weights))
        np.testing.assert_allclose(found.smoothed, expected, rtol=1e-12)
        lowest = int(np.argmin(expected))
        falls = [expected[i] - expected[i + 1] for i in range(lowest)]
        assert found.suggestion == found.rates[int(np.argmax(falls))]
        slope = np.gradient(found.smoothed, np.log(found.rates))
        assert slope[found.rates == found.suggestion] < 0.7 * slope.min()  # of the order of the steepest, per log rate


def test_training_with_the_suggestion_beats_rates_a_thousand_times_smaller_and_larger():
    def trained(rate):
        model, X, y = problem()
        optimizer = optim.SGD(model.parameters(), lr=rate)
        with np.errstate(all="ignore"):
            for _ in range(5):
                for x, t in in_batches(X, y):
                    optimizer.zero_grad()
                    loss = nn.functional.mse_loss(model(x), t)
                    loss.backward()
                    optimizer.step()
            return float(nn.functional.mse_loss(model(X), y).item())

    model, X, y = problem()
    found = optim.lr_find(
        model, nn.MSELoss(), (X, y), optimizer=optim.SGD(model.parameters()), end=100, rng=np.random.default_rng(0)
    )
    good = trained(found.suggestion)
    assert good < 0.5 * trained(found.suggestion / 1000)
    large = trained(found.suggestion * 1000)
    assert not np.isfinite(large) or good < 0.5 * large


def everything(model, optimizer):
    state = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    state |= {f"buffer {i}": b.numpy().copy() for i, b in enumerate(model.buffers())}
    state |= {f"grad {i}": None if p.grad is None else p.grad.numpy().copy() for i, p in enumerate(model.parameters())}
    state |= {"modes": [m.training for m in model.modules()], "optimizer": optimizer.state_dict()}
    return state | {"stepped": optimizer.stepped, "requires": [p.requires_grad for p in model.parameters()]}


def prepared(make, steps):
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Linear(5, 16, rng=rng), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2, rng=rng), nn.Linear(16, 2, rng=rng)
    )
    model[1].eval()  # a frozen layer inside a model in training
    for p in model[0].parameters():
        p.requires_grad = False
    optimizer = make([p for p in model.parameters() if p.requires_grad])
    X, y = rng.normal(size=(64, 5)).astype("f"), rng.normal(size=(64, 2)).astype("f")
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X), y).backward()
        optimizer.step()
    return model, optimizer, X, y


MAKERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    "Adam": lambda p: optim.Adam([{"params": p[:2], "lr": 0.3}, {"params": p[2:]}], lr=0.02, amsgrad=True),
    "LAMB": lambda p: optim.LAMB(p),
    "Rprop": lambda p: optim.Rprop(p),
    "LBFGS": lambda p: optim.LBFGS(p, lr=0.1, max_iter=2),
}


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", list(MAKERS))
def test_afterwards_everything_is_as_before_to_the_last_bit(name, steps):
    if name == "LBFGS" and steps:
        steps = 0  # it needs a closure, which `prepared` has not
    model, optimizer, X, y = prepared(MAKERS[name], steps)
    kept = everything(model, optimizer)
    twin, twins = copy.deepcopy((model, optimizer))
    grads = [p.grad for p in model.parameters()]
    optim.lr_find(model, nn.MSELoss(), (X, y), optimizer=optimizer, steps=20, end=0.5, rng=np.random.default_rng(0))
    np.testing.assert_equal(everything(model, optimizer), kept)
    assert all(p.grad is g for p, g in zip(model.parameters(), grads))

    def step(model, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model.eval()(X), y)
            loss.backward()
            return loss

        optimizer.step(closure)

    for _ in range(3):  # and training goes on as if nothing had been
        step(model, optimizer)
        step(twin, twins)
    np.testing.assert_equal(everything(model, optimizer), everything(twin, twins))


def test_everything_is_restored_after_an_error_too():
    model, optimizer, X, y = prepared(MAKERS["Adam"], 2)
    kept = everything(model, optimizer)
    calls = []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return nn.functional.mse_loss(output, target)

    with pytest.raises(KeyboardInterrupt):
        optim.lr_find(model, loss, (X, y), optimizer=optimizer)
    np.testing.assert_equal(everything(model, optimizer), kept)


def test_the_same_generator_gives_the_same_sweep():
    def sweep(seed):
        model, X, y = problem()
        optimizer = optim.SGD(model.parameters())
        return optim.lr_find(model, nn.MSELoss(), (X, y), optimizer=optimizer, rng=np.random.default_rng(seed)).losses

    assert sweep(1).tolist() == sweep(1).tolist() != sweep(2).tolist()


def test_it_stops_when_the_loss_explodes():
    model, X, y = problem()
    found = optim.lr_find(
        model, nn.MSELoss(), in_batches(X, y), optimizer=optim.SGD(model.parameters()), end=1e6, steps=200
    )
    assert len(found.rates) < 200 and len(found.losses) == len(found.rates) == len(found.smoothed)
    assert found.losses[-1] > 4 * found.losses.min()
    assert np.isfinite(found.losses[:-1]).all() and np.isfinite(found.smoothed).all()
    assert found.suggestion < found.rates[-1]


def test_it_stops_at_a_loss_that_is_not_finite():
    w = ad.Tensor([1.0], requires_grad=True)

    class Model:
        training = True

        def __call__(self, x):
            return w * x

        def parameters(self):
            return [w]

        def state_dict(self):
            return {"w": w}

        def load_state_dict(self, state):
            w.data = np.asarray(state["w"])

        def train(self, mode=True):
            self.training = mode

        def eval(self):
            self.training = False

    model, batch = Model(), (np.ones(1), np.ones(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = optim.lr_find(
            model, lambda output, y: ad.log(output).sum(), [batch], optimizer=optim.SGD([w]),
            start=1e-3, end=10, steps=30, smoothing=0, stop_factor=1e300,
        )  # fmt: skip
    assert not np.isfinite(found.losses[-1]) and np.isfinite(found.losses[:-1]).all()
    assert np.isfinite(found.smoothed).all()
    assert w.data.tolist() == [1.0] and w.grad is None
    with pytest.raises(FloatingPointError, match="untrained model is nan"):
        optim.lr_find(model, lambda output, y: (output * np.nan).sum(), [batch], optimizer=optim.SGD([w]))


def test_batches_of_which_the_loss_counts_nothing_are_passed_over():
    rng = np.random.default_rng(0)
    X, y, ignored = rng.normal(size=(60, 5)), rng.integers(0, 3, 60), np.full(12, -100)
    counted = in_batches(X, y, 12)

    def found(data):
        model = nn.Linear(5, 3, rng=np.random.default_rng(1)).to("float64")
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        return optim.lr_find(model, nn.CrossEntropyLoss(), data, optimizer=optimizer, end=10.0, steps=20)

    mixed = [pair for batch in counted for pair in ((X[:12], ignored), batch)]
    assert found(mixed).losses.tolist() == found(counted).losses.tolist()
    with pytest.raises(ValueError, match="lr_find: the loss ignores every target of the data"):
        found([(X[:12], ignored)])


def test_negative_losses_do_not_stop_it():
    model, X, y = problem()
    loss = nn.MSELoss()
    found, shifted = (
        optim.lr_find(model, f, in_batches(X, y), optimizer=optim.SGD(model.parameters()), end=0.05, steps=50)
        for f in (loss, lambda output, target: loss(output, target) - 1000)
    )
    assert len(shifted.rates) == 50
    np.testing.assert_allclose(found.losses, shifted.losses + 1000, rtol=1e-9)


def test_a_loss_that_never_falls_gives_a_warning_and_no_suggestion():
    model, X, y = problem()
    optimizer = optim.SGD(model.parameters(), maximize=True)
    with pytest.warns(RuntimeWarning, match="never fell"):
        found = optim.lr_find(model, nn.MSELoss(), [(X, y)], optimizer=optimizer, steps=20, smoothing=0)
    assert found.suggestion is None
    assert "none" in repr(found)


def test_data_may_be_single_precision_shuffled_pairs_or_several_inputs():
    model, X, y = problem(dtype=np.float32)
    optimizer = optim.SGD(model.parameters())
    found = optim.lr_find(model, nn.MSELoss(), (X.astype(float), y.astype(float)), optimizer=optimizer, batch_size=None)
    assert found.suggestion > 0
    assert all(p.dtype == np.float32 for p in model.parameters())

    class Two(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(5, 2)

        def forward(self, a, b):
            return self.inner(a) + self.inner(b)

    two = Two()
    found = optim.lr_find(two, nn.MSELoss(), ((X, X), y), optimizer=optim.SGD(two.parameters()), steps=30)
    assert found.suggestion > 0


def test_the_picture_shows_losses_over_logarithmic_rates_and_the_suggestion(plt, tmp_path, monkeypatch):
    model, X, y = problem()
    found = optim.lr_find(
        model, nn.MSELoss(), in_batches(X, y), optimizer=optim.SGD(model.parameters()), end=1e6, steps=200
    )
    ax = found.plot()
    assert ax.get_xscale() == "log"
    assert any(list(line.get_xdata()) == [found.suggestion] * 2 for line in ax.lines)
    assert any("steepest" in t.get_text() for t in ax.get_legend().get_texts())
    assert ax.get_ylim()[1] < 20 * found.losses[0]
    ax.figure.savefig(tmp_path / "rates.png")
    _, mine = plt.subplots()
    assert found.plot(ax=mine) is mine
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        found.plot()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(optimizer="SGD"), TypeError, "optimizer"),
        (dict(start=0), ValueError, "start"),
        (dict(start=-1.0), ValueError, "start"),
        (dict(start=1.0, end=0.1), ValueError, "0 < start < end"),
        (dict(end=np.inf), ValueError, "end"),
        (dict(steps=1), ValueError, "steps"),
        (dict(steps=2.5), ValueError, "steps"),
        (dict(smoothing=1), ValueError, "smoothing"),
        (dict(smoothing=-0.1), ValueError, "smoothing"),
        (dict(stop_factor=0.5), ValueError, "stop_factor"),
        (dict(stop_factor="4"), TypeError, "stop_factor"),
        (dict(data=[]), ValueError, "no \\(more\\) batches"),
        (dict(data=[1, 2]), TypeError, "pair"),
        (dict(data=np.ones((4, 5))), TypeError, "tuple"),
        (dict(data=(np.ones((4, 5)), np.ones((3, 2)))), ValueError, "4 and y 3"),
        (dict(data=(1, 2, 3)), ValueError, "not one of 3"),
        (dict(batch_size=0), ValueError, "batch_size"),
        (dict(rng="0"), TypeError, "lr_find: rng= .*or a seed"),
        (dict(data=(np.full((4, 5), "a"), np.ones(4))), TypeError, "lr_find: data: X must hold numbers"),
        (dict(model=3), TypeError, "lr_find: the model must be a module"),
        (dict(optimizer=optim.SGD(nn.Linear(1, 1).parameters())), ValueError, "lr_find: .*another model"),
        (dict(loss=nn.MSELoss), TypeError, "lr_find: loss takes a function"),
        (dict(loss=lambda output, y: 1.0), TypeError, "lr_find: the loss must return a Tensor"),
        (dict(loss=nn.MSELoss(reduction="none")), ValueError, "lr_find: .*reduction='mean'"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_changed(change, error, message):
    model, X, y = problem()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    kept = everything(model, optimizer)
    arguments = dict(model=model, loss=nn.MSELoss(), data=(X, y), optimizer=optimizer) | change
    with pytest.raises(error, match=message):
        optim.lr_find(**arguments)
    np.testing.assert_equal(everything(model, optimizer), kept)
