"""Dropout: of single values, and of whole channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.flags import flagged
from autodiff.opaque import opaque
from autodiff.primitive import Sample, declare
from autodiff.tensor import plain

from .arguments import as_tensor, floats, number
from .module.module import Module
from .random import generator

_dropout = declare(
    "dropout", lambda x, mask: x * mask, [lambda g, y, x, mask: g * mask],
    jvps="linear", formula="{0} ⊙ mask", derivatives=["mask"],
    samples=lambda rng: [Sample((rng.normal(size=s),), {"mask": 2.0 * (rng.random(m) < 0.5)})
                         for s, m in [((2, 3), (2, 3)), ((2, 2, 2), (2, 2, 1)), ((), ()), ((0, 3), (0, 3))]],
    doc="x times a mask of zeros (what is dropped) and a constant.",
    expansion=lambda x, mask: x * mask,
)  # fmt: skip


def _drawn(input: Any, rng: np.random.Generator, shape: tuple[int, ...], p: float, inverted: bool) -> Any:
    """A mask for the input, of its dtype."""
    keep = 1 - p
    kept = rng.random(shape, np.float32) < keep if p < 1 else np.zeros(shape, bool)
    mask = kept.astype(input.dtype)
    if inverted and p < 1:
        mask *= 1 / keep
    return mask


_mask = opaque(_drawn, "dropout_mask", "a draw", draws=True)


def _dropped(
    layer: str, input: Any, shape: tuple[int, ...], p: float, training: bool, rng: Any, inverted: bool
) -> Tensor:
    """`shape` is that of the mask."""
    rng = generator(rng)
    if not training:
        return input if inverted or p == 0 else input * (1 - p)
    if p == 0:
        return input
    floats(layer, input)
    return _dropout(input, mask=_mask(plain(input), rng, shape, p, inverted))


@flagged
def dropout(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    inverted: bool = True,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Set each value to 0 with probability p and scale the others by 1/(1 − p), so that the mean stays.

    Args:
        input: any shape.
        p: the probability with which a value is dropped.
        training: False returns the input.
        inplace: accepted for PyTorch's sake; changes nothing.
        inverted: with False, nothing is scaled in training, and the input times 1 − p is returned without (the weight
            scaling rule of the source documents, whose p is the probability to keep).
        rng: generator to draw from; the one that `nn.manual_seed` sets by default.

    Raises:
        ValueError: for p outside [0, 1].
        TypeError: for values that are not floating-point, or another `rng`.
    """
    input = as_tensor(input)
    return _dropped("dropout", input, input.shape, number("dropout", "p", p, 0, 1), training, rng, inverted)


@flagged
def dropout2d(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    inverted: bool = True,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Set each channel of each sample to 0 with probability p and scale the others by 1/(1 − p).

    Args:
        input: shape (N, C, H, W) or (N, C, L).
        p, training, inplace, inverted, rng: as for `dropout`.

    Raises:
        ValueError: for p outside [0, 1], or another rank.
        TypeError: for values that are not floating-point, or another `rng`.
    """
    return _channels("dropout2d", input, number("dropout2d", "p", p, 0, 1), training, rng, inverted)


def _channels(layer: str, input: Any, p: float, training: bool, rng: Any, inverted: bool) -> Tensor:
    input = as_tensor(input)
    if input.ndim not in (3, 4):
        raise ValueError(f"{layer}: got input of shape {input.shape}, expects (N, C, H, W) or (N, C, L)")
    return _dropped(layer, input, input.shape[:2] + (1,) * (input.ndim - 2), p, training, rng, inverted)


class Dropout(Module):
    """In training, set each value to 0 with probability p and scale the others by 1/(1 − p); in evaluation, nothing.

    Args:
        p: the probability with which a value is dropped.
        inplace: accepted for PyTorch's sake; changes nothing.
        inverted: with False, nothing is scaled in training, and in evaluation everything by 1 − p (the weight scaling
            rule of the source documents, whose p is the probability to keep).
        rng: generator to draw from; the one that `nn.manual_seed` sets by default.

    Raises:
        ValueError: for p outside [0, 1].

    Source: Srivastava et al., Dropout, 2014.

    >>> import numpy as np, nn
    >>> layer = nn.Dropout(0.5, rng=np.random.default_rng(0))
    >>> layer(np.ones(6, "float32")).data
    array([0., 0., 0., 2., 2., 2.], dtype=float32)
    >>> layer.eval()(np.ones(3, "float32")).data
    array([1., 1., 1.], dtype=float32)
    """

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        inverted: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.p = number(type(self).__name__, "p", p, 0, 1)
        self.inplace = bool(inplace)
        self.inverted = bool(inverted)
        generator(rng)
        self.rng = rng

    def forward(self, input: Any) -> Tensor:
        """x ⊙ mask / (1 − p)."""
        input = as_tensor(input)
        return _dropped(f"Dropout(p={self.p})", input, input.shape, self.p, self.training, self.rng, self.inverted)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}" + ("" if self.inverted else ", inverted=False")


class Dropout2d(Dropout):
    """Dropout of whole channels: each channel of each sample is set to 0 with probability p.

    Arguments are those of `Dropout`.

    Shapes: input and output (N, C, H, W) or (N, C, L).

    Raises:
        ValueError: for p outside [0, 1], and inputs of another rank.

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.

    >>> import numpy as np, nn
    >>> layer = nn.Dropout2d(0.5, rng=np.random.default_rng(0))
    >>> layer(np.ones((1, 4, 1, 2), "float32")).data[0, :, 0]
    array([[0., 0.],
           [0., 0.],
           [0., 0.],
           [2., 2.]], dtype=float32)
    """

    def forward(self, input: Any) -> Tensor:
        """x ⊙ mask / (1 − p), the mask constant over each channel."""
        name = f"Dropout2d(p={self.p})"
        return _channels(name, input, self.p, self.training, self.rng, self.inverted)
