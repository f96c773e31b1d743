"""Schedules of the learning rate, under PyTorch's names and with its numbers.

Each is made after the optimiser, sets the first learning rate at once and the next one at every `step`, which is called
after the optimiser's, once an epoch (or once a batch, where the counts are batches). η is a group's learning rate when
the schedule was made, t the number of steps of the schedule.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from autodiff.leaving import user_level

from .optimizer import Optimizer


class LRScheduler:
    """Base of the schedules: a subclass defines `next_lr`.

    Args:
        optimizer: the optimiser.
        last_epoch: −1 at the start. When training is taken up again without a snapshot of the schedule, the index of
            the last epoch that was trained: the schedule stands at the next one, whose rate the optimiser already has.

    Raises:
        TypeError: for anything but an optimiser with a learning rate.
        ValueError: for parameters out of range.
    """

    schedulers: Sequence[LRScheduler] = ()
    """Those that a schedule of schedules consists of."""

    recursive = True
    """Whether a rate follows from the one before; otherwise from η alone."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        _require_lr(type(self).__name__, optimizer)
        if isinstance(last_epoch, bool) or not isinstance(last_epoch, (int, np.integer)) or last_epoch < -1:
            raise ValueError(f"{type(self).__name__}: last_epoch is −1 or a count of steps, not {last_epoch!r}")
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: last_epoch={last_epoch} needs the learning rate of the start as "
                    f"'initial_lr' of every group"
                )
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = int(last_epoch)
        if last_epoch == -1 or not self.recursive:
            self._forward()
        else:
            self.last_epoch += 1
            self._set(self._lrs())

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The learning rate at step t, from that at step t − 1 and η."""
        raise NotImplementedError(f"{type(self).__name__}: define next_lr(self, lr, base, t)")

    def _lrs(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _set(self, lrs: list[float]) -> None:
        groups = self.optimizer.param_groups
        if len(lrs) != len(groups):
            raise ValueError(
                f"{type(self).__name__}: is for {len(lrs)} parameter groups, the optimiser has {len(groups)} now; make "
                f"the schedule after the last add_param_group"
            )
        for group, lr in zip(groups, lrs):
            group["lr"] = lr
        self._last_lr = self._lrs()

    def _forward(self) -> None:
        self.last_epoch += 1
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:  # added since
            self.base_lrs.append(float(group.setdefault("initial_lr", group["lr"])))
        self._set([self.next_lr(lr, base, self.last_epoch) for lr, base in zip(self._lrs(), self.base_lrs)])

    def step(self) -> None:
        """Set the next learning rate."""
        if self.last_epoch == 0 and not self.optimizer.stepped:
            warnings.warn(
                f"{type(self).__name__}.step() was called before optimizer.step(): the first learning rate is never "
                f"used; call optimizer.step() first",
                UserWarning,
                stacklevel=user_level(),
            )
        self._forward()

    def rewind(self) -> None:
        """Go to where no step has been made; the rate stays."""
        self.last_epoch = -1

    def restart(self) -> None:
        """Begin anew from η, as `SequentialLR` does when it comes to this schedule."""
        self.rewind()
        self._set(self.base_lrs)
        self._forward()

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group, as set last."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of plain values (functions are not in it)."""
        state = {
            key: list(value) if isinstance(value, list) else value
            for key, value in self.__dict__.items()
            if key not in ("optimizer", "schedulers") and not _has_functions(value)
        }
        if self.schedulers:
            state["schedulers"] = [schedule.state_dict() for schedule in self.schedulers]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a snapshot that `state_dict` took: the groups have the rate (and the momentum, where it is
        cycled) that they had then, whether the optimiser's own state is loaded before or after, and whether the
        schedule was made before or after that.

        Raises:
            TypeError, ValueError: if that is no snapshot of such a schedule, for as many groups.
        """
        self._take(state_dict)
        self._reinstate()

    def _take(self, state_dict: Mapping[str, Any]) -> None:
        name = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"{name}: takes what state_dict() returned, not {type(state_dict).__name__}")
        own = self.state_dict()
        if not _PYTORCH_S.isdisjoint(state_dict):
            try:
                state_dict = self._translated(state_dict, own)
            except (KeyError, TypeError, AttributeError):
                raise ValueError(
                    f"{name}: the snapshot is PyTorch's, of another schedule: {sorted(state_dict)}"
                ) from None
        if set(own) != set(state_dict):
            raise ValueError(f"{name}: the snapshot has {sorted(state_dict)}, this schedule {sorted(own)}")
        inner = state_dict.get("schedulers", [])
        if len(inner) != len(self.schedulers):
            raise ValueError(f"{name}: the snapshot has {len(inner)} schedules, this one {len(self.schedulers)}")
        groups, saved = len(self.optimizer.param_groups), len(state_dict["_last_lr"])
        if saved != groups:
            raise ValueError(f"{name}: the snapshot is of {saved} parameter groups, the optimiser has {groups}")
        for schedule, state in zip(self.schedulers, inner):
            schedule._take(state)
        values = {key: value for key, value in state_dict.items() if key != "schedulers"}
        self.__dict__.update({key: list(v) if isinstance(v, list) else v for key, v in values.items()})

    def _translated(self, theirs: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        """A snapshot of PyTorch's schedule of this name in our words; `own` is one of ours, for what it lacks."""
        return {key: value for key, value in theirs.items() if key not in _PYTORCH_S}

    def _reinstate(self) -> None:
        """Set what the groups have at the present step."""
        self._set(self._last_lr)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(step {self.last_epoch}, lr={self._last_lr})"


def _require_lr(name: str, optimizer: Any) -> None:
    """Raise TypeError for anything but an optimiser with a learning rate."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: takes an optimiser first, not {type(optimizer).__name__}")
    if "lr" not in optimizer.defaults:
        raise TypeError(
            f"{name}: {type(optimizer).__name__} has no learning rate to set, it finds the length of its steps itself; "
            f"it has {', '.join(optimizer.defaults)}"
        )


_PYTORCH_S = {
    "_step_count", "_is_initial", "_get_lr_called_within_step", "verbose", "lr_lambdas", "mode_worse", "default_min_lr",
    "total_size", "step_ratio", "use_beta1", "base_momentums", "max_momentums", "_scale_fn_custom", "_schedule_phases",
    "_anneal_func_type", "_schedulers", "_milestones",
}  # fmt: skip
"""What only PyTorch's snapshots have."""


def _has_functions(value: Any) -> bool:
    return callable(value) or (isinstance(value, list) and any(map(callable, value)))


def _number(scheduler: LRScheduler, name: str, value: Any, low: float = -math.inf) -> float:
    """`value` if it is a finite number of at least `low`."""
    what = f"{type(scheduler).__name__}: {name} must be a number{'' if low == -math.inf else f' of at least {low:g}'}"
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{what}, not {value!r}")
    if not (math.isfinite(value) and value >= low):
        raise ValueError(f"{what}, not {value!r}")
    return float(value)


def _integer(scheduler: LRScheduler, name: str, value: Any, low: int) -> int:
    """`value` if it is an integer of at least `low`."""
    if not math.isfinite(number := _number(scheduler, name, value)) or int(number) != number or number < low:
        raise ValueError(f"{type(scheduler).__name__}: {name} must be an integer of at least {low}, not {value!r}")
    return int(number)


def _per_group(scheduler: LRScheduler, name: str, value: Any, groups: int) -> list[Any]:
    """One value for all groups, or a list of one for each."""
    values = list(value) if isinstance(value, (list, tuple)) else [value] * groups
    if len(values) != groups:
        raise ValueError(f"{type(scheduler).__name__}: {name} has {len(values)} values for {groups} parameter groups")
    return values


class LambdaLR(LRScheduler):
    """η f(t), for a function (or one for each group) of your own.

    >>> import autodiff as ad, optim
    >>> optimizer = optim.SGD([ad.Tensor(1.0, requires_grad=True)], lr=0.1)
    >>> schedule = LambdaLR(optimizer, lambda t: 0.5**t)
    >>> schedule.get_last_lr()
    [0.1]
    """

    recursive = False

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self.lr_lambdas = _lambdas(self, optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def _forward(self) -> None:
        self.last_epoch += 1
        self._set([base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)])


class MultiplicativeLR(LRScheduler):
    """The rate before times f(t), from t = 1 on, for a function (or one for each group) of your own.

    When `SequentialLR` comes to it, it goes on from the rate there is, at once times f(0)."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self.lr_lambdas = _lambdas(self, optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def _forward(self) -> None:
        self.last_epoch += 1
        if self.last_epoch:
            self._multiply()
        else:
            self._set(self._lrs())

    def _multiply(self) -> None:
        self._set([lr * f(self.last_epoch) for lr, f in zip(self._lrs(), self.lr_lambdas)])

    def restart(self) -> None:
        """Begin anew, from the rate there is."""
        self.last_epoch = 0
        self._multiply()


def _lambdas(scheduler: LRScheduler, optimizer: Any, functions: Any) -> list[Callable[[int], float]]:
    found = _per_group(scheduler, "lr_lambda", functions, len(getattr(optimizer, "param_groups", ())))
    for f in found:
        if not callable(f):
            raise TypeError(f"{type(scheduler).__name__}: lr_lambda takes a function of the step, not {f!r:.80}")
    return found


class ConstantLR(LRScheduler):
    """η · factor while t < total_iters, then η."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        self.factor = _number(self, "factor", factor, 0)
        if self.factor > 1:
            raise ValueError(f"ConstantLR: factor must be at most 1, not {factor!r}")
        self.total_iters = _integer(self, "total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        if t == 0:
            return lr * self.factor if self.total_iters else lr
        if t == self.total_iters:
            return lr / self.factor if self.factor else base
        return lr


class LinearLR(LRScheduler):
    """η times a factor that goes in a straight line from start_factor (t = 0) to end_factor (t = total_iters)."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = _number(self, "start_factor", start_factor, 0)
        if not 0 < self.start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be greater than 0 and at most 1, not {start_factor!r}")
        self.end_factor = _number(self, "end_factor", end_factor, 0)
        if self.end_factor > 1:
            raise ValueError(f"LinearLR: end_factor must be at most 1, not {end_factor!r}")
        self.total_iters = _integer(self, "total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        if t == 0:
            return lr * self.start_factor
        if t > self.total_iters:
            return lr
        change = self.end_factor - self.start_factor
        return lr * (1 + change / (self.total_iters * self.start_factor + (t - 1) * change))


class WarmupLR(LRScheduler):
    """η (t + 1) / total_iters while t < total_iters, then η: the first step is already more than nothing.

    >>> import autodiff as ad, optim
    >>> optimizer = optim.SGD([ad.Tensor(1.0, requires_grad=True)], lr=1.0)
    >>> WarmupLR(optimizer, 4).get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int, last_epoch: int = -1) -> None:
        self.total_iters = _integer(self, "total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        if t == 0:
            return lr / self.total_iters
        return lr * (t + 1) / t if t < self.total_iters else lr


class StepLR(LRScheduler):
    """η γ^⌊t / step_size⌋.

    >>> import autodiff as ad, optim
    >>> optimizer = optim.SGD([ad.Tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = _integer(self, "step_size", step_size, 1)
        self.gamma = _number(self, "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        return lr if t == 0 or t % self.step_size else lr * self.gamma


class MultiStepLR(LRScheduler):
    """η times γ for each of the milestones that t has reached."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if isinstance(milestones, str) or not isinstance(milestones, Iterable):
            raise TypeError(f"{type(self).__name__}: milestones are integers, in a list, not {milestones!r}")
        self.milestones = sorted(_integer(self, "milestones", m, 0) for m in milestones)
        self.gamma = _number(self, "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        times = Counter(self.milestones)[t]
        return lr * self.gamma**times if times else lr

    def _translated(self, theirs: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        return super()._translated(theirs, own) | {"milestones": sorted(Counter(theirs["milestones"]).elements())}


class ExponentialLR(LRScheduler):
    """η γᵗ. A rate of e^(−λ t) has γ = e^(−λ)."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = _number(self, "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        return lr if t == 0 else lr * self.gamma


class PolynomialLR(LRScheduler):
    """η (1 − t / total_iters)^power while t < total_iters, then 0."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = _integer(self, "total_iters", total_iters, 1)
        self.power = _number(self, "power", power, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        if t == 0 or t > self.total_iters:
            return lr
        return lr * float(((1 - t / self.total_iters) / (1 - (t - 1) / self.total_iters)) ** self.power)


class InverseTimeLR(LRScheduler):
    """η / (1 + γ t).

    >>> import autodiff as ad, optim
    >>> optimizer = optim.SGD([ad.Tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = InverseTimeLR(optimizer, gamma=1.0)
    >>> optimizer.step()
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = _number(self, "gamma", gamma, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        return lr if t == 0 else lr * (1 + self.gamma * (t - 1)) / (1 + self.gamma * t)


class CosineAnnealingLR(LRScheduler):
    """η_min + ½ (η − η_min) (1 + cos(π t / T_max)): after T_max steps the rate climbs again."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = _integer(self, "T_max", T_max, 1)
        self.eta_min = _number(self, "eta_min", eta_min, 0)
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        if t == 0:
            return lr
        low, length = self.eta_min, self.T_max
        if (t - 1 - length) % (2 * length) == 0:
            return lr + (base - low) * (1 - math.cos(math.pi / length)) / 2
        return (1 + math.cos(math.pi * t / length)) / (1 + math.cos(math.pi * (t - 1) / length)) * (lr - low) + low


class CosineAnnealingWarmRestarts(LRScheduler):
    """η_min + ½ (η − η_min) (1 + cos(π s / T)), s steps after a restart; the first period T is T_0, the next ones
    T_mult times as long."""

    recursive = False

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = self.T_i = _integer(self, "T_0", T_0, 1)
        self.T_mult = _integer(self, "T_mult", T_mult, 1)
        self.eta_min = _number(self, "eta_min", eta_min, 0)
        self.T_cur: float = -1
        super().__init__(optimizer, last_epoch)
        if last_epoch >= 0:
            self.step(last_epoch + 1)

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """The rule above."""
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2

    def _forward(self) -> None:
        self.T_cur += 1
        if self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult
        super()._forward()

    def rewind(self) -> None:
        """Go to where no step has been made; the rate stays."""
        super().rewind()
        self.T_cur, self.T_i = -1, self.T_0

    def step(self, epoch: float | None = None) -> None:
        """Set the next learning rate, or that of `epoch`, which may have a fraction (epoch + batch / batches)."""
        if epoch is None:
            super().step()
            return
        if not epoch >= 0:
            raise ValueError(f"CosineAnnealingWarmRestarts.step: epoch must be at least 0, not {epoch!r}")
        periods = 0
        if epoch >= self.T_0:
            ratio = epoch / self.T_0
            periods = int(ratio if self.T_mult == 1 else math.log(ratio * (self.T_mult - 1) + 1, self.T_mult))
        before = periods if self.T_mult == 1 else (self.T_mult**periods - 1) / (self.T_mult - 1)
        self.T_i = self.T_0 * self.T_mult**periods
        self.T_cur = epoch - self.T_0 * before
        self.last_epoch = math.floor(epoch)
        self._set([self.next_lr(0.0, base, self.last_epoch) for base in self.base_lrs])


def _momentum(group: dict[str, Any], value: float) -> None:
    """Set what an optimiser has as momentum."""
    if "momentum" in group:
        group["momentum"] = value
    else:
        group["betas"] = (value, *group["betas"][1:])


def _momenta(scheduler: LRScheduler, optimizer: Any, low: Any, high: Any, cycled: bool) -> list[tuple[float, float]]:
    """The bounds of the momentum of each group, for an optimiser that has one."""
    name = type(scheduler).__name__
    _require_lr(name, optimizer)
    if cycled and not {"momentum", "betas"} & set(optimizer.defaults):
        raise ValueError(f"{name}: {type(optimizer).__name__} has no momentum to cycle; say cycle_momentum=False")
    groups = len(optimizer.param_groups)
    lows, highs = (
        [_number(scheduler, key, v, 0) for v in _per_group(scheduler, key, value, groups)]
        for key, value in (("base_momentum", low), ("max_momentum", high))
    )
    return list(zip(lows, highs))


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr in step_size_up steps and down again in step_size_down, again and again.

    The height of a cycle is 1 ("triangular"), halved from cycle to cycle ("triangular2"), γᵗ ("exp_range"), or
    scale_fn(cycle or t). With cycle_momentum the momentum (or β₁) goes the other way, from max_momentum to
    base_momentum.

    Source: Smith, "Cyclical learning rates for training neural networks", 2017.
    """

    recursive = False

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Any,
        max_lr: Any,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.8,
        max_momentum: Any = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self.momenta = _momenta(self, optimizer, base_momentum, max_momentum, cycle_momentum)
        groups = len(optimizer.param_groups)
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f"CyclicLR: mode is 'triangular', 'triangular2' or 'exp_range', not {mode!r}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"CyclicLR: scale_mode is 'cycle' or 'iterations', not {scale_mode!r}")
        if scale_fn is not None and not callable(scale_fn):
            raise TypeError(f"CyclicLR: scale_fn takes a function, not {scale_fn!r}")
        lows = [_number(self, "base_lr", v, 0) for v in _per_group(self, "base_lr", base_lr, groups)]
        self.max_lrs = [_number(self, "max_lr", v, 0) for v in _per_group(self, "max_lr", max_lr, groups)]
        self.up = _integer(self, "step_size_up", step_size_up, 1)
        down = step_size_up if step_size_down is None else step_size_down
        self.down = _integer(self, "step_size_down", down, 1)
        self.mode, self.gamma = mode, _number(self, "gamma", gamma, 0)
        self.scale_fn, self.scale_mode, self.cycle_momentum = scale_fn, scale_mode, bool(cycle_momentum)
        if last_epoch == -1:
            for group, low in zip(optimizer.param_groups, lows):
                group["lr"] = low
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lows

    def _height(self, t: int, cycle: float) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else t)
        if self.mode == "triangular":
            return 1.0
        return float(0.5 ** (cycle - 1)) if self.mode == "triangular2" else float(self.gamma**t)

    def _turn(self, t: int) -> float:
        """Set the momentum at step t; returns how far up the rate is, from 0 to 1."""
        total = self.up + self.down
        cycle = math.floor(1 + t / total)
        x, peak = 1 + t / total - cycle, self.up / total
        share = (x / peak if x <= peak else (x - 1) / (peak - 1)) * self._height(t, cycle)
        if self.cycle_momentum:
            for group, (low, high) in zip(self.optimizer.param_groups, self.momenta):
                _momentum(group, high - (high - low) * share)
        return share

    def _forward(self) -> None:
        self.last_epoch += 1
        share = self._turn(self.last_epoch)
        self._set([base + (high - base) * share for base, high in zip(self.base_lrs, self.max_lrs)])

    def _translated(self, theirs: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        up = round(theirs["total_size"] * theirs["step_ratio"])
        momenta = (
            list(zip(theirs["base_momentums"], theirs["max_momentums"])) if theirs["cycle_momentum"] else own["momenta"]
        )
        ours = {"up": up, "down": round(theirs["total_size"]) - up, "momenta": momenta}
        return super()._translated(theirs, own) | ours | {key: own[key] for key in ("scale_fn",) if key in own}

    def _reinstate(self) -> None:
        self._turn(self.last_epoch)
        super()._reinstate()


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr in the first pct_start of total_steps, then down to
    max_lr / (div_factor · final_div_factor), by half a cosine or in a straight line; once only.

    With three_phase it first comes down to where it started, as slowly as it went up. With cycle_momentum the momentum
    (or β₁) goes the other way. `step` is called after every batch.

    Raises:
        ValueError: for parameters out of range, and by `step` when total_steps are over.

    Source: Smith & Topin, "Super-convergence", 2019.
    """

    recursive = False

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.momenta = _momenta(self, optimizer, base_momentum, max_momentum, cycle_momentum)
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("OneCycleLR: needs total_steps, or epochs and steps_per_epoch")
        if total_steps is None:
            total_steps = _integer(self, "epochs", epochs, 1) * _integer(self, "steps_per_epoch", steps_per_epoch, 1)
        self.total_steps = _integer(self, "total_steps", total_steps, 1)
        self.pct_start = _number(self, "pct_start", pct_start, 0)
        if self.pct_start > 1:
            raise ValueError(f"OneCycleLR: pct_start must be at most 1, not {pct_start!r}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy is 'cos' or 'linear', not {anneal_strategy!r}")
        self.anneal_strategy, self.three_phase, self.cycle_momentum = anneal_strategy, three_phase, cycle_momentum
        groups = len(optimizer.param_groups)
        self.max_lrs = [_number(self, "max_lr", v, 0) for v in _per_group(self, "max_lr", max_lr, groups)]
        self.div_factor = _number(self, "div_factor", div_factor)
        self.final_div_factor = _number(self, "final_div_factor", final_div_factor)
        if self.div_factor <= 0 or self.final_div_factor <= 0:
            raise ValueError(
                f"OneCycleLR: div_factor and final_div_factor must be positive, not {div_factor}, {final_div_factor}"
            )
        if last_epoch == -1:
            for group, high in zip(optimizer.param_groups, self.max_lrs):
                group["initial_lr"] = high / self.div_factor
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    def _share(self, t: int) -> tuple[int, float]:
        """In which phase step t is, and how far."""
        top, last = self.pct_start * self.total_steps - 1, self.total_steps - 1
        ends = [top, 2 * top, last] if self.three_phase else [top, last]
        start = 0.0
        for phase, end in enumerate(ends):
            if t <= end or phase == len(ends) - 1:
                return phase, (t - start) / (end - start) if end != start else 1.0
            start = end
        raise AssertionError

    def _forward(self) -> None:
        t = self.last_epoch + 1
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: step {t} is past the end, total_steps={self.total_steps}")
        self.last_epoch = t
        self._set(self._turn(t))

    def _translated(self, theirs: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        phases, total = theirs["_schedule_phases"], theirs["total_steps"]
        ours = {"three_phase": len(phases) == 3, "anneal_strategy": theirs["_anneal_func_type"]}
        top = phases[0]["end_step"]
        if own["pct_start"] * total - 1 != top:
            ours["pct_start"] = (top + 1) / total
        return dict(own) | super()._translated(theirs, own) | ours  # the bounds are in the optimiser's groups

    def _reinstate(self) -> None:
        self._turn(self.last_epoch)
        super()._reinstate()

    def _turn(self, t: int) -> list[float]:
        """Set the momentum at step t; returns the rates."""
        phase, share = self._share(t)
        lrs = []
        for group, high, (base_m, max_m) in zip(self.optimizer.param_groups, self.max_lrs, self.momenta):
            first = high / self.div_factor
            last = first / self.final_div_factor
            if self.three_phase:
                lr, m = [((first, high), (max_m, base_m)), ((high, first), (base_m, max_m)),
                         ((first, last), (max_m, max_m))][phase]  # fmt: skip
            else:
                lr, m = [((first, high), (max_m, base_m)), ((high, last), (base_m, max_m))][phase]
            lrs.append(self._between(*lr, share))
            if self.cycle_momentum:
                _momentum(group, self._between(*m, share))
        return lrs


class ReduceLROnPlateau(LRScheduler):
    """The rate before times factor, when a metric has not improved for more than `patience` epochs.

    Args:
        optimizer: the optimiser.
        mode: "min" if less is better, "max" if more is.
        factor: less than 1.
        patience: epochs without improvement that are allowed.
        threshold: what counts as improvement: by more than this times |best| ("rel"), or by more than this ("abs").
            (PyTorch's "rel" has best · (1 − threshold), which is no improvement where the best is negative.)
        threshold_mode: see `threshold`.
        cooldown: epochs after a reduction in which none are counted.
        min_lr: the least rate, for all groups or for each.
        eps: a smaller change of the rate is not made.

    `step(metrics)` takes the metric of the epoch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode is 'min' or 'max', not {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau: threshold_mode is 'rel' or 'abs', not {threshold_mode!r}")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = _number(self, "factor", factor, 0)
        if self.factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be less than 1, not {factor!r}")
        self.patience = _integer(self, "patience", patience, 0)
        self.threshold = _number(self, "threshold", threshold, 0)
        self.cooldown = _integer(self, "cooldown", cooldown, 0)
        self.eps = _number(self, "eps", eps, 0)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)
        self.min_lrs = [
            _number(self, "min_lr", low, 0) for low in _per_group(self, "min_lr", min_lr, len(optimizer.param_groups))
        ]

    def next_lr(self, lr: float, base: float, t: int) -> float:
        """Nothing changes without a metric."""
        return lr

    def _translated(self, theirs: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        return super()._translated(theirs, own) | {"base_lrs": own["base_lrs"]}

    def _better(self, metric: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        if not math.isfinite(self.best):
            return sign * metric > sign * self.best
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        return sign * metric > sign * self.best + margin

    def step(self, metrics: Any = None) -> None:
        """Take the metric of an epoch, and reduce the rate if it is time."""
        if metrics is None or isinstance(metrics, (str, bool)) or not hasattr(metrics, "__float__"):
            raise TypeError(f"ReduceLROnPlateau.step: takes the metric of the epoch, a number, not {metrics!r}")
        metric = float(metrics.item() if hasattr(metrics, "item") else metrics)
        self.last_epoch += 1
        if self._better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        lrs = self._lrs()
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            if len(set(self.min_lrs)) == 1:  # for groups added since, too
                self.min_lrs = self.min_lrs[:1] * len(lrs)
            lower = [max(lr * self.factor, low) for lr, low in zip(lrs, self.min_lrs)]
            lrs = [new if lr - new > self.eps else lr for lr, new in zip(lrs, lower)]
        self._set(lrs)


class _Composite(LRScheduler):
    """A schedule of schedules."""

    def _translated(self, theirs: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        counting = theirs
        while "last_epoch" not in counting:  # PyTorch's ChainedScheduler counts no steps, what is in it does
            counting = counting["_schedulers"][0]
        ours = {"schedulers": theirs["_schedulers"], "last_epoch": counting["last_epoch"]}
        if "milestones" in own:
            ours["milestones"] = theirs["_milestones"]
        return super()._translated(theirs, own) | ours

    def rewind(self) -> None:
        """Go to where no step has been made; the rate stays."""
        super().rewind()
        for schedule in self.schedulers:
            schedule.rewind()

    def restart(self) -> None:
        """Begin anew from η."""
        self.rewind()
        self._set([group["initial_lr"] for group in self.optimizer.param_groups])
        self._forward()


class SequentialLR(_Composite):
    """One schedule after another: the next one begins at its milestone.

    Args:
        optimizer: the optimiser of all schedules.
        schedulers: the schedules.
        milestones: the steps at which the second and the following ones begin.

    One that is itself a `SequentialLR` begins anew as a whole, with its first schedule. (PyTorch's goes on with the
    schedule at which it stood last.)

    >>> import autodiff as ad, optim
    >>> optimizer = optim.SGD([ad.Tensor(1.0, requires_grad=True)], lr=1.0)
    >>> warm, decay = WarmupLR(optimizer, 2), ExponentialLR(optimizer, 0.5)
    >>> schedule = SequentialLR(optimizer, [warm, decay], milestones=[2])
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 1.0, 1.0, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        self.schedulers = _schedules(type(self), schedulers, optimizer)
        self.milestones = [_integer(self, "milestones", m, 0) for m in milestones]
        if len(self.milestones) != len(self.schedulers) - 1 or sorted(self.milestones) != self.milestones:
            raise ValueError(
                f"SequentialLR: {len(self.schedulers)} schedules need {len(self.schedulers) - 1} milestones in "
                f"increasing order, not {list(milestones)}"
            )
        self.optimizer = optimizer
        self.restart()
        self.last_epoch = last_epoch + 1

    def _reinstate(self) -> None:
        self.schedulers[bisect_right(self.milestones, self.last_epoch)]._reinstate()
        super()._reinstate()

    def _forward(self) -> None:
        first = self.last_epoch == -1
        self.last_epoch += 1
        i = bisect_right(self.milestones, self.last_epoch)
        schedule = self.schedulers[i]
        if i > 0 and self.milestones[i - 1] == self.last_epoch and not first:
            schedule.restart()
        else:
            schedule._forward()
        self._last_lr = schedule.get_last_lr()


class ChainedScheduler(_Composite):
    """Several schedules at once: each `step` is a step of all, in order, so that their factors multiply.

    Args:
        schedulers: the schedules of one optimiser, each of which changes the rate that it finds.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        first = schedulers[0] if isinstance(schedulers, Sequence) and len(schedulers) else None
        self.schedulers = _schedules(type(self), schedulers, optimizer or getattr(first, "optimizer", None))
        self.optimizer = self.schedulers[0].optimizer
        self.last_epoch = 0
        self._last_lr = self.schedulers[-1].get_last_lr()

    def _reinstate(self) -> None:
        for schedule in self.schedulers:
            schedule._reinstate()
        super()._reinstate()

    def _forward(self) -> None:
        for schedule in self.schedulers:
            schedule._forward()
        self.last_epoch += 1
        self._last_lr = self._lrs()


def _schedules(kind: type, schedulers: Any, optimizer: Any) -> list[LRScheduler]:
    found = list(schedulers) if isinstance(schedulers, Sequence) else []
    if not found or not all(isinstance(s, LRScheduler) for s in found):
        raise TypeError(f"{kind.__name__}: takes a list of schedules, not {schedulers!r}")
    if any(isinstance(s, ReduceLROnPlateau) for s in found):
        raise ValueError(f"{kind.__name__}: ReduceLROnPlateau needs a metric at every step and cannot be one of them")
    if any(s.optimizer is not optimizer for s in found):
        raise ValueError(f"{kind.__name__}: all schedules must be of the same optimiser")
    return found
