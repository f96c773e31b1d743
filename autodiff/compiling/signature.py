"""What of a call's arguments decides about the program: its key, and a function that knows arguments of one key again.

A key is the grad mode, the forms of arguments and of keyword arguments, and for each leaf what of it matters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..batching.batch import Batch
from ..machine.layouts import differ
from ..mode import mode
from ..tensor import Tensor
from .tracer import Tracer

FIRST = 3
"""Where in a key the leaves begin."""
_PLAIN = (bool, int, str, bytes)
_LEAVES = frozenset({np.ndarray, Tensor, np.float64, np.float32, int, float, bool})
"""Types of arguments that are leaves, as most are."""


def key_of(recording: bool, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: list[Any]) -> Any:
    """The key of these arguments, whose leaves are added to the list, as `flatten` has them; None where one is a value
    inside another program, or of the examples of a `vmap`, or a collection that keeps more."""
    form = _gathered(args, leaves), _gathered(kwargs, leaves) if kwargs else None
    if any([type(x) is not np.ndarray and (_within(x) or keeps_more(x)) for x in leaves]):
        return None
    return (recording, *form, *[
        (np.ndarray, x.shape, x.dtype, x.strides) if type(x) is np.ndarray else _signature(x) for x in leaves
    ])  # fmt: skip


def _gathered(tree: Any, leaves: list[Any]) -> Any:
    """The form of nested arguments as a key; their leaves are added to the list."""
    kind = type(tree)
    if kind in _LEAVES or keeps_more(tree):
        leaves.append(tree)
        return 0
    if isinstance(tree, (tuple, list)):
        return kind, *[_gathered(part, leaves) for part in tree]
    if isinstance(tree, dict):
        return kind, tuple(tree), *[_gathered(part, leaves) for part in tree.values()]
    if tree is None:
        return None
    leaves.append(tree)
    return 0


def keeps_more(tree: Any) -> bool:
    """Whether it is a collection with attributes of its own, which is not taken apart: they may be anything."""
    return isinstance(tree, (tuple, list, dict)) and bool(getattr(tree, "__dict__", None))


def _within(x: Any) -> bool:
    return isinstance(x._ndarray if isinstance(x, Tensor) else x, (Tracer, Batch))


def _signature(x: Any) -> Any:
    """What of a leaf decides about the program."""
    kind = type(x)
    if isinstance(x, Tensor):
        a = x._ndarray
        g = None if x._grad is None else (x._grad._ndarray.dtype, x._grad._ndarray.strides)
        return kind, a.shape, a.dtype, a.strides, bool(x._requires_grad), x._primitive is None, not x._hooks, g
    if isinstance(x, np.ndarray):
        return kind, x.shape, x.dtype, x.strides, _Same(x)
    if isinstance(x, np.generic):
        return kind, x.dtype
    if kind is float:
        return kind, x.hex()
    if kind is complex:
        return kind, x.real.hex(), x.imag.hex()
    return kind, x if kind in _PLAIN else _Same(x)


class _Same:
    """An object as a key: equal to itself alone, and kept alive."""

    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x

    def __hash__(self) -> int:
        return id(self.x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.x is self.x


def unchanged_text(name: str, layout: Any, names: dict[str, Any]) -> str:
    """An expression for whether an array has this shape, dtype and strides, which are added to what it reads."""
    k = len(names)
    names |= {f"n{k}": layout[0], f"d{k}": layout[1], f"s{k}": layout[2]}
    dtype = f"({name}.dtype is d{k} or {name}.dtype == d{k})"
    return f"{name}.shape == n{k} and {dtype} and {name}.strides == s{k}"


def reader(key: Any, native: bool) -> Callable[[tuple[Any, ...], dict[str, Any]], list[Any] | None]:
    """A function of arguments and keyword arguments that gives the leaves where they have this key; where not, None. It
    is written for the key, and looks at each thing once.

    >>> leaves: list = []
    >>> read = reader(key_of(True, (np.ones(2), [3]), {}, leaves), False)
    >>> read((np.zeros(2), [3]), {})
    [array([0., 0.]), 3]
    >>> read((np.zeros(3), [3]), {}), read((np.zeros(2), [4]), {}), read((np.zeros(2), (3,)), {})
    (None, None, None)
    """
    names: dict[str, Any] = {"mode": mode.get, "recording": key[0], "ndarray": np.ndarray, "within": _within,
                             "signature": _signature}  # fmt: skip
    lines = ["if mode() is not recording: return None"]
    found: list[str] = []

    def walk(form: Any, name: str) -> bool:
        """Write down how a part is taken apart; whether that can be done."""
        if form is None or form == 0:
            lines.extend([f"if {name} is not None: return None"] if form is None else [])
            found.extend([] if form is None else [name])
            return True
        kind, *parts = form
        mapping = issubclass(kind, dict)
        plain = kind.values is dict.values if mapping else kind.__iter__ in (list.__iter__, tuple.__iter__)
        k = len(names)
        names[f"t{k}"], names[f"k{k}"] = kind, parts.pop(0) if mapping else len(parts)
        lines.append(f"if type({name}) is not t{k} or {'tuple' if mapping else 'len'}({name}) != k{k}: return None")
        if kind.__dictoffset__:
            lines.append(f"if {name}.__dict__: return None")  # where it keeps more
        inner = [f"{name}_{i}" for i in range(len(parts))]
        if inner:
            lines.append(f"{', '.join(inner)}, = {name}{'.values()' if mapping else ''}")
        return plain and all([walk(part, x) for part, x in zip(parts, inner, strict=True)])

    if key[2] is None:
        lines.append("if kwargs: return None")
    if not walk(key[1], "args") or not (key[2] is None or walk(key[2], "kwargs")):
        return lambda args, kwargs: None
    arrays: list[tuple[str, Any]] = []
    for name, signature in zip(found, key[FIRST:], strict=True):
        if signature[0] is np.ndarray and len(signature) == 4:
            arrays.append((name, signature[1:]))
            continue
        k = len(names)
        names |= {f"t{k}": signature[0], f"s{k}": signature}
        lines.append(f"if type({name}) is not t{k} or within({name}) or signature({name}) != s{k}: return None")
    names["differ"] = differ([layout for _, layout in arrays]) if native else None
    if names["differ"] is not None:
        lines.append(f"if differ(({''.join(f'{name}, ' for name, _ in arrays)})): return None")
    else:
        for name, layout in arrays:
            lines.append(f"if type({name}) is not ndarray or not ({unchanged_text(name, layout, names)}): return None")
    lines.append(f"return [{', '.join(found)}]")
    exec("def read(args, kwargs):\n" + "".join(f"    {line}\n" for line in lines), names)
    read: Callable[[tuple[Any, ...], dict[str, Any]], list[Any] | None] = names.pop(
        "read"
    )  # which would keep itself alive
    return read
