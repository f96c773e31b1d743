"""Recurrent cells, one step of a sequence, with PyTorch's arguments, weight names and results.

Order: the fused operations that follow the matrix products, then the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.machine.kernels import SMALL, enabled
from autodiff.machine.kernels import plain as plain_arrays
from autodiff.primitive import Sample, declare
from autodiff.tensor import plain, wrap

from ..arguments import as_tensor
from ..linear import linear
from ..random import floating
from .base import Gated, Recurrent, Simple
from .kernels import GRU_CELL, LSTM_CELL, Formula
from .steps import ResetFirst, gru_gates, lstm_gates, parts

# What follows the matrix products. The states of an LSTM, h and c, are one array (2, N, H). Backpropagation through a
# step is an operation too, F ↦ F′(x)ᵀ g, whose result has the cotangents of all x side by side: its derivative by g is
# the tangent of F, and that by x is symmetric, the Hessian of g · F.


def _native(*arrays: Any) -> bool:
    """Whether the step runs as machine code: there are enough numbers, and rows have no gaps."""
    x = arrays[0]
    return (
        type(x) is np.ndarray
        and x.ndim == 2
        and len(arrays) * x.size > SMALL
        and plain_arrays(*arrays)
        and all(a.strides[-1] == a.itemsize for a in arrays)
        and enabled()
    )


def _joined(formula: Formula, inputs: Sequence[Any], *widths: int, pair: bool = False) -> list[Any]:
    """The formula's values, so many at a time side by side, the first two as one array (2, N, H) if they are a `pair`.
    An input may be the number 0.0."""
    if _native(*[a for a in inputs if type(a) is not float]):
        (rows, columns), dtype = inputs[0].shape, inputs[0].dtype
        found = [np.empty((rows, n * columns), dtype) for n in widths]
        places = [part for a, n in zip(found, widths) for part in parts(a, n)]
        if pair:
            found.insert(0, np.empty((2, rows, columns), dtype))
            places[:0] = found[0]
        zero = np.zeros((1, columns), dtype)
        formula.kernel.rows(*[zero if type(a) is float else a for a in inputs], *places)
        return found
    values = iter(formula.function(*inputs))
    first = [np.stack([*islice(values, 2)])] if pair else []
    groups = [list(islice(values, n)) for n in widths]
    return first + [group[0] if len(group) == 1 else np.concatenate(group, axis=-1) for group in groups]


def _parts_or_zeros(t: Any, n: int) -> Sequence[Any]:
    return [0.0] * n if t is None else parts(t, n)


def _lstm_forward(a: Any, c: Any) -> Any:
    return _joined(LSTM_CELL.step, [*parts(a, 4), c], pair=True)[0]


def _lstm_expansion(a: Tensor, c: Tensor) -> Tensor:
    step = lstm_gates(a, c)
    return ad.stack([step["h"], step["c"]])


def _lstm_back(g: Any, a: Any, c: Any, *widths: int) -> list[Any]:
    return _joined(LSTM_CELL.back, [*parts(a, 4), c, g[0], g[1]], *widths)


def _lstm_rules(g: Any, y: Any, a: Any, c: Any) -> Sequence[Any]:
    if not isinstance(g, Tensor):
        return _lstm_back(g, a, c, 4, 1)
    d, n = _lstm_pullback(g, a, c), a.shape[-1]
    return d[..., :n], d[..., n:]


def _lstm_moved(a: Any, c: Any, a_: Any, c_: Any) -> Any:
    return _joined(LSTM_CELL.moved, [*parts(a, 4), c, *_parts_or_zeros(a_, 4), c_], pair=True)[0]


def _lstm_curved(ts: Sequence[Any], g: Any, a: Any, c: Any, *widths: int) -> list[Any]:
    g_, a_, c_ = ts
    moved = [*_parts_or_zeros(a_, 4), 0.0 if c_ is None else c_]
    cotangents = [g[0], g[1], *((0.0, 0.0) if g_ is None else (g_[0], g_[1]))]
    return _joined(LSTM_CELL.curved, [*parts(a, 4), c, *moved, *cotangents], *widths, pair=True)


def _lstm_pullback_rules(u: Any, out: Any, g: Any, a: Any, c: Any) -> Sequence[Any]:
    n = a.shape[-1]
    return _lstm_curved((None, u[..., :n], u[..., n:]), g, a, c, 4, 1)


def _lstm_samples(rng: np.random.Generator, back: bool = False) -> list[Sample]:
    return [Sample((*(rng.normal(size=(2, n, h)),) * back, rng.normal(size=(n, 4 * h)), rng.normal(size=(n, h))))
            for n, h in [(2, 2), (1, 1), (0, 1)]]  # fmt: skip


_lstm_cell = declare(
    "lstm_cell", _lstm_forward, joint=_lstm_rules, arity=2,
    jvps=[lambda t, y, a, c: _lstm_moved(a, c, t, 0.0), lambda t, y, a, c: _lstm_moved(a, c, None, t)],
    formula="(σ(o) tanh(c), c = σ(f) {1} + σ(i) tanh(g)), (i, f, g, o) = {0}",
    derivatives=["(c: tanh(g) σ′(i), {1} σ′(f), σ(i) tanh′(g); h: tanh(c) σ′(o))", "σ(f)"],
    samples=_lstm_samples, expansion=_lstm_expansion,
)  # fmt: skip

_lstm_pullback = declare(
    "lstm_cell_pullback", lambda g, a, c: _lstm_back(g, a, c, 5)[0], joint=_lstm_pullback_rules,
    jvps=lambda ts, out, g, a, c: _lstm_curved(ts, g, a, c, 5)[1],
    formula="(∂ lstm_cell / ∂({1}, {2}))ᵀ {0}",
    derivatives=["the tangent", *["the Hessian of {0} · lstm_cell"] * 2],
    samples=partial(_lstm_samples, back=True),
)  # fmt: skip


def _columns(p: Any, a: Any, h: Any) -> list[Any]:
    return [*_parts_or_zeros(p, 3), *_parts_or_zeros(a, 3), 0.0 if h is None else h]


def _gru_forward(p: Any, a: Any, h: Any, new: bool) -> Any:
    return _joined(GRU_CELL[new].step, _columns(p, a, h), 1)[0]


def _gru_back(g: Any, p: Any, a: Any, h: Any, new: bool, *widths: int) -> list[Any]:
    return _joined(GRU_CELL[new].back, [*_columns(p, a, h), g], *widths)


def _gru_rules(g: Any, y: Any, p: Any, a: Any, h: Any, new: bool) -> Sequence[Any]:
    if not isinstance(g, Tensor):
        return _gru_back(g, p, a, h, new, 3, 3, 1)
    d, n = _gru_pullback(g, p, a, h, new=new), p.shape[-1]
    return d[..., :n], d[..., n : 2 * n], d[..., 2 * n :]


def _gru_moved(p: Any, a: Any, h: Any, new: bool, *ts: Any) -> Any:
    return _joined(GRU_CELL[new].moved, [*_columns(p, a, h), *_columns(*ts)], 1)[0]


def _gru_curved(ts: Sequence[Any], g: Any, p: Any, a: Any, h: Any, new: bool, *widths: int) -> list[Any]:
    cotangents = [g, 0.0 if ts[0] is None else ts[0]]
    return _joined(GRU_CELL[new].curved, [*_columns(p, a, h), *_columns(*ts[1:]), *cotangents], *widths)


def _gru_pullback_rules(u: Any, out: Any, g: Any, p: Any, a: Any, h: Any, new: bool) -> Sequence[Any]:
    n = p.shape[-1]
    return _gru_curved((None, u[..., :n], u[..., n : 2 * n], u[..., 2 * n :]), g, p, a, h, new, 1, 3, 3, 1)


def _gru_samples(rng: np.random.Generator, back: bool = False) -> list[Sample]:
    return [Sample((*(rng.normal(size=(n, h)),) * back, rng.normal(size=(n, 3 * h)), rng.normal(size=(n, 3 * h)),
                    rng.normal(size=(n, h))), {"new": new})
            for n, h, new in [(2, 2, False), (1, 2, True), (0, 1, False)]]  # fmt: skip


_gru_cell = declare(
    "gru_cell", _gru_forward, joint=_gru_rules,
    jvps=[lambda t, y, p, a, h, new: _gru_moved(p, a, h, new, t, None, None),
          lambda t, y, p, a, h, new: _gru_moved(p, a, h, new, None, t, None),
          lambda t, y, p, a, h, new: _gru_moved(p, a, h, new, None, None, t)],
    formula="(1 − z) n + z {2}, r, z = σ({0} + {1}), n = tanh({0} + r {1})",
    derivatives=["(u n̄ σ′(r), ({2} − n) σ′(z), n̄), n̄ = (1 − z) tanh′(n)", "(u n̄ σ′(r), ({2} − n) σ′(z), r n̄)", "z"],
    samples=_gru_samples, expansion=lambda p, a, h, new: gru_gates(p, a, h, new)["h"],
)  # fmt: skip

_gru_pullback = declare(
    "gru_cell_pullback", lambda g, p, a, h, new: _gru_back(g, p, a, h, new, 7)[0], joint=_gru_pullback_rules,
    jvps=lambda ts, out, g, p, a, h, new: _gru_curved(ts, g, p, a, h, new, 1, 7)[1],
    formula="(∂ gru_cell / ∂({1}, {2}, {3}))ᵀ {0}",
    derivatives=["the tangent", *["the Hessian of {0} · gru_cell"] * 3],
    samples=partial(_gru_samples, back=True),
)  # fmt: skip


# Cells


class _Cell(Recurrent):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias)
        self._add_weights("", self.input_size, floating(dtype))
        self.reset_parameters(rng)

    def _ready(self, input: Any, hx: Any) -> tuple[Tensor, list[Tensor], bool]:
        """The input (N, input_size), the states (N, hidden_size), and whether they come without N."""
        x = as_tensor(input)
        self._check_input(x, {1: f"({self.input_size},)", 2: f"(N, {self.input_size})"})
        single = x.ndim == 1
        x = x[None] if single else x
        shape = (x.shape[0], self.hidden_size)
        if hx is None:
            return x, [wrap(np.zeros(shape, x.dtype, like=plain(x))) for _ in self._states], single
        states = self._given(hx)
        for name, state in zip(self._states, states):
            meaning = "(hidden_size,)" if single else "(N, hidden_size)"
            self._check_state(name, state, shape[single:], meaning, x[0] if single else x)
        return x, [state[None] for state in states] if single else states, single

    def _products(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """W_ih x + b_ih and W_hh h + b_hh."""
        w_ih, w_hh, *biases = self._weights("")
        b_ih, b_hh = biases or (None, None)
        return linear(x, w_ih, b_ih), linear(h, w_hh, b_hh)


class RNNCell(Simple, _Cell):
    """One step h' = φ(W_ih x + b_ih + W_hh h + b_hh), φ being tanh or ReLU.

    Args:
        input_size: length of x.
        hidden_size: length of h.
        bias: whether there are b_ih and b_hh.
        nonlinearity: "tanh" or "relu".
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values, which are uniform within ±1/√hidden_size (PyTorch's default).

    Shapes: input (N, input_size) or (input_size,); h and the result (N, hidden_size) or (hidden_size,); `weight_ih`
    (hidden_size, input_size), `weight_hh` (hidden_size, hidden_size), `bias_ih` and `bias_hh` (hidden_size,).

    Raises:
        TypeError, ValueError: for options and shapes that do not fit.

    >>> import numpy as np, nn
    >>> cell = nn.RNNCell(3, 2)
    >>> h = cell(np.ones((5, 3), "float32"))
    >>> cell(np.ones((5, 3), "float32"), h).shape
    (5, 2)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype, rng)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """The state after the step; `hx` is the state before, zeros by default."""
        x, (h,), single = self._ready(input, hx)
        p, a = self._products(x, h)
        y = ad.tanh(p + a) if self.nonlinearity == "tanh" else ad.relu(p + a)
        return y[0] if single else y


class LSTMCell(_Cell):
    """One step of an LSTM: c' = f ⊙ c + i ⊙ g and h' = o ⊙ tanh(c').

    The gates are i, f, o = σ(W_ih x + b_ih + W_hh h + b_hh) and g = tanh(…), each with its own rows of the weights, in
    the order i, f, g, o.

    Args:
        input_size: length of x.
        hidden_size: length of h and c.
        bias, dtype, rng: as for `RNNCell`.

    Shapes: input (N, input_size) or (input_size,); h and c (N, hidden_size) or (hidden_size,); `weight_ih`
    (4 · hidden_size, input_size), `weight_hh` (4 · hidden_size, hidden_size), `bias_ih`, `bias_hh` (4 · hidden_size,).

    Raises:
        TypeError, ValueError: for options and shapes that do not fit.

    Source: Hochreiter and Schmidhuber 1997, Gers et al. 2000.

    >>> import numpy as np, nn
    >>> h, c = nn.LSTMCell(3, 2)(np.ones((5, 3), "float32"))
    >>> h.shape, c.shape
    ((5, 2), (5, 2))
    """

    _gates = 4
    _states = ("h", "c")

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """(h, c) after the step; `hx` is (h, c) before, zeros by default."""
        x, (h, c), single = self._ready(input, hx)
        p, a = self._products(x, h)
        y = _lstm_cell(p + a, c)
        return (y[0, 0], y[1, 0]) if single else (y[0], y[1])


class GRUCell(Gated, _Cell):
    """One step of a gated recurrent unit: h' = (1 − z) ⊙ n + z ⊙ h.

    The gates are r, z = σ(W_ih x + b_ih + W_hh h + b_hh) and n = tanh(W_ih x + b_ih + r ⊙ (W_hh h + b_hh)), each with
    its own rows of the weights, in the order r, z, n.

    Args:
        input_size: length of x.
        hidden_size: length of h.
        update: what z is the share of: the "old" state (PyTorch), or what is "new": h' = (1 − z) ⊙ h + z ⊙ n.
        reset_after: with False the reset gate comes before the matrix product: n = tanh(… + W_hh (r ⊙ h) + b_hh).
        bias, dtype, rng: as for `RNNCell`.

    Shapes: input (N, input_size) or (input_size,); h and the result (N, hidden_size) or (hidden_size,); `weight_ih`
    (3 · hidden_size, input_size), `weight_hh` (3 · hidden_size, hidden_size), `bias_ih`, `bias_hh` (3 · hidden_size,).

    Raises:
        TypeError, ValueError: for options and shapes that do not fit.

    Source: Cho et al. 2014 (whose conventions are ``update="old", reset_after=False``).

    >>> import numpy as np, nn
    >>> nn.GRUCell(3, 2)(np.ones((5, 3), "float32")).shape
    (5, 2)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        update: str = "old",
        reset_after: bool = True,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._set(update, reset_after)
        super().__init__(input_size, hidden_size, bias, dtype, rng)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """The state after the step; `hx` is the state before, zeros by default."""
        x, (h,), single = self._ready(input, hx)
        if self.reset_after:
            p, a = self._products(x, h)
            y = _gru_cell(p, a, h, new=self.update == "new")
        else:
            w_ih, w_hh, *biases = self._weights("")
            b_ih, b_hh = biases or (None, None)
            y = ResetFirst(w_hh, b_hh, self.update == "new")(linear(x, w_ih, b_ih), h)["h"]
        return y[0] if single else y
