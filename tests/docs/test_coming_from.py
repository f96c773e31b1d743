"""The tables of "coming from": each line runs here, and gives what the other library gives, where that is installed."""

import re
from pathlib import Path

import numpy as np
import pytest

import nn
import optim

from .. import snippets

PAGES = Path(__file__).parents[2] / "docs" / "coming_from"
LIBRARIES = {"pytorch": "torch", "jax": "jax", "autograd": "autograd", "micrograd": "micrograd"}


def rows(page):
    """Code of both sides, line by line; None where a side has words."""
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 2 and not set(cells[0]) <= set("- ") and cells[1] != "here":
            yield [c[1:-1] if re.fullmatch(r"`[^`]+`", c) else None for c in cells]


def value(code, names):
    try:
        compiled = compile(code, "table", "eval")
    except SyntaxError:
        exec(code, names)
        return None
    return eval(compiled, names)


def number(x):
    """What can be compared: numbers and arrays of them."""
    x = getattr(x, "detach", lambda: x)()
    try:
        found = np.asarray(x.numpy() if hasattr(x, "numpy") else x)
    except Exception:
        return None
    return found if found.dtype.kind in "fiub" else None


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_line_here_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec("\n".join(snippets.blocks(PAGES / f"{name}.md")), names)
    found = [ours for _, ours in rows(PAGES / f"{name}.md") if ours]
    for ours in found:
        value(ours, names)
    assert len(found) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_both_sides_give_the_same_numbers(name, tmp_path, monkeypatch):
    pytest.importorskip(LIBRARIES[name])
    monkeypatch.chdir(tmp_path)
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    there, here = {}, {}
    exec(re.search(r"^```py\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1], there)
    exec("\n".join(snippets.blocks(PAGES / f"{name}.md")), here)
    compared = 0
    for theirs, ours in rows(PAGES / f"{name}.md"):
        if theirs is None or ours is None or re.match(r"draw_dot|model = MLP|model\(\[|for p in|model\.zero", theirs):
            continue
        wanted, found = number(value(theirs, there)), number(value(ours, here))
        if wanted is not None and found is not None:
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9, err_msg=f"{theirs}  |  {ours}")
            compared += 1
    assert compared >= 3


def test_what_is_said_to_be_pytorchs_alone_is():
    torch = pytest.importorskip("torch")
    text = re.sub(r"\(.*?\)", "", (PAGES / "pytorch.md").read_text(encoding="utf-8").replace("\n  ", " "))
    (line,) = re.findall(r"^- Not in (.*)\.$", text, re.MULTILINE)
    rooms = {"nn": (torch.nn, nn), "nn.functional": (torch.nn.functional, nn.functional), "optim": (torch.optim, optim)}
    found = {re.search("`(.*)`", part)[1]: re.split(r", *", part.split(":")[1].strip()) for part in line.split(";")}
    assert found.keys() == rooms.keys()
    for room, names in found.items():
        theirs, ours = rooms[room]
        assert [name for name in names if not hasattr(theirs, name.strip()) or hasattr(ours, name.strip())] == []
