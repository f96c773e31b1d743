"""Functions of nested arrays as SciPy's solvers see them, of one real vector: the variables, their bounds, and what is
computed from them with its derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from autodiff import Tensor, array
from autodiff.backward import gradients
from autodiff.device_arrays import device_array
from autodiff.devices import as_numpy, place_of, put
from autodiff.mode import differentiating, enable_grad
from autodiff.tensor import plain, wrap
from autodiff.transforms import tree
from autodiff.transforms.flat import flatten, split

from ..array import Array


class Variables:
    """Where a solver begins, nested arrays, as one vector, and vectors in the form of these.

    Args:
        where: begins the messages of errors: what the user called.
        x0: an array, a Tensor, a number, or nested lists, tuples and dicts of these.

    Raises:
        ValueError: x0 has no entries, or holds anything but real numbers.
    """

    def __init__(self, where: str, x0: Any) -> None:
        self.where = where
        self.given, self.form = tree.flatten(x0)
        self.arrays = [self._array(x, path) for x, path in zip(self.given, self.form.paths())]
        self.places = [place_of(device_array(plain(x))) for x in self.given]
        self.start: Array = flatten(self.arrays).astype(float)
        if not self.start.size:
            raise ValueError(f"{where}: x0 has no entries")

    def _array(self, x: Any, path: str) -> Array:
        a: Array = np.array(as_numpy(x))
        if a.dtype.kind in "iu":
            a = a.astype(float)
        if a.dtype.kind != "f":
            raise ValueError(f"{self.where}: x0{path} must hold real numbers, not {a.dtype}")
        return a

    def nested(self, x: Array) -> Any:
        """A vector in the form of x0: Tensors where that had Tensors, numbers where it had numbers."""
        leaves: list[Any] = []
        for part, a, given, place in zip(split(x, self.arrays), self.arrays, self.given, self.places):
            part = put(part.astype(a.dtype), place)
            if isinstance(given, Tensor):
                leaves.append(Tensor(part))
                continue
            if place is None and not isinstance(given, np.ndarray) and not part.ndim:
                part = part.item() if isinstance(given, (int, float)) else part[()]
            leaves.append(part)
        return self.form.build(leaves)

    def leaves(self, x: Array) -> list[Tensor]:
        """The parts of a vector as Tensors that require a gradient."""
        parts = zip(split(x, self.arrays), self.arrays, self.places)
        leaves = [wrap(put(part.astype(a.dtype), place)) for part, a, place in parts]
        for leaf in leaves:
            leaf.requires_grad = True
        return leaves

    def bounds(self, given: Any) -> Any:
        """SciPy's bounds over the vector.

        Raises:
            ValueError: for what says no bounds, or a low one over a high one.
        """
        from scipy.optimize import Bounds

        if isinstance(given, Bounds):
            return given
        if not isinstance(given, (tuple, list)):
            raise ValueError(
                f"{self.where}: bounds takes a pair (low, high), each None, a number or nested like x0, a list with a "
                f"pair of numbers for each entry of the flattened x, or a scipy.optimize.Bounds, not "
                f"{type(given).__name__}"
            )
        n = self.start.size
        pairs = len(given) > 0 and all(_is_pair(item) for item in given)
        if pairs and isinstance(given, tuple) and len(given) == n == 2:
            raise ValueError(
                f"{self.where}: bounds={given!r} may be (low, high) or a pair for each of the two entries; write a "
                f"list of pairs, [(low, high), (low, high)], or scipy.optimize.Bounds(low, high)"
            )
        if pairs and (len(given) == n or len(given) != 2):
            if len(given) != n:
                raise ValueError(f"{self.where}: bounds has {len(given)} pairs, the flattened x {n} entries")
            given = [np.array([d if pair[i] is None else pair[i] for pair in given], float)
                     for i, d in enumerate((-math.inf, math.inf))]  # fmt: skip
            low, high = given
        elif len(given) == 2:
            low, high = (self._side(side, name, default) for side, name, default in zip(
                given, ("low", "high"), (-math.inf, math.inf)))  # fmt: skip
        else:
            raise ValueError(
                f"{self.where}: bounds takes a pair (low, high) or {n} pairs, not a {type(given).__name__} of "
                f"{len(given)}"
            )
        if (low > high).any():
            i = int(np.argmax(low > high))
            raise ValueError(
                f"{self.where}: the low bound {low[i]:g} of entry {i} of the flattened x is over {high[i]:g}"
            )
        return Bounds(low, high)

    def _side(self, side: Any, name: str, default: float) -> Array:
        if side is None:
            side = default
        if np.ndim(side) == 0 and not isinstance(side, dict):
            return np.full(self.start.size, float(side))
        parts = []
        leaves = self.form.leaves_of(side, f"{self.where}: bounds {name}")
        for leaf, a, path in zip(leaves, self.arrays, self.form.paths()):
            values = as_numpy(leaf).astype(float)
            try:
                parts.append(np.broadcast_to(values, a.shape))
            except ValueError:
                raise ValueError(
                    f"{self.where}: bounds {name}{path} has shape {values.shape}, which does not fit {a.shape}"
                ) from None
        return flatten(parts)


def _is_pair(item: Any) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == 2 and all(side is None or np.ndim(side) == 0
                                                                      for side in item)  # fmt: skip


class Function:
    """A function of nested arrays as one of a vector. The last point's graph is kept: values and derivatives are asked
    in turn.

    Args:
        name: of the function, for errors.
        fun: of the variables (and `args`); it returns a Tensor, or a list of Tensors and numbers.
        variables: nested as they are given to it.
        differentiable: whether derivatives will be asked; otherwise `fun` may return numbers.
        args: further arguments.
    """

    def __init__(
        self, name: str, fun: Callable[..., Any], variables: Variables, differentiable: bool, args: tuple[Any, ...] = ()
    ) -> None:
        self.name, self.fun, self.variables, self.args = name, fun, variables, args
        self.differentiable = differentiable
        self.x: Array | None = None
        self.leaves: list[Tensor] = []
        self.output: Any = None
        self.operator: Any = None  # the second derivatives there

    def at(self, x: Array) -> Any:
        """What it returns at x, recorded.

        Raises:
            TypeError: that is no Tensor, where derivatives will be asked.
        """
        if self.x is not None and np.array_equal(self.x, x):
            return self.output
        self.x, self.leaves, self.operator = None, self.variables.leaves(x), None
        with differentiating() if self.differentiable else enable_grad():
            output = self.fun(self.variables.form.build(self.leaves), *self.args)
            if isinstance(output, (list, tuple)) and len(output):
                output = array(output)
        if not isinstance(output, Tensor) and self.differentiable:
            raise TypeError(
                f"{self.variables.where}: {self.name} must return a Tensor that it computed from x, not "
                f"{type(output).__name__}; float(), .item() and .numpy() inside it cut the derivative off"
            )
        self.output, self.x = output, np.array(x)
        return output

    def values(self, x: Array) -> Array:
        """What it returns, as a vector (m,)."""
        return as_numpy(self.at(x)).astype(float).reshape(-1)

    def jacobian(self, x: Array) -> Any:
        """Its derivatives, (m, n), as an operator with exact products; of a constant a matrix of zeros."""
        from autodiff.curvature import Jacobian  # needs SciPy, as only solvers do

        output = self.at(x)
        if not output.requires_grad:
            return np.zeros((output.size, x.size))
        return Jacobian(output, self.leaves)

    def matrix(self, x: Array) -> Array:
        """The same as a matrix."""
        J = self.jacobian(x)
        return self.finite("derivative", (J if isinstance(J, np.ndarray) else J.to_dense()).astype(float))

    def hessian(self, x: Array, weights: Array) -> Any:
        """The second derivatives of Σ weights · values, (n, n), as an operator; of a constant None."""
        output = self.at(x)
        if not output.requires_grad:
            return None
        from autodiff.curvature import Hessian

        with differentiating():
            weights = put(np.asarray(weights).astype(output.dtype), place_of(plain(output)))
            total = (output.reshape(-1) * weights).sum()
        return Hessian(total, self.leaves)

    def finite(self, what: str, found: Array) -> Array:
        """A derivative, after checking it.

        Raises:
            FloatingPointError: it is not finite where the function is.
        """
        values = as_numpy(self.output).astype(float)
        if not np.isfinite(found).all() and np.isfinite(values).all():
            shown = f"{values.item():.6g}" if values.size == 1 else "finite"
            raise FloatingPointError(
                f"{self.variables.where}: the {what} of {self.name} has NaN or infinite entries where {self.name} "
                f"itself is {shown}"
            )
        return found


class Objective(Function):
    """A function that returns one number."""

    def at(self, x: Array) -> Any:
        """As `Function.at`.

        Raises:
            ValueError: it returns more than one number.
        """
        loss = super().at(x)
        if np.size(plain(loss)) != 1:
            self.x = None
            raise ValueError(
                f"{self.variables.where}: {self.name} returned shape {np.shape(plain(loss))}; it must be one number "
                f"(.sum(), .mean())"
            )
        return loss

    def value(self, x: Array) -> float:
        """The number."""
        return float(self.values(x)[0])

    def gradient(self, x: Array) -> Array:
        """Its gradient; a leaf without influence has zeros."""
        loss = self.at(x)
        slopes: Any = [None] * len(self.leaves)
        if loss.requires_grad:
            slopes = gradients(loss, self.leaves, allow_unused=True)
        return self.finite("gradient", flatten(slopes, self.leaves).astype(float))

    def _curvature(self, x: Array) -> Any:
        from autodiff.curvature import Hessian

        loss = self.at(x)
        if self.operator is None and loss.requires_grad:
            self.operator = Hessian(loss, self.leaves)
        return self.operator

    def product(self, x: Array, v: Array) -> Array:
        """The Hessian times v; of a constant 0."""
        hessian = self._curvature(x)
        product = np.zeros(np.shape(v)) if hessian is None else hessian.matvec(v).astype(float)
        return self.finite("Hessian–vector product", product)

    def dense(self, x: Array) -> Array:
        """The Hessian; of a constant 0."""
        hessian = self._curvature(x)
        H = np.zeros((x.size, x.size)) if hessian is None else hessian.to_dense().astype(float)
        H = self.finite("Hessian", H)
        return (H + H.T) / 2
