"""One run of a function with tracers in place of its arrays: the program that it is, and where its inputs come from.

The arrays of Tensors that the function reaches without being given them are replaced by tracers for the time of the
run, so that the function runs on its own objects, as ever.
"""

from __future__ import annotations

import gc
import operator
import random
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..leaving import is_users_file, line_of, place_of
from ..mode import is_grad_enabled, mode
from ..tensor import Tensor, clock, wrap
from ..transforms.control import staging
from ..transforms.tree import Form, flatten
from . import lowering as lowering
from .closures import Closure, put, read
from .control import Loops
from .generators import TracedGenerator
from .kinds import types_of_arrays
from .outside import refused_outside
from .program import Node, Program
from .signs import gathered
from .tracer import Trace, TraceError, Tracer, Uncommon, Unrolled
from .training import Steps
from .undoing import undoing
from .variables import named_variables


class Watch:
    """The grad mode of a trace: it sees Tensors that the function reached in a way that `Closure` does not know, and
    refuses derivatives that go on into graphs that other code recorded."""

    nan = infinity = False
    passive = True
    """It looks at no value, so that nothing has to be done otherwise for its sake."""

    def __init__(self, recording: bool, run: _Run, start: int, found: dict[int, Tensor]) -> None:
        self.recording, self.run, self.start, self.found = recording, run, start, found
        self.trace, self.closure = run.trace, run.closure

    def switched(self, recording: bool) -> Watch:
        return Watch(recording, self.run, self.start, self.found)

    @contextmanager
    def relying(self) -> Iterator[None]:
        """While this is open, the function computes with a graph that was recorded before: Tensors have their own
        arrays, which are constants of the program, and nobody watches. `Closure.rely` is told until when it may."""
        swapped = [(x.tensor, x.tensor._ndarray) for x in self.run.lifted if isinstance(x.tensor._ndarray, Tracer)]
        token = mode.set(self.recording)
        try:
            for x in self.run.lifted:
                if x.tensor._ndarray is not x.tracer or x.tracer.node is not x.start:
                    x.tensor._number = clock()  # it was written in this run
            for t, tracer in swapped:
                t._ndarray = tracer.value
            yield
        finally:
            for t, tracer in swapped:
                t._ndarray = tracer
            mode.reset(token)

    def made(self, y: Tensor, record: Any, inputs: tuple[Any, ...]) -> None:
        for x in inputs:
            if isinstance(x, Tensor) and x._number <= self.start and isinstance(x._ndarray, (np.ndarray, np.generic)):
                self.found[id(x)] = x

    def pulled(self, d: Any, g: Any, node: Tensor, x: Tensor) -> Any:
        if x._primitive is not None and x._number <= self.start:
            self.trace.refuse("a derivative goes on into a graph that was recorded outside", INSIDE)
        return d


INSIDE = "compute the Tensor inside the function, or give its values, t.detach()"


@dataclass(slots=True, eq=False)
class Lifted:
    """A Tensor whose array is an input of the program."""

    tensor: Tensor
    name: str
    tracer: Tracer
    gradient: Tracer | None
    """Of the gradient that it had before."""
    start: Node


@dataclass(slots=True, eq=False)
class Traced:
    """A program, and how a call feeds it and takes what it gives.

    The outputs of the program are first the results, then what is written in place, then what is assigned, then
    gradients.
    """

    program: Program
    closure: Closure
    arguments: list[int]
    """Which leaves of the arguments are inputs, in their order; they are the first inputs."""
    tensors: list[Tensor]
    """Whose arrays are the next inputs."""
    gradients: list[Tensor | int]
    """Whose gradients are the next inputs: Tensors, or numbers of arguments."""
    reached: list[Tensor]
    """All Tensors that the function reaches."""
    without: list[bool]
    """Which of them had no gradient."""
    steps: Steps | None
    generators: list[Any]
    """What draws in the program."""
    form: Form
    kinds: list[str]
    """For each result: "tensor", "array", "array of one" (without axes), "scalar", or "constant"."""
    written: list[tuple[str, int]]
    """What the donated outputs are written into: ("argument", number of the leaf), ("tensor", i), ("state", i)."""
    assigned: list[Tensor]
    """To whose `data` the next outputs are assigned."""
    left: list[tuple[Any, bool]]
    """In whose `grad` the last outputs are left (None: it is forgotten): a Tensor, or the number of an argument."""


def trace(
    function: Callable[..., Any],
    form: Form,
    leaves: list[Any],
    names: list[str],
    *,
    params: dict[str, Tensor],
    optimizer: Any,
    returns_values: bool,
    again: Callable[[], None] = lambda: None,
) -> Traced:
    """Run the function on these leaves of its arguments. Large arrays that it closes over are inputs of the program;
    where it does with them what no traced array can do, it is run again, and they are constants. `again` is called
    before every run but the first.

    Raises:
        TraceError: for what no program can repeat.
        Uncommon: the values of this call are no example of what is common.
    """
    objects = [
        (x, name)
        for x, name in zip(leaves, names, strict=True)
        if type(x) not in _NUMBERS and not isinstance(x, (Tensor, np.ndarray, np.generic))
    ]
    kinds = {type(x) for x in leaves} | {*form.kinds()}  # whose methods the function may call
    more: dict[int, Tensor] = {}
    lifting = rolled = True
    for attempt in range(5):
        if attempt:
            again()
        found: dict[int, Tensor] = {}
        known = set() if optimizer is None else {id(optimizer)}
        names_of = ["", *(name for _, name in objects)]
        closure = Closure([function, *(x for x, _ in objects), *kinds], known, names_of, lifting)
        run, undo = _Run(closure, params, more, optimizer), undoing(closure)
        token = staging.set(Loops(run.trace) if rolled else None)
        try:
            result = run.run(function, form, leaves, names, found, returns_values)
        except Unrolled:
            undo()
            rolled = False
            continue
        except Exception as error:
            if closure.large or isinstance(error, (TraceError, Uncommon)):
                undo()  # what is run again or not at all leaves nothing behind
            if not closure.large:
                raise
            lifting = False
            continue
        finally:
            staging.reset(token)
        if not found:
            return result
        undo()
        if run.steps is not None:
            run.steps.forget()
        more |= found
    raise TraceError(
        "ad.compile: the function makes its Tensors anew at every call in a way that no program can follow"
    )


_NUMBERS = (bool, int, float, complex, str, bytes, type(None))
_LOOKS = 100
"""After so many lines of the user's it is looked whether random numbers were drawn: a look takes as long as a call."""


class _Run:
    def __init__(self, closure: Closure, params: dict[str, Tensor], more: dict[int, Tensor], optimizer: Any) -> None:
        self.closure, self.trace = closure, Trace()
        self.steps = None if optimizer is None else Steps(optimizer)
        named = {id(t): (name, t) for name, t in closure.tensors.items()}
        named |= {id(t): (t.name or "tensor", t) for t in more.values() if id(t) not in named}
        named |= {id(t): (name, t) for name, t in params.items()}
        if optimizer is not None:
            for i, p in enumerate(p for group in optimizer.param_groups for p in group["params"]):
                named.setdefault(id(p), (p.name or f"w{i}", p))
        self.arrays = [(wrap(x), places) for _, x, places in closure.large]
        """Tensors that stand for large arrays, and where those are."""
        self.given = [*named.values(), *((name, t) for (name, _, _), (t, _) in zip(closure.large, self.arrays))]
        self.lifted: list[Lifted] = []
        self.drawn: dict[str, str] = {}
        """By what draws random numbers: the first line of the user's after which it had drawn."""
        self.memory: dict[Node, Any] = {}
        """By node that owns memory: the mark that tracers of that memory have in common."""

    def run(
        self, function: Any, form: Form, leaves: list[Any], names: list[str], found: dict[int, Tensor], plain: bool
    ) -> Traced:
        trace, closure = self.trace, self.closure
        arguments = [i for i, x in enumerate(leaves) if isinstance(x, (Tensor, np.ndarray, np.generic))]
        replaced = list(leaves)
        fresh: dict[int, Tensor] = {}
        tracers: dict[int, Tracer] = {}
        for i in arguments:
            x = leaves[i]
            tracers[i] = trace.input(x._ndarray if isinstance(x, Tensor) else x, names[i])
            replaced[i] = tracers[i]
            if isinstance(x, Tensor):
                if any(hook is not None for hook in (x._hooks or {}).values()):
                    trace.refuse(f"{names[i]} has a hook", "register it on a Tensor that the function closes over")
                fresh[i] = replaced[i] = wrap(tracers[i])
                fresh[i]._requires_grad, fresh[i]._name = bool(x._requires_grad), x._name
                if x._grad is not None:
                    fresh[i]._grad = wrap(trace.input(x._grad._ndarray, f"{names[i]}.grad"))
        for i, x in enumerate(leaves):
            if type(x) is np.random.Generator:
                replaced[i] = TracedGenerator(trace, x)
        had = {i: t._grad._ndarray for i, t in fresh.items() if t._grad is not None}
        before = self._draws()
        looks = iter(range(_LOOKS))

        def draws(frame: types.FrameType, number: int) -> None:
            for name, state in self._draws().items() if next(looks, None) is not None else ():
                if name not in self.drawn and before.get(name) != state:
                    self.drawn[name] = line_of(frame, number)

        recording = is_grad_enabled()
        with ExitStack() as stack:
            stack.enter_context(self._replaced())
            stack.enter_context(_seeded(trace))
            stack.enter_context(types_of_arrays(closure.without("type")))
            stack.enter_context(named_variables(draws))
            stack.enter_context(refused_outside(trace))
            if self.steps is not None:
                stack.enter_context(self.steps.traced(trace))
            for name, other in closure.optimizers.items():
                stack.enter_context(_refusing(trace, name, other))
            token = mode.set(Watch(recording, self, clock(), found))
            args, kwargs = given = form.build(replaced)
            try:
                result = function(*args, **kwargs)
                trace.drawn_elsewhere()
            except Exception as error:
                if trace.failure is not None and error is not trace.failure:
                    raise trace.failure from error
                if isinstance(error, (AttributeError, TypeError)) and Tracer.__name__ in str(error):
                    lines = [x for x in traceback.extract_tb(error.__traceback__) if is_users_file(x.filename)]
                    raise TraceError(
                        f"ad.compile: {error}, as a traced array is; compute with NumPy's functions and operators"
                        + "".join(f"\n  {place_of(x.filename, x.lineno or 0)}: {x.line}" for x in lines[-1:])
                    ) from error
                raise
            finally:
                mode.reset(token)
                for generator, state in trace.generators.items():
                    generator.bit_generator.state = state
                if self.steps is not None and (sys.exc_info()[0] is not None or trace.failure is not None):
                    self.steps.forget()
            if trace.failure is not None:
                raise trace.failure
            if trace.raised is not None:
                raise Uncommon(f"{trace.raised!r} was caught")
            if found:
                return None  # type: ignore[return-value]  # to be run again
            if any(read(*place) is not t._ndarray for t, places in self.arrays for place in places):
                trace.refuse("the function assigns an array that it reads", "return the new values")
            if not _is_as_given(given, form, replaced):
                trace.refuse(
                    "the function changes a list or a dict that it is given, which a program would do at no later call",
                    "return a new one, [*xs, x] or {**d, key: x}",
                )
            outputs, output_form = flatten(result)
            outputs = [trace.stand_ins[x] if isinstance(x, TracedGenerator) else x for x in outputs]
            ends = [(t.tensor._ndarray, t.tensor._grad) for t in self.lifted]
        self._check(before)
        return self._collected(leaves, tracers, fresh, had, outputs, output_form, ends, recording and not plain)

    @contextmanager
    def _replaced(self) -> Iterator[None]:
        """Tracers in place of the arrays of the lifted Tensors; afterwards all is as it was."""
        before = {id(t): t._ndarray for t, _ in self.arrays}
        kept = [(t, t._ndarray, t._grad, t._params, t._requires_grad, t._number) for _, t in self.given]
        kept += [(g, g._ndarray, None, g._params, g._requires_grad, g._number)
                 for g in (t._grad for _, t in self.given) if g is not None]  # fmt: skip
        try:
            for name, t in self.given:
                tracer = self.trace.input(t._ndarray, name)
                self.lifted.append(Lifted(t, name, tracer, None, tracer.node))
                t._ndarray = tracer
            for t, places in self.arrays:
                for place in places:
                    put(*place, t._ndarray)
            for x in self.lifted:
                grad = x.tensor._grad
                if grad is not None and grad._primitive is None:
                    x.gradient = grad._ndarray = self.trace.input(grad._ndarray, f"{x.name}.grad")
            yield
        finally:
            for t, places in self.arrays:
                for place in places:
                    put(*place, before[id(t)])
            for t, array, grad, notes, flag, number in kept:
                t._ndarray, t._grad, t._params, t._requires_grad, t._number = array, grad, notes, flag, number

    def _draws(self) -> dict[str, Any]:
        """The states of all that draws random numbers."""
        found = {name: repr(_state_of(g)) for name, g in self.closure.generators.items()}
        if "numpy.random" in sys.modules:
            found["np.random"] = repr(np.random.get_state(legacy=False)["state"]["key"].sum()) + repr(
                np.random.get_state(legacy=False)["state"]["pos"]
            )
        default = sys.modules.get("autodiff.random")
        if default is not None:
            found["the default generator"] = repr(default.get_rng_state())
        found["random"] = repr(hash(random.getstate()))
        return found

    def _check(self, before: dict[str, Any]) -> None:
        """Refuse what a run did that a program would not do again."""
        drawn = [name for name, state in self._draws().items() if before.get(name) != state]
        if drawn:
            self.trace.refuse(
                f"random numbers are drawn ({drawn[0]}), which would be the same at every call",
                "give the generator as an argument and draw from that (or the numbers themselves), or model.eval()",
                self.drawn.get(drawn[0]),
            )
        changed = next(self.closure.changes(), None)
        if changed is not None:
            self.trace.refuse(
                f"the function changes {changed!r}, which a program would do at no later call",
                "do so outside, with what it returns",
            )
        if self.closure.unwatched:
            self.trace.refuse(
                f"the function reaches so many objects that {self.closure.unwatched!r} and others cannot be watched",
                "give it what it needs as arguments",
            )
        if self.closure.iterators:
            name = next(iter(self.closure.iterators))
            self.trace.refuse(f"the function reads the iterator {name!r}", "call next() outside, and give its value")
        if self.trace.written_constants():
            self.trace.refuse(
                "a NumPy array was written after traced arrays were computed with it", "make a new array instead"
            )

    def _collected(
        self,
        leaves: list[Any],
        tracers: dict[int, Tracer],
        fresh: dict[int, Tensor],
        had: dict[int, Tracer],
        outputs: list[Any],
        form: Form,
        ends: list[tuple[Any, Any]],
        recording: bool,
    ) -> Traced:
        trace, lifted = self.trace, self.lifted
        state = [] if self.steps is None else [tracer for tracer, *_ in self.steps.arrays]
        for tracer in (*tracers.values(), *(x.tracer for x in lifted), *state):
            self.memory[tracer.start] = tracer.written if tracer.node is tracer.start else None
        kinds, results = [], []
        if _holds_tracer(form):
            trace.refuse("the function returns a dict in whose keys traced arrays are kept", "return them as values")
        for x in outputs:
            if isinstance(x, Tensor) and x._requires_grad and recording:
                trace.refuse(
                    "the function returns a Tensor that carries a derivative, which would end at a compiled function",
                    "compile the derivative itself, ad.compile(ad.value_and_grad(f)), return t.detach(), or call it "
                    "inside ad.no_grad()",
                )
            kinds.append(_kind(x))
            if kinds[-1] == "constant" and not isinstance(x, _NUMBERS) and _holds_tracer(x):
                trace.refuse(
                    f"the function returns a {type(x).__name__} in which traced arrays are kept",
                    "return arrays, and tuples, lists and dicts of them, and make the object outside",
                )
            results.append(x if kinds[-1] == "constant" else self._own(x._ndarray if isinstance(x, Tensor) else x))
        written: list[tuple[str, Any, Node]] = []
        assigned: list[Tensor] = []
        left: list[tuple[Any, bool]] = []
        for i, t in fresh.items():
            if t._ndarray is not tracers[i]:
                trace.refuse("an argument's .data is assigned", "return the new value")
            if leaves[i]._primitive is not None and t._grad is not None:
                trace.refuse("a derivative goes on into the graph of an argument", INSIDE)
        for kind, key, tracer in (
            *(("argument", i, tracer) for i, tracer in tracers.items()),
            *(("tensor", x, x.tracer) for x, (array, _) in zip(lifted, ends) if array is x.tracer),
            *(("state", k, tracer) for k, tracer in enumerate(state)),
        ):
            start = tracer.start
            if tracer.current().node is not start:
                if isinstance(key, Lifted) and any(key.tensor is t for t, _ in self.arrays):
                    trace.refuse("a NumPy array that it closes over is written", "return the new values")
                results.append(trace.copied(tracer) if _root(tracer.node) in self.memory else tracer.node)
                written.append((kind, key, start))
        for x, (array, _) in zip(lifted, ends):
            if array is not x.tracer:
                assigned.append(x.tensor)
                results.append(self._own(array))
        gradients: list[tuple[Any, Tracer]] = []
        for where, before, grad in (
            *((x.tensor, x.gradient, grad) for x, (_, grad) in zip(lifted, ends)),
            *((i, had.get(i), t._grad) for i, t in fresh.items()),
        ):
            if before is not None:
                gradients.append((where, before))
            if grad is None and before is not None:
                left.append((where, False))
            elif grad is not None and (
                before is None or grad._ndarray is not before or before.node is not before.start
            ):
                left.append((where, True))
                results.append(self._gradient(grad))
        used = _used(trace.program(results))
        if any(node not in used for node in trace.draws):
            trace.refuse("random numbers are drawn that nothing depends on", "leave the draw out")
        tensors = [x for x in lifted if x.start in used or any(key is x for _, key, _ in written)]
        gradients = [(where, before) for where, before in gradients if before.start in used]
        numbers = [] if self.steps is None else self.steps.numbers
        trace.inputs = [t.start for t in tracers.values()] + [x.start for x in tensors]
        trace.inputs += [before.start for _, before in gradients]
        trace.inputs += numbers + [t.start for t in state]
        places = [(kind, tensors.index(k) if kind == "tensor" else k) for kind, k, _ in written]
        donated = {len(kinds) + k: trace.inputs.index(start) for k, (_, _, start) in enumerate(written)}
        return Traced(
            gathered(trace.program(results, donated)),
            self.closure,
            list(tracers),
            [x.tensor for x in tensors],
            [where for where, _ in gradients],
            [x.tensor for x in lifted],
            [x.gradient is None for x in lifted],
            self.steps,
            list(trace.generators),
            form,
            kinds,
            places,
            assigned,
            left,
        )

    def _own(self, value: Any) -> Any:
        """The node (or constant) of an output, which shares its memory with no other but one that shares it in the
        function too."""
        if not isinstance(value, Tracer):
            return np.array(value)
        node = value.current().node
        if not isinstance(node, Node):
            return np.array(node)
        if self.memory.setdefault(_root(node), value.written) is not value.written:
            return self.trace.copied(value)
        return node

    def _gradient(self, grad: Tensor) -> Any:
        if grad._requires_grad:
            self.trace.refuse("a gradient that can be differentiated is left in .grad", "return it instead")
        return self._own(grad._ndarray)


def _is_as_given(tree: Any, form: Form, leaves: list[Any]) -> bool:
    """Whether the arguments are of the form that they had, of the same leaves."""
    try:
        found = form.leaves_of(tree, "")
    except ValueError:
        return False
    return flatten(tree)[1].paths() == form.paths() and all(map(operator.is_, found, leaves))


def _root(node: Node) -> Node:
    """The node whose memory a view shows."""
    while node.view and isinstance(node.inputs[0], Node):
        node = node.inputs[0]
    return node


def _kind(x: Any) -> str:
    if isinstance(x, Tensor):
        return "tensor"
    if isinstance(x, (Tracer, np.ndarray)):
        x = x.value if isinstance(x, Tracer) else x
        return "scalar" if isinstance(x, np.generic) else "array" if x.ndim else "array of one"
    return "scalar" if isinstance(x, np.generic) else "constant"


def _holds_tracer(x: Any) -> bool:
    """Whether a tracer is reached from an object that is a result; what would be computed later counts."""
    stack, seen = [x], set[int]()
    while stack and len(seen) < 10000:
        x = stack.pop()
        if (
            x is Tracer
            or isinstance(x, Tracer)
            or hasattr(x, "__next__")
            or (isinstance(x, Tensor) and isinstance(x._ndarray, Tracer))
        ):
            return True
        if id(x) in seen or isinstance(x, (Tensor, types.ModuleType, type)):
            continue
        seen.add(id(x))
        if isinstance(x, types.FunctionType):
            stack += [x.__closure__, x.__defaults__, x.__kwdefaults__, vars(x)]
        else:
            stack += gc.get_referents(x)
    return False


def _used(program: Program) -> set[Node]:
    used: set[Node] = {x for x in program.outputs if isinstance(x, Node)}
    for node in program.nodes:
        used.update(node.operands)
    return used | set(program.assumptions) | {node for node, _ in program.guards}


def _state_of(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return hash(generator.getstate())
    return generator.bit_generator.state if hasattr(generator, "bit_generator") else generator.get_state()


@contextmanager
def _refusing(trace: Trace, name: str, optimizer: Any) -> Iterator[None]:
    """While this is open, the steps of an optimiser that is no part of the program are refused."""

    def step(*_: Any, **__: Any) -> None:
        trace.refuse(f"the function steps {name}", "give it as ad.compile(f, optimizer=...), or step outside")

    vars(optimizer)["step"] = step
    try:
        yield
    finally:
        del vars(optimizer)["step"]


def _importing() -> bool:
    """Whether a module is being imported, for the first and only time: what it does is no part of the function."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False


@contextmanager
def _seeded(trace: Trace) -> Iterator[None]:
    """While this is open, generators that this thread makes without a seed are refused: nobody sees what they draw."""
    module: Any = np.random.bit_generator
    original, thread = module.randbits, threading.get_ident()  # where NumPy takes fresh entropy from

    def randbits(n: int) -> Any:
        if threading.get_ident() == thread and not _importing():
            trace.refuse(
                "random numbers of a generator that is made without a seed, which would be the same at every call",
                "make it outside, and give it as an argument or keep it in a variable of the function",
            )
        return original(n)

    module.randbits = randbits
    try:
        yield
    finally:
        module.randbits = original
