"""A Hessian-vector product in the plane: the gradient at a point, and how it changes along u, as arrows."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

SIZE = 220
"""Pixels of the picture."""


def plane(point: Any, u: Any, gradient: Any, product: Any, axes: Sequence[str]) -> str:
    """SVG of a point with u, ∇f and ∇f + H·u, and H·u from the tip of the one to that of the other; empty where an
    entry is no number.

    Args:
        point, u, gradient, product: arrays of two entries: w, u, ∇f(w) and H·u.
        axes: what the entries are called.

    Gradients are drawn to one scale, u to its own: they have different units.
    """
    w, u, g, h = (np.asarray(x, float).reshape(2) for x in (point, u, gradient, product))
    if not all(np.isfinite(x).all() for x in (w, u, g, h)):
        return ""
    longest = max(np.hypot(*x) for x in (g, g + h, h)) or 1.0
    reach, middle = SIZE * 0.35, SIZE / 2

    def at(x: Any, scale: float) -> tuple[float, float]:
        return middle + x[0] * scale, middle - x[1] * scale

    start = (middle, middle)
    tip, after = at(g, reach / longest), at(g + h, reach / longest)
    along = at(u, SIZE * 0.45 / (np.hypot(*u) or 1.0))  # longer, to be seen where all point one way
    arrows = [
        ("along", start, along, "u"), ("before", start, tip, "∇f"), ("after", start, after, "∇f + H·u"),
        ("change", tip, after, "H·u"),
    ]  # fmt: skip
    drawn = []
    for kind, (x0, y0), (x1, y1), _ in arrows:
        length = float(np.hypot(x1 - x0, y1 - y0))
        if length < 1:
            continue
        head = min(8.0, length / 2)
        ex, ey = (x1 - x0) / length * head, (y1 - y0) / length * head
        sides = ((x1, y1), (x1 - ex - ey / 2, y1 - ey + ex / 2), (x1 - ex + ey / 2, y1 - ey - ex / 2))
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in sides)
        line = f"M{x0:.1f} {y0:.1f}L{x1 - ex:.1f} {y1 - ey:.1f}"
        drawn.append(f'<g class="{kind}"><path d="{line}"/><polygon points="{corners}"/></g>')
    a, b = (html.escape(axis) for axis in axes)
    legend = " ".join(f'<span class="{kind}"><i></i>{label}</span>' for kind, _, _, label in arrows)
    said = f"In the plane of {a} and {b}: the gradient, the gradient plus H·u, and the change between them along u."
    return (
        f'<figure class="plane"><svg viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" height="{SIZE}" role="img" '
        f'aria-label="{said}"><path class="axis" d="M0 {middle}H{SIZE}M{middle} 0V{SIZE}"/>'
        f'<text x="{SIZE - 4}" y="{middle - 5}" text-anchor="end">{a}</text><text x="{middle + 5}" y="12">{b}</text>'
        f"{''.join(drawn)}</svg><figcaption>{legend}<br>H·u is the change of the gradient for a small step along u, "
        "for each unit of the step.</figcaption></figure>"
    )
