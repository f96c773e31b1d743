"""Programs by hand, with the values that they have, and random ones. As a main program: some random ones, in a process
of their own, since a fault of machine code ends it: ``python -m tests.autodiff.compiling.native.programs FIRST COUNT``."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from autodiff.compiling.native.calls import called
from autodiff.compiling.native.compiled import Compiled
from autodiff.compiling.program import Node, Program, nodes_in, program_of
from autodiff.compiling.source import Source, numpy_function


class Tape:
    """Writes down calls, and makes them."""

    def __init__(self) -> None:
        self.inputs: list[Node] = []
        self.nodes: list[Node] = []
        self.values: dict[int, Any] = {}

    def input(self, value: np.ndarray) -> Node:
        node = Node("input", (), {}, value.shape, value.dtype, value.strides)
        self.inputs.append(node)
        self.values[id(node)] = value
        return node

    def __call__(self, op: str, *inputs: Any, view: bool | None = False, **options: Any) -> Node:
        """A call; its result is a view, a copy, or (None) what NumPy makes of it."""
        first = next((x.dtype for x in nodes_in(inputs)), np.dtype(float))
        node = Node(op, inputs, options, options.get("shape", ()), first, (), number=len(self.nodes))
        function, operands = called(node)
        given = [self.values[id(x)] for x in operands]
        with np.errstate(all="ignore"):
            result = function(*given)
        value = np.empty(()) if isinstance(result, tuple) else np.asarray(result)
        if view is None:
            view = np.may_share_memory(value, given[0])
        if not view and any(np.may_share_memory(value, x) for x in given if isinstance(x, np.ndarray)):
            value = value.copy()
        node.shape, node.dtype, node.strides, node.view = value.shape, value.dtype, value.strides, view
        self.nodes.append(node)
        self.values[id(node)] = result if isinstance(result, tuple) else value
        return node

    def view(self, op: str, x: Node, **options: Any) -> Node:
        """A view where NumPy gives one, a copy where not."""
        return self(op, x, view=None, **options)

    def program(self, *outputs: Any) -> Program:
        return program_of(self.inputs, list(outputs))

    @property
    def arguments(self) -> list[Any]:
        return [self.values[id(node)] for node in self.inputs]


def evaluated(program: Program, *arrays: Any) -> tuple[Any, ...]:
    """What the NumPy program gives."""
    run, _ = numpy_function(Source(program))
    with np.errstate(all="ignore"):
        return run(*arrays)


def agree(got: Any, want: Any, rtol: float, name: str = "") -> None:
    """Shapes and dtypes are equal, values to the given part of the largest."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.shape, got.dtype) == (want.shape, want.dtype), name
    if want.dtype.kind != "f" or not rtol:
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    scale = np.max(np.abs(want), initial=0, where=np.isfinite(want))
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * scale, err_msg=name)


def check(
    tape: Tape, *outputs: Any, rtol: dict[str, float] | None = None, donated: dict[int, int] | None = None
) -> Compiled:
    """Compile a program and hold its results against NumPy's, those that are written into arguments too."""
    program = tape.program(*outputs)
    program.donated = donated or {}

    def results(run: Any) -> list[Any]:
        given = list(tape.arguments)
        for i in program.donated.values():
            given[i] = given[i].copy("K")
        return [*run(*given), *(given[i] for i in program.donated.values())]

    want = results(lambda *given: evaluated(program, *given))
    compiled = Compiled(program)
    for _ in range(2):
        for i, (g, w) in enumerate(zip(results(compiled.run), want, strict=True)):
            agree(g, w, (rtol or {"f": 2e-6, "d": 1e-12}).get(np.asarray(w).dtype.char, 0), f"output {i} of\n{program}")
    return compiled


SHAPES = [(), (1,), (3,), (17,), (1, 5), (4, 5), (7, 3), (33, 18), (2, 3, 4), (2, 1, 21), (3, 1), (0, 3), (5, 2, 3, 2)]
UNARY = [
    "negative",
    "absolute",
    "sign",
    "square",
    "floor",
    "rint",
    "positive",
    "isnan",
    "isfinite",
    "logical_not",
    "trunc",
]
BINARY = ["add", "subtract", "multiply", "maximum", "minimum", "greater", "less_equal", "equal", "not_equal",
          "logical_and", "logical_or"]  # fmt: skip
REDUCED = ["add", "maximum", "minimum", "multiply", "logical_or", "logical_and"]
SMOOTH = ["exp", "tanh", "sin", "special.ndtr", "sqrt", "log", "special.expit", "arctan", "log1p"]


def random_program(seed: int) -> tuple[Tape, list[Any], bool]:
    """A tape and outputs; and whether all its numbers are small integers, so that results must be equal."""
    rng = np.random.default_rng(seed)
    exact = bool(seed % 3)
    tape = Tape()

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        dtype = rng.choice([np.float32, np.float64, np.float64, np.float32, np.int64, np.bool_])
        x = rng.integers(-3, 4, shape).astype(dtype)
        if x.dtype.kind == "f" and rng.random() < 0.3:
            x = np.where(rng.random(shape) < 0.1, rng.choice([np.nan, np.inf, -np.inf]), x).astype(dtype)
        if x.ndim > 1 and rng.random() < 0.3:
            x = x.T
        if x.ndim and rng.random() < 0.2:
            x = x[::-1]
        if x.ndim and rng.random() < 0.2:
            x = np.repeat(x, 2, -1)[..., ::2]
        return x

    unary, binary = (UNARY, BINARY) if exact else (UNARY[:4], BINARY[:5])  # others jump
    base = SHAPES[rng.integers(len(SHAPES))]
    pool = [tape.input(draw(base)) for _ in range(rng.integers(1, 4))]

    def some(n: int = 0) -> Any:
        found = [x for x in pool if len(x.shape) >= n]
        return found[rng.integers(len(found))] if found else None

    def partner(x: Node) -> Any:
        """Something that broadcasts with x."""
        chance = rng.random()
        if chance < 0.15:
            return rng.choice([2.0, -1.0, 0.5]).item() if x.dtype.kind == "f" else int(rng.integers(-2, 3))
        if chance < 0.25:
            return draw(x.shape[rng.integers(len(x.shape) + 1) :])
        fits = [y for y in pool if all(a == b or 1 in (a, b) for a, b in zip(x.shape[::-1], y.shape[::-1]))
                and len(y.shape) <= 4]  # fmt: skip
        return fits[rng.integers(len(fits))]

    def bounded(x: Node) -> Node:
        if x.dtype.kind != "f":
            return x if x.dtype.kind == "b" else tape("minimum", tape("maximum", x, -50), 50)
        return tape("rint", tape("minimum", tape("maximum", x, -50.0), 50.0)) if exact else tape("tanh", x)

    for _ in range(rng.integers(2, 25)):
        kind = rng.integers(12)
        x = some()
        try:
            if kind < 2:
                new = tape(unary[rng.integers(len(unary))], x)
            elif kind < 5:
                y = partner(x)
                pair = (x, y) if rng.random() < 0.7 or not isinstance(y, Node) else (y, x)
                new = tape(binary[rng.integers(len(binary))], *pair)
            elif kind == 5:
                c = tape("greater", x, 0)
                y = partner(x)
                new = tape("where", c, x, y)
            elif kind in (6, 7) and x.shape:
                axes = tuple(int(a) for a in range(len(x.shape)) if rng.random() < 0.6) or (len(x.shape) - 1,)
                name = REDUCED[rng.integers(len(REDUCED))]
                if name == "multiply":
                    x = tape("sign", tape("add", x, 0.5))
                new = tape(f"{name}.reduce", x, axis=axes, keepdims=bool(rng.random() < 0.5))
            elif kind == 8:
                new = view_of(tape, rng, x)
            elif kind == 9:
                new = shaped(tape, rng, x)
            elif kind == 10 and x.shape:
                new = multiplied(tape, rng, x, some(1))
            elif kind == 11:
                new = (
                    tape(SMOOTH[rng.integers(len(SMOOTH))], x) if not exact else tape("power", x, int(rng.integers(4)))
                )
            else:
                continue
        except (ValueError, TypeError, IndexError):
            continue
        if new is None or new.dtype.kind not in "fib" or new.dtype.itemsize == 2:
            continue
        if new.dtype.kind == "f" and np.isnan(tape.values[id(new)]).all() and new.size:
            continue
        pool.append(new if new.view else bounded(new))
    outputs = [pool[i] for i in sorted({len(pool) - 1, *rng.integers(0, len(pool), 3).tolist()})]
    return tape, outputs, exact


def view_of(tape: Tape, rng: np.random.Generator, x: Node) -> Node | None:
    n = len(x.shape)
    kind = rng.integers(4)
    if kind == 0 and n > 1:
        return tape.view("transpose", x, axes=tuple(rng.permutation(n).tolist()))
    if kind == 1 and x.size:
        shapes = [(x.size,), (1, *x.shape), (*x.shape, 1), x.shape[::-1], tuple(k for k in x.shape if k != 1)]
        return tape.view("reshape", x, shape=shapes[rng.integers(len(shapes))], order="C")
    if kind == 2 and n:
        index = [slice(None), slice(1, None), slice(None, None, -1), slice(None, None, 2), None, 0, Ellipsis]
        parts = []
        for i in rng.integers(0, len(index), rng.integers(1, n + 1)):
            if not (index[i] is Ellipsis and any(p is Ellipsis for p in parts)):
                parts.append(index[i])
        return tape.view("getitem", x, index=tuple(parts))
    return tape("broadcast_to", x, shape=(2, *x.shape)) if n < 3 else None


def shaped(tape: Tape, rng: np.random.Generator, x: Node) -> Node | None:
    kind = rng.integers(5)
    if not x.shape:
        return None
    if kind == 0:
        return tape("concatenate", x, x, axis=int(rng.integers(len(x.shape))))
    if kind == 1:
        return tape("scatter", x, shape=tuple(k + 2 for k in x.shape), index=tuple(slice(1, k + 1) for k in x.shape))
    if kind == 2:
        return tape(
            "setitem", x, 7 if x.dtype.kind == "i" else True if x.dtype.kind == "b" else 7.0, index=(slice(0, 2),)
        )
    if kind == 3:
        return tape("sort", x, axis=-1, kind=None)
    return tape("astype", x, dtype=np.dtype(rng.choice([np.float32, np.float64])))


def multiplied(tape: Tape, rng: np.random.Generator, x: Node, y: Node) -> Node | None:
    if rng.random() < 0.5:
        y = tape.view("transpose", y, axes=tuple(range(len(y.shape)))[::-1])
    return tape("matmul" if rng.random() < 0.5 else "dot", x, y) if x.shape[-1] > 0 else None


def donations(tape: Tape, outputs: list[Any]) -> dict[int, int]:
    """Outputs that can be written into an input, which is no output itself."""
    found: dict[int, int] = {}
    for k, node in enumerate(outputs):
        for i, x in enumerate(tape.inputs):
            dense = x.strides == np.empty(x.shape, x.dtype).strides and x not in outputs
            if not node.view and dense and (node.shape, node.dtype) == (x.shape, x.dtype) and i not in found.values():
                found[k] = i
                break
    return found


def run(first: int, count: int) -> None:
    for seed in range(first, first + count):
        tape, outputs, exact = random_program(seed)
        try:
            donated = donations(tape, outputs) if seed % 4 == 0 else {}
            check(tape, *outputs, rtol={} if exact else {"f": 1e-3, "d": 1e-3}, donated=donated)
        except Exception as error:
            raise AssertionError(f"seed {seed}\n{tape.program(*outputs)}") from error


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
    print("all right")
