"""Normalisation of rows as machine code: what normalization.py has as NumPy's expressions, for statistics over the last
axes and a weight for each place in them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from autodiff.machine.expressions import fma
from autodiff.machine.kernels import Kernel

if TYPE_CHECKING:
    from autodiff.machine.rows import Index, Memory, Row


def _normalise(centred: bool) -> Kernel:
    """w x̂ + b, and the statistics."""

    def write(
        row: Row, x: Memory, weight: Memory, bias: Memory, eps: Memory, mean: Memory, variance: Memory,
        inverse: Memory, y: Memory,
    ) -> None:  # fmt: skip
        n = row.length
        if centred:
            first = row.sum(lambda i: x[i]) / n
            sums = row.reduce(("add", "add"), lambda i: (x[i] - first, (x[i] - first) * (x[i] - first)))
            rest, square = (s / n for s in sums)  # rest is what the mean is off by, from rounding
            mean.number = first + rest
            spread = np.maximum(square - rest * rest, 0.0)
        else:
            spread = row.sum(lambda i: x[i] * x[i]) / n
        variance.number = spread
        scale = 1.0 / np.sqrt(spread + eps.number)
        inverse.number = scale

        def scaled(i: Index) -> Any:
            t = (x[i] - first) - rest if centred else x[i]
            return y.put(i, fma(t * scale, weight[i], bias[i]))

        row.each(scaled)

    return Kernel(write, arrays=8)


LAYER_NORM, RMS_NORM = _normalise(centred=True), _normalise(centred=False)
"""Of x (rows, columns), w and b (1, columns), ε (1, 1), μ, σ², 1/√(σ² + ε) (rows, 1) and w x̂ + b: the last four are
written, by the second without μ."""


def _pull(
    row: Row, x: Memory, g: Memory, weight: Memory, mean: Memory, inverse: Memory, d: Memory, centred: bool
) -> None:  # fmt: skip
    scale, centre, n = inverse.number, mean.number, row.length

    def hat(i: Index) -> Any:
        return (x[i] - centre) * scale

    def products(i: Index) -> tuple[Any, ...]:
        h = g[i] * weight[i]
        return (h * hat(i), h)

    if centred:
        product, total = (s / n for s in row.reduce(("add", "add"), products))
        row.each(lambda i: d.put(i, (fma(g[i], weight[i], -total) - hat(i) * product) * scale))
    else:
        product = row.sum(lambda i: products(i)[0]) / n
        row.each(lambda i: d.put(i, fma(g[i], weight[i], -hat(i) * product) * scale))


LAYER_NORM_PULLBACK = Kernel(partial(_pull, centred=True), arrays=6)
RMS_NORM_PULLBACK = Kernel(partial(_pull, centred=False), arrays=6)
"""(h − mean h − x̂ mean(h x̂)) / √(σ² + ε) of h = w g, without the mean for RMS norms: of x, g, w, μ, 1/√(σ² + ε) and
the result."""


def _by_weight(row: Row, x: Memory, g: Memory, mean: Memory, inverse: Memory, sums: Memory) -> None:
    scale, centre = inverse.number, mean.number
    row.each(lambda i: sums.put(i, fma((x[i] - centre) * scale, g[i], sums[i])))


BY_WEIGHT = Kernel(_by_weight, arrays=5)
"""Σ x̂ g over rows: of x, g, μ, 1/√(σ² + ε) and the sums."""
