"""What a live page knows beside its steps: the recorded passes as a program of a page, and what its results are.

The table of steps is written once more, of traced arrays, by the same code: what its rows would hold is then the
program. live.js shows the results. Order: what makes a page live, the table of traced numbers, the data of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Protocol

import numpy as np

from ..backward import reachable
from ..batching.batch import laid_out
from ..compiling.javascript import HAVE_FORM, Formless, JavaScript, library
from ..compiling.replay import replayed
from ..compiling.tracer import Trace, TraceError, Tracer, stripped
from ..device_arrays import DeviceArray
from ..mode import mode
from ..tensor import Tensor
from .cuts import cuts_between
from .formats import SMALL, size
from .graph import results_behind
from .playback import substituted
from .printable import visible
from .rows import Row, roles
from .slots import fills
from .stage import Drawn, slot_of
from .steps import Pass, Table

OPERATIONS, CALLS = 1000, 30_000
"""Of a graph of more operations, or a program of more calls, a page would not follow a slider."""
CONSTANT = 64
"""A constant of more numbers is not in the program."""
RATE = 0.1


class Explained(Drawn, Protocol):
    """What is read of an explanation."""

    @property
    def rows(self) -> Sequence[Row]: ...
    @property
    def rate(self) -> float | None: ...
    @property
    def vectors(self) -> list[Any] | None: ...


class _Unable(Exception):
    """Why a page cannot compute with other values."""


@dataclass(slots=True)
class Live:
    """What makes a page live."""

    data: dict[str, Any]
    script: str = field(default_factory=lambda: _asset("live.js"))
    body: str = field(default_factory=lambda: _asset("live.html"))
    style: str = field(default_factory=lambda: _asset("live.css"))


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def live_page(explanation: Explained) -> Live:
    """What makes the page of an explanation live.

    Raises:
        TypeError: for complex numbers.
        ValueError: for a leaf, and for a graph that is too large.
        RuntimeError: for a graph that was freed or written.
    """
    results = results_behind(explanation.output, "to_html")
    if not results:
        raise ValueError("to_html: live=True needs a computation; this output is a leaf, nothing was computed")
    if any(row.number is not None and row.number.dtype.kind == "c" for row in explanation.rows):
        raise TypeError(
            "to_html: live=True computes with real numbers, and this computation has complex ones; leave live out, or "
            "write it of real and imaginary parts"
        )
    if isinstance(there := explanation.output._ndarray, DeviceArray):
        raise TypeError(
            f"to_html: live=True computes with what is in the processor's memory, and this computation is on "
            f"{there.device}; leave live out, or write model.cpu() and tensor.cpu()"
        )
    if len(results) > OPERATIONS:
        raise ValueError(
            f"to_html: live=True takes graphs of up to {OPERATIONS:,} operations, not {len(results):,}, for a page "
            f"computes them all at each move of a slider; explain a smaller example, or leave live out"
        )
    reachable([explanation.output])  # whether it is as it was recorded
    token = mode.set(True)
    try:
        with np.errstate(all="ignore"):
            traced = _Traced(explanation, results)
            program = traced.trace.program(traced.outputs)
            if len(program.nodes) > CALLS:
                raise ValueError(
                    f"to_html: the passes of this graph are {len(program.nodes):,} calls, and live=True takes up to "
                    f"{CALLS:,}; explain a smaller example, or leave live out"
                )
            text = JavaScript(program, [x.value for x in traced.inputs])
    except TraceError as error:
        return Live({"failure": str(error).partition("\n")[0].removeprefix("ad.compile: ")})
    except (Formless, _Unable) as error:
        return Live({"failure": str(error)})
    finally:
        mode.reset(token)
    return Live(_data(explanation, traced, text), f"{library()}\n{text.text}\n{_asset('live.js')}")


# The table of traced numbers


class _Numbers(Table):
    """A table whose rows hold traced arrays, and no texts."""

    def shown(self, number: Any, style: str, sources: tuple[int, ...]) -> tuple[str, Any]:
        return "", laid_out(number)


class _Traced:
    """The passes of an explanation, written down."""

    def __init__(self, explanation: Explained, results: list[Tensor]) -> None:
        # There are no other values to wait for, and what has no form may be made of calls that have one.
        self.trace = Trace(rare=True, opened=lambda name: name not in HAVE_FORM)
        tensors = {x._number: x for node in results for x in (*node._inputs, node) if isinstance(x, Tensor)}
        constants = {id(x): x for node in results for x in node._inputs if isinstance(x, np.ndarray)}
        copies = {}
        for origin, leaf in cuts_between([*tensors.values(), *constants.values()]):
            array = leaf._ndarray if isinstance(leaf, Tensor) else leaf
            if not np.array_equal(laid_out(array), laid_out(origin._ndarray), equal_nan=array.dtype.kind == "f"):
                raise _Unable("a leaf holds a part of a result, detached, and would have to follow it")
            copies[leaf._number if isinstance(leaf, Tensor) else id(leaf)] = origin._number
        leaves: dict[int, Any] = {}
        arrays: dict[int, Any] = {}
        for x in tensors.values():
            if x._primitive is None and x._number not in copies and type(x._ndarray) is np.ndarray:
                if x.dtype.char in "fd" and (x._requires_grad or x.size <= SMALL):
                    leaves[x._number] = self.trace.input(x._ndarray.copy(), x._name or "")
        for key, array in constants.items():
            if key in copies:
                raise _Unable("an array holds the values of a result, detached, and would have to follow it")
            if 0 < array.ndim and array.size <= SMALL and array.dtype.char in "fd":
                arrays[key] = self.trace.input(array.copy(), "")
        inputs = dict(arrays)
        made = replayed(self.trace, results, leaves, arrays, copies)
        output = made[explanation.output._number]
        table = _Numbers(explanation.digits, output, [made[node._number] for node in results])
        table.forward(table.results)
        targets = [made[x._number] for x in explanation.wrt]
        if targets:
            table.passes(targets, explanation.rate, explanation.vectors)
        _check(table.rows, explanation.rows)
        wanted = {n: made[n] for n in leaves if made[n]._requires_grad}
        gradients = Pass(output, reachable([output])[0], wanted).results if wanted else {}
        self.inputs: list[Tracer] = [*leaves.values(), *inputs.values()]
        self.places = [table.steps[n] - 1 for n in leaves] + [table.arrays[id(x)][1] - 1 for x in inputs.values()]
        """The row of each input."""
        self.outputs: list[Any] = []
        self._of_node: dict[Any, int] = {}
        self.rows = [self._output(row.number) for row in table.rows]
        self.gradients = [self._output(gradients.get(n)) for n in leaves] + [-1] * len(inputs)
        self.loss = table.steps[output._number] - 1
        self.decided = [
            step - 1
            for step in (
                *(table.steps[n] for n, x in made.items() if x._primitive is None and x.dtype.kind == "b"),
                *(table.arrays[id(arrays[key])][1] for key, x in constants.items() if x.dtype.kind == "b" and x.ndim),
            )
        ]
        """The rows of constants that are true or false."""

    def _output(self, number: Any) -> int:
        """The place of a number among the outputs; −1 for one that is not computed."""
        if number is None:
            return -1
        x = stripped(number)
        if isinstance(x, np.ndarray) and (x.size > CONSTANT or x.dtype.kind == "b"):
            return -1
        key = id(x) if isinstance(x, np.ndarray) else x
        if key not in self._of_node:
            self._of_node[key] = len(self.outputs)
            self.outputs.append(x)
        return self._of_node[key]


def _check(rows: Sequence[Row], recorded: Sequence[Row]) -> None:
    """Whether the rows are those that were recorded, in all their numbers."""
    for row, other in zip(rows, recorded, strict=True):
        number = row.number.current().value if isinstance(row.number, Tracer) else row.number
        if number is None or other.number is None:
            same = number is other.number
        else:
            close = 1e-9 if other.number.dtype.char == "d" else 1e-3
            same = np.shape(number) == other.number.shape and np.allclose(
                number, other.number, rtol=close, atol=close * _largest(other.number), equal_nan=True
            )
        if not same:
            raise _Unable(
                f"computed again from its leaves, {other.quantity} is another than was recorded, as if something that "
                f"is not recorded had changed"
            )


def _largest(array: Any) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0)) if array.dtype.kind == "f" else 0.0


# The data


def _data(explanation: Explained, traced: _Traced, text: JavaScript) -> dict[str, Any]:
    rows = explanation.rows
    reached = text.behind()
    behind = [sorted(reached.get(x, ())) if not isinstance(x, np.ndarray) else [] for x in traced.outputs]
    checks = {*text.program.assumptions, *(node for node, _ in text.program.guards)}
    unchecked = sorted({i for node in checks for i in reached[node]})
    fixed = {*unchecked, *(behind[traced.rows[traced.loss]] if traced.rows[traced.loss] >= 0 else ())}
    written = fills(rows, roles(rows), [slot_of(row) for row in rows], explanation.digits)
    inputs = [
        {
            "name": visible(rows[place].quantity),
            "size": size(x.value),
            "shape": list(x.shape),
            "values": [repr(v).replace("inf", "Infinity").replace("nan", "NaN") for v in x.value.ravel().tolist()],
            "single": x.dtype.char == "f",
            "gradient": gradient,
            "trained": gradient >= 0,
            "slider": x.size <= SMALL and i not in fixed,
        }
        for i, (x, place, gradient) in enumerate(zip(traced.inputs, traced.places, traced.gradients))
    ]
    return {
        "inputs": inputs,
        "rows": traced.rows,
        "single": [int(row.number is not None and row.number.dtype.char == "f") for row in rows],
        "integer": [int(row.number is not None and row.number.dtype.kind != "f") for row in rows],
        "styles": {str(i): row.style for i, row in enumerate(rows) if row.style != "plain"},
        "first": [row.sources[0] - 1 if row.sources else -1 for row in rows],
        "added": {str(i): fill.added for i, fill in enumerate(written) if fill is not None and fill.added is not None},
        "put": _templates(rows),
        "behind": behind,
        "unchecked": unchecked,
        "decided": [visible(rows[place].quantity) for place in traced.decided],
        "formless": sorted({visible(name) for name in text.formless.values()}),
        "loss": traced.loss,
        "name": visible(rows[traced.loss].quantity),
        "rate": RATE if explanation.rate is None else explanation.rate,
    }


def _templates(rows: Sequence[Row]) -> list[str]:
    """The expressions with numbers for their names, with places of steps in their stead, between two marks."""
    known: dict[str, str] = {}
    marks: dict[str, str] = {}
    found = []
    for place, row in enumerate(rows):
        found.append(visible(substituted(row, marks), "\n\ue000\ue001") if substituted(row, known) else "")
        scalar = np.ndim(row.number) == 0 and row.number is not None
        known[row.quantity] = row.value if scalar else ""
        marks[row.quantity] = f"\ue000{place}\ue001" if scalar else ""
    return found
