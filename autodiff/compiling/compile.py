"""`compile`: a function as programs, one for each signature of its arguments, and what is done where none fits."""

from __future__ import annotations

import contextvars
import functools
import inspect
import threading
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import Any, NoReturn, cast

import numpy as np

from ..batching.batch import Batch
from ..leaving import user_level
from ..mode import mode
from ..tensor import Tensor, clock, wrap
from ..transforms.tree import Form, flatten
from .native.compiled import machine_function
from .printed import held_output
from .program import Program
from .source import Source, numpy_function
from .tracer import TraceError, Tracer, Uncommon
from .tracing import Traced, trace
from .training import Steps

MANY = 8
"""After so many programs of one function there is a warning, and after as many for one signature no more are made."""


KEPT = 100
"""Signatures whose programs are kept: the latest."""

LONG = 2000
"""From so many calls on there is a warning."""


class Compiled:
    """What `compile` returns: it is called as the function is."""

    def __init__(
        self,
        function: Callable[..., Any],
        params: dict[str, Tensor],
        optimizer: Any,
        reuse_outputs: bool,
        strict: bool,
        native: bool,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function, self._params, self._optimizer = function, params, optimizer
        self._reuse_outputs, self._strict, self._native = reuse_outputs, strict, native
        self._entries: dict[Any, list[_Entry]] = {}
        self._failures: dict[Any, int] = {}  # signature: how many traces came to nothing
        self._eager: dict[Any, str] = {}  # signature: why it is run as it is
        self._events: dict[str, int] = {}  # what happened, and how many times
        self._latest: _Entry | None = None
        self._warned = False
        self._lock = threading.RLock()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: the object is an argument."""
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        recording = mode.get()
        leaves: list[Any] = []
        form = _gathered(args, leaves), _gathered(kwargs, leaves) if kwargs else None
        if not isinstance(recording, bool) or any([type(x) is not np.ndarray and _within(x) for x in leaves]):
            return self._function(*args, **kwargs)  # watched, or a part of another program or a vmap
        key = (recording, *form, *[
            (np.ndarray, x.shape, x.dtype, x.strides) if type(x) is np.ndarray else _signature(x) for x in leaves
        ])  # fmt: skip
        with self._lock:
            if not self._eager or key not in self._eager:  # a key of many leaves takes long to hash
                try:
                    return self._compiled(key, leaves, args, kwargs)
                except _Unfit as reason:
                    self._note(str(reason))
        return self._function(*args, **kwargs)

    def _compiled(self, key: Any, leaves: Any, args: Any, kwargs: Any) -> Any:
        """What a program gives for these arguments; it is made if there is none.

        Raises:
            _Unfit: the function is to be run as it is, and why.
        """
        known = self._entries.get(key)
        if known is None:
            known = self._entries[key] = []
            if len(self._entries) > KEPT:  # of objects that are made anew for every call, say
                self._entries.pop(next(iter(self._entries)))
        unfit: list[str] = []  # what one call does not fit, whatever the number of programs
        for entry in known:
            try:
                result = entry.call(leaves)
            except _Unfit as reason:
                if not reason.another:
                    raise
                if str(reason) not in unfit:
                    self._note(str(reason))
                unfit.append(str(reason))
            else:
                self._latest = entry
                return result
        if len(known) >= MANY:
            if sum(entry.runs for entry in known) <= 2 * MANY:
                self._give_up(
                    key,
                    f"{MANY} programs were made for these shapes, and the next call fitted none of them: {unfit[-1]}",
                    _instead_of(unfit[-1]),
                )
            known.pop()
        leaves, form = flatten((args, kwargs))
        with held_output() as printed:
            try:
                found = trace(
                    self._function, form, leaves, self._names(form), params=self._params, optimizer=self._optimizer,
                    returns_values=bool(self._params) or self._optimizer is not None, again=printed.forget,
                )  # fmt: skip
            except Uncommon as error:
                printed.forget()
                self._failures[key] = self._failures.get(key, 0) + 1
                if self._failures[key] >= MANY:
                    self._give_up(
                        key,
                        f"its values were a special case {MANY} times: {error}",
                        "compile for values that are not, or leave it uncompiled",
                    )
                raise _Unfit(f"its values are a special case: {error}") from None
            except TraceError as error:
                if self._strict:
                    raise
                printed.forget()
                self._eager[key] = str(error)
                raise _Unfit(str(error)) from None
        entry = _Entry(found, getattr(self._function, "__name__", "program"), self._reuse_outputs, self._native)
        if len(found.program.nodes) > LONG:
            warnings.warn(
                f"ad.compile: {len(found.program.nodes)} calls in one program; Python's loops are written out step by "
                f"step, so write them as ad.scan, or compile the function that one step calls",
                stacklevel=user_level(),
            )
        known.insert(0, entry)
        self._latest = entry
        self._warn()
        return entry.call(leaves)

    def _give_up(self, key: Any, why: str, instead: str) -> NoReturn:
        """Run the function as it is from now on."""
        self._eager[key] = why
        warnings.warn(
            f"ad.compile: {getattr(self._function, '__name__', 'the function')} is run as it is from now on for "
            f"arguments of these shapes; {why}; {instead}",
            stacklevel=user_level(),
        )
        raise _Unfit(why)

    def _note(self, event: str) -> None:
        if len(self._events) < 100 or event in self._events:
            self._events[event] = self._events.get(event, 0) + 1

    def _warn(self) -> None:
        keys = [key for key, entries in self._entries.items() if entries]
        if len(keys) <= MANY or self._warned:
            return
        self._warned = True
        warnings.warn(
            f"ad.compile: {getattr(self._function, '__name__', 'the function')} has {len(keys)} programs now, because "
            f"{self._paths(keys)}",
            stacklevel=user_level(),
        )

    def _paths(self, keys: list[Any]) -> str:
        """Which parts of the signature differ between programs, and what to give instead."""
        first = keys[0]
        same = [key for key in keys if len(key) == len(first)]
        changing = [i for i in range(3, len(first)) if len({key[i] for key in same}) > 1]
        if not changing:
            return "the form of its arguments or the grad mode differs at its calls; give arguments of one form"
        texts: list[str] = []
        instead: dict[str, None] = {}
        for i in changing[:3]:
            what, other = _difference([key[i] for key in same])
            texts.append(f"argument {i - 3} changes its {what}")
            instead[other] = None
        return f"{' and '.join(texts)} at its calls; give {' and '.join(instead)}"

    def _names(self, form: Any) -> list[str]:
        """Names of the leaves of the arguments: those of the function's parameters."""
        function = self._function
        while True:  # of what a transform made of a function, the function's
            inner = inspect.getclosurevars(function).nonlocals.get("f") if _of_engine(function) else None
            if inner is None:
                break
            function = inner
        try:
            parameters = [p for p in inspect.signature(function).parameters.values()]
        except (TypeError, ValueError):
            parameters = []
        names = []
        for path in form.paths():
            where, _, rest = path[1:].partition("]")
            if where == "0":
                number, _, inside = rest[1:].partition("]")
                i = int(number)
                given = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
                names.append((given[i].name if i < len(given) else f"x{i}") + inside)
            else:
                names.append(rest.strip("[]'"))
        return names

    # What users read

    @property
    def programs(self) -> list[Program]:
        """The programs that were made, one for each signature and way through the function."""
        return [entry.traced.program for entries in self._entries.values() for entry in entries]

    @property
    def source(self) -> str:
        """The program of the latest call as Python that needs NumPy alone (and SciPy for SciPy's functions); arrays of
        more than 64 elements that it has as constants are taken from ``constants``, a dict that `save` writes beside
        it.

        Raises:
            RuntimeError: before the first call.
        """
        return self._entry("source").source.text

    def _entry(self, what: str) -> _Entry:
        if self._latest is None:
            why = next(iter(self._eager.values()), "")
            raise RuntimeError(
                f"ad.compile: .{what} is known after a call that was compiled"
                + (f"; so far none was: {why}" if why else ", from whose arguments the shapes are taken")
            )
        return self._latest

    @property
    def reasons(self) -> list[str]:
        """Why calls are run as they are, for signatures of which no program can be made."""
        return [*self._eager.values()]

    def save(self, path: Any) -> None:
        """Write the program of the latest call as a module that needs NumPy alone (and SciPy for SciPy's functions),
        with large constants in an ``.npz`` beside it. Its function takes and returns what `source` shows: parameters
        and state are arguments, in that order, and the results are a tuple, of a single one too. It raises a TypeError
        for other shapes and dtypes than those of that call.

        Args:
            path: where to, a name that ends in ``.py``, of a module that can be imported.

        Raises:
            RuntimeError: before the first call.
            ValueError: for another name, or a program that calls functions that are not NumPy's.
        """
        self._entry("save").source.save(path)

    def explain(self) -> str:
        """What was compiled, what was run as it is, and why, as text."""
        name = getattr(self._function, "__name__", "function")
        entries = [entry for found in self._entries.values() for entry in found]
        lines = [f"{name}: {_counted(len(entries), 'program')}{' in machine code' if self._native else ''}"]
        for entry in entries:
            program = entry.traced.program
            shapes = ", ".join(f"{x.name or 'x'}: {x.dtype}{list(x.shape)}" for x in program.inputs[:8])
            more = ", …" if len(program.inputs) > 8 else ""
            runs = _counted(entry.runs, "time")
            lines.append(f"  {_counted(len(program.nodes), 'call')}, of {shapes}{more}; run {runs}")
            whole = sorted({node.options["name"] for node in program.nodes if node.op == "call"})
            if whole:
                lines.append(f"    called whole: {', '.join(whole)}")
            if program.assumptions or program.guards:
                checks = _counted(len(program.assumptions), "assumption"), _counted(len(program.guards), "decision")
                lines.append(f"    checks {', '.join(checks)}")
        for why in self._eager.values():
            lines.append(f"  run as it is: {why}")
        for event, count in self._events.items():
            lines.append(f"  {_counted(count, 'time')}: {event}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<compiled {getattr(self._function, '__name__', self._function)}>"


def _counted(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'s' * (n != 1)}"


def _instead_of(reason: str) -> str:
    """What to write where so many programs were made for this reason."""
    if reason.startswith("another number was read"):
        return (
            "float(x), int(x) and x.item() make a program for each value: compare the array, x > 0, whose truth is all "
            "that a branch needs, or write np.where or ad.cond"
        )
    if reason.startswith("another branch was decided"):
        return "write the branch as np.where or ad.cond, of which a program has both sides"
    return "give what changes from call to call as an argument, an array (np.float64(x))"


class _Unfit(Exception):
    """Why a program cannot take a call; `another` may."""

    def __init__(self, reason: str, another: bool = False) -> None:
        super().__init__(reason)
        self.another = another


class _Entry:
    """A program, ready to run."""

    def __init__(self, traced: Traced, name: str, reuse_outputs: bool, native: bool) -> None:
        self.traced, self.runs = traced, 0
        self.source = Source(traced.program, name if name.isidentifier() else "program", reuse_outputs)
        self._run: Callable[..., Any]
        self._run, self._unmet = machine_function(traced.program) if native else numpy_function(self.source)
        self._running = False
        # Where results are, too, that come back as arguments while the next call overwrites them.
        self._memory = self._run.__globals__.get("memory") if reuse_outputs and not native else None
        # Programs are silent: where NumPy would warn of infinities, the function has been run once.
        self._context = contextvars.copy_context()
        self._context.run(np.seterr, all="ignore")
        self._build = _builder(traced.form)
        self._written_places = [*dict.fromkeys(traced.program.donated.values())]
        self._read_places = [
            i for i, x in enumerate(traced.program.inputs)
            if i not in self._written_places and not x.options.get("weak")
        ]  # fmt: skip
        self._left_at_arguments = [where for where, _ in traced.left if isinstance(where, int)]
        self._leaves_nothing = not (traced.written or traced.assigned or traced.left or traced.steps)
        """Whether it has no effect but its results."""
        self._written_of_tensors = [len(traced.arguments) + k for kind, k in traced.written if kind == "tensor"]
        self._written: list[Any] = []
        """What the last call wrote, where no argument is among it, which would be kept alive."""
        self._owners: set[int] = set()
        """Ids of those whose memory they are."""
        expected = [(x.shape, x.dtype, x.strides) for x in traced.program.inputs][len(traced.arguments) :]
        self._of_tensors = list(zip(traced.tensors, expected))
        self._of_gradients = [
            (x, layout)
            for x, layout in zip(traced.gradients, expected[len(traced.tensors) :])
            if isinstance(x, Tensor)  # those of arguments are a part of the signature
        ]
        self._reached = [
            (x, without, bool(x._requires_grad), x._hooks)
            for x, without in zip(traced.reached, traced.without, strict=True)
        ]

    def misfit(self) -> str:
        """Why what the function reads beside its arguments is not as it was; '' where it is."""
        t = self.traced
        if not t.closure.unchanged():
            return f"made again, because {next(t.closure.changes(), 'something')} has changed"
        for x, (shape, dtype, strides) in self._of_tensors:
            a = x._ndarray
            if a.shape != shape or a.dtype != dtype or a.strides != strides:
                return f"made again, because a tensor has shape {a.shape}, dtype {a.dtype} and strides {a.strides} now"
        for x, without, required, hooks in self._reached:
            if (x._grad is None) is not without:
                return "made again, because a gradient is there now, or no more"
            if bool(x._requires_grad) is not required:
                return "made again, because a tensor requires a gradient now, or no more"
            if x._hooks is not hooks:
                return "made again, because a tensor has a hook now"
        for x, (shape, dtype, strides) in self._of_gradients:
            a = cast(Tensor, x._grad)._ndarray
            if a.shape != shape or a.dtype != dtype or a.strides != strides:
                return f"made again, because a gradient has dtype {a.dtype} and strides {a.strides} now"
        return ""

    def call(self, leaves: list[Any]) -> Any:
        """What the program gives.

        Raises:
            _Unfit: it is not made for these values; nothing has been written.
        """
        t = self.traced
        why = self.misfit()
        if why:
            raise _Unfit(why, another=True)
        inputs: list[Any] = [x._ndarray if isinstance(x, Tensor) else x for x in [leaves[i] for i in t.arguments]]
        if t.tensors:
            inputs += [x._ndarray for x in t.tensors]
        for where in t.gradients:
            x = leaves[where] if isinstance(where, int) else where
            inputs.append(cast(Tensor, x._grad)._ndarray)
        for where in self._left_at_arguments:
            if sum(x is leaves[where] for x in (*leaves, *t.reached)) > 1:
                raise _Unfit("a Tensor in which a gradient is left is given twice, or is closed over too")
        after: Any = ()
        if t.steps is not None:
            found = t.steps.advanced()
            if found is None:
                raise _Unfit("made again, because the optimiser's state or options changed", another=True)
            values, after, arrays = found
            inputs += values + arrays
        if self._memory is not None:
            self._taken_out(inputs)
        if t.written:
            self._make_writable(inputs)
        states = [generator.bit_generator.state for generator in t.generators] if t.generators else ()
        if self._running:
            raise _Unfit("called from within itself, where its memory is in use")
        self._running = True
        try:
            outputs = self._context.run(self._run, *inputs)
        except Exception as error:
            for generator, state in zip(t.generators, states):
                generator.bit_generator.state = state
            self._unfit(error)
        finally:
            self._running = False
        self.runs += 1
        return self._finished(leaves, outputs, after)

    def _taken_out(self, inputs: list[Any]) -> None:
        """Copies in place of inputs that lie in the program's memory."""
        for place, x in enumerate(inputs):
            if isinstance(x, np.ndarray) and np.may_share_memory(x, self._memory):
                if place in self._written_places:
                    raise _Unfit("what it writes lies where its own results are; copy the result first, result.copy()")
                inputs[place] = x.copy()

    def _unfit(self, error: Exception) -> NoReturn:
        if isinstance(error, self._unmet):
            other = {"decided": "branch", "read": "number"}.get(str(error).partition(" ")[0])
            what = f"another {other} was {error}" if other else f"what is {error} did not hold"
            raise _Unfit(what, other is not None) from None
        # The function itself says it better; nothing has been written yet.
        raise _Unfit(f"a call failed: {error!r}") from None

    def _make_writable(self, inputs: list[Any]) -> None:
        t = self.traced
        for place in self._written_of_tensors:
            if isinstance(inputs[place], np.generic) or not inputs[place].flags.writeable:
                inputs[place] = t.tensors[place - len(t.arguments)]._ndarray = np.array(inputs[place])
        places = self._written_places
        written = [inputs[place] for place in places]
        arguments = [place for place in places if place < len(t.arguments)]
        if any([not isinstance(inputs[i], np.ndarray) or not inputs[i].flags.writeable for i in arguments]):
            raise _Unfit("an argument that it writes is read-only")
        if len(written) != len(self._written) or not all(map(is_, written, self._written)):
            if any(np.may_share_memory(inputs[i], inputs[k]) for i in arguments for k in places if i != k):
                raise _Unfit("what it writes shares its memory with something else that it writes")
            self._written, self._owners = [] if arguments else written, {id(_owner(b)) for b in written}
        for place in self._read_places:
            b = inputs[place]
            if isinstance(b, np.ndarray) and id(_owner(b)) in self._owners:
                if any([np.may_share_memory(a, b) for a in written]):
                    raise _Unfit("what it writes shares its memory with something else that it reads")

    def _finished(self, leaves: list[Any], outputs: tuple[Any, ...], after: Any) -> Any:
        """The results in their form, after all else that the function leaves behind."""
        t = self.traced
        given = iter(outputs)
        results = [y if kind == "array" else _returned(kind, y) for kind, y in zip(t.kinds, given)]
        if self._leaves_nothing:
            return self._build(results)
        for kind, k in t.written:
            x = t.tensors[k] if kind == "tensor" else leaves[k] if kind == "argument" else None
            if isinstance(x, Tensor):
                if x._params is None or x._params == _REPLACED:
                    x._number = clock()
                else:
                    x.data = x._ndarray  # which tells those who share its memory too
        for x in t.assigned:
            x.data = np.array(next(given))
        for place, there in t.left:
            target = leaves[place] if isinstance(place, int) else place
            target._grad = _returned("tensor", next(given)) if there else None
        for states, numbers in after:
            for state in states:
                state.update(numbers)
        if t.steps is not None:
            t.steps.optimizer.stepped = True
        return self._build(results)


_REPLACED: dict[str, Any] = {"digest": None}
"""What a Tensor notes whose array somebody else may have, and which was written last by who said so."""


def _builder(form: Form) -> Callable[[list[Any]], Any]:
    if form.kind is None:
        return lambda results: results[0]
    flat = form.kind is tuple and all(child.kind is None for child in form.children)
    return tuple if flat else form.build


def _within(x: Any) -> bool:
    """Whether this is a value inside another program, or of the examples of a `vmap`."""
    return isinstance(x._ndarray if isinstance(x, Tensor) else x, (Tracer, Batch))


def _owner(array: Any) -> Any:
    base = getattr(array, "base", None)
    return array if base is None else base


def _returned(kind: str, value: Any) -> Any:
    if kind == "tensor":
        return wrap(value if type(value) is np.ndarray else np.asarray(value))
    if kind == "array of one":
        return np.asarray(value)
    return value[()] if kind == "scalar" and isinstance(value, np.ndarray) else value


def compile(
    fn: Callable[..., Any] | None = None,
    *,
    params: Any = None,
    optimizer: Any = None,
    backend: str | None = None,
    reuse_outputs: bool = False,
    on_unsupported: str = "error",
) -> Any:
    """A function of arrays as a program: the NumPy calls that it makes, without what Python does in between.

    At the first call for a signature (shapes, dtypes and layouts of the arrays, values of all other arguments, grad
    mode) the function runs once with arrays that write down every NumPy call, those of derivatives and of
    optimisers too; later calls run the program. Tensors and large arrays that the function reaches are read at
    every call. Numbers, small arrays and attributes that it closes over are compared at every call, and a change
    makes a new program; so does a branch that goes another way. Python's loops are written out step by step;
    ``ad.scan``, ``ad.cond`` and ``ad.while_loop`` are loops and branches of the program, in derivatives too (of a
    `while_loop` they are so with ``max_steps`` alone; a `scan` keeps the carry of each step, whatever its
    ``checkpoint``, and backward computes the rest of the step again). Where a program does not hold, the function
    itself runs: numbers are never other than its own. (Its prints and its warnings of infinities come at the first
    call alone; during that call no other thread may use what it reaches. Where a call is run as it is after an attempt
    to trace it, for special values or with ``on_unsupported="eager"``, what the attempt printed, drew and wrote into
    arrays is taken back, though not a line that it wrote into an open file. What is drawn from a
    ``np.random.Generator`` that is an argument is drawn at every call. ``float(x)`` or ``x.item()`` makes a program
    for each value: compare the array, ``x > 0``. Nobody can answer ``x is y`` of two arguments.)

    Args:
        fn: a function of arrays, Tensors and anything else, nested as one likes: ``ad.grad(f)``, a loss, a training
            step. Without it, `compile` is a decorator with options.
        params: the Tensors that `fn` trains, a module, a list or a dict of them, by whose names the program calls them.
            They are written in place; the Tensors that `fn` returns are then constants.
        optimizer: the optimiser whose ``step()`` is in `fn`; learning rates and step counts may change at every call.
        backend: "numpy" (None is the same), or "native": machine code by llvmlite, faster, and made in 0.1 s or more.
        reuse_outputs: whether results may lie in the program's own memory, which the next call overwrites.
        on_unsupported: "error", or "eager" to run `fn` as it is where no program can be made (`explain` says why).

    Returns:
        A function of the same arguments, with ``.source`` (the latest program as Python that needs NumPy alone),
        ``.programs``, ``.explain()`` and ``.save("model.py")``. Its results carry no derivative.

    Raises:
        TypeError: for arguments that are none of these; and at a call, naming the line, where no program can repeat
            what `fn` does: a shape that depends on values, random numbers of a generator that is no argument, a result
            that carries a derivative, something else that it changes.

    >>> import autodiff as ad
    >>> slope = ad.compile(ad.grad(lambda x: (x * np.sin(x)).sum()))
    >>> slope(np.array([0.0, 1.0])).round(4)
    array([0.    , 1.3818])
    >>> slope(np.array([2.0, 3.0])).round(4)
    array([ 0.077 , -2.8289])
    >>> slope.explain().splitlines()[0]
    'gradient: 1 program'
    """
    if fn is None:
        return functools.partial(
            compile, params=params, optimizer=optimizer, backend=backend, reuse_outputs=reuse_outputs,
            on_unsupported=on_unsupported,
        )  # fmt: skip
    if not callable(fn):
        raise TypeError(f"ad.compile: needs a function, not {fn!r}")
    if backend not in (None, "numpy", "native"):
        raise ValueError(f"ad.compile: backend is 'numpy', 'native' or None, not {backend!r}")
    if on_unsupported not in ("error", "eager"):
        raise ValueError(f"ad.compile: on_unsupported is 'error' or 'eager', not {on_unsupported!r}")
    if not isinstance(reuse_outputs, bool):
        raise TypeError(f"ad.compile: reuse_outputs is True or False, not {reuse_outputs!r}")
    if optimizer is not None:
        Steps(optimizer)
    return Compiled(fn, _named(params), optimizer, reuse_outputs, on_unsupported == "error", backend == "native")


def _named(params: Any) -> dict[str, Tensor]:
    """Parameters by name."""
    if params is None:
        return {}
    if hasattr(params, "named_parameters"):
        named = dict(params.named_parameters())
        return named | dict(params.named_buffers()) if hasattr(params, "named_buffers") else named
    takes = "ad.compile: params takes a module, or a list or a dict of leaf Tensors"
    if isinstance(params, Tensor):
        params = [params]
    if isinstance(params, str) or not isinstance(params, Iterable):
        raise TypeError(f"{takes}, not {params!r}")
    if not isinstance(params, Mapping):
        params = {p.name or f"w{i}" if isinstance(p, Tensor) else str(i): p for i, p in enumerate(params)}
    for name, p in params.items():
        if not isinstance(p, Tensor) or not p.is_leaf:
            raise TypeError(f"{takes}, but {name} is {p!r}")
    return dict(params)


def _difference(signatures: list[Any]) -> tuple[str, str]:
    """What differs between the signatures of an argument, and what would not."""
    kinds = {x[0] if isinstance(x, tuple) else type(x) for x in signatures}
    if not all(isinstance(kind, type) and issubclass(kind, (np.ndarray, np.generic, Tensor)) for kind in kinds):
        return "value", "arrays in place of numbers that change (np.float32(x))"
    if any(issubclass(kind, np.generic) for kind in kinds):
        alike = all(issubclass(kind, np.generic) for kind in kinds)
        return ("dtype" if alike else "type"), "arrays of one kind and dtype"
    shapes, dtypes = {x[1] for x in signatures}, {x[2] for x in signatures}
    axes = [axis for axis, n in enumerate(map(len, map(set, zip(*shapes)))) if n > 1]
    ranks = {len(shape) for shape in shapes}
    names = {
        f"length along axis {axes[0]}" if len(ranks) == 1 and axes else "shape": len(shapes) > 1,
        "dtype": len(dtypes) > 1,
        "layout": len(shapes) == len(dtypes) == 1,
    }
    differing = [name for name, differs in names.items() if differs]
    return " and ".join(differing), "arrays of equal shapes, dtypes and layouts"


_PLAIN = (bool, int, str, bytes)
_LEAVES = frozenset({np.ndarray, Tensor, np.float64, np.float32, int, float, bool})
"""Types of arguments that are leaves, as most are."""


def _signature(x: Any) -> Any:
    """What of a leaf decides about the program."""
    kind = type(x)
    if isinstance(x, Tensor):
        a = x._ndarray
        g = None if x._grad is None else (x._grad._ndarray.dtype, x._grad._ndarray.strides)
        return kind, a.shape, a.dtype, a.strides, bool(x._requires_grad), x._primitive is None, not x._hooks, g
    if isinstance(x, np.ndarray):
        return kind, x.shape, x.dtype, x.strides, _Same(x)
    if isinstance(x, np.generic):
        return kind, x.dtype
    if kind is float:
        return kind, x.hex()
    if kind is complex:
        return kind, x.real.hex(), x.imag.hex()
    return kind, x if kind in _PLAIN else _Same(x)


class _Same:
    """An object as a key: equal to itself alone, and kept alive."""

    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x

    def __hash__(self) -> int:
        return id(self.x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.x is self.x


def _gathered(tree: Any, leaves: list[Any]) -> Any:
    """The form of nested arguments as a key; their leaves are added to the list, as `flatten` has them."""
    kind = type(tree)
    if kind in _LEAVES:
        leaves.append(tree)
        return 0
    if isinstance(tree, (tuple, list)):
        return kind, *[_gathered(part, leaves) for part in tree]
    if isinstance(tree, dict):
        return kind, tuple(tree), *[_gathered(part, leaves) for part in tree.values()]
    if tree is None:
        return None
    leaves.append(tree)
    return 0


def _of_engine(function: Any) -> bool:
    module = getattr(function, "__module__", "") or ""
    return isinstance(function, types.FunctionType) and module.startswith("autodiff.")
