"""Seeing the recorded graph: `walk` goes through it by hand, `graph` draws it.

What is drawn is chosen in selection.py, after repeats.py has found what repeats; what is written in the nodes is in
looks.py, the reverse passes of a picture of order 2 come from passes.py, and how a drawing becomes a picture is in
picture.py, how it becomes a page in hierarchy.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import Tensor
from . import passes as reverse_passes
from .cuts import cuts_between
from .expansion import expanded
from .hierarchy import Hierarchy, Words
from .looks import (
    DIRECTIONS,
    FONT,
    SHOW,
    Frames,
    kind_of,
    leaf_lines,
    local_name,
    module_lines,
    module_tip,
    operation_lines,
    operation_tip,
    result_lines,
    tensor_lines,
    tensor_tip,
)
from .names import modules as modules_of
from .names import names_behind, parameter_name
from .names import variables as variables_of
from .passes import Passes
from .printable import printable
from .repeats import LARGE, Folding
from .selection import Call, Drawing, Homes, Selection, homes_of, in_bands, key_of, operations

if TYPE_CHECKING:
    from .picture import Graph

# Walking


def results_behind(output: Tensor, where: str) -> list[Tensor]:
    """All results from which `output` was computed, itself included, oldest first."""
    if not isinstance(output, Tensor):
        raise TypeError(f"{where}: needs a Tensor, not {type(output).__name__}{_instead(output)}")
    return _behind([output], where)


def _instead(given: Any) -> str:
    """What to write in place of something that is no Tensor."""
    if isinstance(given, (list, tuple)) and any(isinstance(x, Tensor) for x in given):
        return "; of several give one, or what is made of all of them, as their sum"
    if callable(given):
        return "; call it on Tensors, and give what it returns"
    return "; compute it from Tensors, as ad.Tensor(x, requires_grad=True), and give the result"


def _behind(roots: Sequence[Tensor], where: str) -> list[Tensor]:
    found = {root._number: root for root in roots if root._primitive is not None}
    stack = list(found.values())
    while stack:
        node = stack.pop()
        inputs = node._inputs
        if not inputs:
            raise RuntimeError(
                f"{where}: the graph of this {node._primitive.name} is gone, because backward(retain_graph=False) went "
                f"through it or its .data were assigned; record it again"
            )
        for x in inputs:
            if isinstance(x, Tensor) and x._primitive is not None and x._number not in found:
                found[x._number] = x
                stack.append(x)
    return [found[number] for number in sorted(found)]


def walk(output: Tensor) -> Iterator[tuple[Tensor, str | None, tuple[Tensor, ...]]]:
    """Go through a recorded graph in reverse topological order: every tensor after all that were computed from it.

    Args:
        output: any Tensor.

    Returns:
        An iterator over (tensor, name of the operation that made it, tensors it was made from). A leaf has the name
        None and no inputs; arrays and numbers that took part appear as constant leaves.

    Raises:
        TypeError: if that is no Tensor.
        RuntimeError: if the graph was freed.

    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> for tensor, operation, inputs in walk(x * x + 1.0):
    ...     print(tensor.item(), operation, len(inputs))
    10.0 add 2
    1.0 None 0
    9.0 multiply 2
    3.0 None 0
    """
    return _steps(output, results_behind(output, "walk"))


def _steps(output: Tensor, results: list[Tensor]) -> Iterator[tuple[Tensor, str | None, tuple[Tensor, ...]]]:
    if output._primitive is None:
        yield output, None, ()
    leaves: dict[int, Tensor] = {}
    for node in reversed(results):
        inputs = node.inputs
        yield node, node._primitive.name, inputs
        for given, x in zip(node._inputs, inputs):
            if x is not given:
                yield x, None, ()  # an array or a number, made a constant for this operation only
            elif x._primitive is None:
                leaves[id(x)] = x
    for x in leaves.values():
        yield x, None, ()


# Drawing


def _named(names: Any, output: Tensor, results: list[Tensor]) -> tuple[dict[int, str], set[int], list[tuple[str, Any]]]:
    """The names given by the user: by tensor (one given singly wins), which of them are a module's parameters, and the
    modules."""
    singles: dict[int, str] = {}
    parameters: dict[int, str] = {}
    modules: list[tuple[str, Any]] = []
    if names is None:
        return singles, set(), modules
    given = names if isinstance(names, Mapping) else {"": names}
    # A result in an opened graph is another tensor with the same number.
    there = {x._number: x for node in results for x in (*node._inputs, node) if isinstance(x, Tensor)}
    there[output._number] = output
    present = set(map(id, there.values()))
    for name, thing in given.items():
        what = f"names[{name!r}]" if given is names else "names"
        if not isinstance(name, str):
            raise TypeError(f"graph: names must be strings, not {name!r}")
        if hasattr(thing, "named_parameters"):
            own = {id(p): parameter_name(name, key) for key, p in thing.named_parameters()}
            if own and present.isdisjoint(own):
                raise ValueError(f"graph: {what}, {type(thing).__name__}, has no parameter in this graph")
            parameters |= own
            modules += _paths(name, thing)
        elif isinstance(thing, Tensor) and given is names:
            if thing._number not in there:
                raise ValueError(f"graph: {what}, a tensor of shape {thing.shape}, is not in this graph")
            singles[id(there[thing._number])] = name
        else:
            kind = type(thing).__name__ + (f" for {name!r}" if given is names else "")
            raise TypeError(
                f"graph: names takes a dict from names to Tensors, or a module with named_parameters(), not {kind}"
            )
    return parameters | singles, set(parameters), modules


def _paths(name: str, module: Any) -> list[tuple[str, Any]]:
    """A module and those in it, each with its place in the model."""
    if not hasattr(module, "named_modules"):
        return []
    return [(f"{name}.{path}".strip(".") if path else name, inner) for path, inner in module.named_modules()]


def _found(held: Mapping[str, Any], results: list[Tensor], known: set[int]) -> tuple[set[int], list[tuple[str, Any]]]:
    """Of the modules in variables, those with a parameter in the graph and none in a module that is known: the ids of
    their parameters, and the modules."""
    parameters, modules = set[int](), list[tuple[str, Any]]()
    present = {id(x) for node in results for x in node._inputs} if held else set()
    for name, module in held.items():
        own = {id(p) for _, p in module.named_parameters()}
        if not present.isdisjoint(own) and own.isdisjoint(known | parameters):
            parameters |= own
            modules += _paths(name, module)
    return parameters, modules


PARTS = 8
"""Of a vector u of more parts than this, the parts (all ones) are not drawn."""

COMPACT = {True: 12, False: 40}
"""Pictures of more nodes, with calls of modules or without, have parameters, constants and results in their operation's
node: without modules the reader has made each leaf, and looks for it."""


def _is_large(results: list[Tensor], homes: Homes) -> bool:
    limit = COMPACT[bool(homes)]
    if 2 * len(results) > limit:
        return True
    return 2 * len(results) + len({key_of(x, node, i) for node, i, x in _leaves(results)}) > limit


def _leaves(results: list[Tensor]) -> Iterator[tuple[Tensor, int, Any]]:
    """Every use of a leaf: by which operation, as which input."""
    for node in results:
        for i, x in enumerate(node._inputs):
            if not isinstance(x, Tensor) or x._primitive is None:
                yield node, i, x


Inside = dict[int, list[tuple[str, Any]]]
"""The leaves that are shown in an operation's node, with their names, by the number of its result."""


def _inside(
    results: list[Tensor], homes: Homes, titles: Mapping[int, str], parameters: set[int], apart: set[int]
) -> tuple[Inside, set[Any]]:
    """Parameters and the constants nobody gave a name: where they are written, and what has no node therefore. An array
    that is an operation's first input is data, and has its node, as do those that are to be `apart`."""
    inside: Inside = {}
    keys: set[Any] = set()
    for node, i, x in _leaves(results):
        name = titles.get(id(x)) or getattr(x, "name", None) or ""
        parameter = isinstance(x, Tensor) and (type(x) is not Tensor or id(x) in parameters)
        named = id(x) in apart or (isinstance(x, Tensor) and (x._requires_grad or name))
        if parameter or not (named or (i == 0 and getattr(x, "ndim", 0))):
            inside.setdefault(node._number, []).append((local_name(name, homes.get(node._number)), x))
            keys.add(key_of(x, node, i))
    return inside, keys


def _chosen(
    output: Tensor,
    results: list[Tensor],
    homes: Homes,
    passes: Passes | None,
    max_nodes: int,
    named: Mapping[int, str],
    compact: bool,
    unseen: set[Any],
    cuts: list[tuple[Tensor, Any]],
) -> tuple[Drawing, Homes]:
    """What is drawn of the results, and where everything belongs."""
    if passes is None:
        titled = {id(output), *(id(x) for x in results if x.name is not None or id(x) in named)}
        titled |= {id(result) for result, _ in cuts}
        drawing = Selection(
            results,
            homes,
            max_nodes,
            shown={id(output)},
            folded={id(x) for x in results if id(x) not in titled} if compact else (),
            unseen=unseen,
            compact=compact,
        ).arranged()
        if not results:
            drawing.tensors[id(output)] = (f"t{output._number}", output, None)
        drawing.cuts = [
            (source, target)
            for result, leaf in cuts
            if (source := drawing.place(id(result))) and (target := drawing.place(id(leaf)))
        ]
        return drawing, homes
    homes, bands = in_bands(homes, results, passes.layers, passes.rule_of, passes.labels)
    if len(passes.directions) > PARTS and passes.scalar is not None:
        parts = [node._number for node in results if passes.rule_of.get(node._number) is passes.scalar]
        word = f"∂ gᵀu ×{len(parts):,}"
        repeat = (
            Call(parts[0] - 1, parts[-1], word, depth=1, parent=bands[2], kind=word, count=len(parts))
            if parts
            else bands[2]
        )
        homes |= dict.fromkeys(parts, repeat)
    titled = {id(output), *passes.titles}
    drawing = Selection(
        results,
        homes,
        max_nodes,
        shown=titled,
        folded={id(x) for x in results if passes.layers[x._number] and id(x) not in titled and x.name is None},
        unseen={id(u) for u, _ in passes.directions} | unseen if len(passes.directions) > PARTS else unseen,
        always=[
            (entry.value, bands[entry.layer])  # the seeds, and gradients that are zero
            for entry in passes.cotangents
            if entry.value._primitive is None and id(entry.value) in passes.kinds
        ],
        bands=True,
    ).arranged()
    for entry in passes.cotangents:
        root, seed = drawing.place(id(entry.by)), drawing.place(id(entry.value))
        if entry.seed and root is not None and seed is not None:
            drawing.turns.append((root, seed))
    nameless = dict.fromkeys(id(x) for _, x, _ in drawing.references if id(x) not in passes.titles)
    passes.titles |= zip(nameless, passes.free("r"))
    return drawing, homes


def graph(
    output: Tensor,
    *,
    names: Any = None,
    show: Iterable[str] = SHOW,
    order: int = 1,
    group: bool = True,
    compact: bool | None = None,
    legend: bool = False,
    max_nodes: int = 300,
    direction: str | None = None,
    variables: bool = True,
    expand: Any = None,
) -> Graph:
    """Draw the recorded graph of a tensor: tensors and the operations between them. No ``.grad`` is changed.

    Where it is large, what repeats (blocks, time steps) becomes one node, "×25", and modules become one node each,
    until it can be read; the page of the picture, ``graph(y).to_html("graph.html")``, opens them at a click.

    A box with a bold border is a leaf that requires a gradient, a cylinder a parameter, a note with a folded corner a
    constant, a rounded box a result, a double border the output, an ellipse an operation. Tooltips carry the values,
    the formula and the rule by which the gradient passes, and under `record_lines` the line that made the node. A
    dashed edge that ends in a bar leads to a leaf from the result whose values it holds, detached (of the losses of
    several stretches of truncated backpropagation through time, draw the sum); also from a copy that a Tensor was asked
    for, ``h.detach().copy()``, but not from one that NumPy made, nor from what was computed of detached values.

    Args:
        output: any Tensor.
        names: a dict from names to Tensors (or modules), or a module, whose parameters' names are used, with "layer"
            before one that begins with a digit (``layer0.weight``). A name given to a Tensor singly wins. A
            tensor without a name is called by its ``.name``, or its place in a module that a variable of yours holds,
            or as your variable that holds it, or L (the output), or v1, v2, … Modules in variables are known without
            being named here.
        show: what tensor nodes show, of "value", "grad" and "shape". Large values are summarised.
        order: 1, the graph of the computation. 2, and below it that of its gradient, in three bands that differ by
            frame, tint and the shape of the operations: the forward pass (ellipses), from left to right; the first
            backward pass (hexagons), from the output f, with a cotangent of ones, to the gradients ∂f/∂w and on to
            s = ∇fᵀu, with u all ones; and the second backward pass (octagons), from s to the Hessian-vector product
            ∂s/∂w. A dashed box stands for a value of an earlier pass. Backward passes that the output's own graph
            holds are recognised: so draw s = ∇fᵀu for a vector u of your own, or a Hessian-vector product itself.
            In backward passes, results without a name are called r1, r2 …
        group: whether the operations of each call of a module are framed, and repeats are folded.
        compact: whether parameters, constants and results without a name of their own are written in their operation's
            node; by default in a picture of many nodes.
        legend: whether a frame beside the picture says what the shapes mean.
        max_nodes: above so many nodes, modules are drawn as one node each, then the middle is left out, and a node
            says how many are not shown.
        direction: "LR" (left to right), "TB", "RL" or "BT"; by default "TB" where the picture is compact, else "LR".
        variables: whether the names of your variables, and the modules in them, are used.
        expand: fused operations to be drawn as what they are made of, in a frame: True for all of them, down to plain
            operations, or the name of an operation ("lstm"; "attention" also opens "masked_attention_weights", which
            has that word), of a tensor or of a module in `names`, or a Tensor, whose operation is meant, or a module;
            or a list of these. Of many time steps the first, the second and the last are drawn, and a node for the
            others. The numbers are computed again, from the recorded inputs; the function of a checkpoint
            ("checkpoint", of a loop "scan") runs once more, as in a backward pass. With order 2 the passes go through
            what was opened; of passes that the output's own graph holds, that is opened which has an expansion, and
            what the rules of fused operations recorded stays as it is.

    Returns:
        A `graphviz.Digraph`: show it in a notebook, or ``.to_html("graph.html")``, ``.render(outfile="graph.svg")``,
        ``.pipe("png")``, ``.source``. No system Graphviz is needed. A node's name in the DOT source is, after a prefix
        of the picture's own, its ``id`` in the SVG, and there its title: ``t5`` is the
        tensor whose ``_number`` is 5, ``op5`` the operation that made it, ``t5i1`` the array or number that was
        input 1 of that operation, ``module9`` a module, or part of an expansion, drawn as one node (9: the youngest
        tensor made in it); ``t5_1`` is the first of the tensors on the way to ``t5``, where that was expanded;
        ``gap``, ``rest`` (and ``gap0`` …) stand for what is not shown. An edge's title is ``t3->op5``. With order 2,
        ``pass0``, ``pass1`` and ``pass2`` are the bands, and in the backward passes a result that is no cotangent is
        written in its operation's node; ``op9t5`` stands for tensor 5 of an earlier pass, used by operation 9.

    Raises:
        TypeError: `output` is no Tensor, or `names` no dict or module.
        ValueError: an option that does not exist, or a name for a tensor that is not in the graph, or for a module
            that has parameters, but none in the graph; or an `expand` that names nothing that can be opened.
        RuntimeError: the graph was freed, or an input of what is to be opened was written since.

    With order 2 the reverse passes run (and call hooks), so that their errors can be raised too.

    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> picture = graph(x * x + 1.0)
    >>> "x" in picture.source
    True
    >>> "second backward pass" in graph(x**3, order=2).source
    True
    >>> from autodiff import softplus
    >>> "log1p" in graph(softplus(x), expand="softplus").source
    True
    """
    from .picture import TITLE, Graph  # graphviz is imported only by who draws

    shown = (show,) if isinstance(show, str) else tuple(show)
    for word in shown:
        if word not in SHOW:
            raise ValueError(f"graph: show takes of {', '.join(map(repr, SHOW))}, not {word!r}")
    if direction is not None and direction not in DIRECTIONS:
        raise ValueError(f"graph: direction must be one of {', '.join(map(repr, DIRECTIONS))}, not {direction!r}")
    if isinstance(order, bool) or order not in (1, 2):
        raise ValueError(f"graph: order must be 1 or 2, not {order!r}")
    if isinstance(max_nodes, bool) or not isinstance(max_nodes, (int, np.integer)) or max_nodes < 1:
        raise ValueError(f"graph: max_nodes must be a positive integer, not {max_nodes!r}")
    for option, given in (("compact", compact), ("legend", legend)):
        if not isinstance(given, bool) and not (given is None and option == "compact"):
            raise TypeError(f"graph: {option} must be True or False, not {given!r}")
    results = results_behind(output, "graph")
    if expand is not None and expand is not False:
        output = expanded("graph", output, results, expand, names)
        results = results_behind(output, "graph")
    by_id, parameters, modules = _named(names, output, results)
    if variables:
        found, more = _found(modules_of(sys._getframe(1)), results, parameters)
        parameters, modules = parameters | found, [*modules, *more]
    by_id, named = names_behind(output, results, by_id, variables_of(sys._getframe(1)) if variables else {})
    homes = homes_of(results, modules if group else [])
    passes = None
    folding = Folding(results, homes) if group and len(results) > LARGE else None
    too_many = len(results) if order == 2 and len(results) > reverse_passes.LIMIT else 0
    if order == 2 and results and not too_many:
        leaves = {id(x): x for node in results for x in node._inputs if isinstance(x, Tensor) and x._primitive is None}
        passes = reverse_passes.record(output, results, leaves.values())
        passes.describe(output, results, by_id)
        results = _behind(passes.roots, "graph")
        for node in results:  # what a hook or a rule brought in from elsewhere was there before
            passes.layers.setdefault(node._number, 0)
    elif folding is not None:
        results = folding.without_middles()
    titles = by_id if passes is None else passes.titles
    kinds = {} if passes is None else passes.kinds
    cuts = cuts_between({id(x): x for node in results for x in (*node._inputs, node)}.values())
    own = titles if passes is not None else {key: name for key, name in titles.items() if key in named}
    inside, inner = _inside(results, homes, own, parameters, {id(leaf) for _, leaf in cuts})
    if compact is None:
        compact = order == 1 and _is_large(results, homes)
        in_page = True
    else:
        in_page = compact
    drawing, homes = _chosen(
        output, results, homes, passes, int(max_nodes), own, compact, inner if compact else set(), cuts
    )
    if too_many:
        text = f"… the backward passes of {too_many:,} operations are not shown"
        drawing.gaps["passes"] = text, None

    called = titles if passes is None else passes.names(results)

    def root_of(node: Tensor) -> str | None:
        root = output if passes is None else passes.root_of(node, output)
        return called.get(id(root), "L") if root is not None and node._requires_grad else None

    usual = output._ndarray.dtype
    direction = direction or ("TB" if compact else "LR")

    picture = Graph(
        graph_attr={"rankdir": direction, "bgcolor": "white", "fontname": FONT, "nodesep": "0.2",
                    "ranksep": "0.2" if compact else "0.3",
                    "fontsize": "11", "tooltip": TITLE},
        node_attr={"fontname": FONT, "fontsize": "11", "fontcolor": "#111111", "margin": "0.12,0.06", "height": "0.3"},
        edge_attr={"color": "#555555", "arrowsize": "0.7"},
    )  # fmt: skip
    frames = Frames(picture, direction)
    for unit, closed, nodes in drawing.units:
        written = {id(node) for node in nodes} & drawing.within.keys()
        within = [leaf for node in nodes for leaf in inside.get(node._number, ())] if compact else []
        if closed is not None:
            n = operations(closed, nodes, homes)
            lines = module_lines(closed, n)
            if n == 1 and compact:
                lines += leaf_lines(within, shown) + result_lines(nodes[0], own.get(id(nodes[0])), shown, usual)
            frames.node(closed.parent, unit, "module", lines, module_tip(closed, nodes))
            picture.boxes.append((closed.start, closed.end, unit))
        else:
            (node,) = nodes
            lines = operation_lines(node, own, shown, bool(written), within, usual)
            tip = operation_tip(node, called, root_of(node), bool(written))
            frames.node(homes.get(node._number), unit, "operation", lines, tip)
    for name, x, home in drawing.tensors.values():
        kind = kinds.get(id(x)) or kind_of(x, output, parameters)
        title = titles.get(id(x), _own_name(x))
        lines = tensor_lines(x, kind, title, shown, None if x is output else usual)
        frames.node(home, name, kind, lines, tensor_tip(x, kind, title))
    for name, x, home in drawing.references:
        title = titles[id(x)]
        frames.node(home, name, "reference", [("value", printable(title))], tensor_tip(x, "reference", title))
    for name, (text, home) in drawing.gaps.items():
        frames.node(home, name, "gap", [("value", text)], [text])
    frames.close()
    frames.edges(drawing)
    if legend:
        frames.legend()
    picture.legend = legend
    words = Words(output, own, called, root_of, kinds, parameters, inside if in_page else {}, shown)
    picture.hierarchy = Hierarchy(results, homes, words)
    return picture


def _own_name(x: Any) -> str | None:
    return getattr(x, "name", None)
