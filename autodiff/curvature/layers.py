"""How parameters meet their inputs in a recorded graph: the products of weights and rows that it holds, and biases.

The records of the operations say so (`Multiplication`), and nothing is known of anybody's layers. Order: one product
seen as matrices, the layers of a graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from math import prod
from string import ascii_uppercase
from typing import Any

import numpy as np

from ..backward import reachable
from ..batching.batch import Batch
from ..devices import as_numpy
from ..mode import no_grad
from ..primitive import Multiplication
from ..tensor import Array, Tensor, plain
from ..transforms import tree

# One product


class Product:
    """A `Multiplication` seen as matrices: with rows x, shape (examples, rows, groups, in), a weight W, (groups, out,
    in), and the output y, (examples, rows, groups, out),

        y[n, r, g] = W[g] x[n, r, g]

    Raises:
        ValueError: the subscripts are no such product.
    """

    def __init__(self, found: Multiplication, node: Tensor) -> None:
        self.found, self.node = found, node
        terms, _, self.output = found.subscripts.replace(" ", "").partition("->")
        given, _, self.weight = terms.rpartition(",")
        self.shape = node._ndarray.reshape(found.output_shape or node.shape).shape
        spare = [c for c in ascii_uppercase if c not in found.subscripts]
        more = "".join(spare[: len(self.shape) - len(self.output.replace("...", ""))])
        self.given, self.output = given.replace("...", more), self.output.replace("...", more)
        y, w, x = set(self.output), set(self.weight), set(self.given)
        if max(map(len, (self.output, self.weight, self.given))) > len(y | w | x) or not w <= y | x or not x <= y | w:
            raise ValueError(found.subscripts)
        for term in (self.output, self.weight, self.given):
            if len(set(term)) < len(term):
                raise ValueError(found.subscripts)
        sizes = zip(
            self.output + self.weight, (*self.shape, *(found.weight_shape or np.shape(found.weight))), strict=True
        )
        if len(set(sizes)) > len(y | w):
            raise ValueError(f"{found.subscripts}: a letter has two lengths")
        self.rows = [c for c in self.output if c not in w]
        self.groups = [c for c in self.weight if c in x and c in y]
        self.outer = [c for c in self.weight if c in y and c not in x]
        self.inner = [c for c in self.weight if c not in y]

        self.lengths = self.outputs(np.broadcast_to(0, node.shape)).shape
        """Examples, rows, groups and outputs."""

    def _arranged(self, array: Array, term: str, *axes: Sequence[str]) -> Array:
        """The last axes, those of a term, in this order, each list of them as one axis."""
        lead = array.ndim - len(term)
        lengths: dict[str, int] = dict(zip(term, array.shape[lead:]))
        moved = np.transpose(array, [*range(lead), *[lead + term.index(c) for some in axes for c in some]])
        return moved.reshape(array.shape[:lead] + tuple([prod([lengths[c] for c in some]) for some in axes]))

    def outputs(self, array: Array) -> Array:
        """Arrays of the output's shape, (..., *shape), as (..., examples, rows, groups, out)."""
        array = array.reshape(array.shape[: array.ndim - self.node.ndim] + self.shape)
        return self._arranged(array, self.output, self.rows[:1], self.rows[1:], self.groups, self.outer)

    def matrices(self, array: Array) -> Array:
        """An array of the weight's shape as (groups, out, in)."""
        array = array.reshape(self.found.weight_shape or array.shape)
        return self._arranged(array, self.weight, self.groups, self.outer, self.inner)

    def inputs(self, dtype: Any) -> Array:
        """The rows x, shape (examples, rows, groups, in)."""
        with no_grad():
            x = self.found.input() if callable(self.found.input) else self.found.input
        x = as_numpy(x).astype(dtype, copy=False)
        missing = "".join([c for c in [*self.rows, *self.groups] if c not in self.given])
        term = self.given + missing
        along: dict[str, int] = dict(zip(self.output, self.shape))
        x = x.reshape(x.shape + (1,) * len(missing))
        given: dict[str, int] = dict(zip(term, x.shape))
        x = np.broadcast_to(x, [along.get(c, given[c]) for c in term])
        return self._arranged(x, term, self.rows[:1], self.rows[1:], self.groups, self.inner)

    def added(self, array: Array) -> Array:
        """An array of the weight's shape, where that is only added, in the output's shape."""
        axes = sorted(self.weight, key=self.output.index)
        moved = np.transpose(
            array.reshape(self.found.weight_shape or array.shape), [self.weight.index(c) for c in axes]
        )
        lengths = dict(zip(axes, moved.shape))
        spread = np.broadcast_to(moved.reshape([lengths.get(c, 1) for c in self.output]), self.shape)
        return spread.reshape(self.node.shape)


# The layers of a graph


@dataclass
class Use:
    """One product of a graph with the places of its weight, (groups, out, in), and bias, (groups, out), in the vector
    of all parameters; None for what is none of them."""

    product: Product
    weight: Array | None
    bias: Array | None


@dataclass
class Layer:
    """A weight, a bias, or both, with all products of the graph that they are in.

    Attributes:
        places: of the entries in the vector of all parameters, shape (groups, out, in), those of the bias in the last
            column.
        weighed, biased: whether there is a weight, and a bias.
        products: those that the weight is in, or the bias.
    """

    places: Array
    weighed: bool
    biased: bool
    products: list[Product]

    def inputs(self, dtype: Any) -> list[Array]:
        """What each product multiplies, shape (examples, rows, groups, in), the bias by 1."""
        found = []
        for product in self.products:
            ones = np.ones((*product.lengths[:3], 1), dtype)
            x = product.inputs(dtype) if self.weighed else ones
            found.append(np.concatenate([x, ones], axis=3) if self.weighed and self.biased else x)
        return found


def layers(
    output: Tensor, params: Sequence[Tensor], joint: bool = True, apart: Iterable[int] = ()
) -> tuple[list[Layer], list[int]]:
    """The layers of a recorded graph, and which parameters it uses in another way than as weights or biases, those that
    are set apart among them.

    A parameter is followed through operations that only move its entries or select some of them (a transpose, a
    reshape, a slice; not a table's rows, which the data choose). With `joint`, a bias that goes with one weight
    everywhere belongs to its layer; else it is one by itself, whose input is 1.
    """
    nodes, _ = reachable([output]) if output._requires_grad else ({}, {})
    readers = Counter([x._number for node in nodes.values() for x in node._inputs if isinstance(x, Tensor)])
    sizes = np.cumsum([0, *[p.size for p in params]])
    views = {p._number: np.arange(i, i + p.size).reshape(p.shape) for p, i in zip(params, sizes.tolist())}
    uses: dict[int, list[Use]] = {}
    alone: list[Use] = []
    others = set(apart)
    for number in sorted(nodes):
        node = nodes[number]
        met = {x._number: views[x._number] for x in node._inputs if isinstance(x, Tensor) and x._number in views}
        if not met or number in views:
            continue
        if len(node._inputs) == 1 and (moved := _moved(node, *met.values())) is not None:
            views[number] = moved
            continue
        said: set[int] = set()
        for product in _products(node):
            weight, bias = [met.get(getattr(x, "_number", 0)) for x in (product.found.weight, product.found.bias)]
            said |= {getattr(x, "_number", 0) for x in (product.found.weight, product.found.bias)}
            matrices = None if weight is None else product.matrices(weight)
            if product.found.input is None and weight is not None and matrices is not None:
                if not _joined(product, weight, uses, readers):
                    alone.append(Use(product, None, matrices[:, :, 0]))
            elif weight is not None or bias is not None:
                vectors = None if bias is None else bias.reshape(product.lengths[2:])
                uses.setdefault(number, []).append(Use(product, matrices, vectors))
        for n in met.keys() - said:  # used in a way that is no product
            others.update((np.searchsorted(sizes, met[n].reshape(-1)[:1], "right") - 1).tolist())
    if output._number in views:
        others.update((np.searchsorted(sizes, views[output._number].reshape(-1)[:1], "right") - 1).tolist())
    while True:
        spoiled = np.isin(np.arange(len(params)), list(others)).repeat(np.diff(sizes))
        found = _collected([*chain(*uses.values()), *alone], spoiled, joint)
        places = np.concatenate([layer.places.reshape(-1) for layer in found] or [np.zeros(0, int)])
        twice = np.flatnonzero(np.bincount(places, minlength=len(spoiled)) > 1)
        if not len(twice):
            return found, sorted(others)
        others.update((np.searchsorted(sizes, twice, "right") - 1).tolist())  # parts that overlap


def _products(node: Tensor) -> list[Product]:
    """The products that an operation's record says it is."""
    found = []
    if node._primitive.multiplies is not None and not isinstance(node._ndarray, Batch):  # the rows of vmap are hidden
        with no_grad():
            for one in node._primitive.multiplies(*node._inputs, **node._params or {}):
                with suppress(ValueError):
                    found.append(Product(one, node))
    return found


def _moved(node: Tensor, places: Array) -> Array | None:
    """Where the entries of the result are, if a linear operation only moves entries or selects some; else None. It does
    so if the results of random entries are among them."""
    record = node._primitive
    chosen = any(np.ndim(option) for option in tree.flatten(node._params or {})[0])  # by the data
    if record.jvps != "linear" or not places.size or chosen:
        return None
    for seed in range(2):
        draw, apart = np.random.default_rng(seed), max((1 << 23) // places.size, 1)  # different ones that float32 holds
        drawn = apart * draw.permutation(places.size) + draw.integers(0, apart, places.size)
        x = drawn.astype(np.result_type(np.float32, plain(node._inputs[0])))
        order = np.argsort(x)
        y = np.asarray(record.forward(x.reshape(places.shape), **node._params or {}))
        at = order[np.searchsorted(x, y, sorter=order).clip(max=len(x) - 1)]
        if y.shape != node.shape or not (x[at] == y).all() or len(np.unique(at)) < at.size:
            return None
    moved: Array = places.reshape(-1)[at]
    return moved


def _joined(product: Product, bias: Array, uses: dict[int, list[Use]], readers: Counter[int]) -> bool:
    """Join what is added to the product that nobody else reads and to whose outputs it adds."""
    for x in product.node._inputs:
        those: list[Use] = uses.get(x._number, []) if isinstance(x, Tensor) and readers[x._number] == 1 else []
        if len(those) == 1 and those[0].weight is not None and those[0].bias is None and x.shape == product.node.shape:
            rows = those[0].product.outputs(product.added(bias))
            if rows.size and (rows == rows[:1, :1]).all():
                those[0].bias = rows[0, 0]
                return True
    return False


def _collected(uses: Sequence[Use], spoiled: Array, joint: bool) -> list[Layer]:
    """The uses of each weight and each bias together."""
    of_weight: dict[Any, list[Use]] = {}
    of_bias: dict[Any, list[Use]] = {}
    for use in uses:
        for places, together in ((use.weight, of_weight), (use.bias, of_bias)):
            if places is not None and places.size and not spoiled[places.flat[0]]:
                together.setdefault((places.shape, places.tobytes()), []).append(use)
    found = []
    for those in of_weight.values():
        weight, bias = those[0].weight, those[0].bias
        assert weight is not None
        key = None if bias is None or not joint else (bias.shape, bias.tobytes())
        biased = key is not None and of_bias.get(key) == those
        if biased and bias is not None:
            del of_bias[key]
            weight = np.concatenate([weight, bias[..., None]], axis=2)
        found.append(Layer(weight, True, biased, [use.product for use in those]))
    for those in of_bias.values():
        assert those[0].bias is not None
        found.append(Layer(those[0].bias[..., None], False, True, [use.product for use in those]))
    return found
