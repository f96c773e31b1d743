"""Series of polynomials, coefficients from the lowest degree up, as `numpy.polynomial` has them: the namespace
`ad.polynomial`. (NumPy's own functions of these names know no protocol.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..primitive import as_tensor
from ..tensor import Tensor

__all__ = ["chebval", "hermeval", "hermval", "lagval", "legval", "polyval"]

Recurrence = Callable[[int], tuple[float, float, float]]


def _series(name: str, title: str, recurrence: Recurrence) -> Callable[..., Tensor]:
    """Clenshaw's algorithm for polynomials with P₀ = 1 and Pₖ₊₁ = (α x + β) Pₖ − γ Pₖ₋₁, where α, β, γ depend on k:
    bₖ = cₖ + (αₖ x + βₖ) bₖ₊₁ − γₖ₊₁ bₖ₊₂, and the sum is b₀ (Clenshaw, Mathematics of Computation 9, 1955)."""

    def value(x: Any, c: Any, tensor: bool = True) -> Tensor:
        x, c = as_tensor(x, name), as_tensor(c, name)
        if not c.ndim or not c.shape[0]:
            raise ValueError(f"{name}: coefficients lie along an axis and are not none, unlike shape {c.shape}")
        if tensor:
            c = c.reshape(c.shape + (1,) * x.ndim)
        later: Any = 0.0
        b: Any = c[-1] + x * 0
        for k in range(c.shape[0] - 2, -1, -1):
            alpha, beta, _ = recurrence(k)
            gamma = recurrence(k + 1)[2]
            step = x * alpha if alpha != 1 else x
            step = step + beta if beta else step
            b, later = c[k] + step * b - (gamma * later if gamma else 0.0), b
        result: Tensor = b
        return result

    value.__name__ = value.__qualname__ = name
    value.__doc__ = f"""The sum of c[k] times the k-th {title}, as NumPy's function `{name}`, with gradients to x and c.

    Args:
        x: where, a Tensor or array of any shape.
        c: coefficients along the first axis, the lowest degree first; other axes are those of many series.
        tensor: whether every series is taken at every x, the result being of shape c.shape[1:] + x.shape; else the
            other axes of c broadcast against x.

    Raises:
        ValueError: no coefficient, or shapes that do not broadcast.
    """
    return value


polyval = _series("polyval", "power of x", lambda k: (1, 0, 0))
chebval = _series("chebval", "Chebyshev polynomial", lambda k: (2 if k else 1, 0, 1))
legval = _series("legval", "Legendre polynomial", lambda k: ((2 * k + 1) / (k + 1), 0, k / (k + 1)))
hermval = _series("hermval", "Hermite polynomial (physicists')", lambda k: (2, 0, 2 * k))
hermeval = _series("hermeval", "Hermite polynomial (probabilists')", lambda k: (1, 0, k))
lagval = _series("lagval", "Laguerre polynomial", lambda k: (-1 / (k + 1), (2 * k + 1) / (k + 1), k / (k + 1)))
