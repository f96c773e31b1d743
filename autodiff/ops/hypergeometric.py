"""Hypergeometric functions: by their argument, to any order of derivative. By their parameters they have no closed
derivative, and say so."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, polymorphic
from .guards import times
from .samples import PAIRS, Samples, draw
from .ufuncs import declare, scipy_ufunc

__all__ = ["hyp0f1", "hyp1f1", "hyp2f1"]


def _of_parameters(count: int, high: float) -> Samples:
    """Samples whose parameters, which have no derivative, are whole numbers."""

    def samples(rng: np.random.Generator) -> list[Sample]:
        parameters = (1, 2, 3)[-count:]
        return [Sample((*(np.full(s, p) for p in parameters), draw(rng, t, -0.6, high))) for s, t in PAIRS]

    return samples


def _hypergeometric(name: str, above: int, below: int, symbol: str, doc: str, high: float = 2.0) -> Any:
    """A function with F′ = (Π a / Π b) F, each parameter greater by 1."""
    n = above + below

    def slope(g: Any, y: Any, *inputs: Any) -> Any:
        parameters, x = inputs[:-1], inputs[-1]
        factor: Any = 1.0
        for i, p in enumerate(parameters):
            factor = factor * p if i < above else factor / p
        return times(g, factor * further(*[p + 1 for p in parameters], x))

    parameters = ", ".join(f"{{{i}}}" for i in range(n))
    more = ", ".join(f"{{{i}}} + 1" for i in range(n))
    product = " ".join(f"{{{i}}}" for i in range(above)) or "1"
    divisor = " ".join(f"{{{i}}}" for i in range(above, n))
    function = declare(
        name, scipy_ufunc(name), [*[None] * n, slope],
        fixed={i: f"parameter {i} of a hypergeometric function" for i in range(n)},
        scipy=name, singular=True, formula=f"{symbol}({parameters}; {{{n}}})",
        derivatives=[*["none"] * n, f"{product} / {divisor} · {symbol}({more}; {{{n}}})"],
        samples=_of_parameters(n, high), doc=doc,
    )  # fmt: skip
    further: Any = polymorphic(function)
    return function


hyp0f1 = _hypergeometric(
    "hyp0f1", 0, 1, "₀F₁", "The confluent hypergeometric limit function ₀F₁(; b; x), Σ xᵏ / ((b)ₖ k!)."
)
hyp1f1 = _hypergeometric("hyp1f1", 1, 1, "₁F₁", "Kummer's function ₁F₁(a; b; x), Σ (a)ₖ xᵏ / ((b)ₖ k!).")
hyp2f1 = _hypergeometric(
    "hyp2f1", 2, 1, "₂F₁", "Gauss's hypergeometric function ₂F₁(a, b; c; x), Σ (a)ₖ (b)ₖ xᵏ / ((c)ₖ k!), x < 1.", 0.6
)
