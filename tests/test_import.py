"""Importing the engine is light."""

from __future__ import annotations

import os
import resource
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


def _spent() -> float:
    """Processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_importing_autodiff_costs_at_most_50_ms_over_numpy(tmp_path: Path) -> None:
    # Bytecode is cached, as it is after installation; processes alternate, and the least processor times are compared,
    # which other work on the machine disturbs least.
    cache = {"PYTHONPYCACHEPREFIX": str(tmp_path)}
    _python("import numpy, autodiff", **cache)
    numpy, both = [], []
    for _ in range(9):
        for code, times in (("import numpy", numpy), ("import numpy, autodiff", both)):
            start = _spent()
            _python(code, **cache)
            times.append(_spent() - start)
    assert min(both) - min(numpy) < max(0.050, 0.35 * min(numpy))  # NumPy's own time says how fast the machine is today


PUBLIC = """autodiff.linalg autodiff.special autodiff.curvature autodiff.random nn.functional nn.init nn.loss nn.utils
nn.penalty nn.plot optim.lr_scheduler optim.swa optim.data optim.plot optim.sklearn""".split()


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_submodules_are_there_by_import_and_by_attribute(name: str) -> None:
    package, _, last = name.partition(".")
    assert _python(f"import {name} as module; print(module.__name__)").stdout.strip() == name
    assert _python(f"import {package}; print({package}.{last}.__name__)").stdout.strip() == name
