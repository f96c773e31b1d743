"""Curvature: products with one vector and with several, gradients of examples, spectra; each as a ratio to what it is
made of, timed beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from . import by_hand
from .peers import Arrays, Peer, Problem, Unsupported
from .timing import threads
from .workloads import Run, Target, Workload, large, medium, mlp, small

PROBES = 8


def ratio(call: Callable[[], Any], other: Callable[[], Any], rounds: int = 15, seconds: float = 0.01) -> float:
    """Of the medians of two calls in turn, each at its better number of threads."""
    times: dict[tuple[int, int], list[float]] = {(i, n): [] for n in (1, 2) for i in (0, 1)}
    for _ in range(rounds):
        for (i, n), found in times.items():
            run = (call, other)[i]
            with threads(n):
                start = time.perf_counter()
                run()
                repeats = max(1, round(seconds / (time.perf_counter() - start)))
                start = time.perf_counter()
                for _ in range(repeats):
                    run()
                found.append((time.perf_counter() - start) / repeats)
    first, second = (min(median(times[i, n]) for n in (1, 2)) for i in (0, 1))
    return first / second


def hessian(peer: Any, problem: Problem) -> tuple[Any, Any]:
    """Of the recorded loss, and its parameters."""
    params, constants, _ = peer.variables(problem)
    return peer.ad.curvature.Hessian(problem.loss(peer, params, constants), params), params


def products(problem: Problem) -> Callable[[], Any]:
    """The matrix products of `PROBES` Hessian products of a multilayer perceptron, and nothing else."""
    weights = [p for p in problem.params if p.ndim == 2]
    batch, rng = len(problem.constants[0]), np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    sizes = [w.shape[0] for w in weights] + [weights[-1].shape[1]]
    h, g = [draw(batch, n) for n in sizes], [draw(batch, n) for n in sizes]
    moved, tangents = [draw(PROBES, batch, n) for n in sizes], [draw(PROBES, *w.shape) for w in weights]

    def call() -> None:
        for i, (w, v) in enumerate(zip(weights, tangents)):
            h[i] @ v
            if i:
                moved[i].reshape(-1, sizes[i]) @ w
        for i, (w, v) in reversed(list(enumerate(zip(weights, tangents)))):
            h[i].T @ moved[i + 1]
            if i:
                moved[i].swapaxes(1, 2) @ g[i + 1]
                moved[i + 1].reshape(-1, sizes[i + 1]) @ w.T
                g[i + 1] @ v.swapaxes(1, 2)

    return call


def probes(name: str, title: str, problem: Callable[[], Problem], target: Target, bare: bool) -> Workload:
    """Products with `PROBES` vectors at once; `bare` compares with their matrix products, else with one vector."""

    def vectors() -> Any:
        size = sum(p.size for p in problem().params)
        return np.random.default_rng(0).normal(size=(PROBES, size)).astype(np.float32).T

    def truth() -> Arrays:
        p = problem()
        given = [[a.astype(float) for a in group] for group in (p.params, p.constants)]
        ends = np.cumsum([a.size for a in p.params])[:-1]
        parts = [[x.reshape(a.shape) for x, a in zip(np.split(v, ends), p.params)] for v in vectors().T.astype(float)]
        hvp: Any = p.hvp_by_hand
        return [np.stack([np.concatenate([x.ravel() for x in hvp(*given, v)]) for v in parts], axis=1)]

    def run(peer: Peer) -> Run:
        if peer.name != "ours":
            raise Unsupported("not written for it")
        H, V = hessian(peer, problem())[0], vectors()
        return Run(lambda: H @ V, lambda: [H @ V])

    def figures(peer: Peer) -> dict[str, float]:
        H, V = hessian(peer, problem())[0], vectors()
        other = products(problem()) if bare else lambda: H @ V[:, 0]
        return {str(target.figure): ratio(lambda: H @ V, other)}

    return Workload(name, title, run, truth, (target,), figures)


def product(name: str, title: str, problem: Callable[[], Problem], target: Target, compiled: float) -> Workload:
    """A product on the recorded graph, and the program of it (machine code, where llvmlite is installed), beside a
    gradient that records."""

    def run(peer: Peer) -> Run:
        if peer.name != "ours":
            raise Unsupported("not written for it")
        p = problem()
        H, v = hessian(peer, p)[0], np.concatenate([x.ravel() for x in p.vectors])
        return Run(lambda: H @ v, lambda: H.split(H @ v))

    def figures(peer: Any) -> dict[str, float]:
        p = problem()
        gradient = peer.gradient(p)
        H, v = hessian(peer, p)[0], np.concatenate([x.ravel() for x in p.vectors])
        program = peer.ad.compile(H.matvec, backend="native" if find_spec("llvmlite") else "numpy")
        return {
            str(target.figure): ratio(lambda: H @ v, gradient),
            COMPILED: ratio(lambda: program(v), gradient),
        }

    def truth() -> Arrays:
        p = problem()
        return by_hand.mlp_hvp("relu")(*([a.astype(float) for a in g] for g in (p.params, p.constants, p.vectors)))

    return Workload(name, title, run, truth, (target, Target(compiled, figure=COMPILED)), figures)


COMPILED = "compiled, times a gradient"


def per_example(target: Target) -> Workload:
    """The gradient of each example of a batch, beside the outer products that it is made of."""

    def run(peer: Any) -> Run:
        if peer.name != "ours":
            raise Unsupported("not written for it")
        p = medium()
        params, (x, t), _ = peer.variables(p)
        output: Any = x
        weights, biases = params[: len(params) // 2], params[len(params) // 2 :]
        for w, b in zip(weights[:-1], biases):
            output = peer.relu(output @ w + b)
        output = output @ weights[-1] + biases[-1]

        def call() -> Any:
            return peer.ad.curvature.per_example_gradients(output, lambda z: ((z - t) * (z - t)).sum(), params)

        return Run(call, lambda: [g.sum(axis=0) for g in call()])

    def figures(peer: Peer) -> dict[str, float]:
        sizes = [w.shape[0] for w in medium().params[:3]] + [10]
        rows = [np.random.default_rng(0).normal(size=(128, n)).astype(np.float32) for n in sizes]
        return {
            str(target.figure): ratio(run(peer).call, lambda: [a[:, :, None] * b[:, None] for a, b in pairwise(rows)])
        }

    def truth() -> Arrays:
        p = medium()
        gradient: Any = p.gradient_by_hand
        return list(gradient([a.astype(float) for a in p.params], [a.astype(float) for a in p.constants]))

    title = "MLP 784-256-128-10, batch 128, gradient of each example"
    return Workload("per-example-gradients", title, run, truth, (target,), figures)


def density() -> Workload:
    """The spectral density of a network's Hessian, as it is by default."""

    def run(peer: Any) -> Run:
        if peer.name != "ours":
            raise Unsupported("not written for it")
        H, _ = hessian(peer, mlp((300, 250, 100, 10), "relu", 128))

        def call() -> Any:
            return peer.ad.curvature.spectral_density(H, rng=0)

        def result() -> Arrays:
            found = call()
            return [np.float32([np.trapezoid(found.density, found.grid)])]

        return Run(call, result)

    def figures(peer: Peer) -> dict[str, float]:
        call, found = run(peer).call, []
        for _ in range(3):
            with threads(1):
                start = time.perf_counter()
                call()
                found.append(time.perf_counter() - start)
        return {"seconds on one thread": median(found)}

    target = Target(2.5, figure="seconds on one thread")
    title = "MLP 300-250-100-10, batch 128, spectral density"
    return Workload("spectral-density", title, run, lambda: [np.ones(1)], (target,), figures, repeats=3)


def workloads() -> list[Workload]:
    """All of them, in the order of the tables."""
    return [
        probes("hessian-8-small", "MLP 2-16-16-1, Hessian times 8 vectors", small,
               Target(3.0, figure="times one product"), bare=False),
        probes("hessian-8-medium", "MLP 784-256-128-10, Hessian times 8 vectors", medium,
               Target(1.15, figure="times its matrix products"), bare=True),
        product("hessian-medium", "MLP 784-256-128-10, product on a recorded graph", medium,
                Target(1.3, figure="times a gradient"), 1.05),
        product("hessian-large", "MLP 1024×4, product on a recorded graph", large,
                Target(1.85, figure="times a gradient"), 1.65),
        per_example(Target(1.5, figure="times the outer products")),
        density(),
    ]  # fmt: skip
