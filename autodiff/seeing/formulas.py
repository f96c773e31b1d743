"""The formulas of the records (see primitive.py): simplified where an input is a number, as text, and as MathML.

Order: a formula with its names; what is read (its grammar); simpler; written as text; written as MathML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..primitive import REGISTRY, filled
from ..tensor import Tensor


@dataclass(frozen=True, slots=True)
class Formula:
    """The text of a record, and the names of what stands in it."""

    template: str
    """``{0}``, ``{1}`` … stand for the inputs, ``{y}`` for the output."""
    inputs: tuple[str, ...] = ()
    output: str = "y"
    numbers: tuple[tuple[str, float], ...] = ()
    """What is a number: an input, by its place, or a letter of the template."""
    options: str = ""
    """What stands behind it in brackets."""

    def __str__(self) -> str:
        """
        >>> str(Formula("{1} · {0} ^ ({1} − 1)", ("v2", "2"), numbers=(("1", 2.0),)))
        '2 · v2'
        >>> str(Formula("{0} + {1}", ("a", "b")))
        'a + b'
        """
        tree = self._simpler()
        text = filled(self.template, self.inputs, self.output) if tree is None else _text(tree, self._names())
        return text + self.options

    def mathml(self) -> str:
        """The formula as the inside of a ``<math>`` element.

        >>> Formula("√{0}", ("x",)).mathml()
        '<msqrt><mi>x</mi></msqrt>'
        >>> Formula("{0}: as it is", ("<b>",)).mathml()
        '<mi>&lt;b&gt;</mi><mtext>: as it is</mtext>'
        """
        tree = self._simpler() or read(self.template)
        names = {key: name_mathml(name) for key, name in self._names().items()}
        shown = _mathml(tree, names) if tree is not None else _flat(self.template, names)
        return shown + (f"<mtext>\u00a0{_escaped(self.options.strip())}</mtext>" if self.options else "")

    def reads(self) -> set[str]:
        """Which of the inputs (by their places, as text) and ``"y"`` it names."""
        return set(re.findall(_PLACE, self.template))

    def _names(self) -> dict[str, str]:
        return {"y": self.output} | {str(i): name for i, name in enumerate(self.inputs)}

    def _simpler(self) -> Tree | None:
        """The formula with its numbers worked out; None if there are none, or nothing becomes simpler."""
        numbers = dict(self.numbers)
        if not set(re.findall(r"\w+", self.template)) & numbers.keys():
            return None
        tree = read(self.template)
        return None if tree is None else simplified(tree, numbers)


def numbers_of(node: Any) -> tuple[tuple[str, float], ...]:
    """The inputs of a result that are real numbers, by their places; of a mean also n, how many elements it is of, and
    ddof."""
    given = [(i, x) for i, x in enumerate(node._inputs) if not isinstance(x, Tensor) and np.ndim(x) == 0]
    found = [(str(i), float(x)) for i, x in given if not np.iscomplexobj(x)]
    if node._primitive in _MEANS and node._inputs and node.size:
        first = node._inputs[0]
        found += [("n", np.size(first._ndarray if isinstance(first, Tensor) else first) / node.size)]
        found += [("ddof", (node._params or {}).get("ddof", 0))]
    return tuple(found)


_MEANS = tuple(REGISTRY[name] for name in ("mean", "var", "std"))
_PLACE = r"\{(\d+|y)\}"

# What is read


@dataclass(frozen=True, slots=True)
class Tree:
    """A part of a formula: its kind, its sign or text, and what it is made of."""

    kind: str
    text: str
    parts: tuple[Tree, ...] = ()


FUNCTIONS = frozenset(
    "exp log log₂ log₁₀ sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh sinc sign max "
    "min fmax fmin fmod clip mean var std det tril triu trunc round heaviside softmax erf erfc cumsum cumprod sort "
    "diag Re Im conj angle fft rfft irfft σ Φ φ Γ ψ".split()
)
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_TOKEN = re.compile(
    rf"{_PLACE}|(\d+(?:\.\d+)?)|([⁻⁺]?[{_RAISED}]+|⁻?ᵀ|⁺)|(arctan2|[^\W\d_ΣΠ∏{_RAISED}ᵀ]+[₀-₉ₜᵢⱼ]*)|(\S)|\s+"
)
_SYMBOLS = frozenset("π n p t I A ddof".split())
_CLOSING = {"(": ")", "[": "]", "⌊": "⌋", "⌈": "⌉", "|": "|", "‖": "‖"}


class _Unread(Exception):
    """The formula is written in words, or in a notation of its own."""


@cache
def read(template: str) -> Tree | None:
    """The formula as a tree; None if it is not of the common notation."""
    try:
        return _Reader(template).all()
    except (_Unread, RecursionError):
        return None


class _Reader:
    """One pass over the signs of a formula."""

    def __init__(self, template: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        kinds = ("input", "number", "raised", "word", "sign")
        for found in _TOKEN.finditer(template):
            if found.lastindex is not None:
                self.tokens.append((kinds[found.lastindex - 1], found[found.lastindex]))
        self.at = 0

    def all(self) -> Tree:
        tree = self.sum()
        if self.at < len(self.tokens):
            raise _Unread
        return tree

    def next(self, *signs: str) -> str | None:
        """The next sign if it is one of these, passed over."""
        if self.at < len(self.tokens):
            kind, text = self.tokens[self.at]
            if kind == "sign" and text in signs:
                self.at += 1
                return text
        return None

    def sum(self) -> Tree:
        tree = self.product()
        while sign := self.next("+", "−"):
            tree = Tree("binary", sign, (tree, self.product()))
        return tree

    def product(self) -> Tree:
        tree = self.factor()
        while True:
            if sign := self.next("·", "/", "@", "⊗"):
                tree = Tree("binary", sign, (tree, self.factor()))
            elif self.starts():
                tree = Tree("binary", " ", (tree, self.power()))
            else:
                return tree

    def starts(self) -> bool:
        """Whether another factor follows without a sign."""
        if self.at == len(self.tokens):
            return False
        kind, text = self.tokens[self.at]
        return kind in ("input", "word") or (kind == "sign" and text in "(√")

    def factor(self) -> Tree:
        if sign := self.next("−", "+", "Σ", "∏"):
            return Tree("prefix", sign, (self.factor(),))
        return self.power()

    def power(self) -> Tree:
        base = self.raised()
        if self.next("^"):
            return Tree("power", "^", (base, self.factor()))
        return base

    def raised(self) -> Tree:
        tree = self.primary()
        while self.at < len(self.tokens) and self.tokens[self.at][0] == "raised":
            tree = Tree("raised", self.tokens[self.at][1], (tree,))
            self.at += 1
        return tree

    def primary(self) -> Tree:
        if self.at == len(self.tokens):
            raise _Unread
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind in ("input", "number"):
            return Tree(kind, text)
        if kind == "word" and text in FUNCTIONS:
            return self.function(text)
        if kind == "word" and text in _SYMBOLS:
            return Tree("symbol", text)
        if text in ("√", "∛"):
            return Tree("root", text, (self.raised() if self.bracketed() else self.primary(),))
        if kind == "sign" and text in _CLOSING:
            inside = self.sum()
            if not self.next(_CLOSING[text]):
                raise _Unread
            return Tree("brackets", text, (inside,))
        raise _Unread

    def bracketed(self) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at][1] == "("

    def function(self, name: str) -> Tree:
        raised = ""
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "raised":
            raised = self.tokens[self.at][1]
            self.at += 1
        if not self.next("("):
            return Tree("function", name + raised, (self.factor(),))
        parts = [self.sum()]
        while self.next(","):
            parts.append(self.sum())
        if not self.next(")"):
            raise _Unread
        return Tree("call", name + raised, tuple(parts))


# Simpler


def simplified(tree: Tree, numbers: Mapping[str, float]) -> Tree:
    """The formula with numbers for these inputs, and what follows from them: sums of numbers, powers of 0, 1 and 2,
    products with 0 and 1."""
    if tree.kind in ("input", "symbol"):
        return _number(numbers[tree.text]) if tree.text in numbers else tree
    parts = tuple(simplified(part, numbers) for part in tree.parts)
    values = [_value(part) for part in parts]
    if tree.kind == "brackets" and tree.text == "(":
        return parts[0] if parts[0].kind != "binary" else Tree(tree.kind, tree.text, parts)
    if tree.kind == "power" and values[1] is not None:
        return _power(parts[0], values[1])
    if tree.kind == "binary" and tree.text in "+−" and None not in values:
        a, b = values
        return _number(a + b if tree.text == "+" else a - b)  # type: ignore[operator]
    if tree.kind == "binary" and tree.text == "·":
        if 0 in values:
            return Tree("number", "0")
        if values[0] == 1:
            return parts[1]
        if values[1] == 1:
            return parts[0]
        if values[0] == -1:
            return Tree("prefix", "−", parts[1:])
    if tree.kind == "binary" and tree.text == "/" and values[1] == 1:
        return parts[0]
    return Tree(tree.kind, tree.text, parts)


def _power(base: Tree, exponent: float) -> Tree:
    base = base.parts[0] if base.kind == "brackets" and base.text == "(" else base
    if exponent == 0:
        return Tree("number", "1")
    if exponent == 1:
        return base
    if exponent == 0.5:
        return Tree("root", "√", (base,))
    if exponent == -1:
        return Tree("binary", "/", (Tree("number", "1"), base))
    if exponent.is_integer() and abs(exponent) < 1000:
        return Tree("raised", superscript(int(exponent)), (base,))
    return Tree("power", "^", (base, _number(exponent)))


def superscript(n: int) -> str:
    """An integer as a raised one."""
    return str(n).translate(str.maketrans("-0123456789", f"⁻{_RAISED}"))


def _number(value: float) -> Tree:
    return Tree("number", f"{value:.6g}")


def _value(tree: Tree) -> float | None:
    return float(tree.text) if tree.kind == "number" else None


# As text

_STRENGTH = {"+": 1, "−": 1, "·": 2, "/": 2, "@": 2, "⊗": 2, " ": 2}


def _strength(tree: Tree) -> int:
    """How strongly the parts hold together."""
    if tree.kind == "binary":
        return _STRENGTH[tree.text]
    if tree.kind == "number":
        return 1 if tree.text.startswith("-") else 6
    return {"prefix": 3, "function": 4, "power": 5, "raised": 5, "root": 5}.get(tree.kind, 6)


def _before(tree: Tree, strength: int) -> int:
    """How strongly a first operand must hold together: a negative number needs no brackets there."""
    return 0 if tree.kind == "number" else strength


def _text(tree: Tree, names: Mapping[str, str], least: int = 0) -> str:
    """The formula as text, in brackets if its parts hold together less than that."""
    parts = tree.parts
    if tree.kind == "input":
        name = names.get(tree.text, f"{{{tree.text}}}")
        return f"({name})" if least > 4 and re.search(r"[\s/·⁺⁻+−^]|[⁰¹²³⁴-⁹]", name) else name
    if tree.kind in ("number", "symbol"):
        shown = tree.text
    elif tree.kind == "binary":
        own = _STRENGTH[tree.text]
        sign = " " if tree.text == " " else f" {tree.text} "
        shown = _text(parts[0], names, _before(parts[0], own)) + sign + _text(parts[1], names, own + 1)
    elif tree.kind == "prefix":
        shown = tree.text + (" " if tree.text in "Σ∏" else "") + _text(parts[0], names, 3)
    elif tree.kind == "power":
        shown = f"{_text(parts[0], names, 6)} ^ {_text(parts[1], names, 6)}"
    elif tree.kind == "raised":
        shown = _text(parts[0], names, 6) + tree.text
    elif tree.kind == "root":
        shown = tree.text + _text(parts[0], names, 6)
    elif tree.kind == "function":
        shown = f"{tree.text} {_text(parts[0], names, 4)}"
    elif tree.kind == "call":
        shown = f"{tree.text}({', '.join(_text(part, names) for part in parts)})"
    else:  # brackets
        shown = tree.text + _text(parts[0], names) + _CLOSING[tree.text]
    return f"({shown})" if _strength(tree) < least else shown


# As MathML


_THIN = '<mspace width="0.17em"/>'
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def _escaped(text: str) -> str:
    shown = (c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
    return "".join(shown).translate(_MARKUP)


def name_mathml(name: str) -> str:
    """A name as mathematics: v1 with its number below, ∂L/∂x as a fraction, all else as it is.

    >>> name_mathml("v1")
    '<msub><mi>v</mi><mn>1</mn></msub>'
    >>> name_mathml("∂L/∂x")
    '<mfrac><mrow><mo>∂</mo><mi>L</mi></mrow><mrow><mo>∂</mo><mi>x</mi></mrow></mfrac>'
    """
    if found := re.fullmatch(r"([^\W\d_])(\d+)", name):
        return f"<msub><mi>{_escaped(found[1])}</mi><mn>{found[2]}</mn></msub>"
    split = _fraction(name)
    if split is None:
        return f"<mi>{_escaped(name)}</mi>" if name.strip() else f"<mtext>{_escaped(name)}</mtext>"
    above, below, rest = split
    parts = (
        f"<mo>(</mo>{name_mathml(each)}<mo>)</mo>" if each[0] == "∂" else name_mathml(each) for each in (above, below)
    )
    over = "".join(f"<mrow><mo>∂</mo>{part}</mrow>" for part in parts)
    return f"<mfrac>{over}</mfrac>" + (f"<mtext>\u00a0{_escaped(rest)}</mtext>" if rest else "")


def _fraction(name: str) -> tuple[str, str, str] | None:
    """What stands above and below in ∂a/∂b, without the brackets around them, and what follows."""
    if not name.startswith("∂"):
        return None
    depth, middle, end = 0, 0, len(name)
    for i, c in enumerate(name):
        depth += (c == "(") - (c == ")")
        if depth == 0 and not middle and name.startswith("/∂", i):
            middle = i
        elif depth == 0 and middle and c == " ":
            end = i
            break
    if not middle or depth:
        return None
    bare = [t[1:-1] if t.startswith("(") and t.endswith(")") else t for t in (name[1:middle], name[middle + 2 : end])]
    return bare[0], bare[1], name[end:].strip()


def _number_mathml(text: str) -> str:
    return f"<mrow><mo>−</mo><mn>{text[1:]}</mn></mrow>" if text.startswith("-") else f"<mn>{text}</mn>"


def _mathml(tree: Tree, names: Mapping[str, str], least: int = 0) -> str:
    parts = tree.parts
    if tree.kind == "binary" and tree.text == "/":
        return f"<mfrac><mrow>{_mathml(parts[0], names)}</mrow><mrow>{_mathml(_bare(parts[1]), names)}</mrow></mfrac>"
    if tree.kind == "input":
        shown = names.get(tree.text, f"<mi>{{{tree.text}}}</mi>")
        wide = least > 4 and not re.fullmatch(r"<mi>[^<]*</mi>|<msub>.*</msub>", shown)
        return f"<mrow><mo>(</mo>{shown}<mo>)</mo></mrow>" if wide else shown
    if tree.kind == "number":
        shown = _number_mathml(tree.text)
    elif tree.kind == "symbol":
        shown = f"<mi>{tree.text}</mi>"
    elif tree.kind == "binary":
        own = _STRENGTH[tree.text]
        sign = '<mspace width="0.25em"/>' if tree.text in " @" else f"<mo>{tree.text}</mo>"
        shown = _mathml(parts[0], names, _before(parts[0], own)) + sign + _mathml(parts[1], names, own + 1)
    elif tree.kind == "prefix":
        shown = f"<mo>{tree.text}</mo>{_mathml(parts[0], names, 3)}"
    elif tree.kind == "power":
        shown = f"<msup>{_row(parts[0], names, 6)}{_row(_bare(parts[1]), names)}</msup>"
    elif tree.kind == "raised":
        shown = f"<msup>{_row(parts[0], names, 6)}{_raised(tree.text)}</msup>"
    elif tree.kind == "root" and tree.text == "√":
        return f"<msqrt>{_mathml(_bare(parts[0]), names)}</msqrt>"
    elif tree.kind == "root":
        return f"<mroot>{_row(_bare(parts[0]), names)}<mn>3</mn></mroot>"
    elif tree.kind in ("function", "call"):
        inside = "<mo>,</mo>".join(_mathml(part, names, 4 * (tree.kind == "function")) for part in parts)
        inside = f"<mrow><mo>(</mo>{inside}<mo>)</mo></mrow>" if tree.kind == "call" else f"{_THIN}{inside}"
        return f"{_function(tree.text)}<mo>&#x2061;</mo>{inside}"
    else:  # brackets
        shown = f"<mo>{tree.text}</mo>{_mathml(parts[0], names)}<mo>{_CLOSING[tree.text]}</mo>"
        return f"<mrow>{shown}</mrow>"
    return f"<mrow><mo>(</mo>{shown}<mo>)</mo></mrow>" if _strength(tree) < least else shown


def _row(tree: Tree, names: Mapping[str, str], least: int = 0) -> str:
    return f"<mrow>{_mathml(tree, names, least)}</mrow>"


def _bare(tree: Tree) -> Tree:
    return tree.parts[0] if tree.kind == "brackets" and tree.text == "(" else tree


def _raised(text: str) -> str:
    plain = text.translate(str.maketrans(f"⁻⁺ᵀ{_RAISED}", "-+⊤0123456789"))
    sign = "<mo>−</mo>" if plain.startswith("-") else ""
    rest = plain.removeprefix("-")
    return f"<mrow>{sign}<m{'n' if rest.isdigit() else 'o'}>{rest}</m{'n' if rest.isdigit() else 'o'}></mrow>"


def _function(name: str) -> str:
    found = re.fullmatch(r"(\D+?)([₀-₉]*)(⁻?[⁰¹²³⁴-⁹]*)", name)
    word, below, above = found.groups() if found else (name, "", "")
    shown = f"<mi>{word}</mi>"
    if below:
        shown = f"<msub>{shown}<mn>{below.translate(str.maketrans('₀₁₂₃₄₅₆₇₈₉', '0123456789'))}</mn></msub>"
    return f"<msup>{shown}{_raised(above)}</msup>" if above else shown


def _flat(template: str, names: Mapping[str, str]) -> str:
    """A formula in words: one part after the other."""
    out = []
    for k, part in enumerate(re.split(_PLACE, template)):
        if k % 2:
            out.append(names.get(part, f"<mi>{{{part}}}</mi>"))
        elif part:
            begin, end = "\u00a0" * part[0].isspace(), "\u00a0" * (part[-1].isspace() and len(part) > 1)
            out.append(f"<mtext>{begin}{_escaped(part.strip())}{end}</mtext>")
    return "".join(out)


def joined(terms: Sequence[str], sign: str) -> Formula:
    """Names with a sign between them; of many, the first and the last.

    >>> str(joined(["a", "b"], " · "))
    'a · b'
    """
    if len(terms) <= 8:
        return Formula(sign.join(f"{{{i}}}" for i in range(len(terms))), tuple(terms))
    shown = (*terms[:3], terms[-1])
    return Formula(sign.join(("{0}", "{1}", "{2}", f"… ({len(terms) - 4} more)", "{3}")), shown)
