"""What the steps of a table cost: multiply–adds, and the bytes that the backward rules need of the forward pass.

An elementwise operation, a sum or a product by elements counts one for each element; a matrix product the length of its
sums for each element; what only moves elements counts nothing. A fused operation counts what the plain ones do that it
is opened into, in both directions. Source: Griewank and Walther, "Evaluating Derivatives", 2nd ed., sections 3.1, 4.1.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..primitive import Primitive
from ..tensor import Tensor, clock
from .expansion import Place, expanded
from .formulas import Formula
from .rows import AGAIN, Step
from .rules import ELEMENTWISE, is_elementwise, local_derivative

_SUMS = frozenset({"sum", "mean", "max", "min", "prod", "cumsum", "cumprod", "slope"})
_PRODUCTS = frozenset({"matmul", "matmul_transposed", "transposed_matmul"})
_MOVES = frozenset(
    "astype copy getitem scatter_add index_set broadcast_to reshape transpose swapaxes concatenate stack roll pad tril "
    "triu vector".split()
)


class Counted(Step, Protocol):
    """What is read of a step."""

    @property
    def quantity(self) -> str: ...
    @property
    def number(self) -> Any: ...
    @property
    def formula(self) -> Formula | None: ...


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of all steps so far."""

    forward: int
    backward: int
    second: int
    known: bool
    """Whether every operation's cost is known: of others it is left out, and these are lower bounds."""
    kept: int
    """The bytes of the values that rules to come will read."""


class Count(NamedTuple):
    """Multiply–adds."""

    number: int
    known: bool = True
    """Whether all are counted; if not, these are the fewest there can be."""


def work(node: Tensor) -> Count:
    """The multiply–adds of the operation that made a tensor."""
    return _plain_work(node) if (inside := _opened(node)) is None else _total(map(_plain_work, inside))


def _plain_work(node: Tensor) -> Count:
    record, inputs = node._primitive, [_array(x) for x in node._inputs]
    if record.name in _MOVES:
        return Count(0)
    if is_elementwise(record):
        return Count(node.size, _is_said(record))
    if record.name in _SUMS:
        return Count(sum(int(np.size(x)) for x in inputs))
    if record.name in _PRODUCTS:
        shape = np.shape(inputs[0])
        return Count(node.size * shape[-2 if record.name == "transposed_matmul" else -1])
    if record.name == "tensordot":
        return Count(node.size * math.prod(np.shape(inputs[0])[axis] for axis in (node._params or {})["axes"][0]))
    if record.name == "einsum" and len(inputs) == 2:
        terms = (node._params or {})["subscripts"].split("->")[0].split(",")
        lengths = [dict(zip(term, np.shape(x))) for term, x in zip(terms, inputs)]
        return Count(math.prod(max(each.get(letter, 1) for each in lengths) for letter in set().union(*lengths)))
    return Count(0, False)


def _plain_backward(node: Tensor, kind: str, text: str, x: Any) -> Count:
    """The same for the local derivative of a plain operation by an input, or for its product with the cotangent."""
    record = node._primitive
    if record.name in _MOVES:
        return Count(0)
    if record.name in _SUMS and record.name != "slope":
        return Count(0 if kind == "local" or record.name == "sum" else max(map(np.size, map(_array, node._inputs))))
    elementwise = is_elementwise(record)
    if kind == "local":
        return Count(0 if not elementwise or re.fullmatch(r"[−\d.]*|\{\w\}", text) else node.size)
    if elementwise:
        summed = np.shape(_array(x)) != node.shape  # over what x was broadcast along
        return Count(node.size * (int(text != "1") + int(summed)), _is_said(record))
    if record.name == "slope":
        return Count(sum(np.size(_array(x)) for x in node._inputs))
    return _plain_work(node) if record.name in _PRODUCTS | {"tensordot", "einsum"} else Count(0, False)


def _is_said(record: Primitive) -> bool:
    """Whether it is known that its elements do not mix: of one that a user declared, its record may not say all."""
    return record in ELEMENTWISE or bool(record.derivatives)


def _array(x: Any) -> Any:
    return x._ndarray if isinstance(x, Tensor) else x


def _total(counts: Iterable[Count]) -> Count:
    each = list(counts)
    return Count(sum(n for n, _ in each), all(known for _, known in each))


# Fused operations


def _opened(node: Tensor) -> list[Tensor] | None:
    """The plain operations that a fused one stands for, oldest first; None for one that does not open."""
    if node._primitive.expansion is None:
        return None
    began = clock()
    try:
        result = expanded("explain", node, [node], True)
    except RuntimeError:  # an input was written since
        return None
    found = [result] if result is not node else []
    seen = {id(result)}
    for each in found:  # grows while it is walked
        for x in each._inputs:
            if isinstance(x, Tensor) and isinstance(x._number, Place) and x._number.made[-1] > began:
                if x._primitive is not None and id(x) not in seen:
                    seen.add(id(x))
                    found.append(x)
    return sorted(found, key=lambda x: x._number) or None


def _sources(x: Tensor, inside: Sequence[Tensor]) -> set[int]:
    """The ids of what the plain operations read for an input: itself, or where they look behind it (all weights of a
    recurrent layer are one vector to it), what it was made from."""
    read = {id(each) for node in inside for each in node._inputs}
    if id(x) in read:
        return {id(x)}
    return {id(each) for each in x._inputs if isinstance(each, Tensor) and each._requires_grad} & read


def _backward_inside(inside: Sequence[Tensor], wanted: Iterable[int]) -> Count:
    """The multiply–adds of a reverse pass through plain operations to these inputs, given by their ids."""
    reached = set(wanted)
    counts: list[Count] = []
    uses: Counter[int] = Counter()
    sizes: dict[int, int] = {}
    for node in inside:
        for i, x in enumerate(node._inputs):
            if id(x) in reached:
                reached.add(id(node))
                uses[id(x)] += 1
                sizes[id(x)] = int(np.size(x._ndarray))
                text = local_derivative(node, i)
                counts += [_plain_backward(node, kind, text, x) for kind in ("local", "product")]
    return _total([*counts, *(Count((n - 1) * sizes[x]) for x, n in uses.items())])


class _Reverse:
    """The multiply–adds of the steps of one reverse pass. Those of a fused operation come with its products: what the
    pass through its inside takes to the inputs so far, less what it took to those before."""

    def __init__(self) -> None:
        self.inside: dict[int, list[Tensor] | None] = {}
        self.wanted: dict[int, set[int]] = {}
        self.before: dict[int, int] = {}

    def __call__(self, operation: Counted, kind: str, x: Tensor | None) -> Count:
        node = operation.tensor
        if node is None or node._primitive is None or x is None:
            return Count(0)
        n = node._number
        if n not in self.inside:
            self.inside[n] = _opened(node)
        if (inside := self.inside[n]) is None:
            return _plain_backward(node, kind, operation.formula.template if operation.formula else "?", x)
        if kind == "local":
            return Count(0)
        wanted = self.wanted.setdefault(n, set())
        more = [
            _sources(each, inside) for each in node._inputs if isinstance(each, Tensor) and each._number == x._number
        ]
        wanted.update(*more)
        count, known = _backward_inside(inside, wanted)
        self.before[n], before = count, self.before.get(n, 0)
        return Count(count - before, known and any(more))


# Over the steps of a table


def lifetimes(rows: Sequence[Counted], kinds: Sequence[str]) -> dict[int, tuple[int, int]]:
    """For the step of each value that a local derivative reads: from which step it is kept for it (that of the
    operation), and after which it is not needed any more."""
    made = {
        row.tensor._number: row.step for row, kind in zip(rows, kinds) if kind == "value" and row.tensor is not None
    }
    values = {row.step for row, kind in zip(rows, kinds) if kind in ("given", "value")}
    found: dict[int, tuple[int, int]] = {}
    for row, kind in zip(rows, kinds):
        if kind == "local" and row.tensor is not None:
            for source in values.intersection(row.sources):
                begin = made.get(row.tensor._number, source)
                found[source] = min(begin, found.get(source, (begin, 0))[0]), row.step
    return found


def running(rows: Sequence[Counted], kinds: Sequence[str]) -> list[Cost]:
    """The cost after each step."""
    kept = lifetimes(rows, kinds)
    change = dict[int, int]()
    for row in rows:
        if row.step in kept and row.number is not None:
            begin, end = kept[row.step]
            change[begin] = change.get(begin, 0) + row.number.nbytes
            change[end] = change.get(end, 0) - row.number.nbytes
    counts, known, bytes_kept = {"forward": 0, "backward": 0, "second": 0}, True, 0
    passes, found = {"backward": _Reverse(), "second": _Reverse()}, []
    previous: Counted | None = None
    for row, kind in zip(rows, kinds):
        more = Count(0)
        pass_ = "second" if row.phase in ("slope", "second") else "forward" if kind == "value" else "backward"
        again = row.phase == "slope" and row.quantity.endswith(AGAIN)  # it was counted in the first pass
        if kind == "value" and not again and row.tensor is not None and row.tensor._primitive is not None:
            more = work(row.tensor)
        elif kind == "local":
            more = passes[pass_](row, kind, row.tensor)
        elif kind == "product" and previous is not None:
            more = passes[pass_](previous, kind, row.tensor)
        elif kind == "sum":
            more = Count(np.size(row.number) * (len(row.sources) - 1))
        known &= more.known
        if row.phase != "update":
            counts[pass_] += more.number
        bytes_kept += change.get(row.step, 0)
        found.append(Cost(counts["forward"], counts["backward"], counts["second"], known, bytes_kept))
        previous = row
    return found
