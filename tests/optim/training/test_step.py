"""fit(compile=...): the same training as without, in programs; what no program can repeat runs as it is and says why."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import nn
import optim

pytest.importorskip("llvmlite")
BACKENDS = ("numpy", "native")


def problem(n=50, features=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features))
    return X, (X @ rng.normal(size=(features, classes))).argmax(axis=1)


def plain(rng):
    return nn.Sequential(nn.Linear(4, 8, rng=rng), nn.ReLU(), nn.Linear(8, 3, rng=rng))


def batch_norm(rng):
    return nn.Sequential(nn.Linear(4, 8, rng=rng), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3, rng=rng))


def dropout(rng):
    return nn.Sequential(nn.Linear(4, 8, rng=rng), nn.Tanh(), nn.Dropout(0.3, rng=rng), nn.Linear(8, 3, rng=rng))


def seeded_dropout(rng):
    return nn.Sequential(nn.Linear(4, 8, rng=rng), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3, rng=rng))


class Residual(nn.Module):
    def __init__(self, rng):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4, rng=rng), nn.Linear(4, 3, rng=rng)
        self.scale = 0.5

    def forward(self, x):
        return self.last(x + self.scale * np.tanh(self.first(x)))


class Counting(Residual):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Masked(Residual):
    def forward(self, x):
        y = super().forward(x)
        return np.where(y > 100, 0 * y[y > 100].sum(), y)


class Hooked(Residual):
    def forward(self, x):
        y = super().forward(x)
        if y.requires_grad:
            y.register_hook(lambda g: 2 * g)
        return y


def trained(compile, model=plain, optimizer="SGD", epochs=3, callbacks=(), scheduler=None, seed=0, **options):
    nn.manual_seed(3)
    network = model(np.random.default_rng(seed))
    given = {"SGD": {"lr": 0.1, "momentum": 0.9}, "LBFGS": {"lr": 0.5, "max_iter": 4}}.get(optimizer, {"lr": 0.02})
    stepper = getattr(optim, optimizer)(network.parameters(), **given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = optim.fit(
            network, options.pop("loss", None) or nn.CrossEntropyLoss(), options.pop("data", None) or problem(),
            optimizer=stepper, epochs=epochs, rng=np.random.default_rng(1), compile=compile,
            scheduler=scheduler and scheduler(stepper), callbacks=callbacks,
            **{"validation": problem(20, seed=5), "batch_size": 16, **options},
        )  # fmt: skip
    return history, network, stepper


def same(found, expected, tolerance=2e-5):
    """Histories, weights and buffers, gradients and the optimiser's state."""
    assert found[0].keys() == expected[0].keys()
    for name in expected[0].keys():
        np.testing.assert_allclose(found[0][name], expected[0][name], rtol=tolerance, atol=1e-6, err_msg=name)
    ours, theirs = found[1].state_dict(), expected[1].state_dict()
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_allclose(ours[name].data, theirs[name].data, rtol=tolerance, atol=1e-6, err_msg=name)
    for p, q in zip(found[1].parameters(), expected[1].parameters(), strict=True):
        assert (p.grad is None) is (q.grad is None)
    ours, theirs = found[2].state_dict()["state"], expected[2].state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for i, state in theirs.items():
        assert ours[i].keys() == state.keys()


def whole(history):
    """Whether nothing of a training ran as it is."""
    return history.compiled and "as it is" not in history.compiled and "times:" not in history.compiled


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", [plain, batch_norm, dropout, seeded_dropout, Residual, Hooked])
def test_a_compiled_training_is_the_training(model, backend):
    found = trained(backend, model)  # 50 samples in batches of 16: the last is smaller
    same(found, trained(False, model))
    assert whole(found[0]), found[0].compiled


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "NAdam", "Adagrad", "Lion"])
def test_each_optimiser_steps_in_the_program(optimizer, backend):
    found = trained(backend, optimizer=optimizer, clip_norm=0.4)
    same(found, trained(False, optimizer=optimizer, clip_norm=0.4))
    assert whole(found[0]), found[0].compiled


SCHEDULES = {
    "cosine": lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 3),
    "every batch": lambda o: optim.lr_scheduler.OneCycleLR(o, 0.2, total_steps=12),
    "plateau": lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_needs_no_program_of_its_own(schedule):
    found = trained("numpy", scheduler=SCHEDULES[schedule])
    same(found, trained(False, scheduler=SCHEDULES[schedule]))
    fixed = trained("numpy")
    assert found[0].compiled.count("calls, of") == fixed[0].compiled.count("calls, of")


def test_early_stopping_and_the_best_weights_are_the_same():
    options = {"patience": 1, "epochs": 20, "optimizer": "Adam"}
    found, expected = trained(True, **options), trained(False, **options)
    assert len(found[0]) == len(expected[0]) < 20
    same(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_is_continued_from_its_checkpoint(backend, tmp_path):
    def part(epochs, compile):
        return trained(compile, dropout, "Adam", epochs, checkpoint=tmp_path, resume=True)

    part(2, backend)
    found = part(4, backend)
    same(found, trained(backend, dropout, "Adam", 4), 1e-7)
    same(found, trained(False, dropout, "Adam", 4))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gradient_is_compiled_where_the_step_cannot_be(backend):
    found = trained(backend, optimizer="LBFGS", batch_size=None)
    same(found, trained(False, optimizer="LBFGS", batch_size=None), 1e-3)
    assert "differentiate: " in found[0].compiled and "LBFGS has none" in found[0].compiled


def decay(model):
    return 0.01 * (model[0].weight ** 2).sum()


def noisy(x, y, rng):
    return x + 0.1 * rng.normal(size=x.shape), y


OPTIONS = {
    "all": {
        "penalty": decay,
        "clip_value": 0.05,
        "clip_norm": 0.2,
        "ema": 0.8,
        "augment": noisy,
        "metrics": ["f1_macro"],
    },
    "accumulation": {"accumulate": 3, "penalty": decay, "clip_norm": 0.3, "ema": 0.8},
}


@pytest.mark.parametrize(("options", "backend"), [("all", "numpy"), ("all", "native"), ("accumulation", "numpy")])
def test_the_options_of_a_training_are_compiled_too_or_run_beside_the_program(options, backend):
    found = trained(backend, dropout, **OPTIONS[options])
    same(found, trained(False, dropout, **OPTIONS[options]))
    if options == "accumulation":
        assert "as it is: it takes the mean of the gradients of 3 batches" in found[0].compiled
    else:
        assert whole(found[0]), found[0].compiled


@pytest.mark.parametrize("model", [Counting, Masked])
def test_what_no_program_can_repeat_runs_as_it_is_after_one_warning(model):
    with pytest.warns(UserWarning, match="not compiled") as caught:
        warnings.simplefilter("always")
        found = untroubled(model)
    assert len(caught) == 1
    assert "run as it is" in found[0].compiled
    same(found, trained(False, model), 0)


def untroubled(model):
    network = model(np.random.default_rng(0))
    stepper = optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    history = optim.fit(
        network, nn.CrossEntropyLoss(), problem(), optimizer=stepper, epochs=3, rng=np.random.default_rng(1),
        validation=problem(20, seed=5), batch_size=16, compile=True,
    )  # fmt: skip
    return history, network, stepper


@pytest.mark.parametrize("backend", [False, *BACKENDS])
def test_a_loss_or_gradient_that_is_not_finite_leaves_the_weights_as_they_were(backend):
    model = plain(np.random.default_rng(0))
    X, y = problem()
    data = [(X[i : i + 10].astype("f4"), y[i : i + 10]) for i in range(0, 50, 10)]
    data[3][0][2, 1] = np.nan
    kept = []

    class Keep:
        def on_batch_end(self, state):
            kept[:] = [p.data.copy() for p in model.parameters()]

    adam = optim.Adam(model.parameters())
    with pytest.raises(FloatingPointError, match="batch 4; of this batch, x has nan in row 2"):
        optim.fit(model, nn.CrossEntropyLoss(), data, optimizer=adam, epochs=1, compile=backend, callbacks=[Keep()])
    assert all(np.array_equal(p.data, w) for p, w in zip(model.parameters(), kept, strict=True))
    assert {state["step"] for state in adam.state.values()} == {3}

    for p in model[2].parameters():  # the loss is 0, and its slope overflows in the second batch
        p.data = np.zeros_like(p.data)
    data = [(X[:10].astype("f4"), np.full((10, 1), slope, "f4")) for slope in (0, 1e25)]
    before, sgd = [p.data.copy() for p in model.parameters()], optim.SGD(model.parameters(), lr=0.1)
    with np.errstate(over="ignore", invalid="ignore"):
        with pytest.raises(FloatingPointError, match=r"the gradient of the parameter .* in epoch 1, batch 2"):
            optim.fit(model, lambda z, y: (z * 1e25 * y).mean(), data, optimizer=sgd, epochs=1, compile=backend)
    assert all(np.array_equal(p.data, w) for p, w in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_labels_out_of_range_are_said_as_ever(backend):
    X, y = problem()
    with pytest.raises(ValueError) as plain_error:
        trained(False, data=(X, y + 1))
    with pytest.raises(ValueError) as error:
        trained(backend, data=(X, y + 1))
    assert str(error.value) == str(plain_error.value)


def test_another_option_is_refused():
    with pytest.raises(ValueError, match="compile is True, False, 'numpy' or 'native', not 'jit'"):
        trained("jit")
