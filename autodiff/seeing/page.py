"""The page that walks through a computation: an explanation as one HTML file that needs nothing else.

page.html is its frame, page.css its look, page.js its steps. Every word of an explanation is written once, escaped,
into the cells of the table; the script shows, marks and copies it from there. The picture is that of graph.py.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Protocol

import numpy as np

from ..persistence.files import replace_file
from ..tensor import Tensor
from .graph import graph, walk

HEIGHT = 720
"""Pixels of the frame in a notebook."""


class Row(Protocol):
    """What the page reads of a step."""

    @property
    def step(self) -> int: ...
    @property
    def quantity(self) -> str: ...
    @property
    def expression(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def sources(self) -> Sequence[int]: ...
    @property
    def phase(self) -> str: ...
    @property
    def tensor(self) -> Tensor | None: ...
    @property
    def number(self) -> Any: ...


class Explained(Protocol):
    """What the page reads of an explanation."""

    @property
    def rows(self) -> Sequence[Row]: ...
    @property
    def output(self) -> Tensor: ...
    @property
    def names(self) -> Mapping[int, str]: ...
    @property
    def wrt(self) -> Sequence[Tensor]: ...


class Page(str):
    """The text of a page. In a notebook it shows itself in a frame of its own."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(str(self))}" sandbox="allow-scripts" title="Backpropagation step by step" '
            f'width="100%" height="{HEIGHT}" '
            'style="border: 1px solid #8888; border-radius: 6px; box-sizing: border-box"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<page of {len(self):,} characters; write it with to_html(path)>"


def write(explanation: Explained, path: str | os.PathLike[str] | None = None) -> Page:
    """Make the page of an explanation, and write it to `path` if one is given: whole, or not at all.

    Returns:
        The page's HTML, a string that a notebook shows as the page.

    Raises:
        OSError: for a path that cannot be written.
    """
    target = None if path is None else Path(os.path.realpath(os.fspath(path)))
    page = _page(explanation)
    if target is None:
        return page
    if target.exists() and not target.is_file():
        target.write_text(page, "utf-8")  # a device or a pipe is written to, not replaced; a directory is refused
    else:
        replace_file(target, lambda file: file.write(page.encode()))
    return page


def _page(explanation: Explained) -> Page:
    rows = explanation.rows
    pictures, notice = _pictures(explanation)
    assets = resources.files(__package__)
    style, script = (assets.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    name = explanation.names.get(explanation.output._number) or explanation.output.name or "the output"
    policy = f"default-src 'none'; base-uri 'none'; script-src {_digest(script)}; style-src {_digest(style)}"
    return Page(
        Template(assets.joinpath("page.html").read_text("utf-8")).substitute(
            policy=policy,
            title=f"How {_text(name)} and its derivatives are computed",
            summary=f"{len(rows)} steps: {_text(_summary(rows))}.",
            style=style,
            script=script,
            count=max(len(rows), 1),
            rowcount=len(rows) + 1,
            picture=_figure(pictures, notice, name),
            words=_words(rows),
            rows=_table(rows, _Places(explanation, pictures)),
        )
    )


def _digest(text: str) -> str:
    """The only script and style the browser will run: these, whatever else may have got into the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(text: str) -> str:
    """Text as HTML that shows just these characters, invisible and broken ones as escapes."""
    shown = (
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text
    )
    return html.escape("".join(shown))


# The table

PHASES = {
    "input": "forward pass",
    "forward": "forward pass",
    "local": "backward pass",
    "backward": "backward pass",
    "gradient": "backward pass",
    "update": "update",
    "slope": "slope along u",
    "second": "second backward pass",
}
VALUES = ("input", "forward", "slope")
BACKWARD = ("local", "backward", "gradient", "second")


def _summary(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(PHASES.get(row.phase, row.phase) for row in rows)) or "nothing was computed"


def _roles(rows: Sequence[Row]) -> list[str]:
    """What each step is: a given value, a computed one, a local derivative, the product that always follows it at
    once (with another tensor), or a sum of contributions."""
    roles: list[str] = []
    for row, following in zip(rows, [*rows[1:], None]):
        if roles and roles[-1] == "local":
            role = "product"
        elif row.phase == "local" or (
            row.phase == "second"
            and following is not None
            and tuple(following.sources[1:2]) == (row.step,)
            and following.tensor is not row.tensor
        ):
            role = "local"
        elif row.phase == "update":
            role = "update"
        elif row.phase in BACKWARD:
            role = "sum" if len(row.sources) > 1 else "cotangent"
        else:
            role = "value" if row.sources else "given"
        roles.append(role)
    return roles


def _table(rows: Sequence[Row], places: _Places) -> str:
    lines, roles = [], _roles(rows)
    for i, (row, role) in enumerate(zip(rows, roles)):
        # A local derivative and the product with it are about one operation and one of its inputs.
        other = ""
        if role == "local" and i + 1 < len(rows):
            other = places.of(rows[i + 1], "product")
        elif role == "product":
            other = places.of(rows[i - 1], "local")
        phase = PHASES.get(row.phase, row.phase)
        starts = i > 0 and PHASES.get(rows[i - 1].phase) != PHASES.get(row.phase)
        kind = ' class="phase-start"' * starts
        full = _all_digits(row.number)
        full = "" if re.sub(r"\.0(?=[],]|$)|\n", "", full) == row.value else full  # (it shows them all already)
        lines.append(
            f'<tr role="row"{kind} data-step="{row.step}" data-phase="{_text(phase)}" '
            f'data-role="{role}"{" data-back" * (row.phase in BACKWARD)} data-node="{places.of(row, role)}" '
            f'data-other="{other}" data-sources="{" ".join(map(str, row.sources))}" '
            f'data-full="{_text(full)}">'
            f'<th role="rowheader" scope="row">{row.step}</th>'
            f'<td role="cell" class="quantity">{_text(row.quantity)}</td>'
            f'<td role="cell" class="expression">{_text(row.expression)}</td>'
            f'<td role="cell" class="value">{_text(row.value)}</td>'
            f'<td role="cell" class="from">{", ".join(map(str, row.sources))}</td></tr>'
        )
    return "\n".join(lines)


def _all_digits(number: Any) -> str:
    """A value with every digit that tells it from its neighbours; nothing for one too large to read."""
    if number is None:
        return ""
    array = np.asarray(number)
    if array.dtype.kind not in "fiub" or array.size > 64:
        return ""
    return np.array2string(array, separator=", ", max_line_width=60, formatter={"float_kind": str})


# The picture

Picture = tuple[str, set[str]]
"""SVG, and the names of its nodes, which graph.py makes of the tensors' numbers."""


def _pictures(explanation: Explained) -> tuple[list[Picture], str]:
    """The graph of the output, and that of the slope whose backward pass is the second; or why there is none."""
    roots = [explanation.output]
    roots += [row.tensor for row in explanation.rows if row.phase == "slope" and row.tensor is not None][-1:]
    changed = any(_overwritten(row) for row in explanation.rows)
    names = dict(explanation.names)
    for row in explanation.rows:
        if row.tensor is not None and row.phase in VALUES:
            names[row.tensor._number] = row.quantity
    constants = [row for row in explanation.rows if row.tensor is None and row.expression == "constant"]
    try:
        arrays = {node: row.quantity for row, node in zip(constants, _constant_arrays(explanation))}
        return [_drawn(root, names, arrays, changed) for root in roots], ""
    except (RuntimeError, ImportError) as error:  # no layout program, or the graph was freed since
        return [], f"There is no picture of the graph, only the table. {error}"


def _drawn(root: Tensor, names: Mapping[int, str], arrays: Mapping[str, str], changed: bool) -> Picture:
    tensors = {x._number: x for node, _, _ in walk(root) for x in node._inputs if isinstance(x, Tensor)}
    tensors[root._number] = root
    named = {names[number]: x for number, x in tensors.items() if number in names}
    show = ["value"] * (not changed) + ["shape"] * any(x.ndim for x in tensors.values())
    return _svg(
        graph(root, names=named, show=show, group=False, compact=False).pipe("svg"), arrays, tooltips=not changed
    )


def _overwritten(row: Row) -> bool:
    """Whether the data of a tensor were replaced since it was explained: a picture must not contradict the table."""
    if row.tensor is None or row.number is None or row.phase not in VALUES:
        return False
    return not np.array_equal(row.tensor._data, row.number, equal_nan=True)


class _Places:
    """Where in the pictures a step is."""

    def __init__(self, explanation: Explained, pictures: Sequence[Picture]) -> None:
        self.nodes = [nodes for _, nodes in pictures]
        self.arrays: dict[int, str] = {}
        """Nodes of arrays by step: the table and the graph come upon constants in the same order; a vector u belongs
        to the tensor of its gradient."""
        if pictures:
            steps: dict[str, list[int]] = {"constant": [], "given": []}
            for row in explanation.rows:
                if row.tensor is None and row.expression in steps:
                    steps[row.expression].append(row.step)
            self.arrays.update(zip(steps["constant"], _constant_arrays(explanation)))
            self.arrays.update(zip(steps["given"], (f"t{x._number}" for x in explanation.wrt)))

    def of(self, row: Row, role: str) -> str:
        """The node of a step, as number of the picture and name of the node."""
        if row.tensor is not None:
            return self.find(f"{'op' if role == 'local' else 't'}{row.tensor._number}", row)
        return self.find(self.arrays[row.step], row) if row.step in self.arrays else ""

    def find(self, name: str, row: Row) -> str:
        order = range(len(self.nodes))
        for names in ((name,), ("gap", "rest")):  # what is not drawn is in the gap, or among the rest
            for i in reversed(order) if row.phase in ("slope", "second") else order:
                for each in names:
                    if each in self.nodes[i]:
                        return f"{i}:{each}"
        return ""


def _constant_arrays(explanation: Explained) -> Iterator[str]:
    seen: set[int] = set()
    roots = [row.tensor for row in explanation.rows if row.phase == "slope" and row.tensor is not None][-1:]
    for root in (explanation.output, *roots):
        results = [node for node, operation, _ in walk(root) if operation is not None]
        for node in reversed(results):
            for i, x in enumerate(node._inputs):
                if not isinstance(x, Tensor) and np.ndim(x) and id(x) not in seen:
                    seen.add(id(x))
                    yield f"t{node._number}i{i}"


_SVG = "{http://www.w3.org/2000/svg}"
_TOOLTIP = "{http://www.w3.org/1999/xlink}title"


def _svg(source: bytes, arrays: Mapping[str, str], tooltips: bool) -> Picture:
    """Graphviz's SVG as a part of the page: no ids that could meet others, nodes and edges named for the script, and
    arrays called as in the table."""
    root = ElementTree.fromstring(source)
    nodes = set()
    for part in list(root.iter()):
        part.attrib.pop("id", None)
        for link in part.findall(f"{_SVG}a"):
            tip = ElementTree.Element(f"{_SVG}title")
            tip.text = link.get(_TOOLTIP)
            place = list(part).index(link)
            part[place : place + 1] = [tip] * bool(tooltips and tip.text) + list(link)
    for group in list(root.iter(f"{_SVG}g")):
        kind, title = group.get("class", ""), group.find(f"{_SVG}title")
        if kind == "graph":
            for child in list(group):
                if child.tag != f"{_SVG}g" or not child.get("class"):
                    group.remove(child)  # the ground and the title of the picture; the page has its own
        elif title is not None and kind:
            group.remove(title)
            start, _, end = (title.text or "").partition("->")
            keys = ("data-from", "data-to") if kind.startswith("edge") else ("data-node",)
            group.attrib.update(zip(keys, (start, end)))
            nodes |= {start} if kind.startswith("node") else set()
            called = group.find(f".//{_SVG}text")
            if start in arrays and called is not None and called.text == "constant":
                called.text = arrays[start]
    for part in root.iter():  # HTML knows no namespaces
        part.tag = part.tag.removeprefix(_SVG)
        part.tail = None
        part.attrib = {key: value for key, value in part.attrib.items() if not key.startswith("{")}
    for side, points in zip(("width", "height"), root.get("viewBox", "0 0 100 100").split()[2:]):
        root.set(side, f"{float(points) * 1.2:.0f}")
    root.attrib.pop("style", None)
    root.attrib.update({"aria-hidden": "true", "focusable": "false"})
    return ElementTree.tostring(root, "unicode"), nodes


_ARROW = (
    '<svg class="unseen" width="0" height="0" aria-hidden="true" focusable="false"><defs><marker id="against" '
    'viewBox="0 0 10 10" refX="9" refY="5" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" '
    'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z"/></marker></defs></svg>'
)


def _figure(pictures: Sequence[Picture], notice: str, name: str) -> str:
    if not pictures:
        return f'<p class="notice" role="note">{_text(notice)}</p>'
    views = "\n".join(
        f'<div class="view" tabindex="0" role="region" aria-label="Picture of the graph"{" hidden" * (i > 0)}>'
        f'<div role="img" aria-label="Graph of the computation of {_text(name)}: {_count(svg)}. In words below, '
        f'and step by step in the table.">{svg}</div></div>'
        for i, (svg, _) in enumerate(pictures)
    )
    return (
        f'<section class="picture" id="picture" aria-label="Graph">{_ARROW}\n<div class="bar"><span class="legend">'
        f'<span><i></i>forward</span> <span><i class="back"></i>backward</span></span>'
        f'<label><input type="checkbox" id="fit" checked> Fit to window</label></div>\n{views}\n</section>'
    )


def _count(svg: str) -> str:
    operations = len(re.findall('class="node operation', svg))
    tensors = svg.count("data-node=") - operations
    return f"{tensors} tensor{'s' * (tensors != 1)}, {operations} operation{'s' * (operations != 1)}"


def _words(rows: Sequence[Row]) -> str:
    """The graph for those who do not see it."""
    quantity = {row.step: row.quantity for row in rows}
    lines = []
    for row in rows:
        if row.phase in ("input", "forward"):
            made = f", {row.expression}" if row.phase == "input" else f" = {row.expression}"
            origin = ", ".join(dict.fromkeys(quantity[s] for s in row.sources if s in quantity))
            lines.append(f"<li>{_text(row.quantity + made)}{f', made from {_text(origin)}' if origin else ''}</li>")
    if not lines:
        return ""
    return f'<details class="words"><summary>The graph in words</summary><ol>{"".join(lines)}</ol></details>'
