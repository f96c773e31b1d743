"""What a mean divides by: how much the mean loss of one batch counts in the mean over several."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def count_of(loss: Any) -> Callable[..., Any] | None:
    """The method ``count`` of a loss, which says what its mean divides by; None for a loss without."""
    count = getattr(loss, "count", None)
    return count if callable(count) else None


def counted(count: Callable[..., Any] | None, *arguments: Any) -> float | None:
    """What the mean of a batch divides by, as a loss says with its method ``count``: the sum of the weights of those
    targets that it does not ignore. The mean over batches is Σ cᵦ lᵦ / Σ cᵦ, where lᵦ is the loss of a batch and cᵦ its
    count.

    Args:
        count: of the loss, see `count_of`.
        arguments: what it takes, the targets of the batch for the losses of nn.

    Returns:
        A finite number, not negative; None where nothing is said, and the batch counts by its samples.

    Raises:
        TypeError, ValueError: for a count that is no such number.

    >>> counted(lambda target: sum(t >= 0 for t in target), [1, -1])
    1.0
    >>> counted(None, [1, -1]) is None
    True
    """
    found = None if count is None else count(*arguments)
    if found is None or (type(found) is float and 0 <= found < math.inf):  # said as it should be: at every step
        return found
    if isinstance(found, (bool, str)) or not hasattr(found, "__float__"):
        raise TypeError(f"the count of a loss must be a number, or None, not {found!r}")
    number = float(found.item() if hasattr(found, "item") else found)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"the count of a loss must be a finite number of at least 0, not {number}")
    return number
