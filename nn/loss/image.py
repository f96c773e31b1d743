"""Losses on images and masks: overlap (Dice, IoU), total variation, distance in a network's features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autodiff as ad
from autodiff import Tensor
from autodiff.ops.precision import in_single

from ..arguments import float_input, number
from .base import Loss, pair, reduced, unit
from .regression import mse_loss


def _masks(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    input, target = pair(name, input, target)
    unit(name, "input", input)
    unit(name, "target", target)
    return input, target


def _overlap(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Σ p t and Σ p + Σ t of each sample."""
    axes = tuple(range(min(1, input.ndim - 1), input.ndim)) if input.ndim else None
    return (input * target).sum(axis=axes), input.sum(axis=axes) + target.sum(axis=axes)


@in_single
def _dice(input: Tensor, target: Tensor, smooth: float) -> Tensor:
    both, total = _overlap(input, target)
    return 1 - (both * 2 + smooth) / (total + smooth)


@in_single
def _iou(input: Tensor, target: Tensor, smooth: float) -> Tensor:
    both, total = _overlap(input, target)
    return 1 - (both + smooth) / (total - both + smooth)


def dice_loss(input: Any, target: Any, smooth: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """1 − (2 Σ p t + s) / (Σ p + Σ t + s) of each sample: how far two masks are from overlapping.

    Args:
        input: probabilities p, shape (N, ...), the sums being over all but the first axis; or (n,), one sample.
        target: mask t, values within [0, 1], the same shape.
        smooth: s, which makes two empty masks equal (loss 0) and keeps gradients finite.
        reduction: over samples: "mean", "sum" or "none".

    Raises:
        ValueError: for values outside [0, 1], another shape, or an unknown `reduction`.

    >>> dice_loss(ad.Tensor([[1.0, 0.0, 0.5]]), [[1, 0, 1]], smooth=0.0)
    Tensor(0.14285714)
    """
    smooth = number("dice_loss", "smooth", smooth, 0)
    return reduced(_dice(*_masks("dice_loss", input, target), smooth), reduction, "dice_loss")


def iou_loss(input: Any, target: Any, smooth: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """1 − (Σ p t + s) / (Σ p + Σ t − Σ p t + s) of each sample: intersection over union (Jaccard's index).

    Arguments and errors as `dice_loss`; without smoothing 1 − IoU = 1 − Dice / (2 − Dice).

    >>> iou_loss(ad.Tensor([[1.0, 0.0, 0.5]]), [[1, 0, 1]], smooth=0.0)
    Tensor(0.25)
    """
    smooth = number("iou_loss", "smooth", smooth, 0)
    return reduced(_iou(*_masks("iou_loss", input, target), smooth), reduction, "iou_loss")


def total_variation_loss(input: Any, *, reduction: str = "mean") -> Tensor:
    """mean |x differences| + mean |y differences| of each image: how rough it is.

    Args:
        input: images, shape (..., H, W).
        reduction: over images: "mean", "sum" or "none". (An image with one row has no y differences: 0.)

    Raises:
        ValueError: for fewer than two axes, or an unknown `reduction`.

    >>> total_variation_loss(ad.Tensor([[0.0, 1.0], [0.0, 3.0]]))
    Tensor(3.)
    """
    name = "total_variation_loss"
    input = float_input(name, input)
    if input.ndim < 2:
        raise ValueError(f"{name}: needs images (..., H, W), got shape {input.shape}")
    x, y = input[..., 1:] - input[..., :-1], input[..., 1:, :] - input[..., :-1, :]
    parts = [ad.absolute(d).mean(axis=(-2, -1)) for d in (x, y) if d.shape[-2] * d.shape[-1]]
    values = sum(parts[1:], parts[0]) if parts else (input * 0).sum(axis=(-2, -1))
    return reduced(values, reduction, name)


def perceptual_loss(input: Any, target: Any, features: Callable[[Any], Any], *, reduction: str = "mean") -> Tensor:
    """The squared error between the features of two images, (φ(input) − φ(target))².

    Args:
        input, target: images, the same shape.
        features: φ, a network or any function; if it returns several tensors (a list), their losses are added.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for images or features of different shapes, or an unknown `reduction`.

    Source: Johnson, Alahi and Fei-Fei, Perceptual losses for real-time style transfer (2016).

    >>> perceptual_loss(ad.Tensor([1.0, 3.0]), [1.0, 1.0], ad.square)
    Tensor(32.)
    """
    input, target = pair("perceptual_loss", input, target)
    found, wanted = features(input), features(target)
    if not isinstance(found, (list, tuple)):
        found, wanted = [found], [wanted]
    losses = [mse_loss(a, b, reduction=reduction) for a, b in zip(found, wanted, strict=True)]
    return sum(losses[1:], losses[0])


class _Smoothed(Loss):
    def __init__(self, smooth: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.smooth = number(type(self).__name__, "smooth", smooth, 0)


class DiceLoss(_Smoothed):
    """1 − the Dice coefficient of probabilities and mask, as `dice_loss`.

    >>> DiceLoss(smooth=0.0)(ad.Tensor([[1.0, 0.0, 0.5]]), [[1, 0, 1]])
    Tensor(0.14285714)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """1 − (2 Σ p t + s) / (Σ p + Σ t + s), reduced."""
        return dice_loss(input, target, self.smooth, reduction=self.reduction)


class IoULoss(_Smoothed):
    """1 − intersection over union of probabilities and mask, as `iou_loss`.

    >>> IoULoss(smooth=0.0)(ad.Tensor([[1.0, 0.0, 0.5]]), [[1, 0, 1]])
    Tensor(0.25)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """1 − (Σ p t + s) / (Σ p + Σ t − Σ p t + s), reduced."""
        return iou_loss(input, target, self.smooth, reduction=self.reduction)


class TotalVariationLoss(Loss):
    """mean |x differences| + mean |y differences|, as `total_variation_loss`.

    >>> TotalVariationLoss()(ad.Tensor([[0.0, 1.0], [0.0, 3.0]]))
    Tensor(3.)
    """

    def forward(self, input: Any) -> Tensor:
        """mean |x differences| + mean |y differences|, reduced."""
        return total_variation_loss(input, reduction=self.reduction)


class PerceptualLoss(Loss):
    """The squared error between features, as `perceptual_loss`.

    Args:
        features: a Module (which becomes a part of this one; freeze it with ``requires_grad_(False)``) or a function.
        reduction: "mean", "sum" or "none".

    >>> PerceptualLoss(ad.square)(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(32.)
    """

    def __init__(self, features: Callable[[Any], Any], *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if not callable(features):
            raise TypeError(f"PerceptualLoss: features is a module or a function, not {features!r}")
        self.features = features

    def forward(self, input: Any, target: Any) -> Tensor:
        """(φ(input) − φ(target))², reduced."""
        return perceptual_loss(input, target, self.features, reduction=self.reduction)
