"""What the nodes of the page's picture show after each step: their values, and their gradients while these add up.

Order: the text of a number in a node, then what each step writes where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..batching.batch import laid_out
from ..devices import as_numpy
from .formats import range_of, size, text_of
from .rows import Step

ROWS, COLUMNS = 4, 6
"""Arrays of up to so many rows and columns are written in their node, of larger ones the range."""
DIGITS = 4
"""Significant digits of the elements of an array."""


class Numbered(Step, Protocol):
    """What is read of a step."""

    @property
    def value(self) -> str: ...
    @property
    def number(self) -> Any: ...


def lines(number: Any, value: str, digits: int = DIGITS) -> list[str]:
    """A number as the lines of a node; a single one as it is in the table."""
    if number is None:
        return ["…"]
    array = as_numpy(laid_out(number))
    if array.ndim == 0:
        return [value]
    if array.size and array.ndim <= 2 and array.shape[-1] <= COLUMNS and array.size <= ROWS * array.shape[-1]:
        return [text_of(row, min(digits, DIGITS)) for row in (array if array.ndim == 2 else array[None])]
    if array.size == 0:
        return [f"[] ({size(array)})"]
    return [range_of(array, 3)]


@dataclass(frozen=True, slots=True)
class Fill:
    """What a step writes into a slot of a node."""

    slot: str
    """"value" or "grad"."""
    lines: tuple[str, ...]
    added: tuple[int, ...] | None = None
    """Of a contribution, the places of the steps whose sum it is added to."""


def fills(rows: Sequence[Numbered], kinds: Sequence[str], slots: Sequence[str], digits: int) -> list[Fill | None]:
    """What each step writes; nothing for a local derivative, which belongs to no tensor.

    Args:
        rows: the steps.
        kinds: their roles.
        slots: into which slot of its node each would write.
        digits: of the numbers.
    """
    contributions = {step for row, kind in zip(rows, kinds) if kind == "sum" for step in row.sources}
    totals: dict[tuple[str, int], Any] = {}
    parts: dict[tuple[str, int], tuple[int, ...]] = {}
    found: list[Fill | None] = []
    for place, (row, kind, slot) in enumerate(zip(rows, kinds, slots)):
        written = lines(row.number, row.value, digits)
        if kind == "local":
            found.append(None)
        elif kind == "update":
            found.append(Fill(slot, ("→ " + written[0], *written[1:])))
        elif row.step in contributions and row.tensor is not None:
            key = slot, row.tensor._number
            before = totals.get(key)
            totals[key] = row.number if before is None else before + row.number
            known = ["0"] if before is None else lines(before, text_of(before, digits), digits)
            found.append(Fill(slot, _added(known, written), parts.get(key, ())))
            parts[key] = (*parts.get(key, ()), place)
        else:
            found.append(Fill(slot, tuple(written)))
        if slot == "grad" and (fill := found[-1]) is not None:
            inner = row.phase != "gradient" and row.tensor is not None and row.tensor.dtype.kind == "c"
            word = "∂" if inner else "grad"  # of a complex number the gradient is the conjugate of the derivative
            found[-1] = Fill(slot, (f"{word} {fill.lines[0]}", *fill.lines[1:]), fill.added)
    return found


def _added(known: list[str], more: list[str]) -> tuple[str, ...]:
    """What is there, and what is added to it."""
    if len(known) == len(more) == 1 and len(known[0]) + len(more[0]) < 24:
        return (f"{known[0]} += {more[0]}",)
    return *known, f"+= {more[0]}", *more[1:]
