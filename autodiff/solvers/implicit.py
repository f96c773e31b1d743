"""Roots, fixed points and minimisers, whose derivatives by the parameters follow from the equation that they solve: the
implicit function theorem, dx/dp = −(∂F/∂x)⁻¹ ∂F/∂p where F(x, p) = 0.

Order: the theorem as an operation, then what uses it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.guards import raw
from ..ops.linalg import as_real
from ..primitive import primitive
from ..tensor import Tensor
from ..transforms.functional import grad, hessian, jacobian, vjp
from .parameters import Function, Parameters, gathered

_REFINEMENTS = 6


def _solution(name: str, equation: Function, find: Function, x0: Any, args: Any) -> Tensor:
    """The solution x of equation(x, *args) = 0 that `find(F, parameters, start)` leads to, as a function of args."""
    parameters = Parameters(name, args)
    start = np.asarray(raw(as_real(x0, name)), dtype=np.float64)
    n = start.size
    residual = parameters.called(equation, start)
    if residual.size != n:
        raise ValueError(f"{name}: {n} unknowns of shape {start.shape}, but the function gives shape {residual.shape}")

    def flat(x: Any, values: Any) -> Any:
        return equation(x, *parameters.args(values)).reshape(-1)

    def slopes(x: Any, values: Any) -> Any:
        return jacobian(lambda x: flat(x, values))(x).reshape(n, n)

    def forward(*values: Any) -> Any:
        F = parameters.numbers(equation, values)
        x = np.asarray(find(values, start), np.float64).reshape(start.shape)
        error = np.abs(F(x)).max(initial=0)
        for _ in range(
            _REFINEMENTS
        ):  # Newton's steps, as long as they lead nearer: the derivative needs the root itself
            try:
                step = np.linalg.solve(np.asarray(slopes(x, values)), F(x).reshape(-1))
            except np.linalg.LinAlgError:
                break
            nearer = x - step.reshape(x.shape)
            left = np.abs(F(nearer)).max(initial=0)
            if not left < error:
                break
            x, error = nearer, left
        return x

    def pulled(g: Any, x: Any, *values: Any) -> Any:
        try:
            weights = np.linalg.solve(slopes(x, values).T, g.reshape(-1))
        except np.linalg.LinAlgError:
            raise np.linalg.LinAlgError(
                f"{name}: has no derivative here, the slopes of the equation at the solution are singular"
            ) from None
        return vjp(lambda *v: flat(x, v), *values)[1](-weights)

    if not parameters.values:
        return Tensor(forward())
    solve = primitive(
        forward, name=name, vjp=pulled, opaque="a solver", formula="x with F(x, {0}, …) = 0",
        derivatives=["−(∂F/∂p)ᵀ (∂F/∂x)⁻ᵀ"],
    )  # fmt: skip
    return solve(*parameters.values)


def root(f: Function, x0: Any, args: Any = (), method: str = "hybr", tol: float | None = None) -> Tensor:
    """A root of ``f(x, *args) = 0``, as `scipy.optimize.root` finds it, differentiable by args to any order.

    Args:
        f: written with operators and NumPy functions; as many values as unknowns, a Tensor or a list of them.
        x0: where to start, any shape; the root does not depend on it.
        args: further arguments, nested lists, tuples and dicts of Tensors, arrays and numbers.
        method, tol: as SciPy's. The root is refined by Newton's method to rounding.

    Returns:
        The root, of the shape of x0, in double precision.

    Raises:
        ValueError: no root is found, or there are not as many values as unknowns.
        LinAlgError: (in the derivative) ∂f/∂x is singular at the root.
        TypeError: f gives no Tensor, or reads a Tensor that requires a gradient beside its arguments.

    >>> a = Tensor(2.0, requires_grad=True)
    >>> x = root(lambda x, a: x * x - a, 1.0, (a,))
    >>> x.backward(); a.grad  # 1 / (2 √a)
    Tensor(0.35355339)
    """
    import scipy.optimize

    f, parameters = gathered(f), Parameters("root", args)

    def find(values: Any, start: Any) -> Any:
        F = parameters.numbers(f, values)
        found = scipy.optimize.root(lambda x: F(x.reshape(start.shape)).ravel(), start.ravel(), method=method, tol=tol)
        if not found.success:
            raise ValueError(f"root: none is found from x0 = {start!s}: {found.message}")
        return found.x

    return _solution("root", f, find, x0, args)


def fixed_point(
    f: Function, x0: Any, args: Any = (), xtol: float = 1e-8, maxiter: int = 500, method: str = "del2"
) -> Tensor:
    """A fixed point ``x = f(x, *args)``, as `scipy.optimize.fixed_point` finds it, differentiable by args to any order.

    Arguments, returns and errors as `root`; xtol, maxiter and method ("del2" or "iteration") as SciPy's.

    >>> fixed_point(lambda x, a: np.cos(a * x), 0.5, (1.0,))
    Tensor(0.73908513)
    """
    import scipy.optimize

    f, parameters = gathered(f), Parameters("fixed_point", args)
    parameters.called(f, raw(as_real(x0, "fixed_point")))

    def find(values: Any, start: Any) -> Any:
        return scipy.optimize.fixed_point(
            parameters.numbers(f, values), start, xtol=xtol, maxiter=maxiter, method=method
        )

    return _solution("fixed_point", lambda x, *args: x - f(x, *args), find, x0, args)


def minimize(f: Function, x0: Any, args: Any = (), method: str = "BFGS", tol: float | None = None) -> Tensor:
    """A minimiser of ``f(x, *args)`` over x, as `scipy.optimize.minimize` finds it, with all derivatives by args.

    Args:
        f: gives one number. Its gradient is filled in, and for methods that take one its Hessian.
        x0, args, method, tol: as for `root`; without bounds and constraints.

    Returns:
        The minimiser, of the shape of x0, in double precision.

    Raises:
        ValueError: none is found, or f gives more than one number. LinAlgError: (in the derivative) the Hessian is
            singular there.
        TypeError: as `root`.

    >>> minimize(lambda x, a: ((x - a) ** 2).sum(), [0.0, 0.0], ([1.0, 2.0],))
    Tensor([1., 2.])
    """
    import scipy.optimize

    parameters = Parameters("minimize", args)
    value = parameters.called(f, raw(as_real(x0, "minimize")))
    if value.size != 1:
        raise ValueError(f"minimize: the function gives shape {value.shape}; it must give one number (.sum(), .mean())")

    def find(values: Any, start: Any) -> Any:
        constants = parameters.plain(values)
        value = parameters.numbers(f, values)
        options: dict[str, Any] = {}
        if method not in ("Nelder-Mead", "Powell", "COBYLA", "COBYQA"):
            options["jac"] = lambda x: np.asarray(grad(f)(x.reshape(start.shape), *constants)).ravel()
        if method in ("Newton-CG", "dogleg", "trust-ncg", "trust-krylov", "trust-exact"):
            n = start.size
            options["hess"] = lambda x: np.asarray(hessian(f)(x.reshape(start.shape), *constants)).reshape(n, n)
        found = scipy.optimize.minimize(
            lambda x: float(value(x.reshape(start.shape))), start.ravel(), method=method, tol=tol, **options
        )
        if not found.success and found.status != 2:  # of which 2 is the end of what rounding leaves to gain
            raise ValueError(f"minimize: no minimiser is found from x0 = {start!s}: {found.message}")
        return found.x

    return _solution("minimize", lambda x, *args: _slope(f, x, args), find, x0, args)


def _slope(f: Function, x: Any, args: Any) -> Tensor:
    slope = grad(f)(x, *args)
    return slope if isinstance(slope, Tensor) else Tensor(slope)
