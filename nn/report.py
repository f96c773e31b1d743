"""`layer_report`: one forward and one backward pass, and what they look like in each layer and at each time step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np

from autodiff import Tensor, enable_grad
from autodiff.backward import gradients
from autodiff.devices import as_numpy
from autodiff.figures import LARGEST, axes_grid, dotted, drawable, legend, line_style, log_range, note, note_unseen
from autodiff.lettering import families, legible, shown_name
from autodiff.seeing.printable import printable
from autodiff.seeing.table import Table
from autodiff.tensor import plain

from .activation.base import Activation
from .activation.derivative import local_derivative
from .module.module import Module
from .module.rehearsal import as_it_was
from .recurrent.layers import GRU, LSTM, RNN

Array = Any
SATURATED = 0.05
"""An element is saturated where |f′| is less than this part of its largest value."""


class LayerRow(NamedTuple):
    """One layer of a `LayerReport`; None stands for what does not apply."""

    path: str
    kind: str
    calls: int
    std: float | None
    """The standard deviation of all its outputs."""
    gradient: float | None
    """Mean |∂L/∂output|."""
    parameter_gradient: float | None
    """‖∂L/∂θ‖ of its own parameters."""
    dead: float | None
    """Of an activation: the part of its units whose derivative is 0 for every sample of the batch."""
    saturated: float | None
    """Of an activation: the part of all elements where |f′| is less than a twentieth of its largest value."""


class TimeSteps(NamedTuple):
    """The hidden states of a recurrent layer or cell, or the outputs of a layer that was called several times."""

    path: str
    std: Array
    """At each step, shape (steps,)."""
    gradient: Array | None
    """Mean |∂L/∂h_t| at each step, by way of all later steps too; shape (steps,)."""


class LayerReport:
    """What `layer_report` returns: printed, a table.

    Attributes:
        rows: a `LayerRow` for each layer, in the order of their first call.
        steps: a `TimeSteps` for each recurrent layer (and direction), and each layer that was called several times.
        loss: its value, or None.
    """

    def __init__(self, rows: list[LayerRow], steps: list[TimeSteps], loss: float | None) -> None:
        self.rows, self.steps, self.loss = rows, steps, loss

    def table(self) -> Table:
        """The rows as a table."""
        short, part = "{:.3g}".format, "{:.0%}".format
        heads = ("std", "mean |δ|", "‖∇θ‖", "dead", "saturated")
        rows = [{"layer": _title(row)} | dict(zip(heads, row[3:])) for row in self.rows]
        return Table(rows, {"layer": None} | dict.fromkeys(heads[:3], short) | dict.fromkeys(heads[3:], part), most=60)

    def __repr__(self) -> str:
        lines = [repr(self.table())]
        for path, std, gradient in self.steps:
            line = f"{printable(path)}: {len(std)} time steps, std {std[0]:.3g} … {std[-1]:.3g}"
            lines.append(line if gradient is None else f"{line}, mean |δ| {gradient[0]:.3g} … {gradient[-1]:.3g}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def plot(self, *, ax: Any = None) -> Any:
        """Draw standard deviations, mean |δ|, gradient norms, and the dead and saturated parts, layer by layer.

        Args:
            ax: an array of 4 matplotlib axes (2 for a report without a loss); new ones by default.

        Returns:
            an array of axes, layers downwards.

        Raises:
            ImportError: without matplotlib.
        """
        panels: list[tuple[str, dict[str, list[float | None]]]] = [
            ("std of the output", {"": [r.std for r in self.rows]})
        ]
        if self.loss is not None:
            panels.append(("mean |δ|, δ = ∂L/∂output", {"": [r.gradient for r in self.rows]}))
            panels.append(("‖∂L/∂θ‖", {"": [r.parameter_gradient for r in self.rows]}))
        parts = {"dead": [r.dead for r in self.rows], "saturated": [r.saturated for r in self.rows]}
        panels.append(("part of an activation's units", parts))
        size = (2.9 * len(panels) + 1.2, min(1.3 + 0.28 * len(self.rows), 60.0))
        axes = axes_grid("LayerReport.plot", len(panels), ax, size, len(panels), sharey=True)
        for one, (title, columns) in zip(axes, panels):
            for i, (label, column) in enumerate(columns.items()):
                known = [(value, y) for y, value in enumerate(column) if value is not None]
                values = drawable([value for value, _ in known])
                style = line_style(i, marker=True) | {"linewidth": 1.0}
                style |= {"markersize": 9, "fillstyle": "none"} if i else {}  # around the first where both agree
                if label == "" and (limits := log_range(values[:, None])):
                    values = np.where(values > 1 / LARGEST, values, np.nan)
                    low, high = min(limits[0], float(np.nanmin(values)) / 2), limits[1]
                    one.set_xscale("log")
                    one.set_xlim(low, high)
                    one.xaxis.set_minor_formatter("")  # labels of two and three would overlap
                    if high < 100 * low:
                        one.xaxis.get_major_locator().set_params(subs=(1.0, 3.0))
                        one.xaxis.set_major_formatter("{x:g}")
                one.plot(values, [y for _, y in known], **style, label=label or None)
                for value, y in (pair for pair, there in zip(known, np.isfinite(values)) if not there):
                    word = f"{value:.2g}".replace("inf", "∞").replace("nan", "NaN")
                    one.annotate(word, (0.02, y), xycoords=("axes fraction", "data"), va="center", fontsize="small")
            if not any(value is not None for column in columns.values() for value in column):
                note(one, "none")
            if columns is parts:
                one.set_xlim(-0.05, 1.05)
                legend(one)
            one.set_title(title, fontsize="small")
        titles = [_title(row) for row in self.rows]
        font, every = families(titles), max(1, -(-len(titles) // 220))
        names = [legible(title, 66) for title in titles[::every]]
        for one in axes[: None if ax is not None else 1]:
            one.set_yticks(range(0, len(titles), every), names, parse_math=False, fontsize="small", family=font)
            one.set_ylim(max(len(titles), 1) - 0.5, -0.5)
        return axes

    def plot_steps(self, *, ax: Any = None) -> Any:
        """Draw standard deviations and mean |∂L/∂h_t| over the time steps, a line for each layer.

        Args:
            ax: an array of 2 matplotlib axes (1 for a report without a loss); new ones by default.

        Returns:
            an array of axes.

        Raises:
            ValueError: if the model has no time steps.
            ImportError: without matplotlib.
        """
        if not self.steps:
            raise ValueError(
                "LayerReport.plot_steps: the model has no recurrent layer, and calls no layer several times"
            )
        panels = [("std of $h_t$", [row.std for row in self.steps])]
        if self.loss is not None:
            panels.append(("mean |∂L/∂$h_t$|", [row.gradient for row in self.steps]))
        axes = axes_grid("LayerReport.plot_steps", len(panels), ax, (4.2 * len(panels) + 1.5, 3.4), len(panels))
        for one, (title, curves) in zip(axes, panels):
            shown = [(i, curve) for i, curve in enumerate(curves) if curve is not None]
            for i, curve in shown:
                gap = max(1, len(curve) // 10)
                every = 1 if dotted(curve) else gap
                style = line_style(i, marker=True) | {"markevery": every, "label": shown_name(self.steps[i].path)}
                one.plot(range(len(curve)), drawable(curve), **style)
            bounds = [limits for _, curve in shown if (limits := log_range(curve))]
            if bounds:
                one.set(yscale="log", ylim=(min(low for low, _ in bounds), None))
            note_unseen(one, [curve for _, curve in shown])
            one.set(xlabel="time step", title=title)
            one.xaxis.get_major_locator().set_params(integer=True)
        legend(axes[-1], beside=ax is None)
        return axes


def layer_report(model: Module, batch: Any, loss: Callable[..., Any] | None = None, target: Any = None) -> LayerReport:
    """Run a model once forward and, with a loss, once backward, and say how signals and gradients fare in each layer.

    The model runs in the mode it is in; parameters, their gradients, buffers and random generators are afterwards what
    they were.

    Args:
        model: the module. There is a row for each module inside that has no modules in it, or parameters of its own.
        batch: its input; a tuple for several. The first axis counts samples.
        loss: called as ``loss(output, target)``, without a target as ``loss(output)``; returns a Tensor of one element.
        target: see `loss`.

    Returns:
        A `LayerReport`. With L the loss, δ is ∂L/∂output of a layer, 0 where L does not depend on it. Dead and
        saturated are parts of an activation's units: those with f′ = 0 in the whole batch, and the elements with |f′|
        less than a twentieth of its largest value (|tanh| above 0.975), f′ being the engine's (not of complex numbers).
        What `forward` computes by functions, no module, is not seen. For a recurrent layer the gradient at a time step
        is ∂L/∂h_t by way of all later steps, which shows whether gradients vanish or explode.

    Raises:
        TypeError: for anything but a module, and a loss that returns no Tensor of one element; and whatever the model
            and the loss raise.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010;
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.

    >>> import nn
    >>> model = nn.Sequential(nn.Linear(2, 2, dtype="float64"), nn.ReLU())
    >>> model[0].weight.data, model[0].bias.data = np.array([[1.0, 0.0], [0.0, -1.0]]), np.zeros(2)
    >>> nn.layer_report(model, np.array([[1.0, 1.0], [3.0, 1.0]]), lambda output: output.sum())
    layer        std  mean |δ|  ‖∇θ‖  dead  saturated
    ──────────  ────  ────────  ────  ────  ─────────
    0 · Linear  1.66       0.5   4.9     –          –
    1 · ReLU    1.22         1     –   50%        50%
    """
    where = "nn.layer_report"
    if not isinstance(model, Module):
        raise TypeError(f"{where}: takes a module, not {type(model).__name__}")
    if loss is not None and not callable(loss):
        raise TypeError(f"{where}: loss is a function of output and target, not {type(loss).__name__}")
    if loss is None and target is not None:
        raise TypeError(f"{where}: a target needs a loss; write layer_report(model, batch, loss, target)")
    seen: dict[str, list[Tensor]] = {}
    inputs: dict[str, list[Array]] = {}
    hidden: dict[str, list[Tensor]] = {}
    layers = {
        path: module for path, module in model.named_modules()
        if not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))
    }  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(as_it_was(model))
        stack.enter_context(enable_grad())
        for path, module in layers.items():

            def saw(module: Module, args: tuple[Any, ...], output: Any, path: str = path) -> None:
                first = next(_tensors(output), None)
                if first is not None and first.dtype.kind in "fc":
                    seen.setdefault(path, []).append(first)
                    if isinstance(module, Activation) and first.dtype.kind == "f":
                        inputs.setdefault(path, []).append(as_numpy(args[0]))

            handle = module.register_forward_hook(saw)
            stack.callback(handle.remove)
            if type(module) in (RNN, LSTM, GRU) and "forward" not in vars(module):  # another forward does other things
                stack.enter_context(_unrolling(module, path, hidden))
        output = model(*batch) if isinstance(batch, tuple) else model(batch)
        value = None if loss is None else loss(output) if target is None else loss(output, target)
        if loss is not None and (not isinstance(value, Tensor) or value.size != 1):
            got = f"one of shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{where}: loss must return a Tensor with one element, not {got}")
        slopes = _Slopes(value, [*model.parameters(), *(t for ts in (*seen.values(), *hidden.values()) for t in ts)])
    rows = []
    for path, outputs in seen.items():
        module, values = layers[path], [as_numpy(t) for t in outputs]
        own = [p for p in module.parameters(recurse=False) if p.requires_grad]
        norms = [float((np.abs(g).astype(float) ** 2).sum()) for p in own if (g := slopes.of(p)) is not None]
        norm = float(np.sqrt(sum(norms))) if norms else None
        dead, saturated = _stuck(module, inputs[path]) if path in inputs else (None, None)
        rows.append(
            LayerRow(
                path, type(module).__name__, len(outputs), _std(values), slopes.mean(outputs), norm, dead, saturated
            )
        )
    several = {path: outputs for path, outputs in seen.items() if len(outputs) > 1}
    steps = []
    for path, states in {**hidden, **several}.items():
        means = [slopes.mean([state]) for state in states]
        known = None if means[0] is None else np.array(means, float)
        steps.append(TimeSteps(path, np.array([_std([as_numpy(state)]) for state in states], float), known))
    return LayerReport(rows, steps, None if value is None else value.item())


def _title(row: LayerRow) -> str:
    calls = f" × {row.calls}" if row.calls > 1 else ""
    return printable(f"{row.path} · {row.kind}" if row.path else row.kind, 60) + calls


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


@contextmanager
def _unrolling(layer: Any, path: str, hidden: dict[str, list[Tensor]]) -> Iterator[None]:
    """Have a recurrent layer take its steps one by one, and leave its hidden states."""

    def forward(input: Any, hx: Any = None) -> Any:
        result, rows = layer.unrolled(input, hx)
        name = path or type(layer).__name__
        for row, steps in enumerate(rows):
            k, reverse = divmod(row, 1 + layer.bidirectional)
            key = name if len(rows) == 1 else f"{name}, l{k}{'_reverse' * reverse}"
            hidden.setdefault(key, []).extend([step["h"] for step in steps])
        return result

    vars(layer)["forward"] = forward
    try:
        yield
    finally:
        del vars(layer)["forward"]


class _Slopes:
    """The gradients of a loss by many tensors; none without a loss, 0 by what it does not depend on."""

    def __init__(self, loss: Tensor | None, tensors: list[Tensor]) -> None:
        self.known = loss is not None
        wanted = list({id(t): t for t in tensors if t.requires_grad}.values())
        found: tuple[Any, ...] = ()
        if loss is not None and loss.requires_grad and wanted:
            found = gradients(loss, wanted, np.ones_like(plain(loss)), allow_unused=True)
        self.found = {id(t): g for t, g in zip(wanted, found)}

    def of(self, tensor: Tensor) -> Array | None:
        if not self.known or not tensor.requires_grad:
            return None
        g = self.found.get(id(tensor))
        return np.zeros(tensor.shape) if g is None else as_numpy(g)

    def mean(self, tensors: list[Tensor]) -> float | None:
        slopes = [np.ravel(np.abs(g)).astype(float) for t in tensors if (g := self.of(t)) is not None]
        return float(np.concatenate(slopes).mean()) if slopes and len(slopes) == len(tensors) else None


def _std(values: list[Array]) -> float | None:
    flat = np.concatenate([np.ravel(v) for v in values])
    flat = flat.astype(np.result_type(flat, float))
    return float(flat.std()) if flat.size else None


def _stuck(module: Module, inputs: list[Array]) -> tuple[float | None, float | None]:
    """The dead and the saturated part of an activation that was given these inputs; None if it mixes elements."""
    slopes = []
    for x in inputs:
        x = np.asarray(x, None if np.asarray(x).dtype.kind == "f" else float)
        slope = local_derivative(module, x) if x.size and x.ndim else None
        if slope is None:
            return None, None
        slopes.append(slope)
    largest = max(float(np.nanmax(np.abs(slope))) for slope in slopes)
    try:
        grid = local_derivative(module, np.linspace(-8, 8, 257, dtype=slopes[0].dtype))
        largest = max(largest, float(np.nanmax(np.abs(grid))))
    except (TypeError, ValueError):  # parameters for channels, which a line of numbers has not
        pass
    alive = [(slope != 0).any(axis=0) for slope in slopes]
    dead = 1 - np.mean(np.concatenate([np.ravel(a) for a in alive]))
    flat = np.abs(np.concatenate([np.ravel(slope) for slope in slopes]))
    return float(dead), float((flat < SATURATED * largest).mean() if largest else 1.0)
