"""The chronological table of a recorded computation: forward, backward, updates, and a second backward pass.

Here is what users get. How rows are written is in steps.py, the formats of the table are in formats.py, and the page
that walks through it is in page.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..backward import of_dtype, reachable
from ..tensor import Tensor
from . import formats
from .expansion import expanded
from .graph import results_behind
from .names import variables as variables_of
from .rows import PHASES, Row
from .spreadsheets import comma_separated
from .steps import Pass, Table, jacobians, linearity


class Explanation:
    """The table made by `explain`. Print it, show it in a notebook, or write it as Markdown, LaTeX, CSV or a page."""

    rows: list[Row]
    output: Tensor
    names: dict[int, str]
    """The name of each tensor of the table, by the tensor's number."""
    wrt: tuple[Tensor, ...]
    """The tensors to which gradients are shown, in the order in which `hvp` takes its vectors."""
    digits: int
    rate: float | None
    """The learning rate of the update."""
    vectors: list[Any] | None
    """The arrays of `hvp`."""

    def __init__(
        self,
        output: Tensor,
        rows: list[Row],
        names: dict[int, str],
        wrt: Sequence[Tensor],
        digits: int,
        rate: float | None = None,
        vectors: list[Any] | None = None,
    ) -> None:
        self.output, self.rows, self.names, self.wrt, self.digits = output, rows, names, tuple(wrt), digits
        self.rate, self.vectors = rate, vectors

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __repr__(self) -> str:
        name = self.names.get(self.output._number, "the output")
        return f"<Explanation of {name} in {len(self.rows)} step{'s' * (len(self.rows) != 1)}; print() shows the table>"

    def __str__(self) -> str:
        return formats.terminal(self._sections())

    def _repr_html_(self) -> str:
        return formats.notebook(self._sections())

    def _sections(self) -> list[tuple[str, list[Row]]]:
        return [(heading, list(rows)) for heading, rows in groupby(self.rows, lambda row: PHASES[row.phase])]

    def to_markdown(self) -> str:
        """The table as Markdown (with pipes, as GitHub and notebooks read it)."""
        return formats.markdown(self._sections())

    def to_latex(self) -> str:
        r"""The table as a LaTeX ``tabular``; no package is needed. For many rows put it into a ``longtable``.

        Signs, Greek and accented letters become LaTeX commands. Other scripts in names need XeLaTeX or LuaLaTeX with a
        font that has them; under pdfLaTeX the number of the character is shown in its place.
        """
        return formats.latex(self._sections())

    def to_csv(self) -> str:
        """The table as comma-separated values with a header line. The text of every cell is kept as it is, but for an
        apostrophe before what a spreadsheet would take for a formula."""
        return comma_separated([formats.COLUMNS, *map(formats.cells, self.rows)])

    def to_html(self, path: Any = None, *, live: bool = False) -> Any:
        """A page that walks through the computation, in one file that needs no network.

        In the picture of the graph every node has room for its value and its gradient, which come with their steps and
        add up where paths meet; what is not computed yet is not shown. It goes by single steps or by operations, with
        the mouse or the keys alone, asks for the next number where the reader wants to predict it, and counts
        multiply–adds and the bytes kept for the backward pass. An explanation with `hvp` has one band each for the
        forward pass and the two backward passes. ``#step=5`` behind the page's address opens it at step 5.

        A live page computes: it holds the recorded operations and their passes as a program in JavaScript. Each leaf
        of up to 16 numbers has a slider and a field for each of them, and what is moved changes all numbers of the
        page; a button takes a step of gradient descent with all leaves that require a gradient, and the loss so far is
        drawn. In float64 the numbers are those of the engine up to rounding (1e-12 relative, for well-conditioned
        operations), in float32 each result is rounded as there. What Python decided while it recorded (an ``if``, a
        number of steps, a mask) stays as it was; constants of integers and booleans do, too. Where an operation has no
        form in JavaScript (an SVD), the page names it, and what lies behind it is shown for the recorded values alone;
        where a rule would go another way for the new values, the page says so and shows no numbers.

        Args:
            path: where to write it; None to show it in a notebook.
            live: whether the page computes with other values.

        Raises:
            TypeError, ValueError: for what is no path; a live page of a leaf, of complex numbers, or of so large a
                graph that its page would not answer at once.
            RuntimeError: a live page of a graph that was freed or written since.
            OSError: for a path that cannot be written.

        >>> w = Tensor(2.0, requires_grad=True, name="w")
        >>> explain((w * 3 - 1) ** 2, update=("sgd", 0.1)).to_html(live=True)  # doctest: +ELLIPSIS
        <page of ... characters; write it with to_html(path)>
        """
        from .page import write  # builds pictures, so it is imported only by who wants a page

        if not live:
            return write(self, path)
        from .live import live_page

        return write(self, path, live_page(self))

    def jacobian(self, tensor: Tensor | str) -> tuple[Any, ...]:
        """The local Jacobians of the operation that made a tensor: ∂(tensor)/∂(input), for each of its inputs.

        Args:
            tensor: a result in this computation, or its name in the table.

        Returns:
            A tuple with one array of shape output + input for each input (arrays and numbers among them included), or
            None where the operation has no derivative by that input.

        Raises:
            ValueError: for a tensor that is not in this computation, or that no operation made.
            TypeError: for what is neither a Tensor nor a name, and for an operation on complex numbers that is not
                holomorphic.
            RuntimeError: the graph was freed.
        """
        node = self._find(tensor, "jacobian")
        if node._primitive is None:
            raise ValueError(f"Explanation.jacobian: {self._called(node)} is a leaf, no operation made it")
        if not node._inputs:
            raise RuntimeError(
                f"Explanation.jacobian: the graph of this {node._primitive.name} is gone; record it again"
            )
        for i, x in enumerate(node._inputs):
            if isinstance(x, Tensor) and linearity(node, i) != "linear":
                raise TypeError(
                    f"Explanation.jacobian: {node._primitive.name} is not holomorphic in its complex input {i}, so it "
                    f"has no Jacobian of complex numbers; write it of real and imaginary parts"
                )
        return tuple(jacobians(node))

    def delta(self, tensor: Tensor | str) -> Any:
        """The gradient of the output by a tensor, an array of that tensor's shape.

        Args:
            tensor: a tensor of this computation that requires a gradient, or its name in the table.

        Raises:
            ValueError: for a tensor that is not in this computation, or that requires no gradient.
            TypeError: for what is neither a Tensor nor a name.
            RuntimeError: the graph was freed.
        """
        x = self._find(tensor, "delta")
        if not x._requires_grad:
            raise ValueError(f"Explanation.delta: {self._called(x)} does not require a gradient")
        if self.output._ndarray.size != 1:
            raise ValueError(
                f"Explanation.delta: the output has shape {self.output.shape}, its gradient is not one number"
            )
        nodes, leaves = reachable([self.output])
        if x._number not in nodes and x._number not in leaves:
            raise ValueError(f"Explanation.delta: the output does not depend on {self._called(x)}")
        found = np.array(Pass(self.output, nodes, {x._number: x}).results[x._number])
        return of_dtype(found.conj() if x.dtype.kind == "c" else found, x.dtype)

    def _called(self, tensor: Tensor) -> str:
        return (
            f"{self.names[tensor._number]!r}" if tensor._number in self.names else f"a tensor of shape {tensor.shape}"
        )

    def _find(self, tensor: Tensor | str, where: str) -> Tensor:
        if not isinstance(tensor, (Tensor, str)):
            known = type(tensor) is int and 0 < tensor <= len(self.rows)
            step = f" (step {tensor} is .rows[{tensor - 1}])" if known else ""
            raise TypeError(f"Explanation.{where}: takes a Tensor or its name, not {type(tensor).__name__}{step}")
        key = tensor._number if isinstance(tensor, Tensor) else tensor
        for row in self.rows:
            x = row.tensor
            # (By number: where operations were opened, a result is another tensor with the same number.)
            if x is not None and key == (self.names.get(x._number) if isinstance(key, str) else x._number):
                return x
        what = repr(tensor) if isinstance(tensor, str) else f"the tensor of shape {tensor.shape}"
        raise ValueError(f"Explanation.{where}: {what} is not in this computation")


def explain(
    output: Tensor,
    *,
    wrt: Tensor | Iterable[Tensor] | None = None,
    names: Any = None,
    update: tuple[str, float] | None = None,
    hvp: Any = None,
    digits: int = 6,
    variables: bool = True,
    expand: Any = None,
) -> Explanation:
    """Write a recorded computation as a table: each value, each local derivative, each step of the backward pass.

    The numbers are those of the engine's own passes over the graph (hooks run, as in `gradients`); no ``.grad`` is
    changed.

    Of complex z, ∂L/∂z stands for the number with dL = Re(∂L/∂z · dz), for which the chain rule is the product that it
    is of real numbers; the gradient against which one descends is its conjugate, and is shown as ``grad z``. Where an
    operation conjugates, so does its row: y = z* passes on (∂L/∂y · ∂y/∂z*)*.

    Args:
        output: a Tensor of one element (or any leaf).
        wrt: the tensors to which gradients are shown, leaves or results; by default all leaves that require one, in
            the order of the table.
        names: a dict from names to Tensors (or modules), or a module, whose parameters' names are used; before one
            that begins with a digit stands "layer" (``layer0.weight`` is the module's ``0.weight``). A tensor without a
            name is called by its ``.name``, or as your variable that holds it, or L (the output), or v1, v2, …
        update: ``("sgd", lr)`` adds a step of gradient descent, w − lr · ∂L/∂w, for each leaf of `wrt`.
        hvp: one array for each tensor of `wrt` (its shape), the vectors u of a Hessian-vector product: the table goes
            on with s = ∇Lᵀu and the backward pass through s, whose gradients are H·u.
        digits: significant digits of values, 1 to 17; an updated value has as many as show that it changed.
        variables: whether the names of your variables, and of the parameters of modules in them, are used.
        expand: fused operations to be explained by what they are made of, as for `graph`.

    Returns:
        An `Explanation`: print it, show it in a notebook, ``.to_markdown()``, ``.to_latex()``, ``.to_csv()``,
        ``.to_html(path)``, or read its ``.rows``.

    Raises:
        TypeError: `output` is no Tensor, or a complex number, `hvp` is given for a computation with complex numbers, or
            an argument is not of the kind described.
        ValueError: `output` has not one element, a tensor or name is not in the graph, a vector's shape is wrong, or
            an option does not exist, or `expand` names nothing that can be opened.
        RuntimeError: the graph was freed or its data were changed.

    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> print(explain(x * x + 1.0))
    step  quantity          expression                           value  sources
    ── Forward pass ───────────────────────────────────────────────────────────
       1  x                 input                                3
       2  v1                x · x                                9      1
       3  L                 v1 + 1                               10     2
    ── Backward pass ──────────────────────────────────────────────────────────
       4  ∂L/∂L             1                                    1
       5  ∂L/∂v1 (local)    1                                    1
       6  ∂L/∂v1            ∂L/∂L · ∂L/∂v1 (local)               1      4, 5
       7  ∂v1/∂x [1]        x                                    3      1
       8  ∂L/∂x via v1 [1]  ∂L/∂v1 · ∂v1/∂x [1]                  3      6, 7
       9  ∂v1/∂x [2]        x                                    3      1
      10  ∂L/∂x via v1 [2]  ∂L/∂v1 · ∂v1/∂x [2]                  3      6, 9
      11  ∂L/∂x             ∂L/∂x via v1 [1] + ∂L/∂x via v1 [2]  6      8, 10
    """
    if not isinstance(output, Tensor):
        raise TypeError(
            f"explain: needs a Tensor, not {type(output).__name__}; give it the result of a computation, explain(loss)"
        )
    if isinstance(digits, bool) or not isinstance(digits, (int, np.integer)) or not 1 <= digits <= 17:
        raise ValueError(f"explain: digits must be an integer from 1 to 17, not {digits!r}")
    rate = _rate(update)
    results = results_behind(output, "explain")
    if expand is not None and expand is not False:
        output = expanded("explain", output, results, expand, names)
        results = results_behind(output, "explain")
    if results and output._ndarray.size != 1:
        raise ValueError(
            f"explain: the output has shape {output.shape}, so its gradient is not one number; "
            f"reduce it (y.sum(), y.mean()) or explain one element (y[0])"
        )
    if not results and (update is not None or hvp is not None):
        raise ValueError("explain: update and hvp need a computation; this output is a leaf, nothing was computed")
    table = Table(int(digits), output, results)
    table.give_names(names, variables_of(sys._getframe(1)) if variables else {})
    table.forward(results or [output])
    targets = table.targets(wrt)
    vectors = None if hvp is None else table.vectors(hvp, targets)
    if rate is not None and all(x._primitive is not None for x in targets):
        raise ValueError("explain: update needs a leaf that requires a gradient, and there is none in wrt")
    if results and targets:
        if output.dtype.kind == "c":
            raise TypeError(
                "explain: the output is complex, and only a real number has a gradient; explain a real one made of it "
                "(abs(y) ** 2, y.real)"
            )
        if hvp is not None and table.complex:
            raise TypeError(
                "explain: hvp= shows second derivatives of real numbers, and this computation has complex ones; leave "
                "it out (ad.hvp gives the product), or write the computation of real and imaginary parts"
            )
        table.passes(targets, rate, vectors)
    return Explanation(output, table.rows, table.names.by_number, targets, int(digits), rate, vectors)


def _rate(update: Any) -> float | None:
    """The learning rate of `update`, checked."""
    if update is None:
        return None
    if not isinstance(update, (tuple, list)) or len(update) != 2:
        raise TypeError(f'explain: update takes a pair like ("sgd", 0.1), not {update!r}')
    kind, rate = update
    if kind != "sgd":
        raise ValueError(f'explain: the update rule must be "sgd", not {kind!r}')
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.integer, np.floating)) or not np.isfinite(rate):
        raise ValueError(f"explain: the learning rate must be a finite number, not {rate!r}")
    return float(rate)
