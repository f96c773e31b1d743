"""The reverse passes behind a picture of order 2: recorded while somebody watches which rule makes which node.

They run with seeds that are variables, so that nothing on the way from the seed to a gradient becomes a constant.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from .. import backward
from ..checking.anomaly import Watch
from ..device_arrays import ARRAYS
from ..mode import mode
from ..primitive import Primitive, new_node
from ..tensor import Tensor
from .names import primed
from .printable import printable, shortened

LIMIT = 20_000
"""From a graph of so many operations the passes are not recorded: they would take seconds, and not be seen."""


@dataclass(slots=True)
class Cotangent:
    """A tensor of a reverse pass that is the derivative of the pass's root by another tensor."""

    value: Tensor
    by: Tensor
    layer: int
    seed: bool = False
    """The cotangent with which the pass starts."""
    gradient: bool = False
    """A result of the pass."""


@dataclass(slots=True)
class Passes:
    """What was recorded for a picture, and which layer each result belongs to."""

    roots: list[Tensor]
    """All that is drawn leads to one of these."""
    layers: dict[int, int]
    """0 for forward, 1 and 2 for the backward passes, by the number of a result."""
    recorded: int = 0
    """The last layer that was there before."""
    rule_of: dict[int, Tensor] = field(default_factory=dict)
    """The node whose rule made a result, by its number."""
    cotangents: list[Cotangent] = field(default_factory=list)
    directions: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Each part of the vector u, with the leaf that it belongs to."""
    scalar: Tensor | None = None
    """s = ∇fᵀu, from which the second pass starts."""
    titles: dict[int, str] = field(default_factory=dict)
    """What tensors are called, by id."""
    kinds: dict[int, str] = field(default_factory=dict)
    """The kinds of those that no forward pass has, by id."""
    labels: list[str] = field(default_factory=list)
    """What the layers are called."""

    def gradients(self) -> list[Cotangent]:
        """The results of the passes."""
        return [entry for entry in self.cotangents if entry.gradient]

    def root_of(self, node: Tensor, output: Tensor) -> Tensor | None:
        """What is differentiated by a result; None where no pass goes back through it."""
        layer = self.layers[node._number]
        return output if layer <= self.recorded else self.scalar if layer == 1 else None

    def names(self, results: Sequence[Tensor]) -> dict[int, str]:
        """What results and arrays are called in formulas, by id: those without a title r and a number."""
        there = [x for node in results for x in (*node._inputs, node) if isinstance(x, (Tensor, *ARRAYS))]
        nameless = dict.fromkeys(id(x) for x in there if id(x) not in self.titles and not getattr(x, "name", None))
        return {**self.titles, **dict(zip(nameless, self.free("r")))}

    def free(self, letter: str) -> Iterator[str]:
        """Names that nothing has yet: the letter with 1, 2 …"""
        taken = set(self.titles.values())
        return (name for i in count(1) if (name := f"{letter}{i}") not in taken)

    def describe(self, output: Tensor, forward: Sequence[Tensor], names: Mapping[int, str]) -> None:
        """Find the words: titles of tensors in the field's notation, and of the layers."""
        generated = {key for key, name in names.items() if re.fullmatch(r"v\d+", name)}
        backward = {id(x) for x in forward if self.layers[x._number]}
        titles = self.titles
        titles |= {key: name for key, name in names.items() if key not in generated & backward}
        taken = set(titles.values())
        scalar, direction = primed("s", taken), primed("u", taken)
        if self.recorded and titles[id(output)] == "L":
            titles[id(output)] = ("f", scalar, "output")[self.recorded]
        root = printable(titles[id(output)], 16)
        for layer in (1, 2):
            of = scalar if layer == 2 and self.scalar is not None else root
            found: dict[int, dict[str, bool]] = {}
            for entry in self.cotangents:
                by = titles.get(id(entry.by))
                if entry.layer != layer or by is None:
                    continue
                by = shortened(by, 40)
                key, title = id(entry.value), f"∂{of}/∂" + (f"({by})" if "/" in by or " " in by else by)
                found.setdefault(key, {}).setdefault(title, id(entry.by) in generated)
                if entry.gradient or (entry.seed and key not in self.kinds):
                    self.kinds[key] = "gradient" if entry.gradient else "seed"
            # A cotangent that passes through unchanged has several names; those that the user knows count most.
            titles |= {key: " = ".join(sorted(each, key=each.__getitem__)[:2]) for key, each in found.items()}
            if layer == 1 and self.scalar is not None:
                titles[id(self.scalar)] = scalar
                self.kinds[id(self.scalar)] = "output"
                for u, x in self.directions:
                    titles[id(u)] = direction if len(self.directions) == 1 else f"{direction} for {titles[id(x)]}"
        ends = f": from {root} to ∇{root}" if self.recorded == 0 else ""
        slope = f"{scalar} = ∇{root}ᵀ{direction}, {direction} = 1"
        of = f": from {slope}, to ∇{scalar} = H{direction}" if self.scalar is not None else ""
        of = f": from {root}" if self.recorded == 1 else of
        self.labels = ["forward pass", f"first backward pass{ends}", f"second backward pass{of}"]


class _Observer(Watch):
    """The grad mode while a pass is recorded: sees every node that is made, and to which rule it belongs."""

    def __init__(self, began: int) -> None:
        super().__init__(recording=True)
        self.began = began
        self.rule_of: dict[int, Tensor] = {}
        self.cotangents: dict[int, tuple[Tensor, Tensor]] = {}
        self.fresh: list[int] = []
        self.last: tuple[Tensor, Tensor] | None = None  # the node whose rule ran last, and its input
        self.summing = False

    def switched(self, recording: bool) -> Any:
        return self if recording else False

    def made(self, y: Tensor, record: Primitive, inputs: tuple[Any, ...]) -> None:
        # After a rule's result the engine undoes broadcasting, then adds what came on other ways: both belong to it.
        if self.last is not None:
            node, x = self.last
            fitted = self.cotangents[x._number][1].shape == x.shape
            if not fitted or self.summing:
                self.summing = self.summing and not fitted
                self.rule_of[y._number] = node
                self.cotangents[x._number] = x, y
                return
        self.last = None
        self.fresh.append(y._number)

    def pulled(self, d: Any, g: Any, node: Tensor, x: Tensor) -> Any:
        if node._number > self.began:  # a pass within a rule (as `checkpoint` runs): all of it belongs to that rule
            return d
        self.rule_of.update((number, node) for number in self.fresh)
        self.fresh.clear()
        self.last, self.summing = (node, x), x._number in self.cotangents
        self.cotangents[x._number] = x, d
        return d


def _inner(*arrays: Any) -> Any:
    half = len(arrays) // 2
    return sum(np.sum(g * u) for g, u in zip(arrays[:half], arrays[half:]))


def _inner_rule(i: int, g: Any, y: Any, *inputs: Any) -> Any:
    return g * inputs[(i + len(inputs) // 2) % len(inputs)]


INNER = Primitive("∇fᵀu", _inner, each=_inner_rule, formula="Σ ∇f · u")
"""All gradients with all parts of the vector u, in one node of the picture."""


def recorded_layers(results: Sequence[Tensor]) -> dict[int, int]:
    """For each result by number: how many recorded reverse passes lie behind it."""
    known: list[tuple[int, int, int]] = []  # without the passes that ran within a rule of another
    for entry in sorted(getattr(backward, "passes", ())):
        if not known or entry[1] > known[-1][1]:
            known.append(entry)
    ends = [end for _, end, _ in known]
    layers: dict[int, int] = {}
    for node in results:  # oldest first
        number = node._number
        layer = max((layers.get(x._number, 0) for x in node._inputs if isinstance(x, Tensor)), default=0)
        i = bisect_right(ends, number)
        if i < len(known) and known[i][0] < number:
            layer = max(layer, known[i][2])
        layers[number] = layer
    return layers


def record(output: Tensor, results: Sequence[Tensor], leaves: Iterable[Tensor]) -> Passes:
    """Record what is missing of two reverse passes: first from the output, then from s = ∇fᵀu with u all ones. No
    ``.grad`` is touched.

    Args:
        output: where the first pass starts, with a cotangent of ones.
        results: all results behind it, oldest first.
        leaves: the leaves behind it.
    """
    if any(x.dtype.kind == "c" for x in (*results, *leaves)):
        raise TypeError(
            "graph: order=2 draws the derivatives of real numbers, and this computation has complex ones; leave it "
            "out, or write the computation of real and imaginary parts"
        )
    layers = recorded_layers(results)
    passes = Passes([output], layers, recorded=min(2, max(layers.values(), default=0)))
    wanted = sorted((x for x in leaves if x._requires_grad), key=lambda x: x._number)
    token = mode.set(True)
    try:
        with np.errstate(all="ignore"):
            if passes.recorded == 0:
                _pull(passes, output, wanted, 1)
                _pull(passes, _projected(passes), wanted, 2)
            elif passes.recorded == 1:
                _pull(passes, output, wanted, 2)
    finally:
        mode.reset(token)
    return passes


def _pull(passes: Passes, root: Tensor, wanted: list[Tensor], layer: int) -> None:
    """One pass from a root, watched."""
    seed = Tensor(np.ones(root.shape, root.dtype), requires_grad=True)
    observer = _Observer(seed._number)
    token = mode.set(observer)
    try:
        found = backward.gradients(root, wanted, seed, create_graph=True, allow_unused=True)
    finally:
        mode.reset(token)
    passes.rule_of |= observer.rule_of
    # Made after the last rule: gradients brought to the dtypes of their leaves, and what hooks of leaves do.
    passes.layers |= dict.fromkeys((*observer.rule_of, *observer.fresh), layer)
    passes.cotangents.append(Cotangent(seed, root, layer, seed=True))
    passes.cotangents += [Cotangent(d, x, layer) for x, d in observer.cotangents.values()]
    for x, g in zip(wanted, found):
        if g is None:  # the root does not depend on it
            g = Tensor(np.zeros(x.shape, x.dtype))
        passes.cotangents.append(Cotangent(g, x, layer, gradient=True))
        passes.roots.append(g)


def _projected(passes: Passes) -> Tensor:
    """s = ∇fᵀu, recorded as one operation."""
    gradients = [entry for entry in passes.gradients() if entry.value._requires_grad]
    directions = [Tensor(np.ones(entry.value.shape, entry.value.dtype)) for entry in gradients]
    passes.directions = [(u, entry.by) for u, entry in zip(directions, gradients)]
    inputs = (*(entry.value for entry in gradients), *directions)
    s = new_node(np.asarray(_inner(*(x._ndarray for x in inputs))), INNER, inputs, None)
    passes.scalar = s
    passes.layers[s._number] = 1
    passes.roots.append(s)
    return s
