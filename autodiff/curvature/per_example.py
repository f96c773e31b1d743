"""The gradient of each example of a batch, from one recorded graph.

Where the rows of all results belong to the examples, one reverse pass gives every gradient: its cotangents are a batch,
of which an example is one row. That they do is tested, by a pass that weights the examples at random: it gives the
same weighted sum of the gradients only where no row has to do with another example's. Where they do not, as in batch
norm, every example is pulled back through the whole graph. Order: the functions, graphs of rows, the test.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..backward import reachable
from ..batching.batch import Batch, Level, PerformanceWarning, quiet, spread_in
from ..batching.examples import batched
from ..device_arrays import ARRAYS
from ..devices import as_numpy, place_of, put
from ..leaving import user_level
from ..mode import mode
from ..primitive import new_node
from ..tensor import Array, Tensor, plain, variable
from ..transforms.functional import ROOM
from .recorded import Parts, Pullback, Together, checked_parameters, evaluated, recorded_or_function


def per_example_gradients(
    output: Tensor | Callable[[], Any], loss: Callable[..., Any], params: Tensor | Iterable[Tensor], *,
    chunk: int | None = None,
) -> Any:  # fmt: skip
    """The gradient that each example of a batch contributes: with zₙ the output's row n and L the loss,

        gₙ = (∂zₙ/∂w)ᵀ ∂L/∂zₙ

    They add up to the gradient of the loss. Of a loss that adds up or lists the losses of the examples
    (``reduction="sum"`` or ``"none"``), gₙ is the gradient of example n's; of their mean, that divided by how many.

    Args:
        output: a recorded Tensor of shape (examples, …), or a function of no arguments that returns one.
        loss: a function of the output that returns a Tensor: one number, or one for each example.
        params: a parameter or several.
        chunk: how many examples are pulled back together, where that is to save memory; all by default.

    Returns:
        For each parameter an array of shape (examples, *its shape), in a list (for one Tensor the array alone).

    Raises:
        TypeError, ValueError, RuntimeError: output, loss or params are not what they should be.

    One reverse pass, if no example has to do with another, as in most networks; else one for each example, with a
    `PerformanceWarning`.

    >>> w = Tensor([[1.0], [2.0]], requires_grad=True)
    >>> x = np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> per_example_gradients(lambda: x @ w, lambda z: (z**2).sum(), w)[..., 0]
    array([[2., 0.],
           [6., 6.]])
    """
    where = "per_example_gradients"
    given = [params] if isinstance(params, Tensor) else params
    output, d, wanted = _prepared(where, output, loss, given)
    step = _step(where, chunk, len(d))
    found: list[Array | None] = [None] * len(wanted)
    for piece, parts in _gradients(where, output, d, wanted, step):
        for j, (p, part) in enumerate(zip(wanted, parts)):
            part = part.formed() if isinstance(part, _Outer) else part
            array = found[j]
            fits = part is not None and len(part) == len(d) and part.flags.owndata and part.dtype == p.dtype
            if array is None and fits:
                found[j] = part
                continue
            if array is None:
                array = found[j] = np.empty((len(d), *p.shape), p.dtype)
            array[piece] = 0 if part is None else part
    whole = [np.zeros((0, *p.shape), p.dtype) if array is None else array for array, p in zip(found, wanted)]
    return whole[0] if isinstance(params, Tensor) else whole


def per_example_norms(
    output: Tensor | Callable[[], Any], loss: Callable[..., Any], params: Tensor | Iterable[Tensor], *,
    chunk: int | None = None,
) -> Array:  # fmt: skip
    """The Euclidean norms of `per_example_gradients` over all parameters together, which are not formed where a matrix
    is met by rows x: with δ their cotangents, the squared norm of Σ x δᵀ over an example's rows is
    Σ (xₛ · xₜ)(δₛ · δₜ), and ‖x‖² ‖δ‖² for one row.

    Args, Raises: as `per_example_gradients`.

    Returns:
        an array of shape (examples,).

    Source: Goodfellow, "Efficient per-example gradient computations", 2015.

    >>> w = Tensor([[1.0], [2.0]], requires_grad=True)
    >>> per_example_norms(lambda: np.array([[1.0, 0.0], [3.0, -4.0]]) @ w, lambda z: 0.5 * (z**2).sum(), w)
    array([ 1., 25.])
    """
    where = "per_example_norms"
    output, d, wanted = _prepared(where, output, loss, [params] if isinstance(params, Tensor) else params)
    squares = np.zeros(len(d), np.result_type(np.float32, *[p.dtype for p in wanted]))
    for piece, parts in _gradients(where, output, d, wanted, _step(where, chunk, len(d))):
        for part in parts:
            if isinstance(part, _Outer):
                squares[piece] += part.squared_norms()
            elif part is not None:
                rows = part.reshape(len(part), -1)
                squares[piece] += np.einsum("nk,nk->n", rows, rows)
    return np.sqrt(squares)


def sums_of_squares(where: str, output: Tensor, d: Array, params: list[Tensor], weights: Array | None = None) -> Parts:
    """Σₙ wₙ gₙ² for each parameter, entry by entry, where gₙ is what the example n contributes to the derivative of a
    recorded output along the cotangents d, and wₙ is 1 by default."""
    met = _meetings(output, params)
    loose = sum(p.size for p in params if p._number not in met)
    found: list[Array | None] = [None] * len(params)
    for piece, parts in _gradients(where, output, d, params, max(ROOM // max(loose, 1), 1)):
        w = None if weights is None else weights[piece]
        for j, part in enumerate(parts):
            if part is not None:
                square = part.squares(w) if isinstance(part, _Outer) else _squares(part, w)
                old = found[j]
                found[j] = square if old is None else old + square
    return found


def _squares(rows: Array, weights: Array | None) -> Array:
    square = rows * rows
    if weights is None:
        return np.asarray(square.sum(axis=0))
    return np.asarray(np.tensordot(weights.astype(square.dtype, copy=False), square, 1))


def _prepared(where: str, output: Any, loss: Any, params: Iterable[Tensor]) -> tuple[Tensor, Array, list[Tensor]]:
    """The recorded output, the loss's derivative by it, and the parameters."""
    wanted = checked_parameters(where, params)
    if isinstance(loss, Tensor) or not callable(loss):
        raise TypeError(f"{where}: loss must be a function of the output, not {type(loss).__name__}")
    z = evaluated(where, "output", recorded_or_function(where, "output", output), ())
    if not z.ndim:
        raise ValueError(f"{where}: the output has shape (); it needs an axis of examples in front")
    return z, by_output(where, z, loss), wanted


def by_output(where: str, z: Tensor, loss: Callable[..., Any]) -> Array:
    """The derivative of a loss, one number or one for each example, by the output z of which it is a function."""
    x = variable(z._ndarray)
    y = evaluated(where, "loss", loss, (x,))
    if y.size != 1 and y.shape[:1] != z.shape[:1]:
        raise ValueError(
            f"{where}: the loss has shape {y.shape}; it must be one number, or one for each of the {len(z)} examples"
        )
    (d,) = Pullback([y], [x])([np.ones(y.shape, y.dtype)])
    return np.zeros(z.shape, z.dtype) if d is None else as_numpy(d)


def _step(where: str, chunk: Any, count: int) -> int:
    if chunk is None:
        return max(count, 1)
    if isinstance(chunk, bool) or not isinstance(chunk, (int, np.integer)) or chunk < 1:
        raise ValueError(f"{where}: chunk must be a whole number from 1, not {chunk!r}")
    return int(chunk)


def _gradients(
    where: str, output: Tensor, d: Array, params: list[Tensor], step: int
) -> Iterator[tuple[slice, Sequence[Any]]]:
    """The gradients of the examples, piece by piece, some as `_Outer`, None for zeros."""
    pieces = [slice(i, min(i + step, len(d))) for i in range(0, len(d), step)]
    if not pieces:
        return
    pull = Pullback([output], params)
    done = 0
    if isinstance(mode.get(), bool) and not pull.looked_at:
        met = _meetings(output, params)
        test = _Test(output, d, params, met)
        for piece in pieces:
            parts = _by_rows(output, d[piece], params, piece, met)
            if parts is None or not test.passed(piece, parts):
                break
            yield piece, parts
            done += 1
        else:
            return
    warnings.warn(
        f"{where}: every example is pulled back through the whole graph, {len(d)} times, because a result's rows do "
        f"not belong to the examples alone (batch norm that trains, a reshape of the first axis), or cannot be told to",
        PerformanceWarning,
        stacklevel=user_level(),
    )
    together = Together()
    for piece in pieces[done:]:
        seeds = np.zeros((piece.stop - piece.start, *d.shape), d.dtype)
        for i in range(len(seeds)):
            seeds[i, piece.start + i] = d[piece.start + i]
        for part, found in together([output], pull, [seeds]):
            yield slice(piece.start + part.start, piece.start + part.stop), found


# Graphs of rows


class _Outer:
    """The cotangents Σ x δᵀ of a matrix (or their transposes), for rows x and δ of shapes (examples, rows, m) and
    (examples, rows, n)."""

    def __init__(self, x: Array, delta: Array, transposed: bool) -> None:
        count = len(x)
        self.x, self.delta = x.reshape(count, -1, x.shape[-1]), delta.reshape(count, -1, delta.shape[-1])
        self.transposed = transposed

    def formed(self) -> Array:
        a, b = (self.delta, self.x) if self.transposed else (self.x, self.delta)
        return a.swapaxes(1, 2) * b if a.shape[1] == 1 else a.swapaxes(1, 2) @ b

    def squares(self, weights: Array | None) -> Array:
        """Of the sum over the examples, weighted, of the squares."""
        a, b = (self.delta, self.x) if self.transposed else (self.x, self.delta)
        if a.shape[1] == 1:
            a, b = a[:, 0], b[:, 0]
            square = b * b if weights is None else b * b * weights[:, None].astype(b.dtype, copy=False)
            return np.asarray((a * a).T @ square)
        room = max(ROOM // max(a.shape[2] * b.shape[2], 1), 1)
        total = np.zeros((a.shape[2], b.shape[2]), np.result_type(a, b))
        for i in range(0, len(a), room):
            formed = a[i : i + room].swapaxes(1, 2) @ b[i : i + room]
            total += _squares(formed, None if weights is None else weights[i : i + room])
        return total

    def squared_norms(self) -> Array:
        x, delta = self.x, self.delta
        rows, m, n = x.shape[1], x.shape[2], delta.shape[2]
        if rows == 1:
            return np.einsum("nti,nti->n", x, x) * np.einsum("nto,nto->n", delta, delta)
        if rows * (m + n) > m * n:
            return np.einsum("nio,nio->n", *[self.formed()] * 2)
        return np.einsum("nst,nst->n", x @ x.swapaxes(1, 2), delta @ delta.swapaxes(1, 2))


Meetings = dict[int, tuple[Tensor, Array, bool]]
"""By the number of a matrix that rows are multiplied by at one node alone: the node, the rows, whether by its
transpose."""


_PLAIN = {"...i,io->...o": False, "...i,oi->...o": True}
"""How rows meet a matrix, and whether by its transpose."""


def _meetings(output: Tensor, params: list[Tensor]) -> Meetings:
    nodes, _ = reachable([output]) if output._requires_grad else ({}, {})
    uses: dict[int, int] = {}
    for node in nodes.values():
        for x in node._inputs:
            if isinstance(x, Tensor):
                uses[x._number] = uses.get(x._number, 0) + 1
    ours = {p._number for p in params if p.ndim == 2}
    found: Meetings = {}
    for node in nodes.values():
        if node._primitive.multiplies is None or ours.isdisjoint([getattr(x, "_number", 0) for x in node._inputs]):
            continue
        for p, x, how, *_ in node._primitive.multiplies(*node._inputs, **node._params or {}):
            if how in _PLAIN and isinstance(p, Tensor) and p._number in ours and uses[p._number] == 1:
                rows = plain(x)
                if rows.ndim >= 2 and len(rows) == len(node) == len(output):
                    found[p._number] = node, rows, _PLAIN[how]
    return found


def _by_rows(output: Tensor, d: Array, params: list[Tensor], piece: slice, met: Meetings) -> Sequence[Any] | None:
    """The gradients of some examples from one pass, None where a rule does not take an example as one row."""
    with batched(len(d)) as level:
        token = quiet.set(True)
        try:
            fresh = _copied(output, params, level, piece)
            wanted = [fresh[met[n][0]._number if n in met else n] for n in (p._number for p in params)]
            seeds = Batch(level, put(d[:, None], place_of(output._ndarray)))
            found = Pullback([fresh[output._number]], wanted)([seeds])
            parts = [None if y is None else as_numpy(spread_in(y, level)) for y in found]
        except Exception:  # a rule fails on rows in ways of its own
            return None
        finally:
            quiet.reset(token)
    return [
        _Outer(as_numpy(met[p._number][1][piece]), y, met[p._number][2]) if p._number in met and y is not None else y
        for p, y in zip(params, parts)
    ]


def _copied(output: Tensor, params: list[Tensor], level: Level, piece: slice) -> dict[int, Tensor]:
    """The recorded graph up to the parameters, by the numbers of its nodes, with a batch of rows in the place of every
    array that has one for each example. (An option that tells what an array is like says by `of_row(count)` what one of
    so many rows is like.)"""
    fresh = {p._number: variable(p._ndarray) for p in params}
    nodes, _ = reachable([output])
    whole = len(output)

    def rows(array: Any) -> Any:
        return Batch(level, array[piece, None])

    def of_row(option: Any) -> Any:
        if isinstance(option, ARRAYS):
            return rows(option) if option.ndim and len(option) == whole else option
        return option.of_row(whole) if hasattr(option, "of_row") else option

    def has_rows(array: Any, y: Any) -> bool:
        return isinstance(array, ARRAYS) and array.ndim == y.ndim > 0 and len(array) == len(y) == whole

    for number in sorted(nodes):
        node = nodes[number]
        if number in fresh:
            continue
        y = node._ndarray
        inputs = []
        for x in node._inputs:
            copy = fresh.get(x._number) if isinstance(x, Tensor) else None
            if copy is None:
                array = x._ndarray if isinstance(x, Tensor) else x
                copy = rows(array) if has_rows(array, y) else array
            inputs.append(copy)
        options = {key: of_row(v) for key, v in (node._params or {}).items()}
        many = any(isinstance(x._ndarray if isinstance(x, Tensor) else x, Batch) for x in (*inputs, *options.values()))
        fresh[number] = new_node(rows(y) if many else y, node._primitive, tuple(inputs), options or None)
    return fresh


# The test


class _Test:
    """Whether gradients of rows are those of examples: where the rows of the output are weighted at random, a pass
    through the whole graph gives gradients with the same weights. (If one were another, the weighted sum would be the
    same for a weighting of probability 0 alone.) It looks at the cotangents of the rows that meet a matrix, and at some
    entries of every other parameter."""

    def __init__(self, output: Tensor, d: Array, params: list[Tensor], met: Meetings) -> None:
        draw = np.random.default_rng(0)
        self.pull = Pullback([output], [met[p._number][0] if p._number in met else p for p in params])
        self.d = d
        self.r = (draw.uniform(0.5, 2.0, len(d)) * draw.choice([-1, 1], len(d))).astype(d.dtype)
        self.places = [draw.integers(0, max(p.size, 1), 256) if p.size > 256 else np.arange(p.size) for p in params]

    def passed(self, piece: slice, parts: Sequence[Any]) -> bool:
        r = np.zeros_like(self.r)
        r[piece] = self.r[piece]
        for part, whole, places in zip(parts, self.pull([_weighted(r, self.d)]), self.places):
            if part is None or whole is None:
                if part is not whole:
                    return False
                continue
            whole = as_numpy(whole)
            if isinstance(part, _Outer):
                found = np.zeros_like(whole)
                found[piece] = _weighted(r[piece], part.delta).reshape(whole[piece].shape)
                scale = np.abs(whole).max(initial=0)
            else:
                chosen, whole = part.reshape(len(part), -1)[:, places], whole.reshape(-1)[places]
                found, scale = r[piece] @ chosen, (abs(r[piece]) @ abs(chosen)).max(initial=0)
            near = np.abs(found - whole) <= math.sqrt(np.finfo(whole.dtype).eps) * scale
            if not near.all():  # also where it is NaN
                return False
        return True


def _weighted(r: Array, d: Array) -> Array:
    return d * r.reshape(-1, *(1,) * (d.ndim - 1))
