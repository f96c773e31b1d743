"""Loops and branches that are machine code from end to end: one function each, without Python in between.

New operations: ``"loop"``, a scan, branch or while loop whose programs are `Body` objects in ``options["bodies"]``; its
results are nodes ``"piece"`` (the last of them is its scratch memory). Its inputs lie in memory without gaps. A loop
with anything else in it stays a call.

Order: what is taken for granted, steps, their place among the nodes, the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ...machine.ir import LETTER, MEMORY, Module
from ..program import Node, Program, apart, contiguous, program_of
from .fusion import Nest, Unit, kept_in_memory, units_of
from .layout import Places, dense
from .loops import NestCode
from .lowering import VIEWS, lowered
from .memory import ALIGNED, planned
from .products import added_up, product_function, terms

Pointer = Callable[[Node, int], str]
"""The register with the address so many bytes into a root's memory; what it takes to compute that is written first."""


PROGRAMS = {"scan": ("step",), "cond": ("true", "false"), "while": ("holds", "step")}
"""By operation: the options that are programs."""


def checked_after(program: Program) -> Program:
    """The same, where what steps and branches take for granted is one of their results, and looked at afterwards."""
    program = apart(program)
    nodes: list[Node] = []
    assumptions = list(program.assumptions)
    for node in program.nodes:
        nodes.append(node)
        if node.op == "item" and "good" in node.inputs[0].options:
            node.options["index"] += node.options["index"] >= node.inputs[0].options["good"]
        options = node.options
        names = PROGRAMS.get(node.op, ())
        found = {name: checked_after(options[name]) for name in names}
        options |= found
        checks = [x for part in found.values() for x in part.assumptions]
        if node.op == "while" or not checks or any(x.dtype != bool or x.shape for x in checks):
            continue
        n = options["good"] = options["carry"] if node.op == "scan" else len(options["true"].outputs)
        for name in names:
            part = options[name]
            before = [Node("input", (), {}, (), np.dtype(bool), (), name="good")] if node.op == "scan" else []
            total = _all_of(part, before)
            inputs = [*part.inputs[:n], *before, *part.inputs[n:]]
            options[name] = program_of(inputs, [*part.outputs[:n], total, *part.outputs[n:]])
        if node.op == "scan":
            node.inputs = (*node.inputs[:n], np.array(True), *node.inputs[n:])
            options["carry"] += 1
        nodes.append(Node("item", (node,), {"index": n}, (), np.dtype(bool), ()))
        assumptions.append(nodes[-1])
    for number, node in enumerate([*program.inputs, *nodes]):
        node.number = number
    return Program(program.inputs, nodes, program.outputs, program.donated, assumptions, program.guards)


def _all_of(program: Program, before: list[Node]) -> Any:
    """Whether all that a program takes for granted holds, and what did before."""
    total: Any = None
    number = len(program.inputs) + len(program.nodes)
    for x in (*before, *program.assumptions):
        number += 1
        total = x if total is None else Node("logical_and", (total, x), {}, (), np.dtype(bool), (), number=number)
    return np.array(True) if total is None else total


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

    def lines(self, module: Module, known: dict[int, str], start: int) -> list[str]:
        """The instructions. `known` are the registers with the addresses of inputs, constants and results, by id; all
        else lies in %scratch from `start`."""
        lines: list[str] = []

        def pointer(root: Node, offset: int) -> str:
            own = id(root) in self.offsets
            base, more = ("%scratch", start + self.offsets[id(root)]) if own else (known[id(root)], 0)
            lines.append(f"  %q{start}.{len(lines)} = getelementptr i8, ptr {base}, i64 {offset + more}")
            return f"%q{start}.{len(lines) - 1}"

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
        bodies = _bodies(module, node)
        if not bodies:
            made.append(node)
            continue
        what, options, results_of = node.op, node.options, bodies[-1].results
        n, length = options.get("carry", 0), options.get("length", 1)
        given = tuple(map(plain, node.inputs))
        node.inputs = (*given, *(constant(x.options["value"]) for body in bodies for x in body.constants))
        node.op, pieces = "loop", list[Node]()
        made.append(node)
        for k, x in enumerate(results_of):
            shape = x.shape if what != "scan" or k < n else (length, *x.shape)
            piece = items.get(id(node), {}).get(k)
            if piece is None:
                piece = Node("piece", (node,), {}, shape, x.dtype, ())
                made.append(piece)
            piece.op, piece.strides = "piece", contiguous(shape, x.dtype)
            pieces.append(piece)
        scratch = sum(_room(body.bytes) for body in bodies) + ALIGNED + 2 * sum(_room(x.nbytes) for x in results_of[:n])
        pieces.append(Node("piece", (node,), {}, (scratch,), np.dtype(np.uint8), (1,)))
        made.append(pieces[-1])
        known = {"what": what, "bodies": bodies, "pieces": pieces, "given": len(given)}
        node.options = options | known | {"points": length * max(body.points for body in bodies)}
    return added_up(made, results), results


def _room(nbytes: int) -> int:
    return -(-max(nbytes, 1) // ALIGNED) * ALIGNED


def _bodies(module: Module, node: Node) -> list[Body]:
    """The programs of a loop or a branch as machine code; none where one of them is not."""
    if node.op not in PROGRAMS or node.options.get("limit") is not None:
        return []
    try:
        bodies = [Body(module, node.options[name]) for name in PROGRAMS[node.op]]
    except NotImplementedError:
        return []
    deciding = node.inputs[0] if node.op == "cond" else bodies[0].results[0] if node.op == "while" else None
    truth = deciding is None or (deciding.size == 1 and LETTER.get(deciding.dtype, "") in ("b", "i"))
    return bodies if truth else []


# Functions


def points(unit: Unit) -> int:
    """About how many numbers a unit computes."""
    node = unit.members[0]
    if isinstance(unit, Nest):
        return prod(unit.space) * len(unit.members)
    if unit.what == "product":
        return prod(node.shape) * sum(int(x.shape[-1]) for x in node.inputs[::2])
    return int(node.options["points"]) if unit.what == "loop" else node.size


def call(
    module: Module, unit: Unit, code: NestCode | None, places: Places, pointer: Pointer, ranged: bool = False
) -> str:
    """The instructions that run a unit, of a nest that is `ranged` from %lo to %hi, part %part."""
    node, rest = unit.members[0], ""
    if code is not None:
        name, rest = code.name, ", i64 %lo, i64 %hi, i64 %part" if ranged else f", i64 0, i64 {code.extent}, i64 0"
        given = [pointer(root, offset) for (_, offset), (_, root) in code.parameters.items()]
    elif unit.what == "product":
        calls = []
        for k, term in enumerate(terms(node)):
            name, swapped = product_function(module, term, places, not k)
            operands = [places.of(x) for x in term.inputs]
            given = [pointer(p.root, p.offset) for p in (reversed(operands) if swapped else operands)]
            calls.append(_called(name, [*given, pointer(node, 0)]))
        return "\n".join(calls)
    elif unit.what == "loop":
        name = _loop(module, node)
        given = [pointer(p.root, p.offset) for p in map(places.of, node.inputs)]
        given += [pointer(piece, 0) for piece in node.options["pieces"]]
    else:
        module.declared.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        name, rest, given = "llvm.memset.p0.i64", f", i8 0, i64 {node.nbytes}, i1 false", [pointer(node, 0)]
    return _called(name, given, rest)


def _called(name: str, given: Sequence[str], rest: str = "") -> str:
    return f"  call void @{name}({', '.join(f'ptr {p}' for p in given)}{rest})"


def _loop(module: Module, node: Node) -> str:
    """The name of a function of the addresses of a loop's (or branch's) inputs, its results and its scratch memory."""
    options = node.options
    bodies: list[Body] = options["bodies"]
    arguments = [f"%a{i}" for i in range(len(node.inputs))] + [f"%r{k}" for k in range(len(options["pieces"]) - 1)]
    first, constant, starts, known = int(options["what"] == "cond"), options["given"], [0], dict[int, str]()
    for body in bodies:
        known |= {id(x): f"%a{first + i}" for i, x in enumerate(body.inputs)}
        known |= {id(x): f"%a{constant + i}" for i, x in enumerate(body.constants)}
        constant += len(body.constants)
        starts.append(starts[-1] + _room(body.bytes))
    write = {"scan": _scan, "cond": _cond, "while": _while}[options["what"]]
    lines = write(module, node, bodies, known, starts)
    head = f"({', '.join(f'ptr {x}' for x in arguments)}, ptr %scratch) #1 {{"
    return module.shared("loop", "\n".join([head, "entry:", *lines, "  ret void", "}"]))


def _turns(results: list[Node], start: int, back: str) -> tuple[list[str], list[str]]:
    """Two pieces of memory take turns for each carry: what is done at first, and at the begin of each step."""
    entry, head = [], []
    for k, x in enumerate(results):
        for name in (f"%one{k}", f"%two{k}"):
            entry.append(f"  {name} = getelementptr i8, ptr %scratch, i64 {start}")
            start += _room(x.nbytes)
        for name, first, then in (("now", "a", "next"), ("next", "one", "other"), ("other", "two", "next")):
            head.append(f"  %{name}{k} = phi ptr [ %{first}{k}, %entry ], [ %{then}{k}, %{back} ]")
    return entry, head


def _kept(module: Module, results: list[Node], name: str) -> list[str]:
    """The last carries as results."""
    module.declared.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    return [
        f"  call void @llvm.memcpy.p0.p0.i64(ptr %r{k}, ptr %{name}{k}, i64 {x.nbytes}, i1 false)"
        for k, x in enumerate(results)
    ]


def _truth(register: str, x: Node) -> list[str]:
    """The instructions that load a boolean or integer as %holds."""
    kind = MEMORY[LETTER[x.dtype]]
    return [f"  %truth = load {kind}, ptr {register}", f"  %holds = icmp ne {kind} %truth, 0"]


def _scan(module: Module, node: Node, bodies: list[Body], known: dict[int, str], starts: list[int]) -> list[str]:
    (body,), options = bodies, node.options
    n, m, length = options["carry"], options["slices"], options["length"]
    carries = body.results[:n]
    entry, head = _turns(carries, starts[-1], "head")
    known |= {id(x): f"%now{k}" for k, x in enumerate(body.inputs[:n])}
    known |= {id(x): f"%next{k}" for k, x in enumerate(carries)}
    stacked = [(f"%a{k}", body.inputs[k]) for k in range(n, n + m)]
    stacked += [(f"%r{k}", body.results[k]) for k in range(n, len(body.results))]
    head.append(f"  %i = {f'sub i64 {length - 1}, %t' if options['reverse'] else 'add i64 0, %t'}")
    for k, (base, x) in enumerate(stacked):
        known[id(x)] = f"%part{k}"
        head.append(f"  %at{k} = mul i64 %i, {x.nbytes}")
        head.append(f"  %part{k} = getelementptr i8, ptr {base}, i64 %at{k}")
    return [
        *entry,
        "  br label %head",
        "head:",
        "  %t = phi i64 [ 0, %entry ], [ %t.next, %head ]",
        *head,
        *body.lines(module, known, starts[0]),
        "  %t.next = add nuw nsw i64 %t, 1",
        f"  %over = icmp eq i64 %t.next, {length}",
        "  br i1 %over, label %done, label %head",
        "done:",
        *_kept(module, carries, "next"),
    ]


def _cond(module: Module, node: Node, bodies: list[Body], known: dict[int, str], starts: list[int]) -> list[str]:
    true, false = bodies
    known |= {id(x): f"%r{k}" for body in bodies for k, x in enumerate(body.results)}
    return [
        *_truth("%a0", node.inputs[0]),
        "  br i1 %holds, label %true, label %false",
        "true:",
        *true.lines(module, known, starts[0]),
        "  br label %done",
        "false:",
        *false.lines(module, known, starts[1]),
        "  br label %done",
        "done:",
    ]


def _while(module: Module, node: Node, bodies: list[Body], known: dict[int, str], starts: list[int]) -> list[str]:
    holds, body = bodies
    entry, head = _turns(body.results, starts[-1] + ALIGNED, "step")
    for each in bodies:
        known |= {id(x): f"%now{k}" for k, x in enumerate(each.inputs[: len(body.results)])}
    known |= {id(x): f"%next{k}" for k, x in enumerate(body.results)} | {id(holds.results[0]): "%decided"}
    return [
        *entry,
        f"  %decided = getelementptr i8, ptr %scratch, i64 {starts[-1]}",
        "  br label %head",
        "head:",
        *head,
        *holds.lines(module, known, starts[0]),
        *_truth("%decided", holds.results[0]),
        "  br i1 %holds, label %step, label %done",
        "step:",
        *body.lines(module, known, starts[1]),
        "  br label %head",
        "done:",
        *_kept(module, body.results, "now"),
    ]
