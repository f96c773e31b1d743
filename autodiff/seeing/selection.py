"""What a picture shows: where each node belongs (calls of modules, passes), and what is left out when it is too much.

Order: homes, the drawing, then the choice: everything; or modules closed, inner ones first; or both ends, and a gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby, pairwise, product
from typing import Any

from ..device_arrays import ARRAYS
from ..tensor import Tensor
from .expansion import Place, calls_in, groups_of
from .powers import exponents

# Homes


@dataclass(slots=True, eq=False)
class Call:
    """One call of a module: what was made while it ran. Or a part of an expansion; or a band of the picture: what one
    pass made."""

    start: float
    end: float
    label: str
    depth: int = 0
    parent: Call | None = None
    closed: bool = False
    """Drawn as one node."""
    asked: bool = False
    """A part of an expansion: what users asked to see is closed last."""
    band: int | None = None
    """For a band, its layer: 0 forward, 1 and 2 the backward passes."""
    path: str = ""
    kind: str = ""
    """Of a module, its place in the model and its class; of a repeat, what is repeated."""
    count: int = 0
    """Of a repeat, how often."""
    left_out: int = 0
    """Operations of a repeat's middle that are in no list of results any more."""

    def outermost_closed(self) -> Call | None:
        found: Call | None = None
        for call in chain(self):
            found = call if call.closed else found
        return found


def chain(call: Call | None) -> Iterator[Call]:
    """The call, the one in which it ran, and so on."""
    while call is not None:
        yield call
        call = call.parent


def band_of(call: Call | None) -> Call | None:
    """The band in which a call ran, if the picture has bands."""
    for last in chain(call):
        call = last
    return call if call is not None and call.band is not None else None


def around_both(a: Call | None, b: Call | None) -> Call | None:
    """The innermost call in which both ran."""
    around = set(chain(b))
    return next((call for call in chain(a) if call in around), None)


Homes = dict[int, Call]
"""The innermost call (or band) in which a result was made, by the result's number."""


def homes_of(results: list[Tensor], modules: list[tuple[str, Any]]) -> Homes:
    """For each result, the innermost call of a module, or part of an expansion, in which it was made."""
    place, found = calls_in(results), list[tuple[float, Call]]()
    for path, m in modules:
        kind = type(m).__name__.lstrip("_") or type(m).__name__
        label = f"{path} · {kind}" if path else kind
        for start, end, depth in [place(*call) for call in getattr(m, "_calls", ())]:
            found.append((depth, Call(start, end, label, path=path, kind=kind)))
    for g in groups_of(results):
        found.append((g.depth, Call(g.start, g.end, g.label, closed=g.closed, asked=True)))
    found.sort(key=lambda at: (at[1].start, -at[1].end, at[0]))
    calls = [call for _, call in found]
    homes: Homes = {}
    if not calls:
        return homes
    stack: list[Call] = []
    coming = iter(calls)
    following = next(coming, None)
    for node in results:
        number = node._number
        while following is not None and following.start < number:
            while stack and stack[-1].end < following.start:
                stack.pop()
            following.parent = stack[-1] if stack else None
            following.depth = len(stack)
            stack.append(following)
            following = next(coming, None)
        while stack and stack[-1].end < number:
            stack.pop()
        if stack:
            homes[number] = stack[-1]
    return homes


def is_users(x: Any) -> bool:
    """Whether a leaf was made by the user, not by a module."""
    return type(x) is Tensor and bool(x._requires_grad or x.name)


ENTERING = 6
"""Where so many members of a repeat take a leaf of the user's from outside, those stand before it."""


def _repeats(home: Call | None, once: bool, number: float, i: int) -> Iterator[tuple[Call, Any]]:
    """The members of repeats, or repeats of single operations, in which a leaf is used, the innermost first, and the
    place in them: of which repeat, after how many tensors, and which input."""
    for call in chain(home):
        if call.parent is not None and call.parent.count:
            yield call, (call.parent, number - call.start, i)
        elif call.count and once and call is home:
            yield call, (call, 0, i)


def homes_of_leaves(results: list[Tensor], homes: Homes) -> dict[Any, Call | None]:
    """For each leaf, by its key, the innermost call around all that use it. The user's own leaves, and arrays that are
    an operation's first input, stand outside of all modules, but in the member of a repeat if only that uses them and
    more than `ENTERING` members have one in the same place (one input of each time step, say)."""
    found: dict[Any, tuple[Call | None, bool]] = {}
    uses: dict[Any, tuple[float, int]] = {}
    """By which result a leaf is used first, and as which input."""
    bands: dict[Any, Call | None] = {}
    """Of what several passes use, the first."""
    outside: set[Any] = set()
    for node in results:
        for i, x in enumerate(node._inputs):
            if not isinstance(x, Tensor) or x._primitive is None:
                key, home = key_of(x, node, i), homes.get(node._number)
                if key in found:
                    found[key] = around_both(found[key][0], home), False
                else:
                    found[key], bands[key], uses[key] = (home, True), band_of(home), (node._number, i)
                    opened = isinstance(getattr(x, "_number", None), Place)  # made inside an expansion
                    if not opened and (is_users(x) or (i == 0 and type(x) in (Tensor, *ARRAYS) and x.ndim)):
                        outside.add(key)
    around = {key: list(_repeats(*found[key], *uses[key])) for key in outside}
    entering = Counter(place for members in around.values() for _, place in members)
    placed: dict[Any, Call | None] = {}
    for key, (home, _) in found.items():
        if key in outside:
            home = next((call for call, place in around[key] if entering[place] > ENTERING), None) or band_of(home)
        placed[key] = home or bands[key]
    return placed


def in_bands(
    homes: Homes, results: list[Tensor], layers: Mapping[int, int], rule_of: Mapping[int, Tensor], labels: list[str]
) -> tuple[Homes, list[Call]]:
    """The homes in a picture with a band for each pass. What a rule made belongs to the module of the operation that
    it is the rule of, in a frame of the same form in the rule's own band."""
    bands = [Call(0, 0, label, depth=-1, band=layer) for layer, label in enumerate(labels)]
    mirrored: dict[tuple[int, str, int], Call] = {}

    def mirror(call: Call, layer: int, pattern: str) -> Call:
        known = mirrored.get((layer, pattern, id(call)))
        if known is None:
            known = replace(
                call, label=pattern.replace("…", call.label), kind=call.kind and pattern.replace("…", call.kind)
            )
            mirrored[layer, pattern, id(call)] = known
            known.parent = bands[layer] if call.parent is None else mirror(call.parent, layer, pattern)
        return known

    placed: Homes = {}
    for node in results:
        layer, origin, pattern = layers[node._number], node, "…"
        while origin._number in rule_of:
            origin = rule_of[origin._number]
            pattern = f"∂({pattern})" if "∂" in pattern else f"∂ {pattern}"
        home = homes.get(origin._number)
        placed[node._number] = bands[layer] if home is None else mirror(home, layer, pattern)
    return placed, bands


# The drawing


@dataclass(slots=True)
class Drawing:
    """The nodes and edges to be drawn: units (operations, or modules that are shown as one) and tensors."""

    units: list[tuple[str, Call | None, list[Tensor]]] = field(default_factory=list)
    tensors: dict[Any, tuple[str, Any, Call | None]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    turns: list[tuple[str, str]] = field(default_factory=list)
    """From where a pass starts to the seed of its gradients."""
    cuts: list[tuple[str, str]] = field(default_factory=list)
    """From a result to a leaf that holds its values, detached."""
    gaps: dict[str, tuple[str, Call | None]] = field(default_factory=dict)
    """For each node that stands for what is not shown: what it says, and where it is."""
    within: dict[int, str] = field(default_factory=dict)
    """The unit in which a result is written that has no node of its own, by the result's id."""
    references: list[tuple[str, Any, Call | None]] = field(default_factory=list)
    """Where a pass takes a value from an earlier one: a node's name, what it stands for, and where it is."""

    def place(self, key: Any) -> str | None:
        """The drawn node from which a tensor's edges start."""
        known = self.tensors.get(key)
        return known[0] if known is not None else self.within.get(key)


@dataclass(slots=True)
class Gap:
    """Units that are not shown, and the numbers of what they made."""

    name: str
    first: int
    last: int
    oldest: int
    youngest: int
    home: Call | None


def key_of(x: Any, node: Tensor, i: int) -> Any:
    """Which drawn node an input is: tensors and arrays are themselves, a number belongs to its operation."""
    return id(x) if isinstance(x, (Tensor, *ARRAYS)) else (id(node), i)


def leaf_name(x: Any, node: Tensor, i: int) -> str:
    """What the drawn node of input i of a result is called in the DOT source."""
    return f"t{x._number}" if isinstance(x, Tensor) else f"t{node._number}i{i}"


class Units:
    """The operations in order, those of a closed module together: pairs of the module's call (or None) and results."""

    def __init__(self, results: list[Tensor], homes: Homes) -> None:
        self.results = results
        self.merged: list[tuple[Call | None, list[Tensor]]] | None = None
        if any(call.outermost_closed() for call in set(homes.values())):
            self.merged = []
            for node in results:
                home = homes.get(node._number)
                closed = home.outermost_closed() if home is not None else None
                if closed is not None and self.merged and self.merged[-1][0] is closed:
                    self.merged[-1][1].append(node)
                else:
                    self.merged.append((closed, [node]))

    def __len__(self) -> int:
        return len(self.results if self.merged is None else self.merged)

    def __getitem__(self, u: int) -> tuple[Call | None, list[Tensor]]:
        return (None, [self.results[u]]) if self.merged is None else self.merged[u]

    def __iter__(self) -> Iterator[tuple[Call | None, list[Tensor]]]:
        return (self[u] for u in range(len(self)))


def hidden_in(units: Units, homes: Mapping[Any, Call | None]) -> set[Any]:
    """What stays inside a closed module: results used only there, and its own parameters and constants."""
    if units.merged is None:
        return set()
    user: dict[Any, int] = {}
    maker: dict[Any, int] = {}
    leaves: dict[Any, Call | None] = {}
    for u, (_, nodes) in enumerate(units):
        for node in nodes:
            maker[id(node)] = u
            for i, x in enumerate(node._inputs):
                key = key_of(x, node, i)
                user[key] = u if user.get(key, u) == u else -1
                if not isinstance(x, Tensor) or x._primitive is None:
                    leaves[key] = homes[key]
    hidden = {key for key, u in maker.items() if user.get(key) == u and units[u][0] is not None}
    for key, home in leaves.items():
        closed = units[user[key]][0] if user[key] >= 0 else None
        if closed is not None and closed in set(chain(home)):
            hidden.add(key)
    return hidden


def operations(call: Call, nodes: list[Tensor], homes: Homes) -> int:
    """How many operations ran in a call of which these results are left."""
    around = set(chain(call.parent))
    inner = {each for node in nodes for each in chain(homes.get(node._number))} - around
    return len(nodes) + sum(each.left_out for each in inner)


def not_shown(n: int) -> str:
    """What a node says that stands for n others."""
    return f"… {n:,} node{'s' * (n != 1)} not shown"


# The choice

REFERENCES = 6
"""More values that one node takes from earlier passes are drawn as one."""

READABLE = 40
"""A picture of more nodes is made smaller by closing what can be closed: repeats, then modules."""


class Selection:
    """Chooses what is drawn of some results.

    Args:
        results: all of them, oldest first.
        homes: where they were made.
        max_nodes: how many nodes are drawn.
        shown: ids of the results that have a node of their own even if only their module uses them.
        folded: ids of the results that are written in their operation's node.
        unseen: ids of the tensors that are not drawn at all.
        always: leaves that are drawn in any case, each with its home.
        bands: whether the picture has a band for each pass.
        compact: whether a module that is a single operation is drawn as one node in any case.
    """

    def __init__(
        self,
        results: list[Tensor],
        homes: Homes,
        max_nodes: int,
        shown: Collection[int] = (),
        folded: Collection[int] = (),
        unseen: Collection[int] = (),
        always: Sequence[tuple[Tensor, Call]] = (),
        bands: bool = False,
        compact: bool = False,
    ) -> None:
        self.compact = compact
        self.leaf_homes = homes_of_leaves(results, homes) if homes else {}
        """Where each leaf belongs, by its key; needed only where calls are closed."""
        self.results, self.homes, self.max_nodes = results, homes, max_nodes
        self.shown, self.unseen, self.bands = set(shown), unseen, bands
        self.always = {id(x): (f"t{x._number}", x, home) for x, home in always}
        self.band_at: dict[int, Call | None] = {}
        """The band to which a tensor or an array belongs, by id: its own, or for a leaf that of its first use."""
        if bands:
            for node in results:
                self.band_at[id(node)] = band = band_of(homes[node._number])
                for x in node._inputs:
                    if isinstance(x, (Tensor, *ARRAYS)):
                        self.band_at.setdefault(id(x), band)
        self.units = Units(results, homes)
        # What others use of a part of an expansion that is one node has no node of its own.
        self.boxed = {id(x) for call, nodes in self.units.merged or () if call for x in nodes}
        self.folded = self.boxed.union(folded)
        self.hidden: set[Any] = set()
        self.enclosed: set[Any] = set()
        """Results and parameters of a closed module that besides only other passes use, where they are references."""
        self.gathered: set[Any] = set()
        """Results of a closed module or repeat that are drawn as one, because they are many."""
        self.found: list[Gap] = []
        self.room: int | None = None
        """For how many more leaves there is room, if not for all."""
        self.dropped: set[Any] = set()
        """Leaves for which there was none."""
        self.edges: Counter[tuple[str, str]] = Counter()
        self.drawing = Drawing()

    def arranged(self) -> Drawing:
        """The drawing."""
        calls = {c: None for home in dict.fromkeys(self.homes.values()) for c in chain(home) if c.band is None}
        depths = sorted({call.depth for call in calls}, reverse=True)
        if self.compact:
            self.close_single_operations()
        limit = min(self.max_nodes, READABLE * (2 if self.bands else 1))
        count = self.count()
        asked = {around for call in calls if call.asked for around in chain(call)}
        for last, depth in product((False, True) if asked else (False,), [None, *depths]):
            # One module that is the whole model is not closed: its parts say more than one box.
            outermost = {call.start for call in calls if call.depth == 0}
            whole = depth == 0 and len(depths) > 1 and len(outermost) == 1
            if whole or count <= (self.max_nodes if last else limit):
                continue
            closing = [
                c for c in calls if (c.count if depth is None else c.depth == depth) and (last or c not in asked)
            ]
            if closing:
                for call in closing:
                    call.closed = True
                self.units = Units(self.results, self.homes)
                count = self.count()
        if count > self.max_nodes:
            self.hidden = self.hidden_now()
            self.found, self.room = self.gaps(), 0
        self.fill()
        return self.drawing

    def close_single_operations(self) -> None:
        held: Counter[Call] = Counter(c for node in self.results for c in chain(self.homes.get(node._number)))
        for call, n in held.items():
            if call.kind and not call.count and n == 1 and not call.left_out:
                call.closed = True
        self.units = Units(self.results, self.homes)

    def count(self) -> int:
        """How many nodes there would be, with modules as they are now open or closed."""
        if len(self.units) > max(self.max_nodes, READABLE):
            return len(self.units)
        self.hidden, seen = self.hidden_now(), set(self.always)
        return len(seen) + sum(self.cost(nodes, seen) for _, nodes in self.units)

    def hidden_now(self) -> set[Any]:
        """What is not drawn, with modules as they are now open or closed."""
        closed = self.in_closed() if self.bands else set()
        hidden = hidden_in(self.units, self.leaf_homes).difference(self.shown - closed, self.always)
        leaving = self.leaving() if closed else set()
        self.enclosed = (closed - leaving) | (self.own_leaves() if closed else set())
        self.gathered = set()
        for call, nodes in self.units.merged or () if closed else ():
            out = {id(node) for node in nodes if id(node) in leaving} if call is not None else set()
            self.gathered |= out if len(out) > REFERENCES else set()
        return hidden.union(self.unseen, exponents(self.results))

    def in_closed(self) -> set[Any]:
        """The results that are made in a closed module or repeat."""
        return {id(node) for call, nodes in self.units.merged or () if call is not None for node in nodes}

    def own_leaves(self) -> set[Any]:
        """The parameters and constants that in their first pass only one closed module uses."""
        user: dict[Any, int] = {}
        for u, (call, nodes) in enumerate(self.units):
            for node in nodes:
                for x in node._inputs:
                    leaf = isinstance(x, ARRAYS) or (isinstance(x, Tensor) and x._primitive is None)
                    if leaf and not self.is_reference(x, node):
                        alone = call is not None and not is_users(x) and user.get(id(x), u) == u
                        user[id(x)] = u if alone else -1
        return {key for key, u in user.items() if u >= 0}.difference(self.always)

    def leaving(self) -> set[Any]:
        """The results that are used outside of their unit in the same pass, or not at all."""
        maker = {id(node): u for u, (_, nodes) in enumerate(self.units) for node in nodes}
        left = set(maker)
        outside = set[Any]()
        for u, (_, nodes) in enumerate(self.units):
            for node in nodes:
                used = [x for x in node._inputs if id(x) in maker]
                left.difference_update(map(id, used))
                outside |= {id(x) for x in used if maker[id(x)] != u and not self.is_reference(x, node)}
        return left | outside

    def own_node(self, node: Tensor) -> bool:
        key = id(node)
        return not (key in self.hidden or key in self.folded or key in self.enclosed or key in self.gathered)

    def is_reference(self, x: Any, node: Tensor) -> bool:
        """Whether an input of a node was there before the node's pass."""
        if not self.bands or not isinstance(x, (Tensor, *ARRAYS)):
            return False
        return self.band_at.get(id(x), self.band_at[id(node)]) is not self.band_at[id(node)]

    def is_mentioned(self, x: Any, node: Tensor) -> bool:
        """Whether a reference is drawn; not from one part that is one node to another."""
        return id(x) not in self.hidden and not (id(x) in self.boxed and id(node) in self.boxed)

    def cost(self, nodes: list[Tensor], seen: set[Any]) -> int:
        """How many drawn nodes these operations bring with them."""
        new = {
            key for node in nodes for i, x in enumerate(node._inputs)
            if not isinstance(x, Tensor) or x._primitive is None
            for key in [key_of(x, node, i)] if key not in self.hidden and key not in self.enclosed and key not in seen
        }  # fmt: skip
        seen |= new
        references = len(self.references(nodes))
        references = references if references <= REFERENCES else 1
        gathered = any(id(node) in self.gathered for node in nodes)
        return 1 + len(new) + references + gathered + sum(map(self.own_node, nodes))

    def references(self, nodes: list[Tensor]) -> dict[int, tuple[str, Any]]:
        """What these operations take from earlier passes and is drawn, by id, with the name of the first such node."""
        found: dict[int, tuple[str, Any]] = {}
        for node in nodes if self.bands else ():
            for i, x in enumerate(node._inputs):
                if self.is_reference(x, node) and self.is_mentioned(x, node):
                    found.setdefault(id(x), (leaf_name(x, node, i), x))
        return found

    def gaps(self) -> list[Gap]:
        """What is left out: the middle; in a picture with bands, the middle of each."""
        runs = [(0, len(self.units))]
        if self.bands:
            bands = [band_of(self.homes.get(nodes[0]._number)) for _, nodes in self.units]
            edges = [0, *accumulate(len(list(group)) for _, group in groupby(bands))]
            if len(edges) <= 4:
                runs = sorted(pairwise(edges), key=self.size)  # what the small ones do not need is left for the others
        found: list[Gap] = []
        left, seen = self.max_nodes - len(self.always), set[Any](self.always)
        for i, run in enumerate(runs):
            first, last, used = self.ends(*run, left // (len(runs) - i), seen)
            left -= used
            if first < last:
                oldest, youngest = self.units[first][1][0]._number, self.units[last - 1][1][-1]._number
                home = around_both(self.homes.get(oldest), self.homes.get(youngest))
                band = band_of(home)
                found.append(Gap(f"gap{band.band}" if band else "gap", first, last, oldest, youngest, home))
        return sorted(found, key=lambda gap: gap.first)

    def size(self, run: tuple[int, int]) -> int:
        """How many nodes there would be for these units."""
        return sum(self.cost(self.units[u][1], set()) for u in range(*run))

    def ends(self, start: int, stop: int, room: int, seen: set[Any]) -> tuple[int, int, int]:
        """How many units to keep at the beginning, from which on at the end, and what they cost, alternating from the
        end inwards."""
        first, last, left = start, stop, room - 1
        while first < last:
            back = stop - last <= first - start
            trial = set(seen)
            cost = self.cost(self.units[last - 1 if back else first][1], trial)
            if cost > left and last < stop:
                break
            seen |= trial
            left -= cost
            if back:
                last -= 1
            else:
                first += 1
        return first, last, room - left

    def fill(self) -> None:
        """Put everything into the drawing but what is in the gaps, and leaves as long as there is room."""
        drawing, kept, start = self.drawing, list[int](), 0
        for gap in self.found:
            kept += range(start, gap.first)
            start = gap.last
        kept += range(start, len(self.units))
        drawing.tensors |= self.always
        if self.room is not None:
            self.room = max(self.max_nodes - len(self.found), 3) - len(self.always)
            self.room -= sum(1 + sum(map(self.own_node, self.units[u][1])) for u in kept)
        for u in kept:
            closed, nodes = self.units[u]
            unit = f"{'op' if closed is None else 'module'}{nodes[-1]._number}"
            drawing.units.append((unit, closed, nodes))
            self.refer(unit, nodes, self.homes.get(nodes[-1]._number) if closed is None else closed.parent)
            for node in nodes:
                self.fill_in(node, unit, self.homes.get(node._number) if closed is None else closed.parent)
            if gathered := [node for node in nodes if id(node) in self.gathered]:
                name = f"{unit}results"
                drawing.gaps[name] = f"{len(gathered):,} results", closed and closed.parent
                drawing.within |= dict.fromkeys(map(id, gathered), name)
                self.edges[unit, name] = 1
        counted = self.hidden | self.dropped
        for gap in self.found:
            drawing.gaps[gap.name] = not_shown(self.count_gap(gap, counted)), gap.home
        if self.dropped:
            drawing.gaps["rest"] = not_shown(len(self.dropped)), None
        single = {unit for unit, closed, _ in drawing.units if closed is not None} | set(drawing.gaps)
        for (source, target), n in self.edges.items():
            drawing.edges += [(source, target)] * (1 if source in single or target in single else n)

    def refer(self, unit: str, nodes: list[Tensor], home: Call | None) -> None:
        """Draw what a unit takes from earlier passes."""
        references = self.references(nodes)
        if len(references) > REFERENCES:
            name = f"{unit}earlier"
            self.drawing.gaps[name] = f"{len(references):,} values from earlier passes", home
            self.edges[name, unit] = 1
            return
        for name, x in references.values():
            self.drawing.references.append((f"{unit}{name}", x, home))
            self.edges[f"{unit}{name}", unit] = 1

    def fill_in(self, node: Tensor, unit: str, home: Call | None) -> None:
        """Draw the inputs of a result and the result itself, with the edges to and from its unit."""
        for i, x in enumerate(node._inputs):
            if self.is_reference(x, node):
                continue
            if isinstance(x, Tensor) and x._primitive is not None:
                gap = next((gap.name for gap in self.found if gap.oldest <= x._number <= gap.youngest), None)
                source = gap or self.drawing.place(id(x))
            else:
                source = self.leaf(x, i, node, home)
            if source is not None and source != unit:
                self.edges[source, unit] += 1
        if id(node) in self.folded and id(node) not in self.hidden:
            self.drawing.within[id(node)] = unit
        elif self.own_node(node):
            name = f"t{node._number}"
            self.drawing.tensors[id(node)] = (name, node, home)
            self.edges[unit, name] += 1

    def leaf(self, x: Any, i: int, node: Tensor, home: Call | None) -> str | None:
        """The drawn node of input i of a node, a leaf; made if there is room."""
        key, tensors = key_of(x, node, i), self.drawing.tensors
        known = tensors.get(key)
        if known is not None:
            return known[0]
        if key in self.hidden or key in self.enclosed:
            return None
        if self.room is not None:
            if self.room <= 0:
                self.dropped.add(key)
                return "rest"
            self.room -= 1
        name = leaf_name(x, node, i)
        tensors[key] = (name, x, self.leaf_homes.get(key, home))
        return name

    def count_gap(self, gap: Gap, counted: set[Any]) -> int:
        """Lead edges from what is drawn into the gap; returns the number of nodes in it that are not `counted` yet."""
        missing, before = gap.last - gap.first, dict[int, Any]()
        for u in range(gap.first, gap.last):
            for node in self.units[u][1]:
                missing += self.own_node(node)
                for i, x in enumerate(node._inputs):
                    if not isinstance(x, (Tensor, *ARRAYS)):
                        missing += (id(node), i) not in self.hidden
                    elif not isinstance(x, Tensor) or x._primitive is None or x._number < gap.oldest:
                        before[id(x)] = x
        for key, x in before.items():
            source = self.drawing.place(key)
            if source is not None:
                if not self.is_reference(x, self.units[gap.first][1][0]):
                    self.edges[source, gap.name] = 1
            elif key not in counted and getattr(x, "_primitive", None) is None:
                counted.add(key)
                missing += 1
        return missing
