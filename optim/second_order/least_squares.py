"""`least_squares`: SciPy's, for functions of nested arrays, with the Jacobian from the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .flattened import Function, Variables

METHODS = ("trf", "dogbox", "lm")


def least_squares(
    fun: Callable[[Any], Any],
    x0: Any,
    method: str = "trf",
    *,
    bounds: Any = None,
    jac: str = "dense",
    **options: Any,
) -> Any:
    """Minimise ½ Σ fun(x)², or a robust loss of the residuals, by `scipy.optimize.least_squares`, which gets the exact
    Jacobian from the engine.

    Args:
        fun: a function of one argument, nested like `x0` with Tensors for leaves, that returns the residuals: a Tensor
            of any shape, or a list of Tensors and numbers.
        x0: where to begin, as for `minimize`.
        method: "trf" (trust region reflective), "dogbox", or "lm" (Levenberg and Marquardt; no bounds, and as many
            residuals as variables at least).
        bounds: as for `minimize`.
        jac: "dense", or "products", with vectors only, for large problems; not for "lm".
        options: SciPy's others, among them ftol, xtol, gtol, x_scale, loss, f_scale, max_nfev, tr_solver, verbose.

    Returns:
        SciPy's `OptimizeResult` (`.cost .fun .jac .success .message` …), with `.x` and `.grad` nested like `x0`; what
        else it holds is over the flattened x and the flattened residuals.

    Raises:
        ValueError: an unknown method, bounds or products for "lm", a `jac` that is not one of these, or x0 without
            entries or of other kinds.
        TypeError: fun does not return a Tensor, or has further arguments (args=, kwargs=).
        FloatingPointError: fun is not finite at x0, or a derivative is not finite where fun is.

    Source: Branch, Coleman and Li, "A subspace, interior, and conjugate gradient method for large-scale
    bound-constrained minimization problems", 1999; Moré, "The Levenberg–Marquardt algorithm", 1978.

    >>> t = np.linspace(0, 2, 9)
    >>> data = 3 * np.exp(-1.5 * t)
    >>> fit = least_squares(lambda p: p["a"] * np.exp(-p["k"] * t) - data, {"a": 1.0, "k": 1.0}, "lm")
    >>> {key: round(value, 6) for key, value in fit.x.items()}
    {'a': 3.0, 'k': 1.5}
    """
    from scipy.optimize import least_squares as scipy_least_squares

    if not callable(fun):
        raise TypeError(f"least_squares: fun must be a function of x, not {type(fun).__name__}")
    if {"args", "kwargs"} & options.keys():
        raise TypeError("least_squares: fun takes x alone, nested as you like; write lambda x: fun(x, *args) for args")
    if method not in METHODS:
        raise ValueError(f"least_squares: method must be one of {', '.join(METHODS)}, not {method!r}")
    if jac not in ("dense", "products"):
        raise ValueError(f"least_squares: jac is 'dense' or 'products', which the engine makes, not {jac!r}")
    if method == "lm" and (bounds is not None or jac == "products"):
        raise ValueError(
            f"least_squares: lm takes no {'bounds' if bounds is not None else 'products'}; take 'trf' or 'dogbox'"
        )
    variables = Variables("least_squares", x0)
    residuals = Function("fun", fun, variables, differentiable=True)
    if not np.isfinite(residuals.values(variables.start)).all():
        raise FloatingPointError("least_squares: fun is not finite at x0")
    if bounds is not None:
        options["bounds"] = variables.bounds(bounds)
    result = scipy_least_squares(
        residuals.values,
        variables.start,
        jac=residuals.matrix if jac == "dense" else residuals.jacobian,
        method=method,
        **options,
    )
    result.x, result.grad = variables.nested(result.x), variables.nested(result.grad)
    return result
