"""A training that was stopped anywhere and taken up again ends as if it had never stopped, to the last bit.

Processes are forked and killed with SIGKILL; each starts from freshly made objects, as a script that is run again does.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nn
import optim
from autodiff import Tensor
from autodiff.persistence import encoding

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


class Pairs:
    """A data set."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


class Jitter:
    """An augmentation that draws from a generator of its own, too."""

    def __init__(self):
        self.rng = np.random.default_rng(8)

    def __call__(self, x, y, rng):
        return x + 0.1 * self.rng.normal(size=x.shape) + 0.1 * rng.normal(size=x.shape), y


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
    elif kind == "options":
        optimizer = optim.SGD([*model.parameters(), free], lr=0.1, momentum=0.9)
        options["scheduler"] = optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=2 * EPOCHS)
        options |= {"accumulate": 3, "ema": 0.8, "augment": Jitter(), "clip_value": 0.1, "clip_norm": 0.4, "rng": 4}
        options["penalty"] = lambda model: 0.01 * (model[0].weight ** 2).sum()
        data = Pairs(X, y)
    else:
        options["batch_size"] = None
        if kind == "lbfgs":
            optimizer = optim.LBFGS(model.parameters(), max_iter=3)
        elif kind == "newtoncg":
            optimizer = optim.NewtonCG(model.parameters(), cg_max=5)
        elif kind == "hessianfree":
            optimizer = optim.HessianFree(model.parameters(), cg_max=8, memory=3)
        else:
            optimizer = optim.NaturalGradient(model.parameters(), kind="mc", rng=9, cg_max=5)
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
        "own": options["augment"].rng.random() if kind == "options" else getattr(optimizer, "rng", rng).random(),
        "draws": [
            options["rng"] if kind == "options" else options["rng"].random(), model[2].rng, nn.random.generator().random(), model[5].rng.random(), rng.random(),
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


CLOSURES = ("lbfgs", "newtoncg", "hessianfree", "naturalgradient")


@pytest.mark.parametrize("kind", ["adam", "sgd", "nadam", "options", *CLOSURES])
def test_struck_at_every_batch_and_every_epoch_boundary_it_ends_as_if_never_stopped(kind, tmp_path):
    points = []
    expected = run(tmp_path / "whole", kind, lambda s, where: points.append((s.epoch, s.batch, where)))
    assert len(points) == EPOCHS * (2 if kind in CLOSURES else 5)
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


def test_the_weights_in_a_checkpoint_of_averages_are_the_averages_and_other_trainings_refuse_it(tmp_path):
    def part(epochs, **options):
        model = nn.Linear(4, 3, rng=np.random.default_rng(0))
        X, y = np.random.default_rng(1).normal(size=(20, 4)), np.arange(20) % 3
        sgd = optim.SGD(model.parameters(), lr=1.0)
        optim.fit(
            model, nn.CrossEntropyLoss(), (X, y), optimizer=sgd, epochs=epochs, rng=2, checkpoint=tmp_path, resume=True,
            **options,
        )  # fmt: skip
        return model.weight.data

    final = part(2, ema=0.9)
    (path,) = tmp_path.glob("model-*.safetensors")
    assert np.array_equal(nn.load(path)["weight"].data, final)
    with pytest.raises(ValueError, match="the training had an average of its weights, ema="):
        part(3)
    assert not np.array_equal(part(3, ema=0.9), final)


OTHER_COLUMNS = {
    "validation": {"validation": None}, "metrics": {"metrics": ["f1_macro"]}, "clip_norm": {"clip_norm": 1.0},
    "penalty": {"penalty": lambda model: nn.penalty.l2(model, 1e-3)},
}  # fmt: skip


@pytest.mark.parametrize("other", OTHER_COLUMNS)
def test_a_training_that_would_note_other_numbers_refuses_a_checkpoint_before_it_goes_on(tmp_path, other):
    X, y = np.random.default_rng(1).normal(size=(20, 4)), np.arange(20) % 3

    def part(epochs, **options):
        model = nn.Linear(4, 3, rng=np.random.default_rng(len(options)))
        sgd = optim.SGD(model.parameters(), lr=0.1)
        given = {"validation": (X, y), "metrics": ["accuracy"]} | options
        before = model.weight.data.copy()
        try:
            optim.fit(
                model, nn.CrossEntropyLoss(), (X, y), optimizer=sgd, epochs=epochs, rng=2, checkpoint=tmp_path,
                resume=True, **given,
            )  # fmt: skip
        finally:
            moved = not np.array_equal(model.weight.data, before)
            assert moved == (not options)

    part(2)
    with pytest.raises(ValueError, match=rf"does not fit this training: the history has .* {other}="):
        part(3, **OTHER_COLUMNS[other])
    part(3)


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


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 3])
def test_killed_at_every_step_of_writing_a_checkpoint(epoch, tmp_path):
    """Before each call of the file system, in the first checkpoint of all and in that of the third epoch."""
    whole = run(None, resume=False)
    sites = [(os, "fsync"), (os, "replace"), (os, "open"), (os, "unlink"), (Path, "unlink")]

    def killed_at(number, folder):
        count = [-1 if epoch else 0]

        def strike(state, where):
            if (state.epoch, where) == (epoch, "epoch"):
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
            return run(folder, strike=strike, epochs=epoch or 1)

        return in_a_fork(task)

    number = 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        result = killed_at(number, folder)
        there = optim.training.checkpointing.Checkpoints(folder).read()
        assert epoch == 0 or there is not None  # a whole one
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


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path):
    whole, delays = run(None, resume=False, epochs=150), np.random.default_rng(0).uniform(0.005, 0.05, 100)
    kills = 0
    for delay in delays:
        child = os.fork()
        if not child:
            try:
                run(tmp_path, epochs=150)
            finally:
                os._exit(0)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            break
        kills += 1
    assert kills > 1
    assert run(tmp_path, epochs=150) == whole


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


def everything(*objects):
    """All that can be seen of objects, and of the global generators, for comparison to the last bit."""
    seen: list = [np.random.get_state(legacy=False), random.getstate(), nn.get_rng_state()]
    for x in objects:
        seen.append(x.bit_generator.state if isinstance(x, np.random.Generator) else x.state_dict())
        seen += [x.param_groups] if isinstance(x, optim.Optimizer) else []
    return _plain(_without_tensors(seen))


def _without_tensors(value):
    if isinstance(value, Tensor):
        return value.data.copy()
    if isinstance(value, dict):
        return {key: _without_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_tensors(item) for item in value]
    return value.copy() if isinstance(value, np.ndarray) else value


class Training:
    """A small training whose parts can be exchanged."""

    def __init__(self, folder, kind=optim.Adam, schedule="StepLR", features=2, momenta=None, dropout=True, **change):
        rng = np.random.default_rng(6)
        X = rng.normal(size=(6, features))
        layers = [nn.Linear(features, 3, rng=rng), nn.BatchNorm1d(3), nn.Linear(3, 1, rng=rng)]
        self.model = nn.Sequential(*layers, *[nn.Dropout(0.1, rng=np.random.default_rng(1))] * dropout)
        self.loss, self.watch = Fitted(), change.pop("watch", Watch)()
        parameters = [*self.model.parameters(), *self.loss.parameters()]
        self.optimizer = kind(parameters, lr=0.1, **({} if momenta is None else {"momentum": momenta}))
        self.scheduler = getattr(optim.lr_scheduler, schedule)(self.optimizer, 2) if schedule else None
        self.rng, self.stopping = np.random.default_rng(9), optim.EarlyStopping(9)
        self.folder, self.data, self.validation = folder, (X, X[:, :1] * 2), (X[:3], X[:3, :1])
        self.callbacks = change.pop("callbacks", [self.watch])

    def fit(self, epochs=2, **options):
        return optim.fit(
            self.model, self.loss, self.data, optimizer=self.optimizer, epochs=epochs, batch_size=4, rng=self.rng,
            validation=self.validation, scheduler=self.scheduler, callbacks=self.callbacks, patience=self.stopping,
            **{"checkpoint": self.folder, "resume": True} | options,
        )  # fmt: skip

    def parts(self):
        scheduler = [self.scheduler] if self.scheduler is not None else []
        return everything(self.model, self.loss, self.watch, self.optimizer, self.stopping, self.rng, *scheduler)

    def trained(self):
        """Parts that all stand somewhere."""
        self.fit(3, checkpoint=None, resume=False)
        return self

    def refused(self, words):
        """A resume raises an error with these words, and leaves everything as it was."""
        before, weights = self.parts(), self.stopping.weights
        files = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        with pytest.raises(ValueError, match=words):
            self.fit(5)
        assert self.parts() == before and self.stopping.weights is weights
        assert {path.name: path.read_bytes() for path in self.folder.iterdir()} == files


class Fitted(nn.Module):
    """A loss that learns too."""

    def __init__(self):
        self.scale = nn.Parameter([1.0])

    def forward(self, output, target):
        return nn.functional.mse_loss(output * self.scale, target)


class Stubborn(Watch):
    """A callback that takes over half of a state before it refuses the rest."""

    def load_state_dict(self, state):
        self.average[...] = state["average"]
        self.seen = True
        if not np.isnan(self.average).any():
            raise LookupError("not this one")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"kind": optim.AdamW}, "had the optimizer Adam, and has AdamW now"),
        ({"kind": optim.SGD, "momenta": 0.9}, "had the optimizer Adam, and has SGD now"),
        ({"kind": optim.LBFGS}, "had the optimizer Adam, and has LBFGS now"),
        ({"schedule": "ExponentialLR"}, "had the scheduler StepLR, and has ExponentialLR now"),
        ({"schedule": None}, "had a scheduler; resume it with the same"),
        ({"callbacks": []}, "had another loss, or other callbacks"),
        ({"features": 4}, r"Adam\.load_state_dict: state of parameter 0: exp_avg has shape \(3, 2\), the parameter"),
        ({"dropout": False}, "has random generators at"),
        ({"watch": Stubborn}, "not this one"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_changes_nothing(change, words, tmp_path):
    Training(tmp_path).fit()
    Training(tmp_path, **change).trained().refused(rf"checkpoint {tmp_path}/checkpoint\.json does not fit .*{words}")


def test_weights_that_do_not_fit_the_model_are_refused_and_change_nothing(tmp_path):
    Training(tmp_path).fit()
    other = Training(tmp_path).trained()
    other.model[1].register_buffer("extra", np.zeros(2))
    other.refused(r"checkpoint\.json does not fit this training: Sequential\.load_state_dict: 1 difference")


class Half(nn.Sequential):
    """A model whose loading fails in the middle."""

    def load_state_dict(self, state_dict, strict=True):
        if "refuse" in vars(self):
            del self.refuse
            self[0].weight.data[...] = 7
            raise KeyError("0.bias")
        return super().load_state_dict(state_dict, strict)


def test_a_model_that_took_half_of_the_weights_gets_its_own_back(tmp_path):
    Training(tmp_path).fit()
    other = Training(tmp_path)
    other.model = Half(*other.model)
    other.trained().model.refuse = True
    other.refused(r"checkpoint\.json does not fit this training: KeyError\('0\.bias'\)")


@pytest.mark.parametrize("kind", ["model", "training", "best"])
def test_damage_to_any_file_of_arrays_is_found_and_nothing_is_changed(kind, tmp_path):
    first = Training(tmp_path)
    first.fit(3)
    index = json.loads((tmp_path / "checkpoint.json").read_text())
    file = tmp_path / index["files"][kind]
    good, other = file.read_bytes(), Training(tmp_path).trained()
    draw = random.Random(0)
    for _ in range(20):
        i = draw.randrange(len(good))
        file.write_bytes(good[:i] + bytes([good[i] ^ 1 << draw.randrange(8)]) + good[i + 1 :])
        other.refused(rf"{file} is damaged")
    file.write_bytes(good[:-8])
    other.refused(rf"{file} is damaged")
    file.write_bytes(good)
    nn.save({name: tensor.data + 1 for name, tensor in nn.load(file).items()}, file)  # a good file, but another one
    other.refused(rf"{file} is damaged")
    file.unlink()
    other.refused(rf"{file}, of which {tmp_path}/checkpoint.json speaks, is missing")
    file.write_bytes(good)
    whole = Training(tmp_path / "whole")
    whole.fit(5)
    last = Training(tmp_path)
    last.fit(5)
    assert last.parts() == whole.parts()


# Damage to the index


def _places(value, path=()):
    """The path to every value inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*path, key))


def _changed(content, path, change):
    """A copy in which `change` was made to the container of this place, and its key."""
    copy = json.loads(json.dumps(content))
    place = copy
    for key in path[:-1]:
        place = place[key]
    change(place, path[-1])
    return json.dumps(copy).encode()


_OTHER = [None, True, False, 0, -1, 3, 1.5, 10**30, "", "x", "model-1.safetensors", [], [1], [[]], {}, {"x": 1}]


def damaged_indexes(raw):
    """Copies of an index with all kinds of damage."""
    draw, content = random.Random(0), json.loads(raw)
    for n in [0, 1, *(draw.randrange(len(raw) - 1) for _ in range(60)), len(raw) - 1]:
        yield raw[:n]
    for _ in range(400):
        i = draw.randrange(len(raw))
        yield raw[:i] + bytes([draw.choice([raw[i] ^ 1 << draw.randrange(8), draw.randrange(256)])]) + raw[i + 1 :]
    for path in [path for path in _places(content) if path]:
        yield _changed(content, path, lambda place, key: place.pop(key))
        for value in draw.sample(_OTHER, 3):
            yield _changed(content, path, lambda place, key, value=value: place.__setitem__(key, value))
        yield _changed(content, path, lambda p, k: p.append(p[-1]) if isinstance(p, list) else p.update({k + "x": 1}))
        for text in (b"NaN", b"-Infinity", b"1e999", b"1" * 5000, b"[" * 100_000, b'{"a":' * 5000, b'"\\ud800"'):
            if draw.random() < 0.1:
                yield _changed(content, path, lambda p, k: p.__setitem__(k, "HERE")).replace(b'"HERE"', text)
    for value in (*_OTHER, [content]):
        yield json.dumps(value).encode()
    yield from [b"\xff\xfe" + raw, raw.decode().encode("utf-16"), raw * 2, b"\0" * len(raw), b"[" * 100_000]
    yield json.dumps(content | {"format": 1}).encode()
    yield json.dumps({k: v for k, v in content.items() if k not in ("checksum", "checksums")} | {"format": 2}).encode()


def test_no_damage_to_the_index_is_taken_for_a_state(tmp_path):
    """Each damaged one is an error that names the file, and changes nothing, or means what the good one means."""
    Training(tmp_path).fit()
    index, trained = tmp_path / "checkpoint.json", Training(tmp_path).trained()
    raw, before, count, same = index.read_bytes(), trained.parts(), 0, 0
    meaning = json.loads(raw)
    for content in damaged_indexes(raw):
        if content == raw:
            continue
        count += 1
        index.write_bytes(content)
        try:
            optim.training.checkpointing.Checkpoints(tmp_path).read()
        except ValueError as error:
            assert str(error).startswith(f"{index} is no checkpoint, or damaged: "), error
            if count % 50 == 0:
                trained.refused(rf"{index} is no checkpoint, or damaged: ")
        else:
            assert json.loads(content) == meaning
            same += 1
    assert count >= 700 and same < 60
    assert trained.parts() == before


@pytest.mark.slow
def test_damage_to_an_index_of_an_earlier_version_is_an_error_or_gives_a_training(tmp_path):
    """It has no checksum, so a number may be taken for another; but nothing ends in the middle."""
    earlier = Path(__file__).parents[2] / "data" / "earlier"
    expected = np.load(earlier / "expected.npz")
    X, y = expected["X"], expected["y"]
    shutil.copytree(earlier / "checkpoint", tmp_path / "good")
    raw, count, refused = (tmp_path / "good" / "checkpoint.json").read_bytes(), 0, 0
    folder, index = tmp_path / "bad", tmp_path / "bad" / "checkpoint.json"
    for content in damaged_indexes(raw):
        count += 1
        if not folder.exists():
            shutil.copytree(tmp_path / "good", folder)
        index.write_bytes(content)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
        adam = optim.Adam(model.parameters(), lr=0.01)
        scheduler, rng = optim.lr_scheduler.StepLR(adam, 2), np.random.default_rng(1)
        before = everything(model, adam, scheduler, rng)
        try:
            optim.fit(
                model, nn.CrossEntropyLoss(), (X, y), optimizer=adam, epochs=1, batch_size=4, validation=(X[:4], y[:4]),
                scheduler=scheduler, checkpoint=folder, resume=True, rng=rng,
            )  # fmt: skip
        except ValueError as error:
            assert str(index) in str(error), error
            assert everything(model, adam, scheduler, rng) == before
            refused += 1
        else:
            if json.loads((tmp_path / "bad" / "checkpoint.json").read_bytes())["format"] == 2:  # it trained an epoch
                shutil.rmtree(folder)
    assert count >= 700 and refused > 500


# Two trainings in one folder


_TRAINING = """
import sys, numpy as np, nn, optim
model = nn.Linear(2, 1)
def wait(state):
    print("training", flush=True)
    sys.stdin.readline()
optim.fit(model, nn.MSELoss(), (np.ones((3, 2)), np.ones((3, 1))), optimizer=optim.SGD(model.parameters()), epochs=2,
          checkpoint=sys.argv[1], callbacks=[wait], resume=True)
"""


def train_here(folder, **options):
    model = nn.Linear(2, 1)
    data, optimizer = (np.ones((3, 2)), np.ones((3, 1))), optim.SGD(model.parameters())
    return optim.fit(model, nn.MSELoss(), data, optimizer=optimizer, epochs=2, checkpoint=folder, **options)


def another_process(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", _TRAINING, str(folder)], cwd=Path(__file__).parents[3], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == b"training\n"
    return process


@pytest.mark.parametrize("resume", [True, False])
def test_a_second_training_in_the_folder_of_one_that_goes_on_is_refused(resume, tmp_path):
    process = another_process(tmp_path)
    try:
        files = {path: path.read_bytes() for path in tmp_path.iterdir()}
        words = (
            rf"still going on writes its checkpoints into {tmp_path} \(process {process.pid} on .*\); .* another folder"
        )
        with pytest.raises(RuntimeError, match=words):
            train_here(tmp_path, resume=resume)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
    finally:
        process.communicate(b"\n\n")
    assert process.returncode == 0 and not (tmp_path / ".autodiff-training.lock").exists()
    assert len(train_here(tmp_path, resume=resume)) == 2


def test_a_training_inside_another_one_with_the_same_folder_is_refused(tmp_path):
    def inner(state):
        with pytest.raises(RuntimeError, match=rf"still going on .*\(process {os.getpid()} on"):
            train_here(tmp_path)

    train_here(tmp_path, callbacks=[inner])
    train_here(tmp_path, resume=True)


def test_the_lock_of_a_killed_training_is_gone_with_it_even_if_it_had_forked(tmp_path):
    script = _TRAINING.replace("def wait(state):", """
def wait(state):
    import os, time
    if not os.fork():
        os.write(1, b"forked\\n")
        os.close(1)
        time.sleep(20)
        os._exit(0)
""")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[3], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    said = b""  # by two processes, so that either's words may come first, and even within the other's line
    while not (b"forked" in said and b"training" in said):
        more = os.read(process.stdout.fileno(), 100)
        assert more, said
        said += more
    process.kill()
    process.wait()
    assert (tmp_path / ".autodiff-training.lock").exists()
    assert len(train_here(tmp_path, resume=True)) == 2
    assert not (tmp_path / ".autodiff-training.lock").exists()


@pytest.mark.parametrize("content", [b"mine", b"process 1 on my mind", bytes(5)])
def test_a_file_of_the_user_that_is_called_like_the_lock_is_left_alone(content, tmp_path):
    (tmp_path / ".autodiff-training.lock").write_bytes(content)
    train_here(tmp_path)
    assert (tmp_path / ".autodiff-training.lock").read_bytes() == content


def test_without_locks_on_files_the_number_of_the_process_decides(tmp_path, monkeypatch):
    from optim.training import locking

    monkeypatch.setattr(locking, "try_lock", lambda descriptor: None)
    process = another_process(tmp_path)
    try:
        with pytest.raises(RuntimeError, match=rf"still going on .*process {process.pid} on"):
            train_here(tmp_path)
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / ".autodiff-training.lock").exists()
    train_here(tmp_path, resume=True)
    train_here(tmp_path, resume=True)
    (tmp_path / ".autodiff-training.lock").write_text(f"process {process.pid} on another computer\n")
    with pytest.raises(RuntimeError, match=r"still going on .*another computer"):
        train_here(tmp_path)


def test_trainings_that_wait_for_the_lock_take_it_one_after_another(tmp_path):
    """Each deletes the file that it locked, while others may have opened it already."""
    from optim.training.locking import Taken, held

    def task():
        got, end = 0, time.monotonic() + 60
        while got < 100 and time.monotonic() < end:
            try:
                with held(tmp_path / ".autodiff-training.lock"):
                    os.mkdir(tmp_path / "inside")  # fails if another one is inside
                    os.rmdir(tmp_path / "inside")
                got += 1
            except Taken:
                time.sleep(0.0001)
        return got

    children = []
    for _ in range(3):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(write, b"%d" % task())
            finally:
                os._exit(0)
        os.close(write)
        children.append((child, read))
    for child, read in children:
        assert os.read(read, 10) == b"100"
        os.close(read)
        os.waitpid(child, 0)
    assert os.listdir(tmp_path) == []


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
    text = json.dumps(encoding.encoded(state, "", arrays), allow_nan=False)
    back = encoding.decoded(json.loads(text), {name: Tensor(array) for name, array in arrays.items()})
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


def test_without_its_index_a_checkpoint_is_not_passed_over_in_silence(tmp_path):
    def train(epochs):
        model = nn.Linear(2, 1, rng=np.random.default_rng(0))
        X, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
        sgd = optim.SGD(model.parameters(), lr=0.1)
        return optim.fit(
            model, nn.MSELoss(), (X, y), optimizer=sgd, epochs=epochs, checkpoint=tmp_path, resume=True, progress=False
        )

    train(1)
    (tmp_path / "checkpoint.json").rename(tmp_path.parent / "elsewhere.json")
    with pytest.raises(ValueError, match=r"checkpoint\.json is missing, and training-\S*\.safetensors"):
        train(2)
    (tmp_path.parent / "elsewhere.json").rename(tmp_path / "checkpoint.json")
    assert len(train(2)) == 2
