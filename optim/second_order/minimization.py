"""`minimize`: SciPy's minimisers for functions of nested arrays, with derivatives from the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.backward import gradients
from autodiff.mode import differentiating, enable_grad
from autodiff.tensor import plain, wrap
from autodiff.transforms import tree
from autodiff.transforms.flat import flatten, split

from ..array import Array

WITHOUT = ("nelder-mead", "powell", "cobyla", "cobyqa")
GRADIENT = ("cg", "bfgs", "l-bfgs-b", "tnc", "slsqp")
PRODUCTS = ("newton-cg", "trust-ncg", "trust-krylov", "trust-constr")
MATRIX = ("dogleg", "trust-exact")
"""SciPy's methods by what they want: no derivative, the gradient, products with the Hessian, or all of it."""

BOUNDED = ("nelder-mead", "powell", "cobyla", "cobyqa", "l-bfgs-b", "tnc", "slsqp", "trust-constr")


def minimize(
    fun: Callable[[Any], Any],
    x0: Any,
    method: str = "trust-ncg",
    *,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    callback: Callable[[Any], Any] | None = None,
    bounds: Any = None,
) -> Any:
    """Minimise a function of nested arrays by `scipy.optimize.minimize`, which gets the gradient and the
    Hessian–vector product (or the Hessian, where a method wants that) from the engine.

    Args:
        fun: a function of one argument, nested like `x0` with Tensors for leaves, that returns a Tensor of one element.
            (A method without derivatives takes a number, too.)
        x0: where to begin: an array, a Tensor, a number, or nested lists, tuples and dicts of these. Floating-point
            dtypes are kept (SciPy itself computes in float64); whole numbers become float64.
        method: any of SciPy's: without derivatives "Nelder-Mead", "Powell", "COBYLA", "COBYQA"; with the gradient "CG",
            "BFGS", "L-BFGS-B", "TNC", "SLSQP"; with Hessian–vector products "Newton-CG", "trust-ncg", "trust-krylov",
            "trust-constr"; with the Hessian, for small problems, "dogleg" (where it is positive definite),
            "trust-exact". Case does not matter.
        tol: SciPy's; what it means depends on the method.
        options: SciPy's, by method: ``{"maxiter": 100}``.
        callback: called with x, nested like `x0`, after each iteration; raising StopIteration ends.
        bounds: a pair (low, high), each None, a number, or nested like `x0` with numbers or arrays that broadcast to
            the leaves (infinite where there is none); or a `scipy.optimize.Bounds` over the flattened x. For methods
            that take bounds: the first four, "L-BFGS-B", "TNC", "SLSQP", "trust-constr".

    Returns:
        SciPy's `OptimizeResult` (`.fun .success .message .nit` …), with `.x` (and `.jac`, the gradient) nested like
        `x0`; what else it holds is over the flattened x.

    Raises:
        ValueError: an unknown method, bounds for a method without, x0 without entries or of other kinds, or fun returns
            more than one number.
        TypeError: fun does not return a Tensor, where a derivative is wanted.
        FloatingPointError: fun is not finite at x0, or a derivative is not finite where fun is.

    >>> def rosenbrock(p):
    ...     return 100 * (p["y"] - p["x"] ** 2) ** 2 + (1 - p["x"]) ** 2
    >>> result = minimize(rosenbrock, {"x": -1.2, "y": 1.0}, tol=1e-8)
    >>> result.success, {key: round(value, 6) for key, value in result.x.items()}
    (True, {'x': 1.0, 'y': 1.0})
    """
    from scipy.optimize import OptimizeResult
    from scipy.optimize import minimize as scipy_minimize

    if not callable(fun):
        raise TypeError(f"minimize: fun must be a function of x, not {type(fun).__name__}")
    kind = method.lower() if isinstance(method, str) else None
    known = WITHOUT + GRADIENT + PRODUCTS + MATRIX
    if kind not in known:
        raise ValueError(f"minimize: method must be one of {', '.join(known)}, not {method!r}")
    if bounds is not None and kind not in BOUNDED:
        raise ValueError(f"minimize: {method} takes no bounds; methods that do: {', '.join(BOUNDED)}")
    if callback is not None and not callable(callback):
        raise TypeError(f"minimize: callback must be a function of x, not {type(callback).__name__}")
    problem = _Problem(fun, x0, differentiable=kind not in WITHOUT)
    start = flatten(problem.arrays).astype(float)
    value = problem.value(start)
    if not math.isfinite(value):
        raise FloatingPointError(f"minimize: fun is {value} at x0")
    wanted: dict[str, Any] = {}
    if kind not in WITHOUT:
        wanted["jac"] = problem.gradient
    if kind in PRODUCTS:
        wanted["hessp"] = problem.product
    if kind in MATRIX:
        wanted["hess"] = problem.matrix
    if bounds is not None:
        wanted["bounds"] = problem.bounds(bounds)
    if callback is not None:
        given = callback

        def nested(xk: Array, *state: Any) -> Any:  # trust-constr adds its state
            problem.seen = np.array(xk)
            given(problem.nested(xk))

        wanted["callback"] = nested
    try:
        result = scipy_minimize(
            problem.value, start, method=kind, tol=tol, options=dict(options) if options else None, **wanted
        )
    except StopIteration:  # not every method of SciPy knows it
        assert problem.seen is not None
        fun_seen = problem.value(problem.seen)
        result = OptimizeResult(x=problem.seen, fun=fun_seen, success=False, message="stopped by the callback")
    result.fun = float(result.fun)
    result.x = problem.nested(np.asarray(result.x))
    if np.shape(result.get("jac")) == start.shape:
        result.jac = problem.nested(np.asarray(result.jac))
    return result


class _Problem:
    """The function over flattened x. The last point's graph is kept: value, gradient and products are asked in turn."""

    def __init__(self, fun: Callable[[Any], Any], x0: Any, differentiable: bool) -> None:
        self.fun, self.differentiable = fun, differentiable
        self.given, self.form = tree.flatten(x0)
        self.arrays = [self._array(x, path) for x, path in zip(self.given, self.form.paths())]
        if not sum(a.size for a in self.arrays):
            raise ValueError("minimize: x0 has no entries")
        self.x: Array | None = None
        self.seen: Array | None = None
        self.leaves: list[Tensor] = []
        self.loss: Any = None
        self.curvature: Any = None

    def _array(self, x: Any, path: str) -> Array:
        a: Array = np.array(x.numpy() if isinstance(x, Tensor) else x)
        if a.dtype.kind in "iu":
            a = a.astype(float)
        if a.dtype.kind != "f":
            raise ValueError(f"minimize: x0{path} must hold real numbers, not {a.dtype}")
        return a

    def nested(self, x: Array) -> Any:
        """A vector in the form of x0: Tensors where that had Tensors, numbers where it had numbers."""
        leaves: list[Any] = []
        for part, a, given in zip(split(x, self.arrays), self.arrays, self.given):
            part = part.astype(a.dtype)
            if isinstance(given, Tensor):
                leaves.append(Tensor(part))
                continue
            if not isinstance(given, np.ndarray) and not part.ndim:
                part = part.item() if isinstance(given, (int, float)) else part[()]
            leaves.append(part)
        return self.form.build(leaves)

    def _at(self, x: Array) -> None:
        if self.x is not None and np.array_equal(self.x, x):
            return
        self.x = self.curvature = None
        self.leaves = []
        for part, a in zip(split(x, self.arrays), self.arrays):
            leaf = wrap(part.astype(a.dtype))
            leaf.requires_grad = True
            self.leaves.append(leaf)
        with differentiating() if self.differentiable else enable_grad():
            loss = self.fun(self.form.build(self.leaves))
        if not isinstance(loss, Tensor) and self.differentiable:
            raise TypeError(
                f"minimize: fun must return a Tensor that it computed from x, not {type(loss).__name__}; "
                f"float(), .item() and .numpy() inside it cut the derivative off"
            )
        if np.size(plain(loss)) != 1:
            raise ValueError(
                f"minimize: fun returned shape {np.shape(plain(loss))}; it must be one number (.sum(), .mean())"
            )
        self.loss, self.x = loss, np.array(x)

    def value(self, x: Array) -> float:
        """fun at x."""
        self._at(x)
        return float(self.loss.item()) if hasattr(self.loss, "item") else float(self.loss)

    def gradient(self, x: Array) -> Array:
        """Its gradient; a leaf without influence has zeros."""
        self._at(x)
        slopes: Any = [None] * len(self.leaves)
        if self.loss.requires_grad:
            slopes = gradients(self.loss, self.leaves, allow_unused=True)
        return self._finite("gradient", flatten(slopes, self.leaves).astype(float))

    def _hessian(self, x: Array) -> Any:
        from autodiff.curvature import Hessian

        self._at(x)
        if self.curvature is None and self.loss.requires_grad:
            self.curvature = Hessian(self.loss, self.leaves)
        return self.curvature

    def product(self, x: Array, v: Array) -> Array:
        """The Hessian at x times v; of a constant 0."""
        hessian = self._hessian(x)
        product = np.zeros(np.shape(v)) if hessian is None else hessian.matvec(v).astype(float)
        return self._finite("Hessian–vector product", product)

    def matrix(self, x: Array) -> Array:
        """The Hessian at x; of a constant 0."""
        hessian = self._hessian(x)
        H = np.zeros((x.size, x.size)) if hessian is None else hessian.to_dense().astype(float)
        H = self._finite("Hessian", H)
        return (H + H.T) / 2

    def _finite(self, what: str, values: Array) -> Array:
        if not np.isfinite(values).all() and math.isfinite(self.loss.item()):
            raise FloatingPointError(
                f"minimize: the {what} of fun has NaN or infinite entries where fun itself is {self.loss.item():.6g}"
            )
        return values

    def bounds(self, given: Any) -> Any:
        """SciPy's bounds over the flattened x."""
        from scipy.optimize import Bounds

        if isinstance(given, Bounds):
            return given
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise ValueError(
                "minimize: bounds takes a pair (low, high), each None, a number or nested like x0, or a "
                f"scipy.optimize.Bounds, not {type(given).__name__}"
            )
        low, high = (self._side(side, name, default) for side, name, default in zip(
            given, ("low", "high"), (-math.inf, math.inf)))  # fmt: skip
        if (low > high).any():
            i = int(np.argmax(low > high))
            raise ValueError(f"minimize: the low bound {low[i]:g} of entry {i} of the flattened x is over {high[i]:g}")
        return Bounds(low, high)

    def _side(self, side: Any, name: str, default: float) -> Array:
        if side is None:
            side = default
        if np.ndim(side) == 0 and not isinstance(side, dict):
            return np.full(sum(a.size for a in self.arrays), float(side))
        leaves = self.form.leaves_of(side, f"minimize: bounds {name}")
        parts = []
        for leaf, a, path in zip(leaves, self.arrays, self.form.paths()):
            values = np.asarray(leaf.data if isinstance(leaf, Tensor) else leaf, dtype=float)
            try:
                parts.append(np.broadcast_to(values, a.shape))
            except ValueError:
                raise ValueError(
                    f"minimize: bounds {name}{path} has shape {values.shape}, which does not fit {a.shape}"
                ) from None
        return flatten(parts)
