"""What the steps of a table cost: multiply–adds, and the bytes that the backward rules need of the forward pass.

An elementwise operation, a sum or a product by elements counts one for each element; a matrix product the length of its
sums for each element; what only moves elements counts nothing. Source: Griewank and Walther, "Evaluating Derivatives",
2nd ed., sections 3.1 and 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..ops import elementwise, guards, special
from ..primitive import REGISTRY
from ..tensor import Tensor
from .formulas import Formula
from .rows import Step

_BY_ELEMENT = (elementwise.__name__, special.__name__, guards.__name__)
ELEMENTWISE = {
    record
    for record in REGISTRY.values()
    if any(getattr(rule, "__module__", None) in _BY_ELEMENT for rule in record.vjps)
}
"""Operations whose local derivative is one number for each element of the result, a factor of the cotangent."""
_SUMS = frozenset({"sum", "mean", "max", "min", "prod", "cumsum", "cumprod", "slope"})
_PRODUCTS = frozenset({"matmul", "matmul_transposed", "transposed_matmul"})
_MOVES = frozenset(
    "astype copy getitem scatter_add index_set broadcast_to reshape transpose swapaxes concatenate stack roll pad tril "
    "triu".split()
)


class Counted(Step, Protocol):
    """What is read of a step."""

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


def work(node: Tensor) -> int | None:
    """The multiply–adds of the operation that made a tensor; None if they are not known."""
    record, inputs = node._primitive, [x._ndarray if isinstance(x, Tensor) else x for x in node._inputs]
    if record in ELEMENTWISE:
        return int(node.size) if record.name not in _MOVES else 0
    if record.name in _MOVES:
        return 0
    if record.name in _SUMS:
        return sum(int(np.size(x)) for x in inputs)
    if record.name in _PRODUCTS:
        shape = np.shape(inputs[0])
        return int(node.size) * int(shape[-2 if record.name == "transposed_matmul" else -1])
    return None


def _backward_work(node: Tensor, kind: str, text: str) -> int | None:
    """The same for a local derivative of an operation, or for its product with the cotangent."""
    record = node._primitive
    if record.name in _MOVES or (record.name in _SUMS and record.name != "slope"):
        return 0 if kind == "local" or record.name in _MOVES | {"sum"} else max(map(np.size, map(_array, node._inputs)))
    if kind == "local":
        return 0 if record not in ELEMENTWISE or re.fullmatch(r"[−\d.]*|\{\w\}", text) else int(node.size)
    if record in ELEMENTWISE:
        return 0 if text == "1" else int(node.size)
    if record.name == "slope":
        return int(sum(np.size(_array(x)) for x in node._inputs))
    return work(node) if record.name in _PRODUCTS else None


def _array(x: Any) -> Any:
    return x._ndarray if isinstance(x, Tensor) else x


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
    found = []
    previous: Counted | None = None
    for row, kind in zip(rows, kinds):
        more: int | None = 0
        if kind == "value" and row.tensor is not None and row.tensor._primitive is not None:
            more = work(row.tensor)
        elif kind in ("local", "product") and (operation := row if kind == "local" else previous) is not None:
            text = operation.formula.template if operation.formula is not None else "?"
            more = (
                0
                if operation.tensor is None or operation.tensor._primitive is None
                else _backward_work(operation.tensor, kind, text)
            )
        elif kind == "sum":
            more = int(np.size(row.number)) * (len(row.sources) - 1)
        elif kind == "update":
            more = int(np.size(row.number))
        known &= more is not None
        if row.phase != "update":
            pass_ = "second" if row.phase in ("slope", "second") else "forward" if kind == "value" else "backward"
            counts[pass_] += more or 0
        bytes_kept += change.get(row.step, 0)
        found.append(Cost(counts["forward"], counts["backward"], counts["second"], known, bytes_kept))
        previous = row
    return found
