"""A generator of random numbers in a trace: what it draws is drawn by the program, at every call, in the same order."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .tracer import Trace, call, traced, values_of

_OPTIONS = frozenset("size dtype method endpoint replace axis shuffle check_valid tol".split())
"""Arguments of draws that decide about shapes and ways."""
_INSTEAD = {
    "shuffle": "write x = rng.permutation(x), which makes a new array",
    "spawn": "spawn generators outside, and give each as an argument",
    "bytes": "draw integers, rng.integers(256, size=n)",
}
"""By method that no program can repeat: what to write instead."""


class TracedGenerator(np.random.Generator):
    """Stands for a generator that the function is given, whose bit generator it shares: draws are calls of the program.

    Args:
        trace: where they are written down.
        generator: the generator, from which the program draws.

    >>> rng = np.random.default_rng(0)
    >>> drawn = TracedGenerator(Trace(), rng).normal(size=3)
    >>> bool((drawn.value == np.random.default_rng(0).normal(size=3)).all()), drawn.node.op
    (True, 'call')
    """

    def __init__(self, trace: Trace, generator: np.random.Generator) -> None:
        super().__init__(generator.bit_generator)
        self.trace, self.generator = trace, generator
        trace.stand_ins[self] = generator

    def drawn(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The tracer of what a method of this name draws."""
        trace, written = self.trace, f"rng.{name}"
        if name in _INSTEAD:
            trace.refuse(f"{written}() in a traced function", _INSTEAD[name])
        method = getattr(self.generator, name)
        bound = inspect.signature(method).bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        if given.pop("out", None) is not None:
            trace.refuse(f"{written}: out=", f"make a new array, {written}(size=x.shape)")
        option = next((key for key in given if key in _OPTIONS and any(True for _ in traced((given[key],)))), None)
        if option is not None:
            trace.refuse(f"{written}: a traced {option}", "give a Python number, or what x.shape says")
        named = [key for key in given if any(True for _ in traced((given[key],)))]
        trace.drawing((self.generator,), {})
        call_of = _Draw(method, named, given)
        inputs = tuple(given[key] for key in named)
        value = call_of(*map(values_of, inputs))
        trace.drawn((self.generator,), {})
        if not isinstance(value, (np.ndarray, np.generic)):
            trace.refuse(
                f"{written} draws a Python number, which would be the same at every call",
                f"draw an array without axes, {written}(..., size=())",
            )
        return call(trace, call_of, inputs, {}, value, "", name, draws=True)


class _Draw:
    """A draw as a function of those of its arguments that are traced."""

    def __init__(self, method: Callable[..., Any], named: list[str], given: dict[str, Any]) -> None:
        self.method, self.named, self.__name__ = method, named, method.__name__
        kinds = inspect.signature(method).parameters
        self.positional = [key for key in given if kinds[key].kind is not inspect.Parameter.KEYWORD_ONLY]
        self.given = {key: values_of(x) for key, x in given.items()}

    def __call__(self, *args: Any) -> Any:
        given = self.given | dict(zip(self.named, args))
        first = [given.pop(key) for key in self.positional]
        return self.method(*first, **given)


def _method(name: str) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: self.drawn(name, args, kwargs)


for _name, _value in vars(np.random.Generator).items():
    if callable(_value) and not _name.startswith("_"):
        setattr(TracedGenerator, _name, _method(_name))
