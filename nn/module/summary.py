"""`summary`: a model run once, and a table of what each of its layers returned, holds and costs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, NamedTuple

from autodiff import no_grad
from autodiff.seeing.printable import printable

from ..arguments import count
from .module import Module
from .rehearsal import as_it_was


class Row(NamedTuple):
    """One module of a `Summary`."""

    path: str
    """Its dotted name, empty for the model itself."""
    depth: int
    kind: str
    """Its class."""
    output_shape: Any
    """The output's shape in the last call, or the structure of them; None if it was not called."""
    parameters: int
    """Of its own (the modules inside have rows of their own); a shared one stands in the first row that has it."""
    multiply_adds: int
    """Of its own, in all calls."""
    calls: int


class Summary:
    """What `summary` returns: `rows`, and the totals `parameters`, `trainable`, `multiply_adds` and `nbytes` (of the
    parameters); printed, a table."""

    def __init__(self, rows: list[Row], trainable: int, nbytes: int) -> None:
        self.rows, self.trainable, self.nbytes = rows, trainable, nbytes
        self.parameters = sum(row.parameters for row in rows)
        self.multiply_adds = sum(row.multiply_adds for row in rows)

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        """The depth and the texts of each row."""
        for row in self.rows:
            name, kind = row.path.rpartition(".")[2], printable(row.kind, _LONGEST)
            calls = f" × {row.calls}" if row.calls > 1 else ""
            yield (
                row.depth,
                [
                    f"{printable(name, _LONGEST)} · {kind}{calls}" if name else kind + calls,
                    ", ".join(_leaves(row.output_shape)) or "—",
                    f"{row.parameters:,}" if row.parameters else "",
                    f"{row.multiply_adds:,}" if row.multiply_adds else "",
                ],
            )

    def _totals(self) -> list[str]:
        return ["total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"]

    def _notes(self) -> str:
        frozen = self.parameters - self.trainable
        return f"{self.trainable:,} trainable parameters, {frozen:,} frozen, {_bytes(self.nbytes)}"

    def __repr__(self) -> str:
        body = [["  " * depth + cells[0], *cells[1:]] for depth, cells in self._cells()]
        table = [list(_HEAD), *body, self._totals()]
        widths = [max(len(cells[i]) for cells in table) for i in range(len(_HEAD))]
        lines = [
            "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))).rstrip()
            for cells in table
        ]
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], self._notes()])

    def _repr_html_(self) -> str:
        left, right = 'style="text-align:left', 'style="text-align:right'

        def row(cells: list[str], tag: str, depth: int = 0) -> str:
            styles = [f'{left};padding-left:{0.5 + 1.5 * depth}em"', f'{left}"', f'{right}"', f'{right}"']
            return "<tr>" + "".join(f"<{tag} {s}>{escape(c)}</{tag}>" for s, c in zip(styles, cells)) + "</tr>"

        return (
            f"<table><thead>{row(list(_HEAD), 'th')}</thead><tbody>"
            + "".join(row(cells, "td", depth) for depth, cells in self._cells())
            + f"</tbody><tfoot>{row(self._totals(), 'th')}</tfoot></table><p>{escape(self._notes())}</p>"
        )


_LONGEST = 100  # characters of a name
_HEAD = ("layer", "output shape", "parameters", "multiply–adds")


def summary(model: Module, *inputs: Any, depth: int | None = None) -> Summary:
    """Run a model once and tabulate its layers: output shapes, parameters, multiply–adds.

    The model runs in evaluation mode and under `no_grad`; its mode, its buffers and the state of the random generators
    are what they were before.

    Args:
        model: the module.
        inputs: what it is called with: arrays or Tensors.
        depth: modules that lie deeper are counted in the row of the one that contains them; by default all have rows.

    Returns:
        A `Summary`, which prints as a table, in a notebook too. Multiply–adds are those of linear, convolution,
        recurrent and attention layers for the whole input (a bias is not counted), and of every module that defines
        `Module.multiply_adds`.

    Raises:
        TypeError: for anything but a module; and whatever the model raises, with a note of the layer that did.

    >>> import nn
    >>> table = nn.summary(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), np.zeros((5, 64)))
    >>> table.parameters, [row.output_shape for row in table.rows]
    (2410, [(5, 10), (5, 32), (5, 32), (5, 10)])
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: takes a module, not {model!r:.80}")
    limit = None if depth is None else count("summary", "depth", depth)
    paths = {module: path for path, module in model.named_modules()}
    called: dict[Module, tuple[Any, int, int]] = {}  # the last output's shape, multiply–adds, calls
    running: list[Module] = []

    def enter(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        running.append(module)

    def leave(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        running.pop()
        shape, (_, before, calls) = _shapes(output), called.get(module, (None, 0, 0))
        cost = int(module.multiply_adds(_input_shapes(module, args, kwargs), shape))
        called[module] = shape, before + cost, calls + 1

    levels = 1 + max(path.count(".") for path in paths.values())
    handles = []
    with as_it_was(model), no_grad(), _deeper_by(4 * levels + 50):
        try:
            for module in paths:
                handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
                handles.append(module.register_forward_hook(leave, with_kwargs=True))
            model.eval()(*inputs)
        except Exception as error:
            if running:
                path = paths[running[-1]]
                where = f"{path!r}, a {type(running[-1]).__name__}" if path else "the model itself"
                error.add_note(f"nn.summary: raised in {where}")
            raise
        finally:
            for handle in handles:
                handle.remove()
    rows: list[Row] = []
    seen: set[int] = set()
    for module, path in paths.items():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        shape, cost, calls = called.get(module, (None, 0, 0))
        size = sum(p.size for p in own)
        level = path.count(".") + 1 if path else 0
        if limit is not None and level > limit:
            last = rows[-1]  # parents come before what is inside: the last row is the one that contains this
            rows[-1] = last._replace(
                parameters=last.parameters + size, multiply_adds=last.multiply_adds + cost
            )  # fmt: skip
        else:
            rows.append(Row(path, level, type(module).__name__, shape, size, cost, calls))
    parameters = list(model.parameters())
    return Summary(rows, sum(p.size for p in parameters if p.requires_grad), sum(p.nbytes for p in parameters))


@contextmanager
def _deeper_by(calls: int) -> Iterator[None]:
    """Room for calls nested deeper than now: hooks put some between a module and those inside, and a model that can be
    called must not fail for that."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + calls)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _shapes(value: Any) -> Any:
    """The shape of an array, or the structure of the shapes of several; None for anything else."""
    if hasattr(value, "shape"):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {name: _shapes(v) for name, v in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_shapes(v) for v in value)
    return None


def _leaves(shapes: Any) -> Iterator[str]:
    if isinstance(shapes, dict):
        shapes = tuple(shapes.values())
    if isinstance(shapes, tuple) and all(isinstance(n, int) for n in shapes):
        yield str(shapes)
    elif isinstance(shapes, tuple):
        for part in shapes:
            yield from _leaves(part)


def _input_shapes(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The shapes of the arguments in the order in which `forward` lists them."""
    try:
        signature = inspect.signature(module.forward)
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError):
        return tuple(map(_shapes, (*args, *kwargs.values())))
    bound.apply_defaults()
    shapes: list[Any] = []
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            shapes.extend(map(_shapes, value))
        elif signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            shapes.extend(map(_shapes, value.values()))
        else:
            shapes.append(_shapes(value))
    return tuple(shapes)


def _bytes(n: int) -> str:
    size, unit = float(n), 0
    while size >= 1024 and unit < 4:
        size, unit = size / 1024, unit + 1
    return f"{size:.4g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[unit]}"
