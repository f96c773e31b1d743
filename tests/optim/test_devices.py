"""Training on a device: every optimiser, schedule, kind of data, average, checkpoint and study gives what it gives in the
processor's memory, and the weights stay where they are."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff.device_arrays import DeviceArray
from autodiff.devices import as_numpy
from autodiff.tensor import plain
from tests.stand_in import Device, same_on_a_device, there, watching

ROWS, CLASSES = np.random.default_rng(3).normal(size=(12, 3)), np.random.default_rng(4).integers(0, 2, 12)
PARTS = [(ROWS[:7], CLASSES[:7]), (ROWS[7:], CLASSES[7:])]
SEEDED = {"KFAC", "NaturalGradient"}
NAMES = [name for name in optim.__all__ if isinstance(got := getattr(optim, name), type)
         and issubclass(got, optim.Optimizer) and name != "Optimizer"]  # fmt: skip
schedules = optim.lr_scheduler


def classifier(kind):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, dtype="float64"), nn.BatchNorm1d(4, dtype="float64"), nn.Tanh(),
                          nn.Linear(4, 2, dtype="float64"))  # fmt: skip
    return model if kind is np.array else model.to(there())


def made(name, model, **options):
    return getattr(optim, name)(model.parameters(), **({"rng": 0} if name in SEEDED else {}), **options)


def arrays_of(state):
    """What a snapshot has for each parameter, in the processor's memory."""
    rows = [row for row in state["state"].values() if isinstance(row, dict)]
    return [as_numpy(a) for row in rows for a in row.values() if isinstance(a, (np.ndarray, DeviceArray))]


def where(model):
    return {type(plain(t)) for t in [*model.parameters(), *model.buffers()]}


def trained(kind, data=(ROWS, CLASSES), name="Adam", model=None, optimizer=None, **options):
    model = model or classifier(kind)
    optimizer = optimizer or made(name, model)
    options = {"epochs": 2, "batch_size": 5, "rng": 0, "progress": False} | options
    history = optim.fit(model, nn.CrossEntropyLoss(), data, optimizer=optimizer, **options)
    assert where(model) == {DeviceArray if kind is Device else np.ndarray}
    return [*model.parameters(), *model.buffers(), *history.to_dict().values()]


@pytest.mark.parametrize("name", NAMES)
def test_every_optimiser_trains_is_saved_and_goes_on_on_a_device(name):
    def small(kind):
        nn.manual_seed(0)
        model = nn.MLP([3, 2, 2], dtype="float64")
        return model if kind is np.array else model.to(there())

    def run(kind):
        model = small(kind)
        first = made(name, model)
        trained(kind, name=name, model=model, optimizer=first, batch_size=None, epochs=1)
        state, weights = first.state_dict(), model.state_dict()
        kept = deepcopy(arrays_of(state))
        trained(kind, name=name, model=model, optimizer=first, batch_size=None, epochs=1)
        again = small(kind)
        again.load_state_dict(weights)
        second = made(name, again)
        second.load_state_dict(state)
        found = trained(kind, name=name, model=again, optimizer=second, batch_size=None, epochs=1)
        for a, b in zip(kept, arrays_of(state), strict=True):
            np.testing.assert_array_equal(a, b)  # a snapshot is a copy
        return found

    same_on_a_device(run, rtol=1e-7)


class Samples:
    def __len__(self):
        return 12

    def __getitem__(self, i):
        return ROWS[i], CLASSES[i]


class Again:
    def __iter__(self):
        return iter(PARTS)


DATA = {
    "arrays": lambda kind: (ROWS, CLASSES),
    "its own arrays": lambda kind: (kind(ROWS), kind(CLASSES)),
    "tensors there": lambda kind: (ad.Tensor(kind(ROWS)), ad.Tensor(kind(CLASSES))),
    "a list": lambda kind: PARTS,
    "a list of batches there": lambda kind: [tuple(ad.Tensor(kind(a)) for a in part) for part in PARTS],
    "an iterable": lambda kind: Again(),
    "batches": lambda kind: optim.batches(ROWS, CLASSES, 5, shuffle=True, rng=0),
    "a data set": lambda kind: Samples(),
}


@pytest.mark.parametrize("name", DATA)
def test_fit_takes_every_kind_of_data_to_the_model(name):
    same_on_a_device(lambda kind: trained(kind, DATA[name](kind), validation=DATA[name](kind)))


def test_fit_detaches_no_tensor_of_a_batch_on_its_way():
    latent = ad.Tensor(ROWS[:7], requires_grad=True)
    with pytest.raises(TypeError, match=r"on <device 0> and one of NumPy's"):
        trained(Device, [(latent, CLASSES[:7])])
    there_too = ad.Tensor(Device(ROWS[:7]), requires_grad=True)
    trained(Device, [(there_too, CLASSES[:7])], epochs=1)
    assert there_too.grad is not None


@pytest.mark.parametrize(
    "options",
    [
        {"metrics": ["accuracy", "f1_macro"], "validation": PARTS},
        {"metrics": {"right": lambda z, y: (z.argmax(axis=1) == y).mean()}},
        {"clip_norm": 0.1, "clip_value": 0.05}, {"accumulate": 2}, {"patience": 1, "validation": (ROWS, CLASSES)},
        {"ema": 0.9, "validation": (ROWS, CLASSES)}, {"penalty": lambda model: nn.penalty.l2(model, 1e-2)},
        {"augment": lambda x, y, rng: (x + rng.normal(size=x.shape), y)},
    ],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_every_option_of_fit_does_the_same_on_a_device(options):
    same_on_a_device(lambda kind: trained(kind, **options))


SCHEDULES = {
    "StepLR": (1,), "MultiStepLR": ([1],), "ExponentialLR": (0.9,), "CosineAnnealingLR": (3,), "LambdaLR": (lambda e: 0.5**e,),
    "OneCycleLR": (0.1, 10), "CyclicLR": (0.01, 0.1), "ReduceLROnPlateau": (), "WarmupLR": (3,),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_do_the_same_on_a_device(name):
    def run(kind):
        model = classifier(kind)
        optimizer = made("SGD", model, lr=0.1)
        schedule = getattr(schedules, name)(optimizer, *SCHEDULES[name])
        return trained(kind, model=model, optimizer=optimizer, scheduler=schedule)

    same_on_a_device(run)


def test_a_checkpoint_from_a_device_continues_there_and_in_the_processor_s_memory_to_the_last_bit(tmp_path):
    options = {"validation": (ROWS, CLASSES), "patience": 9, "ema": 0.9}
    for kind in (np.array, Device):
        folder = tmp_path / kind.__name__
        trained(kind, checkpoint=folder, epochs=2, **options)
        resumed = trained(kind, checkpoint=folder, resume=True, epochs=4, **options)
        for a, b in zip(resumed, trained(kind, epochs=4, **options), strict=True):
            np.testing.assert_array_equal(as_numpy(a), as_numpy(b))
    moved = trained(np.array, checkpoint=tmp_path / "Device", resume=True, epochs=4, **options)
    np.testing.assert_allclose(moved[0].numpy(), resumed[0].cpu().numpy(), rtol=1e-9)


def test_a_failed_resume_leaves_a_model_on_a_device_as_it_was(tmp_path):
    trained(Device, checkpoint=tmp_path, epochs=1)
    model = classifier(Device)
    before = [p.cpu().numpy().copy() for p in model.parameters()]
    with pytest.raises(ValueError, match="the optimizer Adam, and has SGD"):
        trained(Device, checkpoint=tmp_path, resume=True, model=model, optimizer=made("SGD", model))
    for p, old in zip(model.parameters(), before):
        np.testing.assert_array_equal(p.cpu().numpy(), old)


def test_a_resume_that_fails_when_the_model_is_loaded_undoes_that_on_a_device(tmp_path):
    trained(Device, checkpoint=tmp_path, ema=0.9)
    model = classifier(Device)
    before = [as_numpy(t).copy() for t in [*model.parameters(), *model.buffers()]]
    with pytest.raises(ValueError, match="does not fit this training"):
        trained(Device, checkpoint=tmp_path, resume=True, model=model, ema=optim.swa.EMA([model[0].weight]))
    for t, old in zip([*model.parameters(), *model.buffers()], before, strict=True):
        np.testing.assert_array_equal(as_numpy(t), old)
    assert where(model) == {DeviceArray}


class Alone:
    """A communicator of one rank."""

    rank, size = 0, 1
    bcast = staticmethod(lambda value: value)
    allgather = staticmethod(lambda value: [value])
    Allgather = staticmethod(lambda sent, received: received.__setitem__(0, sent))
    Allreduce = staticmethod(lambda sent, received: received.__setitem__(..., sent))

    def Iallreduce(self, sent, received):
        received[...] = sent
        return self

    Test = Wait = lambda self: True


def test_ranks_exchange_gradients_and_statistics_of_a_device_through_the_processor():
    def hessian(kind):
        model = classifier(kind).eval()
        data = [tuple(ad.Tensor(kind(a)) for a in part) for part in PARTS]
        loss = lambda x, y: nn.functional.cross_entropy(model(x), y)
        return ad.curvature.Hessian(loss, model.parameters(), batches=data, comm=Alone()).to_dense()

    same_on_a_device(lambda kind: [*trained(kind, comm=Alone()), *trained(kind, name="LBFGS", comm=Alone())])
    same_on_a_device(hessian)
    for a, b in zip(trained(Device, comm=Alone()), trained(Device), strict=True):
        np.testing.assert_allclose(as_numpy(a), as_numpy(b), rtol=1e-12)


def averaged(kind):
    model = classifier(kind)
    optimizer = made("SGD", model, lr=0.1)
    averages = [optim.swa.EMA(model.parameters(), 0.9), optim.swa.SWA(model.parameters())]
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ad.Tensor(kind(ROWS))), ad.Tensor(kind(CLASSES))).backward()
        optimizer.step()
        for average in averages:
            average.update()
    fresh = optim.swa.SWA(model.parameters())
    fresh.load_state_dict(averages[1].state_dict())
    with averages[0].applied():
        seen = [p.detach().copy() for p in model.parameters()]
    fresh.copy_to()
    optim.swa.update_bn([ad.Tensor(kind(ROWS))], model)
    return [*seen, *model.parameters(), *model.buffers()]


def found_rates(kind, data):
    model = classifier(kind)
    found = optim.lr_find(model, nn.CrossEntropyLoss(), data, optimizer=made("SGD", model, lr=0.1), steps=20, rng=0)
    return [found.rates, found.losses, *model.parameters(), *model.buffers()]


def minimised(kind):
    found = optim.minimize(lambda x: ((x - 1) ** 2).sum() + x[0] ** 4, ad.Tensor(kind(ROWS[0])))
    return [found.x, optim.least_squares(lambda x: x * x - 1, ad.Tensor(kind(ROWS[0] + 3))).x]


@pytest.mark.parametrize(
    "run", [averaged, lambda kind: found_rates(kind, (ROWS, CLASSES)), lambda kind: found_rates(kind, PARTS), minimised]
)
def test_averages_the_search_for_a_rate_and_solvers_do_the_same_on_a_device(run):
    kinds, _ = same_on_a_device(run)
    assert DeviceArray in kinds


def test_a_compiled_training_says_that_it_runs_as_it_is_on_a_device():
    with pytest.warns(UserWarning, match=r"on <device 0>; programs run on the processor: give t.cpu\(\)"):
        found = trained(Device, compile=True)
    np.testing.assert_allclose(found[0].cpu().numpy(), trained(np.array)[0].numpy(), rtol=1e-9)


class Last(nn.Module):
    """A recurrent layer and a head on its last output."""

    def __init__(self, layer):
        self.layer, self.head = layer, nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.layer(x)[0][-1])


IMAGES, SEQUENCES = (np.random.default_rng(0).normal(size=s).astype(np.float32) for s in ((6, 1, 28, 28), (4, 6, 3)))
NETWORKS = {
    "MLP": (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2)), SEQUENCES[0]),
    "LeNet": (nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 2)), IMAGES),
    "LSTM": (Last(nn.LSTM(3, 5)), SEQUENCES), "GRU": (Last(nn.GRU(3, 5)), SEQUENCES), "RNN": (Last(nn.RNN(3, 5)), SEQUENCES),
    "Transformer": (nn.Sequential(nn.Embedding(7, 8), nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True),
                                  nn.Flatten(), nn.Linear(32, 2)), np.arange(24).reshape(6, 4) % 7),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_copies_no_array_to_the_processor(name, monkeypatch):
    monkeypatch.setitem(ad.device_arrays.RANDOM, "tests", "tests.stand_in")
    model, x = NETWORKS[name]
    model.to(there(np.float32))
    x, y = ad.Tensor(Device(x)), ad.Tensor(Device(np.array([0, 1, 0, 1, 1, 0])))
    optimizer, loss = optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    with watching() as seen:
        for _ in range(2):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    assert seen.copies == seen.conversions == 0
