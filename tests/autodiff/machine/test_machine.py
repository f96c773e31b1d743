"""Text becomes machine code, once for each machine where a cache is given."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from autodiff.machine import machine
from autodiff.machine.machine import Machine

TEXT = "define double @twice(double %x) {\n  %y = fadd double %x, %x\n  ret double %y\n}\n"


def twice(code: Machine) -> float:
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("twice"))(1.5)


def test_a_module_runs() -> None:
    assert twice(Machine(TEXT)) == 3.0


def test_code_is_kept_in_the_cache_and_read_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODIFF_CACHE", str(tmp_path / "new"))
    assert twice(Machine(TEXT)) == 3.0
    assert len(list((tmp_path / "new").iterdir())) == 1
    monkeypatch.setattr(machine, "_object_code", lambda text: pytest.fail("compiled twice"))
    assert twice(Machine(TEXT)) == 3.0


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:40] + b"?" + c[41:], lambda c: b""])
def test_damaged_code_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage) -> None:
    monkeypatch.setenv("AUTODIFF_CACHE", str(tmp_path))
    Machine(TEXT)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    file.write_bytes(damage(good))
    assert twice(Machine(TEXT)) == 3.0
    assert file.read_bytes() == good


def test_another_module_has_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTODIFF_CACHE", str(tmp_path))
    Machine(TEXT)
    Machine(TEXT.replace("fadd", "fmul"))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_text_is_compiled_once_while_its_code_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    made, compile = [], machine._object_code
    monkeypatch.setattr(machine, "_object_code", lambda text: made.append(text) or compile(text))
    text = TEXT.replace("%y", "%once")
    first, second = Machine.of(text, {}), Machine.of(text, {})
    assert first is second and len(made) == 1 and twice(second) == 3.0
    assert Machine.of(text + "\n", {}) is not first and len(made) == 2
    del first, second
    assert twice(Machine.of(text, {})) == 3.0 and len(made) == 3


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("AUTODIFF_CACHE", str(tmp_path / "file" / "below"))
    assert twice(Machine(TEXT)) == 3.0


def test_without_llvmlite_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "llvmlite"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    with pytest.raises(ImportError, match=r"pip install 'autodiff\[compile\]'"):
        machine.llvm.__wrapped__()
