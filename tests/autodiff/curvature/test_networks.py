"""Curvature of small networks of every kind against the dense matrices that torch gives in double precision: products,
diagonals, blocks, traces."""

import json
from pathlib import Path

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.curvature import (
    KFAC,
    Fisher,
    GaussNewton,
    Hessian,
    norm,
    per_example_gradients,
    per_example_norms,
    xtrace,
)
from tests.autodiff.curvature.test_operators import data, forward, network


def perceptron(lib):
    return lib.Sequential(lib.Linear(16, 4), lib.Tanh(), lib.Linear(4, 4), lib.Sigmoid(), lib.Linear(4, 3))


def lenet(lib):
    return lib.Sequential(
        lib.Unflatten(1, (1, 4, 4)), lib.Conv2d(1, 2, 2), lib.Tanh(), lib.AvgPool2d(2, 1), lib.Conv2d(2, 3, 2), lib.Tanh(),
        lib.Flatten(), lib.Linear(3, 3),
    )  # fmt: skip


def resnet(lib):
    """Two residual steps of one shared convolution, each with batch norm."""

    class Residual(lib.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = lib.Conv2d(1, 2, 3, padding=1), lib.BatchNorm2d(2)
            self.shared, self.again = lib.Conv2d(2, 2, 3, padding=1, bias=False), lib.BatchNorm2d(2)
            self.out = lib.Linear(2, 3)
            self.act = lib.Tanh()

        def forward(self, x):
            h = self.act(self.norm(self.first(x.reshape(-1, 1, 4, 4))))
            for scaled in (self.norm, self.again):
                h = h + self.act(scaled(self.shared(h)))
            return self.out(h.mean((2, 3)))

    return Residual()


NETWORKS = {
    "perceptron": (perceptron, True),
    "LeNet": (lenet, True),
    "ResNet with batch norm that trains": (resnet, True),
    "ResNet with batch norm that does not": (resnet, False),
}


def theirs(model, x, y):
    """Hessian, Jacobian, the loss's derivatives by the output, and the probabilities, as torch has them."""
    torch = pytest.importorskip("torch")
    params, y = list(model.parameters()), torch.tensor(y)

    def rows(outputs, **options):
        found = [torch.autograd.grad(u, params, retain_graph=True, **options) for u in outputs]
        return np.array([np.concatenate([g.numpy(force=True).ravel() for g in row]) for row in found])

    z = model(torch.tensor(x))
    loss = torch.nn.functional.cross_entropy(z, y)
    slopes = torch.autograd.grad(loss, params, create_graph=True)
    H = rows(torch.cat([g.reshape(-1) for g in slopes]))
    J = rows(z.reshape(-1)).reshape(*z.shape, -1)
    return H, J, torch.softmax(z, 1).numpy(force=True)


@pytest.mark.filterwarnings("ignore::autodiff.batching.batch.PerformanceWarning")  # of batch norm that trains
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if "ResNet" in n else n for n in NETWORKS])
def test_matrices_diagonals_and_blocks_of_networks_are_torchs_to_1e_9(name, rng):
    torch = pytest.importorskip("torch")
    build, training = NETWORKS[name]
    torch.manual_seed(0)
    reference = build(torch.nn).double()
    model = build(nn)
    for p in model.parameters():
        p.data = p.data.astype(float)
    for module, other in zip(model.modules(), reference.modules(), strict=True):
        if hasattr(other, "running_mean"):  # not 0 and 1
            other.running_mean[:], other.running_var[:] = torch.rand(2), 0.5 + torch.rand(2)
    model.load_state_dict({k: v.numpy(force=True) for k, v in reference.state_dict().items()})
    model.train(training), reference.train(training)
    N = 5
    x, y = rng.standard_normal((N, 16)), rng.integers(0, 3, N)
    H, J, p = theirs(reference, x, y)
    params = list(model.parameters())
    r = p - np.eye(3)[y]
    each = np.einsum("nkp,nk->np", J, r)
    G = sum(Jn.T @ (np.diag(q) - np.outer(q, q)) @ Jn for Jn, q in zip(J, p)) / N
    output, loss = model(x), lambda z: ad.cross_entropy(z, y)
    drawn = Fisher(output, None, params, kind="mc", samples=2, rng=0)
    cases = [
        (Hessian(lambda: loss(model(x)), params), H),
        (GaussNewton(output, loss, params), G),
        (Fisher(output, None, params), G),
        (Fisher(output, None, params, likelihood="gaussian", damping=0.3),
         np.einsum("nkp,nkq->pq", J, J) / N + 0.3 * np.eye(len(G))),
        (Fisher(output, loss, params, kind="empirical"), each.T @ each / N),
        (Fisher(output, None, params, kind="empirical", targets=y, reduction="sum"), each.T @ each),
        (drawn, drawn.to_dense()),
    ]  # fmt: skip
    last = params[-2:]  # of the last layer
    for op, exact in cases:
        near = {"rtol": 1e-9, "atol": 1e-9 * np.abs(exact).max()}
        v = rng.standard_normal(op.size)
        np.testing.assert_allclose(op.to_dense(), exact, **near)
        np.testing.assert_allclose(op @ v, exact @ v, rtol=1e-9, atol=1e-8 * np.abs(exact).max())
        np.testing.assert_allclose(op.diagonal(), np.diag(exact), **near)
        start = op.size - sum(q.size for q in last)
        block = op.block(last)
        np.testing.assert_allclose(block.diagonal(), np.diag(exact)[start:], **near)
        np.testing.assert_allclose(block.to_dense(), exact[start:, start:], **near)
        np.testing.assert_allclose(block @ v[start:], exact[start:, start:] @ v[start:], **near)
    assert xtrace(cases[1][0], len(G)).value == pytest.approx(np.trace(G), rel=1e-9)


STORED = json.loads((Path(__file__).parents[2] / "data" / "curvlinops.json").read_text())
"""What curvlinops 3.0.1 says of a network with a convolution, at these weights and in two batches."""


def stored(library, array):
    """The network, of a library of layers and its arrays."""
    model = library.Sequential(
        library.Conv2d(1, 2, 2), library.Tanh(), library.Flatten(), library.Linear(8, 3)
    ).double()
    model.load_state_dict({k: array(v) for k, v in STORED["state"].items()})
    return model


def curvlinops_numbers():
    """The same from the curvlinops that is installed."""
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("curvlinops")
    model = stored(torch.nn, torch.tensor)
    x, y = torch.tensor(STORED["x"], dtype=torch.double), torch.tensor(STORED["y"])
    found = {}
    for name, kind in (("hessian", "Hessian"), ("gauss_newton", "GGN"), ("empirical", "EF")):
        op = getattr(theirs, f"{kind}LinearOperator")(
            model, torch.nn.CrossEntropyLoss(), list(model.parameters()), [(x[:4], y[:4]), (x[4:], y[4:])]
        )
        dense = (op @ torch.eye(op.shape[1], dtype=torch.double)).numpy(force=True)
        v = np.linspace(-1, 1, len(dense))
        found[name] = {
            "product": dense @ v, "diagonal": np.diag(dense), "frobenius": np.linalg.norm(dense), "trace": np.trace(dense)
        }  # fmt: skip
    return found


@pytest.mark.parametrize("source", [lambda: STORED, curvlinops_numbers], ids=["stored", "installed"])
def test_products_diagonals_norms_and_traces_over_batches_are_those_of_curvlinops(source):
    expected = source()
    model = stored(nn, np.array)
    x, y = np.array(STORED["x"]), np.array(STORED["y"])
    params, batches = list(model.parameters()), [(x[:4], y[:4]), (x[4:], y[4:])]
    loss, output = lambda z, x, y: ad.cross_entropy(z, y), lambda x, y: model(x)
    operators = {
        "hessian": Hessian(lambda x, y: loss(model(x), x, y), params, batches=batches),
        "gauss_newton": GaussNewton(output, loss, params, batches=batches),
        "empirical": Fisher(output, loss, params, kind="empirical", batches=batches),
    }
    for name, op in operators.items():
        there = expected[name]
        np.testing.assert_allclose(op @ np.linspace(-1, 1, op.size), there["product"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(op.diagonal(), there["diagonal"], rtol=1e-9, atol=1e-12)
        assert norm(op, op.size).value == pytest.approx(there["frobenius"], rel=1e-9)
        assert xtrace(op, op.size).value == pytest.approx(there["trace"], rel=1e-9)


BACKPACK = json.loads((Path(__file__).parents[2] / "data" / "backpack.json").read_text())
"""What BackPACK 1.7.1 says of the same network and data, in one batch."""


def backpack_numbers():
    """The same from the BackPACK that is installed."""
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("backpack")
    from backpack import extensions

    model = stored(torch.nn, torch.tensor)
    loss = theirs.extend(torch.nn.CrossEntropyLoss())(
        theirs.extend(model)(torch.tensor(STORED["x"], dtype=torch.double)), torch.tensor(STORED["y"])
    )
    asked = "BatchGrad", "BatchL2Grad", "SumGradSquared", "DiagGGNExact", "DiagHessian", "KFLR"
    with theirs.backpack(*[getattr(extensions, name)() for name in asked]):
        loss.backward()
    params = list(model.parameters())

    def flat(name):
        return np.concatenate([getattr(p, name).numpy().ravel() for p in params]).tolist()

    return {
        "squared_norms": sum(p.batch_l2 for p in params).tolist(),
        "first_example": np.concatenate([p.grad_batch[0].numpy().ravel() for p in params]).tolist(),
        "sum_of_squares": flat("sum_grad_squared"),
        "gauss_newton": flat("diag_ggn_exact"),
        "hessian": flat("diag_h"),
        "factors": [[factor.numpy().tolist() for factor in p.kflr] for p in params],
    }


@pytest.mark.parametrize("source", [lambda: BACKPACK, backpack_numbers], ids=["stored", "installed"])
def test_gradients_of_examples_diagonals_and_kronecker_factors_are_those_of_backpack(source):
    """Whose convolutions share their weights half by "reduce" (B) and half by "expand" (A, not divided by the rows)."""
    there = source()
    model = stored(nn, np.array)
    x, y = np.array(STORED["x"]), np.array(STORED["y"])
    params, output, loss = list(model.parameters()), model(x), lambda z: ad.cross_entropy(z, y)
    near = {"rtol": 1e-9, "atol": 1e-12}
    rows = np.concatenate([np.reshape(g, (len(x), -1)) for g in per_example_gradients(output, loss, params)], axis=1)
    np.testing.assert_allclose(rows[0], there["first_example"], **near)
    np.testing.assert_allclose((rows**2).sum(0), there["sum_of_squares"], **near)
    np.testing.assert_allclose(per_example_norms(output, loss, params) ** 2, there["squared_norms"], **near)
    np.testing.assert_allclose(GaussNewton(output, loss, params).diagonal(), there["gauss_newton"], **near)
    np.testing.assert_allclose(Hessian(lambda: loss(model(x)), params).diagonal(), there["hessian"], **near)
    expand, reduce = [KFAC(output, loss, params, separate=True, sharing=how) for how in ("expand", "reduce")]
    (B, A), (offset,), *linear = there["factors"]
    weight, averaged = [next(block for block in K.blocks if 0 in block.places) for K in (expand, reduce)]
    np.testing.assert_allclose(averaged.left[0], B, **near)
    np.testing.assert_allclose(4 * weight.right[0], A, **near)
    np.testing.assert_allclose(reduce.to_dense()[8:10, 8:10], offset, **near)
    np.testing.assert_allclose(expand.to_dense()[10:34, 10:34], np.kron(*linear[0]), **near)
    np.testing.assert_allclose(expand.to_dense()[34:, 34:], *linear[1], **near)


# What the networks do not show


def test_the_diagonal_over_batches_is_that_of_the_whole_also_of_a_single_example_and_beside_an_empty_batch(rng):
    params, (x, y) = network(rng), data(rng)
    pieces = [(x[:1], y[:1]), (x[1:1], y[1:1]), (x[1:], y[1:])]
    loss, output = lambda z, x, y: ad.cross_entropy(z, y), lambda x, y: forward(params, x)
    for batched, whole in (
        (
            GaussNewton(output, loss, params, batches=pieces),
            GaussNewton(lambda: forward(params, x), lambda z: ad.cross_entropy(z, y), params),
        ),
        (Fisher(output, None, params, batches=pieces), Fisher(lambda: forward(params, x), None, params)),
        (
            Hessian(lambda x, y: loss(output(x, y), x, y), params, batches=pieces),
            Hessian(lambda: ad.cross_entropy(forward(params, x), y), params),
        ),
    ):
        np.testing.assert_allclose(batched.diagonal(), np.diag(whole.to_dense()), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(batched.block(params[2:]).to_dense(), whole.block(params[2:]).to_dense(), atol=1e-12)
    with pytest.raises(ValueError, match="batches holds no samples that count"):
        GaussNewton(output, loss, params, batches=[(x[:0], y[:0])]).diagonal()


@pytest.mark.filterwarnings("ignore::autodiff.batching.batch.PerformanceWarning")  # of the one sample
@pytest.mark.parametrize("kind", ["exact", "mc", "empirical"])
@pytest.mark.parametrize("likelihood", ["softmax", "gaussian"])
def test_the_diagonal_of_sequences_takes_every_step_for_a_sample(kind, likelihood, rng):
    w = Tensor(rng.standard_normal((4, 3)), requires_grad=True)
    x, t = rng.standard_normal((2, 5, 4)), rng.integers(0, 3, (2, 5))
    if likelihood == "gaussian":
        t = rng.standard_normal((2, 5, 3))
    F = Fisher(lambda: np.tanh(x @ w), None, w, kind=kind, likelihood=likelihood, targets=t, samples=3, rng=0)
    np.testing.assert_allclose(F.diagonal(), np.diag(F.to_dense()), rtol=1e-10)
    one = Fisher(lambda: x[0, 0] @ w, None, w, kind=kind, likelihood=likelihood, targets=t[0, 0], samples=3, rng=0)
    np.testing.assert_allclose(one.diagonal(), np.diag(one.to_dense()), rtol=1e-10, atol=1e-14)


LOSSES = {
    "not convex": lambda z: np.sin(z).sum() + (z[:, 0] * z[:, 1] ** 3).sum(),
    "of all rows together": lambda z: (z.sum(axis=0) ** 4).sum(),
    "linear": lambda z: z.sum(),
    "of a few rows": lambda z: (z[1:3] ** 4).sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_diagonal_of_gauss_newton_is_right_for_losses_of_any_form(name, rng):
    params, (x, _) = network(rng), data(rng)
    G = GaussNewton(lambda: forward(params, x), LOSSES[name], params)
    exact = np.diag(G.to_dense())
    np.testing.assert_allclose(G.diagonal(), exact, rtol=1e-9, atol=1e-11 * max(np.abs(exact).max(), 1))


@pytest.mark.filterwarnings("ignore::autodiff.batching.batch.PerformanceWarning")  # of outputs that are one vector
def test_outputs_without_rows_and_parameters_that_do_not_matter_have_diagonals(rng):
    w, unused = Tensor([1.0, 2.0], requires_grad=True), Tensor([5.0], requires_grad=True)
    G = GaussNewton(lambda: (w**2).sum(), lambda z: z**2, [w, unused])
    np.testing.assert_allclose(G.diagonal(), [8.0, 32.0, 0.0])
    np.testing.assert_allclose(GaussNewton(lambda: w**2, lambda z: (z**2).sum(), [w, unused]).diagonal(), [8, 32, 0])
    assert GaussNewton(lambda: w**2, lambda z: (z**2).sum(), [unused, w]).block(unused).to_dense() == 0


@pytest.mark.filterwarnings("ignore::autodiff.batching.batch.PerformanceWarning")  # of outputs that are one vector
def test_diagonals_are_in_the_dtype_of_the_parameters_and_carry_what_is_not_finite(rng):
    params = network(rng, dtype=np.float32)
    x, _ = data(rng)
    F = Fisher(lambda: forward(params, x.astype(np.float32)), None, params)
    assert F.diagonal().dtype == np.float32
    np.testing.assert_allclose(F.diagonal(), np.diag(F.to_dense()), rtol=1e-4, atol=1e-6)
    w = Tensor([0.0, 1.0], requires_grad=True)
    G = GaussNewton(lambda: np.sqrt(w), lambda z: (z**2).sum(), w)
    with np.errstate(all="ignore"):
        assert not np.isfinite(G.diagonal()[0]) and G.diagonal()[1] == 0.5


def test_a_block_keeps_the_point_and_follows_the_parameters_it_has(rng):
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0], requires_grad=True)
    H = Hessian(lambda: (a**3).sum() * b[0], [a, b], damping=0.5)
    block = H.block(a)
    assert block.shape == (2, 2) and block.params == [a]
    np.testing.assert_allclose(block.to_dense(), [[18.5, 0], [0, 36.5]])
    np.testing.assert_allclose(H.block([b, a]).to_dense(), H.to_dense()[np.ix_([2, 0, 1], [2, 0, 1])])
    np.testing.assert_allclose(block.gradient, [9.0, 36.0])
    a.data = np.array([2.0, 2.0])
    with pytest.raises(RuntimeError, match="was changed"):
        block @ [1.0, 0.0]
    block.refresh()
    np.testing.assert_allclose(block.to_dense(), [[36.5, 0], [0, 36.5]])
    with pytest.raises(ValueError, match=r"Hessian.block: params\[0\] \(shape \(1,\)\) is none of the operator's"):
        H.block(Tensor([3.0], requires_grad=True))
    with pytest.raises(ValueError, match="needs at least one parameter"):
        H.block([])
