"""Nested lists, tuples and dicts of arrays ("pytrees"): taken apart into leaves, and put together again.

Named tuples and subclasses of dict keep their type; None is a part of the form that holds no leaf.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Form:
    """How a nested structure is built, without its leaves."""

    __slots__ = ("children", "keys", "kind")

    kind: Any  # None for a leaf, type(None) for None, an empty dict to copy, or the type of a list or tuple
    keys: tuple[Any, ...]
    children: tuple[Form, ...]

    def __init__(self, kind: Any = None, keys: Iterable[Any] = (), children: Iterable[Form] = ()) -> None:
        self.kind, self.keys, self.children = kind, tuple(keys), tuple(children)

    def build(self, leaves: Iterable[Any]) -> Any:
        """The structure of this form with these leaves."""
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> Any:
        kind = self.kind
        if kind is None:
            return next(leaves)
        if kind is type(None):
            return None
        parts = [child._build(leaves) for child in self.children]
        if isinstance(kind, dict):
            result = copy.copy(kind)
            result.update(zip(self.keys, parts))
            return result
        return kind._make(parts) if hasattr(kind, "_make") else kind(parts)

    def leaves_of(self, tree: Any, where: str, path: str = "") -> list[Any]:
        """The leaves of another structure, which must have this form.

        Raises:
            ValueError: naming the place at which the two differ.
        """
        kind = self.kind
        if kind is None:
            if tree is None or isinstance(tree, (tuple, dict)):
                raise ValueError(f"{where}{path}: needs an array or a number here, not {_named(tree)}")
            return [tree]
        if kind is type(None):
            if tree is not None:
                raise ValueError(f"{where}{path}: must be None here, not {_named(tree)}")
            return []
        found: list[Any] = []
        if isinstance(kind, dict):
            if not isinstance(tree, dict) or tree.keys() != set(self.keys):
                raise ValueError(f"{where}{path}: needs a dict with the keys {list(self.keys)}, not {_named(tree)}")
            for key, child in zip(self.keys, self.children):
                found += child.leaves_of(tree[key], where, f"{path}[{key!r}]")
            return found
        base = list if issubclass(kind, list) else tuple
        if not isinstance(tree, base) or len(tree) != len(self.children):
            raise ValueError(f"{where}{path}: needs a {kind.__name__} of {len(self.children)}, not {_named(tree)}")
        for i, (part, child) in enumerate(zip(tree, self.children)):
            found += child.leaves_of(part, where, f"{path}[{i}]")
        return found

    def kinds(self) -> Iterator[type]:
        """The types of its lists, tuples and dicts."""
        for child in self.children:
            yield from child.kinds()
        if self.kind is not None:
            yield self.kind if isinstance(self.kind, type) else type(self.kind)

    def paths(self, path: str = "") -> list[str]:
        """The place of each leaf, written as an index: ``[0]['w']``."""
        if self.kind is None:
            return [path]
        keys = self.keys or range(len(self.children))
        return [p for key, child in zip(keys, self.children) for p in child.paths(f"{path}[{key!r}]")]


def _named(tree: Any) -> str:
    if isinstance(tree, dict):
        return f"a dict with the keys {list(tree)}"
    if isinstance(tree, (list, tuple)):
        return f"a {type(tree).__name__} of {len(tree)}"
    return "None" if tree is None else f"a {type(tree).__name__}"


LEAF, NOTHING = Form(), Form(type(None))


def flatten(tree: Any) -> tuple[list[Any], Form]:
    """The leaves of a nested structure in order, and its form.

    >>> leaves, form = flatten({"w": [1.0, 2.0], "b": (3.0, None)})
    >>> leaves
    [1.0, 2.0, 3.0]
    >>> form.build(10 * leaf for leaf in leaves)
    {'w': [10.0, 20.0], 'b': (30.0, None)}
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Form:
    if isinstance(tree, (tuple, list)):
        return Form(type(tree), (), [_flatten(part, leaves) for part in tree])
    if isinstance(tree, dict):
        empty = copy.copy(tree)
        empty.clear()
        return Form(empty, tree, [_flatten(part, leaves) for part in tree.values()])
    if tree is None:
        return NOTHING
    leaves.append(tree)
    return LEAF


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same structure with the function applied to every leaf.

    >>> tree_map(abs, {"a": -1, "b": [2, None]})
    {'a': 1, 'b': [2, None]}
    """
    leaves, form = flatten(tree)
    return form.build(map(function, leaves))
