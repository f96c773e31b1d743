"""Curvature on several ranks against one process with all batches, and against matrices computed from the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nn
import optim
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


@pytest.mark.parametrize("name", ["Fisher", "KFAC", "EKFAC"])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_batch_of_ignored_targets_alone_counts_as_it_does_among_others(name: str, recorded: bool) -> None:
    """Its inputs are rows of the factor A, whatever the batches."""
    loss = nn.CrossEntropyLoss()
    y = np.where(np.arange(30) < 7, -100, Y)

    def found(comm: Any, ends: list[int]) -> list[Any]:
        model = network()
        parts = [slice(*ends) for ends in zip([0, *ends], [*ends, 30])]
        parts = parts if comm is None else parts[comm.rank :: comm.size]
        make = getattr(curvature, name)
        options: dict[str, Any] = {"kind": "empirical", "comm": comm}
        if recorded:
            z, t = model(X[parts[0]]), y[parts[0]]
            op = make(z, loss, model.parameters(), targets=t, **options)
        else:
            op = make(lambda x, t: model(x), lambda z, x, t: loss(z, t), model.parameters(),
                      batches=[(X[part], y[part]) for part in parts], count=lambda x, t: loss.count(t),
                      **options)  # fmt: skip
        return [op @ V, op.diagonal()]

    one = found(None, [])
    for several in (on_ranks(2, lambda comm: found(comm, [7])), *([] if recorded else [found(None, [7])])):
        for a, b in zip(one, several, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", ["Fisher", "KFAC", "EKFAC"])
def test_a_recorded_output_of_no_examples_counts_nothing(name: str, reduction: str) -> None:
    def found(comm: Any) -> list[Any]:
        model = nn.Sequential(nn.Linear(4, 5, rng=np.random.default_rng(1)), nn.LayerNorm(5), nn.Tanh()).to("float64")
        x = X if comm is None or comm.rank == 1 else X[:0]
        op = getattr(curvature, name)(model(x), None, model.parameters(), reduction=reduction, comm=comm)
        return [op.matvec(np.arange(op.size)), op.diagonal()]

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


# What takes a model and data


def noise(comm: Any, data: Any, **options: Any) -> Any:
    found = curvature.gradient_noise(network(), nn.CrossEntropyLoss(), data, comm=comm, **options)
    return list(found)


def plane(comm: Any, data: Any, **options: Any) -> Any:
    model = network()
    return curvature.landscape(model, nn.CrossEntropyLoss(), data, steps=3, comm=comm, **options).values


def posterior(comm: Any, data: Any, likelihood: str = "softmax", **options: Any) -> Any:
    options |= {} if likelihood == "softmax" else {"sigma_noise": None, "prior_precision": None}
    found = curvature.laplace(network(), data, likelihood, comm=comm, **options)
    predicted = found.predict(X[:5])
    seen = [predicted] if likelihood == "softmax" else [*predicted, found.sigma_noise, found.prior_precision]
    return np.concatenate([np.ravel(part) for part in [*seen, found.covariance(), found.log_marginal_likelihood()]])


def scores(comm: Any, data: Any, method: str) -> Any:
    loss = nn.CrossEntropyLoss()
    return curvature.influence(network(), loss, data, (X[:4], Y[:4]), damping=0.1, method=method, comm=comm).scores


def tracked(comm: Any, data: Any) -> Any:
    model = network()
    loss, optimizer = nn.CrossEntropyLoss(), optim.HessianFree(model.parameters())
    seen = curvature.track(model, loss, data, rng=0 if comm is None or comm.rank == 0 else None, comm=comm)
    optim.fit(model, loss, (X, Y), optimizer=optimizer, epochs=3, batch_size=None, rng=0, callbacks=[seen], comm=comm)
    return np.array([seen.sharpness, seen.trace, seen.noise])


MEANS = draw.normal(size=(30, 3))


@pytest.mark.parametrize(
    ("function", "y", "options"),
    [
        (noise, IGNORED, {}),
        (noise, Y, {"groups": "batches", "batch_size": 5}),
        (plane, IGNORED, {"rng": 0}),
        (plane, Y, {"directions": "eigen", "rng": 0}),
        *[(posterior, Y, {"structure": structure}) for structure in ("diag", "kron", "full", "last_layer")],
        (posterior, MEANS, {"likelihood": "gaussian"}),
        *[(scores, Y, {"method": method}) for method in ("cg", "exact", "kfac")],
        (tracked, Y, {}),
    ],
)
def test_what_takes_a_model_and_data_finds_on_several_ranks_what_one_process_finds(
    function: Any, y: Any, options: dict[str, Any]
) -> None:
    def found(comm: Any) -> Any:
        here = slice(None) if comm is None else slice(0, 20) if comm.rank == 0 else slice(20, 30)
        return function(comm, (X[here], y[here]), **options)

    np.testing.assert_allclose(on_ranks(2, found), found(None), rtol=2e-5 if function is tracked else 1e-7, atol=1e-12)


@pytest.mark.parametrize("function", [noise, plane, posterior])
def test_a_rank_without_data_counts_nothing(function: Any) -> None:
    def found(comm: Any) -> Any:
        data = (X, Y) if comm is None or comm.rank == 1 else []
        return function(comm, data, **({"structure": "last_layer"} if function is posterior else {}))

    if function is plane:
        found = lambda comm, found=found: plane(comm, (X, Y) if comm is None or comm.rank == 1 else [], rng=0)
    np.testing.assert_allclose(on_ranks(2, found), found(None), rtol=1e-7)


def test_a_loss_that_is_a_sum_is_refused_on_all_ranks_if_one_finds_it_out() -> None:
    def said(comm: Any) -> str:
        data = (X, MEANS) if comm.rank else []
        with pytest.raises(ValueError, match="the loss must be a mean over the batch") as raised:
            curvature.gradient_noise(network(), lambda z, y: ((z - y) ** 2).sum(), data, comm=comm)
        return str(raised.value)

    on_ranks(2, said)


def test_other_tests_or_directions_on_a_rank_and_training_data_on_some_alone_are_refused() -> None:
    def of_other_tests(comm: Any) -> None:
        test = X[comm.rank : comm.rank + 4], Y[:4]
        curvature.influence(network(), nn.CrossEntropyLoss(), (X, Y), test, damping=0.1, comm=comm)

    def of_no_data(comm: Any) -> None:
        data = (X, Y) if comm.rank else []
        curvature.influence(network(), nn.CrossEntropyLoss(), data, (X, Y), damping=0.1, comm=comm)

    def of_other_directions(comm: Any) -> None:
        plane(comm, (X, Y), directions=np.random.default_rng(comm.rank).normal(size=(2, 43)))

    for work, message in (
        (of_other_tests, "the checksum of the tests' gradients is"),
        (of_no_data, "influence: train holds no samples that count on rank 0"),
        (of_other_directions, "landscape: the ranks disagree: the checksum of the directions"),
    ):
        with pytest.raises(ValueError, match=message):
            on_ranks(2, work)


def test_what_sums_over_no_data_takes_no_communicator() -> None:
    z, params = network()(X), [p for p in network().parameters()]
    for function in (curvature.per_example_gradients, curvature.per_example_norms, curvature.eigenpairs):
        with pytest.raises(TypeError, match="unexpected keyword argument 'comm'"):
            function(z, lambda z: z.sum(), params, comm=None)


# Products divided among ranks that have all data


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (curvature.trace, {"num_probes": 7}),
        (curvature.trace, {"num_probes": 1}),
        (curvature.trace, {"method": "hutch++", "num_probes": 10}),
        (curvature.diagonal, {"num_probes": 9}),
        (curvature.diagonal, {"num_probes": 50}),
        (curvature.norm, {"num_probes": 9}),
        (curvature.norm, {"num_probes": 50}),
        (curvature.xtrace, {"num_probes": 20}),
        (curvature.xdiag, {"num_probes": 20}),
    ],
)
@pytest.mark.parametrize("kind", ["GaussNewton", "KFAC", "matrix"])
def test_probes_divided_among_ranks_say_what_those_of_one_process_say(kind: str, function: Any, options: Any) -> None:
    applied = []

    def found(comm: Any) -> Any:
        op = V @ V.T if kind == "matrix" else operator(kind, None, batches=BATCHES)
        if comm is None:
            return list(function(op, rng=3, **options))
        if kind == "GaussNewton":
            whole, count = op.matmat, applied.append
            op.matmat = lambda X: (count(X.shape[1]), whole(X))[1]
        return list(function(op, rng=3 if comm.rank == 0 else None, comm=comm, **options))

    for one, several in zip(found(None), on_ranks(3, found), strict=True):
        np.testing.assert_allclose(several, one, rtol=1e-9, atol=1e-10 if np.isfinite(one).all() else 0)
    if kind == "GaussNewton" and options["num_probes"] < 43 and function in (curvature.trace, curvature.diagonal):
        assert sum(applied) == options["num_probes"]


@pytest.mark.parametrize("room", [1 << 25, 43 * 6])
def test_a_density_from_probes_divided_among_ranks_is_that_of_one_process(room: int, monkeypatch: Any) -> None:
    monkeypatch.setattr("autodiff.curvature.density.ROOM", room)
    busy: set[int] = set()

    def found(comm: Any, **options: Any) -> Any:
        op = operator("Hessian", None, batches=BATCHES)
        if comm is not None:
            whole, note = op.matmat, busy.add
            op.matmat = lambda X: (note(comm.rank), whole(X))[1]
        seen = curvature.spectral_density(op, 5, 6, rng=3, comm=comm, **options)
        return seen.nodes, seen.weights, seen.density

    known = curvature.eigenpairs(operator("Hessian", None, batches=BATCHES), 2, rng=0)
    for options in ({}, {"deflate": known}):
        busy.clear()
        several = on_ranks(3, lambda comm, options=options: found(comm, **options))
        assert busy == {0, 1, 2}
        for one, other in zip(found(None, **options), several, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-7, atol=1e-9)


def test_an_operator_that_differs_or_sums_over_ranks_by_itself_is_not_divided() -> None:
    def of_own_data(comm: Any) -> None:
        curvature.trace(operator("Hessian", None, batches=own(comm)), comm=comm)

    def with_a_communicator(comm: Any) -> None:
        curvature.spectral_density(operator("Hessian", comm), comm=comm)

    def hidden(comm: Any) -> None:
        curvature.trace(2.0 * operator("Hessian", comm), num_probes=3, comm=comm)

    def of_other_size(comm: Any) -> None:
        curvature.xdiag(np.eye(5 + comm.rank), comm=comm)

    def of_other_probes(comm: Any) -> None:
        curvature.norm(np.eye(50), num_probes=5 + comm.rank, comm=comm)

    for work, message in (
        (of_own_data, "trace: the ranks disagree: a product of the operator differs on rank 0 and rank 1"),
        (with_a_communicator, "spectral_density: comm= divides products .* this Hessian has a comm= itself"),
        (hidden, "the checksum of the vectors is"),
        (of_other_size, r"the operator \(shape, dtype\) is \(\(5, 5\), 'float64'\) on rank 0 and \(\(6, 6\)"),
        (of_other_probes, "norm: the ranks disagree: num_probes is 5 on rank 0 and 6 on rank 1"),
        (lambda comm: curvature.trace(np.eye(3), comm=3), "trace: comm= takes a communicator of mpi4py"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            on_ranks(2, work)


def test_an_operator_that_fails_on_one_rank_fails_on_all_of_them() -> None:
    def said(comm: Any) -> str:
        H = operator("Hessian", None, batches=BATCHES)
        whole = H.matmat
        H.matmat = lambda X: whole(X) * (np.nan if comm.rank else 1.0)
        with pytest.raises(np.linalg.LinAlgError, match="has NaN or infinite entries") as raised:
            curvature.trace(H, num_probes=4, rng=0, comm=comm)
        with pytest.raises(np.linalg.LinAlgError, match="has NaN or infinite entries"):
            curvature.spectral_density(H, 4, 5, rng=0, comm=comm)
        return str(raised.value)

    on_ranks(2, said)
