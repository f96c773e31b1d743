"""Products of arrays: matmul and dot with every rank, and what is built of them, up to einsum.

Three are primitives, matmul, tensordot and einsum (and cross, for its picture); each rule is again a product of the
same family, which is why they close to any order. The others are named ways to call them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import index
from string import ascii_letters
from typing import Any

import numpy as np

from ..backward import unbroadcast
from ..primitive import Multiplication, Sample, as_tensor, declare, describe, internal, polymorphic
from ..protocols import REDUCTIONS, UFUNCS, implements, optioned
from ..tensor import Tensor
from .complex import conj
from .elementwise import multiply, subtract
from .guards import raw
from .precision import in_single
from .samples import draw
from .shape import concatenate, moveaxis

__all__ = [
    "cross", "dot", "einsum", "inner", "kron", "matmul", "matvec", "outer", "tensordot", "vdot", "vecdot", "vecmat",
]  # fmt: skip


def _tensors(name: str, *values: Any) -> tuple[Any, ...]:
    return tuple([as_tensor(v, name) for v in values])


# matmul


def _misfit(name: str, a: Any, b: Any, error: Exception) -> Exception:
    """What is wrong with two inputs whose last axis and second-to-last (or only) axis should be contracted."""
    for x in (a, b):
        if getattr(x, "ndim", 0) == 0:
            return ValueError(
                f"{name}: inputs of {describe(a)} and {describe(b)}; each needs at least one axis; scale with * instead"
            )
    rows = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != rows:
        return ValueError(
            f"{name}: shapes {a.shape} and {b.shape} do not fit: the last length of the first, {a.shape[-1]}, must "
            f"equal the {'second-to-last' if b.ndim > 1 else 'only'} length of the second, {rows} (is a .mT missing?)"
        )
    if isinstance(error, ValueError):
        return ValueError(
            f"{name}: shapes {a.shape} and {b.shape} do not fit: the axes before the last two are broadcast, so each "
            f"pair of their lengths must be equal or one of them 1"
        )
    return error


def _product(a: Any, b: Any) -> Any:
    """``a @ b``; for small matrices `dot` reaches the same BLAS call in half the time."""
    try:
        return np.dot(a, b) if a.ndim == 2 and b.ndim == 2 else a @ b
    except Exception as error:
        raise _misfit("matmul", a, b, error) from None


# Of two matrices a and b there are a b, a bᵀ and aᵀ b, and the derivatives of each are among the three. With them a
# double backward has no transposed matrices in its graph, whose cotangents would come in column-major order (adding one
# to a row-major cotangent takes longer than a product).


@internal
def times(a: Any, b: Any) -> Any:
    """a b of two matrices, arrays or Tensors."""
    return matmul(a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else np.dot(a, b)


@internal
def times_transposed(a: Any, b: Any) -> Any:
    """a bᵀ of two matrices, arrays or Tensors."""
    return _times_transposed(a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else np.dot(a, b.T)


@internal
def transposed_times(a: Any, b: Any) -> Any:
    """aᵀ b of two matrices, arrays or Tensors."""
    return _transposed_times(a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else np.dot(a.T, b)


_times_transposed = declare(
    "matmul_transposed", lambda a, b: np.dot(a, b.T),
    [lambda g, y, a, b: times(g, b), lambda g, y, a, b: transposed_times(g, a)],
    arity=2, jvps="multilinear", complex=True, formula="{0} @ {1}ᵀ", derivatives=["{1}", "{0}"],
    samples=lambda rng: [Sample((draw(rng, s), draw(rng, t))) for s, t in [((2, 3), (4, 3)), ((0, 3), (2, 3))]],
)  # fmt: skip

_transposed_times = declare(
    "transposed_matmul", lambda a, b: np.dot(a.T, b),
    [lambda g, y, a, b: times_transposed(b, g), lambda g, y, a, b: times(a, g)],
    arity=2, jvps="multilinear", complex=True, formula="{0}ᵀ @ {1}", derivatives=["{1}", "{0}"],
    samples=lambda rng: [Sample((draw(rng, s), draw(rng, t))) for s, t in [((3, 2), (3, 4)), ((3, 0), (3, 2))]],
)  # fmt: skip


def _matmul_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    """g bᵀ, a vector counting as one row (a) or one column (b), summed over broadcast batch axes."""
    if b.ndim == 2 and a.ndim == 2:
        return times_transposed(g, b)
    if b.ndim == 1:
        d = g[..., None] * b
    elif a.ndim == 1:
        d = (g[..., None, :] @ b.swapaxes(-1, -2))[..., 0, :]
    else:
        d = g @ b.swapaxes(-1, -2)
    return unbroadcast(d, a.shape)


def _matmul_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    """aᵀ g, likewise."""
    if a.ndim == 2 and b.ndim == 2:
        return transposed_times(a, g)
    if a.ndim == 1:
        d = a[:, None] * g[..., None, :] if b.ndim > 1 else a * g
    elif b.ndim == 1:
        d = (a.swapaxes(-1, -2) @ g[..., None])[..., 0]
    else:
        d = a.swapaxes(-1, -2) @ g
    return unbroadcast(d, b.shape)


def _multiplications(a: Any, b: Any) -> list[Multiplication]:
    """Rows times a matrix (or vector) on the right, and a matrix (or vector) on the left times columns."""
    found = []
    if b.ndim < 3:
        found.append(Multiplication(b, a, "...i,io->...o" if b.ndim == 2 else "...i,i->..."))
    if a.ndim == 2:
        found.append(Multiplication(a, b, "...in,oi->...on" if b.ndim > 1 else "i,oi->o"))
    elif a.ndim == 1 < b.ndim:
        found.append(Multiplication(a, b, "...in,i->...n"))
    return found


matmul = declare(
    "matmul", _product, [_matmul_left, _matmul_right], arity=2, numpy=np.matmul, multiplies=_multiplications,
    jvps="multilinear", complex=True, formula="{0} @ {1}", derivatives=["{1}ᵀ", "{0}ᵀ"],
    samples=lambda rng: [Sample((draw(rng, s), draw(rng, t))) for s, t in [
        ((2, 3), (3, 2)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 2, 3), (3, 2)), ((2, 1, 2, 3), (4, 3, 1)),
        ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((0, 3), (3, 2)), ((2, 0), (0, 3))]],
)  # fmt: skip


@implements(np.dot)
def dot(a: Any, b: Any) -> Tensor:
    """The product of `numpy.dot`, for every rank: scaling where one is a number, else the sum over the last axis of
    `a` and the second-to-last (or only) axis of `b`.

    >>> dot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.])
    """
    a, b = _tensors("dot", a, b)  # a Python number too: not weak here, float32 times 2.0 is float64
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise _misfit("dot", a, b, ValueError())
    if b.ndim == 1 or a.ndim == 1 or a.ndim == b.ndim == 2:
        return matmul(a, b)
    return tensordot(a, b, (-1, -2))


@implements(np.vdot)
def vdot(a: Any, b: Any) -> Tensor:
    """The sum of the products of all elements of two tensors of equal size, in order, those of the first conjugated,
    as `numpy.vdot`."""
    a, b = _tensors("vdot", a, b)
    if a.size != b.size:
        raise ValueError(f"vdot: shapes {a.shape} and {b.shape} must have equally many elements")
    return matmul(conj(a.ravel()), b.ravel())


@implements(np.inner)
def inner(a: Any, b: Any) -> Tensor:
    """The sum of products over the last axis of both, as `numpy.inner`; scaling where one is a number."""
    a, b = _tensors("inner", a, b)  # a Python number too: not weak here, float32 times 2.0 is float64
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"inner: shapes {a.shape} and {b.shape} do not fit: their last lengths must be equal")
    return matmul(a, b) if b.ndim == 1 else tensordot(a, b, (-1, -1))


@implements(np.outer)
def outer(a: Any, b: Any) -> Tensor:
    """All products of an element of `a` and one of `b`, both flattened, as `numpy.outer`: shape (a.size, b.size)."""
    a, b = _tensors("outer", a, b)
    return multiply(a.reshape(-1, 1), b.reshape(1, -1))


@implements(np.kron)
def kron(a: Any, b: Any) -> Tensor:
    """The Kronecker product, as `numpy.kron`: every element of `a` times the whole of `b`.

    >>> kron([1.0, 10.0], [1.0, 2.0])
    Tensor([ 1.,  2., 10., 20.])
    """
    a, b = _tensors("kron", a, b)
    n = max(a.ndim, b.ndim)
    s, t = (1,) * (n - a.ndim) + a.shape, (1,) * (n - b.ndim) + b.shape
    spread_a = a.reshape(tuple([k for m in s for k in (m, 1)]))
    spread_b = b.reshape(tuple([k for m in t for k in (1, m)]))
    return multiply(spread_a, spread_b).reshape(tuple([k * m for k, m in zip(s, t)]))


def _outer_method(operation: Any) -> Any:
    def outer_method(a: Any, b: Any) -> Any:
        a, b = _tensors(operation.__name__ + ".outer", a, b)
        return operation(a.reshape(a.shape + (1,) * b.ndim), b)

    return outer_method


for _ufunc in UFUNCS:
    if _ufunc.nin == 2 and _ufunc.signature is None:
        REDUCTIONS[_ufunc, "outer"] = _outer_method(UFUNCS[_ufunc])


# tensordot


def _free(ndim: int, axes: tuple[int, ...]) -> list[int]:
    return [i for i in range(ndim) if i not in axes]


def _arranged(d: Any, order: list[int]) -> Any:
    """`d`, whose axis k belongs at place order[k], with its axes in place."""
    if order == sorted(order):
        return d
    return np.transpose(d, tuple([order.index(i) for i in range(len(order))]))


def _tensordot_left(g: Any, y: Any, a: Any, b: Any, axes: tuple[tuple[int, ...], tuple[int, ...]]) -> Any:
    """Contract g with b over b's free axes: there remain a's free axes, then the contracted ones in b's order."""
    ours, theirs = axes
    free = _free(b.ndim, theirs)
    d = np.tensordot(g, b, (tuple(range(g.ndim - len(free), g.ndim)), tuple(free)))
    return _arranged(d, _free(a.ndim, ours) + [i for _, i in sorted(zip(theirs, ours))])


def _tensordot_right(g: Any, y: Any, a: Any, b: Any, axes: tuple[tuple[int, ...], tuple[int, ...]]) -> Any:
    """Contract a with g over a's free axes: there remain the contracted ones in a's order, then b's free axes."""
    theirs, ours = axes
    free = _free(a.ndim, theirs)
    d = np.tensordot(a, g, (tuple(free), tuple(range(len(free)))))
    return _arranged(d, [i for _, i in sorted(zip(theirs, ours))] + _free(b.ndim, ours))


def _tensordot_multiplications(a: Any, b: Any, axes: tuple[tuple[int, ...], tuple[int, ...]]) -> list[Multiplication]:
    ours, theirs = axes
    left = list(ascii_letters[: a.ndim])
    met = {j: left[i] for i, j in zip(ours, theirs)}
    right = [met.get(j) or ascii_letters[a.ndim + j] for j in range(b.ndim)]
    output = [left[i] for i in _free(a.ndim, ours)] + [right[j] for j in _free(b.ndim, theirs)]
    return _of_two([a, b], "".join([*left, ",", *right, "->", *output]))


def _of_two(operands: Sequence[Any], subscripts: str, **_: Any) -> list[Multiplication]:
    """Of a sum of products of two, each as the weight."""
    inputs, output = subscripts.split("->")
    if len(operands) != 2:
        return []
    (a, b), (left, right) = operands, inputs.split(",")
    return [Multiplication(b, a, f"{left},{right}->{output}"), Multiplication(a, b, f"{right},{left}->{output}")]


_tensordot = declare(
    "tensordot", np.tensordot, [_tensordot_left, _tensordot_right], multiplies=_tensordot_multiplications,
    jvps="multilinear", complex=True, formula="Σ {0} {1}", derivatives=["{1}", "{0}"],
    samples=lambda rng: [Sample((draw(rng, s), draw(rng, t)), {"axes": axes}) for s, t, axes in [
        ((2, 3), (3, 2), ((1,), (0,))), ((2, 3, 2), (2, 4, 3), ((1, 0), (2, 0))), ((3,), (2,), ((), ())),
        ((), (), ((), ())), ((2, 3), (3, 2), ((0, 1), (1, 0))), ((0, 2), (2, 3), ((1,), (0,))),
        ((2, 0), (0,), ((1,), (0,)))]],
)  # fmt: skip


def _axis_list(name: str, axes: Any, ndim: int) -> tuple[int, ...]:
    found = []
    for axis in axes if isinstance(axes, (tuple, list, np.ndarray)) else (axes,):
        i = index(axis)
        if not -ndim <= i < ndim:
            raise np.exceptions.AxisError(f"{name}: axis {i} is out of range for an input with {ndim} axes")
        found.append(i % ndim)
    if len(set(found)) != len(found):
        raise ValueError(f"{name}: an axis is named twice in {axes}")
    return tuple(found)


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    """The sum of products over pairs of axes, as `numpy.tensordot`.

    Args:
        a, b: tensors of any rank.
        axes: a number n, the last n axes of `a` with the first n of `b`; or two axes, or two sequences of axes, one of
            `a` and one of `b`. The result has a's other axes, then b's.

    Raises:
        ValueError: the lengths of a pair differ, or the two sequences do.

    >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 3, 5)), axes=([1, 2], [1, 0])).shape
    (2, 5)
    """
    a, b = _tensors("tensordot", a, b)
    if isinstance(axes, (tuple, list, np.ndarray)):
        if len(axes) != 2:
            raise ValueError(f"tensordot: axes= takes a number, or two axes, or two sequences of axes, not {axes!r}")
        ours, theirs = _axis_list("tensordot", axes[0], a.ndim), _axis_list("tensordot", axes[1], b.ndim)
    else:
        n = index(axes)
        if not 0 <= n <= min(a.ndim, b.ndim):
            raise ValueError(f"tensordot: axes={n} for shapes {a.shape} and {b.shape}; each needs that many axes")
        ours, theirs = tuple(range(a.ndim - n, a.ndim)), tuple(range(n))
    if [a.shape[i] for i in ours] != [b.shape[j] for j in theirs]:
        raise ValueError(
            f"tensordot: shapes {a.shape} and {b.shape} do not fit along axes {ours} and {theirs}: there must be as "
            f"many of one as of the other, and the lengths of each pair must be equal"
        )
    return _tensordot(a, b, axes=(ours, theirs))


# einsum


@lru_cache(maxsize=1024)
def _normalised(subscripts: str, shapes: tuple[tuple[int, ...], ...], optimized: bool) -> str:
    """The expression with an explicit output and letters in place of every ellipsis, checked against the shapes."""

    def wrong(reason: str) -> ValueError:
        return ValueError(f"einsum: {subscripts!r} with shapes {', '.join(map(str, shapes))}: {reason}")

    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    for text in (*terms, output):
        for c in text.replace("...", "", 1):
            if c not in ascii_letters:
                raise wrong(f"{c!r} is not understood; write letters, one '...' for each operand, ',' and one '->'")
    if len(terms) != len(shapes):
        raise wrong(f"the expression has {len(terms)} operands, but {len(shapes)} are given")
    extra = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes)]
    for i, (term, n) in enumerate(zip(terms, extra)):
        if n < 0 or (n > 0 and "..." not in term):
            raise wrong(
                f"operand {i} has {len(shapes[i])} axes, but {term!r} names {len(term.replace('...', ''))}"
                + (" ('...' stands for the others)" if n > 0 else "")
            )
    most = max(extra)
    unused = [c for c in ascii_letters if c not in subscripts]
    if most > len(unused):
        raise wrong("there are more axes than letters")
    dots = "".join(unused[:most])
    terms = [term.replace("...", dots[most - n :]) for term, n in zip(terms, extra)]
    every = "".join(terms)
    if arrow:
        if most and "..." not in output and not optimized:
            raise wrong(f"operands have {most} axes under '...', so the output needs '...' too")
        output = output.replace("...", dots)
    else:
        output = dots + "".join(sorted(c for c in set(every) - set(dots) if every.count(c) == 1))
    for c in output:
        if c not in every:
            raise wrong(f"label {c!r} of the output is in no operand")
        if output.count(c) > 1:
            raise wrong(f"label {c!r} is twice in the output")
    sizes: dict[str, int] = {}
    for i, (term, shape) in enumerate(zip(terms, shapes)):
        own: dict[str, int] = {}
        for c, n in zip(term, shape):
            if own.setdefault(c, n) != n:
                raise wrong(f"label {c!r} stands for lengths {own[c]} and {n} in operand {i}")
            if sizes.get(c, 1) != n and n != 1 and sizes.get(c, 1) != 1:
                raise wrong(f"label {c!r} stands for lengths {sizes[c]} and {n}; they must be equal, or one of them 1")
            sizes[c] = n if sizes.get(c, 1) == 1 else sizes[c]
    return ",".join(terms) + "->" + output


@lru_cache(maxsize=1024)
def _large(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> bool:
    """Whether looking for an order of pairwise products pays: NumPy's own loop visits every combination of labels."""
    if len(shapes) == 1:
        return False
    sizes: dict[str, int] = {}
    for term, shape in zip(subscripts.partition("->")[0].split(","), shapes):
        for c, n in zip(term, shape):
            sizes[c] = max(sizes.get(c, 1), n)
    return math.prod(sizes.values()) > (20_000 if len(shapes) == 2 else 5_000)


def _contract(*operands: Any, subscripts: str, optimize: Any = None) -> Any:
    if optimize is None:
        optimize = _large(subscripts, tuple([x.shape for x in operands]))
    return np.einsum(subscripts, *operands, optimize=optimize)


@lru_cache(maxsize=1024)
def _transposed(subscripts: str, i: int, shapes: tuple[tuple[int, ...], ...]) -> tuple[Any, ...]:
    """How the cotangent of operand i comes of that of the output: the contraction with the other operands; the shape
    of its result with an axis for each label of the operand, then with their lengths; and the expression that spreads
    a repeated label over its diagonal, with that label's lengths.

    Labels of length 1 in the operand were broadcast, so they are summed over; labels that only this operand has were
    summed over, so they are broadcast; a repeated label ('ii') read the diagonal, so it meets an identity matrix.
    """
    inputs, _, output = subscripts.partition("->")
    terms = inputs.split(",")
    own, others = terms[i], [output, *terms[:i], *terms[i + 1 :]]
    lengths = dict(zip(own, shapes[i]))
    elsewhere: dict[str, int] = {c: lengths[c] for c in output if c in lengths}
    for j, term in enumerate(terms):
        if j != i:
            for c, n in zip(term, shapes[j]):
                elsewhere[c] = n if elsewhere.get(c, 1) == 1 else elsewhere[c]
    kept = [c for c in lengths if c in elsewhere and lengths[c] != 1]
    contraction = ",".join(others) + "->" + "".join(kept)
    reached = tuple([elsewhere[c] if c in kept else 1 for c in lengths])
    full = tuple(lengths.values())
    if len(lengths) == len(own):
        return contraction, reached, full, None, ()
    fresh = iter([c for c in ascii_letters if c not in own])
    spread, deltas, seen = "", [], set()
    for c in own:
        label = c if c not in seen else next(fresh)
        if label is not c:
            deltas.append(c + label)
        seen.add(c)
        spread += label
    diagonal = ",".join(["".join(lengths), *deltas]) + "->" + spread
    return contraction, reached, full, diagonal, tuple([lengths[d[0]] for d in deltas])


def _einsum_rule(i: int, g: Any, y: Any, *operands: Any, subscripts: str, optimize: Any = None) -> Any:
    """The same sum with g in the operand's place, labels of output and operand exchanged."""
    contraction, reached, full, diagonal, sizes = _transposed(subscripts, i, tuple([x.shape for x in operands]))
    d = _contraction(g, *operands[:i], *operands[i + 1 :], subscripts=contraction)
    d = d if d.shape == reached else d.reshape(reached)
    d = d if d.shape == full else np.broadcast_to(d, full)
    if diagonal is None:
        return d
    return _contraction(d, *[np.eye(n, dtype=d.dtype, like=raw(d)) for n in sizes], subscripts=diagonal)


_CASES: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (3, 2)]), ("ij->ji", [(2, 3)]), ("ii->", [(3, 3)]), ("ii->i", [(3, 3)]), ("->", [()]),
    ("iij->j", [(2, 2, 3)]), ("iii->", [(2, 2, 2)]), ("ij->", [(2, 3)]), ("ij->i", [(2, 3)]), (",i->i", [(), (3,)]),
    ("i,j->", [(2,), (3,)]), ("i,i,i->i", [(3,), (1,), (3,)]), ("ij,jk,kl->li", [(2, 3), (3, 2), (2, 2)]),
    ("ii,ij->ij", [(2, 2), (1, 3)]), ("bij,bj->bi", [(1, 2, 3), (4, 3)]), ("ij,jk->ik", [(0, 2), (2, 3)]),
    ("ij,j->i", [(2, 0), (0,)]),
]  # fmt: skip

_einsum = declare(
    "einsum", in_single(_contract, together=True), each=_einsum_rule, jvps="multilinear", complex=True,
    multiplies=lambda *operands, **how: _of_two(operands, **how),
    formula="Σ {0} {1} …", derivatives=["Σ of the others"],
    samples=lambda rng: [Sample(tuple(draw(rng, s) for s in shapes), {"subscripts": text}) for text, shapes in _CASES],
)  # fmt: skip
_contraction = polymorphic(_einsum)


def _lettered(operands: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The form ``einsum(a, [0, 1], b, [1, 2], [0, 2])`` as a string and the operands alone."""

    def term(labels: Any) -> str:
        if not isinstance(labels, (list, tuple)):
            raise TypeError(f"einsum: after each operand comes the list of its labels, not {labels!r}")
        text = ""
        for label in labels:
            if label is Ellipsis:
                text += "..."
                continue
            try:
                text += ordered[index(label)] if index(label) >= 0 else ordered[52]
            except (TypeError, IndexError):
                raise ValueError(f"einsum: label {label!r} in {labels!r}; it is an integer below 52, or ...") from None
        return text

    ordered = sorted(ascii_letters)
    n = len(operands) // 2
    inputs = ",".join(term(labels) for labels in operands[1 : 2 * n : 2])
    return inputs + ("->" + term(operands[-1]) if len(operands) % 2 else ""), operands[0 : 2 * n : 2]


@implements(np.einsum)
def einsum(
    *operands: Any, out: None = None, optimize: Any = False, dtype: None = None, order: str = "K", casting: str = "safe"
) -> Tensor:
    """Einstein's summation over any number of operands, as `numpy.einsum`.

    Args:
        operands: the expression, then the tensors; or each tensor followed by the list of its labels (integers), then
            optionally the output's list. A letter stands for an axis; one that is not in the output is summed over; a
            letter repeated within an operand takes the diagonal; ``...`` stands for axes that are broadcast. Without
            ``->`` the output has the letters that occur once, in alphabetical order.
        optimize: as NumPy's. Where it is False, large sums are still done as pairwise products.

    Raises:
        ValueError: unknown or repeated letters in the output, a wrong number of axes or operands, unequal lengths.

    >>> einsum("ii", [[1.0, 2.0], [3.0, 4.0]])
    Tensor(5.)
    >>> einsum("...ij,...j->...i", np.ones((5, 2, 3)), np.ones(3)).shape
    (5, 2)
    """
    for option, value in {"out": out, "dtype": dtype}.items():
        if value is not None:
            raise TypeError(f"einsum: {option}= is not supported on Tensors; use t.astype(dtype) before")
    if not operands:
        raise ValueError("einsum: needs an expression and at least one operand")
    subscripts, values = (operands[0], operands[1:]) if isinstance(operands[0], str) else _lettered(operands)
    if not values:
        raise ValueError(f"einsum: {subscripts!r} without operands; give one for each term")
    numbers = [type(v) in (int, float, bool) for v in values]
    if any(numbers):  # a Python number is weak
        arrays = [v if number else _tensors("einsum", v)[0]._ndarray for v, number in zip(values, numbers)]
        kind = np.result_type(*arrays)
        values = tuple(np.asarray(v, kind) if number else v for v, number in zip(values, numbers))
    tensors = _tensors("einsum", *values)
    explicit = _normalised(subscripts, tuple([t.shape for t in tensors]), bool(optimize))
    if optimize is False:
        return _einsum(*tensors, subscripts=explicit)
    return _einsum(*tensors, subscripts=explicit, optimize=optimize)


# Products of vectors along an axis


def _cross_forward(a: Any, b: Any) -> Any:
    a0, a1, a2, b0, b1, b2 = a[..., 0], a[..., 1], a[..., 2], b[..., 0], b[..., 1], b[..., 2]
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=-1)


_cross = declare(
    "cross", _cross_forward,
    [lambda g, y, a, b: unbroadcast(_cross_of(b, g), a.shape),
     lambda g, y, a, b: unbroadcast(_cross_of(g, a), b.shape)],
    arity=2, jvps="multilinear", complex=True, formula="{0} × {1}", derivatives=["{1} ×", "× {0}"],
    samples=lambda rng: [Sample((draw(rng, s), draw(rng, t)))
                         for s, t in [((3,), (3,)), ((2, 3), (3,)), ((2, 1, 3), (4, 3)), ((0, 3), (3,))]],
)  # fmt: skip
_cross_of: Any = polymorphic(_cross)


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Tensor:
    """The cross product of vectors along an axis of each, as `numpy.cross`; the other axes are broadcast.

    Args:
        a, b: vectors of 3 components (or 2, the third then being 0; for two such, the result is the third component).
        axisa, axisb, axisc: the components' axis in `a`, in `b` and in the result.
        axis: stands for all three.

    Raises:
        ValueError: neither 2 nor 3 components, or other axes that cannot be broadcast.

    >>> cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    Tensor([0., 0., 1.])
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = _tensors("cross", a, b)
    met = f"cross: shapes {a.shape} and {b.shape}"
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"{met}: each needs an axis of 3 components")
    (axisa,), (axisb,) = _axis_list("cross", axisa, a.ndim), _axis_list("cross", axisb, b.ndim)
    n, m = a.shape[axisa], b.shape[axisb]
    if n not in (2, 3) or m not in (2, 3):
        raise ValueError(f"{met}: axes {axisa} and {axisb} have {n} and {m} components; they need 3 (or 2)")
    a, b = (x if i == x.ndim - 1 else moveaxis(x, i, -1) for x, i in ((a, axisa), (b, axisb)))
    try:
        ndim = len(np.broadcast_shapes(a.shape[:-1], b.shape[:-1])) + 1
    except ValueError:
        raise ValueError(f"{met}: the axes that hold no components cannot be broadcast against each other") from None
    if n == m == 2:
        return subtract(a[..., 0] * b[..., 1], a[..., 1] * b[..., 0])
    a, b = (
        x if x.shape[-1] == 3 else concatenate([x, np.zeros(x.shape[:-1] + (1,), x.dtype)], axis=-1) for x in (a, b)
    )
    (axisc,) = _axis_list("cross", axisc, ndim)
    c = _cross(a, b)
    return c if axisc == ndim - 1 else moveaxis(c, -1, axisc)


@optioned
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The dot product along an axis, x1 conjugated, the other axes broadcast, as `numpy.vecdot`.

    >>> vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.])
    """
    a, b = _tensors("vecdot", x1, x2)
    met = f"vecdot: shapes {a.shape} and {b.shape}"
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"{met}: each needs an axis to sum over")
    (i,), (j,) = _axis_list("vecdot", axis, a.ndim), _axis_list("vecdot", axis, b.ndim)
    if a.shape[i] != b.shape[j]:
        raise ValueError(f"{met}: the lengths along axis {axis} must be equal, not {a.shape[i]} and {b.shape[j]}")
    a, b = (x if k == x.ndim - 1 else moveaxis(x, k, -1) for x, k in ((a, i), (b, j)))
    return vdot(a, b) if a.ndim == 1 == b.ndim else einsum("...i,...i->...", conj(a), b)


def matvec(x1: Any, x2: Any, /) -> Tensor:
    """Matrices times vectors, both possibly in stacks that are broadcast, as `numpy.matvec`."""
    a, b = _tensors("matvec", x1, x2)
    if a.ndim < 2 or b.ndim < 1 or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"matvec: shapes {a.shape} and {b.shape} do not fit (..., m, n) and (..., n)")
    return einsum("...ij,...j->...i", a, b)


def vecmat(x1: Any, x2: Any, /) -> Tensor:
    """Vectors, conjugated, times matrices, both possibly in stacks that are broadcast, as `numpy.vecmat`."""
    a, b = _tensors("vecmat", x1, x2)
    if a.ndim < 1 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"vecmat: shapes {a.shape} and {b.shape} do not fit (..., n) and (..., n, m)")
    return einsum("...i,...ij->...j", conj(a), b)


for _name, _operation in {"vecdot": vecdot, "matvec": matvec, "vecmat": vecmat}.items():
    if hasattr(np, _name):  # NumPy 2.0, 2.2 and 2.2
        implements(getattr(np, _name))(_operation)
