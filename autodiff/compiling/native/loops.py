"""The function of one loop nest, in the order: which axis is the vectors', the loops, the phases of one iteration,
values, memory.

The last vector of a row overlaps the one before it, so that no vector is cut. Sums are added up in blocks, of which the
sums are added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import inf, prod

import numpy as np

from ...machine.elementwise import DEAR, TABLE, folded
from ...machine.ir import LETTER, MEMORY, SIZE, Builder, Module
from ..program import Node
from .elementwise import signature, written
from .fusion import Nest

BLOCK = 256
"""Additions in a row."""
NEAR_BYTES = 32768
"""Of a row that is kept on the stack between phases."""

Key = tuple[int, int, tuple[int, ...]]


class NestCode:
    """The function of a nest.

    Args:
        module: where it goes.
        nest: what it does.
        kept: ids of the nodes that must be in memory; those are added that a later phase reads from there.
        in_place: whether it may write where it reads, each number once.
    """

    def __init__(self, module: Module, nest: Nest, kept: set[int], in_place: bool = False) -> None:
        self.b = Builder(module, 1)
        self.in_place = in_place
        self.nest, self.kept = nest, kept
        self.members = nest.members
        self.parameters: dict[tuple[int, int], tuple[str, Node]] = {}
        """Id of a root and byte offset → the pointer's name, and the root."""
        self.written: set[int] = set()
        """Ids of the roots that are written."""
        self.index: dict[int, str] = {}
        self.values: dict[int, str] = {}
        self.rows: dict[int, tuple[str, int]] = {}  # reduced and kept values, with their lanes
        self.loaded: dict[tuple[Key, str], str] = {}
        self.extent = 1
        """Of the outermost loop, which may be run in ranges."""
        self.partial = nest.alone
        """Whether all is reduced, and each range gives a part of it, to be put together."""
        self.accesses()
        count = -1
        while count != len(kept):  # more in memory, other loops
            count = len(kept)
            self.dimensions()
            self.vectors()
            self.temporaries()
        self.outermost: int | None = None
        self.outside()
        self.name = self.defined()

    # Which axis is the vectors'

    def accesses(self) -> None:
        """Strides of all that is read and written."""
        nest = self.nest
        self.reads: dict[tuple[int, int], Key] = {}
        self.strides: dict[Key, tuple[int, ...]] = {}
        self.sizes: dict[Key, int] = {}
        self.roots: dict[int, Node] = {}

        def noted(access: tuple[Node, int, tuple[int, ...]], size: int) -> Key:
            root, offset, strides = access
            key = (id(root), offset, strides)
            self.roots[id(root)] = root
            self.strides[key], self.sizes[key] = strides, size
            return key

        for node in self.members:
            for i, x in enumerate(node.inputs):
                if isinstance(x, Node) and id(nest.places.of(x).root) not in nest.role:
                    self.reads[id(node), i] = noted(nest.access(x, nest.read_axes(node)), x.dtype.itemsize)
        self.stores = {id(n): noted(nest.stored(n), n.dtype.itemsize) for n in self.members}

    def used(self) -> list[Key]:
        stored = {self.stores[id(n)] for n in self.members if id(n) in self.kept or self.nest.role[id(n)] == "part"}
        return [*dict.fromkeys([*self.reads.values(), *stored])]

    def dimensions(self) -> None:
        """The axes as few loops: those one after the other as one where all memory allows."""
        nest, used = self.nest, self.used()
        reduced = nest.reduced or frozenset()
        self.lengths: list[int] = []
        self.steps: dict[Key, list[int]] = {key: [] for key in self.strides}
        self.outer: list[int] = []
        self.inner: list[int] = []
        for group, dims in ((self.outer, [a for a in range(len(nest.space)) if a not in reduced]),
                            (self.inner, sorted(reduced))):  # fmt: skip
            dims = [a for a in dims if nest.space[a] > 1]
            dims.sort(key=lambda a: (-sum(abs(self.strides[key][a]) for key in used), a))
            for a in dims:
                n = nest.space[a]
                if group and all(self.steps[key][-1] == self.strides[key][a] * n for key in used):
                    self.lengths[-1] *= n
                    for key in self.strides:
                        self.steps[key][-1] = self.strides[key][a]
                    continue
                group.append(len(self.lengths))
                self.lengths.append(n)
                for key in self.strides:
                    self.steps[key].append(self.strides[key][a])

    @property
    def work(self) -> int:
        """About how many simple instructions on one number each."""
        dear = sum(n.op in DEAR for n in self.members)
        return prod(self.nest.space) * (len(self.members) + len(self.used()) + 10 * dear)

    def vectors(self) -> None:
        """The loop whose steps are vectors, and how many numbers a vector has."""
        used, b = self.used(), self.b
        candidates = [group[-1] for group in (self.inner, self.outer) if group]
        self.vector = min(candidates, key=self.cost, default=-1)
        if self.vector < 0:
            self.lanes = 1
            return
        types = {LETTER[n.dtype] for n in self.members}
        for node in self.members:
            types.update((signature(node) or ("", "", ""))[0] if node.op != "part" else "")
            types.update(LETTER[x.dtype] for x in node.operands)
        native = b.module.width // 8 // max(max(SIZE[t] for t in types), 4)
        strided = any(self.steps[key][self.vector] not in (0, self.sizes[key]) for key in used)
        work = len(self.members) + len(used)
        if not strided and not any(n.op in DEAR for n in self.members):
            native *= 4 if work <= 10 else 2 if work <= 20 else 1
        self.lanes = 1 << (min(native, self.lengths[self.vector]).bit_length() - 1)

    def cost(self, d: int) -> float:
        strided = sum(self.steps[key][d] not in (0, self.sizes[key]) for key in self.used())
        return strided + 2 * (self.lengths[d] < 4)

    # What is kept between phases

    def temporaries(self) -> None:
        """The full values that a later phase reads and that are dear: on the stack where a row is short."""
        nest = self.nest
        self.phases = 1 + max(nest.phase[id(n)] + (nest.role[id(n)] == "reduced") for n in self.members)
        self.temps: dict[int, str] = {}
        self.entry: list[str] = []
        row = prod(self.lengths[d] for d in self.inner) * (1 if self.vector in self.inner else self.lanes)
        for p in range(self.phases):
            for node in self.closure(p, self.wanted(p)):
                key = id(node)
                if nest.phase[key] == p or key in self.kept or key in self.temps or node.op not in DEAR:
                    continue
                if row * node.dtype.itemsize > NEAR_BYTES:
                    self.kept.add(key)
                else:
                    t = LETTER[node.dtype]
                    self.temps[key] = f"%row{len(self.temps)}"
                    self.entry.append(f"  {self.temps[key]} = alloca [{row} x {MEMORY[t]}], align 64")

    def wanted(self, p: int) -> list[Node]:
        """The nodes that the loops of a phase are there for."""
        nest = self.nest
        return [
            n for n in self.members if nest.phase[id(n)] == p and (
                nest.role[id(n)] in ("reduced", "part")
                or (nest.role[id(n)] == "full" and (id(n) in self.kept or id(n) in self.temps))
            )
        ]  # fmt: skip

    def closure(self, p: int, wanted: Sequence[Node]) -> list[Node]:
        """The full members that these nodes need in a phase, of what earlier ones kept nothing behind it."""
        nest = self.nest
        found: set[int] = set()
        known = {id(n): n for n in self.members}
        stack = list(wanted)
        while stack:
            node = stack.pop()
            key = id(node)
            if key in found:
                continue
            found.add(key)
            if nest.phase[key] < p and (key in self.kept or key in self.temps):
                continue
            for x in node.operands:
                root = id(nest.places.of(x).root)
                if nest.role.get(root) == "full":
                    stack.append(known[root])
        return [n for n in self.members if id(n) in found and nest.role[id(n)] == "full"]

    # The loops

    def outside(self) -> None:
        """The loops over what is not reduced."""
        self.b.lanes = self.lanes
        with ExitStack() as stack:
            for d in self.outer:
                if d == self.vector:
                    continue
                ranged = self.outermost is None
                if ranged:
                    self.outermost, self.extent = d, self.lengths[d]
                bounds = ("%lo", "%hi") if ranged else ("0", str(self.lengths[d]))
                self.index[d] = stack.enter_context(self.b.loop(*bounds))
            if self.vector in self.outer:
                self.tiles(self.vector)
            else:
                self.iteration()

    def tiles(self, d: int) -> None:
        """The loop over vectors."""
        if not self.inner:
            self.hoist(0, d)
        ranged = self.outermost is None
        if ranged:
            self.outermost, self.extent = d, self.lengths[d] // self.lanes
        with self.vectors_of(d, self.lanes, ranged) as i:
            self.index[d] = i
            self.iteration()
        with self.rest_of(d, self.lanes, ranged) as left:
            n = self.lengths[d]
            if left and self.in_place:
                self.lanes, self.b.lanes, self.loaded = 1, 1, {}
                self.hoist(0, d)
                with self.b.loop(str(n - left), str(n)) as i:
                    self.index[d] = i
                    self.iteration()
            elif left:
                self.index[d] = str(n - self.lanes)
                self.iteration()

    @contextmanager
    def vectors_of(self, d: int, w: int, ranged: bool) -> Iterator[str]:
        """A loop over the whole vectors of a dimension, or a range of them."""
        bounds = ("0", str(self.lengths[d] // w * w))
        if ranged:
            bounds = (self.b(f"mul i64 %lo, {w}"), self.b(f"mul i64 %hi, {w}"))
        with self.b.loop(*bounds, w) as i:
            yield i

    @contextmanager
    def rest_of(self, d: int, w: int, ranged: bool) -> Iterator[int]:
        """What is done for the numbers that fill no vector, how many there are, at the end of the last range."""
        left = self.lengths[d] % w
        if left and ranged:
            last = self.b(f"icmp eq i64 %hi, {self.lengths[d] // w}")
            self.b.put(f"br i1 {last}, label %rest, label %end")
            self.b.label("rest")
        yield left
        if left and ranged:
            self.b.put("br label %end")
            self.b.label("end")

    def iteration(self) -> None:
        """The phases, of which each is a pass over what is reduced."""
        nest, b = self.nest, self.b
        self.rows = {}
        outside = self.loaded
        for p in range(self.phases):
            b.lanes = 1 if self.vector in self.inner else self.lanes
            self.loaded = dict(outside)
            for node in self.members:
                if nest.role[id(node)] == "kept" and nest.phase[id(node)] == p:
                    self.rows[id(node)] = (self.evaluated(node), b.lanes)
                    if id(node) in self.kept:
                        self.store(self.stores[id(node)], LETTER[node.dtype], self.rows[id(node)][0])
            wanted = self.wanted(p)
            if wanted:
                b.lanes, self.loaded = self.lanes, dict(outside)
                self.passed(p, wanted)
        self.loaded = outside

    def passed(self, p: int, wanted: list[Node]) -> None:
        """One pass over what is reduced."""
        nest, b = self.nest, self.b
        sums = {id(n): Sum(self, n) for n in wanted if nest.role[id(n)] == "reduced"}
        with ExitStack() as stack:
            loops = [d for d in self.inner if d != self.vector]
            innermost = self.vector if self.vector in self.inner else loops.pop() if loops else None
            for d in loops:
                ranged = self.partial and d == loops[0]
                bounds = ("%lo", "%hi") if ranged else ("0", str(self.lengths[d]))
                self.index[d] = stack.enter_context(self.b.loop(*bounds))
            if innermost is None:
                self.body(p, wanted, sums)
            else:
                w = self.lanes if innermost == self.vector else 1
                n = self.lengths[innermost]
                self.hoist(p, innermost)
                with self.vectors_of(innermost, w, self.partial and not loops) as i:
                    self.index[innermost] = i
                    self.body(p, wanted, sums)
                    if n // w > BLOCK:
                        self.flush_at(i, w, sums)
                with self.rest_of(innermost, w, self.partial and not loops) as left:
                    if left:
                        self.index[innermost] = str(n - w)
                        self.body(p, wanted, sums, w - left)
            for s in sums.values():
                s.flush()
        across = self.vector in self.inner
        b.lanes = 1 if across else self.lanes
        for node in wanted:
            if id(node) in sums:
                value = sums[id(node)].result(across)
                self.rows[id(node)] = (value, b.lanes)
                if id(node) in self.kept:
                    self.store(self.stores[id(node)], LETTER[node.dtype], value)
        if self.partial and self.inner:
            first = next((d for d in self.inner if d != self.vector), self.vector)
            self.extent = self.lengths[first] // (self.lanes if first == self.vector else 1)

    def flush_at(self, i: str, w: int, sums: dict[int, Sum]) -> None:
        """After a block, the sums go to the totals."""
        if not any(s.total for s in sums.values()):
            return
        b = self.b
        b.loops += 1
        k = b.loops
        low = b(f"and i64 {i}, {(BLOCK - 1) * w}")
        full = b(f"icmp eq i64 {low}, {(BLOCK - 1) * w}")
        b.put(f"br i1 {full}, label %flush{k}, label %on{k}")
        b.label(f"flush{k}")
        for s in sums.values():
            s.flush()
        b.put(f"br label %on{k}")
        b.label(f"on{k}")

    # Values

    def body(self, p: int, wanted: list[Node], sums: dict[int, Sum], repeated: int = 0) -> None:
        """What is done at one point; the first `repeated` lanes were added up before."""
        nest = self.nest
        self.values = {}
        hoisted = dict(self.loaded)
        for node in self.closure(p, wanted):
            key, t = id(node), LETTER[node.dtype]
            if nest.phase[key] < p and key in self.temps:
                self.values[key] = self.load_row(self.temps[key], t)
            elif nest.phase[key] < p and key in self.kept:
                self.values[key] = self.load(self.stores[key], t)
            else:
                self.values[key] = self.evaluated(node)
        for node in wanted:
            key, t = id(node), LETTER[node.dtype]
            if key in sums:
                sums[key].add(repeated)
                continue
            value = self.operand(node, 0, t) if nest.role[key] == "part" else self.values[key]
            if key in self.temps:
                self.store_row(self.temps[key], t, value)
            if key in self.kept or nest.role[key] == "part":
                self.store(self.stores[key], t, value)
        self.loaded = hoisted

    def evaluated(self, node: Node) -> str:
        types = signature(node)
        assert types is not None
        return written(self.b, node, types, [self.operand(node, i, t) for i, t in enumerate(types[0])])

    def operand(self, node: Node, i: int, t: str) -> str:
        """An input of a node, as type t."""
        x, b = node.inputs[i], self.b
        if isinstance(x, np.generic):
            return b.convert(b.constant(x.item(), LETTER[x.dtype]), LETTER[x.dtype], t)
        if not isinstance(x, Node):
            return b.constant(x, t)
        s, root = LETTER[x.dtype], id(self.nest.places.of(x).root)
        if root in self.values:
            value = self.values[root]
        elif root in self.rows:
            value, lanes = self.rows[root]
            value = b.spread(s, value) if lanes < b.lanes else value
        else:
            key = self.reads[id(node), i]
            if (key, s) not in self.loaded:
                self.loaded[key, s] = self.load(key, s)
            value = self.loaded[key, s]
        return b.convert(value, s, t)

    def hoist(self, p: int, d: int) -> None:
        """Load what does not change along a loop before it."""
        wanted = self.wanted(p)
        for node in {id(n): n for n in [*self.closure(p, wanted), *wanted]}.values():
            if self.nest.phase[id(node)] < p and (id(node) in self.kept or id(node) in self.temps):
                continue
            for i, x in enumerate(node.inputs):
                key = self.reads.get((id(node), i))
                if key is not None and self.steps[key][d] == 0:
                    s = LETTER[x.dtype]
                    if (key, s) not in self.loaded:
                        self.loaded[key, s] = self.load(key, s)

    # Memory

    def pointer(self, key: Key) -> str:
        root, offset, _ = key
        if (root, offset) not in self.parameters:
            self.parameters[root, offset] = (f"%p{len(self.parameters)}", self.roots[root])
        return self.parameters[root, offset][0]

    def address(self, key: Key) -> str:
        b, total = self.b, None
        for d, step in enumerate(self.steps[key]):
            if step:
                moved = b(f"mul i64 {self.index[d]}, {step}")
                total = moved if total is None else b(f"add i64 {total}, {moved}")
        if self.partial and self.nest.role.get(key[0]) == "reduced":
            total = b(f"mul i64 %part, {self.sizes[key]}")
        return b(f"getelementptr i8, ptr {self.pointer(key)}, i64 {total or 0}")

    def load(self, key: Key, t: str) -> str:
        b, address = self.b, self.address(key)
        step = self.steps[key][self.vector] if b.lanes > 1 else 0
        if step == 0:
            value = b(f"load {MEMORY[t]}, ptr {address}, align {SIZE[t]}")
            if t == "b":
                value = b(f"icmp ne i8 {value}, 0")
            return b.spread(t, value)
        if step == SIZE[t]:
            return self.load_vector(address, t)
        value = "poison"
        for i in range(b.lanes):
            place = b(f"getelementptr i8, ptr {address}, i64 {i * step}")
            number = b(f"load {MEMORY[t]}, ptr {place}, align {SIZE[t]}")
            value = b(f"insertelement {b.vector(MEMORY[t])} {value}, {MEMORY[t]} {number}, i64 {i}")
        return b.on_bool(value) if t == "b" else value

    def load_vector(self, address: str, t: str) -> str:
        b = self.b
        value = b(f"load {b.vector(MEMORY[t])}, ptr {address}, align {SIZE[t]}")
        return b.on_bool(value) if t == "b" else value

    def store(self, key: Key, t: str, value: str) -> None:
        b, address = self.b, self.address(key)
        self.written.add(key[0])
        step = self.steps[key][self.vector] if b.lanes > 1 else SIZE[t]
        if step == SIZE[t]:
            self.store_vector(address, t, value)
            return
        for i in range(b.lanes):
            place = b(f"getelementptr i8, ptr {address}, i64 {i * step}")
            number = b(f"extractelement {b.type(t)} {value}, i64 {i}")
            if t == "b":
                number = b(f"zext i1 {number} to i8")
            b.put(f"store {MEMORY[t]} {number}, ptr {place}, align {SIZE[t]}")

    def store_vector(self, address: str, t: str, value: str) -> None:
        b = self.b
        if t == "b":
            value = b(f"zext {b.type('b')} {value} to {b.vector('i8')}")
        b.put(f"store {b.vector(MEMORY[t])} {value}, ptr {address}, align {SIZE[t]}")

    def row_address(self, name: str, t: str) -> str:
        """Of the current point in a row on the stack."""
        b, total, step = self.b, None, SIZE[t] * (1 if self.vector in self.inner else self.lanes)
        for d in reversed(self.inner):
            moved = b(f"mul i64 {self.index[d]}, {step}")
            total = moved if total is None else b(f"add i64 {total}, {moved}")
            step *= self.lengths[d]
        return b(f"getelementptr i8, ptr {name}, i64 {total or 0}")

    def load_row(self, name: str, t: str) -> str:
        return self.load_vector(self.row_address(name, t), t)

    def store_row(self, name: str, t: str, value: str) -> None:
        self.store_vector(self.row_address(name, t), t, value)

    def defined(self) -> str:
        """The name of the function, which is in the module now; equal ones are one."""
        heads = [f"ptr {'noalias ' if root in self.written and not self.in_place else ''}{name}"
                 for (root, _), (name, _) in self.parameters.items()]  # fmt: skip
        text = "\n".join(
            [
                f"({', '.join([*heads, 'i64 %lo', 'i64 %hi', 'i64 %part'])}) #1 {{",
                "entry:",
                *self.entry,
                *self.b.lines,
                "  ret void",
                "}",
            ]
        )
        return self.b.module.shared("nest", text)


class Sum:
    """A reduction under way: what has been added up in this block, and the total of the blocks before."""

    def __init__(self, code: NestCode, node: Node) -> None:
        self.code, self.node, self.t = code, node, LETTER[node.dtype]
        self.name = node.op.removesuffix(".reduce")
        b = code.b
        self.identity = b.constant(IDENTITY[self.name](self.t), self.t)
        self.kind = b.type(self.t)
        count = prod(code.lengths[d] for d in code.inner) // (code.lanes if code.vector in code.inner else 1)
        blocks = self.name == "add" and self.t in "fd" and count > BLOCK
        self.block = self.slot("block")
        self.total = self.slot("total") if blocks else ""

    def slot(self, word: str) -> str:
        code = self.code
        name = f"%{word}{len(code.entry)}"
        code.entry.append(f"  {name} = alloca {self.kind}, align 64")
        code.b.put(f"store {self.kind} {self.identity}, ptr {name}, align 64")
        return name

    def combined(self, x: str, y: str) -> str:
        b, t = self.code.b, self.t
        return TABLE[self.name][1](b, t, x, y)

    def add(self, repeated: int) -> None:
        code, b, t = self.code, self.code.b, self.t
        before = b(f"load {self.kind}, ptr {self.block}, align 64")
        factors = self.factors()
        if factors is not None:
            after = b.fma(t, *factors, before)
        else:
            after = self.combined(before, code.operand(self.node, 0, t))
        if repeated:
            flags = ", ".join(f"i1 {'true' if i < repeated else 'false'}" for i in range(b.lanes))
            after = b(f"select <{b.lanes} x i1> <{flags}>, {self.kind} {before}, {self.kind} {after}")
        b.put(f"store {self.kind} {after}, ptr {self.block}, align 64")

    def factors(self) -> tuple[str, str] | None:
        """The two factors where what is added up is a product of this type."""
        code, source = self.code, self.node.inputs[0]
        if self.name != "add" or self.t not in "fd" or source.op != "multiply" or id(source) not in code.values:
            return None
        types = signature(source)
        if types is None or types[0] != 2 * self.t or code.nest.phase[id(source)] != code.nest.phase[id(self.node)]:
            return None
        return code.operand(source, 0, self.t), code.operand(source, 1, self.t)

    def flush(self) -> None:
        if not self.total:
            return
        b = self.code.b
        block = b(f"load {self.kind}, ptr {self.block}, align 64")
        total = b(f"load {self.kind}, ptr {self.total}, align 64")
        b.put(f"store {self.kind} {self.combined(total, block)}, ptr {self.total}, align 64")
        b.put(f"store {self.kind} {self.identity}, ptr {self.block}, align 64")

    def result(self, across: bool) -> str:
        """The value, over the lanes where they are all of one sum."""
        b = self.code.b
        value = b(f"load {self.kind}, ptr {self.total or self.block}, align 64")
        lanes = self.code.lanes
        if not across or lanes == 1:
            return value
        return folded(b, self.t, lanes, value, TABLE[self.name][1])


IDENTITY: dict[str, Callable[[str], float]] = {
    "add": lambda t: 0,
    "multiply": lambda t: 1,
    "maximum": lambda t: -inf if t in "fd" else -(2**63) if t == "i" else False,
    "minimum": lambda t: inf if t in "fd" else 2**63 - 1 if t == "i" else True,
    "logical_or": lambda t: False,
    "logical_and": lambda t: True,
}
"""By the type."""
