"""`compile`: a function as programs, one for each signature of its arguments, and what is done where none fits."""

from __future__ import annotations

import functools
import inspect
import threading
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..leaving import user_level
from ..mode import mode
from ..tensor import Tensor
from ..transforms.tree import flatten
from .calling import Entry, Unfit
from .printed import held_output
from .program import Program
from .signature import FIRST, keeps_more, key_of
from .tracer import TraceError, Uncommon
from .tracing import trace
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
        self._entries: dict[Any, list[Entry]] = {}
        self._failures: dict[Any, int] = {}  # signature: how many traces came to nothing
        self._eager: dict[Any, str] = {}  # signature: why it is run as it is
        self._events: dict[str, int] = {}  # what happened, and how many times
        self._latest: Entry | None = None
        self._warned = False
        self._lock = threading.RLock()

    def __reduce__(self) -> Any:
        """A copy, or what is read from a pickle, makes its own programs."""
        return Compiled, (
            self._function,
            self._params,
            self._optimizer,
            self._reuse_outputs,
            self._strict,
            self._native,
        )

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: the object is an argument."""
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        latest = self._latest
        leaves = None if latest is None or self._eager else latest.read(args, kwargs)
        if latest is None or leaves is None:
            return self._found(args, kwargs)
        with self._lock:
            try:
                return latest.call(latest, leaves)
            except Unfit as error:  # of which texts are kept: an error keeps all that its frames hold
                why = str(error), error.another
        return self._found(args, kwargs, (latest, why))

    def _found(self, args: Any, kwargs: Any, tried: tuple[Any, Any] = (None, None)) -> Any:
        """What any program gives for these arguments but one that was tried, or else the function."""
        recording = mode.get()
        leaves: list[Any] = []
        key = key_of(recording, args, kwargs, leaves) if isinstance(recording, bool) else None
        if key is None:
            self._look_at(leaves)
            return self._function(*args, **kwargs)  # watched, or a part of another program or a vmap
        with self._lock:
            if not self._eager or key not in self._eager:  # a key of many leaves takes long to hash
                try:
                    return self._compiled(key, leaves, args, kwargs, *tried)
                except Unfit as reason:
                    self._note(str(reason))
        return self._function(*args, **kwargs)

    def _look_at(self, leaves: list[Any]) -> None:
        """Say where an argument is one that no program can take."""
        for x in filter(keeps_more, leaves):
            plain = next(kind.__name__ for kind in (tuple, list, dict) if isinstance(x, kind))
            why = (
                f"an argument is a {type(x).__name__} that has attributes ({', '.join(vars(x))}) besides what it holds"
            )
            if self._strict:
                raise TraceError(
                    f"ad.compile: {why}, of which a program knows nothing; give {plain}(x), and the "
                    "attributes as arguments"
                )
            self._note(why)

    def _compiled(self, key: Any, leaves: Any, args: Any, kwargs: Any, tried: Any, failed: Any) -> Any:
        """What a program gives for these arguments; it is made if there is none.

        Raises:
            Unfit: the function is to be run as it is, and why.
        """
        known = self._entries.get(key)
        if known is None:
            known = self._entries[key] = []
            if len(self._entries) > KEPT:  # of objects that are made anew for every call, say
                self._entries.pop(next(iter(self._entries)))
        known[:] = [entry for entry in known if entry.traced.closure.stands]
        unfit: list[str] = []  # what one call does not fit, whatever the number of programs
        for entry in known:
            if entry is tried:
                why, another = failed
            else:
                try:
                    result = entry.call(entry, leaves)
                except Unfit as reason:
                    why, another = str(reason), reason.another
                else:
                    self._latest = entry
                    return result
            if not another:
                raise Unfit(why)
            if why not in unfit:
                self._note(why)
            unfit.append(why)
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
                raise Unfit(f"its values are a special case: {error}") from None
            except TraceError as error:
                if self._strict:
                    raise
                printed.forget()
                self._eager[key] = str(error)
                raise Unfit(str(error)) from None
        name = getattr(self._function, "__name__", "program")
        entry = Entry(found, key, name, self._reuse_outputs, self._native)
        if len(found.program.nodes) > LONG:
            warnings.warn(
                f"ad.compile: {len(found.program.nodes)} calls in one program; Python's loops are written out step by "
                f"step, so write them as ad.scan, or compile the function that one step calls",
                stacklevel=user_level(),
            )
        known.insert(0, entry)
        self._latest = entry
        self._warn()
        return entry.call(entry, leaves)

    def _give_up(self, key: Any, why: str, instead: str) -> NoReturn:
        """Run the function as it is from now on."""
        self._eager[key] = why
        warnings.warn(
            f"ad.compile: {getattr(self._function, '__name__', 'the function')} is run as it is from now on for "
            f"arguments of these shapes; {why}; {instead}",
            stacklevel=user_level(),
        )
        raise Unfit(why)

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
        changing = [i for i in range(FIRST, len(first)) if len({key[i] for key in same}) > 1]
        if not changing:
            return "the form of its arguments or the grad mode differs at its calls; give arguments of one form"
        texts: list[str] = []
        instead: dict[str, None] = {}
        for i in changing[:3]:
            what, other = _difference([key[i] for key in same])
            texts.append(f"argument {i - FIRST} changes its {what}")
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

    def _entry(self, what: str) -> Entry:
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
        and state are arguments, in that order, and the results are one flat tuple, of nested ones and of a single one
        too. It raises a TypeError for other shapes and dtypes than those of that call.

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
    makes a new program; so does a branch that goes another way. What an operator of ``ad.curvature`` recorded is
    constants, as long as it stands: ``ad.compile(H.matvec)``. Python's loops are written out step by step; ``ad.scan``,
    ``ad.cond`` and ``ad.while_loop`` are loops and branches of the program, in derivatives too (of a
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


def _of_engine(function: Any) -> bool:
    module = getattr(function, "__module__", "") or ""
    return isinstance(function, types.FunctionType) and module.startswith("autodiff.")
