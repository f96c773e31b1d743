"""The workloads, each declared once in `workloads`: what is computed, and what this engine should reach.

To add one, append a declaration there: `gradient` or `hvp` of a `Problem` (its loss runs on every side), or a
`Workload` with a `run` of its own (see `sides`).
"""

from __future__ import annotations

import functools
import gc
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from . import by_hand
from .peers import Arrays, Peer, Problem, Unsupported


@dataclass(frozen=True)
class Run:
    """What is timed on one side."""

    call: Callable[[], Any]
    result: Callable[[], Arrays]
    """The result as arrays, which must agree with the other sides'."""
    warm: Callable[[], Any] | None = None
    """What warms up, if not `call`."""
    phases: bool = False
    """`call` measures itself: it returns the seconds of each of its phases. "free" does not count in the total."""


@dataclass(frozen=True)
class Target:
    """What this engine should reach: a figure of its own, or (`against` a side) the ratio of the times, its own or
    those of one of its compiled sides."""

    limit: float | None
    against: str | None = None
    figure: str | None = None
    side: str = "ours"


def at_most(ours: dict[str, float] | None = None, **compiled: tuple[float | None, ...]) -> tuple[Target, ...]:
    """Targets as they are written in `workloads`: the engine's by the name of the other side, then for compiled and
    native the ratios to torch, to jax and to NumPy by hand, None where there is none."""
    found = [Target(limit, against) for against, limit in (ours or {}).items()]
    for side, limits in compiled.items():
        found += [Target(x, against, side=side) for x, against in zip(limits, ("torch", "jax", "numpy")) if x]
    return tuple(found)


@dataclass(frozen=True)
class Workload:
    """One line of the tables."""

    name: str
    title: str
    run: Callable[[Peer], Run]
    """Prepares a side; raises `Unsupported` with the reason if the side cannot take part."""
    truth: Callable[[], Arrays] | None = None
    """The result in float64; without it the sides are compared with this engine's."""
    targets: tuple[Target, ...] = ()
    figures: Callable[[Peer], dict[str, float]] | None = None
    """Other figures of this engine, measured in a pass of their own."""
    threads: tuple[int, ...] = (1, 2)
    repeats: int | None = None
    """At most so many, where a call takes seconds."""


def sides(builders: dict[str, Callable[[Peer], Callable[[], Any]]]) -> Callable[[Peer], Run]:
    """The `run` of a workload that each side writes in its own words: by name, a function that prepares the call."""

    def run(peer: Peer) -> Run:
        if peer.name not in builders:
            raise Unsupported("not written for it")
        call = builders[peer.name](peer)
        return Run(call, lambda: peer.arrays(call()))

    return run


# Kinds of workloads


def _double(arrays: Arrays) -> Arrays:
    return [a.astype(np.float64) for a in arrays]


def _derivative(
    order: str, name: str, title: str, problem: Callable[[], Problem], targets: tuple[Target, ...]
) -> Workload:
    def run(peer: Peer) -> Run:
        try:
            call = getattr(peer, order)(problem())
            call()
        except AttributeError as error:  # a function that it does not have
            if peer.name in ("ours", "compiled", "native"):
                raise
            raise Unsupported(str(error)) from None
        return Run(call, lambda: peer.arrays(call()))

    def truth() -> Arrays:
        p = problem()
        given = [_double(p.params), _double(p.constants), *([_double(p.vectors)] if order == "hvp" else [])]
        return [np.asarray(x) for x in getattr(p, f"{order}_by_hand")(*given)]

    return Workload(name, title, run, truth, targets)


gradient = functools.partial(_derivative, "gradient")
hvp = functools.partial(_derivative, "hvp")
value_and_gradient = functools.partial(_derivative, "value_and_gradient")


def long_chain(name: str, steps: int, targets: tuple[Target, ...]) -> Workload:
    """Recording, differentiating and freeing a chain of additions, each phase timed."""

    def problem(steps: int) -> Problem:
        def loss(xp: Any, params: Any, constants: Any) -> Any:
            (x,) = params
            y = x
            for _ in range(steps):
                y = y + x
            return y.sum()

        x = np.linspace(0.1, 0.9, 16, dtype=np.float32)
        return Problem(loss, [x], gradient_by_hand=by_hand.addition_chain(steps))

    short = min(steps, 10_000)

    def run(peer: Peer) -> Run:
        if peer.compiles:
            raise Unsupported("compiling a million operations takes too long")
        quick = peer.gradient(problem(short))

        def result() -> Arrays:
            return peer.arrays(quick())

        try:
            forward, backward = peer.tape(problem(steps))
        except Unsupported:
            whole = peer.gradient(problem(steps))

            def call() -> dict[str, float]:
                start = time.perf_counter()
                whole()
                return {"forward and backward": time.perf_counter() - start}

        else:

            def call() -> dict[str, float]:
                gc.collect()  # what other sides left behind is not ours to clear up while the clock runs
                times = [time.perf_counter()]
                loss = forward()
                times.append(time.perf_counter())
                backward(loss)
                times.append(time.perf_counter())
                del loss
                times.append(time.perf_counter())
                return dict(zip(("forward", "backward", "free"), np.diff(times).tolist()))

        return Run(call, result, warm=quick, phases=True)

    def figures(peer: Peer) -> dict[str, float]:
        return memory(*peer.tape(problem(steps)), steps)

    def truth() -> Arrays:
        return [np.full(16, short + 1.0)]

    title = f"chain of {steps:,} additions on 16 floats, gradient"
    return Workload(name, title, run, truth, targets, figures, threads=(1,), repeats=5)


def memory(forward: Callable[[], Any], backward: Callable[[Any], Any], nodes: int) -> dict[str, float]:
    """Bytes for each node of a graph when recorded, at the peak of the backward pass, and left when the graph is
    dropped; and how long dropping takes. The cyclic collector is off meanwhile, so that only reference counts free."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        loss = forward()
        start = time.perf_counter()
        del loss
        freeing = time.perf_counter() - start
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        loss = forward()
        recorded = tracemalloc.get_traced_memory()[0]
        gradients = backward(loss)
        peak = tracemalloc.get_traced_memory()[1]
        del loss, gradients
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        if enabled:
            gc.enable()
    return {
        "bytes a node, recorded": (recorded - before) / nodes,
        "bytes a node, at the peak": (peak - before) / nodes,
        "kB left in all when freed without gc": (after - before) / 1000,
        "seconds to free without gc": freeing,
    }


# Problems


@functools.cache
def power_chain() -> Problem:
    """50 times y · x + x: 100 operations and a sum."""

    def loss(xp: Any, params: Any, constants: Any) -> Any:
        (x,) = params
        y = x
        for _ in range(50):
            y = y * x + x
        return y.sum()

    return Problem(loss, [np.linspace(0.1, 0.9, 16, dtype=np.float32)], gradient_by_hand=by_hand.power_chain(50))


@functools.cache
def mlp(sizes: tuple[int, ...], activation: str, batch: int) -> Problem:
    """A multilayer perceptron of plain tensors with the sum of squared errors, which has all weights, then all biases
    as parameters."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    weights = [draw(m, n) / np.float32(m) ** np.float32(0.5) for m, n in pairwise(sizes)]
    params = weights + [draw(n) * np.float32(0.1) for n in sizes[1:]]
    layers = len(weights)

    def loss(xp: Any, params: Any, constants: Any) -> Any:
        h, target = constants
        act = getattr(xp, activation)
        for i in range(layers):
            h = h @ params[i] + params[layers + i]
            if i < layers - 1:
                h = act(h)
        d = h - target
        return (d * d).sum()

    return Problem(
        loss,
        params,
        constants=[draw(batch, sizes[0]), draw(batch, sizes[-1])],
        vectors=[draw(*p.shape) for p in params],
        gradient_by_hand=by_hand.mlp_gradient(activation),
        hvp_by_hand=by_hand.mlp_hvp(activation),
    )


small = functools.partial(mlp, (2, 16, 16, 1), "tanh", 32)
medium = functools.partial(mlp, (784, 256, 128, 10), "relu", 128)
large = functools.partial(mlp, (1024,) * 5, "relu", 256)


NUMPY, NATIVE = (0.25, 1.0, 1.15), (0.03, 0.12, 0.15)
"""Ratios of small compiled programs to torch, jax and NumPy by hand."""


def workloads(quick: bool = False) -> list[Workload]:
    """All of them, in the order of the tables."""
    return [
        gradient("chain-100", "chain of 100 operations on 16 floats, gradient", power_chain,
                 at_most({"torch": 0.60}, compiled=(0.25, 4.0, 1.15), native=NATIVE)),
        gradient("mlp-2-16-16-1-gradient", "MLP 2-16-16-1, tanh, batch 32, gradient", small,
                 at_most({"torch": 0.60}, compiled=NUMPY, native=NATIVE)),
        hvp("mlp-2-16-16-1-hvp", "MLP 2-16-16-1, tanh, batch 32, HVP", small,
            at_most({"torch": 0.75}, compiled=NUMPY, native=NATIVE)),
        gradient("mlp-784-256-128-10-gradient", "MLP 784-256-128-10, relu, batch 128, gradient", medium,
                 at_most({"torch": 1.05}, compiled=(0.85, 1.0, 1.0), native=(0.7, 0.95, 0.9))),
        hvp("mlp-784-256-128-10-hvp", "MLP 784-256-128-10, relu, batch 128, HVP", medium,
            at_most({"torch": 0.85}, compiled=(0.85, 1.0, 1.0), native=(0.7, 0.95, 0.9))),
        gradient("mlp-1024x4-gradient", "MLP 1024×4, relu, batch 256, gradient", large,
                 at_most({"torch": 1.15, "numpy": 1.10}, compiled=(0.95, 1.0, 1.0), native=(0.95, 1.0, 0.95))),
        hvp("mlp-1024x4-hvp", "MLP 1024×4, relu, batch 256, HVP", large,
            at_most({"torch": 1.05}, compiled=(0.95, 1.0, 1.0), native=(0.95, 1.0, 0.95))),
        long_chain("chain-1000000", 5_000 if quick else 1_000_000, (
            Target(1.20, against="torch"),
            Target(450, figure="bytes a node, recorded"),
            Target(600, figure="bytes a node, at the peak"),
            Target(500, figure="kB left in all when freed without gc"),
        )),
    ]  # fmt: skip
