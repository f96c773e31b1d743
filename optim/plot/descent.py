"""Figures of descent: over the surface of a function, for several learning rates, and of a comparison of optimisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from autodiff import Tensor, no_grad
from autodiff.figures import LARGEST, axes_for, drawable, ink, legend, limits, line_style, note, paper
from autodiff.flags import flagged
from autodiff.lettering import shown_name

from ..array import Array
from ..studies.comparison import Comparison
from ..studies.descent import descents
from ..studies.landscape import check_function, in_sight, landscape, one_number


@flagged
def surface(
    f: Callable[..., Any], path: Any = None, *, xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None, field: bool = True, levels: int = 25, ax: Any = None,
) -> Any:  # fmt: skip
    """Contours of f(x, y), paths over it, and the field −∇f as arrows.

    Args:
        f: a function of two Tensors that returns one.
        path: points (x, y) in a row, shape (n, 2); several such, by name, in a dict; or what `optim.compare` returned.
        xlim, ylim: the region; by default one that holds the paths, or from −2 to 2. Points where f is not finite, and
            those a hundred times as far from the start of their path as most, are left out of it, which words say.
        field: whether there are arrows. Their length grows with the logarithm of ‖∇f‖.
        levels: how many contours, evenly spaced in the logarithm of f − min f.
        ax: matplotlib axes to draw into; new ones by default.

    Returns:
        the axes. The numbers are those of `optim.plot.landscape`.

    Raises:
        TypeError, ValueError: for paths of other shapes, a field that is neither True nor False, limits that are not
            increasing, or an f that returns no Tensor of one element.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, optim
    >>> ax = optim.plot.surface(lambda x, y: x**2 + 3 * y**2, [(2, 1), (1, -0.5), (0.5, 0.2)])
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('x', 'y')
    >>> plt.close(ax.figure)
    """
    check_function(f, "optim.plot.surface", path.seed if isinstance(path, Comparison) else None)
    if isinstance(path, Comparison):
        return path.plot(xlim=xlim, ylim=ylim, field=field, levels=levels, ax=ax)
    paths = _paths(path)
    seen = np.concatenate([_in_scale(f, p) for p in paths.values()]) if paths else np.array([[-2.0] * 2, [2.0] * 2])
    xlim, ylim = limits(seen[:, 0], 0.15) if xlim is None else xlim, limits(seen[:, 1], 0.15) if ylim is None else ylim
    beside = ax is None
    ax = axes_for("optim.plot.surface", ax, (7, 5))
    landscape(f, xlim, ylim, field=21 if field else 0).plot(ax=ax, levels=levels)
    for i, (name, points) in enumerate(paths.items()):
        style = line_style(i, marker=True)
        gap = max(1, len(points) // 25)
        last = points[np.isfinite(points).all(axis=1)][-1]
        ax.plot(
            *in_sight(points, xlim, ylim).T,
            **style,
            markevery=gap,
            markeredgecolor=paper(ax),
            markeredgewidth=0.5,
            label=shown_name(name),
            zorder=3,
        )
        ax.plot(
            *in_sight(last, xlim, ylim),
            style["marker"],
            color=style["color"],
            markeredgecolor=ink(ax),
            markersize=8,
            zorder=5,
        )
        ax.plot(*in_sight(points[0], xlim, ylim), "o", color=paper(ax), markeredgecolor=ink(ax), markersize=8, zorder=4)
    outside = sum(len(p) for p in paths.values()) - len(seen) if paths else 0
    if outside:
        note(ax, f"outside: {outside} point{'s' * (outside > 1)}, too far away or where f is not finite")
    ax.set(xlim=xlim, ylim=ylim)
    legend(ax, beside)
    return ax


def _in_scale(f: Callable[..., Any], points: Array) -> Array:
    """Points of a path, shape (n, 2), without those where f is not finite (looked at 200 of them, and taken to be so
    for all as far away) and those much farther from the start than most; all if there were none left."""
    there = drawable(points)
    there = there[np.isfinite(there).all(axis=1)]
    tried = there[np.unique(np.linspace(0, len(there) - 1, 200).astype(int))] if len(there) else there
    with np.errstate(all="ignore"), no_grad():
        finite = [bool(abs(float(one_number(f(Tensor(x), Tensor(y)), "optim.plot.surface").data.item())) <= LARGEST)
                  for x, y in tried]  # fmt: skip
        reach = np.abs(tried[finite]).max() if any(finite) else np.inf
        near = there[np.abs(there).max(axis=1, initial=0.0) <= reach]
        away = np.abs(near / 2 - near[:1] / 2).max(axis=1, initial=0.0)
        near = near[away <= 100 * np.median(away[away > 0])] if (away > 0).any() else near
    return near if len(near) else there


def _paths(path: Any) -> dict[str, Array]:
    given = path if isinstance(path, Mapping) else {} if path is None else {"path": path}
    found = {}
    for name, points in given.items():
        try:
            found[str(name)] = np.asarray(points, float)
        except (TypeError, ValueError):
            found[str(name)] = np.zeros(0)
        array = found[str(name)]
        if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array[:1]).all() or not len(array):
            raise ValueError(
                f"optim.plot.surface: path takes points (x, y) of shape (n, 2), a dict of such, or what optim.compare "
                f"returned; got {f'shape {np.shape(points)}' if hasattr(points, 'shape') else repr(points)[:60]}"
            )
    return found


def learning_rates(f: Callable[[Any], Any], start: Any, rates: Any, *, steps: int = 50, ax: Any = None) -> Any:
    """The loss of gradient descent over the steps, a curve for each learning rate; those that diverge are marked. More
    than 12 different rates are told apart by a scale of colours.

    Args:
        f: takes a Tensor of the start's shape and returns a Tensor of one element.
        start: a number or an array.
        rates: learning rates, more than 0.
        steps: how many.
        ax: matplotlib axes to draw into; new ones by default.

    Returns:
        the axes. The numbers are those of `optim.plot.descents`.

    Raises:
        TypeError, ValueError: for rates that are not positive, and as `optim.plot.descents`.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, optim
    >>> ax = optim.plot.learning_rates(lambda w: 0.5 * w**2, 1.0, [0.1, 0.5, 2.1])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['0.1', '0.5', '2.1 diverges']
    >>> plt.close(ax.figure)
    """
    return descents(f, start, rates, steps).plot(ax=ax)


def step_sizes(comparison: Comparison, *, ax: Any = None) -> Any:
    """How long each optimiser's steps were, ‖w_{t+1} − w_t‖ over t.

    Args:
        comparison: what `optim.compare` returned.
        ax: matplotlib axes to draw into; new ones by default.

    Returns:
        the axes. The numbers are `Comparison.step_sizes`.

    Raises:
        TypeError: for anything else.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, optim
    >>> seen = optim.compare(lambda x, y: x**2 + y**2, (1, 1), {"Adam": lambda p: optim.Adam(p, lr=0.1)}, steps=5)
    >>> ax = optim.plot.step_sizes(seen)
    >>> ax.get_ylabel()
    'step size'
    >>> plt.close(ax.figure)
    """
    return _compared("step_sizes", comparison).plot_step_sizes(ax=ax)


def moments(comparison: Comparison, *, run: int = 0, ax: Any = None) -> Any:
    """What the optimisers remembered over the steps: moments, directions, and the hyper-parameters they change.

    Args:
        comparison: what `optim.compare` returned.
        run: of which start, counted from 0.
        ax: as many matplotlib axes as there are states; new ones by default.

    Returns:
        an array of axes, one for each state of each optimiser. The numbers are `Comparison.states`.

    Raises:
        TypeError: for anything else than a comparison.
        ValueError: if no optimiser has a state.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, optim
    >>> seen = optim.compare(lambda x, y: x**2 + y**2, (1, 1), {"Adam": lambda p: optim.Adam(p, lr=0.1)}, steps=5)
    >>> axes = optim.plot.moments(seen)
    >>> [ax.get_title() for ax in axes]
    ['Adam: exp_avg', 'Adam: exp_avg_sq']
    >>> plt.close(axes[0].figure)
    """
    return _compared("moments", comparison).plot_states(run=run, ax=ax)


def _compared(name: str, comparison: Any) -> Comparison:
    if not isinstance(comparison, Comparison):
        raise TypeError(f"optim.plot.{name}: takes what optim.compare returned, not {type(comparison).__name__}")
    return comparison
