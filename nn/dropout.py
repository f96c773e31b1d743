"""Dropout: of single values, and of whole channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.device_arrays import random_numbers
from autodiff.devices import place_of
from autodiff.flags import flagged
from autodiff.opaque import opaque
from autodiff.primitive import Sample, declare
from autodiff.tensor import plain

from .arguments import as_tensor, floats, number
from .axes import OverAxes, over_axes, written
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
    """A mask for the input, of its dtype and where it is."""
    keep = 1 - p
    if p == 1:
        return np.zeros_like(input, shape=shape)
    mask = (random_numbers(rng, "random", shape, place_of(input), dtype=np.float32) < keep).astype(input.dtype)
    if inverted:
        mask *= 1 / keep
    return mask


_mask = opaque(_drawn, "dropout_mask", "a draw", draws=True, written=_drawn)


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


def _dropout_nd(
    n: int,
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    inverted: bool = True,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Set each channel of each sample to 0 with probability p and scale the others by 1/(1 − p).

    Args:
        input: shape {Dropout}.
        p, training, inplace, inverted, rng: as for `dropout`.

    Raises:
        ValueError: for p outside [0, 1], or another rank.
        TypeError: for values that are not floating-point, or another `rng`.

    >>> dropout{n}d(np.ones((5, 3, {4 ...})), training=False).shape
    (5, 3, {4 ...})
    """
    name = f"dropout{n}d"
    return _channels(name, n, input, number(name, "p", p, 0, 1), training, rng, inverted)


dropout1d, dropout2d, dropout3d = over_axes(_dropout_nd)


def _channels(layer: str, n: int, input: Any, p: float, training: bool, rng: Any, inverted: bool) -> Tensor:
    input = as_tensor(input)
    if input.ndim not in (n + 1, n + 2):
        raise ValueError(f"{layer}: got input of shape {input.shape}, expects {written('{Dropout}', n)}")
    # Over two axes, three are a batch of signals and not one image, as PyTorch's.
    kept = 1 if n != 2 and input.ndim == n + 1 else 2
    return _dropped(layer, input, input.shape[:kept] + (1,) * (input.ndim - kept), p, training, rng, inverted)


_SATURATED = -1.7580993408473766
"""What SELU approaches at −∞."""


@flagged
def alpha_dropout(
    input: Any,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Set each value to α′ = −1.758…, what SELU approaches at −∞, with probability p; then a x + b, so that mean 0 and
    variance 1 stay: a = ((1 − p)(1 + p α′²))^(−½), b = −a p α′.

    Args:
        input: any shape.
        p: the probability with which a value is dropped; with 1 all are 0.
        training: False returns the input.
        inplace: accepted for PyTorch's sake; changes nothing.
        rng: generator to draw from; the one that `nn.manual_seed` sets by default.

    Raises:
        ValueError: for p outside [0, 1].
        TypeError: for values that are not floating-point, or another `rng`.

    Source: Klambauer et al., Self-Normalizing Neural Networks, 2017.

    >>> alpha_dropout(np.zeros(3), 0.5, True, rng=np.random.default_rng(0)).numpy().round(3)
    array([-0.779, -0.779, -0.779])
    """
    x, p, rng = as_tensor(input), number("alpha_dropout", "p", p, 0, 1), generator(rng)
    if not training or p == 0:
        return x
    floats("alpha_dropout", x)
    mask = _mask(plain(x), rng, x.shape, p, False)
    a = 0.0 if p == 1 else ((1 - p) * (1 + p * _SATURATED**2)) ** -0.5
    shift = (1 - mask) * (a * _SATURATED) + mask.dtype.type(-a * p * _SATURATED)
    return _dropout(x, mask=mask * a) + shift


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


class _ChannelDropout(Dropout, OverAxes):
    _text = """Dropout of whole channels: each channel of each sample is set to 0 with probability p.

    Arguments are those of `Dropout`.

    Shapes: input and output {Dropout}.

    Raises:
        ValueError: for p outside [0, 1], and inputs of another rank.

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.

    >>> import numpy as np, nn
    >>> layer = nn.Dropout{n}d(0.5, rng=np.random.default_rng(0))
    >>> layer(np.ones((1, 4, {1 ...}), "float32")).numpy().ravel()
    array([0., 0., 0., 2.], dtype=float32)
    """

    def forward(self, input: Any) -> Tensor:
        """x ⊙ mask / (1 − p), the mask constant over each channel."""
        name = f"{type(self).__name__}(p={self.p})"
        return _channels(name, self._axes, input, self.p, self.training, self.rng, self.inverted)


class Dropout1d(_ChannelDropout, axes=1): ...


class Dropout2d(_ChannelDropout, axes=2): ...


class Dropout3d(_ChannelDropout, axes=3): ...


class AlphaDropout(Module):
    """In training, drop values to where SELU saturates and keep mean 0 and variance 1, as `alpha_dropout`.

    Args:
        p: the probability with which a value is dropped.
        inplace: accepted for PyTorch's sake; changes nothing.
        rng: generator to draw from; the one that `nn.manual_seed` sets by default.

    Raises:
        ValueError: for p outside [0, 1].

    >>> import numpy as np, nn
    >>> nn.AlphaDropout(0.5, rng=np.random.default_rng(0))(np.zeros(3)).numpy().round(3)
    array([-0.779, -0.779, -0.779])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, rng: np.random.Generator | None = None) -> None:
        self.p, self.inplace = number("AlphaDropout", "p", p, 0, 1), inplace
        generator(rng)
        self.rng = rng

    def forward(self, input: Any) -> Tensor:
        """a x + b, dropped values at α′."""
        return alpha_dropout(input, self.p, self.training, rng=self.rng)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
