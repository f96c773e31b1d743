"""Workloads of the layers and the optimisers: forward and backward of whole networks, and steps on many parameters."""

from __future__ import annotations

import functools
import gc
import time
import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from .peers import Arrays, Peer, Unsupported
from .workloads import Run, Target, Workload
from .workloads import at_most as compiled_at_most


def training(
    name: str, title: str, model: Callable[[Any], Any], data: Callable[[], tuple[Any, ...]],
    loss: Callable[[Any, Any, Any, Any], Any], at_most: float, peak: float = 1.5, more: tuple[Target, ...] = (),
) -> Workload:  # fmt: skip
    """Forward and backward of a network, float32, from the same weights on both sides.

    Args:
        name, title: of the line.
        model: makes the network from ``nn`` (ours or torch.nn).
        data: the input and the target.
        loss: of ``nn``, the network, and the data as the side has them.
        at_most: the ratio to torch's time.
        peak: the ratio to torch's peak memory.
        more: targets of the compiled sides.
    """

    @functools.cache
    def weights() -> dict[str, Any]:
        import nn

        nn.manual_seed(0)
        return {key: value.data.copy() for key, value in model(nn).state_dict().items()}

    def prepare(peer: Peer) -> tuple[Callable[[], Any], Any]:
        if peer.name in ("ours", "compiled", "native"):
            import autodiff as ad
            import nn

            ours = model(nn)
            ours.load_state_dict(weights())
            given = [ad.Tensor(a) if a.dtype.kind == "f" else a for a in data()]

            def differentiate(*given: Any) -> None:
                ours.zero_grad()
                loss(nn, ours, *given).backward(retain_graph=False)

            call = differentiate
            if peer.compiles:
                call = ad.compile(differentiate, params=ours, backend=peer.backend)  # type: ignore[attr-defined]
                call(*given)
            return lambda: call(*given), ours
        if peer.name in ("torch", "torch.compile"):
            torch = peer.torch  # type: ignore[attr-defined]
            theirs = model(torch.nn)
            theirs.load_state_dict({key: torch.tensor(value) for key, value in weights().items()})
            theirs = torch.compile(theirs) if peer.compiles else theirs
            tensors = [torch.tensor(a) for a in data()]

            def step() -> Any:
                theirs.zero_grad()
                loss(torch.nn, theirs, *tensors).backward()

            return step, theirs
        raise Unsupported("has no such layers")

    def run(peer: Peer) -> Run:
        step, network = prepare(peer)

        def result() -> Arrays:
            step()
            return [np.concatenate([np.asarray(p.grad).ravel() for p in network.parameters()])]

        return Run(step, result)

    def figures(peer: Peer) -> dict[str, float]:
        step, network = prepare(peer)
        step()
        network.zero_grad()
        found = {"MB at the peak": traced(step) / 1e6}
        try:
            from .peers import Torch

            step, network = prepare(Torch())
        except ModuleNotFoundError:
            return found
        step()
        network.zero_grad()
        return {**found, "peak memory to torch's": found["MB at the peak"] * 1e6 / profiled(step)}

    targets = (Target(at_most, against="torch"), *more, Target(peak, figure="peak memory to torch's"))
    return Workload(name, title, run, None, targets, figures)


def traced(call: Callable[[], Any]) -> int:
    """Bytes that a call needs at its peak, as Python's allocators see it (NumPy's arrays among them)."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def profiled(call: Callable[[], Any]) -> int:
    """Bytes that a call needs at its peak, as torch's profiler sees its allocator."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def lenet(nn: Any) -> Any:
    """Two convolutions with pooling and three linear layers, for 28 × 28 pictures."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def norm_mlp(nn: Any) -> Any:
    """Linear, batch norm and ReLU, three times, and a last linear layer."""
    layers: list[Any] = []
    for m, n in ((256, 512), (512, 512), (512, 256)):
        layers += [nn.Linear(m, n), nn.BatchNorm1d(n), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def pictures(batch: int, *shape: int) -> tuple[Any, ...]:
    """Random inputs and classes."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, *shape)).astype(np.float32), rng.integers(0, 10, batch)


def sequences(*shape: int) -> tuple[Any, ...]:
    """Random inputs."""
    return (np.random.default_rng(0).normal(size=shape).astype(np.float32),)


def cross_entropy(nn: Any, model: Any, x: Any, y: Any) -> Any:
    """Of the classes."""
    return nn.functional.cross_entropy(model(x), y)


def depthwise(channels: int, k: int) -> Callable[[Any], Any]:
    """Makes two convolutions of each channel by itself, and GELU between them."""

    def model(nn: Any) -> Any:
        first, second = (nn.Conv2d(channels, channels, k, padding=k // 2, groups=channels) for _ in range(2))
        return nn.Sequential(first, nn.GELU(), second)

    return model


def square_of(pick: Callable[[Any], Any]) -> Callable[..., Any]:
    """The mean square of what `pick` takes out of the output."""

    def loss(nn: Any, model: Any, x: Any) -> Any:
        y = pick(model(x))
        return (y * y).mean()

    return loss


def stepping(optimizer: str, tensors: int, foreach: bool, **options: Any) -> Workload:
    """A step of an optimiser on a million parameters; torch's by default, or its `foreach` implementation."""
    shape = (1_000_000 // tensors // 100, 100)

    def values(seed: int) -> Arrays:
        rng = np.random.default_rng(seed)
        return [rng.normal(size=shape).astype(np.float32) for _ in range(tensors)]

    def prepare(peer: Peer) -> tuple[Callable[[], Any], list[Any]]:
        if peer.name == "ours":
            import autodiff as ad
            import optim

            params = [ad.Tensor(v, requires_grad=True) for v in values(0)]
            for p, g in zip(params, values(1)):
                p.grad = ad.Tensor(g)
            return getattr(optim, optimizer)(params, **options).step, params
        if peer.name == "torch":
            torch = peer.torch  # type: ignore[attr-defined]
            params = [torch.tensor(v, requires_grad=True) for v in values(0)]
            for p, g in zip(params, values(1)):
                p.grad = torch.tensor(g)
            more = {"foreach": True} if foreach else {}
            return getattr(torch.optim, optimizer)(params, **options, **more).step, params
        raise Unsupported("has no optimisers")

    def run(peer: Peer) -> Run:
        def result() -> Arrays:
            step, params = prepare(peer)
            for _ in range(3):
                step()
            return [np.concatenate([(p if peer.name == "ours" else p.detach()).numpy().ravel() for p in params])]

        return Run(prepare(peer)[0], result)

    kind = "torch's foreach" if foreach else "torch's default"
    name = f"{optimizer.lower()}-{tensors}-tensors{'-foreach' if foreach else ''}"
    title = f"{optimizer} step, 1,000,000 parameters in {tensors} tensors ({kind})"
    return Workload(name, title, run, None, (Target(1.3, against="torch"),))


def epoch() -> Workload:
    """A whole epoch of `optim.fit` on the handwritten digits, and of the same loop written for torch."""

    def model(nn: Any) -> Any:
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    @functools.cache
    def digits() -> tuple[Any, Any]:
        try:
            from sklearn.datasets import load_digits
        except ModuleNotFoundError:
            raise Unsupported("needs scikit-learn's digits") from None
        found = load_digits()
        return (found.data / 16).astype(np.float32), found.target

    @functools.cache
    def weights() -> dict[str, Any]:
        import nn

        nn.manual_seed(0)
        return {key: value.data.copy() for key, value in model(nn).state_dict().items()}

    def prepare(peer: Peer) -> tuple[Callable[[bool, int], Any], Any]:
        """A function that trains for some epochs (in random order or as the data are) and says how long each took, and
        the model."""
        X, y = digits()
        if peer.name in ("ours", "compiled", "native"):
            import nn
            import optim

            ours = model(nn)
            ours.load_state_dict(weights())
            adam, loss = optim.Adam(ours.parameters()), nn.CrossEntropyLoss()
            backend = {"compiled": "numpy", "native": "native"}.get(peer.name, False)

            def train(shuffled: bool, epochs: int) -> Any:
                data = (X, y) if shuffled else optim.batches(X, y, 32, shuffle=False)
                return optim.fit(
                    ours, loss, data, optimizer=adam, epochs=epochs, batch_size=32, compile=backend
                ).seconds

            return train, ours
        if peer.name == "torch":
            torch = peer.torch  # type: ignore[attr-defined]
            theirs = model(torch.nn)
            theirs.load_state_dict({key: torch.tensor(value) for key, value in weights().items()})
            optimizer, criterion = torch.optim.Adam(theirs.parameters()), torch.nn.CrossEntropyLoss()
            inputs, targets = torch.tensor(X), torch.tensor(y)

            def train(shuffled: bool, epochs: int) -> Any:
                seconds = []
                for _ in range(epochs):
                    start = time.perf_counter()
                    theirs.train()
                    order = torch.randperm(len(inputs)) if shuffled else torch.arange(len(inputs))
                    total = 0.0
                    for i in range(0, len(inputs), 32):
                        chosen = order[i : i + 32]
                        optimizer.zero_grad()
                        value = criterion(theirs(inputs[chosen]), targets[chosen])
                        value.backward()
                        optimizer.step()
                        total += value.item() * len(chosen)
                    seconds.append(time.perf_counter() - start)
                return seconds

            return train, theirs
        raise Unsupported("has no optimisers")

    def run(peer: Peer) -> Run:
        def result() -> Arrays:
            train, network = prepare(peer)
            train(False, 1)
            values = [p.data if peer.name != "torch" else p.detach().numpy() for p in network.parameters()]
            return [np.concatenate([v.ravel() for v in values])]

        train, _ = prepare(peer)
        train(True, 1)

        def call() -> dict[str, float]:  # the first epoch of each training makes its programs
            return {"call": median(train(True, 4)[1:])}

        return Run(call, result, phases=True)

    title = "epoch on the digits, MLP 64-64-10, batch 32, Adam"
    targets = (Target(0.9, against="torch"), Target(0.25, against="torch", side="native"))
    return Workload("digits-epoch", title, run, None, targets)


def workloads() -> list[Workload]:
    """All of them, in the order of the tables."""
    return [
        training("lenet", "LeNet, 64×1×28×28", lenet, lambda: pictures(64, 1, 28, 28), cross_entropy, 2.0),
        training("lstm", "LSTM 64→128, 50 steps, batch 32", lambda nn: nn.LSTM(64, 128),
                 lambda: sequences(50, 32, 64), square_of(lambda out: out[0]), 1.3,
                 more=compiled_at_most(compiled=(1.1, None, None), native=(0.95, 0.8, None))),
        training("vit-block", "ViT-tiny block, 197 tokens, width 192, 3 heads, batch 8",
                 lambda nn: nn.TransformerEncoderLayer(192, 3, 768, 0.0, activation=nn.functional.gelu,
                                                       batch_first=True, norm_first=True),
                 lambda: sequences(8, 197, 192), square_of(lambda out: out), 1.6,
                 more=compiled_at_most(compiled=(1.0, 0.9, None), native=(0.8, 0.7, None))),
        *(training(f"depthwise-{k}", f"depthwise {k}×{k}, GELU, depthwise {k}×{k}, 8×{channels}×{size}×{size}",
                   depthwise(channels, k), lambda shape=(8, channels, size, size): sequences(*shape),
                   square_of(lambda out: out), 1.5, peak=2.0)
          for k, channels, size in ((3, 96, 28), (7, 192, 14))),
        training("batchnorm-mlp", "MLP 256-512-512-256-10, batch norm, relu, batch 128", norm_mlp,
                 lambda: pictures(128, 256), cross_entropy, 1.1),
        *(stepping(name, n, foreach, **options)
          for name, options in (("SGD", {"lr": 1e-6, "momentum": 0.9}), ("Adam", {"lr": 1e-6}))
          for n in (2, 20, 200) for foreach in (False, True)),
        epoch(),
    ]  # fmt: skip
