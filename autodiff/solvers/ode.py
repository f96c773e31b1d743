"""Initial value problems by Runge and Kutta's methods. SciPy chooses the steps; the engine takes them again, so that
every derivative, reverse or forward, is exactly that of the numerical solution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..batching.batch import Batch, BatchError, laid_out, refilled
from ..batching.examples import depth
from ..mode import no_grad
from ..ops.linalg import as_real
from ..tensor import Tensor, plain, wrap
from ..transforms.checkpoint import checkpoint
from .parameters import gathered

METHODS = ("RK23", "RK45", "DOP853")
ADJOINTS = ("direct", "checkpoint")


class OdeResult(NamedTuple):
    """Times (m,) and the solution at them, (n, m)."""

    t: Tensor
    y: Tensor


def _steps(f: Callable[..., Any], method: str, t0: float, times: Any, y0: Any, options: Any) -> list[list[float]]:
    """For each of the times where SciPy's steps towards it end, as parts of the way from the time before."""
    import scipy.integrate

    y, start, found, first = y0, t0, [], None
    for end in times:
        ends: list[float] = []
        if end != start:
            limited = {**options, "first_step": min(first, abs(end - start))} if first else options
            solver = getattr(scipy.integrate, method)(f, start, y, end, **limited)
            while solver.status == "running":
                message = solver.step()
                if solver.status == "failed":
                    raise ValueError(f"solve_ivp: no solution beyond t = {solver.t:g}: {message}")
                ends.append((solver.t - start) / (end - start))
            y, first = solver.y, solver.h_abs
        found.append(ends)
        start = end
    return found


def _stepped(f: Callable[..., Any], method: str, t: Any, y: Any, h: Any) -> Any:
    """One step of a Runge–Kutta method: y + h Σ bᵢ kᵢ, kᵢ = f(t + cᵢ h, y + h Σⱼ aᵢⱼ kⱼ)."""
    import scipy.integrate

    table = getattr(scipy.integrate, method)
    slopes: list[Any] = []
    for c, row in zip(table.C, table.A):
        moved = sum((a * k for a, k in zip(row, slopes) if a), 0.0)
        slopes.append(f(t + c * h, y + h * moved if slopes else y))
    return y + h * sum((b * k for b, k in zip(table.B, slopes) if b), 0.0)


def solve_ivp(
    f: Callable[..., Any], t_span: Any, y0: Any, method: str = "RK45", t_eval: Any = None, args: Any = (),
    rtol: float = 1e-3, atol: Any = 1e-6, max_step: float = np.inf, *, adjoint: str = "direct",
) -> OdeResult:  # fmt: skip
    """The solution of dy/dt = f(t, y, *args) from y0, as `scipy.integrate.solve_ivp`, differentiable to any order by
    y0, args, the times and whatever f reads.

    Args:
        f: written with operators and NumPy functions; it gives dy/dt, shape (n,), or a list of n
            numbers (ad.array in place of np.array).
        t_span: the first and the last time.
        y0: the state at the first time, shape (n,).
        method: "RK23", "RK45" or "DOP853"; implicit methods have no derivative here.
        t_eval: the times of the result, in the order of t_span and between its ends; by default those of the steps.
            A step ends at each of them.
        args: further arguments of f, whatever it takes.
        rtol, atol, max_step: as SciPy's: the error of a step. That of a derivative is about the same in relation.
        adjoint: how the reverse pass comes by what f computed in each of the n steps: "direct", it was kept, or
            "checkpoint", only the states after every √n steps were, and each piece between two of them is computed
            again when its turn comes: memory for 2 √n steps in place of n, and one more evaluation of f. The
            derivatives are those of the steps taken, to the same digits, with either; nothing is solved backwards.

    Returns:
        Times (m,) and the solution (n, m), in double precision. Inside `ad.vmap` all examples take the same steps, as
        small as the one needs that needs the smallest.

    Raises:
        ValueError: the step becomes too small, another method, another adjoint, a t_eval outside t_span, or a y0 that
            is no vector.

    Source: Hairer, Nørsett and Wanner, "Solving ordinary differential equations I", 1993, sections II.4 and II.5; of
    the checkpoints, Chen et al., "Training deep nets with sublinear memory cost", 2016.

    >>> rate = Tensor(0.5, requires_grad=True)
    >>> y = solve_ivp(lambda t, y, rate: -rate * y, (0.0, 2.0), [1.0], t_eval=[2.0], args=(rate,), rtol=1e-9).y
    >>> y.sum().backward(); rate.grad.numpy().round(5)  # −2 exp(−1)
    np.float64(-0.73576)
    """
    if method not in METHODS:
        raise ValueError(f"solve_ivp: method={method!r} has no derivative here; take one of {', '.join(METHODS)}")
    if adjoint not in ADJOINTS:
        raise ValueError(f"solve_ivp: adjoint={adjoint!r}; take one of {', '.join(ADJOINTS)}")
    f, y = gathered(f), as_real(y0, "solve_ivp").astype(np.float64)
    if y.ndim != 1:
        raise ValueError(
            f"solve_ivp: y0 of shape {y.shape}; it is a vector (n,), with y.reshape(...) inside f if need be"
        )
    start, end = (as_real(t, "solve_ivp") for t in t_span)
    chosen = None if t_eval is None else as_real(t_eval, "solve_ivp")
    if any(isinstance(plain(t), Batch) for t in (start, end, chosen)):
        raise BatchError(
            "ad.vmap: the times of solve_ivp differ between examples; go from 0 to 1 by dy/ds = (t1 − t0) f(t0 + s (t1 "
            "− t0), y)"
        )
    t0, t1 = float(start._ndarray), float(end._ndarray)
    times = [t1] if chosen is None else [float(t) for t in chosen._ndarray.reshape(-1)]
    way = np.diff([t0, *times]) * (1 if t1 >= t0 else -1)
    if (way < 0).any() or (times and (times[-1] - t1) * (1 if t1 >= t0 else -1) > 0):
        raise ValueError(f"solve_ivp: t_eval is sorted and lies between {t0:g} and {t1:g}, not {times}")

    def slope(t: float, y: Any) -> Any:
        with no_grad():
            found = as_real(f(t, wrap(y), *args), "solve_ivp")
        if found.shape != y.shape:
            raise ValueError(
                f"solve_ivp: a state of shape {y.shape}, but the function gives shape {found.shape}; it is "
                f"one of (t, y), that of odeint one of (y, t)"
            )
        return found._ndarray.astype(np.float64, copy=False)

    whole = y._ndarray  # of all examples, where states or slopes differ between those of a batch
    if depth():
        whole = whole + np.zeros_like(slope(t0, whole))
    numbers: Callable[[float, Any], Any] = slope
    initial, options = whole, {"rtol": rtol, "atol": atol, "max_step": max_step}
    if isinstance(whole, Batch):
        initial = laid_out(whole).reshape(-1)
        zeros: Any = np.zeros_like(whole)

        def of_all(t: float, flat: Any) -> Any:
            return laid_out(zeros + slope(t, refilled(whole, flat))).reshape(-1)

        numbers = of_all
        # The error's norm is a mean of squares over all: divided by √examples it bounds that of each.
        strict = np.sqrt(max(initial.size / max(whole.size, 1), 1))
        options |= {"rtol": rtol / strict, "atol": (np.broadcast_to(atol, laid_out(whole).shape) / strict).reshape(-1)}
    parts = _steps(numbers, method, t0, times, initial, options)
    plan: list[Any] = []  # for each step from where and how far it leads, in parts of the way between two times
    points: list[Any] = [start] if chosen is None else []
    reached = []  # how many steps lead to each time
    before = start
    for k, ends in enumerate(parts):
        target = end if chosen is None else chosen.reshape(-1)[k]
        moving = before.requires_grad or target.requires_grad
        origin, length = (
            (before, target - before) if moving else (float(before._ndarray), float((target - before)._ndarray))
        )
        for done, part in zip([0.0, *ends], ends):
            plan.append((origin, length, done, part))
            if chosen is None:
                points.append(before + part * (target - before))
        if chosen is not None:
            points.append(target)
        reached.append(len(plan))
        before = target
    wanted = range(len(plan) + 1) if chosen is None else reached

    def piece(y: Any, first: int, last: int) -> list[Any]:
        """The states after those of these steps after which one is wanted, and after the last."""
        states = []
        for i, (origin, length, done, part) in enumerate(plan[first:last], first + 1):
            y = _stepped(lambda t, y: f(t, y, *args), method, origin + done * length, y, (part - done) * length)
            if i == last or i in kept:
                states.append(y)
        return states

    kept, states = set(wanted), {0: y}
    size = max(1, len(plan) if adjoint == "direct" else math.isqrt(len(plan)))
    for first in range(0, len(plan), size):
        last = min(first + size, len(plan))
        found = piece(y, first, last) if adjoint == "direct" else checkpoint(piece, y, first, last)
        states.update(zip([i for i in range(first + 1, last + 1) if i in kept], found))
        y = found[-1]
    if not points:
        return OdeResult(Tensor(np.zeros(0)), Tensor(np.zeros((y.shape[0], 0))))
    return OdeResult(np.stack(points), np.stack([states[i] for i in wanted], axis=-1))  # type: ignore[arg-type]


def odeint(
    func: Callable[..., Any], y0: Any, t: Any, args: Any = (), rtol: float = 1.49e-8, atol: float = 1.49e-8,
    tfirst: bool = False, *, adjoint: str = "direct",
) -> Tensor:  # fmt: skip
    """The solution of dy/dt = func(y, t, *args) at the times t, the first of which has y0, as `scipy.integrate.odeint`,
    differentiable as `solve_ivp` by y0, t and args. It is integrated by DOP853.

    Args:
        func: of y (n,) and t, or of t and y with `tfirst`.
        y0: the state at t[0], shape (n,) or a number.
        t: times (m,), ascending or descending.
        args, rtol, atol, adjoint: as for `solve_ivp`.

    Returns:
        The solution (m, n).

    >>> odeint(lambda y, t: -y, [1.0, 2.0], [0.0, 1.0])[1]
    Tensor([0.36787944, 0.73575888])
    """
    y, times = as_real(y0, "odeint").reshape(-1), as_real(t, "odeint")
    if times.ndim != 1 or times.shape[0] < 1:
        raise ValueError(f"odeint: t of shape {times.shape}; it is a vector of times, the first that of y0")
    f = func if tfirst else lambda t, y, *args: func(y, t, *args)
    found = solve_ivp(f, (times[0], times[-1]), y, "DOP853", times[1:], args, rtol, atol, adjoint=adjoint).y
    return np.concatenate([y[None].astype(np.float64), found.T])  # type: ignore[return-value]
