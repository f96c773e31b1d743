"""Softmax, its logarithm, the logarithm of the sum of exponentials, and cross-entropy on logits, as single stable
operations: the maximum is subtracted, nothing overflows, and no derivative cancels where one class has it all.

Infinite logits have the limits. +∞ in one place takes all: softmax is 1 there and 0 elsewhere, log softmax 0 and −∞. In
several places it has no limit: both are NaN there, logsumexp is +∞. −∞ counts for nothing. Where there is nothing else,
softmax and log softmax are NaN, and logsumexp is −∞ with gradient 0.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ..devices import brought
from ..primitive import Sample, constant, declare, internal, polymorphic
from ..protocols import REDUCTIONS, optioned
from ..tensor import Tensor, is_foreign, wrap
from .guards import axes_of, checked_axes, checked_axis, common, count_of, raw, restored
from .kernels import SOFTMAX, SOFTMAX_PULLBACK
from .precision import in_single
from .reductions import mean, sum
from .samples import draw

__all__ = [
    "cross_entropy",
    "log_softmax",
    "logsumexp",
    "softmax",
]  # fmt: skip


def _over_axes(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((draw(rng, (4,)),), {"axis": -1}),
        Sample((draw(rng, (2, 3)),), {"axis": 0}),
        Sample((draw(rng, (2, 3, 2)),), {"axis": 1}),
        Sample((draw(rng, (0, 3)),), {"axis": -1}),
    ]


def _below_top(x: Any, axis: int) -> tuple[Any, Any]:
    """x − max x, with its limits, and where it has none because of several +∞ (None: nowhere)."""
    top = np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    if common(np.vdot(top, top) < np.inf):  # one pass, no temporary; an overflow only costs the closer look below
        return x - top, None
    infinite = (x == np.inf) & (top == np.inf)
    count = np.count_nonzero(infinite, axis=axis, keepdims=True)
    with np.errstate(invalid="ignore"):
        below = np.where(count > 0, np.where(infinite, x.dtype.type(0), -np.inf), x - top).astype(x.dtype)
    return below, infinite & (count > 1)


@in_single
def _softmax_forward(x: Any, axis: int) -> Any:
    if axis in (-1, x.ndim - 1) and (y := SOFTMAX(x)) is not None:
        return y
    e, unlimited = _below_top(x, axis)
    e = np.exp(e)
    e /= np.add.reduce(e, axis=axis, keepdims=True)
    return e if unlimited is None else np.where(unlimited, x.dtype.type(np.nan), e)


@in_single
def _softmax_rule(g: Any, y: Any, x: Any, axis: int) -> Any:
    """y (g − Σ g y). It stays the same if a constant is taken from g: the one at the greatest y, so that nothing
    cancels where that is near 1."""
    if axis in (-1, y.ndim - 1) and (d := SOFTMAX_PULLBACK(g, y)) is not None:
        return d
    if y.shape[axis]:
        greatest = np.argmax(raw(y), axis=axis, keepdims=True)
        g = g - np.take_along_axis(g, greatest, axis)
    return y * (g - (g * y).sum(axis=axis, keepdims=True))


def _of_finite(expansion: Any) -> Any:
    """An expansion that is given x − max x before x; the maximum is a constant, because what it is makes no difference.
    Where it is not finite, no plain formula has the limits."""

    def opened(x: Tensor, *others: Any, axis: Any = None, **params: Any) -> Any:
        top = wrap(np.max(x._ndarray, axis=axis, keepdims=True, initial=-np.inf))
        if not np.isfinite(top._ndarray).all():
            return None
        top.name = "max"
        return in_single(lambda x, *others: expansion(x - top, x, top, *others, axis=axis, **params))(x, *others)

    return opened


@_of_finite
def _softmax_expansion(below: Tensor, x: Tensor, top: Tensor, axis: int) -> Tensor:
    e = np.exp(below)
    return e / e.sum(axis=axis, keepdims=True)


_softmax = declare(
    "softmax", _softmax_forward, [_softmax_rule],
    jvps="elementwise", formula="softmax({0})", derivatives=["diag({y}) − {y} {y}ᵀ"], samples=_over_axes,
    expansion=_softmax_expansion,
)  # fmt: skip
_softmax_of = polymorphic(_softmax)


@in_single
def _log_softmax_forward(x: Any, axis: int) -> Any:
    y, unlimited = _below_top(x, axis)
    y -= np.log(np.add.reduce(np.exp(y), axis=axis, keepdims=True))
    return y if unlimited is None else np.where(unlimited, x.dtype.type(np.nan), y)


@in_single
def _log_softmax_rule(g: Any, y: Any, x: Any, axis: int) -> Any:
    """g − p Σ g with p = exp y; at the greatest p, where 1 − p cancels, that is g Σ p − p Σ g over all the others."""
    p = np.exp(y)
    if not y.shape[axis]:
        return g - p * g.sum(axis=axis, keepdims=True)
    hot = one_hot(y, np.argmax(raw(y), axis=axis), axis)
    rest = ~hot
    others, g_others = (p * rest).sum(axis=axis, keepdims=True), (g * rest).sum(axis=axis, keepdims=True)
    total = g_others + (g * hot).sum(axis=axis, keepdims=True)
    return rest * (g - p * total) + hot * (g * others - p * g_others)


_log_softmax = declare(
    "log_softmax", _log_softmax_forward, [_log_softmax_rule],
    formula="log softmax({0})", derivatives=["I − 1 exp({y})ᵀ"], samples=_over_axes,
    expansion=_of_finite(lambda below, x, top, axis: below - np.log(np.exp(below).sum(axis=axis, keepdims=True))),
)  # fmt: skip
_log_softmax_of = polymorphic(_log_softmax)


def _along_one(function: Any, x: Any, axis: int | tuple[int, ...]) -> Any:
    """A function along an axis; of several axes, along all of them laid out as one."""
    if isinstance(axis, int):
        return function(x, axis=axis)
    last = tuple(range(-len(axis), 0))
    moved = np.moveaxis(x, axis, last)
    flat = moved.reshape(moved.shape[: moved.ndim - len(axis)] + (count_of(x.shape, axis),))
    return np.moveaxis(function(flat, axis=-1).reshape(moved.shape), last, axis)


def _logits(x: Any, name: str) -> Tensor:
    """The logits as a floating Tensor."""
    x = constant(x, name)
    x = x if isinstance(x, Tensor) else Tensor(x)
    return x if x.dtype.kind in "fc" else Tensor(x._ndarray.astype(np.float64))


def _classes(x: Tensor, axis: Any, name: str) -> int | tuple[int, ...]:
    """The axis or axes, along which there must be a class: all of them for None (and for 0 or −1 of a number)."""
    if axis is None or (x.ndim == 0 and axis in (0, -1)):
        axis = tuple(range(x.ndim))
    axes = checked_axes(name, axis, x.shape)
    if not count_of(x.shape, axes):
        raise ValueError(f"{name}: there is no class along axis {axis} of shape {x.shape}")
    return axes[0] if len(axes) == 1 else axes


@optioned
def softmax(x: Any, axis: Any = -1) -> Tensor:
    """exp(x) / Σ exp(x) along an axis, without overflow.

    Args:
        x: logits of any shape.
        axis: the axis of the classes; several as a tuple, or None for all, as in `scipy.special.softmax`.

    Raises:
        AxisError: an axis that does not exist. ValueError: an axis named twice, or no class.

    Where one logit is +∞ it is 1 there and 0 elsewhere; where several are, or all are −∞, NaN: there is no limit.

    >>> softmax([0.0, 0.0])
    Tensor([0.5, 0.5])
    """
    x = _logits(x, "softmax")
    return _along_one(_softmax, x, _classes(x, axis, "softmax"))


@optioned
def log_softmax(x: Any, axis: Any = -1) -> Tensor:
    """x − log Σ exp(x) along an axis: the logarithm of the softmax, without overflow or log of 0. Arguments, errors and
    limits as `softmax`.

    >>> log_softmax([1000.0, 0.0])
    Tensor([    0., -1000.])
    """
    x = _logits(x, "log_softmax")
    return _along_one(_log_softmax, x, _classes(x, axis, "log_softmax"))


@in_single
def _logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        y = np.log(np.add.reduce(np.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else np.squeeze(y, axis=axes_of(axis, x.ndim))[()]


@in_single
def _logsumexp_rule(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """g times the softmax, and 0 where all is −∞."""
    axes = axes_of(axis, x.ndim)
    nothing = restored(raw(y) == -np.inf, axis, x.ndim, keepdims)
    if common(~nothing.any()):
        share = _along_one(_softmax_of, x, axes)
    else:
        share = np.where(nothing, 0, _along_one(_softmax_of, np.where(nothing, 0, x), axes))
    return restored(g, axis, x.ndim, keepdims) * share


@_of_finite
def _logsumexp_expansion(below: Tensor, x: Tensor, top: Tensor, axis: Any, keepdims: bool = False) -> Tensor:
    y = np.log(np.exp(below).sum(axis=axis, keepdims=True)) + top
    return y if keepdims else y.squeeze(axis=axes_of(axis, x.ndim))


_logsumexp_op = declare(
    "logsumexp", _logsumexp, [_logsumexp_rule], jvps="reduction",
    formula="log Σ exp {0}", derivatives=["exp({0} − {y})"],
    samples=lambda rng: [Sample((draw(rng, ()),)), Sample((draw(rng, (2, 3)),)),
                         Sample((draw(rng, (2, 3)),), {"axis": 0}),
                         Sample((draw(rng, (2, 3)),), {"axis": -1, "keepdims": True}),
                         Sample((draw(rng, (2, 3, 2)),), {"axis": (0, -1)}), Sample((draw(rng, (0, 3)),), {"axis": 1})],
    expansion=_logsumexp_expansion,
)  # fmt: skip


@optioned
def logsumexp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """log Σ exp(a) over some axes (all by default), without overflow.

    Args:
        a: any shape.
        axis: an axis, several as a tuple, or None for all; over an empty one it is −∞.
        keepdims: keep these axes, with length 1.

    Raises:
        AxisError: an axis that does not exist.

    The gradient is the softmax, also of infinite entries: 0 at −∞, also where all are; NaN at several +∞.

    >>> logsumexp([1000.0, 1000.0])
    Tensor(1000.69314718)
    """
    a = _logits(a, "logsumexp")
    options: dict[str, Any] = (
        {}
        if axis is None or (a.ndim == 0 and axis in (0, -1))
        else {"axis": tuple(axis) if isinstance(axis, list) else axis}
    )
    return _logsumexp_op(a, **options, **({"keepdims": True} if keepdims else {}))


REDUCTIONS[np.logaddexp, "reduce"] = lambda a, axis=0, keepdims=False: logsumexp(a, axis, keepdims=keepdims)


@internal
def one_hot(x: Any, target: Any, axis: int) -> Any:
    """Where the classes of x along an axis are the target."""
    behind = x.ndim - 1 - axis % x.ndim
    classes = np.arange(x.shape[axis], like=raw(x)).reshape((-1,) + (1,) * behind)
    return target.reshape(target.shape[: target.ndim - behind] + (1,) + target.shape[target.ndim - behind :]) == classes


@in_single
def _of_classes(x: Any, target: Any, axis: int) -> Any:
    logs = _log_softmax_forward(x, axis)
    if axis == x.ndim - 1:  # half the time of take_along_axis
        rows = logs.reshape((target.size, x.shape[axis]))
        return -rows[np.arange(target.size, like=x), target.reshape(-1)].reshape(target.shape)[()]
    return -np.squeeze(np.take_along_axis(logs, np.expand_dims(target, axis), axis), axis)[()]


@in_single
def _classes_rule(g: Any, y: Any, x: Any, target: Any, axis: int) -> Any:
    """softmax(x) less 1 at the target, which is less the sum of all the others: nothing cancels where it is near 1."""
    hot = one_hot(x, target, axis)
    others = _softmax_of(x, axis=axis) * ~hot
    return restored(g, axis, x.ndim, False) * (others - hot * others.sum(axis=axis, keepdims=True))


def _expansion_of_classes(x: Tensor, target: Any, axis: int) -> Tensor:
    picked = np.take_along_axis(in_single(_log_softmax)(x, axis=axis), np.expand_dims(target, axis), axis)
    return -cast(Tensor, picked).reshape(target.shape)


_cross_entropy_of_classes = declare(
    "cross_entropy", _of_classes, [_classes_rule],
    jvps="reduction", formula="−log softmax({0})ₜ", derivatives=["softmax({0}) − one-hot(t)"],
    samples=lambda rng: [Sample((draw(rng, (4,)),), {"target": np.array(2), "axis": -1}),
                         Sample((draw(rng, (3, 4)),), {"target": np.array([0, 3, 3]), "axis": 1}),
                         Sample((draw(rng, (2, 3, 2)),), {"target": np.array([[0, 1], [2, 2]]), "axis": 1}),
                         Sample((draw(rng, (0, 3)),), {"target": np.zeros(0, int), "axis": 1})],
    expansion=_expansion_of_classes,
)  # fmt: skip


@in_single
def _of_probabilities(x: Any, p: Any, axis: int) -> Any:
    logs = _log_softmax_forward(x, axis)
    return -(p * np.where(p == 0, 0, logs)).sum(axis=axis)


@in_single
def _probabilities_rule(g: Any, y: Any, x: Any, p: Any, axis: int) -> Any:
    total = p.sum(axis=axis, keepdims=True)
    return restored(g, axis, x.ndim, False) * (_softmax_of(x, axis=axis) * total - p)


@in_single
def _expansion_of_probabilities(x: Tensor, p: Any, axis: int) -> Tensor:
    logs, hidden = _log_softmax(x, axis=axis), raw(p) == 0
    terms = p * (np.where(hidden, 0, logs) if (hidden & np.isinf(logs._ndarray)).any() else logs)
    return -terms.sum(axis=axis)


_cross_entropy_of_probabilities = declare(
    "cross_entropy_with_probabilities", _of_probabilities,
    [_probabilities_rule,
     in_single(lambda g, y, x, p, axis: -restored(g, axis, x.ndim, False) * _log_softmax_of(x, axis=axis))],
    jvps="reduction", formula="−Σ {1} log softmax({0})", derivatives=["softmax({0}) Σ{1} − {1}", "−log softmax({0})"],
    samples=lambda rng: [Sample((draw(rng, (4,)), draw(rng, (4,), 0.1, 0.5)), {"axis": -1}),
                         Sample((draw(rng, (2, 3)), draw(rng, (2, 3), 0.1, 0.5)), {"axis": 0})],
    expansion=_expansion_of_probabilities,
)  # fmt: skip


@optioned
def cross_entropy(logits: Any, target: Any, axis: int = -1, reduction: str = "mean") -> Tensor:
    """Cross-entropy between targets and softmax(logits), −Σ p log softmax(logits), in one stable operation.

    Args:
        logits: unnormalised scores of any shape, the classes along `axis`.
        target: class indices, integers of the logits' shape without `axis`; or probabilities, floats of the logits'
            shape (these may require a gradient too).
        axis: the axis of the classes.
        reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"`` for one loss a sample.

    Raises:
        ValueError: shapes that do not fit, an unknown reduction, or a class index outside the classes.
        TypeError: a target that is neither integer nor floating.

    >>> cross_entropy([[2.0, 1.0, 0.1]], [0])
    Tensor(0.41703002)
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"cross_entropy: reduction must be 'mean', 'sum' or 'none', not {reduction!r}")
    x = _logits(logits, "cross_entropy")
    axis = checked_axis("cross_entropy", axis, x.shape)
    if not x.shape[axis]:
        raise ValueError(f"cross_entropy: there is no class along axis {axis} of shape {x.shape}")
    t = constant(target, "cross_entropy")
    t = t if isinstance(t, Tensor) or is_foreign(t) else np.asarray(t)
    classes, samples = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
    if t.dtype.kind in "iu":
        t = brought(t._ndarray if isinstance(t, Tensor) else t, x._ndarray)
        if t.shape != samples:
            raise ValueError(
                f"cross_entropy: logits of shape {x.shape} with classes along axis {axis} need class indices of shape "
                f"{samples} (or float probabilities of shape {x.shape}), not integers of shape {t.shape}"
            )
        if t.size and not common((0 <= t.min()) & (t.max() < classes)):
            raise ValueError(f"cross_entropy: class indices must be in 0 … {classes - 1}, got {t.min()} … {t.max()}")
        losses = _cross_entropy_of_classes(x, target=t.copy(), axis=axis)
    elif t.dtype.kind == "f":
        if t.shape != x.shape:
            raise ValueError(
                f"cross_entropy: probabilities must have the logits' shape {x.shape}, not {t.shape}; "
                f"class indices must be integers of shape {samples}"
            )
        losses = _cross_entropy_of_probabilities(x, t, axis=axis)
    else:
        raise TypeError(f"cross_entropy: target must be class indices (integers) or probabilities, not {t.dtype}")
    return losses if reduction == "none" else mean(losses) if reduction == "mean" else sum(losses)
