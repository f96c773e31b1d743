"""The benchmarks run, agree with float64 derivatives, and report: a smoke test, with no claim about speed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.special

ROOT = Path(__file__).parents[2]
TORCH = importlib.util.find_spec("torch") is not None

# As `python -m benchmarks`, but with no torch to import.
WITHOUT_TORCH = [
    "-c",
    "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('benchmarks', run_name='__main__')",
]


def run(*arguments: str, start: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(start or ["-m", "benchmarks"]), *arguments]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=120)


SMALL = ["--quick", "--repeats", "2", "--only", "chain", "--only", "2-16-16-1"]


def check_report(data: dict, with_torch: bool) -> None:
    assert [w["name"] for w in data["workloads"]] == [
        "chain-100", "mlp-2-16-16-1-gradient", "mlp-2-16-16-1-hvp", "chain-1000000", "mlp-2-16-16-1-sgd",
        "mlp-2-16-16-1-adam",
    ]  # fmt: skip
    assert data["wait policy"] == "PASSIVE"
    for workload in data["workloads"]:
        assert {*workload["sides"], *workload["absent"]} == {*data["versions"]}
        for name, side in workload["sides"].items():
            assert side["median"] > 0 and side["relative error"] < 1e-3
            assert len(side["seconds"]) == 2 or name not in ("ours", "torch")
            assert ("first call" in side) is (name in ("compiled", "native", "jax"))
        assert {"ours", "numpy", *(["torch"] if with_torch else [])} <= {*workload["sides"]}
        assert workload["targets"]
        for target in workload["targets"]:
            measured = target["measured"]
            if measured is None:
                assert target["met"] is None and (not with_torch or target["what"] != "time / torch")
            elif target["at most"] is not None:
                assert target["met"] is (measured <= target["at most"])
    chain = next(w for w in data["workloads"] if w["name"] == "chain-1000000")
    assert {"forward", "backward", "free"} == set(chain["sides"]["ours"]["phases"])


@pytest.mark.slow
def test_all_sides_run_and_the_report_and_the_json_file_say_what_was_measured(tmp_path):
    file = tmp_path / "figures.json"
    done = run(*SMALL, "--json", str(file))
    assert done.returncode == 0, done.stderr
    for words in ("median time of a call", "chain of 100 operations", "MLP 2-16-16-1", "time / torch", "at most"):
        assert words in done.stdout
    data = json.loads(file.read_text())
    check_report(data, with_torch=TORCH)
    missing = [p for p in ("torch", "autograd", "mygrad", "jax") if importlib.util.find_spec(p) is None]
    assert data["missing"] == dict.fromkeys(missing, "not installed")


def test_a_peer_that_is_not_installed_is_listed_and_its_targets_are_not_measured(tmp_path):
    file = tmp_path / "figures.json"
    done = run(*SMALL, "--peers", "torch,numpy", "--json", str(file), start=WITHOUT_TORCH)
    assert done.returncode == 0, done.stderr
    assert "torch: not installed" in done.stdout and "not measured" in done.stdout
    data = json.loads(file.read_text())
    check_report(data, with_torch=False)
    assert data["missing"] == {"torch": "not installed"}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--only", "nonsense"], "there are chain-100"),
        (["--peers", "torch,tinygrad"], "--peers tinygrad: unknown"),
        (["--repeats", "0"], "needs at least 1"),
        (["--repeats", "many"], "invalid int value: 'many'"),
        (["--json", str(ROOT / "no such folder" / "figures.json")], "cannot be written: No such file or directory"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_bad_option_gets_one_clear_line_and_exit_status_2(arguments, words, capsys):
    from benchmarks.__main__ import parse

    with pytest.raises(SystemExit) as stop:
        parse(arguments)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and words in said


def test_help_names_every_option():
    done = run("--help")
    assert done.returncode == 0
    for option in ("--only", "--peers", "--repeats", "--quick", "--json", "--list", "--no-gc"):
        assert option in done.stdout


def test_a_side_that_computes_something_else_stops_the_comparison():
    from benchmarks import peers, timing, workloads

    chain = workloads.workloads(quick=True)[0]
    good = chain.run(peers.Ours())
    wrong = workloads.Run(good.call, lambda: [g * np.float32(1.01) for g in good.result()])
    assert timing.verify(chain, {"ours": good})["ours"] < 1e-3
    with pytest.raises(timing.Disagreement, match="torch differs from the truth"):
        timing.verify(chain, {"ours": good, "torch": wrong})


def test_derivatives_by_hand_are_central_differences():
    from benchmarks import programs, workloads

    class xp:
        tanh, np, ndtr = staticmethod(np.tanh), np, staticmethod(scipy.special.ndtr)

    for p in (workloads.mlp((3, 4, 4, 2), "tanh", 5), programs.rosenbrock(), programs.black_scholes(20),
              programs.student_t(50)):  # fmt: skip
        params, constants = ([np.asarray(a, float) for a in group] for group in (p.params, p.constants))
        rng = np.random.default_rng(0)
        vectors = [a.astype(float) for a in p.vectors] or [0.1 * rng.normal(size=a.shape) for a in params]

        def moved(t: float, params: list = params, vectors: list = vectors) -> list:
            return [a + t * v for a, v in zip(params, vectors)]

        eps = 1e-5
        slope = (p.loss(xp, moved(eps), constants) - p.loss(xp, moved(-eps), constants)) / (2 * eps)
        if p.value_and_gradient_by_hand is not None:
            value, *gradient = p.value_and_gradient_by_hand(params, constants)
            np.testing.assert_allclose(value, p.loss(xp, params, constants), rtol=1e-12)
        else:
            gradient = p.gradient_by_hand(params, constants)
        np.testing.assert_allclose(sum((g * v).sum() for g, v in zip(gradient, vectors)), slope, rtol=1e-6)
        if p.hvp_by_hand is None:
            continue
        plus, minus = p.gradient_by_hand(moved(eps), constants), p.gradient_by_hand(moved(-eps), constants)
        for found, a, b in zip(p.hvp_by_hand(params, constants, vectors), plus, minus):
            expected = (a - b) / (2 * eps)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
