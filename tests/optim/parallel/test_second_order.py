"""Optimisers with curvature on several ranks, threads here, against one process with the whole batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nn
import optim
from tests.ranks import on_ranks

from . import cases


@pytest.mark.parametrize(
    "optimizer_of",
    [
        lambda params: optim.HessianFree(params, weight_decay=1e-2),
        lambda params: optim.NaturalGradient(params, 1.0, 0.1, weight_decay=1e-2),
        lambda params: optim.NaturalGradient(params, 1.0, 0.1, kind="empirical", cg_tol=1e-9),
        lambda params: optim.KFAC(params, kind="exact", every=2, weight_decay=1e-2),
    ],
    # Well-conditioned, as conjugate gradients that end early enlarge the rounding of sums in another order.
    ids=["HessianFree", "NaturalGradient", "empirical", "KFAC"],
)
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_step_on_several_ranks_is_that_of_the_whole_batch(optimizer_of: Any, ranks: int) -> None:
    def trained(comm: Any) -> Any:
        model = cases.network(comm)
        loss = nn.CrossEntropyLoss(weight=[1.0, 2.0, 3.0])
        history = optim.fit(model, loss, (cases.X, cases.IGNORED), optimizer=optimizer_of(model.parameters()), epochs=3,
                            batch_size=None, rng=3, comm=comm)  # fmt: skip
        return cases.found(model, history)

    one, several = trained(None), on_ranks(ranks, trained)
    for name in one:
        np.testing.assert_allclose(several[name], one[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_targets_drawn_from_the_model_are_drawn_again_with_the_same_seed_and_apart_on_each_rank() -> None:
    def trained(comm: Any, rng: int = 1) -> Any:
        model = cases.network(None)
        optimizer = optim.KFAC(model.parameters(), rng=rng)
        optim.fit(model, nn.CrossEntropyLoss(), (cases.X, cases.Y), optimizer=optimizer, epochs=3, batch_size=None,
                  rng=3, comm=comm)  # fmt: skip
        return cases.found(model)

    first, again, other = (on_ranks(2, lambda comm, rng=rng: trained(comm, rng)) for rng in (1, 1, 2))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert any((first[name] != other[name]).any() for name in first)
