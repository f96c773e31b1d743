"""Transforms: functions of functions. Each runs its function once on fresh variables and then takes `gradients`.

Order: one run (what every transform starts with), gradients and pullbacks, forward products, full matrices,
curvature products. Primals go into a function, tangents are directions in which they move, cotangents come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from ..backward import as_owned, gradients, reachable
from ..batching.batch import Batch, quiet
from ..batching.examples import batched, left
from ..mode import differentiating, is_grad_enabled, mode
from ..ops.elementwise import positive
from ..ops.guards import common
from ..primitive import new_node
from ..tensor import HANDED_OUT, Tensor, as_array, clock, is_foreign, plain, settled, variable, wrap
from .control import staging
from .forward import ForwardOverReverse, Pushforward, Unsupported
from .tree import flatten

Function = Callable[..., Any]


class _Run:
    """One run of a function on fresh variables in place of the arguments that are differentiated."""

    __slots__ = ("form", "given", "outer", "output_form", "outputs", "reached", "variables", "where")

    def __init__(
        self,
        where: str,
        f: Function,
        args: Sequence[Any],
        kwargs: dict[str, Any] | None = None,
        chosen: Sequence[int] | None = None,
        own: bool = False,
    ) -> None:
        """`chosen` are the positions of the arguments to differentiate by, all by default; `own` copies arrays that
        the user might write to before the graph is used again."""
        self.where = where
        positions = range(len(args)) if chosen is None else _positions(where, chosen, len(args))
        recording = is_grad_enabled()
        start = clock()
        self.given, self.form = flatten(tuple([args[i] for i in positions]))
        with differentiating():
            self.variables = [self._variable(x, k, recording, own) for k, x in enumerate(self.given)]
            replaced = list(args)
            for i, fresh in zip(positions, self.form.build(self.variables)):
                replaced[i] = fresh
            result = f(*replaced, **kwargs or {})
        self.outputs, self.output_form = flatten(result)
        for y in self.outputs or [None]:
            if not isinstance(y, Tensor):
                raise TypeError(_not_a_tensor(where, f, y))
        # A tensor older than this run that requires a gradient, closed over or received: results must stay connected.
        self.reached = reachable([y for y in self.outputs if y._requires_grad])
        self.outer = recording and any(min(found, default=start) < start for found in self.reached)

    def _variable(self, x: Any, k: int, recording: bool, own: bool) -> Tensor:
        if isinstance(x, Tensor):
            if x._ndarray.dtype.kind in "fc":
                if x._requires_grad and recording:
                    if x._requires_grad is HANDED_OUT:
                        settled(x)
                    return positive(x) if own else new_node(x._ndarray, cast(Any, positive).primitive, (x,), None)
                return variable(x._ndarray.copy() if own else x._ndarray)
        elif type(x) in (float, int, complex):
            return variable(np.asarray(x if type(x) is complex else float(x)))
        elif isinstance(x, (np.ndarray, np.generic)) or is_foreign(x):
            if isinstance(x, np.integer):
                return variable(np.asarray(x, dtype=float))
            if x.dtype.kind in "fc":
                return variable(as_array(x, copy=own))
        dtype = getattr(x, "dtype", None)
        what = type(x).__name__ if dtype is None else f"of {dtype}"
        raise TypeError(
            f"{self.where}: a differentiated argument (variable {self.form.paths()[k]}) must be made of floating-point "
            f"or complex arrays, Tensors or numbers, not {what}; pass floats (x.astype(float)) or choose other argnums"
        )

    def scalar(self, holomorphic: bool = False) -> Tensor:
        """The one output of one element that a gradient needs."""
        if self.output_form.kind is not None:
            kind = self.output_form.kind
            raise TypeError(
                f"{self.where}: the function must return one Tensor, not a {getattr(kind, '__name__', 'dict')} of "
                f"{len(self.outputs)}; use ad.jacobian or ad.vjp for several outputs"
            )
        y: Tensor = self.outputs[0]
        if y.size != 1:
            raise ValueError(
                f"{self.where}: the function returned shape {y.shape}, so its gradient is not one number for each "
                f"element; reduce it (.sum(), .mean()), or use ad.jacobian, or ad.elementwise_grad"
            )
        self.check_kind([y], holomorphic)
        return y

    def check_kind(self, outputs: Sequence[Tensor], holomorphic: bool) -> None:
        """Raise unless the derivative of these outputs is the one that is asked for: the gradient of real numbers, or
        the complex derivative of complex ones by complex ones."""
        met = [y.dtype for y in outputs if (y.dtype.kind == "c") is not holomorphic]
        if met and not holomorphic:
            raise TypeError(
                f"{self.where}: the function returned {met[0]}, which has no gradient; make it real (abs(y) ** 2, "
                f"y.real), or pass holomorphic=True for the complex derivative of a holomorphic function"
            )
        met += [x.dtype for x in self.variables if holomorphic and x.dtype.kind != "c"]
        if met:
            raise TypeError(
                f"{self.where}: holomorphic=True is for complex functions of complex arguments, not {met[0]}; convert "
                f"it (x.astype(complex)), or leave the option out"
            )

    def derivative(self, outputs: Sequence[Tensor], ones: Sequence[Any], create_graph: bool) -> list[Tensor]:
        """The complex derivative of holomorphic outputs, weighted by `ones`. For dy = a dz + b dz* the gradient from a
        cotangent v is a* v + b v*: a is the conjugate of that from 1, and b = 0 where that from i is i times as much.

        Raises:
            ValueError: the outputs are not holomorphic here.
        """
        along = _pull(outputs, self.variables, ones, create_graph)
        across = _pull(outputs, self.variables, [1j * v for v in ones], False)
        for d, e in zip(along, across):
            a, b = d._ndarray, e._ndarray / 1j
            off = np.abs(a - b) > np.finfo(a.dtype).eps ** 0.5 * np.max(np.abs(a) + np.abs(b), initial=0.0)
            if not common(~off.any()):
                raise ValueError(
                    f"{self.where}: holomorphic=True, but the function is not holomorphic here: its derivative is "
                    f"another along the imaginary axis than along the real one (conj, abs, real and imag are not)"
                )
        return [cast(Any, d).conj() for d in along]

    def pull(self, cotangents: Sequence[Any], create_graph: bool) -> list[Tensor]:
        """The cotangents of the variables, given those of the outputs."""
        return _pull(self.outputs, self.variables, cotangents, create_graph)

    def tangents(self, tangents: tuple[Any, ...]) -> list[Tensor]:
        """Tangents given in the form of the primals, one for each variable."""
        where = f"{self.where}: tangents"
        return [_fitting(where, v, x) for v, x in zip(self.form.leaves_of(tangents, where), self.variables)]

    def returned(self, results: Iterable[Tensor], tensors: bool) -> tuple[Any, ...]:
        """Results in the form of the arguments, as Tensors or as what was given there."""
        if tensors:
            return self.form.build(results)
        return self.form.build(map(_as_given, results, self.given))

    def values(self, tensors: bool, outputs: Sequence[Tensor] | None = None) -> Any:
        """The outputs in their form: recorded Tensors, or copies of their values as Tensors, arrays or numbers."""
        outputs = self.outputs if outputs is None else outputs
        if not tensors:
            number = all(type(x) in (float, int, complex) for x in self.given)
            held = any(isinstance(x, Tensor) for x in self.given)
            copies = [y._ndarray.copy() if is_foreign(y._ndarray) else np.array(y._ndarray) for y in outputs]
            return self.output_form.build(
                [wrap(y) if held else y if y.ndim or is_foreign(y) else y.item() if number else y[()] for y in copies]
            )
        return self.output_form.build(outputs)


def _pull(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Any], create_graph: bool
) -> list[Tensor]:
    """`gradients`, with zeros where nothing depends."""
    recorded = [(y, g) for y, g in zip(outputs, cotangents) if y._requires_grad]
    if not recorded or not inputs:
        return [wrap(np.zeros_like(plain(x))) for x in inputs]
    ys, gs = zip(*recorded)
    found = gradients(ys, inputs, gs, create_graph=create_graph, allow_unused=True)
    return [wrap(np.zeros_like(plain(x))) if d is None else d for d, x in zip(found, inputs)]


def _as_given(d: Tensor, given: Any) -> Any:
    """A result as the kind of thing its argument was: a Tensor, an array, a NumPy scalar, a Python number."""
    if isinstance(given, Tensor):
        return d
    array = d._ndarray
    if type(given) in (float, int, complex):
        return array if array.ndim or is_foreign(array) else array.item()
    return array[()] if isinstance(given, np.generic) else array


def _fitting(where: str, value: Any, x: Tensor) -> Tensor:
    """A tangent or cotangent as a Tensor of the shape and dtype of what it belongs to."""
    v = value if isinstance(value, Tensor) else wrap(as_array(value, copy=False))
    if v.shape != x.shape:
        raise ValueError(f"{where}: has shape {v.shape} where shape {x.shape} is needed")
    if v.dtype != x.dtype:
        strict = v.dtype.kind == "c" or (isinstance(value, (Tensor, np.ndarray, np.generic)) and v.dtype.kind == "f")
        if strict and not np.can_cast(v.dtype, x.dtype, "safe"):
            raise TypeError(f"{where}: has dtype {v.dtype} where {x.dtype} is needed; pass it as v.astype({x.dtype})")
        v = v.astype(x.dtype)
    return v


def _not_a_tensor(where: str, f: Any, y: Any) -> str:
    what = f"an array of shape {y.shape}" if isinstance(y, np.ndarray) else f"{y!r} ({type(y).__name__})"
    name = getattr(f, "__name__", type(f).__name__)
    return (
        f"{where}: the function {name} must return a Tensor that it computed from its arguments, not {what}; "
        f"float(), .item(), .numpy() and np.asarray() inside it cut the derivative off"
    )


def _checked(where: str, f: Any, argnums: Any) -> tuple[int, ...]:
    """`argnums` as a tuple, after checking what can be checked before the arguments are known."""
    if not callable(f):
        raise TypeError(f"{where}: needs a function, not {f!r:.80}")
    chosen = tuple(argnums) if isinstance(argnums, (tuple, list)) else (argnums,)
    if not chosen or not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in chosen):
        raise TypeError(
            f"{where}: argnums is a position or a tuple of positions, not {argnums!r}; the derivative of a function f "
            f"at x is ad.{where}(f)(x)"
        )
    return chosen


def _positions(where: str, chosen: Sequence[int], count: int) -> list[int]:
    for i in chosen:
        if not -count <= i < count:
            raise TypeError(
                f"{where}: argnums {i} is out of range for {count} positional arguments; "
                f"an argument to differentiate by is passed by position"
            )
    positions = [i % count for i in chosen]
    if len(set(positions)) < len(positions):
        raise ValueError(f"{where}: argnums {tuple(chosen)} names an argument twice")
    return positions


def _several(primals: Any, tangents: Any) -> tuple[tuple[Any, ...], Any]:
    """Primals and tangents as tuples: only a tuple means several."""
    return (primals, tangents) if isinstance(primals, tuple) else ((primals,), (tangents,))


# Gradients


def grad(f: Function, argnums: int | Sequence[int] = 0, *, holomorphic: bool = False) -> Function:
    """The function that gives the gradient of a scalar function.

    Args:
        f: a function that returns a Tensor of one element. It is given a fresh Tensor for each float in the
            arguments chosen, and recording is on while it runs.
        argnums: the position of the argument to differentiate by, or several. These arguments may be arrays,
            Tensors, numbers, or nested lists, tuples and dicts of them; all others are passed on as they are.
        holomorphic: give the complex derivative dy/dz of a function that returns a complex number, computed from
            complex arguments without conj, abs, real or imag.

    Returns:
        A function of the same arguments that returns the gradient in the form of the argument (a tuple where
        `argnums` is one), with its shapes and dtypes: numbers for numbers, arrays for arrays, Tensors for Tensors.
        If the value depends on a recorded Tensor that `f` closed over or was given, the result is made of Tensors
        that can be differentiated further, so that transforms nest.

        The gradient by a complex argument z = x + i y is ∂f/∂x + i ∂f/∂y, so that a step against it descends.

    Raises:
        TypeError: f does not return a Tensor, or an argument to differentiate by is neither floating-point nor complex,
            or f returns a complex number (a real one, where `holomorphic`).
        ValueError: f returns a Tensor of more than one element, or is not holomorphic though that was said.

    >>> grad(lambda x: x**3)(2.0)
    12.0
    >>> grad(lambda z: abs(z) ** 2)(1 + 2j)
    (2+4j)
    >>> grad(lambda z: z**3, holomorphic=True)(2j)
    (-12+0j)
    >>> grad(grad(lambda x: x**3))(2.0)
    12.0
    >>> grad(lambda p, x: (p["w"] * x + p["b"]).sum())({"w": 1.0, "b": 0.5}, np.arange(3.0))
    {'w': 3.0, 'b': 3.0}
    """
    return _gradient("grad", f, argnums, value=False, holomorphic=holomorphic)


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, *, holomorphic: bool = False) -> Function:
    """As `grad`, but the function returns the pair ``(value, gradient)`` of one run.

    >>> value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """
    return _gradient("value_and_grad", f, argnums, value=True, holomorphic=holomorphic)


def elementwise_grad(f: Function, argnums: int | Sequence[int] = 0, *, holomorphic: bool = False) -> Function:
    """As `grad` for a function that acts on each element by itself: the gradient of the sum of its output, which is
    the derivative at each element.

    >>> elementwise_grad(np.square)(np.array([1.0, 2.0, 3.0]))
    array([2., 4., 6.])
    """
    return _gradient("elementwise_grad", f, argnums, value=False, total=True, holomorphic=holomorphic)


def _gradient(
    where: str, f: Function, argnums: Any, value: bool, total: bool = False, holomorphic: bool = False
) -> Function:
    chosen = _checked(where, f, argnums)
    one = not isinstance(argnums, (tuple, list))

    def gradient(*args: Any, **kwargs: Any) -> Any:
        run = _Run(where, f, args, kwargs, chosen)
        ys = run.outputs if total else [run.scalar(holomorphic)]
        if total:
            run.check_kind(ys, holomorphic)
        seeds = [np.ones_like(plain(y)) if total or holomorphic else None for y in ys]
        found = run.derivative(ys, seeds, run.outer) if holomorphic else run.pull(seeds, run.outer)
        results = run.returned(found, run.outer)
        result = results[0] if one else results
        return (run.values(run.outer), result) if value else result

    return gradient


def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Run `f` and return its value together with its pullback, the product of a cotangent with the Jacobian.

    Args:
        f: a function that returns a Tensor, or a nested list, tuple or dict of Tensors.
        primals: its arguments, all differentiated; arrays, Tensors, numbers or nested structures of them.

    Returns:
        ``(y, pullback)``: ``pullback(g)`` takes a cotangent in the form of `y` and returns a tuple, one vᵀJ for each
        primal, in its form. It may be called several times.

    Raises:
        TypeError: f does not return Tensors, or a primal is not floating-point.
        ValueError: (pullback) a cotangent of another form or shape than `y`.

    >>> y, pullback = vjp(lambda a, b: a * b, np.array([1.0, 2.0]), 3.0)
    >>> y
    array([3., 6.])
    >>> pullback(np.array([1.0, 1.0]))
    (array([3., 3.]), 3.0)
    """
    _checked("vjp", f, 0)
    run = _Run("vjp", f, primals, own=True)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        given = run.output_form.leaves_of(cotangent, "vjp: cotangent")
        gs = [_fitting("vjp: cotangent", g, y) for g, y in zip(given, run.outputs)]
        create = is_grad_enabled() and (run.outer or any(g._requires_grad for g in gs))
        return run.returned(run.pull(gs, create), create or any(isinstance(g, Tensor) for g in given))

    return run.values(run.outer), pullback


# Forward products


def jvp(f: Function, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The value of `f` and its derivative in a direction, the product of the Jacobian with a tangent.

    Tangents are pushed through the recorded graph, which takes about as long as recording it.

    Args:
        f: a function that returns a Tensor, or a nested list, tuple or dict of Tensors.
        primals: a tuple of arguments, or anything else as the one argument.
        tangents: in the form of `primals`, with the same shapes.

    Returns:
        ``(y, ẏ)``, both in the form of what `f` returns.

    Raises:
        ValueError: tangents of another form or shape than the primals.
        TypeError: f does not return Tensors, or a primal is not floating-point.

    >>> jvp(np.sin, 0.0, 2.0)
    (0.0, 2.0)
    >>> jvp(lambda a, b: a * b, (np.array([1.0, 2.0]), 3.0), (np.array([1.0, 0.0]), 1.0))
    (array([3., 6.]), array([4., 2.]))
    """
    _checked("jvp", f, 0)
    primals, tangents = _several(primals, tangents)
    run = _Run("jvp", f, primals)
    vs = run.tangents(tangents)
    tensors = run.outer or _recorded(vs)
    return run.values(tensors), run.values(tensors, _push(run, vs, tensors))


def _push(run: _Run, tangents: Sequence[Tensor], create_graph: bool) -> list[Tensor]:
    """J v for each output."""
    try:
        with differentiating():
            forward = Pushforward(run.outputs, run.variables)
            pushed = forward(tangents if create_graph else [v._ndarray for v in tangents], create_graph)
    except Unsupported:
        return _push_by_reverse(run, tangents, create_graph)
    zeros = [wrap(np.zeros_like(plain(y))) if d is None else d for d, y in zip(pushed, run.outputs)]
    return zeros if create_graph else [d if isinstance(d, Tensor) else wrap(d) for d in zeros]


def _push_by_reverse(run: _Run, tangents: Sequence[Tensor], create_graph: bool) -> list[Tensor]:
    """J v as the derivative of the pullback by its cotangent, so that hooks are heard and values watched. (That starts
    from 1, not from 0, where rules may leave out a branch.)"""
    with differentiating():
        dummies = [variable(np.ones_like(plain(y))) for y in run.outputs]
        pulled = run.pull(dummies, create_graph=True)
    pushed = _pull(pulled, dummies, tangents, create_graph)
    return [_by_rows(run, y, d, tangents, create_graph) for y, d in zip(run.outputs, pushed)]


def _by_rows(run: _Run, y: Tensor, pushed: Tensor, tangents: Sequence[Tensor], create_graph: bool) -> Tensor:
    """The tangent of an output, its NaN replaced where the gradient of that element alone knows better: that an
    infinite slope belongs to what does not move, or to a sum that cancels whatever the values."""
    unknown = np.isnan(pushed._ndarray) & ~np.isnan(y._ndarray)
    if (
        common(~unknown.any())
        or any(x.dtype.kind == "c" for x in (y, *tangents))
        or not all(common(~np.isnan(v._ndarray).any()) for v in tangents)
    ):
        return pushed
    everywhere = create_graph or is_foreign(unknown)
    places = range(y.size) if everywhere else np.flatnonzero(unknown).tolist()  # NaN stays in what is recorded
    with differentiating():
        known: Any = np.stack(
            [
                _total(
                    [
                        s * v if v._requires_grad and create_graph else np.where(v._ndarray != 0, s, 0) * v
                        for s, v in zip(_row(run, y, i, create_graph), tangents)
                    ]
                )
                for i in places
            ]
        )
    if create_graph:
        return cast(Tensor, known.reshape(y.shape))
    if everywhere:
        return wrap(np.where(unknown, known._ndarray.reshape(y.shape), pushed._ndarray))
    filled = np.array(pushed._ndarray)
    filled.reshape(-1)[places] = known._ndarray
    return wrap(filled)


def _total(parts: Sequence[Any]) -> Any:
    total = parts[0].sum()
    for part in parts[1:]:
        total = total + part.sum()
    return total


def _row(run: _Run, y: Tensor, i: int, create_graph: bool, holomorphic: bool = False) -> list[Tensor]:
    """The derivative of one element of an output by the variables."""
    seed = np.zeros(y.size, y.dtype)
    seed[i] = 1
    seed = seed.reshape(y.shape)
    if is_foreign(plain(y)):
        seed = np.asarray(seed, like=plain(y))
    if holomorphic:
        return run.derivative([y], [seed], create_graph)
    return _pull([y], run.variables, [seed], create_graph)


def _recorded(tangents: Sequence[Tensor]) -> bool:
    return is_grad_enabled() and any(v._requires_grad for v in tangents)


# Full matrices


def jacobian(f: Function, argnums: int | Sequence[int] = 0, *, holomorphic: bool = False) -> Function:
    """The function that gives all derivatives of all outputs, of shape output's shape + argument's shape.

    Args:
        f: a function that returns a Tensor, or a nested list, tuple or dict of Tensors.
        argnums: as for `grad`.
        holomorphic: of a complex function of complex arguments, give the complex derivatives ∂yᵢ/∂zⱼ, as for `grad`.

    Returns:
        A function of the same arguments; where outputs or arguments are nested, so is its result, the outputs' form
        outside. One run of `f`, then one reverse pass for each element of the output (two, where `holomorphic`). Of
        real outputs and complex arguments the rows are gradients, ∂yᵢ/∂x + i ∂yᵢ/∂y.

    Raises:
        TypeError: f does not return Tensors, or complex ones though `holomorphic` was not said, or an argument to
            differentiate by is neither floating-point nor complex.
        ValueError: f is not holomorphic though that was said.

    >>> jacobian(lambda x: x[:2] * x[2])(np.array([1.0, 2.0, 3.0]))
    array([[3., 0., 1.],
           [0., 3., 2.]])
    """
    chosen = _checked("jacobian", f, argnums)
    one = not isinstance(argnums, (tuple, list))

    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        run = _Run("jacobian", f, args, kwargs, chosen)
        run.check_kind(run.outputs, holomorphic)
        blocks = []
        for y in run.outputs:
            rows = _rows(run, y, holomorphic)
            block = run.returned([_joined(part, y, x) for part, x in zip(rows, run.variables)], run.outer)
            blocks.append(block[0] if one else block)
        return run.output_form.build(blocks)

    return jacobian_of


FEW = 4
"""Fewer rows of a Jacobian are pulled back one by one."""

ROOM = 1 << 22
"""So many elements one array of a pass for several rows may have, those apart that the result is made of."""


def _rows(run: _Run, y: Tensor, holomorphic: bool) -> list[list[Tensor]]:
    """For each variable the rows of the Jacobian of an output, in pieces of shape (rows, *shape of the variable): one
    reverse pass for many rows, whose cotangents are a batch; one for each, where hooks look at them or a branch depends
    on them."""
    nodes, leaves = reachable([y]) if y._requires_grad else ({}, {})
    own = {x._number for x in run.variables}
    largest = max([x.size for found in (nodes, leaves) for n, x in found.items() if n not in own], default=1)
    together = min(y.size, ROOM // max(largest, 1))
    looked_at = any(x._hooks for found in (nodes, leaves) for x in found.values())
    whole = staging.get()
    if together >= FEW and not (looked_at or holomorphic) and (whole is not None or isinstance(mode.get(), bool)):
        try:
            parts = [range(i, min(i + together, y.size)) for i in range(0, y.size, together)]
            batches = partial(_several_rows, run, y)
            pieces = [batches(part) if whole is None else whole.attempted(partial(batches, part)) for part in parts]
            return [list(column) for column in zip(*pieces)]
        except Exception:  # a rule fails on a batch in ways of its own; a true error comes again below
            pass
    rows = [_row(run, y, i, run.outer, holomorphic) for i in range(y.size)]
    return [[row[k][None] for row in rows] for k in range(len(run.variables))]


def _several_rows(run: _Run, y: Tensor, places: range) -> list[Tensor]:
    seeds = np.zeros((len(places), y.size), y.dtype)
    seeds[np.arange(len(places)), places] = 1
    seeds = seeds.reshape((len(places), *y.shape))
    if is_foreign(plain(y)) and not isinstance(plain(y), Batch):
        seeds = np.asarray(seeds, like=plain(y))
    with batched(len(places), [y, *run.variables]) as level:
        token = quiet.set(True)
        try:
            seed = Batch(level, seeds)
            return [left(d, 0, level) for d in _pull([y], run.variables, [seed], run.outer)]
        finally:
            quiet.reset(token)


def _joined(pieces: Sequence[Tensor], y: Tensor, x: Tensor) -> Tensor:
    shape = y.shape + x.shape
    if any(piece._requires_grad for piece in pieces):
        joined: Any = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return joined.reshape(shape)
    if not pieces:
        return wrap(np.zeros(shape, x.dtype))
    array = pieces[0]._ndarray if len(pieces) == 1 else np.concatenate([piece._ndarray for piece in pieces])
    return wrap(array.reshape(shape) if array.base is None else array.reshape(shape).copy())


def hessian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that gives all second derivatives of a scalar function, of shape argument's shape twice.

    Where arguments are nested (or `argnums` is a tuple) so is the result, twice.

    Raises:
        TypeError: as `jacobian`, and for complex arguments, whose second derivatives are no complex matrix.

    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """
    slopes = jacobian(_gradient("hessian", f, argnums, value=False), argnums)
    chosen = _checked("hessian", f, argnums)

    def hessian_of(*args: Any, **kwargs: Any) -> Any:
        for x in flatten([args[i] for i in _positions("hessian", chosen, len(args))])[0]:
            if np.iscomplexobj(plain(x)):
                raise TypeError(
                    "hessian: the second derivatives by a complex argument are no complex matrix; use ad.hvp, or "
                    "differentiate by real and imaginary part, f(x + 1j * y)"
                )
        return slopes(*args, **kwargs)

    return hessian_of


# Curvature products


def hvp(f: Function, primals: Any, tangents: Any) -> Any:
    """The Hessian of a scalar function times a vector, by differentiating the gradient once more, forward over reverse:
    four passes, and never the matrix.

    H v = ∂/∂x (∇f(x) · v), with v held fixed.

    Args:
        f: a function that returns a Tensor of one element.
        primals: a tuple of arguments, or anything else as the one argument.
        tangents: in the form of `primals`, with the same shapes.

    Returns:
        H v in the form of `primals`.

    Raises:
        ValueError: tangents of another form or shape, or f returns more than one element.
        TypeError: f does not return a Tensor, or a primal is not floating-point.

    >>> hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    >>> hvp(lambda a, b: a * a * b, (2.0, 3.0), (1.0, 0.0))
    (6.0, 4.0)
    """
    _checked("hvp", f, 0)
    several, directions = _several(primals, tangents)
    run = _Run("hvp", f, several)
    run.scalar()
    vs = run.tangents(directions)
    tensors = run.outer or _recorded(vs)
    products = run.returned(_curved(run, vs, tensors), tensors)
    return products if isinstance(primals, tuple) else products[0]


def _curved(run: _Run, tangents: Sequence[Tensor], create_graph: bool) -> list[Tensor]:
    """H v for each variable: forward over reverse, or reverse over reverse where that is not enough."""
    if not create_graph:
        arrays = [v._ndarray for v in tangents]
        try:
            products = ForwardOverReverse(run.outputs, run.variables, reached=run.reached)(arrays)
        except Unsupported:
            pass
        else:
            found = {x._number: d for x, d in zip(run.variables, products) if d is not None}
            owned = as_owned(found, {x._number: x for x in run.variables}, arrays)
            return [owned[x._number] if x._number in owned else wrap(np.zeros_like(plain(x))) for x in run.variables]
    slopes = run.pull([None], create_graph=True)
    return _pull(slopes, run.variables, tangents, create_graph)


def gauss_newton_vp(model: Function, loss: Function, primals: Any, tangents: Any) -> Any:
    """The (generalised) Gauss–Newton matrix of ``loss(model(x))`` times a vector.

    G v = Jᵀ H J v, with J the Jacobian of the model and H the Hessian of the loss by the model's output: positive
    semi-definite where the loss is convex, and equal to the Hessian where the model is linear.

    Args:
        model: a function of the primals that returns a Tensor, or a nested list, tuple or dict of Tensors.
        loss: a function of what the model returns, which returns a Tensor of one element.
        primals: a tuple of arguments of the model, or anything else as the one argument.
        tangents: in the form of `primals`, with the same shapes.

    Returns:
        G v in the form of `primals`.

    Raises:
        ValueError: tangents of another form or shape, or the loss returns more than one element.
        TypeError: model or loss does not return Tensors, or a primal is not floating-point.

    Source: Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002.

    >>> A = np.array([[1.0, 2.0], [0.0, 1.0]])
    >>> gauss_newton_vp(lambda x: A @ x, lambda z: (z * z).sum(), np.zeros(2), np.array([1.0, 0.0]))
    array([2., 4.])
    """
    _checked("gauss_newton_vp", model, 0)
    _checked("gauss_newton_vp", loss, 0)
    several, directions = _several(primals, tangents)
    run = _Run("gauss_newton_vp", model, several)
    vs = run.tangents(directions)
    tensors = run.outer or _recorded(vs)
    form = run.output_form
    pushed = form.build(_push(run, vs, tensors))
    reached = form.build(run.outputs if tensors else [y.detach() for y in run.outputs])
    (curved,) = hvp(loss, (reached,), (pushed,))
    products = run.returned(run.pull(form.leaves_of(curved, "gauss_newton_vp"), tensors), tensors)
    return products if isinstance(primals, tuple) else products[0]
