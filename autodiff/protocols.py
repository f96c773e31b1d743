"""What NumPy calls when one of its functions meets a Tensor: three tables and the two doors that read them.

The tables are filled by the operations themselves (ops/), each beside its declaration.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

UFUNCS: dict[Any, Callable[..., Any]] = {}
"""NumPy's ufunc -> our operation."""

REDUCTIONS: dict[tuple[Any, str], Callable[..., Any]] = {}
"""(ufunc, method) -> our operation, such as (np.add, "reduce") -> sum."""

SCIPY_UFUNCS: dict[str, Callable[..., Any]] = {}
"""Name in scipy.special -> our operation (by name, so that SciPy is not imported here)."""

FUNCTIONS: dict[Any, Callable[..., Any]] = {}
"""NumPy's function -> our operation."""


def implements(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the function below is what these NumPy functions do on Tensors."""

    def register(operation: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            (UFUNCS if hasattr(function, "nin") else FUNCTIONS)[function] = operation
        return operation

    return register


def _no_rule(name: str) -> TypeError:
    return TypeError(
        f"{name} has no rule for Tensors. Use operations listed in autodiff, declare your own with ad.primitive, or "
        f"pass plain arrays (t.numpy() or t.detach().numpy()) where no gradient is wanted."
    )


def _module_of(function: Any) -> str:
    module = getattr(function, "__module__", None) or ""
    return "np" if module == "numpy" else module.replace("numpy", "np", 1) if module.startswith("numpy.") else module


def array_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Apply our operation in place of ``ufunc.method(*inputs, **kwargs)``."""
    name = ufunc.__name__
    operation = UFUNCS.get(ufunc) if method == "__call__" else REDUCTIONS.get((ufunc, method))
    special = None
    if operation is None and method == "__call__":
        special = sys.modules.get("scipy.special")
        if special is not None and getattr(special, name, None) is ufunc:
            operation = SCIPY_UFUNCS.get(name)
        else:
            special = None
    if operation is None:
        prefix = "scipy.special." if special is not None else "np."
        raise _no_rule(f"{prefix}{name}" + ("" if method == "__call__" else f".{method}"))
    if kwargs:
        for key in ("out", "where", "dtype", "casting", "order", "subok", "signature", "axes", "axis", "initial"):
            if key not in kwargs or (method != "__call__" and key in ("axis", "initial")):
                continue
            if key == "out":
                if all(target is None for target in kwargs["out"]):
                    del kwargs["out"]
                    continue
                raise TypeError(
                    f"np.{name}: out= (an array that is written, as in `array += tensor`) cannot be combined with a "
                    f"Tensor; write `array = array {_SYMBOLS.get(name, name)} tensor`, a new Tensor."
                )
            if key == "where":
                if kwargs["where"] is True:
                    del kwargs["where"]
                    continue
                raise TypeError(
                    f"np.{name}: where= leaves entries undefined and is refused on a Tensor; "
                    f"write np.where(mask, np.{name}(...), other)."
                )
            raise TypeError(f"np.{name}: the option {key}= is not supported on a Tensor; use t.astype(dtype) before.")
    return operation(*inputs, **kwargs)


_SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "matmul": "@"}


def array_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Apply our operation in place of NumPy's ``function(*args, **kwargs)``."""
    operation = FUNCTIONS.get(function)
    if operation is None:
        module, name = _module_of(function), function.__name__
        if module.startswith("np.fft"):
            raise TypeError(f"{module}.{name} needs complex tensors, which are not supported; use plain arrays.")
        raise _no_rule(f"{module}.{name}")
    if kwargs.get("out") is not None:
        raise TypeError(f"np.{function.__name__}: out= is refused on a Tensor; the result is a new Tensor.")
    kwargs.pop("out", None)
    try:
        return operation(*args, **kwargs)
    except TypeError as error:
        if "unexpected keyword argument" in str(error) or "positional argument" in str(error):
            raise TypeError(f"np.{function.__name__} on a Tensor: {error}") from None
        raise


def refuse_silent_detach() -> None:
    """Raise if a SciPy function, which knows no protocol, is about to turn a tensor that requires a gradient into a
    plain array. Solvers that only look at values (scipy.optimize, scipy.integrate) may."""
    frame: Any = sys._getframe(2)
    name = None
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("scipy."):
            if module.startswith(("scipy.optimize", "scipy.integrate", "scipy.sparse.linalg._eigen")):
                return
            if not frame.f_code.co_name.startswith(("_", "<")):
                name = f"{'.'.join(p for p in module.split('.') if not p.startswith('_'))}.{frame.f_code.co_name}"
        elif not module.startswith("numpy"):
            break
        frame = frame.f_back
    if name is not None:
        raise _no_rule(name)
