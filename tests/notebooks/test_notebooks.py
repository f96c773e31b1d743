"""The notebooks run from a clean kernel, and what they store is what they show."""

from __future__ import annotations

import copy
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: the notebooks were not run")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: the notebooks were not run")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: the notebooks were not run")
pytest.importorskip("matplotlib", reason="matplotlib is not installed: the notebooks were not run")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 60  # for each cell, on a busy machine


def figures(notebook):
    """What each code cell shows besides text: a set of MIME types for each display, in order."""
    shown = []
    for number, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
        kinds = [tuple(sorted(set(o.data) - {"text/plain"})) for o in cell.outputs if "data" in o]
        shown.append((number, [k for k in kinds if k]))
    return shown


def test_the_notebooks_are_numbered_from_one_without_a_gap():
    assert [int(n.name[:2]) for n in NOTEBOOKS] == list(range(1, 21))


SHORT = ("01", "02")  # the others run with the slow tests


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[] if p.stem.startswith(SHORT) else [pytest.mark.slow]) for p in NOTEBOOKS],
    ids=lambda p: p.stem,
)
def test_a_clean_kernel_runs_the_notebook_and_shows_every_stored_figure(path, monkeypatch, tmp_path):
    stored = nbformat.read(path, as_version=4)
    notebook = copy.deepcopy(stored)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    # The kernel finds the packages of this checkout, and no settings of the person who runs the test.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(tmp_path / "matplotlib")))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    # No history file: SQLite would wait for locks on some shared file systems.
    client = nbclient.NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--HistoryManager.enabled=False"],
    )
    client.execute()  # raises CellExecutionError with the cell and its traceback

    assert figures(notebook) == figures(stored)
    assert sum(len(kinds) for _, kinds in figures(stored)) >= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_stored_notebook_is_complete_and_belongs_to_no_machine(path):
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len(text.encode()) < 1_000_000
    for place in (ROOT, Path.home(), Path(tempfile.gettempdir()), Path(sys.prefix)):
        assert len(place.parts) < 2 or f"{place}{os.sep}" not in text
    assert not re.findall(r"\bat 0x[0-9a-f]+", text)

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"]
    for words, link in re.findall(r"\[([^\]]*)\]\(([\w.-]+\.ipynb)\)", text):
        assert (path.parent / link).exists()
        if number := re.fullmatch(r"[Nn]otebook (\d+)", words):
            assert int(number[1]) == int(link[:2])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_notebook_says_what_it_teaches_and_answers_its_quiz_and_its_exercises(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert texts[0].startswith(f"# {int(path.stem[:2])} · ")
    assert "you will be able to" in texts[0]
    end = "\n".join(texts[-4:])
    assert end.index("## Quiz") < end.index("<details><summary>Answers") < end.index("Things to try")
    assert end.count("<details>") == end.count("</details>")
