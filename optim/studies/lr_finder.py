"""The learning-rate finder: train for a few steps with ever larger rates, and see where the loss falls fastest."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from autodiff import Tensor, enable_grad
from autodiff.averaging import count_of, counted
from autodiff.data import as_batches, drawing, dtype_of, length, pair
from autodiff.devices import place_of
from autodiff.figures import PALETTE, axes_for, legend
from autodiff.leaving import user_level
from autodiff.tensor import plain

from ..array import Array
from ..hyperparameters import at_least, require, within
from ..optimizer import Optimizer
from ..parallel import Averaging, Ranks, begin_alike, ending_all
from ..second_order.base import SecondOrder
from ..training.fit import check_parts, one_number


@dataclass(frozen=True)
class LearningRates:
    """What `lr_find` saw.

    Attributes:
        rates: the learning rates, in increasing order; shape (steps,), or less where it stopped early.
        losses: the loss of the batch on which each of them was tried, before its step.
        smoothed: those losses averaged over their neighbours.
        suggestion: the rate of the steepest descent; None if the loss never fell.
    """

    rates: Array
    losses: Array
    smoothed: Array
    suggestion: float | None

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the losses over the learning rates, and the suggestion.

        Args:
            ax: matplotlib axes to draw into; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        ax = axes_for("LearningRates.plot", ax)
        shown = np.isfinite(self.losses)
        blue, orange = PALETTE[:2]
        ax.plot(self.rates[shown], self.losses[shown], ".", color="0.6", markersize=4, label="loss of each batch")
        ax.plot(self.rates, self.smoothed, color=blue, linewidth=2, label="smoothed")
        if self.suggestion is not None:
            label = f"steepest descent, {self.suggestion:.2g}"
            ax.axvline(self.suggestion, color=orange, linestyle="--", linewidth=1, zorder=0)
            at = int(np.argmin(abs(self.rates - self.suggestion)))
            ax.plot(self.rates[at], self.smoothed[at], "o", color=orange, label=label)
        low, high = float(self.losses[shown].min()), float(self.smoothed.max())
        margin = 0.05 * (high - low) or 1.0
        ax.set_ylim(low - margin, high + 2 * margin)  # what explodes would flatten the rest
        ax.set_xscale("log")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        legend(ax)
        return ax

    def __repr__(self) -> str:
        suggestion = "none" if self.suggestion is None else f"{self.suggestion:.3g}"
        first, last = self.rates[[0, -1]]
        return f"LearningRates(suggestion {suggestion}, {len(self.rates)} rates from {first:.3g} to {last:.3g})"


@ending_all
def lr_find(
    model: Any,
    loss: Callable[[Any, Any], Tensor],
    data: Any,
    *,
    optimizer: Optimizer,
    start: float = 1e-6,
    end: float = 1.0,
    steps: int = 100,
    batch_size: int | None = 32,
    smoothing: float = 0.8,
    stop_factor: float = 4.0,
    rng: np.random.Generator | int | None = None,
    comm: Any = None,
) -> LearningRates:
    """Suggest a learning rate: the one at which the loss falls most steeply while the rate grows exponentially.

    The model is trained for one batch with each of the rates::

        lr_i = start (end / start)^(i / (steps − 1))        i = 0 … steps − 1
        s_i  = Σ_j β^|i−j| loss_j / Σ_j β^|i−j|             the smoothed loss; loss_j cut off above min loss + |loss_0|
        suggestion = the lr_i with the least s_{i+1} − s_i, the effect of its step, up to the lowest s

    Afterwards everything is as before: parameters, gradients, buffers, training modes, the optimiser's state and rates;
    only random generators (`rng`, that of dropout) have moved on.

    Args:
        model: called with a batch of inputs; has ``parameters()``, ``state_dict()``, ``load_state_dict()``,
            ``train()`` and ``eval()``.
        loss: called with the model's output and the targets, returns a Tensor with one element.
        data: as for `fit`: (X, y), from which shuffled batches are drawn, or batches (x, y) that can be iterated over
            again and again.
        optimizer: of the model's parameters; all its groups get the same rate.
        start: the first rate, more than 0.
        end: the last rate, more than `start`.
        steps: how many rates, at least 2.
        batch_size: samples in a batch; None for all. Used for a pair of arrays only.
        smoothing: β, at least 0 (no smoothing) and less than 1.
        stop_factor: stop when the average of the losses so far (weights β^(i−j)) has risen above the lowest such
            average by more than `stop_factor` − 1 times the first loss. A loss that is not finite stops, too.
        rng: the generator that shuffles, or a seed; a fresh one by default.
        comm: a communicator of mpi4py, as for `fit`: each rank has its part of each batch (of batches, its own), and
            the losses and gradients are means over all.

    Returns:
        The suggestion and the curves, to be drawn with ``.plot()``. If the loss never fell, a RuntimeWarning says so.

    Raises:
        TypeError, ValueError: for arguments out of range, data without batches, or batches that are not pairs.
        FloatingPointError: if the first loss is not finite already.

    Source: Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3.

    >>> import nn, optim
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 5)); y = X @ rng.normal(size=(5, 1))
    >>> model = nn.Linear(5, 1, rng=rng)
    >>> optimizer = optim.SGD(model.parameters(), lr=1e-3)
    >>> found = optim.lr_find(model, nn.MSELoss(), (X, y), optimizer=optimizer, rng=rng)
    >>> 0.01 < found.suggestion < 1
    True
    """
    check_parts(model, loss, optimizer, "lr_find")
    _check(start, end, steps, smoothing, stop_factor)
    if "lr" not in optimizer.defaults or (isinstance(optimizer, SecondOrder) and optimizer.pair):
        raise TypeError(
            f"lr_find: takes an optimiser whose learning rate says how far it steps along the loss's gradient, not "
            f"{type(optimizer).__name__}"
        )
    rng = drawing(rng, "lr_find")
    place = place_of(plain(optimizer.param_groups[0]["params"][0]))
    made = as_batches(data, batch_size, rng, dtype_of(model), "lr_find: data", place)
    averaging: Averaging | None = None
    if comm is not None:
        if isinstance(optimizer, SecondOrder):
            raise ValueError(
                f"lr_find: comm= is for optimisers of first order and LBFGS, not {type(optimizer).__name__}"
            )
        begin_alike(
            "lr_find", comm, model, loss, optimizer, rng, {"the data": data}, made, start=start, end=end, steps=steps,
            batch_size=batch_size, smoothing=smoothing, stop_factor=stop_factor,
        )  # fmt: skip
        made = made if made is data else made.part(comm.rank, comm.size)
        averaging = Averaging([p for group in optimizer.param_groups for p in group["params"]], comm)
    meeting = None if comm is None else Ranks(comm, "lr_find")

    def weigh(x: Any, y: Any) -> float | None:
        """How much a batch counts here; None where nothing of it counts, on any rank."""
        count = counted(count_of(loss), y)
        if meeting is None or averaging is None:
            return None if count == 0 else 1.0
        own = float(length(x, y, "lr_find: data") if count is None else count)
        total, _ = meeting.meet(own, f"batch {len(losses) + 1}", False, averaging.params)
        if not total:
            return None
        averaging.weigh(own, total)
        return own

    feed = _forever(made, place, weigh)
    rates = np.geomspace(start, end, steps)
    losses: list[float] = []
    average = lowest = math.inf
    kept = weight = 0.0
    with _restored(model, optimizer):
        model.train()
        for rate in rates:
            for group in optimizer.param_groups:
                group["lr"] = float(rate)
            x, y, own = next(feed)

            def closure(x: Any = x, y: Any = y, idle: bool = own == 0) -> Tensor:
                optimizer.zero_grad()
                value = Tensor(0.0)
                with np.errstate(all="ignore"), enable_grad():  # the sweep ends in an explosion: no news
                    if not idle:
                        value = loss(model(*x) if type(x) is tuple else model(x), y)
                        one_number(value, "lr_find")
                        value.backward()
                    if averaging is not None:
                        averaging()
                        value = Tensor(averaging.mean(value.item()))
                return value

            with np.errstate(all="ignore"):
                losses.append(float(optimizer.step(closure).item()))
            if averaging is not None:
                averaging.clear()
            if not math.isfinite(losses[-1]):
                if len(losses) == 1:
                    raise FloatingPointError(f"lr_find: the loss of the untrained model is {losses[0]} already")
                break
            kept, weight = smoothing * kept + losses[-1], smoothing * weight + 1.0
            average = kept / weight
            lowest = min(lowest, average)
            if average > lowest + (stop_factor - 1) * abs(losses[0]):
                break
    found = np.array(losses)
    smoothed = _smoothed(found, smoothing)
    suggestion = _steepest(rates[: len(found)], smoothed)
    if suggestion is None:
        warnings.warn(
            f"lr_find: the loss never fell between lr {rates[0]:.3g} and {rates[len(found) - 1]:.3g}; look at .plot()",
            RuntimeWarning,
            stacklevel=user_level(),
        )
    return LearningRates(rates[: len(found)], found, smoothed, suggestion)


def _check(start: Any, end: Any, steps: Any, smoothing: Any, stop_factor: Any) -> None:
    given = dict(start=start, end=end, smoothing=smoothing, stop_factor=stop_factor)
    require("lr_find", given, at_least(0, "start", "end") | within(0, 1, "smoothing") | at_least(1, "stop_factor"))
    if not 0 < start < end:
        raise ValueError(f"lr_find: needs 0 < start < end, not start {start!r} and end {end!r}")
    if smoothing == 1:
        raise ValueError("lr_find: smoothing must be less than 1")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 2:
        raise ValueError(f"lr_find: steps must be a whole number of at least 2, not {steps!r}")


def _forever(
    data: Iterable[Any], place: Any, weigh: Callable[[Any, Any], float | None]
) -> Iterator[tuple[Any, Any, float]]:  # fmt: skip
    """The batches of which something counts, again and again, with their weights."""
    while True:
        empty = passed_over = True
        for batch in data:
            empty = False
            x, y = pair(batch, "lr_find: data", place)
            weight = weigh(x, y)
            if weight is not None:
                passed_over = False
                yield x, y, weight
        if empty:
            raise ValueError("lr_find: there are no (more) batches; a generator can be gone through only once")
        if passed_over:
            raise ValueError("lr_find: the loss ignores every target of the data")


@contextmanager
def _restored(model: Any, optimizer: Optimizer) -> Iterator[None]:
    """Afterwards, model and optimiser are what they were."""
    snapshot, stepped = optimizer.state_dict(), optimizer.stepped
    weights = {name: plain(tensor).copy() for name, tensor in model.state_dict().items()}
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    tensors = {id(p): p for p in (*model.parameters(), *trained)}
    if hasattr(model, "buffers"):  # some are not part of state_dict
        tensors |= {id(b): b for b in model.buffers()}
    before = [(t, t.data.copy(), t.grad) for t in tensors.values()]
    modules = list(model.modules()) if hasattr(model, "modules") else [model]
    modes = [(m, m.training) for m in modules if hasattr(m, "training")]
    for t in tensors.values():
        t.grad = None  # a gradient that is there must not be written into
    try:
        yield
    finally:
        model.load_state_dict(weights)
        for tensor, data, grad in before:
            tensor.data = data
            tensor.grad = grad
        for module, mode in modes:
            module.training = mode
        optimizer.load_state_dict(snapshot)
        optimizer.stepped = stepped


def _smoothed(losses: Array, beta: float) -> Array:
    """Losses averaged over their neighbours; an explosion is cut off at about twice the first loss, so that it does not
    drown what went before it."""
    finite = losses[np.isfinite(losses)]
    ceiling = max(float(losses[0]), float(finite.min()) + abs(float(losses[0])))
    distance = abs(np.subtract.outer(np.arange(len(losses)), np.arange(len(losses))))
    weights = np.power(beta, distance, dtype=float)
    smoothed: Array = (
        weights @ np.where(np.isfinite(losses), np.minimum(losses, ceiling), ceiling) / weights.sum(axis=1)
    )
    return smoothed


def _steepest(rates: Array, smoothed: Array) -> float | None:
    """The rate after whose step the smoothed loss fell most; the rates are evenly spaced in the logarithm."""
    fall = np.diff(smoothed[: int(np.argmin(smoothed)) + 1])
    return float(rates[int(np.argmin(fall))]) if len(fall) and fall.min() < 0 else None
