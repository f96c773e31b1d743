"""Seeing the recorded graph: `walk` goes through it by hand, `graph` draws it.

Order: walking, then a drawing in steps: who is who (names, kinds, modules), what is shown when there is too much, and
what is written in the nodes. How a drawing becomes a picture is in layout.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .tensor import Tensor

if TYPE_CHECKING:
    from .layout import Graph

# Walking


def _results(output: Tensor, where: str) -> list[Tensor]:
    """All results from which `output` was computed, itself included, oldest first."""
    if not isinstance(output, Tensor):
        raise TypeError(f"{where}: needs a Tensor, not {type(output).__name__}")
    if output._primitive is None:
        return []
    found, seen = [output], {id(output)}
    for node in found:  # grows while it is walked
        inputs = node._inputs
        if not inputs:
            raise RuntimeError(
                f"{where}: the graph of this {node._primitive.name} is gone, because backward(retain_graph=False) went "
                f"through it or its .data were assigned; record it again"
            )
        for x in inputs:
            if isinstance(x, Tensor) and x._primitive is not None:
                key = id(x)
                if key not in seen:
                    seen.add(key)
                    found.append(x)
    found.sort(key=_number)
    return found


def _number(tensor: Tensor) -> int:
    return tensor._number


def walk(output: Tensor) -> Iterator[tuple[Tensor, str | None, tuple[Tensor, ...]]]:
    """Go through a recorded graph in reverse topological order: every tensor after all that were computed from it.

    Args:
        output: any Tensor.

    Returns:
        An iterator over (tensor, name of the operation that made it, tensors it was made from). A leaf has the name
        None and no inputs; arrays and numbers that took part appear as constant leaves.

    Raises:
        TypeError: if that is no Tensor.
        RuntimeError: if the graph was freed.

    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> for tensor, operation, inputs in walk(x * x + 1.0):
    ...     print(tensor.item(), operation, len(inputs))
    10.0 add 2
    1.0 None 0
    9.0 multiply 2
    3.0 None 0
    """
    return _steps(output, _results(output, "walk"))


def _steps(output: Tensor, results: list[Tensor]) -> Iterator[tuple[Tensor, str | None, tuple[Tensor, ...]]]:
    if output._primitive is None:
        yield output, None, ()
    leaves: dict[int, Tensor] = {}
    for node in reversed(results):
        inputs = node.inputs
        yield node, node._primitive.name, inputs
        for given, x in zip(node._inputs, inputs):
            if x is not given:
                yield x, None, ()  # an array or a number, made a constant for this operation only
            elif x._primitive is None:
                leaves[id(x)] = x
    for x in leaves.values():
        yield x, None, ()


# Who is who


@dataclass(slots=True, eq=False)
class _Call:
    """One call of a module: what was made while it ran."""

    start: int
    end: int
    label: str
    depth: int = 0
    parent: _Call | None = None
    closed: bool = False
    """Drawn as one node."""
    count: int = 0

    def outermost_closed(self) -> _Call | None:
        found, call = None, self
        while call is not None:
            found, call = call if call.closed else found, call.parent  # type: ignore[assignment]
        return found


def _named(names: Any, output: Tensor, results: list[Tensor]) -> tuple[dict[int, str], set[int], list[tuple[str, Any]]]:
    """The names given by the user: by tensor, which of them are a module's parameters, and the modules."""
    by_id: dict[int, str] = {}
    parameters: set[int] = set()
    modules: list[tuple[str, Any]] = []
    if names is None:
        return by_id, parameters, modules
    items = list(names.items()) if isinstance(names, Mapping) else [("", names)]
    present: set[int] = set()
    if isinstance(names, Mapping) and any(isinstance(thing, Tensor) for thing in names.values()):
        present = {id(output), *map(id, results), *(id(x) for node in results for x in node._inputs)}
    for name, thing in items:
        if not isinstance(name, str):
            raise TypeError(f"graph: names must be strings, not {name!r}")
        if hasattr(thing, "named_parameters"):
            for key, p in thing.named_parameters():
                by_id[id(p)] = f"{name}.{key}" if name else key
                parameters.add(id(p))
            if hasattr(thing, "named_modules"):
                modules += [(f"{name}.{path}".strip(".") if path else name, m) for path, m in thing.named_modules()]
        elif isinstance(thing, Tensor) and isinstance(names, Mapping):
            if id(thing) not in present:
                raise ValueError(f"graph: names[{name!r}] is a tensor of shape {thing.shape} that is not in this graph")
            by_id[id(thing)] = name
        else:
            raise TypeError(
                "graph: names takes a dict from names to Tensors, or a module with named_parameters(), not "
                + (f"{type(thing).__name__} for {name!r}" if isinstance(names, Mapping) else type(thing).__name__)
            )
    return by_id, parameters, modules


def _homes(results: list[Tensor], modules: list[tuple[str, Any]]) -> list[_Call | None]:
    """For each result, the innermost call of a module in which it was made."""
    calls = [
        _Call(start, end, f"{path} · {type(m).__name__}" if path else type(m).__name__)
        for path, m in modules
        for start, end in getattr(m, "_calls", ())
    ]
    calls.sort(key=lambda call: (call.start, -call.end))
    if not calls:
        return [None] * len(results)
    homes: list[_Call | None] = []
    stack: list[_Call] = []
    coming = iter(calls)
    following = next(coming, None)
    for node in results:
        number = node._number
        while following is not None and following.start < number:
            while stack and stack[-1].end < following.start:
                stack.pop()
            following.parent = stack[-1] if stack else None
            following.depth = len(stack)
            stack.append(following)
            following = next(coming, None)
        while stack and stack[-1].end < number:
            stack.pop()
        home = stack[-1] if stack else None
        homes.append(home)
        while home is not None:
            home.count += 1
            home = home.parent
    return homes


# What is shown


@dataclass(slots=True)
class _Drawing:
    """The nodes and edges to be drawn: units (operations, or modules that are shown as one) and tensors."""

    units: list[tuple[str, _Call | None, list[Tensor]]] = field(default_factory=list)
    tensors: dict[Any, tuple[str, Any, _Call | None]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    gaps: dict[str, int] = field(default_factory=dict)


def _key(x: Any, node: Tensor, i: int) -> Any:
    """Which drawn node an input is: tensors and arrays are themselves, a number belongs to its operation."""
    return id(x) if isinstance(x, (Tensor, np.ndarray)) else (id(node), i)


class _Units:
    """The operations in order, those of a closed module together: pairs of the module's call (or None) and results."""

    def __init__(self, results: list[Tensor], homes: list[_Call | None]) -> None:
        self.results = results
        self.merged: list[tuple[_Call | None, list[Tensor]]] | None = None
        if any(call is not None and call.outermost_closed() for call in set(homes)):
            self.merged = []
            for node, home in zip(results, homes):
                closed = home.outermost_closed() if home is not None else None
                if closed is not None and self.merged and self.merged[-1][0] is closed:
                    self.merged[-1][1].append(node)
                else:
                    self.merged.append((closed, [node]))

    def __len__(self) -> int:
        return len(self.results if self.merged is None else self.merged)

    def __getitem__(self, u: int) -> tuple[_Call | None, list[Tensor]]:
        return (None, [self.results[u]]) if self.merged is None else self.merged[u]

    def __iter__(self) -> Iterator[tuple[_Call | None, list[Tensor]]]:
        return (self[u] for u in range(len(self)))


def _hidden(units: _Units, output: Tensor) -> set[Any]:
    """What stays inside a closed module: results used only there, and its own parameters and constants."""
    if units.merged is None:
        return set()
    user: dict[Any, int] = {}
    maker: dict[Any, int] = {}
    leaves: dict[Any, Any] = {}
    for u, (_, nodes) in enumerate(units):
        for node in nodes:
            maker[id(node)] = u
            for i, x in enumerate(node._inputs):
                key = _key(x, node, i)
                user[key] = u if user.get(key, u) == u else -1
                if not isinstance(x, Tensor) or x._primitive is None:
                    leaves[key] = x
    hidden = {key for key, u in maker.items() if user.get(key) == u and units[u][0] is not None}
    for key, x in leaves.items():
        if user[key] >= 0 and units[user[key]][0] is not None:
            if not isinstance(x, Tensor) or type(x) is not Tensor or not (x._requires_grad or x.name):
                hidden.add(key)
    hidden.discard(id(output))
    return hidden


def _cost(nodes: list[Tensor], hidden: set[Any], seen: set[Any]) -> int:
    """How many drawn nodes these operations bring with them."""
    new = {
        key for node in nodes for i, x in enumerate(node._inputs)
        if not isinstance(x, Tensor) or x._primitive is None
        for key in [_key(x, node, i)] if key not in hidden and key not in seen
    }  # fmt: skip
    seen |= new
    return 1 + len(new) + sum(id(node) not in hidden for node in nodes)


def _fitted(
    output: Tensor, results: list[Tensor], homes: list[_Call | None], max_nodes: int
) -> tuple[_Units, set[Any], bool]:
    """The units with modules as they are now open or closed, what they hide, and whether all of it may be drawn."""
    units = _Units(results, homes)
    if len(units) > max_nodes:
        return units, set(), False
    hidden, seen = _hidden(units, output), set[Any]()
    return units, hidden, sum(_cost(nodes, hidden, seen) for _, nodes in units) <= max_nodes


def _arranged(output: Tensor, results: list[Tensor], homes: list[_Call | None], max_nodes: int) -> _Drawing:
    """Choose what is drawn: all of it; or with modules closed, inner ones first; or both ends, and a gap between."""
    drawing = _Drawing()
    if not results:
        drawing.tensors[id(output)] = ("t0", output, None)
        return drawing
    calls = {id(c): c for home in {id(h): h for h in homes if h}.values() for c in _chain(home)}
    depths = sorted({call.depth for call in calls.values()}, reverse=True)
    units, hidden, everything = _fitted(output, results, homes, max_nodes)
    for depth in depths:
        if everything or (depth == 0 and len(depths) > 1 and sum(call.depth == 0 for call in calls.values()) == 1):
            break  # (one module that is the whole model is not closed: its parts say more than one box)
        for call in calls.values():
            call.closed = call.closed or call.depth == depth
        units, hidden, everything = _fitted(output, results, homes, max_nodes)
    if not everything:
        hidden = _hidden(units, output)
    first, last = (len(units), len(units)) if everything else _ends(units, hidden, max_nodes)
    _fill(drawing, units, hidden, first, last, None if everything else max_nodes, dict(_home_of(results, homes)))
    return drawing


def _chain(call: _Call | None) -> Iterator[_Call]:
    while call is not None:
        yield call
        call = call.parent


def _home_of(results: list[Tensor], homes: list[_Call | None]) -> Iterator[tuple[int, _Call]]:
    return ((id(node), home) for node, home in zip(results, homes) if home is not None)


def _ends(units: _Units, hidden: set[Any], max_nodes: int) -> tuple[int, int]:
    """How many units to keep at the beginning, and from which on at the end, alternating from the end inwards."""
    first, last, left = 0, len(units), max_nodes - 1
    seen: set[Any] = set()
    while first < last:
        back = len(units) - last <= first
        trial = set(seen)
        cost = _cost(units[last - 1 if back else first][1], hidden, trial)
        if cost > left and last < len(units):
            break
        seen, left = trial, left - cost
        if back:
            last -= 1
        else:
            first += 1
    return first, last


def _fill(
    drawing: _Drawing,
    units: _Units,
    hidden: set[Any],
    first: int,
    last: int,
    room: int | None,
    home_of: dict[int, _Call],
) -> None:
    """Put everything into the drawing but the units from `first` to `last`, and at most about `room` nodes."""
    oldest, youngest = (units[first][1][0]._number, units[last - 1][1][-1]._number) if first < last else (1, 0)
    kept = [*range(first), *range(last, len(units))]
    edges: dict[tuple[str, str], int] = Counter()
    shown = sum(1 + sum(id(node) not in hidden for node in units[u][1]) for u in kept)
    dropped: set[Any] = set()

    def placed(x: Any, key: Any, call: _Call | None) -> str | None:
        """The drawn node of a leaf, made if there is room."""
        nonlocal shown
        known = drawing.tensors.get(key)
        if known is not None:
            if known[2] is not call:
                drawing.tensors[key] = (known[0], known[1], None)  # shared: it belongs to no one module
            return known[0]
        if key in hidden:
            return None
        if room is not None and shown >= max(room - 1, 3):
            dropped.add(key)
            return "rest"
        shown += 1
        name = f"t{len(drawing.tensors)}"
        drawing.tensors[key] = (name, x, call)
        return name

    for u in kept:
        closed, nodes = units[u]
        unit = f"u{u}"
        drawing.units.append((unit, closed, nodes))
        for node in nodes:
            home = home_of.get(id(node)) if closed is None else closed.parent
            for i, x in enumerate(node._inputs):
                key = _key(x, node, i)
                if isinstance(x, Tensor) and x._primitive is not None:
                    source = "gap" if oldest <= x._number <= youngest else drawing.tensors.get(key, (None,))[0]
                else:
                    own = type(x) is not Tensor or not (x._requires_grad or x.name)
                    source = placed(x, key, home if own else None)
                if source is not None:
                    edges[source, unit] += 1
            if id(node) not in hidden:
                name = f"t{len(drawing.tensors)}"
                drawing.tensors[id(node)] = (name, node, home)
                edges[unit, name] += 1
    if first < last:
        drawing.gaps["gap"] = _gap(drawing, units, hidden | dropped, first, last, oldest, edges)
    if dropped:
        drawing.gaps["rest"] = len(dropped)
    for (source, target), n in edges.items():
        drawing.edges += [(source, target)] * (1 if source in drawing.gaps or target in drawing.gaps else n)


def _gap(
    drawing: _Drawing,
    units: _Units,
    hidden: set[Any],
    first: int,
    last: int,
    oldest: int,
    edges: dict[tuple[str, str], int],
) -> int:
    """Lead edges from what is drawn into the gap; returns the number of nodes in it."""
    tensors = drawing.tensors
    into, leaves, numbers, results = set[Any](), set[int](), 0, 0
    for u in range(first, last):
        for node in units[u][1]:
            if not hidden or id(node) not in hidden:
                results += 1
            for x in node._inputs:
                if isinstance(x, Tensor):
                    if x._primitive is None or x._number < oldest:
                        leaves.add(id(x))
                elif isinstance(x, np.ndarray):
                    leaves.add(id(x))
                else:
                    numbers += 1
    for key in leaves:
        if key in tensors:
            into.add(key)
            edges[tensors[key][0], "gap"] = 1
    return last - first + results + numbers + len(leaves - into - hidden)


# What is written

SHOW = ("value", "grad", "shape")
DIRECTIONS = ("LR", "TB", "RL", "BT")

SYMBOLS = {
    "add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "negative": "−x", "power": "xʸ", "matmul": "@",
    "sum": "Σ", "prod": "Π", "sqrt": "√", "square": "x²", "absolute": "|x|", "reciprocal": "1/x", "transpose": "xᵀ",
}  # fmt: skip

# Light fills with dark text on a white ground: legible in grey, on dark themes and to the colour-blind (tints of the
# palette of Okabe and Ito); the shape alone tells the kinds apart as well.
_STYLES: dict[str, dict[str, str]] = {
    "variable": {"shape": "box", "style": "filled,bold", "penwidth": "2.2", "fillcolor": "#d6ecfa", "color": "#0072b2"},
    "parameter": {"shape": "cylinder", "style": "filled", "fillcolor": "#fde9c9", "color": "#a86a00"},
    "constant": {"shape": "note", "style": "filled", "fillcolor": "#ececec", "color": "#6b6b6b"},
    "result": {"shape": "box", "style": "filled,rounded", "fillcolor": "#ffffff", "color": "#555555"},
    "output": {
        "shape": "box",
        "style": "filled,rounded",
        "fillcolor": "#d9f2e6",
        "color": "#00734f",
        "peripheries": "2",
    },
    "operation": {"shape": "ellipse", "style": "filled", "fillcolor": "#fffbe0", "color": "#555555"},
    "module": {"shape": "component", "style": "filled", "fillcolor": "#f3e3ee", "color": "#8a4674"},
    "gap": {"shape": "plain", "style": "", "fontcolor": "#444444"},
}
_TITLES = {"variable": "input", "parameter": "parameter", "constant": "constant", "result": "", "output": "output"}
_MEANING = {
    "variable": "leaf that requires a gradient",
    "parameter": "parameter",
    "constant": "constant",
    "result": "result",
    "output": "output",
}


def printable(text: str, limit: int = 48) -> str:
    """Text as one visible line: control characters and newlines as escapes, never empty, shortened in the middle."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
    if not text.strip():
        text = f"'{text}'"
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-(limit // 2 - 1) :]}"


def _escaped(lines: Iterable[str]) -> Any:
    """Lines as a DOT label that shows just these characters; no line is ever empty, which some libraries dislike."""
    from graphviz import nohtml

    shown = (line if line.strip() else "·" for line in lines)
    return nohtml(r"\n".join(line.replace("&", "&amp;").replace("\\", "\\\\") for line in shown))


def _digits(value: Any) -> str:
    return str(value) if isinstance(value, (bool, np.bool_)) else f"{value:.4g}"


SMALL = 12
"""Up to this many values are shown one by one."""


def _values(array: Any) -> list[str]:
    """Small arrays as rows of numbers, larger ones as their range and mean."""
    array = np.asarray(array)
    if array.size == 0:
        return ["(no elements)"]
    if array.ndim == 0:
        return [_digits(array.item())]
    if array.size <= SMALL and array.ndim <= 2 and array.shape[-1] <= 6:
        rows = array if array.ndim == 2 else array[None]
        return ["[" + ", ".join(_digits(v) for v in row.tolist()) + "]" for row in rows]
    return [_statistics(array)]


def _statistics(array: Any) -> str:
    if array.dtype.kind == "b":
        return f"{np.count_nonzero(array)} of {array.size} true"
    with np.errstate(all="ignore"):
        low, high, mean = array.min().item(), array.max().item(), float(array.mean(dtype=np.float64))
    return f"{low:.3g} … {high:.3g}, mean {mean:.3g}"


def _full(array: Any) -> list[str]:
    text = np.array2string(np.asarray(array), threshold=200, edgeitems=3, max_line_width=100)
    lines = text.splitlines() or ["[]"]
    return lines if len(lines) <= 20 else [*lines[:19], "…"]


def _dtype_and_shape(array: Any) -> str:
    size = " × ".join(str(n) for n in array.shape)
    return f"{array.dtype} {size}" if array.shape else str(array.dtype)


def _kind(x: Any, output: Tensor, parameters: set[int]) -> str:
    if not isinstance(x, Tensor):
        return "constant"
    if x is output and x._primitive is not None:
        return "output"
    if x._primitive is not None:
        return "result"
    if not x._requires_grad:
        return "constant"
    return "parameter" if id(x) in parameters or type(x) is not Tensor else "variable"


def _tensor_text(x: Any, kind: str, name: str | None, show: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The lines of a tensor's node, and of its tooltip."""
    number = not isinstance(x, (Tensor, np.ndarray, np.generic))
    array = np.asarray(x._data if isinstance(x, Tensor) else x)
    gradient = x._grad if isinstance(x, Tensor) else None
    plain = number or (array.ndim == 0 and kind == "constant")
    title = printable(name) if name is not None else "" if plain else _TITLES[kind]
    lines = [title] if title else []
    if "shape" in show and not number:
        lines.append(_dtype_and_shape(array))
    if "value" in show:
        lines += _values(array)
    if "grad" in show and gradient is not None:
        rows = _values(gradient._data)
        lines += [f"grad {rows[0]}", *rows[1:]]
    meaning = _MEANING[kind] if name is None else f"{_MEANING[kind]} {printable(name, 200)}"
    tip = [meaning, _dtype_and_shape(array), *_full(array)]
    if gradient is not None:
        tip += ["gradient", *_full(gradient._data)]
    if isinstance(x, Tensor) and x._line:
        tip.append(x._line)
    return lines or ["·"], [printable(line, 400) for line in tip]


def _operation_text(node: Tensor, names: dict[int, str]) -> tuple[list[str], list[str]]:
    """The lines of an operation's node, and of its tooltip: formula and the rule of each input."""
    record = node._primitive
    lines = [SYMBOLS.get(record.name, printable(record.name))]
    params = (node._params or {}).items()
    options = [_option(key, value) for key, value in params if value is not None and value is not False]
    if options:
        lines.append(", ".join(options) if len(", ".join(options)) <= 32 else f"{options[0]}, …")
    inputs = [
        _digits(x) if not hasattr(x, "shape") else names.get(id(x)) or getattr(x, "name", None) or f"x{i}"
        for i, x in enumerate(node._inputs)
    ]
    tip = [f"operation {printable(record.name)}"]
    try:
        shown = [printable(x, 24) for x in inputs]
        if record.formula:
            tip.append("y = " + record.formula.format(*shown, y="y"))
        tip += [
            f"to {x} goes g · {_factor(rule.format(*shown, y='y'))}"
            for given, x, rule in zip(node._inputs, shown, record.derivatives)
            if isinstance(given, Tensor) and given._requires_grad
        ]
    except (IndexError, KeyError, ValueError):
        tip = tip[:1]  # a user's formula with braces of its own
    if node._line:
        tip.append(node._line)
    return lines, [printable(line, 400) for line in tip]


def _factor(text: str) -> str:
    return f"({text})" if " " in text else text


def _option(key: str, value: Any) -> str:
    if hasattr(value, "shape"):
        return f"{key}: {_dtype_and_shape(value)}"
    return f"{key}={printable(repr(value), 24)}"


def graph(
    output: Tensor,
    *,
    names: Any = None,
    show: Iterable[str] = SHOW,
    order: int = 1,
    group: bool = True,
    max_nodes: int = 300,
    direction: str = "LR",
) -> Graph:
    """Draw the recorded graph of a tensor: tensors and the operations between them. No ``.grad`` is changed.

    A box with a bold border is a leaf that requires a gradient, a cylinder a parameter, a note with a folded corner a
    constant, a rounded box a result, a double border the output, an ellipse an operation. Tooltips carry the values,
    the formula and the rule by which the gradient passes.

    Args:
        output: any Tensor.
        names: a dict from names to Tensors (or modules), or a module, whose parameters' names are used.
        show: what tensor nodes show, of "value", "grad" and "shape". Large values are summarised.
        order: 1, the graph of the computation.
        group: whether the operations of each call of a module in `names` are framed.
        max_nodes: above so many nodes, modules are drawn as one node each, then the middle is left out, and a node
            says how many are not shown.
        direction: "LR" (left to right), "TB", "RL" or "BT".

    Returns:
        A `graphviz.Digraph`: show it in a notebook, or ``.render(outfile="graph.svg")``, ``.pipe("png")``, ``.source``.
        No system Graphviz is needed.

    Raises:
        TypeError: `output` is no Tensor, or `names` no dict or module.
        ValueError: an option that does not exist, or a name for a tensor that is not in the graph.
        RuntimeError: the graph was freed.

    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> picture = graph(x * x + 1.0)
    >>> "x" in picture.source
    True
    """
    from .layout import Graph  # graphviz is imported only by who draws

    shown = (show,) if isinstance(show, str) else tuple(show)
    for word in shown:
        if word not in SHOW:
            raise ValueError(f"graph: show takes of {', '.join(map(repr, SHOW))}, not {word!r}")
    if direction not in DIRECTIONS:
        raise ValueError(f"graph: direction must be one of {', '.join(map(repr, DIRECTIONS))}, not {direction!r}")
    if order != 1:
        raise ValueError(f"graph: order must be 1, not {order!r}")
    if isinstance(max_nodes, bool) or not isinstance(max_nodes, (int, np.integer)) or max_nodes < 1:
        raise ValueError(f"graph: max_nodes must be a positive integer, not {max_nodes!r}")
    results = _results(output, "graph")
    by_id, parameters, modules = _named(names, output, results)
    homes = _homes(results, modules if group else [])
    drawing = _arranged(output, results, homes, int(max_nodes))

    picture = Graph(
        graph_attr={"rankdir": direction, "bgcolor": "white", "fontname": _FONT, "nodesep": "0.2", "ranksep": "0.3",
                    "fontsize": "11", "tooltip": "computation graph"},
        node_attr={"fontname": _FONT, "fontsize": "11", "fontcolor": "#111111", "margin": "0.12,0.06", "height": "0.3"},
        edge_attr={"color": "#555555", "arrowsize": "0.7"},
    )  # fmt: skip
    frames = _Frames(picture)
    home_of = dict(_home_of(results, homes))
    for unit, closed, nodes in drawing.units:
        if closed is not None:
            lines = [printable(closed.label), f"{closed.count} operation{'s' * (closed.count != 1)}"]
            tip = ["module, drawn as one node", *sorted({printable(node._primitive.name) for node in nodes})]
            frames.node(closed.parent, unit, "module", lines, tip)
        else:
            frames.node(home_of.get(id(nodes[0])), unit, "operation", *_operation_text(nodes[0], by_id))
    for name, x, home in drawing.tensors.values():
        kind = _kind(x, output, parameters)
        given = by_id.get(id(x))
        label = given if given is not None else getattr(x, "name", None)
        frames.node(home, name, kind, *_tensor_text(x, kind, label, shown))
    for name, count in drawing.gaps.items():
        text = f"… {count:,} node{'s' * (count != 1)} not shown"
        frames.node(None, name, "gap", [text], [text])
    frames.close()
    picture.body += [f"\t{source} -> {target}\n" for source, target in drawing.edges]
    if _length(drawing.edges) > LONG:
        picture.graph_attr.update(splines="line", nslimit="2", nslimit1="2", mclimit="0.5")
    return picture


LONG = 4000
"""From this total length of edges (in ranks) on, they are straight lines: curves would take the layout minutes."""


def _length(edges: list[tuple[str, str]]) -> int:
    rank: dict[str, int] = {}
    for _ in range(2):  # edges are nearly in order; the second time reaches those around a gap
        for source, target in edges:
            rank[target] = max(rank.get(target, 0), rank.get(source, 0) + 1)
    return sum(rank.get(target, 0) - rank.get(source, 0) for source, target in edges)


_FONT = "Helvetica,Arial,sans-serif"


class _Frames:
    """The picture's nodes, sorted into the frames of the module calls that hold them."""

    def __init__(self, picture: Graph) -> None:
        self.picture = picture
        self.bodies: dict[_Call | None, list[str]] = {None: []}
        self.inside: dict[_Call | None, list[_Call]] = {None: []}

    def node(self, home: _Call | None, name: str, kind: str, lines: list[str], tooltip: list[str]) -> None:
        if home is not None and (closed := home.outermost_closed()) is not None:
            home = closed.parent
        call = home
        while call is not None and call not in self.bodies:
            self.bodies[call], self.inside[call] = [], self.inside.get(call, [])
            self.inside.setdefault(call.parent, []).append(call)
            call = call.parent
        attributes = {**_STYLES[kind], "class": kind, "tooltip": _escaped(tooltip)}
        quoted = self.picture._attr_list(_escaped(lines), kwargs=attributes)
        self.bodies[home].append(f"\t{name}{quoted}\n")

    def close(self) -> None:
        """Write all nodes, each frame inside its own."""
        names: dict[_Call, str] = {}
        stack: list[Any] = [None]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                self.picture.body.append(item)
                continue
            if item is not None:
                names[item] = f"cluster_{len(names)}"
                self.picture.body.append(f"\tsubgraph {names[item]} {{\n\t\tgraph{self._frame(item)}\n")
                stack.append("\t}\n")
            self.picture.body += self.bodies[item]
            stack += reversed(self.inside[item])

    def _frame(self, call: _Call) -> str:
        label = _escaped([printable(call.label)])
        attributes = {"style": "rounded", "color": "#b0a0b0", "fontcolor": "#444444", "tooltip": label}
        return str(self.picture._attr_list(label, kwargs=attributes))
