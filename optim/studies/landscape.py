"""A function of two variables over a region: its values, its gradient, and its contours with the field of descent."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff import Tensor, enable_grad, no_grad
from autodiff.backward import gradients
from autodiff.figures import LARGEST, axes_for, contours, drawable, ink

from ..array import Array

Function = Callable[..., Any]
"""f(x, y), or f(x, y, rng) where a seed is given."""


@dataclass(frozen=True)
class Landscape:
    """Values of f(x, y) on a grid, and its gradient on a coarser one.

    Attributes:
        x, y: the grid's lines, shapes (n,) and (m,).
        values: f there, shape (m, n); of a stochastic f the mean over some draws.
        at: where the gradient is, shape (k, k, 2); empty if it was not asked for.
        gradient: (∂f/∂x, ∂f/∂y) there, shape (k, k, 2).
    """

    x: Array
    y: Array
    values: Array
    at: Array
    gradient: Array

    def __repr__(self) -> str:
        finite = self.values[np.isfinite(self.values)]
        seen = f"f from {finite.min():.4g} to {finite.max():.4g}" if finite.size else "f nowhere finite"
        (x0, x1), (y0, y1) = self.x[[0, -1]], self.y[[0, -1]]
        return f"Landscape(x from {x0:.4g} to {x1:.4g}, y from {y0:.4g} to {y1:.4g}, {seen})"

    def plot(self, *, ax: Any = None, levels: int = 25, bottom: float = math.inf) -> Any:
        """Contours, evenly spaced in the logarithm of f − min f, and arrows along −∇f where the gradient is known.

        An arrow's length grows with the logarithm of ‖∇f‖: lengths in proportion would show the steepest only. Where
        f is constant, or nowhere finite, words say so.

        Args:
            ax: matplotlib axes to draw into; new ones by default.
            levels: how many contours, at least 1.
            bottom: a value known to be lower than what the grid has seen.

        Returns:
            the axes.

        Raises:
            ValueError: for less than 1 level.
            ImportError: without matplotlib.
        """
        if isinstance(levels, bool) or not isinstance(levels, (int, np.integer)) or levels < 1:
            raise ValueError(f"Landscape.plot: levels must be a whole number of at least 1, not {levels!r}")
        ax = axes_for("Landscape.plot", ax, (7, 5))
        contours(ax, self.x, self.y, self.values, levels, bottom)
        if self.at.size:
            self._arrows(ax)
        ax.set(xlim=self.x[[0, -1]], ylim=self.y[[0, -1]], xlabel="x", ylabel="y")
        return ax

    def _arrows(self, ax: Any) -> None:
        slope = -drawable(self.gradient)
        largest = float(np.max(np.abs(slope), initial=0.0, where=np.isfinite(slope)))
        if not largest:
            return
        cell = np.array([np.ptp(self.x), np.ptp(self.y)]) / (len(self.at) - 1)
        with np.errstate(all="ignore"):
            slope = slope / largest
            size = np.linalg.norm(slope, axis=-1, keepdims=True)
            largest = float(np.max(size, initial=0.0, where=np.isfinite(size)))
            seen = np.linalg.norm(slope / cell, axis=-1, keepdims=True)  # its length in cells
            length = np.log1p(99 * size / largest) / math.log(100)
            arrow = np.where((size > 0) & np.isfinite(size), 0.85 * length * slope / seen, np.nan)
        ax.quiver(
            *np.moveaxis(self.at - arrow / 2, -1, 0), *np.moveaxis(arrow, -1, 0), angles="xy", scale_units="xy",
            scale=1, color=ink(ax), alpha=0.55, width=0.0022, headwidth=4.5, zorder=2,
        )  # fmt: skip
        ax.plot([], [], linestyle="none", marker=r"$\rightarrow$", markersize=10, color=ink(ax), label="−∇f")


def in_sight(points: Array, xlim: tuple[float, float], ylim: tuple[float, float]) -> Array:
    """Points of shape (n, 2), those very far outside a region moved towards its middle: farther away, matplotlib cannot
    draw a line to.

    >>> in_sight(np.array([[0.5, 0.5], [1e200, 0.5]]), (0, 1), (0, 1)).tolist()
    [[0.5, 0.5], [50000.5, 0.5]]
    """
    with np.errstate(all="ignore"):
        middle = np.array([(low / 2 + high / 2) for low, high in (xlim, ylim)])
        there = np.where(np.isfinite(points), np.clip(points, -LARGEST, LARGEST), np.nan)
        away = (there - middle) / [(high - low) / 2 for low, high in (xlim, ylim)]
        near = away / np.maximum(1.0, np.abs(away).max(axis=-1, keepdims=True) / 1e5)
        moved = middle + near * [(high - low) / 2 for low, high in (xlim, ylim)]
    found: Array = np.where(np.abs(away).max(axis=-1, keepdims=True) > 1e5, moved, there)
    return found


def landscape(
    f: Function, xlim: tuple[float, float], ylim: tuple[float, float], *, field: int = 0, points: int = 241,
    seed: int | None = None,
) -> Landscape:  # fmt: skip
    """The values of a function of two variables over a rectangle, and its gradient.

    Args:
        f: takes two Tensors, numbers or (if it can) arrays, and returns one.
        xlim, ylim: the rectangle, (low, high).
        field: lines of the coarse grid of the gradient; 0 for no gradient.
        points: lines of the grid; a function that takes numbers only is given fewer.
        seed: f is called as f(x, y, rng), with the same generators for every point.

    Returns:
        a `Landscape`. Where f draws random numbers, given or its own, it has means over several draws.

    Raises:
        TypeError: if f takes other arguments, or returns no Tensor of one element for numbers.
        ValueError: for limits that are not finite and increasing.

    >>> hill = landscape(lambda x, y: x**2 + 3 * y, (-1, 1), (0, 2), field=3)
    >>> hill.values[0, [0, 120]].tolist(), hill.gradient[0, 0].tolist()
    ([1.0, 0.0], [-2.0, 3.0])
    """
    check_function(f, "landscape", seed)
    for name, limits in (("xlim", xlim), ("ylim", ylim)):
        if np.shape(limits) != (2,) or not -2 * LARGEST < limits[0] < limits[1] < 2 * LARGEST:
            raise ValueError(f"landscape: {name} is (low, high), finite (at most 2e300) and increasing, not {limits!r}")
    call = _Function(f, seed)
    middle = (float(np.mean(xlim)), float(np.mean(ylim)))
    with no_grad(), np.errstate(all="ignore"):
        one, again = call.number(*middle, draw=0), call.number(*middle, draw=0 if seed is None else 1)
    random = one != again and not (math.isnan(one) and math.isnan(again))

    def seen(n: int, gradient: bool = False) -> tuple[Array, Array, Array]:
        lines = np.linspace(*xlim, n), np.linspace(*ylim, n)
        grid = np.meshgrid(*lines)
        draws = range(32 if random else 1)
        at_once = [call.grid(*grid, draw, gradient, compare=not random) for draw in draws]
        found = [z for z in at_once if z is not None]
        if len(found) < len(draws):
            if n > 81:
                return seen(81, gradient)
            found = [call.each(*grid, draw, gradient) for draw in draws[:8]]
        return *lines, np.mean(found, axis=0)

    with np.errstate(all="ignore"):
        x, y, values = seen(points)
        at = slopes = np.zeros((0, 0, 2))
        if field:
            u, v, slopes = seen(field, gradient=True)
            at = np.stack(np.meshgrid(u, v), axis=-1)
    return Landscape(x, y, values, at, slopes)


class _Function:
    """f at numbers and at arrays, with a generator if there is a seed."""

    def __init__(self, f: Function, seed: int | None) -> None:
        self.f, self.seed = f, seed

    def _of(self, x: Tensor, y: Tensor, draw: int) -> Any:
        return self.f(x, y, *generators(self.seed, draw))

    def number(self, x: float, y: float, draw: int) -> float:
        return one_number(self._of(Tensor(x), Tensor(y), draw)).item()

    def _slopes(self, x: Array, y: Array, draw: int) -> Array:
        at = Tensor(x, requires_grad=True), Tensor(y, requires_grad=True)
        with enable_grad():
            value = self._of(*at, draw)
        if np.shape(value) != x.shape and x.ndim:
            raise ValueError
        if not value.requires_grad:
            return np.zeros((*x.shape, 2))
        found = gradients(value, at, np.ones(value.shape, value.dtype), allow_unused=True)
        return np.stack([np.zeros(x.shape) if g is None else g.numpy().reshape(x.shape) for g in found], axis=-1)

    def grid(self, x: Array, y: Array, draw: int, gradient: bool, compare: bool) -> Array | None:
        """All points at once; None if f cannot take arrays, or takes them for something else."""
        try:
            if gradient:
                found = self._slopes(x, y, draw)
                right = not compare or np.allclose(found[1, 2], self._slopes(x[1, 2], y[1, 2], draw), rtol=1e-6)
            else:
                with no_grad():
                    found = np.asarray(self._of(Tensor(x), Tensor(y), draw).data, float)
                    right = not compare or math.isclose(found[1, 2], self.number(x[1, 2], y[1, 2], draw), rel_tol=1e-6)
        except Exception:  # whatever f raises for arrays: it promises to take numbers only
            return None
        return found if right and found.shape[:2] == x.shape else None

    def each(self, x: Array, y: Array, draw: int, gradient: bool) -> Array:
        """Point by point."""
        if gradient:
            found = [self._slopes(np.asarray(a), np.asarray(b), draw) for a, b in zip(x.flat, y.flat)]
            return np.array(found).reshape(*x.shape, 2)
        with no_grad():
            return np.array([self.number(a, b, draw) for a, b in zip(x.flat, y.flat)]).reshape(x.shape)


def check_function(f: Any, where: str, seed: int | None = None) -> None:
    """That f can be called as f(x, y), or f(x, y, rng) where a seed is given.

    Raises:
        TypeError: otherwise.
    """
    wanted = ("x", "y") if seed is None else ("x", "y", "rng")
    if not callable(f):
        raise TypeError(f"{where}: f takes a function of x and y, not {f!r:.80}")
    try:
        inspect.signature(f).bind(*wanted)
    except ValueError:  # one without a signature: the call will tell
        return
    except TypeError:
        raise TypeError(
            f"{where}: f is called as f({', '.join(wanted)}), with one number for each of x and y; "
            + (
                "of a function of one vector make lambda x, y: f(ad.stack([x, y]))"
                if seed is None
                else "rng is for seed="
            )
        ) from None


def generators(seed: int | None, draw: int) -> Iterator[np.random.Generator]:
    """The generator of a draw, the same whenever it is asked for; none without a seed."""
    if seed is not None:
        yield np.random.default_rng([seed, draw])


def one_number(value: Any, where: str = "landscape") -> Tensor:
    """What f returned, after checking that it is a Tensor of one element.

    Raises:
        TypeError: otherwise.
    """
    if not isinstance(value, Tensor) or value.size != 1:
        got = f"one of shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{where}: f must return a Tensor with one element, not {got}")
    return value
