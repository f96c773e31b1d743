"""Losses on classes and probabilities: cross-entropies, focal loss, Kullback–Leibler divergence.

On logits all of them are stable: no overflow and no NaN, in derivatives of any order either.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.devices import brought
from autodiff.flags import flagged
from autodiff.ops.fused import one_hot
from autodiff.ops.guards import common
from autodiff.ops.indexing import taken
from autodiff.ops.precision import in_single
from autodiff.ops.samples import draw
from autodiff.primitive import Sample, declare, describe
from autodiff.tensor import is_foreign, plain

from ..activation.exponential import sigmoid_of, softplus_of
from ..arguments import as_tensor, choice, float_input, integer, number, numbers
from .base import REDUCTIONS, Loss, buffer, constant, divided, fitted, over_nothing, pair, reduced, unit, weights

# Class indices

IGNORED = -100
"""The class index that is ignored unless another one is named."""


def _class_axis(input: Any) -> int:
    return 1 if input.ndim > 1 else 0


def _indices(name: str, input: Tensor, target: Tensor, ignore_index: int | None) -> tuple[Any, Any]:
    """Class indices with 0 in place of the ignored ones, and where those are.

    Raises:
        TypeError, ValueError: for targets that are no integers of the samples' shape within the classes.
    """
    axis = _class_axis(input)
    if not input.ndim or not input.shape[axis]:
        raise ValueError(f"{name}: needs input (classes,), (N, classes) or (N, classes, ...), got {input.shape}")
    samples, classes = input.shape[:axis] + input.shape[axis + 1 :], input.shape[axis]
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: target is class indices, integers of shape {samples}; got {describe(target)}")
    if target.shape != samples:
        raise ValueError(f"{name}: target of shape {target.shape} does not fit input {input.shape}; expects {samples}")
    index = brought(plain(target), plain(input))
    ignored = index == ignore_index if ignore_index is not None else np.zeros(samples, bool)
    if not common(~ignored.any()):
        index = np.where(ignored, 0, index)
    if index.size and not common((0 <= index.min()) & (index.max() < classes)):
        raise ValueError(f"{name}: class indices must be in 0 … {classes - 1}, got {index.min()} … {index.max()}")
    return index, ignored


def _class_weights(name: str, weight: Any, input: Tensor) -> Any:
    """One weight for each class, or None."""
    if weight is None:
        return None
    w, classes = constant(name, "weight", weight, input), input.shape[_class_axis(input)]
    if w.shape != (classes,):
        raise ValueError(f"{name}: weight has shape {w.shape}; {classes} classes need ({classes},)")
    return w


def _along_classes(w: Any, input: Tensor) -> Any:
    return w.reshape(w.shape + (1,) * (input.ndim - 1 - _class_axis(input)))


def _averaged(losses: Tensor, mass: Any, ignored: Any, reduction: str, name: str) -> Tensor:
    """The losses, 0 where ignored, reduced; the mean is over the samples' mass (weights) that counts."""
    if not common(~ignored.any()):
        losses = ad.where(ignored, 0.0, losses)
    if reduction != "mean":
        return reduced(losses, reduction, name)
    if is_foreign(ignored):  # such as that of each example: where nothing counts, it is 0 / 0
        counted = np.where(ignored, 0.0, 1.0 if mass is None else mass).sum()
        return losses.sum() / counted.astype(losses.dtype)
    total = losses.size - np.count_nonzero(ignored) if mass is None else mass[~ignored].sum(dtype=np.float64)
    return divided(losses, float(total)) if total else over_nothing(losses, name)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = IGNORED,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """−log softmax(input) at the target class.

    Args:
        input: logits, shape (classes,), (N, classes) or (N, classes, ...).
        target: class indices, shape (), (N,) or (N, ...); or probabilities, the shape of `input`.
        weight: one factor for each class, shape (classes,); the mean is then weighted too (for class indices).
        ignore_index: samples with this class index have loss 0 and do not count in the mean; not for probabilities.
        reduction: "mean", "sum" or "none".
        label_smoothing: share of the target that is spread evenly over all classes, within [0, 1].

    Raises:
        ValueError, TypeError: for targets and weights that do not fit, or an unknown option.

    >>> cross_entropy(ad.Tensor([[0.0, 0.0]]), [1])
    Tensor(0.69314718)
    """
    name = "cross_entropy"
    input, target = float_input(name, input), as_tensor(target)
    axis, probabilities = _class_axis(input), target.dtype.kind == "f"
    ignore_index = integer(name, "ignore_index", ignore_index)
    label_smoothing = number(name, "label_smoothing", label_smoothing, 0, 1)
    if probabilities and ignore_index != IGNORED:
        raise ValueError(
            f"{name}: ignore_index={ignore_index} is a class index, the target holds probabilities, of which none is "
            f"ignored; leave it out, or give class indices"
        )
    if weight is None and label_smoothing == 0 and target.size:
        if probabilities or common(~(plain(target) == ignore_index).any()):
            return ad.cross_entropy(input, target, axis=axis, reduction=reduction)
    choice(name, "reduction", reduction, REDUCTIONS)
    w = _class_weights(name, weight, input) if input.ndim else None
    share = label_smoothing / input.shape[axis] if input.ndim and input.shape[axis] else 0.0
    if probabilities:
        if label_smoothing:
            target = target * (1 - label_smoothing) + share
        if w is not None and target.shape == input.shape:
            target = target * _along_classes(w, input)
        return reduced(ad.cross_entropy(input, target, axis=axis, reduction="none"), reduction, name)
    index, ignored = _indices(name, input, target, ignore_index)
    mass = None if w is None else taken(w, index)
    if label_smoothing:
        shares = share + one_hot(input, index, axis).astype(input.dtype) * (1 - label_smoothing)
        shares = shares if w is None else shares * _along_classes(w, input)
        losses = ad.cross_entropy(input, shares, axis=axis, reduction="none")
    else:
        losses = ad.cross_entropy(input, index, axis=axis, reduction="none")
        losses = losses if mass is None else losses * mass
    return _averaged(losses, mass, ignored, reduction, name)


def nll_loss(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = IGNORED, reduction: str = "mean"
) -> Tensor:
    """−input at the target class: the negative log-likelihood of log-probabilities.

    Args:
        input: log-probabilities, shape (classes,), (N, classes) or (N, classes, ...).
        target: class indices, shape (), (N,) or (N, ...).
        weight, ignore_index, reduction: as `cross_entropy`.

    Raises:
        ValueError, TypeError: for targets and weights that do not fit, or an unknown option.

    >>> nll_loss(ad.log([[0.25, 0.75]]), [0])
    Tensor(1.38629436)
    """
    name = "nll_loss"
    choice(name, "reduction", reduction, REDUCTIONS)
    input, target = float_input(name, input), as_tensor(target)
    index, ignored = _indices(name, input, target, integer(name, "ignore_index", ignore_index))
    w = _class_weights(name, weight, input)
    mass = None if w is None else taken(w, index)
    losses = -_at(input, index)
    return _averaged(losses if mass is None else losses * mass, mass, ignored, reduction, name)


def _at(input: Tensor, index: Any) -> Tensor:
    """The input's values at the class indices."""
    axis = _class_axis(input)
    return ad.take_along_axis(input, np.expand_dims(index, axis), axis).reshape(index.shape)


# Probabilities


def _bce_forward(p: Any, t: Any) -> Any:
    with np.errstate(divide="ignore"):
        return -(t * np.maximum(np.log(p), -100) + (1 - t) * np.maximum(np.log1p(-p), -100))


def _bce_expansion(p: Tensor, t: Any) -> Tensor | None:
    q = plain(p)
    if (q * (1 - q) < 1e-12).any():  # where the logarithms are cut off
        return None
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


_bce = declare(
    "binary_cross_entropy", _bce_forward,
    [lambda g, y, p, t: g * ((p - t) / np.maximum(p * (1 - p), 1e-12)),
     lambda g, y, p, t: g * (np.maximum(np.log1p(-p), -100) - np.maximum(np.log(p), -100))],
    arity=2, singular=True, jvps="elementwise", formula="−{1} log {0} − (1 − {1}) log(1 − {0})",
    derivatives=["({0} − {1}) / ({0} (1 − {0}))", "log(1 − {0}) − log {0}"],
    samples=lambda rng: [Sample((draw(rng, s, 0.1, 0.9), draw(rng, s, 0, 1))) for s in [(), (4,), (2, 3), (0,)]],
    expansion=_bce_expansion,
)  # fmt: skip


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Tensor:
    """−t log p − (1 − t) log(1 − p).

    Args:
        input: probabilities p, any shape. (Of logits, `binary_cross_entropy_with_logits` is more accurate.)
        target: probabilities t (0 or 1, or between), the same shape.
        weight: factors that broadcast to that shape.
        reduction: "mean", "sum" or "none".

    The logarithms are not less than −100, as PyTorch's.

    Raises:
        ValueError: for values outside [0, 1], shapes that do not fit, or an unknown `reduction`.

    >>> binary_cross_entropy(ad.Tensor([0.25, 0.5]), [1, 0], reduction="none")
    Tensor([1.38629436, 0.69314718])
    """
    name = "binary_cross_entropy"
    input, target = pair(name, input, target)
    unit(name, "input", input)
    unit(name, "target", target)
    losses = _bce(input, target)
    return reduced(losses if weight is None else losses * weights(name, "weight", weight, input), reduction, name)


def _logistic_forward(x: Any, a: Any, b: Any) -> Any:
    return (a + b) * np.log1p(np.exp(-np.abs(x))) + (a * np.maximum(-x, 0) + b * np.maximum(x, 0))


_logistic = declare(
    "binary_cross_entropy_with_logits", _logistic_forward,
    [lambda g, y, x, a, b: g * (b * sigmoid_of(x) - a * sigmoid_of(-x)),
     lambda g, y, x, a, b: g * softplus_of(-x), lambda g, y, x, a, b: g * softplus_of(x)],
    jvps="elementwise", formula="−{1} log σ({0}) − {2} log σ(−{0})",
    derivatives=["{2} σ({0}) − {1} σ(−{0})", "−log σ({0})", "−log σ(−{0})"],
    samples=lambda rng: [Sample((draw(rng, s, -4, 4), draw(rng, s, 0, 1), draw(rng, s, 0, 1)))
                         for s in [(), (2,), (2, 3), (0,)]],
    doc="The cross-entropy of a logit with the mass a of positives and b of negatives.",
    expansion=lambda x, a, b: a * ad.softplus(-x) + b * ad.softplus(x),
)  # fmt: skip


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """−t log σ(x) − (1 − t) log(1 − σ(x)), without overflow.

    Args:
        input: logits x, any shape.
        target: probabilities t (0 or 1, or between), the same shape.
        weight: factors that broadcast to that shape.
        reduction: "mean", "sum" or "none".
        pos_weight: factors of the first term, the positives, that broadcast to that shape.

    Raises:
        ValueError: for shapes that do not fit, or an unknown `reduction`.

    >>> binary_cross_entropy_with_logits(ad.Tensor([0.0, 1000.0]), [1, 0], reduction="none")
    Tensor([6.93147181e-01, 1.00000000e+03])
    """
    name = "binary_cross_entropy_with_logits"
    input, target = pair(name, input, target)
    positives = target if pos_weight is None else target * weights(name, "pos_weight", pos_weight, input)
    losses = _logistic(input, positives, 1 - target)
    return reduced(losses if weight is None else losses * weights(name, "weight", weight, input), reduction, name)


def focal_loss(input: Any, target: Any, alpha: Any = 0.25, gamma: float = 2.0, *, reduction: str = "mean") -> Tensor:
    """−α (1 − p)^γ log p, p the probability of the true class: cross-entropy that passes over what is easy.

    Args:
        input: logits, shape (classes,), (N, classes) or (N, classes, ...); or any shape for binary decisions.
        target: class indices, shape (), (N,) or (N, ...); or floating-point 0 and 1 (or between) of the input's shape,
            which mean one binary decision (sigmoid) for each logit.
        alpha: α, one number, or one for each class; for binary decisions (negatives, positives), so that (1 − α, α) is
            the balanced form of the paper.
        gamma: γ, at least 0; with 0 it is α times the cross-entropy.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError, TypeError: for targets and α that do not fit, or an unknown option.

    Source: Lin et al., Focal loss for dense object detection (2017).

    >>> focal_loss(ad.Tensor([[0.0, 0.0]]), [1], alpha=1.0)
    Tensor(0.1732868)
    """
    name = "focal_loss"
    gamma = number(name, "gamma", gamma, 0)
    input, target = float_input(name, input), as_tensor(target)
    a = constant(name, "alpha", alpha, input)
    if target.dtype.kind == "f":
        input, target = pair(name, input, target)
        unit(name, "target", target)
        t = constant(name, "target", target, input)
        if a.shape not in ((), (2,)):
            raise ValueError(f"{name}: alpha of shape {a.shape}; for binary decisions it is a number or two")
        losses = _logistic(input, t, 1 - t) * (a if a.ndim == 0 else a[0] * (1 - t) + a[1] * t)
        if gamma:
            with np.errstate(divide="ignore"):
                log_t, log_u = np.log(t), np.log1p(-t)
            missed = ad.logaddexp(ad.special.log_expit(-input) + log_t, ad.special.log_expit(input) + log_u)
            losses = losses * ad.exp(missed * gamma)
        return reduced(losses, reduction, name)
    index, _ = _indices(name, input, target, None)
    axis = _class_axis(input)
    classes = input.shape[axis]
    if classes < 2:
        raise ValueError(f"{name}: needs at least two classes, got input of shape {input.shape}")
    if a.shape not in ((), (classes,)):
        raise ValueError(f"{name}: alpha of shape {a.shape}; {classes} classes need a number or ({classes},)")
    # p = σ(z) for z = the true class's logit against all others: nothing cancels where p is near 1
    z = _at(input, index) - ad.logsumexp(ad.where(one_hot(input, index, axis), -np.inf, input), axis)
    losses = ad.softplus(-z) * (a if a.ndim == 0 else taken(a, index))
    return reduced(losses * ad.exp(ad.special.log_expit(-z) * gamma) if gamma else losses, reduction, name)


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean"
) -> Tensor:
    """Σ max(0, m − x_t + x_i)ᵖ / classes over the classes i other than the target t, of derivative 0 at 0.

    Args:
        input: scores x, shape (classes,) or (N, classes).
        target: class indices t, shape () or (N,).
        p: the exponent, 1 or 2.
        margin: m.
        weight: one factor for each class, of its targets' losses, shape (classes,).
        reduction: "mean" (over samples), "sum" or "none".

    Raises:
        ValueError, TypeError: for targets and weights that do not fit, or an unknown option.

    >>> multi_margin_loss(ad.Tensor([[0.5, 0.0, 1.0, 0.0]]), [2])
    Tensor(0.125)
    """
    name = "multi_margin_loss"
    input, margin = float_input(name, input), number(name, "margin", margin)
    if input.ndim > 2:
        raise ValueError(f"{name}: got input of shape {input.shape}, expects (classes,) or (N, classes)")
    if p not in (1, 2) or isinstance(p, bool):
        raise ValueError(f"{name}: p is 1 or 2, not {p!r}")
    index, _ = _indices(name, input, as_tensor(target), None)
    w = _class_weights(name, weight, input)
    own = ad.expand_dims(_at(input, index), -1)
    missing = ad.relu(input - own + margin) * ~one_hot(input, index, -1)
    losses = (missing if p == 1 else ad.square(missing)).sum(axis=-1) / input.shape[-1]
    return reduced(losses if w is None else losses * taken(w, index), reduction, name)


@in_single
def _entropy(p: Tensor) -> Tensor:
    return ad.special.xlogy(p, p)


def _weighted(p: Tensor, v: Tensor) -> Tensor:
    """p · v, and 0 where p is 0 and v infinite."""
    off = (plain(p) == 0) & ~np.isfinite(plain(v))
    return p * v if common(~off.any()) else ad.where(off, 0, p) * ad.where(off, 0, v)


@flagged
def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The Kullback–Leibler divergence Σ p (log p − log q), term by term.

    Args:
        input: log q, any shape.
        target: p, the same shape; or with `log_target` log p.
        reduction: "mean" (over all elements), "batchmean" (sum divided by the length of axis 0: the divergence
            itself), "sum" or "none".
        log_target: whether the target is a logarithm.

    Where p is 0 the term is 0, also for q = 0.

    Raises:
        ValueError: for another shape, or an unknown `reduction`.

    >>> kl_div(ad.log([[0.5, 0.5]]), [[1.0, 0.0]], reduction="batchmean")
    Tensor(0.69314718)
    """
    name = "kl_div"
    choice(name, "reduction", reduction, ("mean", "batchmean", "sum", "none"))
    input, target = pair(name, input, target)
    p = ad.exp(target) if log_target else target
    values = _weighted(p, target - input) if log_target else _entropy(p) - _weighted(p, input)
    if reduction != "batchmean":
        return reduced(values, reduction, name)
    if not input.size:
        return over_nothing(values, name)
    return divided(values, input.shape[0] if input.ndim else 1)


class _Weighted(Loss):
    weight: Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.register_buffer("weight", buffer(type(self).__name__, "weight", weight))


class _OfClasses(_Weighted):
    """Losses of classes, each with its weight, some of which are ignored."""

    def __init__(self, weight: Any = None, *, ignore_index: int = IGNORED, reduction: str = "mean") -> None:
        super().__init__(weight, reduction=reduction)
        self.ignore_index = integer(type(self).__name__, "ignore_index", ignore_index)

    def count(self, target: Any) -> float | None:
        """What the mean divides by: how many targets are not ignored, or the sum of their classes' weights (of
        probabilities the number of samples); None for another reduction.

        Args:
            target: class indices or probabilities, as in the call.

        >>> CrossEntropyLoss([1.0, 0.5], ignore_index=-1).count([0, 1, -1])
        1.5
        """
        if self.reduction != "mean":
            return None
        labels = target if type(target) is np.ndarray else plain(as_tensor(target))
        if self.weight is None and labels.dtype.kind in "iu":
            return float(np.count_nonzero(labels != self.ignore_index))
        if labels.dtype.kind == "f":
            return labels.size / max(labels.shape[_class_axis(labels)], 1) if labels.ndim else 1.0
        kept = labels[labels != self.ignore_index]
        if self.weight is None:
            return float(kept.size)
        return float(brought(plain(self.weight), labels)[kept].sum(dtype=np.float64))


class CrossEntropyLoss(_OfClasses):
    """Cross-entropy on logits, as `cross_entropy`; `weight` is kept as a buffer.

    >>> CrossEntropyLoss()(ad.Tensor([[0.0, 0.0]]), [1])
    Tensor(0.69314718)
    """

    def __init__(
        self, weight: Any = None, *, ignore_index: int = IGNORED, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction)
        self.label_smoothing = number("CrossEntropyLoss", "label_smoothing", label_smoothing, 0, 1)

    def forward(self, input: Any, target: Any) -> Tensor:
        """−log softmax(input) at the target class, reduced."""
        return cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip


class NLLLoss(_OfClasses):
    """The negative log-likelihood of log-probabilities, as `nll_loss`; `weight` is kept as a buffer.

    >>> NLLLoss()(ad.log([[0.25, 0.75]]), [0])
    Tensor(1.38629436)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """−input at the target class, reduced."""
        return nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class BCELoss(_Weighted):
    """Binary cross-entropy on probabilities, as `binary_cross_entropy`; `weight` is kept as a buffer.

    >>> BCELoss()(ad.Tensor([0.5]), [1.0])
    Tensor(0.69314718)
    """

    threshold = 0.5
    """The output above which class 1 is the more probable one."""

    def forward(self, input: Any, target: Any) -> Tensor:
        """−t log p − (1 − t) log(1 − p), reduced."""
        return binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Weighted):
    """Binary cross-entropy on logits, as `binary_cross_entropy_with_logits`; the weights are kept as buffers.

    >>> BCEWithLogitsLoss()(ad.Tensor([0.0]), [1.0])
    Tensor(0.69314718)
    """

    threshold = 0.0
    """The output above which class 1 is the more probable one."""

    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(weight, reduction=reduction)
        self.register_buffer("pos_weight", buffer(type(self).__name__, "pos_weight", pos_weight))

    def forward(self, input: Any, target: Any) -> Tensor:
        """−t log σ(x) − (1 − t) log(1 − σ(x)), reduced."""
        return binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class FocalLoss(Loss):
    """−α (1 − p)^γ log p on logits, as `focal_loss`.

    >>> FocalLoss(alpha=1.0)(ad.Tensor([[0.0, 0.0]]), [1])
    Tensor(0.1732868)
    """

    def __init__(self, alpha: Any = 0.25, gamma: float = 2.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.alpha = (
            alpha if isinstance(alpha, (int, float)) else fitted(numbers("FocalLoss", "alpha", alpha), ad.Tensor(0.0))
        )
        self.gamma = number("FocalLoss", "gamma", gamma, 0)

    def forward(self, input: Any, target: Any) -> Tensor:
        """−α (1 − p)^γ log p, reduced."""
        return focal_loss(input, target, self.alpha, self.gamma, reduction=self.reduction)


class KLDivLoss(Loss):
    """The Kullback–Leibler divergence from log q and p, as `kl_div`.

    >>> KLDivLoss(reduction="batchmean")(ad.log([[0.5, 0.5]]), [[1.0, 0.0]])
    Tensor(0.69314718)
    """

    _reductions = ("mean", "batchmean", "sum", "none")

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Tensor:
        """p (log p − log q), reduced."""
        return kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class MultiMarginLoss(Loss):
    """The target's score is to exceed all others by a margin, as `multi_margin_loss`.

    >>> MultiMarginLoss()(ad.Tensor([[0.5, 0.0, 1.0, 0.0]]), [2])
    Tensor(0.125)
    """

    weight: Tensor | None

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if p not in (1, 2) or isinstance(p, bool):
            raise ValueError(f"MultiMarginLoss: p is 1 or 2, not {p!r}")
        self.p, self.margin = p, number("MultiMarginLoss", "margin", margin)
        self.register_buffer("weight", buffer(type(self).__name__, "weight", weight))

    def forward(self, input: Any, target: Any) -> Tensor:
        """Σ max(0, m − x_t + x_i)ᵖ / classes, reduced."""
        return multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)
