"""Gradient descent on one function with several learning rates: which of them descend, and which diverge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import autodiff as ad
from autodiff.figures import (
    LARGEST,
    axes_for,
    drawable,
    ink,
    legend,
    line_map,
    line_style,
    log_range,
    log_scale,
    note_unseen,
)
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
            {"rate": float(rate), "first": float(row[0]), "lowest": float(np.fmin.reduce(row)), "last": float(row[-1]),
             "diverged": "yes" if gone else "no"}
            for rate, row, gone in zip(self.rates, self.losses, self.diverged)
        ]  # fmt: skip
        short = "{:.4g}".format
        return Table(rows, {"rate": short, "first": short, "lowest": short, "last": short, "diverged": None})

    def __repr__(self) -> str:
        return repr(self.table())

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the losses over the steps; those that diverge thin, dotted, up to a cross. Up to 12 rates have a line in
        the legend, more have colours of a scale.

        Args:
            ax: matplotlib axes to draw into; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        beside = ax is None
        ax = axes_for("Descents.plot", ax, (7.5, 4))
        steps, losses = self.losses.shape[1], drawable(self.losses)
        note_unseen(ax, self.losses)
        start = float(np.fmax.reduce(losses[:, 0]))
        start = start if np.isfinite(start) else float(np.fmax.reduce(losses, axis=None, initial=0.0))
        good = np.where(self.diverged[:, None] | (losses > 10 * abs(start)), np.nan, losses)
        span = log_range(good)
        low = float(np.min(good, initial=start, where=np.isfinite(good)))
        top = min(span[1] * 3, LARGEST) if span else start + 0.5 * ((start - low) or abs(start) or 1.0)
        numbers = {rate: i for i, rate in enumerate(dict.fromkeys(self.rates.tolist()))}
        scale = _scale(ax, self.rates) if len(numbers) > _NAMED else None
        labelled = set()
        for rate, row, gone in zip(self.rates.tolist(), losses, self.diverged):
            i = numbers[rate]
            label = f"{rate:.4g}{' diverges' * bool(gone)}" if scale is None and rate not in labelled else None
            labelled.add(rate)
            style = line_style(i, marker=True) | {
                "markevery": (i * steps // 40 % max(1, steps // 10), max(1, steps // 10))
            }
            if scale is not None:
                style = {"color": scale.to_rgba(rate), "linewidth": 1.2}
            if not gone:
                ax.plot(row, **style, label=label)
                continue
            above = ~(row <= top)
            last = int(np.argmax(above)) if above.any() else steps - 1
            drawn = np.where(above, top, row)[: last + 1]
            if last or np.isfinite(row[0]):
                ax.plot(drawn, color=style["color"], linestyle=":", linewidth=1.2, label=label, marker="x",
                        markeredgecolor=ink(ax), markevery=[len(drawn) - 1], clip_on=False)  # fmt: skip
        if span:
            log_scale(ax, (span[0], top))
        elif top > low:
            ax.set_ylim(low - 0.05 * (top - low), top)
        ax.set(xlabel="step", ylabel="loss")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if scale is None:
            legend(ax, beside, title="learning rate")
        else:
            crosses = "; dotted, up to a cross: diverges" if self.diverged.any() else ""
            ax.figure.colorbar(scale, ax=ax, label=f"learning rate{crosses}")
        return ax


_NAMED = 12
"""So many rates have a line each in the legend."""


def _scale(ax: Any, rates: Array) -> Any:
    """Colours for rates, by their logarithm where they span a decade."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(rates.min()), float(rates.max())
    return ScalarMappable((LogNorm if high > 10 * low else Normalize)(low, high), line_map(ax))


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
        raise TypeError(f"descents: f takes a function of the parameters, not {f!r:.80}")
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
