"""NumPy's own text of a program: one line a call, which runs with NumPy alone."""

from __future__ import annotations

import keyword
import linecache
import os
import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..leaving import place_of
from .blocks import blocked, reduced
from .memory import VIEWS, Place, Plan, Run, elementwise
from .padding import parts_of, unpadded
from .program import Node, Program, nodes_in

UNMET = '''class Unmet(ArithmeticError):
    """What this program takes for granted does not hold of these values."""


'''
TAKES = '''def {0}(name, x, dtype, shape=None):
    """Refuse what this program was not made for; a Python number has no shape."""
    kind = type(x)
    if shape is None:
        known, wanted = kind.__name__ == dtype, f"Python {{dtype}}"
    else:
        known = (kind in (np.ndarray, np.memmap) or isinstance(x, np.generic)) and (x.dtype, x.shape) == (dtype, shape)
        wanted = f"NumPy array of {{dtype}}{{list(shape)}}"
    if not known:
        found = kind.__name__ + (f" of {{x.dtype}}{{list(x.shape)}}" if hasattr(x, "shape") else "")
        raise TypeError(f"{1}: {{name}} is a {{wanted}}, not {{found}}")


'''
"""What a saved module has more than `Source.text`, whose callers know what they give."""
LARGE = 64
"""A constant of more elements is no part of the text."""


class _Shared:
    """What the functions of one text have in common."""

    def __init__(self, name: str) -> None:
        self.taken = {"np", "math", "scipy", "constants", "functions", name, "Unmet"}  # outside of functions
        self.inside = set[str]()  # inside of any
        self.imports = {"import numpy as np"}
        self.constants: dict[int, str] = {}  # by id: name
        self.held: list[Any] = []  # those of which there is an id
        self.heads: list[str] = []
        self.scalars: dict[Any, Any] = {}
        self.filled: dict[str, str] = {}
        self.steps: list[str] = []  # the functions of steps and branches
        self.checks = False
        self._count = 0

    def unique(self, wanted: str) -> str:
        """A name for what stands outside of functions."""
        found = _free(wanted, self.taken | self.inside)
        self.taken.add(found)
        return found

    def next(self) -> str:
        """A name for a result."""
        self._count += 1
        return f"t{self._count - 1}"


def _free(wanted: str, taken: set[str]) -> str:
    name = re.sub(r"\W+", "_", wanted).strip("_") or "x"
    name = f"x{name}" if name[0].isdigit() else name
    if keyword.iskeyword(name) or re.fullmatch(r"[tk]\d+", name):
        name = f"{name}_"
    found, i = name, 1
    while found in taken:
        i += 1
        found = f"{name}_{i}"
    return found


class Source:
    """The text of a program, and what it needs.

    Args:
        program: what is written down.
        name: of the function.
        reuse_outputs: whether results may lie in memory that the next call writes.

    >>> x = Node("input", (), {}, (2,), np.dtype(float), (8,), name="x")
    >>> y = Node("add", (x, 1.0), {}, (2,), np.dtype(float), (8,), number=1)
    >>> print(Source(Program([x], [y], [y])).text)
    import numpy as np
    <BLANKLINE>
    k0 = np.array(1.0, np.float64)
    <BLANKLINE>
    <BLANKLINE>
    def program(x):
        \"\"\"Of these dtypes and shapes alone:
    <BLANKLINE>
        x: float64[2]
        \"\"\"
        t0 = np.add(x, k0)
        return (t0,)
    <BLANKLINE>
    """

    def __init__(
        self,
        program: Program,
        name: str = "program",
        reuse_outputs: bool = False,
        around: Source | None = None,
        own: bool = False,
    ) -> None:
        """`around`: the text of which this one is a part, a function beside its own. `own`: no result may lie in an
        input's memory."""
        self.program, runs = blocked(unpadded(program))
        self.name, self.plan = name, Plan(self.program, reuse_outputs, runs)
        self._runs = {node: run for run in runs for node in run.nodes}
        self.arrays: dict[str, Any] = {} if around is None else around.arrays
        """Constants that are too large for the text, by name."""
        self.functions: dict[str, Any] = {} if around is None else around.functions
        """Functions that NumPy does not have, by name."""
        self._shared: _Shared = _Shared(name) if around is None else around._shared
        self._own = set[str]()  # names inside the function
        self._cast: dict[Any, str] = {}  # by Python number and dtype: its array
        self._before: list[str] = []  # lines that the next call needs
        self._names: dict[int, str] = {}
        self._parts: dict[int, list[str]] = {}  # by what gives several results: their names
        for i, node in enumerate(self.program.inputs):
            self._names[id(node)] = self._local(node.name or f"x{i}")
        self._views: dict[Any, str] = {}  # by place: its name
        read = {x for node in self.program.nodes for x in node.operands}.union(nodes_in(self.program.outputs))
        self._decisions = {x for x in self.program.assumptions if x not in read and _compares_numbers(x)}
        """Comparisons that are written where they are checked, as Python's own, which is faster."""
        self._memory = "memory" if around is None else self._shared.unique(f"memory_of_{name}")
        self.body = self._body(own)
        self.text = self._text(self._takes()) if around is None else ""

    def save(self, path: Any) -> None:
        """Write a module with this function, and its large constants beside it."""
        path = Path(path)
        if path.suffix != ".py":
            raise ValueError(f"ad.compile: save takes the name of a module, which ends in .py, not {str(path)!r}")
        if not path.stem.isidentifier() or keyword.iskeyword(path.stem):
            raise ValueError(
                f"ad.compile: save takes the name of a module that can be imported, of letters, digits and _, not "
                f"{path.name!r}"
            )
        if self.functions:
            raise ValueError(
                f"ad.compile: the program calls {', '.join(self.functions)}, which NumPy does not have, and runs with "
                f"this library alone"
            )
        takes = self._shared.unique("takes")
        text = self._text(self._takes() + self._checked(takes), TAKES.format(takes, self.name))
        if self.arrays:
            np.savez(path.with_suffix(".npz"), **self.arrays)
            load = 'constants = np.load(Path(__file__).with_suffix(".npz"))\n'
            head, _, rest = text.partition("import numpy as np\n")
            text = f"{head}from pathlib import Path\n\nimport numpy as np\n\n{load}{rest.lstrip(chr(10))}"
        path.write_text(text, encoding="utf-8")

    def _local(self, wanted: str) -> str:
        """A name for a variable of the function."""
        found = _free(wanted, self._shared.taken | self._own)
        self._own.add(found)
        self._shared.inside.add(found)
        return found

    def _text(self, head: str, beside: str = "") -> str:
        """`head`: the first lines of the function; `beside`: what else stands there."""
        shared = self._shared
        heads = "".join(f"{line}\n" for line in shared.heads)
        imports = "".join(f"{line}\n" for line in sorted(shared.imports))
        rest = f"{beside}{UNMET if shared.checks else ''}{''.join(shared.steps)}{self.definition(head)}"
        return f"{imports}\n{heads}{'' if rest.startswith(chr(10)) else chr(10) * 2 if heads else chr(10)}{rest}"

    def _takes(self) -> str:
        """The docstring."""
        given = "".join(f"    {self._names[id(x)]}: {_kind_of(x)}\n" for x in self.program.inputs)
        return f'    """Of these dtypes and shapes alone:\n\n{given}    """\n' if given else ""

    def _checked(self, takes: str) -> str:
        """The lines that refuse other arguments."""
        given = [(self._names[id(x)], x) for x in self.program.inputs]
        return "".join(
            f'    {takes}("{name}", {name}, "{_number_of(x)}")\n' if _weak(x)
            else f'    {takes}("{name}", {name}, "{x.dtype}", {x.shape})\n'
            for name, x in given
        )  # fmt: skip

    def definition(self, head: str = "") -> str:
        """The function, and the memory that it has."""
        arguments = ", ".join(self._names[id(node)] for node in self.program.inputs)
        memory = [f"{self._memory} = np.empty({self.plan.size}, np.uint8)"] if self._views else []
        lines = "".join(f"{line}\n" for line in [*memory, *map(self._view, self._views)])
        return f"{lines}{chr(10) * 2 if lines else ''}def {self.name}({arguments}):\n{head}{self.body}"

    def _body(self, own: bool) -> str:
        lines: list[str] = []
        last = None
        checks: dict[Node, list[str]] = {}
        self._shared.checks |= bool(self.program.assumptions or self.program.guards)
        for node in self.program.assumptions:
            checks.setdefault(node, []).append(_check("{0}", where("assumed", node)))
        for node, value in self.program.guards:
            holds = "{0}" if value is True else "not {0}" if value is False else "{0} == " + repr(value)
            checks.setdefault(node, []).append(
                _check(holds if value == value else "{0} != {0}", where(decision(value), node))
            )
        for node in self.program.nodes:
            if node.line is not None and node.line != last:
                last = node.line
                said = textwrap.shorten(linecache.getline(*node.line), 90, placeholder=" …")
                lines.append(f"# {os.path.basename(place_of(*node.line))}" + (f": {said}" if said else ""))
            run = self._runs.get(node)
            if run is not None and node is not run.nodes[-1]:
                continue
            call = self._loop(run) if run is not None else self._as_the_user_calls_it(node, self._call(node))
            lines += [*self._before, *call]
            self._before.clear()
            for x in (node,) if run is None else run.nodes:
                lines += [text.format(self.of(x)) for text in checks.get(x, ())]
        for node in self.program.inputs:
            lines += [text.format(self.of(node)) for text in checks.get(node, ())]
        for output, into in self.program.donated.items():
            target, new = self.program.inputs[into], self.program.outputs[output]
            if not (isinstance(new, Node) and self.plan.into.get(new) is target):
                lines.append(f"np.copyto({self._names[id(target)]}, {self.of(new)})")
        results = [
            f"np.array({self.of(x)})"
            if isinstance(x, np.ndarray) or (own and _is_given(self.program, x))
            else self.of(x)
            for k, x in enumerate(self.program.outputs)
            if k not in self.program.donated
        ]
        lines.append(f"return ({', '.join(results)}{',' if len(results) == 1 else ''})")
        return "".join(f"    {line}\n" for line in lines)

    # Values

    def of(self, x: Any) -> str:
        """An input of a call, an output or an option as text."""
        if isinstance(x, Node):
            return self._names[id(x)]
        if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
            inner = ", ".join(map(self.of, x))
            return f"[{inner}]" if isinstance(x, list) else f"({inner}{',' if len(x) == 1 else ''})"
        if isinstance(x, slice):
            return f"slice({self.of(x.start)}, {self.of(x.stop)}, {self.of(x.step)})"
        if x is None or x is Ellipsis or isinstance(x, bool):
            return "..." if x is Ellipsis else repr(x)
        if isinstance(x, (int, str)):
            return int.__repr__(x) if isinstance(x, int) else str.__repr__(x)  # an IntEnum's own is no Python
        if type(x) in (float, complex):
            return _number(x)
        if isinstance(x, np.dtype):
            return f"np.dtype({x.str!r})"
        if isinstance(x, type) and issubclass(x, np.generic):
            return f"np.{x.__name__}"
        if isinstance(x, np.generic):
            x = np.asarray(x)
        if isinstance(x, np.ndarray):
            return self._array(x)
        if isinstance(x, dict):
            return "{" + ", ".join(f"{self.of(k)}: {self.of(v)}" for k, v in x.items()) + "}"
        return self._function(x, getattr(x, "__name__", "value"))

    def _array(self, x: Any) -> str:
        if id(x) not in self._shared.constants:
            name = self._shared.constants[id(x)] = f"k{len(self._shared.heads)}"
            self._shared.held.append(x)
            first = x.reshape(-1)[:1].tobytes() if x.size else b""
            dtype = f"np.{x.dtype.name}" if x.dtype.kind != "b" else "bool"
            if x.ndim and x.size and x.size > 4 and x.tobytes() == first * x.size:
                text = f"np.full({x.shape}, {_number(x.reshape(-1)[0].item())}, {dtype})"
                if text in self._shared.filled:
                    self._shared.constants[id(x)] = self._shared.filled[text]
                    return self._shared.filled[text]
                self._shared.filled[text] = name
            elif x.size <= LARGE:
                text = f"np.array({_nested(x.tolist())}, {dtype})"
                text += f".reshape({x.shape})" if x.size == 0 else ""
            else:
                self.arrays[name] = x
                text = f"constants[{name!r}]  # {x.dtype}{list(x.shape)}"
            self._shared.heads.append(f"{name} = {text}")
        return self._shared.constants[id(x)]

    def _function(self, x: Any, name: str) -> str:
        if id(x) not in self._shared.constants:
            found = self._shared.constants[id(x)] = self._shared.unique(name)
            self.functions[found] = x
            self._shared.heads.append(f"{found} = functions[{found!r}]")
        return self._shared.constants[id(x)]

    # Calls

    def _call(self, node: Node) -> list[str]:
        """The lines of a call."""
        place, target = self.plan.places.get(node), self.plan.into.get(node)
        if node.op == "item" and id(node.inputs[0]) in self._parts:
            self._names[id(node)] = self._parts[id(node.inputs[0])][node.options["index"]]
            return []
        if node in self._decisions:
            x, bound = node.inputs
            self._names[id(node)] = f"{self.of(x)}.item() {_SYMBOLS[node.op]} {_bound(bound)}"
            return []
        given = self._operands(node)
        if node.op in ("scan", "cond", "while"):
            return {"scan": self._scan, "cond": self._cond, "while": self._while}[node.op](node, given)
        new = place is None and target is None
        if target is not None:
            name = self._names[id(target)]
        else:
            name = self._local(node.name) if new and node.name else self._named(place)
        self._names[id(node)] = name
        if node.op in ("setitem", "at"):
            first = f"{name} = np.array({given[0]})" if new else f"np.copyto({name}, {given[0]})"
            if node.op == "at":
                return [first, f"np.{node.options['ufunc']}.at({name}{''.join(f', {x}' for x in given[1:])})"]
            index = given[2] if len(given) > 2 else self._index(node.options["index"])
            return [first, f"{name}[{index}] = {given[1]}"]
        if node.op in ("scatter", "scatter_add"):
            index = given[1] if len(given) > 1 else self._index(node.options["index"])
            put = f"{name}[{index}] = {given[0]}" if node.op == "scatter" else f"np.add.at({name}, {index}, {given[0]})"
            return [f"{name} = np.zeros({node.shape}, {self.of(node.dtype)})", put]
        if node.op == "padded_sum":
            return ([f"{name} = np.empty({node.shape}, np.{node.dtype.name})"] if new else []) + self._padded(node)
        if elementwise(node):
            if new:
                return [f"{name} = {self._called(node.op)}({', '.join(given)})"]
            return self._ufunc(node, given, name)
        if new:
            return [f"{name} = {self._expression(node, given)}"]
        if node.op.endswith(".reduce"):
            return [f"np.{node.op}({self._reduction(node, given[0], name)})"]
        if node.op in ("dot", "matmul"):
            return [f"np.{node.op}({given[0]}, {given[1]}, {name})"]
        if node.op == "concatenate":
            return [f"np.concatenate(({', '.join(given)},), {node.options['axis']}, {name})"]
        if node.op == "where":
            return [f"np.copyto({name}, {given[2]})", f"np.copyto({name}, {given[1]}, where={given[0]})"]
        return [f"np.copyto({name}, {given[0]}{', casting=' + repr('unsafe') if node.op == 'astype' else ''})"]

    def _padded(self, node: Node) -> list[str]:
        """The lines that write the parts of a sum of padded arrays. Python adds single numbers faster; in double
        precision, which rounds a float32 no otherwise."""
        zero, axis, name, lines = self._scalar(0.0, node.dtype), node.options["axis"], self._names[id(node)], []
        for span, added in parts_of(node):
            if len(node.shape) == 1 and span.stop - span.start == 1:
                terms = [f"{self.of(x)}.item({_ordinal(inner.start, x.size)})" for x, inner in added]
                total = " + ".join([*terms, "0.0"][:2])
                lines.append(f"{name}[{_ordinal(span.start, node.size)}] = {total}")
                continue
            given, into = [self._part(x, inner, axis) for x, inner in added], self._part(node, span, axis)
            lines.append(f"np.add({', '.join([*given, zero][:2])}, {into})" if given else f"np.copyto({into}, {zero})")
        return lines

    def _part(self, x: Node, span: slice, axis: int) -> str:
        """A slice along an axis; where the memory is the program's, a name that stands for it."""
        length, place = x.shape[axis], self.plan.places.get(x)
        if span == slice(0, length):
            return self.of(x)
        if place is not None and axis == 0 and place.order == tuple(range(len(x.shape))):
            row, shape = place.nbytes // length, (span.stop - span.start, *x.shape[1:])
            part = replace(place, offset=place.offset + row * span.start, shape=shape, nbytes=row * shape[0])
            return self._named(part)
        index = slice(*(_ordinal(n, length) or None for n in (span.start, span.stop)))
        return f"{self.of(x)}[{':, ' * axis}{self._index(index)}]"

    def _loop(self, run: Run) -> list[str]:
        """The lines of calls that run block by block."""
        i, s = self._local("i"), self._local("s")
        before, loop, after, parts = list[str](), list[str](), list[str](), dict[str, str]()

        def part(whole: str) -> str:
            """The name of the block of an array without gaps."""
            if whole not in parts:
                flat, parts[whole] = self._shared.next(), self._shared.next()
                before.append(f"{flat} = {whole}.reshape(-1)")
                loop.append(f"{parts[whole]} = {flat}[{s}]")
            return parts[whole]

        def block(x: Any, text: str) -> str:
            if isinstance(x, Node):
                whole = x.size == run.size and x not in run.inside
            else:
                whole = np.size(x) == run.size and self._shared.constants.get(id(x)) == text
            return part(text) if whole else text

        for node in run.nodes:
            given = [*map(block, node.inputs, self._operands(node))]
            place, how = self.plan.places.get(node), reduced(node)
            name = self._names[id(node)] = self._named(place) if place or not node.name else self._local(node.name)
            if how is not None:
                each = self._shared.next()
                before.append(f"{each} = np.empty({run.size // run.length}, {self.of(node.dtype)})")
                text = f"np.dot({given[0]}, {given[1]})" if node.op == "dot" else f"np.{how}.reduce({given[0]})"
                loop.append(f"{each}[{i} // {run.length}] = {text}")
                after.append(
                    f"np.{how}.reduce({each}, 0, None, {name})" if place else f"{name} = np.{how}.reduce({each})"
                )
                continue
            if place is None:
                before.append(f"{name} = np.empty({node.shape}, {self.of(node.dtype)})")
            loop += self._ufunc(node, given, name if node in run.inside else part(name))
        head = f"for {i} in range(0, {run.size}, {run.length}):"
        return [*before, head, *(f"    {line}" for line in [f"{s} = slice({i}, {i} + {run.length})", *loop]), *after]

    def _ufunc(self, node: Node, given: list[str], out: str) -> list[str]:
        out = f"out={out}" if node.op in ("maximum", "minimum") else out
        return [f"{self._called(node.op)}({', '.join(given)}, {out})"]

    def _called(self, op: str) -> str:
        """How a ufunc is written."""
        if not op.startswith("special."):
            return f"np.{op}"
        self._shared.imports.add("import scipy.special")
        return f"scipy.{op}"

    def _as_the_user_calls_it(self, node: Node, call: list[str]) -> list[str]:
        """The lines of a call whose result lies in memory that is known: a name more, if the user has one for it."""
        if not node.name or node in self.plan.into or node not in self.plan.places:
            return call
        written = self._names[id(node)]
        name = self._names[id(node)] = self._local(node.name)
        if len(call) == 1 and call[0].startswith("np.") and not call[0].startswith("np.copyto"):
            return [f"{name} = {call[0]}"]
        return [*call, f"{name} = {written}"]

    # Loops and branches

    def _function_of(self, program: Program, wanted: str, own: bool = False) -> str:
        """The name of a function beside this one that is a program."""
        inner = Source(program, self._shared.unique(wanted), around=self, own=own)
        self._shared.steps.append(f"{inner.definition()}\n\n")
        return inner.name

    def _scan(self, node: Node, given: list[str]) -> list[str]:
        step, n, m = node.options["step"], node.options["carry"], node.options["slices"]
        length = node.options["length"]
        function = self._function_of(step, "step")
        called = {x.options["index"]: x.name for x in self.program.nodes if x.op == "item" and x.inputs[0] is node}
        carry = [self._local(called.get(k) or step.inputs[k].name or "carry") for k in range(n)]
        y, i = [self._local("y") for _ in step.outputs[n:]], self._local("i")
        ys = [self._local(called.get(n + k) or "ys") for k in range(len(y))]
        lines = [f"{', '.join(carry)} = {', '.join(given[:n])}"] if n else []
        for name, x in zip(ys, step.outputs[n:]):
            lines.append(f"{name} = np.empty({(length, *x.shape)}, {self.of(x.dtype)})")
        lines.append(f"for {i} in range({f'{length - 1}, -1, -1' if node.options['reverse'] else length}):")
        passed = [*carry, *(f"{x}[{i}]" for x in given[n : n + m]), *given[n + m :]]
        results = ", ".join([*carry, *y]) + ("," if n + len(y) == 1 else "")
        lines.append(
            f"    {results} = {function}({', '.join(passed)})" if results else f"    {function}({', '.join(passed)})"
        )
        lines += [f"    {whole}[{i}] = {part}" for whole, part in zip(ys, y)]
        return lines + self._copied(carry, step) + self._several(node, [*carry, *ys])

    def _cond(self, node: Node, given: list[str]) -> list[str]:
        true, false = (self._function_of(node.options[name], "branch", True) for name in ("true", "false"))
        names = [self._local("y") for _ in node.options["true"].outputs]
        passed = ", ".join(given[1:])
        left = f"{', '.join(names)}{',' if len(names) == 1 else ''} = " if names else ""
        line = f"{left}{true}({passed}) if {given[0]} else {false}({passed})"
        return [line, *self._several(node, names)]

    def _while(self, node: Node, given: list[str]) -> list[str]:
        step, n, limit = node.options["step"], node.options["carry"], node.options["limit"]
        holds, function = self._function_of(node.options["holds"], "holds"), self._function_of(step, "step")
        state = [self._local("state") for _ in range(n)]
        passed = ", ".join([*state, *given[n:]])
        lines = [f"{', '.join(state)} = {', '.join(given[:n])}", f"while {holds}({passed})[0]:"]
        if limit is not None:
            self._shared.checks, count = True, self._local("n")
            lines[1:1] = [f"{count} = 0"]
            lines += [f"    if {count} == {limit}:", f"        raise Unmet({where('the number of steps', node)!r})"]
            lines += [f"    {count} += 1"]
        lines.append(f"    {', '.join(state)}{',' if n == 1 else ''} = {function}({passed})")
        return lines + self._copied(state, step, True) + self._several(node, state)

    @staticmethod
    def _copied(carry: list[str], step: Program, always: bool = False) -> list[str]:
        """The lines that give results of a loop memory of their own, where they may lie in that of inputs."""
        return [f"{name} = np.array({name})" for name, x in zip(carry, step.outputs) if always or _is_given(step, x)]

    def _several(self, node: Node, names: list[str]) -> list[str]:
        """The names of several results, and the line that makes them one, where that is needed."""
        self._parts[id(node)] = names
        if not any(x is node for x in self.program.outputs):
            return []
        name = self._names[id(node)] = self._shared.next()
        return [f"{name} = ({', '.join(names)}{',' if len(names) == 1 else ''})"]

    def _named(self, place: Place | None) -> str:
        name = None if place is None else self._views.get(place)
        if name is None:
            name = self._shared.next()
            if place is not None:
                self._views[place] = name
        return name

    def _view(self, place: Place) -> str:
        """The line that makes a part of the memory an array."""
        dtype = np.dtype(place.dtype)
        kind = "bool" if dtype.kind == "b" else f"np.{dtype.name}"
        text = f"{self._memory}[{place.offset}:{place.offset + place.nbytes}].view({kind})"
        shape = tuple(place.shape[i] for i in place.order)
        text += f".reshape({shape})" if len(shape) != 1 else ""
        if place.order != tuple(range(len(shape))):
            text += f".transpose({tuple(int(i) for i in np.argsort(place.order))})"
        return f"{self._views[place]} = {text}"

    def _operands(self, node: Node) -> list[str]:
        """The inputs of a call as text. An array of one number, into which a part is written, is that number. Those of
        a ufunc: Python numbers as arrays of the dtype in which NumPy takes them, which is faster, and arrays of one
        number as that."""
        if node.op == "setitem" and node in self.plan.places and _filled(first := node.inputs[0]):
            return [self._scalar(first.reshape(-1)[0].item(), first.dtype), *map(self.of, node.inputs[1:])]
        if not elementwise(node):
            return [self.of(x) for x in node.inputs]
        dtypes = [x.dtype for x in node.inputs if isinstance(x, np.ndarray) or (isinstance(x, Node) and not _weak(x))]
        dtype = np.result_type(*dtypes) if dtypes else None
        if dtype is None or dtype.char not in "fd" or node.op == "ldexp":  # whose exponents are integers
            return [self.of(x) for x in node.inputs]
        shapes = [x.shape if isinstance(x, Node) else () for x in node.inputs]
        alone = np.broadcast_shapes(*shapes) == node.shape  # without the constants
        return [
            self._scalar(x, dtype) if type(x) in (int, float) and (abs(x) < 2**53 or abs(x) == float("inf"))
            else self._in_dtype(x, dtype) if isinstance(x, Node) and _weak(x)
            else self._scalar(x.reshape(-1)[0].item(), x.dtype) if alone and _filled(x)
            else self.of(x)
            for x in node.inputs
        ]  # fmt: skip

    def _scalar(self, x: float, dtype: Any) -> str:
        key = (float(x).hex(), dtype.char)
        if key not in self._shared.scalars:
            self._shared.scalars[key] = np.array(x, dtype)
        return self._array(self._shared.scalars[key])

    def _in_dtype(self, x: Node, dtype: Any) -> str:
        """A Python number of the program as an array of the dtype in which it is taken, made once."""
        key = (x, dtype.char)
        if key not in self._cast:
            name = self._cast[key] = self._named(None)
            self._before.append(f"{name} = np.array({self.of(x)}, np.{dtype.name})")
        return self._cast[key]

    @staticmethod
    def _reduction(node: Node, given: str, out: str = "") -> str:
        axes, keepdims = node.options["axis"], node.options["keepdims"]
        first = node.inputs[0]
        whole = isinstance(first, Node) and len(axes) == len(first.shape) and len(axes) != 1
        axis = None if whole else axes[0] if len(axes) == 1 else axes
        if out:
            return f"{given}, {axis}, None, {out}" + (", True" if keepdims else "")
        return f"{given}, {axis}" + (", keepdims=True" if keepdims else "")

    def _expression(self, node: Node, given: list[str]) -> str:
        op, options = node.op, node.options
        if options.get("weak"):
            text = number_text(op, given)
            self._shared.imports |= {"import math"} if text.startswith("math.") else set()
            return text
        match op:
            case "call":
                return self._whole(node, given)
            case "item":
                return f"{given[0]}[{options['index']}]"
            case "reshape":
                order = "" if options["order"] == "C" else f", order={options['order']!r}"
                return f"{given[0]}.reshape({self.of(options['shape'])}{order})"
            case "transpose":
                if options["axes"] == tuple(range(len(node.shape)))[::-1]:
                    return f"{given[0]}.T"
                return f"{given[0]}.transpose({self.of(options['axes'])})"
            case "broadcast_to":
                return f"np.broadcast_to({given[0]}, {self.of(options['shape'])})"
            case "astype":
                return f"{given[0]}.astype({self.of(options['dtype'])})"
            case "copy":
                return f"np.array({given[0]})"
            case "getitem":
                return f"{given[0]}[{given[1] if len(given) > 1 else self._index(options['index'])}]"
            case "concatenate":
                return f"np.concatenate(({', '.join(given)},), {options['axis']})"
            case "einsum":
                return f"np.einsum({options['subscripts']!r}, {', '.join(given)})"
        if op.endswith(".reduce"):
            return f"np.{op}({self._reduction(node, given[0])})"
        extra = "".join(
            f", {key}={self.of(value)}" for key, value in options.items() if value is not None and value is not False
        )
        return f"{self._called(op)}({', '.join(given)}{extra})"

    def _index(self, index: Any) -> str:
        """An index as it is written between brackets."""
        if isinstance(index, tuple) and index:
            return ", ".join(map(self._index, index)) + ("," if len(index) == 1 else "")
        if isinstance(index, slice):
            parts = ["" if part is None else self.of(part) for part in (index.start, index.stop, index.step)]
            return ":".join(parts[:2]) + (f":{parts[2]}" if parts[2] else "")
        return self.of(index)

    def _whole(self, node: Node, given: list[str]) -> str:
        called, path = node.options["function"], node.options.get("path", "")
        if not path:
            return f"{self._function(called, node.options['name'])}({', '.join(given)})"
        if path.startswith("scipy."):
            self._shared.imports.add(f"import {path.rpartition('.')[0]}")
        extra = [f"{key}={self.of(value)}" for key, value in node.options["keywords"].items()]
        text = f"{path}({', '.join(given + extra)})"
        return f"np.array({text})" if getattr(called, "shares", False) else text


_SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "floor_divide": "//",
            "remainder": "%", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==",
            "not_equal": "!="}  # fmt: skip


def number_text(op: str, given: list[str]) -> str:
    """A call of Python numbers as text, which may read ``math`` and ``np``.

    >>> number_text("subtract", ["1", "beta"])
    '1 - beta'
    """
    if op in _SYMBOLS:
        return f" {_SYMBOLS[op]} ".join(given)
    if op in ("negative", "absolute"):
        return f"-{given[0]}" if op == "negative" else f"abs({given[0]})"
    if hasattr(np, op):
        return f"math.{op}({given[0]})" if op in ("sqrt", "exp", "log") else f"np.{op}({', '.join(given)}).item()"
    raise TypeError(f"ad.compile: {op} of Python numbers has no text")


def _number(x: Any) -> str:
    if isinstance(x, complex):
        return f"complex({str(x)!r})"  # as a sum it would lose the signs of its zeros
    return repr(x) if not isinstance(x, float) or np.isfinite(x) else f"float({str(x)!r})"


def _nested(x: Any) -> str:
    return f"[{', '.join(map(_nested, x))}]" if isinstance(x, list) else _number(x)


def _compares_numbers(node: Node) -> bool:
    """Whether a call compares one number with one that is known, which its dtype has in full."""
    if node.op not in _SYMBOLS or node.shape or len(node.inputs) != 2:
        return False
    x, bound = node.inputs
    if not isinstance(x, Node) or x.shape or x.dtype.char not in "fd" or type(bound) is not float:
        return False
    with np.errstate(over="ignore"):
        return not _weak(x) and float(x.dtype.type(bound)) == bound


def _bound(x: float) -> str:
    return "np.inf" if x == float("inf") else _number(x)


def _ordinal(n: int, length: int) -> int:
    """A place on an axis, counted from the end that is nearer."""
    return n - length if 2 * n > length else n


def _is_given(program: Program, x: Any) -> bool:
    """Whether a result may be, or be a view of, an input."""
    while isinstance(x, Node) and x.op in VIEWS and isinstance(x.inputs[0], Node):
        x = x.inputs[0]
    return any(x is given for given in program.inputs)


def _filled(x: Any) -> bool:
    """Whether a constant is one number everywhere."""
    if not isinstance(x, np.ndarray) or x.size < 2 or x.dtype.char not in "fd":
        return False
    return x.tobytes() == x.reshape(-1)[:1].tobytes() * x.size


def _weak(node: Node) -> bool:
    return bool(node.options.get("weak"))


def _kind_of(x: Node) -> str:
    return f"a Python {_number_of(x)}" if _weak(x) else f"{x.dtype}{list(x.shape)}"


def _number_of(x: Node) -> str:
    return type(x.dtype.type().item()).__name__


def _check(holds: str, why: str) -> str:
    return (
        f"if not ({holds}):\n        raise Unmet({why!r})"
        if holds != "{0}"
        else (f"if not {{0}}:\n        raise Unmet({why!r})")
    )


def decision(value: Any) -> str:
    """What a value was for on which the way depended: a branch, or ``float(x)``."""
    return "decided" if isinstance(value, bool) else "read"


def where(what: str, node: Node) -> str:
    """What a node is for, and on which line of the user."""
    place = "" if node.line is None else f" at {os.path.basename(place_of(*node.line))}"
    return f"{what}{place}"


def numpy_function(source: Source) -> tuple[Callable[..., Any], type[Exception]]:
    """The function that a source defines, and what it raises where it does not hold."""
    names: dict[str, Any] = {"constants": source.arrays, "functions": source.functions}
    exec(compile(source.text, f"<compiled {source.name}>", "exec"), names)
    return names[source.name], names.get("Unmet", ArithmeticError)
