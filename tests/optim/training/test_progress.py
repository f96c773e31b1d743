"""What a training shows of itself: a bar on a terminal and in a notebook, lines elsewhere, nothing unasked."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import nn
import optim
from optim.training import progress


def train(progress=None, batches=5):
    rng = np.random.default_rng(0)
    model = nn.Linear(4, 3, rng=rng)
    data = rng.normal(size=(10 * batches, 4)), rng.integers(0, 3, 10 * batches)
    sgd = optim.SGD(model.parameters(), lr=0.1)
    return optim.fit(
        model, nn.CrossEntropyLoss(), data, optimizer=sgd, epochs=2, batch_size=10, progress=progress, rng=0
    )


def test_off_a_terminal_nothing_is_said_unless_asked_for_and_then_a_line_for_each_epoch(capsys, monkeypatch):
    train()
    train(progress=False)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)  # which a line does not need
    history = train(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    lines = [f"epoch {i}/2: train_loss {loss:.4g} " for i, loss in enumerate(history.train_loss, 1)]
    assert [line[: line.index("(")] for line in err.splitlines()] == lines
    assert re.search(r"\(\d\S* s\)$", err.splitlines()[0])


def test_a_terminal_gets_a_bar_unasked(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train()
    out, err = capsys.readouterr()
    assert out == "" and "10/10" in err and "train_loss" in err and "epoch 2/2" in err
    train(progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_notebook_gets_a_bar_when_asked_where_its_widgets_are(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(progress, "_widgets", lambda: True)
    train()
    assert capsys.readouterr() == ("", "")
    train(progress=True)
    assert "10/10" in capsys.readouterr().err


def test_without_tqdm_the_bar_is_an_error_only_if_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert len(train()) == 2
    with pytest.raises(ImportError, match="pip install tqdm"):
        train(progress=True)


def test_batches_without_a_length_have_a_bar_without_an_end(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = progress.Progress(True, (i for i in range(3)), 2, 0)
    bar.begin(1)
    bar.batch()
    bar.end({"train_loss": 1.0})
    bar.close()
    assert "1batch" in capsys.readouterr().err
