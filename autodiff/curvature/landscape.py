"""A model's loss over a plane through its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import drawing
from ..devices import as_numpy
from ..figures import SEQUENTIAL, axes_for, contours, drawable, ink, paper, pyplot
from ..generators import generators, random_state, set_random_state
from ..mode import no_grad
from ..ranks import fingerprint, require_same, same_generator
from ..tensor import Array, Tensor, plain
from ..transforms import flat
from .eigen import eigenpairs
from .objective import Objective


@dataclass(frozen=True)
class LossLandscape:
    """The loss at w + a u + b v, for weights w and two directions u and v.

    Attributes:
        a, b: the grid's lines, shape (steps,).
        values: the loss there, shape (steps, steps): ``values[j, i]`` at ``a[i]`` and ``b[j]``.
        directions: u and v as rows, shape (2, parameters).
        path: where the weights of a training lie, projected on the plane, shape (points, 2); None if it was not given.
        names: of the axes.
    """

    a: Array
    b: Array
    values: Array
    directions: Array
    path: Array | None
    names: tuple[str, str]

    def __repr__(self) -> str:
        finite = self.values[np.isfinite(self.values)]
        seen = f"loss from {finite.min():.4g} to {finite.max():.4g}" if finite.size else "loss nowhere finite"
        shown = "" if self.path is None else f", a path of {len(self.path)} points"
        return f"LossLandscape({len(self.a)} × {len(self.b)} points, {seen}{shown})"

    def plot(self, kind: str = "contour", *, ax: Any = None, levels: int = 25) -> Any:
        """Draw the loss: its contours, evenly spaced in the logarithm of its height over the lowest point, or a
        surface; and on it the path, from a hollow to a full marker.

        Args:
            kind: "contour" or "surface".
            ax: matplotlib axes (for a surface, of ``projection="3d"``); new ones by default.
            levels: how many contours.

        Returns:
            the axes.

        Raises:
            ValueError: for another kind.
            ImportError: without matplotlib.
        """
        if kind not in ("contour", "surface"):
            raise ValueError(f"LossLandscape.plot: kind must be 'contour' or 'surface', not {kind!r}")
        labels = {"xlabel": self.names[0], "ylabel": self.names[1]}
        if kind == "surface":
            ax = self._surface(ax)
            ax.set(**labels, zlabel="loss")
            return ax
        ax = axes_for("LossLandscape.plot", ax, (6.5, 5))
        contours(ax, self.a, self.b, self.values, levels)
        here = np.zeros((1, 2)) if self.path is None else self.path
        style = {"color": ink(ax), "zorder": 3}
        ax.plot(*here.T, linewidth=1.5, marker="." if len(here) < 60 else "", **style)
        ax.plot(*here[0], "o", mfc=paper(ax), markersize=7, **style)
        ax.plot(*here[-1], "o", markersize=7, **style)
        ax.set(xlim=self.a[[0, -1]], ylim=self.b[[0, -1]], **labels)
        return ax

    def _surface(self, ax: Any) -> Any:
        ax = ax or pyplot("LossLandscape.plot").figure(figsize=(7, 5.5), layout="constrained").add_subplot(
            projection="3d"
        )
        if not hasattr(ax, "plot_surface"):
            raise TypeError("LossLandscape.plot: a surface needs axes made with projection='3d'")
        values = drawable(self.values)
        if not np.isfinite(values).any():
            ax.set_title("no finite value")
            return ax
        ax.plot_surface(*np.meshgrid(self.a, self.b), values, cmap=SEQUENTIAL, alpha=0.8, linewidth=0)
        if self.path is not None:
            height = [values[abs(self.b - v).argmin(), abs(self.a - u).argmin()] for u, v in self.path]
            ax.plot(*self.path.T, np.array(height) + 0.02 * np.nanmax(values), color="black", zorder=9)
        return ax


def landscape(
    model: Any, loss: Callable[..., Any], data: Any, *, directions: Any = "random", path: Sequence[Any] | None = None,
    span: float | None = None, steps: int = 21, batch_size: int | None = 512,
    rng: np.random.Generator | int | None = None, comm: Any = None,
) -> LossLandscape:  # fmt: skip
    """The mean loss over a plane through a model's weights.

    Args:
        model, loss, data: as `optim.fit` takes them; the loss is a mean. The model is in evaluation mode meanwhile.
            Afterwards, whatever happens, its weights, buffers and generators are what they were.
        directions: "random": two Gaussian ones, filter by filter (the first axis of a weight, a neuron of a linear
            layer) as long as the weights themselves, which makes networks comparable; zero for parameters of one axis,
            biases and scales of norms. "eigen": the Hessian's unit eigenvectors of the two largest eigenvalues. "pca":
            the two principal axes of `path` around the present weights. Or two of your own, each a vector over all
            parameters or a list of arrays in their shapes.
        path: weights of a training, each a vector or a list of arrays; they are drawn as projected on the plane, which
            is orthogonal for any two directions.
        span: how far the grid goes to each side, in lengths of the directions; by default 1, or 1.2 times as far as the
            path.
        steps: lines of the grid each way. An odd number has the weights themselves in the middle.
        batch_size: samples in a batch of arrays or a data set.
        rng: draws the directions, or the first vector of Lanczos's method: a `numpy.random.Generator`, a seed or None.
        comm: a communicator of mpi4py: each rank has data of its own, and what is found is of all of them, the same on
            all ranks.

    Returns:
        a `LossLandscape` with `.values` and `.plot()`. Where the loss is not finite, neither are the values.

    Raises:
        ValueError: for unknown directions, directions that are zero or parallel, "pca" without a path of two points
            that are not the present weights, a span that is not positive, fewer than two steps.

    Source: Li, Xu, Taylor, Studer and Goldstein, "Visualizing the loss landscape of neural nets", 2018.

    >>> model = nn.Linear(2, 1, bias=False, dtype=np.float64)
    >>> _ = nn.init.zeros_(model.weight)
    >>> seen = landscape(model, nn.MSELoss(), (np.eye(2), np.ones((2, 1))), directions=np.eye(2), span=1, steps=3)
    >>> seen.values  # the mean of (1 − a)² and (1 − b)²
    array([[4. , 2.5, 2. ],
           [2.5, 1. , 0.5],
           [2. , 0.5, 0. ]])
    """
    where = "landscape"
    objective = Objective(where, model, loss, data, batch_size, comm)
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 2:
        raise ValueError(f"{where}: steps must be a whole number from 2, not {steps!r}")
    number = isinstance(span, (int, float, np.integer, np.floating)) and not isinstance(span, bool)
    if span is not None and not (number and 0 < span < np.inf):
        raise ValueError(f"{where}: span must be a positive number, not {span!r}")
    params = objective.params
    start = flat.flatten(params).astype(float)
    if path is not None and (not isinstance(path, (Sequence, np.ndarray)) or not len(path)):
        raise ValueError(f"{where}: path must hold the weights of one point at least, not {path!r}")
    points = None if path is None else np.array([_vector(where, "path", w, params) for w in path]) - start
    with objective.held():
        (u, v), names = _directions(objective, directions, points, same_generator(drawing(rng, where), comm))
        plane = np.stack([u, v])
        if not np.isfinite(plane).all() or np.linalg.matrix_rank(plane) < 2:
            raise ValueError(f"{where}: the two directions must be finite, and neither zero nor parallel")
        seen = None if points is None else np.linalg.lstsq(plane.T, points.T, rcond=None)[0].T
        if span is None:
            span = 1.2 * float(abs(seen).max()) if seen is not None and seen.any() else 1.0
        lines = np.linspace(-span, span, int(steps))
        if comm is not None:
            require_same(
                {"the checksum of the directions": fingerprint(plane), "the grid": lines.tolist()}, comm, where
            )
        values = np.empty((len(lines), len(lines)))
        drawn = generators(model=model, loss=loss)
        state = random_state(drawn)
        with no_grad(), np.errstate(all="ignore"):
            for j, b in enumerate(lines):
                for i, a in enumerate(lines):
                    flat.assign(params, start + a * u + b * v)
                    set_random_state(drawn, state)  # who draws draws the same at every point
                    values[j, i] = objective.value()
    return LossLandscape(lines, lines, values, plane, seen, names)


def _vector(where: str, what: str, given: Any, params: list[Tensor]) -> Array:
    size, shapes = sum(p.size for p in params), [p.shape for p in params]
    if isinstance(given, (list, tuple)) and [np.shape(plain(x)) for x in given] == shapes:
        return flat.flatten([plain(x) for x in given]).astype(float)
    try:
        vector = as_numpy(given).astype(float)
    except (TypeError, ValueError):
        vector = np.empty(0)
    if vector.shape != (size,):
        raise ValueError(f"{where}: {what} takes vectors of {size} entries, or lists of arrays of shapes {shapes}")
    return vector


def _directions(
    objective: Objective, given: Any, points: Array | None, rng: np.random.Generator
) -> tuple[Sequence[Array], tuple[str, str]]:
    params, where = objective.params, objective.where
    if not isinstance(given, str):
        if not isinstance(given, (Sequence, np.ndarray)) or len(given) != 2:
            seen = f"{len(given)} of them" if hasattr(given, "__len__") else repr(given)
            raise ValueError(f"{where}: directions must be 'random', 'eigen', 'pca' or two arrays, not {seen}")
        return [_vector(where, "directions", d, params) for d in given], ("direction 1", "direction 2")
    if given == "random":
        if not any(p.ndim > 1 and as_numpy(p).any() for p in params):
            raise ValueError(
                f"{where}: random directions are as long as the weights, and there are none of two axes, or they are "
                f"all zero; give directions= of your own, or 'eigen'"
            )
        return [flat.flatten([_like(p, rng) for p in params]) for _ in "uv"], (
            "random direction 1",
            "random direction 2",
        )
    if given == "eigen":
        if len(flat.flatten(params)) < 2:
            raise ValueError(f"{where}: the weights are one number, and a plane needs two")
        (λ, μ), vectors = eigenpairs(objective.hessian(), 2, rng=rng)
        return list(vectors.T.astype(float)), (f"eigenvector of λ = {λ:.3g}", f"eigenvector of λ = {μ:.3g}")
    if given != "pca":
        raise ValueError(f"{where}: directions must be 'random', 'eigen', 'pca' or two arrays, not {given!r}")
    if points is None or np.linalg.matrix_rank(points) < 2:
        raise ValueError(f"{where}: 'pca' needs path=, weights that do not lie on one line through the present ones")
    _, lengths, axes = np.linalg.svd(points, full_matrices=False)
    first, second = lengths[:2] ** 2 / (lengths @ lengths)
    return list(axes[:2]), (f"first principal axis ({first:.0%})", f"second principal axis ({second:.0%})")


def _like(p: Tensor, rng: np.random.Generator) -> Array:
    """A Gaussian direction, each of its filters as long as the parameter's."""
    w = as_numpy(p)
    if w.ndim < 2:
        return np.zeros(w.shape)
    d = rng.standard_normal(w.shape)
    axes = tuple(range(1, w.ndim))
    return d * np.sqrt((w**2).sum(axis=axes, keepdims=True) / (d**2).sum(axis=axes, keepdims=True))
