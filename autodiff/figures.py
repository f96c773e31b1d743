"""How the figures of all packages look: axes in one style, and lines that differ by more than their colour.

matplotlib is imported when something is drawn, not before. The style is set on new axes alone: the user's rcParams, and
axes the user made, stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .lettering import families

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


def contours(ax: Any, x: Any, y: Any, values: Any, levels: int, bottom: float = np.inf) -> None:
    """Contours of values f, shape (m, n), at x of shape (n,) and y of shape (m,), evenly spaced in the logarithm of
    f − min f (or f − bottom, where that is known to be lower). Where f is constant, or nowhere finite, words say so."""
    ax.grid(False)
    note_unseen(ax, values)
    values = drawable(values)
    finite = values[np.isfinite(values)]
    if finite.size and finite.max() == finite.min():
        note(ax, f"f = {finite[0]:.6g} all over" + " where it is finite" * (finite.size < values.size))
    elif finite.size:
        height = values - min(float(finite.min()), bottom)
        heights = height[height > 0]
        # The lowest contour encloses about a thousandth of the region: smaller ones would be drawn as specks.
        at = np.geomspace(np.quantile(heights, 0.001), heights.max(), levels + 1)
        at = at[np.append(True, np.diff(np.log10(at)) > 0)]
        at = at if len(at) > 1 else at[0] * np.array([0.25, 0.5, 1.0])  # two plateaus
        ax.contourf(x, y, np.log10(np.maximum(height, at[0])), np.log10(at), cmap=pale(ax), zorder=0)
        ax.contour(x, y, height, at, colors="0.5", linewidths=0.4, alpha=0.6, zorder=1)


def line_map(ax: Any) -> Any:
    """The sequential colour map for lines: without the end that the paper hides."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    ends = (0.0, 0.85) if ink(ax) == "black" else (0.25, 1.0)
    return ListedColormap(colormaps[SEQUENTIAL](np.linspace(*ends, 256)))


_ROW = 0.17  # inches, of a legend


def legend(ax: Any, beside: bool = False, **options: Any) -> None:
    """A legend where it hides least: over an empty part, nearly opaque; or beside new axes, whose figure grows where it
    has no room. What is more than the axes are high, or than two columns beside them, is counted in the last line.
    """
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    figure = ax.figure
    height = ax.get_window_extent().height / figure.dpi
    room = 36 if beside else max(3, int(height / _ROW) - 1 - ("title" in options))
    columns = min(2, -(-len(handles) // room)) if beside else 1
    if len(handles) > room * columns:
        kept = room * columns - 1
        rest = ax.plot([], [], linestyle="none")[0]
        handles, labels = [*handles[:kept], rest], [*labels[:kept], f"… {len(handles) - kept} more"]
        rest.remove()
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0} if beside else {}
    if not beside and (ax.images or ax.collections):  # there is no empty part, and looking for it takes long
        place = {"loc": "upper right"}
    font = {"family": families(labels), "size": "small"}
    drawn = ax.legend(handles, labels, **{"framealpha": 0.85, "prop": font, "ncols": columns} | place | options)
    if beside:
        needed = drawn.get_window_extent().size / figure.dpi
        wide, high = figure.get_size_inches()
        figure.set_size_inches(wide + max(0.0, needed[0] - 1.5), max(high, needed[1] + 0.7))


def note(ax: Any, text: str) -> None:
    """Words in the axes, at the top, on what the figure cannot show."""
    box = {"facecolor": paper(ax), "edgecolor": "0.5", "alpha": 0.85, "boxstyle": "round"}
    place = {"transform": ax.transAxes, "ha": "center", "va": "top", "zorder": 9}
    ax.text(0.5, 0.97, text, **place, fontsize="small", color=ink(ax), bbox=box, parse_math=False)


def note_unseen(ax: Any, values: Any) -> None:
    """Say so, if none of the values can be drawn."""
    if not np.isfinite(drawable(values)).any():
        finite = np.isfinite(np.asarray(values, float)).any()
        note(ax, f"no value within ±{LARGEST:g}" if finite else "no finite value")


LARGEST = 1e300
"""Numbers farther from 0 are not drawn: matplotlib cannot put a margin around them."""


def drawable(values: Any) -> Any:
    """Values as floats, NaN where they are not finite, or larger than what can be drawn.

    >>> drawable([1, np.inf, -1e305]).tolist()
    [1.0, nan, nan]
    """
    values = np.asarray(values, float)
    return np.where(abs(values) <= LARGEST, values, np.nan)


def dotted(values: Any) -> bool:
    """Whether a line over the values, shape (n,), needs markers: one of them has no finite neighbour.

    >>> dotted([np.nan, 1.0, np.nan]), dotted([1.0, 2.0, np.nan])
    (True, False)
    """
    there = np.pad(np.isfinite(np.asarray(values, float)), 1)
    return bool((there[1:-1] & ~there[:-2] & ~there[2:]).any())


def limits(values: Any, margin: float) -> tuple[float, float]:
    """The limits of a linear axis that shows the finite values, and so great a part of their range on both sides; wide
    enough for different numbers, around a single value too.

    >>> limits([0.0, 2.0, np.nan], 0.5), limits([3.0], 0.5), limits([1e200], 0.5)
    ((-1.0, 3.0), (2.0, 4.0), (9e+199, 1.1e+200))
    """
    values = drawable(values)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    largest = max(abs(low), abs(high))
    if high - low > max(1e-13 * largest, 1e-290):
        around = margin * (high - low)
    else:
        around = max(1.0, 0.1 * largest) if high == low else max(1.0, 1e-12 * largest)
    return low - around, high + around


def log_range(values: Any, decades: float = 16.0) -> tuple[float, float] | None:
    """The limits of a logarithmic axis that shows values over steps, shape (..., steps), and no empty decades: a low
    that lasts for one step alone is cut off, and so is what lies more than so many decades below the top.

    None where a linear axis shows them: for values below 0, and for less than one decade.

    >>> log_range([[100.0, 1.0, 1e-27, 1.0, 0.01, 0.01]])
    (0.00630..., 158...)
    >>> log_range([[3.0, 2.0, 1.0]])
    """
    values = drawable(values)
    values = np.where(abs(values) < 1 / LARGEST, 0.0, values)
    if not np.isfinite(values).any() or (values < 0).any():
        return None
    lasting = np.fmax(values[..., 1:], values[..., :-1]) if values.shape[-1] > 1 else values
    lasting = lasting[lasting > 0]
    if not lasting.size:
        return None
    high = float(np.nanmax(values))
    low = max(float(lasting.min()), high * 10.0**-decades)
    if high < 10 * low:
        return None
    margin = float(10 ** (0.05 * (np.log10(high) - np.log10(low))))
    return max(low / margin, 1e-4 / LARGEST), min(high * margin, 1e4 * LARGEST)


def log_scale(ax: Any, span: tuple[float, float]) -> None:
    """Make the vertical axis logarithmic, with these limits."""
    ax.set(ylim=span, yscale="log")
    low, high = np.log10(span)
    if high > 150 or low < -150:  # matplotlib would look for ticks beyond the largest float
        ax.set_yticks(10.0 ** np.arange(np.ceil(low), high, max(1, (high - low) // 8)))
        ax.set_yticks([], minor=True)


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"an array of shape {shape}" if shape is not None else type(value).__name__
