"""A training that was stopped anywhere and taken up again ends as if it had never stopped, to the last bit.

Processes are forked and killed with SIGKILL; each starts from freshly made objects, as a script that is run again does.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import nn
import optim
from autodiff import Tensor

pytest.importorskip("safetensors")

EPOCHS = 5


class Noisy:
    """Batches with added noise from a generator of their own, NumPy's global one and Python's."""

    def __init__(self, X, y, rng):
        self.batches, self.rng = optim.batches(X, y, 8, shuffle=True, rng=rng), rng

    def __iter__(self):
        for x, y in self.batches:
            noise = self.rng.normal(size=x.shape) + np.random.normal() + random.random()
            yield x + 0.1 * noise, y


class Watch:
    """A callback with a state, and the place where a test strikes."""

    def __init__(self, strike=lambda state, where: None):
        self.strike, self.average = strike, np.zeros(3)

    def on_batch_end(self, state):
        self.average = 0.9 * self.average + state.loss
        self.strike(state, "batch")

    def on_epoch_end(self, state):
        self.strike(state, "epoch")

    def state_dict(self):
        return {"average": self.average}

    def load_state_dict(self, state):
        self.average = state["average"]


class Scaled(nn.Module):
    """A loss that learns too."""

    def __init__(self):
        self.scale = nn.Parameter([1.0])

    def forward(self, output, target):
        return nn.functional.cross_entropy(output * self.scale, target)


def run(folder, kind="adam", strike=lambda state, where: None, epochs=EPOCHS, resume=True, patience=None):
    """A training from fresh objects, and everything about its end that could differ."""
    nn.manual_seed(0)
    np.random.seed(1)
    random.seed(2)
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3),
        nn.Dropout(0.1, rng=np.random.Generator(np.random.MT19937(5))),
    )  # fmt: skip
    free = Tensor(1.0, requires_grad=True)  # belongs to the optimiser, but neither to the model nor to the loss
    loss = Scaled() if kind == "adam" else lambda output, target: nn.functional.cross_entropy(output * free, target)
    data, options = (X, y), {"rng": np.random.default_rng(4)}
    if kind == "adam":
        optimizer = optim.Adam([*model.parameters(), *loss.parameters()], lr=0.05, amsgrad=True)
        options["scheduler"] = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    elif kind == "sgd":
        groups = [{"params": list(model[0].parameters()), "lr": 0.2}, {"params": [*model[4].parameters(), free]}]
        optimizer = optim.SGD(groups, lr=0.1, momentum=0.9)
        options["scheduler"] = optim.lr_scheduler.OneCycleLR(optimizer, [0.2, 0.1], total_steps=4 * EPOCHS)
        options["clip_norm"] = 0.7
        data = Noisy(X.astype("float32"), y, rng)
    elif kind == "nadam":
        optimizer = optim.NAdam(model.parameters(), lr=0.01)
        warm, decay = optim.lr_scheduler.WarmupLR(optimizer, 2), optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
        options["scheduler"] = optim.lr_scheduler.SequentialLR(optimizer, [warm, decay], [2])
        options["rng"] = nn.manual_seed(7)  # one generator for the order and for dropout
    else:
        optimizer = optim.LBFGS(model.parameters(), max_iter=3)
        options["batch_size"] = None
    watch = Watch(strike)
    options = {"batch_size": 8} | options
    history = optim.fit(
        model, loss, data, optimizer=optimizer, epochs=epochs, validation=(X[:9], y[:9]),
        metrics={"accuracy": lambda output, target: (output.argmax(axis=1) == target).mean()}, patience=patience,
        callbacks=[watch], checkpoint=folder, resume=resume, **options,
    )  # fmt: skip
    end = {
        "weights": {name: tensor.data for name, tensor in model.state_dict().items()},
        "history": history.to_dict(),
        "stopped": history.stopped,
        "optimizer": optimizer.state_dict(),
        "watch": watch.average,
        "free": loss.scale.data if kind == "adam" else free.data,
        "draws": [
            options["rng"].random(), model[2].rng, nn.random.generator().random(), model[5].rng.random(), rng.random(),
            np.random.normal(), random.gauss(0, 1),
        ],
    }  # fmt: skip
    return _plain(end)


def _plain(value):
    """Comparable to the last bit."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def global_generators():
    before = np.random.get_state(), random.getstate(), nn.get_rng_state()
    yield
    np.random.set_state(before[0])
    random.setstate(before[1])
    nn.set_rng_state(before[2])


@pytest.mark.parametrize("kind", ["adam", "sgd", "nadam", "lbfgs"])
def test_struck_at_every_batch_and_every_epoch_boundary_it_ends_as_if_never_stopped(kind, tmp_path):
    points = []
    expected = run(tmp_path / "whole", kind, lambda s, where: points.append((s.epoch, s.batch, where)))
    assert len(points) == EPOCHS * (2 if kind == "lbfgs" else 5)
    assert expected == run(None, kind, resume=False)  # checkpoints themselves change nothing
    folder = tmp_path / "struck"
    remaining = list(points)
    while remaining:  # one training, stopped at every point in turn
        point = remaining.pop(0)

        def strike(state, where, point=point):
            if (state.epoch, state.batch, where) == point:
                raise Killed

        with pytest.raises(Killed):
            run(folder, kind, strike)
    assert run(folder, kind) == expected
    assert run(folder, kind) == expected  # and again, when it is over


def test_struck_anywhere_early_stopping_ends_in_the_same_epoch_with_the_same_best_weights(tmp_path):
    whole = run(tmp_path / "whole", patience=2, epochs=40)
    assert whole["stopped"] == "patience"
    epochs = len(whole["history"]["lr"])
    assert epochs < 40
    for last in range(1, epochs + 1):

        def strike(state, where, last=last):
            if state.epoch == last and where == "epoch":
                raise Killed

        with pytest.raises(Killed):
            run(tmp_path / "struck", strike=strike, patience=2, epochs=40)
    for _ in range(2):
        assert run(tmp_path / "struck", patience=2, epochs=40) == whole


def test_more_epochs_continue_from_the_last_weights_and_not_from_the_best(tmp_path):
    whole = run(None, epochs=9, resume=False)
    run(tmp_path, epochs=4)
    assert run(tmp_path, epochs=9) == whole


def test_ctrl_c_can_be_resumed(tmp_path):
    def strike(state, where):
        if state.epoch == 3 and where == "batch":
            raise KeyboardInterrupt

    whole = run(None, resume=False)
    assert run(tmp_path, strike=strike)["stopped"] == "interrupted"
    assert run(tmp_path) == whole


def test_a_training_without_resume_starts_anew(tmp_path):
    first = run(tmp_path, resume=False)
    assert run(tmp_path, resume=False) == first
    assert len(os.listdir(tmp_path)) <= 5


# Killed processes


def in_a_fork(task):
    """Run `task` in a process of its own; its result, or the signal that killed it."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(task(), pipe)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return pickle.loads(answer) if answer else signal.Signals(os.WTERMSIG(status))


def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_at_every_epoch_boundary_and_in_the_middle_of_each_epoch(tmp_path):
    whole = run(None, "sgd", resume=False)
    for epoch in range(1, EPOCHS + 1):
        for point in [(epoch, 2, "batch"), (epoch, 4, "epoch")]:

            def strike(state, where, point=point):
                if (state.epoch, state.batch, where) == point:
                    kill()

            assert in_a_fork(lambda strike=strike: run(tmp_path, "sgd", strike)) == signal.SIGKILL
    assert in_a_fork(lambda: run(tmp_path, "sgd")) == whole


def test_killed_at_every_step_of_writing_a_checkpoint(tmp_path):
    """Before each call of the file system, in the third epoch's checkpoint."""
    whole = run(None, resume=False)
    sites = [(os, "fsync"), (os, "replace"), (os, "open"), (os, "unlink"), (Path, "unlink")]

    def killed_at(number, folder):
        count = [-1]

        def strike(state, where):
            if (state.epoch, where) == (3, "epoch"):
                count[0] = 0

        def task():
            for place, name in sites:
                original = getattr(place, name)

                def counted(*args, original=original, **options):
                    if count[0] >= 0:
                        count[0] += 1
                        if count[0] == number:
                            kill()
                    return original(*args, **options)

                setattr(place, name, counted)
            return run(folder, strike=strike, epochs=3)

        return in_a_fork(task)

    number = 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        result = killed_at(number, folder)
        optim.training.checkpointing.Checkpoints(folder).read()  # a whole one is always there
        assert in_a_fork(lambda folder=folder: run(folder)) == whole, number
        assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]
        assert len(os.listdir(folder)) <= 4
        if result != signal.SIGKILL:
            break
    assert number > 10


def test_killed_in_the_middle_of_writing_a_file(tmp_path):
    """The system kills a process when a file of its grows beyond a limit, and leaves what was written up to there."""
    whole, killed = run(None, resume=False), 0
    for limit in [0, 1, 500, 1500, 2500, 3500, 5000, 10_000, 100_000]:
        folder = tmp_path / str(limit)

        def strike(state, where, limit=limit):
            if (state.epoch, where) == (3, "epoch"):
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        result = in_a_fork(lambda folder=folder, strike=strike: run(folder, strike=strike))
        killed += result == signal.SIGXFSZ
        assert optim.training.checkpointing.Checkpoints(folder).read()[2]["epoch"] == (
            2 if result == signal.SIGXFSZ else EPOCHS
        )
        assert in_a_fork(lambda folder=folder: run(folder)) == whole, limit
    assert 5 <= killed < 9


def test_killed_at_any_moment(tmp_path):
    whole, delays = run(None, resume=False, epochs=40), np.random.default_rng(0).uniform(0.005, 0.05, 100)
    kills = 0
    for delay in delays:
        child = os.fork()
        if not child:
            try:
                run(tmp_path, epochs=40)
            finally:
                os._exit(0)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            break
        kills += 1
    assert kills > 1
    assert run(tmp_path, epochs=40) == whole


# Files of others


def test_files_of_the_user_in_the_folder_are_neither_deleted_nor_replaced(tmp_path):
    """Whatever their names: only what the index names is ours."""
    mine = ["model-7.safetensors", "model-3.safetensors", "training-1.safetensors", ".model-9.safetensors.0a1b.tmp"]
    for name in mine:
        (tmp_path / name).write_bytes(name.encode())

    def strike(state, where):  # and one that appears while training goes on
        if (state.epoch, where) == (1, "epoch"):
            (tmp_path / "model-2.safetensors").write_bytes(b"model-2.safetensors")

    whole = run(None, resume=False, epochs=4)
    assert run(tmp_path, strike=strike, epochs=2, resume=False) is not None
    assert run(tmp_path, epochs=4) == whole
    for name in [*mine, "model-2.safetensors"]:
        assert (tmp_path / name).read_bytes() == name.encode()
    assert len(os.listdir(tmp_path)) <= len(mine) + 1 + 4


# What does not fit


def test_a_checkpoint_of_another_training_is_an_error(tmp_path):
    run(tmp_path, "adam", epochs=1)
    with pytest.raises(ValueError, match="had another loss"):
        run(tmp_path, "sgd")
    with pytest.raises(ValueError, match="had a scheduler; resume it with the same"):
        run(tmp_path, "lbfgs")
    X = np.ones((4, 2))

    def train(features, kind):
        model = nn.Linear(features, 1)
        data = X[:, :features], X[:, :1]
        optimizer = kind(model.parameters(), lr=0.1)
        optim.fit(model, nn.MSELoss(), data, optimizer=optimizer, epochs=1, checkpoint=tmp_path / "small", resume=True)

    train(2, optim.SGD)
    with pytest.raises(RuntimeError, match=r"Linear\.load_state_dict"):
        train(1, optim.SGD)
    with pytest.raises(ValueError, match=r"Adam\.load_state_dict: the snapshot lacks betas"):
        train(2, optim.Adam)


def test_damaged_checkpoints_are_named(tmp_path):
    run(tmp_path, epochs=1)
    index = tmp_path / "checkpoint.json"
    good = index.read_text()
    for bad in [
        "{",
        "[]",
        '{"format": 99, "serial": 1, "files": {}, "state": {}}',
        good.replace("model-", "../model-"),
    ]:
        index.write_text(bad)
        with pytest.raises(ValueError, match=r"checkpoint\.json is no checkpoint"):
            run(tmp_path)
    index.write_text(good)
    file = tmp_path / json.loads(good)["files"]["training"]
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=file.name):
        run(tmp_path)


def test_the_weights_in_a_checkpoint_are_an_ordinary_file(tmp_path):
    expected = run(tmp_path, epochs=3)
    files = json.loads((tmp_path / "checkpoint.json").read_text())["files"]
    best = nn.load(tmp_path / files["best"])
    assert _plain({name: tensor.data for name, tensor in best.items()}) == expected["weights"]


def test_a_state_that_cannot_be_saved_is_named(tmp_path):
    class Odd(Watch):
        def state_dict(self):
            return {"inner": [object()]}

    model = nn.Linear(2, 1)
    with pytest.raises(TypeError, match=r"checkpoint: callbacks\.0\.inner\.0 is a object"):
        optim.fit(
            model, nn.MSELoss(), (np.ones((3, 2)), np.ones((3, 1))), optimizer=optim.SGD(model.parameters()), epochs=1,
            callbacks=[Odd()], checkpoint=tmp_path,
        )  # fmt: skip


def test_states_come_back_with_their_types():
    state = {
        "tuple": (1, (2.5, "x")), "inf": float("inf"), "none": None, "true": True, "big": 2**127, "tiny": 5e-324,
        "array": np.arange(3, dtype=np.uint32), "numbers": {1: np.ones(2), 2: {}}, "a.b": np.zeros(1),
        "a": {"b": np.ones(1)}, "list": [np.float32(0.1), np.int64(3)], "$odd": 1,
    }  # fmt: skip
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(optim.training.checkpointing.encoded(state, "", arrays), allow_nan=False)
    back = optim.training.checkpointing.decoded(
        json.loads(text), {name: Tensor(array) for name, array in arrays.items()}
    )
    assert _plain(back) == _plain(state)
    assert isinstance(back["tuple"], tuple)
    assert back["a.b"][0] == 0


def test_a_new_training_in_the_folder_of_another_keeps_what_that_one_saved(tmp_path):
    import nn

    X, y = np.random.default_rng(0).normal(size=(8, 2)), np.arange(8) % 2

    def train(seed):
        nn.manual_seed(seed)
        model = nn.Linear(2, 2)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        optim.fit(model, nn.CrossEntropyLoss(), (X, y), optimizer=optimizer, epochs=2, checkpoint=tmp_path)
        return model.weight.data.copy()

    weights = [train(seed) for seed in range(3)]
    for i, folder in enumerate([tmp_path / "earlier-1", tmp_path / "earlier-2", tmp_path]):
        (path,) = folder.glob("model-*.safetensors")
        np.testing.assert_array_equal(nn.load(path)["weight"].data, weights[i])
        assert (folder / "checkpoint.json").exists()
