"""The figure of what a model of two features says over the plane: classes and their boundary, or a regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff import Tensor, no_grad
from autodiff.figures import (
    LARGEST,
    PALETTE,
    SEQUENTIAL,
    axes_for,
    drawable,
    ink,
    legend,
    limits,
    line_style,
    note_unseen,
    paper,
    tinted,
)
from autodiff.lettering import shown_name
from autodiff.tensor import plain

from ..activation.exponential import Sigmoid
from ..arguments import count, number
from ..module.module import Module
from ..module.rehearsal import as_it_was

Array = Any


@dataclass(frozen=True)
class DecisionMap:
    """What a model says over a rectangle.

    Attributes:
        x, y: the grid's lines, shapes (n,) and (m,).
        values: the model's output there: shape (m, n) for one number, (m, n, classes) for several.
        labels: the class there as an index into `classes`, shape (m, n); None for a regression.
        classes: the values of the target that stand for the classes, in order; empty for a regression.
        threshold: above which one number means the second class.
        points, targets: the data, shapes (samples, 2) and (samples,).
    """

    x: Array
    y: Array
    values: Array
    labels: Array | None
    classes: Array
    threshold: float
    points: Array
    targets: Array

    def __repr__(self) -> str:
        kind = "regression" if self.labels is None else f"{len(self.classes)} classes"
        (x0, x1), (y0, y1) = self.x[[0, -1]], self.y[[0, -1]]
        return (
            f"DecisionMap({kind}, {len(self.points)} points, x from {x0:.4g} to {x1:.4g}, y from {y0:.4g} to {y1:.4g})"
        )

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the classes as regions, or the regression as filled contours, and the data as points.

        Args:
            ax: matplotlib axes to draw into; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        beside = ax is None
        ax = axes_for("DecisionMap.plot", ax, (6, 4.5))
        ax.grid(False)
        if self.labels is None:
            self._regression(ax)
        else:
            self._regions(ax)
        ax.set(xlim=self.x[[0, -1]], ylim=self.y[[0, -1]], xlabel="feature 0", ylabel="feature 1")
        legend(ax, beside)
        return ax

    def _regions(self, ax: Any) -> None:
        from matplotlib.colors import to_rgb

        assert self.labels is not None
        n = len(self.classes)
        colours = np.array([to_rgb(PALETTE[k % len(PALETTE)]) for k in range(n)])
        extent = (self.x[0], self.x[-1], self.y[0], self.y[-1])
        ax.imshow(tinted(ax, colours, 0.3)[self.labels], extent=extent, origin="lower", aspect="auto", zorder=0)
        if self.values.ndim == 2:
            outputs = np.clip(self.values, -LARGEST, LARGEST)
            if outputs.min() < self.threshold < outputs.max():
                ax.contour(self.x, self.y, outputs, [self.threshold], colors=ink(ax), linewidths=1.2, zorder=1)
        else:  # a class ends where the largest of the other outputs is reached
            for k in set(self.labels.flat) if (self.labels != self.labels[0, 0]).any() else ():
                outputs = np.clip(self.values, -LARGEST, LARGEST)
                above = outputs[..., k] - np.delete(outputs, k, axis=-1).max(axis=-1)
                ax.contour(self.x, self.y, above, [0], colors=ink(ax), linewidths=0.8, zorder=1)
        for k, name in enumerate(self.classes):
            style = line_style(k, marker=True)
            label = f"class {name:g}" if self.classes.dtype.kind == "f" else f"class {shown_name(str(name)).strip()}"
            ax.plot(*self.points[self.targets == name].T, style["marker"], color=style["color"], markersize=6,
                    markeredgecolor=paper(ax), markeredgewidth=0.7, label=label, zorder=3)  # fmt: skip

    def _regression(self, ax: Any) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        values, targets = drawable(self.values), drawable(self.targets)
        low, high = limits(np.append(values, targets), 0.0)
        norm, levels = Normalize(low, high), np.linspace(low, high, 21)
        if np.isfinite(values).any():
            ax.contourf(self.x, self.y, values, levels, cmap=SEQUENTIAL, norm=norm, zorder=0)
        note_unseen(ax, self.values)
        ax.scatter(*self.points.T, c=targets, cmap=SEQUENTIAL, norm=norm, edgecolors="white", linewidths=1.0, s=36,
                   zorder=3, label="data")  # fmt: skip
        ax.figure.colorbar(ScalarMappable(norm, SEQUENTIAL), ax=ax, label="target, prediction")


def decision_map(
    model: Callable[[Any], Any], X: Any, y: Any, *, kind: str | None = None, threshold: float | None = None,
    points: int = 201,
) -> DecisionMap:  # fmt: skip
    """What a model says over the region of the data.

    Args:
        model: takes an array of shape (n, 2) and returns a Tensor or an array of shape (n,), (n, 1) or (n, classes); a
            module is called in evaluation mode, and is afterwards what it was.
        X: the data, shape (samples, 2).
        y: the targets, shape (samples,) or (samples, 1).
        kind: "binary" (one output, of which the sign decides), "classes" (the largest output decides; y holds indices)
            or "regression"; by default "classes" for several outputs, "binary" for one output and two different
            targets, else "regression".
        threshold: above which one output means the second of the two targets: 0 for a logit (the default), 0.5 for a
            probability (the default for a model that ends in `nn.Sigmoid`).
        points: lines of the grid in each direction.

    Raises:
        TypeError, ValueError: for shapes that do not fit, targets that are no class of the model's, a classifier's
            output that is NaN, and for one output within [0, 1] all over, which may be a probability or a logit: say
            `threshold`.

    >>> found = decision_map(lambda X: X[:, 0] - X[:, 1], [[0, 1], [1, 0]], [0, 1], points=3)
    >>> found.labels.tolist()
    [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    """
    where = "nn.plot.decision_boundary"
    if not callable(model):
        raise TypeError(f"{where}: model takes a module or a function, not {type(model).__name__}")
    data = np.asarray(plain(X) if isinstance(X, Tensor) else X)
    if (
        data.ndim != 2
        or data.shape[1] != 2
        or not len(data)
        or data.dtype.kind not in "fiub"
        or not np.isfinite(drawable(data)).all()
    ):
        got = f"of shape {data.shape}" if data.ndim != 2 or data.shape[1] != 2 or not len(data) else _largest(data)
        raise ValueError(f"{where}: X takes finite data of two features, shape (samples, 2), not {got}")
    target = np.asarray(plain(y) if isinstance(y, Tensor) else y)
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    if target.shape != (len(data),):
        raise ValueError(f"{where}: y takes a target for each of the {len(data)} samples, not shape {target.shape}")
    numeric = target.dtype.kind in "fiub"
    if (numeric and not np.isfinite(target).all()) or (not numeric and len(np.unique(target)) != 2):
        raise ValueError(f"{where}: y takes finite numbers, or two different names for a model of one output")
    n = count(where, "points", points, 2)
    data = data.astype(float)
    lines = [np.linspace(*limits(column, 0.12), n) for column in data.T]
    grid = np.stack(np.meshgrid(*lines), axis=-1)
    values = _outputs(where, model, grid.reshape(-1, 2))
    several = values.shape[1] > 1
    found = np.unique(target)
    if kind is None:
        kind = "classes" if several else "binary" if len(found) == 2 else "regression"
    if kind not in ("binary", "classes", "regression") or several != (kind == "classes"):
        wanted = "'classes' for several outputs, 'binary' or 'regression' for one"
        raise ValueError(f"{where}: kind is {wanted}; got {kind!r}, and {values.shape[1]} outputs")
    unknown = int(np.isnan(values).any(axis=1).sum())
    if kind != "regression" and unknown:
        raise ValueError(f"{where}: the model's output is NaN at {unknown} of {len(values)} points, which is no class")
    labels, level = None, 0.0
    if kind == "classes":
        classes = np.arange(values.shape[1])
        if not np.isin(found, classes).all():
            raise ValueError(f"{where}: y holds indices of the {len(classes)} classes, not {found[:5].tolist()}")
        labels = values.argmax(axis=1).reshape(n, n)
    elif kind == "binary":
        if len(found) > 2:
            raise ValueError(f"{where}: kind='binary' takes two different targets, not {len(found)}")
        classes = found if len(found) == 2 else _both(found[0].item())
        level = _threshold(where, model, values, threshold)
        labels = (values[:, 0] > level).astype(int).reshape(n, n)
    else:
        classes = np.zeros(0)
        target = target.astype(float)
    shaped = values.reshape(n, n, -1) if several else values.reshape(n, n)
    return DecisionMap(lines[0], lines[1], shaped, labels, classes, level, data, target)


def _outputs(where: str, model: Any, grid: Array) -> Array:
    """The model's outputs, shape (points, outputs), in pieces: a model may keep much for each. Its warnings would be of
    points that the user has not chosen."""
    with no_grad(), np.errstate(all="ignore"):
        if isinstance(model, Module):
            dtype = next((p.dtype for p in model.parameters()), grid.dtype)
            with as_it_was(model):
                model.eval()
                pieces = [model(piece.astype(dtype)) for piece in np.array_split(grid, -(-len(grid) // 8192))]
        else:
            pieces = [model(piece) for piece in np.array_split(grid, -(-len(grid) // 8192))]
    arrays = [np.asarray(plain(piece) if isinstance(piece, Tensor) else piece) for piece in pieces]
    if any(a.ndim not in (1, 2) or a.dtype.kind not in "fiub" for a in arrays) or sum(map(len, arrays)) != len(grid):
        raise ValueError(
            f"{where}: the model must return shape (n,), (n, 1) or (n, classes) for n points; for "
            f"{-(-len(grid) // len(arrays))} it returned {arrays[0].shape}"
        )
    return np.concatenate(arrays).reshape(len(grid), -1).astype(float)


def _both(one: Any) -> Array:
    """The classes, where the data have but one of them: 0 and 1, or a number and its negative."""
    return np.unique([one, not one if isinstance(one, bool) else 1 - one if one in (0, 1) else -one])


def _largest(data: Array) -> str:
    if data.dtype.kind not in "fiub":
        return f"of dtype {data.dtype}"
    largest = float(np.abs(data.astype(float)).max())
    return f"with {largest}" if not np.isfinite(largest) else f"up to {largest:.3g}, more than {LARGEST:g}"


def _threshold(where: str, model: Any, values: Array, threshold: Any) -> float:
    if threshold is not None:
        return number(where, "threshold", threshold)
    if isinstance(model, Module) and isinstance(list(model.modules())[-1], Sigmoid):
        return 0.5
    if values.min() >= 0 and values.max() <= 1:
        raise ValueError(
            f"{where}: all outputs lie within [0, 1]; say threshold=0.5 for probabilities, threshold=0 for logits"
        )
    return 0.0


def decision_boundary(
    model: Callable[[Any], Any], X: Any, y: Any, *, kind: str | None = None, threshold: float | None = None,
    ax: Any = None,
) -> Any:  # fmt: skip
    """What a model of two features says over the plane, and the data: regions of classes with their boundary, or the
    filled contours of a regression, with the data in the same colours.

    Args:
        model: takes an array of shape (n, 2) and returns a Tensor or an array of shape (n,), (n, 1) or (n, classes).
        X: the data, shape (samples, 2).
        y: the targets, shape (samples,) or (samples, 1).
        kind, threshold: as for `nn.plot.decision_map`, which usually finds them.
        ax: matplotlib axes to draw into; new ones by default.

    Returns:
        the axes. The numbers are those of `nn.plot.decision_map`.

    Raises:
        TypeError, ValueError: as `nn.plot.decision_map`.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, nn
    >>> X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    >>> ax = nn.plot.decision_boundary(nn.MLP([2, 8, 2]), X, y)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['class 0', 'class 1']
    >>> plt.close(ax.figure)
    """
    return decision_map(model, X, y, kind=kind, threshold=threshold).plot(ax=ax)
