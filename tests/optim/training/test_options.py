"""What fit adds to a training, each against PyTorch, scikit-learn or a closed form: penalties, clipping, accumulation,
averages, augmentation, data sets, metrics by name, and optimisers that need a closure."""

from __future__ import annotations

import inspect
import sys
import warnings

import numpy as np
import pytest

import autodiff as ad
import nn
import optim


def problem(n=50, features=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features))
    return X, (X @ rng.normal(size=(features, classes))).argmax(axis=1)


def network(seed=0, dtype="float64", outputs=3):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Linear(4, 8, rng=rng, dtype=dtype), nn.Tanh(), nn.Linear(8, outputs, rng=rng, dtype=dtype))


def train(model, loss=None, data=None, optimizer=None, **options):
    options, data = {"epochs": 3, "rng": 1} | options, problem() if data is None else data
    optimizer = optimizer or optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return optim.fit(model, loss or nn.CrossEntropyLoss(), data, optimizer=optimizer, **options)


def in_torch(ours):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    theirs.load_state_dict({name: torch.tensor(t.data.copy()) for name, t in ours.state_dict().items()})
    return torch, theirs


def same_weights(ours, theirs, rtol=1e-9):
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].data, value.numpy(), rtol=rtol, atol=1e-12, err_msg=name)


# Against PyTorch


def test_penalty_clipping_accumulation_averages_and_a_schedule_by_batch_are_the_loop_written_by_hand_in_pytorch():
    ours = network()
    torch, theirs = in_torch(ours)
    (X, y), (V, w), epochs = problem(), problem(20, seed=5), 3
    y[::7] = -100  # ignored: batches count differently
    sgd = optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    schedule = optim.lr_scheduler.OneCycleLR(sgd, 0.2, total_steps=epochs * 3)
    history = train(
        ours, None, (X, y), sgd, epochs=epochs, batch_size=8, validation=(V, w), scheduler=schedule, accumulate=3,
        penalty=lambda model: 0.3 * (model[0].weight ** 2).sum(), clip_value=0.2, clip_norm=0.5, ema=0.8,
        restore_best_weights=False,
    )  # fmt: skip

    rng, optimizer = np.random.default_rng(1), torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=epochs * 3)
    average = torch.optim.swa_utils.AveragedModel(
        theirs, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8), use_buffers=False
    )
    average.update_parameters(theirs)  # the first update copies
    criterion = torch.nn.CrossEntropyLoss(reduction="sum")
    for epoch in range(epochs):
        order, norms, penalties, total = rng.permutation(len(X)), [], [], 0.0
        for start in range(0, len(X), 24):  # 8 · 3 samples at once
            rows = order[start : start + 24]
            optimizer.zero_grad()
            penalty = 0.3 * (theirs[0].weight ** 2).sum()
            penalties += [penalty.item()] * len(range(start, min(start + 24, len(X)), 8))
            loss = criterion(theirs(torch.tensor(X[rows])), torch.tensor(y[rows]))
            total += loss.item()
            (loss / (y[rows] >= 0).sum() + penalty).backward()
            torch.nn.utils.clip_grad_value_(theirs.parameters(), 0.2)
            norms.append(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5).item())
            optimizer.step()
            average.update_parameters(theirs)
            scheduler.step()
        assert history.train_loss[epoch] == pytest.approx(total / (y >= 0).sum(), rel=1e-9)
        assert history.grad_norm[epoch] == pytest.approx(np.mean(norms), rel=1e-9)
        assert history.penalty[epoch] == pytest.approx(np.mean(penalties), rel=1e-9)
        with torch.no_grad():
            val = torch.nn.functional.cross_entropy(average(torch.tensor(V)), torch.tensor(w)).item()
        assert history.val_loss[epoch] == pytest.approx(val, rel=1e-9)
    same_weights(ours, average.module)


def test_the_best_weights_are_averages_and_the_next_step_starts_from_the_parameters():
    model, each, raw = network(), [], []
    ema = optim.swa.EMA(model.parameters(), 0.7)

    def keep(state):
        each.append([a.copy() for a in ema.shadow])
        raw.append([p.data.copy() for p in model.parameters()])

    sgd = optim.SGD(model.parameters(), lr=6.0)
    history = train(model, optimizer=sgd, epochs=8, ema=ema, validation=problem(30, seed=7), callbacks=[keep])
    assert history.best_epoch < 8
    for p, best in zip(model.parameters(), each[history.best_epoch - 1], strict=True):
        np.testing.assert_array_equal(p.data, best)
    alone = network()
    train(alone, optimizer=optim.SGD(alone.parameters(), lr=6.0), epochs=8)
    for p, last in zip(alone.parameters(), raw[-1], strict=True):
        np.testing.assert_array_equal(p.data, last)


def test_an_swa_of_ones_own_is_the_mean_of_the_weights_after_each_step():
    model, seen = network(), []

    class Keep:
        def on_batch_end(self, state):
            seen.append(model[0].weight.data.copy())

    train(model, ema=optim.swa.SWA(model.parameters()), callbacks=[Keep()])
    np.testing.assert_allclose(model[0].weight.data, np.mean(seen, axis=0), rtol=1e-12)


# Optimisers that need a closure


def regression(seed=3, noise=0.1):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 4))
    return X, (X @ rng.normal(size=(4, 2)) + 1 + noise * rng.normal(size=(40, 2)))


CLOSURES = {
    "LBFGS": {"line_search_fn": "strong_wolfe", "tolerance_change": 1e-14},
    "Newton": {},
    "NewtonCG": {"cg_tol": 1e-10},
    "HessianFree": {"damping": 1e-6, "progress": 1e-9},
    "KFAC": {"likelihood": "gaussian", "kind": "exact", "damping": 1e-9, "min_damping": 1e-9},
    "NaturalGradient": {"likelihood": "gaussian", "damping": 1e-9, "max_kl": None, "cg_tol": 1e-9},
}


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("name", CLOSURES)
def test_optimisers_with_closures_find_the_least_squares_solution(name, compile, penalised):
    X, Y = regression()
    strength = 0.25 if penalised else 0.0
    model = nn.Linear(4, 2, dtype="float64", rng=np.random.default_rng(0))
    optimizer = getattr(optim, name)(model.parameters(), **CLOSURES[name])

    def loss(output, y):  # ½ ‖output − y‖², averaged over the samples
        return ((output - y) ** 2).sum() / (2 * len(y))

    def ridge(model):
        return strength / 2 * ((model.weight**2).sum() + (model.bias**2).sum())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = train(
            model, loss, (X, Y), optimizer, epochs=30, batch_size=None, penalty=ridge if penalised else None,
            compile=compile and "numpy", validation=(X, Y),
        )  # fmt: skip
    A = np.hstack([X, np.ones((40, 1))])
    w = np.linalg.solve(A.T @ A / 40 + strength * np.eye(5), A.T @ Y / 40)
    found = np.vstack([model.weight.data.T, model.bias.data])
    last = history.train_loss[-1]
    assert last == pytest.approx(0.5 * ((A @ w - Y) ** 2).sum() / 40, rel=1e-6)
    if penalised:
        assert history.penalty[-1] == pytest.approx(strength / 2 * (w**2).sum(), rel=1e-3)
        assert history.best_epoch < 30 or name == "LBFGS"  # the best loss is not that of the least objective
    else:
        np.testing.assert_allclose(found, w, atol=1e-5)
    assert ("lr" in history) == (name not in ("NewtonCG", "HessianFree", "KFAC"))
    if compile:
        assert "measure" in history.compiled and "as it is: " in history.compiled


def test_every_optimiser_trains():
    kinds = [kind for kind in vars(optim).values() if inspect.isclass(kind) and issubclass(kind, optim.Optimizer)]
    assert len(kinds) > 18
    for kind in kinds:
        if kind is optim.Optimizer:
            continue
        model = network()
        options = {"line_search_fn": "strong_wolfe"} if kind is optim.LBFGS else {}
        history = train(model, optimizer=kind(model.parameters(), **options), epochs=4, batch_size=25)
        assert history.train_loss[-1] < history.train_loss[0], kind.__name__


def test_within_a_step_the_closure_is_one_function_and_from_step_to_step_another():
    masks = []

    class Watch(nn.Module):
        def __init__(self):
            super().__init__()
            rng = np.random.default_rng(0)
            self.first, self.drop, self.last = nn.Linear(4, 20, rng=rng), nn.Dropout(0.5), nn.Linear(20, 3, rng=rng)

        def forward(self, x):
            hidden = self.drop(1 + 0 * self.first(x).detach())
            masks.append(hidden.data.tobytes())
            return self.last(self.first(x) * hidden)

    nn.manual_seed(0)
    for kind in (optim.LBFGS, optim.NewtonCG, optim.HessianFree):
        masks.clear()
        model, calls = Watch(), []

        class Count:
            def on_batch_end(self, state):
                calls.append(len(masks))

        train(model, optimizer=kind(model.parameters()), batch_size=25, epochs=2, callbacks=[Count()])
        steps = [set(masks[a:b]) for a, b in zip([0, *calls], calls, strict=False)]
        assert len(steps) == 4 and len(masks) >= 8, kind.__name__
        assert all(len(step) == 1 for step in steps) and len(set.union(*steps)) == 4, kind.__name__


@pytest.mark.parametrize("name", CLOSURES)
@pytest.mark.parametrize("option", [{"clip_norm": 1.0}, {"clip_value": 1.0}, {"accumulate": 2}])
def test_what_an_optimiser_with_a_closure_has_no_use_for_is_refused_by_name(name, option):
    model = network()
    with pytest.raises(ValueError, match=rf"fit: {next(iter(option))}= is not for {name}"):
        train(model, optimizer=getattr(optim, name)(model.parameters()), **option)


@pytest.mark.parametrize("name", ["NewtonCG", "HessianFree"])
def test_schedules_of_an_optimiser_without_a_learning_rate_are_refused_by_name(name):
    optimizer = getattr(optim, name)(network().parameters())
    schedules = optim.lr_scheduler
    for make in (
        lambda: schedules.StepLR(optimizer, 2),
        lambda: schedules.ReduceLROnPlateau(optimizer),
        lambda: schedules.CyclicLR(optimizer, 0.1, 1.0, cycle_momentum=False),
        lambda: schedules.OneCycleLR(optimizer, 0.1, total_steps=5, cycle_momentum=False),
    ):
        with pytest.raises(TypeError, match=rf"{name} has no learning rate to set"):
            make()
    model = network()
    with pytest.raises(TypeError, match=rf"lr_find: .*, not {name}"):
        optimizer = getattr(optim, name)(model.parameters())
        optim.lr_find(model, nn.CrossEntropyLoss(), problem(), optimizer=optimizer)


def test_a_schedule_of_newtons_rate_is_followed():
    model = network()
    newton = optim.NaturalGradient(model.parameters(), lr=1.0)
    history = train(model, optimizer=newton, scheduler=optim.lr_scheduler.ExponentialLR(newton, 0.5))
    assert history.lr == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("name", CLOSURES)
def test_a_loss_that_is_not_finite_stops_a_closure_with_epoch_and_batch_and_the_weights_before(name):
    X, Y = regression()
    model = nn.Linear(4, 2, dtype="float64")
    before = model.weight.data.copy()
    data = [(X[:20], Y[:20] * np.nan)]
    optimizer = getattr(optim, name)(model.parameters(), **CLOSURES[name])
    with np.errstate(invalid="ignore"), pytest.raises(FloatingPointError, match="nan in epoch 1, batch 1; of this"):
        train(model, nn.MSELoss(), data, optimizer)
    np.testing.assert_array_equal(model.weight.data, before)


def test_a_penalty_that_is_not_finite_is_said_to_be():
    with pytest.raises(FloatingPointError, match="penalty beside the loss is inf in epoch 1, batch 1"):
        train(network(), penalty=lambda model: (model[0].weight ** 2).sum() * np.inf)


# Data


class Squares:
    """A data set as PyTorch's are: samples one by one."""

    def __init__(self, n=23, list_of=tuple):
        self.X, self.y, self.asked, self.list_of = *problem(n), [], list_of

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        self.asked.append(i)
        return self.list_of((self.X[i], self.y[i]))


@pytest.mark.parametrize("list_of", [tuple, list])
def test_a_data_set_trains_as_its_samples_in_arrays_do(list_of):
    data, a, b = Squares(list_of=list_of), network(), network()
    first = train(a, data=data, batch_size=5, validation=data)
    again = train(b, data=(data.X, data.y), batch_size=5, validation=(data.X, data.y))
    assert first == again
    assert sorted(data.asked[:23]) == list(range(23)) == data.asked[23:46]


def test_data_sets_have_inputs_of_several_parts_and_go_into_batches():
    class Two(Squares):
        def __getitem__(self, i):
            return (ad.Tensor(self.X[i]), float(i)), int(self.y[i])

    (x, i), y = next(iter(optim.batches(Two(), batch_size=4)))
    assert (x.shape, i.tolist(), y.shape) == ((4, 4), [0.0, 1.0, 2.0, 3.0], (4,))
    np.testing.assert_array_equal(x, Two().X[:4])
    assert [len(y) for _, y in optim.batches(Squares(), batch_size=10, shuffle=True, rng=0)] == [10, 10, 3]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"__len__": lambda self: 0}, ValueError, "fit: data: there are no samples"),
        ({"__getitem__": lambda self, i: np.ones(4 + i)}, ValueError, "fit: data: samples of shapes .* cannot be stacked"),
        ({"__getitem__": lambda self, i: np.ones(4)}, TypeError, "each batch must be a pair"),
        ({"__getitem__": lambda self, i: (np.ones(4), *[1] * (1 + i % 2))}, ValueError, "as many parts, one and all"),
        ({"__getitem__": lambda self, i: (np.ones(4), "a")}, TypeError, "data: y must hold numbers.*number the classes"),
    ],
)  # fmt: skip
def test_a_data_set_that_is_none_is_refused(change, error, text):
    with pytest.raises(error, match=text):
        train(network(), data=type("Wrong", (Squares,), change)())


def test_augmentation_is_of_training_batches_alone_with_arrays_and_the_generator_of_the_order():
    seen = []

    def augment(x, y, rng):
        seen.append((type(x), x.dtype, len(x)))
        return x + rng.normal(size=x.shape), np.eye(3)[y]

    X, y = problem()
    a = network(dtype="float32")
    found = train(a, data=(X, y), batch_size=20, epochs=1, augment=augment, validation=(X, y))
    assert seen == [(np.ndarray, np.dtype("float32"), n) for n in (20, 20, 10)]
    rng, b = np.random.default_rng(1), network(dtype="float32")
    order, batches = rng.permutation(50), []
    for rows in (order[:20], order[20:40], order[40:]):
        batches.append((X[rows].astype("f4") + rng.normal(size=(len(rows), 4)), np.eye(3, dtype="f4")[y[rows]]))
    batches = [(x.astype("f4"), t) for x, t in batches]
    assert found == train(b, data=batches, epochs=1, batch_size=20, validation=(X, y))


def test_a_seed_is_a_generator_of_it():
    a, b, c = (train(network(), batch_size=8, rng=rng) for rng in (5, np.random.default_rng(5), np.int64(6)))
    assert a == b != c
    rates = [
        optim.lr_find(m, nn.CrossEntropyLoss(), problem(), optimizer=optim.SGD(m.parameters()), rng=7).losses
        for m in (network(), network())
    ]
    np.testing.assert_array_equal(*rates)


def test_the_history_reads_its_columns_by_name():
    history = train(
        network(), validation=problem(10), metrics={"accuracy": lambda z, y: (z.argmax(axis=1) == y).mean()}
    )
    assert history.val_accuracy == history["val_accuracy"] and "val_accuracy" in dir(history)
    assert len(history.seconds) == 3 and min(history.seconds) > 0
    with pytest.raises(AttributeError, match="has no 'val_f1'; it has train_loss, train_accuracy"):
        history.val_f1
    assert not hasattr(optim.History.__new__(optim.History), "anything")


# scikit-learn's metrics


class Outputs(nn.Module):
    """Learns nothing, and outputs its input; keeps what it saw."""

    def __init__(self, shape=None):
        super().__init__()
        self.weight, self.seen, self.shape = nn.Parameter(np.zeros(1)), [], shape

    def forward(self, x):
        self.seen.append(x.data)
        return x + self.weight if self.shape is None else (x + self.weight).reshape(-1, *self.shape)


def measured(outputs, targets, loss, metrics, shape=None, **options):
    model = Outputs(shape)
    return train(
        model, loss, (outputs, targets), optim.SGD(model.parameters(), lr=0.0), epochs=1, batch_size=7,
        metrics=metrics, validation=(outputs, targets), **options,
    )  # fmt: skip


def test_named_metrics_are_scikit_learns_of_all_outputs_together_and_no_means_of_batches():
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    names = [
        "accuracy",
        "f1_macro",
        "f1_weighted",
        "balanced_accuracy",
        "neg_log_loss",
        "roc_auc_ovr",
        "matthews_corrcoef",
    ]
    expected = [
        sk.accuracy_score(y, z.argmax(1)), sk.f1_score(y, z.argmax(1), average="macro"),
        sk.f1_score(y, z.argmax(1), average="weighted"), sk.balanced_accuracy_score(y, z.argmax(1)), -sk.log_loss(y, p),
        sk.roc_auc_score(y, p, multi_class="ovr"), sk.matthews_corrcoef(y, z.argmax(1)),
    ]  # fmt: skip
    for outputs, loss in ((z, nn.CrossEntropyLoss()), (np.log(p), nn.NLLLoss()), (p, nn.NLLLoss())):
        history = measured(outputs, y, loss, names)
        for name, value in zip(names, expected, strict=True):
            assert (
                history[f"train_{name}"] == history[f"val_{name}"] or abs(history[f"train_{name}"][0] - value) < 1e-9
            ), name
            assert history[f"val_{name}"][0] == pytest.approx(value, rel=1e-9), name
    pair, first, halves = 100 * z[:, :2], (y == 1).astype(int), ["roc_auc", "average_precision"]
    history, of_first = measured(pair, first, nn.CrossEntropyLoss(), halves), pair[:, 1] - pair[:, 0]
    for name, score in zip(halves, (sk.roc_auc_score, sk.average_precision_score), strict=True):
        assert history[f"val_{name}"][0] == pytest.approx(score(first, of_first)), name
    mixed = measured(z, y, nn.CrossEntropyLoss(), {"F1": "f1_macro", "rows": lambda output, target: len(target)})
    assert mixed.val_F1[0] == pytest.approx(expected[1]) and mixed.val_rows == [(7 * 49 + 1) / 50]


def test_named_metrics_of_one_output_take_the_losses_threshold():
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=(60, 1)), rng.integers(0, 2, (60, 1)).astype(float)
    p, names = 1 / (1 + np.exp(-z)), ["accuracy", "f1", "roc_auc", "average_precision", "neg_brier_score"]
    hard, flat, q = (z[:, 0] > 0).astype(int), y[:, 0], p[:, 0]
    expected = [
        sk.accuracy_score(flat, hard), sk.f1_score(flat, hard), sk.roc_auc_score(flat, q),
        sk.average_precision_score(flat, q), -sk.brier_score_loss(flat, q),
    ]  # fmt: skip
    for outputs, loss in ((z, nn.BCEWithLogitsLoss()), (p, nn.BCELoss())):
        history = measured(outputs, y, loss, names)
        np.testing.assert_allclose([history[f"val_{name}"][0] for name in names], expected, rtol=1e-9)
    several = rng.normal(size=(60, 4)), rng.integers(0, 2, (60, 4)).astype(float)
    history = measured(*several, nn.BCEWithLogitsLoss(), ["f1_micro", "accuracy"])
    assert history.val_f1_micro[0] == pytest.approx(sk.f1_score(several[1], several[0] > 0, average="micro"))
    assert history.val_accuracy[0] == pytest.approx((several[1] == (several[0] > 0)).all(axis=1).mean())
    with pytest.raises(ValueError, match=r"the metric 'accuracy' of outputs of shape \(60, 1\).*threshold"):
        measured(z, y, nn.MSELoss(), ["accuracy"])
    history = measured(z, y, nn.MSELoss(), ["r2"])  # values, though the targets are 0 and 1
    assert history.val_r2[0] == pytest.approx(sk.r2_score(y, z))


def test_named_metrics_of_a_regression_and_of_pixels_some_of_which_are_ignored():
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    z, t = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    history = measured(z, t, nn.MSELoss(), ["r2", "neg_root_mean_squared_error"])
    assert history.val_r2[0] == pytest.approx(sk.r2_score(t, z))
    assert history.train_neg_root_mean_squared_error[0] == pytest.approx(-sk.root_mean_squared_error(t, z))
    z, y = rng.normal(size=(9, 3, 4, 5)), rng.integers(0, 3, (9, 4, 5))
    y[rng.random(y.shape) < 0.3] = -100
    history = measured(z, y, nn.CrossEntropyLoss(), ["f1_macro", "accuracy"])
    kept = y >= 0
    assert history.val_accuracy[0] == pytest.approx((z.argmax(axis=1) == y)[kept].mean())
    assert history.val_f1_macro[0] == pytest.approx(sk.f1_score(y[kept], z.argmax(axis=1)[kept], average="macro"))
    with pytest.raises(ValueError, match=r"classes along axis 1, and these outputs have shape \(9, 3, 3\)"):
        measured(z[:, :, 0, :3], y[:, 0, :3], nn.CrossEntropyLoss(), ["accuracy"])


def test_a_name_that_is_no_metrics_is_refused_with_those_that_are_near():
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match=r"'f1_score' is no metric's name.*such as .*f1_"):
        train(network(), metrics=["f1_score"])


def test_names_of_metrics_without_scikit_learn_say_what_is_missing(monkeypatch):
    monkeypatch.delitem(sys.modules, "optim.training.scoring", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match="pip install scikit-learn; or give functions"):
        train(network(), metrics="accuracy")


def test_the_empirical_natural_gradient_is_told_what_the_loss_counts():
    X, y = problem()
    y[::3] = -100
    by_hand, model, loss = network(), network(), nn.CrossEntropyLoss()
    options = {"kind": "empirical", "damping": 0.01}
    optimizer = optim.NaturalGradient(by_hand.parameters(), **options)

    def closure():
        output = by_hand(X)
        return output, loss(output, y)

    optimizer.step(closure, float((y >= 0).sum()))
    natural = optim.NaturalGradient(model.parameters(), **options)
    train(model, loss, [(ad.Tensor(X), y)], natural, epochs=1)
    for p, q in zip(model.parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-12)
