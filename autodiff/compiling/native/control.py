"""Loops whose steps are machine code from end to end: one function each, without Python in between.

New operations: ``"loop"``, a scan whose step is a `Body` in ``options["body"]``; its results are nodes ``"piece"`` (the
last of them is its scratch memory). Its inputs lie in memory without gaps. A loop with anything else stays a call.

Order: what is taken for granted, steps, their place among the nodes, the functions.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ...machine.ir import LETTER, Module
from ..program import Node, Program, apart, program_of
from .fusion import Nest, Unit, kept_in_memory, units_of
from .layout import Places, contiguous, dense
from .loops import NestCode
from .lowering import VIEWS, lowered
from .memory import ALIGNED, planned
from .products import matrices, product_function

Pointer = Callable[[Node, int], str]
"""The register with the address so many bytes into a root's memory; what it takes to compute that is written first."""


def checked_after(program: Program) -> Program:
    """The same, where what the steps of loops take for granted is carried along, and looked at after the last one."""
    program = apart(program)
    nodes: list[Node] = []
    assumptions = list(program.assumptions)
    for node in program.nodes:
        nodes.append(node)
        if node.op != "scan":
            if node.op == "item" and node.inputs[0].options.get("checked") and node.options["index"] >= 0:
                n = node.inputs[0].options["carry"] - 1
                node.options["index"] += node.options["index"] >= n
            continue
        step, n = checked_after(node.options["step"]), node.options["carry"]
        if step.assumptions and all(x.dtype == bool and x.shape == () for x in step.assumptions):
            good = Node("input", (), {}, (), np.dtype(bool), (), name="good")
            total, number = good, len(step.inputs) + len(step.nodes)
            for x in step.assumptions:
                number += 1
                total = Node("logical_and", (total, x), {}, (), np.dtype(bool), (), number=number)
            outputs = [*step.outputs[:n], total, *step.outputs[n:]]
            step = program_of([*step.inputs[:n], good, *step.inputs[n:]], outputs)
            node.inputs = (*node.inputs[:n], np.array(True), *node.inputs[n:])
            node.options |= {"carry": n + 1, "checked": True}
            held = Node("item", (node,), {"index": n}, (), np.dtype(bool), ())
            nodes.append(held)
            assumptions.append(held)
        node.options["step"] = step
    for number, node in enumerate([*program.inputs, *nodes]):
        node.number = number
    return Program(program.inputs, nodes, program.outputs, program.donated, assumptions, program.guards)


class Body:
    """A program that is machine code from end to end, on memory that others give it.

    Args:
        module: where its functions go.
        program: its inputs lie in memory without gaps, its results go to memory of their own.

    Raises:
        NotImplementedError: there is something in it for which there is no machine code.
    """

    def __init__(self, module: Module, program: Program) -> None:
        program = _with_own_results(program)
        weak = any(x.options.get("weak") for x in program.inputs)
        if weak or program.assumptions or any(x.dtype not in LETTER for x in program.inputs):
            raise NotImplementedError
        for x in program.inputs:
            x.strides = contiguous(x.shape, x.dtype)
        nodes, self.results = rolled(module, *lowered(program))
        self.inputs = program.inputs
        self.places = Places(nodes)
        self.units = units_of(nodes, self.places, set())
        self.constants = [node for node in nodes if node.op == "constant"]
        roots = [self.places.of(x).root for x in self.results]
        if any(unit.what == "call" for unit in self.units) or roots != self.results:
            raise NotImplementedError
        kept = kept_in_memory(self.units, self.places, self.results)
        self.codes = {id(u): NestCode(module, u, kept) for u in self.units if isinstance(u, Nest)}
        self.offsets, self.bytes = self._scratch(kept)
        self.points = sum(points(unit) for unit in self.units)

    def _scratch(self, kept: set[int]) -> tuple[dict[int, int], int]:
        """Where all else that is in memory lies, by id of a root, and the bytes of that."""
        known = {id(x) for x in (*self.inputs, *self.constants, *self.results)}
        spans: dict[int, tuple[int, int, int]] = {}
        for number, unit in enumerate(self.units):
            for node in unit.members:
                for x in (node, *node.operands):
                    root = self.places.of(x).root
                    if id(root) in kept and id(root) not in known:
                        first = spans.get(id(root), (0, number))[1]
                        spans[id(root)] = max(root.nbytes, 1), first, number
        offsets, total = planned([*spans.values()])
        return dict(zip(spans, offsets)), total

    def lines(self, module: Module, known: dict[int, str], scratch: str) -> list[str]:
        """The instructions. `known` are the registers with the addresses of inputs, constants and results, by id."""
        lines: list[str] = []

        def pointer(root: Node, offset: int) -> str:
            base, more = (scratch, self.offsets[id(root)]) if id(root) in self.offsets else (known[id(root)], 0)
            lines.append(f"  %q{len(lines)} = getelementptr i8, ptr {base}, i64 {offset + more}")
            return f"%q{len(lines) - 1}"

        for unit in self.units:
            lines.append(call(module, unit, self.codes.get(id(unit)), self.places, pointer))
        return lines


def _with_own_results(program: Program) -> Program:
    """The same, with a copy of each result that may share its memory with something else, or has gaps."""
    program = apart(program)
    number = len(program.inputs) + len(program.nodes)
    outputs: list[Any] = []
    for x in program.outputs:
        own = isinstance(x, Node) and x.op not in ("input", *VIEWS) and _is_plain(x) and x not in outputs
        if not own:
            number += 1
            shape, dtype = np.shape(x) if not isinstance(x, Node) else x.shape, x.dtype
            x = Node("copy", (x,), {}, shape, dtype, contiguous(shape, dtype), number=number)
        outputs.append(x)
    return program_of(program.inputs, outputs, None, program.assumptions, program.guards)


def _is_plain(node: Node) -> bool:
    """Whether a node's memory has no gaps, and its axes are in order."""
    strides = node.strides if node.op in ("input", "constant") else dense(node)
    return all(n == 1 or a == b for n, a, b in zip(node.shape, strides, contiguous(node.shape, node.dtype)))


# Among the nodes


def rolled(module: Module, nodes: list[Node], results: list[Any]) -> tuple[list[Node], list[Any]]:
    """Nodes and results, with loops in machine code where that is possible."""
    made: list[Node] = []
    constants = {id(node.options["value"]): node for node in nodes if node.op == "constant"}

    def constant(x: Any) -> Node:
        if id(x) not in constants:
            constants[id(x)] = Node("constant", (), {"value": x}, x.shape, x.dtype, x.strides)
            made.append(constants[id(x)])
        return constants[id(x)]

    def plain(x: Any) -> Node:
        """An operand in memory without gaps."""
        x = x if isinstance(x, Node) else constant(x)
        if x.view or not _is_plain(x):
            x = Node("copy", (x,), {}, x.shape, x.dtype, contiguous(x.shape, x.dtype))
            made.append(x)
        return x

    items: dict[int, dict[int, Node]] = {}
    for node in nodes:
        if node.op == "item":
            items.setdefault(id(node.inputs[0]), {})[node.options["index"]] = node
    for node in nodes:
        body = _body(module, node) if node.op == "scan" else None
        if body is None:
            made.append(node)
            continue
        options, length = node.options, node.options["length"]
        node.inputs = (*map(plain, node.inputs), *(constant(x.options["value"]) for x in body.constants))
        node.op, pieces = "loop", list[Node]()
        made.append(node)
        for k, x in enumerate(body.results):
            shape = x.shape if k < options["carry"] else (length, *x.shape)
            piece = items.get(id(node), {}).get(k)
            if piece is None:
                piece = Node("piece", (node,), {}, shape, x.dtype, ())
                made.append(piece)
            piece.op, piece.strides = "piece", contiguous(shape, x.dtype)
            pieces.append(piece)
        carries = [-(-x.nbytes // ALIGNED) * ALIGNED for x in body.results[: options["carry"]]]
        total = body.bytes + 2 * sum(carries)
        pieces.append(Node("piece", (node,), {}, (max(total, 1),), np.dtype(np.uint8), (1,)))
        made.append(pieces[-1])
        node.options = options | {"body": body, "pieces": pieces, "points": length * body.points}
    return made, results


def _body(module: Module, node: Node) -> Body | None:
    try:
        return Body(module, node.options["step"])
    except NotImplementedError:
        return None


# Functions


def points(unit: Unit) -> int:
    """About how many numbers a unit computes."""
    node = unit.members[0]
    if isinstance(unit, Nest):
        return prod(unit.space) * len(unit.members)
    if unit.what == "product":
        return prod(node.shape) * int(node.inputs[0].shape[-1])
    return int(node.options["points"]) if unit.what == "loop" else node.size


def call(
    module: Module, unit: Unit, code: NestCode | None, places: Places, pointer: Pointer, ranged: bool = False
) -> str:
    """The instruction that runs a unit, of a nest that is `ranged` from %lo to %hi, part %part."""
    node, rest = unit.members[0], ""
    if code is not None:
        name, rest = code.name, ", i64 %lo, i64 %hi, i64 %part" if ranged else f", i64 0, i64 {code.extent}, i64 0"
        given = [pointer(root, offset) for (_, offset), (_, root) in code.parameters.items()]
    elif unit.what == "product":
        product = matrices(node, places)
        assert product is not None
        operands = [places.of(x) for x in node.inputs]
        given = [pointer(p.root, p.offset) for p in (reversed(operands) if product.swapped else operands)]
        given.append(pointer(node, 0))
        name = product_function(module, node, product)
    elif unit.what == "loop":
        name = _loop(module, node)
        given = [pointer(p.root, p.offset) for p in map(places.of, node.inputs)]
        given += [pointer(piece, 0) for piece in node.options["pieces"]]
    else:
        module.declared.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        name, rest, given = "llvm.memset.p0.i64", f", i8 0, i64 {node.nbytes}, i1 false", [pointer(node, 0)]
    return f"  call void @{name}({', '.join(f'ptr {p}' for p in given)}{rest})"


def _loop(module: Module, node: Node) -> str:
    """The name of a function of the addresses of a loop's inputs, its results and its scratch memory. Two pieces of
    memory take turns for each carry."""
    options, body = node.options, node.options["body"]
    n, m, length = options["carry"], options["slices"], options["length"]
    given, results = body.inputs, body.results
    arguments = [f"%a{i}" for i in range(len(node.inputs))] + [f"%r{k}" for k in range(len(results))]
    known = {id(x): f"%a{i}" for i, x in enumerate((*given, *body.constants))}
    entry, head, end = [], [], []
    place = body.bytes
    for k in range(n):
        known |= {id(given[k]): f"%now{k}", id(results[k]): f"%next{k}"}
        for name in (f"%one{k}", f"%two{k}"):
            entry.append(f"  {name} = getelementptr i8, ptr %scratch, i64 {place}")
            place += -(-results[k].nbytes // ALIGNED) * ALIGNED
        head.append(f"  %now{k} = phi ptr [ %a{k}, %entry ], [ %next{k}, %head ]")
        head.append(f"  %next{k} = phi ptr [ %one{k}, %entry ], [ %other{k}, %head ]")
        head.append(f"  %other{k} = phi ptr [ %two{k}, %entry ], [ %next{k}, %head ]")
        size = results[k].nbytes
        end.append(f"  call void @llvm.memcpy.p0.p0.i64(ptr %r{k}, ptr %next{k}, i64 {size}, i1 false)")
        module.declared.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    head.append(f"  %i = {f'sub i64 {length - 1}, %t' if options['reverse'] else 'add i64 0, %t'}")
    stacked = [(f"%a{k}", given[k]) for k in range(n, n + m)]
    stacked += [(f"%r{k}", results[k]) for k in range(n, len(results))]
    for k, (base, x) in enumerate(stacked):
        known[id(x)] = f"%part{k}"
        head.append(f"  %at{k} = mul i64 %i, {x.nbytes}")
        head.append(f"  %part{k} = getelementptr i8, ptr {base}, i64 %at{k}")
    text = [
        f"({', '.join(f'ptr {x}' for x in arguments)}, ptr %scratch) #1 {{",
        "entry:",
        *entry,
        "  br label %head",
        "head:",
        "  %t = phi i64 [ 0, %entry ], [ %t.next, %head ]",
        *head,
        *body.lines(module, known, "%scratch"),
        "  %t.next = add nuw nsw i64 %t, 1",
        f"  %over = icmp eq i64 %t.next, {length}",
        "  br i1 %over, label %done, label %head",
        "done:",
        *end,
        "  ret void",
        "}",
    ]
    return module.shared("loop", "\n".join(text))
