"""The page that walks through a computation: an explanation as one HTML file that needs nothing else.

page.html is its body, page.css its look, page.js its steps. Every word of an explanation is written once: the cells of
the table and the nodes of the picture (see stage.py) are HTML, escaped, and all that the script shows beside them is
data (see playback.py).
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from .arrows import plane
from .playback import PASSES, Row, colour_of, playback
from .printable import visible
from .rows import roles
from .stage import Drawn, Stage, staged
from .standalone import Page, save, standalone

HEIGHT = 860
"""Pixels of the frame in a notebook."""


class Explained(Drawn, Protocol):
    """What the page reads of an explanation."""

    @property
    def rows(self) -> Sequence[Row]: ...


class Computed(Protocol):
    """What makes a page live (see live.py)."""

    @property
    def data(self) -> dict[str, Any]: ...
    @property
    def body(self) -> str: ...
    @property
    def style(self) -> str: ...
    @property
    def script(self) -> str: ...


def write(explanation: Explained, path: str | os.PathLike[str] | None = None, live: Computed | None = None) -> Page:
    """Make the page of an explanation, and write it to `path` if one is given: whole, or not at all.

    Returns:
        The page's HTML, a string that a notebook shows as the page.

    Raises:
        OSError: for a path that cannot be written.
    """
    page = _page(explanation, live)
    if path is not None:
        save(page, path)
    return page


def _page(explanation: Explained, live: Computed | None) -> Page:
    rows = explanation.rows
    kinds = roles(rows)
    stage = staged(explanation, kinds)
    name = explanation.names.get(explanation.output._number) or explanation.output.name or "the output"
    return Page(
        standalone(
            "page",
            {"digits": explanation.digits}
            | playback(rows, kinds, stage)
            | ({} if live is None else {"live": live.data}),
            "" if live is None else live.style,
            "" if live is None else live.script,
            title=f"How {_text(name)} and its derivatives are computed",
            summary=f"{len(rows)} steps: {_text(_summary(rows))}.",
            count=max(len(rows), 1),
            rowcount=len(rows) + 1,
            live="" if live is None else live.body,
            picture=_figure(stage, rows, name),
            words=_words(rows),
            rows="".join(_table(rows)),
            plane=_plane(explanation),
        ),
        "Backpropagation step by step",
        HEIGHT,
    )


def _text(text: str) -> str:
    """Text as HTML that shows just these characters, invisible and broken ones as escapes."""
    return html.escape(visible(text, "\n"))


# The table


def _summary(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(PASSES.get(row.phase, row.phase) for row in rows)) or "nothing was computed"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    before = ""
    for row in rows:
        phase = PASSES.get(row.phase, row.phase)
        cells = (row.quantity, row.expression, row.value, ", ".join(map(str, row.sources)))
        yield f"<tr{' class=phase-start' * bool(before and phase != before)}><th>{row.step}"
        yield "".join(f"<td>{_text(cell)}" for cell in cells)  # (HTML closes cells and rows itself)
        before = phase


# A Hessian-vector product in the plane


def _plane(explanation: Explained) -> str:
    """The Hessian-vector product as arrows, if the inputs have two entries together."""
    rows, wrt = explanation.rows, explanation.wrt
    products = rows[-len(wrt) :] if wrt else []
    if not products or products[-1].phase != "second" or sum(x.size for x in wrt) != 2:
        return ""
    steps = {row.quantity: row for row in rows}
    output = explanation.names[explanation.output._number]
    vectors = [row for row in rows if row.expression == "given" and row.tensor is None]
    gradients = [row for row in rows if row.phase == "gradient"]
    by_tensor = {row.tensor._number: row for row in gradients if row.tensor is not None}
    names = [explanation.names[x._number] for x in wrt]
    if len(vectors) != len(wrt) or any(x._number not in by_tensor for x in wrt) or output not in steps:
        return ""
    point, u, gradient, product = (
        np.concatenate([np.ravel(part) for part in parts])
        for parts in (
            [steps[name].number for name in names],
            [row.number for row in vectors],
            [by_tensor[x._number].number for x in wrt],
            [row.number for row in products],
        )
    )
    axes = names if len(wrt) == 2 else [f"{names[0]}[0]", f"{names[0]}[1]"]
    return plane(point, u, gradient, product, [visible(axis) for axis in axes])


# The picture

_ARROWS = (
    '<svg class="unseen" width="0" height="0" aria-hidden="true" focusable="false"><defs>'
    + "".join(
        f'<marker id="{name}" viewBox="0 0 {size} {size}" refX="{tip}" refY="{size / 2:g}" markerWidth="{size}" '
        f'markerHeight="{size}" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="{shape}"/></marker>'
        for name, size, tip, shape in (
            ("head", 7, 0.3, "M0 1 7 3.5 0 6z"),
            ("lit-head", 9, 0.3, "M0 1 9 4.5 0 8z"),
            ("against", 10, 9, "M0 0 10 5 0 10z"),
        )
    )
    + "</defs></svg>"
)
"""The heads of edges; ``against`` stands where one starts, for what flows backwards."""


def _figure(stage: Stage, rows: Sequence[Row], name: str) -> str:
    if not stage.svg:
        return f'<p class="notice" role="note">{_text(stage.notice)}</p>'
    tensors = stage.nodes - stage.operations
    count = f"{tensors} tensor{'s' * (tensors != 1)}, {stage.operations} operation{'s' * (stage.operations != 1)}"
    passes = dict.fromkeys(map(colour_of, rows))
    words = {"forward": "forward", "backward": "backward", "second": "second backward", "update": "update"}
    legend = "".join(f'<span><i class="{each}"></i>{words[each]}</span>' for each in passes)
    legend += '<span><i class="slot value"></i>value</span>'
    legend += '<span><i class="slot grad"></i>gradient</span>' * any(
        fill is not None and fill.slot == "grad" for fill in stage.fills
    )
    legend += '<span><i class="slot kept"></i>kept for a rule</span>'
    return (
        f'<section class="picture" id="picture" aria-label="Graph">{_ARROWS}\n<div class="bar"><span class="legend">'
        f'{legend}</span><label><input type="checkbox" id="fit" checked> Fit to window</label></div>\n'
        f'<div class="view" tabindex="0" role="region" aria-label="Picture of the graph">'
        f'<div role="group" aria-label="Graph of the computation of {_text(name)}: {count}. In words below, and step '
        f'by step in the table.">{stage.svg}</div></div>\n</section>'
    )


def _words(rows: Sequence[Row]) -> str:
    """The graph for those who do not see it."""
    quantity = {row.step: row.quantity for row in rows}
    listed = []
    for row in rows:
        if row.phase in ("input", "forward"):
            made = f", {row.expression}" if row.phase == "input" else f" = {row.expression}"
            origin = ", ".join(dict.fromkeys(quantity[s] for s in row.sources if s in quantity))
            listed.append(f"<li>{_text(row.quantity + made)}{f', made from {_text(origin)}' if origin else ''}</li>")
    if not listed:
        return ""
    return f'<details class="words"><summary>The graph in words</summary><ol>{"".join(listed)}</ol></details>'
