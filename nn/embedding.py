"""Embedding: rows of a table, picked by integers."""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.devices import brought
from autodiff.flags import flagged
from autodiff.ops.guards import common
from autodiff.ops.indexing import scatter_add, taken
from autodiff.primitive import Sample, declare, polymorphic
from autodiff.tensor import is_foreign, plain, writable

from .arguments import as_tensor, count, number
from .module.module import Module
from .module.parameter import Parameter
from .random import floating, generator

_INDICES = (np.array([[0, 2], [2, 1]]), np.array(1), np.array([2, 2, 2, 0]), np.zeros(0, np.intp))


def _rows(weight: Any, index: Any) -> Any:
    return taken(weight, index) if is_foreign(index) else np.take(weight, index, axis=0)


def _added_up(g: Any, rows: int, index: Any) -> Any:
    if is_foreign(g) or is_foreign(index):
        return scatter_add(g, shape=(rows, g.shape[-1]), index=(index,))
    width = g.shape[-1]
    z = np.zeros((rows, width), g.dtype)
    np.add.at(z.reshape(-1), (index.reshape(-1, 1) * width + np.arange(width)).reshape(-1), g.reshape(-1))  # flat: fast
    return z


def _expansion(weight: Tensor, index: Any) -> Any:
    """The row of the first index by itself, then all the others."""
    if not index.size:
        return None
    rows = index.reshape(-1)
    yield f"row {rows[0]}, picked by the first index"
    y = weight[rows[:1]]
    if rows.size > 1:
        yield f"… the rows of the other {rows.size - 1:,}, each likewise"
        others = weight[rows[1:]]
        yield None
        y = ad.concatenate([y, others])
    return y.reshape((*index.shape, weight.shape[1]))


_embedding = declare(
    "embedding", _rows,
    [lambda g, y, weight, index: _scattered(g, rows=weight.shape[0], index=index)],
    jvps="linear", formula="{0}[i]", derivatives=["1 at row i, else 0"],
    samples=lambda rng: [Sample((rng.normal(size=(3, 2)),), {"index": i}) for i in _INDICES],
    doc="Rows of a matrix.", expansion=_expansion,
)  # fmt: skip
_picked: Any = polymorphic(_embedding)

_scattered: Any = polymorphic(declare(
    "embedding_pullback", _added_up, [lambda c, z, g, rows, index: _picked(c, index=index)],
    jvps="linear", formula="zeros, {0} added at rows i", derivatives=["its row i"],
    samples=lambda rng: [Sample((rng.normal(size=(*i.shape, 2)),), {"rows": 3, "index": i}) for i in _INDICES],
    doc="The cotangent of an embedding's table.",
))  # fmt: skip

_shared = declare(
    "embedding_share", lambda rows, share: rows, [lambda g, y, rows, share: g * share],
    jvps=[lambda t, y, rows, share: t * share], formula="{0}", derivatives=["the row's share"],
    samples=lambda rng: [Sample((rng.normal(size=(3, 2)),), {"share": np.ones((3, 1))})],
    doc="Rows as they are, each of which hands on only its share of the cotangent: 0 for padding.",
)  # fmt: skip


@flagged
def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of a table that the input names.

    Args:
        input: integers of any shape, each a row's number.
        weight: the table, shape (rows, width).
        padding_idx: a row (negative ones count from the end) that gets no gradient.
        max_norm: rows that are picked and have a larger norm are scaled down to it first, in the table itself, which
            has to be a leaf. The gradients of earlier look-ups stay what they are.
        norm_type: p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often the input names it.
        sparse: only False; gradients are dense.

    Returns:
        Shape (*input.shape, width).

    Raises:
        IndexError: for numbers outside 0 … rows − 1.
        TypeError: for values that are no integers.
        ValueError: for a table that is no matrix, or (with max_norm) no leaf, or ``sparse=True``.

    >>> embedding([2, 0], [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    Tensor([[4., 5.],
           [0., 1.]])
    """
    return _look_up("embedding", input, as_tensor(weight), padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)


def _look_up(
    layer: str, input: Any, weight: Tensor, padding_idx: int | None, max_norm: float | None, norm_type: float,
    scale_grad_by_freq: bool, sparse: bool,
) -> Tensor:  # fmt: skip
    if weight.ndim != 2:
        raise ValueError(f"{layer}: needs a weight of shape (rows, width), got {weight.shape}")
    if sparse:
        raise ValueError(f"{layer}: sparse=True is not supported, gradients are dense; leave it out")
    named = as_tensor(input)
    if named.dtype.kind not in "iu" and (named.size or named.dtype.kind == "b"):
        raise TypeError(
            f"{layer}: got input of {named.dtype}, shape {named.shape}; expects integers, the numbers of rows"
        )
    rows = weight.shape[0]
    index = brought(plain(named).astype(np.intp), plain(weight))  # a copy: it must not change before the backward pass
    if index.size and not common((index.min() >= 0) & (index.max() < rows)):
        wrong = index[(index < 0) | (index >= rows)][0]
        raise IndexError(f"{layer}: index {wrong} is out of range for {rows} rows (0 … {rows - 1})")
    padding = _padding(layer, padding_idx, rows)
    if max_norm is not None:
        if not weight.is_leaf:
            raise ValueError(
                f"{layer}: max_norm= writes into the table, which is the result of {weight.op} here; scale the rows of "
                f"the tensor that it was computed from, or leave max_norm out"
            )
        _renormalise(
            weight, np.unique(index), number(layer, "max_norm", max_norm), number(layer, "norm_type", norm_type)
        )
    share = None
    if padding is not None:
        share = (index != padding).astype(weight.dtype)[..., None]
    if scale_grad_by_freq and index.size:
        frequency = np.bincount(index.reshape(-1), minlength=rows)[index].astype(weight.dtype)[..., None]
        share = 1 / frequency if share is None else share / frequency
    rows_picked = _embedding(weight, index=index)
    return rows_picked if share is None else _shared(rows_picked, share=share)


def _padding(layer: str, padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    padding = count(layer, "padding_idx", padding_idx, -rows)
    if padding >= rows:
        raise ValueError(f"{layer}: padding_idx is a row, {-rows} … {rows - 1}, not {padding_idx}")
    return padding % rows


def _renormalise(weight: Tensor, rows: Any, limit: float, norm_type: float) -> None:
    """Scale rows of the table down to a norm, in place, as PyTorch does."""
    data = writable(weight)
    norms = np.linalg.norm(data[rows], norm_type, axis=1)
    large = norms > limit
    if large.any():
        data[rows[large]] *= (limit / (norms[large] + 1e-7)).astype(data.dtype)[:, None]
        weight.data = data


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Rows of zeros with a 1 at the class index.

    Args:
        tensor: class indices, integers of any shape.
        num_classes: number of classes; −1 for the largest index and one more.

    Returns:
        integers, shape (..., num_classes).

    Raises:
        TypeError: for values that are not integers.
        ValueError: for indices outside the classes, and no indices where their number is to be found.

    >>> one_hot([0, 2])
    Tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    index = plain(as_tensor(tensor))
    if index.dtype.kind not in "iu":
        raise TypeError(f"one_hot: takes integers, not {index.dtype}")
    if num_classes == -1 and not index.size:
        raise ValueError("one_hot: got no class indices; say num_classes")
    classes = int(index.max()) + 1 if num_classes == -1 else count("one_hot", "num_classes", num_classes, 1)
    if index.size and not common((0 <= index.min()) & (index.max() < classes)):
        raise ValueError(f"one_hot: class indices must be in 0 … {classes - 1}, got {index.min()} … {index.max()}")
    return Tensor((index[..., None] == np.arange(classes, like=index)).astype(np.int64))


class Embedding(Module):
    """A table of vectors, looked up by integers.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: length of the vectors.
        padding_idx: a row (negative ones count from the end) that starts at 0 and gets no gradient.
        max_norm: vectors that are looked up and have a larger norm are scaled down to it first, in the table itself.
            The gradients of earlier look-ups stay what they are.
        norm_type: p of that norm.
        scale_grad_by_freq: divide a vector's gradient by how often the input names it.
        sparse: only False; gradients are dense.
        dtype: of the table; `nn.get_default_dtype()` by default.
        rng: generator of the initial values, which are standard normal (PyTorch's default); the one that
            `nn.manual_seed` sets by default.

    Shapes: input (...) of integers, output (..., embedding_dim), `weight` (num_embeddings, embedding_dim).

    Raises:
        IndexError: for an input outside 0 … num_embeddings − 1.
        TypeError: for an input that has no integers.
        ValueError: for sizes that are not counts, a padding_idx outside the table, ``sparse=True``.

    >>> import numpy as np, nn
    >>> layer = nn.Embedding(10, 3, padding_idx=0)
    >>> layer(np.array([[1, 2], [0, 9]])).shape
    (2, 2, 3)
    >>> layer([0]).data
    array([[0., 0., 0.]], dtype=float32)
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.num_embeddings = count("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = count("Embedding", "embedding_dim", embedding_dim)
        self.padding_idx = _padding("Embedding", padding_idx, num_embeddings)
        self.max_norm = None if max_norm is None else number("Embedding", "max_norm", max_norm)
        self.norm_type = number("Embedding", "norm_type", norm_type)
        self.scale_grad_by_freq = bool(scale_grad_by_freq)
        if sparse:
            raise ValueError("Embedding: sparse=True is not supported, gradients are dense; leave it out")
        self.weight = Parameter(np.empty((num_embeddings, embedding_dim), floating(dtype)))
        self.reset_parameters(rng)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """An embedding with the given table, which is copied.

        Args:
            embeddings: the table, floating-point, shape (num_embeddings, embedding_dim).
            freeze: whether the table stays as it is (needs no gradient).
            padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse: as for the class. The padding row keeps its
                values.

        Raises:
            ValueError: for a table that is no matrix.

        >>> import nn
        >>> nn.Embedding.from_pretrained(np.eye(3))([2]).data
        array([[0., 0., 1.]])
        """
        table = Parameter(embeddings, requires_grad=not freeze)
        if table.ndim != 2 or table.dtype.kind != "f":
            raise ValueError(
                f"{cls.__name__}.from_pretrained: needs floating-point values of shape (rows, width), got "
                f"{table.dtype} of shape {table.shape}"
            )
        # The random initial values are not to move the default generator.
        rows, width = table.shape
        rng = np.random.default_rng(0)
        layer = cls(rows, width, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, table.dtype, rng)
        layer.weight = table
        return layer

    def reset_parameters(self, rng: np.random.Generator | None = None) -> None:
        """Draw the initial values again: standard normal, the padding row 0."""
        values = generator(rng).standard_normal(self.weight.shape).astype(self.weight.dtype)
        if self.padding_idx is not None:
            values[self.padding_idx] = 0
        self.weight.data = values

    def forward(self, input: Any) -> Tensor:
        """The rows of `weight` that the input names."""
        name = f"Embedding({self.num_embeddings}, {self.embedding_dim})"
        return _look_up(name, input, self.weight, self.padding_idx, self.max_norm, self.norm_type,
                        self.scale_grad_by_freq, False)  # fmt: skip

    def extra_repr(self) -> str:
        usual = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False}
        shown = [f", {name}={getattr(self, name)}" for name in usual if getattr(self, name) != usual[name]]
        return f"{self.num_embeddings}, {self.embedding_dim}{''.join(shown)}"
