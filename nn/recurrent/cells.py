"""Recurrent cells, one step of a sequence, with PyTorch's arguments, weight names and results.

Order: the fused operations that follow the matrix products, then the cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.machine.kernels import SMALL, enabled
from autodiff.machine.kernels import plain as plain_arrays
from autodiff.primitive import Sample, declare
from autodiff.tensor import is_foreign, plain, wrap

from ..activation.exponential import sigmoid_of
from ..arguments import as_tensor
from ..linear import linear
from ..random import floating
from .base import Gated, Recurrent, Simple
from .kernels import GRU_CELL, GRU_CELL_BACK, LSTM_CELL, LSTM_CELL_BACK
from .steps import ResetFirst, gru_gates, lstm_gates, parts

# What follows the matrix products. The states of an LSTM, h and c, are one array (2, N, H).


def _native(*arrays: Any) -> bool:
    """Whether the step runs as machine code: there are enough numbers, and rows have no gaps."""
    x = arrays[0]
    return (
        type(x) is np.ndarray
        and x.ndim == 2
        and x.size > SMALL
        and plain_arrays(*arrays)
        and all(a.strides[-1] == a.itemsize for a in arrays)
        and enabled()
    )


def _lstm_forward(a: Any, c: Any) -> Any:
    i, f, g, o = parts(a, 4)
    y = np.empty_like(a if is_foreign(a) else c, np.result_type(a, c), shape=(2, *c.shape))
    if _native(a, c, y):
        LSTM_CELL.rows(i, f, g, o, c, *y)
        return y
    y[1] = sigmoid_of(f) * c + sigmoid_of(i) * np.tanh(g)
    y[0] = sigmoid_of(o) * np.tanh(y[1])
    return y


def _lstm_expansion(a: Tensor, c: Tensor) -> Tensor:
    step = lstm_gates(a, c)
    return ad.stack([step["h"], step["c"]])


def _lstm_cell_state(g: Any, y: Any, o: Any) -> Any:
    """The cotangent of c, which is also in h."""
    squashed = np.tanh(y[1])
    return g[1] + g[0] * o * (1 - squashed * squashed)


def _lstm_by_gates(g: Any, y: Any, a: Any, c: Any) -> Any:
    i, f, n, o = parts(a, 4)
    if _native(a, c, y, g):
        d = np.empty_like(a)
        LSTM_CELL_BACK.rows(i, f, n, o, c, y[1], *g, *parts(d, 4))
        return d
    i, f, n, o = sigmoid_of(i), sigmoid_of(f), np.tanh(n), sigmoid_of(o)
    dc = _lstm_cell_state(g, y, o)
    by_gate = [dc * n * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - n * n), g[0] * y[0] * (1 - o)]
    return np.concatenate(by_gate, axis=-1)


def _lstm_by_state(g: Any, y: Any, a: Any, c: Any) -> Any:
    _, f, _, o = parts(a, 4)
    return _lstm_cell_state(g, y, sigmoid_of(o)) * sigmoid_of(f)


_lstm_cell = declare(
    "lstm_cell", _lstm_forward, [_lstm_by_gates, _lstm_by_state], arity=2,
    formula="(σ(o) tanh(c), c = σ(f) {1} + σ(i) tanh(g)), (i, f, g, o) = {0}",
    derivatives=["(c: tanh(g) σ′(i), {1} σ′(f), σ(i) tanh′(g); h: tanh(c) σ′(o))", "σ(f)"],
    samples=lambda rng: [Sample((rng.normal(size=(n, 4 * h)), rng.normal(size=(n, h))))
                         for n, h in [(2, 2), (1, 1), (0, 1)]],
    expansion=_lstm_expansion,
)  # fmt: skip


def _gru_gates(p: Any, a: Any, new: bool) -> Any:
    """r, z, n and what r multiplies, z being the share of the old state."""
    (pr, pz, pn), (ar, az, an) = parts(p, 3), parts(a, 3)
    r = sigmoid_of(pr + ar)
    return r, sigmoid_of(-(pz + az) if new else pz + az), np.tanh(pn + r * an), an


def _columns(p: Any, a: Any, h: Any) -> list[Any]:
    return [*parts(p, 3), *parts(a, 3), h]


def _gru_forward(p: Any, a: Any, h: Any, new: bool) -> Any:
    if _native(p, a, h):
        y = np.empty_like(h)
        GRU_CELL[new].rows(*_columns(p, a, h), y)
        return y
    _, z, n, _ = _gru_gates(p, a, new)
    return n + z * (h - n)


def _gru_by_gates(g: Any, y: Any, p: Any, a: Any, h: Any, new: bool, hidden: bool) -> Any:
    if _native(p, a, h, g):
        d = np.empty_like(p)
        GRU_CELL_BACK[new, hidden].rows(*_columns(p, a, h), g, *parts(d, 3))
        return d
    r, z, n, u = _gru_gates(p, a, new)
    dn = g * (1 - z) * (1 - n * n)
    dz = g * (n - h if new else h - n) * z * (1 - z)
    return np.concatenate([dn * u * r * (1 - r), dz, dn * r if hidden else dn], axis=-1)


_gru_cell = declare(
    "gru_cell", _gru_forward,
    [lambda g, y, p, a, h, new: _gru_by_gates(g, y, p, a, h, new, False),
     lambda g, y, p, a, h, new: _gru_by_gates(g, y, p, a, h, new, True),
     lambda g, y, p, a, h, new: g * _gru_gates(p, a, new)[1]],
    formula="(1 − z) n + z {2}, r, z = σ({0} + {1}), n = tanh({0} + r {1})",
    derivatives=["(u n̄ σ′(r), ({2} − n) σ′(z), n̄), n̄ = (1 − z) tanh′(n)", "(u n̄ σ′(r), ({2} − n) σ′(z), r n̄)", "z"],
    samples=lambda rng: [
        Sample((rng.normal(size=(n, 3 * h)), rng.normal(size=(n, 3 * h)), rng.normal(size=(n, h))), {"new": new})
        for n, h, new in [(2, 2, False), (1, 2, True), (0, 1, False)]],
    expansion=lambda p, a, h, new: gru_gates(p, a, h, new)["h"],
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
