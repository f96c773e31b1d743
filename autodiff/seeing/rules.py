"""What the record of a result's operation says of it, as formulas alike in tables, pictures and pages: how it is made,
its local derivatives, and what each input gets of its cotangent.

Order: a formula with its names, local derivatives, products on matrices, then the whole chain rule of one result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from ..ops import bessel, elementwise, gamma, guards, integrals, powers, special, student
from ..ops import complex as of_complex_numbers
from ..primitive import REGISTRY, Primitive
from ..tensor import Tensor
from .formulas import Formula, numbers_of
from .indices import index_text
from .printable import printable

_BY_ELEMENT = {
    family.__name__
    for family in (elementwise, of_complex_numbers, special, gamma, student, bessel, integrals, powers, guards)
}
ELEMENTWISE = {
    record
    for record in REGISTRY.values()
    if any(getattr(rule, "__module__", None) in _BY_ELEMENT for rule in record.vjps)
}
"""Operations whose local derivative is one number for each element of the result, a factor of the cotangent."""


def partial(a: str, b: str) -> str:
    """The derivative of one name by another.

    >>> partial("L", "a/b")
    '∂L/∂(a/b)'
    """
    return f"∂{_bracketed(a)}/∂{_bracketed(b)}"


def _bracketed(name: str) -> str:
    return f"({name})" if re.search(r"[\s/·⁺+−]", name) else name


def with_index(text: str, node: Tensor) -> str:
    """A formula with the operation's index in place of i."""
    if node._params is None or "index" not in node._params:
        return text
    shown = f"[{index_text(node._params['index'])}]"
    return re.sub(r"\bat i\b", lambda _: f"at {shown}", text.replace("[i]", shown))


def formula_of(text: str, inputs: Sequence[str], output: str, node: Tensor, options: str = "") -> Formula:
    """A formula with names in it, of as many inputs as there are."""
    text = text.replace("{0}, {1}, …", ", ".join(f"{{{i}}}" for i in range(len(inputs))))
    text = text.replace("{0} {1} …", " ".join(f"{{{i}}}" for i in range(len(inputs))))
    return Formula(text, tuple(inputs), output, numbers_of(node), options)


def forward_formula(node: Tensor) -> str:
    """The template of an operation's formula; of what has none, or only moves numbers, a call."""
    record = node._primitive
    if record.formula not in ("", "{0}"):
        return record.formula
    return f"{printable(record.name)}({', '.join(f'{{{i}}}' for i in range(len(node._inputs)))})"


def local_derivative(node: Tensor, i: int) -> str:
    """The template of the local derivative by input i; "" if the record says nothing of it."""
    record = node._primitive
    given = record.derivatives
    if record is _MATMUL:
        a, b = (np.ndim(x._ndarray if isinstance(x, Tensor) else x) for x in node._inputs)
        if i == 0:
            return "I ⊗ {1}ᵀ" if a > 1 else "{1}ᵀ" if b > 1 else "{1}"
        return "{0}" if b == 1 else "{0} ⊗ I" if a > 1 else "{0}ᵀ ⊗ I"
    return given[i] if i < len(given) else given[-1] if given and (record.each or record.joint) else ""


def contribution(node: Tensor, i: int) -> str:
    """The template of what input i gets of the cotangent, ``{y}``, where that is a product of matrices or a sum; ""
    where it is the product of the cotangent and the local derivative."""
    record, x = node._primitive, node._inputs[i]
    templates = _MATRICES.get(record.formula, ())
    if i >= len(templates):
        spread = np.shape(x) != node.shape and np.size(x) < node.size
        return "Σ {y}" if spread and local_derivative(node, i) == "1" else ""
    dimensions = tuple(np.ndim(x._ndarray if isinstance(x, Tensor) else x) for x in node._inputs[:2])
    if len(dimensions) == 1:
        return templates[i] if dimensions == (2,) else ""
    if min(dimensions) > 1:
        return "Σ " * (i < 2 and np.shape(x)[:-2] != node.shape[:-2]) + templates[i]
    if dimensions == (1, 2):
        return templates[i].removeprefix("Σ ").replace("({y})ᵀ @ {0}", "{y} ⊗ {0}").replace("{0}ᵀ @", "{0} ⊗")
    if record is _MATMUL and dimensions == (2, 1):
        return templates[i].replace("@ {1}ᵀ", "⊗ {1}")
    return ""


def shares(node: Tensor, inputs: Sequence[str], output: str, cotangent: str) -> Iterator[tuple[str, str]]:
    """Each input that takes a gradient, and what it gets of the cotangent of the result; of many inputs that are all
    alike, the first."""
    for i, x in enumerate(node._inputs[: len(node._primitive.derivatives)]):
        if isinstance(x, Tensor) and x._requires_grad and (text := local_derivative(node, i)):
            yield inputs[i], _share(node, i, with_index(text, node), inputs, output, cotangent)


def _share(node: Tensor, i: int, text: str, inputs: Sequence[str], output: str, cotangent: str) -> str:
    if whole := contribution(node, i):
        return str(Formula(whole, tuple(inputs), cotangent))
    names, record = (*inputs, cotangent), node._primitive
    place = f"{{{len(inputs)}}}"
    if record.name in _BETWEEN and "·" in text:
        text = re.sub(r"·(?=\s*ᵀ)", f"({place})", text).replace("·", place)
    elif operator := re.fullmatch(r"(.*[∗×]ᵀ?)|([∗×] .*)", text):
        text = f"{text} {place}" if operator[1] else f"{place} {text}"
    else:
        slope = str(formula_of(text, inputs, output, node))
        summed = "Σ " * (np.shape(node._inputs[i]) != node.shape)
        if named := re.fullmatch(r"(\w\S*) = .*", slope):  # x̂ of a normalization, for each element
            return f"{summed}{cotangent} · {named[1]}, {slope}"
        words, elementwise = "{" not in text and text[:2].isalpha(), is_elementwise(record)
        if elementwise and slope in ("1", "-1", "−1"):
            return f"{summed}{'−' * (slope != '1')}{cotangent}"
        if (elementwise or node.ndim == 0) and not words:  # of a number, the Jacobian has the input's shape
            return f"{summed * elementwise}{cotangent} · {f'({slope})' if ' ' in slope else slope}"
        if slope == "1" and np.size(node._inputs[i]) == node.size and record.formula == "{0}":
            return f"{cotangent} in the shape of {inputs[i]}"
        by = partial(output, inputs[i])
        return f"{cotangent} · {by}{':' if words else f', {by} ='} {slope}"
    return str(Formula(text, names, output))


def is_elementwise(record: Primitive) -> bool:
    """Whether the local derivatives are one number for each element of the result."""
    mixing = re.search("[ᵀ∘]", "".join(record.derivatives))
    return record in ELEMENTWISE or (record.jvps == "elementwise" and not mixing)


_MATMUL = REGISTRY["matmul"]
_STACKED = ("{y} @ {1}ᵀ", "{0}ᵀ @ {y}")
_LAYER = ("{y} @ {1}", "({y})ᵀ @ {0}", "Σ {y}")
_MATRICES = {
    "{0}ᵀ": ("({y})ᵀ",),
    "{0} @ {1}": _STACKED,
    "{0} {1}": _STACKED,
    "{0} @ {1}ᵀ": _LAYER[:2],
    "{0}ᵀ @ {1}": ("{1} @ ({y})ᵀ", "{0} @ {y}"),
    "{0} · {1}ᵀ": _LAYER[:2],
    "{0} · {1}ᵀ + {2}": _LAYER,
}
"""What the inputs of an operation on matrices get of the cotangent ``{y}``, by the operation's formula."""

_BETWEEN = frozenset(
    "conj direction inv pinv solve solve_triangular cholesky eigvalsh svdvals funm_sym dyads projectors".split()
)
"""Operations in whose local derivatives a dot is the place of the cotangent."""
