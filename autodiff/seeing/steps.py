"""How the rows of a step table are written: names and formulas, each pass as the engine makes it, local derivatives.

Order: the table while it is written, its words, one reverse pass, local derivatives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..backward import leading_to, of_dtype, reachable, reverse, unbroadcast
from ..batching.batch import laid_out
from ..batching.examples import summed
from ..device_arrays import ARRAYS
from ..devices import as_numpy
from ..mode import differentiating, mode
from ..primitive import Primitive, general
from ..tensor import Tensor, as_array, wrap
from .cuts import cuts_between
from .formats import SMALL, range_of, size, text_of
from .formulas import Formula, joined
from .graph import results_behind
from .looks import options_of
from .names import Names, parameter_name, primed
from .printable import printable
from .rows import AGAIN, Row
from .rules import (
    ELEMENTWISE,
    contribution,
    formula_of,
    forward_formula,
    is_elementwise,
    local_derivative,
    partial,
    with_index,
)


class Table:
    """The table while it is written."""

    def __init__(self, digits: int, output: Tensor, results: list[Tensor]) -> None:
        self.digits, self.output, self.results = digits, output, results
        self.tensors = {x._number: x for node in results for x in node._inputs if isinstance(x, Tensor)}
        self.tensors |= {output._number: output} | {node._number: node for node in results}
        arrays = [x for node in results for x in node._inputs if isinstance(x, ARRAYS)]
        self.origins = {id(leaf): result for result, leaf in cuts_between([*self.tensors.values(), *arrays])}
        """The result whose values a leaf, a tensor or an array, holds, by the leaf's id."""
        self.complex = any(x.dtype.kind == "c" for x in self.tensors.values())
        self.rows: list[Row] = []
        self.names = Names()
        self.steps: dict[int, int] = {}
        """The row that holds a tensor's value, by its number."""
        self.arrays: dict[int, tuple[str, int]] = {}
        """Name and row of constant arrays, by id (the graph keeps them alive)."""
        self.cotangents: dict[tuple[int, int], int] = {}
        """The row of ∂a/∂b, by the numbers of a and b."""
        self.again: dict[int, int] = {}
        """The row of a cotangent of the first pass, by the number of the tensor that holds it in the second."""
        self.parts: dict[tuple[int, int], int] = {}
        """The row of the contribution to an input, by the number of the node and of the input."""

    def add(
        self,
        phase: str,
        quantity: str,
        expression: str | Formula,
        number: Any,
        sources: Iterable[int],
        tensor: Tensor | None,
        style: str = "plain",
    ) -> int:
        step, sources = len(self.rows) + 1, tuple(sources)
        formula = expression if isinstance(expression, Formula) else None
        text = str(expression)
        if not text.isprintable():  # a user's formula
            text = printable(text, len(text) + 1)
        value, number = (number, None) if isinstance(number, str) else self.shown(number, style, sources)
        self.rows.append(Row(step, quantity, text, value, sources, phase, tensor, number, formula, style))
        return step

    def shown(self, number: Any, style: str, sources: tuple[int, ...]) -> tuple[str, Any]:
        """A number as text in a style, and as an array."""
        if style == "range":
            return f"{size(number)}: {range_of(number, self.digits)}", as_numpy(laid_out(number))
        if style == "distinct":
            return _distinct(number, self.rows[sources[0] - 1].number, self.digits), as_numpy(laid_out(number))
        return text_of(number, self.digits), as_numpy(laid_out(number))

    # Names

    def give_names(self, names: Any, held: Mapping[int, str]) -> None:
        """Names for all tensors and arrays of the forward pass."""
        for name, x in _named(names, self.tensors):
            self.names.by_number.pop(x._number, None)
            self.names.give(x, name)
        self.names.known(self.tensors.values(), self.output, held)
        self.names.counted(self.results or [self.output])

    def called(self, x: Any, letter: str = "v") -> str:
        """The name of a tensor or array, given now if it has none; a number as it is written."""
        names = self.names.by_number
        if isinstance(x, Tensor):
            if x._number not in names:
                names[x._number] = self.names.fresh(letter)
            return names[x._number]
        if np.ndim(x) == 0:
            text = text_of(x, self.digits)
            return f"({text})" if text.startswith("-") or text.endswith("j") else text
        return self.arrays[id(x)][0]

    def targets(self, wrt: Any) -> list[Tensor]:
        """The tensors of `wrt`, checked, each once."""
        if wrt is None:
            leaves = [x for x in self.tensors.values() if x._requires_grad and x._primitive is None]
            return sorted(leaves, key=lambda x: self.steps[x._number])
        items = [wrt] if isinstance(wrt, Tensor) else list(wrt) if isinstance(wrt, Iterable) else [wrt]
        found: dict[int, Tensor] = {}
        for i, x in enumerate(items):
            if not isinstance(x, Tensor):
                raise TypeError(f"explain: wrt takes Tensors, not {type(x).__name__}")
            what = f"wrt[{i}], {x.name!r}," if x.name is not None else f"wrt[{i}], a tensor of shape {x.shape},"
            if x._number not in self.tensors:
                raise ValueError(f"explain: {what} is not in the graph of this output")
            if not x._requires_grad:
                raise ValueError(f"explain: {what} does not require a gradient")
            found[x._number] = self.tensors[x._number]
        if not found:
            raise ValueError("explain: wrt is empty; leave it out for all leaves that require a gradient")
        return list(found.values())

    def vectors(self, hvp: Any, targets: list[Tensor]) -> list[Any]:
        """The arrays of `hvp`, checked, one for each target."""
        if isinstance(hvp, (str, Mapping)):
            raise TypeError(
                f"explain: hvp takes one array for each tensor of wrt, in its order, not {type(hvp).__name__}"
            )
        one = len(targets) == 1 and _shape(hvp) == targets[0].shape
        items = [hvp] if one or not isinstance(hvp, Iterable) else list(hvp)
        if len(items) != len(targets):
            order = ", ".join(self.called(x) for x in targets[:8]) + ", …" * (len(targets) > 8)
            raise ValueError(
                f"explain: hvp takes one array for each tensor of wrt ({len(targets)}: {order}), not {len(items)}"
            )
        vectors = []
        for x, item in zip(targets, items):
            try:
                u = as_array(item, copy=True)
            except (TypeError, ValueError) as error:
                raise type(error)(f"explain: hvp for {self.called(x)}: {str(error).removeprefix('Tensor: ')}") from None
            if u.shape != x.shape:
                raise ValueError(f"explain: hvp for {self.called(x)} needs shape {x.shape}, not {u.shape}")
            vectors.append(u.astype(x.dtype))
        return vectors

    # Forward

    def forward(self, nodes: Iterable[Tensor], phase: str = "forward", letter: str = "v") -> None:
        """The rows of these results, each after those of the leaves it is the first to use."""
        for node in nodes:
            for x in node._inputs:
                if isinstance(x, Tensor):
                    if x._primitive is None and x._number not in self.steps:
                        self.leaf(x, phase, letter)
                elif np.ndim(x) and id(x) not in self.arrays:
                    name = self.names.of_arrays.get(id(x)) or self.names.fresh(letter)
                    inputs = "input" if phase == "forward" else phase
                    kind, sources = self.detached(x) or ("constant", ())
                    self.arrays[id(x)] = name, self.add(inputs, name, kind, x.copy(), sources, None)
            if node._primitive is None:
                self.leaf(node, phase, letter)
            elif node._number not in self.steps:
                expression = self.formula(node, letter)
                name = self.called(node, letter)
                self.steps[node._number] = self.add(phase, name, expression, node._ndarray, self.sources(node), node)
            elif (row := self.again.pop(node._number, None)) is not None:  # what it is a function of, as now recorded
                if {*self.sources(node)} != {*self.rows[row - 1].sources}:  # a sum of contributions is one already
                    name, steps = self.called(node) + AGAIN, [row, *self.sources(node)]
                    self.add(phase, name, self.formula(node, letter), node._ndarray, steps, node)

    def leaf(self, x: Tensor, phase: str, letter: str) -> None:
        kind, sources = self.detached(x) or ("input" if x._requires_grad else "constant", ())
        if kind == "constant" and phase == "slope":
            kind = "made of constants"
        phase = "input" if phase == "forward" else phase
        self.steps[x._number] = self.add(phase, self.called(x, letter), kind, x._ndarray.copy(), sources, x)

    def detached(self, x: Any) -> tuple[str, tuple[int, ...]] | None:
        """Whose values a leaf holds, and the row of that, if it is known."""
        origin = self.origins.get(id(x))
        return None if origin is None else (f"{self.called(origin)}, detached", (self.steps[origin._number],))

    def step(self, x: Any) -> int | None:
        if isinstance(x, Tensor):
            return self.steps.get(x._number)
        return self.arrays[id(x)][1] if np.ndim(x) else None

    def sources(self, node: Tensor, inputs: Iterable[Any] | None = None) -> list[int]:
        steps = (self.step(x) for x in (node._inputs if inputs is None else inputs))
        return list(dict.fromkeys(step for step in steps if step is not None))

    def formula(self, node: Tensor, letter: str = "v") -> Formula:
        inputs, text = node._inputs, forward_formula(node)
        placed = with_index(text, node)
        options = [_option(key, value) for key, value in options_of(node) if not (key == "index" and placed != text)]
        behind = f" ({', '.join(options)})" if options else ""
        return formula_of(placed, [self.called(x, letter) for x in inputs], "y", node, behind)

    # Backward

    def backward(self, y: Tensor, targets: Sequence[Tensor], phase: str) -> dict[int, Any]:
        """The rows of a reverse pass from `y`; returns the gradients of the targets, by number."""
        nodes, _ = reachable([y])
        first = phase == "backward"
        local_phase, wanted = ("local" if first else phase), {x._number: x for x in targets}
        walk = Pass(y, nodes, wanted)
        top = self.called(y)
        uses = walk.uses()
        parts: dict[int, list[tuple[int, Any]]] = {}

        def finished(x: Tensor, expression: str | Formula, number: Any, sources: Iterable[int]) -> None:
            """The row of a complete cotangent, and what hooks make of it."""
            n = x._number
            kind = "gradient" if first and n in wanted else phase
            final = walk.results[n]
            if x._primitive is None:
                final = of_dtype(final, x.dtype)
            quantity = partial(top, self.called(x))
            if x._hooks and any(hook is not None for hook in x._hooks.values()):
                before = self.add(phase, f"{quantity} before hooks", expression, number, sources, x)
                expression, sources = f"hooks of {self.called(x)}", (before,)
            if kind == "gradient" and x.dtype.kind == "c":
                step = self.cotangents[y._number, n] = self.add(phase, quantity, expression, final, sources, x)
                self.add(kind, f"grad {self.called(x)}", Formula("({0})*", (quantity,)), np.conj(final), (step,), x)
                return
            self.cotangents[y._number, n] = self.add(kind, quantity, expression, final, sources, x)

        finished(y, "1", walk.seed, ())
        for node in walk.order():
            given = self.cotangents[y._number, node._number]
            incoming = partial(top, self.called(node))
            pulled = walk.pulled[node._number]
            twice = len({x._number for _, x, _ in pulled}) < len(pulled)
            local = _locals(node, [i for i, _, _ in pulled])
            for i, x, d in pulled:
                n = x._number
                mark = f" [{i + 1}]" if twice else ""
                way = linearity(node, i) if self.complex else "linear"
                by = self.called(x) + "*" * (way == "antilinear")
                quantity = partial(self.called(node), by) + mark
                if node is y:
                    quantity += " (local)"
                text, used = self.derivative(node, i)
                if way == "antilinear":
                    local[i] = np.conj(local[i])
                elif way == "neither":
                    local[i] = f"(of {self.called(x)} and {self.called(x)}*, no one number)"
                style = _jacobian_style(local[i], node)
                step = self.add(local_phase, quantity, text, local[i], self.sources(node, used), node, style)
                product, factors = self.product(node, i, incoming, quantity, way)
                number = unbroadcast(summed(of_dtype(d, x.dtype) if self.complex else d, x), x.shape)
                if uses[n] == 1:
                    finished(x, product, number, (given, step, *factors))
                    if not x._hooks:
                        self.parts[node._number, i] = self.cotangents[y._number, n]
                    continue
                via = f"{partial(top, self.called(x))} via {self.called(node)}{mark}"
                part = self.add(phase, via, product, number, (given, step, *factors), x)
                self.parts[node._number, i] = part
                parts.setdefault(n, []).append((part, number))
                if len(parts[n]) == uses[n]:
                    rows = [self.rows[k - 1].quantity for k, _ in parts[n]]
                    numbers = iter(number for _, number in parts[n])
                    total = next(numbers)
                    for number in numbers:
                        total = total + number
                    finished(x, joined(rows, " + "), total, [k for k, _ in parts[n]])
        return {n: walk.results[n] for n in wanted if n in walk.results}

    def derivative(self, node: Tensor, i: int) -> tuple[str | Formula, list[Any]]:
        """The local derivative by input i as text, and what occurs in it."""
        record, inputs, text = node._primitive, node._inputs, local_derivative(node, i)
        if record is _SLOPE:
            vector = (node._params or {})["vectors"][i]
            return self.arrays[id(vector)][0], [vector]
        if not text:
            return f"rule of {printable(record.name)}", list(inputs)
        if i >= len(record.derivatives):  # one of many inputs, all alike
            return text, []
        text = with_index(text, node)
        used = [inputs[int(k)] for k in re.findall(r"\{(\d+)\}", text) if int(k) < len(inputs)]
        used += [node] * ("{y}" in text)
        return formula_of(text, [self.called(x) for x in inputs], self.called(node), node), used

    def product(self, node: Tensor, i: int, incoming: str, local: str, way: str) -> tuple[str | Formula, list[int]]:
        """The product that gives the contribution of `node` to its input i, and rows of factors it names besides."""
        inputs, x = node._inputs, node._inputs[i]
        if way == "neither":
            return f"rule of {printable(node._primitive.name)}", []
        around = "({})*" if way == "antilinear" else "{}"
        if node.dtype.kind == "c" and x.dtype.kind != "c":  # who moves along the real axis alone
            around = "Re({})"
        if text := contribution(node, i):
            used = [inputs[int(k)] for k in re.findall(r"\{(\d)\}", text)]
            names = tuple(self.called(x) for x in inputs)
            return Formula(around.replace("{}", text), names, incoming), self.sources(node, used)
        # Summed over the axes along which x was broadcast.
        text = "Σ {0} · {1}" if is_elementwise(node._primitive) and x.shape != node.shape else "{0} · {1}"
        return Formula(around.replace("{}", text), (incoming, local)), []

    # After it

    def passes(self, targets: list[Tensor], rate: float | None, vectors: list[Any] | None) -> None:
        """The rows of all passes after the forward pass."""
        gradients = self.backward(self.output, targets, "backward")
        if rate is not None:
            self.update(targets, gradients, rate)
        if vectors is not None:
            self.second_pass(self.output, targets, vectors)

    def update(self, targets: Sequence[Tensor], gradients: dict[int, Any], rate: float) -> None:
        lr = self.called(rate)
        for x in targets:
            if x._primitive is None:
                gradient = self.cotangents[self.output._number, x._number]
                name, slope = self.called(x), of_dtype(gradients[x._number], x.dtype)
                quantity = partial(self.called(self.output), name)
                if x.dtype.kind == "c":  # the row after it
                    gradient, slope, quantity = gradient + 1, np.conj(slope), f"grad {name}"
                expression = Formula("{0} − {1} · {2}", (name, lr, quantity))
                new = x._ndarray - rate * slope
                self.add("update", f"{name}⁺", expression, new, (self.steps[x._number], gradient), x, "distinct")

    def second_pass(self, output: Tensor, targets: list[Tensor], vectors: list[Any]) -> None:
        """The rows of s = ∇fᵀu, and of the backward pass through it: its gradients are H·u."""
        walk = Pass(output, reachable([output])[0], {x._number: x for x in targets}, create_graph=True)
        for node in walk.order():  # a tensor that holds what has a row already is called by that row
            for i, x, d in walk.pulled[node._number]:
                if d.shape == x.shape:
                    self.known(d, self.parts.get((node._number, i)))
        for n, g in walk.results.items():
            self.known(g, self.cotangents.get((output._number, n)))
        for x, u in zip(targets, vectors):
            name = self.names.unique(f"u[{self.called(x)}]")
            self.arrays[id(u)] = name, self.add("slope", name, "given", u, (), None)
        with differentiating():
            gradients = [
                g if g.dtype == x.dtype else g.astype(x.dtype) for x in targets for g in [walk.results[x._number]]
            ]
            s = general(_SLOPE)(*gradients, vectors=Vectors(vectors))
        made = results_behind(s, "explain")
        self.forward([node for node in made if node is not s], "slope", "r")
        self.names.give(s, primed("s", self.names.taken))
        slopes = [(self.cotangents[output._number, x._number], x, id(u)) for x, u in zip(targets, vectors)]
        sources = [step for row, _, u in slopes for step in (row, self.arrays[u][1])]
        shown = slopes if len(slopes) <= 8 else [*slopes[:3], slopes[-1]]
        terms = [f"{'Σ ' * bool(x.ndim)}{{{2 * k}}} · {{{2 * k + 1}}}" for k, (_, x, _) in enumerate(shown)]
        if len(slopes) > len(shown):
            terms.insert(3, f"… ({len(slopes) - 4} more)")
        names = tuple(name for row, _, u in shown for name in (self.rows[row - 1].quantity, self.arrays[u][0]))
        expression = Formula(" + ".join(terms), names)
        self.steps[s._number] = self.add("slope", self.called(s), expression, s._ndarray, sources, s)
        products = self.backward(s, targets, "second") if made else {}
        for x in targets:
            name, row = self.called(x), self.cotangents.get((s._number, x._number))
            if row is None:
                text, number = f"0: {self.called(s)} does not depend on {name}", np.zeros(x.shape, x.dtype)
                self.add("second", f"(H·u)[{name}]", text, number, (), x)
            else:
                number = products[x._number].astype(x.dtype, copy=False)
                expression = Formula("{0}", (partial(self.called(s), name),))
                self.add("second", f"(H·u)[{name}]", expression, number, (row,), x)

    def known(self, x: Tensor, row: int | None) -> None:
        if row is not None and x._number not in self.names.by_number:
            self.names.by_number[x._number] = self.rows[row - 1].quantity
            self.steps[x._number] = self.again[x._number] = row


def _named(names: Any, tensors: dict[int, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The user's names with their tensors: those of a module's parameters first, so that one given singly wins."""
    if names is None:
        return
    items = list(names.items()) if isinstance(names, Mapping) else [("", names)]
    singles = []
    for name, thing in items:
        if not isinstance(name, str):
            raise TypeError(f"explain: names must be strings, not {name!r}")
        if hasattr(thing, "named_parameters"):
            parameters = list(thing.named_parameters())
            present = [(key, p) for key, p in parameters if p._number in tensors]
            if parameters and not present:
                what = f"names[{name!r}]" if isinstance(names, Mapping) else "names"
                raise ValueError(f"explain: {what}, {type(thing).__name__}, has no parameter in this graph")
            for key, p in present:
                yield parameter_name(name, key), p
        elif isinstance(thing, Tensor) and isinstance(names, Mapping):
            if thing._number not in tensors:
                raise ValueError(f"explain: names[{name!r}], a tensor of shape {thing.shape}, is not in this graph")
            singles.append((name, thing))
        else:
            raise TypeError(
                "explain: names takes a dict from names to Tensors, or a module with named_parameters(), not "
                + (f"{type(thing).__name__} for {name!r}" if isinstance(names, Mapping) else type(thing).__name__)
            )
    yield from singles


def _shape(value: Any) -> tuple[int, ...] | None:
    try:
        return tuple(np.shape(value))
    except ValueError:  # arrays of several shapes in a list
        return None


def _distinct(new: Any, old: Any, digits: int) -> str:
    """The text of an updated value, with so many digits that it differs from what it was."""
    while digits < 17 and text_of(new, digits) == text_of(old, digits) and not np.array_equal(new, old, equal_nan=True):
        digits += 1
    return text_of(new, digits)


def _option(key: str, value: Any) -> str:
    if isinstance(value, np.dtype):
        return f"{key}={value}"
    if isinstance(value, ARRAYS) and value.size > 8:
        return f"{key}: {size(value)} values"
    return printable(f"{key}={value.tolist() if isinstance(value, ARRAYS) else value!r}")


class Vectors(tuple[Any, ...]):
    """The parts of the vector u, which have rows of their own."""

    internal = True


_SLOPE = Primitive(
    "slope",
    lambda *gradients, vectors: sum((g * u).sum() for g, u in zip(gradients, vectors)),
    each=lambda i, g, y, *gradients, vectors: g * vectors[i],
)
"""s = Σ gᵢ·uᵢ, the derivative of the output along u, as one operation."""


# One reverse pass, as the engine makes it


class _Observer:
    """A value of the grad mode (see mode.py) that looks on while `reverse` works, as `detect_anomaly` does."""

    recording = True

    def __init__(self, nodes: dict[int, Tensor], outer: Any) -> None:
        self.nodes, self.outer = nodes, None if isinstance(outer, bool) else outer
        self.pulls: dict[int, list[Any]] = {}

    def made(self, y: Tensor, record: Primitive, inputs: tuple[Any, ...]) -> None:
        if self.outer is not None:
            self.outer.made(y, record, inputs)

    def pulled(self, d: Any, g: Any, node: Tensor, x: Tensor) -> Any:
        if self.outer is not None:
            d = self.outer.pulled(d, g, node, x)
        if self.nodes.get(node._number) is node:  # (not a node inside a checkpoint, which is computed again)
            self.pulls.setdefault(node._number, []).append(d)
        return d

    def switched(self, recording: bool) -> Any:
        return recording if self.outer is None else self.outer.switched(recording)


class Pass:
    """A reverse pass from `y` to the wanted tensors: what each rule returned, and every cotangent."""

    def __init__(
        self, y: Tensor, nodes: dict[int, Tensor], wanted: dict[int, Tensor], create_graph: bool = False
    ) -> None:
        self.nodes = nodes
        needed = leading_to(wanted, nodes)
        data = y._ndarray
        self.seed: Any = np.ones_like(data)[()]  # of a single element the number
        observer = _Observer(nodes, mode.get())
        token = mode.set(observer)
        try:
            start = {y._number: wrap(self.seed) if create_graph else self.seed}
            self.results = reverse(start, nodes, needed | {y._number: y}, create_graph, needed)
        finally:
            mode.reset(token)
        self.pulled: dict[int, list[tuple[int, Tensor, Any]]] = {}
        """For each node, what its rules returned: (number of the input, the input, the rule's result)."""
        for number, results in observer.pulls.items():
            slots = [
                (i, x) for i, x in enumerate(nodes[number]._inputs)
                if isinstance(x, Tensor) and x._requires_grad and x._number in needed
            ]  # fmt: skip
            self.pulled[number] = [(i, x, d) for (i, x), d in zip(slots, results)]

    def order(self) -> Iterator[Tensor]:
        """The nodes, in the order in which the pass came to them."""
        return (self.nodes[number] for number in self.pulled)

    def uses(self) -> Counter[int]:
        """How many contributions each cotangent is the sum of."""
        return Counter(x._number for pulled in self.pulled.values() for _, x, _ in pulled)


# Local derivatives

FORMED = 64
"""Jacobians of vectors by vectors of up to so many numbers are formed for the table."""


def _jacobian_style(J: Any, node: Tensor) -> str:
    """Of a Jacobian that is not written out, its range: a mean over its many zeros says nothing."""
    plain = isinstance(J, str) or np.size(J) <= SMALL or node._primitive in ELEMENTWISE or node.size == 1
    return "plain" if plain else "range"


def _arrays(node: Tensor) -> list[Any]:
    return [x._ndarray if isinstance(x, Tensor) else x for x in node._inputs]


def _pulled(node: Tensor, g: Any, slots: Sequence[int]) -> list[Any]:
    """What the rules of the operation that made `node` return for the cotangent g."""
    params, arrays, y = node._params or {}, _arrays(node), node._ndarray
    with np.errstate(all="ignore"):
        rules, given = node._primitive.pullbacks(len(arrays), g, y, arrays, params)
        found: list[Any] = [None if (rule := rules[i]) is None else rule(g, y, *given, **params) for i in slots]
    real = [
        y.dtype.kind != "c" and not np.iscomplexobj(arrays[i]) for i in slots
    ]  # who moves along the real axis alone
    return [d.real if alone and np.iscomplexobj(d) else d for d, alone in zip(found, real)]


def _locals(node: Tensor, slots: Sequence[int]) -> dict[int, Any]:
    """For each of these inputs the local derivative: the elementwise factor or the Jacobian, or for a large Jacobian
    a text that says how large."""
    y, arrays = node._ndarray, _arrays(node)
    if node._primitive in ELEMENTWISE or y.size == 1:
        found = _pulled(node, np.ones_like(y)[()], slots)
        if node._primitive in ELEMENTWISE:
            return {i: np.broadcast_to(d, y.shape) if np.size(d) == 1 else d for i, d in zip(slots, found)}
        shapes = {i: np.shape(arrays[i]) for i in slots}
        return {i: np.reshape(unbroadcast(d, shapes[i]), y.shape + shapes[i]) for i, d in zip(slots, found)}
    shown = {i: FORMED if y.ndim == np.ndim(arrays[i]) == 1 else SMALL for i in slots}  # a matrix, or written out
    small = [i for i in slots if y.size * np.size(arrays[i]) <= shown[i]]
    formed = dict(zip(small, jacobians(node, small))) if small else {}
    return {i: formed[i] if i in formed else f"({size(y)} by {size(arrays[i])}, too large to show)" for i in slots}


def linearity(node: Tensor, i: int) -> str:
    """How the cotangent of input i hangs on that of the result: "linear", as of every real and every holomorphic
    function; "antilinear", on its conjugate; or "neither"."""
    if node.dtype.kind != "c" or node._inputs[i].dtype.kind != "c":
        return "linear"
    y = node._ndarray
    g = np.asarray(np.exp(1j * np.arange(1, y.size + 1)).reshape(y.shape), y.dtype)[()]
    (one,), (other,) = (_pulled(node, factor * g, [i]) for factor in (1, 1j))
    if one is None:
        return "linear"
    size = np.abs(one).max(initial=0, where=np.isfinite(one))
    for way, right in (("linear", 1j * one), ("antilinear", -1j * one)):
        if np.allclose(other, right, rtol=0, atol=1e3 * np.finfo(y.dtype).eps * size, equal_nan=True):
            return way
    return "neither"


def jacobians(node: Tensor, slots: Sequence[int] | None = None) -> list[Any]:
    """The local Jacobians by these inputs, of shape output + input: row k is what the rule pulls back from eₖ."""
    y, arrays = node._ndarray, _arrays(node)
    slots = range(len(arrays)) if slots is None else slots
    rows: list[list[Any]] = [[] for _ in slots]
    for k in range(y.size):
        e = np.zeros_like(y).reshape(-1)
        e[k] = 1
        for row, i, d in zip(rows, slots, _pulled(node, e.reshape(y.shape) if y.ndim else e[0], slots)):
            row.append(None if d is None else unbroadcast(d, np.shape(arrays[i])))
    rules = node._primitive.rules(len(arrays))
    jacobians: list[Any] = []
    for row, i in zip(rows, slots):
        shape = y.shape + np.shape(arrays[i])
        kind = np.result_type(y.dtype, np.complex64) if np.iscomplexobj(arrays[i]) else y.dtype
        jacobians.append(
            None if rules[i] is None else np.stack(row).astype(kind).reshape(shape) if row else np.empty(shape, kind)
        )
    return jacobians
