"""Gradient descent on one function with several learning rates: which of them descend, and which diverge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import autodiff as ad
from autodiff.figures import axes_for, ink, legend, line_style, log_range
from autodiff.seeing.table import Table

from ..array import Array


@dataclass(frozen=True)
class Descents:
    """Gradient descent, once for each learning rate.

    Attributes:
        rates: the learning rates, shape (n,).
        losses: f after each step, shape (n, steps + 1); NaN after one that is not finite.
    """

    rates: Array
    losses: Array

    @property
    def diverged(self) -> Array:
        """Which rates ended where f is not finite, or higher than at the start; shape (n,), boolean."""
        found: Array = ~(self.losses[:, -1] <= self.losses[:, 0])
        return found

    def table(self) -> Table:
        """For each rate the first, the lowest and the last loss, and whether it diverged."""
        rows = [
            {"rate": float(rate), "first": float(row[0]), "lowest": float(np.nanmin(row)), "last": float(row[-1]),
             "diverged": "yes" if gone else "no"}
            for rate, row, gone in zip(self.rates, self.losses, self.diverged)
        ]  # fmt: skip
        short = "{:.4g}".format
        return Table(rows, {"rate": short, "first": short, "lowest": short, "last": short, "diverged": None})

    def __repr__(self) -> str:
        return repr(self.table())

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the losses over the steps; those that diverge thin, dotted, up to a cross.

        Args:
            ax: matplotlib axes to draw into; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        beside = ax is None
        ax = axes_for("Descents.plot", ax, (7.5, 4))
        steps = self.losses.shape[1]
        start = float(np.nanmax(self.losses[:, 0]))
        good = np.where(self.diverged[:, None] | (self.losses > 10 * abs(start)), np.nan, self.losses)
        limits = log_range(good) if np.isfinite(good).any() else None
        seen = good[np.isfinite(good)]
        low = float(seen.min(initial=start))
        top = limits[1] * 3 if limits else start + 0.5 * ((start - low) or abs(start) or 1.0)
        for i, (rate, row, gone) in enumerate(zip(self.rates, self.losses, self.diverged)):
            style = line_style(i, marker=True) | {
                "markevery": (i * steps // 40 % max(1, steps // 10), max(1, steps // 10))
            }
            if not gone:
                ax.plot(row, **style, label=f"{rate:.4g}")
                continue
            above = ~(row <= top)
            last = int(np.argmax(above)) if above.any() else steps - 1
            drawn = np.where(above, top, row)[: last + 1]
            ax.plot(drawn, color=style["color"], linestyle=":", linewidth=1.2, label=f"{rate:.4g} diverges",
                    marker="x", markeredgecolor=ink(ax), markevery=[len(drawn) - 1], clip_on=False)  # fmt: skip
        if limits:
            ax.set(yscale="log", ylim=(limits[0], top))
        elif top > low:
            ax.set_ylim(low - 0.05 * (top - low), top)
        ax.set(xlabel="step", ylabel="loss")
        ax.xaxis.get_major_locator().set_params(integer=True)
        legend(ax, beside, title="learning rate")
        return ax


def descents(f: Callable[[Any], Any], start: Any, rates: Any, steps: int = 50) -> Descents:
    """Gradient descent w ← w − η ∇f(w) from one point with several learning rates η.

    Args:
        f: takes a Tensor of the start's shape and returns a Tensor of one element.
        start: a number or an array.
        rates: learning rates, more than 0.
        steps: how many, at least 1.

    Returns:
        the losses; a run ends where they, or the gradient, are no longer finite.

    Raises:
        TypeError: if f returns anything else, and for what are no numbers.
        ValueError: for rates that are not positive numbers, a start that is not finite, or less than 1 step.

    >>> found = descents(lambda w: 0.5 * w**2, 1.0, [0.5, 1.0, 2.5], steps=3)
    >>> found
    rate  first    lowest      last  diverged
    ────  ─────  ────────  ────────  ────────
     0.5    0.5  0.007812  0.007812  no
       1    0.5         0         0  no
     2.5    0.5       0.5     5.695  yes
    """
    if not callable(f):
        raise TypeError(f"descents: f takes a function of the parameters, not {f!r}")
    try:
        etas, first = np.atleast_1d(np.asarray(rates, float)), np.asarray(start, float)
    except (TypeError, ValueError):
        raise TypeError(f"descents: rates and start take numbers or arrays of them, not {rates!r}, {start!r}") from None
    if etas.ndim != 1 or not etas.size or not (np.isfinite(etas) & (etas > 0)).all():
        raise ValueError(f"descents: rates takes numbers more than 0, such as [0.01, 0.1, 1], not {rates!r}")
    if not np.isfinite(first).all():
        raise ValueError(f"descents: start must be finite, not {start!r}")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"descents: steps must be a whole number of at least 1, not {steps!r}")
    losses = np.full((len(etas), int(steps) + 1), np.nan)
    slope = ad.value_and_grad(f)
    with np.errstate(all="ignore"):
        for eta, row in zip(etas, losses):
            w = first
            for step in range(len(row)):
                value, g = slope(w)
                row[step] = value
                if not (np.isfinite(value) and np.isfinite(g).all()):
                    break
                w = w - eta * g
    return Descents(etas, losses)
