"""Learning without derivatives: the perceptron learning algorithm and the Hebbian rule, with all weights on the way.

Both walk through the samples one by one and add η t x to the weights where a threshold neuron is wrong; they differ in
what counts as wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff.figures import axes_for, ink, legend, limits, line_style
from autodiff.flags import flagged

from ..array import Array
from ..hyperparameters import finite, positive, require


@dataclass(frozen=True)
class LearningTrace:
    """What a learning rule did: every epoch has a row, every sample an entry in it.

    Attributes:
        weights: the weights after each sample, shape (epochs, samples, features).
        biases: the bias after each sample, shape (epochs, samples).
        errors: the number of samples in each epoch for which the neuron was wrong, shape (epochs,).
        low: what `predict` says of the negative side, −1 or 0.
        fires_at_zero: which side of the line the line itself belongs to.
        x, t: the samples and the targets.
    """

    weights: Array
    biases: Array
    errors: Array
    low: int
    fires_at_zero: bool
    x: Array
    t: Array

    def __repr__(self) -> str:
        epochs, samples, features = self.weights.shape
        return (
            f"LearningTrace({epochs} epochs of {samples} samples with {features} features, {self.errors[-1]} errors in "
            f"the last one)"
        )

    @property
    def weight(self) -> Array:
        """The weights at the end, shape (features,)."""
        last: Array = self.weights[-1, -1]
        return last

    @property
    def bias(self) -> float:
        """The bias at the end."""
        return float(self.biases[-1, -1])

    @property
    def converged(self) -> bool:
        """Whether the last epoch was free of errors."""
        return bool(self.errors[-1] == 0)

    def predict(self, x: Any) -> Array:
        """The neuron's output for inputs of shape (..., features): 1, or `low` on the negative side.

        Raises:
            ValueError: for another number of features.
        """
        z = self._before("predict", x)
        return np.where((z >= 0) if self.fires_at_zero else (z > 0), 1, self.low)

    def distance(self, x: Any) -> Array:
        """The signed distance (w·x + b) / ‖w‖ of inputs of shape (..., features) from the line (plane, hyperplane) at
        the end, positive where the neuron's output is 1; NaN where there is no line, w being 0.

        Raises:
            ValueError: for another number of features.
        """
        length = float(np.linalg.norm(self.weight))
        return self._before("distance", x) / (length or np.nan)

    def _before(self, where: str, x: Any) -> Array:
        """w·x + b."""
        x = np.asarray(x, float)
        if x.ndim == 0 or x.shape[-1] != len(self.weight):
            raise ValueError(f"{where}: takes inputs of shape (..., {len(self.weight)}), not {x.shape}")
        found: Array = x @ self.weight + self.bias
        return found

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the samples, and the line after each epoch, later ones darker, the last one thick; of another number of
        features than two the number of errors in each epoch.

        Args:
            ax: matplotlib axes to draw into; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        beside, ax = ax is None, axes_for("LearningTrace.plot", ax)
        if self.x.shape[1] != 2:
            ax.plot(np.arange(1, len(self.errors) + 1), self.errors, **line_style(0, marker=True))
            ax.set(xlabel="epoch", ylabel="errors")
            return ax
        for k, target in enumerate(np.unique(self.t)):
            style = line_style(k, marker=True)
            ax.plot(*self.x[self.t == target].T, style["marker"], color=style["color"], label=f"target {target:g}")
        epochs = len(self.errors)
        for k, (w, b) in enumerate(zip(self.weights[:, -1], self.biases[:, -1]), 1):
            if w.any():
                near = -b * w / (w @ w)  # the line's point nearest to 0
                last = k == epochs
                ax.axline(near, near + [-w[1], w[0]], color=ink(ax), alpha=1 if last else 0.1 + 0.4 * k / epochs,
                          linewidth=2 if last else 0.8, label=f"after epoch {k}" if last else None)  # fmt: skip
        ax.set(xlim=limits(self.x[:, 0], 0.2), ylim=limits(self.x[:, 1], 0.2), xlabel="feature 0", ylabel="feature 1")
        legend(ax, beside)
        return ax


@flagged
def perceptron_learning(
    x: Any,
    t: Any,
    *,
    lr: float = 1.0,
    epochs: int = 100,
    weight: Any = None,
    bias: float = 0.0,
    fit_bias: bool = True,
    strict: bool = False,
    rng: np.random.Generator | None = None,
) -> LearningTrace:
    """Rosenblatt's perceptron learning algorithm: it finds a line between two classes, if there is one.

    For each sample in turn, with a = w·x + w₀::

        if t a ≤ 0:   w ← w + η t x,   w₀ ← w₀ + η t

    which is a step of gradient descent on that sample's perceptron loss −t a. It stops after an epoch without an
    error; if no line separates the classes, it never finds such an epoch.

    Args:
        x: samples, shape (samples, features).
        t: targets +1 and −1, shape (samples,).
        lr: η, more than 0. From zero weights it only scales the result.
        epochs: the most passes over the samples.
        weight: the weights to start from, shape (features,); zeros by default.
        bias: w₀ to start from.
        fit_bias: False keeps w₀ as it is.
        strict: update where t a < 0 only, as the definition of "misclassified" says. From zero weights nothing is ever
            learned then.
        rng: draws a new order of the samples for each epoch; without it the order is as given.

    Returns:
        The trace of the weights.

    Raises:
        TypeError, ValueError: for targets other than ±1, shapes that do not fit, values that are not finite, and
            hyper-parameters out of range.

    Source: Rosenblatt, "The perceptron", 1958; Novikoff, "On convergence proofs on perceptrons", 1962.

    >>> from optim import perceptron_learning
    >>> trace = perceptron_learning([[0, 0], [0, 1], [1, 0], [1, 1]], [-1, -1, -1, 1])
    >>> trace.converged, trace.weight.tolist(), trace.bias
    (True, [3.0, 2.0], -4.0)
    >>> trace.errors.tolist()
    [2, 3, 3, 2, 2, 3, 2, 1, 0]
    """
    name = "perceptron_learning"
    x, t = _samples(name, x, t)
    if not np.isin(t, (-1, 1)).all():
        hint = "; write 2 * t - 1 for targets 0 and 1" if np.isin(t, (0, 1)).all() else ""
        raise ValueError(f"{name}: targets must be +1 or −1, but t has {_some(t)}{hint}")

    def wrong(z: float, target: float) -> bool:
        return target * z < 0 or (not strict and target * z == 0)

    return _learn(name, x, t, wrong, lr, epochs, weight, bias, fit_bias, rng, low=-1, fires_at_zero=False)


@flagged
def hebbian_learning(
    x: Any,
    t: Any,
    *,
    lr: float = 0.1,
    epochs: int = 100,
    weight: Any = None,
    bias: float = 0.0,
    fit_bias: bool = False,
    fires_at_zero: bool = False,
    rng: np.random.Generator | None = None,
) -> LearningTrace:
    """Hebb's rule on a threshold neuron: where its output is wrong, input and target that are active together
    strengthen their connection.

    For each sample in turn, with z = w·x + b and output y = 1 if z > 0, else the lower target::

        if y ≠ t:   w ← w + η t x,   b ← b + η t

    With targets 0 and 1 a weight never decreases for inputs of at least 0, since t = 0 changes nothing: AND is not
    learned. With inputs and targets coded as ±1, OR and AND are.

    Args:
        x: samples, shape (samples, features).
        t: targets, shape (samples,): 0 and 1, or −1 and +1, which also says what the output is.
        lr: η, more than 0.
        epochs: the most passes over the samples; it stops after one without an error.
        weight: the weights to start from, shape (features,); zeros by default.
        bias: b to start from.
        fit_bias: whether the bias learns, too.
        fires_at_zero: whether z = 0 gives 1. From zero weights, targets 0 and 1 learn nothing then.
        rng: draws a new order of the samples for each epoch; without it the order is as given.

    Returns:
        The trace of the weights.

    Raises:
        TypeError, ValueError: for other targets, shapes that do not fit, values that are not finite, and
            hyper-parameters out of range.

    Source: Hebb, "The Organization of Behavior", 1949.

    >>> from optim import hebbian_learning
    >>> trace = hebbian_learning([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 1], lr=0.1)
    >>> trace.weights[0].tolist()
    [[0.0, 0.0], [0.0, 0.1], [0.1, 0.1], [0.1, 0.1]]
    >>> trace.predict([[0, 0], [1, 0]]).tolist()
    [0, 1]
    """
    name = "hebbian_learning"
    x, t = _samples(name, x, t)
    if not (np.isin(t, (0, 1)).all() or np.isin(t, (-1, 1)).all()):
        raise ValueError(f"{name}: targets must be 0 and 1, or −1 and +1, but t has {_some(t)}")
    low = -1 if (t == -1).any() else 0

    def wrong(z: float, target: float) -> bool:
        return (z > 0 or (fires_at_zero and z == 0)) != (target == 1)

    return _learn(name, x, t, wrong, lr, epochs, weight, bias, fit_bias, rng, low, bool(fires_at_zero))


def _learn(
    name: str,
    x: Array,
    t: Array,
    wrong: Callable[[float, float], bool],
    lr: float,
    epochs: int,
    weight: Any,
    bias: float,
    fit_bias: bool,
    rng: np.random.Generator | None,
    low: int,
    fires_at_zero: bool,
) -> LearningTrace:
    samples, features = x.shape
    require(name, {"lr": lr, "bias": bias}, positive("lr") | finite("bias"))
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 1:
        raise ValueError(f"{name}: epochs must be a whole number of at least 1, not {epochs!r}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"{name}: rng must be a numpy.random.Generator, not {type(rng).__name__}")
    w = np.zeros(features) if weight is None else np.array(weight, float)
    if w.shape != (features,) or not np.isfinite(w).all():
        raise ValueError(f"{name}: weight must be {features} finite numbers, not {weight!r}")
    b = float(bias)
    weights, biases, errors = [], [], []
    for _ in range(epochs):
        row_w, row_b, count = np.empty((samples, features)), np.empty(samples), 0
        for step, i in enumerate(range(samples) if rng is None else rng.permutation(samples)):
            if wrong(float(x[i] @ w) + b, float(t[i])):
                count += 1
                w += lr * t[i] * x[i]
                if fit_bias:
                    b += lr * float(t[i])
            row_w[step], row_b[step] = w, b
        weights.append(row_w)
        biases.append(row_b)
        errors.append(count)
        if count == 0:
            break
    return LearningTrace(np.array(weights), np.array(biases), np.array(errors), low, fires_at_zero, x, t)


def _samples(name: str, x: Any, t: Any) -> tuple[Array, Array]:
    try:
        x, t = np.asarray(x, float), np.asarray(t, float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: x and t must be arrays of numbers: {error}") from None
    if x.ndim != 2 or t.shape != x.shape[:1] or x.size == 0:
        raise ValueError(
            f"{name}: takes x of shape (samples, features), not empty, and t of shape (samples,), not {x.shape} and "
            f"{t.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{name}: x has values that are not finite")
    return x, t


def _some(t: Array) -> str:
    values = np.unique(t)
    return ", ".join(f"{v:g}" for v in values[:5]) + (" …" if len(values) > 5 else "")
