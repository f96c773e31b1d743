"""Optimisers side by side on a function of two variables: where they went, drawn over its contours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff import Tensor, no_grad

from ..array import Array
from ..drawing import axes_for
from ..optimizer import Optimizer

Function = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Comparison:
    """What `compare` saw.

    Attributes:
        paths: the points each optimiser went through, by name; shape (..., steps + 1, 2), where ... is the shape of the
            starts (nothing for a single one). Points after one that is not finite are NaN.
        values: f at those points, shape (..., steps + 1).
        f: the function.
        minimum: the point that was given as its minimum, or None.
    """

    paths: dict[str, Array]
    values: dict[str, Array]
    f: Function
    minimum: Array | None = None

    def table(self) -> str:
        """The last and the lowest value of each run, the step of the lowest, and the last point, as text.

        With a known minimum also how far away the last point is.
        """
        heads = ["optimiser", "start", "last f", "lowest f", "at step", "last x", "last y"]
        rows = []
        for name, path, value in self._runs():
            if np.isfinite(value).all():
                last, lowest = f"{value[-1]:.6g}", int(np.argmin(value))
                where = [f"{c:.6g}" for c in path[-1]]
            else:
                last = f"diverged (step {int(np.argmin(np.isfinite(value)))})"
                lowest = int(np.argmin(np.where(np.isfinite(value), value, np.inf)))
                where = ["–", "–"]
            start = f"({path[0][0]:.4g}, {path[0][1]:.4g})"
            row = [name, start, last, f"{value[lowest]:.6g}", str(lowest), *where]
            if self.minimum is not None:
                away = float(np.hypot(*(path[-1] - self.minimum)))
                row.append(f"{away:.3g}" if math.isfinite(away) else "–")
            rows.append(row)
        if self.minimum is not None:
            heads.append("distance")
        widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
        lines = []
        for row in [heads, ["─" * w for w in widths], *rows]:
            cells = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def plot(
        self,
        *,
        ax: Any = None,
        xlim: tuple[float, float] | None = None,
        ylim: tuple[float, float] | None = None,
        levels: int = 25,
        every: int | None = None,
    ) -> Any:
        """Draw the paths over contours of f, whose levels are evenly spaced in the logarithm of f − min f.

        Args:
            ax: matplotlib axes to draw into; new ones by default.
            xlim, ylim: the region; by default one that holds the starts and most of the paths.
            levels: how many contours.
            every: mark every so manieth step with a dot; by default such that there are at most 25 dots.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        ax = axes_for("Comparison.plot", ax, (7, 5))
        xlim, ylim = self._limits(0) if xlim is None else xlim, self._limits(1) if ylim is None else ylim
        x, y = np.meshgrid(np.linspace(*xlim, 241), np.linspace(*ylim, 241))
        z = self._grid(x, y)
        finite = z[np.isfinite(z)]
        if finite.size and finite.max() > finite.min():
            known = [v[np.isfinite(v)].min() for v in self.values.values() if np.isfinite(v).any()]
            bottom = min([float(finite.min()), *map(float, known)])
            height = np.where(np.isfinite(z), z - bottom, np.nan)
            heights = height[np.isfinite(height) & (height > 0)]
            # The lowest contour encloses about a thousandth of the region: smaller ones would be drawn as specks.
            spaced = np.geomspace(np.quantile(heights, 0.001), heights.max(), levels + 1)
            at = np.unique(spaced)
            if len(at) > 1:
                ax.contourf(x, y, np.log10(np.maximum(height, at[0])), np.log10(at), cmap="Greys", alpha=0.35, zorder=0)
                ax.contour(x, y, height, at, colors="0.55", linewidths=0.5, zorder=1)
        if self.minimum is not None:
            ax.plot(*self.minimum, "*", color="black", markersize=12, zorder=6, label="minimum", linestyle="none")
        colours = {name: f"C{i % 10}" for i, name in enumerate(self.paths)}
        labelled = set()
        for name, path, value in self._runs():
            shown = path[np.isfinite(path).all(axis=1)]
            outside = ((shown - (xlim[0], ylim[0])) * (shown - (xlim[1], ylim[1])) > 0).any(axis=1)
            if outside.any() and not value[-1] <= value[0]:  # it diverges: to where it leaves the picture, no further
                shown = shown[: int(np.argmax(outside)) + 1]
            shown = np.clip(shown, -1e30, 1e30)  # farther away, matplotlib cannot draw a line to
            gap = every or max(1, math.ceil((len(shown) - 1) / 25))
            ax.plot(
                shown[:, 0], shown[:, 1], color=colours[name], linewidth=1.5, marker="o", markersize=3, markevery=gap,
                label=None if name in labelled else name, zorder=3, alpha=0.9,
            )  # fmt: skip
            labelled.add(name)
            ax.plot(*shown[-1], "s", color=colours[name], markeredgecolor="white", markersize=7, zorder=5)
        starts = next(iter(self.paths.values()))[..., 0, :].reshape(-1, 2)
        ax.plot(*starts.T, "o", color="white", markeredgecolor="black", markersize=8, zorder=4, label="start")
        ax.set(xlim=xlim, ylim=ylim, xlabel="x", ylabel="y")
        ax.legend()
        return ax

    def plot_values(self, *, ax: Any = None) -> Any:
        """Draw the values over the steps, in a logarithmic scale where all are positive.

        Args:
            ax: matplotlib axes to draw into; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        ax = axes_for("Comparison.plot_values", ax, (7, 4))
        colours = {name: f"C{i % 10}" for i, name in enumerate(self.values)}
        labelled = set()
        for name, _, value in self._runs():
            shown = np.where(np.isfinite(value), value, np.nan)
            ax.plot(shown, color=colours[name], linewidth=1.5, label=None if name in labelled else name)
            labelled.add(name)
        everything = np.concatenate([value[np.isfinite(value)] for _, _, value in self._runs()])
        low, high = float(everything.min()), max(float(value[0]) for _, _, value in self._runs())
        if low > 0:
            ax.set_yscale("log")
            margin = (high / low) ** 0.05
            limits = low / margin, high * margin**2
        else:
            limits = low - 0.05 * (high - low), high + 0.1 * (high - low)
        if everything.max() > limits[1] > limits[0]:
            ax.set_ylim(limits)  # what diverges would flatten the rest
        ax.set_xlabel("step")
        ax.set_ylabel("f")
        ax.legend()
        return ax

    def _runs(self) -> list[tuple[str, Array, Array]]:
        return [
            (name, path, value)
            for name in self.paths
            for path, value in zip(
                self.paths[name].reshape(-1, *self.paths[name].shape[-2:]),
                self.values[name].reshape(-1, self.values[name].shape[-1]),
            )
        ]

    def _limits(self, axis: int) -> tuple[float, float]:
        """The range of a coordinate over the runs, without points that lie much higher than the start of their run."""
        seen = [np.array([self.minimum[axis]])] if self.minimum is not None else []
        for _, path, value in self._runs():
            seen += [path[value <= value[0] + 0.5 * abs(value[0]), axis], path[:1, axis]]
        points = np.concatenate(seen)
        low, high = float(points.min()), float(points.max())
        margin = 0.12 * (high - low) or 1.0
        return low - margin, high + margin

    def _grid(self, x: Array, y: Array) -> Array:
        """f at the points of a grid: at once, or point by point if it cannot take arrays."""
        with no_grad(), np.errstate(all="ignore"):
            try:
                z = np.asarray(self.f(Tensor(x), Tensor(y)), float)
                if z.shape == x.shape and math.isclose(z[1, 2], _number(self.f, x[1, 2], y[1, 2]), rel_tol=1e-6):
                    return z
            except Exception:  # whatever f raises for arrays: it promises to take numbers only
                pass
            return np.array([_number(self.f, a, b) for a, b in zip(x.flat, y.flat)]).reshape(x.shape)

    def __repr__(self) -> str:
        heads, rule, *rows = self.table().splitlines()
        more = [f"… {len(rows) - _SHOWN} more runs; table() has all"] if len(rows) > _SHOWN else []
        return "\n".join([heads, rule, *rows[:_SHOWN], *more])


_SHOWN = 8  # runs in a representation


def compare(
    f: Function,
    starts: Any,
    optimizers: Mapping[str, Callable[[list[Tensor]], Optimizer]],
    steps: int = 100,
    *,
    minimum: Any = None,
) -> Comparison:
    """Let several optimisers descend on f(x, y) from the same points.

    Args:
        f: a function of two Tensors that returns one; it is given numbers, and for the contours arrays.
        starts: a point (x, y), or an array of them, shape (..., 2).
        optimizers: by name, a function that makes an optimiser of a list of parameters:
            ``{"Adam": lambda params: optim.Adam(params, lr=0.1)}``. The point is one parameter of shape (2,). Each run
            gets an optimiser of its own.
        steps: how many, at least 1.
        minimum: the point where the minimum of f is known to be; drawn, and in the table.

    Returns:
        Paths and values, to be looked at with ``.plot()``, ``.plot_values()`` and ``.table()``. A run that reaches a
        value or a gradient that is not finite ends there.

    Raises:
        TypeError: if `optimizers` is no such dict, or f returns no Tensor.
        ValueError: for starts of another shape or not finite, no optimisers, or less than 1 step.

    >>> import optim
    >>> result = optim.compare(
    ...     lambda x, y: x**2 + 100 * y**2,
    ...     (10, 1),
    ...     {
    ...         "descent": lambda params: optim.SGD(params, lr=0.009),
    ...         "momentum": lambda params: optim.SGD(params, lr=0.009, momentum=0.9),
    ...     },
    ...     steps=50,
    ... )
    >>> result.paths["momentum"].shape
    (51, 2)
    >>> print(result.table())
    optimiser  start      last f  lowest f  at step   last x       last y
    ─────────  ───────  ────────  ────────  ───────  ───────  ───────────
    descent    (10, 1)   16.2611   16.2611       50   4.0325  1.42725e-05
    momentum   (10, 1)  0.641859  0.102853       40  0.73598     0.031653
    """
    name = "compare"
    if not callable(f):
        raise TypeError(f"{name}: f takes a function of x and y, not {f!r}")
    points = np.asarray(starts, float)
    if points.ndim == 0 or points.shape[-1] != 2 or not points.size or not np.isfinite(points).all():
        raise ValueError(f"{name}: starts is a point (x, y) or an array of them, finite, not {starts!r}")
    if not isinstance(optimizers, Mapping):
        hint = '{"Adam": lambda params: optim.Adam(params, lr=0.1)}'
        raise TypeError(f"{name}: optimizers is a dict such as {hint}, not {type(optimizers).__name__}")
    if not optimizers:
        raise ValueError(f"{name}: optimizers is empty")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"{name}: steps must be a whole number of at least 1, not {steps!r}")
    if minimum is not None:
        minimum = np.asarray(minimum, float)
        if minimum.shape != (2,):
            raise ValueError(f"{name}: minimum is a point (x, y), not of shape {minimum.shape}")
    paths, values = {}, {}
    for label, make in optimizers.items():
        if not callable(make):
            what = type(make).__name__
            hint = f"; write lambda params: optim.{what}(params)" if isinstance(make, Optimizer) else ""
            raise TypeError(f"{name}: optimizers[{label!r}] must be a function of the parameters, not {what}{hint}")
        runs = [_run(f, point, make, int(steps), f"{name}: optimizers[{label!r}]") for point in points.reshape(-1, 2)]
        paths[label] = np.array([path for path, _ in runs]).reshape(*points.shape[:-1], steps + 1, 2)
        values[label] = np.array([value for _, value in runs]).reshape(*points.shape[:-1], steps + 1)
    return Comparison(paths, values, f, minimum)


def _run(
    f: Function, start: Array, make: Callable[[list[Tensor]], Optimizer], steps: int, what: str
) -> tuple[Array, Array]:
    point = Tensor(start.copy(), requires_grad=True)
    optimizer = make([point])
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{what} must return an optimiser, not {type(optimizer).__name__}")
    path, values = np.full((steps + 1, 2), np.nan), np.full(steps + 1, np.nan)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = _checked(f(point[0], point[1]))
        value.backward(np.ones(value.shape))
        return value

    with np.errstate(all="ignore"):
        for step in range(steps + 1):
            path[step], values[step] = point.data, _number(f, *point.data)
            if not (np.isfinite(values[step]) and np.isfinite(point.data).all()) or step == steps:
                break
            optimizer.step(closure)
            if point.grad is not None and not np.isfinite(point.grad.data).all():
                break
    return path, values


def _number(f: Function, x: Any, y: Any) -> float:
    with no_grad():
        return float(_checked(f(Tensor(float(x)), Tensor(float(y)))).item())


def _checked(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.size != 1:
        got = f"one of shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"compare: f must return a Tensor with one element, not {got}")
    return value
