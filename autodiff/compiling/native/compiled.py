"""A program as machine code: what it calls, in which memory, and the Python around it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...machine.arrays import DATA, ITEMS, as_expected, function, method, symbols
from ...machine.ir import Module
from ...machine.layouts import differ
from ...machine.machine import Machine, vector_bits
from ...machine.threads import ranges, together
from ..program import Node, Program, nodes_in
from ..source import decision, number_text, where
from .blas import addresses
from .calls import called
from .control import call, checked_after, points, rolled
from .elementwise import is_weak
from .fusion import Nest, Unit, before, donations, kept_in_memory, units_of
from .layout import Places, dense
from .loops import NestCode
from .lowering import lowered
from .memory import ALIGNED, planned

SHARED = 4_000_000
"""Work from which threads share a nest."""
PARTS = 16
"""Ranges of a shared nest; of any number of threads, so that sums are the same."""
LONG = 20000
"""Points from which a function lets other threads run."""


class Unmet(ArithmeticError):
    """What a program takes for granted does not hold of these values."""


class Compiled:
    """A program as machine code.

    Args:
        program: what to run. Operations for which there is no machine code are calls of NumPy between its functions.

    Raises:
        ImportError: llvmlite is not installed.

    Example:
        >>> x = Node("input", (), {}, (3,), np.dtype(float), (8,), name="x")
        >>> y = Node("exp", (x,), {}, (3,), np.dtype(float), (8,), number=1)
        >>> z = Node("add.reduce", (y,), {"axis": (0,), "keepdims": False}, (), np.dtype(float), (), number=2)
        >>> Compiled(Program([x], [y, z], [z])).run(np.zeros(3))
        (array(3.),)
    """

    def __init__(self, program: Program) -> None:
        self._program = program = checked_after(program)
        self._module = Module(vector_bits())
        self._nodes, self._results = rolled(self._module, *lowered(program))
        self._places = Places(self._nodes)
        self._inputs = program.inputs
        wanted = [*nodes_in(self._results)]
        early = before(self._nodes, self._results, program.donated)
        units = units_of(self._nodes, self._places, early)
        self._taken = donations(program, self._results, units, self._places)
        """Ids of the outputs that are computed in an input's memory, and which."""
        kept = kept_in_memory(units, self._places, wanted)
        self._codes = {id(u): NestCode(self._module, u, kept, self._writes(u)) for u in units if isinstance(u, Nest)}
        self._read = {id(root) for code in self._codes.values() for _, root in code.parameters.values()}
        """Ids of what machine code reads in loops."""
        self._variables(units, kept)
        steps = self._steps(units)
        self.ir: str = self._module.text
        """In LLVM's language."""
        self._machine = Machine.of(self.ir, addresses() | symbols())
        self.alone: bool = all(line.startswith("segment") for line in steps) and not any(map(is_weak, self._inputs))
        """Whether NumPy and Python have no part in it but for the memory."""
        self.source: str = ""
        """The Python around the machine code."""
        self.run: Callable[..., tuple[Any, ...]] = self._written(steps)
        """The outputs that are not donated, in new memory but for views of inputs; the donated ones are written at the
        end.

        Raises:
            TypeError: an argument is no array, or has another dtype, or there are too few or too many.
            ValueError: an argument has another shape.
            Unmet: an assumption does not hold, or a guard has another value; nothing has been written.
        """

    def _writes(self, unit: Unit) -> bool:
        """Whether it computes in an input's memory."""
        return any(id(m) in self._taken for m in unit.members)

    # Where values are

    def _variables(self, units: list[Unit], kept: set[int]) -> None:
        """A Python variable for every root that is an object, an offset in the arena for the others."""
        places = self._places
        self._names: dict[int, str] = {}
        self._objects: dict[str, Any] = {}
        self._fresh: list[tuple[str, Node]] = []
        for i, node in enumerate(self._inputs):
            self._names[id(node)] = f"x{i}"
        for node in self._nodes:
            if node.op == "constant":
                name = self._names[id(node)] = f"k{len(self._objects)}"
                self._objects[name] = node.options["value"]
        self._names |= {key: f"x{i}" for key, i in self._taken.items()}
        made: dict[int, int] = {}
        last: dict[int, int] = {}
        roots: dict[int, Node] = {}
        for number, unit in enumerate(units):
            for node in unit.members:
                for x in (places.of(node), *map(places.of, node.operands)):
                    if id(x.root) in kept:
                        roots[id(x.root)] = x.root
                        made.setdefault(id(x.root), number)
                        last[id(x.root)] = number
                if unit.what == "call":
                    self._names[id(node)] = f"t{number}"
        donated = self._program.donated
        for k, x in enumerate(self._results):
            for node in nodes_in([x]):
                root = places.of(node).root
                last[id(root)] = len(units)
                if id(root) not in self._names and k < len(self._program.outputs) and k not in donated:
                    name = self._names[id(root)] = f"o{len(self._fresh)}"
                    self._fresh.append((name, root))
        scratch = [key for key in made if key not in self._names]
        spans = [(max(roots[key].nbytes, 1), made[key], last[key]) for key in scratch]
        offsets, self._bytes = planned(spans)
        self._offsets = dict(zip(scratch, offsets, strict=True))
        self._scratch_views: dict[str, Node] = {}

    def _name(self, root: Node) -> str:
        """The variable of a root; of one in the arena, a view of it."""
        name = self._names.get(id(root))
        if name is None:
            name = self._names[id(root)] = f"a{self._offsets[id(root)]}_{len(self._scratch_views)}"
            self._scratch_views[name] = root
        return name

    def _value(self, node: Node) -> str:
        """An expression for the array of a node."""
        if not node.view or id(node) in self._places.copied:
            return self._name(node)
        source = self._value(node.inputs[0])
        view = f"v{len(self._objects)}"
        self._objects[view], _ = called(node)
        return f"{view}({source})"

    def _text(self, x: Any) -> str:
        """An expression for an input of a call or a result: arrays of nodes, in tuples too, and objects."""
        if isinstance(x, Node):
            return f"{self._name(x)}_" if is_weak(x) else self._value(x)
        if type(x) in (tuple, list):
            inner = ", ".join(map(self._text, x))
            return f"[{inner}]" if type(x) is list else f"({inner}{',' if len(x) == 1 else ''})"
        if isinstance(x, slice):
            return f"slice({self._text(x.start)}, {self._text(x.stop)}, {self._text(x.step)})"
        name = f"c{len(self._objects)}"
        self._objects[name] = x
        return name

    def _result(self, x: Any) -> str:
        """An expression for a result, which is no array of the program's own."""
        own = isinstance(x, np.ndarray) or (isinstance(x, Node) and self._places.of(x).root.op == "constant")
        return f"{self._text(x)}.copy()" if own else self._text(x)

    # What is called

    def _steps(self, units: list[Unit]) -> list[str]:
        """The lines of the Python function; the functions of machine code are added to the module."""
        steps: list[str] = []
        segment: list[Unit] = []
        self._segments: list[tuple[str, bool, int]] = []
        self._checks_at = -1
        for unit in units:
            if self._checks_at < 0 and self._writes(unit):
                self._close(segment, steps)
                segment, self._checks_at = [], len(steps)
            code = self._codes.get(id(unit))
            if unit.what == "call" or (code is not None and code.work >= SHARED):
                self._close(segment, steps)
                segment = []
                if code is None:
                    steps += self._call(unit.members[0])
                else:
                    self._close([unit], steps, code)
            else:
                segment.append(unit)
        self._close(segment, steps)
        return steps

    def _close(self, segment: list[Unit], steps: list[str], shared: NestCode | None = None) -> None:
        """One function of machine code for all these units, or for ranges of one nest, shared by threads."""
        if not segment:
            return
        lines: list[str] = []
        variables: dict[str, str] = {}
        parts = {id(n): n for n in shared.members if shared.nest.role[id(n)] == "reduced"} if shared else {}
        parts = parts if shared and shared.partial else {}

        def pointer(root: Node, offset: int) -> str:
            scratch = None if id(root) in parts else self._offsets.get(id(root))
            name = "arena" if scratch is not None else self._names.get(id(root), "")
            if id(root) in parts:
                name = f"p{len(steps)}_{[*parts].index(id(root))}"
            base = variables.setdefault(name, f"%base{len(variables)}")
            lines.append(f"  %q{len(lines)} = getelementptr i8, ptr {base}, i64 {offset + (scratch or 0)}")
            return f"%q{len(lines) - 1}"

        for unit in segment:
            lines.append(call(self._module, unit, self._codes.get(id(unit)), self._places, pointer, bool(shared)))
        loads = []
        for i, base in enumerate(variables.values()):
            loads.append(f"  {base}.item = getelementptr i8, ptr %arrays, i64 {ITEMS + 8 * i}")
            loads.append(f"  {base}.object = load ptr, ptr {base}.item")
            loads.append(f"  {base}.data = getelementptr i8, ptr {base}.object, i64 {DATA}")
            loads.append(f"  {base} = load ptr, ptr {base}.data")
        name = f"segment{len(self._segments)}"
        long = bool(shared) or sum(map(points, segment)) >= LONG or not as_expected()
        head, end = (f"void @{name}(ptr %arrays{', i64 %lo, i64 %hi, i64 %part' if shared else ''})", ["  ret void"])
        if not long:
            self._module.declared |= {"@autodiff_none = external global i8", "declare void @Py_IncRef(ptr)"}
            head = f"ptr @{name}(ptr %self, ptr %arrays)"
            end = ["  call void @Py_IncRef(ptr @autodiff_none)", "  ret ptr @autodiff_none"]
        self._module.functions[name] = "\n".join([f"define {head} #0 {{", *loads, *lines, *end, "}"])
        self._segments.append((name, long, 3 if shared else 0))
        arrays = f"({', '.join(variables)},)"
        if shared is None:
            steps.append(f"{name}({arrays})")
            return
        bounds = ranges(shared.extent, PARTS)
        self._objects[f"{name}_ranges"] = bounds
        made = [(f"p{len(steps)}_{i}", node) for i, node in enumerate(parts.values())]
        before = []
        for part, node in made:
            self._objects[f"{part}_dtype"] = node.dtype
            before.append(f"{part} = empty({len(bounds)}, {part}_dtype)")
        after = []
        for part, node in made:
            self._objects[f"{part}_reduce"] = getattr(np, node.op.removesuffix(".reduce")).reduce
            after.append(f"{self._value(node)}[...] = {part}_reduce({part})")
        steps += [*before, f"together({name}, ({arrays},), {name}_ranges)", *after]

    def _call(self, node: Node) -> list[str]:
        """The lines that run a node by NumPy, or by Python where it is a Python number."""
        name, k = self._names[id(node)], len(self._objects)
        if is_weak(node):
            return self._number(node, name, number_text(node.op, [*map(self._text, node.inputs)]))
        plain = replace(node, op=node.options["of"], options={}) if node.op == "product" else node
        self._objects[f"f{k}"], operands = called(plain)
        call = f"f{k}({', '.join(map(self._text, operands))})"
        if self._takes_apart(node):
            return [f"{name} = {call}"]
        self._objects[f"n{k}"] = node
        return [f"{name} = fitted(n{k}, {call}, arena)"]

    def _number(self, node: Node, name: str, text: str) -> list[str]:
        """The lines that make a Python number, and an array of it where machine code reads it."""
        kind = type(node.dtype.type().item()).__name__
        self._objects |= {f"{name}_node": node, f"{name}_dtype": node.dtype}
        lines = [f"{name}_ = {text}", f"if type({name}_) is not {kind}: {name}_ = number({name}_, {name}_node)"]
        return [*lines, f"{name} = array({name}_, {name}_dtype)"] if id(node) in self._read else lines

    def _takes_apart(self, node: Node) -> bool:
        """Whether it returns several arrays."""
        return any(x.op == "item" and x.inputs[0] is node for x in self._nodes)

    # The Python around it

    def _written(self, steps: list[str]) -> Callable[..., tuple[Any, ...]]:
        names = self._objects
        names |= {
            "empty": np.empty, "ndarray": np.ndarray, "array": np.array, "copyto": np.copyto, "fitted": _fitted,
            "argument": _argument, "apart": _apart, "number": _number, "Unmet": Unmet, "together": together, "np": np,
            "math": math,
        }  # fmt: skip
        for name, long, integers in self._segments:
            address = self._machine.address(name)
            names[name] = function(address, long, integers) if long else method(address, self._machine)
        body: list[str] = []
        arrays: list[str] = []
        slow: list[str] = []
        for i, node in enumerate(self._inputs):
            if i in self._program.donated.values():
                body.append(f"y{i} = x{i}")
            if is_weak(node):
                body += self._number(node, f"x{i}", f"x{i}")
                continue
            names |= {f"input{i}": node}
            arrays.append(f"x{i}")
            slow.append(f"x{i} = argument(x{i}, input{i}, {i}, {i in self._program.donated.values()})")
        inputs = [x for x in self._inputs if not is_weak(x)]
        donated = [arrays.index(f"x{i}") for i in dict.fromkeys(self._program.donated.values())]
        self.differ = differ([(x.shape, x.dtype, x.strides) for x in inputs], donated)
        """Whether arrays are anything else than the inputs for which it was made, without the Python numbers, are; None
        where that cannot be asked."""
        if self.differ is not None:
            names["differ"] = self.differ
            if self._taken:
                listed = f"({', '.join(arrays)},)"
                slow.append(f"{listed} = apart({listed}, {[arrays.index(f'x{i}') for i in self._taken.values()]})")
            slow = [f"if differ(({', '.join(arrays)},)): {'; '.join(slow)}"]
        body += slow
        checks, end = self._end()
        views = list(self._scratch_views)
        body.append(f"{', '.join(['arena', *views])}, = arenas.pop() if arenas else arena_of()")
        for name, root in self._fresh:
            order = sorted(range(len(root.shape)), key=lambda a: -dense(root)[a])
            names |= {f"{name}_shape": tuple(root.shape[a] for a in order), f"{name}_dtype": root.dtype}
            text = f"{name} = empty({name}_shape, {name}_dtype)"
            if order != sorted(order):
                names[f"{name}_axes"] = tuple(order.index(a) for a in range(len(order)))
                text += f".transpose({name}_axes)"
            body.append(text)
        at = self._checks_at if self._checks_at >= 0 else len(steps)
        body += [*steps[:at], *checks, *steps[at:], *end[:-1]]
        body.append(f"arenas.append(({', '.join(['arena', *views])},))")
        body += end[-1:]
        arguments = ", ".join(f"x{i}" for i in range(len(self._inputs)))
        self.source = f"def run({arguments}):\n" + "".join(f"    {line}\n" for line in body)
        names |= {"arenas": [], "arena_of": self._arena}
        exec(compile(self.source, "<compiled program>", "exec"), names)
        run: Callable[..., tuple[Any, ...]] = names["run"]
        return run

    def _end(self) -> tuple[list[str], list[str]]:
        """The lines that check what was taken for granted; those that write what is donated and return the others."""
        program = self._program
        lines: list[str] = []
        copies: list[str] = []
        outputs = self._results[: len(program.outputs)]
        for x, node in zip(self._results[len(outputs) :], program.assumptions, strict=False):
            lines.append(f"if not {self._text(x)}: raise Unmet({where('assumed', node)!r})")
        decided = self._results[len(outputs) + len(program.assumptions) :]
        for x, (node, value) in zip(decided, program.guards, strict=True):
            got = self._text(x)
            holds = got if value is True else f"not {got}" if value is False else (
                f"{got} == {self._text(value)}" if value == value else f"{got} != {got}"
            )  # fmt: skip
            lines.append(f"if not ({holds}): raise Unmet({where(decision(value), node)!r})")
        for k, i in program.donated.items():
            x = outputs[k]
            if id(x) in self._taken:
                copies.append(f"if y{i} is not x{i}: copyto(y{i}, x{i})")
            else:
                copies.append(f"copyto(y{i}, {self._text(x)})")
        results = [self._result(x) for k, x in enumerate(outputs) if k not in program.donated]
        return lines, [*copies, f"return ({', '.join(results)}{',' if len(results) == 1 else ''})"]

    def _arena(self) -> tuple[Any, ...]:
        """Scratch memory, which one run has at a time, and views of it."""
        raw = np.empty(self._bytes + ALIGNED, np.uint8)
        start = -raw.ctypes.data % ALIGNED
        arena = raw[start : start + self._bytes + 1]
        views = [
            np.ndarray(root.shape, root.dtype, arena, self._offsets[id(root)], dense(root))
            for root in self._scratch_views.values()
        ]
        return (arena, *views)


def _fitted(node: Node, y: Any, arena: Any) -> Any:
    """The result of a call, in the memory layout that the program expects, not in memory that it uses again."""
    y = np.asarray(y)
    if y.shape != node.shape or y.dtype != node.dtype:
        raise ValueError(
            f"ad.compile: {node.options.get('name', node.op)} gave {y.dtype}{list(y.shape)} and {node.dtype}"
            f"{list(node.shape)} when it was traced; a function called in a program must give the same shape and dtype "
            "on every call"
        )
    strides = dense(node)
    if y.strides == strides and y.flags.aligned and not np.may_share_memory(y, arena):
        return y
    flat = np.empty(max(y.size, 1), y.dtype)
    new = np.ndarray(y.shape, y.dtype, flat, 0, strides)
    new[...] = y
    return new


def _number(x: Any, node: Node) -> Any:
    """A Python number of the type that the program expects."""
    kind = type(node.dtype.type().item())
    if type(x) is kind:
        return x
    if isinstance(x, (int, float)) and not isinstance(x, bool) and kind is float:
        return float(x)
    raise TypeError(
        f"ad.compile: {node.name or node.op} is {type(x).__name__}; this program was made for a number of type "
        f"{kind.__name__}"
    )


def _apart(arrays: tuple[Any, ...], written: list[int]) -> list[Any]:
    """The same arrays, copies of those that share memory with one in which the program computes."""
    found = list(arrays)
    for i in written:
        for j, x in enumerate(found):
            if j != i and np.may_share_memory(found[i], x):
                found[j] = _strided(x, x.strides)
    return found


def _argument(x: Any, node: Node, i: int, written: bool) -> Any:
    """An argument as the program expects it: in its memory layout."""
    name = node.name or f"argument {i}"
    what = f"{x.dtype}{list(x.shape)}" if isinstance(x, (np.ndarray, np.generic)) else type(x).__name__
    message = f"ad.compile: {name} is {what}; this program was made for {node.dtype}{list(node.shape)}"
    if not isinstance(x, (np.ndarray, np.generic)) or x.dtype != node.dtype:
        raise TypeError(message)
    x = np.asarray(x)
    if x.shape != node.shape:
        raise ValueError(message)
    if written and not x.flags.writeable:
        raise ValueError(f"ad.compile: {name} is written by this program and is read-only")
    same = all(n == 1 or s == t for n, s, t in zip(x.shape, x.strides, node.strides, strict=True))
    if same and x.flags.aligned and x.dtype.isnative:
        return x
    return _strided(x, node.strides)


def _strided(x: Any, strides: tuple[int, ...]) -> Any:
    """The same values in new memory, at these strides.

    Raises:
        ValueError: for strides at which elements lie in the same memory, as these do not.
    """
    spans = [(n - 1) * s for n, s in zip(x.shape, strides, strict=True) if n]
    raw = np.empty(sum(map(abs, spans)) + x.dtype.itemsize, np.uint8)
    new = np.ndarray(x.shape, x.dtype, raw, -sum(s for s in spans if s < 0), strides)
    new[...] = x
    if x.strides != strides and not _apart_from_each_other(x.shape, strides, x.dtype.itemsize):
        raise ValueError(
            f"ad.compile: an array has strides {x.strides}; {strides}, for which this program was made, are "
            f"those of an array whose elements share memory"
        )
    return new


def _apart_from_each_other(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    """Whether no two elements share memory: each axis steps over all that the faster ones span."""
    if 0 in shape:
        return True
    end = itemsize
    for step, n in sorted((abs(s), n) for s, n in zip(strides, shape, strict=True) if n > 1):
        if step < end:
            return False
        end += step * (n - 1)
    return True
