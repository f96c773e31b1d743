"""Grad mode: whether operations are recorded, for this thread and this async task.

The mode is one context variable. Its value is True (record), False (do not), or a `Watch` (see debug.py) that
looks at every operation as it is made; operations read it once each, so that watching costs nothing while off.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

mode: ContextVar[Any] = ContextVar("autodiff_mode", default=True)

_differentiated: ContextVar[bool] = ContextVar("autodiff_differentiated", default=False)


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require a gradient are being recorded here.

    >>> with no_grad():
    ...     is_grad_enabled()
    False
    """
    value = mode.get()
    return value if isinstance(value, bool) else value.recording


def derivative_is_taken() -> bool:
    """Whether a derivative of what runs here will be taken: inside the function of a transform, a checkpoint or a
    curvature operator, and in rules that record; not inside `no_grad` there."""
    return _differentiated.get() and is_grad_enabled()


class Setting:
    """A value for `mode`: a context manager, and a decorator of functions, generators and coroutines.

    A generator that holds one open and is closed in another thread or task leaves the mode there as it is.
    """

    def __init__(self) -> None:
        self._tokens: list[Token[Any]] = []

    def value(self, outer: Any) -> Any:
        """The mode inside, given the mode outside."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        self._tokens.append(mode.set(self.value(mode.get())))
        return self

    def __exit__(self, *exception: object) -> None:
        tokens = self._tokens
        for i in range(len(tokens) - 1, -1, -1):
            try:
                mode.reset(tokens[i])
            except ValueError:  # of another thread or task that entered this object too
                continue
            del tokens[i]
            return

    def _again(self) -> Setting:
        return type(self)()

    def __call__(self, function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def inside(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def inside(*args: Any, **kwargs: Any) -> Any:
                # The body runs in pieces: the mode is set for each piece only, not for whoever iterates.
                generator, sent, thrown = function(*args, **kwargs), None, None
                while True:
                    try:
                        with self._again():
                            item = generator.send(sent) if thrown is None else generator.throw(thrown)
                    except StopIteration as stop:
                        return stop.value
                    thrown = None
                    try:
                        sent = yield item
                    except GeneratorExit:
                        with self._again():
                            generator.close()
                        raise
                    except BaseException as error:
                        thrown = error

        elif inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def inside(*args: Any, **kwargs: Any) -> Any:
                generator, sent, thrown = function(*args, **kwargs), None, None
                while True:
                    try:
                        with self._again():
                            item = await (generator.asend(sent) if thrown is None else generator.athrow(thrown))
                    except StopAsyncIteration:
                        return
                    thrown = None
                    try:
                        sent = yield item
                    except GeneratorExit:
                        with self._again():
                            await generator.aclose()
                        raise
                    except BaseException as error:
                        thrown = error

        else:

            @functools.wraps(function)
            def inside(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return function(*args, **kwargs)

        return inside  # type: ignore[return-value]  # of the function's own type, which wraps() does not say


class _Switch(Setting):
    _recording: bool

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        setting = super().__new__(cls)
        if function is None:
            return setting
        if not callable(function):
            raise TypeError(f"{cls.__name__}() takes no argument (or a function to decorate), not {function!r:.80}")
        setting._tokens = []
        return setting(function)

    def value(self, outer: Any) -> Any:
        return self._recording if isinstance(outer, bool) else outer.switched(self._recording)


class no_grad(_Switch):
    """Stop recording, in a ``with`` block or as a decorator; results need no gradient and keep no graph.

    >>> from autodiff import Tensor
    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad():
    ...     (x * x).requires_grad
    False
    """

    _recording = False


class enable_grad(_Switch):
    """Record again inside a `no_grad` block; a ``with`` block or a decorator.

    >>> with no_grad(), enable_grad():
    ...     is_grad_enabled()
    True
    """

    _recording = True


class differentiating:
    """Record because a derivative of what runs inside will be taken: no value that carries one may leave the graph
    there (see leaving.py)."""

    __slots__ = ("_tokens",)

    def __enter__(self) -> None:
        outer = mode.get()
        recording = True if isinstance(outer, bool) else outer.switched(True)
        self._tokens = mode.set(recording), _differentiated.set(True)

    def __exit__(self, *exception: object) -> None:
        outer, before = self._tokens
        mode.reset(outer)
        _differentiated.reset(before)
