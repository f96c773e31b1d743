"""The script for GPUs runs, on arrays that stand in for a GPU's."""

from __future__ import annotations

import json

import pytest

from benchmarks import gpu


@pytest.mark.slow
def test_the_script_for_gpus_runs_on_a_stand_in_and_agrees_with_torch(tmp_path, capsys):
    pytest.importorskip("torch")
    report = tmp_path / "gpu.json"
    assert gpu.main(["--stand-in", "--no-sweep", "--json", str(report)]) == 0
    figures = json.loads(report.read_text())
    assert figures["digits"] > 0.8 and len(figures["times"]) == 5
    assert all(row["off"] < 1e-5 for row in figures["times"].values())
    assert "ViT block" in capsys.readouterr().out
