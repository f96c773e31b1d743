"""The page of a graph: one HTML file to move about in, that needs nothing else.

viewer.html is its frame, viewer.css its look, viewer.js what it does. The graph itself is data in it, where nothing is
markup.
"""

from __future__ import annotations

import html

from .hierarchy import Hierarchy
from .looks import LEGEND, STYLES
from .palette import DARK
from .placement import placed
from .standalone import standalone


def page_of(hierarchy: Hierarchy, direction: str, legend: bool = False) -> str:
    """The text of the page.

    Raises:
        LayoutError: without a layout program.
    """
    layouts, chosen = placed(hierarchy, direction)
    data = {
        "groups": [
            {
                "label": group.label, "kind": group.kind, "nodes": group.nodes, "opened": group.opened,
                "ins": list(group.ins.values()), "outs": list(group.outs.values()), "layout": layout,
            }
            for group, layout in zip(hierarchy.groups, chosen)
        ],
        "nodes": [
            {
                "kind": node.kind, "lines": node.lines, "name": node.name, "facts": node.facts,
                "tensors": node.tensors, "group": node.group, "around": node.around,
            }
            for node in hierarchy.nodes
        ],
        "layouts": layouts,
        "tensors": hierarchy.tensors,
    }  # fmt: skip
    return standalone(
        "viewer",
        data,
        _kinds(),
        title=f"Graph of {html.escape(hierarchy.title)}",
        legend="" if legend else "hidden",
        kinds=_legend(),
    )


def _kinds() -> str:
    """The colours of the nodes, as in the picture."""
    return "".join(
        f".node.{kind}{{--fill:{_both(look['fillcolor'])};--line:{_both(look['color'])}}}"
        for kind, look in STYLES.items()
        if "fillcolor" in look
    )


def _both(colour: str) -> str:
    return f"light-dark({colour},{DARK[colour]})"


def _legend() -> str:
    items = "".join(
        f'<li><svg class="node {kind}" viewBox="0 0 30 18" aria-hidden="true" focusable="false">'
        f'<rect x="2" y="2" width="26" height="14" rx="{7 if kind == "operation" else 3}"/></svg>{text}</li>'
        for kind, text in LEGEND.items()
        if kind != "result"  # a page has results in their operation's node
    )
    return f"<ul>{items}</ul>"
