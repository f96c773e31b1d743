"""Zero times infinity: which entries of a cotangent are zero whatever the values of what moves.

Where an infinite slope meets a cotangent of zero, the chain rule has 0 · ∞. That is 0 where the cotangent is 0
whatever values the variables have: not selected by a `where`, a mask, an index, a maximum, or multiplied by a constant
0. Else it is the plain product, NaN. Nobody looks before such a meeting: then a rule raises `Undecided`, and `changing`
finds out, by one pass from the outputs down to the node in question, which entries of its cotangent may change as the
variables move. It knows of an operation what its record says, the kind of its forward derivative (`Primitive.jvps`).

Order: the question and its answer, what moves, what a cotangent depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .devices import place_of, put
from .primitive import Primitive
from .tensor import Array, Tensor, is_foreign


class Undecided(Exception):
    """An infinite slope met a cotangent of zero in a rule, and it is not known whether that zero is there to stay."""


answer: ContextVar[Array | None] = ContextVar("autodiff_changing", default=None)
"""While a rule runs for the second time: which entries of its cotangent may change, booleans of its shape."""


@contextmanager
def answered(mask: Array | None) -> Iterator[None]:
    """While this is open, `answer` is known."""
    token = answer.set(mask)
    try:
        yield
    finally:
        answer.reset(token)


class Meetings:
    """Where in a reverse pass infinite slopes meet cotangents of zero: a reverse pass of its own, which follows the
    other down from question to question, and carries with each cotangent whether its entries may change as the
    variables move. One that is 0 and may not change belongs to a branch that was not taken.

    Args:
        seeds: the cotangents that the reverse pass began with, arrays or Tensors, by number.
        nodes: the results that the pass goes through, by number.
        known: which entries of the seeds may change, for seeds that are cotangents of another pass; others are the
            user's, constants unless they are Tensors that were computed. A boolean: that is not known.
    """

    def __init__(
        self, seeds: dict[int, Any], nodes: dict[int, Tensor], known: dict[int, Array] | bool | None = None
    ) -> None:
        self.nodes, self.known = nodes, known
        self.moving: dict[int, Array] = {}
        self.found: dict[int, tuple[Array, Array]] = {}
        self.watch: Any = None
        """What sums cotangents of examples where they share an input, below a batch."""
        self.coming = sorted(nodes)
        """Numbers of the nodes that it has not passed yet."""
        given = {} if known is None or isinstance(known, bool) else known
        for n, seed in seeds.items():
            g = _array(seed)
            self.found[n] = g, given[n] if n in given else self.moves(seed)

    def changing(self, node: Tensor) -> Array:
        """Which entries of the cotangent of a node may change: booleans of its shape. The nodes that are asked for are
        younger ones first.

        Raises:
            Undecided: it is not known which entries of the seeds may change.
        """
        if isinstance(self.known, bool):
            raise Undecided
        end, coming = node._number, self.coming
        with answered(np.array(True)), np.errstate(all="ignore"):  # rules on the way are asked of what may change
            while coming and coming[-1] > end:
                n = coming.pop()
                if n in self.found:
                    self._through(self.nodes[n])
        if _changed_by_hooks(node):
            return _filled(True, node)
        return self.found[end][1] if end in self.found else _filled(False, node)

    # What moves: the entries of a value that may change

    def moves(self, x: Any) -> Array:
        """Which entries of an input may change as the variables move: booleans of its shape."""
        if not isinstance(x, Tensor) or not x._requires_grad:
            return _filled(False, x)
        stack = [x]
        while stack:  # no recursion: graphs are deep
            node = stack[-1]
            if node._number in self.moving:
                stack.pop()
            elif node._primitive is None:
                self.moving[node._number] = _filled(True, node)
            else:
                missing = [
                    z
                    for z in node._inputs
                    if isinstance(z, Tensor) and z._requires_grad and z._number not in self.moving
                ]
                if missing:
                    stack += missing
                else:
                    self.moving[node._number] = self._moved(node)
        return self.moving[x._number]

    def _moved(self, node: Tensor) -> Array:
        record, inputs, params, y = node._primitive, node._inputs, node._params or {}, _array(node)
        masks = [self.moves(x) for x in inputs]
        kind = record.jvps
        arrays = _arrays(inputs)
        with np.errstate(all="ignore"):
            if kind == "elementwise":
                return _broadcast(masks, y)
            if kind == "piecewise":
                rules = record.vjps or record.rules(len(inputs))
                total = _filled(False, y)
                for mask, rule in zip(masks, rules):
                    if _any(mask) and rule is not None:
                        full = _broadcast([mask], y)
                        total = total | np.broadcast_to(rule(_some(full, y), y, *arrays, **params) != 0, y.shape)
                        total = total | (full & _kinks(record, arrays))
                return total
            if kind == "linear":
                return _array(record.forward(*[_some(m, x) for m, x in zip(masks, arrays)], **params) != 0)
            if kind == "multilinear":
                total = _filled(False, y)
                for i, mask in enumerate(masks):
                    if _any(mask):
                        parts = [_some(mask, y) if i == j else self._nonzero(z, y) for j, z in enumerate(inputs)]
                        total = total | (record.forward(*parts, **params) != 0)
                return total
        total = _filled(False, y)
        for mask in masks:
            total = total | mask.any()
        return total

    def _nonzero(self, x: Any, y: Array) -> Array:
        """Something not 0 where an input is not 0, or may come to be."""
        there = _array(x) != 0
        if isinstance(x, Tensor) and x._requires_grad and _any(~there):
            there = there | self.moves(x)
        return _some(there, y)

    # What a cotangent depends on

    def _through(self, node: Tensor) -> None:
        """Pass a cotangent on to the inputs of a node."""
        g, changes = self.found.pop(node._number)
        record, inputs, params, y = node._primitive, node._inputs, node._params or {}, _array(node)
        if node._hooks and "shared" in node._hooks:
            self.watch = params["level"].watch(self.watch)
        if _changed_by_hooks(node):
            changes = _filled(True, g)
        arrays = _arrays(inputs)
        with answered(changes):
            rules, given = record.pullbacks(len(inputs), g, y, arrays, params)
            for i, (x, rule) in enumerate(zip(inputs, rules)):
                if isinstance(x, Tensor) and x._number in self.nodes and rule is not None:
                    d = rule(g, y, *given, **params) if given else rule(g, y)
                    may = self._changing(record, i, g, changes, y, inputs, arrays, params)
                    if self.watch is not None:
                        d, may = (self.watch.pulled(v, g, node, x) for v in (d, may))
                    d, may = _shaped(d, x.shape, sums=True), _shaped(may, x.shape)
                    if x._number in self.found:
                        before, also = self.found[x._number]
                        d, may = before + d, also | may
                    self.found[x._number] = d, may

    def _changing(
        self, record: Primitive, i: int, g: Array, changes: Array, y: Array, inputs: Any, arrays: Any, params: Any
    ) -> Array:
        """Which entries of the cotangent of input `i` may change."""
        alive = changes | (g != 0)
        kind = record.jvps

        def rule(g: Array, y: Array, *values: Any, **params: Any) -> Any:
            rules, given = record.pullbacks(len(values), g, y, values, params)
            found: Any = rules[i]
            return found(g, y, *given, **params) if given else found(g, y)

        def dependent() -> Array:  # a slope that is not finite gives NaN, also where the cotangent may not change
            d = _array(rule(_some(changes, y), y, *arrays, **params))
            return np.where(np.isnan(d), changes, d != 0) if d.shape == changes.shape else d != 0

        if kind in ("linear", "piecewise") or record.selects:
            found = dependent()
            if kind == "piecewise":
                found = found | (alive & _kinks(record, arrays))
            return found
        if kind == "elementwise":
            moving = _broadcast([self.moves(x) for x in inputs], y)
            return (alive & moving) | dependent()
        if kind == "multilinear":
            parts = [self._nonzero(x, y) for x in inputs]
            found = _array(rule(_some(changes, y), y, *parts, **params) != 0)
            for j, x in enumerate(inputs):
                moving = self.moves(x)
                if j != i and _any(moving):
                    moved = [*parts[:j], _some(moving, y), *parts[j + 1 :]]
                    found = found | (rule(_some(alive, y), y, *moved, **params) != 0)
            return found
        shape = np.shape(arrays[i])
        if kind == "reduction":
            axis = params.get("axis")
            if axis is None:
                return np.broadcast_to(alive.any(), shape)
            kept = alive if params.get("keepdims") else np.expand_dims(alive, axis)
            return np.broadcast_to(kept, shape)
        return np.broadcast_to(alive.any(), shape)


def _changed_by_hooks(node: Tensor) -> bool:
    """Whether a function of the user's comes between."""
    return any(hook is not None for hook in (node._hooks or {}).values())


def _array(x: Any) -> Any:
    x = x._ndarray if isinstance(x, Tensor) else x
    return x if is_foreign(x) else np.asarray(x)


def _any(mask: Any) -> bool:
    """Whether a mask holds anywhere; of another array type, which decides no branch, it may."""
    return is_foreign(mask) or bool(mask.any())


def _filled(value: bool, x: Any) -> Array:
    """A mask of the shape of a value, on its device."""
    x = x._ndarray if isinstance(x, Tensor) else x
    mask: Array = put(np.full(np.shape(x), value), place_of(x))
    return mask


def _arrays(inputs: Iterable[Any]) -> list[Any]:
    return [x._ndarray if isinstance(x, Tensor) else x for x in inputs]


def _some(mask: Array, y: Array) -> Array:
    """Positive numbers where the mask holds, all different, so that no sum of them cancels; 0 elsewhere."""
    kind = getattr(y, "dtype", np.dtype(float))
    kind = kind if kind.kind in "fc" else np.dtype(float)
    numbers: Any = 0.5 + np.arange(mask.size) * 0.6180339887498949 % 1
    numbers = numbers * (1 + 0.7j) if kind.kind == "c" else numbers
    return np.where(mask, put(numbers.reshape(mask.shape), place_of(mask)), 0).astype(kind)


def _broadcast(masks: Iterable[Array], y: Any) -> Array:
    total = _filled(False, y)
    for mask in masks:
        total = total | mask
    return total


def _kinks(record: Primitive, arrays: Any) -> Any:
    """Where a slope of 0 is nothing but the choice at a kink."""
    return False if record.kinks is None else record.kinks(*arrays)


def _shaped(d: Any, shape: tuple[int, ...], sums: bool = False) -> Array:
    """A cotangent (or, of booleans, whether any is true) summed over the axes along which its input was broadcast."""
    d = _array(d)
    if not sums and d.dtype.kind != "b":
        d = d != 0
    if d.shape == shape:
        return d
    extra = d.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and d.shape[i + extra] != 1)
    return (d.sum(axes) if sums else d.any(axes)).reshape(shape)
