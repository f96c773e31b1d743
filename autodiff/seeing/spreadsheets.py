"""Tables as comma-separated values that no spreadsheet takes for anything but text and numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.ASCII)


def comma_separated(rows: Iterable[Sequence[str]]) -> str:
    """A line for each row. Cells that a spreadsheet would take for a formula get an apostrophe before them; numbers
    stay numbers.

    Source: OWASP, "CSV injection".

    >>> print(comma_separated([["name", "value"], ["=1+1", "-2.5"]]))
    name,value
    '=1+1,-2.5
    <BLANKLINE>
    """
    return "".join(map(_line, rows))


def _line(row: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(map(_defused, row))  # so that cells with \r are quoted, too
    return text.getvalue().removesuffix("\r\n") + "\n"


def _defused(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_BEGINS_A_FORMULA) and not _NUMBER.fullmatch(cell) else cell
