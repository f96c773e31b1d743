"""What NumPy calls when one of its functions meets a Tensor: three tables and the two doors that read them.

The tables are filled by the operations themselves (ops/), each beside its declaration.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .elsewhere import AXES
from .leaving import no_rule, refuse_option

UFUNCS: dict[Any, Callable[..., Any]] = {}
"""NumPy's ufunc -> our operation."""

REDUCTIONS: dict[tuple[Any, str], Callable[..., Any]] = {}
"""(ufunc, method) -> our operation, such as (np.add, "reduce") -> sum."""

SCIPY_UFUNCS: dict[str, Callable[..., Any]] = {}
"""Name in scipy.special -> our operation (by name, so that SciPy is not imported here)."""

FUNCTIONS: dict[Any, Callable[..., Any]] = {}
"""NumPy's function -> our operation."""


F = TypeVar("F", bound=Callable[..., Any])


def implements(*functions: Any, passing: bool = False) -> Callable[[F], F]:
    """Decorator: the function below is what these NumPy functions do on Tensors. Its options are looked at
    (`optioned`), unless it is `passing` them on to its record as they are, where they are looked at anyway."""

    def register(operation: F) -> F:
        operation = AXES.checked(operation) if passing else optioned(operation)
        for function in functions:
            (UFUNCS if hasattr(function, "nin") else FUNCTIONS)[function] = operation
        return operation

    return register


OPTIONS = frozenset(
    "axes axis axis1 axis2 axisa axisb axisc check_finite compute_uv copy correction ddof decimals destination dtype "
    "endpoint full_matrices hermitian indexing indices_or_sections k keepdims kind kth lower minlength mode n num "
    "offset ord order overwrite_b p pad_width rcond reflect_type repeats reps requires_grad retstep rtol shape shift "
    "source sparse stable subok trans unit_diagonal upper".split()
)
"""Names of parameters by which no operation has a derivative."""


def optioned(operation: F) -> F:
    """Decorator: the operation, which refuses a tensor that requires a gradient where it takes an option, and says
    which word NumPy has for PyTorch's (`Words`)."""
    code = getattr(operation, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARKEYWORDS:  # of `unary` and the like, which look themselves
        return operation
    names = code.co_varnames[: code.co_argcount]
    places = [i for i, name in enumerate(names) if name in OPTIONS]
    if not places and OPTIONS.isdisjoint(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]):
        return operation
    first = min(places, default=len(names))

    @functools.wraps(operation)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for i, value in enumerate(args[first:], first):
            if getattr(value, "_requires_grad", False) and i in places:
                refuse_option(operation.__name__, names[i], value)
        for name, value in kwargs.items():
            if getattr(value, "_requires_grad", False) and name in OPTIONS:
                refuse_option(operation.__name__, name, value)
        try:
            return operation(*args, **kwargs)
        except TypeError:
            AXES.check(operation.__name__, operation, kwargs)
            raise

    return checked  # type: ignore[return-value]  # of the operation's own type, which wraps() does not say


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
        prefix = "scipy.special." if special is not None else "np." if vars(np).get(name) is ufunc else "the ufunc "
        raise no_rule(f"{prefix}{name}" + ("" if method == "__call__" else f".{method}"))
    allowed = _ALLOWED["reduce" if ufunc.signature else method]
    options = {}
    for key, value in sorted(kwargs.items(), key=lambda option: option[0] != "out"):
        if key in allowed:
            options[key] = value
        elif key == "out" and any(target is not None for target in value):
            instead = f"array = array {_SYMBOLS[name]} tensor" if name in _SYMBOLS else f"result = np.{name}(tensor)"
            raise TypeError(
                f"np.{name}: out= (an array that is written, as in `array += tensor`) cannot be combined with a "
                f"Tensor; write `{instead}`, a new Tensor."
            )
        elif key == "where" and value is not True:
            raise TypeError(
                f"np.{name}: where= leaves entries undefined and is refused on a Tensor; "
                f"write np.where(mask, np.{name}(...), other)."
            )
        elif key not in ("out", "where"):
            raise TypeError(f"np.{name}: the option {key}= is not supported on a Tensor; convert with t.astype first.")
    if method == "__call__" and "dtype" in options:
        inputs = _cast(ufunc, inputs, **options)
        options = {}
    return operation(*inputs, **options)


_ALLOWED = {
    "__call__": ("dtype", "casting"),
    "reduce": ("axis", "keepdims", "dtype", "initial", "where"),
    "accumulate": ("axis", "dtype"),
    "reduceat": ("axis", "dtype"),
    "outer": (),
}
"""By method of a ufunc: the options that our operations have."""


def _cast(ufunc: Any, inputs: tuple[Any, ...], dtype: Any, casting: str = "same_kind") -> tuple[Any, ...]:
    """The inputs in the dtypes of the loop that NumPy would run for a result of this dtype. (Python's numbers stay as
    they are, which is weak.)"""
    values = [x if hasattr(x, "dtype") or type(x) in (int, float) else np.asarray(x) for x in inputs]
    kinds = [type(x) if type(x) in (int, float) else x.dtype for x in values]
    wanted = (None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout
    try:
        found = ufunc.resolve_dtypes((*kinds, *(None,) * ufunc.nout), signature=wanted, casting=casting)
    except TypeError as error:
        raise TypeError(f"np.{ufunc.__name__}: dtype={np.dtype(dtype)}: {error}") from None
    return tuple([x if isinstance(k, type) or k == d else x.astype(d) for x, k, d in zip(values, kinds, found)])


_SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "matmul": "@"}


def array_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Apply our operation in place of NumPy's ``function(*args, **kwargs)``."""
    operation = FUNCTIONS.get(function)
    if operation is None:
        module, name = _module_of(function), function.__name__
        raise no_rule(f"{module}.{name}")
    if kwargs.get("out") is not None:
        name = function.__name__
        raise TypeError(f"np.{name}: out= is refused on a Tensor; write result = np.{name}(...), a new Tensor.")
    kwargs.pop("out", None)
    try:
        return operation(*args, **kwargs)
    except TypeError as error:
        if "unexpected keyword argument" in str(error) or "positional argument" in str(error):
            raise TypeError(f"np.{function.__name__} on a Tensor: {error}") from None
        raise
