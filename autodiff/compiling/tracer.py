"""An array that writes down what is done with it.

A `Tracer` holds the values that it has in this run and speaks NumPy's protocols, so that forward functions, rules and
whole reverse passes run on it as they run on arrays; each NumPy call becomes a node of the program. What NumPy's
functions become is in lowering.py. Order: errors, the trace, what runs on values, the array, the number, operators.
"""

from __future__ import annotations

import functools
import inspect
import operator
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..batching.batch import Batch, get, level_of
from ..device_arrays import ARRAYS, DeviceArray
from ..leaving import asked_by, in_place_of, user_line, user_place
from ..opaque import Opaque
from ..ops.guards import common
from ..standing_in import ARITHMETIC, COMPARISONS, METHODS, SIGNS, give_operators
from ..tensor import Tensor
from .program import Node, Program, arranged, program_of, trimmed


class TraceError(TypeError):
    """Raised where a function does with a traced array what no program can repeat; it names the user's line."""


class Uncommon(Exception):
    """Raised where a rule did not take its common branch: the program of another run is the one to keep."""


class Unrolled(Exception):
    """Raised where a loop or a branch cannot be one operation: its steps are to be written out, as Python runs them."""


_SMALL = 16

_AROUND = (Tensor, Batch)
"""Types that hold traced arrays: NumPy is to ask them, where they meet one."""


class Trace:
    """The nodes written down so far; a call that was made before with the same inputs is the same node.

    Args:
        rare: whether a rule that does not take its common branch is followed, under a guard, for want of other values.
        opened: of which functions that are taken whole, by name, the calls inside are written down where that can be.
    """

    def __init__(self, rare: bool = False, opened: Callable[[str], bool] = lambda name: False) -> None:
        self.rare, self.opened = rare, opened
        self.inputs: list[Node] = []
        self.assumptions: dict[Node, None] = {}
        self.guards: dict[Node, Any] = {}
        self.failure: Exception | None = None
        """The first refusal: whoever catches it does not make the program right."""
        self.raised: Exception | None = None
        """An error of NumPy's that depends on values: whoever catches it goes a way that another run may not go."""
        self.count = 0
        self.called: dict[Any, Called] = {}
        """By function that is called whole without options: one object, so that equal calls are one."""
        self.draws: list[Node] = []
        self.generators: dict[np.random.Generator, Any] = {}
        """What draws inside calls that the program repeats, and its state before the first of them."""
        self.stand_ins: dict[Any, np.random.Generator] = {}
        """The generator for which each stand-in is."""
        self._states: dict[np.random.Generator, str] = {}  # in which the latest draw has left them
        self.depth = 0
        """In how many steps of loops and branches it is."""
        self.held: dict[Node, Any] = {}
        """The values of what was computed with there."""
        self.joined: dict[Node, list[Any]] = {}
        """By node that joins several: the parts, None where they are zeros."""
        self._known: dict[Any, Node] = {}
        self._held: dict[int, Any] = {}  # what is known by its id
        self._small: dict[Any, Any] = {}
        self._before: list[tuple[Any, Any]] = []  # large constants, and what they were when they were met
        self._thread = threading.get_ident()

    def refuse(self, what: str, instead: str, line: str | None = None) -> NoReturn:
        """Raise for what a trace cannot follow; `line`: of the user, the one that runs if it is not given."""
        line = line or user_line()
        error = TraceError(f"ad.compile: {what}; {instead}" + (f"\n  {line}" if line else ""))
        self.failure = self.failure or error
        raise error

    def unroll(self) -> NoReturn:
        """Raise where the steps of a loop are to be written out."""
        self.failure = self.failure or Unrolled()
        raise self.failure

    def uncommon(self, where: str) -> NoReturn:
        """Raise where what is taken for granted does not hold of the values of this run."""
        self.failure = self.failure or Uncommon(where)
        raise self.failure

    @contextmanager
    def inside(self, known: bool = True) -> Iterator[None]:
        """While this is open, calls belong to a step or a branch: they write nothing that was there before. `known`:
        whether others may share what is computed."""
        before = self._known
        self._known = before if known else dict(before)
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            self._known = before

    def followed(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """What a function of traced arrays gives, call by call; NotImplemented where it cannot be followed."""
        before = self.state()
        try:
            return function(*args, **kwargs)
        except Exception:
            self.back_to(before)
            return NotImplemented

    def state(self) -> Any:
        """What a run that may come to nothing adds to, but for nodes, which nobody takes then."""
        return dict(self.guards), dict(self.assumptions), self.failure, self.raised, len(self.draws)

    def back_to(self, state: Any) -> None:
        """As it was in that state."""
        self.guards, self.assumptions, self.failure, self.raised, draws = state
        del self.draws[draws:]

    def stand_in(self, like: Any, name: str) -> Tracer:
        """What a step is given in place of a value."""
        value = np.array(values_of(like), order="C")
        self.count += 1
        return Tracer(
            self, Node("input", (), {}, value.shape, value.dtype, value.strides, False, name, None, self.count), value
        )

    def input(self, value: Any, name: str = "") -> Tracer:
        """A new input of the program."""
        if _is_another_kind(value):
            self.refuse(f"{name or 'an argument'} is {_kind_of(value)}", _instead(value, "x"))
        value = _known(value)
        node = Node("input", (), {}, value.shape, value.dtype, value.strides, name=name)
        self.inputs.append(node)
        tracer = Tracer(self, node, value)
        tracer.start = node
        return tracer

    def drawing(self, args: Any, kwargs: dict[str, Any]) -> None:
        """Note the generators among the arguments of a draw, and what state they are in."""
        for x in (*args, *kwargs.values()):
            if isinstance(x, np.random.Generator) and x not in self.generators:
                self.generators[x] = x.bit_generator.state
                self._states[x] = repr(self.generators[x])
        self.drawn_elsewhere()

    def drawn(self, args: Any, kwargs: dict[str, Any]) -> None:
        """Note in what state a draw has left them."""
        for x in (*args, *kwargs.values()):
            if isinstance(x, np.random.Generator):
                self._states[x] = repr(x.bit_generator.state)

    def drawn_elsewhere(self) -> None:
        """Refuse what was drawn from them in ways that the program does not repeat."""
        if any(repr(x.bit_generator.state) != state for x, state in self._states.items()):
            self.refuse(
                "random numbers are drawn from a generator that the program draws from too, which would be the same at "
                "every call",
                "give the generator as an argument, and draw from that",
            )

    def number(self, value: float, name: str = "") -> Number:
        """A new input of the program that is a Python number at every call."""
        node = Node("input", (), {"weak": True}, (), np.dtype(type(value)), (), name=name)
        self.inputs.append(node)
        return Number(self, node, value)

    def constant(self, value: Any) -> Tracer:
        """A traced array of known values, which nobody else writes."""
        return Tracer(self, np.asarray(value), _known(value))

    def record(self, op: str, inputs: tuple[Any, ...], options: dict[str, Any], value: Any, view: bool = False) -> Any:
        """The tracer of a call's result, or a tuple of them. Of constants it is a constant."""
        if threading.get_ident() != self._thread:
            self.refuse("another thread computes with what is traced here", "compile in each thread, or before")
        constant = "draw" not in options and not any(True for _ in nodes_of(map(stripped, inputs)))
        if isinstance(value, (tuple, list)):
            if constant:
                items = [self.constant(_known(v).copy()) for v in value]
            else:
                whole = self.node(op, inputs, options, np.empty(()))
                items = [self._shown(inputs, v, "item", (whole,), {"index": i}) for i, v in enumerate(value)]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if constant:
            value = _known(value)
            return self.constant(value.copy() if view else value)
        if view:
            return Tracer(self, self.node(op, inputs, options, value, view), value)
        return self._shown(inputs, value, op, inputs, options)

    def _shown(self, given: Any, value: Any, op: str, inputs: Any, options: dict[str, Any]) -> Tracer:
        """The tracer of a node with memory of its own. Where NumPy's result is a view of what was given, a write under
        one name makes the other unreadable."""
        if _is_another_kind(value):
            self.refuse(f"an array of the function is {_kind_of(value)}", _instead(value, "a"))
        value = _known(value)
        marks = [x.written for x in traced(given) if isinstance(x, Tracer) and np.may_share_memory(value, x.value)]
        if isinstance(value, np.generic) or not value.size:
            marks = []
        if any(mark is not marks[0] for mark in marks):
            self.refuse("a result may share the memory of several arrays", "give copies, a.copy()")
        value = value.copy() if marks else value
        result = Tracer(self, self.node(op, inputs, options, value, False), value)
        if marks:
            result.written = marks[0]
        return result

    def node(self, op: str, inputs: tuple[Any, ...], options: dict[str, Any], value: Any, view: bool = False) -> Node:
        """The node of a call."""
        if self.depth:
            self.held.update((x.node, x.value) for x in traced(inputs) if isinstance(x.node, Node))
        inputs = tuple(self._frozen(stripped(x)) for x in inputs)
        key = (op, *map(self._key, inputs), *((k, self._key(v)) for k, v in sorted(options.items())))
        found = self._known.get(key)
        if found is None and op in ("add", "multiply"):
            turned = self._known.get((op, *key[:0:-1]))
            found = turned if turned is not None and turned.strides == value.strides else None
        if found is None:
            found = self._known[key] = self._new(op, inputs, options, value, view)
        return found

    def written_into(self, target: Any, result: Any, name: str, alike: bool) -> Any:
        """The target of ``out=``, which shows a result now; `alike`: where NumPy might compute in its dtype."""
        if not isinstance(target, Tracer):
            self.refuse(f"{name} writes a traced result into a NumPy array", "make a new array, a = a + b")
        if alike and not (isinstance(result, Tracer) and (result.shape, result.dtype) == (target.shape, target.dtype)):
            self.refuse(f"{name} with out= of another shape or dtype", "make a new array, a = np.f(...)")
        return target.write(result)

    def copied(self, tracer: Tracer) -> Node:
        """A node of its own with the values of another, in memory of its own."""
        return self._new("copy", (tracer.node,), {}, tracer.value, False)

    def _new(self, op: str, inputs: tuple[Any, ...], options: dict[str, Any], value: Any, view: bool) -> Node:
        self.count += 1
        if not {"raise", "call"}.isdisjoint(np.geterr().values()):
            self.refuse("np.errstate(...='raise') around a traced call", "check the result, np.isfinite(y).all()")
        place = user_place()
        return Node(op, inputs, options, value.shape, value.dtype, value.strides, view, "", place, self.count)

    def _key(self, x: Any) -> Any:
        if isinstance(x, (tuple, list)):
            return type(x), tuple(map(self._key, x))
        if isinstance(x, slice):
            return slice, self._key(x.start), self._key(x.stop), self._key(x.step)
        if isinstance(x, dict):
            return dict, tuple((k, self._key(v)) for k, v in x.items())
        if type(x) is float:
            return float, x.hex()  # 0.0 and −0.0 are two numbers, NaN is one
        if x is None or x is Ellipsis or type(x) in (bool, int, str):
            return type(x), x
        if isinstance(x, np.dtype):
            return np.dtype, x.str
        if isinstance(x, np.ndarray) and id(x) not in self._held and x.size > _SMALL:
            self._before.append((x, x.copy()))
        self._held[id(x)] = x
        return id(x)

    def _frozen(self, x: Any) -> Any:
        """A small constant as one copy of its own, so that equal ones are the same."""
        if isinstance(x, np.ndarray) and x.size <= _SMALL:
            return self._small.setdefault((x.dtype.str, x.shape, x.tobytes()), x.copy())
        return type(x)(map(self._frozen, x)) if type(x) in (tuple, list) else x

    def written_constants(self) -> bool:
        """Whether an array that the program has as a constant was written since it was met."""
        return any(not np.array_equal(now, then, equal_nan=True) for now, then in self._before)

    def program(self, outputs: list[Any], donated: dict[int, int] | None = None) -> Program:
        """The program that gives these outputs, nodes and constants."""
        found = trimmed(program_of(self.inputs, outputs, donated, self.assumptions, self.guards.items()))
        known = {*self.inputs, *found.nodes}
        if any(x not in known for node in found.nodes for x in node.operands) or not known.issuperset(
            nodes_of(outputs)
        ):
            self.unroll()  # a value of a step is used outside of its loop
        return arranged(found)


def _known(value: Any) -> Any:
    """A value as NumPy has it: its scalars, which nobody can write, and its arrays are two kinds of things."""
    return value if isinstance(value, np.generic) else np.asarray(value)


def _is_another_kind(value: Any) -> bool:
    """Whether an array is of a class that computes otherwise than NumPy's arrays, or holds no numbers."""
    if isinstance(value, ARRAYS) and type(value) not in (np.ndarray, np.memmap):
        return True
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "mMVO"


def _kind_of(value: Any) -> str:
    where = f" on {value.device}" if isinstance(value, DeviceArray) else ""
    return f"a {type(value).__name__} of {value.dtype}{where}"


def _instead(value: Any, name: str) -> str:
    if isinstance(value, DeviceArray):
        return "programs run on the processor: give t.cpu(), or call the function as it is"
    return f"give an array of numbers, np.asarray({name})"


# What runs on values


def traced(values: Any) -> Iterator[Any]:
    """The tracers among values, and in the tuples, lists, dicts and slices among them."""
    for x in values:
        if isinstance(x, (Tracer, Number)):
            yield x
        elif type(x) in (tuple, list):
            yield from traced(x)
        elif isinstance(x, slice):
            yield from traced((x.start, x.stop, x.step))
        elif type(x) is dict:
            yield from traced(x.values())


def nodes_of(values: Iterable[Any]) -> Iterator[Node]:
    """The nodes among values, as `traced` finds tracers."""
    for x in values:
        if isinstance(x, Node):
            yield x
        elif type(x) in (tuple, list):
            yield from nodes_of(x)


def values_of(x: Any) -> Any:
    """The arrays of this run in place of tracers."""
    if isinstance(x, Tracer):
        return x.current().value
    if isinstance(x, Number):
        return x.value
    if type(x) in (tuple, list):
        return type(x)(map(values_of, x))
    if isinstance(x, slice):
        return slice(values_of(x.start), values_of(x.stop), values_of(x.step))
    return x


@functools.cache
def _place_of_out(function: Any) -> tuple[int, list[str]]:
    """The place of ``out`` among the arguments of a function of NumPy's, and the names of all."""
    try:
        parameters = inspect.signature(function).parameters.values()
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        names = [] if any(p.kind is p.VAR_POSITIONAL for p in parameters) else names
    except (TypeError, ValueError):
        names = []
    return names.index("out") if "out" in names else sys.maxsize, names


def _lowered(function: Any, trace: Trace, args: Any, kwargs: Any) -> Any:
    """What a line of lowering.py makes of a call; NotImplemented where it does not know an argument of this name."""
    try:
        return function(trace, *args, **kwargs)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise
        return NotImplemented


def _read_only(x: Any) -> Any:
    """`values_of`, into which nobody can write."""
    if type(x) in (tuple, list):
        return type(x)(map(_read_only, x))
    value = values_of(x)
    if value is not x and isinstance(value, np.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


def stripped(x: Any) -> Any:
    """Nodes (and constants) in place of tracers."""
    if isinstance(x, Tracer):
        return x.current().node
    if isinstance(x, Number):
        return x.node
    if isinstance(x, np.generic) or (isinstance(x, (int, float, complex)) and type(x) not in _NUMBERS):
        return np.asarray(x)  # NumPy gives subclasses of Python's numbers a dtype of their own
    return type(x)(map(stripped, x)) if type(x) in (tuple, list) else x


_NUMBERS = (bool, int, float, complex)


def _noting(method: Any) -> Any:
    """The method, which notes errors that depend on values."""

    @functools.wraps(method)
    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except (ValueError, IndexError, ArithmeticError) as error:
            if not isinstance(error, np.exceptions.AxisError):
                self.trace.raised = self.trace.raised or error
            raise

    return noting


FUNCTIONS: dict[Any, Callable[..., Any]] = {}
"""By function of NumPy's: what it is on traced arrays; filled in lowering.py. The first argument is the trace."""

SHAPED_BY_VALUES = {np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.compress, np.extract, np.bincount,
                    np.histogram, np.trim_zeros, np.union1d, np.intersect1d, np.setdiff1d}  # fmt: skip


class Tracer:
    """An array with the values of this run, whose NumPy calls become the nodes of a program."""

    __slots__ = ("depth", "node", "part", "start", "trace", "value", "written")

    def __init__(self, trace: Trace, node: Any, value: Any) -> None:
        self.trace, self.node, self.value, self.depth = trace, node, value, trace.depth
        self.written: list[bool] = [False]
        self.start: Any = None
        """Of an input: the node that it was at first."""
        self.part: tuple[Tracer, Any] | None = None
        """Of a view by an index: of what, and where."""

    def current(self) -> Tracer:
        """This tracer, if what it shows was not written through another name."""
        if self.written[0]:
            self.trace.refuse(
                "an array is read whose memory was written through another name", "write into a copy, a = a.copy()"
            )
        return self

    # What NumPy and Python ask

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """To code that is not of this project, the type that NumPy's array or scalar would have."""
        frame: Any = sys._getframe(1)
        while frame is not None and (name := _package(frame)) in ("abc", "functools", "numpy"):
            frame = frame.f_back
        return Tracer if name in ("autodiff", "nn", "optim") else type(self.value)

    def __hash__(self) -> int:
        if isinstance(self.value, np.ndarray):
            raise TypeError("unhashable type: 'numpy.ndarray'")
        return hash(self.guarded(lambda value: value.item()))

    def __array_namespace__(self, **_: Any) -> Any:
        return np

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        asker = asked_by()
        inside = f" in {asker}" if asker else ""
        self.trace.refuse(
            f"a traced array would become a NumPy array{inside}, with the numbers of the first call for ever",
            in_place_of(asker)
            or "leave it to NumPy's functions and operators: np.stack([a, b]) in place of np.array([a, b]), "
            "np.zeros_like(x) in place of np.zeros(n) for what it is written into, np.take(a, i, axis=0) in place of "
            "a[i]",
        )

    @_noting
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        if any(isinstance(x, _AROUND) for x in (*inputs, *(out or ()), *options.values())):
            return NotImplemented
        options = {key: value for key, value in options.items() if value is not None or key == "axis"}
        where = options.pop("where", True)
        if method == "at":
            return self._at(ufunc, *inputs)
        if method == "reduce":
            inputs, options = _reduction(inputs, options)
        if any(True for _ in traced(options.values())):
            self.trace.refuse(f"np.{ufunc.__name__}: a traced option", "give a Python number")
        function = getattr(ufunc, method)
        if where is not True and (out is None or method != "__call__"):
            self.trace.refuse(f"np.{ufunc.__name__}: where=", "write np.where(mask, np.f(...), other)")
        value = function(*map(values_of, inputs), **options)
        result = self._recorded(ufunc, method, inputs, options, value)
        if out is None:
            return result
        if len(out) > 1:
            self.trace.refuse(f"np.{ufunc.__name__}: several out=", "make new arrays")
        (target,) = out
        result = result if where is True else np.where(where, result, target)
        return self.trace.written_into(target, result, f"np.{ufunc.__name__}", method != "__call__")

    def _recorded(self, ufunc: Any, method: str, inputs: Any, options: dict[str, Any], value: Any) -> Any:
        name = ufunc.__name__
        if getattr(np, name, None) is not ufunc:
            special = sys.modules.get("scipy.special")
            name = f"special.{name}" if getattr(special, name, None) is ufunc else ""
        simple = method in ("__call__", "outer") and not options
        if method == "__call__" and simple and name in ("multiply", "divide") and len(inputs) == 2:
            kept = _unchanged(inputs, value, name == "divide")
            if kept is not None:
                return Tracer(self.trace, kept.node, value)
        if name == "matmul" and simple:
            a, b = (x.ndim for x in map(np.asarray, map(values_of, inputs)))
            name = "dot" if max(a, b) <= 2 else name
        if name and (simple or (method in ("reduce", "accumulate") and set(options) <= {"axis", "keepdims"})):
            return self.trace.record(name if method == "__call__" else f"{name}.{method}", inputs, options, value)
        path = f"np.{name}" if name and "." not in name else f"scipy.{name}"
        return call(
            self.trace, getattr(ufunc, method), inputs, options, value,
            (path if method == "__call__" else f"{path}.{method}") if name else "",
        )  # fmt: skip

    def _at(self, ufunc: Any, target: Any, index: Any, *values: Any) -> None:
        if not isinstance(target, Tracer):
            self.trace.refuse(f"np.{ufunc.__name__}.at writes into a NumPy array", "make it by np.zeros_like(x)")
        new = np.array(target.current().value)
        ufunc.at(new, values_of(index), *map(values_of, values))
        target.write(self.trace.record("at", (target, index, *values), {"ufunc": ufunc.__name__}, new))

    def write(self, new: Any) -> Tracer:
        """Show other values from now on; other names of the same memory must not be read any more, but for what this
        is a part of."""
        if self.depth < self.trace.depth:
            self.trace.unroll()
        if isinstance(self.value, np.generic):
            self.trace.refuse("a NumPy scalar is written, which nobody can", "make it an array, np.array(x)")
        if not isinstance(new, Tracer):
            new = self.trace.constant(np.array(new))
        if not np.can_cast(new.dtype, self.dtype, "same_kind"):
            raise TypeError(f"a result of {new.dtype} does not fit into an array of {self.dtype}; a = a.astype(float)")
        new = new.astype(self.dtype, copy=False)
        if new.shape != self.shape:
            new = np.broadcast_to(new, self.shape).copy()
        self.current()
        if self.part is not None:
            whole, index = self.part
            whole[index] = new
            new = whole[index]
            self.written = new.written
        else:
            self.written[0] = True
            self.written = [False]
        value = np.asarray(new.value)
        if value.strides != self.value.strides:  # what is a view afterwards depends on the layout that was there
            value = np.empty_like(self.value)
            value[...] = new.value
        self.node, self.value = new.current().node, value
        return self

    @_noting
    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(issubclass(t, _AROUND) for t in types):
            return NotImplemented
        trace = self.trace
        if isinstance(function, Opaque):
            if any(True for _ in traced(kwargs.values())):
                trace.refuse(f"{function.__name__}: a traced option", "give numbers or arrays of the closure")
            if function.draws:
                args = tuple([trace.stand_ins.get(x, x) if isinstance(x, np.random.Generator) else x for x in args])
                trace.drawing(args, kwargs)
            elif trace.opened(function.__name__):
                result = trace.followed(function.written, args, kwargs)
                if result is not NotImplemented:
                    return result
            value = function.function(*map(values_of, args), **kwargs)
            if function.draws:
                trace.drawn(args, kwargs)
            return call(trace, function.function, args, kwargs, value, "", function.__name__, function.draws)
        kwargs = {key: value for key, value in kwargs.items() if value is not None or key in ("axis", "axes")}
        name = f"np.{getattr(function, '__name__', function)}"
        if function in SHAPED_BY_VALUES:
            trace.refuse(f"{name}: its shape depends on values", "use np.where, or a mask as a factor")
        place, names = _place_of_out(function)
        if place < len(args):
            kwargs |= dict(zip(names[place:], args[place:], strict=False))
            args = args[:place]
        out = kwargs.pop("out", None)
        lowered = FUNCTIONS.get(function)
        result = NotImplemented if lowered is None else _lowered(lowered, trace, args, kwargs)
        if result is NotImplemented:
            if any(True for _ in traced((kwargs.get("where"),))):
                trace.refuse(
                    f"{name}: where=",
                    "write np.where(mask, a, 0) in place of a, and a mean as np.where(mask, a, 0).sum() / mask.sum()",
                )
            if any(True for _ in traced(kwargs.values())):
                trace.refuse(f"{name}: a traced option", "give it by position")
            try:
                value = function(*map(_read_only, args), **kwargs)
            except ValueError as error:
                if "read-only" not in str(error):
                    raise
                value = None
            if value is None:
                trace.refuse(f"{name} writes into its argument", "make a new array")
            module = getattr(function, "__module__", "numpy") or "numpy"
            path = f"{module.replace('numpy', 'np', 1)}.{function.__name__}" if module.startswith("numpy") else ""
            result = call(trace, function, args, kwargs, value, path)
        return result if out is None else trace.written_into(out, result, name, True)

    # Shape

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    itemsize = property(lambda self: self.value.itemsize)
    nbytes = property(lambda self: self.value.nbytes)
    strides = property(lambda self: self.value.strides)
    flags = property(lambda self: _Flags(self))
    real: Any = property(lambda self: np.real(self) if self.dtype.kind == "c" else self)
    imag = property(lambda self: np.imag(self))
    T = property(lambda self: self.transpose())
    mT = property(lambda self: self.swapaxes(-1, -2))

    @property
    def base(self) -> None:
        """None, to code of this project."""
        if _package(sys._getframe(1)) not in _LIBRARIES:
            self.trace.refuse(".base of a traced array", "look at it outside")

    def view_as(self, op: str, options: dict[str, Any], value: Any) -> Tracer:
        """The tracer of a result that shares this memory, where it does."""
        scalar = isinstance(value, np.generic)
        view = scalar or (bool(value.size) and bool(np.may_share_memory(value, self.value)))
        same = not isinstance(self.node, Node) or self.node.strides == self.value.strides  # no copy in another layout
        result: Tracer = self.trace.record(op, (self,), options, value, view and same)
        if view and not scalar:
            result.written, result.depth = self.written, self.depth
        return result

    def reshape(self, *shape: Any, order: Any = "C") -> Tracer:
        """As NumPy's."""
        value = self.current().value.reshape(*shape, order=order)
        if value.shape == self.shape and order == "C":
            return self
        return self.view_as("reshape", {"shape": value.shape, "order": order}, value)

    def ravel(self, order: Any = "C") -> Tracer:
        """As NumPy's."""
        if order == "K":
            if self.ndim > 1 and not self.flags.c_contiguous:
                by_stride = sorted(range(self.ndim), key=lambda i: -self.strides[i])
                return self.transpose(tuple(by_stride)).reshape(-1)
            order = "C"
        return self.reshape(-1, order=order)

    def flatten(self, order: Any = "C") -> Tracer:
        """As NumPy's."""
        return self.ravel(order).copy()

    def squeeze(self, axis: Any = None) -> Tracer:
        """As NumPy's."""
        return self.reshape(self.value.squeeze(axis).shape)

    def transpose(self, *axes: Any) -> Tracer:
        """As NumPy's."""
        value = self.current().value.transpose(*axes)
        given = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        order = tuple(range(self.ndim))[::-1] if not given else normalize_axis_tuple(given, self.ndim)
        return self if order == tuple(range(self.ndim)) else self.view_as("transpose", {"axes": order}, value)

    def swapaxes(self, a: int, b: int) -> Tracer:
        """As NumPy's."""
        order = list(range(self.ndim))
        a, b = normalize_axis_index(a, self.ndim), normalize_axis_index(b, self.ndim)
        order[a], order[b] = b, a
        return self.transpose(tuple(order))

    def astype(
        self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
    ) -> Tracer:
        """As NumPy's."""
        dtype = np.dtype(dtype)
        value = self.current().value.astype(dtype, order, casting)
        if dtype == self.dtype:
            return self.copy(order) if copy else self
        result: Tracer = self.trace.record("astype", (self,), {"dtype": dtype}, value)
        return result

    def copy(self, order: Any = "C") -> Tracer:
        """As NumPy's: the same node, under a name of its own."""
        return Tracer(self.trace, self.current().node, self.value.copy(order))

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self.copy()

    @_noting
    def __getitem__(self, index: Any) -> Any:
        parts = index if type(index) is tuple else (index,)
        trace = self.trace
        if index is Ellipsis or (type(index) is tuple and not index and self.ndim):
            scalar = isinstance(self.value, np.generic)
            return Tracer(trace, self.node, np.asarray(self.value)) if scalar else self.current()
        if any(isinstance(i, Tracer) and i.dtype == bool and isinstance(i.node, Node) for i in parts):
            trace.refuse("a boolean index: its shape depends on values", "use np.where, or the mask as a factor")
        if any(isinstance(i, slice) and any(True for _ in traced((i,))) for i in parts):
            trace.refuse("a slice between traced positions: its shape depends on values", "use Python integers")
        level = level_of(parts)
        if level is not None:
            return get(self, index, level)
        value = self.current().value[values_of(index)]
        if any(True for _ in traced(parts)):
            return trace.record("getitem", (self, index), {}, value)
        result = self.view_as("getitem", {"index": index}, value)
        if result.written is self.written:
            result.part = (self, index)
        return result

    @_noting
    def __setitem__(self, index: Any, value: Any) -> None:
        if index is Ellipsis or (isinstance(index, slice) and index == slice(None)):
            new = np.empty_like(self.current().value)
            new[...] = values_of(value)
            value = value.astype(self.dtype, copy=False) if isinstance(value, Tracer) else self.trace.constant(new)
            self.write(value if value.shape == self.shape else np.broadcast_to(value, self.shape))
            return
        new = np.array(self.current().value)
        new[values_of(index)] = values_of(value)
        if any(True for _ in traced(index if type(index) is tuple else (index,))):
            self.write(self.trace.record("setitem", (self, value, index), {}, new))
        else:
            self.write(self.trace.record("setitem", (self, value), {"index": index}, new))

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    # Values that decide about the way

    @_noting
    def guarded(self, kind: Callable[[Any], Any]) -> Any:
        """A Python number, on which the program then depends."""
        value = kind(self.current().value)
        if isinstance(self.node, Node):
            if isinstance(value, complex) and 0 in (value.real, value.imag):
                return complex(float(self.real), float(self.imag))
            self.trace.guards[self.node] = value
            if isinstance(value, float) and value == 0:  # 0.0 and −0.0 are two numbers
                bool(np.signbit(self))
        return value

    def __bool__(self) -> bool:
        holds = bool(self.current().value)
        if not isinstance(self.node, Node):
            return holds
        if sys._getframe(1).f_code is common.__code__ and not (self.trace.rare and not holds):
            if not holds:
                self.trace.uncommon(user_line() or "")
            self.trace.assumptions[self.node] = None
            return True
        truth: Any = self if self.dtype == bool else np.not_equal(self, 0)
        return bool(truth.reshape(()).guarded(bool))

    def __float__(self) -> float:
        return float(self.reshape(()).guarded(float))

    def __int__(self) -> int:
        return int(self.reshape(()).guarded(int))

    def __complex__(self) -> complex:
        return complex(self.reshape(()).guarded(complex))

    def __index__(self) -> int:
        return int(self.guarded(operator.index))

    def item(self, *index: Any) -> Any:
        """The value as a Python number, on which the program then depends."""
        return (self[index] if index else self.reshape(())).guarded(lambda value: value.item())

    def tolist(self) -> NoReturn:
        """Refused."""
        self.trace.refuse("tolist() of a traced array", "compute with the array")

    def nonzero(self) -> NoReturn:
        """Refused."""
        self.trace.refuse("nonzero(): its shape depends on values", "use np.where, or a mask as a factor")

    def __repr__(self) -> str:
        if _package(sys._getframe(1)) not in _LIBRARIES:
            self._as_text()
        return f"<traced {self.dtype}{list(self.shape)}>"

    def __str__(self) -> str:
        if _package(sys._getframe(1)) not in _LIBRARIES:
            self._as_text()
        return repr(self)

    def __format__(self, spec: str) -> str:
        return str(self) if _package(sys._getframe(1)) in _LIBRARIES else self._as_text()

    def _as_text(self) -> NoReturn:
        self.trace.refuse(
            "a traced array as text, which would be that of the first call for ever",
            "return it, and write or print it outside",
        )

    def __round__(self, digits: Any = None) -> Any:
        return np.round(self, digits) if digits is not None else round(self.item())

    def __getattr__(self, name: str) -> Any:
        function = METHODS.get(name)
        if function is not None:
            return lambda *args, **kwargs: function(self, *args, **kwargs)
        if hasattr(np.ndarray, name) and not name.startswith("__"):
            self.trace.refuse(f".{name} of a traced array", "write it with NumPy's functions and operators")
        raise AttributeError(f"{type(self.value).__name__!r} object has no attribute {name!r}")


class _Flags:
    """Of an array's flags those that its strides decide: the others may be another array's at the next call."""

    __slots__ = ("array",)

    def __init__(self, array: Tracer) -> None:
        self.array = array

    def __getattr__(self, name: str) -> Any:
        if name not in ("c_contiguous", "f_contiguous", "contiguous", "fortran", "fnc", "forc"):
            self.array.trace.refuse(f".flags.{name} of a traced array", "look at it outside")
        return getattr(self.array.value.flags, name)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, {"C": "c_contiguous", "F": "f_contiguous"}.get(name, name.lower()))


_LIBRARIES = frozenset({"autodiff", "nn", "optim", "numpy", "scipy", "pandas"})


def _package(frame: Any) -> str:
    """Whose code a frame runs."""
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0]


def call(
    trace: Trace, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], value: Any, path: str,
    name: str = "", draws: bool = False,
) -> Any:  # fmt: skip
    """The tracer of a call that no other name of program.py says. `path` is how NumPy's users write the function."""
    value = np.bool_(value) if type(value) is bool else value
    called = Called(function, kwargs, args, value)
    options: dict[str, Any] = {"function": called, "name": name or path.rpartition(".")[2] or "call"}
    if path:
        options |= {"path": path, "keywords": kwargs}
    if not kwargs:
        options["function"] = trace.called.setdefault(function, called)
    if draws:
        options["draw"] = trace.count  # no two draws are the same
    result = trace.record("call", args, options, value)
    if draws:
        trace.draws.append(result.node)
    return result


class Called:
    """A function of its positional arguments alone, whose result never shares memory with them."""

    def __init__(self, function: Callable[..., Any], kwargs: dict[str, Any], args: Any, value: Any) -> None:
        self.function, self.kwargs = function, kwargs
        results = value if isinstance(value, (tuple, list)) else (value,)
        self.shares = any(
            isinstance(r, np.ndarray) and isinstance(x, Tracer) and np.may_share_memory(r, x.value)
            for r in results
            for x in traced(args)
        )
        self.__name__ = getattr(function, "__name__", "call")

    def __call__(self, *args: Any) -> Any:
        value = self.function(*args, **self.kwargs)
        if not self.shares:
            return value
        return [np.array(r) for r in value] if isinstance(value, (tuple, list)) else np.array(value)


def _reduction(inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The one form of a reduction: an array, its axes as a tuple, keepdims."""
    x, *axis = inputs
    options = {"keepdims": False} | options
    given = axis[0] if axis else options.get("axis", 0)
    ndim = np.ndim(x)
    if given is None:
        given = range(ndim)
    elif isinstance(given, tuple) or ndim:
        given = normalize_axis_tuple(given, ndim)
    else:  # a number has no axis but by its old names 0 and −1
        given = () if operator.index(given) in (0, -1) else normalize_axis_tuple(given, ndim)
    options["axis"] = tuple(given)
    options["keepdims"] = bool(options["keepdims"])
    dtype = options.pop("dtype", None)
    if dtype is not None and x.dtype != dtype:
        x = x.astype(dtype)
    return (x,), options


def _unchanged(inputs: tuple[Any, ...], value: Any, divided: bool) -> Any:
    """The factor of a product, where the other is 1 everywhere and nothing changes."""
    for x, one in (inputs,) if divided else (inputs, inputs[::-1]):
        if isinstance(x, Tracer) and x.shape == np.shape(value) and x.dtype == value.dtype:
            one = one.node if isinstance(one, Tracer) else one
            if type(one) in (int, float):
                return x if one == 1 else None
            if isinstance(one, (np.ndarray, np.generic)) and one.size and bool(np.all(one == 1)):
                return x
    return None


class Number:
    """A Python number that is another at every call: NumPy computes with it in the dtype of the arrays it meets."""

    __slots__ = ("node", "trace", "value")
    __hash__ = object.__hash__

    def __init__(self, trace: Trace, node: Node, value: Any) -> None:
        self.trace, self.node, self.value = trace, node, value

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options or not all(isinstance(x, (Number, int, float)) for x in inputs):
            return NotImplemented
        return self.computed(ufunc.__name__, ufunc, inputs)

    def computed(self, name: str, function: Any, inputs: tuple[Any, ...]) -> Number:
        """The number that a function of numbers gives."""
        value = function(*map(values_of, inputs))
        value = value.item() if isinstance(value, np.generic) else value
        node = self.trace.node(name, inputs, {"weak": True}, np.asarray(value))
        return Number(self.trace, node, value)

    def _decided(self, kind: Callable[[Any], Any]) -> Any:
        value = kind(self.value)
        self.trace.guards[self.node] = self.value if kind is not bool else value
        return value

    def __bool__(self) -> bool:
        if type(self.value) is not bool:
            return bool(self.computed("not_equal", operator.ne, (self, 0)))
        return bool(self._decided(bool))

    def __float__(self) -> float:
        return float(self._decided(float))

    def __int__(self) -> int:
        return int(self._decided(int))

    def __index__(self) -> int:
        return int(self._decided(operator.index))


def _number_operators() -> None:
    """Python's operators of numbers that are others at every call: of two such numbers they stay Python's own."""
    for name, ufunc in (ARITHMETIC | COMPARISONS).items():
        python = getattr(operator, {"and": "and_", "or": "or_"}.get(name, name))
        setattr(Number, f"__{name}__", _of_numbers(ufunc, python, False))
        setattr(Number, f"__r{name}__", _of_numbers(ufunc, python, True))
    for name, ufunc in SIGNS.items():
        setattr(Number, f"__{name}__", _of_number(ufunc, getattr(operator, name)))


def _in_place(ufunc: Any) -> Callable[..., Any]:
    def apply(self: Tracer, other: Any) -> Any:
        if isinstance(self.value, np.generic):
            return ufunc(self, other)
        return ufunc(self, other, out=(self,)) if isinstance(other, Batch) else self.write(ufunc(self, other))

    return apply


def _of_numbers(ufunc: Any, python: Any, reflected: bool) -> Callable[..., Any]:
    def apply(self: Number, other: Any) -> Any:
        inputs = (other, self) if reflected else (self, other)
        if isinstance(other, (Number, int, float)) and not isinstance(other, np.generic):
            return self.computed(ufunc.__name__, python, inputs)
        return NotImplemented if isinstance(other, Tensor) else ufunc(*inputs)

    return apply


def _of_number(ufunc: Any, python: Any) -> Callable[[Number], Number]:
    return lambda self: self.computed(ufunc.__name__, python, (self,))


def _power(x: Tracer, exponent: Any) -> Any:
    """``x ** p``, for which NumPy's arrays have short cuts where p is a number."""
    if type(exponent) in (int, float) and x.dtype.kind == "f":
        short = {2: np.square, 0.5: np.sqrt, -1: np.reciprocal, 1: np.positive}.get(exponent)
        if short is not None:
            return short(x)
    elif type(exponent) is int and exponent == 2 and x.dtype.kind in "iub":
        return np.square(x)
    return np.power(x, exponent)


give_operators(Tracer, _power, _in_place)
_number_operators()
