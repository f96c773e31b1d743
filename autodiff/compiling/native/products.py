"""Products of matrices by BLAS, as SciPy exports it to Cython, called by address."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from ...machine.ir import LETTER, SCALAR, Builder, Module, literal
from ..program import Node
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


def matrices(node: Node, places: Places) -> Product | None:
    """How BLAS computes a product; None where a matrix has no rows or columns without gaps."""
    a, b = (places.of(x) for x in node.inputs)
    size = node.dtype.itemsize
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
        parts.append((own[-2:], steps[-2:], moves))
    result = _matrix(*parts[2][:2], size)
    if result is None:
        return None
    swapped = result.turned
    if swapped:  # the transposed product
        parts = [(own[::-1], steps[::-1], moves) for own, steps, moves in (parts[1], parts[0], parts[2])]
    found = [_matrix(own, steps, size) for own, steps, _ in parts]
    if found[0] is None or found[1] is None or found[2] is None or found[2].turned:
        return None
    return Product(found[0], found[1], found[2], swapped, batch, tuple(moves for _, _, moves in parts))


@functools.cache
def addresses() -> dict[str, int]:
    """The addresses of BLAS's functions by name."""
    from scipy.linalg import cython_blas

    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    found = {}
    for full in ("sgemm", "dgemm", "sgemv", "dgemv"):
        capsule = cython_blas.__pyx_capi__[full]
        found[f"autodiff_{full}"] = int(pointer(capsule, name(capsule)))
    return found


def product_function(module: Module, node: Node, product: Product) -> str:
    """The name of a function of the addresses of left, right and result."""
    t = LETTER[node.dtype]
    b = Builder(module, 1)
    letter = {"f": "s", "d": "d"}[t]
    stored: dict[str, str] = {}

    def constant(text: str) -> str:
        if text not in stored:
            stored[text] = f"%c{len(stored)}"
        return stored[text]

    def integer(n: int) -> str:
        return constant(f"i32 {n}")

    left, right, result = product.left, product.right, product.result
    one, zero = (constant(f"{SCALAR[t]} {literal(x, t)}") for x in (1, 0))
    places = ["%left", "%right", "%result"]
    loops, ends = [], []
    for i, n in enumerate(product.batch):
        if n == 1:
            continue
        b.put(f"br label %before{i}")
        b.label(f"before{i}")
        b.put(f"br label %head{i}")
        b.label(f"head{i}")
        b.put(f"%i{i} = phi i64 [ 0, %before{i} ], [ %n{i}, %head{i}.end ]")
        loops.append(i)
        places = [
            b(f"getelementptr i8, ptr {p}, i64 {b(f'mul i64 %i{i}, {moves[i]}')}") if moves[i] else p
            for p, moves in zip(places, product.moves)
        ]
        ends.append((i, n))
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
        given += [at[1], integer(step), zero, places[2], integer(out)]
        name = f"autodiff_{letter}gemv"
    else:
        sizes = [integer(left.rows), integer(right.columns), integer(left.columns)]
        given = [*(constant(f"i8 {ord(c)}") for c in turned), *sizes, one, places[0], integer(left.step)]
        given += [places[1], integer(right.step), zero, places[2], integer(result.step)]
        name = f"autodiff_{letter}gemm"
    module.declared.add(f"declare void @{name}({', '.join(['ptr'] * len(given))})")
    b.put(f"call void @{name}({', '.join(f'ptr {x}' for x in given)})")
    for i, n in reversed(ends):
        b.put(f"br label %head{i}.end")
        b.label(f"head{i}.end")
        b.put(f"%n{i} = add i64 %i{i}, 1")
        over = b(f"icmp eq i64 %n{i}, {n}")
        b.put(f"br i1 {over}, label %after{i}, label %head{i}")
        b.label(f"after{i}")
    entry = []
    for text, name in stored.items():
        entry += [f"  {name} = alloca {text.split()[0]}", f"  store {text}, ptr {name}"]
    head = "(ptr %left, ptr %right, ptr %result) #1 {"
    return module.shared("product", "\n".join([head, "entry:", *entry, *b.lines, "  ret void", "}"]))
