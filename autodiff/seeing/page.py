"""The page that walks through a computation: an explanation as one HTML file that needs nothing else.

page.html is its frame, page.css its look, page.js its steps. Every word of an explanation is written once, escaped,
into the cells of the table and the nodes of the picture (see stage.py); the script shows, marks and copies it from
there.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any, Protocol

import numpy as np

from .arrows import plane
from .costs import Cost, lifetimes, running
from .formulas import Formula, name_mathml
from .rows import BACKWARD, roles
from .slots import lines
from .stage import Drawn, Shown, Stage, staged
from .standalone import policy, save

HEIGHT = 860
"""Pixels of the frame in a notebook."""


class Row(Shown, Protocol):
    """What the page reads of a step."""

    @property
    def formula(self) -> Formula | None: ...


class Explained(Drawn, Protocol):
    """What the page reads of an explanation."""

    @property
    def rows(self) -> Sequence[Row]: ...


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
    page = _page(explanation)
    if path is not None:
        save(page, path)
    return page


def _page(explanation: Explained) -> Page:
    rows = explanation.rows
    kinds = roles(rows)
    stage = staged(explanation, kinds)
    assets = resources.files(__package__)
    style, script = (assets.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    name = explanation.names.get(explanation.output._number) or explanation.output.name or "the output"
    return Page(
        Template(assets.joinpath("page.html").read_text("utf-8")).substitute(
            policy=policy(script, style),
            title=f"How {_text(name)} and its derivatives are computed",
            summary=f"{len(rows)} steps: {_text(_summary(rows))}.",
            style=style,
            script=script,
            digits=explanation.digits,
            count=max(len(rows), 1),
            rowcount=len(rows) + 1,
            picture=_figure(stage, rows, name),
            words=_words(rows),
            rows="\n".join(_table(rows, kinds, stage)),
            mathematics="\n".join(filter(None, map(_mathematics, rows))) + _plane(explanation),
        )
    )


def _text(text: str) -> str:
    """Text as HTML that shows just these characters, invisible and broken ones as escapes."""
    shown = (
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text
    )
    return html.escape("".join(shown))


# The table

PASSES = {
    "input": "forward pass",
    "forward": "forward pass",
    "local": "backward pass",
    "backward": "backward pass",
    "gradient": "backward pass",
    "update": "update",
    "slope": "slope along u",
    "second": "second backward pass",
}
COLOURS = {"slope": "backward", "second": "second", "update": "update"}
"""In whose colour a phase is shown that has not that of its direction."""


def _summary(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(PASSES.get(row.phase, row.phase) for row in rows)) or "nothing was computed"


def _groups(rows: Sequence[Row], kinds: Sequence[str]) -> list[int]:
    """Which steps are taken together, one operation at a time: in the forward pass its result with the inputs that it
    is the first to use, in a backward pass the cotangent, the local derivatives and the products."""
    found: list[int] = []
    group, before, operation = 0, "", None
    for row, kind in zip(rows, kinds):
        starts = {
            "given": before != "given",
            "value": before != "given",
            "local": row.tensor is not operation and not (before == "cotangent" and operation is None),
            "cotangent": before in ("given", "value"),
            "update": before != "update",
        }
        if starts.get(kind, False):
            group, operation = group + 1, None
        operation = row.tensor if kind == "local" else operation
        before = kind
        found.append(group)
    return found


def _table(rows: Sequence[Row], kinds: Sequence[str], stage: Stage) -> Iterator[str]:
    kept, numbers = lifetimes(rows, kinds), dict[str, str]()
    steps = zip(rows, kinds, _groups(rows, kinds), running(rows, kinds), stage.places, stage.fills, stage.also)
    for i, (row, kind, group, cost, place, fill, also) in enumerate(steps):
        pass_ = PASSES.get(row.phase, row.phase)
        direction = "backward" if row.phase in BACKWARD else "forward"
        full = _all_digits(row.number)
        full = "" if re.sub(r"\.0(?=[],]|$)|\n", "", full) == row.value else full  # (it shows them all already)
        # A local derivative and the product with it are about one operation and one of its inputs.
        other = {"local": i + 1, "product": i - 1}.get(kind, -1)
        data = {
            "step": row.step,
            "phase": pass_,
            "pass": COLOURS.get(row.phase, direction),
            "role": kind,
            "group": group,
            "node": place,
            "other": stage.places[other] if 0 <= other < len(rows) else "",
            "sources": " ".join(map(str, row.sources)),
            "full": full,
            "cost": _cost(cost),
            "numbers": _substituted(row, numbers),
            "ask": _question(row, kind),
            "heat": _heat(row.number),
        }
        if fill is not None and place:
            data |= {"slot": fill.slot, "lines": "\n".join(fill.lines)}
        if also:
            data |= {"also": " ".join(also), "copy": "\n".join(lines(row.number, row.value))}
        if row.step in kept:
            data["kept"] = " ".join(map(str, kept[row.step]))
        numbers[row.quantity] = row.value if np.ndim(row.number) == 0 and row.number is not None else ""
        attributes = "".join(f' data-{key}="{_text(str(value))}"' for key, value in data.items() if value != "")
        starts = i > 0 and PASSES.get(rows[i - 1].phase) != PASSES.get(row.phase)
        yield (
            f'<tr role="row"{" class=phase-start" * starts}{attributes}>'
            f'<th role="rowheader" scope="row">{row.step}</th>'
            f'<td role="cell" class="quantity">{_text(row.quantity)}</td>'
            f'<td role="cell" class="expression">{_text(row.expression)}</td>'
            f'<td role="cell" class="value">{_text(row.value)}</td>'
            f'<td role="cell" class="from">{", ".join(map(str, row.sources))}</td></tr>'
        )


def _all_digits(number: Any) -> str:
    """A value with every digit that tells it from its neighbours; nothing for one too large to read."""
    if number is None:
        return ""
    array = np.asarray(number)
    if array.dtype.kind not in "fiub" or array.size > 64:
        return ""
    return np.array2string(array, separator=", ", max_line_width=60, formatter={"float_kind": str})


def _cost(cost: Cost) -> str:
    """All that was spent so far, for the script: multiply–adds of the passes, bytes, whether it is all."""
    return f"{cost.forward} {cost.backward} {cost.second} {cost.kept} {int(cost.known)}"


def _substituted(row: Row, numbers: Mapping[str, str]) -> str:
    """The expression with numbers for its names, where all of them are single numbers."""
    if row.formula is None or not row.sources:
        return ""

    def number(name: str) -> str:
        text = numbers.get(name, "")
        return f"({text})" if text.startswith("-") else text

    formula = row.formula
    read = formula.reads()
    inputs = [number(name) or (name if re.fullmatch(r"\(?-?[\d.]+\)?", name) else "") for name in formula.inputs]
    output = number(formula.output)
    if not read or any(not (output if place == "y" else inputs[int(place)]) for place in read):
        return ""
    text = str(Formula(formula.template, tuple(inputs), output, formula.numbers, formula.options))
    return re.sub(r"\((\(-[^()]*\))\)", r"\1", text)  # one pair of brackets around a negative number is enough


def _question(row: Row, kind: str) -> str:
    """What the page asks about a step: the index of an entry, and its value."""
    if row.number is None or not row.sources or row.number.dtype.kind != "f" or not row.number.size:
        return ""
    place = row.step * 7 % row.number.size
    index = np.unravel_index(place, row.number.shape)
    shown = f"[{', '.join(map(str, index))}]" if row.number.ndim else ""
    return f"{shown}|{row.number[index]}"


CELLS = 32
"""Arrays are shown as a heat map of up to so many rows and columns, larger ones as means of blocks."""


def _heat(number: Any) -> str:
    """A large matrix as a heat map: rows, columns, the length of a block's sides, the range, and each mean as a byte
    of that range in base 64."""
    if number is None or np.ndim(number) not in (1, 2) or np.size(number) <= 16 or number.dtype.kind not in "fiu":
        return ""
    array = np.atleast_2d(np.asarray(number, float))
    if not np.isfinite(array).all():
        return ""
    side = [-(-n // CELLS) for n in array.shape]
    rows, columns = (range(0, n, k) for n, k in zip(array.shape, side))
    means = np.array([[array[i : i + side[0], j : j + side[1]].mean() for j in columns] for i in rows])
    low, high = means.min(), means.max()
    levels = np.round((means - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    pixels = base64.b64encode(levels.tobytes()).decode()
    return f"{means.shape[0]} {means.shape[1]} {side[0]} {side[1]} {low:.4g} {high:.4g} {pixels}"


# Mathematics


def _mathematics(row: Row) -> str:
    """The rule of a step as MathML."""
    if row.formula is None:
        return ""
    rule = f"{name_mathml(row.quantity)}<mo>=</mo>{row.formula.mathml()}"
    return f'<math displaystyle="true" data-step="{row.step}"><mrow>{rule}</mrow></math>'


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
    return plane(point, u, gradient, product, [_visible(axis) for axis in axes])


def _visible(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


# The picture

_ARROWS = (
    '<svg class="unseen" width="0" height="0" aria-hidden="true" focusable="false"><defs><marker id="against" '
    'viewBox="0 0 10 10" refX="9" refY="5" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" '
    'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z"/></marker></defs></svg>'
)


def _figure(stage: Stage, rows: Sequence[Row], name: str) -> str:
    if not stage.svg:
        return f'<p class="notice" role="note">{_text(stage.notice)}</p>'
    tensors = stage.nodes - stage.operations
    count = f"{tensors} tensor{'s' * (tensors != 1)}, {stage.operations} operation{'s' * (stage.operations != 1)}"
    passes = dict.fromkeys(COLOURS.get(row.phase, "backward" if row.phase in BACKWARD else "forward") for row in rows)
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
