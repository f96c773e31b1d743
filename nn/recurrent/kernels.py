"""A step of a recurrent network, its sweep back and the tangents of both, as machine code: what follows the products.

Order: what an LSTM's values are, the steps of a sequence as recurrence.py has them, their tangents, those of cells.py,
which are also formulas of arrays and of Tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import special

from autodiff.machine.expressions import Value, fma
from autodiff.machine.kernels import Kernel

from ..activation.exponential import sigmoid_of

if TYPE_CHECKING:
    from autodiff.machine.rows import Memory, Row

# Of values


def _sigmoid(negative: Any) -> Any:
    """1 / (1 + e^(−a)) of −a."""
    return 1.0 / (np.exp(negative) + 1.0)


def _lstm_state(o: Any, c: Any, dh: Any, dc: Any) -> tuple[Any, Any]:
    """tanh(c), and the cotangent of c, which is also in h."""
    squashed = np.tanh(c)
    return squashed, fma(dh * o, fma(-squashed, squashed, 1.0), dc)


def _lstm_back(i: Any, f: Any, n: Any, o: Any, c: Any, before: Any, dh: Any, dc: Any) -> tuple[Any, list[Any]]:
    """The cotangent of c, which is also in h, and those of the gates' arguments."""
    squashed, dc = _lstm_state(o, c, dh, dc)
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


# Steps of cells: of the gates' arguments, from the input (p) and from h (a), and of the states before


def _logistic(a: Any) -> Any:
    return special.expit(a) if isinstance(a, Value) else sigmoid_of(a)


def _lstm_values(i: Any, f: Any, n: Any, o: Any, c: Any) -> tuple[tuple[Any, Any, Any, Any], Any]:
    gates = _logistic(i), _logistic(f), np.tanh(n), _logistic(o)
    return gates, fma(gates[1], c, gates[0] * gates[2])


def _lstm_cell(i: Any, f: Any, n: Any, o: Any, c: Any) -> Sequence[Any]:
    gates, after = _lstm_values(i, f, n, o, c)
    return gates[3] * np.tanh(after), after


def _lstm_cell_back(i: Any, f: Any, n: Any, o: Any, c: Any, gh: Any, gc: Any) -> Sequence[Any]:
    gates, after = _lstm_values(i, f, n, o, c)
    dc, found = _lstm_back(*gates, after, c, gh, gc)
    return *found, dc * gates[1]


def _lstm_cell_moved(i: Any, f: Any, n: Any, o: Any, c: Any, *moved: Any) -> Sequence[Any]:
    gates, after = _lstm_values(i, f, n, o, c)
    return _lstm_moved(*gates, None, after, None, c, *moved[:4], *[0.0] * 4, None, moved[4])[4:]


def _lstm_cell_curved(i: Any, f: Any, n: Any, o: Any, c: Any, *others: Any) -> Sequence[Any]:
    moved, (gh, gc, gh_, gc_) = others[:5], others[5:]
    gates, after = _lstm_values(i, f, n, o, c)
    *gates_, h_, after_ = _lstm_moved(*gates, None, after, None, c, *moved[:4], *[0.0] * 4, None, moved[4])
    _, dc = _lstm_state(gates[3], after, gh, gc)
    given = *gates, None, after, None, c, *gates_, None, after_, None, moved[4], gh, dc, gh_, gc_, *[0.0] * 5
    return h_, after_, *_lstm_back_moved(*given)


def _gru_values(p: Sequence[Any], a: Sequence[Any], new: bool) -> list[Any]:
    r, update = _logistic(p[0] + a[0]), p[1] + a[1]
    return [r, _logistic(-update if new else update), np.tanh(fma(r, a[2], p[2])), a[2]]


def _gru_cell(*arrays: Any, new: bool) -> Sequence[Any]:
    (_, z, n, _), before = _gru_values(arrays[:3], arrays[3:6], new), arrays[6]
    return (fma(z, before - n, n),)


def _gru_cell_back(*arrays: Any, new: bool) -> Sequence[Any]:
    (r, z, n, u), (before, g) = _gru_values(arrays[:3], arrays[3:6], new), arrays[6:]
    rest = g * (1.0 - z)
    dn = rest * fma(-n, n, 1.0)
    through, dz = dn * r, (n - before if new else before - n) * rest * z
    dr = through * u * (1.0 - r)
    return dr, dz, dn, dr, dz, through, g * z


def _gru_cell_moved(*arrays: Any, new: bool) -> Sequence[Any]:
    values, before, (r_, z_, n_, a, b, c, before_) = _gru_values(arrays[:3], arrays[3:6], new), arrays[6], arrays[7:]
    return _gru_moved(*values, None, before, r_, z_, n_, 0.0, a, b, c, before_, new=new)[4:]


def _gru_cell_curved(*arrays: Any, new: bool) -> Sequence[Any]:
    values, before, (r_, z_, n_, a, b, c, before_) = _gru_values(arrays[:3], arrays[3:6], new), arrays[6], arrays[7:14]
    *values_, h_ = _gru_moved(*values, None, before, r_, z_, n_, 0.0, a, b, c, before_, new=new)
    g, g_ = arrays[14:]
    found = _gru_back_moved(*values, None, before, *values_, None, before_, g, g_, *[0.0] * 4, new=new)
    return h_, *found


class CellFormulas(NamedTuple):
    """Of p and a (their sum, of an LSTM) and the states before, gate by gate, a step gives the states. `back`: of the
    same and the cotangents of the states, the cotangents of the same. `moved`: of the same and their tangents, the
    tangents of the states. `curved`: of these, the cotangents of the states and their tangents, the tangents of what a
    step and `back` give."""

    step: Formula
    back: Formula
    moved: Formula
    curved: Formula


def _gru_formulas(new: bool) -> CellFormulas:
    functions = [(_gru_cell, 7, 1), (_gru_cell_back, 8, 7), (_gru_cell_moved, 14, 1), (_gru_cell_curved, 16, 8)]
    return CellFormulas(*[Formula(partial(f, new=new), inputs, outputs) for f, inputs, outputs in functions])


GRU_CELL = {new: _gru_formulas(new) for new in (False, True)}
"""By whether the update gate says what is new."""

LSTM_CELL = CellFormulas(
    Formula(_lstm_cell, 5, 2), Formula(_lstm_cell_back, 7, 5), Formula(_lstm_cell_moved, 10, 2),
    Formula(_lstm_cell_curved, 14, 7),
)  # fmt: skip
