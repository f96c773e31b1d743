"""Softmax and its companions on logits, as single stable operations: the maximum is subtracted, nothing overflows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, constant, declare, polymorphic
from ..tensor import Tensor
from .guards import restored
from .reductions import mean, sum
from .samples import draw

__all__ = [
    "cross_entropy",
    "log_softmax",
    "softmax",
]  # fmt: skip


def _over_axes(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((draw(rng, (4,)),), {"axis": -1}),
        Sample((draw(rng, (2, 3)),), {"axis": 0}),
        Sample((draw(rng, (2, 3, 2)),), {"axis": 1}),
        Sample((draw(rng, (0, 3)),), {"axis": -1}),
    ]


def _softmax_forward(x: Any, axis: int) -> Any:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    e /= e.sum(axis=axis, keepdims=True)
    return e


_softmax = declare(
    "softmax", _softmax_forward,
    [lambda g, y, x, axis: y * (g - (g * y).sum(axis=axis, keepdims=True))],
    jvps="elementwise", formula="softmax({0})", derivatives=["diag({y}) − {y} {y}ᵀ"], samples=_over_axes,
)  # fmt: skip
_softmax_of = polymorphic(_softmax)


def _log_softmax_forward(x: Any, axis: int) -> Any:
    y = x - x.max(axis=axis, keepdims=True)
    y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
    return y


_log_softmax = declare(
    "log_softmax", _log_softmax_forward,
    [lambda g, y, x, axis: g - np.exp(y) * g.sum(axis=axis, keepdims=True)],
    formula="log softmax({0})", derivatives=["I − 1 exp({y})ᵀ"], samples=_over_axes,
)  # fmt: skip
_log_softmax_of = polymorphic(_log_softmax)


def _logits(x: Any, axis: int, name: str) -> Any:
    """The logits as a floating Tensor or array with at least one class along `axis`."""
    x = constant(x, name)
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind != "f":
        x = Tensor(x._data.astype(np.float64))
    if not -x.ndim <= axis < x.ndim:
        raise np.exceptions.AxisError(f"{name}: axis {axis} is out of range for shape {x.shape}")
    if x.shape[axis] == 0:
        raise ValueError(f"{name}: there is no class along axis {axis} of shape {x.shape}")
    return x


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(x) / Σ exp(x) along an axis, without overflow.

    Args:
        x: logits of any shape.
        axis: the axis of the classes.

    >>> softmax([0.0, 0.0])
    Tensor([0.5, 0.5])
    """
    return _softmax(_logits(x, axis, "softmax"), axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """x − log Σ exp(x) along an axis: the logarithm of the softmax, without overflow or log of 0.

    >>> log_softmax([1000.0, 0.0])
    Tensor([    0., -1000.])
    """
    return _log_softmax(_logits(x, axis, "log_softmax"), axis=axis)


def _one_hot(x: Any, target: Any, axis: int) -> Any:
    hot = np.zeros(x.shape, x.dtype)
    np.put_along_axis(hot, np.expand_dims(target, axis), 1, axis)
    return hot


def _of_classes(x: Any, target: Any, axis: int) -> Any:
    chosen = np.take_along_axis(_log_softmax_forward(x, axis), np.expand_dims(target, axis), axis)
    return -np.squeeze(chosen, axis)[()]


def _classes_rule(g: Any, y: Any, x: Any, target: Any, axis: int) -> Any:
    return restored(g, axis, x.ndim, False) * (_softmax_of(x, axis=axis) - _one_hot(x, target, axis))


_cross_entropy_of_classes = declare(
    "cross_entropy", _of_classes, [_classes_rule],
    jvps="reduction", formula="−log softmax({0})ₜ", derivatives=["softmax({0}) − one-hot(t)"],
    samples=lambda rng: [Sample((draw(rng, (4,)),), {"target": np.array(2), "axis": -1}),
                         Sample((draw(rng, (3, 4)),), {"target": np.array([0, 3, 3]), "axis": 1}),
                         Sample((draw(rng, (2, 3, 2)),), {"target": np.array([[0, 1], [2, 2]]), "axis": 1}),
                         Sample((draw(rng, (0, 3)),), {"target": np.zeros(0, int), "axis": 1})],
)  # fmt: skip


def _of_probabilities(x: Any, p: Any, axis: int) -> Any:
    logs = _log_softmax_forward(x, axis)
    return -(p * np.where(p == 0, 0, logs)).sum(axis=axis)


def _probabilities_rule(g: Any, y: Any, x: Any, p: Any, axis: int) -> Any:
    total = p.sum(axis=axis, keepdims=True)
    return restored(g, axis, x.ndim, False) * (_softmax_of(x, axis=axis) * total - p)


_cross_entropy_of_probabilities = declare(
    "cross_entropy_with_probabilities", _of_probabilities,
    [_probabilities_rule,
     lambda g, y, x, p, axis: -restored(g, axis, x.ndim, False) * _log_softmax_of(x, axis=axis)],
    jvps="reduction", formula="−Σ {1} log softmax({0})", derivatives=["softmax({0}) Σ{1} − {1}", "−log softmax({0})"],
    samples=lambda rng: [Sample((draw(rng, (4,)), draw(rng, (4,), 0.1, 0.5)), {"axis": -1}),
                         Sample((draw(rng, (2, 3)), draw(rng, (2, 3), 0.1, 0.5)), {"axis": 0})],
)  # fmt: skip


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
    x = _logits(logits, axis, "cross_entropy")
    axis = axis % x.ndim
    t = constant(target, "cross_entropy")
    t = t if isinstance(t, Tensor) else np.asarray(t)
    classes, samples = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
    if t.dtype.kind in "iu":
        t = t._data if isinstance(t, Tensor) else t
        if t.shape != samples:
            raise ValueError(
                f"cross_entropy: logits of shape {x.shape} with classes along axis {axis} need class indices of shape "
                f"{samples} (or float probabilities of shape {x.shape}), not integers of shape {t.shape}"
            )
        if t.size and not (0 <= t.min() and t.max() < classes):
            raise ValueError(f"cross_entropy: class indices must be in 0 … {classes - 1}, got {t.min()} … {t.max()}")
        losses = _cross_entropy_of_classes(x, target=np.array(t), axis=axis)
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
