"""SciPy's constraints of functions of nested arrays, with the derivatives filled in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..array import Array
from .flattened import Function, Variables

CONSTRAINED = ("cobyla", "cobyqa", "slsqp", "trust-constr")
"""SciPy's methods that take constraints."""


def flattened(constraint: Any, i: int, variables: Variables, differentiable: bool, second: Any) -> Any:
    """The i-th constraint as one of the vector of variables.

    Args:
        constraint: a dict with "type" and "fun" (and "args"), a NonlinearConstraint of nested arrays, or a
            LinearConstraint over the vector.
        i: its place, for errors.
        variables: what it is of.
        differentiable: whether its derivatives are wanted.
        second: how its second derivatives are, see `minimize`.

    Raises:
        TypeError, ValueError: it is none of these, or brings derivatives of its own.
    """
    from scipy.optimize import LinearConstraint, NonlinearConstraint

    where = f"constraints[{i}]"
    if isinstance(constraint, LinearConstraint):
        A = constraint.A
        columns = A.shape[-1] if getattr(A, "ndim", 2) == 2 else np.atleast_2d(A).shape[-1]
        if columns != variables.start.size:
            raise ValueError(
                f"{variables.where}: {where} is a LinearConstraint of {columns} columns, but the flattened x has "
                f"{variables.start.size} entries"
            )
        return constraint
    if isinstance(constraint, NonlinearConstraint):
        _require_no_derivative(variables.where, where, {k: getattr(constraint, k) for k in ("jac", "hess")})
        found = copy.copy(constraint)
        g = Function(where, _function(variables.where, where, constraint.fun), variables, differentiable)
        found.fun = g.values
        if differentiable:
            found.jac = g.matrix
            if second in ("products", "dense"):
                found.hess = lambda x, v: _curvature(g, x, v, second)
            elif second is not None:
                found.hess = copy.deepcopy(second)  # each has a memory of its own
        return found
    if not isinstance(constraint, Mapping):
        raise TypeError(
            f"{variables.where}: {where} must be a dict with 'type' and 'fun', a NonlinearConstraint or a "
            f"LinearConstraint, not {type(constraint).__name__}"
        )
    if constraint.get("type") not in ("eq", "ineq") or not set(constraint) <= {"type", "fun", "args", "jac"}:
        raise ValueError(
            f"{variables.where}: {where} is {{'type': 'eq' or 'ineq', 'fun': g}}, and 'args' if need be, not "
            f"{dict(constraint)!r}"
        )
    _require_no_derivative(variables.where, where, constraint)
    function = _function(variables.where, where, constraint.get("fun"))
    g = Function(where, function, variables, differentiable, tuple(constraint.get("args", ())))
    found = {"type": constraint["type"], "fun": g.values}
    return {**found, "jac": g.matrix} if differentiable else found


def _function(where: str, what: str, given: Any) -> Callable[..., Any]:
    if not callable(given):
        raise TypeError(f"{where}: the fun of {what} must be a function of x, not {type(given).__name__}")
    found: Callable[..., Any] = given
    return found


def _require_no_derivative(where: str, what: str, given: Mapping[str, Any]) -> None:
    for key in ("jac", "hess"):
        if callable(given.get(key)):
            raise ValueError(
                f"{where}: {what} brings a {key!r} of its own; leave it out, the engine has the derivatives"
            )


def _curvature(g: Function, x: Array, weights: Array, second: str) -> Any:
    """The second derivatives of Σ weights · g."""
    H = g.hessian(x, weights)
    if H is None:
        return np.zeros((x.size, x.size))
    return g.finite("Hessian", H.to_dense().astype(float)) if second == "dense" else H
