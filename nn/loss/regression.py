"""Losses on real values: squared, absolute, Huber's, and negative log-likelihoods of Gauss and Poisson."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.flags import flagged
from autodiff.ops.guards import common
from autodiff.ops.samples import unary, with_params
from autodiff.primitive import declare
from autodiff.tensor import plain

from ..activation.piecewise import hardtanh_of
from ..arguments import number, positive
from .base import Loss, divided, fitted, over_nothing, pair, reduced, weights


def _weighted(values: Tensor, weight: Any, reduction: str, name: str) -> Tensor:
    """The losses times constant weights, reduced; the mean is over the weights' sum."""
    if weight is None:
        return reduced(values, reduction, name)
    w = weights(name, "weight", weight, values)
    if reduction != "mean":
        return reduced(values * w, reduction, name)
    total = float(np.broadcast_to(w, values.shape).sum(dtype=np.float64))
    return divided(values * w, total) if total else over_nothing(values, name)


def mse_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Tensor:
    """(input − target)², averaged, summed or as it is.

    Args:
        input: predictions, any shape.
        target: the same shape, or one number.
        reduction: "mean", "sum" or "none". (So for all losses.)
        weight: factors of the losses, of the input's shape or such that they broadcast to it; the mean is then over
            their sum.

    Raises:
        ValueError: for another shape (which would silently broadcast) or an unknown `reduction`.

    >>> mse_loss(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(2.)
    """
    input, target = pair("mse_loss", input, target, number=True)
    return _weighted(ad.square(ad.subtract(input, target)), weight, reduction, "mse_loss")


def half_mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """½ (input − target)², whose derivative is input − target; arguments and errors as `mse_loss`, without weights.

    >>> half_mse_loss(ad.Tensor([1.0, 3.0]), [1.0, 1.0], reduction="sum")
    Tensor(2.)
    """
    input, target = pair("half_mse_loss", input, target, number=True)
    return reduced(ad.square(ad.subtract(input, target)), reduction, "half_mse_loss") * 0.5


def sse_loss(input: Any, target: Any) -> Tensor:
    """The sum of squared errors Σ (input − target)²; arguments and errors as `mse_loss`.

    >>> sse_loss(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(4.)
    """
    input, target = pair("sse_loss", input, target, number=True)
    return reduced(ad.square(ad.subtract(input, target)), "sum", "sse_loss")


def l1_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Tensor:
    """|input − target|, with derivative 0 at 0; arguments and errors as `mse_loss`.

    >>> l1_loss(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(1.)
    """
    input, target = pair("l1_loss", input, target, number=True)
    return _weighted(ad.absolute(ad.subtract(input, target)), weight, reduction, "l1_loss")


def _huber_forward(d: Any, delta: float) -> Any:
    size = np.abs(d)
    inner = np.minimum(size, delta)
    return inner * (size - 0.5 * inner)


def _huber_expansion(d: Tensor, delta: float) -> Tensor | None:
    """With c = min(max(d, −δ), δ): c (d − ½ c)."""
    if not np.isfinite(plain(d)).all():
        return None
    c = hardtanh_of(d, low=-delta, high=delta)
    return c * (d - 0.5 * c)


_huber = declare(
    "huber", _huber_forward, [lambda g, y, d, delta: g * hardtanh_of(d, low=-delta, high=delta)],
    jvps="elementwise", formula="½ {0}² if |{0}| < δ else δ (|{0}| − ½ δ)", derivatives=["min(max({0}, −δ), δ)"],
    samples=with_params(unary(smooth=2), {"delta": 0.93}), expansion=_huber_expansion,
)  # fmt: skip


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Tensor:
    """½ d² where |d| < δ, δ (|d| − ½ δ) elsewhere, with d = input − target.

    Args:
        input, target, reduction: as `mse_loss`.
        delta: δ, where the parabola goes over into a line.
        weight: factors of the losses as for `mse_loss`, but (as PyTorch's) the mean stays over their number.

    Raises:
        ValueError: unless δ is positive, and as `mse_loss`.

    >>> huber_loss(ad.Tensor([1.5, 4.0]), [1.0, 1.0], "none")
    Tensor([0.125, 2.5  ])
    """
    delta = positive("huber_loss", "delta", delta)
    input, target = pair("huber_loss", input, target, number=True)
    values = _huber(ad.subtract(input, target), delta=delta)
    if weight is not None:
        values = values * weights("huber_loss", "weight", weight, values)
    return reduced(values, reduction, "huber_loss")


def log_squared_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """log(1 + d²) with d = input − target, whose derivative 2 d / (1 + d²) falls again for outliers; without overflow.
    Arguments and errors as `mse_loss`, without weights.

    >>> log_squared_loss(ad.Tensor([1.0, 1e200]), [0.0, 0.0], reduction="none")
    Tensor([6.93147181e-01, 9.21034037e+02])
    """
    input, target = pair("log_squared_loss", input, target, number=True)
    d = ad.subtract(input, target)
    near = ad.clip(d, -1, 1)
    values = ad.where(plain(abs(d)) < 1, ad.log1p(near * near), 2 * ad.log(ad.hypot(d, 1)))
    return reduced(values, reduction, "log_squared_loss")


def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """½ d²/β where |d| < β, |d| − ½ β elsewhere, with d = input − target: Huber's loss with δ = β, divided by β.

    Args:
        input, target, reduction: as `mse_loss`.
        beta: β; with 0 it is `l1_loss`.

    Raises:
        ValueError: for a negative β, and as `mse_loss`.

    >>> smooth_l1_loss(ad.Tensor([1.5, 4.0]), [1.0, 1.0], reduction="none")
    Tensor([0.125, 2.5  ])
    """
    beta = number("smooth_l1_loss", "beta", beta, 0)
    input, target = pair("smooth_l1_loss", input, target, number=True)
    d = ad.subtract(input, target)
    values = ad.absolute(d) if beta == 0 else _huber(d, delta=beta) * (1 / beta)
    return reduced(values, reduction, "smooth_l1_loss")


@flagged
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """The negative log-likelihood ½ (log v + (input − target)² / v) of normal distributions with variance v.

    Args:
        input: means, any shape.
        target: observations, the same shape.
        var: v, the same shape; or without the last axis, or with length 1 there (one variance for all of it); or one
            number.
        full: add the constant ½ log 2π.
        eps: variances below it count as `eps`; their gradient is that at `eps`.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for shapes that do not fit, a negative variance, or `eps` that is not positive.

    >>> gaussian_nll_loss(ad.Tensor([1.0, 3.0]), [1.0, 1.0], [1.0, 1.0])
    Tensor(1.)
    """
    name = "gaussian_nll_loss"
    eps = positive(name, "eps", eps)
    input, target = pair(name, input, target)
    var = fitted(var, input)
    if input.ndim and var.shape == input.shape[:-1] and var.shape != input.shape and var.ndim:
        var = var.reshape((*var.shape, 1))
    if var.shape != input.shape and var.ndim and var.shape != (*input.shape[:-1], 1):
        raise ValueError(
            f"{name}: var has shape {var.shape}, input {input.shape}; var has the same shape, or lacks the last axis, "
            f"or has length 1 there"
        )
    low = plain(var) < eps
    if not common(~low.any()):
        if (plain(var) < 0).any():
            raise ValueError(f"{name}: var has negative values, such as {plain(var).min():g}")
        var = ad.where(low, var - var.detach() + eps, var)
    values = (ad.log(var) + ad.square(ad.subtract(input, target)) / var) * 0.5
    return reduced(values + 0.5 * math.log(2 * math.pi) if full else values, reduction, name)


@flagged
def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
) -> Tensor:
    """The negative log-likelihood of Poisson distributions: exp(x) − t x, or without `log_input` x − t log(x + ε).

    Args:
        input: x, the logarithm of the expected count, or (``log_input=False``) the expected count; any shape.
        target: counts t, the same shape.
        log_input: whether `input` is a logarithm.
        full: add Stirling's approximation t log t − t + ½ log 2πt of log t! for t > 1.
        eps: ε, against the logarithm of 0.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: for another shape or an unknown `reduction`.

    >>> poisson_nll_loss(ad.Tensor([0.0, 1.0]), [1, 2], reduction="none")
    Tensor([1.        , 0.71828183])
    """
    name = "poisson_nll_loss"
    eps = number(name, "eps", eps, 0)
    input, target = pair(name, input, target)
    values = ad.exp(input) - target * input if log_input else input - target * ad.log(input + eps)
    if full:
        large = plain(target) > 1
        t = ad.where(large, target, 1.0)
        values = values + ad.where(large, t * ad.log(t) - t + ad.log(t * (2 * math.pi)) * 0.5, 0.0)
    return reduced(values, reduction, name)


class MSELoss(Loss):
    """The squared error, as `mse_loss`.

    >>> MSELoss(reduction="sum")(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(4.)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """(input − target)², reduced."""
        return mse_loss(input, target, reduction=self.reduction)


class HalfMSELoss(Loss):
    """Half the squared error, as `half_mse_loss`.

    >>> HalfMSELoss()(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(1.)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """½ (input − target)², reduced."""
        return half_mse_loss(input, target, reduction=self.reduction)


class SSELoss(Loss):
    """The sum of squared errors, as `sse_loss`.

    >>> SSELoss()(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(4.)
    """

    def __init__(self) -> None:
        super().__init__(reduction="sum")

    def forward(self, input: Any, target: Any) -> Tensor:
        """Σ (input − target)²."""
        return sse_loss(input, target)


class L1Loss(Loss):
    """The absolute error, as `l1_loss`.

    >>> L1Loss()(ad.Tensor([1.0, 3.0]), [1.0, 1.0])
    Tensor(1.)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """|input − target|, reduced."""
        return l1_loss(input, target, reduction=self.reduction)


class HuberLoss(Loss):
    """Quadratic near 0, linear beyond δ, as `huber_loss`.

    >>> HuberLoss(delta=0.5)(ad.Tensor([2.0]), [1.0])
    Tensor(0.375)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = positive("HuberLoss", "delta", delta)

    def forward(self, input: Any, target: Any) -> Tensor:
        """½ d² or δ (|d| − ½ δ), reduced."""
        return huber_loss(input, target, self.reduction, self.delta)


class SmoothL1Loss(Loss):
    """The absolute error, rounded off within β, as `smooth_l1_loss`.

    >>> SmoothL1Loss(beta=0.5)(ad.Tensor([2.0]), [1.0])
    Tensor(0.75)
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.beta = number("SmoothL1Loss", "beta", beta, 0)

    def forward(self, input: Any, target: Any) -> Tensor:
        """½ d²/β or |d| − ½ β, reduced."""
        return smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class LogSquaredLoss(Loss):
    """log(1 + d²), which hardly minds outliers, as `log_squared_loss`.

    >>> LogSquaredLoss()(ad.Tensor([1.0, 0.0]), [0.0, 0.0])
    Tensor(0.34657359)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """log(1 + (input − target)²), reduced."""
        return log_squared_loss(input, target, reduction=self.reduction)


class GaussianNLLLoss(Loss):
    """The negative log-likelihood of normal distributions, as `gaussian_nll_loss`.

    >>> GaussianNLLLoss()(ad.Tensor([1.0, 3.0]), [1.0, 1.0], [1.0, 1.0])
    Tensor(1.)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, positive("GaussianNLLLoss", "eps", eps)

    def forward(self, input: Any, target: Any, var: Any) -> Tensor:
        """½ (log v + (input − target)² / v), reduced."""
        return gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(Loss):
    """The negative log-likelihood of Poisson distributions, as `poisson_nll_loss`.

    >>> PoissonNLLLoss(reduction="none")(ad.Tensor([0.0, 1.0]), [1, 2])
    Tensor([1.        , 0.71828183])
    """

    def __init__(
        self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.log_input, self.full, self.eps = log_input, full, number("PoissonNLLLoss", "eps", eps, 0)

    def forward(self, input: Any, target: Any) -> Tensor:
        """exp(x) − t x, or x − t log(x + ε), reduced."""
        return poisson_nll_loss(input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction)
