"""Nodes that NumPy runs, each by the text that the NumPy program has for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..program import Node, Program, replaced
from ..source import Source, numpy_function


def called(node: Node) -> tuple[Callable[..., Any], list[Node]]:
    """A function that gives what a node is of its operands, and these.

    >>> import numpy as np
    >>> x = Node("input", (), {}, (2,), np.dtype(float), (8,))
    >>> y = Node("add", (x, 1.0), {}, (2,), np.dtype(float), (8,))
    >>> called(y)[0](np.array([1.0, 2.0]))
    array([2., 3.])
    """
    operands = list({id(x): x for x in node.operands}.values())
    given = {id(x): Node("input", (), {}, x.shape, x.dtype, x.strides) for x in operands}
    alone = replace(
        node, inputs=tuple(replaced(x, lambda n: given[id(n)]) for x in node.inputs), name="", line=None, number=0
    )
    run, _ = numpy_function(Source(Program([*given.values()], [alone], [alone])))
    return (lambda *arrays: run(*arrays)[0]), operands
