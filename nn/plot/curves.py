"""The figure of an activation: the function and its first two derivatives, taken by the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import autodiff as ad
from autodiff.figures import LARGEST, axes_for, dotted, drawable, ink, legend, line_style, note_unseen
from autodiff.lettering import families, shown_name

from ..activation.derivative import local_derivative
from ..module.module import Module

Array = Any


@dataclass(frozen=True)
class ActivationCurves:
    """A function of one variable and its derivatives.

    Attributes:
        x: where, shape (n,).
        f, first, second: f, f′ and f″ there.
        name: of the function.
    """

    x: Array
    f: Array
    first: Array
    second: Array
    name: str

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{name} from {curve.min():.4g} to {curve.max():.4g}"
            for name, curve in (("f", self.f), ("f′", self.first), ("f″", self.second))
        )
        return f"ActivationCurves({self.name} on [{self.x[0]:.4g}, {self.x[-1]:.4g}]: {parts})"

    def plot(self, *, ax: Any = None) -> Any:
        """Draw f, f′ and f″.

        Args:
            ax: matplotlib axes to draw into; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        ax = axes_for("ActivationCurves.plot", ax, (6, 3.8))
        ax.axhline(0, color=ink(ax), linewidth=0.6, alpha=0.5)
        f, first, second = map(drawable, (self.f, self.first, self.second))
        own = {"color": ink(ax), "linewidth": 2.2}
        for curve, style, label in ((f, own, "f"), (first, line_style(0), "f′"), (second, line_style(1), "f″")):
            ax.plot(self.x, curve, **style, label=label, marker="." if dotted(curve) else None)
        sizes = np.abs(np.concatenate([f, first, second]))
        if np.isfinite(sizes).any() and np.nanmax(sizes) > 20 * (most := float(np.nanquantile(sizes, 0.97))) > 0:
            ax.set_ylim(-1.5 * most, 1.5 * most)  # what explodes at a pole would flatten the rest
        note_unseen(ax, self.f)
        ax.set_xlabel("x")
        ax.set_title(shown_name(self.name, 60), family=families([self.name]))
        legend(ax)
        return ax


def activation_curves(f: Any, x: Any = None) -> ActivationCurves:
    """An activation and its first two derivatives on a grid.

    Args:
        f: a module such as ``nn.GELU()``, or a function that takes a Tensor and returns one; of single elements.
        x: where, an array of floats; (low, high) for 401 points between them; [−4, 4] by default.

    Returns:
        the curves. At a kink the derivatives are the engine's: those on one side, and no second one.

    Raises:
        TypeError: for anything but such a function.
        ValueError: if f is not a function of single elements (softmax, GLU), or x is no such grid.

    >>> curves = activation_curves(np.tanh, (-1.0, 1.0))
    >>> bool(np.allclose(curves.second, -2 * np.tanh(curves.x) / np.cosh(curves.x) ** 2))
    True
    """
    where = "nn.plot.activation"
    if isinstance(f, type) or not callable(f):
        hint = f"; write nn.{f.__name__}()" if isinstance(f, type) else ""
        raise TypeError(f"{where}: takes a module or a function, not {f!r:.80}{hint}")
    try:
        points = np.asarray((-4.0, 4.0) if x is None else x, float)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 1 or points.size < 2 or not np.isfinite(points).all() or not points[0] < points[-1]:
        raise ValueError(f"{where}: x is (low, high) or an increasing array of numbers, not {x!r}")
    if abs(points).max() > LARGEST or points[-1] - points[0] < 1 / LARGEST:
        raise ValueError(f"{where}: x must lie within ±{LARGEST:g}, its ends {1 / LARGEST:g} apart; got {x!r}")
    grid: Array = np.linspace(points[0], points[-1], 401) if points.size == 2 else points
    name = repr(f).split("\n")[0] if isinstance(f, Module) else getattr(f, "__name__", type(f).__name__)
    own = next((p.dtype for p in f.parameters()), None) if isinstance(f, Module) else None
    grid = grid if own is None else grid.astype(own)
    if local_derivative(f, grid) is None:
        raise ValueError(f"{where}: {name} mixes its inputs; a curve takes a function of each element by itself")
    with np.errstate(all="ignore"), ad.enable_grad():
        at = ad.Tensor(grid, requires_grad=True)
        y = f(at)
        first = _slope(y, at)
        second = _slope(first, at)
    name = "f" if name == "<lambda>" else name
    return ActivationCurves(grid, y.numpy(), first.numpy(), second.numpy(), name)


def _slope(y: ad.Tensor, x: ad.Tensor) -> ad.Tensor:
    """dy/dx at each element, recorded; 0 where y does not depend on x."""
    found = ad.gradients(y.sum(), x, create_graph=True, allow_unused=True)[0] if y.requires_grad else None
    return ad.zeros_like(x.detach()) if found is None else found


def activation(f: Any, x: Any = None, *, ax: Any = None) -> Any:
    """An activation with its first and second derivative, as the engine takes them.

    Args:
        f: a module such as ``nn.GELU()``, or a function that takes a Tensor and returns one; of single elements.
        x: where, an array of floats; (low, high) for 401 points between them; [−4, 4] by default.
        ax: matplotlib axes to draw into; new ones by default.

    Returns:
        the axes. The numbers are those of `nn.plot.activation_curves`.

    Raises:
        TypeError, ValueError: as `nn.plot.activation_curves`.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, nn
    >>> ax = nn.plot.activation(nn.Tanh())
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['f', 'f′', 'f″']
    >>> plt.close(ax.figure)
    """
    return activation_curves(f, x).plot(ax=ax)
