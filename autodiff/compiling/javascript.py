"""JavaScript's text of a program, one line a call: it runs in a page on the functions of arrays.js.

Numbers are doubles there. Results in float32 are rounded to it after each call, integers are exact up to 2⁵³. What has
no form there is a constant, with the values that it is given here. Order: what has a form, the text, calls, indices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from string import ascii_letters
from typing import Any

import numpy as np

from .program import Node, Program
from .source import Source, numpy_function

UNARY = (
    "negative positive conjugate absolute fabs sign square reciprocal sqrt cbrt exp exp2 expm1 log log2 log10 log1p "
    "sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh deg2rad radians rad2deg degrees floor "
    "ceil trunc rint isnan isfinite isinf signbit logical_not"
)
BINARY = (
    "add subtract multiply divide power float_power arctan2 hypot remainder fmod floor_divide copysign maximum "
    "minimum fmax fmin heaviside logaddexp logaddexp2 less less_equal greater greater_equal equal not_equal "
    "logical_and logical_or logical_xor"
)
SPECIAL = (
    "rel_entr kl_div cosm1 huber pseudo_huber erf erfc erfcx erfinv erfcinv ndtr ndtri log_ndtr beta betaln gamma "
    "gammaln loggamma rgamma psi xlogy xlog1py entr logit expit boxcox boxcox1p inv_boxcox exprel"
)
_FUNCTIONS = frozenset(
    [*f"{UNARY} {BINARY} ldexp where vecdot".split(), *(f"special.{name}" for name in SPECIAL.split())]
)
_OF_BOOLEANS = {"bitwise_and": "logical_and", "bitwise_or": "logical_or", "bitwise_xor": "logical_xor",
                "invert": "logical_not", "add": "logical_or", "multiply": "logical_and",
                "maximum": "logical_or", "minimum": "logical_and"}  # fmt: skip
_EXTREMES = {"np.max": "maximum", "np.maximum.reduce": "maximum", "np.min": "minimum", "np.minimum.reduce": "minimum"}
_MOVES = frozenset({"np.roll", "np.pad", "np.tril", "np.triu", "np.repeat", "np.tile", "np.diagonal", "np.rot90"})
"""Functions whose results are elements of their first argument, and zeros."""
_MATRICES = frozenset({"np.linalg.inv", "np.linalg.solve", "np.linalg.det", "np.linalg.cholesky", "np.linalg.slogdet",
                       "np.linalg.qr"})  # fmt: skip
_OPAQUE = frozenset({"inverse_mills", "sinc", "polygamma"})
"""Functions of this library that are called whole, of an order of derivative and an array."""
_OWN = frozenset({"linear_recurrence", "scatter_add", "cofactor", "solve_triangular", "convolve_full"})
_CONVOLUTIONS = {
    "convolution": "forward", "convolution_without_bias": "forward", "transposed_convolution": "back",
    "transposed_convolution_without_bias": "back", "convolution_by_weight": "weight",
}  # fmt: skip
HAVE_FORM = _OPAQUE | _OWN | frozenset(_CONVOLUTIONS)
"""Functions that are taken whole and have a form here."""
_KINDS = "?bhilqBHILQfd"
_RESERVED = frozenset(
    "np program arguments await break case catch class const continue debugger default delete do else enum eval export "
    "extends false finally for function if implements import in instanceof interface let new null package private "
    "protected public return static super switch this throw true try typeof undefined var void while with yield NaN "
    "Infinity".split()
)


class Formless(TypeError):
    """Raised for what has no form in JavaScript."""


def library() -> str:
    """The text of what programs call: one object, ``np``."""
    return resources.files(__package__).joinpath("arrays.js").read_text("utf-8")


class JavaScript:
    """The text of a program, a function of arrays that returns an array of arrays.

    Args:
        program: what is written down.
        values: arrays for the inputs, with which calls that have no form in JavaScript are computed here.

    Raises:
        Formless: for a dtype that a page does not have, or such a call without `values`.

    >>> x = Node("input", (), {}, (2,), np.dtype(float), (8,), name="x")
    >>> y = Node("exp", (x,), {}, (2,), np.dtype(float), (8,), number=1)
    >>> print(JavaScript(Program([x], [y], [y])).text)
    const program = (x) => {
      const t0 = np.exp(x);
      return [t0];
    };
    """

    def __init__(self, program: Program, values: Any = None) -> None:
        self.program = program
        self.formless: dict[Node, str] = {}
        """The calls that have no form, and how they are called."""
        self._names: dict[Node, str] = {}
        self._constants: dict[Any, str] = {}
        self._heads: list[str] = []
        self._taken = set(_RESERVED)
        for i, node in enumerate(program.inputs):
            self._names[node] = self._unique(node.name or f"x{i}")
        for node in program.nodes:
            if node.dtype.kind in "fiub" and node.dtype.char in _KINDS and not node.options.get("weak"):
                continue
            if node.op not in ("call", "item"):
                raise Formless(f"a page has no numbers of dtype {node.dtype}, as {node.op} gives them")
        self._apart = {x for node in program.nodes if node.op == "item" for x in node.operands}
        """Calls that give several results."""
        self._lines = [self._line(node) for node in program.nodes]
        known = self._computed(values) if self.formless else {}
        self.text = self._text(known)

    def behind(self) -> dict[Node, frozenset[int]]:
        """For each node, the numbers of the inputs from which it is reached through a call that has no form: when they
        change, it is not known."""
        reached: dict[Node, frozenset[int]] = {node: frozenset({i}) for i, node in enumerate(self.program.inputs)}
        found: dict[Node, frozenset[int]] = {node: frozenset() for node in self.program.inputs}
        for node in self.program.nodes:
            empty: frozenset[int] = frozenset()
            reached[node] = empty.union(*(reached[x] for x in node.operands))
            found[node] = reached[node] if node in self.formless else empty.union(*(found[x] for x in node.operands))
        return found

    def _computed(self, values: Any) -> dict[Node, Any]:
        if values is None:
            names = ", ".join(dict.fromkeys(self.formless.values()))
            raise Formless(f"a page cannot compute {names}; give the values with which it is computed here")
        wanted = [node for node in self.formless if node not in self._apart]
        run, _ = numpy_function(Source(Program(self.program.inputs, self.program.nodes, [*wanted])))
        with np.errstate(all="ignore"):
            return dict(zip(wanted, run(*values), strict=True))

    def _unique(self, wanted: str) -> str:
        name = re.sub(r"\W+", "_", wanted, flags=re.ASCII).strip("_") or "x"
        name = f"x{name}" if name[0].isdigit() or re.fullmatch(r"[tk]\d+", name) else name
        found, i = name, 1
        while found in self._taken:
            i += 1
            found = f"{name}_{i}"
        self._taken.add(found)
        return found

    def _text(self, known: Mapping[Node, Any]) -> str:
        checks: dict[Node, list[str]] = {}
        for node in self.program.assumptions:
            checks.setdefault(node, []).append(f"  np.expect({self._names[node]}, true);")
        for node, value in self.program.guards:
            checks.setdefault(node, []).append(f"  np.expect({self._names[node]}, {_literal(value)});")
        lines = [line for node in self.program.inputs for line in checks.get(node, ())]
        for node, line in zip(self.program.nodes, self._lines):
            if node in known:
                self._heads.append(f"const {self._names[node]} = {_array(known[node])};")
            elif line:
                lines.append(f"  const {self._names[node]} = {line};")
            lines += checks.get(node, ())
        results = ", ".join(self._of(x) for x in self.program.outputs)
        heads = "".join(f"{line}\n" for line in self._heads)
        arguments = ", ".join(self._names[node] for node in self.program.inputs)
        body = "".join(f"{line}\n" for line in lines)
        return f"{heads}const program = ({arguments}) => {{\n{body}  return [{results}];\n}};"

    # Calls

    def _line(self, node: Node) -> str:
        """The expression of a call; '' for one that has no form."""
        self._names[node] = f"t{len(self._names) - len(self.program.inputs)}"
        try:
            if node.op == "item":
                (whole,) = node.operands
                if whole in self.formless:
                    self.formless[node] = self.formless[whole]
                    return ""
            text, computed = self._call(node)
            if computed and node.dtype.kind in "iu" and node.dtype.itemsize < 8:
                if node.op not in ("add", "subtract"):
                    raise Formless  # it would wrap around
                text = f"np.wrapped({text}, {8 * node.dtype.itemsize}, {_literal(node.dtype.kind == 'i')})"
        except Formless:
            self.formless[node] = node.options.get("name", node.op)
            return ""
        if not computed or node.dtype.kind == "b":
            return text
        if node.dtype.char == "f":
            return f"np.f32({text})"
        return text if node.dtype.kind == "f" else f"np.whole({text})"

    def _call(self, node: Node) -> tuple[str, bool]:
        """The expression of a call, and whether it computes: elements that are moved need no rounding."""
        op, options, inputs = node.op, node.options, node.inputs
        given = [self._of(x) for x in inputs] if op not in ("getitem", "setitem", "at", "scatter_add", "call") else []
        first = inputs[0]
        match op:
            case "reshape" if options["order"] == "C":
                return f"np.reshape({given[0]}, {_list(node.shape)})", False
            case "reshape" | "broadcast_to" if op == "reshape" or node.shape == ():
                places = _places(first).reshape(node.shape, order=options.get("order", "C"))
                return f"np.moved({given[0]}, {_list(places)}, {_list(node.shape)})", False
            case "broadcast_to":
                return f"np.broadcast_to({given[0]}, {_list(node.shape)})", False
            case "transpose":
                return f"np.transpose({given[0]}, {_list(options['axes'])})", False
            case "copy":
                return given[0], False
            case "astype":
                if node.dtype.kind == "b":
                    return f"np.truth({given[0]})", False
                cut = node.dtype.kind in "iu" and _dtype(first).kind == "f"
                return (f"np.trunc({given[0]})" if cut else given[0]), node.dtype != _dtype(first)
            case "concatenate":
                return f"np.concatenate({options['axis']}, {', '.join(given)})", node.dtype != _dtype(first)
            case "getitem" | "setitem" | "at" | "scatter" | "scatter_add":
                return self._indexed(node)
            case "take" | "take_along_axis":
                return f"np.{op}({', '.join(given)}, {options['axis']})", False
            case "sort":
                return f"np.sort({given[0]}, {options['axis']})", False
            case "argsort":
                stable = "true" if options["kind"] in ("stable", "mergesort") else "false"
                return f"np.argsort({given[0]}, {options['axis']}, {stable})", False
            case "dot" | "matmul" if op == "matmul" or np.ndim(_shaped(inputs[1])) <= 2:
                return f"np.matmul({', '.join(given)})", True
            case "einsum":
                return self._einsum(options["subscripts"], given, inputs), True
            case "call":
                return self._whole(node)
            case "item":
                return f"{given[0]}[{options['index']}]", True
        name, _, method = op.partition(".")
        if method == "reduce" and name in START | _EXTREME:
            axes = _list(options["axis"])
            return f'np.reduce("{name}", {given[0]}, {axes}, {_literal(options["keepdims"])})', True
        if method == "accumulate" and name in _FUNCTIONS:
            return f'np.accumulate("{name}", {given[0]}, {options["axis"] % len(node.shape)})', True
        if method == "outer" and name in _FUNCTIONS:
            return f'np.outer("{name}", {", ".join(given)})', True
        if node.dtype.kind == "b" and all(_dtype(x).kind == "b" for x in inputs):
            op = _OF_BOOLEANS.get(op, op)
        if op not in _FUNCTIONS or {*options} - {"axis"}:
            raise Formless
        return f"np.{op}({', '.join(self._scalars(node, given))})", op != "where" or node.dtype.char == "f"

    def _scalars(self, node: Node, given: list[str]) -> list[str]:
        """Operands of a ufunc: Python numbers in the dtype in which NumPy takes them."""
        dtypes = [_dtype(x) for x in node.inputs if not isinstance(x, (int, float))]
        if not dtypes or np.result_type(*dtypes).char != "f":
            return given
        return [
            _literal(float(np.float32(x))) if isinstance(x, (int, float)) else text
            for x, text in zip(node.inputs, given)
        ]

    def _whole(self, node: Node) -> tuple[str, bool]:
        """A call of a function that has no other name in a program."""
        options, inputs = node.options, node.inputs
        path, keywords = options.get("path", ""), dict(options.get("keywords", {}))
        name, first = options["name"], inputs[0] if inputs else None
        given = [self._of(x) for x in inputs if isinstance(x, (Node, np.ndarray, int, float))]
        called = getattr(options["function"], "function", None)
        module = "" if path else getattr(called, "__module__", None) or ""
        own = module.startswith("autodiff.ops.")
        if module == "nn.images.conv" and name in _CONVOLUTIONS:
            return self._convolution(node, given), True
        if own and name == "linear_recurrence" and len(inputs) == 2 and not options["function"].kwargs:
            return f"np.linear_recurrence({', '.join(given)})", True
        if own and name == "scatter_add" and len(inputs) == 2:
            return f'np.at("add", np.zeros({_list(node.shape)}), {self._traced_index(inputs[1])}, {given[0]})', True
        if (own and name == "convolve_full") or path == "np.convolve":
            return self._convolved(node, given), True
        if own and name == "cofactor" and len(inputs) == 1:
            return f"np.linalg.cofactor({given[0]})", True
        if own and name == "solve_triangular":
            how = options["function"].kwargs
            flags = [_literal(how.get(key, 0) not in (0, "N")) for key in ("trans", "lower", "unit_diagonal")]
            return f"np.linalg.solve_triangular({', '.join([*given, *flags])})", True
        if own and name in _OPAQUE:
            order = [*options["function"].kwargs.values(), *inputs[1:]] or [0]
            if len(order) != 1 or type(order[0]) is not int:
                raise Formless
            return f"np.special.{name}({order[0]}, {given[0]})", True
        keepdims = _literal(keywords.pop("keepdims", False))
        if path in _EXTREMES or path in ("np.argmax", "np.argmin", "np.var", "np.std", "np.mean"):
            axes = _axes(keywords.pop("axis", inputs[1] if len(inputs) > 1 else None), np.shape(_shaped(first)))
            if path in _EXTREMES and not {*keywords} - {"initial"}:
                initial = f", {_literal(keywords['initial'])}" if "initial" in keywords else ""
                return f'np.reduce("{_EXTREMES[path]}", {given[0]}, {_list(axes)}, {keepdims}{initial})', False
            if path in ("np.argmax", "np.argmin") and not keywords:
                return f"{path}({given[0]}, {_list(axes)}, {keepdims})", False
            if path == "np.mean" and not keywords:
                n = max(np.size(_shaped(first)), 1) // max(node.size, 1)
                return f'np.divide(np.reduce("add", {given[0]}, {_list(axes)}, {keepdims}), {n})', True
            if path in ("np.var", "np.std") and not {*keywords} - {"ddof"}:
                return f"{path}({given[0]}, {_list(axes)}, {keepdims}, {_literal(keywords.get('ddof', 0))})", True
        if path in _MATRICES and not keywords and all(np.size(_shaped(x)) for x in inputs):
            return f"{path}({', '.join(given)})", node not in self._apart
        if path == "np.round" and not {*keywords} - {"decimals"} and len(inputs) == 1:
            power = 10 ** abs(keywords.get("decimals", 0))
            up, down = ("multiply", "divide") if keywords.get("decimals", 0) > 0 else ("divide", "multiply")
            return f"np.{down}(np.rint(np.{up}({given[0]}, {power})), {power})", True
        if path == "np.einsum" and not keywords.get("optimize") and isinstance(first, str):
            return self._einsum(first, given, inputs[1:]), True
        if path == "np.log2" and not {*keywords} - {"dtype"} and node.dtype.char == "d":
            return f"np.log2({given[0]})", True
        if path in _MOVES and len(list(node.operands)) == 1 and isinstance(first, Node):
            if path != "np.pad" or not any(np.any(v) for k, v in keywords.items() if k != "mode"):
                if called is not None:
                    moved = called(_places(first) + 1, *inputs[1:], **options["keywords"]) - 1
                    return f"np.moved({given[0]}, {_list(moved)}, {_list(node.shape)})", False
        raise Formless

    def _convolution(self, node: Node, given: list[str]) -> str:
        """A convolution or one of its two derivatives: all three are sums over the same triples of elements."""
        kind, how, shapes = _CONVOLUTIONS[node.options["name"]], node.options["function"].kwargs, [node.shape]
        shapes += [np.shape(_shaped(x)) for x in node.inputs[:2]]
        x, w, y = {"forward": (1, 2, 0), "back": (0, 2, 1), "weight": (2, 0, 1)}[kind]
        lists = [_list(shapes[i]) for i in (x, w, y)]
        lists += [_list(how["stride"]), _list([before for before, _ in how["padding"]]), _list(how["dilation"])]
        text = f'np.convolution("{kind}", {given[0]}, {given[1]}, {", ".join(lists)}, {how["groups"]})'
        bias = [f"np.reshape({b}, {_list([node.shape[1], *[1] * (len(node.shape) - 2)])})" for b in given[2:]]
        return f"np.add({text}, {bias[0]})" if bias else text

    def _convolved(self, node: Node, given: list[str]) -> str:
        """A convolution as signals have it, whole or its middle."""
        shapes = [np.shape(_shaped(x)) for x in node.inputs[:2]]
        whole = [m + n - 1 for m, n in zip(*shapes)]
        begin = [(m - n) // 2 for m, n in zip(whole, node.shape)]
        text = f"np.convolve({given[0]}, {given[1]})"
        if tuple(whole) == node.shape:
            return text
        kept = np.arange(int(np.prod(whole))).reshape(whole)[tuple(slice(b, b + n) for b, n in zip(begin, node.shape))]
        return f"np.moved({text}, {_list(kept)}, {_list(node.shape)})"

    def _einsum(self, subscripts: str, given: list[str], inputs: Any) -> str:
        labels, arrow, result = subscripts.replace(" ", "").partition("->")
        if not arrow:
            result = "..." * ("." in labels)
            result += "".join(sorted(c for c in {*labels} - {*",."} if labels.count(c) == 1))
        terms = labels.split(",")
        shared = set()
        for term, x in zip(terms, inputs):
            if "." in term:
                before, _, after = term.partition("...")
                shared.add(x.shape[len(before) : len(x.shape) - len(after)])
        if len(shared) > 1:  # lengths of 1 are stretched
            raise Formless
        spare = "".join([c for c in ascii_letters if c not in subscripts][: len(max(shared, default=()))])
        terms, result = [term.replace("...", spare) for term in terms], result.replace("...", spare)
        return f"np.einsum({_list(terms)}, {result!r}, {', '.join(given)})"

    def _indexed(self, node: Node) -> tuple[str, bool]:
        """Elements taken from places of an array or written to them."""
        op, options, inputs = node.op, node.options, node.inputs
        x, index = inputs[0], options.get("index")
        others = inputs[1:]
        if op in ("setitem", "getitem", "scatter_add") and "index" not in options:
            index, others = inputs[-1], inputs[1:-1]
        elif op == "at":
            index, others = inputs[1], inputs[2:]
        name, value = self._of(x), self._of(others[0]) if others else "0"
        whole = node.shape if op.startswith("scatter") else _shaped(x).shape
        rounds = bool(others) and (_dtype(others[0]) != node.dtype or op == "at")
        if any(isinstance(i, Node) for i in (index if isinstance(index, tuple) else (index,))):
            text = self._traced_index(index)
            if op == "getitem":
                return f"np.getitem({name}, {text})", False
            if op == "setitem":
                return f"np.setitem({name}, {text}, {value})", rounds
            if op == "at" and len(others) == 1 and options["ufunc"] in _FUNCTIONS:
                return f'np.at("{options["ufunc"]}", {name}, {text}, {value})', True
            if op == "scatter_add":
                return f'np.at("add", np.zeros({_list(whole)}), {text}, {name})', True
            raise Formless
        places = np.arange(int(np.prod(whole, dtype=int))).reshape(whole)[index]
        at = f"{_list(places)}, {_list(np.shape(places))}"
        if op == "getitem":
            return f"np.moved({name}, {at})", False
        if op == "setitem":
            return f"np.put({name}, {at}, {value})", rounds
        if op == "scatter":
            return f"np.scatter_put({_list(whole)}, {at}, {name})", False
        if op == "scatter_add":
            return f"np.scatter_add({_list(whole)}, {at}, {name})", True
        raise Formless

    def _traced_index(self, index: Any) -> str:
        parts = index if isinstance(index, tuple) else (index,)
        for i in parts:
            if not isinstance(i, int) and not (isinstance(i, (Node, np.ndarray)) and i.dtype.kind in "iu"):
                raise Formless
        return f"[{', '.join(map(self._of, parts))}]"

    # Values

    def _of(self, x: Any) -> str:
        if isinstance(x, Node):
            return self._names[x]
        if isinstance(x, np.generic):
            x = np.asarray(x)
        if not isinstance(x, np.ndarray):
            if isinstance(x, (bool, int, float)):
                return _literal(x)
            raise Formless(f"a page has no {type(x).__name__}")
        if x.dtype.char not in _KINDS:
            raise Formless(f"a page has no numbers of dtype {x.dtype}")
        text = _array(x)
        if x.size <= 1 and x.ndim == 0:
            return text
        if text not in self._constants:
            self._constants[text] = f"k{len(self._constants)}"
            self._heads.append(f"const {self._constants[text]} = {text};")
        return self._constants[text]


START = frozenset({"add", "multiply", "logical_and", "logical_or"})
_EXTREME = frozenset({"maximum", "minimum", "fmax", "fmin"})


def _shaped(x: Any) -> Any:
    """A thing of the shape of an input of a call."""
    return np.empty(x.shape, bool) if isinstance(x, Node) else np.asarray(x)


def _dtype(x: Any) -> np.dtype[Any]:
    return x.dtype if isinstance(x, Node) else np.asarray(x).dtype


def _places(x: Any) -> Any:
    """Of each element of an input its place in C order."""
    shape = _shaped(x).shape
    return np.arange(int(np.prod(shape, dtype=int))).reshape(shape)


def _axes(axis: Any, shape: tuple[int, ...]) -> list[int]:
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return [a % len(shape) for a in axes] if shape else []


def _literal(x: Any) -> str:
    if isinstance(x, (bool, np.bool_)):
        return "true" if x else "false"
    if isinstance(x, int):
        return str(x)
    return "NaN" if x != x else ("Infinity" if x > 0 else "-Infinity") if abs(x) == np.inf else repr(float(x))


def _list(x: Any) -> str:
    if isinstance(x, np.ndarray) or np.isscalar(x):
        return f"[{', '.join(map(str, np.ravel(np.asarray(x)).tolist()))}]"
    return f"[{', '.join(repr(i) if isinstance(i, str) else str(int(i)) for i in x)}]"


def _array(x: Any) -> str:
    """An array of a page; a single number as that."""
    x = np.asarray(x)
    numbers = [_literal(v + 0 if x.dtype.kind != "b" else int(v)) for v in x.ravel().tolist()]
    return numbers[0] if x.ndim == 0 else f"np.array({_list(x.shape)}, [{', '.join(numbers)}])"
