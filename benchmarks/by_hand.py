"""Derivatives written by hand in NumPy: what the engine's speed is held against, and (in float64) the truth that every
side must agree with. Nothing here knows the engine. ``params`` and ``vectors`` are lists of arrays: weights, biases."""

from __future__ import annotations

from typing import Any

import numpy as np

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
