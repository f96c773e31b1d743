"""LLVM's language as text: a module, and a builder that writes the body of one function on vectors of a fixed width.

Values are the names of LLVM's registers or its constants. The type of a value is one letter: "f" float32, "d" float64,
"i" int64, "b" bool.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

SCALAR = {"f": "float", "d": "double", "i": "i64", "b": "i1"}
BITS = {"f": "i32", "d": "i64"}
"""The integer of the same size."""
MEMORY = {**SCALAR, "b": "i8"}
SIZE = {"f": 4, "d": 8, "i": 8, "b": 1}
DTYPE = {"f": np.dtype(np.float32), "d": np.dtype(np.float64), "i": np.dtype(np.int64), "b": np.dtype(np.bool_)}
LETTER = {dtype: letter for letter, dtype in DTYPE.items()}


def literal(value: float, t: str) -> str:
    """A number as LLVM writes it: floats by their bits, float32 as the double of the same value."""
    if t == "b":
        return "true" if value else "false"
    if t == "i":
        return str(int(value))
    with np.errstate(over="ignore"):
        double = float(np.float32(value)) if t == "f" else float(value)
    if math.isnan(double):
        return "0x7FF8000000000000"
    return f"0x{struct.unpack('<Q', struct.pack('<d', double))[0]:016X}"


class Module:
    """Functions and declarations that are compiled together; a function that several want is written once."""

    def __init__(self, width: int) -> None:
        self.width = width
        """Bits of the machine's vectors, for the code generator."""
        self.declared: set[str] = set()
        self.constants: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def shared(self, name: str, text: str) -> str:
        """The full name of a function with this text behind its name, which is written once."""
        if text not in self.texts:
            self.texts[text] = full = f"{name}{len(self.texts)}"
            self.functions[full] = f"define void @{full}{text}"
        return self.texts[text]

    @property
    def text(self) -> str:
        wide = f'"prefer-vector-width"="{self.width}" "min-legal-vector-width"="{self.width}"'
        return "\n".join(
            [*sorted(self.declared), *self.constants.values(), *self.functions.values()]
            + [f"attributes #0 = {{ nounwind {wide} }}", f"attributes #1 = {{ nounwind noinline {wide} }}", ""]
        )


class Builder:
    """The body of one function, on vectors of `lanes` numbers (numbers where that is 1)."""

    def __init__(self, module: Module, lanes: int) -> None:
        self.module, self.lanes = module, lanes
        self.lines: list[str] = []
        self.count = self.loops = 0

    # text

    def new(self) -> str:
        """A name for a register that is not in use."""
        self.count += 1
        return f"%v{self.count}"

    def __call__(self, text: str) -> str:
        """The register that holds the result of an instruction."""
        name = self.new()
        self.lines.append(f"  {name} = {text}")
        return name

    def put(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """The start of a block."""
        self.lines.append(f"{name}:")

    @contextmanager
    def loop(self, start: str, stop: str, step: int = 1) -> Iterator[str]:
        """A loop that runs at least once: the register that counts from `start` to `stop`."""
        self.loops += 1
        k = self.loops
        self.put(f"br label %before{k}")
        self.label(f"before{k}")
        self.put(f"br label %head{k}")
        self.label(f"head{k}")
        self.put(f"%i{k} = phi i64 [ {start}, %before{k} ], [ %n{k}, %latch{k} ]")
        yield f"%i{k}"
        self.put(f"br label %latch{k}")
        self.label(f"latch{k}")
        self.put(f"%n{k} = add nuw nsw i64 %i{k}, {step}")
        over = self(f"icmp eq i64 %n{k}, {stop}")
        self.put(f"br i1 {over}, label %done{k}, label %head{k}")
        self.label(f"done{k}")

    def vector(self, scalar: str) -> str:
        """LLVM's type of a vector of a scalar type."""
        return scalar if self.lanes == 1 else f"<{self.lanes} x {scalar}>"

    def type(self, t: str) -> str:
        return self.vector(SCALAR[t])

    def suffix(self, t: str) -> str:
        """The end of an intrinsic's name."""
        short = {"f": "f32", "d": "f64", "i": "i64", "b": "i1"}[t]
        return short if self.lanes == 1 else f"v{self.lanes}{short}"

    def constant(self, value: float, t: str) -> str:
        return self.splat(literal(value, t), SCALAR[t])

    def integer(self, value: int, bits: str) -> str:
        return self.splat(str(value), bits)

    def splat(self, text: str, scalar: str) -> str:
        return text if self.lanes == 1 else f"splat ({scalar} {text})"

    def spread(self, t: str, number: str) -> str:
        """A vector of one number."""
        if self.lanes == 1:
            return number
        kind = self.type(t)
        one = self(f"insertelement {kind} poison, {SCALAR[t]} {number}, i64 0")
        return self(f"shufflevector {kind} {one}, {kind} poison, <{self.lanes} x i32> zeroinitializer")

    # instructions

    def binary(self, op: str, t: str, a: str, b: str) -> str:
        return self(f"{op} {self.type(t)} {a}, {b}")

    def add(self, t: str, a: str, b: str) -> str:
        return self.binary("fadd", t, a, b)

    def sub(self, t: str, a: str, b: str) -> str:
        return self.binary("fsub", t, a, b)

    def mul(self, t: str, a: str, b: str) -> str:
        return self.binary("fmul", t, a, b)

    def div(self, t: str, a: str, b: str) -> str:
        return self.binary("fdiv", t, a, b)

    def negative(self, t: str, a: str) -> str:
        return self(f"fneg {self.type(t)} {a}")

    def intrinsic(self, name: str, t: str, *arguments: str) -> str:
        """``llvm.name`` of arguments that all have the result's type."""
        kind, full = self.type(t), f"llvm.{name}.{self.suffix(t)}"
        self.module.declared.add(f"declare {kind} @{full}({', '.join([kind] * len(arguments))})")
        return self(f"call {kind} @{full}({', '.join(f'{kind} {a}' for a in arguments)})")

    def fma(self, t: str, a: str, b: str, c: str) -> str:
        """a * b + c, rounded once."""
        return self.intrinsic("fma", t, a, b, c)

    def compare(self, predicate: str, t: str, a: str, b: str) -> str:
        return self(f"{'fcmp' if t in 'fd' else 'icmp'} {predicate} {self.type(t)} {a}, {b}")

    def select(self, t: str, condition: str, a: str, b: str) -> str:
        return self(f"select {self.type('b')} {condition}, {self.type(t)} {a}, {self.type(t)} {b}")

    def is_nan(self, t: str, a: str) -> str:
        return self.compare("uno", t, a, a)

    def polynomial(self, t: str, x: str, coefficients: Sequence[float]) -> str:
        """Horner's rule; the highest power first."""
        value = self.constant(coefficients[0], t)
        for c in coefficients[1:]:
            value = self.fma(t, value, x, self.constant(c, t))
        return value

    def bits(self, t: str, a: str) -> str:
        return self(f"bitcast {self.type(t)} {a} to {self.vector(BITS[t])}")

    def unbits(self, t: str, a: str) -> str:
        return self(f"bitcast {self.vector(BITS[t])} {a} to {self.type(t)}")

    def on_bits(self, op: str, t: str, a: str, b: int | str) -> str:
        """An integer instruction on the bits of floats."""
        return self(f"{op} {self.vector(BITS[t])} {a}, {b if isinstance(b, str) else self.integer(b, BITS[t])}")

    def convert(self, a: str, s: str, t: str) -> str:
        """A value of type s as type t, as NumPy converts."""
        if s == t:
            return a
        if t == "b":
            return self.compare("une" if s in "fd" else "ne", s, a, self.constant(0, s))
        if s == "b":
            return self(f"{'uitofp' if t in 'fd' else 'zext'} {self.type(s)} {a} to {self.type(t)}")
        if s == "i":
            return self(f"sitofp {self.type(s)} {a} to {self.type(t)}")
        return self(f"{'fpext' if s == 'f' else 'fptrunc'} {self.type(s)} {a} to {self.type(t)}")

    def on_bool(self, a: str) -> str:
        """Bytes as booleans."""
        return self(f"icmp ne {self.vector('i8')} {a}, {self.integer(0, 'i8')}")

    def function(self, name: str, t: str, write: Callable[..., str], *arguments: str) -> str:
        """A call of a function of the module, whose body ``write(builder, t, *names)`` writes where it is not there
        yet; arguments and result have type t."""
        kind, full = self.type(t), f"{name}.{self.suffix(t)}"
        if full not in self.module.functions:
            self.module.functions[full] = ""  # so that those which it calls stand behind it
            body = Builder(self.module, self.lanes)
            names = [f"%a{i}" for i in range(len(arguments))]
            result = write(body, t, *names)
            head = f"define internal {kind} @{full}({', '.join(f'{kind} {n}' for n in names)}) #0 {{"
            self.module.functions[full] = "\n".join([head, *body.lines, f"  ret {kind} {result}", "}"])
        return self(f"call {kind} @{full}({', '.join(f'{kind} {a}' for a in arguments)})")
