"""fit: the loop that PyTorch users write by hand, and what happens when something goes wrong in it."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from tests.documents import ENTRIES


def problem(n=50, features=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features))
    return X, (X @ rng.normal(size=(features, classes))).argmax(axis=1)


def network(seed=0, dtype="float64", dropout=0.0):
    rng = np.random.default_rng(seed)
    layers = [nn.Linear(4, 8, rng=rng, dtype=dtype), nn.Tanh(), nn.Linear(8, 3, rng=rng, dtype=dtype)]
    if dropout:
        layers.insert(2, nn.Dropout(dropout, rng=rng))
    return nn.Sequential(*layers)


def accuracy(output, target):
    return (output.argmax(axis=1) == target).mean()


def train(model=None, data=None, lr=0.05, epochs=3, **options):
    model = network() if model is None else model
    optimizer = options.pop("optimizer", None) or optim.SGD(model.parameters(), lr=lr)
    options.setdefault("rng", np.random.default_rng(1))
    loss = options.pop("loss", nn.CrossEntropyLoss())
    return optim.fit(model, loss, data or problem(), optimizer=optimizer, epochs=epochs, **options)


def weights(model):
    return {name: tensor.data.copy() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a | b)


# Against PyTorch


@pytest.mark.parametrize("batch_size", [7, None])
@pytest.mark.parametrize("kind", ["step", "onecycle", "plateau"])
def test_training_is_the_loop_written_by_hand_in_pytorch(batch_size, kind):
    torch = pytest.importorskip("torch")
    X, y = problem()
    V, w = problem(20, seed=5)
    ours, epochs = network(), 6
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in weights(ours).items()})
    size = batch_size or len(X)
    per_epoch = math.ceil(len(X) / size)

    def schedule(library, optimizer):
        if kind == "step":
            return library.StepLR(optimizer, 2, 0.5)
        if kind == "onecycle":
            return library.OneCycleLR(optimizer, 0.2, total_steps=epochs * per_epoch)
        return library.ReduceLROnPlateau(optimizer, patience=0, threshold=0.2)

    sgd = optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    history = optim.fit(
        ours, nn.CrossEntropyLoss(), (X, y), optimizer=sgd, epochs=epochs, batch_size=batch_size, validation=(V, w),
        metrics={"accuracy": accuracy}, scheduler=schedule(optim.lr_scheduler, sgd), clip_norm=0.5,
        restore_best_weights=False, rng=np.random.default_rng(3),
    )  # fmt: skip

    rng = np.random.default_rng(3)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    scheduler = schedule(torch.optim.lr_scheduler, optimizer)
    expected = {name: [] for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "grad_norm", "lr")}
    criterion = torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        expected["lr"].append(optimizer.param_groups[0]["lr"])
        order, total, hits, norms = rng.permutation(len(X)), 0.0, 0, []
        for start in range(0, len(X), size):
            rows = order[start : start + size]
            x, t = torch.tensor(X[rows]), torch.tensor(y[rows])
            optimizer.zero_grad()
            output = theirs(x)
            loss = criterion(output, t)
            loss.backward()
            norms.append(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5).item())
            optimizer.step()
            total += loss.item() * len(rows)
            hits += (output.argmax(1) == t).sum().item()
            if kind == "onecycle":
                scheduler.step()
        with torch.no_grad():
            output = theirs(torch.tensor(V))
            val = criterion(output, torch.tensor(w)).item()
        if kind == "step":
            scheduler.step()
        elif kind == "plateau":
            scheduler.step(val)
        expected["train_loss"].append(total / len(X))
        expected["grad_norm"].append(np.mean(norms))
        expected["train_accuracy"].append(hits / len(X))
        expected["val_loss"].append(val)
        expected["val_accuracy"].append((output.argmax(1) == torch.tensor(w)).double().mean().item())
    assert set(history.keys()) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-9, err_msg=name)
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].data, value, rtol=1e-9, atol=1e-12)


def test_the_documents_complete_training_loop_is_reproduced_epoch_by_epoch():
    entry = ENTRIES["simple-network-training"]
    random = np.random.RandomState(42)
    X, labels = random.randn(500, 4), random.randint(0, 3, 500)
    model = nn.Sequential(
        nn.Linear(4, 16, dtype="float64"), nn.ReLU(), nn.Linear(16, 8, dtype="float64"), nn.ReLU(),
        nn.Linear(8, 3, dtype="float64"),
    )  # fmt: skip
    for layer in (model[0], model[2], model[4]):
        out, into = layer.weight.shape
        layer.weight.data[...] = (random.randn(into, out) * np.sqrt(2.0 / into)).T
        layer.bias.data[...] = 0

    class Shuffled:  # the document draws from NumPy's old generator
        def __iter__(self):
            order = random.permutation(400)
            return ((X[order[i : i + 32]], labels[order[i : i + 32]]) for i in range(0, 400, 32))

    loss, after = nn.CrossEntropyLoss(), []

    def on_all_training_data(state):
        with ad.no_grad():
            after.append(loss(state.model(X[:400]), labels[:400]).item())

    history = optim.fit(
        model, loss, Shuffled(), optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=100,
        validation=(X[400:], labels[400:]), metrics=[accuracy], callbacks=[on_all_training_data],
        restore_best_weights=False,
    )  # fmt: skip
    expected = entry["expected"]
    np.testing.assert_allclose(after, expected["train_loss_per_epoch"], rtol=1e-7)
    np.testing.assert_allclose(history.val_loss, expected["val_loss_per_epoch"], rtol=1e-7)
    assert math.isclose(history["val_accuracy"][-1], expected["final_val_acc"])
    best = history.diagnose()
    assert best.best_epoch == int(np.argmin(expected["val_loss_per_epoch"])) + 1


def test_batches_go_into_the_mean_by_their_length():
    X, y = problem(10)
    losses = []
    history = train(data=(X, y), batch_size=8, epochs=1, callbacks=[Batches(losses)])
    assert history.train_loss[0] == pytest.approx((8 * losses[0] + 2 * losses[1]) / 10, rel=1e-14)


class Batches:
    def __init__(self, losses):
        self.losses = losses

    def on_batch_end(self, state):
        self.losses.append(state.loss)


class Dicts:
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return {"x": np.ones(4), "y": 0}


# What the model sees


def test_the_model_is_in_training_mode_for_training_and_in_evaluation_mode_without_recording_for_validation():
    seen = []

    class Watch(nn.Module):
        def __init__(self):
            self.inner = network()

        def forward(self, x):
            seen.append((self.training, self.inner[0].training, ad.is_grad_enabled(), x.shape))
            return self.inner(x)

    model = Watch()
    with ad.no_grad():  # fit records all the same
        train(model, epochs=2, batch_size=25, validation=problem(10))
    assert seen == 2 * [(True, True, True, (25, 4)), (True, True, True, (25, 4)), (False, False, False, (10, 4))]
    assert not model.training


def test_floating_point_data_get_the_models_dtype_and_integers_stay():
    dtypes = []

    class Watch(nn.Module):
        def __init__(self):
            self.inner = network(dtype="float32")

        def forward(self, x):
            dtypes.append(x.dtype)
            return self.inner(x)

    X, y = problem()
    train(Watch(), (X, y), epochs=1)
    assert set(dtypes) == {np.dtype("float32")}

    class Lookup(nn.Module):
        def __init__(self):
            self.table = nn.Embedding(5, 3)

        def forward(self, x):
            dtypes.append(x.dtype)
            return self.table(x)

    train(Lookup(), (np.arange(5), np.array([0, 1, 2, 0, 1])), epochs=1)
    assert dtypes[-1].kind == "i"


def test_a_tuple_of_inputs_goes_to_the_model_as_arguments_and_tensors_and_lists_are_taken():
    class Two(nn.Module):
        def __init__(self):
            self.left, self.right = nn.Linear(2, 1), nn.Linear(3, 1)

        def forward(self, a, b):
            return self.left(a) + self.right(b)

    rng = np.random.default_rng(0)
    a, b = ad.Tensor(rng.normal(size=(20, 2))), rng.normal(size=(20, 3))
    y = (a.data.sum(axis=1, keepdims=True) - b.sum(axis=1, keepdims=True)).tolist()
    history = train(Two(), ((a, b), y), loss=nn.MSELoss(), lr=0.1, epochs=60)
    assert history.train_loss[-1] < 0.01 * history.train_loss[0]


def test_batches_can_come_from_any_iterable_and_keep_what_they_are():
    X, y = problem(12)
    listed = [(X[:5], y[:5]), [X[5:], y[5:]]]
    a, b = network(), network()
    first = train(a, listed, epochs=3, validation=listed)
    again = train(b, optim.batches(X[:12], y, 5), epochs=3, validation=(X, y))
    assert len(first) == len(again) == 3
    assert first["val_loss"][0] != again["val_loss"][0]


def test_batches_of_dicts_and_lists_count_by_their_samples():
    class Chosen(nn.Module):
        def __init__(self, key):
            super().__init__()
            self.layer, self.key = nn.Linear(4, 3, dtype="float64"), key

        def forward(self, x):
            return self.layer(x[self.key])

    X, y = problem(10)
    for key, make in (("a", lambda x: {"a": x, "b": x}), (1, lambda x: [x, x, x])):
        listed = [(make(X[:8]), y[:8]), (make(X[8:]), y[8:])]
        history = train(Chosen(key), listed, epochs=1, validation=listed, metrics={"n": lambda output, y: len(y)})
        assert history["train_n"] == history["val_n"] == [6.8]


def test_l_bfgs_gets_its_closure():
    X, y = problem()
    model = network()
    lbfgs = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
    history = train(model, (X, y), optimizer=lbfgs, batch_size=None, epochs=4)
    assert history.train_loss[-1] < 0.1 * history.train_loss[0]


def test_metrics_are_given_as_a_dict_a_list_or_one_function():
    history = train(metrics=accuracy, validation=problem(10))
    assert history.keys() == ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]
    assert "train_hits" in train(metrics={"hits": lambda output, target: ad.sum(output.argmax(axis=1) == target)})
    sklearn = pytest.importorskip("sklearn.metrics")
    metrics = {"ours": accuracy, "theirs": lambda output, target: sklearn.accuracy_score(target, output.argmax(axis=1))}
    history = train(metrics=metrics)
    assert history["train_ours"] == history["train_theirs"]


# Early stopping and best weights


def test_training_stops_after_patience_with_the_weights_of_the_best_epoch():
    X, y = problem(12)
    noise = (X, np.random.default_rng(9).integers(0, 3, 12))
    model, each = network(), []
    history = train(
        model, noise, lr=0.5, epochs=200, patience=4, validation=problem(30, seed=7),
        callbacks=[lambda state: each.append(weights(state.model))],
    )  # fmt: skip
    assert history.stopped == "patience"
    assert len(history) == history.best_epoch + 4 < 200
    assert same(weights(model), each[history.best_epoch - 1])
    assert not same(weights(model), each[-1])


def test_the_last_weights_stay_without_validation_and_where_asked():
    for options in ({}, {"validation": problem(30, seed=7), "restore_best_weights": False}):
        model, each = network(), []
        history = train(model, lr=8.0, epochs=5, callbacks=[lambda state: each.append(weights(state.model))], **options)
        assert same(weights(model), each[-1])
        assert history.stopped is None


def test_patience_without_validation_watches_the_training_loss_and_takes_an_early_stopping():
    model = network()
    history = train(model, lr=0.0, epochs=50, patience=3, batch_size=None)
    assert len(history) == 4
    stopping = optim.EarlyStopping(3, strict=True)
    history = train(network(), lr=0.0, epochs=50, patience=stopping, batch_size=None)
    assert len(history) == stopping.epoch == 5


# Stops and failures


def test_ctrl_c_gives_the_best_weights_and_the_history():
    model, each = network(), []

    class Interrupt:
        def on_epoch_end(self, state):
            each.append(weights(state.model))

        def on_batch_end(self, state):
            if state.epoch == 6 and state.batch == 2:
                raise KeyboardInterrupt

    history = train(model, lr=3.0, epochs=50, batch_size=10, validation=problem(30, seed=7), callbacks=[Interrupt()])
    assert len(history) == len(history.seconds) == len(each) == 5
    assert history.stopped == "interrupted"
    assert same(weights(model), each[history.best_epoch - 1])


@pytest.mark.slow
def test_ctrl_c_on_any_line_between_two_epochs_leaves_whole_rows_and_their_best_weights():
    files = [
        Path(optim.__file__).parent / f"{name}.py"
        for name in ("training/fit", "training/history", "training/early_stopping", "lr_scheduler")
    ]
    names = {"epoch", "append", "step", "_forward", "_set", "next_lr", "_lrs"}
    each = []
    options = {"epochs": 5, "validation": tuple(part[:20] for part in problem()), "patience": 9, "batch_size": 16}

    def run(strike, callbacks=()):
        model, count, where = network(), 0, None

        def trace(frame, event, arg):
            nonlocal count, where
            if event == "call":
                code = frame.f_code
                return trace if Path(code.co_filename) in files and code.co_name in names else None
            if event == "line":
                count += 1
                if count == strike:
                    where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                    raise KeyboardInterrupt
            return trace

        optimizer = optim.Adam(model.parameters(), lr=0.9)
        schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            history = train(model, optimizer=optimizer, scheduler=schedule, callbacks=callbacks, **options)
        except KeyboardInterrupt:
            raise AssertionError(f"an interrupt went through at {where}") from None
        finally:
            sys.settrace(before)
        return model, history, count, where

    _, whole, lines, _ = run(-1, [lambda state: each.append(weights(state.model))])
    assert lines > 100 and whole.best_epoch not in (1, 5)
    for strike in range(lines // 5, 3 * lines // 5):  # the second and the third epoch
        model, history, _, where = run(strike)
        assert history.stopped == "interrupted" and ad.is_grad_enabled(), where
        assert {len(history[column]) for column in history.keys()} <= {len(history)}, where
        assert history.to_dict() == {c: whole[c][: len(history)] for c in history.keys()}, where
        assert len(history.seconds) == len(history), where
        if len(history):
            assert same(weights(model), each[history.best_epoch - 1]), where


def test_a_callback_that_returns_true_stops_after_the_epoch_or_within_it():
    assert len(train(epochs=9, callbacks=[lambda state: state.epoch == 4])) == 4
    losses = []

    class Stop(Batches):
        def on_batch_end(self, state):
            super().on_batch_end(state)
            return np.bool_(state.epoch == 2 and state.batch == 3)

    history = train(epochs=9, batch_size=10, callbacks=[Stop(losses)])
    assert (len(history), len(losses), history.stopped) == (1, 8, "callback")


def test_all_callbacks_are_called_with_the_state():
    seen = []

    def note(state):
        seen.append((state.epoch, state.epochs, state.batch, len(state.history), state.optimizer.param_groups[0]["lr"]))

    train(epochs=2, batch_size=10, callbacks=[lambda state: True if state.epoch == 2 else 7, note])
    assert seen == [(1, 2, 5, 1, 0.05), (2, 2, 5, 2, 0.05)]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_nan_or_infinite_stops_with_epoch_and_batch_before_it_reaches_the_weights(bad):
    calls, before = [], {}

    def loss(output, target):
        calls.append(1)
        if len(calls) == 8:
            before.update(weights(model))
            return nn.functional.cross_entropy(output, target) * bad
        return nn.functional.cross_entropy(output, target)

    model = network()
    with np.errstate(invalid="ignore"), pytest.raises(FloatingPointError, match=rf"loss is {bad} in epoch 2, batch 3"):
        train(model, loss=loss, batch_size=10)
    assert same(before, weights(model))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["sgd", "clipped", "lbfgs"])
def test_a_gradient_that_is_not_finite_stops_with_parameter_epoch_and_batch_before_the_step(tmp_path, bad, kind):
    spoilt = ad.primitive(lambda x: x.copy(), name="spoilt", vjps=[lambda g, y, x: g * bad])
    before, calls = {}, []

    def loss(output, target):
        calls.append(1)
        if kind == "lbfgs" or len(calls) == 8:
            before.update(weights(model))
            output = spoilt(output)
        return nn.functional.cross_entropy(output, target)

    model = network()
    options = {"clip_norm": 1.0} if kind == "clipped" else {}
    if kind == "lbfgs":
        options["optimizer"] = optim.LBFGS(model.parameters())
    where = "epoch 1, batch 1" if kind == "lbfgs" else "epoch 2, batch 3"
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(FloatingPointError, match=rf"gradient of the parameter '\d\.weight'.*{where}"),
    ):
        train(model, loss=loss, batch_size=10, checkpoint=tmp_path, **options)
    assert same(before, weights(model))
    (path,) = tmp_path.glob("model-*.safetensors")
    assert all(np.isfinite(t.data).all() for t in nn.load(path).values())


def test_weights_that_overflow_in_the_last_step_are_not_written_over_a_good_checkpoint(tmp_path):
    model = network()
    sgd = optim.SGD(model.parameters(), lr=0.01)

    def overflow(state):
        if state.epoch == 2:
            model[0].weight.data = np.full_like(model[0].weight.data, np.inf)

    with pytest.raises(FloatingPointError, match=r"the parameter '0\.weight' .* epoch 2"):
        train(model, optimizer=sgd, epochs=2, checkpoint=tmp_path, callbacks=[overflow])
    (path,) = tmp_path.glob("model-*.safetensors")
    assert all(np.isfinite(t.data).all() for t in nn.load(path).values())


def test_a_step_of_lbfgs_that_ends_in_nan_leaves_the_weights_before_it():
    model = network()
    before = weights(model)
    calls = []

    def loss(output, target):
        calls.append(1)
        value = nn.functional.cross_entropy(output, target)
        return value if len(calls) == 1 else value * math.nan

    with np.errstate(invalid="ignore"), pytest.raises(FloatingPointError, match="after the step, the parameter"):
        train(model, loss=loss, optimizer=optim.LBFGS(model.parameters()), batch_size=None)
    assert same(before, weights(model))


@pytest.mark.parametrize(
    "options", [{"ignore_index": 2}, {"weight": [1.0, 3.0, 0.5]}, {"ignore_index": 0, "weight": [1.0, 3.0, 0.5]}]
)
def test_the_mean_loss_of_an_epoch_counts_what_the_loss_counts(options):
    """Batches with more ignored targets, or lighter classes, count less: the mean is that of all data at once."""
    X, y = problem(50)
    y = np.random.default_rng(3).integers(0, 3, len(y))
    options = {k: np.array(v, np.float32) if k == "weight" else v for k, v in options.items()}
    loss = nn.CrossEntropyLoss(**options)
    model = nn.Linear(X.shape[1], 3)
    sgd = optim.SGD(model.parameters(), lr=0.0)
    history = optim.fit(model, loss, (X, y), optimizer=sgd, epochs=1, batch_size=7, validation=(X, y), progress=False)
    whole = loss(model(X.astype(np.float32)), y).item()
    np.testing.assert_allclose([history.train_loss[0], history.val_loss[0]], whole, rtol=1e-5)


def test_data_of_which_the_loss_ignores_all_are_an_error():
    X, y = problem(20)
    with pytest.raises(ValueError, match="ignores every target of the data"):
        train(data=(X, np.ones(20, int)), loss=nn.CrossEntropyLoss(ignore_index=1))


def test_a_validation_loss_that_is_nan_stops_too():
    X, y = problem(20)
    V = X.copy()
    V[13] = np.nan
    with pytest.raises(
        FloatingPointError, match=r"validation loss is nan in epoch 1, batch 2; of this batch, x has nan in row 3$"
    ):
        train(validation=optim.batches(V.astype("float32"), y, 10), batch_size=10)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_data_that_are_not_finite_are_an_error_that_names_array_and_row_before_anything_is_trained(bad):
    X, y = problem(20)
    spoilt = X.copy()
    spoilt[17, 2] = spoilt[19, 0] = bad
    target = X[:, :1].copy()
    target[5] = bad
    model = network()
    before = weights(model)
    for data, words in [
        ((spoilt, y), rf"fit: data: X has {bad} in row 17 \(and in 1 other row\); leave such samples out"),
        ((X, target), rf"fit: data: y has {bad} in row 5; "),
        ((X, target[:, 0]), rf"fit: data: y has {bad} in row 5; "),
        (((X, spoilt[:, :, None]), y), rf"fit: data: X\[1\] has {bad} in row 17 "),
        ((ad.Tensor(spoilt), y), rf"fit: data: X has {bad} in row 17 "),
        ((spoilt.astype("float16").tolist(), y), rf"fit: data: X has {bad} in row 17 "),
    ]:
        with pytest.raises(ValueError, match=words):
            train(model, data=data)
    with pytest.raises(ValueError, match=rf"fit: validation: X has {bad} in row 17"):
        train(model, validation=(spoilt, y))
    assert same(before, weights(model))


def test_numbers_too_large_for_the_models_dtype_are_named_too_and_large_ones_are_not():
    X, y = problem(20)
    X = X.astype("float64")
    X[3, 1] = 1e300
    with pytest.raises(ValueError, match=r"fit: data: X has inf in row 3 when it is cast to float32; "):
        train(network(dtype="float32"), data=(X, y))
    large = np.full((20, 4), 3e38, "float32")  # whose sum overflows
    with np.errstate(all="ignore"):
        assert math.isfinite(train(network(dtype="float32"), data=(large, y)).train_loss[0])


def test_a_batch_that_is_not_finite_is_named_when_its_loss_is_nan():
    X, y = problem(20)
    spoilt = X.copy()
    spoilt[17, 2] = math.nan
    batches = [(X[:10], y[:10]), (spoilt[10:], y[10:])]
    with pytest.raises(
        FloatingPointError, match=r"loss is nan in epoch 1, batch 2; of this batch, x has nan in row 7$"
    ):
        train(data=batches)
    named = [({"a": X[:10], "b": [spoilt[10:]]}, y[:10])]

    class Reads(nn.Module):
        def __init__(self, inner):
            self.inner = inner

        def forward(self, x):
            return self.inner(x["b"][0])

    with pytest.raises(FloatingPointError, match=r"of this batch, x\['b'\]\[0\] has nan in row 7$"):
        train(Reads(network()), data=named)


def test_a_loss_made_for_gaps_takes_batches_with_gaps():
    X, y = problem(20)
    target = y.astype("float32")[:, None]
    target[3] = math.nan

    def loss(output, t):
        known = np.isfinite(t.data)
        return nn.functional.mse_loss(output[:, :1] * known, np.where(known, t.data, 0))

    data = [(x, ad.Tensor(t)) for x, t in optim.batches(X.astype("float32"), target, 5)]
    history = train(loss=loss, data=data, epochs=1, metrics=None)
    assert math.isfinite(history.train_loss[0])


@pytest.mark.parametrize("kind", ["csr_array", "csr_matrix", "coo_array", "lil_matrix"])
def test_sparse_data_are_an_error_that_says_what_to_write(kind):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = problem(20)
    S = getattr(sparse, kind)(X)
    for data, words in [
        ((S, y), r"fit: data: X is a sparse matrix; give X\.toarray\(\)"),
        ((X, S), r"fit: data: y is a sparse matrix; give y\.toarray\(\)"),
        (((X, S), y), r"fit: data: X\[1\] is a sparse matrix; give X\[1\]\.toarray\(\)"),
        ([(S, y)], r"fit: data: x is a sparse matrix; give x\.toarray\(\)"),
        ([(X, S)], r"fit: data: y is a sparse matrix; give y\.toarray\(\)"),
    ]:
        with pytest.raises(TypeError, match=words):
            train(data=data)
    with pytest.raises(TypeError, match=r"batches: X is a sparse matrix; give X\.toarray\(\)"):
        optim.batches(S, y)
    with pytest.raises(TypeError, match=r"fit: validation: X is a sparse matrix"):
        train(validation=(S, y))


def test_labels_of_the_wrong_kind_are_an_error_that_says_so():
    X, y = problem()
    with pytest.raises(TypeError, match="data: y must hold numbers, not <U21; number the classes"):
        train(data=(X, y.astype(str)))
    with pytest.raises((TypeError, ValueError)):
        train(data=(X, y.astype(float)))
    with pytest.raises((TypeError, ValueError, IndexError)):
        train(data=(X, y + 5))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"data": (np.ones((5, 4)), np.ones(4, int))}, ValueError, "data: data of different lengths: X 5 and y 4"),
        ({"data": (np.ones((0, 4)), np.ones(0, int))}, ValueError, "no samples"),
        ({"data": []}, ValueError, "no batches of data in epoch 1"),
        ({"validation": []}, ValueError, "no batches of validation data"),
        ({"data": (np.ones((5, 4)), np.ones(5, int), np.ones(5))}, ValueError, r"takes a tuple \(X, y\), not one of 3"),
        ({"data": np.ones((5, 4))}, TypeError, "not ndarray"),
        ({"data": [np.ones((5, 4))]}, TypeError, "must be a pair"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1"),
        ({"epochs": 2.0}, ValueError, "epochs"),
        ({"clip_norm": 0}, ValueError, "clip_norm"),
        ({"clip_norm": math.nan}, ValueError, "clip_norm"),
        ({"clip_norm": True}, ValueError, "clip_norm"),
        ({"checkpoint": 3}, TypeError, "path of a folder, not 3"),
        ({"metrics": 3}, TypeError, "takes names and functions, in a list or a dict by name, not 3"),
        ({"metrics": [3]}, TypeError, "takes functions, or names of scikit-learn's metrics, not 'int': 3"),
        ({"clip_value": -1.0}, ValueError, "clip_value must be a positive number, not -1.0"),
        ({"accumulate": 0}, ValueError, "accumulate must be a number of batches, at least 1, not 0"),
        ({"accumulate": 2.0}, ValueError, "accumulate must be"),
        ({"ema": optim.swa.EMA([ad.Tensor([1.0])])}, ValueError, r"ema=EMA\(1 parameter, 0 updates\) averages none of the"),
        ({"ema": 1.5}, ValueError, r"EMA: decay must be within \[0, 1\]"),
        ({"ema": "0.9"}, TypeError, "EMA: decay must be a number"),
        ({"penalty": 0.1}, TypeError, "penalty= takes a function of the model, not 0.1"),
        ({"penalty": lambda model: 0.1}, TypeError, "the penalty must return a Tensor, not float"),
        ({"penalty": lambda model: model[0].weight}, ValueError, r"the penalty must return one number.*\(8, 4\)"),
        ({"augment": True}, TypeError, "augment= takes a function of x, y and a generator, not True"),
        ({"augment": lambda x, y, rng: x}, TypeError, r"augment must return a pair \(x, y\), not ndarray"),
        ({"callbacks": [Batches]}, TypeError, "a callback is a function.*not <class"),
        ({"patience": 0}, ValueError, "patience"),
        ({"resume": True}, ValueError, "needs checkpoint="),
        ({"rng": "0"}, TypeError, "numpy.random.Generator such as .*, or a seed, not '0'"),
        ({"rng": -1}, TypeError, "or a seed, not -1"),
        ({"metrics": [accuracy, accuracy]}, ValueError, "same name"),
        ({"metrics": {"loss": accuracy}}, ValueError, "taken"),
        ({"metrics": {"pair": lambda output, target: (1, 2)}}, TypeError, "'pair' must return a number"),
        ({"callbacks": print}, TypeError, "takes a list"),
        ({"callbacks": [3]}, TypeError, "a callback is a function"),
        ({"loss": nn.CrossEntropyLoss}, TypeError, "loss takes a function"),
        ({"loss": lambda output, target: ad.Tensor(1.0, requires_grad=True) * 2}, ValueError, "the loss of no batch depends"),
        ({"data": Dicts()}, TypeError, r"the samples of a data set are tuples \(x, y\), not dict"),
        ({"loss": lambda output, target: 1.0}, TypeError, "must return a Tensor"),
        ({"loss": nn.CrossEntropyLoss(reduction="none")}, ValueError, r"reduction='mean'.*not shape \(32,\)"),
        ({"model": lambda x: x}, TypeError, "must be a module"),
        ({"optimizer": "adam"}, TypeError, "takes an optimiser"),
        ({"optimizer": optim.SGD(network().parameters())}, ValueError, "another model"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error(options, error, text):
    model = options.get("model") or network()
    arguments = {
        "optimizer": optim.SGD(network().parameters() if options.get("model") else model.parameters(), lr=0.1),
        "epochs": 2, "data": problem(), "loss": nn.CrossEntropyLoss(),
    } | {key: value for key, value in options.items() if key != "model"}  # fmt: skip
    with pytest.raises(error, match=text):
        optim.fit(model, arguments.pop("loss"), arguments.pop("data"), **arguments)


def test_a_generator_that_is_used_up_is_an_error_in_the_second_epoch():
    with pytest.raises(ValueError, match=r"no batches of data in epoch 2; a generator can be gone through only once"):
        train(data=(batch for batch in [problem(5)]))


def test_a_scheduler_must_be_of_the_same_optimiser():
    other = optim.lr_scheduler.StepLR(optim.SGD(network().parameters(), lr=1.0), 1)
    with pytest.raises(ValueError, match="same optimiser"):
        train(scheduler=other)


def test_an_error_in_a_callback_is_not_swallowed():
    def fail(state):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train(callbacks=[fail])


@pytest.mark.parametrize("options", [{}, {"compile": True}, {"clip_norm": 1.0}])
def test_a_network_of_complex_weights_is_trained_and_goes_on_from_its_checkpoint(options, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 3)) + 1j * rng.normal(size=(24, 3))
    y = x @ (rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2)))

    def run(epochs, **more):
        start = np.random.default_rng(1)
        model = nn.Sequential(
            nn.Linear(3, 4, dtype="complex128", rng=start), nn.Linear(4, 2, dtype="complex128", rng=start)
        )
        history = optim.fit(
            model, lambda out, t: (abs(out - t) ** 2).mean(), (x, y), optimizer=optim.Adam(model.parameters(), lr=0.02),
            epochs=epochs, batch_size=8, rng=np.random.default_rng(2), progress=False, **more, **options,
        )  # fmt: skip
        return [p.data for p in model.parameters()], history

    whole, history = run(12)
    assert history["train_loss"][-1] < history["train_loss"][0] / 2
    run(5, checkpoint=tmp_path)
    again, _ = run(12, checkpoint=tmp_path, resume=True)
    for a, b in zip(whole, again):
        np.testing.assert_array_equal(a, b)
