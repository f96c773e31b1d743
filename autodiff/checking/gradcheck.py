"""Checking derivatives against differences: `gradcheck` for first, `gradgradcheck` for second order.

A derivative is compared as what it is at the scale of its input, s · ∂f/∂x with s = max(1, |x|): x is moved by ε s, and
the rounding of f, divided by that step, is what it may differ by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backward import reachable
from ..device_arrays import device_array
from ..devices import as_numpy, place_of
from ..mode import differentiating, no_grad
from ..ops.transfer import transfer
from ..tensor import Tensor, variable, wrap
from ..transforms.functional import jvp, vjp
from ..transforms.tree import flatten

Function = Callable[..., Any]

ELEMENTS = 2000
"""Up to so many input elements each is moved by itself; beyond, all are moved at once in random directions."""
OUTPUTS = 200
"""Up to so many output elements each is looked at; beyond, two random combinations of all."""


class GradientCheckError(AssertionError):
    """A derivative that does not agree with the difference quotient, or a function for which there is none."""


def gradcheck(
    f: Function, inputs: Any, eps: float | None = None, rtol: float | None = None, atol: float | None = None
) -> bool:
    """Check the derivatives of `f` against central differences, (f(x + ε) − f(x − ε)) / 2ε, and those of forward mode,
    where an operation has rules of its own for it (`jvps`), against those of the reverse pass.

    Args:
        f: a function of Tensors that returns a Tensor, or a nested list, tuple or dict of Tensors.
        inputs: its arguments: one Tensor or array, or a tuple or list of arguments, each of which may be nested.
            Floating-point and complex Tensors, arrays and numbers are checked, everything else is passed on.
        eps: the step, times max(1, |x|) for each element x; 1e-6 by default, 1e-3 where an input is coarser than
            float64.
        rtol: a derivative may differ by ``atol + rtol * abs(numeric)``; by default 1e-5, 1e-3 with float32 and 2e-2
            with float16.
        atol: by default 1e-7 (1e-4 with float32, 2e-3 with float16) times the values of `f` and the rounding that shows
            in them, over max(1, |x|): what the rounding of `f` may make of a difference.

    Differences are taken in float64 whatever the inputs are. All elements of the Jacobian are compared; with more than
    200 outputs, two random combinations of them; with more than 2000 input elements, random directions, in which a
    wrong element is then searched for. A complex number counts as two elements, its real and its imaginary part.

    Returns:
        True.

    Raises:
        GradientCheckError: a derivative is wrong; the message shows the input, the element, the analytic and the
            numeric value, or those of both modes. Also if f gives another value when called again.
        ValueError: an input contains NaN or infinity, or there is none to check.
        TypeError: f does not return Tensors.

    >>> gradcheck(lambda x, y: np.sin(x) * y, (np.array([0.5, 1.0]), 2.0))
    True
    >>> import autodiff as ad
    >>> cube = ad.primitive(lambda x: x**3, name="cube", vjps=[lambda g, y, x: g * 2 * x**2])
    >>> gradcheck(cube, np.array([1.0, 2.0]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    autodiff.checking.gradcheck.GradientCheckError: gradcheck of cube: 2 of 4 derivatives are wrong. The worst ...
    """
    return _Check("gradcheck", f, inputs, eps, rtol, atol).run()


def gradgradcheck(
    f: Function, inputs: Any, eps: float | None = None, rtol: float | None = None, atol: float | None = None
) -> bool:
    """Check the second derivatives of `f`: `gradcheck` of its pullback, by the inputs and by the cotangent, which is
    random but the same each time.

    Arguments, result and errors are those of `gradcheck`.

    >>> gradgradcheck(lambda x: np.sin(x) * x, np.array([0.5, 1.0]))
    True
    """
    pullback, arguments, names = _pullback_of(f, inputs)
    return _Check("gradgradcheck", pullback, arguments, eps, rtol, atol, names).run()


def _pullback_of(f: Function, inputs: Any) -> tuple[Function, tuple[Any, ...], list[str]]:
    """The gradient of f as a function of the checked inputs and the cotangents, arguments for it, and their names."""
    first = _Check("gradgradcheck", f, inputs)
    rng = np.random.default_rng(0)
    cotangents = [_drawn(rng, y) for y in first.outputs]
    n = len(first.names)

    def pullback(*arguments: Any) -> Any:
        return vjp(first.of_checked, list(arguments[:n]))[1](list(arguments[n:]))[0]

    pullback.__name__ = f"the gradient of {first.title}"
    names = [*first.names, *(f"the cotangent of output {i}" for i in range(len(cotangents)))]
    return pullback, (*first.arrays, *cotangents), names


class _Check:
    """One function with the inputs at which it is checked."""

    def __init__(
        self,
        where: str,
        f: Function,
        inputs: Any,
        eps: float | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        names: list[str] | None = None,
    ) -> None:
        self.where, self.f = where, f
        self.title = getattr(f, "__name__", type(f).__name__)
        if not callable(f):
            raise TypeError(f"{where}: needs a function, not {f!r:.80}")
        arguments = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        self.leaves, self.form = flatten(arguments)
        names = names or [f"input {p[1:].replace(']', '', 1)}" for p in self.form.paths()]
        self.places, self.names, self.arrays, self.beside = [], [], [], []
        for k, (x, name) in enumerate(zip(self.leaves, names)):
            number = isinstance(x, (float, complex, np.generic))
            array = x._ndarray if isinstance(x, Tensor) else np.asarray(x) if number else device_array(x)
            if not hasattr(array, "dtype") or array.dtype.kind not in "fc":
                continue
            self.beside.append(place_of(array))
            array = as_numpy(array)
            bad = np.argwhere(~np.isfinite(array))
            if len(bad):
                i = tuple(map(int, bad[0]))
                raise ValueError(
                    f"{where}: {name} contains {array[i]} at index {i}; derivatives are checked at numbers"
                )
            self.places.append(k)
            self.names.append(name)
            self.arrays.append(np.array(array))
        if not self.arrays:
            raise ValueError(f"{where}: no floating-point input to check in {inputs!r}")
        precision = min((np.finfo(a.dtype).dtype for a in self.arrays), key=lambda dtype: dtype.itemsize)
        fine = precision.itemsize >= 8
        self.eps = (1e-6 if fine else 1e-3) if eps is None else eps
        self.rtol = (1e-5 if fine else 1e-3 if precision.itemsize == 4 else 2e-2) if rtol is None else rtol
        self.exact = [a.astype(np.result_type(a, np.float64)) for a in self.arrays]
        self.x = self._flat(self.exact)
        self.scale = np.maximum(1.0, np.abs(self.x))
        self.outputs = self._outputs(self.arrays)
        if not self.outputs:
            raise TypeError(
                f"{where}: {self.title} returns no floating-point Tensor, so there is no derivative to check"
            )
        values = self._flat(self.outputs)
        if not np.isfinite(values).all():
            raise GradientCheckError(f"{where} of {self.title}: the output is not finite at these inputs")
        size = 1.0 + np.max(np.abs(values), initial=0.0)
        again = self._flat(self._outputs(self.arrays))
        if again.shape != values.shape or np.any(np.abs(again - values) > 100 * np.finfo(precision).eps * size):
            raise GradientCheckError(
                f"{where} of {self.title}: the function is random, a second call with the same inputs gave another "
                f"value; fix the seed inside it"
            )
        self.given = atol is not None
        if atol is not None:
            self.atol = atol
        elif fine:
            rounded = self._noise() / np.finfo(np.float64).eps  # how large what was rounded must have been
            self.atol = 1e-7 * (size - 1.0 + (rounded if rounded < 1e5 * size else size)) + 1e-12  # else it is a kink
        else:
            self.atol = (1e-4 if precision.itemsize == 4 else 2e-3) * size

    def of_checked(self, xs: Sequence[Any]) -> Any:
        """The function of the checked inputs alone, giving a list of its floating-point outputs."""
        leaves = list(self.leaves)
        for k, x, beside in zip(self.places, xs, self.beside):
            leaves[k] = transfer(x, beside)
        outputs, _ = flatten(self.f(*self.form.build(leaves)))
        for y in outputs or [None]:
            if not isinstance(y, Tensor):
                raise TypeError(
                    f"{self.where}: {self.title} must return a Tensor (or a nested list, tuple or dict of Tensors), "
                    f"not {y!r} ({type(y).__name__})"
                )
        return [transfer(y, None) for y in outputs if y._ndarray.dtype.kind in "fc"]

    def _outputs(self, arrays: Sequence[Any]) -> list[Any]:
        with no_grad():
            return [np.asarray(y._ndarray) for y in self.of_checked([wrap(a) for a in arrays])]

    def _flat(self, outputs: Sequence[Any]) -> Any:
        """All numbers in one row, of complex ones the real part and the imaginary part."""
        parts = [np.ravel(np.ascontiguousarray(y, np.result_type(y, np.float64))).view(np.float64) for y in outputs]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _noise(self) -> float:
        """How much rounding there is in the values: what is left of them in fourth differences at the steps that are
        made, where a smooth function leaves nothing."""
        rng, largest = np.random.default_rng(2), 0.0
        for _ in range(3):
            direction = (
                self.eps * self.scale * rng.choice([-1.0, 1.0], self.x.size) * rng.uniform(0.5, 1.0, self.x.size)
            )
            rest: Any = 0.0
            for t, weight in ((-1.0, 1), (-0.5, -4), (0.0, 6), (0.5, -4), (1.0, 1)):
                rest = rest + weight * self._flat(self._outputs(self._split(self.x + t * direction, self.exact)))
            largest = max(largest, float(np.max(np.abs(rest[np.isfinite(rest)]), initial=0.0)))
        return largest

    def run(self) -> bool:
        with no_grad():
            ys, pullback = vjp(self.of_checked, self.arrays)
        m, n = sum(map(_count, ys)), self.x.size
        rng = np.random.default_rng(1)
        self.combined = m > OUTPUTS
        rows = rng.choice([-1.0, 1.0], (2, m)) if self.combined else np.eye(m)
        rows *= rng.uniform(0.5, 1.5, rows.shape) if self.combined else 1.0
        analytic = np.empty((len(rows), n))
        for row, target in zip(rows, analytic):
            target[:] = self._flat(pullback(self._split(row, ys))[0])
        analytic *= self.scale
        if n <= ELEMENTS:
            numeric = np.empty_like(analytic)
            for j in range(n):
                numeric[:, j] = rows @ self._difference(_only(j, n))
            self._compare(analytic, numeric, range(n), ys)
        else:
            for _ in range(10):
                self._search(analytic, lambda v: rows @ self._difference(v), _direction(rng, n), ys)
        for _ in range(2 if self._has_forward_rules() else 0):
            self._search(analytic, lambda v: rows @ self._pushed(v), _direction(rng, n), ys, ("reverse", "forward"))
        return True

    def _split(self, row: Any, ys: Sequence[Any]) -> list[Any]:
        parts, start = [], 0
        for y in ys:
            part, start = np.ascontiguousarray(row[start : start + _count(y)], np.float64), start + _count(y)
            part = part.view(np.complex128) if y.dtype.kind == "c" else part
            parts.append(part.reshape(y.shape).astype(y.dtype))
        return parts

    def _difference(self, direction: Any) -> Any:
        """The central difference of the flat outputs in a direction of the flat inputs, whose entries are at their
        scale."""
        step = self.eps * self.scale * direction
        ahead, behind = self.x + step, self.x - step
        largest = np.argmax(np.abs(step))
        width = (ahead[largest] - behind[largest]) / (self.scale[largest] * direction[largest])  # 2 eps, as rounded
        values = [self._flat(self._outputs(self._split(end, self.exact))) for end in (ahead, behind)]
        return (values[0] - values[1]) / width

    def _has_forward_rules(self) -> bool:
        """Whether an operation has one of its own (`jvps`); others go forward by their rules of the reverse pass."""
        with differentiating():
            nodes, _ = reachable(self.of_checked([variable(a) for a in self.arrays]))
        return any(node._primitive.jvps for node in nodes.values())

    def _pushed(self, direction: Any) -> Any:
        """What forward mode gives for the same direction."""
        tangents = self._split(self.scale * direction, self.arrays)
        with no_grad():
            _, moved = jvp(self.of_checked, (self.arrays,), (tangents,))
        return self._flat([np.asarray(y) for y in moved])

    def _allowed(self, numeric: Any, scale: Any) -> Any:
        return self.atol * (scale if self.given else 1.0) + self.rtol * np.abs(numeric)

    def _wrong(self, analytic: Any, numeric: Any, scale: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return ~(np.abs(analytic - numeric) <= self._allowed(numeric, scale))

    def _compare(
        self, analytic: Any, numeric: Any, columns: Sequence[int], ys: Sequence[Any],
        names: tuple[str, str] = ("analytic", "numeric"),
    ) -> None:  # fmt: skip
        scale = self.scale[list(columns)]
        wrong = self._wrong(analytic, numeric, scale)
        if not wrong.any():
            return
        allowed = self._allowed(numeric, scale)
        with np.errstate(invalid="ignore", divide="ignore"):
            excess = np.where(wrong, np.abs(analytic - numeric) / allowed, -1.0)
        row, column = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), excess.shape)
        name, index = self._place(columns[int(column)], self.names, self.arrays)
        if self.combined:
            output = "a combination of all outputs"
        else:
            which, place = self._place(int(row), [f"output {i}" for i in range(len(ys))], ys)
            which = which if len(ys) > 1 else which.replace("output 0", "output")
            output = which + (f" at index {place}" if place else "")
        a, b, tolerance = (z[row, column] / scale[column] for z in (analytic, numeric, allowed))
        hint = "" if np.isfinite(b) else "; the difference leaves the function's domain, so pass a smaller eps"
        raise GradientCheckError(
            f"{self.where} of {self.title}: {int(wrong.sum())} of {wrong.size} derivatives are wrong. The worst is "
            f"that of {output} by {name}" + (f" at index {index}" if index else "")
            + f": {names[0]} {a:.8g}, {names[1]} {b:.8g} (allowed difference {tolerance:.2g}){hint}"
        )  # fmt: skip

    def _place(self, flat: int, names: Sequence[str], arrays: Sequence[Any]) -> tuple[str, tuple[int, ...]]:
        for name, a in zip(names, arrays):
            if flat < _count(a):
                if a.dtype.kind == "c":
                    name, flat = f"the {('real', 'imaginary')[flat % 2]} part of {name}", flat // 2
                return name, tuple(int(i) for i in np.unravel_index(flat, a.shape))
            flat -= _count(a)
        raise IndexError(flat)

    def _search(
        self, analytic: Any, other: Callable[[Any], Any], direction: Any, ys: Sequence[Any],
        names: tuple[str, str] = ("analytic", "numeric"),
    ) -> None:  # fmt: skip
        """Compare with another derivative in one direction; where that is wrong, halve it until one wrong element is
        left."""
        if not self._wrong(analytic @ direction, other(direction), 1.0).any():
            return
        members = np.arange(len(direction))
        while len(members) > 1:
            halves = np.array_split(members, 2)
            differences = []
            for half in halves:
                part = np.zeros_like(direction)
                part[half] = direction[half]
                gap = np.abs(analytic @ part - other(part))
                differences.append(np.max(np.where(np.isnan(gap), np.inf, gap)))
            members = halves[int(differences[1] > differences[0])]
        j = int(members[0])
        numeric = other(_only(j, len(direction)))[:, None]
        self._compare(analytic[:, j : j + 1], numeric, [j], ys, names)
        raise GradientCheckError(
            f"{self.where} of {self.title}: {names[0]} and {names[1]} derivative in a random direction differ, though "
            f"no single element does by more than the tolerance; the nearest is "
            f"{self._place(j, self.names, self.arrays)}"
        )


def _count(y: Any) -> int:
    """How many real numbers an array holds."""
    return int(y.size) * (2 if y.dtype.kind == "c" else 1)


def _drawn(rng: np.random.Generator, y: Any) -> Any:
    """A random cotangent of an output."""
    g = rng.uniform(0.5, 1.5, y.shape)
    return (g + 1j * rng.uniform(0.5, 1.5, y.shape) if y.dtype.kind == "c" else g).astype(y.dtype)


def _only(j: int, n: int) -> Any:
    unit = np.zeros(n)
    unit[j] = 1.0
    return unit


def _direction(rng: np.random.Generator, n: int) -> Any:
    """A direction in which no element is missed, and none dwarfs another."""
    return rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 1.5, n)
