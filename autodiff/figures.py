"""How the figures of all packages look: axes in one style, and lines that differ by more than their colour.

matplotlib is imported when something is drawn, not before. The style is set on new axes alone: the user's rcParams, and
axes the user made, stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Blue, orange, green, pink, sky and amber, told apart by colour-blind readers too. Source: Okabe & Ito, "Color
universal design", 2008."""

SEQUENTIAL, DIVERGING = "cividis", "PuOr"
"""Colour maps for magnitudes, and for values on both sides of 0; colour-blind readers can read both."""

_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1.2)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (10, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
_MARKERS = "osD^vP"
_STYLE = {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
          "axes.axisbelow": True, "axes.titlesize": "medium"}  # fmt: skip


def pyplot(what: str) -> Any:
    """matplotlib's pyplot, for `what` is drawn.

    Raises:
        ImportError: without matplotlib.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{what} needs matplotlib: pip install matplotlib") from error
    return plt


def axes_for(what: str, ax: Any = None, size: tuple[float, float] | None = None) -> Any:
    """The given matplotlib axes, or new ones of a size in inches, in the style of all figures; `what` is drawn.

    Raises:
        ImportError: without matplotlib.
        TypeError: for anything but one Axes.
    """
    if ax is None:
        return axes_grid(what, 1, size=size)[0]
    if not hasattr(ax, "get_xaxis"):
        raise TypeError(f"{what}: ax takes one matplotlib Axes, such as plt.subplots()[1], not {_described(ax)}")
    return ax


def axes_grid(
    what: str, n: int, ax: Any = None, size: tuple[float, float] | None = None, columns: int | None = None,
    **options: Any,
) -> Any:  # fmt: skip
    """n axes in an array of shape (n,): the given ones, or new ones in rows of so many columns.

    Args:
        what: is drawn.
        n: how many, at least 1.
        ax: the axes, an array or a list of n (for n = 1 the axes themselves will do).
        size: of the whole new figure, in inches.
        columns: by default as many as make the grid about a square.
        options: for ``Figure.subplots``, as sharey.

    Raises:
        ImportError: without matplotlib.
        TypeError, ValueError: for anything but n Axes.
    """
    if ax is not None:
        given = list(np.ravel(np.asarray(ax, dtype=object)))
        if not all(hasattr(one, "get_xaxis") for one in given):
            raise TypeError(f"{what}: ax takes matplotlib Axes, {n} of them, not {_described(ax)}")
        if len(given) != n:
            raise ValueError(
                f"{what}: ax takes {n} Axes here, an array such as plt.subplots(1, {n})[1]; got {len(given)}"
            )
        return _array(given)
    plt = pyplot(what)
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    with plt.rc_context(_STYLE):
        axes = list(
            plt.figure(figsize=size, layout="constrained").subplots(rows, columns, squeeze=False, **options).flat
        )
    for extra in axes[n:]:
        extra.remove()
    return _array(axes[:n])


def _array(axes: Sequence[Any]) -> Any:
    found = np.empty(len(axes), object)
    found[:] = axes
    return found


def line_style(i: int, marker: bool = False) -> dict[str, Any]:
    """Colour, dashes and (if wanted) marker of the i-th line: no two of the first 36 are alike, nor are two of the
    first six in black and white.

    >>> line_style(1, marker=True)["color"], line_style(1, marker=True)["marker"]
    ('#D55E00', 's')
    """
    colours = len(PALETTE)
    shift = i // colours
    style = {"color": PALETTE[i % colours], "linestyle": _DASHES[(i + shift) % len(_DASHES)], "linewidth": 1.8}
    return style | ({"marker": _MARKERS[(i + shift) % len(_MARKERS)], "markersize": 5} if marker else {})


def ink(ax: Any) -> str:
    """Black or white, whichever can be read on the axes."""
    red, green, blue, alpha = _rgba(ax)
    return "white" if alpha and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def paper(ax: Any) -> tuple[float, ...]:
    """The colour of the axes themselves; opaque."""
    red, green, blue, alpha = _rgba(ax)
    return (red, green, blue) if alpha else (1.0, 1.0, 1.0)


def _rgba(ax: Any) -> tuple[float, float, float, float]:
    from matplotlib.colors import to_rgba

    return to_rgba(ax.get_facecolor())


def tinted(ax: Any, colours: Any, strength: float) -> Any:
    """Colours, shape (..., 3 or 4), mixed into the paper, so that lines and points on them can be seen.

    >>> import matplotlib.pyplot as plt
    >>> figure, ax = plt.subplots()
    >>> tinted(ax, [0.0, 0.0, 1.0], 0.25).tolist()
    [0.75, 0.75, 1.0]
    >>> plt.close(figure)
    """
    return np.asarray(colours)[..., :3] * strength + np.asarray(paper(ax)) * (1 - strength)


def pale(ax: Any, strength: float = 0.45) -> Any:
    """The sequential colour map, mixed into the paper."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(tinted(ax, colormaps[SEQUENTIAL](np.linspace(0, 1, 256)), strength))


def shown_name(name: str) -> str:
    """A name as a label: matplotlib leaves those that begin with an underscore out of the legend."""
    return f" {name}" if name.startswith("_") else name


def legend(ax: Any, beside: bool = False, **options: Any) -> None:
    """A legend where it hides least: over an empty part, nearly opaque, or beside the axes."""
    if ax.get_legend_handles_labels()[0]:
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0} if beside else {}
        ax.legend(**{"framealpha": 0.85, "fontsize": "small"} | place | options)


def log_range(values: Any, decades: float = 16.0) -> tuple[float, float] | None:
    """The limits of a logarithmic axis that shows values over steps, shape (..., steps), and no empty decades: a low
    that lasts for one step alone is cut off, and so is what lies more than so many decades below the top.

    None where a linear axis shows them: for values below 0, and for less than one decade.

    >>> log_range([[100.0, 1.0, 1e-27, 1.0, 0.01, 0.01]])
    (0.00630..., 158...)
    >>> log_range([[3.0, 2.0, 1.0]])
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    if not finite.any() or (values[finite] < 0).any():
        return None
    values = np.where(finite, values, np.nan)
    lasting = np.fmax(values[..., 1:], values[..., :-1]) if values.shape[-1] > 1 else values
    lasting = lasting[lasting > 0]
    if not lasting.size:
        return None
    high = float(np.nanmax(values))
    low = max(float(lasting.min()), high * 10.0**-decades)
    if high < 10 * low:
        return None
    margin = (high / low) ** 0.05
    return low / margin, high * margin


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"an array of shape {shape}" if shape is not None else type(value).__name__
