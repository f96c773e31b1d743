"""A small table of numbers: printed, shown by a notebook, and as rows for whoever computes with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from .printable import printable

Format = Callable[[Any], str]


class Table:
    """Rows under heads.

    Attributes:
        rows: a dict for each row, by head, with the numbers in full: ``pandas.DataFrame(table.rows)`` takes them.

    Args:
        rows: those.
        formats: by head, in the order of the columns: how a value is written; None for text, which is aligned left.
        most: how many rows a representation has.

    >>> table = Table([{"layer": "0", "std": 0.51234}], {"layer": None, "std": "{:.3g}".format})
    >>> table
    layer    std
    ─────  ─────
    0      0.512
    >>> table.rows[0]["std"]
    0.51234
    """

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], formats: Mapping[str, Format | None], most: int = 400
    ) -> None:
        self.rows = [dict(row) for row in rows]
        self._formats, self._most = dict(formats), most

    def _cells(self) -> list[list[str]]:
        return [
            ["–" if (v := row.get(head)) is None else (form or _text)(v) for head, form in self._formats.items()]
            for row in self.rows[: self._most]
        ]

    def _more(self) -> str:
        hidden = len(self.rows) - self._most
        return f"… {hidden} more rows; .rows has all" if hidden > 0 else ""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        heads, body = list(self._formats), self._cells()
        left = [form is None for form in self._formats.values()]
        widths = [max(len(cells[i]) for cells in [heads, *body]) for i in range(len(heads))]
        lines = [
            "  ".join(c.ljust(w) if to_left else c.rjust(w) for c, w, to_left in zip(cells, widths, left)).rstrip()
            for cells in [heads, ["─" * w for w in widths], *body]
        ]
        return "\n".join([*lines, *filter(None, [self._more()])])

    def _repr_html_(self) -> str:
        sides = [f'style="text-align:{"left" if form is None else "right"}"' for form in self._formats.values()]

        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag} {side}>{escape(c)}</{tag}>" for side, c in zip(sides, cells)) + "</tr>"

        body = "".join(row(cells, "td") for cells in self._cells())
        return (
            f'<table class="tex2jax_ignore mathjax_ignore"><thead>{row(list(self._formats), "th")}</thead>'
            f"<tbody>{body}</tbody></table><p>{self._more()}</p>"
        )


def _text(value: Any) -> str:
    return printable(str(value), 100)
