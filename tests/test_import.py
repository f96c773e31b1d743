"""Importing the engine is light, and arrows point one way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | env
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )


def test_importing_autodiff_imports_neither_scipy_nor_graphviz_nor_matplotlib() -> None:
    heavy = ("scipy", "graphviz", "pygraphviz", "matplotlib", "tqdm", "sklearn", "numpy.random", "nn", "optim")
    code = f"import sys, autodiff; print([m for m in {heavy!r} if m in sys.modules])"
    assert _python(code).stdout.strip() == "[]"


def test_curvature_is_imported_by_who_uses_it() -> None:
    code = "import sys, autodiff as ad; before = 'scipy' in sys.modules; print(before, ad.curvature.Hessian.__name__)"
    assert _python(code).stdout.strip() == "False Hessian"


def test_importing_autodiff_and_nn_does_not_import_safetensors() -> None:
    assert _python("import sys, autodiff, nn; print('safetensors' in sys.modules)").stdout.strip() == "False"


def test_importing_autodiff_costs_at_most_50_ms_over_numpy(tmp_path: Path) -> None:
    # Bytecode is cached, as it is after installation; processes alternate, and the least times are compared, which
    # other work on the machine disturbs least.
    cache = {"PYTHONPYCACHEPREFIX": str(tmp_path)}
    _python("import numpy, autodiff", **cache)
    numpy, both = [], []
    for _ in range(7):
        for code, times in (("import numpy", numpy), ("import numpy, autodiff", both)):
            start = time.perf_counter()
            _python(code, **cache)
            times.append(time.perf_counter() - start)
    assert min(both) - min(numpy) < 0.050


_FLOORS = (  # from the ground up; a module may import only what stands before it (or beside it, in its own group)
    {"mode", "protocols", "methods"},
    {"tensor"},
    {"primitive"},
    {"backward"},
    {"ops"},
    {"linalg", "special", "tree", "flat"},
    {"forward"},
    {"transforms"},
    {"curvature"},
    {
        "check",
        "checkpoint",
        "clipping",
        "debug",
        "persistence",
        "random",
        "layout",
        "selection",
        "passes",
        "looks",
        "graph",
    },
    {"formats", "steps", "explain", "page"},
    {"__init__"},
    {"__main__"},
)


def _imports(path: Path) -> set[str]:
    """The modules of the project that a file imports anywhere in it, inside functions too; not for types alone."""
    found = set()
    tree = ast.parse(path.read_text())
    typing_only = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for n in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            base = ".".join((*package, *([node.module] if node.module else [])))
            found |= {base} if node.module else {f"{base}.{a.name}" for a in node.names}
    return found


def test_no_import_points_up() -> None:
    floor = {name: i for i, names in enumerate(_FLOORS) for name in names}
    for path in sorted((ROOT / "autodiff").rglob("*.py")):
        here = path.relative_to(ROOT / "autodiff").with_suffix("").parts[0]
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] in ("nn", "optim"):
                assert here == "__main__", f"{path} imports {name}"
            if parts[0] == "autodiff" and len(parts) > 1:
                assert floor[parts[1]] <= floor[here], f"{path} imports {name}"


def test_nn_and_optim_do_not_know_each_other() -> None:
    for package, other in (("nn", "optim"), ("optim", "nn")):
        for path in sorted((ROOT / package).rglob("*.py")):
            assert not any(name.split(".")[0] == other for name in _imports(path)), path
