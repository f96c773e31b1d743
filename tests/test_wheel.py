"""The wheel holds all that runs: built from the sources, installed elsewhere, used from an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_runs_the_main_job_and_draws_a_page(tmp_path: Path) -> None:
    sources, installed, empty = tmp_path / "sources", tmp_path / "installed", tmp_path / "empty"
    for name in ("autodiff", "nn", "optim"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, sources], check=True)
    (wheel,) = tmp_path.glob("autodiff-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", installed, wheel], check=True)
    empty.mkdir()

    def run(*arguments: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(installed)}
        result = subprocess.run(
            [sys.executable, *arguments], cwd=empty, env=environment, capture_output=True, text=True, check=True
        )
        return result.stdout

    page = f"""
import autodiff as ad, nn, optim, numpy as np
assert ad.__file__.startswith({str(installed)!r}), ad.__file__
x = ad.Tensor(2.0, requires_grad=True, name="x")
ad.explain(np.tanh(x) * x).to_html("page.html")
"""
    run("-c", page)
    assert "<script" in (empty / "page.html").read_text(encoding="utf-8")
    assert "held-out digits" in run("-m", "autodiff", "--epochs", "2")
    assert list((empty / "results").iterdir())
