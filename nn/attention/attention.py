"""Attention: softmax(Q Kᵀ/√d + mask) V as a function, and the layer with several heads.

Two operations, the weights and the values they mix, whose rules are products of the same kind. Nothing of the size of
the scores is kept but the weights, and products are laid out as the heads are stored, so that splitting and joining
heads never copies.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.backward import unbroadcast
from autodiff.batching.batch import Batch
from autodiff.devices import brought
from autodiff.flags import flagged
from autodiff.machine.kernels import rows_of
from autodiff.ops.guards import common
from autodiff.ops.kernels import SOFTMAX_OR_NOTHING, SOFTMAX_PULLBACK
from autodiff.ops.precision import in_single
from autodiff.ops.samples import draw
from autodiff.primitive import Sample, declare, describe, polymorphic
from autodiff.tensor import is_foreign, plain

from ..arguments import as_tensor, count, floats, number
from ..dropout import dropout
from ..init import xavier_normal_, xavier_uniform_, zeros_
from ..linear import Linear, linear
from ..module.module import Module
from ..module.parameter import Parameter
from ..random import floating, generator

_single = partial(in_single, together=True)


def _product(a: Any, b: Any, like: Any) -> Any:
    """a b over batches of matrices; an array is laid out in memory as `like` is."""
    alike = (
        type(a) is type(b) is type(like)
    )  # and no Tensors, which are not written into, nor batches of several levels
    if not alike or isinstance(a, (Tensor, Batch)) or like.ndim != max(a.ndim, b.ndim):
        return a @ b
    rows = a.shape[:-1]
    if a.shape[:-2] != b.shape[:-2]:
        rows = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), rows[-1])
    return np.matmul(a, b, out=np.empty_like(like, np.promote_types(a.dtype, b.dtype), shape=(*rows, b.shape[-1])))


def _transposed(a: Any) -> Any:
    return a.swapaxes(-1, -2)


def _pullback(g: Any, y: Any) -> Any:
    d = g - np.vecdot(g, y)[..., None]
    if type(d) is type(y):
        d *= y
        return d
    return d * y


_softmax_pullback: Any = polymorphic(declare(
    "softmax_pullback", _pullback,
    [lambda c, d, g, y: _softmax_pullback(c, y),
     lambda c, d, g, y: c * (g - np.vecdot(g, y)[..., None]) - g * np.vecdot(c, y)[..., None]],
    formula="{1} ({0} − ⟨{0}, {1}⟩)", derivatives=["diag({1}) − {1} {1}ᵀ", "diag({0} − ⟨{0}, {1}⟩) − {1} {0}ᵀ"],
    samples=lambda rng: [Sample((draw(rng, s), draw(rng, s))) for s in [(3,), (2, 3), (0, 2)]],
    arity=2, doc="The cotangent of the logits of a softmax y over the last axis, from its cotangent g.",
))  # fmt: skip


def _pulled(g: Any, y: Any) -> Any:
    """The cotangent of the logits. It stays the same if a constant is taken from g: the one at the greatest y, so that
    nothing cancels where that is near 1."""
    if (d := SOFTMAX_PULLBACK(g, y)) is not None:
        return d
    if y.size and not common(plain(y).max() < 0.75):
        g = g - np.take_along_axis(g, plain(y).argmax(axis=-1, keepdims=True), -1)
    return _softmax_pullback(g, y)


@_single
def _weights(q: Any, k: Any, mask: Any = None, *, scale: float) -> Any:
    s = (q * scale) @ _transposed(k)
    if mask is not None:
        if mask.dtype != bool:
            s = s + mask if type(mask) is not type(s) else np.add(s, mask, out=s)
        elif is_foreign(s):
            s = np.where(mask, s.dtype.type(-np.inf), s)
        else:
            np.copyto(s, -np.inf, where=mask)
    if rows := rows_of(s):
        SOFTMAX_OR_NOTHING.rows(*rows, *rows)
        return rows[0].reshape(s.shape)
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    infinite, none = np.isinf(top), s.dtype.type(0)
    finite = common(~infinite.any())
    if not finite:  # +∞ takes all, in several places it has no limit; a row that is hidden has weights 0
        taken = s == np.inf
        s = np.where(top == np.inf, np.where(taken, none, s.dtype.type(-np.inf)), s)
        top = np.where(infinite, none, top)
    s -= top
    np.exp(s, out=s)
    total = s.sum(axis=-1, keepdims=True)
    if not finite:
        total = np.where(total == 0, s.dtype.type(1), total)
    s /= total
    if not finite:
        several = np.count_nonzero(taken, axis=-1, keepdims=True) > 1
        s = np.where(taken & several, s.dtype.type(np.nan), s)
    return s


def _moving(x: Any) -> Any:
    """x with 0 in place of ±∞, next to which no weight changes: all are 0 or 1 there, or NaN."""
    a = plain(x)
    return x if common(np.vdot(a, a) < np.inf) else np.where(np.isinf(a), 0, x)


@_single
def _by_query(g: Any, y: Any, q: Any, k: Any, mask: Any = None, *, scale: float) -> Any:
    return unbroadcast(_product(_pulled(g, y), _moving(k) * scale, q), q.shape)


@_single
def _by_key(g: Any, y: Any, q: Any, k: Any, mask: Any = None, *, scale: float) -> Any:
    return unbroadcast(_product(_transposed(_pulled(g, y)), _moving(q) * scale, k), k.shape)


@_single
def _by_mask(g: Any, y: Any, q: Any, k: Any, mask: Any, *, scale: float) -> Any:
    return unbroadcast(_pulled(g, y), mask.shape)


def _by_head(one: Any) -> Any:
    """The expansion of an operation whose inputs are (N, …, H, rows, columns): of each head by itself; then they are
    joined. `one` is the expansion for one head, and without an axis of heads the whole."""

    def expansion(*inputs: Any, **params: Any) -> Any:
        heads = max(x.shape[-3] if x.ndim > 3 else 1 for x in inputs if x is not None)
        if heads < 2:
            return (yield from one(*inputs, **params))
        found = []
        for h in range(heads):
            yield (head := f"head {h + 1}")
            steps = one(*[_head(x, h) for x in inputs], **params)
            found.append((yield from _within(head, steps)))
        yield "heads joined"
        return ad.stack(found, axis=-3)

    return expansion


def _within(part: str, steps: Any) -> Any:
    """The steps' own parts as parts of a part."""
    while True:
        try:
            name = next(steps)
        except StopIteration as end:
            return end.value
        yield part, name


def _head(x: Any, h: int) -> Any:
    if x is None or x.ndim < 3:
        return x
    return x[..., h if x.shape[-3] > 1 else 0, :, :]


@_by_head
def _weights_expansion(q: Tensor, k: Tensor, mask: Any = None, *, scale: float) -> Any:
    yield "scores Q Kᵀ"
    s = q @ _transposed(k)
    yield "scale"
    s = s * scale
    if mask is not None:
        yield "mask"
        hides = plain(mask)
        s = ad.where(hides, -np.inf, s) if hides.dtype == bool else s + mask
    yield "softmax"
    if not s.shape[-1]:
        return s
    seen = (plain(s) > -np.inf).any(axis=-1, keepdims=True)
    if seen.all():
        return ad.softmax(s)
    return ad.where(seen, ad.softmax(ad.where(seen, s, 0)), 0)


@_by_head
def _values_expansion(w: Tensor, v: Tensor) -> Any:
    yield "weighted sums of V"
    return w @ v


_PAIRS = [
    ((2, 3), (4, 3)),
    ((1, 2, 2, 2), (2, 3, 2)),
    ((2, 1, 2), (2, 3, 2)),
    ((2, 2, 2), (1, 3, 2)),
    ((0, 2, 3), (0, 2, 3)),
    ((2, 3), (0, 3)),
]

_attention_weights = declare(
    "attention_weights", _weights, [_by_query, _by_key], formula="softmax({0} {1}ᵀ · scale)",
    derivatives=["(diag({y}) − {y} {y}ᵀ) {1} · scale", "(diag({y}) − {y} {y}ᵀ) {0} · scale"],
    samples=lambda rng: [Sample((draw(rng, q), draw(rng, k)), {"scale": 0.7}) for q, k in _PAIRS],
    doc="How much each query attends to each key.",
    expansion=_weights_expansion,
)  # fmt: skip


def _masked_samples(rng: np.random.Generator) -> list[Sample]:
    q, k = draw(rng, (2, 2, 3)), draw(rng, (2, 3, 3))
    hides = np.array([[True, False, False], [True, True, True]])
    return [Sample((q, k, m), {"scale": 0.7}) for m in (draw(rng, (2, 3)), draw(rng, (2, 1, 3)), hides)] + [
        Sample((q[None], k, draw(rng, (1, 2, 1, 3))), {"scale": 0.7})
    ]


_masked_weights = declare(
    "masked_attention_weights", _weights, [_by_query, _by_key, _by_mask], formula="softmax({0} {1}ᵀ · scale + {2})",
    derivatives=["(diag({y}) − {y} {y}ᵀ) {1} · scale", "(diag({y}) − {y} {y}ᵀ) {0} · scale", "diag({y}) − {y} {y}ᵀ"],
    samples=_masked_samples,
    doc="How much each query attends to each key; a boolean mask hides where it is True, a float mask is added.",
    expansion=_weights_expansion,
)  # fmt: skip

_values = declare(
    "attention_values", lambda w, v: _product(w, v, v),
    [lambda g, y, w, v: unbroadcast(g @ _transposed(v), w.shape),
     lambda g, y, w, v: unbroadcast(_product(_transposed(w), g, v), v.shape)],
    arity=2, formula="{0} {1}", derivatives=["{1}ᵀ", "{0}ᵀ"],
    samples=lambda rng: [Sample((draw(rng, w), draw(rng, v))) for w, v in [
        ((2, 3), (3, 2)), ((2, 1, 2), (2, 2, 3)), ((1, 2, 1, 3), (1, 1, 3, 2)),
        ((2, 2, 3), (1, 3, 2)), ((0, 2, 3), (0, 3, 2)), ((2, 0), (0, 3))]],
    doc="The weighted sums of the values.",
    expansion=_values_expansion,
)  # fmt: skip


def _attend(q: Tensor, k: Tensor, v: Tensor, hides: Any, scale: float, drop: float) -> tuple[Tensor, Tensor]:
    """The mixed values and the weights; `hides` is a boolean mask, a float one or None."""
    if hides is None:
        weights = _attention_weights(q, k, scale=scale)
    else:
        weights = _masked_weights(q, k, hides if hides.dtype in (bool, q.dtype) else hides.astype(q.dtype), scale=scale)
    if drop:
        weights = dropout(weights, drop)
    mixed: Tensor = _values(weights, v)
    return mixed, weights


def _mask(layer: str, name: str, mask: Any) -> Tensor:
    found: Tensor = as_tensor(mask)
    if found.dtype.kind not in "bf":
        raise TypeError(f"{layer}: {name} is boolean or floating-point, got {describe(found)}; write mask.astype(bool)")
    return found


def _future(length: int, keys: int, query: Tensor) -> Tensor:
    """True where a key comes after its query."""
    return as_tensor(brought(~np.tri(length, keys, dtype=bool), plain(query)))


@flagged
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Attention, softmax(Q Kᵀ · scale + mask) V.

    Args:
        query: Q, shape (..., L, E).
        key: K, shape (..., S, E).
        value: V, shape (..., S, Ev).
        attn_mask: floating-point, added to the scores, or boolean, and then **True lets a query see a key** (PyTorch's
            convention of this function; the masks of `MultiheadAttention` hide where True). Its shape broadcasts to
            (..., L, S); a float mask may require a gradient. A query that sees nothing gets zeros.
        dropout_p: the part of the weights that is dropped, always: give 0 in evaluation.
        is_causal: query i sees the keys 0 … i; instead of a mask.
        scale: 1/√E by default.

    Returns:
        shape (..., L, Ev).

    Raises:
        ValueError: for shapes that do not fit, and for a mask together with `is_causal`.
        TypeError: for a mask of integers.

    Source: Vaswani et al. 2017, *Attention Is All You Need*, section 3.2.1.

    >>> import numpy as np, nn.functional as F
    >>> q = k = np.eye(2)
    >>> F.scaled_dot_product_attention(q, k, np.array([[1.0], [3.0]]), is_causal=True).round(3)
    Tensor([[1.   ],
            [2.34]])
    """
    name = "scaled_dot_product_attention"
    q, k, v = as_tensor(query), as_tensor(key), as_tensor(value)
    for x in (q, k, v):
        floats(name, x)
    try:
        if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
            raise ValueError
        batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        raise ValueError(
            f"{name}: needs query (..., L, E), key (..., S, E) and value (..., S, Ev); got query {q.shape}, "
            f"key {k.shape}, value {v.shape}"
        ) from None
    scores = (*np.broadcast_shapes(q.shape[:-2], k.shape[:-2]), q.shape[-2], k.shape[-2])
    hides: Any = None
    if attn_mask is not None:
        if is_causal:
            raise ValueError(f"{name}: give attn_mask or is_causal=True, not both")
        hides = _mask(name, "attn_mask", attn_mask)
        full = (*batch, *scores[-2:])
        try:
            fits = np.broadcast_shapes(hides.shape, full) == full
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"{name}: attn_mask has shape {hides.shape}, expects one that broadcasts to {full}")
        if hides.ndim > len(scores) or np.broadcast_shapes(hides.shape, scores) != scores:
            q = ad.broadcast_to(q, (*batch, *q.shape[-2:]))
        if hides.dtype == bool:
            hides = as_tensor(~plain(hides))
    elif is_causal:
        hides = _future(q.shape[-2], k.shape[-2], q)
    drop = number(name, "dropout_p", dropout_p, 0, 1)
    if scale is None:
        scale = 1 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0
    return _attend(q, k, v, hides, number(name, "scale", scale), drop)[0]


class MultiheadAttention(Module):
    """Attention of several heads, each on its own projections: concat(head₁ …) Wₒᵀ + bₒ, head = softmax(Q Kᵀ/√d) V.

    Args:
        embed_dim: length E of the queries' last axis and of the output's.
        num_heads: H; each head works on d = E/H features.
        dropout: the part of the attention weights that is dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: append a learned key and value to each sequence.
        add_zero_attn: append a key and value of zeros to each sequence.
        kdim, vdim: length of the keys' and values' last axis, E by default.
        batch_first: sequences are (N, L, E); by default they are (L, N, E).
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values; the one that `nn.manual_seed` sets by default.

    Parameters: PyTorch's, `in_proj_weight` (3E, E), or with other `kdim` or `vdim` `q_proj_weight` (E, E),
    `k_proj_weight` (E, kdim) and `v_proj_weight` (E, vdim), all drawn by Xavier's uniform rule; `in_proj_bias` (3E,)
    and `out_proj.bias` (E,), zeros; `out_proj.weight` (E, E); `bias_k` and `bias_v` (1, 1, E).

    Differences from PyTorch: ``is_causal=True`` without a mask builds one, where PyTorch raises an error (with a mask,
    the mask counts); a query all of whose keys are hidden gets weights 0, where PyTorch gives NaN with
    ``need_weights=True`` and 0 without; a boolean and a float mask may be mixed.

    Raises:
        TypeError, ValueError: for sizes that are not counts, `embed_dim` that `num_heads` does not divide, and inputs
            or masks of another shape or kind.

    Source: Vaswani et al. 2017, *Attention Is All You Need*, section 3.2.2.

    >>> import numpy as np, nn
    >>> layer = nn.MultiheadAttention(4, 2, batch_first=True)
    >>> x = np.ones((5, 3, 4), "float32")
    >>> output, weights = layer(x, x, x, is_causal=True)
    >>> output.shape, weights.shape
    ((5, 3, 4), (5, 3, 3))
    >>> weights[0].numpy().round(2)
    array([[1.  , 0.  , 0.  ],
           [0.5 , 0.5 , 0.  ],
           [0.33, 0.33, 0.33]], dtype=float32)
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        name = "MultiheadAttention"
        e = self.embed_dim = count(name, "embed_dim", embed_dim, 1)
        self.num_heads = count(name, "num_heads", num_heads, 1)
        if e % self.num_heads:
            raise ValueError(f"{name}: embed_dim is a multiple of num_heads, not {e} with {num_heads} heads")
        self.head_dim = e // self.num_heads
        self.dropout = number(name, "dropout", dropout, 0, 1)
        self.kdim = e if kdim is None else count(name, "kdim", kdim, 1)
        self.vdim = e if vdim is None else count(name, "vdim", vdim, 1)
        self.add_zero_attn, self.batch_first = bool(add_zero_attn), bool(batch_first)
        dtype = floating(dtype)
        packed = self.kdim == e and self.vdim == e
        shapes = {
            "in_proj_weight": (3 * e, e) if packed else None,
            "q_proj_weight": None if packed else (e, e),
            "k_proj_weight": None if packed else (e, self.kdim),
            "v_proj_weight": None if packed else (e, self.vdim),
            "in_proj_bias": (3 * e,) if bias else None,
            "bias_k": (1, 1, e) if add_bias_kv else None,
            "bias_v": (1, 1, e) if add_bias_kv else None,
        }
        for parameter, shape in shapes.items():
            self.register_parameter(parameter, Parameter(np.zeros(shape, dtype)) if shape else None)
        self.out_proj = Linear(e, e, bias, dtype, generator(rng))
        self.reset_parameters(rng)

    def reset_parameters(self, rng: np.random.Generator | None = None) -> None:
        """Draw the initial values again."""
        rng = generator(rng)
        self.out_proj.reset_parameters(rng)
        for w in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if w is not None:
                xavier_uniform_(w, rng=rng)
        for b in (self.in_proj_bias, self.out_proj.bias):
            if b is not None:
                zeros_(b)
        for b in (self.bias_k, self.bias_v):
            if b is not None:
                xavier_normal_(b, rng=rng)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from each query to the keys.

        Args:
            query: shape (L, N, E), with `batch_first` (N, L, E), or for one sequence (L, E).
            key, value: likewise, with S in place of L, and kdim and vdim in place of E.
            key_padding_mask: shape (N, S), for one sequence (S,): keys that no query sees.
            need_weights: return the weights too.
            attn_mask: shape (L, S) or (N·H, L, S), for one sequence (H, L, S): keys that a query does not see.
            average_attn_weights: return the weights' mean over the heads, or those of each head.
            is_causal: without `attn_mask`, query i sees the keys 0 … i; with it, the mask counts.

        Masks hide where they are True; float masks are added to the scores, and may require a gradient.

        Returns:
            the output in the query's form, and the weights, shape (N, L, S) or (N, H, L, S), without N for one
            sequence; None in their place without `need_weights`.
        """
        q, k, v = as_tensor(query), as_tensor(key), as_tensor(value)
        self._check(q, k, v)
        one = q.ndim == 2
        if one:
            q, k, v = (x.reshape((1, *x.shape)) for x in (q, k, v))
        along = 1 if one or self.batch_first else 0  # the axis of the sequence
        n, length, keys = q.shape[1 - along], q.shape[along], k.shape[along]
        hides = self._hidden(attn_mask, key_padding_mask, is_causal, (n, length, keys), one)
        q, k, v = self._project(q, k, v, along)
        more = k.shape[along] - keys
        if more and hides is not None:
            hides = ad.concatenate([hides, brought(np.zeros((*hides.shape[:-1], more), hides.dtype), plain(hides))], -1)
        q, k, v = (self._split(x, along) for x in (q, k, v))
        drop = self.dropout if self.training else 0.0
        mixed, seen = _attend(q, k, v, hides, 1 / math.sqrt(self.head_dim), drop)
        mixed = mixed.transpose((0, 2, 1, 3) if along else (2, 0, 1, 3))
        output = self.out_proj(mixed.reshape((*mixed.shape[:2], self.embed_dim)))
        if one:
            output = output.reshape(output.shape[1:])
        if not need_weights:
            return output, None
        if average_attn_weights:
            seen = seen.mean(axis=1)
        return output, seen.reshape(seen.shape[1:]) if one else seen

    def _project(self, q: Tensor, k: Tensor, v: Tensor, along: int) -> tuple[Tensor, ...]:
        """Queries, keys and values of all heads, (N, L, E) or (L, N, E), with what is appended to keys and values."""
        e, b, packed = self.embed_dim, self.in_proj_bias, self.in_proj_weight
        parts = [slice(i * e, (i + 1) * e) for i in range(3)]
        weights: list[Any] = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        if packed is not None:
            weights = [packed[part] for part in parts]
        biases = [None if b is None else b[part] for part in parts]
        q, k, v = (linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases))
        shape = (q.shape[0], 1, e) if along else (1, q.shape[1], e)
        if self.bias_k is not None and self.bias_v is not None:
            k = ad.concatenate([k, ad.broadcast_to(self.bias_k, shape)], along)
            v = ad.concatenate([v, ad.broadcast_to(self.bias_v, shape)], along)
        if self.add_zero_attn:
            k, v = (ad.concatenate([x, brought(np.zeros(shape, x.dtype), plain(x))], along) for x in (k, v))
        return q, k, v

    def _split(self, x: Tensor, along: int) -> Tensor:
        """The heads of a projection, shape (N, H, length, d)."""
        heads = x.reshape((*x.shape[:2], self.num_heads, self.head_dim))
        return heads.transpose((0, 2, 1, 3) if along else (1, 2, 0, 3))

    def _hidden(self, mask: Any, padding: Any, is_causal: bool, sizes: tuple[int, ...], one: bool) -> Any:
        """The masks as one, of a shape that broadcasts to (N, H, L, S)."""
        h, (n, length, keys), name = self.num_heads, sizes, "MultiheadAttention"
        found = None
        if mask is not None:
            found = _mask(name, "attn_mask", mask)
            if found.shape not in ((length, keys), (n * h, length, keys)):
                raise ValueError(
                    f"{name}: attn_mask has shape {found.shape}, expects (L, S) = {(length, keys)} or "
                    f"({'' if one else 'N·'}H, L, S) = {(n * h, length, keys)}"
                )
            if found.ndim == 3:
                found = found.reshape((n, h, length, keys))
        elif is_causal:
            found = _future(length, keys, self.out_proj.weight)
        if padding is None:
            return found
        pad = _mask(name, "key_padding_mask", padding)
        if pad.shape != ((keys,) if one else (n, keys)):
            raise ValueError(
                f"{name}: key_padding_mask has shape {pad.shape}, expects "
                + (f"(S,) = {(keys,)}" if one else f"(N, S) = {(n, keys)}")
            )
        pad = pad.reshape((n, 1, 1, keys))
        if found is None:
            return pad
        if found.dtype == bool and pad.dtype == bool:
            return as_tensor(plain(found) | plain(pad))
        return _added(found, pad.dtype) + _added(pad, found.dtype)

    def _check(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        along = 1 if self.batch_first else 0
        widths = (self.embed_dim, self.kdim, self.vdim)
        fits = q.ndim == k.ndim == v.ndim and q.ndim in (2, 3) and k.shape[:-1] == v.shape[:-1]
        fits = fits and all(x.shape[-1] == width for x, width in zip((q, k, v), widths))
        if not fits or (q.ndim == 3 and q.shape[1 - along] != k.shape[1 - along]):
            form = ("(N, L, {})", "(N, S, {})") if along else ("(L, N, {})", "(S, N, {})")
            expected = ", ".join(
                f"{name} {form[name != 'query'].format(width)}"
                for name, width in zip(("query", "key", "value"), widths)
            )
            raise ValueError(
                f"MultiheadAttention({self.extra_repr()}): got query {q.shape}, key {k.shape}, value {v.shape}; "
                f"expects {expected}, or all of them without N"
            )
        for x in (q, k, v):
            floats("MultiheadAttention", x, self.out_proj.weight)

    def multiply_adds(self, input_shapes: tuple[Any, ...], output_shape: Any) -> int:
        """Three projections, scores and mixing (the output's projection counts its own)."""
        query, key = input_shapes[:2]
        queries, keys = math.prod(query[:-1]), math.prod(key[:-1])
        seen = key[1 if len(key) == 3 and self.batch_first else 0] + (self.bias_k is not None) + self.add_zero_attn
        projections = queries * self.embed_dim + keys * (self.kdim + self.vdim)
        return int(self.embed_dim * (projections + 2 * queries * seen))

    def extra_repr(self) -> str:
        options: dict[str, Any] = {"embed_dim": self.embed_dim, "num_heads": self.num_heads}
        options |= {"kdim": self.kdim, "vdim": self.vdim} if self.in_proj_weight is None else {}
        options |= {"dropout": self.dropout} if self.dropout else {}
        options |= {"batch_first": True} if self.batch_first else {}
        return ", ".join(f"{name}={value}" for name, value in options.items())


def _added(mask: Tensor, other: Any) -> Tensor:
    """A mask as one that is added: −∞ where a boolean one is True."""
    if mask.dtype.kind == "f":
        return mask
    return as_tensor(np.where(plain(mask), -np.inf, 0).astype(other))
