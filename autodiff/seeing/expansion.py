"""Opening fused operations: a recorded graph in which those that were asked for are made of plain operations again.

The record of an operation has the expansion; here it is replayed on the recorded inputs. What it makes is numbered
between the operation's neighbours, so that whoever reads the graph finds it where the operation was, and every number
knows the group that it belongs to. Order: numbers and groups, which operations are meant, the replay.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..mode import mode
from ..primitive import new_node
from ..tensor import Tensor, clock, number_of, wrap

# Numbers and groups

FOLD = 4
"""Of more parts of one name than this, pictures show the first two and the last, and the others as one node."""


@dataclass(slots=True, eq=False)
class Group:
    """What the expansion of one operation made, or one part of it."""

    label: str
    parent: Group | None = None
    depth: float = 0.0
    """How deep it lies: the expansion of what an expansion made is one deeper."""
    closed: bool = False
    """Shown as one node."""
    start: float = -1.0
    """A number between the last before it and the first in it."""
    end: float = -1.0
    """The last number in it."""

    def part(self, label: str, closed: bool = False) -> Group:
        return Group(label, self, self.depth + 0.1, closed)


class Place(float):
    """The number of a tensor that an expansion made, between those of its neighbours: the k-th of an operation numbered
    n is written ``n_k``, the last one, which is the operation's result, ``n``."""

    group: Group
    text: str
    start: float
    """A number between the last before it and itself."""
    made: tuple[int, ...]
    """The numbers given by the clock: to what was opened for it, the outermost first, and to itself."""

    def __new__(cls, value: float, text: str, group: Group, start: float, made: tuple[int, ...]) -> Place:
        place = super().__new__(cls, value)
        place.group, place.text, place.start, place.made = group, text, start, made
        return place

    def __str__(self) -> str:
        return self.text

    def __format__(self, spec: str) -> str:
        return format(self.text, spec)


def groups_of(results: Iterable[Tensor]) -> list[Group]:
    """The groups in which results were made by an expansion, each once."""
    found: dict[int, Group] = {}
    for node in results:
        group = node._number.group if isinstance(node._number, Place) else None
        while group is not None and id(group) not in found:
            found[id(group)] = group
            group = group.parent
    return list(found.values())


def calls_in(results: Iterable[Tensor]) -> Callable[[int, int], tuple[float, float, float]]:
    """A function of the first and the last number of a call: what they are among results, and how deep the call lies.
    One that an expansion made is where is now what was made in it."""
    places = [cast(Place, node._number) for node in results if isinstance(node._number, Place)]
    made = sorted((number, place, depth) for place in places for depth, number in enumerate(place.made))

    def found(start: int, end: int) -> tuple[float, float, float]:
        inside = made[bisect_right(made, (start, np.inf, 0)) : bisect_right(made, (end, 0.0, 0))]
        if not inside:
            return start, end, -0.5
        first, last = (choice([place for _, place, _ in inside]) for choice in (min, max))
        return first.start, last, inside[0][2] + 0.5

    return found


# What is meant


class Wanted:
    """Which operations are to be opened.

    Args:
        where: the function that was called.
        expand: True, or names, tensors and modules, one or several.
        names: the names that the function was given.
    """

    def __init__(self, where: str, expand: Any, names: Any) -> None:
        self.where, self.everything = where, expand is True
        items = [] if self.everything else [expand] if _is_one(expand) else expand
        if not isinstance(items, Iterable) or isinstance(items, Mapping):
            raise TypeError(f"{where}: {_TAKES}, not {type(expand).__name__}")
        self.items = list(items)
        for item in self.items:
            if not _is_one(item):
                raise TypeError(f"{where}: {_TAKES}, not {type(item).__name__} among them")
        self.words = [item if isinstance(item, str) else None for item in self.items]
        self.tensors: list[set[float]] = []
        self.callers: list[list[Any]] = []
        tensors, self.modules = _called(names)
        for item in self.items:
            own: list[Any] = [m for path, m in self.modules if item in (path, type(m).__name__)]
            self.callers.append(own + [item] * hasattr(item, "_calls"))
            named = tensors.get(item) if isinstance(item, str) else item
            self.tensors.append({named._number} if isinstance(named, Tensor) else set())
        self.met = [False] * len(self.items)
        self.possible: Counter[str] = Counter()
        """What can be opened, and how often."""

    def __call__(self, node: Tensor, recorded: bool) -> bool:
        """Whether to open a node; if it was not `recorded`, an expansion made it."""
        record, number = node._primitive, node._number
        if record is None or record.expansion is None:
            return False
        self.possible[record.name] += 1
        found = self.everything
        for i, word in enumerate(self.words):
            if (
                (word is not None and f"_{word}_" in f"_{record.name}_")
                or (recorded and node.name is not None and node.name == word)
                or (recorded and number in self.tensors[i])
                or any([start < number < end for m in self.callers[i] for start, end in m._calls])
            ):
                found = self.met[i] = True
        return found

    def check(self) -> None:
        """Raise the error for what named nothing."""
        for item, met in zip(self.items, self.met):
            if not met:
                what = repr(item) if isinstance(item, str) else f"a {type(item).__name__}"
                known = ", ".join(f"{name!r}" + f" ({n} times)" * (n > 1) for name, n in sorted(self.possible.items()))
                raise ValueError(
                    f"{self.where}: expand: {what} names nothing in this graph that can be opened; "
                    + (
                        f"there is {known}{self._known_modules()}; True opens all of it"
                        if known
                        else "its operations are plain ones already, so leave expand out"
                    )
                )

    def _known_modules(self) -> str:
        """The classes of modules that can be named in place of their operations."""
        kinds = sorted({type(m).__name__ for _, m in self.modules if m._calls})
        return f", or modules by their class or their place: {', '.join(map(repr, kinds))}" if kinds else ""


_TAKES = "expand takes the name of an operation or module, a Tensor, a module, a list of them, or True for all"


def _is_one(item: Any) -> bool:
    return isinstance(item, (str, Tensor)) or hasattr(item, "_calls")


def _called(names: Any) -> tuple[dict[str, Tensor], list[tuple[str, Any]]]:
    """The tensors and modules that were named. (That there is nothing else is for the reader of the names to check.)"""
    tensors: dict[str, Tensor] = {}
    modules: list[tuple[str, Any]] = []
    for name, thing in (names if isinstance(names, Mapping) else {"": names}).items():
        if isinstance(thing, Tensor):
            tensors[name] = thing
        elif hasattr(thing, "named_modules"):
            modules += [(f"{name}.{path}".strip("."), m) for path, m in thing.named_modules()]
    return tensors, modules


# The replay


@dataclass(slots=True, eq=False)
class _Item:
    """A node to be placed in the new graph: a recorded one, or one that an expansion made."""

    node: Tensor
    group: Group | None = None
    made: tuple[int, ...] = ()
    """As of a `Place`."""
    stands_for: tuple[Tensor, ...] = ()
    """The nodes that were opened and whose result this is."""
    original: Tensor | None = None
    """The recorded one among them."""


def expanded(where: str, output: Tensor, results: Sequence[Tensor], expand: Any, names: Any = None) -> Tensor:
    """A tensor computed like `output`, with operations opened. The graph of `output` stays as it is; leaves, and
    results that depend on nothing that was opened, are shared by both, and every recorded result has its number. What
    is opened shows also what it does to constants; results of constants alone require no gradient.

    Args:
        where: the function that a user called.
        output: any Tensor.
        results: all results behind it, oldest first.
        expand: True for all operations that have an expansion, also those in an expansion, down to plain ones; or the
            name of an operation ("lstm"; "attention" also opens "masked_attention_weights", which has that word) or of
            a module or tensor in `names`, or a Tensor, whose operation is meant, or a module; or a list of these.
        names: what the function was given as names.

    Raises:
        TypeError, ValueError: for an `expand` of another kind, and one that names nothing.
        RuntimeError: an input of what is opened was written since.

    >>> from autodiff import softplus
    >>> y = softplus(Tensor(3.0, requires_grad=True))
    >>> y.op, expanded("graph", y, [y], True).op
    ('softplus', 'add')
    """
    wanted = Wanted(where, expand, names)
    placed: dict[int, Tensor] = {}
    kept: list[Tensor] = []  # replaced nodes: while they live, their ids are theirs
    made: list[_Item] = []
    inner: list[Tensor] = []
    stack = [_Item(node) for node in reversed(results)]
    while stack:
        item = stack.pop()
        node, recorded = item.node, item.group is None
        inputs = tuple([placed.get(id(x), x) for x in node._inputs])
        if wanted(node, recorded):
            if recorded:
                _check_fresh(where, node)
            inside = _opened(where, node, inputs, item)
            if inside:
                kept.append(node)
                stack += reversed(inside)
                continue
        if recorded:
            if any(x is not y for x, y in zip(inputs, node._inputs)):
                placed[id(node)] = _copy(node, inputs)
            continue
        node._inputs = inputs
        made.append(item)
        inner.append(node)
        for outer in item.stands_for:
            placed[id(outer)] = node
            node.name = node.name or outer.name
            node._hooks = outer._hooks if node._hooks is None else {**(outer._hooks or {}), **node._hooks}
        if (original := item.original) is not None:
            _number(made, original._number)
            node._ndarray, node._grad = original._ndarray, original._grad
            node.name = original.name
            for each in made:
                each.node._line = original._line
            made.clear()
    wanted.check()
    for node in inner:  # last, because what an operation in an expansion is opened with is recorded too
        if node._primitive is not None:
            node._requires_grad = any([isinstance(x, Tensor) and x.requires_grad for x in node._inputs])
    return placed.get(id(output), output)


def _copy(node: Tensor, inputs: tuple[Any, ...]) -> Tensor:
    new = new_node(node._ndarray, node._primitive, inputs, node._params)
    new._number, new._grad, new._hooks, new._line, new.name = (
        node._number, node._grad, node._hooks, node._line, node.name
    )  # fmt: skip
    return new


def _check_fresh(where: str, node: Tensor) -> None:
    if any([isinstance(x, Tensor) and number_of(x) > node._number for x in node._inputs]):
        raise _written(where, node)


def _written(where: str, node: Tensor) -> RuntimeError:
    return RuntimeError(
        f"{where}: an input of this {node._primitive.name} was written after it was used, so that what happened inside "
        f"cannot be computed again; expand before the update, or record it again"
    )


def _opened(where: str, node: Tensor, inputs: tuple[Any, ...], item: _Item) -> list[_Item]:
    """What the expansion of a node makes of its inputs, each after what it is made from; nothing if it has none."""
    record = node._primitive
    given = [_recordable(x) for x in inputs]
    constants = {id(twin): (twin, x) for twin, x in zip(given, inputs)}
    began = clock()
    parts: list[tuple[int, Part]] = []
    token = mode.set(True)
    try:
        with np.errstate(all="ignore"):
            result = record.expansion(*given, **(node._params or {}))
            if isinstance(result, Generator):
                result = _noting(result, parts)
    finally:
        mode.reset(token)
    if result is None:
        return []
    if not _agree(result._ndarray, node._ndarray):
        raise _written(where, node)
    found, seen = [result], {id(result)}
    for tensor in found:  # grows while it is walked
        for x in tensor._inputs:
            if isinstance(x, Tensor) and x._number > began and x._primitive is None and id(x) not in constants:
                constants[id(x)] = x, _constant(x)  # what a user's function made may have a holder
        tensor._inputs = tuple([constants.get(id(x), (x, x))[1] for x in tensor._inputs])
        for x in tensor._inputs:
            if isinstance(x, Tensor) and x._number > began and id(x) not in seen:
                seen.add(id(x))
                found.append(x)
    found.sort(key=lambda x: x._number)
    group_at = _grouped(parts, Group(record.name, item.group, len(item.made)))
    items = [_Item(x, group_at(x._number), (*item.made, x._number)) for x in found]
    items[-1].stands_for = (node, *item.stands_for)
    items[-1].original = node if item.group is None else item.original
    return items


def _recordable(x: Any) -> Any:
    """An input of which all is recorded that is made of it: for a constant a tensor that requires a gradient."""
    array = x._ndarray if isinstance(x, Tensor) else x
    if (isinstance(x, Tensor) and x._requires_grad) or not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return x
    twin = wrap(array)
    twin._requires_grad = True
    return twin


def _constant(x: Tensor) -> Tensor:
    constant = wrap(x._ndarray)
    constant._number, constant.name = x._number, x.name
    return constant


Part = str | tuple[str, str] | None
"""What an expansion says before it makes a part: its name, or the name of one that has begun and of a part of that."""


def _noting(steps: Generator[Part, None, Any], parts: list[tuple[int, Part]]) -> Any:
    """Run an expansion that names its parts, and note where each begins; returns the result."""
    while True:
        try:
            name = next(steps)
        except StopIteration as end:
            return end.value
        parts.append((clock(), name))


def _agree(a: Any, b: Any) -> bool:
    """Whether two arrays are the same but for rounding, which is large where terms cancel."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    scale = float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
    close: bool = np.allclose(a, b, rtol=0.0, atol=scale * float(np.finfo(b.dtype).eps) ** 0.4, equal_nan=True)
    return close


def _grouped(parts: list[tuple[int, Part]], whole: Group) -> Callable[[int], Group]:
    """The group of each thing that an expansion made, by its number."""
    starts, groups, begun = [0], [whole], dict[str, Group]()
    alike: dict[str, list[str]] = {}
    for _, name in parts:
        if isinstance(name, str) and (numbered := re.fullmatch(r"(.*) \d+", name)):
            alike.setdefault(numbered[1], []).append(name)
    for kind, names in alike.items():
        if len(names) > FOLD:
            first, last = (name.rpartition(" ")[2] for name in (names[2], names[-2]))
            begun |= dict.fromkeys(names[2:-1], whole.part(f"{kind}s {first} … {last}", closed=True))
    for start, name in parts:
        if name is None:
            group = whole
        elif isinstance(name, tuple):
            around = begun[name[0]]
            group = around if around.closed else around.part(name[1])
        else:
            group = begun.setdefault(name, whole.part(name, closed=name.startswith("…")))
        starts.append(start)
        groups.append(group)
    return lambda number: groups[bisect_right(starts, number) - 1]


def _number(made: list[_Item], n: int) -> None:
    """Number what was made in place of the result with number n, in order, between that number and the one before."""
    before: float = n - 1
    for k, item in enumerate(made, 1):
        last, value = k == len(made), n - 1 + k / len(made)
        assert item.group is not None
        place = Place(value, str(n) if last else f"{n}_{k}", item.group, (before + value) / 2, item.made)
        item.node._number = cast(int, place)
        around: Group | None = item.group
        while around is not None:
            around.start, around.end = place.start if around.start < 0 else around.start, place
            around = around.parent
        before = place
