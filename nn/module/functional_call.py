"""A model called with other values in the places of its parameters and buffers: a function of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from threading import RLock
from typing import Any, NamedTuple

from autodiff import Tensor
from autodiff.tensor import plain

from ..arguments import numbers
from .module import BUFFER, PARAMETER, TRANSIENT, Module, registered

_ALONE = RLock()
"""The values stand in the model itself while it runs: another thread's must wait."""


class _Place(NamedTuple):
    """An attribute of a module, and the tensor that is there."""

    owner: Module
    attribute: str
    tensor: Tensor


def functional_call(
    module: Module,
    params_and_buffers: Any,
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """What a model computes with other parameters and buffers than its own, which afterwards are what they were.

    With it a model is a function of its parameters, for `ad.grad`, `ad.hvp`, `ad.vmap`, `ad.compile` …

    Args:
        module: the model.
        params_and_buffers: Tensors or arrays by dotted name, or several such dicts, which have no name in common. What
            is not named keeps the model's own value.
        args: the arguments: a tuple, or one argument that is none.
        kwargs: further ones, by name.
        tie_weights: a value for one of a parameter's names stands at all its names; with False at this one only.
        strict: whether every parameter and buffer needs a value.

    Buffers are written to as ever (by batch norm, in training): given ones where they are given, others in the model.
    Calls from several threads wait for each other; a model that is in one must not be called directly meanwhile.

    Raises:
        TypeError: for anything but a module, dicts of arrays by name, and such arguments.
        KeyError: for names that the model has not, or (if `strict`) lacks a value for.
        ValueError: for a value of another shape, or two values for one tensor.

    >>> import numpy as np, autodiff as ad, nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> def loss(params, x):
    ...     return (nn.functional_call(model, params, x) ** 2).sum()
    >>> ad.grad(loss)({"weight": np.array([[3.0, 4.0]])}, np.array([[1.0, 2.0]]))
    {'weight': array([[22., 44.]])}
    """
    if not isinstance(module, Module):
        raise TypeError(f"functional_call: takes a module first, not {type(module).__name__}")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"functional_call: kwargs is a dict of arguments by name, not {type(kwargs).__name__}")
    given = _merged(params_and_buffers)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _ALONE, _standing(_values(module, given, tie_weights, strict)):
        return module(*arguments, **(kwargs or {}))


def _merged(dicts: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in dicts if isinstance(dicts, (list, tuple)) else [dicts]:
        if not isinstance(one, Mapping) or not all(isinstance(name, str) for name in one):
            raise TypeError(
                f"functional_call: takes a dict of Tensors by name, such as dict(model.named_parameters()), or a list "
                f"of such dicts, not {one!r:.80}"
            )
        twice = sorted(found.keys() & one.keys())
        if twice:
            raise ValueError(f"functional_call: {', '.join(twice)} stands in two of the dicts")
        found.update(one)
    return found


def _places(module: Module) -> dict[str, _Place]:
    """The places of all parameters and buffers, by each of their names."""
    found = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        for name, role in registered(owner).items():
            tensor = owner.__dict__[name]
            if role in (PARAMETER, BUFFER, TRANSIENT) and tensor is not None:
                found[f"{path}.{name}" if path else name] = _Place(owner, name, tensor)
    return found


def _values(module: Module, given: dict[str, Any], tie_weights: bool, strict: bool) -> list[tuple[_Place, Tensor]]:
    """What is to stand where."""
    places, model = _places(module), type(module).__name__
    chosen: dict[Any, tuple[str, Tensor]] = {}

    def key(place: _Place) -> Any:
        return id(place.tensor) if tie_weights else (id(place.owner), place.attribute)

    for name, value in given.items():
        if name not in places:
            close = get_close_matches(name, places, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; it has: {', '.join(places) or 'none'}"
            raise KeyError(f"functional_call: {model} has no parameter or buffer {name!r}{hint}")
        tensor, place = numbers("functional_call", name, value), places[name]
        if tensor.shape != place.tensor.shape:
            raise ValueError(
                f"functional_call: {name} has shape {tensor.shape}, the {model}'s {place.tensor.shape}"
                + "; for several models at once: ad.vmap" * (tensor.shape[1:] == place.tensor.shape)
            )
        other, before = chosen.setdefault(key(place), (name, tensor))
        if not _same(before, tensor):
            raise ValueError(
                f"functional_call: {other} and {name} are one tensor of the {model}, and are given two values; give "
                f"it under one name" + (", or say tie_weights=False" if place.tensor is places[other].tensor else "")
            )
    missing = [name for name, place in places.items() if key(place) not in chosen]
    if strict and missing:
        raise KeyError(f"functional_call: with strict=True there must be values for {', '.join(missing)} too")
    return [(place, chosen[key(place)][1]) for place in places.values() if key(place) in chosen]


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (plain(a) is plain(b) and not (a.requires_grad or b.requires_grad))


@contextmanager
def _standing(values: list[tuple[_Place, Tensor]]) -> Iterator[None]:
    """Meanwhile these stand in their places."""
    try:
        for place, value in values:
            place.owner.__dict__.update({place.attribute: value, "_single": True})
        yield
    finally:
        for place, _ in values:
            place.owner.__dict__.update({place.attribute: place.tensor, "_single": True})
