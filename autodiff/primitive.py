"""The record of an operation, and the functions that apply it.

One `Primitive` holds all there is to know of an operation: its forward function, its derivative rules, its formulas as
text and the samples it is tested on. The backward pass, pictures, tables, checks and docs read the same record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from . import methods, protocols
from .device_arrays import device_array
from .elsewhere import AXES
from .leaving import refuse_option
from .mode import mode
from .opaque import opaque as taken_whole
from .tensor import (
    Tensor,
    as_plain_array,
    clock,
    holder,
    is_foreign,
    no_numbers,
    number_of,
    plain,
    ragged,
    shared,
    wrap,
)

F = TypeVar("F", bound=Any)
Rule = Callable[..., Any]
Operation = Callable[..., Tensor]

KINDS = ("elementwise", "piecewise", "linear", "multilinear", "reduction")
"""Operations whose forward derivative follows from what the record has (see forward.py for how):

- elementwise: an element of the output depends on one element of each input, or else the Jacobians are symmetric; the
  VJP rules are then the JVP rules.
- piecewise: elementwise, and the slopes do not change as the inputs move (except in steps).
- linear: the forward function is linear in all its inputs together.
- multilinear: the forward function is linear in each of its inputs alone, a product.
- reduction: an element of the output depends on those elements of the inputs that lie along the option `axis`, which
  is removed (unless `keepdims`).
"""


class Multiplication(NamedTuple):
    """How an operation multiplies what comes in by a weight: as the sum over products that `numpy.einsum` calls

        output = einsum(subscripts, input, weight)   and what does not depend on the weight.

    With "...i,oi->...o", say, the rows of an input meet a matrix. A letter that is in the input and the weight alone is
    summed over; one in the weight and the output alone counts outputs; one in all three counts groups, each with a
    weight of its own; one in the input and the output alone counts rows, the first of these the examples. ``...`` at
    the front stands for rows. Curvature reads this (`curvature.KFAC`).

    Attributes:
        weight: that of the operation's inputs (a matrix or an array of any shape).
        input: what it is multiplied by: another input, an array made of one, or a function of no arguments that makes
            it; None for ones, of a weight that is only added, the subscripts then "o->...o", say.
        subscripts: see above.
        bias: an input that is added, with an element for each group and output.
        weight_shape, output_shape: shapes in which the subscripts see weight and output; their own by default.

    >>> import numpy as np, autodiff as ad
    >>> double = ad.primitive(
    ...     lambda x, w: 2 * x @ w, name="double",
    ...     vjps=[lambda g, y, x, w: 2 * g @ w.T, lambda g, y, x, w: 2 * x.T @ g],
    ...     multiplies=lambda x, w: [ad.Multiplication(w, 2 * x, "...i,io->...o")],
    ... )
    >>> w = ad.Tensor([[3.0]], requires_grad=True)
    >>> ad.curvature.KFAC(double(np.ones((5, 1)), w), None, w, likelihood="gaussian").to_dense()
    array([[4.]])
    """

    weight: Any
    input: Any
    subscripts: str
    bias: Any = None
    weight_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None


@dataclass(slots=True, eq=False)
class Primitive:
    """All that is known of one operation.

    A rule is ``vjp(g, y, *inputs, **params)``: the cotangent `g` of the output `y` times the derivative of `y` by one
    input. It is written with operators, methods and NumPy functions only, so that it runs on arrays in an ordinary
    backward pass and on Tensors when the derivative is to be differentiated again. It returns a new array, a view of
    `g` or `g` itself, never an input or an array that lives on elsewhere.
    """

    name: str
    forward: Callable[..., Any]
    vjps: tuple[Rule | None, ...] = ()
    each: Rule | None = None
    """For any number of inputs: ``each(i, g, y, *inputs, **params)`` is the rule for input i."""
    jvps: tuple[Rule | None, ...] | str | Rule = ()
    """How forward mode goes: one of `KINDS`, or one rule for each input, ``jvp(t, y, *inputs, **params)``: what the
    tangent `t` of that input adds to the tangent of the output; or one for all, ``jvp(ts, y, *inputs, **params)``, of
    tangents of which some are None. Without, it is the transpose of the VJP rules."""
    joint: Rule | None = None
    """In place of `vjps`, where inputs are many or their cotangents come together: ``joint(g, y, *inputs, **params)``
    gives all of them at once, a sequence with one (or None) for each input."""
    singular: bool | Callable[..., bool] = False
    """Whether a slope may be infinite, so that the rules may raise `Undecided` (see untaken.py); or a
    function of the inputs that says so by their types and Python numbers alone."""
    selects: bool = False
    """Whether the slopes, though they depend on the inputs, are those of a choice, and stay as they are nearby."""
    kinks: Callable[..., Any] | None = None
    """Of the inputs: where a slope of 0 is a choice at a kink (or a jump), and those nearby are others."""
    multiplies: Callable[..., Sequence[Multiplication]] | None = None
    """Of an operation that is linear in one of its inputs: ``multiplies(*inputs, **params)`` says how."""
    formula: str = ""
    """The forward formula, ``{0}`` … standing for the inputs."""
    derivatives: tuple[str, ...] = ()
    """The local derivative by each input, ``{y}`` standing for the output."""
    samples: Callable[[np.random.Generator], Iterable[Sample]] | None = None
    documentation: str = ""
    complex: bool | Operation = False
    """Whether the rules hold for complex inputs too (see backward.py for what a cotangent is there), or the operation
    that takes its place for them; else they are refused."""
    opaque: str = ""
    """Why the forward function is no plain expression of NumPy's functions, so that an array type which is not NumPy's
    takes it as one call (see opaque.py)."""
    expansion: Callable[..., Any] | None = None
    """The same mathematics in plainer operations, on Tensors, for who wants to see inside: ``expansion(*inputs,
    **params)`` returns the output, or None where no plainer formula holds at these values. As a generator it yields the
    name of each part before it makes it ("step 1", "step 2", …: of many, those in the middle are one node in pictures),
    a pair ("step 1", "gates") for a part of that, None for what belongs to no part; a part whose name begins with … is
    one node in pictures."""

    def rules(self, arity: int) -> Sequence[Rule | None]:
        """The VJP rules for that many inputs."""
        if self.vjps:
            return self.vjps
        if self.joint is not None:
            return [partial(_part, self.joint, i) for i in range(arity)]
        return self.vjps if self.each is None else [partial(self.each, i) for i in range(arity)]

    def pullbacks(self, arity: int, g: Any, y: Any, inputs: Any, params: Any) -> tuple[Sequence[Rule | None], Any]:
        """The VJP rules for that many inputs, and what to give them after `g` and `y`: the inputs, or nothing, where
        all cotangents were computed here at once."""
        if self.joint is None:
            return self.rules(arity), inputs
        found = self.joint(g, y, *inputs, **(params or {}))
        return [partial(_missing, self.name, i) if d is None else partial(_given, d) for i, d in enumerate(found)], ()

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def _part(joint: Rule, i: int, g: Any, y: Any, *inputs: Any, **params: Any) -> Any:
    return joint(g, y, *inputs, **params)[i]


def _given(d: Any, g: Any, y: Any, **params: Any) -> Any:
    return d


def _missing(name: str, i: int, g: Any, y: Any, **params: Any) -> Any:
    raise TypeError(f"{name}: has no derivative by input {i}, which requires a gradient; pass it detached (t.detach())")


@dataclass(slots=True)
class Sample:
    """One set of inputs on which an operation is checked.

    `inputs` are float64 arrays (differentiable) or other values; `wrap`, if given, makes the operation's inputs from
    free ones (a symmetric matrix from any); `smooth` is the highest order of derivative that exists there.
    """

    inputs: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    wrap: Callable[..., Any] | None = None
    smooth: int = 3
    function: Callable[..., Any] | None = None
    """What is checked in place of the bare operation, if that needs a setting around it."""


def _complex_too(samples: Callable[[np.random.Generator], Iterable[Sample]]) -> Callable[..., list[Sample]]:
    """The samples, and unless there are some of complex numbers the three smallest in such: all inputs, the first, the
    last."""

    def both(rng: np.random.Generator) -> list[Sample]:
        found = list(samples(rng))
        if any(np.iscomplexobj(x) for s in found for x in s.inputs):
            return found
        places = [[i for i, x in enumerate(s.inputs) if getattr(x, "dtype", None) == np.float64] for s in found]
        counts = [sum(s.inputs[i].size for i in at) for s, at in zip(found, places)]
        plain = [k for k, s in enumerate(found) if counts[k] and s.function is None]
        for turn, k in enumerate(sorted(plain, key=counts.__getitem__)[:3]):
            inputs, s = list(found[k].inputs), found[k]
            for i in (places[k], places[k][:1], places[k][-1:])[turn]:
                inputs[i] = inputs[i] + 1j * rng.uniform(0.2, 0.8, inputs[i].shape)
            found.append(Sample(tuple(inputs), s.params, s.wrap, s.smooth))
        return found

    return both


REGISTRY: dict[str, Primitive] = {}
"""Every operation of the engine, by name."""

NUMBERS = frozenset({float, int, bool, complex})
"""Python's numbers, which are weak: they take on the precision of the arrays that they meet."""

_KNOWN = NUMBERS | {np.ndarray, np.float64, np.float32, list, tuple}


def filled(text: str, inputs: Sequence[str], output: str = "y") -> str:
    """A formula of a record with names in place of ``{0}``, ``{1}`` … and ``{y}``; other braces stay as they are.
    All at once: a name may itself look like a placeholder."""
    names = {"y": output} | {str(i): name for i, name in enumerate(inputs)}
    return re.sub(r"\{(\d+|y)\}", lambda found: names.get(found[1], found[0]), text)


def constant(value: Any, name: str) -> Any:
    """An input that is not a Tensor: a Python number stays one (it is weak: float32 + 1.0 is float32), a list that
    holds Tensors becomes the Tensor that `ad.array` makes of it, anything else an array of numbers."""
    kind = type(value)
    if kind in NUMBERS:
        if kind is int and not -(2**63) <= value < 2**64:
            raise TypeError(
                f"{name}: the integer {value} is larger than NumPy's; write it as a float, {float(value):g}"
            )
        return value
    if kind is not np.ndarray and not isinstance(value, np.generic):
        if isinstance(value, Tensor):
            return value
        if isinstance(value, np.ndarray):
            value = as_plain_array(value, name)
        elif is_foreign(value):
            value = device_array(value)
        else:
            if value is None or isinstance(value, (str, bytes, dict, set)):
                raise TypeError(f"{name}: an input must be a Tensor, an array or a number, not {value!r}")
            if isinstance(value, (list, tuple)) and holds_tensors(value):
                return methods.ops.array(value)
            try:
                value = np.asarray(value)
            except ValueError as error:
                raise TypeError(f"{name}: an input must be a Tensor, an array or a number: {ragged(error)}") from None
    if value.dtype.kind not in "fciub":
        raise TypeError(f"{name}: an input of dtype {value.dtype} is refused, {no_numbers(value)}")
    return value


def holds_tensors(items: Sequence[Any]) -> bool:
    """Whether a nested list or tuple holds a Tensor."""
    for x in items:
        if isinstance(x, Tensor) or (isinstance(x, (list, tuple)) and holds_tensors(x)):
            return True
    return False


def foreign(value: Any) -> bool:
    """Whether an operand of an operator is of a type that NumPy would leave the operator to: it says so
    (``__array_ufunc__ = None``), has operators of its own, or is nothing that could become an array."""
    if isinstance(value, (Tensor, np.ndarray, np.generic, int, float, complex, list, tuple)) or value is None:
        return False
    if is_foreign(value):  # an array as NumPy's are
        return False
    kind = type(value)
    if kind.__module__.partition(".")[0] == "pandas":  # columns of numbers are taken as the arrays they hold
        return False
    if is_foreign(value):
        return False
    if hasattr(kind, "__array_ufunc__"):
        return True
    if getattr(value, "__array_priority__", 0) > 0:
        return True
    return not any(
        hasattr(value, name) for name in ("__array__", "__array_interface__", "__array_namespace__", "__len__")
    )


class _Complex(Exception):
    """An operation whose rules are those of real numbers was given complex ones."""


def _applied(record: Primitive, one: bool = False) -> Callable[..., Any]:
    """The forward function as an operation applies it to what it is given, or to the one array that it takes."""
    forward = record.forward
    if record.complex is True:
        return forward

    def of_a_real_array(x: Any) -> Any:
        if x.dtype.kind == "c":
            raise _Complex
        return forward(x)

    def of_real_numbers(*arrays: Any, **params: Any) -> Any:
        for a in arrays:
            if type(a) is complex or (type(a) is not float and hasattr(a, "dtype") and a.dtype.kind == "c"):
                raise _Complex
        return forward(*arrays, **params)

    return of_a_real_array if one else of_real_numbers


def _of_complex(record: Primitive, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """What an operation of real numbers makes of complex ones."""
    if record.complex:
        return cast(Any, record.complex)(*inputs, **params)
    met = ", ".join(describe(x) for x in inputs)
    raise TypeError(
        f"{record.name}({met}): is not declared for complex numbers; write it of t.real and t.imag, or of abs(t)"
    )


def describe(value: Any) -> str:
    """How an error message shows an input: its shape, and its dtype where that is unusual; a number by its value."""
    if type(value) in NUMBERS:
        return repr(value)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None:
        return type(value).__name__
    return f"shape {tuple(shape)}" + (f" ({dtype})" if dtype is not None and dtype.kind != "f" else "")


def failure(record: Primitive, inputs: Sequence[Any], params: dict[str, Any] | None, error: Exception) -> Exception:
    """The error a user sees when NumPy refuses the inputs of an operation: it names the operation and what it met."""
    met = ", ".join(describe(x) for x in inputs)
    options = "".join(f", {k}={v!r}" for k, v in (params or {}).items())
    text = str(error).strip().rstrip(".")
    shapes = [getattr(x, "shape", ()) for x in inputs]
    if "broadcast" in text and len(shapes) > 1:
        text = (
            f"{text}. Shapes are compared from the right; each pair of lengths must be equal or one of them 1"
            f" (reshape an input, or insert an axis with t[:, None])"
        )
    if isinstance(error, np.exceptions.AxisError):
        text += "".join(f"; axes of shape {s} are {-len(s)} … {len(s) - 1}" for s in shapes[:1] if s)
    if "negative integer powers" in text:
        text += "; write the base as floats, t.astype(float)"
    if "unsupported in linalg" in text:
        text += "; take single precision, t.astype('float32')"
    kind = type(error) if type(error) in (TypeError, IndexError, np.exceptions.AxisError) else ValueError
    if isinstance(error, TypeError) and type(error).__module__.partition(".")[0] == __name__.partition(".")[0]:
        kind = type(error)  # what a batch or a traced array refuses; NumPy's own kinds need more than a text
    if isinstance(error, np.linalg.LinAlgError):
        kind = np.linalg.LinAlgError
    return kind(
        text if text.startswith((f"{record.name}:", f"{record.name}(")) else f"{record.name}({met}{options}): {text}"
    )


def new_node(data: Any, primitive: Primitive, inputs: tuple[Any, ...], params: dict[str, Any] | None) -> Tensor:
    """A node of the graph. (The functions below have this inlined where a microsecond counts.)"""
    y = _new(Tensor)
    y._ndarray = data
    y._requires_grad = True
    y._primitive = primitive
    y._inputs = inputs
    y._params = params
    y._number = clock()
    y._grad = y._hooks = y._line = y._name = None
    return y


_new = object.__new__


def watched(
    watch: Any, data: Any, needs: bool | int, record: Primitive, inputs: tuple[Any, ...], params: dict[str, Any] | None
) -> Tensor:
    """The end of an operation where there is more to do than to record it: others have the array of some input, or the
    mode is one that watches operations (see checking/anomaly.py)."""
    for x in inputs:
        if isinstance(x, Tensor):
            number_of(x)
    if watch is True:
        return new_node(data, record, inputs, params) if needs else unrecorded(data, inputs)
    y = new_node(data, record, inputs, params) if needs and watch.recording else unrecorded(data, inputs)
    watch.made(y, record, inputs)
    return y


def unrecorded(data: Any, inputs: tuple[Any, ...]) -> Tensor:
    """The constant that an operation gives where nothing is recorded; of a view, one that knows whose memory it is."""
    base = getattr(data, "base", None)
    x = None if base is None else holder(base, inputs)
    return wrap(data) if x is None else shared(data, x)


def unary(record: Primitive) -> Callable[..., Any]:
    """The function that applies a primitive of one array and no options."""
    forward, current = _applied(record, one=True), mode.get

    def apply(x, /):  # type: ignore[no-untyped-def]  # annotations cost at each declaration
        if not isinstance(x, Tensor):
            x = as_tensor(x, record.name)
        try:
            data = forward(x._ndarray)
        except _Complex:
            return _of_complex(record, (x,), {})
        except Exception as error:
            raise failure(record, (x,), None, error) from error.__cause__  # of what C code left set
        recording, needs = current(), x._requires_grad
        if recording is True and needs is True:
            y = _new(Tensor)
            y._ndarray = data
            y._requires_grad = True
            y._primitive = record
            y._inputs = (x,)
            y._number = clock()
            y._params = y._grad = y._hooks = y._line = y._name = None
            return y
        if recording is False or (needs is False and recording is True):
            return wrap(data)
        return watched(recording, data, needs, record, (x,), None)

    return apply


def _beside(number: Any, array: Any) -> Any:
    """Python's complex number in the precision that it takes on beside an array. (Python itself would multiply it with
    a scalar of NumPy's, and give one of its own.)"""
    return np.asarray(number, np.result_type(array, number))


def binary(record: Primitive, operator: bool = False) -> Callable[..., Any]:
    """The function that applies a primitive of two arrays and no options. An `operator` leaves operands of types that
    it does not know to these types' own operators, as Python has it."""
    forward, current = _applied(record), mode.get

    def apply(a, b, /):  # type: ignore[no-untyped-def]  # annotations cost at each declaration
        try:
            if isinstance(a, Tensor):
                if isinstance(b, Tensor):
                    data = forward(a._ndarray, b._ndarray)
                    needs = a._requires_grad | b._requires_grad
                else:
                    if type(b) is not float:
                        if operator and type(b) not in _KNOWN and foreign(b):
                            return NotImplemented
                        b = constant(b, record.name)
                        if isinstance(b, Tensor):  # a list that holds Tensors
                            return again(a, b)
                        b = _beside(b, a._ndarray) if type(b) is complex else b
                    data = forward(a._ndarray, b)
                    needs = a._requires_grad
            elif isinstance(b, Tensor):
                if type(a) is not float:
                    if operator and type(a) not in _KNOWN and foreign(a):
                        return NotImplemented
                    a = constant(a, record.name)
                    if isinstance(a, Tensor):
                        return again(a, b)
                    a = _beside(a, b._ndarray) if type(a) is complex else a
                data = forward(a, b._ndarray)
                needs = b._requires_grad
            else:
                return again(as_tensor(a, record.name), b)
        except _Complex:
            return _of_complex(record, (a, b), {})
        except Exception as error:
            raise failure(record, (a, b), None, error) from error.__cause__
        recording = current()
        if recording is True and needs is True:
            y = _new(Tensor)
            y._ndarray = data
            y._requires_grad = True
            y._primitive = record
            y._inputs = (a, b)
            y._number = clock()
            y._params = y._grad = y._hooks = y._line = y._name = None
            return y
        if recording is False or (needs is False and recording is True):
            return wrap(data)
        return watched(recording, data, needs, record, (a, b), None)

    again: Any = apply
    return apply


def general(record: Primitive, polymorphic: bool = False) -> Callable[..., Any]:
    """The function that applies a primitive of any inputs and options. A `polymorphic` one gives an array where no
    input is a Tensor; such functions are what rules call, and users do not see them."""
    forward, current, vjps = _applied(record), mode.get, record.vjps
    incomplete = None in vjps

    def apply(*inputs, **params):  # type: ignore[no-untyped-def]  # annotations cost at each declaration
        if len(inputs) == 1 and isinstance(inputs[0], Tensor):
            arrays, needs = (inputs[0]._ndarray,), inputs[0]._requires_grad
        else:
            if polymorphic and not any(isinstance(x, Tensor) for x in inputs):
                return forward(*inputs, **params)
            inputs = tuple([x if isinstance(x, Tensor) else constant(x, record.name) for x in inputs])
            arrays = tuple([x._ndarray if isinstance(x, Tensor) else x for x in inputs])
            needs = False
            for x in inputs:
                if isinstance(x, Tensor):
                    needs |= x._requires_grad
        if params:
            for key, value in params.items():
                if isinstance(value, Tensor) and value._requires_grad:
                    refuse_option(record.name, key, value)
        try:
            data = forward(*arrays, **params)
        except _Complex:
            return _of_complex(record, inputs, params)
        except Exception as error:
            raise failure(record, inputs, params, error) from error.__cause__
        if needs and incomplete:
            for i, (x, rule) in enumerate(zip(inputs, vjps)):
                if rule is None and isinstance(x, Tensor) and x._requires_grad:
                    raise TypeError(
                        f"{record.name}: has no derivative by input {i}, which requires a gradient; "
                        f"pass it detached (t.detach())"
                    )
        recording = current()
        if recording is True and needs is True:
            y = _new(Tensor)
            y._ndarray = data
            y._requires_grad = True
            y._primitive = record
            y._inputs = inputs
            y._params = params or None
            y._number = clock()
            y._grad = y._hooks = y._line = y._name = None
            return y
        if recording is False or (needs is False and recording is True):
            return unrecorded(data, inputs)
        del arrays  # or who looks how many hold them would count these
        return watched(recording, data, needs, record, inputs, params or None)

    return apply


def as_tensor(x: Any, name: str) -> Tensor:
    """An input as a Tensor: itself if it is one, else a constant."""
    if isinstance(x, Tensor):
        return x
    x = constant(x, name)
    return x if isinstance(x, Tensor) else wrap(np.asarray(x) if type(x) in NUMBERS else x)


def declare(
    name: str,
    forward: Callable[..., Any],
    vjps: Sequence[Rule | None] = (),
    *,
    each: Rule | None = None,
    formula: str = "",
    derivatives: Sequence[str] = (),
    samples: Callable[[np.random.Generator], Iterable[Sample]] | None = None,
    numpy: Any = None,
    scipy: str | None = None,
    arity: int | None = None,
    polymorphic: bool = False,
    singular: bool | Callable[..., bool] = False,
    jvps: Sequence[Rule | None] | str | Rule = (),
    joint: Rule | None = None,
    selects: bool = False,
    kinks: Callable[..., Any] | None = None,
    multiplies: Callable[..., Sequence[Multiplication]] | None = None,
    public: bool = True,
    doc: str = "",
    complex: bool | Operation = False,
    opaque: str = "",
    stacks: str | tuple[int, ...] = "",
    written: Callable[..., Any] | None = None,
    expansion: Callable[..., Any] | None = None,
) -> Operation:
    """Declare an operation of the engine: make its record, register it, tell NumPy's protocols, return its function.

    `arity` 1 or 2 says that the operation takes that many arrays and no options, and gives it the fast path.
    `singular` says that its derivative is infinite somewhere: its rules then run without NumPy's warnings.
    `opaque`, `stacks` and `written` are those of `Opaque`.
    `complex` says whether the rules hold for complex numbers, or which operation takes its place for them.
    `public` says whether users get it by its name (see `internal`).
    """
    # Rules are plain expressions, in which such operations are called.
    forward = taken_whole(forward, name, opaque, stacks=stacks, written=written)
    if singular:
        vjps = [_quiet(rule, singular) if rule else None for rule in vjps]
    record = Primitive(
        name=name,
        forward=forward,
        vjps=tuple(vjps),
        each=each,
        joint=joint,
        singular=singular,
        selects=selects,
        kinks=kinks,
        multiplies=multiplies,
        jvps=jvps if callable(jvps) else _forward_rules(jvps, name),
        formula=formula,
        derivatives=tuple(derivatives),
        samples=_complex_too(samples) if complex is True and samples else samples,
        documentation=doc,
        complex=complex,
        opaque=opaque,
        expansion=expansion,
    )
    if name in REGISTRY:
        raise ValueError(f"an operation named {name!r} is declared already")
    REGISTRY[name] = record
    apply = {1: unary, 2: binary}[arity](record) if arity else general(record, polymorphic)
    _dress(apply, record)
    if arity == 2:
        operate = cast(Any, apply).operator = binary(record, operator=True)
        _dress(operate, record)
    if numpy is not None:
        protocols.implements(numpy)(apply)
    if scipy is not None:
        protocols.SCIPY_UFUNCS[scipy] = apply
    return apply if public else internal(apply)


def _quiet(rule: Rule, singular: bool | Callable[..., bool]) -> Rule:
    """A rule without NumPy's warnings, for the inputs whose slope may be infinite."""
    quiet: Rule = np.errstate(divide="ignore", invalid="ignore", over="ignore")(rule)
    if isinstance(singular, bool):
        return quiet

    @wraps(rule)
    def of_some(g: Any, y: Any, *inputs: Any) -> Any:
        return quiet(g, y, *inputs) if singular(*inputs) else rule(g, y, *inputs)

    return of_some


def internal(operation: F) -> F:
    """Say of an operation that it serves other operations: it is no public name of its file, whatever it is called.
    (Names that begin with an underscore stay in their file.)"""
    cast(Any, operation).internal = True
    return operation


def _forward_rules(jvps: Sequence[Rule | None] | str, name: str) -> tuple[Rule | None, ...] | str:
    if isinstance(jvps, str):
        if jvps not in KINDS:
            raise ValueError(f"{name}: jvps takes one rule for each input, or one of {', '.join(KINDS)}, not {jvps!r}")
        return jvps
    return tuple(jvps)


def _dress(apply: Any, record: Primitive) -> None:
    apply.__name__ = apply.__qualname__ = record.name
    apply.primitive = record
    letters = ("x",) if len(record.vjps) == 1 else ("a", "b", "c", "d")
    apply.__doc__ = record.documentation or filled(record.formula, letters) or record.name
    if record.derivatives:
        apply.__doc__ += f"\n\nLocal derivatives: {', '.join(filled(d, letters) for d in record.derivatives)}."


def polymorphic(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The operation as rules call it: of arrays an array, of anything with a Tensor in it a Tensor."""
    forward = cast(Any, operation).primitive.forward

    def either(*inputs: Any, **params: Any) -> Any:
        for x in inputs:
            if isinstance(x, Tensor):
                return operation(*inputs, **params)
        return forward(*inputs, **params)

    return internal(either)


def without_gradient(
    name: str, forward: Callable[..., Any], numpy: Any = None, doc: str = "", public: bool = True
) -> Callable[..., Any]:
    """Declare a function that has no derivative by nature (comparisons, indices, counts): of Tensors, arrays and
    numbers it gives constant Tensors."""

    def apply(*args: Any, **params: Any) -> Any:
        values = [plain(as_plain_array(a, name) if _is_subclass(a) else a) for a in args]
        try:
            result = forward(*values, **{k: plain(v) for k, v in params.items()})
        except Exception as error:
            AXES.check(name, forward, params)
            arrays = [a for a in args if isinstance(a, (Tensor, np.ndarray))]
            raise failure(Primitive(name, forward), arrays, params, error) from error.__cause__
        return _wrapped(result)

    def operate(a: Any, b: Any, /) -> Any:
        for x in (a, b):
            if not isinstance(x, Tensor) and type(x) not in _KNOWN and foreign(x):
                return NotImplemented
        return apply(a, b)

    cast(Any, apply).operator = operate
    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc or f"`numpy.{name}` of Tensors; the result is constant (no gradient)."
    if numpy is not None:
        protocols.implements(numpy)(apply)
    return apply if public else internal(apply)


def _is_subclass(a: Any) -> bool:
    return isinstance(a, np.ndarray) and type(a) is not np.ndarray


def _wrapped(result: Any) -> Any:
    if isinstance(result, (np.ndarray, np.generic)) or is_foreign(result):
        return wrap(result)
    if type(result) is tuple or type(result) is list:
        return type(result)(_wrapped(r) for r in result)
    return result


def primitive(
    forward: Callable[..., Any],
    *,
    name: str | None = None,
    vjps: Sequence[Rule | None] = (),
    vjp: Rule | None = None,
    jvps: Sequence[Rule | None] | str = (),
    formula: str = "",
    derivatives: Sequence[str] = (),
    complex: bool = False,
    opaque: str = "",
    multiplies: Callable[..., Sequence[Multiplication]] | None = None,
) -> Callable[..., Tensor]:
    """Make an operation of your own, differentiable to any order.

    Args:
        forward: a function of arrays (and keyword options) that returns an array.
        name: shown in graphs and errors; the function's own name by default.
        vjps: one rule for each input, ``vjp(g, y, *inputs, **params)``: the cotangent `g` (shape of the output `y`)
            times the derivative of `y` by that input, an array of that input's shape (or of the output's shape, which
            is then summed over broadcast axes). None for an input that has no derivative. Rules are written with
            operators, methods, NumPy functions and other operations; in a derivative that is to be differentiated
            again they receive Tensors, and the same rule then gives second and higher orders.
        vjp: in place of `vjps`, one rule for all inputs together, however many they are: ``vjp(g, y, *inputs,
            **params)`` returns a list or tuple with the cotangent of each input (or None), for work that they share.
        jvps: optional, for forward mode: one rule for each input, ``jvp(t, y, *inputs, **params)``, what the tangent
            `t` of that input adds to the tangent of the output; or a word from which they follow, "elementwise",
            "piecewise" (elementwise, the slopes constant), "linear", "multilinear" or "reduction". By default the
            forward derivative is that of the pullback by its cotangent, which is as right but slower. A word speaks of
            the inputs alone: give none for rules that read other tensors that move.
        formula: the forward formula as text, ``{0}`` standing for the first input; shown in tables.
        derivatives: the local derivative by each input as text, ``{y}`` standing for the output.
        complex: whether inputs may be complex; else they are refused. The cotangent g of an output y is then the one
            for which the loss moves by Re(g dy), the conjugate of the gradient that users see, and what a rule returns
            is that of the input: the rule of a holomorphic function is written as for real numbers, g * f′(x).
        opaque: in a few words, why `forward` and the rules run on NumPy's arrays alone and cannot be followed call by
            call ("a C library"): arrays of other types are then given to each of them whole.
        multiplies: of an operation that is linear in a weight, how: ``multiplies(*inputs, **params)`` returns a list of
            `Multiplication`, one for each input that may be a weight. `curvature.KFAC` reads it.

    Returns:
        A function of Tensors, arrays or numbers that returns a Tensor.

    Raises:
        TypeError: if `forward` or a rule is not callable, or neither or both of `vjps` and `vjp` are given.
        ValueError: if `jvps` is another word, or there are not as many as `vjps`.

    >>> import numpy as np, autodiff as ad
    >>> cube = ad.primitive(lambda x: x**3, name="cube", vjps=[lambda g, y, x: g * 3 * x**2])
    >>> ad.grad(ad.grad(cube))(2.0)
    12.0
    """
    if not callable(forward):
        raise TypeError(f"ad.primitive: forward must be a function of arrays, not {forward!r}")
    if vjp is not None and (vjps or not callable(vjp)):
        raise TypeError("ad.primitive: vjp takes one rule vjp(g, y, *inputs) for all inputs, in place of vjps")
    if vjp is None and (callable(vjps) or not vjps or not all(rule is None or callable(rule) for rule in vjps)):
        raise TypeError("ad.primitive: vjps takes a list with one rule vjp(g, y, *inputs) for each input (or None)")
    if multiplies is not None and not callable(multiplies):
        raise TypeError(f"ad.primitive: multiplies must be a function of the inputs, not {type(multiplies).__name__}")
    name = str(name or getattr(forward, "__name__", "primitive"))
    forward_rules = _forward_rules(jvps, name)
    if not isinstance(forward_rules, str):
        if not all(rule is None or callable(rule) for rule in forward_rules):
            raise TypeError(
                "ad.primitive: jvps takes a list with one rule jvp(t, y, *inputs) for each input, or a word"
            )
        if forward_rules and vjp is None and len(forward_rules) != len(vjps):
            raise ValueError(f"{name}: {len(forward_rules)} forward rules for {len(vjps)} vjps; give one for each")
        forward_rules = tuple(_checked_rule(rule, name) if rule else None for rule in forward_rules)
    checked = _reading(_checked_forward(forward, name), name, "forward")
    rules = tuple([rule and _checked_rule(rule, name) for rule in vjps])
    joint = vjp and _checked_joint(vjp, name)
    if opaque:
        rules = _whole(rules, name, "pullback", opaque)
        joint = joint and _joint_whole(joint, name, opaque)
        if not isinstance(forward_rules, str):
            forward_rules = _whole(forward_rules, name, "pushforward", opaque)
    record = Primitive(
        name=name,
        forward=taken_whole(checked, name, opaque),
        joint=joint,
        vjps=rules,
        jvps=forward_rules,
        complex=complex,
        opaque=opaque,
        formula=formula,
        derivatives=tuple(derivatives),
        documentation=(forward.__doc__ or "").strip(),
        multiplies=multiplies,
    )
    inner = general(record)

    def apply(*inputs: Any, **params: Any) -> Tensor:
        if record.joint is None and len(inputs) != len(record.vjps):
            raise TypeError(f"{record.name}: takes {len(record.vjps)} inputs (one for each rule), not {len(inputs)}")
        if inputs and not any(isinstance(x, Tensor) for x in inputs):
            inputs = (as_tensor(inputs[0], record.name), *inputs[1:])
        return inner(*inputs, **params)

    _dress(apply, record)
    return apply


def _whole(rules: Sequence[Rule | None], name: str, what: str, reason: str) -> tuple[Rule | None, ...]:
    return tuple([rule and taken_whole(rule, f"{name}: {what} {i}", reason) for i, rule in enumerate(rules)])


def _joint_whole(joint: Rule, name: str, reason: str) -> Rule:
    def part(i: int, g: Any, y: Any, *inputs: Any, **params: Any) -> Any:
        d = joint(g, y, *inputs, **params)[i]
        return np.zeros_like(inputs[i]) if d is None else d

    def of_all(g: Any, y: Any, *inputs: Any, **params: Any) -> Any:
        if isinstance(g, Tensor) or not any(map(is_foreign, (g, y, *inputs))):
            return joint(g, y, *inputs, **params)
        parts = [taken_whole(partial(part, i), f"{name}: pullback {i}", reason) for i in range(len(inputs))]
        return [of_one(g, y, *inputs, **params) for of_one in parts]

    return of_all


def _checked_forward(forward: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A user's forward, made to return arrays of its own (a result that is an input would be shared)."""

    def checked(*arrays: Any, **params: Any) -> Any:
        y = forward(*arrays, **params)
        if isinstance(y, Tensor):
            raise TypeError(f"{name}: forward must return an array, not a Tensor; it is given arrays")
        y = constant(y, name)
        if type(y) in NUMBERS:
            y = np.asarray(y)
        return y.copy() if any(y is a for a in arrays) else y

    return checked


def _reading(function: Callable[..., Any], name: str, what: str) -> Callable[..., Any]:
    """A user's function, given arrays that it cannot write: they are other tensors' too."""

    def reads(*arrays: Any, **params: Any) -> Any:
        try:
            return function(*[_sealed(a) for a in arrays], **params)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise ValueError(
                f"{name}: {what} writes into an array that it was given, which other tensors have too; write into a "
                f"copy, x = x.copy(), or into a new array"
            ) from error

    return reads


def _sealed(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        x = x[...]
        x.flags.writeable = False
    return x


def _checked_joint(rule: Rule, name: str) -> Rule:
    """A user's rule for all inputs, made to return a cotangent of its own for each."""
    rule = _reading(rule, name, "its rule vjp")

    def checked(g: Any, y: Any, *inputs: Any, **params: Any) -> Any:
        found = rule(g, y, *inputs, **params)
        if not isinstance(found, (list, tuple)) or len(found) != len(inputs):
            what = f"{len(found)} of them" if isinstance(found, (list, tuple)) else type(found).__name__
            raise TypeError(
                f"{name}: its rule vjp must return a list with a cotangent (or None) for each of its {len(inputs)} "
                f"inputs, not {what}"
            )
        return [None if d is None else _checked_cotangent(d, name, g, y) for d in found]

    return checked


def _checked_rule(rule: Rule, name: str) -> Rule:
    """A user's rule, made to return arrays of its own: the engine may keep what a rule returns as somebody's `.grad`,
    and a user's rule may return an input or an array it closed over."""
    rule = _reading(rule, name, "a rule")

    def checked(g: Any, y: Any, *inputs: Any, **params: Any) -> Any:
        d = rule(g, y, *inputs, **params)
        if isinstance(d, (tuple, list)):
            raise TypeError(
                f"{name}: a rule of vjps= returns one cotangent, that of its own input, not a {type(d).__name__} of "
                f"{len(d)}; give a rule for all inputs together as vjp="
            )
        return _checked_cotangent(d, name, g, y)

    return checked


def _checked_cotangent(d: Any, name: str, g: Any, y: Any) -> Any:
    if isinstance(d, Tensor):
        return d if isinstance(g, Tensor) else d._ndarray.copy()
    d = constant(d, f"{name}, the result of its rule")
    if is_foreign(d):
        d = d.copy()
    elif is_foreign(plain(y)) and type(d) in NUMBERS:
        d = np.full_like(plain(y), d)
    else:
        d = np.array(d, dtype=y.dtype if type(d) in NUMBERS else None, copy=True)
    if not isinstance(g, Tensor):
        return d
    if d.any():
        raise TypeError(
            f"{name}: its rule was given Tensors, because the derivative is to be differentiated again, but "
            f"returned a plain array and so left the graph; write it with operators and NumPy functions of g, y "
            f"and the inputs (no .data, .numpy(), np.asarray, scipy)"
        )
    return wrap(d)
