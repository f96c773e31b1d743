"""A step of an LSTM and of a GRU, and of their sweeps back, as machine code: what follows the matrix products.

Order: what an LSTM's and a GRU's values are, the steps of a sequence as recurrence.py has them, those of cells.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from autodiff.machine.expressions import fma
from autodiff.machine.kernels import Kernel

if TYPE_CHECKING:
    from autodiff.machine.rows import Memory, Row

# Of values


def _sigmoid(negative: Any) -> Any:
    """1 / (1 + e^(−a)) of −a."""
    return 1.0 / (np.exp(negative) + 1.0)


def _lstm_back(i: Any, f: Any, n: Any, o: Any, c: Any, before: Any, dh: Any, dc: Any) -> tuple[Any, list[Any]]:
    """The cotangent of c, which is also in h, and those of the gates' arguments."""
    squashed = np.tanh(c)
    dc = fma(dh * o, fma(-squashed, squashed, 1.0), dc)
    by_gate = [dc * n * i * (1.0 - i), dc * before * f * (1.0 - f), dc * i * fma(-n, n, 1.0)]
    return dc, [*by_gate, dh * squashed * o * (1.0 - o)]


# Steps of a sequence


def _lstm_step(row: Row, *arrays: Memory) -> None:
    gates, products, (c, after, h) = arrays[:4], arrays[4:8], arrays[8:]

    def step(k: Any) -> None:
        i, f, n, o = (a[k] + p[k] for a, p in zip(gates, products, strict=True))
        i, f, n, o = _sigmoid(i), _sigmoid(f), np.tanh(n), _sigmoid(o)
        for a, value in zip(gates, (i, f, n, o), strict=True):
            a.put(k, value)
        h.put(k, o * np.tanh(after.put(k, fma(f, c[k], i * n))))

    row.each(step)


LSTM_STEP = Kernel(_lstm_step, arrays=11)
"""Of −i, −f, g, −o from the input, which become the gates' values, the same from h, c before, c and h."""


def _lstm_step_back(row: Row, *arrays: Memory) -> None:
    gates, products, (c, before, gh, gc, dc), results = arrays[:4], arrays[4:8], arrays[8:13], arrays[13:]

    def step(k: Any) -> None:
        a, b, c_, d = (p[k] for p in products)
        i, f, n, o = (gate[k] for gate in gates)
        later, found = _lstm_back(i, f, n, o, c[k], before[k], (a + b) + (c_ + d) + gh[k], dc[k] + gc[k])
        for result, value in zip(results, found, strict=True):
            result.put(k, value)
        dc.put(k, later * f)

    row.each(step)


LSTM_STEP_BACK = Kernel(_lstm_step_back, arrays=17)
"""Of i, f, g, o, the cotangents of h from each gate of the step behind, c, c before, the cotangents of h and c, that of
c from the step behind, which becomes that for the step before, and the cotangents of the gates' arguments."""


def _gru_step(row: Row, *arrays: Memory) -> None:
    r, z, n, u, *products, bias, before, h = arrays

    def step(k: Any) -> None:
        hidden = u.put(k, products[2][k] + bias[k])
        reset = r.put(k, _sigmoid(r[k] + products[0][k]))
        update = z.put(k, _sigmoid(z[k] + products[1][k]))
        new = n.put(k, np.tanh(fma(reset, hidden, n[k])))
        h.put(k, fma(before[k] - new, update, new))

    row.each(step)


GRU_STEP = Kernel(_gru_step, arrays=10)
"""Of −r, −z, n from the input, which become the gates' values, U h + d of n, which is written, the products of h, d, h
before and h."""


def _gru_step_back(row: Row, *arrays: Memory, new: bool) -> None:
    r, z, n, u, *products, before, gh, dh, by_r, by_z, by_n, hidden_r, hidden_z, hidden_n = arrays

    def step(k: Any) -> None:
        reset, update, value = r[k], z[k], n[k]
        g = (products[0][k] + products[1][k]) + products[2][k] + gh[k] + dh[k]
        rest = (1.0 - update) * g
        dn = by_n.put(k, fma(-value, value, 1.0) * rest)
        change = value - before[k] if new else before[k] - value
        hidden_z.put(k, by_z.put(k, change * rest * update))
        through = hidden_n.put(k, dn * reset)
        hidden_r.put(k, by_r.put(k, through * u[k] * (1.0 - reset)))
        dh.put(k, g * update)

    row.each(step)


GRU_STEP_BACK = {new: Kernel(partial(_gru_step_back, new=new), arrays=16) for new in (False, True)}
"""By whether the update gate says what is new: of r, z, n, U h + d, the cotangents of h from each gate of the step
behind, h before, the cotangent of h, that from the step behind, which becomes that for the step before, and the
cotangents of the gates' arguments from the input and from h."""


# Steps of cells


def _lstm_cell(row: Row, *arrays: Memory) -> None:
    *gates, c, h, after = arrays

    def step(k: Any) -> None:
        i, f, n, o = (gate[k] for gate in gates)
        value = after.put(k, fma(special.expit(f), c[k], special.expit(i) * np.tanh(n)))
        h.put(k, special.expit(o) * np.tanh(value))

    row.each(step)


def _lstm_cell_back(row: Row, *arrays: Memory) -> None:
    gates, (before, c, gh, gc), results = arrays[:4], arrays[4:8], arrays[8:]

    def step(k: Any) -> None:
        i, f, n, o = (gate[k] for gate in gates)
        i, f, n, o = special.expit(i), special.expit(f), np.tanh(n), special.expit(o)
        _, found = _lstm_back(i, f, n, o, c[k], before[k], gh[k], gc[k])
        for result, value in zip(results, found, strict=True):
            result.put(k, value)

    row.each(step)


LSTM_CELL, LSTM_CELL_BACK = Kernel(_lstm_cell, arrays=7), Kernel(_lstm_cell_back, arrays=12)
"""Of i, f, g, o before their functions, c before, h and c; of i, f, g, o, c before, c, the cotangents of h and c, and
those of i, f, g, o."""


def _gru_gates(p: Any, a: Any, k: Any, new: bool) -> tuple[Any, Any, Any]:
    reset, update = special.expit(p[0][k] + a[0][k]), p[1][k] + a[1][k]
    return reset, special.expit(-update if new else update), np.tanh(fma(reset, a[2][k], p[2][k]))


def _gru_cell(row: Row, *arrays: Memory, new: bool) -> None:
    p, a, (before, h) = arrays[:3], arrays[3:6], arrays[6:]

    def step(k: Any) -> None:
        _, z, n = _gru_gates(p, a, k, new)
        h.put(k, fma(z, before[k] - n, n))

    row.each(step)


def _gru_cell_back(row: Row, *arrays: Memory, new: bool, hidden: bool) -> None:
    p, a, (before, g), (by_r, by_z, by_n) = arrays[:3], arrays[3:6], arrays[6:8], arrays[8:]

    def step(k: Any) -> None:
        r, z, n = _gru_gates(p, a, k, new)
        rest = g[k] * (1.0 - z)
        dn = rest * fma(-n, n, 1.0)
        by_r.put(k, dn * a[2][k] * r * (1.0 - r))
        by_z.put(k, (n - before[k] if new else before[k] - n) * rest * z)
        by_n.put(k, dn * r if hidden else dn)

    row.each(step)


GRU_CELL = {new: Kernel(partial(_gru_cell, new=new), arrays=8) for new in (False, True)}
GRU_CELL_BACK = {
    (new, hidden): Kernel(partial(_gru_cell_back, new=new, hidden=hidden), arrays=11)
    for new in (False, True)
    for hidden in (False, True)
}
"""By whether the update gate says what is new, and whether the cotangents are those of what comes from h: of r, z, n
from the input and from h, h before, the cotangent of h, and those of r, z, n."""
