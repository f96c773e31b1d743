"""Repeated blocks and time steps: found as runs of the same operations, and made calls of their own, "×25".

Order: what is the same, where it repeats, then the calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from .looks import SYMBOLS
from .printable import printable
from .selection import Call, Homes, chain, is_users

LARGE = 40
"""In graphs of more operations than this, repeats are folded."""

KEPT = 32
"""Of a repeat, so many members can be seen at either end."""

FEWEST = 8
"""Single operations are folded from so many on; modules from three."""

CANDIDATES = 12
"""So many periods are tried, those at which the most operations find their like."""

Item = Tensor | Call


def runs(ids: np.ndarray[Any, Any]) -> list[tuple[int, int, int]]:
    """Where a sequence repeats itself at least three times: (start, period, count), in order, without overlap; the
    longest first choice, and of equally long ones the smallest period.

    >>> runs(np.array([7, 1, 2, 1, 2, 1, 2, 9]))
    [(1, 2, 3)]
    """
    found, todo = [], [(0, len(ids))]
    while todo:
        start, end = todo.pop()
        run = _longest(ids[start:end])
        if run is not None:
            first, period, count = run
            found.append((start + first, period, count))
            todo += [(start, start + first), (start + first + period * count, end)]
    return sorted(found)


def _longest(ids: np.ndarray[Any, Any]) -> tuple[int, int, int] | None:
    if len(ids) < 3:
        return None
    best: tuple[int, int, int] | None = None
    for period in _periods(ids):
        same = np.concatenate([[False], ids[period:] == ids[:-period], [False]])
        edges = np.flatnonzero(same[1:] != same[:-1])
        starts, lengths = edges[::2], edges[1::2] - edges[::2] + period
        if len(starts):
            i = int(np.argmax(lengths // period))
            count = int(lengths[i]) // period
            if count >= 3 and (best is None or period * count > best[1] * best[2]):
                best = int(starts[i]), period, count
    return best


def _periods(ids: np.ndarray[Any, Any]) -> list[int]:
    """Distances at which the most elements, or pairs of neighbours, occur again; smallest first."""
    counts = np.zeros(len(ids), np.int64)
    for each in (ids, ids[:-1] * (int(ids.max()) + 1) + ids[1:]):
        order = np.argsort(each, kind="stable")
        again = np.diff(order)[np.diff(each[order]) == 0]
        counts += np.bincount(again, minlength=len(ids))[: len(ids)]
    counts[len(ids) // 3 + 1 :] = 0
    return sorted(int(p) for p in np.argsort(-counts, kind="stable")[:CANDIDATES] if counts[p])


class Folding:
    """Puts calls for the repeats between the calls of modules: the homes change."""

    def __init__(self, results: list[Tensor], homes: Homes) -> None:
        self.results, self.homes = results, homes
        self.known: dict[Any, int] = {}
        """What is the same has the same number here."""
        self.repeats: list[Call] = []
        self.ends: set[int] = set()
        """Numbers of the single operations at the ends of repeats."""
        self._fold_all()

    def _fold_all(self) -> None:
        inside: dict[Call | None, list[Item]] = {None: [] if self.homes else list(self.results)}
        seen: set[Call] = set()
        for node in self.results if self.homes else ():
            home = self.homes.get(node._number)
            inside.setdefault(home, []).append(node)
            while home is not None and home not in seen:
                seen.add(home)
                inside.setdefault(home.parent, []).append(home)
                home = home.parent
        marks: dict[Call, int] = {}
        for call in sorted(seen, key=lambda call: -call.depth):
            marks[call] = self._same((call.kind, tuple(self._marked(inside[call], marks))))
        for parent, items in inside.items():
            self._fold(parent, items, np.array(self._marked(items, marks)))
        if self.repeats:
            for call in {c for home in {*self.homes.values()} for c in chain(home)}:
                call.depth = sum(1 for _ in chain(call)) - 1

    def _same(self, description: Any) -> int:
        return self.known.setdefault(description, len(self.known))

    def _marked(self, items: list[Item], marks: dict[Call, int]) -> list[int]:
        known, found = self.known, list[int]()
        for item in items:
            if isinstance(item, Call):
                found.append(marks[item])
                continue
            data = item._ndarray
            key = (item._primitive, data.shape, data.dtype.char)
            mark = known.get(key)
            found.append(self._same(key) if mark is None else mark)
        return found

    def _fold(self, parent: Call | None, items: list[Item], ids: np.ndarray[Any, Any]) -> None:
        if parent is not None and parent.asked:  # an expansion folds its steps itself
            return
        for start, period, count in runs(ids):
            unit = items[start : start + period]
            if period * count < FEWEST and not any(isinstance(item, Call) for item in unit):
                continue
            end = start + period * count
            repeat = Call(*_span(items[start:end]), "", parent=parent, count=count)
            repeat.path, repeat.kind = _label(items[start:end], period, count)
            repeat.label = f"{repeat.path} · {repeat.kind}" if repeat.path else repeat.kind
            self.repeats.append(repeat)
            if period == 1:
                self._move(items[start:end], repeat)
                ends = items[start : start + KEPT] + items[max(end - KEPT, start) : end]
                self.ends.update(item._number for item in ends if isinstance(item, Tensor))
                continue
            middle = range(KEPT, count - KEPT)
            if middle:
                self._move(items[start + period * KEPT : end - period * KEPT], repeat)
            for m in (*range(min(KEPT, count)), *range(max(count - KEPT, KEPT), count)):
                at = start + m * period
                own = items[at : at + period]
                member = Call(*_span(own), f"{m + 1} of {count:,}", parent=repeat)
                self._move(own, member)
                self._fold(member, own, ids[at : at + period])

    def _move(self, items: list[Item], call: Call) -> None:
        for item in items:
            if isinstance(item, Call):
                item.parent = call
            else:
                self.homes[item._number] = call

    def without_middles(self) -> list[Tensor]:
        """The results without what only the middle of a long repeat has. A result of a middle is left out if that takes
        no edge away: all it is made from is made in the same repeat, or used by what is kept too, and nothing outside
        uses it."""
        long = {repeat for repeat in self.repeats if repeat.count > 2 * KEPT}
        if not long:
            return self.results
        homes, ends = self.homes, self.ends
        doubtful, kept = list[Tensor](), list[Tensor]()
        for node in self.results:
            number = node._number
            (doubtful if homes.get(number) in long and number not in ends else kept).append(node)
        if not doubtful:
            return self.results
        taken = {id(x) for node in kept for x in node._inputs}
        outside = {  # of the middles, what is used outside of its repeat
            id(x)
            for node in kept
            for x in node._inputs
            if isinstance(x, Tensor) and (home := homes.get(x._number)) in long and node._number > home.end
        }
        for node in doubtful:
            repeat = homes[node._number]
            start, end = repeat.start, repeat.end
            needed = id(node) in outside
            for x in node._inputs:
                if isinstance(x, Tensor) and id(x) not in taken:
                    needed |= not start < x._number <= end if x._primitive is not None else is_users(x)
            if needed:
                kept.append(node)
                taken.update(map(id, node._inputs))
            else:
                repeat.left_out += 1
        kept.sort(key=lambda node: node._number)
        return kept


def _span(items: list[Item]) -> tuple[float, float]:
    first, last = items[0], items[-1]
    return (
        first.start if isinstance(first, Call) else first._number - 1,
        last.end if isinstance(last, Call) else last._number,
    )


def _word(item: Item) -> str:
    return item.kind if isinstance(item, Call) else SYMBOLS.get(item._primitive.name, printable(item._primitive.name))


def _label(items: list[Item], period: int, count: int) -> tuple[str, str]:
    """Where a repeat is in the model, and what is repeated how often."""
    unit, last = items[:period], items[-1]
    words = [_word(item) for item in unit]
    first, path = unit[0], ""
    if isinstance(first, Call) and isinstance(last, Call) and first.path and last.path:
        path = first.path if first.path == last.path else f"{first.path} … {last.path.rpartition('.')[2]}"
    return path, f"{' · '.join(words if len(words) <= 4 else [*words[:3], '…'])} ×{count:,}"
