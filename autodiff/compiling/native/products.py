"""Products of matrices: by BLAS, called by address; small ones by loops of their own.

Order: how the matrices lie, BLAS, the loops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

from ...machine.ir import LETTER, SCALAR, Builder, Module, literal
from ..program import Node, nodes_in
from .blas import INTEGER
from .layout import Places, dense, reshaped


class Matrix(NamedTuple):
    """Columns one after the other in memory, or rows if `turned`; ``step`` numbers from one to the next."""

    rows: int
    columns: int
    turned: bool
    step: int


class Product(NamedTuple):
    """left · right = result, all by columns, and the bytes from one matrix to the next along axes of `batch`."""

    left: Matrix
    right: Matrix
    result: Matrix
    swapped: bool
    """Whether left is the node's second operand: the transposed product is computed."""
    batch: tuple[int, ...]
    moves: tuple[tuple[int, ...], ...]
    """Of left, right and result."""


def _matrix(shape: Sequence[int], strides: Sequence[int], size: int) -> Matrix | None:
    (rows, columns), (down, across) = shape, strides
    for turned, n, m, near, far in ((False, rows, columns, down, across), (True, columns, rows, across, down)):
        step = n if m == 1 else far // size
        if (near == size or n == 1) and (m == 1 or far % size == 0) and step >= max(n, 1):
            return Matrix(rows, columns, turned, step)
    return None


class Operand(NamedTuple):
    """Matrices as they lie: bytes to the next row and column, and to the next matrix along axes of the batch."""

    shape: tuple[int, int]
    strides: tuple[int, int]
    moves: tuple[int, ...]

    @property
    def turned(self) -> Operand:
        """The transposed ones."""
        return Operand(self.shape[::-1], self.strides[::-1], self.moves)


def terms(node: Node) -> list[Node]:
    """The products of two that a node adds up."""
    pairs = [node.inputs[i : i + 2] for i in range(0, len(node.inputs), 2)]
    return [node] if len(pairs) == 1 else [replace(node, inputs=pair) for pair in pairs]


def added_up(nodes: list[Node], results: list[Any]) -> list[Node]:
    """The same, where a sum of products that nobody else reads is one product of more terms: BLAS adds each to what is
    there, and the sum is no pass through memory of its own."""
    places = Places(nodes)
    readers = Counter(id(x) for x in nodes_in([*results, *(x for node in nodes for x in node.operands)]))
    gone: set[int] = set()
    for node in nodes:
        parts = [x for x in node.inputs if isinstance(x, Node) and x.op == "product" and not x.options["small"]]
        if node.op != "add" or len(parts) != 2 or any(readers[id(x)] > 1 for x in parts):
            continue
        total = replace(node, op="product", inputs=parts[0].inputs + parts[1].inputs, options=parts[0].options)
        alike = all((x.shape, x.dtype) == (node.shape, node.dtype) for x in parts)
        if alike and all(matrices(term, places) is not None for term in terms(total)):
            node.op, node.inputs, node.options = total.op, total.inputs, total.options
            gone.update(map(id, parts))
    return [node for node in nodes if id(node) not in gone]


def operands(node: Node, places: Places) -> tuple[list[Operand], tuple[int, ...]]:
    """Left, right and result of a product of two, and the batch."""
    a, b = (places.of(x) for x in node.inputs)
    strides, shape = dense(node), node.shape
    left = (a.shape, a.strides) if len(a.shape) > 1 else ((1, *a.shape), (0, *a.strides))
    right = (b.shape, b.strides) if len(b.shape) > 1 else ((*b.shape, 1), (*b.strides, 0))
    if len(a.shape) == 1:
        shape, strides = (*shape[:-1], 1, *shape[-1:]), (*strides[:-1], 0, *strides[-1:])
    if len(b.shape) == 1:
        shape, strides = (*shape, 1), (*strides, 0)
    if len(right[0]) == 2 and len(left[0]) > 2:  # all rows as one matrix
        rows = prod(left[0][:-1])
        one = reshaped(left[0][:-1], left[1][:-1], (rows,)), reshaped(shape[:-1], strides[:-1], (rows,))
        if one[0] is not None and one[1] is not None:
            left = (rows, left[0][-1]), (*one[0], left[1][-1])
            shape, strides = (rows, shape[-1]), (*one[1], strides[-1])
    batch = shape[:-2]
    parts = []
    for own, steps in (left, right, (shape, strides)):
        lead = len(batch) - (len(own) - 2)
        moves = (0,) * lead + tuple(0 if n == 1 else s for n, s in zip(own[:-2], steps[:-2]))
        parts.append(Operand((own[-2], own[-1]), (steps[-2], steps[-1]), moves))
    return parts, batch


def matrices(node: Node, places: Places) -> Product | None:
    """How BLAS computes a product; None where a matrix has no rows or columns without gaps."""
    parts, batch = operands(node, places)
    size = node.dtype.itemsize
    result = _matrix(parts[2].shape, parts[2].strides, size)
    if result is None:
        return None
    swapped = result.turned
    if swapped:
        parts = _swapped(parts)
    found = [_matrix(x.shape, x.strides, size) for x in parts]
    if found[0] is None or found[1] is None or found[2] is None or found[2].turned:
        return None
    return Product(found[0], found[1], found[2], swapped, batch, tuple(x.moves for x in parts))


def _swapped(parts: Sequence[Operand]) -> list[Operand]:
    """Those of the transposed product."""
    return [x.turned for x in (parts[1], parts[0], parts[2])]


def product_function(module: Module, node: Node, places: Places, first: bool = True) -> tuple[str, bool]:
    """The name of a function of the addresses of left, right and result, and whether left is the node's second
    operand; of one that adds to the result, where it is not the first."""
    if node.options["small"]:
        return _by_tiles(module, node, places)
    product = matrices(node, places)
    assert product is not None
    return _by_blas(module, node, product, first), product.swapped


def _by_blas(module: Module, node: Node, product: Product, first: bool) -> str:
    t = LETTER[node.dtype]
    b = Builder(module, 1)
    letter = {"f": "s", "d": "d"}[t]
    stored: dict[str, str] = {}

    def constant(text: str) -> str:
        if text not in stored:
            stored[text] = f"%c{len(stored)}"
        return stored[text]

    def integer(n: int) -> str:
        return constant(f"{INTEGER} {n}")

    left, right, result = product.left, product.right, product.result
    one, before = (constant(f"{SCALAR[t]} {literal(x, t)}") for x in (1, 1 - first))
    stack = ExitStack()
    places = _places(b, stack, product.batch, product.moves)
    turned = ["T" if m.turned else "N" for m in (left, right)]
    if right.columns == 1 or left.rows == 1:
        matrix, vector, at = (left, right, places[:2]) if right.columns == 1 else (right, left, places[1::-1])
        flip = right.columns != 1
        rows, columns = (matrix.columns, matrix.rows) if matrix.turned else (matrix.rows, matrix.columns)
        along = vector.rows == 1  # a row
        step = 1 if vector.turned == along else vector.step
        out = result.step if flip else 1
        numbers = [integer(rows), integer(columns), one]
        given = [constant(f"i8 {ord('T' if matrix.turned != flip else 'N')}"), *numbers, at[0], integer(matrix.step)]
        given += [at[1], integer(step), before, places[2], integer(out)]
        name = f"autodiff_{letter}gemv"
    else:
        sizes = [integer(left.rows), integer(right.columns), integer(left.columns)]
        given = [*(constant(f"i8 {ord(c)}") for c in turned), *sizes, one, places[0], integer(left.step)]
        given += [places[1], integer(right.step), before, places[2], integer(result.step)]
        name = f"autodiff_{letter}gemm"
    module.declared.add(f"declare void @{name}({', '.join(['ptr'] * len(given))})")
    b.put(f"call void @{name}({', '.join(f'ptr {x}' for x in given)})")
    stack.close()
    entry = []
    for text, name in stored.items():
        entry += [f"  {name} = alloca {text.split()[0]}", f"  store {text}, ptr {name}"]
    return _shared(module, entry, b)


def _places(b: Builder, stack: ExitStack, batch: Sequence[int], moves: Sequence[Sequence[int]]) -> list[str]:
    """Where each matrix begins, inside of loops over the batch that are left with the stack."""
    places = ["%left", "%right", "%result"]
    for axis, n in enumerate(batch):
        if n > 1:
            i = stack.enter_context(b.loop("0", str(n)))
            places = [_moved(b, p, (i, steps[axis])) for p, steps in zip(places, moves, strict=True)]
    return places


def _moved(b: Builder, pointer: str, *ways: tuple[str | int, int]) -> str:
    """A pointer so many steps of so many bytes further."""
    for count, step in ways:
        if count != 0 and step:
            far = str(count * step) if isinstance(count, int) else b(f"mul i64 {count}, {step}")
            pointer = b(f"getelementptr i8, ptr {pointer}, i64 {far}")
    return pointer


def _shared(module: Module, entry: Sequence[str], b: Builder) -> str:
    head = "(ptr noalias %left, ptr noalias %right, ptr noalias %result) #1 {"
    return module.shared("product", "\n".join([head, "entry:", *entry, *b.lines, "  ret void", "}"]))


# Loops


def _by_tiles(module: Module, node: Node, places: Places) -> tuple[str, bool]:
    """Each tile of the result is in registers while it is added up, in vectors along its rows. The last one of rows or
    columns overlaps the one before it. A right matrix whose rows have gaps is copied first."""
    t, size = LETTER[node.dtype], node.dtype.itemsize
    parts, batch = operands(node, places)
    swapped = parts[2].strides[1] != size
    left, right, result = _swapped(parts) if swapped else parts
    (rows, inner), columns = left.shape, right.shape[1]
    b = Builder(module, 1 << (min(module.width // 8 // size, columns).bit_length() - 1))
    registers = 24 if module.width == 512 else 12
    across = -(-columns // b.lanes)  # vectors
    across = -(-across // -(-across // (registers // 6)))  # of them in a tile
    down = min(8, registers // across)
    down = -(-rows // -(-rows // down))
    wide = min(across * b.lanes, columns)
    starts = [*(v * b.lanes for v in range(across - 1)), wide - b.lanes]
    kind, entry = b.type(t), []
    with ExitStack() as stack:
        of_left, of_right, of_result = _places(b, stack, batch, [x.moves for x in (left, right, result)])
        along, step = right.strides
        if step != size:
            entry.append(f"  %copy = alloca [{inner * columns} x {SCALAR[t]}], align 64")
            few = max(n for n in range(1, 17) if columns % n == 0)
            with b.loop("0", str(inner)) as k, b.loop("0", str(columns), few) as j:
                for more in range(few):
                    source = _moved(b, of_right, (k, along), (j, step), (more, step))
                    target = _moved(b, "%copy", (k, columns * size), (j, size), (more, size))
                    b.put(f"store {SCALAR[t]} {b(f'load {SCALAR[t]}, ptr {source}')}, ptr {target}")
            of_right, along = "%copy", columns * size
        top = stack.enter_context(_tiles(b, rows, down))
        side = stack.enter_context(_tiles(b, columns, wide))
        of_left = _moved(b, of_left, (top, left.strides[0]))
        of_right = _moved(b, of_right, (side, size))
        of_result = _moved(b, of_result, (top, result.strides[0]), (side, size))
        sums = [[f"%sum{r}.{v}" for v in range(across)] for r in range(down)]
        for name in (name for row in sums for name in row):
            entry.append(f"  {name} = alloca {kind}, align 64")
            b.put(f"store {kind} zeroinitializer, ptr {name}, align 64")
        with b.loop("0", str(inner)) as k:
            row = _moved(b, of_right, (k, along))
            vectors = [b(f"load {kind}, ptr {_moved(b, row, (v, size))}, align {size}") for v in starts]
            column = _moved(b, of_left, (k, left.strides[1]))
            for r in range(down):
                number = b.spread(t, b(f"load {SCALAR[t]}, ptr {_moved(b, column, (r, left.strides[0]))}"))
                for name, vector in zip(sums[r], vectors, strict=True):
                    total = b.fma(t, number, vector, b(f"load {kind}, ptr {name}, align 64"))
                    b.put(f"store {kind} {total}, ptr {name}, align 64")
        for r in range(down):
            for name, v in zip(sums[r], starts, strict=True):
                target = _moved(b, of_result, (r, result.strides[0]), (v, size))
                b.put(f"store {kind} {b(f'load {kind}, ptr {name}, align 64')}, ptr {target}, align {size}")
    return _shared(module, entry, b), swapped


@contextmanager
def _tiles(b: Builder, extent: int, length: int) -> Iterator[str | int]:
    """A loop over pieces of an axis: where each begins, the last where it ends with the axis."""
    if length == extent:
        yield 0
        return
    with b.loop("0", str(-(-extent // length))) as tile:
        start = b(f"mul i64 {tile}, {length}")
        last = extent - length
        yield b(f"select i1 {b(f'icmp slt i64 {start}, {last}')}, i64 {start}, i64 {last}")
