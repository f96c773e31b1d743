"""What needs no other processes: several ranks as threads of this one, against a training without interruption or
without ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn
import optim
from tests.ranks import on_ranks

from . import cases


def dropping(comm: Any, folder: Any, epochs: int) -> Any:
    """A training whose ranks draw apart: for dropout, and for noise that is added to each batch."""
    rng = np.random.default_rng(1)
    drop = nn.Dropout(0.5, rng=np.random.default_rng(7 + comm.rank))
    model = nn.Sequential(nn.Linear(5, 8, rng=rng), drop, nn.Tanh(), nn.Linear(8, 3, rng=rng)).to("float64")
    optimizer = optim.NewtonCG(model.parameters(), cg_max=2)
    history = optim.fit(
        model, nn.CrossEntropyLoss(), (cases.X, cases.Y), optimizer=optimizer, epochs=epochs, batch_size=51, rng=3,
        augment=lambda x, y, rng: (x + rng.normal(size=x.shape), y), checkpoint=folder, resume=True, comm=comm,
    )  # fmt: skip
    return cases.found(model, history)


def test_each_rank_goes_on_with_its_own_random_numbers_bit_for_bit(tmp_path: Path) -> None:
    whole = on_ranks(2, lambda comm: dropping(comm, tmp_path / "whole", 3))
    on_ranks(2, lambda comm: dropping(comm, tmp_path / "parts", 1))
    resumed = on_ranks(2, lambda comm: dropping(comm, tmp_path / "parts", 3))
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)


def test_ranks_that_join_at_a_resumption_draw_apart_from_those_that_were_there(tmp_path: Path) -> None:
    on_ranks(2, lambda comm: dropping(comm, tmp_path, 1))
    states = []

    def joined(comm: Any) -> Any:
        drawn = []
        rng = np.random.default_rng(1)
        drop = nn.Dropout(0.5, rng=np.random.default_rng(7 + comm.rank))
        model = nn.Sequential(nn.Linear(5, 8, rng=rng), drop, nn.Tanh(), nn.Linear(8, 3, rng=rng)).to("float64")
        optim.fit(
            model, nn.CrossEntropyLoss(), (cases.X, cases.Y), optimizer=optim.NewtonCG(model.parameters(), cg_max=2),
            epochs=2, batch_size=51, rng=3, augment=lambda x, y, rng: (drawn.append(drop.rng.bit_generator.state), (x, y))[1],
            checkpoint=tmp_path, resume=True, comm=comm,
        )  # fmt: skip
        states.append(drawn[0]["state"]["state"])

    on_ranks(3, joined)
    assert len(set(states)) == 3


@pytest.mark.parametrize("given", ["arrays", "batches"])
def test_a_metric_passes_over_the_validation_batches_that_one_process_passes_over(given: str) -> None:
    """Of the first batch one rank's part is ignored, of the second everything is."""
    ignored = np.where(np.arange(30) // 5 % 6 == 0, -100, cases.Y[:30])
    ignored[10:20] = -100
    validation: Any = cases.X[:30], ignored
    parts = [(cases.X[i : i + 5], ignored[i : i + 5]) for i in range(0, 30, 5)]

    def first(output: Any, target: Any) -> float:
        return float(np.mean(output.numpy()[:, 0]))

    def trained(comm: Any) -> Any:
        model, of_rank = cases.network(comm), validation
        if given == "batches":
            of_rank = parts if comm is None else parts[comm.rank :: comm.size]
        history = optim.fit(
            model, nn.CrossEntropyLoss(), (cases.X[:100], cases.Y[:100]), optimizer=optim.NewtonCG(model.parameters(), cg_max=2),
            epochs=1, batch_size=10 if given == "arrays" else None, rng=3, validation=of_rank, metrics=[first], comm=comm,
        )  # fmt: skip
        return [history["val_loss"], history["val_first"]]

    np.testing.assert_allclose(on_ranks(2, trained), trained(None), rtol=1e-9)
