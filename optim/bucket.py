"""How an update reaches the parameters: small ones together as one array, large ones in pieces that fit the cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from autodiff import Tensor
from autodiff.tensor import is_foreign, plain, writable
from autodiff.transforms.flat import view_as_real

from .array import Array

PIECE = 32768
"""Elements that are updated at a time, so that all arrays of an update stay in the cache."""

SMALL = 8192
"""A parameter of at most so many elements is gathered with others."""


class UpdateRule(Protocol):
    """What is asked of an optimiser here; `Optimizer` says what each means."""

    elementwise: bool
    state: dict[Tensor, dict[str, Any]]

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]: ...
    def initial(self, name: str, options: dict[str, Any]) -> float: ...
    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any: ...
    def update(self, w: Array, g: Array, state: dict[str, Array], coefficients: Any) -> None: ...
    def scratch(self, like: Array, purpose: str = "") -> Array: ...


class Bucket:
    """Parameters that are updated together: one that is large or needs its own norms, or many small ones.

    The buffers of many small ones are views of one flat array for each name, and their values and gradients are
    gathered, so that the update is a handful of NumPy calls however many there are.

    Args:
        params: the parameters, of one dtype.
        states: their states, with the same numbers.
        names: their buffers.
    """

    def __init__(self, params: list[Tensor], states: list[dict[str, Any]], names: tuple[str, ...]) -> None:
        self.params, self.states, self.names = params, states, names
        self.dtype, self.shapes = params[0].dtype, [p.shape for p in params]
        self.numbers = {key: value for key, value in states[0].items() if not _is_array(value)}
        self.single = len(params) == 1
        if self.single:
            self.flat = {name: states[0][name].reshape(-1) for name in names}
        else:
            self.flat = {name: np.concatenate([s[name] for s in states], axis=None) for name in names}
            self.runs = list(_runs([p.size for p in params]))
            longest = max(end - start for _, _, start, end in self.runs)
            self.values, self.gradient = np.empty((2, longest), self.dtype)
            self.pieces: list[Array] = []
            for first, last, start, _ in self.runs:
                at = start
                for p, state in zip(params[first:last], states[first:last]):
                    place, at = at, at + p.size
                    self.pieces.append(self.values[place - start : at - start].reshape(p.shape))
                    for name, flat in self.flat.items():
                        state[name] = flat[place:at].reshape(p.shape)
        self.views = [[state[name] for name in names] for state in states]

    def fits(self, state: Mapping[Tensor, dict[str, Any]], names: tuple[str, ...]) -> bool:
        """Whether nobody has replaced any part of the state, and all parameters still have gradients."""
        if names != self.names:
            return False
        for p, shape, own, views in zip(self.params, self.shapes, self.states, self.views):
            if state.get(p) is not own or p.grad is None or p.dtype != self.dtype or p.shape != shape:
                return False
            for name, view in zip(names, views):
                if own.get(name) is not view:
                    return False
            for key, value in self.numbers.items():
                if own.get(key) != value:
                    return False
        return True

    def step(self, optimizer: UpdateRule, options: dict[str, Any]) -> None:
        """Update all parameters, in place."""
        numbers = dict(self.numbers)
        coefficients = optimizer.advance(numbers, options)
        if numbers:
            self.numbers = numbers
            for state in self.states:
                state.update(numbers)
        ascent = bool(options.get("maximize"))
        datas = [writable(p) for p in self.params]
        gradients = [plain(p.grad) for p in self.params]  # who has none is left out
        if not self.single:
            for first, last, start, end in self.runs:
                values, gradient = self.values[: end - start], self.gradient[: end - start]
                np.concatenate(datas[first:last], axis=None, out=values)
                np.concatenate(gradients[first:last], axis=None, out=gradient)
                if ascent:
                    np.negative(gradient, out=gradient)
                state = {name: array[start:end] for name, array in self.flat.items()}
                _update(optimizer, values, gradient, state, coefficients)
                for w, piece in zip(datas[first:last], self.pieces[first:last]):
                    w[...] = piece
        elif optimizer.elementwise and not is_foreign(datas[0]):
            (w,), (g,) = datas, gradients
            values = w.reshape(-1)  # a copy if w is not contiguous
            _in_pieces(optimizer, values, g.reshape(-1), self.flat, coefficients, ascent)
            if not np.shares_memory(values, w):
                w[...] = values.reshape(w.shape)
        else:
            (w,), (g,) = datas, gradients
            _update(optimizer, w, -g if ascent else g, self.states[0], coefficients)
        for p, w in zip(self.params, datas):
            p.data = w  # written in place; assigning tells the engine that graphs recorded before no longer fit


def _in_pieces(
    optimizer: UpdateRule, values: Array, gradient: Array, flat: dict[str, Array], coefficients: Any, ascent: bool
) -> None:
    for start in range(0, values.size, PIECE):
        piece = slice(start, start + PIECE)
        w, g = values[piece], gradient[piece]
        if ascent:
            g = np.negative(g, out=optimizer.scratch(g, "negated"))
        _update(optimizer, w, g, {name: array[piece] for name, array in flat.items()}, coefficients)


def _update(optimizer: UpdateRule, w: Array, g: Array, state: dict[str, Any], coefficients: Any) -> None:
    """The rule on real numbers: of a complex one, as PyTorch does, on its real and its imaginary part."""
    if w.dtype.kind == "c":
        w, g = view_as_real(w), view_as_real(g)
        state = {name: view_as_real(value) if _is_array(value) else value for name, value in state.items()}
    optimizer.update(w, g, state, coefficients)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or is_foreign(value)


def _runs(sizes: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """Neighbours that together have at most PIECE elements: the first one, the one after the last, and the first
    element and the one after the last, counted over all."""
    first = start = end = 0
    for i, size in enumerate(sizes):
        if end + size - start > PIECE and i > first:
            yield first, i, start, end
            first, start = i, end
        end += size
    yield first, len(sizes), start, end


def buckets(optimizer: UpdateRule, params: Iterable[Tensor], options: dict[str, Any]) -> list[Bucket]:
    """Sort parameters that have gradients into buckets; states and buffers that are missing are made."""
    names = optimizer.buffers(options)
    found: list[Bucket] = []
    small: dict[Any, tuple[list[Tensor], list[dict[str, Any]]]] = {}
    for p in params:
        state = optimizer.state[p]
        for name in names:
            if state.get(name) is None:
                value: complex = optimizer.initial(name, options)
                like, value = plain(p), complex(value, value) if p.dtype.kind == "c" else value
                state[name] = np.full_like(like, value) if is_foreign(like) else np.full(p.shape, value, p.dtype)
            elif np.shape(state[name]) != p.shape:
                raise ValueError(
                    f"{type(optimizer).__name__}.step: a parameter has shape {p.shape} now, its state ({name}) "
                    f"{np.shape(state[name])}; make a new optimiser, or optimizer.state.pop(parameter)"
                )
            elif not _is_array(state[name]) or state[name].dtype != p.dtype:
                state[name] = np.array(state[name], p.dtype)
        if p.size > SMALL or not optimizer.elementwise or is_foreign(plain(p)):
            found.append(Bucket([p], [state], names))
        else:
            numbers = tuple(sorted((k, v) for k, v in state.items() if not _is_array(v)))
            together = small.setdefault((p.dtype, numbers), ([], []))
            together[0].append(p)
            together[1].append(state)
    return found + [Bucket(ps, states, names) for ps, states in small.values()]
