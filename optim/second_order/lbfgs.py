"""L-BFGS: quasi-Newton steps from the last gradients, with a line search for the strong Wolfe conditions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from autodiff import Tensor
from autodiff.transforms.flat import assign, flatten

from ..array import Array
from ..hyperparameters import at_least, hyperparameters, one_of
from ..optimizer import Optimizer

_PAIRS = ("old_stps", "old_dirs", "ro")
"""Under PyTorch's names: the changes s of the parameters, y of the gradient, and 1 / s·y."""


class Point(NamedTuple):
    """A point of the line: how far, the loss there, its gradient, and its slope along the line."""

    t: float
    f: float
    g: Array
    slope: float


class LBFGS(Optimizer):
    """Limited-memory BFGS, in PyTorch's form.

    Each iteration moves along d = −H g, where H approximates the inverse Hessian from the last changes s of the
    parameters and y of the gradient (two-loop recursion), by a step t: `lr`, or where the line search leads, which
    starts there. The first iteration has d = −g and t = min(1, 1/‖g‖₁) · lr.

    Args:
        params: parameters (one group of them).
        lr: the first t to try.
        max_iter: iterations in one `step`.
        max_eval: evaluations of the loss in one `step`, about; 1.25 max_iter by default.
        tolerance_grad: ends when no entry of the gradient is larger.
        tolerance_change: ends when neither a parameter nor the loss changes more.
        history_size: how many pairs (s, y) are kept.
        line_search_fn: "strong_wolfe" or None.

    `step` needs a closure that clears the gradients, evaluates the loss, calls backward and returns the loss; it is
    called several times. It returns the first of these losses.

    Raises:
        TypeError, ValueError: for hyper-parameters out of range, several groups, or a step without a closure.

    Source: Nocedal & Wright, "Numerical optimization", 2006, algorithms 3.5, 3.6 and 7.4.

    >>> import autodiff as ad, optim
    >>> x = ad.Tensor([-1.2, 1.0], requires_grad=True)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    ...     loss.backward()
    ...     return loss
    >>> optimizer = optim.LBFGS([x], max_iter=100, line_search_fn="strong_wolfe")
    >>> first = optimizer.step(closure)
    >>> x.numpy().round(3).tolist()
    [1.0, 1.0]
    """

    limits = (
        at_least(0, "lr", "tolerance_grad", "tolerance_change")
        | at_least(1, "max_iter", "max_eval", "history_size")
        | one_of(("strong_wolfe", None), "line_search_fn")
    )

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = hyperparameters(locals())
        if max_eval is None and isinstance(max_iter, (int, np.integer)):  # others are refused below
            defaults["max_eval"] = max_iter * 5 // 4
        self.memory: dict[str, Any] = {}
        super().__init__(params, defaults)

    def check(self, options: dict[str, Any]) -> None:
        """Raise ValueError for hyper-parameters out of range."""
        if self.param_groups and options is not self.param_groups[0] and "params" in options:
            if isinstance(options["params"][0], Tensor):
                raise ValueError("LBFGS: takes one parameter group, since all parameters make one step together")
        super().check(options)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run up to `max_iter` iterations; returns the loss at the start, as the closure did."""
        if closure is None:
            raise TypeError("LBFGS.step: needs a closure that evaluates the loss and calls backward")
        self.stepped = True
        self._require_apart()
        group, params, memory = self.param_groups[0], self._all(), self.memory
        lr, most, tolerance = group["lr"], group["max_iter"], group["tolerance_change"]

        def evaluate() -> tuple[float, Array]:
            self.loss = self._evaluated(closure)
            if self.loss is None:
                raise TypeError("LBFGS.step: the closure must return the loss, not None")
            number = self.loss.item() if hasattr(self.loss, "item") else self.loss
            return float(number), flatten([p.grad for p in params], params)

        loss, g = evaluate()
        first, evaluations = self.loss, 1
        memory["func_evals"] = memory.get("func_evals", 0) + 1
        for iteration in range(1, most + 1):
            if _largest(g) <= group["tolerance_grad"]:
                break
            total = memory["n_iter"] = memory.get("n_iter", 0) + 1
            d = -g if total == 1 else self._direction(g, group["history_size"])
            memory["prev_flat_grad"], before = g, loss
            slope = float(g @ d)
            t = min(1.0, 1.0 / float(np.abs(g).sum())) * lr if total == 1 else lr
            memory["d"], memory["t"] = d, t
            if slope > -tolerance:
                break
            x = flatten(params)

            def at(t: float, x: Array = x, d: Array = d) -> Point:
                assign(params, x + t * d)
                f, g = evaluate()
                return Point(t, f, g, float(g @ d))

            count = 0
            if group["line_search_fn"] is not None:
                most_tried = max(0, int(group["max_eval"]) - evaluations)
                point, count = strong_wolfe(at, Point(0.0, loss, g, slope), t, _largest(d), most=most_tried)
                t, loss, g = point.t, point.f, point.g
                assign(params, x + t * d)
            else:
                assign(params, x + t * d)
                if iteration < most:
                    (loss, g), count = evaluate(), 1
            memory["t"] = t
            evaluations += count
            memory["func_evals"] += count
            if evaluations >= group["max_eval"] or _largest(d) * abs(t) <= tolerance or abs(loss - before) < tolerance:
                break
        del self.loss
        return first

    def _direction(self, g: Array, size: int) -> Array:
        """−H g by the two-loop recursion, after taking the last change into the memory."""
        memory = self.memory
        steps, changes, inverses = (memory.setdefault(key, []) for key in _PAIRS)
        s, y = memory["d"] * memory["t"], g - memory["prev_flat_grad"]
        curvature = float(s @ y)
        if curvature > 1e-10:
            for kept, new in zip((steps, changes, inverses), (s, y, 1 / curvature)):
                kept.append(new)
                del kept[:-size]
            memory["H_diag"] = curvature / float(y @ y)
        q, weights = -g, []
        for s, y, inverse in zip(reversed(steps), reversed(changes), reversed(inverses)):
            weights.append(float(s @ q) * inverse)
            q -= weights[-1] * y
        q *= memory.get("H_diag", 1.0)
        for s, y, inverse, weight in zip(steps, changes, inverses, reversed(weights)):
            q += (weight - float(y @ q) * inverse) * s
        return q

    def state_dict(self) -> dict[str, Any]:
        """A snapshot: the hyper-parameters, and the changes that make up the curvature."""
        return {**super().state_dict(), "state": {0: copy.deepcopy(self.memory)} if self.memory else {}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a snapshot that `state_dict` took for parameters of the same number and shapes.

        Raises:
            TypeError: if that is no such dict.
            ValueError: for other counts or shapes; the optimiser is then unchanged.
        """
        saved = state_dict.get("state", {}) if isinstance(state_dict, Mapping) else {}
        saved = saved.get(0, saved.get("0", {}))
        like = flatten(self._all())
        dtype, size = like.dtype, like.size

        def vector(value: Any) -> Array:
            array = np.asarray(value).astype(dtype)
            if array.shape != (size,):
                raise ValueError(
                    f"LBFGS.load_state_dict: the parameters have {size} entries, the snapshot's vectors shape "
                    f"{array.shape}"
                )
            return array

        kinds: dict[str, Callable[[Any], Any]] = dict(
            n_iter=int, func_evals=int, d=vector, t=float, prev_flat_grad=vector, H_diag=float
        )
        memory: dict[str, Any] = {key: kind(saved[key]) for key, kind in kinds.items() if saved.get(key) is not None}
        for key in _PAIRS:
            memory[key] = [(float if key == "ro" else vector)(value) for value in saved.get(key) or ()]
        super().load_state_dict({**state_dict, "state": {}} if isinstance(state_dict, Mapping) else state_dict)
        self.memory = memory if saved else {}


def _largest(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0.0))


def strong_wolfe(
    at: Callable[[float], Point], start: Point, t: float, largest: float,
    tolerance: float = 1e-9, c1: float = 1e-4, c2: float = 0.9, most: int = 25,
) -> tuple[Point, int]:  # fmt: skip
    """A point along a line with enough decrease, f ≤ f₀ + c₁ t f₀', and small slope, |f'| ≤ c₂ |f₀'|.

    Args:
        at: evaluates a point.
        start: the point at t = 0, whose slope is negative.
        t: the first guess.
        largest: the direction's largest entry; a bracket of less than `tolerance` / `largest` is not searched further.
        tolerance: see `largest`.
        c1: the fraction of the decrease that the slope promises.
        c2: the fraction of the slope that may remain.
        most: how many points are tried.

    Returns:
        The point, and how often `at` was called.
    """
    previous, point = start, at(t)
    bracket = [start, point]
    for tried in range(most):  # widen until the bracket holds such a point
        if point.f > start.f + c1 * point.t * start.slope or (tried > 1 and point.f >= previous.f):
            bracket = [previous, point]
            break
        if abs(point.slope) <= -c2 * start.slope:
            return point, tried + 1
        if point.slope >= 0:
            bracket = [previous, point]
            break
        reach = (point.t + 0.01 * (point.t - previous.t), point.t * 10)
        previous, point = point, at(cubic_minimum(previous, point, *reach))
    else:
        bracket = [start, point]
        return min(bracket, key=lambda p: p.f), most + 1
    stuck, low = False, int(bracket[1].f < bracket[0].f)
    while tried < most:  # then narrow it
        left, right = sorted(p.t for p in bracket)
        if (right - left) * largest < tolerance:
            break
        t = cubic_minimum(bracket[0], bracket[1], left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # too close to an end: the second time, or beyond it, step inside
            if stuck or t >= right or t <= left:
                t, stuck = (right - margin if abs(t - right) < abs(t - left) else left + margin), False
            else:
                stuck = True
        else:
            stuck = False
        point = at(t)
        tried += 1
        if point.f > start.f + c1 * point.t * start.slope or point.f >= bracket[low].f:
            bracket[1 - low] = point
            low = int(bracket[1].f < bracket[0].f)
        else:
            if abs(point.slope) <= -c2 * start.slope:
                return point, tried + 1
            if point.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
                bracket[1 - low] = bracket[low]
            bracket[low] = point
    return bracket[low], tried + 1


def cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through two points with their slopes is least, within [low, high]."""
    d = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d * d - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    if a.t > b.t:
        a, b = b, a
    root = math.sqrt(square)
    bottom = b.slope - a.slope + 2 * root
    t = b.t - (b.t - a.t) * ((b.slope + root - d) / bottom) if bottom else math.nan
    return min(max(t, low), high) if t == t else (low + high) / 2
