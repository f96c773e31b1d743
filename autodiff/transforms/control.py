"""Control flow as operations: loops that carry a state, and branches.

In an ordinary run the steps are recorded as they happen, and their derivatives, to any order, are those of the
operations inside. `staging` is where somebody who writes programs down may take a loop or a branch as one.

Order: what is handed over, scan, cond, while_loop, what they check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..mode import no_grad
from ..ops.shape import concatenate, stack
from ..primitive import as_tensor
from ..tensor import Tensor, wrap
from .checkpoint import InParts, recorded_as, result_of
from .checkpoint import checkpoint as recomputed
from .tree import Form, flatten, tree_map

Function = Callable[..., Any]
Leaves = list[Tensor]


class Staging(Protocol):
    """What takes control flow whole. Each method returns what the function of its name returns, or NotImplemented,
    where nothing that it knows is met, and the steps are then run as ever."""

    def scan(self, loop: Scan) -> Any: ...
    def cond(self, holds: Any, f: Function, g: Function, args: tuple[Any, ...]) -> Any: ...
    def while_loop(self, loop: While) -> Any: ...
    def attempted(self, f: Callable[[], Any]) -> Any:
        """What a function gives; where it fails, nothing is left of that."""


staging: ContextVar[Staging | None] = ContextVar("autodiff_staging", default=None)
"""Who is asked before a loop or branch runs, in this thread and async task."""


@dataclass(slots=True, eq=False)
class Scan:
    """A loop of a known number of steps: ``step(carry, x, t)`` on leaves, checked, is all that its runs differ in."""

    f: Function
    carry: Leaves
    carry_form: Form
    xs: Leaves
    xs_form: Form
    length: int
    reverse: bool
    segment: int
    """After how many steps a carry is kept and the steps between are computed again; 0 for never."""
    rng: Any
    y_form: Form | None = None  # known after a step

    def step(self, carry: Sequence[Tensor], x: Sequence[Tensor], t: int) -> tuple[Leaves, Leaves]:
        """The leaves of the next carry and of y."""
        result = self.f(self.carry_form.build(carry), self.xs_form.build(x))
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"scan: {_name(self.f)} must return a pair (carry, y), y may be None, not {_shown(result)}")
        following, y = result
        state = _kept("scan", "carry", following, self.carry_form, self.carry, t)
        if self.y_form is None:
            values, self.y_form = flatten(y)
        else:
            values = self.y_form.leaves_of(y, f"scan: step {t}: y")
        return state, [as_tensor(v, "scan") for v in values]

    def part(self, carry: Leaves, xs: Leaves, steps: range) -> Generator[str, None, tuple[Leaves, Leaves]]:
        """Several steps, each named before it runs: the carry after them, and what they gave, stacked in the order of
        xs."""
        found: list[Leaves] = []
        for t in reversed(steps) if self.reverse else steps:
            yield f"step {t + 1}"
            carry, y = self.step(carry, [x[t - steps.start] for x in xs], t)
            found.append(y)
            for path, new, first in zip(_paths(self.y_form), y, found[0]):
                if new.shape != first.shape:
                    raise ValueError(f"scan: step {t}: y{path} has shape {new.shape}, but {first.shape} before")
        if self.reverse:
            found.reverse()
        yield "outputs stacked"
        return carry, [stack(column) for column in zip(*found)]

    def parts(self) -> Iterator[range]:
        """The steps in pieces: those that are computed again, or as many as keep what a gradient of xs adds up small
        (a slice's cotangent is as large as what it was cut from)."""
        size = self.segment or (self.length if self.length <= _FLAT or not self.xs else math.isqrt(self.length))
        pieces = [range(start, min(start + size, self.length)) for start in range(0, self.length, max(size, 1))]
        yield from reversed(pieces) if self.reverse else pieces


_FLAT = 256


def scan(
    f: Function,
    carry: Any,
    xs: Any = None,
    *,
    length: int | None = None,
    reverse: bool = False,
    checkpoint: bool | int | None = None,
    rng: Any = None,
) -> tuple[Any, Any]:
    """A loop that carries a state over the first axis of `xs`: ``carry, y = f(carry, x)`` at every step, the y stacked.

        for t in range(length):
            carry, ys[t] = f(carry, xs[t])

    Args:
        f: a function of the carry and a slice of `xs` that returns the pair ``(carry, y)``, both Tensors or nested
            lists, tuples and dicts of them; the carry keeps its form, shapes and dtypes, y may be None. Gradients reach
            all that f closes over.
        carry: the state at the start, an array, a number or nested ones.
        xs: arrays of shape (length, …), or nested ones, or None.
        length: the number of steps, needed where `xs` is None.
        reverse: go from the last slice to the first; y keeps the place of its x.
        checkpoint: True keeps about √length carries in place of all steps, and the backward pass runs the steps between
            them again, so that memory grows with √length; a number of steps keeps the carry after that many.
        rng: with `checkpoint`, the `numpy.random.Generator` that `f` draws from, or several, as for `ad.checkpoint`.

    Returns:
        ``(carry, ys)``: the state after the last step and what the steps gave, of shape (length, …), as Tensors. Of no
        steps, `f` is run once on zeros, to see what it gives.

    Raises:
        TypeError: f returns no pair, a carry of another dtype, or an argument is not of its kind.
        ValueError: the carry changes its form or shape, y its shape, or the lengths of `xs` (and `length`) differ.

    Source: the semantics of ``jax.lax.scan``; the memory of Chen et al., "Training deep nets with sublinear memory
    cost", 2016.

    >>> scan(lambda total, x: (total + x, total), 0.0, np.array([1.0, 2.0, 3.0]))
    (Tensor(6.), Tensor([0., 1., 3.]))
    >>> from autodiff import grad
    >>> grad(lambda rate: scan(lambda y, _: (y + rate * y, None), 1.0, length=3)[0])(1.0)  # of (1 + rate)³
    12.0
    """
    loop = _scan(f, carry, xs, length, reverse, checkpoint, rng)
    taken = _handed_over("scan", loop)
    if taken is not NotImplemented:
        return taken
    state, pieces = loop.carry, []
    for steps in loop.parts():
        whole = len(steps) == loop.length
        xs_part = loop.xs if whole else [x[steps.start : steps.stop] for x in loop.xs]
        if loop.segment:
            state, ys = recomputed(_Part(loop, steps), state, xs_part, rng=rng)
        else:
            state, ys = result_of(loop.part(state, xs_part, steps))
        pieces.append(ys)
    if not pieces:
        return loop.carry_form.build(state), _nothing(loop)
    if loop.reverse:
        pieces.reverse()
    assert loop.y_form is not None
    ys = pieces[0] if len(pieces) == 1 else [concatenate(column) for column in zip(*pieces)]
    return loop.carry_form.build(state), loop.y_form.build(ys)


class _Part(InParts):
    """Some steps of a loop as the function that a checkpoint runs twice, called as the user's is."""

    record = recorded_as("scan")

    def __init__(self, loop: Scan, steps: range) -> None:
        self.loop, self.steps, self.__name__ = loop, steps, _name(loop.f)

    def parts(self, carry: Leaves, xs: Leaves) -> Generator[str, None, tuple[Leaves, Leaves]]:
        return self.loop.part(carry, xs, self.steps)


def _scan(f: Any, carry: Any, xs: Any, length: Any, reverse: Any, checkpoint: Any, rng: Any) -> Scan:
    """The loop that these arguments mean."""
    _function("scan", f)
    if not isinstance(reverse, (bool, np.bool_)):
        raise TypeError(f"scan: reverse is True or False, not {reverse!r}")
    slices, form = _tensors("scan: xs", xs)
    lengths = [x.shape[0] if x.ndim else None for x in slices]
    for path, x, n in zip(form.paths(), slices, lengths):
        if n is None:
            raise ValueError(f"scan: xs{path} has shape (), but xs are cut along their first axis; close over it in f")
        if n != lengths[0]:
            raise ValueError(f"scan: xs{path} has shape {x.shape}, {n} steps, but xs{form.paths()[0]} {lengths[0]}")
    if length is not None:
        length = _count("scan", "length", length, 0)
        if lengths and length != lengths[0]:
            raise ValueError(f"scan: length is {length}, but xs have {lengths[0]} slices; leave length out")
    elif not lengths:
        raise ValueError("scan: without xs the number of steps is given as length=")
    steps = lengths[0] if length is None else length
    assert steps is not None
    segment = 0
    if checkpoint is not None and not isinstance(checkpoint, (bool, np.bool_)):
        segment = _count("scan", "checkpoint (True, False or a number of steps)", checkpoint, 1)
    elif checkpoint:
        segment = max(1, math.isqrt(max(steps - 1, 0)) + 1)
    return Scan(f, *_state("scan: carry", carry), slices, form, steps, bool(reverse), segment, rng)


def _nothing(loop: Scan) -> Any:
    """The ys of no steps, of shape (0, …)."""
    zeros = [wrap(np.zeros(x.shape[1:], x.dtype)) for x in loop.xs]
    with no_grad(), np.errstate(all="ignore"):
        ys = loop.step([x.detach() for x in loop.carry], zeros, 0)[1]
    assert loop.y_form is not None
    return loop.y_form.build([wrap(np.zeros((0, *y.shape), y.dtype)) for y in ys])


# Branches


def cond(pred: Any, f: Function, g: Function, *args: Any) -> Any:
    """``f(*args)`` where `pred` is true, else ``g(*args)``; the other is not run, and gradients go through the one that
    was.

    Args:
        pred: a boolean or integer, or a Tensor or array of shape () of those.
        f, g: functions that return a Tensor, or a nested list, tuple or dict of them, both of the same form, shapes and
            dtypes where the program is to be compiled.
        args: their arguments, arrays, numbers or nested ones.

    Returns:
        What the branch returns, as Tensors.

    Raises:
        TypeError: `pred` is no truth value, or f or g no function.
        ValueError: `pred` has other than one element.

    >>> cond(True, np.sin, np.cos, 0.0), cond(False, np.sin, np.cos, 0.0)
    (Tensor(0.), Tensor(1.))
    >>> from autodiff import grad
    >>> grad(lambda x: cond(x > 1, lambda x: x * x, lambda x: 1 / x, x))(3.0)
    6.0
    """
    _function("cond", f)
    _function("cond", g)
    operands = tuple([form.build(leaves) for leaves, form in [_tensors("cond: an argument", a) for a in args]])
    taken = _handed_over("cond", pred, f, g, operands)
    if taken is not NotImplemented:
        return taken
    return _rebuilt("cond: the result", (f if _truth("cond: pred", pred) else g)(*operands))


# Loops whose end is found on the way


@dataclass(slots=True, eq=False)
class While:
    """A loop that runs while a condition holds: ``holds(state)`` and ``step(state, t)`` on leaves, checked."""

    cond_fun: Function
    body_fun: Function
    state: Leaves
    form: Form
    max_steps: int | None

    def condition(self, state: Sequence[Tensor]) -> Any:
        """What `cond_fun` returns, a constant."""
        with no_grad():
            return self.cond_fun(self.form.build(state))

    def holds(self, state: Sequence[Tensor]) -> bool:
        return _truth(f"while_loop: the condition {_name(self.cond_fun)}", self.condition(state))

    def step(self, state: Sequence[Tensor], t: int) -> Leaves:
        result = self.body_fun(self.form.build(state))
        return _kept("while_loop", "state", result, self.form, self.state, t)


def while_loop(cond_fun: Function, body_fun: Function, init: Any, *, max_steps: int | None = None) -> Any:
    """A state that `body_fun` changes as long as `cond_fun` holds of it.

        while cond_fun(state):
            state = body_fun(state)

    Steps are recorded as they run, so the derivative, of any order, is that of the steps that were taken (their number
    is constant nearby, or else the derivative is one-sided). `max_steps` bounds their number, and with it the memory.

    Args:
        cond_fun: a function of the state that returns a boolean.
        body_fun: a function of the state that returns the next, of the same form, shapes and dtypes.
        init: the state at the start, an array, a number or nested lists, tuples and dicts of those.
        max_steps: the largest number of steps that are allowed.

    Returns:
        The state for which the condition does not hold, as Tensors in the form of `init`.

    Raises:
        RuntimeError: the condition still holds after `max_steps` steps.
        TypeError: the condition is no truth value, or the state changes its dtype.
        ValueError: the state changes its form or a shape.

    >>> halved = lambda x: while_loop(lambda x: x > 1, lambda x: x / 2, x)
    >>> halved(12.0)
    Tensor(0.75)
    >>> from autodiff import grad
    >>> grad(halved)(12.0)
    0.0625
    """
    _function("while_loop", cond_fun)
    _function("while_loop", body_fun)
    bound = None if max_steps is None else _count("while_loop", "max_steps", max_steps, 0)
    loop = While(cond_fun, body_fun, *_state("while_loop: init", init), bound)
    taken = _handed_over("while_loop", loop)
    if taken is not NotImplemented:
        return taken
    state, t = loop.state, 0
    while loop.holds(state):
        if t == bound:
            raise RuntimeError(
                f"while_loop: the condition {_name(cond_fun)} still holds after max_steps={bound} steps; allow "
                f"more, or let it also end by a count in the state"
            )
        state, t = loop.step(state, t), t + 1
    return loop.form.build(state)


# What they check


def _handed_over(construct: str, *given: Any) -> Any:
    whole = staging.get()
    return NotImplemented if whole is None else getattr(whole, construct)(*given)


def _tensors(where: str, tree: Any) -> tuple[Leaves, Form]:
    leaves, form = flatten(tree)
    return [as_tensor(x, where) for x in leaves], form


def _state(where: str, tree: Any) -> tuple[Leaves, Form]:
    """A state to start with, in memory of its own: of no steps it is the result."""
    return _tensors(where, tree_map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, tree))


def _rebuilt(where: str, tree: Any) -> Any:
    leaves, form = _tensors(where, tree)
    return form.build(leaves)


def _kept(where: str, what: str, result: Any, form: Form, first: Sequence[Tensor], t: int) -> Leaves:
    """The leaves of a state, which must be like those it started with."""
    leaves = [as_tensor(x, where) for x in form.leaves_of(result, f"{where}: step {t}: the {what}")]
    for i, (new, old) in enumerate(zip(leaves, first)):
        if new.shape != old.shape:
            raise ValueError(
                f"{where}: step {t}: {what}{form.paths()[i]} has shape {new.shape}, but it began with {old.shape}; a "
                f"state keeps its shapes"
            )
        if new.dtype != old.dtype:
            raise TypeError(
                f"{where}: step {t}: {what}{form.paths()[i]} has dtype {new.dtype}, but it began with {old.dtype}; "
                f"begin with {new.dtype}, or return it as .astype({str(old.dtype)!r})"
            )
    return leaves


def _paths(form: Form | None) -> list[str]:
    return [] if form is None else form.paths()


def _truth(where: str, value: Any) -> bool:
    """A truth value as Python's own."""
    return bool(truth_value(where, value))


def truth_value(where: str, value: Any) -> Any:
    """A value that decides, which is one boolean or integer."""
    dtype, size = getattr(value, "dtype", np.dtype(type(value) if isinstance(value, int) else object)), np.size(value)
    if dtype.kind not in "biu":
        what = f"of dtype {dtype}" if hasattr(value, "dtype") else repr(value)
        raise TypeError(f"{where} is a boolean, not {what}; write a comparison, such as x > 0")
    if np.ndim(value) or size != 1:
        raise ValueError(f"{where} has shape {np.shape(value)}, but a branch takes one boolean; write .any() or .all()")
    return value


def _function(where: str, f: Any) -> None:
    if not callable(f):
        raise TypeError(f"{where}: needs a function, not {f!r:.80}")


def _count(where: str, what: str, value: Any, least: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{where}: {what} is an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{where}: {what} is at least {least}, not {value}")
    return int(value)


def _name(f: Any) -> str:
    return getattr(f, "__name__", type(f).__name__)


def _shown(result: Any) -> str:
    return f"a tuple of {len(result)}" if isinstance(result, tuple) else f"a {type(result).__name__}"
