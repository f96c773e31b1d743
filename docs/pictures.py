"""The pictures of the site, each drawn by one function when the site is built; the gallery shows the functions too.

A function returns what shows itself (a graph, a table of steps) or matplotlib's axes. Order: graphs, figures of
networks, figures of optimisation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
import nn
import optim

# Graphs


def neuron() -> Any:
    x = ad.Tensor([1.0, 2.0, 3.0], name="x")
    w = ad.Tensor([0.5, -1.0, 0.3], requires_grad=True, name="w")
    b = ad.Tensor(0.1, requires_grad=True, name="b")
    loss = (np.tanh(x @ w + b) - 1.0) ** 2
    loss.backward()
    return ad.graph(loss)


def two_paths() -> Any:
    w = ad.Tensor(2.0, requires_grad=True, name="w")
    y = 3.0 * w + w**2
    y.backward()
    return ad.graph(y)


def penalised_loss() -> Any:
    w = ad.Tensor([0.5, -1.0], requires_grad=True, name="w")
    data = ((np.array([[1.0, 2.0], [3.0, 4.0]]) @ w - 1.0) ** 2).mean()
    penalty = 0.1 * (w**2).sum()
    loss = data + penalty
    loss.backward()
    return ad.graph(loss, show=("shape", "grad"))


def steps_of_a_neuron() -> Any:
    x, w, b = ad.Tensor(2.0), ad.Tensor(-0.5, requires_grad=True), ad.Tensor(1.5, requires_grad=True)
    y = np.tanh(w * x + b)
    y.backward()
    return ad.explain(y, digits=4)


def double_backward() -> Any:
    x = ad.Tensor(1.5, requires_grad=True, name="x")
    y = np.sin(x) * x
    (slope,) = ad.gradients(y, x, create_graph=True)
    return ad.graph(slope, order=2)


def network() -> Any:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    loss = nn.functional.cross_entropy(model(np.ones((5, 4), np.float32)), np.array([0, 1, 2, 0, 1]))
    return ad.graph(loss, names=model, show=("shape",))


def lstm_opened() -> Any:
    layer = nn.LSTM(2, 3)
    y, _ = layer(np.ones((4, 1, 2), np.float32))
    return ad.graph(y.sum(), names=layer, expand="lstm", show=("shape",))


# Figures of networks


def activation() -> Any:
    return nn.plot.activation(nn.GELU())


def decision_boundary() -> Any:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 200)
    labels = np.arange(200) % 2
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * (1 + labels)[:, None] + rng.normal(0, 0.2, (200, 2))
    nn.manual_seed(0)
    model = nn.MLP([2, 16, 16, 2], activation=nn.Tanh)
    adam = optim.Adam(model.parameters(), lr=0.02)
    optim.fit(model, nn.CrossEntropyLoss(), (points, labels), optimizer=adam, epochs=40, progress=False)
    return nn.plot.decision_boundary(model, points, labels)


def vanishing_gradients() -> Any:
    nn.manual_seed(0)
    layers = [layer for _ in range(10) for layer in (nn.Linear(32, 32), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(32, 2))
    x, y = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32), np.arange(64) % 2
    return nn.plot.layer_report(model, x, nn.CrossEntropyLoss(), y)


# Figures of optimisation


def optimisers() -> Any:
    def rosenbrock(x: Any, y: Any) -> Any:
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2

    paths = {
        "SGD": lambda p: optim.SGD(p, lr=0.0005),
        "momentum": lambda p: optim.SGD(p, lr=0.0005, momentum=0.9),
        "Adam": lambda p: optim.Adam(p, lr=0.05),
    }
    return optim.compare(rosenbrock, (-1.5, 1.5), paths, steps=200).plot()


def learning_rates() -> Any:
    return optim.plot.learning_rates(lambda x: x**2, 2.0, [0.05, 0.3, 0.9, 1.02])


def schedule() -> Any:
    optimizer = optim.SGD([ad.Tensor(1.0, requires_grad=True)], lr=0.1)
    return optim.plot.schedule(optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=20), 60)


def spectral_density() -> Any:
    nn.manual_seed(0)
    rng = np.random.default_rng(0)
    model = nn.MLP([4, 16, 2], activation=nn.Tanh, dtype="float64")
    x, y = rng.normal(size=(64, 4)), np.arange(64) % 2
    hessian = ad.curvature.Hessian(lambda: nn.functional.cross_entropy(model(x), y), model.parameters())
    return ad.curvature.spectral_density(hessian, rng=0).plot()
