"""Curvature on several ranks against one process with all batches, and against matrices computed from the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nn
from autodiff import curvature
from autodiff.ranks import Disagreement
from tests.ranks import on_ranks

draw = np.random.default_rng(0)
X = draw.normal(size=(30, 4))
Y = draw.integers(0, 3, 30)
IGNORED = np.where(np.arange(30) % 4 == 0, -100, Y)
BATCHES = [(X[:12], IGNORED[:12]), (X[12:20], Y[12:20]), (X[20:], IGNORED[20:])]
V = draw.normal(size=(43, 2))


def network() -> Any:
    rng = np.random.default_rng(1)
    return nn.Sequential(nn.Linear(4, 5, rng=rng), nn.Tanh(), nn.Linear(5, 3, rng=rng)).to("float64")


def own(comm: Any) -> list[Any]:
    """This rank's batches: with four ranks, the last has none."""
    return BATCHES if comm is None else BATCHES[comm.rank :: comm.size]


def operator(name: str, comm: Any, **options: Any) -> Any:
    model, loss = network(), nn.CrossEntropyLoss(weight=[1.0, 2.0, 3.0])
    params = list(model.parameters())
    options = {"batches": own(comm), "comm": comm, "damping": 0.1, "count": lambda x, y: loss.count(y)} | options
    if name == "Hessian":
        return curvature.Hessian(lambda x, y: loss(model(x), y), params, **options)
    if name == "GaussNewton":
        return curvature.GaussNewton(lambda x, y: model(x), lambda z, x, y: loss(z, y), params, **options)
    kind = getattr(curvature, name)
    return kind(lambda x, y: model(x), lambda z, x, y: loss(z, y), params, **options)


CASES = [
    ("Hessian", {}), ("GaussNewton", {}), ("Fisher", {}), ("Fisher", {"kind": "empirical"}),
    ("Fisher", {"kind": "empirical", "reduction": "sum"}), ("KFAC", {}), ("KFAC", {"kind": "empirical"}),
    ("KFAC", {"sharing": "reduce", "separate": True, "reduction": "sum"}), ("EKFAC", {"kind": "empirical"}),
]  # fmt: skip


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_an_operator_on_several_ranks_is_that_of_one_process_with_all_batches(
    name: str, options: dict[str, Any], ranks: int
) -> None:
    def found(comm: Any) -> list[Any]:
        op = operator(name, comm, **options)
        blocks = [(block.left, block.right, block.values) for block in getattr(op, "blocks", ())]
        return [op @ V, op.diagonal(), op.to_dense(), *[part for block in blocks for part in block if part is not None]]

    for one, several in zip(found(None), on_ranks(ranks, found), strict=True):
        np.testing.assert_allclose(several, one, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["Fisher", "KFAC", "EKFAC"])
def test_a_recorded_output_of_each_rank_counts_by_its_samples_as_in_one_process(name: str) -> None:
    def found(comm: Any) -> list[Any]:
        x = X if comm is None else X[:23] if comm.rank else X[23:]
        model = network()
        op = getattr(curvature, name)(model(x), None, model.parameters(), comm=comm)
        return [op @ V, op.diagonal()]

    for one, several in zip(found(None), on_ranks(2, found), strict=True):
        np.testing.assert_allclose(several, one, rtol=1e-10, atol=1e-13)


def test_the_draws_of_the_monte_carlo_kind_are_apart_on_each_rank_and_the_same_again_and_right_on_average() -> None:
    """With the same draws on all ranks, the mean over two ranks with the same samples would be that over one."""

    def found(comm: Any, samples: int = 1, name: str = "Fisher") -> Any:
        return operator(name, comm, batches=[(X, Y)], kind="mc", samples=samples, rng=5).to_dense()

    one, both = found(None), on_ranks(2, found)
    assert np.abs(one - both).max() > 0.01 * np.abs(one).max()
    np.testing.assert_array_equal(both, on_ranks(2, found))
    for name in ("Fisher", "KFAC"):
        exact = operator(name, None, batches=[(X, Y)]).to_dense()
        many = on_ranks(2, lambda comm, name=name: found(comm, 4000, name))
        np.testing.assert_allclose(many, exact, atol=0.03 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("of_rank", "message"),
    [
        (lambda rank: ("Fisher" if rank else "Hessian", {}), "the operator is 'Hessian' on rank 0 and 'Fisher' on r"),
        (lambda rank: ("Fisher", {"kind": ("exact", "mc")[rank]}), "kind is 'exact' on rank 0 and 'mc' on rank 1"),
        (lambda rank: ("KFAC", {"sharing": ("reduce", "expand")[rank]}), "sharing is 'reduce' on rank 0 and 'expand'"),
        (lambda rank: ("KFAC", {"damping": 0.5 * rank}), "damping is 0.0 on rank 0 and 0.5 on rank 1"),
        (lambda rank: ("EKFAC", {"batches": []}), "EKFAC: there are no samples that count, on any rank"),
        (lambda rank: ("Hessian", {"batches": []}), "Hessian: there are no samples that count, on any rank"),
    ],
)
def test_ranks_that_make_other_operators_are_told_which_and_how(of_rank: Any, message: str) -> None:
    def said(comm: Any) -> str:
        name, options = of_rank(comm.rank)
        with pytest.raises(ValueError, match=message) as raised:
            operator(name, comm, **options).diagonal()
        return str(raised.value).partition(":")[2]

    on_ranks(2, said)


def test_parameters_of_other_shapes_or_values_on_a_rank_are_named_with_both() -> None:
    def said(comm: Any, wider: bool) -> str:
        model = nn.Linear(4, 3 + (comm.rank if wider else 0), rng=np.random.default_rng(comm.rank))
        with pytest.raises(Disagreement) as raised:
            curvature.Fisher(lambda x, y: model(x), None, model.parameters(), batches=BATCHES, comm=comm)
        return str(raised.value)

    assert "params[0] (shape, dtype, checksum) is ((3, 4), 'float32', " in on_ranks(2, lambda comm: said(comm, False))
    assert "on rank 0 and ((4, 4), 'float32', " in on_ranks(2, lambda comm: said(comm, True))


def test_graphs_that_use_the_parameters_in_another_way_on_a_rank_are_refused() -> None:
    model = network()

    def output(x: Any, y: Any, rank: int) -> Any:
        return model(x) if not rank else model[2](model[0](x) + model[0].bias ** 2)

    def said(comm: Any) -> str:
        with pytest.raises(Disagreement, match="KFAC: the ranks disagree: how the graph uses the parameters") as raised:
            curvature.KFAC(lambda x, y: output(x, y, comm.rank), None, model.parameters(), batches=BATCHES, comm=comm)
        return str(raised.value)

    on_ranks(2, said)
