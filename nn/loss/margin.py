"""Losses that ask for a margin: on scores with targets ±1, and on distances of pairs and triplets.

Where a margin is met exactly the derivative is the one of a violation, as PyTorch's.
"""

from __future__ import annotations

from typing import Any

import autodiff as ad
from autodiff import Tensor
from autodiff.flags import flagged
from autodiff.ops.precision import in_single
from autodiff.tensor import plain

from ..arguments import number
from ..arguments import positive as greater_than_0
from ..similarity import pairwise_distance
from .base import Loss, fitted, pair, reduced, signs, unit


def _missing(x: Any) -> Tensor:
    """max(x, 0), with derivative 1 at 0."""
    return ad.clip(x, 0, None)


def _signed(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    input, target = pair(name, input, target)
    signs(name, target)
    return input, target


def hinge_loss(input: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """max(0, m − t x).

    Args:
        input: scores x, any shape.
        target: t, 1 or −1, the same shape.
        margin: m.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for other targets, another shape, or an unknown `reduction`.

    >>> hinge_loss(ad.Tensor([0.5, 0.5]), [1, -1], reduction="none")
    Tensor([0.5, 1.5])
    """
    input, target = _signed("hinge_loss", input, target)
    margin = number("hinge_loss", "margin", margin)
    return reduced(_missing(margin - target * input), reduction, "hinge_loss")


def perceptron_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """max(0, −t x): 0 for all that is classified rightly; at x = 0 the gradient is −t, so that learning can start
    from zero weights. Arguments and errors as `hinge_loss`.

    >>> perceptron_loss(ad.Tensor([0.5, 0.5]), [1, -1], reduction="sum")
    Tensor(0.5)
    """
    input, target = _signed("perceptron_loss", input, target)
    return reduced(_missing(-(target * input)), reduction, "perceptron_loss")


def soft_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """log(1 + exp(−t x)), without overflow; arguments and errors as `hinge_loss`.

    >>> soft_margin_loss(ad.Tensor([0.0, -1000.0]), [1, 1], reduction="none")
    Tensor([6.93147181e-01, 1.00000000e+03])
    """
    input, target = _signed("soft_margin_loss", input, target)
    return reduced(ad.softplus(-(target * input)), reduction, "soft_margin_loss")


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """x where t is 1 (similar), max(0, m − x) where it is −1.

    Args:
        input: distances x, any shape.
        target, margin, reduction: as `hinge_loss`.

    Raises:
        ValueError: as `hinge_loss`.

    >>> hinge_embedding_loss(ad.Tensor([0.5, 0.2]), [1, -1], reduction="none")
    Tensor([0.5, 0.8])
    """
    input, target = _signed("hinge_embedding_loss", input, target)
    margin = number("hinge_embedding_loss", "margin", margin)
    values = ad.where(plain(target) == 1, input, _missing(margin - input))
    return reduced(values, reduction, "hinge_embedding_loss")


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """max(0, m − t (x₁ − x₂)): the first score is to be the greater one where t is 1, the second where it is −1.

    Args:
        input1, input2: scores, any shape.
        target: t, 1 or −1, the same shape.
        margin: m.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for other targets, other shapes, or an unknown `reduction`.

    >>> margin_ranking_loss(ad.Tensor([0.5]), ad.Tensor([0.25]), [-1])
    Tensor(0.25)
    """
    name = "margin_ranking_loss"
    input1, input2 = pair(name, input1, input2, names=("input1", "input2"))
    input1, target = pair(name, input1, target, names=("input1", "target"))
    signs(name, target)
    values = _missing(number(name, "margin", margin) - target * ad.subtract(input1, input2))
    return reduced(values, reduction, name)


def _vectors(name: str, x1: Any, x2: Any, target: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Two batches of vectors and one target for each pair."""
    x1, x2 = pair(name, x1, x2, names=("input1", "input2"))
    target = fitted(target, x1)
    if not x1.ndim or target.shape != x1.shape[:-1]:
        raise ValueError(
            f"{name}: needs vectors (..., D) and one target (...) for each pair, got inputs {x1.shape}, "
            f"target {target.shape}"
        )
    return x1, x2, target


@in_single
def _cosine(x1: Tensor, x2: Tensor) -> Tensor:
    lengths = ((x1 * x1).sum(axis=-1) + 1e-12) * ((x2 * x2).sum(axis=-1) + 1e-12)
    return (x1 * x2).sum(axis=-1) / ad.sqrt(lengths)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """1 − cos(x₁, x₂) where t is 1, max(0, cos(x₁, x₂) − m) where it is −1.

    Args:
        input1, input2: vectors, shape (N, D) or (D,).
        target: t, 1 or −1, shape (N,) or ().
        margin: m, from −1 to 1.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for other targets, shapes that do not fit, or an unknown `reduction`.

    >>> cosine_embedding_loss(ad.Tensor([[1.0, 0.0]]), ad.Tensor([[3.0, 4.0]]), [1])
    Tensor(0.4)
    """
    name = "cosine_embedding_loss"
    margin = number(name, "margin", margin, -1, 1)
    x1, x2, target = _vectors(name, input1, input2, target)
    signs(name, target)
    cosine = _cosine(x1, x2)
    return reduced(ad.where(plain(target) == 1, 1 - cosine, _missing(cosine - margin)), reduction, name)


@flagged
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) − d(a, n) + m), with the distance d(u, v) = ‖u − v + ε‖ₚ.

    Args:
        anchor, positive, negative: vectors, shape (..., D).
        margin: m, greater than 0.
        p: order of the norm.
        eps: ε, which keeps the distance of equal vectors from 0.
        swap: measure the negative from the positive too, and take the smaller distance (Balntas et al., 2016).
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for shapes that differ, or an unknown option.

    >>> triplet_margin_loss(ad.Tensor([[0.0, 0.0]]), [[0.0, 1.0]], [[3.0, 0.0]], margin=2.5)
    Tensor(0.5)
    """
    name = "triplet_margin_loss"
    margin, p, eps = greater_than_0(name, "margin", margin), number(name, "p", p), number(name, "eps", eps)
    anchor, positive = pair(name, anchor, positive, names=("anchor", "positive"))
    anchor, negative = pair(name, anchor, negative, names=("anchor", "negative"))
    if not anchor.ndim:
        raise ValueError(f"{name}: needs vectors (..., D), got numbers")
    apart = pairwise_distance(anchor, negative, p, eps)
    if swap:
        apart = ad.minimum(apart, pairwise_distance(positive, negative, p, eps))
    return reduced(_missing(ad.subtract(pairwise_distance(anchor, positive, p, eps), apart) + margin), reduction, name)


def contrastive_loss(input1: Any, input2: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """½ [y d² + (1 − y) max(0, m − d)²], with the distance d = ‖x₁ − x₂‖₂.

    Args:
        input1, input2: vectors, shape (..., D).
        target: y, 1 for similar pairs and 0 for others, shape (...).
        margin: m, greater than 0.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for targets outside [0, 1], shapes that do not fit, or an unknown `reduction`.

    Source: Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping (2006), where y is
    0 for similar pairs.

    >>> contrastive_loss(ad.Tensor([[0.0, 0.0]]), ad.Tensor([[0.3, 0.4]]), [0])
    Tensor(0.125)
    """
    name = "contrastive_loss"
    margin = greater_than_0(name, "margin", margin)
    x1, x2, y = _vectors(name, input1, input2, target)
    unit(name, "target", y)
    d = ad.subtract(x1, x2)
    missing = ad.square(_missing(margin - ad.linalg.vector_norm(d, axis=-1)))
    return reduced((y * ad.square(d).sum(axis=-1) + (1 - y) * missing) * 0.5, reduction, name)


class _Margin(Loss):
    def __init__(self, margin: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = number(type(self).__name__, "margin", margin)


class HingeLoss(_Margin):
    """max(0, m − t x) with targets ±1, as `hinge_loss`.

    >>> HingeLoss()(ad.Tensor([0.5, 0.5]), [1, -1])
    Tensor(1.)
    """

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(margin, reduction=reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        """max(0, m − t x), reduced."""
        return hinge_loss(input, target, self.margin, reduction=self.reduction)


class PerceptronLoss(Loss):
    """max(0, −t x) with targets ±1, as `perceptron_loss`.

    >>> PerceptronLoss()(ad.Tensor([0.5, 0.5]), [1, -1])
    Tensor(0.25)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """max(0, −t x), reduced."""
        return perceptron_loss(input, target, reduction=self.reduction)


class SoftMarginLoss(Loss):
    """log(1 + exp(−t x)) with targets ±1, as `soft_margin_loss`.

    >>> SoftMarginLoss()(ad.Tensor([0.0]), [1])
    Tensor(0.69314718)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """log(1 + exp(−t x)), reduced."""
        return soft_margin_loss(input, target, reduction=self.reduction)


class HingeEmbeddingLoss(_Margin):
    """Distances are to be small where the target is 1, at least m where it is −1, as `hinge_embedding_loss`.

    >>> HingeEmbeddingLoss()(ad.Tensor([0.5, 0.25]), [1, -1])
    Tensor(0.625)
    """

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(margin, reduction=reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        """x or max(0, m − x), reduced."""
        return hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(_Margin):
    """The first score is to exceed the second where the target is 1, as `margin_ranking_loss`.

    >>> MarginRankingLoss()(ad.Tensor([0.5]), ad.Tensor([0.25]), [-1])
    Tensor(0.25)
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(margin, reduction=reduction)

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """max(0, m − t (x₁ − x₂)), reduced."""
        return margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Loss):
    """Vectors are to be parallel where the target is 1, not where it is −1, as `cosine_embedding_loss`.

    >>> CosineEmbeddingLoss()(ad.Tensor([[1.0, 0.0]]), ad.Tensor([[3.0, 4.0]]), [1])
    Tensor(0.4)
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = number("CosineEmbeddingLoss", "margin", margin, -1, 1)

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """1 − cos or max(0, cos − m), reduced."""
        return cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(Loss):
    """The anchor is to be nearer to the positive than to the negative, by a margin, as `triplet_margin_loss`.

    >>> TripletMarginLoss(2.5)(ad.Tensor([[0.0, 0.0]]), [[0.0, 1.0]], [[3.0, 0.0]])
    Tensor(0.5)
    """

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        name = "TripletMarginLoss"
        self.margin, self.swap = greater_than_0(name, "margin", margin), swap
        self.p, self.eps = number(name, "p", p), number(name, "eps", eps)

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        """max(0, d(a, p) − d(a, n) + m), reduced."""
        return triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class ContrastiveLoss(Loss):
    """Similar pairs are to be near, others apart by a margin, as `contrastive_loss`.

    >>> ContrastiveLoss()(ad.Tensor([[0.0, 0.0]]), ad.Tensor([[0.3, 0.4]]), [0])
    Tensor(0.125)
    """

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = greater_than_0("ContrastiveLoss", "margin", margin)

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """½ [y d² + (1 − y) max(0, m − d)²], reduced."""
        return contrastive_loss(input1, input2, target, self.margin, reduction=self.reduction)
