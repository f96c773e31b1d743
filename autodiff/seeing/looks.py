"""How a picture looks: the shape of each kind of node, and what is written in it and in its tooltip.

Order: shapes and colours, text and numbers, tensors, operations, modules, the legend, frames and edges.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batching.batch import laid_out
from ..device_arrays import ARRAYS
from ..devices import as_numpy
from ..tensor import Tensor
from .formulas import Formula, numbers_of
from .indices import index_text
from .names import primed
from .powers import raised
from .printable import printable, shortened
from .rules import forward_formula, partial, shares, with_index
from .selection import Call, Drawing, band_of, chain

if TYPE_CHECKING:
    from graphviz import Digraph

LONGEST = 40
"""Names in formulas are made shorter than this."""

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


Line = tuple[str, str]
"""A line of a node: its style, one of `LETTERING`, and its text."""

LETTERING = {
    "title": '<FONT POINT-SIZE="13"><B>{}</B></FONT>', "value": "{}", "note": '<FONT POINT-SIZE="10">{}</FONT>',
    "gradient": '<FONT COLOR="#8f3c00">{}</FONT>', "parameter": '<FONT COLOR="#7a4d00">{}</FONT>',
}  # fmt: skip
"""What is read first is largest; a gradient has its own colour."""


def lettered(lines: Iterable[Line]) -> str:
    """Lines as an HTML-like DOT label that shows just these characters."""
    shown = (
        LETTERING[style].format(html.escape(text if text.strip() else "·").replace("\\", "&#92;&#92;"))
        for style, text in lines
    )
    return f"<{'<BR/>'.join(shown)}>"


def escaped(lines: Iterable[str]) -> Any:
    """Lines as a DOT string that shows just these characters; no line is ever empty, which some libraries dislike."""
    from graphviz import nohtml

    shown = (line if line.strip() else "·" for line in lines)
    return nohtml(r"\n".join(line.replace("&", "&amp;").replace("\\", "\\\\") for line in shown))


def _digits(value: Any) -> str:
    return str(value) if isinstance(value, (bool, np.bool_)) else f"{value:.4g}"


SMALL = 12
"""Up to this many values are shown one by one."""


def _values(array: Any) -> list[str]:
    """Small arrays as rows of numbers, larger ones as their range and mean."""
    array = as_numpy(laid_out(array))
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
    if array.dtype.kind == "c":
        return f"sizes {_statistics(np.abs(array))}"
    with np.errstate(all="ignore"):
        low, high, mean = array.min().item(), array.max().item(), float(array.mean(dtype=np.float64))
    return f"all {low:.4g}" if low == high else f"{low:.3g} … {high:.3g}, mean {mean:.3g}"


FULL = 400
"""Up to this many values a tooltip carries all, with all their digits; of more, the corners and a summary."""


def _full(array: Any) -> list[str]:
    array = as_numpy(laid_out(array))
    text = np.array2string(array, threshold=FULL, edgeitems=3, max_line_width=100, floatmode="unique")
    return [*(text.splitlines() or ["[]"]), *([_statistics(array)] if array.size > FULL else [])]


def _dtype_and_shape(array: Any) -> str:
    return f"{array.dtype} {array.shape}" if array.shape else str(array.dtype)


def _shape(array: Any, usual: Any) -> str:
    """The shape, and the dtype where it is not the usual one."""
    words = [str(array.dtype)] * (array.dtype != usual) + [str(array.shape)] * bool(array.shape)
    return " ".join(words)


def kind_of(x: Any, output: Tensor, parameters: set[int]) -> str:
    """Which of the kinds of node (see `STYLES`) a tensor, array or number is."""
    if not isinstance(x, Tensor):
        return "constant"
    if x._primitive is not None:
        return "output" if x is output else "result"
    if not x._requires_grad:
        return "constant"
    return "parameter" if id(x) in parameters or type(x) is not Tensor else "variable"


def _numbers(x: Any, show: Sequence[str]) -> list[Line]:
    """Value and gradient, as far as they are shown."""
    lines: list[Line] = []
    gradient = x._grad if isinstance(x, Tensor) else None
    if "value" in show:
        lines += [("value", row) for row in _values(x._ndarray if isinstance(x, Tensor) else x)]
    if "grad" in show and gradient is not None:
        first, *more = _values(gradient._ndarray)
        lines += [("gradient", text) for text in (f"grad {first}", *more)]
    return lines


def _is_number(x: Any) -> bool:
    return not isinstance(x, (Tensor, *ARRAYS, np.generic))


def _array(x: Any) -> Any:
    return as_numpy(laid_out(x._ndarray if isinstance(x, Tensor) else x))


def tensor_lines(x: Any, kind: str, name: str | None, show: Sequence[str], usual: Any = np.float64) -> list[Line]:
    """The lines of a tensor's node. The `usual` dtype is not written."""
    array = _array(x)
    plain = _is_number(x) or (array.ndim == 0 and kind == "constant")
    title = shortened(name, 48) if name is not None else "" if plain else _TITLES.get(kind, "")
    lines: list[Line] = [("title", title)] if title else []
    if "shape" in show and not _is_number(x) and (shape := _shape(array, usual)):
        lines.append(("note", shape))
    return lines + _numbers(x, show) or [("value", "·")]


def tensor_tip(x: Any, kind: str, name: str | None) -> list[str]:
    """The lines of a tensor's tooltip."""
    array, meaning = _array(x), _MEANING.get(kind, kind)
    tip = [meaning if name is None else f"{meaning} {printable(name, 200)}", _dtype_and_shape(array), *_full(array)]
    if isinstance(x, Tensor):
        tip += ["gradient", *_full(x._grad._ndarray)] if x._grad is not None else []
        tip += [x._line] if x._line else []
    return [printable(line, 400) for line in tip]


def options_of(node: Tensor) -> list[tuple[str, Any]]:
    """The options an operation was called with that say something: not those left out or off, nor what it notes for
    its own backward pass (objects whose `internal` is True)."""
    given = (node._params or {}).items()
    return [(k, v) for k, v in given if v is not None and v is not False and getattr(v, "internal", False) is not True]


def operation_lines(
    node: Tensor,
    names: Mapping[int, str],
    show: Sequence[str],
    written: bool = False,
    inside: Sequence[tuple[str, Any]] = (),
    usual: Any = np.float64,
) -> list[Line]:
    """The lines of an operation's node: the leaves that are shown `inside` it, with what they are called, and the
    result, if it is `written` there."""
    record = node._primitive
    lines: list[Line] = [("title", raised(node) or SYMBOLS.get(record.name, printable(record.name)))]
    options = [option_text(key, value) for key, value in options_of(node)]
    if options:
        text = ", ".join(options)
        lines.append(("note", text if len(text) <= 32 else f"{options[0]}, …"))
    lines += leaf_lines(inside, show)
    return lines + (result_lines(node, names.get(id(node)), show, usual) if written else [])


def operation_tip(node: Tensor, names: Mapping[int, str], root: str | None, written: bool = False) -> list[str]:
    """The lines of an operation's tooltip: formula and the rule of each input, as in `rules_of`."""
    tip = [f"operation {printable(node._primitive.name)}", *(text for _, text in rules_of(node, names, root))]
    if written:
        array = as_numpy(laid_out(node._ndarray))
        tip += [f"{_called_in(node, names)}: {_dtype_and_shape(array)}", *_full(array)]
        tip += ["gradient", *_full(node._grad._ndarray)] if node._grad is not None else []
    if node._line:
        tip.append(node._line)
    return [printable(line, 400) for line in tip]


def _called_in(node: Tensor, names: Mapping[int, str]) -> str:
    """What a result is called in its formula."""
    name = names.get(id(node)) or node.name
    return shortened(name, LONGEST) if name else primed("y", _called(node, names))


def _called(node: Tensor, names: Mapping[int, str]) -> list[str]:
    """What the inputs are called in an operation's formula."""
    called = []
    for i, x in enumerate(node._inputs):
        text = names.get(id(x)) or getattr(x, "name", None) or (f"x{i}" if hasattr(x, "shape") else _digits(x))
        called.append(f"({text})" if not hasattr(x, "shape") and text.startswith("-") else shortened(text, LONGEST))
    return called


def rules_of(node: Tensor, names: Mapping[int, str], root: str | None) -> list[tuple[str, str]]:
    """An operation's formula, and what each input that takes a gradient gets of that of the result: in the words of the
    table of `explain`.

    Args:
        node: a result.
        names: what tensors and arrays are called, by id.
        root: what is differentiated; None in a pass through which no other goes back.
    """
    inputs, output = _called(node, names), _called_in(node, names)
    formula = Formula(with_index(forward_formula(node), node), tuple(inputs), numbers=numbers_of(node))
    facts = [("formula", f"{output} = {formula}")]
    if root is None:
        return facts
    found = shares(node, inputs, output, partial(shortened(root, LONGEST), output))
    return [*facts, *(("rule", f"to {x} goes {text}") for x, text in found)]


def leaf_lines(inside: Sequence[tuple[str, Any]], show: Sequence[str]) -> list[Line]:
    """Parameters and constants that are shown in their operation's node."""
    lines: list[Line] = []
    for name, x in inside:
        if hasattr(x, "shape") and x.shape:
            kind = "parameter" if getattr(x, "requires_grad", False) else "constant"
            lines.append(("parameter", f"{shortened(name or kind)} {x.shape}"))
        else:
            value = " = ".join(filter(None, (name and shortened(name), *_values(getattr(x, "_ndarray", x)))))
            lines.append(("parameter" if name else "value", value))
        lines += [line for line in _numbers(x, show) if line[0] == "gradient"][:1]
    return lines


def result_lines(node: Tensor, name: str | None, show: Sequence[str], usual: Any) -> list[Line]:
    """A result that is shown in its operation's node."""
    array, lines = as_numpy(laid_out(node._ndarray)), list[Line]()
    value = _digits(array.item()) if "value" in show and array.size == 1 else ""
    if name or value:
        lines.append(("value", " = ".join(filter(None, (name and printable(name), value)))))
    if "shape" in show and (shape := _shape(array, usual)):
        lines.append(("note", shape))
    return lines + [line for line in _numbers(node, show) if line[0] == "gradient"]


def local_name(name: str, home: Call | None) -> str:
    """A parameter's name as it is called inside the module in which it is used."""
    for call in chain(home):
        if call.path and name.startswith(f"{call.path}."):
            return name[len(call.path) + 1 :]
    return name


def option_text(key: str, value: Any) -> str:
    """An option as it is written in a call, of arrays only dtype and shape."""
    if key == "index":
        return f"[{printable(index_text(value), 24)}]"
    if isinstance(value, (Tensor, *ARRAYS)):
        return f"{key}: {_dtype_and_shape(value)}"
    try:
        text = str(value) if isinstance(value, np.dtype) else _digits(value) if type(value) is float else repr(value)
    except Exception:  # the user's own class may not be able to show itself; the picture can do without
        text = type(value).__name__
    return f"{key}={printable(text, 24)}"


def module_lines(call: Call, n: int) -> list[Line]:
    """The lines of a module (or a repeat) of n operations that is drawn as one node."""
    title, _, ends = call.label.partition(": ") if call.band is not None else (call.kind or call.label, "", "")
    words = (
        [shortened(call.path, 40)] * bool(call.path) + [printable(ends)] * bool(ends) + [f"{n:,} operations"] * (n != 1)
    )
    return [("title", printable(title)), *[("note", ", ".join(words))] * bool(words)]


def module_tip(call: Call, nodes: list[Tensor]) -> list[str]:
    """The lines of its tooltip."""
    names = sorted({printable(node._primitive.name) for node in nodes})
    return [f"{'repeat' if call.count else 'module'}, drawn as one node", *names]


LEGEND = {
    "variable": "leaf that requires a gradient", "parameter": "parameter", "constant": "constant", "result": "result",
    "operation": "operation", "module": "module or repeat", "output": "output",
}  # fmt: skip
"""What a legend explains, in its order."""


# Frames and edges

LONG = 4000
"""From this total length of edges (in ranks) on, they are straight lines: curves would take the layout minutes."""


def length(edges: Sequence[tuple[str, str]]) -> int:
    """The total length of edges, in ranks."""
    rank: dict[str, int] = {}
    for _ in range(2):  # edges are nearly in order; the second time reaches those around a gap
        for source, target in edges:
            rank[target] = max(rank.get(target, 0), rank.get(source, 0) + 1)
    return sum(rank.get(target, 0) - rank.get(source, 0) for source, target in edges)


FONT = "Helvetica,Arial,sans-serif"
TITLE_WIDTH = 13
"""Points for a letter of a frame's title, past which edges lead through the middle: more than twice what it needs."""
TURNS = {"LR": {1: "e", 2: "w"}, "RL": {1: "w", 2: "e"}}
"""On which side a turn leads around the frames, from the end of a pass to the beginning of the next."""


class Frames:
    """The picture's nodes, sorted into the frames of the module calls and the bands of the passes that hold them."""

    def __init__(self, picture: Digraph, direction: str) -> None:
        from graphviz.quoting import attr_list  # here: programs that draw nothing do without graphviz

        self.picture, self.direction, self.attributes = picture, direction, attr_list
        self.bodies: dict[Call | None, list[str]] = {None: []}
        self.inside: dict[Call | None, list[Call]] = {None: []}
        self.layer: dict[str, int] = {}
        self.held: dict[Call, list[str]] = {}
        """The nodes in each frame, those of the frames inside it among them."""
        self.frame_of: dict[str, Call | None] = {}

    def node(self, home: Call | None, name: str, kind: str, lines: list[Line], tooltip: list[str]) -> None:
        """Put a node of this kind into a frame (that of the call around it, if the call is drawn as one node)."""
        if home is not None and (closed := home.outermost_closed()) is not None:
            home = closed.parent
        call = home
        while call is not None and call not in self.bodies:
            self.bodies[call], self.inside[call] = [], self.inside.get(call, [])
            self.inside.setdefault(call.parent, []).append(call)
            call = call.parent
        self.frame_of[name] = home
        for around in chain(home):
            self.held.setdefault(around, []).append(name)
        band = band_of(home)
        self.layer[name] = layer = (band.band or 0) if band is not None else 0
        look = STYLES[kind] | _IN_BAND[layer].get(kind, {})
        attributes = {**look, "id": name, "class": kind, "tooltip": escaped(tooltip)}
        quoted = self.attributes(lettered(lines), kwargs=attributes)
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
                self.picture.body.append(f"\tsubgraph {names[item]} {{\n\t\tgraph{self._frame(item, names[item])}\n")
                stack.append("\t}\n")
            self.picture.body += self.bodies[item]
            stack += reversed(self.inside[item])

    def legend(self) -> None:
        """Write a frame with a node of each kind, beside the picture."""
        names = [f"legend_{kind}" for kind in LEGEND]
        frame = 'graph [label=legend style=rounded color="#b0a0b0" fontcolor="#555555"]'
        self.picture.body.append(f"\tsubgraph cluster_legend {{\n\t\t{frame}\n")
        for name, (kind, text) in zip(names, LEGEND.items()):
            look = STYLES[kind] | {"id": name, "class": f"{kind} legend", "tooltip": text}
            self.picture.body.append(f"\t{name}{self.attributes(lettered([('value', text)]), kwargs=look)}\n")
        self.picture.body.append(f"\t{' -> '.join(names)} [style=invis]\n\t}}\n")

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
        if length(drawing.edges) > LONG:
            self.picture.graph_attr.update(splines="line", nslimit="2", nslimit1="2", mclimit="0.5")
        else:
            body += (f"\t{source} -> {target} [style=invis]\n" for source, target in self._behind(drawing.edges))

    def _behind(self, edges: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """From the ends of a frame to the beginnings of one that uses what is made there: a frame that begins beside
        the end of another stands beside the whole of it, and both have empty space above or below."""
        pairs: dict[tuple[Call, Call], None] = {}
        for ends in edges:
            outer, other = (list(chain(self.frame_of[end])) for end in ends)
            while outer and other and outer[-1] is other[-1]:
                outer.pop(), other.pop()
            if outer and other and band_of(outer[-1]) is None:
                pairs[outer[-1], other[-1]] = None
        uses, users = dict[str, set[str]](), dict[str, set[str]]()
        for source, target in edges:
            users.setdefault(source, set()).add(target)
            uses.setdefault(target, set()).add(source)
        found: list[tuple[str, str]] = []
        for each in pairs:
            before, after = (self.held[frame] for frame in each)
            last = [name for name in before if users.get(name, set()).isdisjoint(before)]
            first = [name for name in after if uses.get(name, set()).isdisjoint(after)]
            found += product(last, first)
        return found

    def _frame(self, call: Call, name: str) -> str:
        title = printable(call.label, 100)
        tooltip = escaped([title])
        # Graphviz gives a frame all that the one around it has and it does not say itself, the id too.
        attributes = {"style": "rounded", "color": "#b0a0b0", "fontcolor": "#444444", "fontsize": "11"}
        attributes |= {"penwidth": "1", "id": name}
        upright = self.direction in ("TB", "BT")
        if call.band is not None:
            attributes = {**BANDS[call.band], "id": f"pass{call.band}", "fontsize": "14", "fontcolor": "#111111"}
            if upright:  # the turns lead over the frames' other end
                attributes["labelloc"] = "b"
        label = tooltip
        if upright and call.band is None:  # edges lead through the middle: the title keeps to its left
            attributes["labeljust"] = "l"
            cell = f'<TD ALIGN="LEFT" WIDTH="{TITLE_WIDTH * len(title)}">{lettered([("value", title)])[1:-1]}</TD>'
            label = f'<<TABLE BORDER="0" CELLPADDING="0"><TR>{cell}</TR></TABLE>>'
        return str(self.attributes(label, kwargs=attributes | {"tooltip": tooltip}))
