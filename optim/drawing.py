"""Axes to draw into."""

from __future__ import annotations

from typing import Any


def axes_for(what: str, ax: Any, size: tuple[float, float] | None = None) -> Any:
    """The given matplotlib axes, or new ones of a size in inches; `what` is drawn.

    Raises:
        ImportError: without matplotlib.
    """
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{what} needs matplotlib: pip install matplotlib") from error
    return plt.figure(figsize=size, layout="constrained").add_subplot()
