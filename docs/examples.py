"""The examples of a page of the reference, and the imports that they need; needs no Sphinx."""

from __future__ import annotations

import ast
import builtins
import doctest
import functools
import importlib
import inspect
from collections.abc import Iterator

from docs.names import MODULES, described_above, entries, exported

BY_NAME = {
    "np": "import numpy as np",
    "ad": "import autodiff as ad",
    "nn": "import nn",
    "optim": "import optim",
}


def examples(module: str) -> Iterator[tuple[str, str]]:
    """The docstrings with examples on a module's page, each with the name of what it describes."""
    for entry in entries(module)[0]:
        found = {entry.name: entry.value}
        if isinstance(entry.value, type):
            above = described_above(entry.value)
            kinds = [k for k in entry.value.__mro__ if k not in above]
            members = {name: member for k in kinds[::-1] for name, member in vars(k).items() if name[0] != "_"}
            found |= {f"{entry.name}.{name}": member for name, member in members.items()}
        for name, value in found.items():
            if ">>> " in (text := inspect.getdoc(value) or ""):
                yield name, text


@functools.cache
def imports(module: str) -> list[str]:
    """The lines after which the examples of a module's page run as they stand: what they take, its own names first."""
    wanted = {name for _, text in examples(module) for name in taken(text)}
    own = set(exported(importlib.import_module(module)))
    homes: dict[str, list[str]] = {}
    for name in sorted(wanted - own - BY_NAME.keys()):
        for home in [m for m in MODULES if name in exported(importlib.import_module(m))][:1]:
            homes.setdefault(home, []).append(name)
    return [
        *([f"from {module} import *"] if wanted & own else []),
        *(line for name, line in BY_NAME.items() if name in wanted),
        *(f"from {home} import {', '.join(names)}" for home, names in homes.items()),
    ]


def taken(text: str) -> set[str]:
    """The names that an example reads and does not make."""
    tree = ast.parse("".join(e.source for e in doctest.DocTestParser().get_examples(text)))
    read, made = set[str](), set(vars(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).split(".")[0])
    return read - made
