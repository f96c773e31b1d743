"""Functions that read memory, positions or values themselves: an array type that is not NumPy's is given them whole.

Nothing inside can be written down call by call, batched or sent to another device; such an array type is asked through
NumPy's own protocol, ``__array_function__``, and may run the function on the values that it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from .tensor import NATIVE, Tensor, is_foreign

drawing: ContextVar[Callable[..., Any] | None] = ContextVar("autodiff_drawing", default=None)
"""Who is asked where a function draws random numbers: it is given the function, its arguments and its options, and
returns what stands for the result (see batching/draws.py)."""


class Opaque:
    """A function of arrays that a foreign array gets as one call: ``array.__array_function__(opaque, types, args,
    kwargs)``, where ``opaque.function(*args, **kwargs)`` on NumPy's arrays is what it stands for.

    Args:
        function: of arrays, numbers and options; it returns an array or a tuple of them.
        name: what programs and errors call it.
        reason: why it is not written in NumPy's functions.
        draws: whether it draws from a generator among its arguments: each call then gives other values, in turn.
        stacks: how it takes many examples at once: "leading" where all its arrays may have more axes in front, a tuple
            of positions where these have independent rows along their first axis, so that more examples are more rows.
        written: the same in NumPy's functions, for who follows a function call by call, however slow.

    >>> import numpy as np
    >>> Opaque(lambda a: a[::2], "every_other", "an example")(np.arange(4.0))
    array([0., 2.])
    """

    def __init__(
        self, function: Callable[..., Any], name: str, reason: str, draws: bool = False,
        stacks: str | tuple[int, ...] = "", written: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        self.written, self.is_written = written or function, written is not None
        self.function, self.__name__, self.reason, self.draws, self.stacks = function, name, reason, draws, stacks
        self.__doc__, self.__wrapped__, self.__module__ = function.__doc__, function, function.__module__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        asked = drawing.get() if self.draws else None
        if asked is not None:
            return asked(self, args, kwargs)
        named = [name for name, a in kwargs.items() if is_foreign(a)]
        met = [a for x in args for a in (x if type(x) is tuple else (x,)) if is_foreign(a)]
        if not (met or named) or any(isinstance(a, Tensor) for a in args):  # on Tensors it records what it does
            return self.function(*args, **kwargs)
        if named:
            return self._by_position(len(args), named)(
                *args, *[kwargs[name] for name in named], **{k: v for k, v in kwargs.items() if k not in named}
            )
        types = tuple({type(a): None for a in met})
        for a in met:
            result = a.__array_function__(self, types, args, kwargs)
            if result is not NotImplemented:
                return result
        raise TypeError(
            f"{self.__name__}: runs on NumPy's arrays alone, not on {type(met[0]).__name__} ({self.reason})"
        )

    def _by_position(self, n: int, named: list[str]) -> Opaque:
        """The same, with some options behind its n arguments: an array type sees its arrays there only."""

        def function(*args: Any, **kwargs: Any) -> Any:
            return self.function(*args[:n], **dict(zip(named, args[n:])), **kwargs)

        def written(*args: Any, **kwargs: Any) -> Any:
            return self.written(*args[:n], **dict(zip(named, args[n:])), **kwargs)

        given = written if self.is_written else None
        return Opaque(function, self.__name__, self.reason, self.draws, self.stacks, given)

    def __repr__(self) -> str:
        return f"<opaque {self.__name__}>"


def opaque(
    function: Callable[..., Any], name: str, reason: str, draws: bool = False, stacks: str | tuple[int, ...] = "",
    written: Callable[..., Any] | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """The function as an `Opaque` one, with a quick way for NumPy's arrays and Tensors: arrays of other types are
    looked for among the arguments and the options, not in tuples. Without a reason, the function itself."""
    if not reason:
        return function
    whole = Opaque(function, name, reason, draws, stacks, written)

    def either(*args: Any, **kwargs: Any) -> Any:
        if draws and drawing.get() is not None:
            return whole(*args, **kwargs)
        for a in args:
            if type(a) not in NATIVE:
                return whole(*args, **kwargs)
        if kwargs and any(map(is_foreign, kwargs.values())):
            return whole(*args, **kwargs)
        return function(*args, **kwargs)

    either.__name__, either.__doc__ = name, function.__doc__
    return either
