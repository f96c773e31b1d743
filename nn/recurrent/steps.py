"""One step of every cell in plain operations: the states and gates by their letters, as Tensors. p is W x + b of the
step's input; U and d are the weight and bias of the state h before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import autodiff as ad
from autodiff import Tensor

from ..linear import linear

Step = dict[str, Tensor]
"""The gates of a step and the states after it: "h", and "c" of an LSTM."""

Stepper = Callable[..., Step]
"""A step, given p and the states before."""


def parts(a: Any, gates: int) -> list[Any]:
    """The gates' parts of the last axis."""
    n = a.shape[-1] // gates
    return [a[..., k * n : (k + 1) * n] for k in range(gates)]


def lstm_gates(a: Tensor, c: Tensor) -> Step:
    """c = f c + i g and h = o tanh(c), with i, f, o = σ and g = tanh of the parts of a."""
    i, f, g, o = parts(a, 4)
    step = {"i": ad.sigmoid(i), "f": ad.sigmoid(f), "g": ad.tanh(g), "o": ad.sigmoid(o)}
    step["c"] = step["f"] * c + step["i"] * step["g"]
    step["h"] = step["o"] * ad.tanh(step["c"])
    return step


def gru_gates(p: Tensor, a: Tensor, h: Tensor, new: bool) -> Step:
    """h = (1 − z) n + z h, with r, z = σ(p + a) and n = tanh(p + r a); z n + (1 − z) h where z is the share of what is
    new."""
    (pr, pz, pn), (ar, az, an) = parts(p, 3), parts(a, 3)
    step = {"r": ad.sigmoid(pr + ar), "z": ad.sigmoid(pz + az)}
    step["n"] = ad.tanh(pn + step["r"] * an)
    return step | {"h": _mixed(step["z"], step["n"], h, new)}


def _mixed(z: Tensor, n: Tensor, h: Tensor, new: bool) -> Tensor:
    return (1 - z) * h + z * n if new else (1 - z) * n + z * h


def stepper(kind: str, w_hh: Tensor, b_hh: Tensor | None) -> Stepper:
    """The step of a cell of one of the kinds of recurrence.py."""

    def step(p: Tensor, *states: Tensor) -> Step:
        h = states[0]
        a = linear(h, w_hh, b_hh)
        if kind == "lstm":
            return lstm_gates(p + a, states[1])
        if kind in ("gru", "gru_new"):
            return gru_gates(p, a, h, kind == "gru_new")
        return {"h": ad.tanh(p + a) if kind == "tanh" else ad.relu(p + a)}

    return step


class Projected:
    """The LSTM whose output is a projection: h = V (o tanh(c))."""

    def __init__(self, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor) -> None:
        self.whole, self.projection = stepper("lstm", w_hh, b_hh), w_hr

    def __call__(self, p: Tensor, h: Tensor, c: Tensor) -> Step:
        """The step from `h` and `c`."""
        step = self.whole(p, h, c)
        return step | {"h": linear(step["h"], self.projection)}


class ResetFirst:
    """The GRU whose reset gate comes before the matrix product: n = tanh(p + U (r ⊙ h) + d)."""

    def __init__(self, w_hh: Tensor, b_hh: Tensor | None, new: bool) -> None:
        n = 2 * w_hh.shape[1]
        self.gates = w_hh[:n], None if b_hh is None else b_hh[:n]
        self.candidate = w_hh[n:], None if b_hh is None else b_hh[n:]
        self.new = new

    def __call__(self, p: Tensor, h: Tensor) -> Step:
        """The step from `h`."""
        n = h.shape[-1]
        gates = ad.sigmoid(p[:, : 2 * n] + linear(h, *self.gates))
        step = {"r": gates[:, :n], "z": gates[:, n:]}
        step["n"] = ad.tanh(p[:, 2 * n :] + linear(step["r"] * h, *self.candidate))
        return step | {"h": _mixed(step["z"], step["n"], h, self.new)}


def unroll(step: Stepper, inputs: Iterable[Tensor], states: Iterable[Tensor]) -> Iterator[Step]:
    """The steps of a sequence, given p of each and the states before the first."""
    states = list(states)
    for p in inputs:
        found = step(p, *states)
        states = [found["h"], found["c"]] if "c" in found else [found["h"]]
        yield found
