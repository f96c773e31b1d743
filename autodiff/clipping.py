"""Gradients kept within bounds, in place: by their norm all together, or value by value."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .flags import flagged
from .leaving import user_level
from .mode import enable_grad, no_grad
from .ops.elementwise import astype, clip, multiply
from .ops.guards import common
from .tensor import Tensor, is_foreign, plain, wrap

_BLOCK = 1 << 15  # elements that are converted to float64 at a time, so that they stay in the cache


@flagged
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale the gradients of all parameters by one factor, min(1, max_norm / (norm + 10⁻⁶)), so that their norm, all of
    them taken as one vector, is at most `max_norm`.

    Args:
        parameters: a Tensor or Tensors; those without ``.grad`` are passed over, one given twice counts once. An
            iterator that gives none, because somebody went through it before, is warned about.
        max_norm: the largest norm allowed.
        norm_type: p of the p-norm, above 0; ``math.inf`` for the largest absolute value. Of complex numbers their
            absolute values count.
        error_if_nonfinite: raise for a norm that is infinite or NaN, before anything is changed; otherwise an infinite
            norm makes the gradients 0 (and NaN where they were infinite), a NaN makes all of them NaN.

    Returns:
        The norm before clipping, a 0-d float64 Tensor (computed in float64, whatever the gradients' dtypes).

    Raises:
        TypeError: for anything but Tensors.
        ValueError: for a negative `max_norm` or a `norm_type` that is not above 0.
        RuntimeError: for a norm that is not finite, with `error_if_nonfinite`.

    A gradient that is part of a graph (``create_graph=True``) is replaced by the scaled one, recorded with the factor
    as a constant.

    >>> w = Tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> clip_grad_norm_([w], max_norm=5.0)
    Tensor(10.)
    >>> print(np.round(w.grad, 5))
    Tensor([3., 4.])
    """
    held = _with_gradients(parameters, "clip_grad_norm_")
    largest, p = _number(max_norm, "clip_grad_norm_: max_norm"), _number(norm_type, "clip_grad_norm_: norm_type")
    if p == 0:
        raise ValueError("clip_grad_norm_: norm_type is above 0 (math.inf for the largest absolute value), not 0")
    arrays = [g._ndarray for _, g in held]
    if any(map(is_foreign, arrays)):
        return _clipped_anywhere(held, largest, p, error_if_nonfinite)
    total = _norm(arrays, p)
    if error_if_nonfinite and not math.isfinite(total):
        raise _not_finite(p, total)
    factor = math.nan if largest == total == math.inf else largest / (total + 1e-6)
    if not factor >= 1:
        for t, _ in held:
            _scale(t, factor)
    return wrap(np.array(total))


def _not_finite(p: float, total: Any) -> RuntimeError:
    return RuntimeError(
        f"clip_grad_norm_: the norm of order {p:g} is {total}, so the gradients cannot be clipped; nothing was "
        f"changed (error_if_nonfinite=False scales them by it all the same)"
    )


def _clipped_anywhere(held: list[tuple[Tensor, Tensor]], largest: float, p: float, check: bool) -> Tensor:
    """The same in NumPy's functions alone, whose factor is an array, for array types that are not NumPy's."""
    wide = [np.abs(plain(g)).astype(np.float64) for _, g in held if g.size]
    if not wide:
        return wrap(np.zeros(()))
    peak = np.max(np.stack([np.max(a) for a in wide]))
    total = peak
    if p != math.inf:
        unit = np.where((peak > 0) & (peak < math.inf), peak, 1)  # so that no power over- or underflows
        total = np.sum(np.stack([np.sum((a / unit) ** p) for a in wide])) ** (1 / p) * unit
    if check and not common(np.isfinite(total)):
        raise _not_finite(p, total)
    factor = np.minimum(largest / (total + 1e-6), 1)
    if largest == math.inf:
        factor = np.where(total == math.inf, math.nan, factor)
    for t, gradient in held:
        with enable_grad() if gradient.requires_grad else no_grad():
            t.grad = astype(multiply(gradient, wrap(factor)), gradient.dtype)
    return wrap(total)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit each value of the gradients to [−clip_value, clip_value]; NaN stays NaN.

    Args:
        parameters: a Tensor or Tensors; those without ``.grad`` are passed over.
        clip_value: the bound.

    Raises:
        TypeError: for anything but Tensors, and for complex gradients.
        ValueError: for a negative bound.

    >>> w = Tensor([3.0, -4.0, 0.5], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> clip_grad_value_(w, 2.0)
    >>> w.grad
    Tensor([ 2., -2.,  1.])
    """
    bound = _number(clip_value, "clip_grad_value_: clip_value")
    held = _with_gradients(parameters, "clip_grad_value_")
    if any(gradient.dtype.kind == "c" for _, gradient in held):
        raise TypeError("clip_grad_value_: a gradient is complex, and has no values in order; use clip_grad_norm_")
    for t, gradient in held:
        data = plain(gradient)
        if gradient.requires_grad:
            with enable_grad():
                t.grad = clip(gradient, -bound, bound)
        else:
            own = not is_foreign(data) and data.flags.writeable
            _write(t, np.clip(data, -bound, bound, out=data) if own else np.clip(data, -bound, bound))


def _with_gradients(parameters: Any, where: str) -> list[tuple[Tensor, Tensor]]:
    """The tensors that have a gradient, each once, and their gradients."""
    listed = [parameters] if isinstance(parameters, Tensor) else parameters
    if isinstance(listed, (str, bytes, dict)) or not isinstance(listed, Iterable):
        raise TypeError(f"{where}: takes a Tensor or Tensors (model.parameters()), not {type(parameters).__name__}")
    held, empty = {}, isinstance(listed, Iterator)
    for t in listed:
        empty = False
        if not isinstance(t, Tensor):
            raise TypeError(f"{where}: takes a Tensor or Tensors (model.parameters()), and got a {type(t).__name__}")
        if t.grad is not None:
            held[id(t)] = t, t.grad
    if empty:
        warnings.warn(
            f"{where}: the iterator gave no parameters, so nothing is clipped; a generator can be gone through only "
            f"once, call model.parameters() again or keep a list",
            UserWarning,
            stacklevel=user_level(),
        )
    return list(held.values())


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{what} is a number, not {value!r}") from None
    if not number >= 0:
        raise ValueError(f"{what} is at least 0, not {number}")
    return number


def _norm(arrays: list[Any], p: float) -> float:
    """The p-norm of all arrays as one vector, without overflow where the norm itself has none."""
    if p == 2:
        square = sum(_sum_of_powers(a, 2.0, 1.0) for a in arrays)
        if 1e-280 < square < math.inf or math.isnan(square):
            return math.sqrt(square)
    peaks = [float(np.abs(a).max()) for a in arrays if a.size]
    largest = math.nan if any(map(math.isnan, peaks)) else max(peaks, default=0.0)
    if p == math.inf or largest == 0 or not math.isfinite(largest):
        return largest
    with np.errstate(over="ignore"):
        return float(np.float64(sum(_sum_of_powers(a, p, largest) for a in arrays)) ** (1 / p) * largest)


def _sum_of_powers(a: Any, p: float, unit: float) -> float:
    """The sum of |a / unit|^p in float64, block by block."""
    flat, total = a.reshape(-1), 0.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for i in range(0, flat.size, _BLOCK):
            block = flat[i : i + _BLOCK]
            block = (np.abs(block) if block.dtype.kind == "c" else block).astype(np.float64, copy=False)
            block = block if unit == 1 else block / unit
            total += float(block.dot(block)) if p == 2 else float((np.abs(block) ** p).sum())
    return total


def _scale(t: Tensor, factor: float) -> None:
    gradient = t.grad
    assert gradient is not None
    if gradient.requires_grad:
        with enable_grad():
            t.grad = multiply(gradient, factor)
        return
    data = plain(gradient)
    # A factor that the gradient's own dtype rounds to nothing is applied in float64.
    wide = np.result_type(data, np.float64) if factor < np.finfo(data.dtype).smallest_normal else None
    with np.errstate(invalid="ignore", under="ignore"):
        scaled = np.multiply(
            data, factor, out=data if data.flags.writeable else np.empty_like(data), dtype=wide, casting="same_kind"
        )
    _write(t, scaled)


def _write(t: Tensor, array: Any) -> None:
    """Note that a gradient was written, or give it a new array where its own is not its to write."""
    assert t.grad is not None
    t.grad.data = array
