"""scikit-learn's metrics of a network's outputs, by the names that ``cross_val_score(scoring=)`` takes.

What an output says of its sample is read here: a class by the largest of several, one of two classes by which side of
the loss's threshold it lies on, otherwise the value itself. scikit-learn is needed to import this module.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.metrics import get_scorer, get_scorer_names
except ImportError as error:
    raise ImportError(
        "fit: the names of metrics are scikit-learn's, which is missing: pip install scikit-learn; or give functions "
        "of output and target"
    ) from error

import autodiff as ad
from autodiff.averaging import count_of, counted
from autodiff.tensor import wrap

from ..array import Array


class _Values(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn comes without types
    """What is predicted are the outputs."""

    def predict(self, outputs: Array) -> Array:
        return outputs


class _Classes(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Outputs (N, K) for K classes: logits, logarithms of probabilities, or probabilities."""

    def __init__(self, classes: int) -> None:
        self.classes_ = np.arange(classes)

    def predict(self, outputs: Array) -> Array:
        chosen: Array = outputs.argmax(axis=1)
        return chosen

    def predict_proba(self, outputs: Array) -> Array:
        rounding = 10 * outputs.shape[1] * float(np.finfo(outputs.dtype).eps)
        if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, rtol=0, atol=rounding):
            return outputs
        return np.asarray(ad.softmax(wrap(outputs.astype(np.float64))))


class _TwoClasses(_Classes):
    """Two of them; the difference of their logits ranks samples whose probabilities round to 1 and 0, too."""

    def decision_function(self, outputs: Array) -> Array:
        return outputs[:, 1] - outputs[:, 0]


class _Sides(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One output for two classes, or one for each of several labels: class 1 lies above the threshold."""

    def __init__(self, threshold: float, labels: int) -> None:
        self.threshold, self.classes_ = threshold, np.arange(max(labels, 2))

    def predict(self, outputs: Array) -> Array:
        return (outputs > self.threshold).astype(int)

    def decision_function(self, outputs: Array) -> Array:
        return outputs

    def predict_proba(self, outputs: Array) -> Array:
        p = outputs if self.threshold else np.asarray(ad.sigmoid(wrap(outputs.astype(np.float64))))
        return p if p.ndim > 1 else np.stack([1 - p, p], axis=1)


def require_known(names: Iterable[str]) -> None:
    """Raise ValueError for a name that is not among scikit-learn's scorers."""
    for name in names:
        if name not in (known := get_scorer_names()):
            near = difflib.get_close_matches(name, known, 4, 0.5)
            raise ValueError(
                f"fit: {name!r} is no metric's name; scikit-learn's are those of sklearn.metrics.get_scorer_names()"
                + f", such as {', '.join(near)}" * bool(near)
            )


def scores(names: Mapping[str, str], outputs: Array, targets: Array, loss: Any) -> dict[str, float]:
    """The metrics of all outputs together; targets that the loss ignores are left out.

    Args:
        names: scikit-learn's names, by name.
        outputs: shape (N, …); with classes along axis 1, if they are one more axis than the targets have.
        targets: shape (N, …).
        loss: of the training; with a ``threshold``, a single output above it says class 1, and with a ``count``, it
            says which labels it ignores.

    Raises:
        ValueError: for outputs and targets that the metric is not made for.
    """
    made, x, y = _read(outputs, targets, loss)
    found = {}
    for name, metric in names.items():
        try:
            found[name] = float(get_scorer(metric)(made, x, y))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"fit: the metric {metric!r} of outputs of shape {outputs.shape} and targets of shape {targets.shape} "
                f"({targets.dtype}): {error}; a function of output and target can say what it means here (one output "
                f"is taken for one of two classes if the loss has a threshold, as nn.BCEWithLogitsLoss() has)"
            ) from error
    return found


def _read(outputs: Array, targets: Array, loss: Any) -> tuple[Any, Array, Array]:
    """An estimator that predicts what the outputs say, the outputs as it takes them, and the targets."""
    if targets.dtype.kind in "iub" and outputs.ndim == targets.ndim + 1:
        classes_last = outputs.shape[:-1] == targets.shape
        if outputs.shape[:1] + outputs.shape[2:] == targets.shape and not (classes_last and outputs.ndim > 2):
            outputs = np.moveaxis(outputs, 1, -1)
        elif not classes_last or outputs.ndim > 2:
            raise ValueError(
                f"fit: metrics by name take classes along axis 1, and these outputs have shape {outputs.shape} and "
                f"targets {targets.shape}, of which that cannot be said; give a function of output and target"
            )
        if outputs.shape[-1] > 1:
            x, y = outputs.reshape(-1, outputs.shape[-1]), targets.ravel()
            count = count_of(loss)
            ignored = [label for label in np.unique(y) if counted(count, np.array([label])) == 0]
            kept = ~np.isin(y, ignored)
            return (_TwoClasses if x.shape[1] == 2 else _Classes)(x.shape[1]), x[kept], y[kept]
    if outputs.size == targets.size:
        shape = [n for n in targets.shape[1:] if n != 1]
        x, y = (array.reshape(len(array), *shape) for array in (outputs, targets))
        threshold = getattr(loss, "threshold", None)
        if threshold is not None and np.isin(y, (0, 1)).all():
            return _Sides(threshold, x[0].size), x, y.astype(int)
        return _Values(), x, y
    return _Values(), outputs, targets
