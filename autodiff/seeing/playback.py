"""What the script of a page knows of each step beside the table: where it is in the picture and what it writes there,
its number in full, what may be asked about it, its rule. All is text, and each text is there once.

Order: the columns, what stands in them, heat maps, formulas.
"""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..batching.batch import laid_out
from ..devices import as_numpy
from .costs import lifetimes, running
from .formats import special
from .formulas import Formula, name_mathml
from .printable import visible
from .rows import BACKWARD
from .slots import lines
from .stage import Shown, Stage

PASSES = {
    "input": "forward pass",
    "forward": "forward pass",
    "local": "backward pass",
    "backward": "backward pass",
    "gradient": "backward pass",
    "update": "update",
    "slope": "slope along u",
    "second": "second backward pass",
}
COLOURS = {"slope": "backward", "second": "second", "update": "update"}
"""In whose colour a phase is shown that has not that of its direction."""


class Row(Shown, Protocol):
    """What is read of a step."""

    @property
    def formula(self) -> Formula | None: ...


def playback(rows: Sequence[Row], kinds: Sequence[str], stage: Stage) -> dict[str, Any]:
    """The data of the page.

    Returns:
        ``steps``: for each fact, its texts and which of them each step has (the first is empty); ``numbers``: those
        that stand in the facts ``full`` and ``ask`` by their places; ``parts``: the distinct parts of the formulas, of
        which the fact ``rule`` of a step is one.
    """
    kept, known, parts = lifetimes(rows, kinds), dict[str, str](), Parts()
    numbers = dict[str, int]()

    def placed(text: str) -> str:
        return re.sub(r"-?\d[\d.]*(e[-+]?\d+)?", lambda m: str(numbers.setdefault(m[0], len(numbers))), text)

    facts: list[dict[str, str]] = []
    steps = zip(rows, kinds, groups(rows, kinds), running(rows, kinds), stage.places, stage.fills, stage.also)
    for i, (row, kind, group, cost, place, fill, also) in enumerate(steps):
        # A local derivative and the product with it are about one operation and one of its inputs.
        other = {"local": i + 1, "product": i - 1}.get(kind, -1)
        fact = {
            "phase": PASSES.get(row.phase, row.phase),
            "pass": colour_of(row),
            "role": kind,
            "group": str(group),
            "node": place,
            "other": stage.places[other] if 0 <= other < len(rows) else "",
            "full": placed(_all_digits(row.number, row.value)),
            "cost": f"{cost.forward} {cost.backward} {cost.second} {cost.kept} {int(cost.known)}",
            "put": substituted(row, known),
            "ask": "" if (question := _question(row)) is None else f"{question[0]}|{placed(question[1])}",
            "heat": _heat(row.number),
            "kept": " ".join(map(str, kept.get(row.step, ()))),
            "rule": "" if row.formula is None else str(parts.add(_rule(row.quantity, row.formula))),
        }
        if fill is not None and place:
            fact |= {"slot": fill.slot, "lines": "\n".join(fill.lines)}
        if also:
            fact |= {"also": " ".join(also), "copy": "\n".join(lines(row.number, row.value))}
        known[row.quantity] = row.value if np.ndim(row.number) == 0 and row.number is not None else ""
        facts.append(fact)
    names = dict.fromkeys(name for fact in facts for name in fact)
    return {
        "steps": {name: column(visible(fact.get(name, ""), "\n") for fact in facts) for name in names},
        "numbers": list(numbers),
        "parts": parts.table,
    }


def column(texts: Iterable[str]) -> tuple[list[str], list[int]]:
    """The distinct texts, the empty one first, and the place of each.

    >>> column(["a", "", "b", "a"])
    (['', 'a', 'b'], [1, 0, 2, 1])
    """
    places = {"": 0}
    found = [places.setdefault(text, len(places)) for text in texts]
    return list(places), found


# What is known of a step


def colour_of(row: Shown) -> str:
    return COLOURS.get(row.phase, "backward" if row.phase in BACKWARD else "forward")


def groups(rows: Sequence[Shown], kinds: Sequence[str]) -> list[int]:
    """Which steps are taken together, one operation at a time: in the forward pass its result with the inputs that it
    is the first to use, in a backward pass the cotangent, the local derivatives and the products."""
    found: list[int] = []
    group, before, operation = 0, "", None
    for row, kind in zip(rows, kinds):
        starts = {
            "given": before != "given",
            "value": before != "given",
            "local": row.tensor is not operation and not (before == "cotangent" and operation is None),
            "cotangent": before in ("given", "value"),
            "update": before != "update",
        }
        if starts.get(kind, False):
            group, operation = group + 1, None
        operation = row.tensor if kind == "local" else operation
        before = kind
        found.append(group)
    return found


def _all_digits(number: Any, value: str) -> str:
    """A value with every digit that tells it from its neighbours; nothing for one too large to read, or where its text
    in the table has them all."""
    if number is None:
        return ""
    array = as_numpy(laid_out(number))
    if array.dtype.kind not in "fiub" or array.size > 64:
        return ""
    full = np.array2string(array, separator=", ", max_line_width=10**6, formatter={"float_kind": str})
    full = re.sub(r"\s+", " ", full)
    return "" if re.sub(r"\.0(?=[],]|$)", "", full) == value else full


def substituted(row: Row, known: Mapping[str, str]) -> str:
    """The expression with numbers for its names, where all of them are single numbers."""
    if row.formula is None or not row.sources:
        return ""

    def number(name: str) -> str:
        text = known.get(name, "")
        return f"({text})" if text.startswith("-") or text.endswith("j") else text

    formula = row.formula
    read = formula.reads()
    inputs = [
        number(name) or (name if re.fullmatch(r"\(?-?[\d.]+([+-][\d.]+j)?\)?", name) else "") for name in formula.inputs
    ]
    output = number(formula.output)
    if not read or any(not (output if place == "y" else inputs[int(place)]) for place in read):
        return ""
    text = str(Formula(formula.template, tuple(inputs), output, formula.numbers, formula.options))
    text = re.sub(r"−0(?![\d.])", "0", text)
    return re.sub(r"\((\((?:-[^()]*|[^()]*j)\))\)", r"\1", text)  # one pair of brackets around a number is enough


def _question(row: Shown) -> tuple[str, str] | None:
    """What the page asks about a step: the index of an entry, and its value."""
    if row.number is None or not row.sources or row.number.dtype.kind != "f" or not row.number.size:
        return None
    place = row.step * 7 % row.number.size
    index = np.unravel_index(place, row.number.shape)
    shown = f"[{', '.join(map(str, index))}]" if row.number.ndim else ""
    return shown, str(row.number[index])


# Heat maps

CELLS = 32
"""Arrays are shown as a heat map of up to so many rows and columns, larger ones as means of blocks."""

LEVELS = 252
"""The highest level of a finite cell; above it are NaN, ∞ and −∞."""


def _heat(number: Any) -> str:
    """A large matrix as a heat map: rows, columns, the length of a block's sides, the range of the cells, how many
    entries are NaN, ∞ and −∞, and each cell as a byte in base 64. A cell is the mean of its block: the finite ones
    lie in the range, any other has a byte of its own. Complex numbers are shown by their sizes, as the value beside
    says."""
    if number is None or np.ndim(number) not in (1, 2) or np.size(number) <= 16 or number.dtype.kind not in "fiuc":
        return ""
    array = laid_out(number)
    array = np.atleast_2d(np.asarray(np.abs(array) if array.dtype.kind == "c" else array, float))
    side = [-(-n // CELLS) for n in array.shape]
    rows, columns = (range(0, n, k) for n, k in zip(array.shape, side))
    means = np.array([[_mean(array[i : i + side[0], j : j + side[1]]) for j in columns] for i in rows])
    finite = np.isfinite(means)
    low, high = (means[finite].min(), means[finite].max()) if finite.any() else (np.nan, np.nan)
    with np.errstate(invalid="ignore"):
        part = (means / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)  # halves: the range may be beyond the largest
        levels = np.where(finite, np.round(np.where(finite, part, 0) * LEVELS), LEVELS).astype(np.uint8)
    for above, those in enumerate((np.isnan(means), np.isposinf(means), np.isneginf(means)), 1):
        levels[those] = LEVELS + above
    counts, sizes = special(array), map(str, [*means.shape, *side])
    odd = [str(counts.get(name, 0)) for name in ("nan", "inf", "-inf")]
    return " ".join([*sizes, f"{low:.4g}", f"{high:.4g}", *odd, base64.b64encode(levels.tobytes()).decode()])


def _mean(block: Any) -> float:
    """The mean; NaN or infinite only where an entry is."""
    with np.errstate(invalid="ignore"):
        return float((block / block.size).sum())


# Formulas


class Parts:
    """Formulas as a table of their distinct parts: of each the name of its element, and its text or the places of its
    parts."""

    def __init__(self) -> None:
        self.table: list[list[Any]] = []
        self._places: dict[tuple[Any, ...], int] = {}

    def add(self, mathml: str) -> int:
        """The place of a formula, given as the inside of a ``<math>`` element.

        >>> parts = Parts()
        >>> parts.add("<mi>x</mi><mo>=</mo><mi>x</mi>")
        2
        >>> parts.table
        [['mi', 'x'], ['mo', '='], ['mrow', 0, 1, 0]]
        """
        return self._place(ElementTree.fromstring(f"<mrow>{mathml}</mrow>"))

    def _place(self, element: ElementTree.Element) -> int:
        inside: list[Any] = [self._place(child) for child in element]
        part = (element.tag, *(inside or [element.get("width") or element.text or ""]))
        if part not in self._places:
            self._places[part] = len(self.table)
            self.table.append(list(part))
        return self._places[part]


def _rule(quantity: str, formula: Formula) -> str:
    return f"{name_mathml(quantity)}<mo>=</mo>{formula.mathml()}"
