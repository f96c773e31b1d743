"""An optimiser's step inside a trace: its update rule is written down, its numbers are inputs of the program.

Learning rates and step counts are Python numbers that change; `advance` gives them anew at every call, and `update`
computes with them. What an optimiser must have for that is said by `UpdateRule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from operator import is_, itemgetter
from typing import Any, Protocol

import numpy as np

from ..mode import enable_grad
from ..tensor import Tensor
from ..transforms.tree import flatten
from .program import Node
from .tracer import Number, Trace, Tracer


class UpdateRule(Protocol):
    """What is asked of an optimiser."""

    elementwise: bool
    state: dict[Tensor, dict[str, Any]]
    param_groups: list[dict[str, Any]]
    stepped: bool
    step_hooks: Any

    def buffers(self, options: dict[str, Any]) -> tuple[str, ...]: ...
    def initial(self, name: str, options: dict[str, Any]) -> float: ...
    def advance(self, numbers: dict[str, Any], options: dict[str, Any]) -> Any: ...
    def update(self, w: Any, g: Any, state: dict[str, Any], coefficients: Any) -> None: ...
    def step(self, closure: Callable[[], Any] | None = None) -> Any: ...


class Steps:
    """The steps of one optimiser in one trace, and how the program's inputs for them are made at a call.

    Raises:
        TypeError: for an optimiser whose `step` is its own, since its update is no rule for one parameter.
    """

    def __init__(self, optimizer: UpdateRule) -> None:
        if isinstance(optimizer, type):
            raise TypeError(
                f"ad.compile: optimizer= takes an optimiser, not a class; write {optimizer.__name__}(parameters, …)"
            )
        if getattr(getattr(type(optimizer), "step", None), "__qualname__", "") != "Optimizer.step":
            raise TypeError(
                f"ad.compile: optimizer= takes an optimiser with a rule for one parameter, `update`; "
                f"{type(optimizer).__name__} has none, or a step of its own. Compile the gradient, "
                f"ad.compile(ad.value_and_grad(f)), and step outside"
            )
        self.optimizer = optimizer
        self.arrays: list[tuple[Tracer, Tensor, str, Any]] = []
        """The state's arrays: tracer, the parameter whose state has it, its name there, shape, dtype and strides."""
        self.parts: list[tuple[list[Tensor], dict[str, Any], list[Any], tuple[str, ...]]] = []
        """For each call of `advance`: the parameters whose numbers it brings forward, the options, the leaves of the
        coefficients, None where one is an input, and the names of the arrays."""
        self._groups = [
            (group, list(group["params"]), self._ways(group), [*group.values()]) for group in optimizer.param_groups
        ]
        self.made: list[tuple[dict[str, Any], str]] = []
        """What was added to the state for this trace."""
        self.numbers: list[Node] = []
        """The inputs of the program that are coefficients."""

    @contextmanager
    def traced(self, trace: Trace) -> Iterator[None]:
        """While this is open, ``optimizer.step()`` is written down."""

        def step(closure: Callable[[], Any] | None = None) -> Any:
            if self.parts:
                trace.refuse("an optimiser steps twice in one call", "compile one step, and call it twice")
            if self.optimizer.step_hooks:
                trace.refuse(
                    "the optimiser's step has hooks, which a program would not call", "do in a loop what they do"
                )
            loss = None
            if closure is not None:
                with enable_grad():
                    loss = closure()
            for group in self.optimizer.param_groups:
                self._group(trace, group)
            return loss

        vars(self.optimizer)["step"] = step
        try:
            yield
        finally:
            del vars(self.optimizer)["step"]

    def forget(self) -> None:
        """Take out of the state what was made for a trace that came to nothing."""
        for state, name in self.made:
            state.pop(name, None)

    def _group(self, trace: Trace, group: dict[str, Any]) -> None:
        optimizer, names = self.optimizer, self.optimizer.buffers(group)
        together: dict[Any, list[Tensor]] = {}
        for p in group["params"]:
            if p._grad is not None:
                state = optimizer.state[p]
                for name in names:
                    if state.get(name) is None:
                        value = optimizer.initial(name, group)
                        begun = complex(value, value) if p.dtype.kind == "c" else value
                        state[name] = np.full(p.shape, begun, p.dtype)
                        self.made.append((state, name))
                numbers = tuple(sorted((k, v) for k, v in state.items() if not isinstance(v, np.ndarray)))
                together.setdefault(numbers, []).append(p)
        for numbers, params in together.items():
            forward = dict(numbers)
            given = optimizer.advance(forward, group)
            leaves, form = flatten(given)
            fixed = [None if type(x) in (float, int) else x for x in leaves]
            names_of = [path.strip("[]'") for path in form.paths()]
            fields = getattr(type(given), "_fields", ())
            numbered = []
            for x, path in zip(leaves, names_of):
                label = fields[int(path)] if fields and path.isdigit() else "lr" if path == "0" else ""
                numbered.append(trace.number(x, label) if type(x) in (float, int) else x)
            coefficients = form.build(numbered)
            self.numbers += [x.node for x in numbered if isinstance(x, Number)]
            self.parts.append((params, group, fixed, names))
            for p in params:
                self._one(trace, p, group, names, coefficients, forward)

    def _one(self, trace: Trace, p: Tensor, group: Any, names: Any, coefficients: Any, numbers: dict[str, Any]) -> None:
        state = self.optimizer.state[p]
        w = p._ndarray
        if not isinstance(w, Tracer):
            trace.refuse("a parameter of the optimiser is no input of the program", "give it as params=")
        g = p._grad._ndarray if p._grad is not None else None
        g = g if isinstance(g, Tracer) else trace.constant(np.array(g))
        buffers: dict[str, Any] = {}
        for name in names:
            tracer = trace.input(state[name], f"{name}")
            self.arrays.append((tracer, p, name, _layout(state[name])))
            buffers[name] = tracer
        kept = dict(buffers)
        if not self.optimizer.elementwise:
            buffers = {**numbers, **buffers}
        g = np.negative(g) if group.get("maximize") else g
        if p.dtype.kind == "c":  # the real and the imaginary parts are updated, and written back together
            pairs, g = {name: _parts(x) for name, x in kept.items()}, _parts(g)
            moved = _parts(w)
            buffers.update(pairs)
            self.optimizer.update(moved, g, buffers, coefficients)
            for x, pair in ((w, moved), *zip(kept.values(), pairs.values())):
                x[...] = pair[..., 0] + 1j * pair[..., 1]
            kept = pairs
        else:
            self.optimizer.update(w, g, buffers, coefficients)
        if any(buffers[name] is not tracer for name, tracer in kept.items()) or len(buffers) > len(names) + (
            0 if self.optimizer.elementwise else len(numbers)
        ):
            trace.refuse(f"{type(self.optimizer).__name__}.update replaces an array of its state", "write into it")

    # At a call

    def _ways(self, group: dict[str, Any]) -> Any:
        """What of a group's options decides how it is computed; its numbers come as coefficients."""
        switches = {k: v for k, v in group.items() if v is None or isinstance(v, (bool, str))}
        return self.optimizer.buffers(group), switches

    def _regrouped(self) -> bool:
        """Whether the groups are no more what the program was made for."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self._groups) or self.optimizer.step_hooks:
            return True
        for i, (group, (known, params, ways, values)) in enumerate(zip(groups, self._groups)):
            if group is not known or len(group["params"]) != len(params) or not all(map(is_, group["params"], params)):
                return True
            if len(group) != len(values) or not all(map(is_, group.values(), values)):
                if self._ways(group) != ways:
                    return True
                self._groups[i] = known, params, ways, [*group.values()]
        return False

    def advanced(self) -> tuple[list[Any], list[tuple[list[dict[str, Any]], dict[str, Any]]], list[Any]] | None:
        """The numbers that the program takes, the numbers of the state after the step, and the state's arrays as they
        are now; None where groups or state are no more what the program was made for."""
        if self._regrouped():
            return None
        state = self.optimizer.state.__getitem__
        values: list[Any] = []
        arrays: list[Any] = []
        after = []
        for params, group, fixed, names in self.parts:
            states = [*map(state, params)]
            numbers = {k: v for k, v in states[0].items() if not isinstance(v, np.ndarray)}
            count = len(states)
            try:
                if [*map(len, states)].count(len(states[0])) != count:
                    return None
                for k, v in numbers.items():
                    if [own[k] for own in states].count(v) != count:
                        return None
                if names:
                    found = map(itemgetter(*names), states)
                    arrays += found if len(names) == 1 else chain.from_iterable(found)
            except KeyError:
                return None
            forward = dict(numbers)
            given = self.optimizer.advance(forward, group)
            flat = isinstance(given, tuple) and len(given) == len(fixed)  # as most are
            leaves = given if flat else flatten(given)[0]
            if len(leaves) != len(fixed):
                return None
            for x, known in zip(leaves, fixed):
                if known is None:
                    if type(x) is not float and type(x) is not int:
                        return None
                    values.append(x)
                elif x != known:
                    return None
            if forward:
                after.append((states, forward))
        return values, after, arrays

    def fits(self, arrays: list[Any]) -> bool:
        """Whether the state's arrays are such as the program was made for."""
        return all(
            isinstance(x, np.ndarray)
            and x.shape == shape
            and (x.dtype is dtype or x.dtype == dtype)
            and x.strides == strides
            for x, (_, _, _, (shape, dtype, strides)) in zip(arrays, self.arrays, strict=True)
        )


def _parts(z: Any) -> Any:
    return np.stack([z.real, z.imag], -1)


def _layout(array: Any) -> tuple[Any, ...]:
    return array.shape, array.dtype, array.strides
