"""How a picture looks: the shape of each kind of node, and what is written in it and in its tooltip.

Order: shapes and colours, text and numbers, tensors, operations, frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import Tensor
from .formulas import Formula, numbers_of
from .indices import index_text
from .powers import raised
from .printable import printable
from .selection import Call, Drawing, band_of

if TYPE_CHECKING:
    from .layout import Graph

# Shapes and colours

SHOW = ("value", "grad", "shape")
DIRECTIONS = ("LR", "TB", "RL", "BT")

SYMBOLS = {
    "add": "+", "subtract": "−", "multiply": "×", "divide": "÷", "negative": "−x", "power": "xʸ", "matmul": "@",
    "sum": "Σ", "prod": "Π", "sqrt": "√", "square": "x²", "absolute": "|x|", "reciprocal": "1/x", "transpose": "xᵀ",
    "∇fᵀu": "gᵀu", "slope": "gᵀu", "over_cosh_squared": "g/cosh²", "one_minus_square": "1−x²",
}  # fmt: skip

# Light fills with dark text on a white ground: legible in grey, on dark themes and to the colour-blind (tints of the
# palette of Okabe and Ito); the shape alone tells the kinds apart as well.
STYLES: dict[str, dict[str, str]] = {
    "variable": {"shape": "box", "style": "filled,bold", "penwidth": "2.2", "fillcolor": "#d6ecfa", "color": "#0072b2"},
    "parameter": {"shape": "cylinder", "style": "filled", "fillcolor": "#fde9c9", "color": "#a86a00", "labelloc": "b"},
    "constant": {"shape": "note", "style": "filled", "fillcolor": "#ececec", "color": "#6b6b6b"},
    "result": {"shape": "box", "style": "filled,rounded", "fillcolor": "#ffffff", "color": "#555555"},
    "output": {"shape": "box", "style": "filled,rounded", "fillcolor": "#d9f2e6", "color": "#00734f",
               "peripheries": "2"},
    "seed": {"shape": "box", "style": "filled,diagonals", "fillcolor": "#ffffff", "color": "#222222",
             "margin": "0.2,0.1"},
    "gradient": {"shape": "box", "style": "filled,rounded,bold", "penwidth": "2.2", "fillcolor": "#ffffff",
                 "color": "#222222"},
    "operation": {"shape": "ellipse", "style": "filled", "fillcolor": "#fffbe0", "color": "#555555"},
    "module": {"shape": "component", "style": "filled", "fillcolor": "#f3e3ee", "color": "#8a4674"},
    "reference": {"shape": "box", "style": "dashed,filled", "fillcolor": "#ffffff", "color": "#888888",
                  "fontcolor": "#444444", "fontsize": "10", "height": "0.2", "margin": "0.06,0.02"},
    "gap": {"shape": "plaintext", "style": "", "fontcolor": "#444444", "height": "0.2", "margin": "0.06,0.02"},
}  # fmt: skip
_TITLES = {"variable": "input", "parameter": "parameter", "constant": "constant", "output": "output"}
_MEANING = {"variable": "leaf that requires a gradient", "seed": "seed, with which the pass starts",
            "reference": "value from an earlier pass:"}  # fmt: skip

# The passes of a picture of order 2 differ by the frame's line, the operations' shape and the tint.
BANDS: tuple[dict[str, str], ...] = (
    {"color": "#8a7a2a", "style": "solid", "bgcolor": "#fffef6", "penwidth": "1.6"},
    {"color": "#0072b2", "style": "dashed", "bgcolor": "#f1f8fd", "penwidth": "1.6"},
    {"color": "#8a4674", "style": "dotted", "bgcolor": "#fcf3fa", "penwidth": "2.4"},
)
_IN_BAND: tuple[dict[str, dict[str, str]], ...] = (
    {},
    {"operation": {"shape": "hexagon", "fillcolor": "#cfe5f6", "color": "#0072b2"},
     "module": {"fillcolor": "#cfe5f6", "color": "#0072b2"},
     "result": {"color": "#0072b2"}, "gradient": {"color": "#0072b2"}, "seed": {"color": "#0072b2"}},
    {"operation": {"shape": "octagon", "fillcolor": "#eccbe4", "color": "#8a4674"},
     "module": {"fillcolor": "#eccbe4", "color": "#8a4674"},
     "result": {"color": "#8a4674"}, "gradient": {"color": "#8a4674"}, "seed": {"color": "#8a4674"}},
)  # fmt: skip


def escaped(lines: Iterable[str]) -> Any:
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
    return f"all {low:.4g}" if low == high else f"{low:.3g} … {high:.3g}, mean {mean:.3g}"


FULL = 400
"""Up to this many values a tooltip carries all, with all their digits; of more, the corners and a summary."""


def _full(array: Any) -> list[str]:
    array = np.asarray(array)
    text = np.array2string(array, threshold=FULL, edgeitems=3, max_line_width=100, floatmode="unique")
    return [*(text.splitlines() or ["[]"]), *([_statistics(array)] if array.size > FULL else [])]


def _dtype_and_shape(array: Any) -> str:
    size = " × ".join(str(n) for n in array.shape)
    return f"{array.dtype} {size}" if array.shape else str(array.dtype)


def kind_of(x: Any, output: Tensor, parameters: set[int]) -> str:
    """Which of the kinds of node (see `STYLES`) a tensor, array or number is."""
    if not isinstance(x, Tensor):
        return "constant"
    if x._primitive is not None:
        return "output" if x is output else "result"
    if not x._requires_grad:
        return "constant"
    return "parameter" if id(x) in parameters or type(x) is not Tensor else "variable"


def tensor_text(
    x: Any, kind: str, name: str | None, show: tuple[str, ...], brief: bool = False
) -> tuple[list[str], list[str]]:
    """The lines of a tensor's node, and of its tooltip. `brief` leaves the dtype of a 0-d tensor to the tooltip."""
    number = not isinstance(x, (Tensor, np.ndarray, np.generic))
    array = np.asarray(x._data if isinstance(x, Tensor) else x)
    gradient = x._grad if isinstance(x, Tensor) else None
    plain = number or (array.ndim == 0 and kind == "constant")
    title = printable(name) if name is not None else "" if plain else _TITLES.get(kind, "")
    lines = [title] if title else []
    if "shape" in show and not number and (array.ndim or not brief):
        lines.append(_dtype_and_shape(array))
    if "value" in show:
        rows = _values(array)
        lines += rows if len(rows) <= 4 or not brief else [_statistics(array)]
    if "grad" in show and gradient is not None:
        rows = _values(gradient._data)
        lines += [f"grad {rows[0]}", *rows[1:]]
    meaning = _MEANING.get(kind, kind)
    tip = [meaning if name is None else f"{meaning} {printable(name, 200)}", _dtype_and_shape(array), *_full(array)]
    if gradient is not None:
        tip += ["gradient", *_full(gradient._data)]
    if isinstance(x, Tensor) and x._line:
        tip.append(x._line)
    return lines or ["·"], [printable(line, 400) for line in tip]


def options_of(node: Tensor) -> list[tuple[str, Any]]:
    """The options an operation was called with that say something: not those left out or off, nor what it notes for
    its own backward pass (objects whose `internal` is True)."""
    given = (node._params or {}).items()
    return [(k, v) for k, v in given if v is not None and v is not False and getattr(v, "internal", False) is not True]


def operation_text(
    node: Tensor, names: Mapping[int, str], show: tuple[str, ...], written: bool = False
) -> tuple[list[str], list[str]]:
    """The lines of an operation's node, and of its tooltip: formula and the rule of each input; and the result, if it
    is `written` there."""
    record = node._primitive
    lines = [raised(node) or SYMBOLS.get(record.name, printable(record.name))]
    options = [_option(key, value) for key, value in options_of(node)]
    if options:
        lines.append(", ".join(options) if len(", ".join(options)) <= 32 else f"{options[0]}, …")
    array, name = np.asarray(node._data), names.get(id(node))
    if written:
        value = _digits(array.item()) if "value" in show and array.size == 1 else ""
        lines += [" = ".join(filter(None, (name, value)))] if name or value else []
    inputs = [
        _digits(x) if not hasattr(x, "shape") else names.get(id(x)) or getattr(x, "name", None) or f"x{i}"
        for i, x in enumerate(node._inputs)
    ]
    shown = [printable(x, 24) for x in inputs]
    tip = [f"operation {printable(record.name)}"]
    if record.formula:
        tip.append(f"y = {Formula(record.formula, tuple(shown), numbers=numbers_of(node))}")
    tip += [
        f"to {x} goes g · {_factor(str(Formula(rule, tuple(shown), numbers=numbers_of(node))))}"
        for given, x, rule in zip(node._inputs, shown, record.derivatives)
        if isinstance(given, Tensor) and given._requires_grad
    ]
    if written:
        tip += [f"y: {_dtype_and_shape(array)}", *_full(array)]
    if node._line:
        tip.append(node._line)
    return lines, [printable(line, 400) for line in tip]


def _factor(text: str) -> str:
    return f"({text})" if " " in text else text


def _option(key: str, value: Any) -> str:
    if key == "index":
        return f"[{printable(index_text(value), 24)}]"
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{key}: {_dtype_and_shape(value)}"
    try:
        text = str(value) if isinstance(value, np.dtype) else repr(value)
    except Exception:  # the user's own class may not be able to show itself; the picture can do without
        text = type(value).__name__
    return f"{key}={printable(text, 24)}"


# Frames and edges

LONG = 4000
"""From this total length of edges (in ranks) on, they are straight lines: curves would take the layout minutes."""


def _length(edges: list[tuple[str, str]]) -> int:
    rank: dict[str, int] = {}
    for _ in range(2):  # edges are nearly in order; the second time reaches those around a gap
        for source, target in edges:
            rank[target] = max(rank.get(target, 0), rank.get(source, 0) + 1)
    return sum(rank.get(target, 0) - rank.get(source, 0) for source, target in edges)


FONT = "Helvetica,Arial,sans-serif"
TURNS = {"LR": {1: "e", 2: "w"}, "RL": {1: "w", 2: "e"}}
"""On which side a turn leads around the frames, from the end of a pass to the beginning of the next."""


class Frames:
    """The picture's nodes, sorted into the frames of the module calls and the bands of the passes that hold them."""

    def __init__(self, picture: Graph, direction: str) -> None:
        from graphviz.quoting import attr_list  # here: programs that draw nothing do without graphviz

        self.picture, self.direction, self.attributes = picture, direction, attr_list
        self.bodies: dict[Call | None, list[str]] = {None: []}
        self.inside: dict[Call | None, list[Call]] = {None: []}
        self.layer: dict[str, int] = {}

    def node(self, home: Call | None, name: str, kind: str, lines: list[str], tooltip: list[str]) -> None:
        """Put a node of this kind into a frame (that of the call around it, if the call is drawn as one node)."""
        if home is not None and (closed := home.outermost_closed()) is not None:
            home = closed.parent
        call = home
        while call is not None and call not in self.bodies:
            self.bodies[call], self.inside[call] = [], self.inside.get(call, [])
            self.inside.setdefault(call.parent, []).append(call)
            call = call.parent
        band = band_of(home)
        self.layer[name] = layer = (band.band or 0) if band is not None else 0
        look = STYLES[kind] | _IN_BAND[layer].get(kind, {})
        attributes = {**look, "id": name, "class": kind, "tooltip": escaped(tooltip)}
        quoted = self.attributes(escaped(lines), kwargs=attributes)
        self.bodies[home].append(f"\t{name}{quoted}\n")

    def close(self) -> None:
        """Write all nodes, each frame inside its own."""
        if self.direction in ("LR", "RL"):  # where the layout puts later frames above earlier ones
            self.inside[None].sort(key=lambda call: call.band or 0, reverse=True)
        names: dict[Call, str] = {}
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

    def edges(self, drawing: Drawing) -> None:
        """Write the edges: the forward pass from left to right, the first backward pass below it the other way, the
        second one back again."""
        body = self.picture.body
        for source, target in drawing.edges:
            if self.layer[target] == 1:
                body.append(f"\t{target} -> {source} [dir=back]\n")
            else:
                body.append(f"\t{source} -> {target}\n")
        for source, target in drawing.turns:
            side = TURNS.get(self.direction, {}).get(self.layer[target])
            ports = f" tailport={side} headport={side}" if side else ""
            body.append(f'\t{source} -> {target} [style=bold color="#222222" minlen=0{ports}]\n')
        for source, target in drawing.cuts:
            tip = "the values come in without their history: no gradient passes"
            body.append(
                f'\t{source} -> {target} [label=detached style=dashed arrowhead=tee fontsize=10 tooltip="{tip}"]\n'
            )
        if _length(drawing.edges) > LONG:
            self.picture.graph_attr.update(splines="line", nslimit="2", nslimit1="2", mclimit="0.5")

    def _frame(self, call: Call) -> str:
        label = escaped([printable(call.label, 100)])
        attributes = {"style": "rounded", "color": "#b0a0b0", "fontcolor": "#444444", "fontsize": "11"}
        if call.band is not None:
            attributes = {**BANDS[call.band], "id": f"pass{call.band}", "fontsize": "14", "fontcolor": "#111111"}
            if self.direction in ("TB", "BT"):  # the turns lead over the frames' other end
                attributes["labelloc"] = "b"
        return str(self.attributes(label, kwargs=attributes | {"tooltip": label}))
