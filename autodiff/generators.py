"""The random generators that draw during a training: found, and continued where they stood."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .random import generator


def generators(**owners: Any) -> dict[str, Any]:
    """The generators that draw during a training, by place: those that an owner, or a module inside it, has as an
    attribute, and the default one."""
    found = {f"{owner}{place}": rng for owner, value in owners.items() for place, rng in _held(value)}
    return {**found, "default": generator()}


def _held(owner: Any) -> Iterator[tuple[str, Any]]:
    if _is_generator(owner):
        yield "", owner
        return
    holders: Iterable[tuple[str, Any]] = [("", owner)]
    if hasattr(owner, "named_modules"):
        holders = owner.named_modules()
    elif isinstance(owner, (list, tuple)):
        holders = ((str(i), item) for i, item in enumerate(owner))
    for path, holder in holders:
        for name, value in getattr(holder, "__dict__", {}).items():
            if _is_generator(value):
                yield f".{path}.{name}" if path else f".{name}", value


def _is_generator(value: Any) -> bool:
    return isinstance(value, (np.random.Generator, np.random.RandomState))


def random_state(found: Mapping[str, Any]) -> dict[str, Any]:
    """The states of these generators, of NumPy's global one and of Python's."""
    states = {place: _state(rng) for place, rng in found.items()}
    version, words, gauss = random.getstate()
    python = {"version": version, "words": np.array(words, np.uint64), "gauss": gauss}
    return {"generators": states, "numpy": np.random.get_state(legacy=False), "python": python}


def differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two such states are not the same, to the last bit."""
    return pickle.dumps(one) != pickle.dumps(other)


def set_random_state(found: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Continue all generators from `random_state`, in place: who shares one goes on sharing it.

    Raises:
        ValueError: for other places or kinds of generators.
    """
    states = state["generators"]
    if set(states) != set(found):
        raise ValueError(
            f"fit: the checkpoint has random generators at {sorted(states)}, this training at {sorted(found)}"
        )
    for place, rng in found.items():
        kind, own = states[place]["bit_generator"], _state(rng)["bit_generator"]
        if kind != own:
            raise ValueError(f"fit: the generator {place} was a {kind}, and is a {own} now")
        if isinstance(rng, np.random.Generator):
            rng.bit_generator.state = states[place]
        else:
            rng.set_state(states[place])
    np.random.set_state(state["numpy"])
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))


def _state(rng: Any) -> dict[str, Any]:
    if isinstance(rng, np.random.Generator):
        return dict(rng.bit_generator.state)
    return dict(rng.get_state(legacy=False))
