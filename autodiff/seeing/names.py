"""What tensors are called, alike in pictures, tables and pages.

By the names the user gives, those the tensors carry, those of the program's variables and of the parameters of the
modules that they hold, L for the output, and v1, v2 … for all else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

import numpy as np

from ..tensor import Tensor
from .printable import appearance, printable

_FUNCTION = 1
"""The flag of code whose variables are no dict of their own (``inspect.CO_OPTIMIZED``, which is slow to import)."""

LONGEST = 100
"""Of a name of more letters, the middle is left out."""

LIMIT = 20_000
"""From a graph of so many operations on, what has no name gets none: nobody would see them all."""


def _held(frame: FrameType) -> list[tuple[str, Any]]:
    """What the variables of a frame hold, local ones first; none whose name begins with an underscore."""
    local = frame.f_locals
    found = [(name, x) for space in (local, frame.f_globals) for name, x in list(space.items()) if name[:1] != "_"]
    if frame.f_code.co_flags & _FUNCTION and type(local) is dict:
        local.clear()  # a copy that Python 3.11 and 3.12 keep, and the tensors with it, until the function returns
    return found


def variables(frame: FrameType) -> dict[int, str]:
    """The names of the variables that hold Tensors in a frame, by the tensors' numbers: local ones before global ones,
    the first of several; none that begins with an underscore. The parameters of `modules` have their dotted names.

    >>> import sys
    >>> held = Tensor(1.0)
    >>> variables(sys._getframe())[held._number]
    'held'
    """
    found = dict[int, str]()
    for name, module in modules(frame).items():
        for key, p in module.named_parameters():
            if issubclass(type(p), Tensor):
                found.setdefault(p._number, parameter_name(name, key))
    for name, value in _held(frame):
        if issubclass(type(value), Tensor):
            found.setdefault(value._number, name)
    return found


def modules(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame that hold modules, known by their `named_parameters`: those of the most parameters
    first, so that a whole model comes before a layer of it that has a variable too; of two names, the first.

    >>> import sys
    >>> class Doubling:
    ...     def named_parameters(self):
    ...         yield "weight", Tensor(2.0, requires_grad=True)
    >>> double = Doubling()
    >>> list(modules(sys._getframe()))
    ['double']
    """
    sizes, found = dict[str, int](), dict[int, tuple[str, Any]]()
    for name, value in _held(frame):
        if hasattr(type(value), "named_parameters") and id(value) not in found and name not in sizes:
            try:
                sizes[name] = len(dict(value.named_parameters()))
            except Exception:  # nobody asked for this object: one that cannot answer has no name to give
                continue
            found[id(value)] = name, value
    return {name: value for name, value in sorted(found.values(), key=lambda item: -sizes[item[0]])}


def parameter_name(module: str, key: str) -> str:
    """The name of a module's parameter. One that begins with a number would read as a number in a formula.

    >>> parameter_name("net", "0.weight"), parameter_name("", "0.weight"), parameter_name("", "bias")
    ('net.0.weight', 'layer0.weight', 'bias')
    """
    return f"{module}.{key}" if module else f"layer{key}" if key[:1].isdigit() else key


def primed(letter: str, taken: Iterable[str]) -> str:
    """The letter, with as many primes as it needs to look like no name that is taken.

    >>> primed("s", ["w", "L"]), primed("s", ["s", "L"])
    ('s', 's′')
    """
    known = set(map(appearance, taken))
    while letter in known:
        letter += "′"
    return letter


class Names:
    """The names of one picture or table, each given once."""

    def __init__(self) -> None:
        self.by_number: dict[int, str] = {}
        """The name of each tensor, by its number."""
        self.of_arrays: dict[int, str] = {}
        """The name of each constant array, by its id (the graph keeps them alive)."""
        self.taken: set[str] = set()
        """How the names look that are given."""
        self.counts: dict[str, int] = {}

    def give(self, x: Tensor, text: str) -> str:
        shown = printable(text, LONGEST)
        if shown != shown.strip():  # blanks at its ends would not be seen
            shown = f"'{shown}'"
        self.by_number[x._number] = name = self.unique(shown)
        return name

    def unique(self, text: str) -> str:
        """This name, with a number behind it if it, or one that looks the same, is taken."""
        name, n = text, 1
        while appearance(name) in self.taken:
            n += 1
            name = f"{text} #{n}"
        self.taken.add(appearance(name))
        return name

    def fresh(self, letter: str) -> str:
        """The letter with the next number that is not taken."""
        while True:
            self.counts[letter] = n = self.counts.get(letter, 0) + 1
            if (name := f"{letter}{n}") not in self.taken:
                self.taken.add(name)
                return name

    def known(self, tensors: Iterable[Tensor], output: Tensor, held: Mapping[int, str]) -> None:
        """The names that tensors carry, then those of variables, then L for the output."""
        ordered = sorted(tensors, key=lambda x: x._number)
        for x in ordered:
            if x.name is not None and x._number not in self.by_number:
                self.give(x, x.name)
        for x in ordered:
            name = held.get(x._number)
            if name is not None and x._number not in self.by_number and appearance(name) not in self.taken:
                self.give(x, name)
        if output._primitive is not None and output._number not in self.by_number and "L" not in self.taken:
            self.give(output, "L")

    def counted(self, results: Iterable[Tensor], letter: str = "v") -> None:
        """Names for what has none: results, oldest first, and before each its own leaves and arrays."""
        for node in results:
            for x in node._inputs:
                if isinstance(x, Tensor):
                    if x._primitive is None and x._number not in self.by_number:
                        self.by_number[x._number] = self.fresh(letter)
                elif np.ndim(x) and id(x) not in self.of_arrays:
                    self.of_arrays[id(x)] = self.fresh(letter)
            if node._number not in self.by_number:
                self.by_number[node._number] = self.fresh(letter)


def names_behind(
    output: Tensor, results: Sequence[Tensor], given: Mapping[int, str], held: Mapping[int, str]
) -> tuple[dict[int, str], set[int]]:
    """The name of every tensor and array in the graph of an output, by id; and the ids of those that the program named,
    not we.

    Args:
        output: a tensor.
        results: all results behind it, oldest first.
        given: the user's names, by id.
        held: the names of variables, by number.
    """
    names = Names()
    if len(results) < LIMIT:
        tensors = {id(x): x for node in results for x in (*node._inputs, node) if isinstance(x, Tensor)}
    else:
        tensors = {id(x): x for x in results if x.name is not None or x._number in held or id(x) in given}
    tensors[id(output)] = output
    for key, name in given.items():
        if key in tensors:
            names.give(tensors[key], name)
    names.known(tensors.values(), output, held)
    named = {key for key, x in tensors.items() if x._number in names.by_number}
    if len(results) < LIMIT:
        names.counted(results)
    found = {key: names.by_number[x._number] for key, x in tensors.items() if x._number in names.by_number}
    return {**given, **found, **names.of_arrays}, named | given.keys()
