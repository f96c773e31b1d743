"""What the documentation says is run: docstring examples, the README's code, the names it promises."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import autodiff as ad
import nn
import optim
from autodiff.primitive import REGISTRY

from . import snippets

ROOT = Path(__file__).parents[1]


def _modules() -> list[str]:
    found = []
    for package in (ad, nn, optim):
        found.append(package.__name__)
        found += [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return [name for name in found if not name.endswith("__main__")]


@pytest.mark.parametrize("name", _modules())
def test_the_examples_in_docstrings_give_what_they_show(name: str) -> None:
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(module, extraglobs={"np": np, "ad": ad, "nn": nn, "optim": optim}, optionflags=flags)
    assert result.failed == 0


def test_the_code_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(snippets.blocks(ROOT / "README.md")) >= 3
    monkeypatch.chdir(tmp_path)
    snippets.run(ROOT / "README.md")


def test_every_operation_has_formulas_for_pictures_and_tables() -> None:
    for record in REGISTRY.values():
        assert record.formula, record.name
        assert record.derivatives, record.name
        assert record.each or record.joint or len(record.derivatives) == len(record.vjps), record.name


def test_public_names_are_numpys_or_promised() -> None:
    promised = set(
        """Tensor tensor no_grad enable_grad is_grad_enabled gradients grad value_and_grad vjp jvp jacobian hessian hvp
        elementwise_grad gauss_newton_vp stop_gradient checkpoint scan cond while_loop vmap keep_memory compile primitive
        Multiplication gradcheck gradgradcheck GradientCheckError detect_anomaly
        record_lines AnomalyError DetachWarning graph explain walk special linalg relu sigmoid softplus softmax log_softmax logsumexp
        cross_entropy sparse_matmul""".split()
    )
    submodules = {m.name for m in pkgutil.iter_modules(ad.__path__)}
    promised |= {"unstack", "cumulative_sum", "cumulative_prod", "matvec", "vecmat"}  # NumPy's, from 2.1 and 2.2
    promised |= {"sliding_window_view"}  # NumPy's, of np.lib.stride_tricks
    public = {name for name in dir(ad) if not name.startswith("_")}
    assert promised <= public
    assert {n for n in public - promised - submodules if not hasattr(np, n)} == set()


def test_the_promised_operations_exist_as_functions_of_ad() -> None:
    names = """add subtract multiply divide power negative absolute sign exp exp2 expm1 log log2 log10 log1p sqrt cbrt
    square reciprocal sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh sinc hypot maximum
    minimum fmax fmin clip where logaddexp mod floor ceil round relu sigmoid softplus heaviside sum mean prod max min var
    std logsumexp cumsum cumprod any all argmax argmin count_nonzero reshape ravel transpose swapaxes moveaxis squeeze
    expand_dims broadcast_to concatenate stack hstack vstack split array_split tile repeat flip roll rot90 pad diag
    diagonal trace tril triu sort partition meshgrid take take_along_axis matmul dot tensordot inner outer kron einsum
    cross softmax log_softmax cross_entropy zeros ones full eye arange linspace zeros_like ones_like full_like""".split()
    assert [n for n in names if not callable(getattr(ad, n, None))] == []
    linalg = """inv solve det slogdet cholesky eigh svd qr norm pinv matrix_power multi_dot solve_triangular
    funm_sym spectral_sum""".split()
    assert [n for n in linalg if not callable(getattr(ad.linalg, n, None))] == []
    special = "erf erfc gammaln digamma expit log_ndtr".split()
    assert [n for n in special if not callable(getattr(ad.special, n, None))] == []


def test_the_table_of_operations_is_what_the_records_say() -> None:
    script = "from docs.operations import table; print(table(), end='')"
    written = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "operations.md").read_text(encoding="utf-8") == written.stdout
