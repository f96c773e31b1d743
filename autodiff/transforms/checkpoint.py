"""Less memory for more time: a part of a graph that is computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import ref

import numpy as np

from ..backward import of_dtype, reverse
from ..batching.examples import depth, no_less
from ..mode import differentiating, is_grad_enabled, mode
from ..opaque import drawing
from ..ops.guards import common
from ..ops.shape import concatenate
from ..primitive import Primitive, new_node, watched
from ..tensor import Tensor, clock, is_foreign, number_of, owner_of, plain, wrap
from ..untaken import answer, answered
from .tree import Form, flatten


def checkpoint(f: Callable[..., Any], *args: Any, rng: Any = None, **kwargs: Any) -> Any:
    """``f(*args)``, keeping nothing of what happens inside: the backward pass runs `f` a second time for it.

    A chain of n pieces that are checkpointed needs memory for one piece and n boundaries, in place of n pieces, and
    takes one more forward pass.

    Args:
        f: a function that returns a Tensor, or a nested list, tuple or dict of Tensors. Gradients reach the Tensors
            among its arguments and all that it closes over (a layer's parameters). It must do the same each time.
        args, kwargs: its arguments.
        rng: the `numpy.random.Generator` that `f` draws from, or a sequence of them: for the second run they are put
            back to where they were for the first, so that a dropout mask, say, is the same.

    Returns:
        What ``f(*args)`` returns, with the same gradients to any order.

    Raises:
        TypeError: f does not return Tensors, or `rng` is not a Generator.
        RuntimeError: (in the backward pass) the second run gave other values, or used other tensors, than the first.

    A picture or table opens it with ``expand="checkpoint"``, for which `f` runs once more.

    Source: Chen et al., "Training deep nets with sublinear memory cost", 2016.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = checkpoint(lambda t: np.exp(t) * t, x)
    >>> y
    Tensor([ 2.71828183, 14.7781122 ], op='checkpoint')
    >>> y.sum().backward()
    >>> x.grad
    Tensor([ 5.43656366, 22.1671683 ])
    """
    if not callable(f):
        raise TypeError(f"checkpoint: needs a function and its arguments, not {f!r:.80}")
    call = _Call(f, args, kwargs, rng)
    if not is_grad_enabled():
        return f(*args, **kwargs)
    outputs, form, _, older = call.traced()
    if not older:  # nothing that gradients could reach
        return form.build(outputs)
    call.numbers, call.inputs = tuple(older), tuple(older.values())
    data, params = _joined([outputs[i] for i in call.inside]), {"call": call}
    record, watch = f.record if isinstance(f, InParts) else _RECORD, mode.get()
    if watch is True:
        node = new_node(data, record, call.inputs, params)
    else:
        node = watched(watch, data, True, record, call.inputs, params)
    call.node = ref(node)
    start = 0
    for i in call.inside:
        y = outputs[i]
        part = node if len(call.inside) == 1 else node[start : start + y.size].reshape(y.shape)
        outputs[i] = of_dtype(part, y.dtype)
        start += y.size
    return form.build(outputs)


class InParts:
    """A function that says what parts it runs in, to who wants to see inside: ``parts(*args)`` yields the name of each
    before it runs (see `Primitive.expansion`), and returns the result. `record` is what a checkpoint of it is recorded
    as."""

    record: Primitive

    def parts(self, *args: Any) -> Generator[str, None, Any]:
        raise NotImplementedError

    def __call__(self, *args: Any) -> Any:
        return result_of(self.parts(*args))


def result_of(parts: Generator[Any, None, Any]) -> Any:
    """What a generator returns when all of it has run."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            return end.value


class _Call:
    """What is needed to run the function again exactly as it ran first."""

    __slots__ = (
        "args", "asked", "constants", "depth", "f", "generators", "inputs", "inside", "kwargs", "node", "numbers",
        "states",
    )  # fmt: skip

    inputs: tuple[Tensor, ...]  # the tensors that require a gradient, and are older, on which the outputs depend
    numbers: tuple[int, ...]  # theirs at the first run
    constants: list[tuple[Tensor, int]]  # those that it reads and that are older, and their numbers at the first run
    node: ref[Tensor]  # what the first run gave
    inside: list[int]  # which of the outputs were recorded in the run

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], rng: Any) -> None:
        self.f, self.args, self.kwargs = f, args, kwargs
        self.inputs, self.numbers, self.inside, self.constants = (), (), [], []
        self.depth = depth()
        self.generators = () if rng is None else tuple(rng) if isinstance(rng, (tuple, list)) else (rng,)
        for generator in self.generators:
            if not isinstance(generator, np.random.Generator):
                raise TypeError(f"checkpoint: rng= takes a numpy.random.Generator or several, not {generator!r}")
        self.states = [generator.bit_generator.state for generator in self.generators]
        self.asked = drawing.get()

    def __repr__(self) -> str:
        return getattr(self.f, "__name__", type(self.f).__name__)

    def traced(self) -> tuple[list[Tensor], Form, dict[int, Tensor], dict[int, Tensor]]:
        """Run the function: its outputs and their form, the nodes it recorded, and the older tensors they hang on."""
        return result_of(self.tracing())

    def tracing(self) -> Generator[str, None, tuple[list[Tensor], Form, dict[int, Tensor], dict[int, Tensor]]]:
        """The same, saying which part of the function runs next, if it has parts."""
        start = clock()
        with differentiating(), no_less(self.depth):
            if isinstance(self.f, InParts):
                result = yield from self.f.parts(*self.args, **self.kwargs)
            else:
                result = self.f(*self.args, **self.kwargs)
        outputs, form = flatten(result)
        for y in outputs or [None]:
            if not isinstance(y, Tensor):
                raise TypeError(f"checkpoint: {self!r} must return Tensors, not {type(y).__name__}")
        inside = [i for i, y in enumerate(outputs) if y._primitive is not None and y._number > start]
        nodes, older = _since(start, [outputs[i] for i in inside])
        if not self.numbers:  # the first run
            read = [
                x for node in nodes.values() for x in node._inputs if isinstance(x, Tensor) and not x._requires_grad
            ]
            owners = {id(owner): owner for owner in map(owner_of, read)}.values()
            self.inside, self.constants = inside, [(x, x._number) for x in owners if x._number < start]
        elif inside != self.inside:
            raise self.differs(f"recorded outputs {inside}, not {self.inside}")
        return outputs, form, nodes, older

    def pulled(self, g: Any, y: Any) -> dict[int, Any]:
        """The cotangents of the inputs, by number: run again, recording, and reverse what was recorded."""
        recorded, nodes = result_of(self.again())
        self.compare(_joined(recorded), y._ndarray if isinstance(y, Tensor) else y)
        cotangents: dict[int, Any] = {}
        known = answer.get()  # which entries of g may change, if the pass that this is a part of has found that out
        changes: dict[int, Any] = {}
        start = 0
        for z in recorded:
            n, whole, piece = z._number, len(recorded) == 1, slice(start, start + z.size)
            part = g if whole else g[piece].reshape(z.shape)
            start += z.size
            if known is not None:
                also = known if whole else known[piece].reshape(z.shape)
                changes[n] = changes[n] | also if n in changes else also
            cotangents[n] = cotangents[n] + part if n in cotangents else part
        # Only the new nodes are walked; what is left in `cotangents` belongs to the older tensors.
        with answered(None):
            reverse(cotangents, nodes, {}, isinstance(g, Tensor), changes=True if known is None else changes)
        return cotangents

    def again(self) -> Generator[str, None, tuple[list[Tensor], dict[int, Tensor]]]:
        """Run the function a second time, saying which part runs next: the outputs that it recorded, and all nodes."""
        for x, n in (*zip(self.inputs, self.numbers), *self.constants):
            if number_of(x) != n:
                raise self.differs(
                    f"would read a tensor (shape {x.shape}) that was written or assigned since the first"
                )
        with self.same_random_numbers():
            outputs, _, nodes, older = yield from self.tracing()
        unknown = older.keys() - set(self.numbers)
        if unknown:
            shapes = ", ".join(str(older[n].shape) for n in sorted(unknown))
            raise self.differs(f"used tensors (of shape {shapes}) that the first run did not")
        return [outputs[i] for i in self.inside], nodes

    def compare(self, again: Any, first: Any) -> None:
        if again.shape != first.shape:
            raise self.differs(f"gave shape {again.shape}, not {first.shape}")
        with np.errstate(invalid="ignore"):
            scale = np.max(np.where(np.isfinite(first), np.abs(first), 0), initial=0.0)
            close = np.abs(again - first) <= 1e4 * np.finfo(first.dtype).eps * scale
        close = close | (again == first) | (np.isnan(again) & np.isnan(first))
        if not common(np.all(close)):
            if is_foreign(first):
                raise self.differs("gave other values")
            i = np.unravel_index(np.argmin(close), np.shape(first))
            raise self.differs(
                f"gave {np.asarray(again)[i]}, not {np.asarray(first)[i]}, at index {tuple(map(int, i))}"
            )

    def differs(self, how: str) -> RuntimeError:
        return RuntimeError(
            f"checkpoint: the second run of {self!r} {how}. It must do the same each time: pass its random generators "
            f"as rng=, and do not change what it reads before the backward pass"
        )

    @contextmanager
    def same_random_numbers(self) -> Iterator[None]:
        now = [generator.bit_generator.state for generator in self.generators]
        for generator, state in zip(self.generators, self.states):
            generator.bit_generator.state = state
        token = drawing.set(self.asked)
        try:
            yield
        finally:
            drawing.reset(token)
            for generator, state in zip(self.generators, now):
                generator.bit_generator.state = state


def _pulled(g: Any, y: Any, *inputs: Any, call: _Call) -> list[Any]:
    """The cotangents of all inputs, from one second run."""
    found, given = call.pulled(g, y), []
    for x in call.inputs:
        d = found.get(x._number)
        if d is None:
            d = np.zeros_like(plain(x))
            d = wrap(d) if isinstance(g, Tensor) else d
        given.append(d)
    return given


def _no_replay(*arrays: Any, call: _Call) -> Any:
    raise TypeError(f"checkpoint: {call!r} cannot be run on other arrays than it was recorded with")


def _opened(*inputs: Any, call: _Call) -> Any:
    """The function as it runs; its outputs, if there are several, are joined as those of the first run."""
    recorded, _ = yield from call.again()
    if (first := call.node()) is not None:
        call.compare(_joined(recorded), first._ndarray)
    if len(recorded) == 1:
        return recorded[0]
    yield None
    return concatenate([y.reshape(-1) for y in recorded])


def recorded_as(name: str) -> Primitive:
    """The record of a checkpoint that pictures call by this name."""
    return Primitive(name, _no_replay, joint=_pulled, formula=f"{name}({{0}})", expansion=_opened)


_RECORD = recorded_as("checkpoint")


def _since(start: int, roots: Sequence[Tensor]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """The nodes made after `start` from which the roots were computed, and the older tensors they were made of."""
    nodes, older = {root._number: root for root in roots}, {}
    stack = list(nodes.values())
    while stack:
        for x in stack.pop()._inputs:
            if isinstance(x, Tensor) and x._requires_grad:
                n = x._number
                if n < start:
                    older[n] = x
                elif n not in nodes and x._primitive is not None:
                    nodes[n] = x
                    stack.append(x)
    return nodes, older


def _joined(outputs: Sequence[Tensor]) -> Any:
    """The values of one output, or of several along one axis, in memory that holds no more than them."""
    if len(outputs) > 1:
        return np.concatenate([y._ndarray.reshape(-1) for y in outputs])
    data = outputs[0]._ndarray
    base = getattr(data, "base", None)
    return data if base is None or getattr(base, "nbytes", 0) <= data.nbytes else data.copy()
