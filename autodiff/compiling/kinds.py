"""``type(x)`` in the user's functions while they are traced: of a traced array it is the type of NumPy's."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .tracer import Tracer


class _Asked(type):
    """What the name ``type`` stands for: as a class it is Python's own."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is not _Type:
            return super().__call__(*args, **kwargs)
        if len(args) != 1 or kwargs:
            made = type(*args, **kwargs)
            if "__module__" not in args[2]:  # which Python takes from the code that makes the class
                made.__module__ = sys._getframe(1).f_globals.get("__name__", "builtins")
            return made
        kind = type(args[0])
        return type(args[0].value) if kind is Tracer else _Type if kind is type else kind

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, type) if cls is _Type else super().__instancecheck__(x)

    def __subclasscheck__(cls, kind: Any) -> bool:
        return issubclass(kind, type) if cls is _Type else super().__subclasscheck__(kind)

    def __eq__(cls, other: object) -> bool:
        return cls is other or (cls is _Type and other is type)

    def __hash__(cls) -> int:
        return hash(type) if cls is _Type else super().__hash__()


class _Type(type, metaclass=_Asked):
    pass


@contextmanager
def types_of_arrays(variables: Iterable[dict[str, Any]]) -> Iterator[None]:
    """While this is open, ``type`` in modules of these global variables, which have no such name, knows traced arrays.

    >>> import numpy as np
    >>> from autodiff.compiling.tracer import Trace
    >>> names = {"x": Trace().input(np.ones(2)), "np": np}
    >>> with types_of_arrays([names]):
    ...     eval("type(x) is np.ndarray, isinstance(np.ndarray, type), type([])", names)
    (True, True, <class 'list'>)
    """
    places = [names for names in variables if "type" not in names]
    for names in places:
        names["type"] = _Type
    try:
        yield
    finally:
        for names in places:
            names.pop("type", None)
