"""Random numbers among examples: what `vmap` answers where a function draws, and a generator for each example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..opaque import Opaque, drawing
from ..tensor import Tensor, is_foreign, plain, wrap
from .batch import BatchError, Level, level_of, of_each

RANDOMNESS = ("error", "different", "same")
"""Whether examples may draw, and whether each its own numbers or all the same."""


@contextmanager
def drawn(level: Level, randomness: str) -> Iterator[None]:
    """Inside the with statement functions that draw do so for the examples of a level."""
    outer = drawing.get()

    def asked(function: Opaque, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        name = function.__name__
        token = drawing.set(outer)
        try:
            if any(isinstance(x, Generators) and x.level is level for x in args):
                return of_each(
                    level,
                    lambda i, *args, **kwargs: function(*[_own(x, level, i) for x in args], **kwargs),
                    name, args, kwargs,
                )  # fmt: skip
            if randomness == "error":
                raise BatchError(
                    f"ad.vmap: {name} draws random numbers; say whether each example draws its own or all draw the "
                    f"same, ad.vmap(f, randomness='different') or 'same', or give the generator as an argument"
                )
            if randomness == "same" and level_of((*args, *kwargs.values())) is None:
                return function(*args, **kwargs)
            bits = [x.bit_generator for x in args if isinstance(x, np.random.Generator)]
            before = [b.state for b in bits]

            def of_one(i: int, *args: Any, **kwargs: Any) -> Any:
                if randomness == "same":
                    for b, state in zip(bits, before):
                        b.state = state
                return function(*args, **kwargs)

            return of_each(level, of_one, name, args, kwargs)
        finally:
            drawing.reset(token)

    token = drawing.set(asked)
    try:
        yield
    finally:
        drawing.reset(token)


def _own(x: Any, level: Level, i: int) -> Any:
    return x.each[i] if isinstance(x, Generators) and x.level is level else x


class Generators(np.random.Generator):
    """A generator for each example of a level, which draws for all of them as one draws for one.

    Args:
        level: that of the examples.
        each: their generators.
    """

    def __init__(self, level: Level, each: Sequence[np.random.Generator]) -> None:
        super().__init__(np.random.PCG64(0))
        self.level, self.each = level, each

    def __getattribute__(self, name: str) -> Any:
        if name == "bit_generator":
            return _States(self.each)
        if name.startswith("_") or not hasattr(np.random.Generator, name):
            return object.__getattribute__(self, name)
        if name in ("shuffle", "spawn"):
            raise BatchError(
                f"ad.vmap: .{name}() of a generator for each example; use .permutation(), or split it outside"
            )
        return lambda *args, **kwargs: self._drawn(name, args, kwargs)

    def _drawn(self, name: str, args: Any, kwargs: Any) -> Tensor:
        if kwargs.get("out") is not None:
            raise BatchError(f"ad.vmap: .{name}(out=) of a generator for each example; use the numbers it returns")
        for x in (*args, *kwargs.values()):
            if isinstance(x, Tensor) and x.requires_grad:
                raise TypeError(
                    f"ad.vmap: .{name}() of a generator has no derivative by its arguments; draw in standard form, as "
                    f"loc + scale * rng.standard_normal(size), or use ad.stats.{name}.rvs(..., rng=rng)"
                )
        args, kwargs = tuple(map(plain, args)), {key: plain(x) for key, x in kwargs.items()}
        each = self.each
        return wrap(
            of_each(self.level, lambda i, *a, **k: plain(getattr(each[i], name)(*a, **k)), f".{name}()", args, kwargs)
        )


def split(rng: np.random.Generator, level: Level) -> Generators:
    """A generator for each example: example i has ``np.random.default_rng(words[i])``, where ``words =
    rng.integers(2**32, size=(examples, 4))``."""
    return Generators(level, _split(rng, level.size))


def _split(rng: np.random.Generator, count: int) -> list[np.random.Generator]:
    if isinstance(rng, Generators):
        return [Generators(rng.level, column) for column in zip(*[_split(own, count) for own in rng.each])]
    words = rng.integers(2**32, size=(count, 4))
    if is_foreign(words):
        raise BatchError(
            "ad.vmap: a generator that is mapped is split by numbers, which a traced function (ad.compile) does not "
            "have yet; draw for all examples, rng.normal(size=(examples, ...)), and map the array"
        )
    return [np.random.default_rng(each) for each in words]


class _States:
    """The states of several generators, as that of one."""

    def __init__(self, each: Sequence[np.random.Generator]) -> None:
        self._each = each

    @property
    def state(self) -> list[Any]:
        """To be put back."""
        return [rng.bit_generator.state for rng in self._each]

    @state.setter
    def state(self, states: list[Any]) -> None:
        for rng, state in zip(self._each, states):
            rng.bit_generator.state = state
