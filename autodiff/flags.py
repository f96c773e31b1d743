"""Options that are annotated as `bool` are True or False: "no" and "False" are true in Python.

One check for constructors of layers and optimisers and for functions, which read it from their annotations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def flags(called: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Whether all that a class's constructor or a function annotates as `bool` is True or False (or None, where the
    annotation says so).

    Args:
        called: the class or function; those of other packages are their authors' business.
        args, kwargs: what it is called with.

    Raises:
        TypeError: otherwise.
    """
    for position, name, optional in _flags(called):
        value = args[position] if position < len(args) else kwargs.get(name, False)
        if not isinstance(value, (bool, np.bool_)) and not (optional and value is None):
            raise TypeError(f"{called.__name__}: {name} is True or False, not {value!r}")


def flagged(function: F) -> F:
    """Decorator: the function, whose flags are checked at each call that gives some."""
    first = min([position for position, _, _ in _flags(function)])

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) > first:
            flags(function, args, kwargs)
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]  # of the function's own type, which wraps() does not say


@functools.lru_cache(maxsize=512)
def _flags(called: Any) -> tuple[tuple[int, str, bool], ...]:
    """Position, name and whether it may be None, of each option that is annotated as `bool`."""
    function = called.__init__ if isinstance(called, type) else called  # type: ignore[misc]  # of this very class
    if (getattr(function, "__module__", None) or "").partition(".")[0] not in ("autodiff", "nn", "optim"):
        return ()
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    return tuple(
        (i if p.kind is p.POSITIONAL_OR_KEYWORD else len(parameters), p.name, "None" in str(p.annotation))
        for i, p in enumerate(parameters)
        if str(p.annotation).startswith("bool")
    )
