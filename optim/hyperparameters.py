"""Hyper-parameters: which values they may have, and the errors that say so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Limits = dict[str, Callable[[str, Any], None]]
"""By name, a function that raises unless a value will do; it is also told what to call the value."""


def hyperparameters(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those among the ``locals()`` of an optimiser's constructor, at its first line: all but the parameters."""
    return {key: value for key, value in arguments.items() if key not in ("self", "params", "__class__")}


def require(where: str, options: Mapping[str, Any], limits: Limits) -> None:
    """Raise unless all named options are within their limits; `where` begins the messages.

    Raises:
        TypeError: for a value of another kind.
        ValueError: for one out of range.

    >>> require("SGD", {"lr": -0.1, "momentum": 0.9}, at_least(0, "lr", "momentum"))
    Traceback (most recent call last):
    ValueError: SGD: lr must be a finite number of at least 0, not -0.1
    """
    for key, limit in limits.items():
        limit(f"{where}: {key}", options[key])


def at_least(low: float, *names: str) -> Limits:
    """Finite numbers from `low`."""
    return _numbers(names, f" of at least {low:g}", low)


def within(low: float, high: float, *names: str) -> Limits:
    """Numbers from `low` to `high`, ends included."""
    return _numbers(names, f" of at least {low:g}, at most {high:g}", low, high)


def positive(*names: str) -> Limits:
    """Finite numbers more than 0."""
    return _numbers(names, " more than 0", math.ulp(0.0))


def finite(*names: str) -> Limits:
    """Finite numbers."""
    return _numbers(names, "")


def _numbers(names: tuple[str, ...], which: str, low: float = -math.inf, high: float = math.inf) -> Limits:
    def limit(what: str, value: Any) -> None:
        if isinstance(value, (str, bool)) or not hasattr(value, "__float__") or getattr(value, "ndim", 0) != 0:
            raise TypeError(f"{what} must be a number, not {value!r}")
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{what} must be a finite number{which}, not {value!r}")

    return dict.fromkeys(names, limit)


def decay_rates(*names: str) -> Limits:
    """Pairs of numbers in [0, 1)."""

    def limit(what: str, value: Any) -> None:
        first, second = number_pair(what, value)
        if not (0 <= first < 1 and 0 <= second < 1):
            raise ValueError(f"{what} must each be at least 0 and less than 1, not {value!r}")

    return dict.fromkeys(names, limit)


def number_pair(what: str, value: Any) -> tuple[float, float]:
    """A pair of numbers, after checking that it is one."""
    try:
        first, second = (float(x) for x in value)
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a pair of numbers, not {value!r}") from None
    return first, second


def one_of(known: tuple[Any, ...], *names: str) -> Limits:
    """One of a few values, two at least."""
    *some, last = map(repr, known)

    def limit(what: str, value: Any) -> None:
        if value not in known:
            raise ValueError(f"{what} must be {', '.join(some)} or {last}, not {value!r}")

    return dict.fromkeys(names, limit)


def optional(limits: Limits) -> Limits:
    """None, or what these say."""

    def unless_none(limit: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
        return lambda what, value: None if value is None else limit(what, value)

    return {key: unless_none(limit) for key, limit in limits.items()}
