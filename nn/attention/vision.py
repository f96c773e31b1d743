"""The Vision Transformer: patches of an image as tokens, a class token, an encoder, a head; and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor

from ..activation import GELU, ReLU, Tanh
from ..arguments import as_tensor, count, counts, floats, number
from ..dropout import Dropout
from ..images.conv import Conv2d
from ..init import normal_, trunc_normal_, xavier_uniform_, zeros_
from ..linear import Linear, linear
from ..module.container import Sequential
from ..module.module import Module
from ..module.parameter import Parameter
from ..normalization import BatchNorm2d, LayerNorm
from ..random import floating, generator
from .attention import MultiheadAttention


class PatchEmbedding(Module):
    """Cuts images into patches without overlap and maps each, linearly, to a token.

    It is the convolution whose stride is its kernel's size, with the convolution's parameters, as one matrix product.

    Args:
        in_channels: C.
        embed_dim: length D of a token.
        patch_size: height and width p × q of a patch, one number if they are equal.
        bias: whether there is a bias.
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values, which are `Conv2d`'s: uniform within ±1/√(C p q); the one that
            `nn.manual_seed` sets by default.

    Shapes: input (N, C, H, W) or (C, H, W), output (N, H W / (p q), D) or without N, patches in reading order; `weight`
    (D, C, p, q), `bias` (D,).

    Raises:
        TypeError, ValueError: for sizes that are not counts, and images of another kind or number of channels, or whose
            height and width are no multiples of the patch's.

    Source: Dosovitskiy et al. 2021, *An Image is Worth 16x16 Words*, section 3.1.

    >>> import numpy as np, nn
    >>> nn.PatchEmbedding(3, 8, 16)(np.ones((2, 3, 32, 48), "float32")).shape
    (2, 6, 8)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        embed_dim: int,
        patch_size: int | Sequence[int],
        bias: bool = True,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        name, dtype = "PatchEmbedding", floating(dtype)
        self.in_channels = count(name, "in_channels", in_channels, 1)
        self.embed_dim = count(name, "embed_dim", embed_dim, 1)
        self.patch_size = counts(name, "patch_size", patch_size, 2, 1)
        self.weight = Parameter(np.empty((embed_dim, in_channels, *self.patch_size), dtype))
        self.register_parameter("bias", Parameter(np.empty(embed_dim, dtype)) if bias else None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng: np.random.Generator | None = None) -> None:
        """Draw the initial values again: weight, then bias."""
        rng = generator(rng)
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.patch_size))
        for p in self.parameters():
            p.data = rng.uniform(-bound, bound, p.shape).astype(p.dtype)

    def forward(self, input: Any) -> Tensor:
        """The tokens."""
        x, (p, q), c = as_tensor(input), self.patch_size, self.in_channels
        if x.ndim not in (3, 4) or x.shape[-3] != c or x.shape[-2] % p or x.shape[-1] % q:
            raise ValueError(
                f"PatchEmbedding({self.extra_repr()}): got input of shape {x.shape}, expects (N, {c}, H, W) or "
                f"({c}, H, W), H a multiple of {p} and W of {q}"
            )
        floats("PatchEmbedding", x, self.weight)
        batch, rows, columns = x.shape[:-3], x.shape[-2] // p, x.shape[-1] // q
        x = x.reshape((math.prod(batch), c, rows, p, columns, q)).transpose((0, 2, 4, 1, 3, 5))
        x = x.reshape((*batch, rows * columns, c * p * q))
        return linear(x, self.weight.reshape((self.embed_dim, c * p * q)), self.bias)

    def multiply_adds(self, input_shapes: tuple[Any, ...], output_shape: Any) -> int:
        """The size of a filter for each output."""
        return int(math.prod(output_shape) * math.prod(self.weight.shape[1:]))

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.in_channels}, {self.embed_dim}, patch_size={self.patch_size}{bias}"


class EncoderBlock(Module):
    """A layer of `VisionTransformer`: x + attention(ln₁(x)), then x + mlp(ln₂(x)), with torchvision's names."""

    def __init__(
        self, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float, attention_dropout: float,
        norm_layer: Callable[..., Module], dtype: Any, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = MultiheadAttention(
            hidden_dim, num_heads, attention_dropout, batch_first=True, dtype=dtype, rng=rng
        )
        self.dropout = Dropout(dropout)
        self.ln_2 = norm_layer(hidden_dim)
        inner, outer = Linear(hidden_dim, mlp_dim, True, dtype, rng), Linear(mlp_dim, hidden_dim, True, dtype, rng)
        for layer in (inner, outer):
            xavier_uniform_(layer.weight, rng=rng)
            _biased(layer, 1e-6, rng)
        self.mlp = Sequential(inner, GELU(), Dropout(dropout), outer, Dropout(dropout))

    def forward(self, input: Any) -> Tensor:
        """The tokens, of the input's shape (N, L, D)."""
        x = self.ln_1(input)
        x = input + self.dropout(self.self_attention(x, x, x, need_weights=False)[0])
        return x + self.mlp(self.ln_2(x))


class _Encoder(Module):
    """Learned positions, dropout, blocks, a norm; torchvision's names."""

    def __init__(
        self, tokens: int, num_layers: int, width: int, dropout: float, block: Callable[[], Module],
        norm_layer: Callable[..., Module], dtype: Any, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.pos_embedding = Parameter(rng.normal(0, 0.02, (1, tokens, width)).astype(dtype))
        self.dropout = Dropout(dropout)
        self.layers = Sequential({f"encoder_layer_{i}": block() for i in range(num_layers)})
        self.ln = norm_layer(width)

    def forward(self, input: Any) -> Any:
        return self.ln(self.layers(self.dropout(input + self.pos_embedding)))


def _biased(layer: Any, std: float = 0.0, rng: np.random.Generator | None = None) -> None:
    normal_(layer.bias, std=std, rng=rng) if std else zeros_(layer.bias)


class VisionTransformer(Module):
    """Classifies images: tokens of patches and a class token with learned positions, an encoder, a linear head.

    Arguments, parameter names and initial distributions are torchvision's, whose weights load by name.

    Args:
        image_size: height and width of the images.
        patch_size: height and width of a patch; it divides `image_size`.
        num_layers: number of encoder blocks.
        num_heads: heads of their attention.
        hidden_dim: length D of a token.
        mlp_dim: width between the two linear layers of a block.
        dropout: the part that is dropped in training, of the embedded tokens and of what a block adds.
        attention_dropout: the same for attention weights.
        num_classes: K.
        representation_size: the width of a hidden tanh layer in the head; None for none.
        norm_layer: makes a norm of a width; by default ``LayerNorm(width, eps=1e-6)``.
        conv_stem_configs: makes of the patch embedding convolutions with norm and activation, each described by an
            object with `out_channels`, `kernel_size`, `stride` and (optional) `norm_layer` and `activation_layer`, by
            default `BatchNorm2d` and `ReLU`; their strides multiply to `patch_size`.
        in_channels: C (torchvision has 3).
        dtype: of the parameters; `nn.get_default_dtype()` by default.
        rng: generator of the initial values; the one that `nn.manual_seed` sets by default.

    The head starts with zeros, so that at first all classes are equally likely.

    Shapes: input (N, C, image_size, image_size), output (N, K).

    Raises:
        TypeError, ValueError: for sizes that do not fit, and images of another shape or kind.

    Source: Dosovitskiy et al. 2021, *An Image is Worth 16x16 Words*; torchvision.models.VisionTransformer.

    >>> import numpy as np, nn
    >>> model = nn.VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10)
    >>> model(np.ones((5, 3, 32, 32), "float32")).shape
    (5, 10)
    """

    class_token: Parameter

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        representation_size: int | None = None,
        norm_layer: Callable[..., Module] | None = None,
        conv_stem_configs: Sequence[Any] | None = None,
        in_channels: int = 3,
        dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        name, dtype, rng = "VisionTransformer", floating(dtype), generator(rng)
        self.image_size = count(name, "image_size", image_size, 1)
        self.patch_size = count(name, "patch_size", patch_size, 1)
        if self.image_size % self.patch_size:
            raise ValueError(f"{name}: patch_size divides image_size; {image_size} is no multiple of {patch_size}")
        self.hidden_dim = d = count(name, "hidden_dim", hidden_dim, 1)
        self.mlp_dim = count(name, "mlp_dim", mlp_dim, 1)
        self.num_classes = count(name, "num_classes", num_classes, 1)
        self.representation_size = representation_size
        self.in_channels = count(name, "in_channels", in_channels, 1)
        count(name, "num_layers", num_layers)
        make_norm = partial(LayerNorm, eps=1e-6, dtype=dtype) if norm_layer is None else norm_layer

        self.class_token = Parameter(np.zeros((1, 1, d), dtype))
        self.conv_proj: Module
        if conv_stem_configs is None:
            patches = self.conv_proj = PatchEmbedding(in_channels, d, patch_size, dtype=dtype, rng=rng)
            trunc_normal_(patches.weight, std=1 / (math.sqrt(in_channels) * patch_size), rng=rng)
            _biased(patches)
        else:
            self.conv_proj = _stem(conv_stem_configs, in_channels, d, dtype, rng)
        self.seq_length = (image_size // patch_size) ** 2 + 1

        def block() -> Module:
            return EncoderBlock(num_heads, d, mlp_dim, dropout, attention_dropout, make_norm, dtype, rng)

        self.encoder = _Encoder(self.seq_length, num_layers, d, dropout, block, make_norm, dtype, rng)
        heads: dict[str, Module] = {}
        if representation_size is not None:
            before = Linear(d, count(name, "representation_size", representation_size, 1), True, dtype, rng)
            trunc_normal_(before.weight, std=1 / math.sqrt(d), rng=rng)
            _biased(before)
            heads = {"pre_logits": before, "act": Tanh()}
        heads["head"] = head = Linear(representation_size or d, num_classes, True, dtype, rng)
        zeros_(head.weight)
        _biased(head)
        self.heads = Sequential(heads)

    def forward(self, x: Any) -> Tensor:
        """The logits."""
        x, size, c = as_tensor(x), self.image_size, self.in_channels
        if x.ndim != 4 or x.shape[1:] != (c, size, size):
            raise ValueError(f"VisionTransformer: got input of shape {x.shape}, expects (N, {c}, {size}, {size})")
        floats("VisionTransformer", x, self.class_token)
        x = self.conv_proj(x)
        if x.ndim == 4:  # of the convolutional stem: (N, D, rows, columns)
            x = x.reshape((*x.shape[:2], x.shape[2] * x.shape[3])).swapaxes(1, 2)
        if x.shape[1:] != (self.seq_length - 1, self.hidden_dim):
            raise ValueError(
                f"VisionTransformer: conv_stem_configs make {x.shape[1]} tokens of an image, patch_size means "
                f"{self.seq_length - 1}; the strides multiply to {self.patch_size}"
            )
        token = ad.broadcast_to(self.class_token, (x.shape[0], 1, self.hidden_dim))
        tokens = self.encoder(ad.concatenate([token, x], 1))
        return self.heads(tokens[:, 0])


def _stem(configs: Sequence[Any], channels: int, width: int, dtype: Any, rng: np.random.Generator) -> Sequential:
    """Convolutions, each with norm and activation, and one of kernel 1 (Xiao et al. 2021)."""
    layers: dict[str, Module] = {}
    for i, config in enumerate(configs):
        make_norm = getattr(config, "norm_layer", None) or partial(BatchNorm2d, dtype=dtype)
        activation = getattr(config, "activation_layer", None) or ReLU
        size, out = config.kernel_size, config.out_channels
        convolution = Conv2d(channels, out, size, config.stride, (size - 1) // 2, bias=False, dtype=dtype, rng=rng)
        layers[f"conv_bn_relu_{i}"] = Sequential(convolution, make_norm(out), activation())
        channels = out
    layers["conv_last"] = last = Conv2d(channels, width, 1, dtype=dtype, rng=rng)
    normal_(last.weight, std=math.sqrt(2 / width), rng=rng)
    _biased(last)
    return Sequential(layers)


def vit_arithmetic(
    image_size: int,
    patch_size: int,
    dim: int,
    depth: int,
    heads: int,
    mlp_ratio: float,
    num_classes: int = 1000,
    in_channels: int = 3,
) -> dict[str, int]:
    """What a Vision Transformer costs: tokens, attention entries, parameters and multiply-adds for one image.

    Args:
        image_size, patch_size: height and width of image and patch.
        dim: length D of a token.
        depth: number of encoder blocks.
        heads: h.
        mlp_ratio: the width between the two linear layers of a block, D_mlp, as a multiple of D.
        num_classes, in_channels: of the head and of the images.

    Returns:
        a dict with

        - `patches`, `tokens` (N: the patches and the class token), `head_dim`, `mlp_hidden` (D_mlp);
        - `attention_entries_per_head` N², `attention_entries_per_layer` h N² and `attention_entries` of all layers:
          what is stored of attention grows with the number of heads;
        - the terms of a layer's order of growth, without constants: `attention_multiply_adds_N2D` N² D,
          `projection_multiply_adds_4ND2` 4 N D², `mlp_multiply_adds_N_D_Dmlp` N D D_mlp;
        - the full counts: `attention_multiply_adds` 2 N² D (scores and mixing), `projection_multiply_adds` 4 N D²,
          `mlp_multiply_adds` 2 N D D_mlp, their sum `multiply_adds_per_layer`, and `multiply_adds` of the whole model
          (matrix products only) with patch embedding and head;
        - `parameters_per_layer` and `parameters`, those of `VisionTransformer`.

    Raises:
        TypeError, ValueError: for sizes that are not counts or do not divide each other.

    >>> cost = vit_arithmetic(224, 16, 192, 12, 3, 4)
    >>> cost["tokens"], cost["attention_entries_per_layer"], cost["parameters"]
    (197, 116427, 5717416)
    """
    name = "vit_arithmetic"
    names = ("image_size", "patch_size", "dim", "heads", "num_classes", "in_channels")
    size, patch, d, heads, classes, channels = (
        count(name, n, v, 1) for n, v in zip(names, (image_size, patch_size, dim, heads, num_classes, in_channels))
    )
    depth = count(name, "depth", depth)
    if size % patch:
        raise ValueError(f"{name}: patch_size divides image_size; {size} is no multiple of {patch}")
    if d % heads:
        raise ValueError(f"{name}: heads divide dim; {d} is no multiple of {heads}")
    hidden = round(number(name, "mlp_ratio", mlp_ratio, 0) * d)
    patches = (size // patch) ** 2
    n = patches + 1
    pixels = channels * patch * patch
    attention, projection, mlp = 2 * n * n * d, 4 * n * d * d, 2 * n * d * hidden
    layer = attention + projection + mlp
    layer_parameters = 4 * d * (d + 1) + d * (hidden + 1) + hidden * (d + 1) + 4 * d
    return {
        "patches": patches,
        "tokens": n,
        "head_dim": d // heads,
        "mlp_hidden": hidden,
        "attention_entries_per_head": n * n,
        "attention_entries_per_layer": heads * n * n,
        "attention_entries": depth * heads * n * n,
        "attention_multiply_adds_N2D": n * n * d,
        "projection_multiply_adds_4ND2": projection,
        "mlp_multiply_adds_N_D_Dmlp": n * d * hidden,
        "attention_multiply_adds": attention,
        "projection_multiply_adds": projection,
        "mlp_multiply_adds": mlp,
        "multiply_adds_per_layer": layer,
        "multiply_adds": depth * layer + patches * pixels * d + d * classes,
        "parameters_per_layer": layer_parameters,
        "parameters": depth * layer_parameters
        + (pixels + 1) * d  # patch embedding
        + (n + 1) * d  # positions and class token
        + 2 * d  # last norm
        + (d + 1) * classes,
    }
