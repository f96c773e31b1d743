"""Which nodes run in one loop nest.

A nest runs over a space, the shape of its elementwise nodes, of which some axes may be reduced. A member is "full" (one
value for each point of the space), "reduced" (a sum or maximum over the reduced axes) or "kept" (elementwise, of
reduced values: one for each point of the other axes). A nest runs in phases: what reads a reduced value is one phase
later, a second pass over the reduced axes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any

from ..program import Node, Program, nodes_in
from .layout import Places
from .lowering import kind
from .products import matrices, terms

LARGEST_NEST = 200
"""Nodes."""
NEAR = 4096
"""Points of a space up to which nodes share a nest that read nothing in common."""
WIDE = 2**17
"""Points of a space from which a sum over all of it is added up by several threads, so that nothing in its nest reads
it."""

Access = tuple[Node, int, tuple[int, ...]]
"""Root, byte offset and the strides along a nest's axes, 0 where an axis has length 1."""


class Unit:
    """What runs as one: a call, a product, a loop with its results, the filling of memory with zeros."""

    def __init__(self, what: str, node: Node) -> None:
        self.what = what
        self.members = [node]


class Nest(Unit):
    """A loop nest."""

    def __init__(self, space: tuple[int, ...], places: Places) -> None:
        self.what, self.members = "nest", []
        self.space, self.places = space, places
        self.reduced: frozenset[int] | None = None
        self.role: dict[int, str] = {}
        self.axes: dict[int, tuple[int, ...]] = {}
        self.phase: dict[int, int] = {}
        self.roots: set[int] = set()
        """Of all that is read, by id."""

    @property
    def alone(self) -> bool:
        """Whether nothing here may read what is reduced."""
        return prod(self.space) >= WIDE and self.reduced is not None and len(self.reduced) == len(self.space)

    def access(self, x: Node, axes: Sequence[int]) -> Access:
        """Of an operand of a node whose axes are these of the space."""
        place = self.places.of(x)
        strides = [0] * len(self.space)
        for axis, n, step in zip(axes[len(axes) - len(place.shape) :], place.shape, place.strides, strict=True):
            strides[axis] = step if n != 1 else 0
        return place.root, place.offset, tuple(strides)

    def stored(self, node: Node) -> Access:
        """Where a member's own value lies."""
        return self.access(node, self.axes[id(node)])

    def add(self, node: Node, role: str, axes: tuple[int, ...]) -> None:
        self.members.append(node)
        self.role[id(node)], self.axes[id(node)] = role, axes
        phases = []
        for x in node.operands:
            root = self.places.of(x).root
            self.roots.add(id(root))
            if id(root) in self.phase:
                phases.append(self.phase[id(root)] + (self.role[id(root)] == "reduced"))
        self.phase[id(node)] = max(phases, default=0)

    def read_axes(self, node: Node) -> tuple[int, ...]:
        """The axes of the space along which a member reads its operands."""
        return tuple(range(len(self.space))) if self.role[id(node)] == "reduced" else self.axes[id(node)]

    def with_members_of(self, other: Nest) -> Nest | None:
        """The nest of the members of both, None where that is none."""
        members = [(m, nest.role[id(m)], nest.axes[id(m)]) for nest in (self, other) for m in nest.members]
        if self.space != other.space or len(members) > LARGEST_NEST or any(role == "part" for _, role, _ in members):
            return None
        if self.reduced != other.reduced and None not in (self.reduced, other.reduced):
            return None
        both = Nest(self.space, self.places)
        both.reduced = other.reduced if self.reduced is None else self.reduced
        for node, role, axes in members:
            found = both.fits(node, "reduction" if role == "reduced" else "elementwise")
            if found != (role, axes) or not both.reads_well(node, role, axes, {id(m) for m in both.members}):
                return None
            both.add(node, role, axes)
        return both

    def fits(self, node: Node, how: str) -> tuple[str, tuple[int, ...]] | None:
        """Role and axes that a node would have here; None if it has none."""
        everything = tuple(range(len(self.space)))
        if how == "reduction":
            axes = _reduced_axes(node)
            source = node.inputs[0]
            if source.shape != self.space or self.reduced not in (None, axes):
                return None
            return "reduced", everything if node.options.get("keepdims") else _others(self.space, axes)
        if node.shape == self.space:
            return "full", everything
        if how == "part" or not self.reduced or self.alone:
            return None
        if node.shape == tuple(1 if a in self.reduced else n for a, n in enumerate(self.space)):
            return "kept", everything
        others = _others(self.space, self.reduced)
        return ("kept", others) if node.shape == tuple(self.space[a] for a in others) else None

    def reads_well(self, node: Node, role: str, axes: tuple[int, ...], late: set[int]) -> bool:
        """Whether all that a node reads of what this nest makes (late: ids of these roots) is in the registers then."""
        reading = tuple(range(len(self.space))) if role == "reduced" else axes
        own = False
        for x in node.operands:
            root = self.places.of(x).root
            if id(root) not in late:
                continue
            own = True
            known = self.role.get(id(root))
            if known is None or (role == "kept" and known == "full"):
                return False
            if known == "reduced" and self.alone:
                return False
            if self.access(x, reading) != self.stored(root):
                return False
        return own or role != "kept"


def _others(space: Sequence[int], axes: frozenset[int]) -> tuple[int, ...]:
    return tuple(a for a in range(len(space)) if a not in axes)


def _reduced_axes(node: Node) -> frozenset[int]:
    n = len(node.inputs[0].shape)
    return frozenset(a % n for a in node.options["axis"])


def units_of(nodes: Sequence[Node], places: Places, early: set[int]) -> list[Unit]:
    """All that is to run, in an order in which it can. No nest has nodes of those that are early, by id, and others."""
    units: list[Unit] = []
    made: dict[int, int] = {}  # id of a root → the unit that makes it
    wholes = {id(x): node for node in nodes if node.op == "whole" for x in node.inputs}
    for node in _numbers_first(nodes):
        how = "call" if id(node) in places.copied else kind(node)
        if how == "product" and not node.options["small"] and any(matrices(x, places) is None for x in terms(node)):
            how = "call"
        if how in ("input", "view", "whole", "piece"):
            continue
        least = max((made.get(id(places.of(x).root), -1) for x in node.operands), default=-1)
        if how in ("call", "product", "loop"):
            units.append(Unit(how, node))
            units[-1].members += node.options["pieces"] if how == "loop" else ()
            made |= dict.fromkeys(map(id, units[-1].members), len(units) - 1)
            continue
        root = node
        if how == "part":
            root = wholes[id(node)]
            if root.options["zeros"]:
                units.append(Unit("zeros", root))
                made[id(root)] = len(units) - 1
            least = max(least, made.get(id(root), -2) + 1)
        number, role, axes = _position(units, node, how, least, places, made, early)
        nest = units[number]
        assert isinstance(nest, Nest)
        if how == "reduction" and nest.reduced is None:
            nest.reduced = _reduced_axes(node)
        nest.add(node, "part" if how == "part" else role, axes)
        made[id(root)] = number
    return _merged(units, places, made, early)


def _merged(units: list[Unit], places: Places, made: dict[int, int], early: set[int]) -> list[Unit]:
    """The same units, but nests as part of those that they read where nothing that they need is made in between."""
    found: list[Unit | None] = list(units)
    for number, nest in enumerate(units):
        if not isinstance(nest, Nest):
            continue
        own = {id(m) for m in nest.members}
        read = {made.get(id(places.of(x).root), -1) for m in nest.members for x in m.operands} - {number}
        first = found[max(read, default=-1)] if max(read, default=-1) >= 0 else None
        if not isinstance(first, Nest) or (id(first.members[0]) in early) != (id(nest.members[0]) in early):
            continue
        both = first.with_members_of(nest)
        if both is not None:
            found[max(read)], found[number] = both, None
            made |= {key: max(read) for key in own}
    return [unit for unit in found if unit is not None]


def _numbers_first(nodes: Sequence[Node]) -> list[Node]:
    """The same nodes, numbers that depend on numbers alone before all others, so that no nest has to wait for them."""
    found: set[int] = set()
    for node in nodes:
        if kind(node) == "input" or (not node.shape and kind(node) == "elementwise"):
            if all(id(x) in found for x in node.operands):
                found.add(id(node))
    return sorted(nodes, key=lambda node: id(node) not in found)


def _position(
    units: list[Unit],
    node: Node,
    how: str,
    least: int,
    places: Places,
    made: dict[int, int],
    early: set[int],
) -> tuple[int, str, tuple[int, ...]]:
    """The nest that a node joins, a new one at the end where there is none."""
    read = {id(places.of(x).root) for x in node.operands}
    for number in range(max(least, 0), len(units)):
        nest = units[number]
        if not isinstance(nest, Nest) or len(nest.members) >= LARGEST_NEST:
            continue
        if (id(nest.members[0]) in early) != (id(node) in early):
            continue
        found = nest.fits(node, how)
        late = {root for root in read if made.get(root) == number}
        if found is None or not nest.reads_well(node, *found, late):
            continue
        shared = any(id(m) in read for m in nest.members) or not read.isdisjoint(nest.roots)
        if shared or prod(nest.space) <= NEAR:
            return number, *found
    space = node.inputs[0].shape if how == "reduction" else node.shape
    nest = Nest(space, places)
    units.append(nest)
    found = nest.fits(node, how)
    assert found is not None
    return len(units) - 1, *found


def before(nodes: Sequence[Node], results: Sequence[Any], donated: dict[int, int]) -> set[int]:
    """The ids of all nodes, but those that are there for donated results alone, which are numbered."""
    found = {id(x) for k, x in enumerate(results) if k not in donated for x in nodes_in([x])}
    for node in reversed(nodes):
        if id(node) in found:
            found.update(id(x) for x in node.operands)
    return found


def donations(program: Program, results: Sequence[Any], units: list[Unit], places: Places) -> dict[int, int]:
    """Which results are computed in the memory of the inputs into which they go, root's id → number of the input.

    The nests that do so are moved to the end: they run after all that can fail, and nobody reads what they make. All
    that they read of such an input they read where they write.
    """
    outputs = results[: len(program.outputs)]
    wanted: dict[int, int] = {}
    for k, i in program.donated.items():
        x = outputs[k]
        place = places.of(x) if isinstance(x, Node) else None
        target = places.of(program.inputs[i])
        if place is not None and place.root is x and (place.strides, x.dtype) == (target.strides, target.root.dtype):
            wanted[id(x)] = i
    others = [x for k, x in enumerate(results) if k >= len(outputs) or k not in program.donated]
    read = {id(places.of(x).root) for x in nodes_in(others)}
    counts = Counter(id(places.of(x).root) for k in program.donated for x in nodes_in([outputs[k]]))
    inside = {id(m): unit for unit in units for m in unit.members}
    read.update(
        root for unit in units for m in unit.members for x in m.operands
        if inside.get(root := id(places.of(x).root)) is not unit
    )  # fmt: skip
    last: list[Nest] = []
    found: dict[int, int] = {}
    for unit in units:
        if not isinstance(unit, Nest) or unit.reduced is not None or "part" in unit.role.values():
            continue
        made = {key: wanted[key] for m in unit.members if (key := id(m)) in wanted and counts[key] == 1}
        if not made or any(id(m) in read for m in unit.members):
            continue
        inputs = {id(program.inputs[i]): unit.stored(m) for m in unit.members if (i := made.get(id(m), -1)) >= 0}
        reads = [unit.access(x, unit.read_axes(m)) for m in unit.members for x in m.operands]
        if all(inputs[id(root)][1:] == (offset, steps) for root, offset, steps in reads if id(root) in inputs):
            last.append(unit)
            found |= made
    taken = {i for i in found.values()}
    for unit in list(last):  # none reads what another one writes
        own = {found[id(m)] for m in unit.members if id(m) in found}
        roots = {id(program.inputs[i]) for i in taken - own}
        if roots & unit.roots:
            return {}
    units[:] = [*(u for u in units if u not in last), *last]
    return found


def kept_in_memory(units: Sequence[Unit], places: Places, results: Sequence[Node]) -> set[int]:
    """The ids of the roots that must be in memory: results, and what another unit reads."""
    kept = {id(places.of(x).root) for x in results}
    for unit in units:
        inside = {id(m) for m in unit.members}
        for node in unit.members:
            kept.update(id(r) for x in node.operands if id(r := places.of(x).root) not in inside)
            if unit.what != "nest" or (isinstance(unit, Nest) and unit.role[id(node)] == "part"):
                kept.add(id(places.of(node).root))
    return kept
