"""The figure of a schedule: the learning rates it is going to set, found without stepping the user's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from autodiff import Tensor
from autodiff.figures import axes_for, drawable, ink, legend, line_style, log_range, log_scale
from autodiff.lettering import shown_name

from ..array import Array
from ..first_order.sgd import SGD
from ..lr_scheduler import LRScheduler, ReduceLROnPlateau
from ..optimizer import Optimizer

Schedule = LRScheduler | Callable[[Optimizer], LRScheduler]


def scheduled(scheduler: Schedule, steps: int, *, lr: float = 1.0, metrics: Iterable[float] | None = None) -> Array:
    """The learning rates that a schedule sets, from where it stands; neither it nor its optimiser changes.

    Args:
        scheduler: a schedule, or a function that makes one of an optimiser: ``lambda o: lr_scheduler.StepLR(o, 10)``.
        steps: how many rates, at least 1: the present one, and one after each of ``steps − 1`` steps.
        lr: the rate of the optimiser that such a function is given.
        metrics: for `ReduceLROnPlateau`, the metric of each step.

    Returns:
        the rates, shape (steps,); (steps, groups) for an optimiser of several groups.

    Raises:
        TypeError, ValueError: for anything but a schedule, less than 1 step, or metrics that lack or are too few.

    >>> from optim import lr_scheduler
    >>> scheduled(lambda o: lr_scheduler.ExponentialLR(o, 0.5), 4).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    where = "optim.plot.scheduled"
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"{where}: steps must be a whole number of at least 1, not {steps!r}")
    plan = _copied(scheduler) if isinstance(scheduler, LRScheduler) else None
    if plan is None:
        made = scheduler(SGD([Tensor(0.0, requires_grad=True)], lr=lr, momentum=0.9)) if callable(scheduler) else None
        if not isinstance(made, LRScheduler):
            got = type(scheduler).__name__ if made is None else f"one that makes a {type(made).__name__}"
            raise TypeError(f"{where}: takes a schedule, or a function that makes one of an optimiser, not {got}")
        plan = made
    plan.optimizer.stepped = True
    seen = [plan.get_last_lr()]
    if isinstance(plan, ReduceLROnPlateau):
        given = [] if metrics is None else list(metrics)
        if len(given) < steps - 1:
            raise ValueError(f"{where}: ReduceLROnPlateau needs metrics=, {steps - 1} numbers here; got {len(given)}")
        for metric in given[: steps - 1]:
            plan.step(metric)
            seen.append(plan.get_last_lr())
    else:
        for _ in range(steps - 1):
            plan.step()
            seen.append(plan.get_last_lr())
    rates = np.array(seen)
    return rates[:, 0] if rates.shape[1] == 1 else rates


def _copied(scheduler: LRScheduler) -> LRScheduler:
    """A schedule of its own over the same parameters, whose data and state are not copied: they may be large."""
    optimizer = scheduler.optimizer
    shared: dict[int, Any] = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    return copy.deepcopy(scheduler, shared | {id(optimizer.state): {}})


def schedule(
    scheduler: Schedule | Mapping[str, Schedule], steps: int, *, lr: float = 1.0,
    metrics: Iterable[float] | None = None, ax: Any = None,
) -> Any:  # fmt: skip
    """The learning rate over the steps; neither the schedule nor its optimiser changes. A rate that becomes infinite or
    NaN is drawn up to there, with a cross, in a logarithmic scale; the legend says at which step.

    Args:
        scheduler: a schedule, or a function that makes one of an optimiser; several by name, in a dict.
        steps: how many rates.
        lr: the rate of the optimiser that such a function is given.
        metrics: for `ReduceLROnPlateau`, the metric of each step.
        ax: matplotlib axes to draw into; new ones by default.

    Returns:
        the axes. The numbers are those of `optim.plot.scheduled`.

    Raises:
        TypeError, ValueError: as `optim.plot.scheduled`.
        ImportError: without matplotlib.

    >>> import matplotlib.pyplot as plt, optim
    >>> from optim import lr_scheduler
    >>> ax = optim.plot.schedule({"cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=40)}, 41, lr=0.1)
    >>> round(float(ax.lines[0].get_ydata()[20]), 6)
    0.05
    >>> plt.close(ax.figure)
    """
    plans = scheduler if isinstance(scheduler, Mapping) else {None: scheduler}
    if not plans:
        raise ValueError("optim.plot.schedule: the dict of schedules is empty")
    listed = None if metrics is None else list(metrics)
    curves = {}
    for name, plan in plans.items():
        rates = scheduled(plan, steps, lr=lr, metrics=listed)
        for i, column in enumerate(rates.reshape(len(rates), -1).T):
            parts = [] if name is None else [str(name)]
            parts += [f"group {i}"] if rates.ndim > 1 else []
            curves[", ".join(parts)] = column
    beside = ax is None
    ax = axes_for("optim.plot.schedule", ax, (7.5, 3.5))
    ends = {}
    for i, (label, column) in enumerate(curves.items()):
        label = shown_name(label) if label else ""
        there = np.isfinite(drawable(column))
        if not there.all():
            end = ends[i] = int(np.argmin(there))
            word = f"{column[end]:.3g}".replace("inf", "∞").replace("nan", "NaN")
            label += f"{', ' * bool(label)}{word} from step {end} on"
            column = column[:end]
        step = max(1, len(column) // 12)
        several = len(curves) > 1
        mostly_flat = 2 * np.count_nonzero(np.diff(column) == 0) > len(column)
        style = line_style(i, marker=several or len(column) < 30) | {"markevery": step if several else 1}
        ax.plot(column, **style, drawstyle="steps-post" if mostly_flat else "default", label=label or None)
        if i in ends and len(column):
            ax.plot(len(column) - 1, column[-1], "x", color=ink(ax), markersize=8, zorder=4)
    shown = [column[: ends.get(i)] for i, column in enumerate(curves.values())]
    spans = [span for column in shown if len(column) and (span := log_range(column, 600))]
    if ends and spans and min(float(column.min(initial=0.0)) for column in shown) >= 0:
        log_scale(ax, (min(low for low, _ in spans), max(high for _, high in spans)))
    else:
        ax.set_ylim(bottom=min(0.0, min(float(column.min(initial=0.0)) for column in shown)))
    ax.set(xlabel="step", ylabel="learning rate")
    ax.xaxis.get_major_locator().set_params(integer=True)
    legend(ax, beside)
    return ax
