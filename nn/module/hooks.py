"""Hooks of modules: functions that look at, and may replace, what goes into a module and what comes out of it.

`call` is what a module with hooks does in place of calling `forward`. Hooks of the backward pass need all gradients of
a module's inputs (or outputs) at once; gates, through which these tensors pass, bring them together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from autodiff import Tensor, is_grad_enabled
from autodiff.leaving import user_level
from autodiff.primitive import Sample, declare
from autodiff.tensor import HookHandle

FORWARD_PRE, FORWARD, BACKWARD_PRE, BACKWARD = "forward_pre", "forward", "full_backward_pre", "full_backward"


class Hook(NamedTuple):
    """A registered function."""

    kind: str
    function: Callable[..., Any]
    with_kwargs: bool


def register(hooks: dict[Any, Hook], kind: str, function: Any, prepend: bool, with_kwargs: bool = False) -> HookHandle:
    """Put a function among the hooks, first of its kind with `prepend`."""
    if not callable(function):
        raise TypeError(f"register_{kind}_hook: takes a function, not {function!r:.80}")
    handle = HookHandle(hooks)
    while handle.key in hooks:  # of an unpickled module, whose keys come from another process
        handle = HookHandle(hooks)
    others = list(hooks.items()) if prepend else []
    if prepend:
        hooks.clear()
    hooks[handle.key] = Hook(kind, function, with_kwargs)
    hooks.update(others)
    return handle


def call(module: Any, hooks: dict[Any, Hook], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of ``module.forward(*args, **kwargs)``, with the hooks around it."""
    found: dict[str, list[Any]] = {FORWARD_PRE: [], FORWARD: [], BACKWARD_PRE: [], BACKWARD: []}
    for hook in hooks.values():
        found[hook.kind].append(hook if hook.kind in (FORWARD_PRE, FORWARD) else hook.function)
    for hook in found[FORWARD_PRE]:
        if hook.with_kwargs:
            new = hook.function(module, args, kwargs)
            if new is not None:
                if not (isinstance(new, tuple) and len(new) == 2 and isinstance(new[1], dict)):
                    raise TypeError(
                        f"{_name(module)}: a forward pre-hook with_kwargs returns None or (args, kwargs), not {new!r}"
                    )
                args, kwargs = new
                args = args if isinstance(args, tuple) else (args,)
        else:
            new = hook.function(module, args)
            if new is not None:
                args = new if isinstance(new, tuple) else (new,)
    backward = found[BACKWARD] + found[BACKWARD_PRE] and is_grad_enabled()
    if backward:
        passage = _Passage(module, found[BACKWARD_PRE], found[BACKWARD])
        args = passage.inward(args)
    result = module.forward(*args, **kwargs)
    for hook in found[FORWARD]:
        inputs = (args, kwargs) if hook.with_kwargs else (args,)
        new = hook.function(module, *inputs, result)
        if new is not None:
            result = new
    return passage.outward(result) if backward else result


def _name(module: Any) -> str:
    return type(module).__name__


# Gates. A gate is the identity with a second input, the junction, which all gates of one group share. The junction is
# worth nothing and adds nothing to a gradient; it is there to be reached in the backward pass after all its gates and
# before what lies behind them, whichever of the gates are reached at all.

_junction = declare(
    "hook_junction", lambda *xs: np.zeros_like(xs[0], shape=()), each=lambda i, g, y, *xs: np.zeros_like(xs[i]),
    formula="0", derivatives=["0", "0"],
    samples=lambda rng: [Sample((rng.normal(size=(2, 3)), rng.normal(size=())))],
    doc="Where the gradients of a module's inputs or outputs meet, for its hooks; 0.",
)  # fmt: skip

_gate = declare(
    "hook_gate", lambda x, junction: x[...], [lambda g, y, x, j: g, lambda g, y, x, j: np.zeros_like(j)],
    formula="{0}", derivatives=["1", "0"],
    samples=lambda rng: [Sample((rng.normal(size=(2, 3)), rng.normal(size=()))), Sample((rng.normal(size=3), 0.0))],
    doc="The identity; its gradient passes a module's hooks.",
)  # fmt: skip

Gradients = tuple[Any, ...]


class _Group:
    """Tensors whose gradients pass together: `function` gets them all (None where there is none) and returns None or
    their replacements."""

    def __init__(self, function: Callable[[list[Any]], Sequence[Any] | None]) -> None:
        self.function = function

    def passed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        behind = [_gate(x, 0.0) for x in tensors]
        junction = _junction(*behind)
        front = [_gate(x, junction) for x in behind]
        self.met: list[Any] = [None] * len(front)
        self.new: list[Any] = [None] * len(front)
        for i, (gate, inner) in enumerate(zip(front, behind)):
            gate.register_hook(self._meeting(i))
            inner.register_hook(self._replacing(i))
        junction.register_hook(self._all_met)
        return front

    def _meeting(self, i: int) -> Callable[[Tensor], None]:
        def meet(g: Tensor) -> None:
            self.met[i] = g

        return meet

    def _all_met(self, _: Tensor) -> None:
        met, self.met = self.met, [None] * len(self.met)  # what is kept here would outlive the backward pass
        new = self.function(met)
        self.new = [None] * len(met) if new is None else list(new)

    def _replacing(self, i: int) -> Callable[[Tensor], Any]:
        def replace(g: Tensor) -> Any:
            new, self.new[i] = self.new[i], None
            return new

        return replace


class _Passage:
    """One call of a module with hooks of the backward pass."""

    def __init__(self, module: Any, before: list[Any], after: list[Any]) -> None:
        self.module, self.before, self.after = module, before, after
        self.inputs: int = 0
        self.places_in: list[int] = []
        self.grad_output: Gradients = ()

    def inward(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.inputs = len(args)
        self.places_in, args = self._gated(args, self._on_grad_input if self.after else None)
        return args

    def outward(self, result: Any) -> Any:
        values = result if isinstance(result, tuple) else (result,)
        if not any(isinstance(v, Tensor) for v in values):
            warnings.warn(
                f"{_name(self.module)}: its backward hooks need an output that is a Tensor or a tuple of Tensors, "
                f"not {type(result).__name__}; they will not be called",
                stacklevel=user_level(),
            )
            return result
        self.outputs = len(values)
        self.places_out, values = self._gated(values, self._on_grad_output)
        if not isinstance(result, tuple):
            return values[0]
        return type(result)(*values) if hasattr(result, "_fields") else values

    @staticmethod
    def _gated(values: tuple[Any, ...], function: Any) -> tuple[list[int], tuple[Any, ...]]:
        places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
        if not places or function is None:
            return places, values
        mixed = list(values)
        for i, x in zip(places, _Group(function).passed([values[i] for i in places])):
            mixed[i] = x
        return places, tuple(mixed)

    def _on_grad_output(self, met: list[Any]) -> Sequence[Any] | None:
        grads, replaced = _spread(met, self.places_out, self.outputs), False
        for function in self.before:
            new = function(self.module, grads)
            if new is not None:
                grads, replaced = self._checked(new, self.outputs, "pre-hook", "grad_output"), True
        if self.after:
            if self.places_in:
                self.grad_output = grads
            else:  # no gradient will go further: this is the time
                self._run((None,) * self.inputs, grads)
        return [grads[i] for i in self.places_out] if replaced else None

    def _on_grad_input(self, met: list[Any]) -> Sequence[Any] | None:
        grad_output, self.grad_output = self.grad_output, ()
        new = self._run(_spread(met, self.places_in, self.inputs), grad_output)
        return None if new is None else [new[i] for i in self.places_in]

    def _run(self, grad_input: Gradients, grad_output: Gradients) -> Gradients | None:
        replaced = None
        for function in self.after:
            new = function(self.module, grad_input, grad_output)
            if new is not None:
                grad_input = replaced = self._checked(new, self.inputs, "hook", "grad_input")
        return replaced

    def _checked(self, new: Any, n: int, hook: str, what: str) -> Gradients:
        grads: Gradients = tuple(new) if isinstance(new, (tuple, list)) else (new,)
        if len(grads) != n:
            raise ValueError(
                f"{_name(self.module)}: a full backward {hook} returned {len(grads)} gradients, "
                f"{what} has {n} (None where there is none)"
            )
        return grads


def _spread(values: list[Any], places: list[int], n: int) -> Gradients:
    spread: list[Any] = [None] * n
    for i, value in zip(places, values):
        spread[i] = value
    return tuple(spread)
