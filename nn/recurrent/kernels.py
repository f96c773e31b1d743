"""A step of a recurrent network, its sweep back and the tangents of both, as machine code: what follows the products.

Order: what an LSTM's values are, the steps of a sequence as recurrence.py has them, their tangents, those of cells.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    gates, products, (c, before, gh, gc, dc), results = arrays[:4], arrays[4:8], arrays[8:13], arrays[13:17]
    by_h, by_c = arrays[17:]

    def step(k: Any) -> None:
        a, b, c_, d = (p[k] for p in products)
        i, f, n, o = (gate[k] for gate in gates)
        dh = by_h.put(k, (a + b) + (c_ + d) + gh[k])
        later, found = _lstm_back(i, f, n, o, c[k], before[k], dh, dc[k] + gc[k])
        for result, value in zip(results, found, strict=True):
            result.put(k, value)
        dc.put(k, by_c.put(k, later) * f)

    row.each(step)


LSTM_STEP_BACK = Kernel(_lstm_step_back, arrays=19)
"""Of i, f, g, o, the cotangents of h from each gate of the step behind, c, c before, the cotangents of h and c, that of
c from the step behind, which becomes that for the step before, the cotangents of the gates' arguments, and those of h
and of c in all."""


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
    r, z, n, u, *products, before, gh, dh, by_r, by_z, by_n, hidden_r, hidden_z, hidden_n, by_h = arrays

    def step(k: Any) -> None:
        reset, update, value = r[k], z[k], n[k]
        g = by_h.put(k, (products[0][k] + products[1][k]) + products[2][k] + gh[k] + dh[k])
        rest = (1.0 - update) * g
        dn = by_n.put(k, fma(-value, value, 1.0) * rest)
        change = value - before[k] if new else before[k] - value
        hidden_z.put(k, by_z.put(k, change * rest * update))
        through = hidden_n.put(k, dn * reset)
        hidden_r.put(k, by_r.put(k, through * u[k] * (1.0 - reset)))
        dh.put(k, g * update)

    row.each(step)


GRU_STEP_BACK = {new: Kernel(partial(_gru_step_back, new=new), arrays=17) for new in (False, True)}
"""By whether the update gate says what is new: of r, z, n, U h + d, the cotangents of h from each gate of the step
behind, h before, the cotangent of h, that from the step behind, which becomes that for the step before, the cotangents
of the gates' arguments from the input and from h, and that of h in all."""


# Tangents of a step and of the step back. A letter with _ is a tangent; a, b, c, d are products with h's matrices


class Formula:
    """A function of numbers, for arrays of one shape."""

    def __init__(self, function: Callable[..., Sequence[Any]], inputs: int, outputs: int) -> None:
        def write(row: Row, *arrays: Memory) -> None:
            def step(k: Any) -> None:
                for result, value in zip(arrays[inputs:], function(*[a[k] for a in arrays[:inputs]]), strict=True):
                    result.put(k, value)

            row.each(step)

        self.function, self.kernel, self.outputs = function, Kernel(write, inputs + outputs), outputs

    def write(self, native: bool, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Its values, in arrays which may be among the inputs; as machine code, where that is to be."""
        if native:
            self.kernel.flat(*inputs, *outputs)
        else:
            for a, value in zip(outputs, self.function(*inputs), strict=True):
                a[...] = value


def _plain_moved(y: Any, before: Any, p_: Any, a: Any, before_: Any, relu: bool) -> Sequence[Any]:
    s_ = p_ + a
    return s_, np.where(y > 0.0, s_, 0.0) if relu else fma(-y, y, 1.0) * s_


def _plain_back_moved(
    y: Any, before: Any, s_: Any, y_: Any, before_: Any, dh: Any, gh_: Any, a: Any, relu: bool
) -> Sequence[Any]:
    dh_ = gh_ + a
    return (np.where(y > 0.0, dh_, 0.0) if relu else fma(-y, y, 1.0) * dh_ - 2.0 * y * y_ * dh,)


def _lstm_moved(i: Any, f: Any, n: Any, o: Any, h: Any, c: Any, *others: Any) -> Sequence[Any]:
    (_, before), inner, products, (_, before_) = others[:2], others[2:6], others[6:10], others[10:]
    i_, f_, n_, o_ = (p + a for p, a in zip(inner, products, strict=True))
    i_, f_, n_, o_ = i_ * i * (1.0 - i), f_ * f * (1.0 - f), n_ * fma(-n, n, 1.0), o_ * o * (1.0 - o)
    c_, squashed = fma(f_, before, f * before_) + fma(i_, n, i * n_), np.tanh(c)
    return i_, f_, n_, o_, fma(o_, squashed, o * fma(-squashed, squashed, 1.0) * c_), c_


def _lstm_back_moved(i: Any, f: Any, n: Any, o: Any, h: Any, c: Any, *others: Any) -> Sequence[Any]:
    (_, before, i_, f_, n_, o_, _, c_, _, before_), (dh, dc, gh_, gc_, *products, dc_) = others[:10], others[10:]
    dh_ = (products[0] + products[1]) + (products[2] + products[3]) + gh_
    squashed = np.tanh(c)
    slope = fma(-squashed, squashed, 1.0)
    squashed_ = slope * c_
    dc_ = dc_ + gc_ + fma(dh_, o, dh * o_) * slope - 2.0 * dh * o * squashed * squashed_

    def by_sigmoid(s: Any, s_: Any, d: Any, d_: Any) -> Any:  # d s (1 − s)
        return fma(d_, s * (1.0 - s), d * (1.0 - 2.0 * s) * s_)

    return (
        by_sigmoid(i, i_, dc * n, fma(dc_, n, dc * n_)),
        by_sigmoid(f, f_, dc * before, fma(dc_, before, dc * before_)),
        fma(fma(dc_, i, dc * i_), fma(-n, n, 1.0), -2.0 * dc * i * n * n_),
        by_sigmoid(o, o_, dh * squashed, fma(dh_, squashed, dh * squashed_)),
        fma(dc_, f, dc * f_),
    )


def _gru_moved(r: Any, z: Any, n: Any, u: Any, h: Any, before: Any, *others: Any, new: bool) -> Sequence[Any]:
    r_, z_, n_, u_, a, b, c, before_ = others
    r_, z_, u_ = (r_ + a) * r * (1.0 - r), (z_ + b) * z * (1.0 - z), u_ + c
    z_ = -z_ if new else z_
    n_ = fma(r_, u, fma(r, u_, n_)) * fma(-n, n, 1.0)
    return r_, z_, n_, u_, fma(z_, before - n, fma(z, before_ - n_, n_))


def _gru_back_moved(r: Any, z: Any, n: Any, u: Any, h: Any, before: Any, *others: Any, new: bool) -> Sequence[Any]:
    r_, z_, n_, u_, _, before_, dh, gh_, a, b, c, dh_ = others
    dh_ = (a + b) + c + gh_ + dh_
    rest, rest_, slope = (1.0 - z) * dh, fma(1.0 - z, dh_, -z_ * dh), fma(-n, n, 1.0)
    dn, dn_ = rest * slope, fma(rest_, slope, -2.0 * n * n_ * rest)
    dz_ = fma(before_ - n_, dh, (before - n) * dh_) * z * (1.0 - z) + (before - n) * dh * (1.0 - 2.0 * z) * z_
    dz_ = -dz_ if new else dz_
    through, through_ = dn * r, fma(dn_, r, dn * r_)
    dr_ = fma(through_, u * (1.0 - r), through * fma(u_, 1.0 - r, -u * r_))
    return dr_, dz_, dn_, dr_, dz_, through_, fma(dh_, z, dh * z_)


MOVED = {
    "tanh": Formula(partial(_plain_moved, relu=False), 5, 2),
    "relu": Formula(partial(_plain_moved, relu=True), 5, 2),
    "lstm": Formula(_lstm_moved, 18, 6),
    "gru": Formula(partial(_gru_moved, new=False), 14, 5),
    "gru_new": Formula(partial(_gru_moved, new=True), 14, 5),
}
"""Of the gates' values, the states and those before, the tangents of the gates' arguments without the products of h's,
these products, and the tangents of the states before: the tangents of the gates' values and of the states."""

BACK_MOVED = {
    "tanh": Formula(partial(_plain_back_moved, relu=False), 8, 1),
    "relu": Formula(partial(_plain_back_moved, relu=True), 8, 1),
    "lstm": Formula(_lstm_back_moved, 25, 5),
    "gru": Formula(partial(_gru_back_moved, new=False), 18, 7),
    "gru_new": Formula(partial(_gru_back_moved, new=True), 18, 7),
}
"""Of the gates' values, the states and those before, the tangents of these three, the cotangents of the states, and the
tangents of cotangents: of the states from outside, of h from each gate of the step behind, and what that passed on by
itself (of c, or a GRU's h): the tangents of the cotangents of the gates' arguments, from the input and, of a GRU, also
from h, and what is passed on."""


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
