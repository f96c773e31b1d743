"""Numbers as text, and the step table as text for a terminal, a notebook, Markdown, LaTeX and spreadsheets.

Order: numbers, the cells of a table, then one function for each format with its escapes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..batching.batch import laid_out
from ..devices import as_numpy
from .rows import Row

Sections = Sequence[tuple[str, Sequence[Row]]]
"""The rows of a table under their headings."""

COLUMNS = ("step", "quantity", "expression", "value", "sources")

# Numbers

SMALL = 16
"""Arrays of up to so many values are shown in full, larger ones as their range and mean."""


def text_of(value: Any, digits: int) -> str:
    """A number or array as text, with so many significant digits; large arrays are summarised.

    >>> text_of(np.array([1.5 - 2j, 1j]), 3)
    '[1.5-2j, 0+1j]'
    """
    array = as_numpy(laid_out(value))
    if array.size == 0:
        return f"[] ({size(array)})"
    if array.size <= SMALL:
        return _nested(array.tolist(), digits)
    if array.dtype.kind == "b":
        return f"{size(array)}: {np.count_nonzero(array)} of {array.size} true"
    if array.dtype.kind == "c":
        return f"{size(array)}: {range_of(array, digits)}"
    with np.errstate(all="ignore"):
        mean = float(array.mean(dtype=np.float64))
    return f"{size(array)}: {range_of(array, digits)}, mean {_number(mean, digits)}"


def range_of(array: Any, digits: int) -> str:
    """The smallest and the largest finite value of an array, of complex ones their sizes, and how many are none.

    >>> range_of(np.array([1.0, np.nan, -2.5, np.inf]), 3)
    '-2.5 … 1, 1 nan, 1 inf'
    """
    if array.dtype.kind == "c":
        return f"sizes {range_of(np.abs(array), digits)}"
    finite, others = array[np.isfinite(array)], special(array)
    said = [f"{n:,} {name}" for name, n in others.items()]
    if finite.size:
        said.insert(0, f"{_number(finite.min().item(), digits)} … {_number(finite.max().item(), digits)}")
    return ", ".join(said)


def special(array: Any) -> dict[str, int]:
    """How many values of an array are not finite, by what they are."""
    array = np.abs(array) if array.dtype.kind == "c" else array
    found = {"nan": np.isnan(array), "inf": np.isposinf(array), "-inf": np.isneginf(array)}
    return {name: n for name, where in found.items() if (n := int(np.count_nonzero(where)))}


def size(value: Any) -> str:
    """The shape of a value as text."""
    return "×".join(map(str, np.shape(value))) or "1"


def _number(value: Any, digits: int) -> str:
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return str(value)
    if isinstance(value, (complex, np.complexfloating)):
        return f"{value.real + 0.0:.{digits}g}{value.imag + 0.0:+.{digits}g}j"
    return f"{value + 0.0:.{digits}g}"  # + 0.0: −0 is shown as 0


def _nested(value: Any, digits: int) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_nested(v, digits) for v in value)}]"
    return _number(value, digits)


# The cells


def cells(row: Row) -> tuple[str, ...]:
    """The texts of a row, in the order of `COLUMNS`."""
    return str(row.step), row.quantity, row.expression, row.value, ", ".join(map(str, row.sources))


def _rows(sections: Sections) -> Iterator[Row]:
    return (row for _, rows in sections for row in rows)


# A terminal

WIDE = 60
"""Cells wider than that do not widen their column of a terminal's table."""


def terminal(sections: Sections) -> str:
    """Aligned columns, headings between rules."""
    table = [COLUMNS, *map(cells, _rows(sections))]
    # (A few long cells stick out of their column: they do not make the whole table wider.)
    widths = [max(w for w in (*map(_width, column), 1) if w <= WIDE) for column in zip(*table)]
    lines = []
    for texts in table:
        padding = [" " * (w - _width(text)) for w, text in zip(widths, texts)]
        padded = [padding[0] + texts[0], *(text + space for text, space in zip(texts[1:], padding[1:]))]
        lines.append("  ".join(padded).rstrip())
    body = iter(lines[1:])
    out = [lines[0]]
    for heading, rows in sections:
        out += [f"── {heading} ".ljust(sum(widths) + 8, "─"), *(next(body) for _ in rows)]
    return "\n".join(out)


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


# A notebook

HALF = 300
"""A notebook shows this many steps of the beginning and of the end."""


def notebook(sections: Sections) -> str:
    """An HTML table without styles or scripts of its own."""
    import html  # slow to import, and not needed by who only computes

    # The classes keep MathJax in notebooks from reading a $ in a name.
    out = ['<table class="autodiff-explanation tex2jax_ignore mathjax_ignore">']
    heads = "".join(f'<th scope="col" style="text-align:left">{c}</th>' for c in COLUMNS)
    out.append(f"<thead><tr>{heads}</tr></thead>")
    steps = [row.step for row in _rows(sections)]
    shown = {*steps[:HALF], *steps[-HALF:]}
    for heading, rows in sections:
        out.append(f'<tbody><tr><th scope="rowgroup" colspan="5" style="text-align:left">{heading}</th></tr>')
        for row in rows:
            if row.step in shown:
                texts = (f'<td style="text-align:left">{html.escape(text)}</td>' for text in cells(row)[1:])
                out.append(f"<tr><td>{row.step}</td>{''.join(texts)}</tr>")
        hidden = sum(row.step not in shown for row in rows)
        if hidden:
            out.append(f'<tr><td colspan="5" style="text-align:left">… {hidden:,} steps not shown</td></tr>')
        out.append("</tbody>")
    return "\n".join([*out, "</table>"])


# Markdown

_MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {c: f"\\{c}" for c in "\\`*_~$#![]|"})


def markdown(sections: Sections) -> str:
    """A table with pipes."""
    lines = [f"| {' | '.join(COLUMNS)} |", "| ---: | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(text.translate(_MARKDOWN) for text in cells(row))} |" for row in _rows(sections)]
    return "\n".join(lines) + "\n"


# LaTeX

_GREEK = dict(zip(
    "αβγδεζηθικλμνξπρςστυφχψωϕϵϑΓΔΘΛΞΠΣΥΦΨΩ",
    (rf"\{name} " for name in (
        "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho varsigma sigma tau upsilon "
        "varphi chi psi omega phi epsilon vartheta Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
    ).split()),
))  # fmt: skip
_SIGNS = {
    "∂": r"\partial ", "∇": r"\nabla ", "·": r"\cdot ", "−": "-", "×": r"\times ", "÷": r"\div ", "±": r"\pm ",
    "∓": r"\mp ",
    "∏": r"\prod ", "∑": r"\sum ", "∫": r"\int ", "⊗": r"\otimes ", "⊙": r"\odot ", "⊕": r"\oplus ", "∘": r"\circ ",
    "∗": "*", "•": r"\bullet ", "√": r"\surd ", "∛": r"\sqrt[3]{}", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "∼": r"\sim ", "∝": r"\propto ", "∞": r"\infty ", "∈": r"\in ", "‖": r"\Vert ", "⌈": r"\lceil ",
    "⌉": r"\rceil ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⟨": r"\langle ", "⟩": r"\rangle ", "→": r"\to ",
    "←": r"\gets ", "↦": r"\mapsto ", "↑": r"\uparrow ", "↓": r"\downarrow ", "′": "{}'", "″": "{}''", "⊤": r"\top ",
    "⊥": r"\perp ", "ᵀ": r"{}^\top ", "ℓ": r"\ell ", "ı": r"\imath ", "ȷ": r"\jmath ", "<": "<", ">": ">", "|": "|",
    **_GREEK,
}  # fmt: skip
_LETTERS = {
    **{c: f"\\{c}" for c in "&%$#_{}"}, **{c: f"{{{c}}}" for c in "[]`'-!?"}, '"': r"\symbol{34}",
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "…": r"\dots{}", "ß": r"\ss{}",
    "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}",
    "–": r"{\textendash}", "—": r"{\textemdash}", "‘": r"{`}", "’": r"{'}", "§": r"\S{}", "⁄": "/",
}  # fmt: skip
_ACCENTS = {  # the combining character: what stands over a letter, and over a sign of mathematics
    "\u0300": (r"\`", r"\grave"), "\u0301": (r"\'", r"\acute"), "\u0302": (r"\^", r"\hat"),
    "\u0303": (r"\~", r"\tilde"), "\u0304": (r"\=", r"\bar"), "\u0305": (r"\=", r"\bar"),
    "\u0306": (r"\u", r"\breve"), "\u0307": (r"\.", r"\dot"),
    "\u0308": (r"\"", r"\ddot"), "\u030c": (r"\v", r"\check"),
    # These stand in letters alone.
    "\u030a": (r"\r", ""), "\u030b": (r"\H", ""), "\u0323": (r"\d", ""), "\u0327": (r"\c", ""), "\u0331": (r"\b", ""),
}  # fmt: skip


def latex(sections: Sections) -> str:
    """A ``tabular``, in ASCII but for letters that need a font of their own."""
    lines = [r"\begin{tabular}{rllll}", r"\hline", " & ".join(COLUMNS) + r" \\", r"\hline"]
    for heading, rows in sections:
        lines.append(rf"\multicolumn{{5}}{{l}}{{\textbf{{{heading}}}}} \\")
        lines += [" & ".join(map(_latex, cells(row))) + r" \\" for row in rows]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"]) + "\n"


def _latex(text: str) -> str:
    text = re.sub(r"(?<![\w)\]-])-(?=\d|inf\b)", "−", unicodedata.normalize("NFC", text))  # a number's sign: no hyphen
    out = []
    for k, part in enumerate(re.split(r" \^ (\([^()]*\)|\w+)", text)):
        tex = _joined(_letter(letter) for letter in re.findall(r".[\u0300-\u036f]*", part, re.DOTALL))
        out.append(rf"\textsuperscript{{{tex.removeprefix('(').removesuffix(')')}}}" if k % 2 else tex)
    return "".join(out)


def _joined(parts: Iterable[tuple[bool, str]]) -> str:
    """Text and formulas, neighbours of one kind together."""
    out, inside = [], False
    for formula, tex in (*parts, (False, "")):
        out += ["$"] * (formula is not inside) + [tex]
        inside = formula
    return "".join(out)


@lru_cache(maxsize=4096)
def _letter(letter: str) -> tuple[bool, str]:
    """One character with its accents: whether it belongs into a formula, and how it is written."""
    decomposed = unicodedata.normalize("NFD", letter)
    c, accents = decomposed[0], decomposed[1:]
    formula, tex = _plain(c)
    for accent in accents:
        above = _ACCENTS.get(accent, ("", ""))[formula]
        tex = f"{above}{{{tex}}}" if above and tex else ""
    if tex:
        return formula, tex
    # What needs a font of its own is left to the programs that take any font.
    name = " ".join(f"U+{ord(c):04X}" for c in letter)
    tex = rf"{{\ifdefined\XeTeXversion {letter}\else\ifdefined\luatexversion {letter}\else\texttt{{{name}}}\fi\fi}}"
    return False, tex


def _plain(c: str) -> tuple[bool, str]:
    """The same for a character without accents; an empty text if it is not known."""
    if c in _SIGNS:
        return True, _SIGNS[c]
    if c in _LETTERS:
        return False, _LETTERS[c]
    if c.isascii():
        return False, c
    kind, *codes = unicodedata.decomposition(c).split() or [""]
    texts = [_plain(chr(int(code, 16))) for code in codes if re.fullmatch("[0-9A-F]+", code)]
    if not texts or not all(tex for _, tex in texts):
        return False, ""
    if kind in ("<super>", "<sub>") and len(texts) == 1:
        mark = "^" if kind == "<super>" else "_"
        return True, f"{{}}{mark}{{{texts[0][1]}}}"
    if kind == "<fraction>" and len(texts) == 3:
        return True, rf"\frac{{{texts[0][1]}}}{{{texts[2][1]}}}"
    if kind == "<font>" and len(texts) == 1:
        return texts[0]
    return False, ""
