"""Derivatives written by hand in NumPy: what the engine's speed is held against, and (in float64) the truth that every
side must agree with. Nothing here knows the engine. ``params`` and ``vectors`` are lists of arrays: weights, biases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.special

Arrays = list[np.ndarray[Any, Any]]


def power_chain(steps: int) -> Any:
    """d/dx Σ y, where y starts as x and becomes y · x + x at each step."""

    def gradient(params: Arrays, constants: Arrays) -> Arrays:
        (x,) = params
        ys = [x]
        for _ in range(steps):
            ys.append(ys[-1] * x + x)
        g, gx = np.ones_like(x), np.zeros_like(x)
        for y in reversed(ys[:-1]):
            gx += g * y + g
            g = g * x
        return [gx + g]

    return gradient


def addition_chain(steps: int) -> Any:
    """d/dx Σ y, where y starts as x and becomes y + x at each step."""

    def gradient(params: Arrays, constants: Arrays) -> Arrays:
        (x,) = params
        y = x
        for _ in range(steps):
            y = y + x
        y.sum()
        g = np.ones_like(x)
        gx = np.zeros_like(x)
        for _ in range(steps):
            gx += g
        return [gx + g]

    return gradient


def _activate(z: Any, activation: str) -> Any:
    return np.tanh(z, out=z) if activation == "tanh" else np.maximum(z, 0, out=z)


def _slope(h: Any, activation: str) -> Any:
    """The activation's derivative, from its output."""
    return 1 - h * h if activation == "tanh" else h > 0


def mlp_gradient(activation: str) -> Any:
    """The gradient of Σ (output − target)² by all weights and biases: one forward and one backward sweep."""

    def gradient(params: Arrays, constants: Arrays) -> Arrays:
        x, target = constants
        layers = len(params) // 2
        weights, biases = params[:layers], params[layers:]
        hs = [x]
        for i, (w, b) in enumerate(zip(weights, biases)):
            z = hs[-1] @ w
            z += b
            hs.append(_activate(z, activation) if i < layers - 1 else z)
        d = hs[-1] - target
        np.vdot(d, d)  # the loss itself
        g = d * 2
        by_weight, by_bias = [], []
        for i in reversed(range(layers)):
            by_weight.append(hs[i].T @ g)
            by_bias.append(g.sum(axis=0))
            if i:
                g = g @ weights[i].T
                g *= _slope(hs[i], activation)
        return by_weight[::-1] + by_bias[::-1]

    return gradient


def mlp_hvp(activation: str) -> Any:
    """The Hessian of the same loss times a vector, by Pearlmutter's R operator (forward over reverse): R z is the
    derivative of z along the vector, and is carried through both sweeps beside z."""

    def hvp(params: Arrays, constants: Arrays, vectors: Arrays) -> Arrays:
        x, target = constants
        layers = len(params) // 2
        weights, biases = params[:layers], params[layers:]
        hs: list[Any] = [x]
        rhs: list[Any] = [None]  # the data do not move
        for i, (w, b, v, u) in enumerate(zip(weights, biases, vectors[:layers], vectors[layers:])):
            z = hs[-1] @ w
            z += b
            rz = hs[-1] @ v
            rz += u
            if i:
                rz += rhs[-1] @ w
            h = _activate(z, activation) if i < layers - 1 else z
            if i < layers - 1:
                rz *= _slope(h, activation)
            hs.append(h)
            rhs.append(rz)
        g, rg = (hs[-1] - target) * 2, rhs[-1] * 2
        by_weight, by_bias = [], []
        for i in reversed(range(layers)):
            by = hs[i].T @ rg
            if i:
                by += rhs[i].T @ g
            by_weight.append(by)
            by_bias.append(rg.sum(axis=0))
            if i:
                rg = rg @ weights[i].T
                rg += g @ vectors[i].T
                g = g @ weights[i].T
                slope = _slope(hs[i], activation)
                rg *= slope
                if activation == "tanh":
                    rg -= g * (2 * hs[i] * rhs[i])  # R slope = R (1 − h²)
                g *= slope
        return by_weight[::-1] + by_bias[::-1]

    return hvp


def rosenbrock_gradient(params: Arrays, constants: Arrays) -> Arrays:
    """Of Σ 100 (b − a²)² + (1 − a)², where a is x without its last entry and b without its first."""
    (x,) = params
    a = x[:-1]
    d = a * a
    np.subtract(x[1:], d, out=d)
    g = np.empty_like(x)
    g[0] = 0
    np.multiply(d, 200, out=g[1:])
    d *= a
    d *= -400
    d += 2 * a
    d -= 2
    g[:-1] += d
    return [g]


def rosenbrock_hvp(params: Arrays, constants: Arrays, vectors: Arrays) -> Arrays:
    """The Hessian of the same function times v."""
    (x,), (v,) = params, vectors
    a, u = x[:-1], v[:-1]
    d = x[1:] - a * a
    e = a * u
    e *= -2
    e += v[1:]
    h = np.empty_like(x)
    h[0] = 0
    np.multiply(e, 200, out=h[1:])
    e *= a
    d *= u
    e += d
    e *= -400
    e += 2 * u
    h[:-1] += e
    return [h]


RATE = 0.02
"""Interest in `black_scholes`."""


def black_scholes(params: Arrays, constants: Arrays) -> Arrays:
    """Σ of the prices of calls, and its slopes by spot, volatility and time."""
    (spot, vol, time), (strike,) = params, constants
    root = np.sqrt(time)
    spread = vol * root
    d1 = spot / strike
    np.log(d1, out=d1)
    d1 += (RATE + 0.5 * vol * vol) * time
    d1 /= spread
    now, later = scipy.special.ndtr(d1), scipy.special.ndtr(d1 - spread)
    later *= strike * np.exp(-RATE * time)
    value = (spot * now).sum() - later.sum()
    d1 *= d1
    d1 *= -0.5
    np.exp(d1, out=d1)
    d1 *= spot / math.sqrt(2 * math.pi)
    later *= RATE
    later += d1 * vol / (2 * root)
    d1 *= root
    return [value, now, d1, later]


STEP, FRICTION = 0.01, 0.1


def pendulums(steps: int) -> Any:
    """Σ (angle² + speed²) of pendulums after so many steps, and its slopes by angle, speed and gravity."""

    def both(params: Arrays, constants: Arrays) -> Arrays:
        x, v, k = params
        angles = [x]
        for _ in range(steps):
            v = v - STEP * (k * np.sin(x) + FRICTION * v)
            x = x + STEP * v
            angles.append(x)
        gx, gv, gk = 2 * x, 2 * v, np.zeros_like(k)
        value = (x * x).sum() + (v * v).sum()
        for x in angles[-2::-1]:
            gv = gv + STEP * gx
            force = STEP * gv
            gk -= np.sin(x) * force
            gx = gx - k * np.cos(x) * force
            gv = gv - FRICTION * force
        return [value, gx, gv, gk]

    return both


DEGREES = 4.0
"""Of freedom in `student_t`."""


def student_t(params: Arrays, constants: Arrays) -> Arrays:
    """Σ ½ (ν + 1) log(1 + z²/ν) + n s with z = (x − μ) e⁻ˢ, and its slopes by μ and s."""
    (mean, scale), (x,) = params, constants
    small = np.exp(-scale)
    z = x - mean
    z *= small
    square = z * z
    value = 0.5 * (DEGREES + 1) * np.log1p(square / DEGREES).sum() + len(x) * scale
    square += DEGREES
    w = np.divide(z, square, out=square)
    w *= DEGREES + 1
    return [value, -small * w.sum(), len(x) - np.vdot(w, z)]


def sgd(params: Arrays, gradients: Arrays, lr: float, momentum: float, state: list[Any]) -> None:
    """A step in place; `state` keeps the momenta."""
    if not state:
        state += [np.zeros_like(p) for p in params]
    for p, g, b in zip(params, gradients, state):
        b *= momentum
        b += g
        p -= np.multiply(b, lr, out=g)


def adam(params: Arrays, gradients: Arrays, lr: float, state: list[Any]) -> None:
    """A step in place; `state` keeps its number, and the two moments of each parameter."""
    if not state:
        state += [0, *[(np.zeros_like(p), np.zeros_like(p)) for p in params]]
    state[0] += 1
    first, second = 1 - 0.9 ** state[0], math.sqrt(1 - 0.999 ** state[0])
    for p, g, (m, v) in zip(params, gradients, state[1:]):
        m += (g - m) * 0.1
        g *= g
        v *= 0.999
        v += np.multiply(g, 0.001, out=g)
        d = np.sqrt(v, out=g)
        d += 1e-8 * second
        np.divide(m, d, out=d)
        p -= np.multiply(d, lr * second / first, out=d)
