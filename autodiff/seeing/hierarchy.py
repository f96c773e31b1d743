"""A graph as groups within groups, each of few nodes: what a page draws, and opens at a click.

A group is a call of a module, a repeat, a member of a repeat, a band, or the whole. A tensor that crosses the border of
a group has a port there. All is text and numbers of the moment at which the picture was made; no tensor is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..tensor import Tensor
from .details import described
from .looks import (
    Line,
    kind_of,
    leaf_lines,
    module_lines,
    operation_lines,
    option_text,
    options_of,
    result_lines,
    rules_of,
    tensor_lines,
)
from .printable import printable
from .repeats import KEPT
from .selection import READABLE, Call, Homes, band_of, chain, homes_of_leaves, key_of, not_shown, operations

WIDEST = 120
"""Of a group of more nodes, the middle is not shown."""


@dataclass(slots=True)
class Node:
    """A box: an operation with its result, a leaf, a group that can be opened, or what is not shown."""

    kind: str
    lines: list[Line]
    name: str
    """What it is called in lists and in the search."""
    facts: list[tuple[str, str]] = field(default_factory=list)
    tensors: list[int] = field(default_factory=list)
    """Of `Hierarchy.tensors`, those that the panel shows."""
    group: int | None = None
    """The group that is seen when it is opened."""
    around: int = 0
    """The group in which it is."""


@dataclass(slots=True)
class Group:
    """Nodes, the ports of tensors that come in and go out, and the edges between them all."""

    label: str
    kind: str
    nodes: list[int] = field(default_factory=list)
    ins: dict[Any, str] = field(default_factory=dict)
    """What the ports are called, by the id of the tensor; likewise `outs`."""
    outs: dict[Any, str] = field(default_factory=dict)
    edges: dict[tuple[Any, Any], None] = field(default_factory=dict)
    """From and to a node's index, or ("in", key) or ("out", key) for a port."""
    opened: bool = False
    """Whether it is open at first."""


@dataclass(slots=True, eq=False)
class Words:
    """How the things in a graph are called, and what is shown of them."""

    output: Tensor
    titles: Mapping[int, str]
    """Of what the program named: this stands in the boxes."""
    names: Mapping[int, str]
    """Of everything."""
    roots: Callable[[Tensor], str | None]
    """What is differentiated by a result."""
    kinds: Mapping[int, str]
    parameters: set[int]
    inside: Mapping[int, list[tuple[str, Any]]]
    show: tuple[str, ...]

    def of(self, x: Any) -> str:
        """What the program calls a tensor; "" if it has no name."""
        return self.titles.get(id(x)) or getattr(x, "name", None) or ""

    def called(self, x: Any) -> str:
        """The same, with the names that we give."""
        return self.names.get(id(x)) or self.of(x)


Item = Tensor | Call | tuple[Any, Any]
"""A result, a call, or a leaf with its key."""


class Hierarchy:
    """The groups of a graph, the first of which is the whole.

    Args:
        results: all results that are kept, oldest first.
        homes: where they were made.
        words: what they are called.
    """

    def __init__(self, results: list[Tensor], homes: Homes, words: Words) -> None:
        self.title = printable(words.of(words.output) or "a computation")
        self.groups = [Group("graph", "graph", opened=True)]
        self.nodes: list[Node] = []
        self.tensors: list[dict[str, Any]] = []
        build = _Builder(self, homes, words)
        build.place(results)
        build.connect(results)
        self._without_crowds()
        self._open_first()

    def _without_crowds(self) -> None:
        """Ports that would be too many stand together in one, and a port of many edges says how many in their place:
        the layout of hundreds of ports takes minutes, and none of them could be followed."""
        for group in self.groups:
            for side, ports, words in (("in", group.ins, "used {} times"), ("out", group.outs, "from {} nodes")):
                if len(ports) > PORTS:
                    _gather(group, side, ports)
                fans = Counter(port[1] for edge in group.edges for port in edge if _is_port(port, side))
                for key in [key for key, n in fans.items() if n > FAN]:
                    ports[key] += f", {words.format(fans[key])}"
                fan = {(side, key) for key, n in fans.items() if n > FAN}
                group.edges = {edge: None for edge in group.edges if fan.isdisjoint(edge)}

    def _open_first(self) -> None:
        """Open what is around nearly everything, and all where that is little."""
        shown = len(self.groups[0].nodes)
        for node in self.nodes:  # from the outside inwards
            if node.group is not None and self.groups[node.around].opened:
                group = self.groups[node.group]
                whole = sum(self.nodes[i].group is not None for i in self.groups[node.around].nodes) == 1
                most = 2 * READABLE if group.kind == "band" else READABLE if whole else FEW
                if group.kind != "repeat" and shown + len(group.nodes) <= most:
                    group.opened = True
                    shown += len(group.nodes)


FAN = 6
"""To more nodes no edges lead from one port, or from more to one."""

NAMED = 2
"""Of so many results that leave a group and have a name, the names stand in its node."""

PORTS = 12
"""Of more ports on a side of a group, those stand in one that lead to the same nodes; if that is not enough, those of
few edges, and then all."""

FEW = 16
"""Groups are open at first as long as no more nodes than this are seen; or READABLE, if a group is the only one; or as
many as in a picture, if it is a band."""


def _is_port(end: Any, side: str) -> bool:
    return isinstance(end, tuple) and end[0] == side


def _gather(group: Group, side: str, ports: dict[Any, str]) -> None:
    """Put ports of a side of a group together, until there are few."""
    ends: dict[Any, set[Any]] = {key: set() for key in ports}
    for source, target in group.edges:
        port, other = (source, target) if side == "in" else (target, source)
        if _is_port(port, side):
            ends[port[1]].add(other)
    for likeness in (frozenset, lambda nodes: len(nodes) > FAN, lambda _: True):
        alike: dict[Any, list[Any]] = {}
        for key, nodes in ends.items():
            alike.setdefault(likeness(nodes), []).append(key)
        if len(alike) <= PORTS:
            break
    first = {(side, key): (side, keys[0]) for keys in alike.values() for key in keys}
    labels = {keys[0]: _together([ports[key] for key in keys]) for keys in alike.values()}
    ports.clear()
    ports.update(labels)
    group.edges = {(first.get(a, a), first.get(b, b)): None for a, b in group.edges}


def _together(labels: list[str]) -> str:
    distinct = list(dict.fromkeys(labels))
    if len(labels) < 3 and len(distinct) == len(labels):
        return ", ".join(labels)
    return f"{' … '.join(dict.fromkeys((distinct[0], distinct[-1])))}, {len(labels):,} tensors"


class _Builder:
    def __init__(self, into: Hierarchy, homes: Homes, words: Words) -> None:
        self.into, self.homes, self.words = into, homes, words
        self.paths: dict[Any, tuple[int, ...]] = {}
        """The nodes around a result (by its number) or a leaf ("leaf", key), the outermost first, and its own."""
        self.described: dict[int, int] = {}
        """Where a tensor is in the hierarchy's tensors, by id."""

    # Nodes

    def place(self, results: list[Tensor]) -> None:
        """Make all nodes and groups."""
        self.inside: dict[Call | None, list[Item]] = {None: []}
        self.held: dict[Call, list[Tensor]] = {}
        for node in results:
            home = self.homes.get(node._number)
            for call in chain(home):
                if call not in self.held:
                    self.held[call] = []
                    self.inside.setdefault(call, [])
                    self.inside.setdefault(call.parent, []).append(call)
                self.held[call].append(node)
            self.inside[home].append(node)
        for key, (x, where) in reversed(self.leaves(results).items()):
            self.inside[where].insert(0, (key, x))  # in the order in which they are used
        stack: list[tuple[Call | None, int, tuple[int, ...]]] = [(None, 0, ())]
        within: dict[Call | None, tuple[int, tuple[int, ...]]] = {None: (0, ())}
        """The group of a call, and the nodes around what is in it."""
        while stack:
            around, index, path = stack.pop()
            for item in self.shown(around, index, path):
                heading = item if isinstance(item, Call) else None
                result = self.single(heading) if heading is not None else item if isinstance(item, Tensor) else None
                if isinstance(item, tuple):
                    self.paths["leaf", item[0]] = (*path, self.add(self.leaf_node(item[1]), index))
                elif result is not None:
                    self.paths[result._number] = (*path, self.add(self.operation_node(result, heading), index))
                elif heading is not None:
                    opener = self.add(self.group_node(heading), index)
                    within[heading] = len(self.into.groups), (*path, opener)
                    self.into.nodes[opener].group = len(self.into.groups)
                    stack.append((heading, len(self.into.groups), (*path, opener)))
                    self.into.groups.append(Group(printable(heading.label, 100), kind_of_call(heading)))
        output = self.words.output
        if results:
            index, path = within[band_of(self.homes.get(output._number))]
            self.paths["output"] = (*path, self.add(self.leaf_node(output), index))

    def leaves(self, results: list[Tensor]) -> dict[Any, tuple[Any, Call | None]]:
        """The leaves with a node of their own, by key, and where they are."""
        homes, found = homes_of_leaves(results, self.homes), dict[Any, tuple[Any, Call | None]]()
        for node in results:
            within = {id(x) for _, x in self.words.inside.get(node._number, ())}
            for i, x in enumerate(node._inputs):
                if not (isinstance(x, Tensor) and x._primitive is not None) and id(x) not in within:
                    key = key_of(x, node, i)
                    found[key] = x, homes[key]
        return found if results else {"output": (self.words.output, None)}

    def shown(self, call: Call | None, around: int, path: tuple[int, ...]) -> list[Item]:
        """The items of a group that have a node: not the middle, if there are too many."""
        items = self.inside[call]
        ends = KEPT if call is not None and call.count else WIDEST // 2
        if len(items) <= 2 * ends and not (call is not None and call.left_out):
            return items
        first, middle, last = items[:ends], items[ends:-ends], items[-ends:]
        n = len(middle)
        if call is not None and call.count:  # of the members, also those that are in no list any more
            n = call.count + sum(isinstance(item, tuple) for item in middle)
            n -= sum(not isinstance(item, tuple) for item in (*first, *last))
        index = self.add(Node("gap", [("value", not_shown(n))], not_shown(n)), around)
        for item in middle:
            for each in self.held[item] if isinstance(item, Call) else [item]:
                self.paths[("leaf", each[0]) if isinstance(each, tuple) else each._number] = (*path, index)
        return [*first, *last]

    def single(self, call: Call) -> Tensor | None:
        """The result of a module that is a single operation: it has one node, that of the operation."""
        if not call.kind or call.count or len(self.inside[call]) > 1:
            return None
        (item,) = self.inside[call]
        return self.single(item) if isinstance(item, Call) else item if isinstance(item, Tensor) else None

    def add(self, node: Node, around: int) -> int:
        node.around = around
        self.into.nodes.append(node)
        self.into.groups[around].nodes.append(len(self.into.nodes) - 1)
        return len(self.into.nodes) - 1

    def group_node(self, call: Call) -> Node:
        held = self.held[call]
        n = operations(call, held, self.homes)
        lines = module_lines(call, n)
        own = {id(x): x for node in held for _, x in self.words.inside.get(node._number, ()) if isinstance(x, Tensor)}
        size = sum(x.size for x in own.values() if x._requires_grad)
        facts = [("module", call.path)] * bool(call.path and not call.count) + [
            ("repeated" if call.count else "kind", printable(call.kind or call.label, 100)),
            ("operations", f"{n:,}"),
            *[("parameters", f"{size:,} numbers")] * bool(size),
        ]
        return Node("module", lines, printable(call.label, 100), [(k, printable(v, 200)) for k, v in facts])

    def leaf_node(self, x: Any) -> Node:
        words = self.words
        kind = words.kinds.get(id(x)) or kind_of(x, words.output, words.parameters)
        usual = None if x is words.output else words.output._ndarray.dtype
        lines = tensor_lines(x, kind, words.called(x) or None, words.show, usual)
        name = printable(words.called(x) or kind)
        facts = [("kind", kind)]
        if isinstance(x, Tensor) and x._line:
            facts.append(("line", printable(x._line, 400)))
        return Node(kind, lines, name, facts, [self.tensor(x, name)])

    def operation_node(self, node: Tensor, heading: Call | None) -> Node:
        words, home, record = self.words, self.homes.get(node._number), node._primitive
        inside, usual, title = words.inside.get(node._number, ()), words.output._ndarray.dtype, words.of(node)
        kind = "operation"
        if heading is None:
            lines = operation_lines(node, words.titles, words.show, node is not words.output, inside, usual)
            name = printable(f"{record.name} → {title}" if title else record.name)
        else:
            lines = module_lines(heading, 1)
            lines += leaf_lines(inside, words.show)
            lines += result_lines(node, title, words.show, usual) if node is not words.output else []
            name, kind = printable(heading.label, 100), "module"
        facts = [("operation", record.name)]
        facts += [("module", call.path) for call in chain(home) if call.path and not call.count][:1]
        facts += [("option", option_text(key, value)) for key, value in options_of(node)]
        facts += rules_of(node, words.names, words.roots(node))
        facts += [("line", node._line)] if node._line else []
        tensors = [self.tensor(node, words.called(node) or "result")]
        for local, x in inside:
            if hasattr(x, "shape"):
                tensors.append(self.tensor(x, words.called(x) or local or "constant"))
        return Node(kind, lines, name, [(key, printable(value, 400)) for key, value in facts], tensors)

    def tensor(self, x: Any, name: str) -> int:
        """Where a tensor's numbers are; they are taken once."""
        known = self.described.get(id(x))
        if known is None:
            known = self.described[id(x)] = len(self.into.tensors)
            numbers = described(x._ndarray if isinstance(x, Tensor) else x)
            gradient = x._grad if isinstance(x, Tensor) else None
            self.into.tensors.append(
                {"name": printable(name, 100), **numbers}
                | ({"gradient": described(gradient._ndarray)} if gradient is not None else {})
            )
        return known

    # Edges

    def connect(self, results: list[Tensor]) -> None:
        """Make all edges, and the ports that they need."""
        for node in results:
            target = self.paths[node._number]
            within = {id(x) for _, x in self.words.inside.get(node._number, ())}
            for i, x in enumerate(node._inputs):
                result = isinstance(x, Tensor) and x._primitive is not None
                source = self.paths.get(x._number if result else ("leaf", key_of(x, node, i)))
                if source is not None and (result or id(x) not in within):
                    self.edge(source, target, x)
        output = self.words.output
        if results and output._number in self.paths:
            self.edge(self.paths[output._number], self.paths["output"], output)
        for box in self.into.nodes:
            if box.group is not None and (group := self.into.groups[box.group]).kind != "band":
                named = [label for key, label in group.outs.items() if key in self.words.titles]
                box.lines += [("value", ", ".join(named))] * (0 < len(named) <= NAMED)

    def edge(self, source: tuple[int, ...], target: tuple[int, ...], x: Any) -> None:
        """An edge between two nodes, through the ports of the groups around one of them only."""
        if source == target:
            return  # both in what is not shown
        common = next(i for i, (a, b) in enumerate(zip(source, target)) if a != b)
        groups, nodes = self.into.groups, self.into.nodes
        groups[nodes[source[common]].around].edges[source[common], target[common]] = None
        maker = x._primitive if isinstance(x, Tensor) else None
        label = self.words.of(x) or (maker.name if maker is not None else nodes[source[-1]].name)
        for node in source[common + 1 :]:
            group = groups[nodes[node].around]
            group.outs[id(x)] = printable(label, 24)
            group.edges[node, ("out", id(x))] = None
        for node in target[common + 1 :]:
            group = groups[nodes[node].around]
            group.ins[id(x)] = printable(label, 24)
            group.edges[("in", id(x)), node] = None


def kind_of_call(call: Call) -> str:
    """What a group is: a band of a picture, a repeat, or a module (or a member of a repeat)."""
    return "band" if call.band is not None else "repeat" if call.count else "module"
