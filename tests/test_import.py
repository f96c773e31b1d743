"""Importing the engine is light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_importing_the_figures_does_not_import_matplotlib() -> None:
    assert _python("import sys, nn.plot, optim.plot; print('matplotlib' in sys.modules)").stdout.strip() == "False"


def test_importing_autodiff_costs_at_most_50_ms_over_numpy(tmp_path: Path) -> None:
    # Bytecode is cached, as it is after installation. Both times are the processor's, taken in one process, so that
    # other work on the machine slows both; the quietest of nine processes counts.
    cache = {"PYTHONPYCACHEPREFIX": str(tmp_path)}
    _python("import numpy, autodiff", **cache)
    code = "from time import process_time as t; a = t(); import numpy; b = t(); import autodiff; print(b - a, t() - b)"
    runs = [[float(seconds) for seconds in _python(code, **cache).stdout.split()] for _ in range(9)]
    assert min(own / max(0.050, 0.35 * numpy) for numpy, own in runs) < 1, runs


PUBLIC = """autodiff.linalg autodiff.special autodiff.signal autodiff.ndimage autodiff.stats autodiff.solvers autodiff.curvature autodiff.random nn.functional nn.init nn.loss nn.utils
nn.penalty nn.plot optim.lr_scheduler optim.swa optim.data optim.plot optim.sklearn""".split()


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_submodules_are_there_by_import_and_by_attribute(name: str) -> None:
    package, _, last = name.partition(".")
    code = f"import {package}; print({package}.{last}.__name__); import {name} as module; print(module.__name__)"
    assert _python(code).stdout.split() == [name, name]
