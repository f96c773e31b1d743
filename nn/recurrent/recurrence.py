"""A recurrent layer over a whole sequence as one fused operation, for tanh and ReLU cells, LSTM and GRU.

Order: the layout of what an operation is given, the linear recurrences that derivatives of derivatives need, the
cells, their operations, and `scan`, which applies one. Arrays are time-major and one block per gate: (gates, T, N, H).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.machine.kernels import SMALL, enabled
from autodiff.machine.kernels import plain as plain_arrays
from autodiff.mode import differentiating
from autodiff.opaque import opaque
from autodiff.primitive import Sample, declare, polymorphic
from autodiff.tensor import is_foreign, plain, variable
from autodiff.transforms.checkpoint import result_of
from autodiff.transforms.forward import Pushforward

from ..linear import linear
from .kernels import BACK_MOVED, GRU_STEP, GRU_STEP_BACK, LSTM_STEP, LSTM_STEP_BACK, MOVED
from .steps import stepper, unroll

# What an operation is given


def _part(i: int, g: Any, y: Any, *arrays: Any) -> Any:
    start = sum(a.size for a in arrays[:i])
    return g[start : start + arrays[i].size].reshape(arrays[i].shape)


_vector: Any = polymorphic(declare(
    "vector", lambda *arrays: np.concatenate([a.reshape(-1) for a in arrays]), each=_part, jvps="linear",
    formula="({0}, {1}, …)", derivatives=["its part"],
    samples=lambda rng: [Sample((rng.normal(size=(2, 3)), rng.normal(size=()), rng.normal(size=(0, 2)))),
                         Sample((rng.normal(size=(1, 2)),))],
    doc="All elements of all inputs, as one vector.",
))  # fmt: skip


class Layout(NamedTuple):
    """Where weights, biases, initial states and the input lie in the one vector that a fused operation takes.

    They are one vector because backpropagation through time gives all their gradients in one sweep, and a rule gives
    one result.
    """

    steps: int
    batch: int
    inputs: int
    hidden: int
    bias: bool

    def __repr__(self) -> str:
        return f"{self.steps} steps × {self.batch}, {self.inputs} → {self.hidden}"

    def parts(self, cell: Cell, flat: Any, x: Any) -> tuple[Any, Any, Any, Any, list[Any], Any]:
        """w_ih (gates, H, D), w_hh (gates, H, H), b_ih and b_hh (gates, 1, H) or None, the states (N, H) each, and
        x (T, N, D), which is not in the vector if it is constant: views of an array, Tensors of a Tensor."""
        steps, batch, inputs, hidden, bias = self
        gates, states = cell.gates, cell.states
        shapes: list[tuple[int, ...]] = [(gates, hidden, inputs), (gates, hidden, hidden)]
        shapes.extend([(gates, 1, hidden)] * (2 * bias))
        shapes.extend([(batch, hidden)] * states)
        shapes.extend([(steps, batch, inputs)] * (x is None))
        found, start = [], 0
        for shape in shapes:
            end = start + math.prod(shape)
            found.append(flat[start:end].reshape(shape))
            start = end
        biases = found[2:4] if bias else [None, None]
        first = 2 + 2 * bias
        return (*found[:2], *biases, found[first : first + states], found[-1] if x is None else x)


def _rows(x: Any) -> Any:
    """Time and batch as one axis."""
    return x.reshape(x.shape[:-3] + (x.shape[-3] * x.shape[-2], x.shape[-1]))


def _shifted(first: Any, y: Any) -> Any:
    """What each step started from: the initial value, then y without its last step, along the time axis -3."""
    return np.concatenate([first[..., None, :, :], y[..., :-1, :, :]], axis=-3)


def _opened(layout: Layout, cell: Cell, flat: Tensor, x: Any) -> tuple[Any, Any, Any, Any, list[Any], Any]:
    """What `Layout.parts` gives, in the forms that users know: w_ih (gates · H, D), w_hh (gates · H, H), the biases
    (gates · H,). Where the vector was recorded, these are the Tensors that it was made of."""
    whole = flat.inputs[0] if flat.op == "astype" else flat
    if whole.op != "vector":
        w_ih, w_hh, b_ih, b_hh, states, x = layout.parts(cell, flat, x)
        w_ih, w_hh = (w.reshape((-1, w.shape[-1])) for w in (w_ih, w_hh))
        b_ih, b_hh = (None if b is None else b.reshape(-1) for b in (b_ih, b_hh))
        return w_ih, w_hh, b_ih, b_hh, states, x
    found = [part if part.dtype == flat.dtype else part.astype(flat.dtype) for part in whole.inputs]
    first = 2 + 2 * layout.bias
    biases = found[2:4] if layout.bias else [None, None]
    return *found[:2], *biases, found[first : first + cell.states], found[-1] if x is None else x


# Linear recurrences. With states s (states, N, H), of which the first is h, and links A (states, gates, T, N, H) and
# B (states, states, T, N, H), which act on each unit by itself:
#     tangent:  s_t = v_t + A_t (W h_{t−1}) + B_t s_{t−1}
#     adjoint:  λ_t = g_t + B_{t+1}ᵀ λ_{t+1}, whose h also receives Wᵀ A_{t+1}ᵀ λ_{t+1}
# Each is the other's transpose, and both have the same derivatives by A, B and W: products of one's λ and other's s.


def _by_gate(links: Any, x: Any) -> Any:
    """Σ links · x over the gates: what x (gates, …) does to the states."""
    return np.einsum("ck...,k...->c...", links, x)


def _by_state(links: Any, x: Any) -> Any:
    """Σ links · x over the states they act on: what x (states, …) does to the gates, or to the states before."""
    return np.einsum("ck...,c...->k...", links, x)


def _tangent_forward(v: Any, a: Any, b: Any, w: Any) -> Any:
    y, w = v.copy(), w.swapaxes(-1, -2).copy()
    for t in range(1, v.shape[1]):
        s = y[:, t - 1]
        by_product = _by_gate(a[:, :, t], s[0] @ w)  # before y, of which s is a view
        y[:, t] += _by_gate(b[:, :, t], s)
        y[:, t] += by_product
    return y


def _adjoint_forward(g: Any, a: Any, b: Any, w: Any) -> Any:
    y, w = g.copy(), w.copy()
    for t in range(g.shape[1] - 1, 0, -1):
        s = y[:, t]
        by_product = np.add.reduce(_by_state(a[:, :, t], s) @ w, axis=0)  # before y, of which s is a view
        y[:, t - 1] += _by_state(b[:, :, t], s)
        y[0, t - 1] += by_product
    return y


def _by_all(by_v: Any, adjoint: Any, tangent: Any, a: Any, w: Any) -> list[Any]:
    """The cotangents of v, A, B and W."""
    before = _shifted(0 * tangent[:, 0], tangent)
    rows, late = _rows(before[0]), adjoint[:, None]
    by_a = late * (rows @ w.swapaxes(-1, -2)).reshape(a.shape[1:])
    return [by_v, by_a, late * before, _rows(_by_state(a, adjoint)).swapaxes(-1, -2) @ rows]


def _total(parts: Sequence[Any], like: Any) -> Any:
    """The sum of those that there are."""
    found = [part for part in parts if part is not None]
    return sum(found[1:], found[0]) if found else np.zeros_like(plain(like))


def _tangent_moved(ts: Sequence[Any], y: Any, v: Any, a: Any, b: Any, w: Any) -> Any:
    """What moves A, B and W moves what the steps add, and the rest is the recurrence again."""
    tv, ta, tb, tw = ts
    before = _shifted(0 * y[:, 0], y)
    rows = _rows(before[0])

    def added(links: Any, weights: Any) -> Any:
        return _by_gate(links, (rows @ weights.swapaxes(-1, -2)).reshape(a.shape[1:]))

    more = [None if ta is None else added(ta, w), None if tw is None else added(a, tw)]
    return _tangent(_total([tv, *more, None if tb is None else _by_gate(tb, before)], y), a, b, w)


def _adjoint_moved(ts: Sequence[Any], y: Any, g: Any, a: Any, b: Any, w: Any) -> Any:
    tg, ta, tb, tw = ts

    def earlier(x: Any) -> Any:
        return np.concatenate([x[..., 1:, :, :], 0 * x[..., :1, :, :]], axis=-3)

    def received(links: Any, weights: Any) -> Any:
        h = (_rows(_by_state(links, y)) @ weights).sum(axis=0).reshape(y.shape[1:])
        return np.stack([earlier(h), *[0 * h] * (len(y) - 1)])

    more = [None if ta is None else received(ta, w), None if tw is None else received(a, tw)]
    return _adjoint(_total([tg, *more, None if tb is None else earlier(_by_state(tb, y))], y), a, b, w)


_STEPS = "step by step in memory"

_LINKS = [(2, 2, 3, 1, 2), (1, 3, 1, 2, 1), (1, 1, 2, 0, 2)]  # states, gates, T, N, H


def _link_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.normal(size=(c, t, n, h)), rng.normal(size=(c, k, t, n, h)), rng.normal(size=(c, c, t, n, h)),
                rng.normal(size=(k, h, h))))
        for c, k, t, n, h in _LINKS
    ]  # fmt: skip


_tangent: Any = polymorphic(declare(
    "recurrence", _tangent_forward,
    joint=lambda g, y, v, a, b, w: _by_all(adjoint := _adjoint(g, a, b, w), adjoint, y, a, w),
    formula="{y}ₜ = {0}ₜ + {1}ₜ({3} {y}ₜ₋₁) + {2}ₜ {y}ₜ₋₁",
    derivatives=["its transpose", "λₜ({3} {y}ₜ₋₁)ᵀ", "λₜ {y}ₜ₋₁ᵀ", "Σ {1}ₜᵀ λₜ {y}ₜ₋₁ᵀ"], samples=_link_samples,
    jvps=_tangent_moved, opaque=_STEPS, written=_tangent_forward,
))  # fmt: skip

_adjoint: Any = polymorphic(declare(
    "recurrence_transposed", _adjoint_forward,
    joint=lambda g, y, v, a, b, w: _by_all(tangent := _tangent(g, a, b, w), y, tangent, a, w),
    formula="{y}ₜ = {0}ₜ + {3}ᵀ {1}ₜ₊₁ᵀ {y}ₜ₊₁ + {2}ₜ₊₁ᵀ {y}ₜ₊₁",
    derivatives=["its transpose", "{y}ₜ({3} sₜ₋₁)ᵀ", "{y}ₜ sₜ₋₁ᵀ", "Σ {1}ₜᵀ {y}ₜ sₜ₋₁ᵀ"], samples=_link_samples,
    jvps=_adjoint_moved, opaque=_STEPS, written=_adjoint_forward,
))  # fmt: skip


# Cells


class Sweep(NamedTuple):
    """What a sweep back leaves: what `Cell.back` gives, and the cotangents of all states."""

    d: Any
    hidden: Any
    initial: list[Any]
    adjoint: Any

    @property
    def internal(self) -> bool:
        """Pictures and tables do not show it."""
        return True


class Run(NamedTuple):
    """What a run over a sequence leaves: the states, and the gates' values for `Cell.back`; and, where its pullback is
    recorded too, one place for a tangent and those of states and gates, until the pullback's tangent has taken them."""

    y: Any
    gates: Any
    place: Any = ()

    @property
    def values(self) -> Sequence[Any]:
        """The gates' values, none of a cell without gates."""
        return () if self.gates is None else self.gates

    @property
    def internal(self) -> bool:
        """Pictures and tables do not show it."""
        return True


Cotangents = tuple[Any, Any, list[Any]]

FEW = 2
"""For more steps than these it pays to copy weights into the form that products take fastest."""


def _empty(shape: Sequence[int], dtype: Any) -> Any:
    """An uninitialised array that starts at a multiple of 64 bytes, a cache line: that saves a quarter of the time of
    a small product, and more of a sum's."""
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + 63, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


def _together(y: Any) -> int:
    """How many steps of y (states, T, N, H) to treat together, so that what is computed stays in the cache."""
    return int(min(y.shape[1], max(1, 32768 // max(1, y[0, 0].size))))


class Cell:
    """The mathematics of one kind of cell: `run` and `back` on arrays, in place and step by step; `links` for
    derivatives that are to be differentiated again."""

    gates: int
    states: int
    signs: tuple[int, ...]
    """By which the weights of each gate are multiplied in advance; −1 for e^(−a) in a sigmoid."""

    def run(self, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, states: list[Any], x: Any) -> Run:
        """All steps, from the initial states."""
        raise NotImplementedError

    def back(self, g: Any, y: Any, kept: Any, w_hh: Any, states: list[Any], adjoint: Any = None) -> Cotangents:
        """The cotangents of x W_ih + b_ih and of h W_hh + b_hh (gates, T, N, H), and of the initial states; those of
        all states, that of c with what comes by h, are written into `adjoint`."""
        raise NotImplementedError

    def arguments(self, by_x: Any, by_h: Any) -> Any:
        """The weights of x (gates, ·, H) and those of h as one, by which both give the arguments of all gates."""
        return np.concatenate([by_x, by_h], axis=-2)

    def values(self, p: Any, a: Any) -> Sequence[Any]:
        """The gates' values, as `run` keeps them, of p = x W_ih + b_ih and a = h W_hh + b_hh (gates)."""
        raise NotImplementedError

    def links(self, values: Any, y: Any, before: Any) -> tuple[list[Any], list[Any], list[Any]]:
        """The derivatives of a step's states (rows) by a and by p (gates), and by the states before."""
        raise NotImplementedError

    def _projected(self, w_ih: Any, w_hh: Any, bias: Any, x: Any, room: int = 0) -> tuple[Any, Any]:
        """x W_ih + bias for all steps in one product, with that many blocks of room behind; and W_hhᵀ; both signed."""
        signs = np.array(self.signs, x.dtype)[:, None, None]
        (steps, batch, _), hidden = x.shape, w_hh.shape[-1]
        rows, weights = _rows(x), np.multiply(w_ih.swapaxes(-1, -2), signs)
        if bias is not None:  # is the weight of an input that is always 1
            rows = np.concatenate([rows, np.ones((steps * batch, 1), x.dtype)], axis=1)
            weights = np.concatenate([weights, bias * signs], axis=1)
        out = _empty((self.gates + room, steps, batch, hidden), x.dtype)
        np.matmul(rows, weights, out=out.reshape(self.gates + room, steps * batch, hidden)[: self.gates])
        transposed = w_hh.swapaxes(-1, -2)
        return out, np.multiply(transposed, signs, out=_empty(w_hh.shape, x.dtype) if steps > FEW else None)


def _native(y: Any, *others: Any) -> bool:
    """Whether the steps run as machine code: the arrays have no gaps, and there are enough numbers."""
    return y.size > SMALL and plain_arrays(y, *others) and all(a.flags.c_contiguous for a in (y, *others)) and enabled()


def _sigmoid(negative: Any) -> None:
    """1 / (1 + e^(−a)) in place of −a."""
    np.exp(negative, out=negative)
    np.add(negative, 1, out=negative)
    np.reciprocal(negative, out=negative)


class Plain(Cell):
    """h = φ(W x + b + U h + c)."""

    gates, states, signs = 1, 1, (1,)

    def __init__(self, relu: bool) -> None:
        self.relu = relu

    def run(self, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, states: list[Any], x: Any) -> Run:
        y, w = self._projected(w_ih, w_hh, None if b_ih is None else b_ih + b_hh, x)
        (h,) = states
        w, product = w[0], _empty(h.shape, y.dtype)
        for a in y[0]:
            np.matmul(h, w, out=product)
            np.add(a, product, out=a)
            if self.relu:
                np.maximum(a, 0, out=a)
            else:
                np.tanh(a, out=a)
            h = a
        return Run(y, None)

    def back(self, g: Any, y: Any, kept: Any, w_hh: Any, states: list[Any], adjoint: Any = None) -> Cotangents:
        local = _empty(y.shape, y.dtype)
        if self.relu:
            np.greater(y, 0, out=local)
        else:
            np.multiply(y, y, out=local)
            np.subtract(1, local, out=local)
        w, dh = w_hh[0], np.zeros_like(states[0])
        for t in range(y.shape[1] - 1, -1, -1):
            np.add(dh, g[0, t], out=dh)
            if adjoint is not None:
                adjoint[0, t] = dh
            d = np.multiply(local[0, t], dh, out=local[0, t])
            np.matmul(d, w, out=dh)
        return local, local, [dh]

    def values(self, p: Any, a: Any) -> Sequence[Any]:
        return ()

    def links(self, values: Any, y: Any, before: Any) -> tuple[list[Any], list[Any], list[Any]]:
        h = y[0]
        local = (plain(h) > 0).astype(h.dtype) if self.relu else 1 - h * h
        return [[local]], [[local]], [[np.zeros_like(plain(h))]]


class LSTM(Cell):
    """c = f c + i g and h = o tanh(c), with i, f, o = σ(W x + b + U h + d) and g = tanh of the same."""

    gates, states, signs = 4, 2, (-1, -1, 1, -1)

    def run(self, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, states: list[Any], x: Any) -> Run:
        gates, w = self._projected(w_ih, w_hh, None if b_ih is None else b_ih + b_hh, x)
        y = _empty((2, *gates.shape[1:]), gates.dtype)
        product = _empty((4, *gates.shape[2:]), gates.dtype)
        h, c = states
        if _native(y, h, c):
            for t in range(len(x)):
                np.matmul(h, w, out=product)
                h, after = y[:, t]
                LSTM_STEP.flat(*gates[:, t], *product, c, after, h)
                c = after
            return Run(y, gates)
        room = product[0]
        with np.errstate(over="ignore"):
            for t in range(len(x)):
                a = gates[:, t]
                np.matmul(h, w, out=product)
                np.add(a, product, out=a)
                i, f, g, o = a
                _sigmoid(a[:2])
                np.tanh(g, out=g)
                _sigmoid(o)
                h, after = y[:, t]
                np.multiply(f, c, out=after)
                np.multiply(i, g, out=room)
                c = np.add(after, room, out=after)
                np.tanh(c, out=room)
                np.multiply(o, room, out=h)
        return Run(y, gates)

    def back(self, g: Any, y: Any, kept: Any, w_hh: Any, states: list[Any], adjoint: Any = None) -> Cotangents:
        i, f, n, o = kept
        (h, c), (steps, *shape) = y, y.shape[1:]
        d, k = _empty(kept.shape, y.dtype), _empty((_together(y), *shape), y.dtype)
        dh, dc, room = (_empty(shape, y.dtype) for _ in range(3))
        dh[...] = dc[...] = 0
        product = _empty((4, *shape), y.dtype)
        cell = bool(g[1].any())
        if _native(y, kept, states[1]):
            product[...] = 0
            total = _empty((2, 1, *shape), y.dtype) if adjoint is None else adjoint
            gh, gc = np.ascontiguousarray(g[0]), np.ascontiguousarray(g[1]) if cell else np.zeros((1, *shape), y.dtype)
            for t in range(steps - 1, -1, -1):
                now, before = d[:, t], c[t - 1] if t else states[1]
                outside = gh[t], gc[t if cell else 0]
                LSTM_STEP_BACK.flat(
                    *kept[:, t], *product, c[t], before, *outside, dc, *now, *total[:, t % total.shape[1]]
                )
                np.matmul(now, w_hh, out=product)
            return d, d, [np.add.reduce(product, axis=0, out=dh), dc]
        for end in range(steps, 0, -len(k)):
            # The factors that do not depend on cotangents, for some steps together
            start = max(end - len(k), 0)
            part = slice(start, end)
            di, df, dn, do = d[:, part]
            now = k[: end - start]
            np.tanh(c[part], out=now)  # ∂h/∂c = o (1 − tanh² c), the product o tanh c being h
            np.multiply(now, h[part], out=now)
            np.subtract(o[part], now, out=now)
            np.subtract(1, o[part], out=do)  # h (1 − o)
            np.multiply(do, h[part], out=do)
            np.multiply(i[part], n[part], out=di)  # i (1 − g²), and i (1 − i) g
            np.multiply(di, n[part], out=dn)
            np.subtract(i[part], dn, out=dn)
            np.subtract(1, i[part], out=df)
            np.multiply(di, df, out=di)
            np.subtract(1, f[part], out=df)  # f (1 − f) c before
            np.multiply(df, f[part], out=df)
            later = max(start, 1)
            np.multiply(d[1, later:end], c[later - 1 : end - 1], out=d[1, later:end])
            if start == 0:
                np.multiply(d[1, 0], states[1], out=d[1, 0])
            for t in range(end - 1, start - 1, -1):
                np.add(dh, g[0, t], out=dh)
                if cell:
                    np.add(dc, g[1, t], out=dc)
                np.add(dc, np.multiply(now[t - start], dh, out=room), out=dc)
                if adjoint is not None:
                    adjoint[0, t], adjoint[1, t] = dh, dc
                now_d = d[:, t]
                np.multiply(now_d[:3], dc, out=now_d[:3])
                np.multiply(now_d[3], dh, out=now_d[3])
                np.multiply(dc, f[t], out=dc)
                np.matmul(now_d, w_hh, out=product)
                np.add.reduce(product, axis=0, out=dh)
        return d, d, [dh, dc]

    def values(self, p: Any, a: Any) -> Sequence[Any]:
        s = [u + v for u, v in zip(p, a)]
        return ad.sigmoid(s[0]), ad.sigmoid(s[1]), np.tanh(s[2]), ad.sigmoid(s[3])

    def links(self, values: Any, y: Any, before: Any) -> tuple[list[Any], list[Any], list[Any]]:
        i, f, n, o = values
        squashed = np.tanh(y[1])
        k = o * (1 - squashed * squashed)
        by_i, by_f, by_n = n * i * (1 - i), before[1] * f * (1 - f), i * (1 - n * n)
        zero = np.zeros_like(plain(i))
        links = [[k * by_i, k * by_f, k * by_n, squashed * o * (1 - o)], [by_i, by_f, by_n, zero]]
        return links, links, [[zero, k * f], [zero, f]]


class GRU(Cell):
    """h = (1 − z) n + z h, with r, z = σ(W x + b + U h + d) and n = tanh(W x + b + r (U h + d)); z being 1 − σ(…)
    where the update gate says what is new."""

    gates, states = 3, 1

    def __init__(self, new: bool) -> None:
        self.new = new
        self.signs = (-1, 1 if new else -1, 1)

    def run(self, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, states: list[Any], x: Any) -> Run:
        bias = None if b_ih is None else np.concatenate([b_ih[:2] + b_hh[:2], b_ih[2:]])
        gates, w = self._projected(w_ih, w_hh, bias, x, room=1)  # r, z, n and, behind them, U h + d of n
        y = _empty((1, *gates.shape[1:]), gates.dtype)
        product = _empty((3, *gates.shape[2:]), gates.dtype)
        (h,) = states
        if _native(y, h):
            hidden_bias = np.zeros(h.shape, y.dtype)
            if b_hh is not None:
                hidden_bias += b_hh[2]
            for t in range(len(x)):
                np.matmul(h, w, out=product)
                GRU_STEP.flat(*gates[:, t], *product, hidden_bias, h, y[0, t])
                h = y[0, t]
            return Run(y, gates)
        with np.errstate(over="ignore"):
            for t in range(len(x)):
                np.matmul(h, w, out=product)
                a = gates[:2, t]
                np.add(a, product[:2], out=a)
                _sigmoid(a)
                r, z, n, u = gates[:, t]
                if b_hh is None:
                    u[...] = product[2]
                else:
                    np.add(product[2], b_hh[2], out=u)
                np.multiply(r, u, out=product[2])
                np.add(n, product[2], out=n)
                np.tanh(n, out=n)
                after = np.subtract(h, n, out=y[0, t])
                np.multiply(after, z, out=after)
                h = np.add(after, n, out=after)
        return Run(y, gates)

    def back(self, g: Any, y: Any, kept: Any, w_hh: Any, states: list[Any], adjoint: Any = None) -> Cotangents:
        d = _empty((3, *kept.shape[1:]), kept.dtype)
        hidden = _empty(d.shape, d.dtype)
        dh, room = _empty(d.shape[2:], d.dtype), _empty(d.shape[2:], d.dtype)
        dh[...] = 0
        product = _empty((3, *dh.shape), d.dtype)
        if _native(y, kept, states[0]):
            product[...] = 0
            total = _empty((1, *dh.shape), y.dtype) if adjoint is None else adjoint[0]
            gh, kernel = np.ascontiguousarray(g[0]), GRU_STEP_BACK[self.new]
            for t in range(len(y[0]) - 1, -1, -1):
                before = y[0, t - 1] if t else states[0]
                kernel.flat(*kept[:, t], *product, before, gh[t], dh, *d[:, t], *hidden[:, t], total[t % len(total)])
                np.matmul(hidden[:, t], w_hh, out=product)
            return d, hidden, [np.add(dh, np.add.reduce(product, axis=0, out=room), out=dh)]
        for t in range(len(y[0]) - 1, -1, -1):
            r, z, n, u = kept[:, t]
            dr, dz, dn = d[:, t]
            before = y[0, t - 1] if t else states[0]
            np.add(dh, g[0, t], out=dh)
            if adjoint is not None:
                adjoint[0, t] = dh
            # n: dh (1 − z)(1 − n²)
            np.multiply(n, n, out=dn)
            np.subtract(1, dn, out=dn)
            np.subtract(1, z, out=room)
            np.multiply(dn, room, out=dn)
            np.multiply(dn, dh, out=dn)
            # z: ± dh (h − n) z (1 − z)
            np.multiply(room, z, out=room)
            np.multiply(room, dh, out=room)
            np.subtract(before, n, out=dz)
            np.multiply(dz, room, out=dz)
            if self.new:
                np.negative(dz, out=dz)
            # U h + d of n: dn r; and r: dn u r (1 − r)
            of_u = np.multiply(dn, r, out=hidden[2, t])
            np.multiply(of_u, u, out=dr)
            np.subtract(1, r, out=room)
            np.multiply(dr, room, out=dr)
            hidden[:2, t] = d[:2, t]
            np.matmul(hidden[:, t], w_hh, out=product)
            np.multiply(dh, z, out=dh)
            np.add.reduce(product, axis=0, out=room)
            np.add(dh, room, out=dh)
        return d, hidden, [dh]

    def arguments(self, by_x: Any, by_h: Any) -> Any:
        found = [super().arguments(by_x, by_h)[:2]]  # of n, what comes from x and what from h is kept apart
        found.append(super().arguments(by_x[2:], np.zeros_like(by_h[2:])))
        found.append(super().arguments(np.zeros_like(by_x[2:]), by_h[2:]))
        return np.concatenate(found)

    def values(self, p: Any, a: Any) -> Sequence[Any]:
        r, update = ad.sigmoid(p[0] + a[0]), p[1] + a[1]
        return r, ad.sigmoid(-update if self.new else update), np.tanh(p[2] + r * a[2]), a[2]

    def links(self, values: Any, y: Any, before: Any) -> tuple[list[Any], list[Any], list[Any]]:
        r, z, n, u = values
        slope = z * (1 - z) * (n - before[0] if self.new else before[0] - n)
        by_n = (1 - z) * (1 - n * n)
        by_r = by_n * u * r * (1 - r)
        return [[by_r, slope, by_n * r]], [[by_r, slope, by_n]], [[z]]


# Their operations


def _stacked(rows: list[Any]) -> Any:
    return np.stack([entry for row in rows for entry in row]).reshape((len(rows), len(rows[0]), *rows[0][0].shape))


def _products(rows: Any, weights: Any, bias: Any, y: Any) -> list[Any]:
    """Gate by gate: to cut weights costs less, forward and back, than to cut what all steps make of them."""
    return [
        (rows @ weights[k].swapaxes(-1, -2) + (0 if bias is None else bias[k])).reshape(y.shape[1:])
        for k in range(len(weights))
    ]


def _linked(cell: Cell, values: Any, y: Any, before: list[Any]) -> tuple[Any, Any, Any]:
    """What `Cell.links` gives, each as one; the first two are the same where they are for the cell."""
    by_a, by_p, by_s = cell.links(values, y, before)
    links = _stacked(by_a)
    return links, links if by_p is by_a else _stacked(by_p), _stacked(by_s)


def _differentiable(cell: Cell, g: Any, y: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, states: Any, x: Any) -> Any:
    """What `Cell.back` computes, of Tensors and in operations with derivatives: the links of all steps at once, then
    one linear recurrence."""
    before = [_shifted(s, h) for s, h in zip(states, y)]
    values = cell.values(_products(_rows(x), w_ih, b_ih, y), _products(_rows(before[0]), w_hh, b_hh, y))
    links, by_p, between = _linked(cell, values, y, before)
    adjoint = _adjoint(g, links, between, w_hh)
    hidden = _by_state(links, adjoint)
    d = hidden if by_p is links else _by_state(by_p, adjoint)
    first = _by_state(between[:, :, 0], adjoint[:, 0])
    return d, hidden, [first[0] + (hidden[:, 0] @ w_hh).sum(axis=0), *first[1:]]


def _moved(cell: Cell, values: Any, y: Any, parts: Any, moved: Any) -> Any:
    """The tangent of the states, of the parts' tangents, in operations with derivatives: what each step adds, then one
    linear recurrence."""
    (w_ih, w_hh, b_ih, b_hh, states, x), (t_ih, t_hh, t_b, t_c, t_states, tx) = parts, moved
    before = [_shifted(s, h) for s, h in zip(states, y)]
    if values is None:
        values = cell.values(_products(_rows(x), w_ih, b_ih, y), _products(_rows(before[0]), w_hh, b_hh, y))
    links, by_p, between = _linked(cell, values, y, before)
    p, a = _products(_rows(x), t_ih, t_b, y), _products(_rows(before[0]), t_hh, t_c, y)
    if tx is not None:
        p = [u + v for u, v in zip(p, _products(_rows(tx), w_ih, None, y))]
    if by_p is links:
        v = _by_gate(links, np.stack([u + v for u, v in zip(p, a)]))
    else:
        v = _by_gate(links, np.stack(a)) + _by_gate(by_p, np.stack(p))
    first = v[:, 0] + _by_gate(links[:, :, 0], t_states[0] @ w_hh.swapaxes(-1, -2))
    first = first + _by_gate(between[:, :, 0], np.stack(t_states))
    return _tangent(np.concatenate([first[:, None], v[:, 1:]], axis=1), links, between, w_hh)


# Tangents of arrays, step by step


def _tangents(kind: str, cell: Cell, run: Run, parts: Any, moved: Any) -> tuple[Any, Any]:
    """The tangents of the states (states, T, N, H) and of the gates' values, of the parts' tangents."""
    (w_ih, w_hh, *_, states, x), (t_ih, t_hh, t_b, t_c, t_states, tx) = parts, moved
    y, values, formula = run.y, run.values, MOVED[kind]
    of_x, by_x = [_rows(x)], [t_ih.swapaxes(-1, -2)]
    of_h, by_h = [_rows(_shifted(states[0], y[0]))], [t_hh.swapaxes(-1, -2)]
    if tx is not None:
        of_x, by_x = [*of_x, _rows(tx)], [*by_x, w_ih.swapaxes(-1, -2)]
    if t_b is not None:  # a bias is the weight of an input that is always 1
        ones = np.ones((len(of_x[0]), 1), y.dtype)
        of_x, by_x, of_h, by_h = [*of_x, ones], [*by_x, t_b], [*of_h, ones], [*by_h, t_c]
    weights = cell.arguments(np.concatenate(by_x, axis=-2), np.concatenate(by_h, axis=-2))
    inner = (np.concatenate([*of_x, *of_h], axis=-1) @ weights).reshape((len(weights), *y.shape[1:]))
    w, s, native = np.ascontiguousarray(w_hh.swapaxes(-1, -2)), t_states, _native(y, *values, inner, *t_states)
    moving, product = (_empty(a.shape, y.dtype) for a in (y, inner[: cell.gates, 0]))
    for t in range(y.shape[1]):
        np.matmul(s[0], w, out=product)
        given = [*[v[t] for v in values], *y[:, t], *(y[:, t - 1] if t else states), *inner[:, t], *product, *s]
        s = moving[:, t]
        formula.write(native, given, [*inner[:, t], *s])
    return moving, inner


def _tangents_back(
    kind: str, cell: Cell, run: Run, sweep: Sweep, parts: Any, moved: Any, moving: Any, inner: Any, tg: Any
) -> Cotangents:
    """The tangents of what `Cell.back` gives, of the parts' tangents, those of the states (`moving`) and of the gates'
    values (`inner`), and that of the cotangents from outside, or None."""
    (_, w_hh, *_, states, _), (_, t_hh, *_, t_states, _) = parts, moved
    y, values, formula, (_, steps, batch, _) = run.y, run.values, BACK_MOVED[kind], run.y.shape
    # What comes by the tangent of W_hh from all steps behind at once, in pieces that stay in the cache
    rows, few = _rows(sweep.hidden), max(1, _together(y) * batch)
    pieces = [rows[:, k : k + few] for k in range(0, max(1, steps * batch), few)]
    by_w = np.concatenate([np.add.reduce(piece @ t_hh, axis=0) for piece in pieces]).reshape(y.shape[1:])
    nothing = np.zeros_like(y[0])
    outside = np.stack([np.concatenate([by_w[1:], nothing[:1]]), *[nothing] * (len(y) - 1)])
    outside = outside if tg is None else outside + tg
    w, product = np.ascontiguousarray(w_hh), np.zeros((cell.gates, *y.shape[2:]), y.dtype)
    blocks = cell.gates * (1 if sweep.hidden is sweep.d else 2)
    passed = [np.zeros_like(y[0, 0]) for _ in range(formula.outputs - blocks)]
    native = _native(y, *values, moving, inner, outside, *t_states)
    d = _empty((blocks, *y.shape[1:]), y.dtype)
    for t in range(steps - 1, -1, -1):
        before, before_moving = (y[:, t - 1], moving[:, t - 1]) if t else (states, t_states)
        given = [*[v[t] for v in values], *y[:, t], *before, *inner[:, t], *moving[:, t], *before_moving]
        given += [*sweep.adjoint[:, t], *outside[:, t], *product, *passed]
        formula.write(native, given, [*d[:, t], *passed])
        np.matmul(d[-cell.gates :, t], w, out=product)
    by_h = np.add.reduce(product, axis=0) + by_w[0]
    initial = [by_h, *passed] if len(y) > len(passed) else [by_h + passed[0]]
    return d[: cell.gates], d[-cell.gates :], initial


_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _fused(kind: str, name: str, cell: Cell, formula: str) -> Any:
    def steps_of(flat: Any, constant: Any, layout: Layout) -> Any:
        y, gates, _ = cell.run(*layout.parts(cell, flat, constant))
        return y if gates is None else (y, gates)

    def sweep_of(g: Any, y: Any, flat: Any, constant: Any, gates: Any, layout: Layout, adjoint: Any = None) -> Sweep:
        _, w_hh, _, _, states, _ = layout.parts(cell, flat, constant)
        if layout.steps > FEW:
            w_hh, given = _empty(w_hh.shape, y.dtype), w_hh
            w_hh[...] = given
        return Sweep(*cell.back(g, y, gates, w_hh, states, adjoint), adjoint)

    def sweep(g: Any, y: Any, flat: Any, constant: Any, gates: Any, layout: Layout) -> Any:
        d, hidden, initial, _ = sweep_of(g, y, flat, constant, gates, layout)
        return cotangents(d, hidden, initial, y, flat, constant, layout)

    def cotangents(d: Any, hidden: Any, initial: Any, y: Any, flat: Any, constant: Any, layout: Layout) -> Any:
        w_ih, _, _, _, states, x = layout.parts(cell, flat, constant)
        return joined(d, hidden, initial, by_parts(d, hidden, y, w_ih, states, x, constant is None), layout.bias)

    def by_parts(d: Any, hidden: Any, y: Any, w_ih: Any, states: Any, x: Any, by_x: bool) -> list[Any]:
        """The cotangents of w_ih, w_hh and x, which are bilinear in (d, hidden) and the rest."""
        rows, below, batch = _rows(d), _rows(hidden), y.shape[2]
        by_w_hh = below[:, :batch].swapaxes(-1, -2) @ states[0]
        if y.shape[1] > 1:
            by_w_hh = by_w_hh + below[:, batch:].swapaxes(-1, -2) @ _rows(y[0, :-1])
        by_w_ih = None if x is None else rows.swapaxes(-1, -2) @ _rows(x)
        return [by_w_ih, by_w_hh, (rows @ w_ih).sum(axis=0) if by_x else None]

    def joined(d: Any, hidden: Any, initial: Any, parts: list[Any], bias: bool) -> Any:
        """All cotangents as one vector."""
        found, rows = parts[:2], _rows(d)
        if bias:
            ones = np.ones((1, rows.shape[1]), d.dtype, like=plain(rows))
            found.append(ones @ rows)
            found.append(found[-1] if hidden is d else ones @ _rows(hidden))
        return _vector(*found, *initial, *parts[2:] if parts[2] is not None else ())

    def steps_written(flat: Any, constant: Any, layout: Layout) -> Any:
        with ad.no_grad():
            return plain(result_of(expansion(Tensor(flat), constant, layout=layout)))

    def swept(g: Any, y: Any, flat: Any, constant: Any, layout: Layout) -> Any:
        d, hidden, initial = _differentiable(cell, g, y, *layout.parts(cell, flat, constant))
        return cotangents(d, hidden, initial, y, flat, constant, layout)

    def sweep_written(g: Any, y: Any, flat: Any, constant: Any, gates: Any, layout: Layout) -> Any:
        with ad.no_grad():
            return plain(swept(g, y, flat, constant, layout))

    whole = opaque(steps_of, f"{name}: steps", _STEPS, written=steps_written)
    back = opaque(sweep, f"{name}: sweep", _STEPS, written=sweep_written)

    def run_of(flat: Any, constant: Any, layout: Layout) -> Run:
        found = whole(flat, constant, layout=layout)
        y, gates = found if type(found) is tuple else (found, None)
        return Run(y, gates, [])

    def forward(flat: Any, constant: Any = None, *, layout: Layout, run: Run | None = None) -> Any:
        return (run or run_of(flat, constant, layout)).y

    def rule(g: Any, y: Any, flat: Any, constant: Any = None, *, layout: Layout, run: Run | None = None) -> Any:
        if not isinstance(g, Tensor):
            return back(g, y, flat, constant, (run or run_of(flat, constant, layout)).gates, layout=layout)
        # It is to be differentiated again, and so must depend on the inputs visibly.
        arrays = plain(g), plain(y), plain(flat), plain(constant)
        if any(map(is_foreign, arrays)):
            return swept(g, y, flat, constant, layout)
        run = run or run_of(*arrays[2:], layout)
        run.place[:] = [None]
        found = sweep_of(*arrays, run.gates, layout, np.empty_like(run.y))
        return pullback(g, flat, *[] if constant is None else [constant], layout=layout, run=run, sweep=found)

    def moved_parts(t: Any, constant: Any, layout: Layout) -> Any:
        return (*layout.parts(cell, t, constant)[:5], layout.parts(cell, t, None)[5] if constant is None else None)

    def pushed(t: Any, y: Any, flat: Any, constant: Any = None, *, layout: Layout, run: Run | None = None) -> Any:
        parts, moved = layout.parts(cell, flat, constant), moved_parts(t, constant, layout)
        if isinstance(y, Tensor):
            return _moved(cell, None, y, parts, moved)
        run = run or run_of(flat, constant, layout)
        if is_foreign(y):
            return _moved(cell, run.gates, y, parts, moved)
        found = tangents(t, flat, constant, run, layout=layout)
        if run.place:
            run.place[0] = (t, *found)
        return found[0]

    def tangents_of(t: Any, flat: Any, constant: Any, run: Run, layout: Layout) -> tuple[Any, Any]:
        return _tangents(kind, cell, run, layout.parts(cell, flat, constant), moved_parts(t, constant, layout))

    def tangents_written(t: Any, flat: Any, constant: Any, run: Run, layout: Layout) -> tuple[Any, None]:
        parts = layout.parts(cell, flat, constant)
        return _moved(cell, run.gates, run.y, parts, moved_parts(t, constant, layout)), None

    tangents = opaque(tangents_of, f"{name}: tangents", _STEPS, written=tangents_written)

    # Backpropagation through time as an operation: F ↦ F′(flat)ᵀ g. Its derivative by g is the pushforward, and that by
    # flat is symmetric, the Hessian of g · F.

    def pulled(
        g: Any, flat: Any, constant: Any = None, *, layout: Layout, run: Run | None = None, sweep: Sweep | None = None
    ) -> Any:
        run = run or run_of(flat, constant, layout)
        if sweep is None:
            return back(g, run.y, flat, constant, run.gates, layout=layout)
        return cotangents(*sweep[:3], run.y, flat, constant, layout)

    def formulas(g: Any, flat: Any, constant: Any, layout: Layout, run: Run | None) -> tuple[Tensor, list[Tensor]]:
        """The same in operations with derivatives, and its inputs there."""
        with differentiating():
            g, flat = (x[...] if isinstance(x, Tensor) and x.requires_grad else variable(plain(x)) for x in (g, flat))
            y = operation(flat, *[] if constant is None else [constant], layout=layout, run=run)
            return swept(g, y, flat, constant, layout), [g, flat]

    def numpys(*inputs: Any) -> bool:
        return not any(isinstance(x, Tensor) or is_foreign(x) for x in inputs)

    def by_both(u: Any, out: Any, g: Any, flat: Any, constant: Any = None, *, layout: Layout, run: Run | None = None,
                sweep: Sweep | None = None) -> Sequence[Any]:  # fmt: skip
        if numpys(g, flat, constant):
            return *curved(u, None, g, flat, constant, layout, run, sweep), None
        found = ad.gradients(*formulas(g, flat, constant, layout, run), u, create_graph=isinstance(u, Tensor))
        return *[d if isinstance(u, Tensor) else plain(d) for d in found], None

    def both_moved(ts: Any, out: Any, g: Any, flat: Any, constant: Any = None, *, layout: Layout,
                   run: Run | None = None, sweep: Sweep | None = None) -> Any:  # fmt: skip
        if not numpys(g, flat, constant):
            y, leaves = formulas(g, flat, constant, layout, run)
            return Pushforward([y], leaves)(ts[:2], isinstance(out, Tensor))[0]
        if ts[1] is None:
            return pulled(ts[0], flat, constant, layout=layout, run=run)
        return curved(ts[1], ts[0], g, flat, constant, layout, run, sweep)[1]

    def curved(
        t: Any, tg: Any, g: Any, flat: Any, constant: Any, layout: Layout, run: Run | None, sweep: Sweep | None
    ) -> tuple[Any, Any]:
        """The tangent of the states, and that of the pullback, of those of flat and of g (or None)."""
        run = run or run_of(flat, constant, layout)
        sweep = sweep or sweep_of(g, run.y, flat, constant, run.gates, layout, np.empty_like(run.y))
        kept, run.place[:] = run.place and run.place[0], [None]
        found = kept[1:] if kept and kept[0] is t else tangents(t, flat, constant, run, layout=layout)
        return found[0], curvature(t, tg, *found, g, flat, constant, run, sweep, layout=layout)

    def curvature_of(t: Any, tg: Any, moving: Any, inner: Any, g: Any, flat: Any, constant: Any, run: Run, sweep: Sweep,
                     layout: Layout) -> Any:  # fmt: skip
        parts, moved = layout.parts(cell, flat, constant), moved_parts(t, constant, layout)
        d, hidden, initial = _tangents_back(kind, cell, run, sweep, parts, moved, moving, inner, tg)
        hidden = d if sweep.hidden is sweep.d else hidden
        (w_ih, *_, states, x), (t_ih, *_, t_states, tx) = parts, moved
        first = by_parts(d, hidden, run.y, w_ih, states, x, constant is None)
        second = by_parts(sweep.d, sweep.hidden, moving, t_ih, t_states, tx, constant is None)
        whole = [a if b is None else a + b for a, b in zip(first, second)]
        return joined(d, hidden, initial, whole, layout.bias)

    def curvature_written(t: Any, tg: Any, moving: Any, inner: Any, g: Any, flat: Any, constant: Any, run: Run,
                          sweep: Sweep, layout: Layout) -> Any:  # fmt: skip
        y, leaves = formulas(g, flat, constant, layout, run)
        return Pushforward([y], leaves)([tg, t])[0]

    curvature = opaque(curvature_of, f"{name}: curvature", _STEPS, written=curvature_written)

    def expansion(flat: Tensor, constant: Any = None, *, layout: Layout, run: Run | None = None) -> Any:
        w_ih, w_hh, b_ih, b_hh, states, x = _opened(layout, cell, flat, constant)
        projected = (linear(x[t], w_ih, b_ih) for t in range(layout.steps))
        steps = unroll(stepper(kind, w_hh, b_hh), projected, states)
        found = []
        for t in range(1, layout.steps + 1):
            yield f"step {t}"
            found.append(next(steps))
            for letter, value in found[-1].items():
                value.name = letter + str(t).translate(_SUBSCRIPTS)
        yield None
        return ad.stack([ad.stack([step[letter] for step in found]) for letter in ("h", "c")[: cell.states]])

    def samples(rng: np.random.Generator, back: bool = False) -> list[Sample]:
        found = []
        for (t, n, k, h), bias, constant in [((3, 2, 2, 1), True, False), ((2, 1, 1, 2), False, True),
                                             ((2, 0, 1, 1), True, False)]:  # fmt: skip
            x = rng.normal(size=(t, n, k))
            size = cell.gates * (h * k + h * h + 2 * bias * h) + cell.states * n * h + (not constant) * x.size
            g = (rng.normal(size=(cell.states, t, n, h)),) * back
            wrap = (lambda *free, x=x: (*free, Tensor(x, dtype=free[-1].dtype))) if constant else None
            found.append(Sample((*g, rng.normal(size=size)), {"layout": Layout(t, n, k, h, bias)}, wrap))
        return found

    operation = declare(name, forward, [rule, None], jvps=[pushed, None], formula=formula, samples=samples,
                        derivatives=["backpropagation through time", "0 (constant)"], expansion=expansion)  # fmt: skip
    pullback = declare(name + "_pullback", pulled, joint=by_both, jvps=both_moved, samples=partial(samples, back=True),
                       formula=f"(∂ {name} / ∂{{1}})ᵀ {{0}}",
                       derivatives=["the tangent", "the Hessian of {0} · " + name, "0 (constant)"])  # fmt: skip
    return run_of, operation


KINDS = {
    "tanh": _fused("tanh", "rnn_tanh", Plain(relu=False), "tanh(W xₜ + U {y}ₜ₋₁ + b)"),
    "relu": _fused("relu", "rnn_relu", Plain(relu=True), "max(0, W xₜ + U {y}ₜ₋₁ + b)"),
    "lstm": _fused("lstm", "lstm", LSTM(), "(o tanh(cₜ), cₜ = f cₜ₋₁ + i g)"),
    "gru": _fused("gru", "gru", GRU(new=False), "(1 − z) n + z {y}ₜ₋₁"),
    "gru_new": _fused("gru_new", "gru_new", GRU(new=True), "(1 − z) {y}ₜ₋₁ + z n"),
}


def scan(kind: str, x: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Run a cell over a sequence.

    Args:
        kind: "tanh", "relu", "lstm", "gru", or "gru_new", in which the update gate is the share of what is new.
        x: the input, shape (T, N, D).
        states: what the cell starts from, shape (N, H): h, and c for an LSTM.
        weights: w_ih (gates · H, D), w_hh (gates · H, H), and both biases (gates · H,) or none, PyTorch's gate order.

    Returns:
        the states after each step, shape (states, T, N, H).
    """
    run_of, operation = KINDS[kind]
    (steps, batch, inputs), hidden = x.shape, states[0].shape[-1]
    parts, constant = [*weights, *states], not x.requires_grad
    if not constant:
        parts.append(x)
    dtype = np.result_type(x.dtype, *[part.dtype for part in parts])
    flat = _vector(*parts)
    arguments = [flat, x] if constant else [flat]
    arguments = [t if t.dtype == dtype else t.astype(dtype) for t in arguments]
    layout = Layout(steps, batch, inputs, hidden, len(weights) == 4)
    run = run_of(plain(arguments[0]), plain(arguments[1]) if constant else None, layout)
    return operation(*arguments, layout=layout, run=run)
