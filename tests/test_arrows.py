"""The arrows of the house: what imports what, read from the source of all three packages.

An import is an import wherever it stands: at the top, inside a function, under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("autodiff", "nn", "optim")

FLOORS = (  # of autodiff, from the ground up; a room may import what stands before it, or beside it without a circle
    {
        "mode",
        "leaving",
        "elsewhere",
        "device_arrays",
        "devices",
        "protocols",
        "methods",
        "tensor",
        "opaque",
        "standing_in",
        "primitive",
        "untaken",
        "backward",
    },
    {"machine"},
    {"ops"},
    {
        "fft",
        "linalg",
        "special",
        "polynomial",
        "random",
        "stats",
        "signal",
        "ndimage",
        "persistence",
        "clipping",
        "averaging",
        "ranks",
        "data",
        "generators",
        "flags",
        "accepting",
        "lettering",
        "figures",
        "memory",
        "batching",
    },
    {"transforms"},
    {"checking", "curvature", "compiling", "solvers"},
    {"seeing"},
    {"__init__"},
    {"__main__"},
)


@cache
def modules() -> dict[str, Path]:
    """All modules of the project by name."""
    found = {}
    for path in sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(name: str) -> Iterator[tuple[str, str | None, int]]:
    """What a module of the project imports of the project: a module, a name in it (None for the module itself), and
    the line."""
    path, known = modules()[name], modules()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in known:
                    yield alias.name, None, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            for alias in node.names:
                if f"{base}.{alias.name}" in known:
                    yield f"{base}.{alias.name}", None, node.lineno
                elif base in known:
                    yield base, alias.name, node.lineno


def arrows() -> dict[str, set[str]]:
    return {name: {target for target, _, _ in imported(name)} - {name} for name in modules()}


def room(name: str) -> str:
    """The file or folder of a package's own level that a module belongs to: ``nn.loss``, ``nn.linear``, ``nn``."""
    return ".".join(name.split(".")[:2])


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of a graph, or []."""
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        stack: list[tuple[str, Iterable[str]]] = [(start, iter(sorted(graph.get(start, ()))))]
        if start in done:
            continue
        path.append(start)
        while stack:
            name, targets = stack[-1]
            for target in targets:
                if target in path:
                    return [*path[path.index(target) :], target]
                if target not in done:
                    path.append(target)
                    stack.append((target, iter(sorted(graph.get(target, ())))))
                    break
            else:
                done.add(name)
                path.pop()
                stack.pop()
    return []


def test_no_file_imports_itself_through_others() -> None:
    assert circle(arrows()) == []


def test_no_folder_imports_itself_through_others() -> None:
    graph: dict[str, set[str]] = {}
    for name, targets in arrows().items():
        graph.setdefault(room(name), set()).update(room(t) for t in targets if t not in PACKAGES)
    for name in PACKAGES:  # the public face of a package is above all its rooms
        graph.pop(name)
    assert circle({name: targets - {name} for name, targets in graph.items()}) == []


def test_no_room_of_autodiff_imports_what_stands_above_it() -> None:
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    for name, targets in arrows().items():
        if name.split(".")[0] != "autodiff":
            continue
        here = floor[name.split(".")[1] if "." in name else "__init__"]
        for target in targets:
            if target != "autodiff" and target.split(".")[0] == "autodiff":
                assert floor[target.split(".")[1]] <= here, f"{name} imports {target}"


def test_nothing_inside_a_package_imports_its_public_face() -> None:
    for name, targets in arrows().items():
        package = name.split(".")[0]
        if name != package and name != "autodiff.__main__":
            assert package not in targets, f"{name} imports {package}"


def test_nn_and_optim_do_not_know_each_other_and_autodiff_knows_neither() -> None:
    allowed = {"autodiff": {"autodiff"}, "nn": {"nn", "autodiff"}, "optim": {"optim", "autodiff"}}
    for name, targets in arrows().items():
        if name != "autodiff.__main__":
            assert {t.split(".")[0] for t in targets} <= allowed[name.split(".")[0]], name


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def test_no_private_name_is_imported() -> None:
    found = [
        f"{name}:{line} imports {what} of {target}"
        for name in modules()
        for target, what, line in imported(name)
        if (what and private(what)) or (what is None and private(target.rpartition(".")[2]))
    ]
    assert found == []


OF_OTHERS = {"_replace", "_asdict", "_fields", "_make", "_getframe"}  # named tuples', and sys._getframe


def owned(tree: ast.Module) -> set[str]:
    """The private names a file defines: functions, classes, variables, and attributes it assigns or declares."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)  # __slots__
    return names


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def test_no_private_attribute_is_used_outside_the_file_that_defines_it() -> None:
    slots = {n for n in owned(parsed(modules()["autodiff.tensor"])) if private(n)}  # the engine's own, in the engine
    found = []
    for name, path in modules().items():
        tree = parsed(path)
        mine = owned(tree) | (slots if name.split(".")[0] == "autodiff" else set()) | OF_OTHERS
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not private(node.attr) or node.attr in mine:
                continue
            if not _is_self(node.value) and ast.unparse(node.value) != "super()":  # what a class inherits is its own
                found.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    assert found == []


def test_every_folder_says_what_lives_in_it() -> None:
    for path in modules().values():
        if path.name == "__init__.py":
            text = ast.get_docstring(parsed(path)) or ""
            assert 40 < len(text), path
