"""Curvature operators: products against torch, dense formulas and closed forms; batches, points, memory, bad input."""

import re
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, cg

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.curvature import Fisher, GaussNewton, Hessian, Jacobian, recorded
from tests.autodiff.test_memory import NOTHING, leak
from tests.processor_time import least_times

SIZES = (4, 6, 5, 3)


def network(rng, sizes=SIZES, dtype=float):
    shapes = [s for n, m in pairwise(sizes) for s in ((n, m), (m,))]
    return [Tensor((rng.standard_normal(s) / np.sqrt(s[0])).astype(dtype), requires_grad=True) for s in shapes]


def forward(params, x, tanh=np.tanh):
    for w, b in zip(params[:-2:2], params[1:-2:2]):
        x = tanh(x @ w + b)
    return x @ params[-2] + params[-1]


def data(rng, n=20, sizes=SIZES):
    return rng.standard_normal((n, sizes[0])), rng.integers(0, sizes[-1], n)


def theirs(params, x, y):
    """torch's loss of its own copies of the parameters, and those."""
    torch = pytest.importorskip("torch")
    ps = [torch.tensor(p.data, requires_grad=True) for p in params]
    return torch.nn.functional.cross_entropy(forward(ps, torch.tensor(x), torch.tanh), torch.tensor(y)), ps


def torch_hvp(loss, ps, v):
    torch = pytest.importorskip("torch")
    grads = torch.autograd.grad(loss, ps, create_graph=True)
    ends = np.cumsum([p.numel() for p in ps])
    parts = [torch.tensor(v[e - p.numel() : e]).reshape(p.shape) for e, p in zip(ends, ps)]
    hv = torch.autograd.grad(grads, ps, parts, retain_graph=True)
    return np.concatenate([h.numpy().ravel() for h in hv])


@pytest.fixture
def problem(rng):
    params, (x, y) = network(rng), data(rng)
    return params, x, y, lambda: ad.cross_entropy(forward(params, x), y)


# The Hessian


def test_hessian_products_agree_with_torch_to_1e_10(problem, rng):
    params, x, y, loss = problem
    theirs_loss, ps = theirs(params, x, y)
    for H in (Hessian(loss, params), Hessian(loss(), params)):
        for _ in range(3):
            v = rng.standard_normal(H.size)
            expected = torch_hvp(theirs_loss, ps, v)
            assert np.linalg.norm(H @ v - expected) <= 1e-10 * np.linalg.norm(expected)


def test_value_and_gradient_come_with_the_operator(problem):
    params, x, y, loss = problem
    theirs_loss, ps = theirs(params, x, y)
    H = Hessian(loss, params)
    G = GaussNewton(lambda: forward(params, x), lambda z: ad.cross_entropy(z, y), params)
    theirs_loss.backward()
    for op in (H, G):
        assert op.value == pytest.approx(theirs_loss.item(), rel=1e-12)
        np.testing.assert_allclose(op.gradient, np.concatenate([p.grad.numpy().ravel() for p in ps]), atol=1e-12)
        op.gradient[...] = 0  # a copy
        assert op.gradient.any()


def test_the_dense_matrix_is_that_of_the_transforms_and_symmetric():
    f = lambda w: (w**3).sum() * w[0] + np.exp(w[1] * w[2])
    w = Tensor([0.3, -1.2, 0.7], requires_grad=True)
    H = Hessian(lambda: f(w), w)
    np.testing.assert_allclose(H.to_dense(), ad.hessian(f)(w.data), rtol=1e-13)
    np.testing.assert_allclose(H.to_dense(), H.to_dense().T, rtol=1e-13)


def test_several_vectors_at_once_are_the_products_one_by_one(problem, rng):
    params, x, y, loss = problem
    operators = [
        Hessian(loss, params, damping=0.1),
        GaussNewton(lambda: forward(params, x), lambda z: ad.cross_entropy(z, y), params),
        Fisher(lambda: forward(params, x), None, params),
        Jacobian(lambda: forward(params, x), params),
    ]
    for op in operators:
        V = rng.standard_normal((op.shape[1], 4))
        np.testing.assert_allclose(op @ V, np.stack([op @ v for v in V.T], axis=1), rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(op.matvec(V[:, :1]), (op @ V[:, 0])[:, None])  # a column stays one
        U = rng.standard_normal((op.shape[0], 4))
        np.testing.assert_allclose(
            op.rmatmat(U), np.stack([op.rmatvec(u) for u in U.T], axis=1), rtol=1e-12, atol=1e-14
        )
        np.testing.assert_allclose(np.sum(U[:, 0] * (op @ V[:, 0])), np.sum(op.T @ U[:, 0] * V[:, 0]), rtol=1e-10)
        np.testing.assert_array_equal(op.H @ U, op.rmatmat(U))


def test_many_vectors_are_taken_in_pieces_where_all_at_once_have_no_room(problem, rng, monkeypatch):
    params, x, y, loss = problem
    H = Hessian(loss, params)
    V = rng.standard_normal((H.size, 7))
    expected = np.stack([H @ v for v in V.T], axis=1)
    for room in (1, 3 * 120, 1 << 22):  # the largest array of the graph has 120 numbers
        monkeypatch.setattr(recorded, "ROOM", room)
        H = Hessian(loss, params)
        np.testing.assert_allclose(H @ V, expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(H @ np.asfortranarray(V), expected, rtol=1e-12, atol=1e-14)


def test_hooks_hear_every_vector_and_a_checkpoint_is_run_for_each(rng):
    w = Tensor(rng.standard_normal((3, 2)), requires_grad=True)
    x, heard = rng.standard_normal((5, 3)), []

    def loss():
        h = np.tanh(x @ w)
        h.register_hook(lambda g: heard.append(g.shape))
        return ad.checkpoint(lambda h: (h**4).sum(), h)

    H = Hessian(loss, w)
    expected = ad.hessian(lambda w: (np.tanh(x @ w) ** 4).sum())(w.data).reshape(6, 6)
    heard.clear()
    np.testing.assert_allclose(H @ np.eye(6), expected, rtol=1e-12, atol=1e-12)
    assert len(heard) >= 6 and set(heard) == {(5, 2)}


def test_one_vector_that_is_not_finite_leaves_the_others_as_they_are(problem, rng):
    params, x, y, loss = problem
    H = Hessian(loss, params)
    V = rng.standard_normal((H.size, 4))
    expected = H @ V
    V[0, 2] = np.inf
    with np.errstate(all="ignore"):
        found = H @ V
    np.testing.assert_allclose(found[:, [0, 1, 3]], expected[:, [0, 1, 3]], rtol=1e-12, atol=1e-13)
    assert not np.isfinite(found[:, 2]).all()


def test_eight_products_of_a_small_network_take_less_time_than_four(rng):
    params = network(rng, (2, 16, 16, 1), np.float32)
    x, y = rng.standard_normal((2, 32, 2)).astype(np.float32), rng.standard_normal((32, 1)).astype(np.float32)
    H = Hessian(lambda: ((forward(params, x[0]) - y) ** 2).sum(), params)
    V = rng.standard_normal((H.size, 8)).astype(np.float32)
    one, eight = least_times(lambda: H @ V[:, 0], lambda: H @ V, rounds=100)
    assert eight < 4 * one  # about 2.7 where nothing else runs


def test_scipy_accepts_the_operators(problem, rng):
    params, x, y, loss = problem
    G = GaussNewton(lambda: forward(params, x), lambda z: ad.cross_entropy(z, y), params, damping=0.1)
    assert isinstance(G, LinearOperator) and G.shape == (G.size, G.size)
    b = rng.standard_normal(G.size)
    solution, info = cg(G, b, rtol=1e-12)
    assert info == 0
    np.testing.assert_allclose(solution, np.linalg.solve(G.to_dense(), b), rtol=1e-8, atol=1e-9)
    H = Hessian(loss, params)
    np.testing.assert_allclose((2 * H + G) @ b, 2 * (H @ b) + G @ b, rtol=1e-12)


def test_damping_adds_a_multiple_of_the_identity_and_may_be_set(problem, rng):
    params, *_, loss = problem
    H = Hessian(loss, params, damping=0.5)
    v = rng.standard_normal(H.size)
    damped = H @ v
    H.damping = 0
    np.testing.assert_allclose(damped, H @ v + 0.5 * v, rtol=1e-13)
    with pytest.raises(ValueError, match="finite"):
        H.damping = np.nan


def test_restriction_to_some_parameters_is_a_block_of_the_matrix(problem):
    params, *_, loss = problem
    H = Hessian(loss, params)
    whole, block = H.to_dense(), Hessian(loss, params[2:4]).to_dense()
    start = sum(p.size for p in params[:2])
    np.testing.assert_allclose(block, whole[start : start + len(block), start : start + len(block)], atol=1e-13)


def test_split_and_flatten_are_inverse(problem, rng):
    params, *_, loss = problem
    H = Hessian(loss, params)
    v = rng.standard_normal(H.size)
    parts = H.split(v)
    assert [p.shape for p in parts] == [p.shape for p in params]
    np.testing.assert_array_equal(H.flatten(parts), v)
    np.testing.assert_array_equal(H.flatten([Tensor(p) for p in parts]), v)
    np.testing.assert_array_equal(H.split(H.flatten([None, *parts[1:]]))[0], np.zeros(params[0].shape))
    np.testing.assert_array_equal(H @ Tensor(v), H @ v)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_have_the_dtype_of_the_parameters(rng, dtype):
    params, (x, y) = network(rng, dtype=dtype), data(rng)
    x = x.astype(dtype)
    z = lambda: forward(params, x)
    loss = lambda z: ad.cross_entropy(z, y)
    exact = network(np.random.default_rng(0))
    for p, q in zip(exact, params):
        p.data = q.data.astype(float)
    zz = lambda: forward(exact, x.astype(float))
    for op, other in [
        (Hessian(lambda: loss(z()), params), Hessian(lambda: loss(zz()), exact)),
        (GaussNewton(z, loss, params, damping=1e-3), GaussNewton(zz, loss, exact, damping=1e-3)),
        (Fisher(z, None, params), Fisher(zz, None, exact)),
        (Fisher(z, None, params, kind="mc", rng=0), None),
        (Fisher(z, loss, params, kind="empirical"), Fisher(zz, loss, exact, kind="empirical")),
        (Jacobian(z, params), Jacobian(zz, exact)),
    ]:
        v = rng.standard_normal(op.shape[1])
        assert op.dtype == dtype and (op @ v).dtype == dtype and op.to_dense().dtype == dtype
        assert op.rmatvec(rng.standard_normal(op.shape[0])).dtype == dtype
        if other is not None:
            tolerance = 2e-5 if dtype == np.float32 else 1e-12
            np.testing.assert_allclose(op @ v, other @ v, rtol=0, atol=tolerance * np.abs(other @ v).max())


def test_parameters_of_several_dtypes_give_the_wider_one():
    a = Tensor(np.ones(2, np.float32), requires_grad=True)
    b = Tensor(np.ones(2), requires_grad=True)
    H = Hessian(lambda: ((a * b) ** 2).sum(), [a, b])
    assert H.dtype == float
    np.testing.assert_allclose(H.to_dense(), np.kron([[2, 4], [4, 2]], np.eye(2)))


# Parameters without curvature


def test_a_parameter_that_does_not_matter_or_only_linearly_has_exact_zero_rows():
    a, b, c = (Tensor(v, requires_grad=True) for v in (2.0, [3.0, 4.0], [5.0]))
    H = Hessian(lambda: a**3 + 7 * b.sum(), [a, b, c])
    expected = np.zeros((4, 4))
    expected[0, 0] = 12
    np.testing.assert_array_equal(H.to_dense(), expected)
    np.testing.assert_array_equal(H.gradient, [12, 7, 7, 0])
    linear = Hessian(lambda: 7 * b.sum(), [b, c])
    np.testing.assert_array_equal(linear.to_dense(), np.zeros((3, 3)))
    np.testing.assert_array_equal(Hessian(lambda: Tensor(1.0), [b]).to_dense(), np.zeros((2, 2)))
    z = lambda: np.stack([a * 1.0, b[0] * b[1]])
    np.testing.assert_array_equal(Jacobian(z, [a, b, c]).to_dense(), [[1, 0, 0, 0], [0, 4, 3, 0]])
    G = GaussNewton(z, lambda z: z.sum(), [a, b, c])  # the loss is linear in the output
    np.testing.assert_array_equal(G.to_dense(), np.zeros((4, 4)))
    assert not GaussNewton(z, lambda z: Tensor(1.0), [a, b, c]).to_dense().any()
    assert not Fisher(z, None, [c], likelihood="gaussian").to_dense().any()


def test_gradients_that_are_one_tensor_are_summed():
    a, b = (Tensor(v, requires_grad=True) for v in (2.0, 3.0))
    H = Hessian(lambda: (a + b) ** 2, [a, b])
    np.testing.assert_array_equal(H.to_dense(), [[2, 2], [2, 2]])


def test_intermediate_results_may_be_the_parameters():
    x = Tensor([1.0, 2.0], requires_grad=True)
    h = x * x
    H = Hessian((h**3).sum(), h)
    np.testing.assert_allclose(H.to_dense(), np.diag([6.0, 24.0]))


# Gauss–Newton, Jacobian, Fisher


def dense_jacobian(params, x):
    """∂ output / ∂ parameters in torch, shape (samples, outputs, parameters)."""
    torch = pytest.importorskip("torch")
    ps = [torch.tensor(p.data, requires_grad=True) for p in params]
    z = forward(ps, torch.tensor(x), torch.tanh)
    rows = [torch.cat([g.ravel() for g in torch.autograd.grad(e, ps, retain_graph=True)]) for e in z.ravel()]
    return z.detach().numpy(), torch.stack(rows).numpy().reshape(*z.shape, -1)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_the_jacobian_is_torchs_in_both_directions(problem, rng):
    params, x, *_ = problem
    _, J = dense_jacobian(params, x)
    op = Jacobian(lambda: forward(params, x), params)
    assert op.output_shape == (20, 3)
    J = J.reshape(op.shape)
    v, u = rng.standard_normal(op.shape[1]), rng.standard_normal(op.shape[0])
    np.testing.assert_allclose(op @ v, J @ v, atol=1e-12)
    np.testing.assert_allclose(op.T @ u, J.T @ u, atol=1e-12)
    np.testing.assert_allclose(op.to_dense(), J, atol=1e-12)
    few = Jacobian(lambda: forward(params, x)[:1], params)  # more columns than rows
    np.testing.assert_allclose(few.to_dense(), J[:3], atol=1e-12)


def test_gauss_newton_is_jacobian_hessian_jacobian(problem):
    params, x, y, _ = problem
    z, J = dense_jacobian(params, x)
    p = softmax(z)
    blocks = (np.eye(3) * p[:, None] - p[:, :, None] * p[:, None]) / len(x)
    expected = np.einsum("nip,nij,njq->pq", J, blocks, J)
    output, loss = lambda: forward(params, x), lambda z: ad.cross_entropy(z, y)
    for G in (GaussNewton(output, loss, params), GaussNewton(output(), loss, params), Fisher(output, loss, params)):
        np.testing.assert_allclose(G.to_dense(), expected, atol=1e-13)
    assert np.linalg.eigvalsh(expected)[0] > -1e-14
    np.testing.assert_allclose(Fisher(output, None, params, reduction="sum").to_dense(), 20 * expected, atol=1e-12)


def test_gauss_newton_agrees_with_the_transform(problem, rng):
    params, x, *_ = problem
    model = lambda *ps: forward(ps, x)
    loss = lambda z: (z**4).sum() + z[0, 0] * z[1, 1]
    G = GaussNewton(lambda: forward(params, x), loss, params)
    v = rng.standard_normal(G.size)
    theirs = ad.gauss_newton_vp(model, loss, tuple(p.data for p in params), tuple(G.split(v)))
    np.testing.assert_allclose(G @ v, np.concatenate([t.ravel() for t in theirs]), rtol=1e-10, atol=1e-10)


def test_gauss_newton_of_a_linear_model_is_its_hessian(rng):
    A, b, w = rng.standard_normal((7, 4)), rng.standard_normal(7), Tensor(rng.standard_normal(4), requires_grad=True)
    loss = lambda z: 0.5 * ((z - b) ** 2).sum()
    np.testing.assert_allclose(GaussNewton(lambda: A @ w, loss, w).to_dense(), A.T @ A, rtol=1e-12)
    np.testing.assert_allclose(Hessian(lambda: loss(A @ w), w).to_dense(), A.T @ A, rtol=1e-12)


def test_the_gaussian_fisher_is_the_mean_of_jacobian_products(problem):
    params, x, *_ = problem
    _, J = dense_jacobian(params, x)
    F = Fisher(lambda: forward(params, x), None, params, likelihood="gaussian")
    np.testing.assert_allclose(F.to_dense(), np.einsum("nip,niq->pq", J, J) / len(x), atol=1e-13)
    G = GaussNewton(lambda: forward(params, x), lambda z: 0.5 * (z**2).sum() / len(x), params)
    np.testing.assert_allclose(F.to_dense(), G.to_dense(), atol=1e-13)


def test_fisher_of_logistic_regression_in_closed_form(rng):
    X, w = rng.standard_normal((30, 3)), Tensor(rng.standard_normal(3), requires_grad=True)
    s = 1 / (1 + np.exp(-X @ w.data))
    logits = lambda: np.stack([np.zeros(30), X @ w], axis=-1)
    np.testing.assert_allclose(Fisher(logits, None, w).to_dense(), X.T @ (X * (s * (1 - s))[:, None]) / 30, rtol=1e-12)


@pytest.mark.parametrize("likelihood", ["softmax", "gaussian"])
def test_the_empirical_fisher_is_the_mean_outer_product_of_sample_gradients(problem, rng, likelihood):
    params, x, y, _ = problem
    z, J = dense_jacobian(params, x)
    if likelihood == "softmax":
        r, targets, mean = softmax(z) - np.eye(3)[y], y, ad.cross_entropy
    else:
        targets = rng.standard_normal(z.shape)
        r, mean = z - targets, lambda z, t: 0.5 * ((z - t) ** 2).sum() / len(x)
    g = np.einsum("nip,ni->np", J, r)
    expected = g.T @ g / len(x)
    output = lambda: forward(params, x)
    options = {"kind": "empirical", "likelihood": likelihood}
    for F in (
        Fisher(output, None, params, targets=targets, **options),
        Fisher(output, mean, params, targets=targets, **options),
        Fisher(output, lambda z: mean(z, targets), params, **options),
        Fisher(output, lambda z: mean(z, targets), params, batches=[()] * 0 or None, **options),
    ):
        np.testing.assert_allclose(F.to_dense(), expected, atol=1e-12)


@pytest.mark.parametrize("likelihood", ["softmax", "gaussian"])
def test_the_sampled_fisher_tends_to_the_exact_one(problem, likelihood):
    params, x, *_ = problem
    output = lambda: forward(params, x)
    exact = Fisher(output, None, params, likelihood=likelihood).to_dense()
    few, many = (
        Fisher(output, None, params, kind="mc", samples=s, likelihood=likelihood, rng=0).to_dense() for s in (40, 4000)
    )
    scale = np.linalg.norm(exact)
    assert np.linalg.norm(many - exact) < 0.05 * scale  # ∝ 1/√samples: 20 · 4000 draws
    assert np.linalg.norm(many - exact) < 0.3 * np.linalg.norm(few - exact)
    assert np.linalg.eigvalsh(few)[0] > -1e-12 * scale


def test_sampled_targets_are_drawn_once_also_with_batches(problem, rng):
    params, x, *_ = problem
    batches = [(x[:8],), (x[8:],)]
    make = lambda seed: Fisher(lambda x: forward(params, x), None, params, kind="mc", batches=batches, rng=seed)
    F, again, other = make(0), make(0), make(1)
    M = F.to_dense()
    np.testing.assert_array_equal(M, F.to_dense())
    np.testing.assert_allclose(M, M.T, atol=1e-13)
    np.testing.assert_array_equal(M, again.to_dense())
    assert not np.allclose(M, other.to_dense())


def test_sampled_targets_are_the_same_in_threads_that_share_the_operator(problem, rng):
    params, x, y, _ = problem
    batches = [(x[:8],), (x[8:],)]
    F = Fisher(lambda x: forward(params, x), None, params, kind="mc", batches=batches, rng=0)
    v = rng.standard_normal(F.size)
    expected = F @ v
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: F @ v, range(80)):
            np.testing.assert_array_equal(found, expected)


def test_samples_of_a_sequence_are_counted_one_by_one(rng):
    w = Tensor(rng.standard_normal((4, 3)), requires_grad=True)
    x = rng.standard_normal((2, 5, 4))
    t = rng.integers(0, 3, (2, 5))
    F = Fisher(lambda: x @ w, None, w)
    G = GaussNewton(lambda: x @ w, lambda z: ad.cross_entropy(z, t), w)
    np.testing.assert_allclose(F.to_dense(), G.to_dense(), atol=1e-13)


# Batches


@settings(max_examples=30)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.sampled_from(["mean", "sum"]))
def test_batches_of_any_lengths_give_the_matrix_of_the_whole(lengths, reduction):
    rng = np.random.default_rng(1)
    n = sum(lengths)
    params = network(rng, (2, 3, 2))
    x, y = data(rng, n, (2, 2))
    ends = np.cumsum(lengths)
    batches = [(x[e - m : e], y[e - m : e]) for e, m in zip(ends, lengths) if reduction == "mean" or m]
    loss = lambda z, y: ad.cross_entropy(z, y, reduction=reduction)
    pairs = lambda b: [
        Hessian(lambda x, y: loss(forward(params, x), y), params, batches=b, reduction=reduction, damping=0.1),
        GaussNewton(lambda x, y: forward(params, x), lambda z, x, y: loss(z, y), params, batches=b, reduction=reduction),
        Fisher(lambda x, y: forward(params, x), None, params, batches=b, reduction=reduction),
        Fisher(lambda x, y: forward(params, x), None, params, kind="empirical", targets=lambda x, y: y, batches=b,
               reduction=reduction),
        Fisher(lambda x, y: forward(params, x), lambda z, x, y: loss(z, y), params, kind="empirical", batches=b,
               reduction=reduction),
    ]  # fmt: skip
    if n == 0:
        for op in pairs(batches):
            with pytest.raises(ValueError, match="no samples"):
                op @ np.ones(op.size)
        return
    whole = [
        Hessian(lambda: loss(forward(params, x), y), params, damping=0.1),
        GaussNewton(lambda: forward(params, x), lambda z: loss(z, y), params),
        Fisher(lambda: forward(params, x), None, params, reduction=reduction),
        *[Fisher(lambda: forward(params, x), None, params, kind="empirical", targets=y, reduction=reduction)] * 2,
    ]
    for op, expected in zip(pairs(batches), whole):
        np.testing.assert_allclose(op.to_dense(), expected.to_dense(), rtol=1e-9, atol=1e-12)
        if not isinstance(op, Fisher):
            np.testing.assert_allclose(op.gradient, expected.gradient, rtol=1e-9, atol=1e-12)
            assert op.value == pytest.approx(expected.value, rel=1e-10)


def test_what_can_be_iterated_once_is_kept(problem, rng):
    params, x, y, loss = problem
    expected = Hessian(loss, params)
    v = rng.standard_normal(expected.size)
    for batches in (zip([x[:5], x[5:]], [y[:5], y[5:]]), ((x[i : i + 7], y[i : i + 7]) for i in range(0, 20, 7))):
        H = Hessian(lambda x, y: ad.cross_entropy(forward(params, x), y), params, batches=batches)
        for _ in range(2):
            np.testing.assert_allclose(H @ v, expected @ v, atol=1e-12)


def test_a_batch_that_is_one_array_is_one_argument(rng):
    w, x = Tensor(rng.standard_normal(3), requires_grad=True), rng.standard_normal((10, 3))
    H = Hessian(lambda x: ((x @ w) ** 2).mean(), w, batches=[x[:4], x[4:]])
    np.testing.assert_allclose(H.to_dense(), 2 * x.T @ x / 10, rtol=1e-12)


def test_with_batches_one_graph_is_alive_at_a_time(no_collector, rng):
    w, graphs, most = Tensor(rng.standard_normal(3), requires_grad=True), [], [0]

    def loss(x):
        most[0] = max(most[0], sum(g() is not None for g in graphs))
        h = np.tanh(x @ w)
        graphs.append(weakref.ref(h))
        return (h * h).mean()

    H = Hessian(loss, w, batches=[rng.standard_normal((4, 3)) for _ in range(5)])
    assert not graphs  # nothing is recorded before a product is asked for
    H @ np.ones((3, 2))
    assert len(graphs) == 5  # once for both vectors
    H.gradient
    assert most[0] == 0 and all(g() is None for g in graphs)


def test_without_batches_the_loss_is_evaluated_once_and_its_graph_dies_with_the_operator(no_collector, rng):
    w, graphs = Tensor(rng.standard_normal(3), requires_grad=True), []

    def output():
        graphs.append(weakref.ref(h := np.tanh(w * 2)))
        return h * h

    operators = [
        Hessian(lambda: output().sum(), w),
        GaussNewton(output, lambda z: (z * z).sum(), w),
        Fisher(output, None, w),
        Jacobian(output, w),
    ]
    for op in operators:
        op @ np.ones(3), op @ np.eye(3), op.to_dense()
    assert len(graphs) == 4 and all(g() is not None for g in graphs)
    del operators, op
    assert all(g() is None for g in graphs)


def test_a_closure_that_is_random_is_one_matrix(rng):
    w = Tensor(rng.standard_normal(50), requires_grad=True)
    H = Hessian(lambda: ((w * (rng.random(50) < 0.5)) ** 2).sum(), w)
    v = np.ones(50)
    np.testing.assert_array_equal(H @ v, H @ v)
    assert 0 < (H @ v == 0).sum() < 50


@pytest.mark.slow
def test_a_thousand_products_leave_memory_flat(no_collector, problem):
    params, x, y, loss = problem
    batches = [(x[:10], y[:10]), (x[10:], y[10:])]
    operators = [
        Hessian(loss, params),
        GaussNewton(lambda: forward(params, x), lambda z: ad.cross_entropy(z, y), params),
        Fisher(lambda: forward(params, x), None, params, kind="mc", rng=0),
        Jacobian(lambda: forward(params, x), params),
        Hessian(lambda x, y: ad.cross_entropy(forward(params, x), y), params, batches=batches),
    ]
    v = np.ones(operators[0].size)

    for op in operators:
        assert leak(lambda: op @ v, 1000 if type(op) is Hessian and op.batches is None else 200) < NOTHING


# The point


def writes():
    def assign(p):
        p.data = p.data * 2

    def update(p):
        p.data -= 0.1

    def item(p):
        p.data[0] = 7.0

    def put(p):
        p.data[...] = -p.data

    return [assign, update, item, put]


@pytest.mark.parametrize("write", writes(), ids=lambda f: f.__name__)
@pytest.mark.parametrize("large", [False, True])
def test_a_parameter_that_changed_is_an_error_and_refresh_moves_the_operator(rng, write, large):
    w = Tensor(rng.standard_normal(20_000 if large else 5), requires_grad=True)
    x = rng.standard_normal((2, w.size)) / w.size
    make = {
        "Hessian": lambda b: Hessian(lambda *_: np.exp(x @ w).sum(), w, **b),
        "GaussNewton": lambda b: GaussNewton(lambda *_: np.exp(x @ w), lambda z, *_: (z**2).sum(), w, **b),
        "Fisher": lambda b: Fisher(lambda *_: np.exp(x @ w), None, w, **b),
        "Jacobian": lambda b: Jacobian(lambda: np.exp(x @ w), w),
    }
    operators = [f({}) for f in make.values()] + [f({"batches": [(x,)]}) for f in make.values()]
    v = np.ones(w.size)
    before = [op @ v for op in operators]
    write(w)
    for op in operators:
        with pytest.raises(RuntimeError, match=r"params\[0\].*was changed after"):
            op @ v
        op.refresh()
    for op, new, old in zip(operators, [f({}) for f in make.values()] * 2, before):
        np.testing.assert_allclose(op @ v, new @ v, rtol=1e-12, atol=1e-300)
        assert not np.allclose(op @ v, old, rtol=1e-9, atol=0)


def test_a_parameter_that_changes_between_batches_is_an_error(rng):
    w = Tensor(np.ones(2), requires_grad=True)

    def batches():
        yield np.ones((1, 2))
        w.data -= 1
        yield np.ones((1, 2))

    class Twice:
        def __iter__(self):
            return batches()

    H = Hessian(lambda x: np.tanh(x @ w).sum(), w, batches=Twice())
    with pytest.raises(RuntimeError, match="was changed"):
        H @ np.ones(2)


def test_a_tensor_recorded_before_a_parameter_changed_is_refused():
    w = Tensor([1.0, 2.0], requires_grad=True)
    loss, output = (w**3).sum(), w**3
    w.data = w.data * 2
    for make in (lambda: Hessian(loss, w), lambda: Jacobian(output, w), lambda: GaussNewton(output, ad.sum, w)):
        with pytest.raises(RuntimeError, match="written or assigned"):
            make() @ np.ones(2)


def test_another_leaf_that_changed_leaves_the_old_matrix_or_is_an_error():
    for f in (lambda w, c: (np.tanh(w) * c).sum(), lambda w, c: ((w * c) ** 2).sum(), lambda w, c: (w**c).sum()):
        w, c = (Tensor([1.0, 3.0], requires_grad=True) for _ in range(2))
        H = Hessian(lambda: f(w, c), w)
        old = H.to_dense()
        c.data = c.data * 2
        try:
            np.testing.assert_array_equal(H.to_dense(), old)
        except RuntimeError as error:
            assert "written or assigned" in str(error)


def test_a_graph_that_was_freed_is_an_error_not_zeros():
    w = Tensor([1.0, 2.0], requires_grad=True)
    loss = np.tanh(w).sum()
    H = Hessian(loss, w)
    loss.backward(retain_graph=False)
    with pytest.raises(RuntimeError, match="gone"):
        H @ np.ones(2)


def test_parameters_that_hold_nan_count_as_unchanged():
    for n in (2, 50_000):
        w = Tensor(np.full(n, np.nan), requires_grad=True)
        assert np.isnan(Hessian(lambda: (w**3).sum(), w) @ np.ones(n)).all()


def test_an_operator_of_a_recorded_tensor_cannot_be_refreshed():
    w = Tensor([1.0, 2.0], requires_grad=True)
    for op in (Hessian((w**3).sum(), w), Jacobian(w * 2, w), GaussNewton(w * 2, lambda z: (z * z).sum(), w)):
        with pytest.raises(RuntimeError, match="pass a function"):
            op.refresh()


def test_products_work_where_recording_is_off(problem, rng):
    params, x, y, loss = problem
    H = Hessian(loss, params)
    v = rng.standard_normal(H.size)
    with ad.no_grad():
        np.testing.assert_array_equal(H @ v, H @ v)
        np.testing.assert_allclose(Hessian(loss, params) @ v, H @ v)
        np.testing.assert_allclose(
            GaussNewton(lambda: forward(params, x), lambda z: ad.cross_entropy(z, y), params) @ v,
            Fisher(lambda: forward(params, x), None, params) @ v, atol=1e-12,
        )  # fmt: skip
    assert all(p.grad is None for p in params)


# Bad input


def test_vectors_of_the_wrong_size_are_refused(problem):
    params, *_, loss = problem
    H = Hessian(loss, params)
    n = H.size
    for call in (lambda: H @ np.ones(n + 1), lambda: H.rmatvec(np.ones(n - 1)), lambda: H.matvec(np.ones((n, 2)))):
        with pytest.raises(ValueError, match=rf"Hessian\..*needs shape \({n},\)"):
            call()
    with pytest.raises(ValueError, match=rf"needs shape \({n}, any\)"):
        H.matmat(np.ones((n + 1, 2)))
    with pytest.raises(ValueError):
        H @ 2.0
    with pytest.raises(TypeError, match="real numbers"):
        H @ np.ones(n, complex)
    with pytest.raises(ValueError, match="entries"):
        H.split(np.ones(n + 1))
    with pytest.raises(ValueError, match="2 arrays for 6 parameters"):
        H.flatten([np.ones(2), np.ones(3)])
    with pytest.raises(ValueError, match="array 0 has shape"):
        H.flatten([np.ones((6, 4)), *[None] * 5])


def test_integer_vectors_are_taken_as_numbers(problem):
    params, *_, loss = problem
    H = Hessian(loss, params)
    np.testing.assert_array_equal(H @ np.arange(H.size), H @ np.arange(float(H.size)))


W = Tensor([1.0, 2.0], requires_grad=True)
CONSTANT = Tensor([1.0, 2.0])


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Hessian(lambda: W * 2, W), ValueError, r"shape \(2,\); it must be one number"),
        (lambda: Hessian(lambda: 3.0, W), TypeError, "must return a Tensor"),
        (lambda: Hessian(3.0, W), TypeError, "recorded Tensor or a function"),
        (lambda: Hessian(CONSTANT.sum(), W), RuntimeError, "no_grad"),
        (lambda: Hessian(lambda: W.sum(), []), ValueError, "at least one"),
        (lambda: Hessian(lambda: W.sum(), [W, W]), ValueError, r"params\[1\] is params\[0\]"),
        (lambda: Hessian(lambda: W.sum(), [W, np.ones(2)]), TypeError, r"params\[1\] is ndarray"),
        (lambda: Hessian(lambda: W.sum(), CONSTANT), ValueError, "requires_grad=True"),
        (lambda: Hessian(lambda: W.sum(), W, damping=np.inf), ValueError, "finite"),
        (lambda: Hessian(lambda: W.sum(), W, damping="0.1"), ValueError, "damping must be a finite number"),
        (lambda: Hessian(lambda: W.sum(), W, damping=None), ValueError, "damping must be a finite number"),
        (lambda: Hessian(lambda: W.sum(), W, reduction="max"), ValueError, "'mean' or 'sum'"),
        (lambda: Hessian(lambda: W.sum(), W, batches=3), TypeError, "iterable"),
        (lambda: Hessian(W.sum(), W, batches=[(W,)]), TypeError, "function of a batch"),
        (lambda: Hessian(lambda x: W.sum(), W, batches=[(3.0,)]) @ np.ones(2), TypeError, "begin with an array"),
        (lambda: Hessian(lambda x: W.sum(), W, batches=[]) @ np.ones(2), ValueError, "no samples"),
        (lambda: GaussNewton(lambda: W, W.sum(), W), TypeError, "function of the output"),
        (lambda: GaussNewton(lambda: W * 1, lambda z: z * 2, W), ValueError, "one number"),
        (lambda: GaussNewton(lambda: 1.0, lambda z: z, W), TypeError, "output must return a Tensor"),
        (lambda: Jacobian(lambda: 1.0, W), TypeError, "output must return a Tensor"),
        (lambda: Jacobian(CONSTANT, W), RuntimeError, "no_grad"),
        (lambda: Fisher(lambda: W * 1, None, W, kind="true"), ValueError, "kind must be"),
        (lambda: Fisher(lambda: W * 1, None, W, likelihood="poisson"), ValueError, "likelihood"),
        (lambda: Fisher(lambda: W * 1, None, W, kind="empirical"), ValueError, "needs targets"),
        (lambda: Fisher(lambda: W * 1, None, W, kind="empirical", targets=2), ValueError, "class indices"),
        (lambda: Fisher(lambda: W * 1, None, W, kind="empirical", targets=-1), ValueError, "-1 … -1"),
        (lambda: Fisher(lambda: W * 1, None, W, kind="empirical", targets=0.5), ValueError, "class indices"),
        (lambda: Fisher(lambda: W * 1, None, W, kind="empirical", likelihood="gaussian", targets=[1.0]), ValueError,
         "output's shape"),
        (lambda: Fisher(lambda: W * 1, None, W, kind="mc", samples=0), ValueError, "from 1"),
        (lambda: Fisher(lambda x: W * 1, None, W, batches=[(W,)], targets=[1]), TypeError, "function of a batch"),
        (lambda: Fisher(lambda: W * 1, 3.0, W), TypeError, "or None"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_fisher_matrix_has_no_value_or_gradient():
    F = Fisher(lambda: W * 1, None, W)
    for name in ("value", "gradient"):
        with pytest.raises(AttributeError, match="loss"):
            getattr(F, name)


def test_non_finite_curvature_passes_through_products():
    w = Tensor([0.0, 1.0], requires_grad=True)
    product = Hessian(lambda: np.sqrt(w).sum(), w) @ np.ones(2)
    assert not np.isfinite(product[0]) and product[1] == -0.25


def test_a_model_or_a_loss_in_the_place_of_a_function_of_less_is_told_what_to_write():
    C, X, y = ad.curvature, np.ones((4, 3)), np.array([0, 1, 0, 1])
    model, loss = nn.Linear(3, 2, dtype="float64"), nn.CrossEntropyLoss()
    params = list(model.parameters())
    for make, written in [
        (lambda: C.Hessian(model, params), "loss is called with no arguments, .* write loss=lambda: loss(model(x), y)"),
        (lambda: C.GaussNewton(model, loss, params), "Linear cannot be: .*'input'; write output=lambda: model(x)"),
        (lambda: C.GaussNewton(model(X), loss, params), "with 1 argument, .*'target'; write loss=lambda z: loss(z, y)"),
        (lambda: C.KFAC(model, None, params), "write output=lambda: model(x)"),
        (lambda: C.per_example_gradients(model, loss, params), "write output=lambda: model(x)"),
        (lambda: C.Hessian(lambda: loss(model(X), y), model), "params takes Tensors, such as model.parameters()"),
    ]:
        pattern = ".*".join(map(re.escape, written.split(".*")))
        with pytest.raises(TypeError, match=pattern):
            make()

    def wrong():
        raise TypeError("of its own")

    with pytest.raises(TypeError, match=r"^of its own$"):
        C.Hessian(wrong, params)
    with pytest.raises(TypeError, match="max"):  # a function that does not say which arguments it takes
        C.Hessian(max, params)


def test_a_vector_that_requires_a_gradient_is_refused_wherever_its_derivative_would_be_lost(rng):
    x, w = rng.standard_normal((5, 3)), Tensor(rng.standard_normal(3), requires_grad=True)
    H, J = Hessian(lambda: ((x @ w) ** 4).mean(), [w]), Jacobian(lambda: x @ w, [w])
    t, T, u = (Tensor(np.ones(shape), requires_grad=True) for shape in (3, (3, 2), 5))
    for product in (
        lambda: H.matvec(t), lambda: H.rmatvec(t), lambda: H.matmat(T), lambda: H.rmatmat(T), lambda: H.split(t),
        lambda: J.matvec(t), lambda: J.rmatvec(u), lambda: H.block([w]).matvec(t),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"requires a gradient, which would be lost; write t.detach\(\)"):
            product()
    with ad.no_grad():
        inside = H.matvec(t)
    np.testing.assert_array_equal(H.matvec(t.detach()), inside)
    np.testing.assert_allclose(inside, ad.hvp(lambda w: ((x @ w) ** 4).mean(), w, t).numpy(), rtol=1e-12)
