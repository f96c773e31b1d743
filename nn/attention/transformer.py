"""Transformers: the layers of encoder and decoder, stacks of them, and positions as sines.

All are compositions of `MultiheadAttention`, `Linear`, `LayerNorm` and `Dropout`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.tensor import plain

from ..activation import gelu, relu
from ..arguments import as_tensor, choice, count, floats
from ..dropout import Dropout
from ..init import xavier_uniform_
from ..linear import Linear
from ..module.container import ModuleList
from ..module.module import Module
from ..normalization import LayerNorm
from ..random import floating, generator
from .attention import MultiheadAttention

Activation = str | Callable[[Any], Any]


class _Layer(Module):
    """What the layers of encoder and decoder share."""

    attentions = 1

    self_attn: MultiheadAttention
    linear1: Linear
    dropout: Dropout
    linear2: Linear

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        name, rng = type(self).__name__, generator(rng)
        self.norm_first = bool(norm_first)
        if isinstance(activation, str) or not callable(activation):
            chosen = choice(name, "activation (unless a function)", activation, ("relu", "gelu"))
            activation = relu if chosen == "relu" else gelu
        for attention in ("self_attn", "multihead_attn")[: self.attentions]:
            layer = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype, rng=rng
            )  # fmt: skip
            setattr(self, attention, layer)
        self.linear1 = Linear(d_model, count(name, "dim_feedforward", dim_feedforward), bias, dtype, rng)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype, rng)
        numbers = range(1, self.attentions + 2)
        for i in numbers:
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for i in numbers:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = activation

    def _added(self, x: Any, *parts: Callable[[Any], Any]) -> Tensor:
        """x plus what each part makes of it, with a norm before the part or after the sum."""
        y: Tensor = x
        for i, part in enumerate(parts, 1):
            norm, dropout = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
            y = y + dropout(part(norm(y))) if self.norm_first else norm(y + dropout(part(y)))
        return y

    def _attended(self, mask: Any, padding: Any, is_causal: bool) -> Callable[[Any], Any]:
        return lambda x: self.self_attn(x, x, x, padding, False, mask, is_causal=is_causal)[0]

    def _fed_forward(self, x: Any) -> Any:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def _input(self, value: Any, name: str) -> Tensor:
        x: Tensor = as_tensor(value)
        e, layer = self.self_attn.embed_dim, type(self).__name__
        if x.ndim not in (2, 3) or x.shape[-1] != e:
            form = f"(N, L, {e})" if self.self_attn.batch_first else f"(L, N, {e})"
            raise ValueError(f"{layer}: got {name} of shape {x.shape}, expects {form} or (L, {e})")
        floats(layer, x, self.linear1.weight)
        return x

    def extra_repr(self) -> str:
        return f"norm_first={self.norm_first}, batch_first={self.self_attn.batch_first}"


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, then two linear layers, each added to its input and normalised.

    y = norm₁(x + attention(x)), z = norm₂(y + linear₂(activation(linear₁(y)))); with `norm_first`
    y = x + attention(norm₁(x)), z = y + linear₂(activation(linear₁(norm₂(y)))).

    Args:
        d_model: length E of the last axis of input and output.
        nhead: number of heads of the attention.
        dim_feedforward: width between the two linear layers.
        dropout: the part that is dropped in training, of the attention weights, after the activation, and of what each
            part adds.
        activation: between the two linear layers: "relu", "gelu" or a function or module.
        layer_norm_eps: ε of the layer norms.
        batch_first: sequences are (N, L, E); by default they are (L, N, E).
        norm_first: normalise what goes into each part (pre-norm) in place of each sum (post-norm).
        bias: whether linear layers and norms have biases.
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values; the one that `nn.manual_seed` sets by default.

    Shapes: input and output (L, N, E), with `batch_first` (N, L, E), or for one sequence (L, E).

    Raises:
        TypeError, ValueError: for options, inputs and masks that do not fit.

    Source: Vaswani et al. 2017, *Attention Is All You Need*, section 3; norm_first: Xiong et al. 2020, *On Layer
    Normalization in the Transformer Architecture*.

    >>> import numpy as np, nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(np.ones((5, 3, 8), "float32"), is_causal=True).shape
    (5, 3, 8)
    """

    norm1: LayerNorm
    norm2: LayerNorm

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> Tensor:
        """The layer's output, of the input's shape.

        Args:
            src: the sequences.
            src_mask, src_key_padding_mask, is_causal: `attn_mask`, `key_padding_mask` and `is_causal` of
                `MultiheadAttention`.
        """
        x = self._input(src, "src")
        return self._added(x, self._attended(src_mask, src_key_padding_mask, is_causal), self._fed_forward)


class TransformerDecoderLayer(_Layer):
    """Attention of a sequence to itself, then to the encoder's output, then two linear layers.

    Each is added to its input and normalised, as in `TransformerEncoderLayer`, whose arguments it takes.

    Shapes: input and output (L, N, E), memory (S, N, E), with `batch_first` (N, L, E) and (N, S, E), or for one
    sequence (L, E) and (S, E).

    Raises:
        TypeError, ValueError: for options, inputs and masks that do not fit.

    Source: Vaswani et al. 2017, *Attention Is All You Need*, section 3.

    >>> import numpy as np, nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(np.ones((5, 3, 8), "float32"), np.ones((5, 4, 8), "float32"), tgt_is_causal=True).shape
    (5, 3, 8)
    """

    attentions = 2

    multihead_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    norm3: LayerNorm

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The layer's output, of the shape of `tgt`.

        Args:
            tgt: the sequences.
            memory: the encoder's output.
            tgt_mask, tgt_key_padding_mask, tgt_is_causal: masks of the attention of `tgt` to itself, `attn_mask`,
                `key_padding_mask` and `is_causal` of `MultiheadAttention`.
            memory_mask, memory_key_padding_mask, memory_is_causal: those of its attention to `memory`.
        """
        x, m = self._input(tgt, "tgt"), self._input(memory, "memory")

        def to_memory(x: Any) -> Any:
            return self.multihead_attn(
                x, m, m, memory_key_padding_mask, False, memory_mask, is_causal=memory_is_causal
            )[0]  # fmt: skip

        return self._added(
            x, self._attended(tgt_mask, tgt_key_padding_mask, tgt_is_causal), to_memory, self._fed_forward
        )


class _Stack(Module):
    """Copies of a layer, and a norm after them."""

    norm: Module | None

    def __init__(self, layer: Any, num_layers: int, norm: Module | None = None) -> None:
        name = type(self).__name__
        if not isinstance(layer, Module):
            raise TypeError(f"{name}: takes a layer, not {layer!r}")
        if norm is not None and not isinstance(norm, Module):
            raise TypeError(f"{name}: takes a module or None for its norm, not {norm!r}")
        self.num_layers = count(name, "num_layers", num_layers)
        self.layers = ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.add_module("norm", norm)

    def _run(self, x: Any, *args: Any) -> Any:
        for layer in self.layers:
            x = layer(x, *args)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """Copies of an encoder layer one after another.

    Args:
        encoder_layer: a `TransformerEncoderLayer`; it is copied, so that all layers start with the same values, as
            PyTorch's do.
        num_layers: how many copies.
        norm: a module that is applied to the last layer's output (``nn.LayerNorm(d_model)`` after pre-norm layers).
        enable_nested_tensor, mask_check: accepted for PyTorch's sake; change nothing.

    Raises:
        TypeError, ValueError: for something that is no module, and a number that is no count.

    >>> import numpy as np, nn
    >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), num_layers=2)
    >>> encoder(np.ones((3, 5, 8), "float32")).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        encoder_layer: Any,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None
    ) -> Tensor:
        """The encoded sequences, of the input's shape; each layer is given the masks."""
        return self._run(src, mask, src_key_padding_mask, bool(is_causal))


class TransformerDecoder(_Stack):
    """Copies of a decoder layer one after another.

    Args:
        decoder_layer: a `TransformerDecoderLayer`; it is copied, so that all layers start with the same values, as
            PyTorch's do.
        num_layers: how many copies.
        norm: a module that is applied to the last layer's output.

    Raises:
        TypeError, ValueError: for something that is no module, and a number that is no count.

    >>> import numpy as np, nn
    >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), num_layers=2)
    >>> decoder(np.ones((3, 5, 8), "float32"), np.ones((4, 5, 8), "float32"), tgt_is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(self, decoder_layer: Any, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoded sequences, of the shape of `tgt`; each layer is given the memory and the masks."""
        return self._run(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, bool(tgt_is_causal),
            memory_is_causal,
        )  # fmt: skip


class Transformer(Module):
    """An encoder and a decoder, each a stack of layers with a norm after it; matrices start as Glorot's.

    Args:
        d_model: length E of the last axis of input and output.
        nhead: number of heads of every attention.
        num_encoder_layers, num_decoder_layers: how many layers.
        dim_feedforward, dropout, activation: as `TransformerEncoderLayer`'s.
        custom_encoder, custom_decoder: modules in place of the stacks, called as these are.
        layer_norm_eps, batch_first, norm_first, bias, dtype, rng: as `TransformerEncoderLayer`'s.

    Shapes: as `TransformerDecoder`'s; `src` is (S, N, E), with `batch_first` (N, S, E), or for one sequence (S, E).

    Raises:
        TypeError, ValueError: for options, inputs and masks that do not fit.

    Source: Vaswani et al. 2017, *Attention Is All You Need*.

    >>> import numpy as np, nn
    >>> model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    >>> model(np.ones((5, 4, 8), "float32"), np.ones((5, 3, 8), "float32"), tgt_is_causal=True).shape
    (5, 3, 8)
    """

    encoder: Any
    decoder: Any

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng = generator(rng)
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        options: Any = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype,
            rng,
        )  # fmt: skip
        for name, given, stack, layer, number in (
            ("encoder", custom_encoder, TransformerEncoder, TransformerEncoderLayer, num_encoder_layers),
            ("decoder", custom_decoder, TransformerDecoder, TransformerDecoderLayer, num_decoder_layers),
        ):
            if given is None:
                given = stack(layer(*options), number, LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
            elif not isinstance(given, Module):
                raise TypeError(f"Transformer: custom_{name} is a module or None, not {given!r}")
            setattr(self, name, given)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                xavier_uniform_(parameter, rng=rng)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoded `tgt`, of its shape, from the encoded `src`; masks as the two stacks'."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal,
            memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = None) -> Tensor:
        """The mask that lets no position see a later one: −∞ above the diagonal, else 0; shape (sz, sz).

        >>> Transformer.generate_square_subsequent_mask(2)
        Tensor([[  0., -inf],
                [  0.,   0.]], dtype=float32)
        """
        n = count("generate_square_subsequent_mask", "sz", sz)
        return Tensor(np.triu(np.full((n, n), -np.inf, floating(dtype)), 1))

    def extra_repr(self) -> str:
        return f"d_model={self.d_model}, nhead={self.nhead}, batch_first={self.batch_first}"


class PositionalEncoding(Module):
    """Adds to each position p of a sequence the sines of p at wavelengths from 2π to 20000π, then drops out.

    PE(p, 2i) = sin(p / 10000^(2i/E)), PE(p, 2i + 1) = cos(p / 10000^(2i/E)).

    Args:
        d_model: length E of the last axis.
        dropout: the part that is dropped in training.
        max_len: the longest sequence.
        batch_first: sequences are (N, L, E); by default they are (L, N, E).
        dtype: of the buffer `pe`, shape (max_len, 1, E); `nn.get_default_dtype()` by default.

    Shapes: input and output (L, N, E), with `batch_first` (N, L, E), or for one sequence (L, E).

    Raises:
        TypeError, ValueError: for sizes that are not counts, and inputs of another shape or kind, or longer ones.

    Source: Vaswani et al. 2017, *Attention Is All You Need*, section 3.5.

    >>> import numpy as np, nn
    >>> nn.PositionalEncoding(4, dropout=0.0)(np.zeros((2, 4), "float32")).data.round(2)
    array([[0.  , 1.  , 0.  , 1.  ],
           [0.84, 0.54, 0.01, 1.  ]], dtype=float32)
    """

    pe: Tensor

    def __init__(
        self, d_model: int, dropout: float = 0.1, max_len: int = 5000, batch_first: bool = False, dtype: Any = None
    ) -> None:
        self.d_model = count("PositionalEncoding", "d_model", d_model, 1)
        self.max_len = count("PositionalEncoding", "max_len", max_len, 1)
        self.batch_first = bool(batch_first)
        self.dropout = Dropout(dropout)
        angles = np.arange(max_len)[:, None] * np.exp(np.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = np.empty((max_len, 1, d_model), floating(dtype))
        pe[:, 0, 0::2] = np.sin(angles)
        pe[:, 0, 1::2] = np.cos(angles[:, : d_model // 2])
        self.register_buffer("pe", pe)

    def forward(self, x: Any) -> Tensor:
        """dropout(x + PE)."""
        x = as_tensor(x)
        along = 1 if self.batch_first and x.ndim == 3 else 0
        if x.ndim not in (2, 3) or x.shape[-1] != self.d_model or x.shape[along] > self.max_len:
            form = f"(N, L, {self.d_model})" if self.batch_first else f"(L, N, {self.d_model})"
            raise ValueError(
                f"PositionalEncoding({self.extra_repr()}): got input of shape {x.shape}, expects {form} or "
                f"(L, {self.d_model}), L at most {self.max_len}"
            )
        floats("PositionalEncoding", x, self.pe)
        pe = plain(self.pe)[: x.shape[along]]
        return self.dropout(x + (pe if x.ndim == 3 and not along else pe[:, 0]))

    def extra_repr(self) -> str:
        return f"d_model={self.d_model}, max_len={self.max_len}"
