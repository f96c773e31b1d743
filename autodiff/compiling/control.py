"""Loops and branches in a trace: one operation each, whose steps are programs, forward and in every derivative.

The step is run once, on stand-ins for what changes from step to step. What it records, Tensors and nodes, is a graph:
its nodes are the step's program; a reverse pass through it, of stand-ins for cotangents, is the step of the loop that
goes backward, and so on. A step of that computes again, from the carry that was kept, what it needs of the forward one.

Order: the step, what a trace does with control flow, scan and its derivatives, cond and its derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backward import leading_to, reverse
from ..batching.batch import Batch, laid_out
from ..mode import differentiating, is_grad_enabled, mode
from ..ops.guards import common
from ..primitive import Primitive, as_tensor, new_node, watched
from ..tensor import Tensor, clock, plain, variable, wrap
from ..transforms.control import Function, Scan, While, cond, scan, truth_value
from ..transforms.forward import push
from ..transforms.tree import Form, flatten
from ..untaken import answered
from .closures import Closure
from .examples import along_examples, along_steps, as_examples, levels_of, spread
from .packing import Packing
from .program import Node, Program, program_of
from .regions import Graph, Spans, program_within
from .source import Source, numpy_function
from .tracer import Trace, Tracer, values_of

Leaves = list[Tensor]


@dataclass(slots=True, eq=False)
class Step:
    """One step: stand-ins for what it is given, and what it makes of them."""

    carry: Leaves
    slices: Leaves
    following: Leaves
    """The next carry."""
    ys: Leaves
    spans: Spans
    """Numbers of the Tensors that were made in it."""


class Loops:
    """What a trace does with control flow (see `transforms.control.Staging`)."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def scan(self, loop: Scan) -> Any:
        """One operation for all steps; NotImplemented where nothing in them is traced."""
        trace = self.trace
        if not loop.length:
            return NotImplemented
        first, moves = loop.length - 1 if loop.reverse else 0, is_grad_enabled()

        def run(given: Leaves) -> Step:
            carry = [self.stand_in(c, "", moves) for c in given]
            slices = [self.stand_in(x, "", x._requires_grad, x._ndarray[first]) for x in loop.xs]
            return Step(carry, slices, *loop.step(carry, slices, first), ())

        with self._repeatable(loop.f), trace.inside():
            step, begun = self.stepped(run, loop.carry)
        _call(step.carry, "carry")
        _call(step.slices, "x")
        made = self.looped(step, begun, loop.xs, loop.length, loop.reverse, traced_only=True)
        if made is None:
            return NotImplemented
        assert loop.y_form is not None
        return loop.carry_form.build(made[0]), loop.y_form.build(made[1])

    def cond(self, holds: Any, f: Function, g: Function, args: tuple[Any, ...]) -> Any:
        """One operation for both branches; NotImplemented where it is known which one is taken."""
        decided = truth_value("cond: pred", holds)
        decided = decided._ndarray if isinstance(decided, Tensor) else decided
        if not _is_traced(decided):
            return NotImplemented
        (true, form), (false, other) = (self._branch(decided, way, h, args) for way, h in ((True, f), (False, g)))
        try:
            pairs = zip(true.outputs, form.leaves_of(other.build(false.outputs), "cond"))
            same = all((y.shape, y.dtype) == (z.shape, z.dtype) for y, z in pairs)
        except ValueError:
            same = False
        if not same:
            self.trace.unroll()
        return form.build(self.branched(decided, true, false))

    def _branch(self, decided: Any, way: bool, f: Function, args: tuple[Any, ...]) -> tuple[Branch, Form]:
        with self._repeatable(f), self.branch(decided, way) as (spans, counts):
            leaves, form = flatten(f(*args))
            leaves = [as_tensor(x, "cond: the result") for x in leaves]
        return Branch(leaves, tuple(spans), tuple(counts)), form

    @contextmanager
    def branch(self, decided: Any, way: bool) -> Iterator[tuple[list[tuple[int, int]], list[tuple[int, int]]]]:
        """While this is open, one branch is run; it gives the numbers of the Tensors and of the nodes that it made.
        What goes wrong in the one that is not taken says nothing."""
        trace, start, count = self.trace, clock(), self.trace.count
        spans: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        taken = bool(values_of(decided)) is way
        with trace.inside(known=False), nullcontext() if taken else np.errstate(all="ignore"):
            try:
                yield spans
            except Exception:
                if taken:
                    raise
                trace.failure = None
                trace.unroll()
        spans[0].append((start, clock()))
        spans[1].append((count, trace.count))

    def branched(self, decided: Any, true: Branch, false: Branch) -> Leaves:
        """What the branch that is taken gives, with a derivative where one is recorded."""
        made = Branched(self, decided, true, false)
        found = []
        self.refuse_examples([*true.outputs, *false.outputs])
        for branch in (true, false):
            outputs = [plain(y) for y in branch.outputs]
            self.trace.held |= {y.node: y.value for y in outputs if _is_traced(y)}
            found.append(program_within(self.trace, [], outputs, branch.counts))
        programs, outside = _of_the_same(found, 0)
        results = self.recorded("cond", [decided], outside, dict(zip(("true", "false"), programs)))
        return made.recorded([wrap(y) for y in results])

    def while_loop(self, loop: While) -> Any:
        """One operation for all steps; where a derivative is taken, a scan of the largest number of them.
        NotImplemented where nothing in the steps is traced, or there is no largest number."""
        trace, start = self.trace, clock()
        self.refuse_examples(loop.state)
        with self._repeatable(loop.cond_fun, loop.body_fun), trace.inside():
            state = [self.stand_in(x, "", is_grad_enabled()) for x in loop.state]
            holds = truth_value("while_loop: the condition", loop.condition(state))
            try:
                following = loop.step(state, 0)
            except Exception:
                if bool(values_of(plain(holds))):
                    raise
                trace.failure = None  # of a step that does not run
                trace.unroll()
        self.refuse_examples(following)
        _call(state, "state")
        step = Step(state, [], following, [], ((start, clock()),))
        given = [plain(x) for x in state]
        outputs = [[plain(holds)], [plain(x) for x in following]]
        trace.held |= {y.node: y.value for ys in outputs for y in ys if _is_traced(y)}
        programs, outside = _of_the_same([program_within(trace, given, ys) for ys in outputs], len(given))
        if not outside and not any(_is_traced(x._ndarray) for x in loop.state):
            return NotImplemented
        if Scanned(self, step, loop.state, [], 0, False).moving:
            return NotImplemented if loop.max_steps is None else _bounded(loop, loop.max_steps)
        options = dict(zip(("holds", "step"), programs)) | {"carry": len(state), "limit": loop.max_steps}
        results = self.recorded("while", [plain(x) for x in loop.state], outside, options)
        return loop.form.build([wrap(y) for y in results])

    @contextmanager
    def _repeatable(self, *functions: Any) -> Iterator[None]:
        """While this is open, functions are run as an example of what they do at every step.

        Raises:
            Unrolled: they draw random numbers, or change something outside.
        """
        closure, draws = Closure([*functions]), len(self.trace.draws)
        yield
        another = closure.unwatched or closure.iterators or not closure.unchanged()
        if another or len(self.trace.draws) > draws:
            self.trace.unroll()

    def attempted(self, f: Callable[[], Any]) -> Any:
        """What a function gives; where it fails, the trace is as it was."""
        before = self.trace.state()
        try:
            return f()
        except Exception:
            self.trace.back_to(before)
            raise

    def stepped(self, run: Callable[[Leaves], Step], carry: Leaves) -> tuple[Step, Leaves]:
        """A step that `run` makes of a carry, and the carry to begin with. Where anything differs between the examples
        of a `vmap`, all that is carried does."""
        before, outer = self.trace.state(), levels_of(carry)
        while True:
            begun, start = [spread(c, outer) for c in carry], clock()
            step = run(begun)
            levels = levels_of([*begun, *step.following, *step.ys])
            if set(levels) <= set(outer):
                break
            self.trace.back_to(before)  # and once more, with a carry that differs
            outer = levels
        step.following = [spread(x, outer) for x in step.following]
        step.spans = (*step.spans, (start, clock()))
        return step, begun

    def refuse_complex(self, values: Iterable[Tensor]) -> None:
        """Write the steps out where one is complex: results that are taken apart and put together are real here."""
        if any(x.dtype.kind == "c" for x in values):
            self.trace.unroll()

    def refuse_examples(self, values: Iterable[Tensor]) -> None:
        """Write the steps out where one is of the examples of a `vmap`, whose operations the program has."""
        if any(isinstance(plain(x), Batch) for x in values):
            self.trace.unroll()

    def stand_in(self, like: Tensor, name: str, moves: Any, value: Any = None) -> Tensor:
        """A Tensor in place of one that changes from step to step."""
        value = like._ndarray if value is None else value
        x: Any = as_examples(self.trace.stand_in(laid_out(value), name), levels_of([value]))
        return variable(x) if moves and x.dtype.kind == "f" else wrap(x)

    def looped(
        self, step: Step, carry: Leaves, xs: Leaves, length: int, reverse: bool, traced_only: bool = False
    ) -> tuple[Leaves, Leaves] | None:
        """The last carry and the stacked ys, with a derivative where one is recorded. `traced_only`: None where nothing
        in the steps is traced."""
        scanned = Scanned(self, step, carry, xs, length, reverse)
        kept = step.carry if scanned.moving else []
        following, n = [*step.following, *step.ys, *kept], len(carry)
        outputs = [laid_out(plain(y)) for y in following]
        self.trace.held |= {y.node: y.value for y in outputs if _is_traced(y)}
        given = [laid_out(plain(x)) for x in (*step.carry, *step.slices)]
        program, outside = program_within(self.trace, given, outputs)
        if traced_only and not outside and not any(_is_traced(laid_out(x._ndarray)) for x in (*carry, *xs)):
            return None
        options = {
            "step": program, "carry": len(carry), "slices": len(xs), "length": length, "reverse": reverse,
        }  # fmt: skip
        arrays = [laid_out(x._ndarray) for x in carry]
        arrays += [along_steps(laid_out(x._ndarray), levels_of([x])) for x in xs]
        found = self.recorded("scan", arrays, outside, options)
        levels = [levels_of([y]) for y in following]
        found = [*found[:n], *map(along_examples, found[n:], levels[n:])]
        return scanned.recorded([wrap(as_examples(y, each)) for y, each in zip(found, levels)])

    def recorded(self, op: str, given: list[Any], outside: list[Node], options: dict[str, Any]) -> list[Any]:
        """The results of an operation that is made of programs."""
        arrays = [*map(values_of, given), *(self.trace.held[x] for x in outside)]
        inputs = [Node("input", (), {}, np.shape(a), np.asarray(a).dtype, np.asarray(a).strides) for a in arrays]
        for node, known in zip(inputs[len(given) :], outside):
            node.options |= {key: True for key in known.options if key == "weak"}
        node = Node(op, tuple(inputs), options, (), np.dtype(float), (), number=0)
        run, unmet = numpy_function(Source(Program(inputs, [node], [node])))
        try:
            (values,) = run(*arrays)
        except unmet as error:
            self.trace.uncommon(str(error))
        return list(self.trace.record(op, (*given, *outside), options, [np.asarray(v) for v in values]))


def _call(stand_ins: Leaves, name: str) -> None:
    """Name those for which the user has no variable."""
    for x in stand_ins:
        node = laid_out(plain(x)).node
        node.name = node.name or name


def _bounded(loop: While, limit: int) -> Any:
    """A loop of that many steps, of which those after the last one change nothing."""

    def step(state: Any, _: Any) -> tuple[Any, None]:
        leaves = loop.form.leaves_of(state, "while_loop")
        found = cond(loop.condition(leaves), lambda *xs: tuple(loop.step(xs, 0)), lambda *xs: xs, *leaves)
        return loop.form.build(found), None

    end, _ = scan(step, loop.form.build(loop.state), length=limit)
    common(np.logical_not(plain(loop.condition(loop.form.leaves_of(end, "while_loop")))))
    return end


def _of_the_same(found: list[tuple[Program, list[Node]]], n: int) -> tuple[list[Program], list[Node]]:
    """Programs that read the same after their first n inputs, and what that is."""
    every = list(dict.fromkeys(x for _, outside in found for x in outside))
    programs = []
    for program, outside in found:
        own = dict(zip(outside, program.inputs[n:]))
        rest = [own.get(x) or Node("input", (), dict(x.options), x.shape, x.dtype, x.strides) for x in every]
        programs.append(program_of([*program.inputs[:n], *rest], program.outputs, None, program.assumptions))
    return programs, every


class Scanned:
    """A loop that was recorded, and its derivatives.

    What moves are those of its floating-point carries, slices and older Tensors on which a derivative may be taken.
    """

    def __init__(self, loops: Loops, step: Step, carry: Leaves, xs: Leaves, length: int, reverse: bool) -> None:
        self.loops, self.step, self.length, self.reverse = loops, step, length, reverse
        loops.refuse_complex((*carry, *xs, *step.following, *step.ys))
        self.carry, self.xs, self.kept = carry, xs, list[Tensor]()
        self.graph = Graph([*step.following, *step.ys], [*step.carry, *step.slices], step.spans)
        recording = is_grad_enabled()
        moving = {s._number for s, x in zip((*step.carry, *step.slices), (*carry, *xs)) if x._requires_grad}
        moving = moving | self.graph.older.keys() if recording else set[int]()
        leaves = self.graph.leaves
        while True:
            more = {c._number for c, ends in zip(step.carry, leaves) if ends & moving} - moving
            if not more:
                break
            moving |= more
        n = len(carry)
        self.carries = [k for k, c in enumerate(step.carry) if c._number in moving]
        self.slices = [k for k, x in enumerate(step.slices) if x._number in moving]
        self.ys = [k for k, ends in enumerate(leaves[n:]) if ends & moving]
        self.weights = list(self.graph.older.values()) if moving else []
        loops.refuse_complex(self.weights)
        self.moving = moving if self.carries or self.ys else set[int]()
        """Numbers of the stand-ins and older Tensors that move."""
        self.first = [k for k in self.carries if carry[k]._requires_grad]
        """Of the carries that move: those that do from the start."""

    def recorded(self, results: Leaves) -> tuple[Leaves, Leaves]:
        """The last carry and the ys, those that move as results of an operation."""
        n, m = len(self.carry), len(self.step.ys)
        last, ys, self.kept = results[:n], results[n : n + m], results[n + m :]
        if not self.moving:
            return last, ys
        chosen = [last[k] for k in self.carries] + [ys[k] for k in self.ys] + [self.kept[k] for k in self.carries]
        arrays = [plain(x) for x in chosen]
        self.packing = Packing(self.loops.trace, arrays)
        inputs = tuple([self.carry[k] for k in self.first] + [self.xs[k] for k in self.slices] + self.weights)
        node = _recorded(_SCAN, self.packing.joined(arrays), inputs, {"of": self})
        parts = [self.packing.part(node, k) for k in range(len(chosen))]
        for k, y in zip(self.carries, parts):
            last[k] = y
        for k, y in zip(self.ys, parts[len(self.carries) :]):
            ys[k] = y
        return last, ys

    def given(self, y: Any, inputs: Sequence[Any]) -> tuple[Leaves, Leaves, Leaves]:
        """The carry before each step, the slices and the older Tensors, as a rule has them."""
        tensor = (lambda x: x) if isinstance(y, Tensor) else wrap
        kept, xs = list(self.kept), list(self.xs)
        begin = len(self.carries) + len(self.ys)
        for i, k in enumerate(self.carries):
            kept[k] = tensor(self.packing.part(y, begin + i))
        begin = len(self.first)
        for i, k in enumerate(self.slices):
            xs[k] = tensor(inputs[begin + i])
        return kept, xs, [tensor(x) for x in inputs[begin + len(self.slices) :]]

    def pulled(self, g: Any, y: Any, *inputs: Any) -> list[Any]:
        """The cotangents of all inputs: a loop in the other direction, which carries those of the carry and adds up
        those of the older Tensors."""
        step, loops, create = self.step, self.loops, isinstance(g, Tensor)
        tensor = (lambda x: x) if create else wrap
        gs = [tensor(self.packing.part(g, k)) for k in range(len(self.packing.shapes))]
        kept, xs, weights = self.given(y, inputs)
        last = 0 if self.reverse else self.length - 1
        n, nodes = len(self.carries), self.graph.nodes
        sums = [wrap(np.zeros(w.shape, w.dtype)) for w in weights]
        ends = [step.following[k] for k in self.carries] + [step.ys[k] for k in self.ys]
        ends += [step.carry[k] for k in self.carries]
        there = [i for i, x in enumerate(gs) if i < n or not _is_zero(x)]
        ends, stacked = [ends[i] for i in there], [gs[i] for i in there[n:]]

        def run(begun: Leaves) -> Step:
            carry = [loops.stand_in(x, "g", create) for x in begun[:n]]
            added = [loops.stand_in(x, "total", create) for x in begun[n:]]
            slices = [loops.stand_in(x, "g", create, x._ndarray[last]) for x in stacked]
            cotangents: dict[int, Any] = {}
            for end, d in zip(ends, (*carry, *slices)):
                if end._requires_grad:
                    d, number = d if create else d._ndarray, end._number
                    cotangents[number] = cotangents[number] + d if number in cotangents else d
            needed = leading_to({number: _ANY for number in self.moving}, nodes)
            reverse(cotangents, dict(nodes), {}, create, needed, changes=True)

            def of(x: Tensor) -> Tensor:
                return _fitting(cotangents.get(x._number), x)

            following = [of(step.carry[k]) for k in self.carries]
            for total, w in zip(added, self.weights):
                following.append(total + of(w) if w._number in cotangents else total)
            found = [of(step.slices[k]) for k in self.slices]
            return Step([*carry, *added], [*step.carry, *step.slices, *slices], following, found, step.spans)

        with loops.trace.inside(), answered(None), differentiating() if create else nullcontext():
            back, begun = loops.stepped(run, [*gs[:n], *sums])
        result = loops.looped(back, begun, [*kept, *xs, *stacked], self.length, not self.reverse)
        assert result is not None
        firsts = [result[0][self.carries.index(k)] for k in self.first]
        return [x if create else x._ndarray for x in (*firsts, *result[1], *result[0][n:])]

    def pushed(self, ts: Sequence[Any], y: Any, *inputs: Any) -> Any:
        """The tangent of the output: a loop in the same direction, which carries those of the carry."""
        step, loops, create = self.step, self.loops, isinstance(y, Tensor)
        tensor = (lambda x: x) if create else wrap
        kept, xs, _ = self.given(y, inputs)
        b, c = len(self.first), len(self.first) + len(self.slices)
        begun = {k: t for k, t in zip(self.first, ts) if t is not None}
        tangents = [
            tensor(begun[k]) if k in begun else wrap(np.zeros(self.carry[k].shape, self.carry[k].dtype))
            for k in self.carries
        ]
        moved = [(k, tensor(t)) for k, t in zip(self.slices, ts[b:c]) if t is not None]
        first = self.length - 1 if self.reverse else 0

        def run(begun: Leaves) -> Step:
            carry = [loops.stand_in(t, "t", create) for t in begun]
            slices = [loops.stand_in(t, "t", create, t._ndarray[first]) for _, t in moved]
            known = {step.carry[k]._number: t for k, t in zip(self.carries, carry)}
            known |= {step.slices[k]._number: t for (k, _), t in zip(moved, slices)}
            known = known if create else {n: t._ndarray for n, t in known.items()}
            known |= {w._number: t for w, t in zip(self.weights, ts[c:]) if t is not None}
            push(list(self.graph.nodes.values()), known, create)

            def of(x: Tensor) -> Tensor:
                return _fitting(known.get(x._number) if x._requires_grad else None, x)

            following = [of(step.following[k]) for k in self.carries]
            found = [of(step.ys[k]) for k in self.ys]
            return Step(carry, [*step.carry, *step.slices, *slices], following, [*found, *carry], step.spans)

        with loops.trace.inside(), differentiating() if create else nullcontext():
            ahead, begun_with = loops.stepped(run, tangents)
        result = loops.looped(ahead, begun_with, [*kept, *xs, *(t for _, t in moved)], self.length, self.reverse)
        assert result is not None
        parts = [*result[0], *result[1]]
        return self.packing.joined(parts if create else [x._ndarray for x in parts])


_ANY = wrap(np.zeros(()))


def _is_traced(x: Any) -> bool:
    return isinstance(x, Tracer) and isinstance(x.node, Node)


def _is_zero(x: Tensor) -> bool:
    """Whether it is a constant 0, whatever is differentiated."""
    array = laid_out(x._ndarray)
    return not x._requires_grad and not _is_traced(array) and not np.any(values_of(array))


def _recorded(record: Primitive, data: Any, inputs: tuple[Tensor, ...], params: dict[str, Any]) -> Tensor:
    watch = mode.get()
    if watch is True:
        return new_node(data, record, inputs, params)
    return watched(watch, data, True, record, inputs, params)


def _no_replay(*_: Any, of: Any) -> Any:
    raise TypeError("ad.compile: a loop is run on what it was recorded with")


_SCAN = Primitive(
    "scan", _no_replay, joint=lambda g, y, *inputs, of: of.pulled(g, y, *inputs),
    jvps=lambda ts, y, *inputs, of: of.pushed(ts, y, *inputs),
)  # fmt: skip


@dataclass(slots=True, eq=False)
class Branch:
    """What one of two ways gives, and the numbers of the Tensors and of the nodes that were made in it."""

    outputs: Leaves
    spans: Spans
    counts: Spans


class Branched:
    """A branch that was recorded, and its derivatives: those of what was taken."""

    def __init__(self, loops: Loops, decided: Any, true: Branch, false: Branch) -> None:
        self.loops, self.decided, self.branches = loops, decided, (true, false)
        self.graphs = [Graph(b.outputs, [], b.spans) for b in self.branches]
        loops.refuse_complex((*true.outputs, *false.outputs))
        recording = is_grad_enabled()
        self.older = self.graphs[0].older | self.graphs[1].older if recording else dict[int, Tensor]()
        loops.refuse_complex(self.older.values())
        self.moving = [
            k for k in range(len(true.outputs)) if recording and any(graph.leaves[k] for graph in self.graphs)
        ]

    def recorded(self, results: Leaves) -> Leaves:
        """The results, those that move as results of an operation."""
        if self.moving:
            arrays = [plain(results[k]) for k in self.moving]
            self.packing = Packing(self.loops.trace, arrays)
            node = _recorded(_COND, self.packing.joined(arrays), tuple(self.older.values()), {"of": self})
            for i, k in enumerate(self.moving):
                results[k] = self.packing.part(node, i)
        return results

    def pulled(self, g: Any, y: Any, *inputs: Any) -> list[Any]:
        """The cotangents of all inputs, in the branch that was taken."""
        create = isinstance(g, Tensor)
        gs = [self.packing.part(g, i) for i in range(len(self.moving))]

        def back(branch: Branch, graph: Graph) -> Leaves:
            cotangents: dict[int, Any] = {}
            for k, d in zip(self.moving, gs):
                end = branch.outputs[k]
                if end._requires_grad:
                    n = end._number
                    cotangents[n] = cotangents[n] + d if n in cotangents else d
            with answered(None):
                reverse(cotangents, dict(graph.nodes), {}, create, changes=True)
            return [_fitting(cotangents.get(n), x) for n, x in self.older.items()]

        return [x if create else x._ndarray for x in self._again(back, create)]

    def pushed(self, ts: Sequence[Any], y: Any, *inputs: Any) -> Any:
        """The tangent of the output, in the branch that was taken."""
        create = isinstance(y, Tensor)

        def ahead(branch: Branch, graph: Graph) -> Leaves:
            known = {n: t for n, t in zip(self.older, ts) if t is not None}
            push(list(graph.nodes.values()), known, create)
            ends = [branch.outputs[k] for k in self.moving]
            return [_fitting(known.get(x._number) if x._requires_grad else None, x) for x in ends]

        return self.packing.joined([x if create else x._ndarray for x in self._again(ahead, create)])

    def _again(self, derivative: Callable[[Branch, Graph], Leaves], create: bool) -> Leaves:
        """The results of a derivative of both branches."""
        made = []
        for way, branch, graph in zip((True, False), self.branches, self.graphs):
            with (
                self.loops.branch(self.decided, way) as (spans, counts),
                differentiating() if create else nullcontext(),
            ):
                outputs = derivative(branch, graph)
            made.append(Branch(outputs, (*branch.spans, *spans), (*branch.counts, *counts)))
        return self.loops.branched(self.decided, *made)


def _fitting(d: Any, x: Tensor) -> Tensor:
    """A cotangent or tangent of a Tensor as one, zeros for None."""
    if d is None:
        return wrap(np.zeros(x.shape, x.dtype))
    d = d if d.dtype == x.dtype else d.astype(x.dtype)
    return d if isinstance(d, Tensor) else wrap(d)


_COND = Primitive(
    "cond", _no_replay, joint=lambda g, y, *inputs, of: of.pulled(g, y, *inputs),
    jvps=lambda ts, y, *inputs, of: of.pushed(ts, y, *inputs),
)  # fmt: skip
