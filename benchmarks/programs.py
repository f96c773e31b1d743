"""Workloads that are compiled as a whole: training steps of small networks, and functions of numerical work."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import by_hand
from .peers import Arrays, Peer, Problem, Unsupported
from .workloads import (
    NATIVE,
    NUMPY,
    Run,
    Target,
    Workload,
    at_most,
    gradient,
    hvp,
    medium,
    small,
    value_and_gradient,
)  # fmt: skip

RATE, MOMENTUM = 1e-3, 0.9


def step(name: str, title: str, problem: Callable[[], Problem], kind: str, targets: tuple[Target, ...]) -> Workload:
    """A training step: the gradient of the loss, and the optimiser's update in place.

    Args:
        name, title: of the line.
        problem: whose params are trained.
        kind: "SGD" (with momentum) or "Adam".
        targets: of the line.
    """
    options = {"lr": RATE, "momentum": MOMENTUM} if kind == "SGD" else {"lr": RATE}

    def ours(peer: Any) -> tuple[Callable[[], Any], Callable[[], Arrays]]:
        import optim

        p, ad = problem(), peer.ad
        params = [ad.Tensor(a.copy(), requires_grad=True) for a in p.params]
        optimizer = getattr(optim, kind)(params, **options)
        loss = peer.loss(p) if peer.compiles else functools.partial(p.loss, peer)

        def train(*constants: Any) -> None:
            optimizer.zero_grad()
            loss(params, constants).backward()
            optimizer.step()

        if peer.compiles:
            train = ad.compile(train, params=params, optimizer=optimizer, backend=peer.backend)
        return lambda: train(*p.constants), lambda: [q.data for q in params]

    def torch(peer: Any) -> tuple[Callable[[], Any], Callable[[], Arrays]]:
        p = problem()
        params, constants, _ = peer.variables(p)
        optimizer = getattr(peer.torch.optim, kind)(params, **options)

        def train() -> None:
            optimizer.zero_grad()
            p.loss(peer, params, constants).backward()
            optimizer.step()

        return train, lambda: [q.detach().numpy() for q in params]

    def jax(peer: Any) -> tuple[Callable[[], Any], Callable[[], Arrays]]:
        p, jnp = problem(), peer.jax.numpy
        slope = peer.jax.grad(lambda ps, cs: p.loss(peer, ps, cs))

        @functools.partial(peer.jax.jit, donate_argnums=(0, 1))
        def train(params: Any, state: Any, t: Any, constants: Any) -> Any:
            gradients = slope(params, constants)
            if kind == "SGD":
                state = [MOMENTUM * b + g for b, g in zip(state, gradients)]
                return [q - RATE * b for q, b in zip(params, state)], state
            state = [(0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g) for (m, v), g in zip(state, gradients)]
            first, second = 1 - 0.9**t, 1 - 0.999**t
            moved = [q - RATE * (m / first) / (jnp.sqrt(v / second) + 1e-8) for q, (m, v) in zip(params, state)]
            return moved, state

        constants = [jnp.asarray(c) for c in p.constants]
        params = [jnp.array(a) for a in p.params]
        now: dict[str, Any] = {
            "params": params, "t": 0,
            "state": [jnp.zeros_like(q) if kind == "SGD" else (jnp.zeros_like(q), jnp.zeros_like(q)) for q in params],
        }  # fmt: skip

        def call() -> None:
            now["t"] += 1
            now["params"], now["state"] = train(now["params"], now["state"], float(now["t"]), constants)
            peer.jax.block_until_ready(now["params"])

        return call, lambda: [np.asarray(q) for q in now["params"]]

    def hand(dtype: Any) -> tuple[Callable[[], Any], Callable[[], Arrays]]:
        p, state = problem(), list[Any]()
        params, constants = ([a.astype(dtype) for a in group] for group in (p.params, p.constants))
        slope = p.gradient_by_hand
        assert slope is not None

        def train() -> None:
            gradients = slope(params, constants)
            if kind == "SGD":
                by_hand.sgd(params, gradients, RATE, MOMENTUM, state)
            else:
                by_hand.adam(params, gradients, RATE, state)

        return train, lambda: params

    def prepare(peer: Peer) -> tuple[Callable[[], Any], Callable[[], Arrays]]:
        if peer.name == "numpy":
            return hand(np.float32)
        written = {"ours": ours, "compiled": ours, "native": ours, "torch": torch, "jax": jax}
        if peer.name not in written:
            raise Unsupported("has no optimisers")
        return written[peer.name](peer)

    def three(side: tuple[Callable[[], Any], Callable[[], Arrays]]) -> Arrays:
        for _ in range(3):
            side[0]()
        return side[1]()

    def run(peer: Peer) -> Run:
        call, _ = prepare(peer)
        call()
        return Run(call, lambda: three(prepare(peer)))

    return Workload(name, title, run, lambda: three(hand(np.float64)), targets)


@functools.cache
def rosenbrock() -> Problem:
    """Of a thousand variables."""

    def loss(xp: Any, params: Any, constants: Any) -> Any:
        (x,) = params
        a, b = x[:-1], x[1:]
        d, e = b - a * a, 1 - a
        return (100 * d * d + e * e).sum()

    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(2, 1000)).astype(np.float32)
    return Problem(
        loss, [x], vectors=[v], gradient_by_hand=by_hand.rosenbrock_gradient, hvp_by_hand=by_hand.rosenbrock_hvp
    )


@functools.cache
def black_scholes(n: int) -> Problem:
    """Prices of n calls."""

    def loss(xp: Any, params: Any, constants: Any) -> Any:
        (spot, vol, time), (strike,) = params, constants
        spread = vol * xp.np.sqrt(time)
        d = (xp.np.log(spot / strike) + (by_hand.RATE + 0.5 * vol * vol) * time) / spread
        return (spot * xp.ndtr(d) - strike * xp.np.exp(-by_hand.RATE * time) * xp.ndtr(d - spread)).sum()

    rng = np.random.default_rng(0)
    spot, vol, time, strike = (
        rng.uniform(low, high, n).astype(np.float32) for low, high in ((80, 120), (0.1, 0.5), (0.2, 2), (80, 120))
    )
    return Problem(loss, [spot, vol, time], [strike], value_and_gradient_by_hand=by_hand.black_scholes)


@functools.cache
def student_t(n: int) -> Problem:
    """The negative log-likelihood of n numbers, without its constant."""

    def loss(xp: Any, params: Any, constants: Any) -> Any:
        (mean, scale), (x,) = params, constants
        z = (x - mean) * xp.np.exp(-scale)
        total = xp.np.log1p(z * z / by_hand.DEGREES).sum()
        return 0.5 * (by_hand.DEGREES + 1) * total + len(x) * scale

    x = np.random.default_rng(0).standard_t(by_hand.DEGREES, n).astype(np.float32)
    params = [np.array(value, np.float32) for value in (0.3, 0.2)]
    return Problem(loss, params, [x], value_and_gradient_by_hand=by_hand.student_t)


@functools.cache
def pendulums(steps: int) -> Problem:
    """Four of them, with friction, by the semi-implicit Euler method."""

    def loss(xp: Any, params: Any, constants: Any) -> Any:
        x, v, k = params

        def step(state: Any) -> Any:
            x, v = state
            v = v - by_hand.STEP * (k * xp.np.sin(x) + by_hand.FRICTION * v)
            return x + by_hand.STEP * v, v

        x, v = xp.repeated(step, (x, v), steps)
        return (x * x).sum() + (v * v).sum()

    params = [np.array(a, np.float32) for a in ([0.1, 0.4, 0.7, 1.0], [0, 0, 0, 0], [2, 2, 2, 2])]
    return Problem(loss, params, value_and_gradient_by_hand=by_hand.pendulums(steps))


def workloads(quick: bool = False) -> list[Workload]:
    """All of them, in the order of the tables."""
    n, text = (10_000, "10⁴") if quick else (1_000_000, "10⁶")
    steps = 100 if quick else 1000
    medium_targets = at_most(compiled=(0.85, 1.0, 1.0), native=(0.7, 0.95, 0.9))
    elementwise = at_most(compiled=(1.3, 3.0, 1.3), native=(0.15, 0.85, 0.35))
    return [
        *(step(f"mlp-2-16-16-1-{kind.lower()}", f"MLP 2-16-16-1, tanh, batch 32, {kind} step", small, kind,
               at_most(compiled=NUMPY, native=NATIVE)) for kind in ("SGD", "Adam")),
        *(step(f"mlp-784-256-128-10-{kind.lower()}", f"MLP 784-256-128-10, relu, batch 128, {kind} step", medium, kind,
               medium_targets) for kind in ("SGD", "Adam")),
        gradient("rosenbrock-gradient", "Rosenbrock of 1,000 variables, gradient", rosenbrock,
                 at_most(compiled=NUMPY, native=NATIVE)),
        hvp("rosenbrock-hvp", "Rosenbrock of 1,000 variables, HVP", rosenbrock,
            at_most(compiled=(0.25, 1.0, 1.35), native=NATIVE)),
        value_and_gradient("black-scholes", f"Black–Scholes, {text} calls, value and 3 gradients",
                           lambda: black_scholes(n), elementwise),
        value_and_gradient("student-t", f"Student-t likelihood of {text} numbers, value and 2 gradients",
                           lambda: student_t(n), elementwise),
        value_and_gradient("pendulums", f"Pendulums, {steps} steps, value and 3 gradients", lambda: pendulums(steps),
                           at_most(compiled=(0.25, None, None), native=(0.01, 1.0, None))),
    ]  # fmt: skip
