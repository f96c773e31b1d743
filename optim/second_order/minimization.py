"""`minimize`: SciPy's minimisers for functions of nested arrays, with derivatives from the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..array import Array
from .constraints import CONSTRAINED, flattened
from .flattened import Objective, Variables

WITHOUT = ("nelder-mead", "powell", "cobyla", "cobyqa")
GRADIENT = ("cg", "bfgs", "l-bfgs-b", "tnc", "slsqp")
PRODUCTS = ("newton-cg", "trust-ncg", "trust-krylov", "trust-constr")
MATRIX = ("dogleg", "trust-exact")
"""SciPy's methods by what they want: no derivative, the gradient, products with the Hessian, or all of it."""

BOUNDED = ("nelder-mead", "powell", "cobyla", "cobyqa", "l-bfgs-b", "tnc", "slsqp", "trust-constr")

_INSTEAD = {
    "args": "fun takes x alone, nested as you like; write lambda x: fun(x, *args)",
    "jac": "the gradient comes from the engine; leave it out, and let fun return its value alone",
    "hessp": "products with the Hessian come from the engine; leave it out",
}
"""SciPy's arguments that are not here."""


def minimize(
    fun: Callable[[Any], Any],
    x0: Any,
    method: str = "trust-ncg",
    *,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    callback: Callable[[Any], Any] | None = None,
    bounds: Any = None,
    constraints: Any = (),
    hess: Any = "exact",
    **others: Any,
) -> Any:
    """Minimise a function of nested arrays by `scipy.optimize.minimize`, which gets the gradient and the
    Hessian–vector product (or the Hessian, where a method wants that) from the engine, and all derivatives of the
    constraints.

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
            the leaves (infinite where there is none); or SciPy's list with a pair (low, high) of numbers or None for
            each entry of the flattened x, or its `scipy.optimize.Bounds` over that. For methods that take bounds: the
            first four, "L-BFGS-B", "TNC", "SLSQP", "trust-constr".
        constraints: SciPy's, one or a list: ``{"type": "eq", "fun": g}`` for g(x) = 0, ``"ineq"`` for g(x) ≥ 0,
            `scipy.optimize.NonlinearConstraint(g, low, high)`, where g is a function as `fun` that may return any
            number of values (a Tensor, or a list of Tensors and numbers); or `LinearConstraint(A, low, high)` over the
            flattened x. For "COBYLA", "COBYQA", "SLSQP", "trust-constr".
        hess: how second derivatives are given to the methods that want them: "exact", as the method takes them best;
            "products", with a vector; "dense", as a matrix; for "trust-constr" also None, which has SciPy guess them
            from gradients, or one of its strategies, `scipy.optimize.BFGS()` or `SR1()`. It holds for the constraints
            too.

    Returns:
        SciPy's `OptimizeResult` (`.fun .success .message .nit` …), with `.x` (and `.jac`, the gradient) nested like
        `x0`; what else it holds is over the flattened x.

    Raises:
        ValueError: an unknown method, bounds, constraints or a `hess` for a method without, x0 without entries or of
            other kinds, or fun returns more than one number.
        TypeError: fun or a constraint does not return a Tensor, where a derivative is wanted; others of SciPy's
            arguments (args=, jac=, hessp=).
        FloatingPointError: fun is not finite at x0, or a derivative is not finite where fun is.

    >>> def rosenbrock(p):
    ...     return 100 * (p["y"] - p["x"] ** 2) ** 2 + (1 - p["x"]) ** 2
    >>> result = minimize(rosenbrock, {"x": -1.2, "y": 1.0}, tol=1e-8)
    >>> result.success, {key: round(value, 6) for key, value in result.x.items()}
    (True, {'x': 1.0, 'y': 1.0})
    >>> disc = {"type": "ineq", "fun": lambda p: 1 - p["x"] ** 2 - p["y"] ** 2}
    >>> result = minimize(rosenbrock, {"x": -1.2, "y": 1.0}, "SLSQP", constraints=disc, tol=1e-10)
    >>> {key: round(value, 4) for key, value in result.x.items()}
    {'x': 0.7864, 'y': 0.6177}
    """
    from scipy.optimize import OptimizeResult
    from scipy.optimize import minimize as scipy_minimize

    if not callable(fun):
        raise TypeError(f"minimize: fun must be a function of x, not {type(fun).__name__}")
    for name, value in others.items():
        raise TypeError(f"minimize: got {name}=; {_INSTEAD.get(name) or f'write options={{{name!r}: {value!r:.40}}}'}")
    kind = method.lower() if isinstance(method, str) else ""
    known = WITHOUT + GRADIENT + PRODUCTS + MATRIX
    if kind not in known:
        raise ValueError(f"minimize: method must be one of {', '.join(known)}, not {method!r}")
    if bounds is not None and kind not in BOUNDED:
        raise ValueError(f"minimize: {method} takes no bounds; methods that do: {', '.join(BOUNDED)}")
    given = list(constraints) if isinstance(constraints, (list, tuple)) else [constraints]
    if given and kind not in CONSTRAINED:
        raise ValueError(f"minimize: {method} takes no constraints; methods that do: {', '.join(CONSTRAINED)}")
    if callback is not None and not callable(callback):
        raise TypeError(f"minimize: callback must be a function of x, not {type(callback).__name__}")
    second = _second(method, kind, hess)
    variables = Variables("minimize", x0)
    problem = Objective("fun", fun, variables, differentiable=kind not in WITHOUT)
    start = variables.start
    value = problem.value(start)
    if not math.isfinite(value):
        raise FloatingPointError(f"minimize: fun is {value} at x0")
    wanted: dict[str, Any] = {}
    if kind not in WITHOUT:
        wanted["jac"] = problem.gradient
    if second == "products":
        wanted["hessp"] = problem.product
    elif second == "dense":
        wanted["hess"] = problem.dense
    elif second is not None:
        wanted["hess"] = second
    if bounds is not None:
        wanted["bounds"] = variables.bounds(bounds)
    if given:
        wanted["constraints"] = [flattened(c, i, variables, kind not in WITHOUT, second) for i, c in enumerate(given)]
    seen: Array | None = None
    if callback is not None:

        def nested(xk: Array, *state: Any) -> Any:  # trust-constr adds its state
            nonlocal seen
            seen = np.array(xk)
            callback(variables.nested(xk))

        wanted["callback"] = nested
    try:
        result = scipy_minimize(
            problem.value, start, method=kind, tol=tol, options=dict(options) if options else None, **wanted
        )
    except StopIteration:  # not every method of SciPy knows it
        assert seen is not None
        result = OptimizeResult(x=seen, fun=problem.value(seen), success=False, message="stopped by the callback")
    result.fun = float(result.fun)
    result.x = variables.nested(np.asarray(result.x))
    slope = result.get("jac")  # trust-constr has the derivatives of the constraints there
    if isinstance(slope, np.ndarray) and slope.shape == start.shape:
        result.jac = variables.nested(slope)
    return result


def _second(method: str, kind: str, hess: Any) -> Any:
    """Second derivatives as a method takes them: "products", "dense", None, or a strategy that guesses them."""
    from scipy.optimize import HessianUpdateStrategy

    if isinstance(hess, str) and hess == "exact":
        return "products" if kind in PRODUCTS else "dense" if kind in MATRIX else None
    strategy = isinstance(hess, HessianUpdateStrategy)
    takes: list[Any] = ["dense"] if kind in MATRIX else ["products", "dense"] if kind in PRODUCTS else [None]
    if kind == "trust-constr":
        takes.append(None)
        if strategy:
            return hess
    if not any(hess is way or (isinstance(hess, str) and hess == way) for way in takes):
        ways = ", ".join(map(repr, takes)) + (" or a HessianUpdateStrategy" if kind == "trust-constr" else "")
        raise ValueError(f"minimize: {method} takes hess='exact', {ways}, not {hess!r}")
    return hess
