"""What is shown of a result when a notebook's cell ends with it: a few lines, however much it holds."""

from __future__ import annotations

import numpy as np
import pytest

import nn
import optim


def history():
    return optim.History.from_dict({f"train_{i}": list(range(10_000)) for i in range(300)})


def rates():
    x = np.geomspace(1e-6, 1, 5000)
    return optim.LearningRates(x, x, x, 0.1)


def comparison():
    return optim.compare(lambda x, y: x**2 + y**2, np.ones((40, 2)), {"SGD": lambda p: optim.SGD(p, lr=0.1)}, steps=3)


def trace():
    x = np.random.default_rng(0).normal(size=(200, 30))
    return optim.perceptron_learning(x, np.where(x[:, 0] > 0, 1, -1), epochs=5)


def average(kind):
    average = kind(nn.MLP([300, 300, 300]).parameters())
    average.update()
    return average


def state():
    seen = []
    model, data = nn.MLP([3, 50, 1]), (np.ones((200, 3)), np.ones((200, 1)))
    sgd = optim.SGD(model.parameters(), lr=0.1)
    optim.fit(model, nn.MSELoss(), data, optimizer=sgd, epochs=2, callbacks=[seen.append], validation=data)
    return seen[0]


@pytest.mark.parametrize(
    ("make", "begins"),
    [
        (history, "History(10000 epochs: train_0 9999, "),
        (rates, "LearningRates(suggestion 0.1, 5000 rates"),
        (comparison, "optimiser  start"),
        (trace, "LearningTrace("),
        (lambda: average(optim.swa.SWA), "SWA(4 parameters, 1 update)"),
        (lambda: average(optim.swa.EMA), "EMA(4 parameters, 1 update)"),
        (state, "TrainingState(epoch 2 of 2, batch 7, loss "),
        (lambda: optim.batches(np.ones((10_000, 50)), np.ones(10_000)), "Batches(313 of 32"),
    ],
    ids=["history", "rates", "comparison", "trace", "SWA", "EMA", "state", "batches"],
)
def test_every_result_has_a_representation_of_a_few_lines(make, begins):
    shown = repr(make())
    assert shown.startswith(begins) and len(shown) < 1200 and len(shown.splitlines()) <= 11


def test_of_many_runs_the_first_are_shown_and_the_table_has_all():
    result = comparison()
    assert repr(result).splitlines()[:10] == str(result.table()).splitlines()[:10]
    assert repr(result).splitlines()[10:] == ["… 32 more runs; table() has all"]
    assert len(str(result.table()).splitlines()) == 42
