"""KFAC and EKFAC: the Fisher matrix of a network by a Kronecker product for each weight, read from the recorded graph.

Order: the operators, what one recorded graph adds to their factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..devices import as_numpy
from ..ranks import fingerprint, require_same, sum_over_ranks
from ..tensor import Array, Tensor
from .fisher import Fisher
from .kronecker import Block, Kronecker
from .layers import layers
from .recorded import Pullback, Pushforward, Together

FULL = 1024
"""Parameters that are no weights have their block of the Fisher matrix as it is, up to so many entries."""

SHARINGS = ("expand", "reduce")


class KFAC(Kronecker, Fisher):
    """The Kronecker-factored Fisher matrix: for a weight W that meets rows a, of R rows for each of N examples, and g,
    the cotangents of its outputs when a square root of the Hessian by the network's output is pulled back,

        block of W = B ⊗ A,   expand:  A = 1/(N R) Σₙᵣ aₙᵣ aₙᵣᵀ,   B = 1/N Σₙᵣ gₙᵣ gₙᵣᵀ
                              reduce:  A = 1/N Σₙ āₙ āₙᵀ,  ā = 1/R Σᵣ aₙᵣ,   B = 1/N Σₙ gₙ gₙᵀ,  g = Σᵣ gₙᵣ

    and zero between the weights. A bias is a further column of its weight, of input 1. The block is the Fisher matrix's
    where each row has a loss of its own (expand), or all rows are averaged or added up (reduce), and g is the same for
    all of them, because the network is linear behind the weight and the likelihood Gaussian, or there is but one.

    The graph says which operations multiply a weight (`ad.Multiplication`): matrix products, einsum, linear layers,
    convolutions (a group of channels is a weight by itself), biases that are added, operations of one's own. A weight
    that is used several times has the rows of all its uses. A parameter is followed when it is transposed, reshaped or
    sliced. What is no weight (scales of a norm, an embedding, a vector for each example) has its block of the Fisher
    matrix as it is, what does not reach the output has zeros.

    Args:
        output, loss, params, kind, likelihood, targets, samples, rng, batches, reduction, damping, count, comm: as for
            `Fisher`. The output's first axis counts examples, which must not influence each other (batch norm as in
            evaluation). With kind="exact" one backward pass is made for each number that an example's output has. With
            `comm` the factors are sums over the examples of all ranks, the same bits on all of them; a product is then
            made by each rank for itself.
        sharing: "expand" (rows count as if they were examples) or "reduce" (of what is summed or averaged over rows;
            the first axis of each layer's output must count the examples).
        separate: weights and biases as layers of their own.

    Attributes:
        blocks: the factors, a `Block` each.

    The factors are computed at once, and belong to the parameters' values at that time; `refresh` computes them anew.

    Raises:
        TypeError, ValueError, RuntimeError: as `Fisher`; also for a parameter of more than 1024 entries that is no
            weight, and graphs of batches that differ.

    Source: Martens & Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015; Grosse &
    Martens, "A Kronecker-factored approximate Fisher matrix for convolution layers", 2016; Eschenhagen et al.,
    "Kronecker-factored approximate curvature for modern neural network architectures", 2023.

    >>> import autodiff as ad
    >>> w = ad.Tensor([[1.0, 2.0]], requires_grad=True)
    >>> x = np.array([[1.0], [3.0]])
    >>> K = KFAC(x @ w, None, w, likelihood="gaussian")
    >>> K.to_dense()
    array([[5., 0.],
           [0., 5.]])
    >>> K.inverse(damping=5.0) @ [1.0, 2.0]
    array([0.1, 0.2])
    """

    settings = (*Fisher.settings, "sharing", "separate")

    def __init__(
        self,
        output: Tensor | Callable[..., Any],
        loss: Callable[..., Any] | None,
        params: Tensor | Iterable[Tensor],
        *,
        sharing: str = "expand",
        separate: bool = False,
        **options: Any,
    ) -> None:
        if sharing not in SHARINGS:
            raise ValueError(f"{type(self).__name__}: sharing must be one of {', '.join(SHARINGS)}, not {sharing!r}")
        self.sharing, self.separate = sharing, separate
        Fisher.__init__(self, output, loss, params, **options)

    def _connect(self) -> None:
        super()._connect()
        self.blocks = self._blocks()
        self._at = None  # the graph is not needed any more

    def _graphs(self) -> Iterator[tuple[float, _Graph]]:
        first = None
        for weight, at in self._recordings():
            if not at.roots[0].size:  # no examples
                continue
            graph = _Graph(self.name, at, self.params, self.sharing, not self.separate)
            places = [layer.places for layer in graph.layers], graph.others
            first = first or places
            same = places[1] == first[1] and len(places[0]) == len(first[0])
            if not same or not all(map(np.array_equal, places[0], first[0])):
                raise RuntimeError(f"{self.name}: the graphs of two batches use the parameters in different ways")
            yield weight, graph
            del at, graph

    def _blocks(self) -> list[Block]:
        sums: list[_Sums] = []
        total, self._layers = 0.0, 0
        for weight, graph in self._graphs():
            if not sums:
                sums, self._layers = graph.zeros(self.dtype), len(graph.layers)
            graph.add(sums, weight)
            total += weight
            del graph
        if self.comm is not None:
            sums, total = self._of_all(sums, total)
        if self.reduction == "sum":
            total = 1.0
        found = [
            Block(one.places, one.left / one.left.dtype.type(total), one.right / max(one.count, 1)) for one in sums
        ]
        rest = np.ones(self.size, bool)
        for block in found:
            rest[block.places] = False
        if rest.any():
            one = np.ones((np.count_nonzero(rest), 1, 1), self.dtype)
            found.append(Block(np.flatnonzero(rest)[:, None, None], 0 * one, one))
        return found

    def _of_all(self, sums: list[_Sums], total: float) -> tuple[list[_Sums], float]:
        """With what the other ranks have; a rank without batches has nothing of the same layers."""
        there = self.comm.allgather(bool(sums))
        self._require_some(any(there))
        if not all(there):
            shape = [(one.places, one.left.shape, one.right.shape) for one in sums], len(sums) and self._layers
            shapes, self._layers = self.comm.bcast(shape, there.index(True))
            sums = sums or [
                _Sums(places, np.zeros(left, self.dtype), np.zeros(right, self.dtype)) for places, left, right in shapes
            ]
        places = [fingerprint(one.places) for one in sums]
        require_same({"how the graph uses the parameters (checksums)": places}, self.comm, self.name)
        total, *counts = sum_over_ranks(np.array([total, *[one.count for one in sums]]), self.comm).tolist()
        found = [
            _Sums(one.places, sum_over_ranks(one.left, self.comm), sum_over_ranks(one.right, self.comm), int(count))
            for one, count in zip(sums, counts)
        ]
        return found, total


class EKFAC(KFAC):
    """KFAC in whose eigenbasis the diagonal is that of the Fisher matrix: with B = U diag(b) Uᵀ and A = V diag(a) Vᵀ,

        block of W = (U ⊗ V) diag(s) (U ⊗ V)ᵀ,   s = 1/N Σₙ (Uᵀ Gₙ V)²,   Gₙ = Σᵣ gₙᵣ aₙᵣᵀ

    element by element, Gₙ being what example n contributes to the gradient (summed over the square root's columns). Of
    all matrices with these eigenvectors it is the nearest to the Fisher matrix's block in the Frobenius norm.

    Args, Attributes, Raises: as `KFAC`. The first axis of each layer's output must count the examples. Batches are gone
    through twice.

    Source: George et al., "Fast approximate natural gradient descent in a Kronecker-factored eigenbasis", 2018.

    >>> import autodiff as ad
    >>> w = ad.Tensor([[1.0, 2.0]], requires_grad=True)
    >>> EKFAC(np.array([[1.0], [3.0]]) @ w, None, w, likelihood="gaussian").eigenvalues()
    array([5., 5.])
    """

    def _blocks(self) -> list[Block]:
        blocks = super()._blocks()
        values = [np.zeros(block.places.shape, self.dtype) for block in blocks[: self._layers]]
        total = 0.0
        for weight, graph in self._graphs():
            graph.correct(values, blocks, weight)
            total += weight
            del graph
        if self.comm is not None:
            values = [sum_over_ranks(one, self.comm) for one in values]
            total = float(sum_over_ranks(total, self.comm))
        if self.reduction == "sum":
            total = 1.0
        corrected = [block.mapped(one / one.dtype.type(total)) for one, block in zip(values, blocks)]
        return corrected + blocks[len(corrected) :]


@dataclass
class _Sums:
    """The factors of a layer before they are divided."""

    places: Array
    left: Array
    right: Array
    count: int = 0


class _Graph:
    """A recorded graph, and what it adds to the factors of its layers."""

    def __init__(self, name: str, at: Any, params: Sequence[Tensor], sharing: str, joint: bool) -> None:
        self.name, self.at, self.params, self.reduce = name, at, params, sharing == "reduce"
        self.layers, self.others = layers(at.output, params, joint)
        if apart := self._of_examples():
            self.layers, self.others = layers(at.output, params, joint, apart)
        for i in self.others:
            if params[i].size > FULL:
                raise ValueError(
                    f"{name}: params[{i}] (shape {params[i].shape}) is multiplied with its input in no way that the "
                    f"operations' records say, and its block of {params[i].size} × {params[i].size} numbers is too "
                    f"large (more than {FULL} rows); leave it out of params, write it as a product (@, einsum), or say "
                    f"how it is one, ad.primitive(..., multiplies=)"
                )

    def _of_examples(self) -> set[int]:
        """Parameters whose entries belong to one example each (a latent vector, an offset), so that no rows of examples
        meet them. With the cotangents of the examples weighted by 1, 2, …, the outputs of such a weight have several of
        these factors in one row; a row of one example has one, and what mixes examples has none."""
        z, count = self.at.output, self.at.examples
        found: set[int] = set()
        doubtful = [one for one in self.layers if count > 1 and any(x.lengths[3] % count == 0 for x in one.products)]
        if not doubtful:
            return found
        d = np.random.default_rng(0).standard_normal((count, z.size // count)).astype(z.dtype)
        factored = d * np.arange(1, count + 1, dtype=z.dtype)[:, None]
        starts = np.cumsum([0, *[p.size for p in self.params]])
        for layer in doubtful:
            pull = Pullback([z], [product.node for product in layer.products])
            for product, *pulled in zip(layer.products, *[pull([s.reshape(z.shape)]) for s in (d, factored)]):
                if any(part is None for part in pulled):
                    continue
                g, weighted = [product.outputs(as_numpy(part)) for part in pulled]
                seen = np.abs(g) > 1e-3 * np.abs(g).max(initial=0)
                factor = np.divide(weighted, g, out=np.zeros_like(g), where=seen)
                most, least = factor.max(axis=3), np.where(seen, factor, np.inf).min(axis=3)
                if (np.abs(factor - factor.round()) < 0.01).all() and (most > least + 0.5).any():
                    found.update((np.searchsorted(starts, layer.places.reshape(-1), "right") - 1).tolist())
        return found

    def zeros(self, dtype: Any) -> list[_Sums]:
        """Nothing, for each layer and each parameter that is none."""
        ends = np.cumsum([p.size for p in self.params])
        alone = [np.arange(ends[i] - self.params[i].size, ends[i])[None, :, None] for i in self.others]
        found = []
        for places in [layer.places for layer in self.layers] + alone:
            groups, n, m = places.shape
            found.append(_Sums(places, np.zeros((groups, n, n), dtype), np.zeros((groups, m, m), dtype)))
        return found

    def add(self, sums: Sequence[_Sums], weight: float) -> None:
        """Add what this graph's rows and cotangents contribute."""
        for one, layer in zip(sums, self.layers):
            rows = self._shared(layer.inputs(one.left.dtype), mean=True)
            for x in rows:
                one.right += _gram(x)
                one.count += x.shape[0] * x.shape[1]
        for cotangents in self._pulled():
            for one, parts in zip(sums, cotangents):
                for g in self._shared(parts):
                    one.left += one.left.dtype.type(weight) * _gram(g.astype(one.left.dtype, copy=False))
        for one, i in zip(sums[len(self.layers) :], self.others):
            one.left += one.left.dtype.type(weight) * self._full(self.params[i])
            one.right[...], one.count = 1, 1

    def correct(self, values: Sequence[Array], blocks: Sequence[Block], weight: float) -> None:
        """Add the squares of the examples' gradients in the eigenbases."""
        rotated = []
        for layer, block, one in zip(self.layers, blocks, values):
            rows = self._by_example(layer.inputs(one.dtype))
            rotated.append(np.concatenate([x.swapaxes(1, 2) @ block.eigen[3] for x in rows], axis=2))
        for cotangents in self._pulled():
            for parts, x, block, one in zip(cotangents, rotated, blocks, values):
                pulled = [g.swapaxes(2, 3) @ block.eigen[1] for g in self._by_example(parts)]
                for g in np.concatenate(pulled, axis=3):  # (examples, groups, rows, out) of one column
                    if x.shape[2] == 1:
                        found = np.einsum("ngo,ngi->goi", g[:, :, 0] ** 2, x[:, :, 0] ** 2)
                    else:
                        found = ((g.swapaxes(2, 3) @ x) ** 2).sum(axis=0)
                    one += one.dtype.type(weight) * found

    def _pulled(self) -> Iterator[list[list[Array]]]:
        """For some columns of the square root at a time, of each layer the cotangents of its products' outputs, shape
        (columns, examples, rows, groups, out)."""
        products = [product for layer in self.layers for product in layer.products]
        pull = Pullback([self.at.output], [product.node for product in products])
        for seeds in self.at.square_root():
            for _, parts in Together()([self.at.output], pull, [seeds]):
                found = iter(
                    [
                        product.outputs(np.zeros((1, *product.node.shape), seeds.dtype) if part is None else part)
                        for product, part in zip(products, parts)
                    ]
                )
                yield [[next(found) for _ in layer.products] for layer in self.layers]

    def _shared(self, parts: list[Array], mean: bool = False) -> list[Array]:
        """The rows of a layer's products; with "reduce" one for each example, their sum or mean."""
        if not self.reduce:
            return parts
        total = sum([part.sum(axis=-3, keepdims=True) for part in self._by_example(parts)])
        return [total / sum([part.shape[-3] for part in parts]) if mean else total]

    def _by_example(self, parts: list[Array]) -> list[Array]:
        for part in parts:
            if part.shape[-4] != self.at.examples:
                raise ValueError(
                    f"{self.name}: the output has {self.at.examples} examples along its first axis, but a layer has "
                    f"{part.shape[-4]} along its own, so its rows are not known by example; keep the examples in front "
                    f'(or use KFAC with sharing="expand", which needs no examples)'
                )
        return parts

    def _full(self, p: Tensor) -> Array:
        """The block of the Fisher matrix of a parameter that is no weight."""
        push, output = Pushforward(self.at.output, [p]), self.at.output
        units = np.eye(p.size, dtype=p.dtype).reshape(-1, *p.shape)
        pushed = np.empty((p.size, *self.at.shape), output.dtype)
        for piece, (part,) in Together()([output], lambda v: [push(v)], [units], [p]):
            pushed[piece] = 0 if part is None else part.reshape(-1, *self.at.shape)
        found = np.zeros((1, p.size, p.size), output.dtype)
        for seeds in self.at.square_root():
            slopes = np.einsum("knc,inc->kni", seeds.reshape(-1, *self.at.shape), pushed, optimize=True)
            found += _gram(slopes[:, :, None])
        return found


def _gram(rows: Array) -> Array:
    """Σ r rᵀ over all rows of each group, shape (..., groups, n) to (groups, n, n)."""
    moved = np.moveaxis(rows, -2, 0).reshape(rows.shape[-2], -1, rows.shape[-1])
    found: Array = moved.swapaxes(1, 2) @ moved
    return found
