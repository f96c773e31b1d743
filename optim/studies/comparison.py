"""Optimisers side by side on a function of two variables: where they went, drawn over its contours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.figures import (
    axes_for,
    axes_grid,
    dotted,
    drawable,
    ink,
    legend,
    limits,
    line_style,
    log_range,
    log_scale,
    note_unseen,
    paper,
)
from autodiff.flags import flagged
from autodiff.lettering import families, shown_name
from autodiff.seeing.table import Table

from ..array import Array
from ..optimizer import Optimizer
from ..second_order.base import SecondOrder
from .landscape import Function, Landscape, check_function, generators, in_sight, landscape, one_number


@dataclass(frozen=True)
class Comparison:
    """What `compare` saw.

    Attributes:
        paths: the points each optimiser went through, by name; shape (..., steps + 1, 2), where ... is the shape of the
            starts (nothing for a single one). Points after one that is not finite are NaN.
        values: f at those points, shape (..., steps + 1); of a stochastic f the value that the optimiser saw.
        f: the function.
        minimum: the point that was given as its minimum, or None.
        gradients: ∇f at those points, as the optimiser saw it; shapes as `paths`.
        states: what each optimiser remembered when it stood at those points (moments, directions, and the
            hyper-parameters it changes itself), by name of the optimiser and of the state; shapes as `paths`, or as
            `values` for numbers. NaN before there is any.
        seed: of the draws of a stochastic f, or None.
    """

    paths: dict[str, Array]
    values: dict[str, Array]
    f: Function
    minimum: Array | None
    gradients: dict[str, Array]
    states: dict[str, dict[str, Array]]
    seed: int | None = None

    @property
    def step_sizes(self) -> dict[str, Array]:
        """How long each step was, ‖w_{t+1} − w_t‖, by name; shape (..., steps)."""
        with np.errstate(all="ignore"):  # of what diverges
            return {name: np.linalg.norm(np.diff(path, axis=-2), axis=-1) for name, path in self.paths.items()}

    def table(self, *, every: int | None = None) -> Table:
        """The last and the lowest value of each run, the step of the lowest, and the last point; with a known minimum
        also how far away the last point is. Or the runs row by row.

        Args:
            every: a row for every so manieth step of each run: the value, the point, the gradient there, and how long
                the step was that led there.

        Returns:
            a table that prints, is shown by a notebook, and has `.rows`, a dict for each.

        Raises:
            ValueError: if `every` is no whole number of at least 1.
        """
        return self._summary() if every is None else self._steps(_whole("Comparison.table", "every", every))

    def _summary(self) -> Table:
        rows = []
        for name, path, value in self._runs():
            finite = np.isfinite(value)
            at = int(np.argmin(np.where(finite, value, np.inf)))
            done = bool(finite.all())
            row: dict[str, Any] = {"optimiser": name, "start": _Point(path[0])}
            row["last f"] = float(value[-1]) if done else f"diverged (step {int(np.argmin(finite))})"
            row |= {"lowest f": float(value[at]), "at step": at}
            row |= dict(zip(("last x", "last y"), path[-1].tolist() if done else (None, None)))
            if self.minimum is not None:
                row["distance"] = float(np.hypot(*(path[-1] - self.minimum))) if done else None
            rows.append(row)
        formats = {
            "optimiser": None, "start": None, "last f": _number, "lowest f": _number, "at step": str, "last x": _number,
            "last y": _number, "distance": "{:.3g}".format,
        }  # fmt: skip
        return Table(rows, {head: formats[head] for head in rows[0]})

    def _steps(self, every: int) -> Table:
        sizes = self.step_sizes
        rows = []
        for i, (name, path, value) in enumerate(self._runs()):
            slopes, lengths = self._run(self.gradients[name], i), self._run(sizes[name][..., None], i)[:, 0]
            last = len(value) if np.isfinite(value).all() else int(np.argmin(np.isfinite(value))) + 1
            for step in range(0, last, every):
                (x, y), (u, v) = path[step].tolist(), slopes[step].tolist()
                size = float(lengths[step - 1]) if step else None
                rows.append(
                    {"optimiser": name, "start": _Point(path[0]), "step": step, "f": float(value[step]), "x": x, "y": y,
                     "∂f/∂x": u, "∂f/∂y": v, "step size": size}
                )  # fmt: skip
        formats = dict.fromkeys(rows[0], _number) | {"optimiser": None, "start": None, "step": str}
        return Table(rows, formats)

    @flagged
    def plot(
        self,
        *,
        ax: Any = None,
        xlim: tuple[float, float] | None = None,
        ylim: tuple[float, float] | None = None,
        levels: int = 25,
        every: int | None = None,
        field: bool = False,
    ) -> Any:
        """Draw the paths over contours of f, whose levels are evenly spaced in the logarithm of f − min f.

        Args:
            ax: matplotlib axes to draw into; new ones by default.
            xlim, ylim: the region; by default one that holds the starts and most of the paths.
            levels: how many contours.
            every: mark every so manieth step; by default such that there are at most 25 marks.
            field: whether arrows show the field −∇f.

        Returns:
            the axes.

        Raises:
            ValueError: for limits that do not increase, and less than 1 level or step.
            ImportError: without matplotlib.
        """
        if every is not None:
            every = _whole("Comparison.plot", "every", every)
        beside = ax is None
        ax = axes_for("Comparison.plot", ax, (7.5, 5))
        xlim, ylim = self._limits(0) if xlim is None else xlim, self._limits(1) if ylim is None else ylim
        known = [float(v[np.isfinite(v)].min()) for v in self.values.values() if np.isfinite(v).any()]
        self.landscape(xlim, ylim, field=field).plot(ax=ax, levels=levels, bottom=min(known, default=math.inf))
        if self.minimum is not None:
            ax.plot(
                *self.minimum, "*", color=ink(ax), markeredgecolor=paper(ax), markersize=14, zorder=6, label="minimum"
            )
        styles = {name: line_style(i, marker=True) for i, name in enumerate(self.paths)}
        labelled = set()
        for name, path, value in self._runs():
            shown = path[np.isfinite(path).all(axis=1)]
            outside = ((shown < (xlim[0], ylim[0])) | (shown > (xlim[1], ylim[1]))).any(axis=1)
            if outside.any() and not value[-1] <= value[0]:  # it diverges: to where it leaves the picture, no further
                shown = shown[: int(np.argmax(outside)) + 1]
            shown = in_sight(shown, xlim, ylim)
            gap = every or max(1, math.ceil((len(shown) - 1) / 25))
            style = styles[name]
            label = None if name in labelled else shown_name(name)
            ax.plot(
                *shown.T, **style, markevery=gap, markeredgecolor=paper(ax), markeredgewidth=0.5, label=label, zorder=3
            )
            labelled.add(name)
            ax.plot(
                *shown[-1], style["marker"], color=style["color"], markeredgecolor=ink(ax), markersize=8, zorder=5
            )  # fmt: skip
        starts = next(iter(self.paths.values()))[..., 0, :].reshape(-1, 2)
        ax.plot(*starts.T, "o", color=paper(ax), markeredgecolor=ink(ax), markersize=8, zorder=4, label="start")
        ax.set(xlim=xlim, ylim=ylim)
        legend(ax, beside)
        return ax

    def plot_values(self, *, ax: Any = None) -> Any:
        """Draw the values over the steps; in a logarithmic scale where none is negative and they span a decade.

        Values that lie 16 decades below the highest, and lows that last for one step alone, may be below the axis.

        Args:
            ax: matplotlib axes to draw into; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        return self._curves("plot_values", ax, self.values, "f", ceiling=True)

    def plot_step_sizes(self, *, ax: Any = None) -> Any:
        """Draw how long each step was, ‖w_{t+1} − w_t‖; arguments, result and scale as those of `plot_values`."""
        return self._curves("plot_step_sizes", ax, self.step_sizes, "step size", first=1, ceiling=True)

    def plot_states(self, *, run: int = 0, ax: Any = None) -> Any:
        """Draw what the optimisers remembered: moments, directions, and the hyper-parameters they change themselves.

        Args:
            run: of which start, counted from 0.
            ax: as many matplotlib axes as there are states; new ones by default.

        Returns:
            an array of axes, one for each state of each optimiser.

        Raises:
            ValueError: if no optimiser remembered anything, and for a run that there is not.
            ImportError: without matplotlib.
        """
        found = [(name, key, seen) for name, states in self.states.items() for key, seen in states.items()]
        if not found:
            raise ValueError(f"Comparison.plot_states: none of {', '.join(self.paths)} keeps a state")
        runs = len(self._runs()) // len(self.paths)
        if not isinstance(run, (int, np.integer)) or not 0 <= run < runs:
            raise ValueError(f"Comparison.plot_states: run is a number from 0 to {runs - 1}, not {run!r}")
        columns = min(3, len(found))
        size = (4 * columns, 2.8 * -(-len(found) // columns))
        axes = axes_grid("Comparison.plot_states", len(found), ax, size, columns)
        for one, (name, key, seen) in zip(axes, found):
            vector = seen.shape == self.paths[name].shape
            for i, label in enumerate(("x", "y") if vector else (None,)):
                line = drawable(self._run(seen if vector else seen[..., None], run)[:, i])
                one.plot(line, label=label, **line_style(i, marker=dotted(line)))
            one.set_xlabel("step")
            one.set_title(shown_name(f"{name}: {key}", 48), family=families([name]))
            legend(one)
        return axes

    def landscape(self, xlim: tuple[float, float], ylim: tuple[float, float], *, field: bool = False) -> Landscape:
        """f over a region, as the paths are drawn over it; with its gradient where `field` is true."""
        return landscape(_value_of(self.f), xlim, ylim, field=21 if field else 0, seed=self.seed)

    def _curves(
        self, what: str, ax: Any, curves: Mapping[str, Array], label: str, first: int = 0, ceiling: bool = False
    ) -> Any:
        """Lines over the steps, one style for each optimiser, and limits that what diverges does not stretch."""
        beside = ax is None
        ax = axes_for(f"Comparison.{what}", ax, (7.5, 4))
        runs = [(i, name, row) for i, (name, c) in enumerate(curves.items()) for row in c.reshape(-1, c.shape[-1])]
        labelled = set()
        for i, name, row in runs:
            steps = np.arange(first, first + len(row))
            style = line_style(i, marker=True) | {"markersize": 4}
            gap = (i * len(row) // 60, max(1, len(row) // 10))  # markers that do not cover each other
            ax.plot(steps, drawable(row), **style, markevery=1 if dotted(row) else gap,
                    label=None if name in labelled else shown_name(name))  # fmt: skip
            labelled.add(name)
        highest = max(float(row[0]) for _, _, row in runs) if ceiling else math.inf
        low_enough = [np.where(row <= max(highest, row[0]), row, np.nan) for _, _, row in runs]
        seen = drawable(low_enough)
        note_unseen(ax, [row for _, _, row in runs])
        span = log_range(seen)
        if np.isfinite(seen).any() and np.nanmax(seen) == np.nanmin(seen):  # all that left the start diverges
            seen = drawable([row for _, _, row in runs])
            span = log_range(seen, 600)
        if span is not None:
            log_scale(ax, span)
        elif np.isfinite(seen).any() and np.nanmax(seen) > np.nanmin(seen):
            low, high = float(np.nanmin(seen)), float(np.nanmax(seen))
            ax.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
        ax.set(xlabel="step", ylabel=label)
        ax.xaxis.get_major_locator().set_params(integer=True)
        legend(ax, beside)
        return ax

    def _runs(self) -> list[tuple[str, Array, Array]]:
        return [
            (name, path, value)
            for name in self.paths
            for path, value in zip(
                self.paths[name].reshape(-1, *self.paths[name].shape[-2:]),
                self.values[name].reshape(-1, self.values[name].shape[-1]),
            )
        ]

    def _run(self, seen: Array, i: int) -> Array:
        """The i-th run of an array (..., steps, k); runs of all optimisers are counted through."""
        flat = seen.reshape(-1, *seen.shape[-2:])
        found: Array = flat[i % len(flat)]
        return found

    def _limits(self, axis: int) -> tuple[float, float]:
        """The range of a coordinate over the runs, without points that lie much higher than the start of their run."""
        seen = [np.array([self.minimum[axis]])] if self.minimum is not None else []
        for _, path, value in self._runs():
            seen += [path[value <= value[0] + 0.5 * abs(value[0]), axis], path[:1, axis]]
        return limits(np.concatenate(seen), 0.12)

    def __repr__(self) -> str:
        heads, rule, *rows = repr(self.table()).splitlines()
        more = [f"… {len(rows) - _SHOWN} more runs; table() has all"] if len(rows) > _SHOWN else []
        return "\n".join([heads, rule, *rows[:_SHOWN], *more])


_SHOWN = 8  # runs in a representation


class _Point(tuple[float, float]):
    """Coordinates, printed in short."""

    def __new__(cls, values: Any) -> _Point:
        return super().__new__(cls, (float(values[0]), float(values[1])))

    def __str__(self) -> str:
        return f"({self[0]:.4g}, {self[1]:.4g})"


def _number(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def compare(
    f: Function,
    starts: Any,
    optimizers: Mapping[str, Callable[[list[Tensor]], Optimizer]],
    steps: int = 100,
    *,
    minimum: Any = None,
    seed: int | None = None,
) -> Comparison:
    """Let several optimisers descend on f(x, y) from the same points.

    Args:
        f: a function of two Tensors that returns one; it is given numbers, and for the contours arrays. It may be
            stochastic: then say `seed`.
        starts: a point (x, y), or an array of them, shape (..., 2).
        optimizers: by name, a function that makes an optimiser of a list of parameters:
            ``{"Adam": lambda params: optim.Adam(params, lr=0.1)}``. The point is one parameter of shape (2,). Each run
            gets an optimiser of its own. Every optimiser will do; for those whose closures return (output, loss), f
            may return such a pair. If it does not, the output is the point itself, with which the Gauss–Newton matrix
            of `HessianFree` is the Hessian, and `NaturalGradient` with likelihood="gaussian" has the identity.
        steps: how many, at least 1.
        minimum: the point where the minimum of f is known to be; drawn, and in the table.
        seed: f is called as f(x, y, rng), with a fresh generator for each step, the same one for every optimiser, every
            start and every trial within the step: all meet the same noise. A stochastic f that draws from a generator
            of its own gives every optimiser other noise, and within a step other functions.

    Returns:
        Paths, values, gradients and states, to be looked at with ``.plot()``, ``.plot_values()``,
        ``.plot_step_sizes()``, ``.plot_states()`` and ``.table()``. A run that reaches a value or a gradient that is
        not finite ends there.

    Raises:
        TypeError: if `optimizers` is no such dict, or f returns no Tensor.
        ValueError: for starts of another shape or not finite, no optimisers, less than 1 step, or a
            `NaturalGradient` of a likelihood for which the point is no distribution.

    >>> import optim
    >>> result = optim.compare(
    ...     lambda x, y: x**2 + 100 * y**2,
    ...     (10, 1),
    ...     {
    ...         "descent": lambda params: optim.SGD(params, lr=0.009),
    ...         "momentum": lambda params: optim.SGD(params, lr=0.009, momentum=0.9),
    ...     },
    ...     steps=50,
    ... )
    >>> result.paths["momentum"].shape
    (51, 2)
    >>> result.table()
    optimiser  start      last f  lowest f  at step   last x       last y
    ─────────  ───────  ────────  ────────  ───────  ───────  ───────────
    descent    (10, 1)   16.2611   16.2611       50   4.0325  1.42725e-05
    momentum   (10, 1)  0.641859  0.102853       40  0.73598     0.031653
    >>> result.table(every=50)
    optimiser  start    step         f        x            y    ∂f/∂x      ∂f/∂y  step size
    ─────────  ───────  ────  ────────  ───────  ───────────  ───────  ─────────  ─────────
    descent    (10, 1)     0       200       10            1       20        200          –
    descent    (10, 1)    50   16.2611   4.0325  1.42725e-05    8.065  0.0028545  0.0739155
    momentum   (10, 1)     0       200       10            1       20        200          –
    momentum   (10, 1)    50  0.641859  0.73598     0.031653  1.47196    6.33061  0.0666284
    """
    name = "compare"
    points = np.asarray(starts, float)
    if points.ndim == 0 or points.shape[-1] != 2 or not points.size or not np.isfinite(points).all():
        raise ValueError(f"{name}: starts is a point (x, y) or an array of them, finite, not {starts!r}")
    if not isinstance(optimizers, Mapping):
        hint = '{"Adam": lambda params: optim.Adam(params, lr=0.1)}'
        raise TypeError(f"{name}: optimizers is a dict such as {hint}, not {type(optimizers).__name__}")
    if not optimizers:
        raise ValueError(f"{name}: optimizers is empty")
    steps = _whole(name, "steps", steps)
    seed = None if seed is None else _whole(name, "seed", seed, 0)
    check_function(f, name, seed)
    if minimum is not None:
        minimum = np.asarray(minimum, float)
        if minimum.shape != (2,):
            raise ValueError(f"{name}: minimum is a point (x, y), not of shape {minimum.shape}")
    found: dict[str, list[_Run]] = {}
    for label, make in optimizers.items():
        if not callable(make):
            what = type(make).__name__
            hint = f"; write lambda params: optim.{what}(params)" if isinstance(make, Optimizer) else ""
            raise TypeError(f"{name}: optimizers[{label!r}] must be a function of the parameters, not {what}{hint}")
        what = f"{name}: optimizers[{label!r}]"
        found[label] = [_Run(f, point, make, steps, seed, what) for point in points.reshape(-1, 2)]

    def joined(of: Callable[[_Run], Array]) -> dict[str, Array]:
        rows = {label: [of(run) for run in runs] for label, runs in found.items()}
        return {label: np.array(row).reshape(*points.shape[:-1], *row[0].shape) for label, row in rows.items()}

    states: dict[str, dict[str, Array]] = {}
    for label, runs in found.items():
        keys = dict.fromkeys(key for run in runs for key in run.states)
        for key in keys:
            rows = [run.state(key, next(r.states[key].shape for r in runs if key in r.states)) for run in runs]
            states.setdefault(label, {})[key] = np.array(rows).reshape(*points.shape[:-1], *rows[0].shape)
    return Comparison(
        joined(lambda run: run.path), joined(lambda run: run.values), f, minimum, joined(lambda run: run.gradients),
        states, seed,
    )  # fmt: skip


class _Run:
    """One optimiser from one start: where it went, what it saw there, and what it remembered."""

    def __init__(
        self, f: Function, start: Array, make: Callable[[list[Tensor]], Optimizer], steps: int, seed: int | None,
        what: str,
    ) -> None:  # fmt: skip
        self.f, self.seed, self.what = f, seed, what
        self.point = Tensor(start.copy(), requires_grad=True)
        optimizer = make([self.point])
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{what} must return an optimiser, not {type(optimizer).__name__}")
        self.optimizer, self.pair = optimizer, isinstance(optimizer, SecondOrder) and optimizer.pair
        self.path, self.gradients = np.full((2, steps + 1, 2), np.nan)
        self.values = np.full(steps + 1, np.nan)
        self.states: dict[str, Array] = {}
        with np.errstate(all="ignore"):
            self.descend(steps)
        constant = [k for k, seen in self.states.items() if seen.ndim == 1 and len(set(seen[~np.isnan(seen)])) < 2]
        for key in constant:
            del self.states[key]

    def descend(self, steps: int) -> None:
        """Make the steps, up to one that leads to what is not finite."""
        for self.step in range(steps + 1):
            step = self.step
            self.path[step] = self.point.data
            self.remember(step)
            if step == steps:
                self.closure()
                return
            try:
                self.optimizer.step(self.closure)
            except (FloatingPointError, np.linalg.LinAlgError):  # optimisers of second order refuse to go on
                return
            if not (np.isfinite(self.values[step]) and np.isfinite(self.gradients[step]).all()):
                return
            if not np.isfinite(self.point.data).all():
                self.path[step + 1] = self.point.data
                return

    def closure(self) -> Any:
        """Evaluate f with its gradient; the first time in a step, write down both."""
        self.optimizer.zero_grad()
        output = self.point.reshape(1, 2)
        result = self.f(*(output[0] if self.pair else self.point), *generators(self.seed, self.step))
        if isinstance(result, tuple) and len(result) == 2:
            output, result = result
        elif self.pair and self.optimizer.param_groups[0].get("likelihood") == "softmax":
            kind = type(self.optimizer).__name__
            raise ValueError(
                f"{self.what}: {kind} needs the parameters of a distribution: let f return (output, value), logits and "
                f"their loss; or write likelihood='gaussian', for which the point itself can be the output"
            )
        value = one_number(result, "compare")
        value.backward(np.ones(value.shape, value.dtype))
        if np.isnan(self.values[self.step]):
            self.values[self.step] = value.item()
            self.gradients[self.step] = 0.0 if self.point.grad is None else self.point.grad.data
        return (output, value) if self.pair else value

    def remember(self, step: int) -> None:
        """Write down what the optimiser keeps: its arrays of the point's size, and the numbers it changes itself."""
        optimizer = self.optimizer
        kept = {**optimizer.state.get(self.point, {}), **getattr(optimizer, "memory", {})}
        numbers = {key: group[key] for group in optimizer.param_groups for key in ("radius", "damping") if key in group}
        for key, value in (kept | numbers).items():
            if key in numbers or (isinstance(value, np.ndarray) and value.shape == (2,)):
                self.states.setdefault(key, np.full((len(self.path), *np.shape(value)), np.nan))[step] = value

    def state(self, key: str, shape: tuple[int, ...]) -> Array:
        """A state over the run; NaN where this run never had it."""
        return self.states.get(key, np.full(shape, np.nan))


def _value_of(f: Function) -> Function:
    """f without the output beside its value."""

    def value(*args: Any) -> Any:
        result = f(*args)
        return result[1] if isinstance(result, tuple) and len(result) == 2 else result

    return value


def _whole(where: str, name: str, value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{where}: {name} must be a whole number of at least {least}, not {value!r}")
    return int(value)
