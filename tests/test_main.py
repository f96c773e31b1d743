"""The main job, run as a user runs it."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

ROOT = Path(__file__).parent.parent


def start(*arguments, cwd=None, code=None):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *(["-c", code] if code else ["-m", "autodiff"]), *map(str, arguments)]
    # A shell starts background jobs with Ctrl-C ignored, and their children inherit that: here it is in force again.
    heard = None if os.name != "posix" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command, cwd=cwd or ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heard,
    )  # fmt: skip


def run(*arguments, **options):
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def report(out):
    lines = out.splitlines()
    assert [re.match(r"accuracy|time per step|compiled|HVP|wrote|.*", line)[0] for line in lines] == [
        "accuracy", "time per step", "compiled", "HVP", "wrote", "wrote"
    ]  # fmt: skip
    how = " in machine code" if importlib.util.find_spec("llvmlite") else ""
    assert re.fullmatch(rf"compiled step: \d programs{how}; measure: 1 program{how}", lines[2])
    accuracy = float(re.match(r"accuracy ([\d.]+)%", lines[0])[1])
    error = float(re.search(r"error (\S+)", lines[3])[1])
    return accuracy, error, [Path(line.removeprefix("wrote ")) for line in lines[4:]]


def test_the_job_reaches_96_percent_and_an_exact_hvp_within_a_minute(tmp_path):
    began = time.perf_counter()
    status, out, err = run(cwd=tmp_path)
    assert status == 0, err
    accuracy, error, paths = report(out)
    assert accuracy >= 96 and error <= 1e-6
    assert time.perf_counter() - began < 60
    assert "training: 100%" in err
    svg, png = (tmp_path / path for path in paths)
    texts = [e.text for e in ElementTree.parse(svg).iter() if e.tag.endswith("text")]
    assert {"Linear", "ReLU", "loss", "images", "model.4"} <= set(texts)
    assert any(text.startswith("weight (10, ") for text in texts)
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_quiet_prints_the_report_alone_and_a_seed_repeats_it(tmp_path):
    outs = []
    for _ in range(2):
        status, out, err = run("--epochs", 2, "--seed", 3, "--quiet", "--out", tmp_path / "a" / "b")
        assert (status, err) == (0, "")
        report(out)
        outs.append([line for line in out.splitlines() if not line.startswith("time")])
    assert outs[0] == outs[1]


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["--epochs", "0"], "--epochs"),
        (["--epochs", "2.5"], "--epochs"),
        (["--lr", "0"], "--lr"),
        (["--lr", "nan"], "--lr"),
        (["--lr", "inf"], "--lr"),
        (["--seed", "-1"], "--seed"),
        (["--bogus"], "--bogus"),
        (["surplus"], "surplus"),
        (["--out", __file__], "--out"),
        (["--out", str(Path(__file__) / "inside")], "--out"),
        (["--out", "/proc/nothing"], "--out"),
    ],
)
def test_bad_options_get_one_clear_line_and_status_2(arguments, word):
    status, out, err = run(*arguments)
    assert status == 2 and out == ""
    assert word in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("package", ["sklearn", "matplotlib", "tqdm"])
def test_a_missing_extra_is_named_in_one_line_with_status_2(package, tmp_path):
    code = (
        f"import sys, runpy; sys.modules[{package!r}] = None; "
        "sys.argv = ['autodiff', *sys.argv[1:]]; runpy.run_module('autodiff', run_name='__main__')"
    )
    status, out, err = run("--epochs", 1, "--quiet", "--out", tmp_path, code=code)
    assert status == 2 and out == ""
    assert len(err.splitlines()) == 1 and "pip install" in err


def test_a_loss_that_explodes_is_told_in_one_line(tmp_path):
    status, out, err = run("--epochs", 3, "--lr", "1e30", "--quiet", "--out", tmp_path)
    assert status == 1 and out == ""
    assert "--lr" in err and len(err.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="signals are sent the POSIX way")
def test_ctrl_c_ends_it_cleanly(tmp_path):
    process = start("--epochs", 1_000_000, "--out", tmp_path)
    while "epoch/s" not in (seen := process.stderr.read(40)):
        assert seen
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err and out == "" and "interrupted" in err


def test_help_lists_every_option():
    status, out, _ = run("--help")
    assert status == 0
    assert all(word in out for word in ["--epochs", "--lr", "--seed", "--out", "--quiet"])
