"""KFAC and EKFAC against Kronecker products that NumPy forms of what torch's hooks see, against curvlinops, and against
the Fisher matrix where they are equal to it."""

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.curvature import EKFAC, KFAC, Fisher


def variable(rng, *shape):
    return ad.Tensor(rng.normal(size=shape), requires_grad=True)


# Against Kronecker products formed by NumPy


def roots(z, likelihood):
    """The columns of a square root of the Hessian by each sample's output, shape (columns, *z.shape)."""
    k = z.shape[-1]
    if likelihood == "gaussian":
        return [np.broadcast_to(e, z.shape) for e in np.eye(k)]
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return [np.sqrt(p[..., c : c + 1]) * (np.eye(k)[c] - p) for c in range(k)]


def by_hand(model, x, likelihood, sharing):
    """Of torch's modules with a weight: A and B of weight and bias together, from hooks on the modules."""
    torch = pytest.importorskip("torch")
    rows, cotangents = {}, {}

    def rearranged(module, y):  # (examples, places, out)
        return (y.flatten(2).swapaxes(1, 2) if y.ndim == 4 else y.reshape(len(y), -1, y.shape[-1])).detach().numpy()

    def see(name):
        def hook(module, inputs, y):
            (a,) = inputs
            if isinstance(module, torch.nn.Conv2d):
                unfold = torch.nn.Unfold(module.kernel_size, module.dilation, module.padding, module.stride)
                a = unfold(a).swapaxes(1, 2)
            a = a.reshape(len(a), -1, a.shape[-1]).detach().numpy()
            rows.setdefault(name, []).append(np.concatenate([a, np.ones_like(a[..., :1])], axis=2))
            y.register_hook(lambda g: cotangents.setdefault(name, []).append(rearranged(module, g)))

        return hook

    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            module.register_forward_hook(see(name))
    z = model(torch.tensor(x))
    for root in roots(z.detach().numpy(), likelihood):
        (z * torch.tensor(root)).sum().backward(retain_graph=True)
    found = []
    for name in rows:
        a, uses = np.concatenate(rows[name], axis=1), len(rows[name])
        g = np.array(cotangents[name]).reshape(z.shape[-1], uses, *cotangents[name][0].shape)
        if sharing == "reduce":
            a, g = a.mean(1, keepdims=True), g.sum((1, 3), keepdims=True)
        a, g = a.reshape(-1, a.shape[-1]), g.reshape(-1, g.shape[-1])
        found.append((a.T @ a / len(a), g.T @ g / len(x)))
    return found


def dense(factors):
    """The matrix of layers whose parameters are (weight, bias) pairs in order."""
    blocks, sizes = [], []
    for A, B in factors:
        m, n = len(A), len(B)
        order = np.r_[np.arange(m * n).reshape(n, m)[:, :-1].ravel(), np.arange(m - 1, m * n, m)]
        blocks.append(np.kron(B, A)[np.ix_(order, order)])
        sizes.append(m * n)
    whole = np.zeros((sum(sizes), sum(sizes)))
    for block, end in zip(blocks, np.cumsum(sizes)):
        whole[end - len(block) : end, end - len(block) : end] = block
    return whole


def mlp(library):
    return library.Sequential(library.Linear(3, 4), library.Tanh(), library.Linear(4, 3)), (6, 3)


def lenet(library):
    return library.Sequential(
        library.Conv2d(1, 2, 3, padding=1), library.Tanh(), library.AvgPool2d(2), library.Conv2d(2, 3, 2, stride=2),
        library.Tanh(), library.Flatten(), library.Linear(12, 4), library.Tanh(), library.Linear(4, 3),
    ), (5, 1, 8, 8)  # fmt: skip


def resnet(library):
    class Block(library.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.norm1 = library.Conv2d(2, 2, 3, padding=1), library.BatchNorm2d(2)
            self.conv2, self.norm2 = library.Conv2d(2, 2, 3, padding=1), library.BatchNorm2d(2)
            self.act = library.Tanh()

        def forward(self, x):
            return self.act(x + self.norm2(self.conv2(self.act(self.norm1(self.conv1(x))))))

    return library.Sequential(
        library.Conv2d(1, 2, 3, stride=2), Block(), Block(), library.AvgPool2d(3), library.Flatten(),
        library.Linear(2, 3),
    ), (4, 1, 8, 8)  # fmt: skip


def recurrent(library):
    class Recurrent(library.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again, self.last = library.Linear(3, 4), library.Linear(4, 4), library.Linear(4, 3)
            self.act = library.Tanh()

        def forward(self, x):
            h = self.act(self.first(x))
            for _ in range(3):
                h = self.act(self.again(h))
            return self.last(h)

    return Recurrent(), (5, 3)


def same_networks(build, rng):
    """Ours and torch's with the same values, in evaluation mode, and an input."""
    torch = pytest.importorskip("torch")
    ours, shape = build(nn)
    theirs, _ = build(torch.nn)
    ours.double().eval()
    theirs.double().eval()
    state = {k: v.detach().numpy() for k, v in theirs.state_dict().items()}
    state = {k: rng.uniform(0.5, 1.5, v.shape) if v.dtype.kind == "f" else v for k, v in state.items()}
    state = {k: v - ("running_var" not in k) for k, v in state.items()}
    ours.load_state_dict(state)
    theirs.load_state_dict({k: torch.as_tensor(v) for k, v in state.items()})
    return ours, theirs, rng.normal(size=shape)


def weights_and_biases(model):
    return [p for name, p in model.named_parameters() if "norm" not in name]


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
@pytest.mark.parametrize("likelihood", ["softmax", "gaussian"])
@pytest.mark.parametrize("build", [mlp, lenet, resnet, recurrent])
def test_the_blocks_are_the_kronecker_products_of_what_the_layers_see(build, likelihood, sharing):
    ours, theirs, x = same_networks(build, np.random.default_rng(0))
    K = KFAC(ours(x), None, weights_and_biases(ours), likelihood=likelihood, sharing=sharing)
    expected = dense(by_hand(theirs, x, likelihood, sharing))
    np.testing.assert_allclose(K.to_dense(), expected, rtol=1e-9, atol=1e-9 * abs(expected).max())


# Against the Fisher matrix, where they are equal

X = np.random.default_rng(3).normal(size=(6, 3))


def block_diagonal(F, K):
    """The Fisher matrix without what KFAC leaves out between its blocks."""
    kept = np.zeros_like(F)
    for block in K.blocks:
        for places in block.places:
            at = np.ix_(places.ravel(), places.ravel())
            kept[at] = F[at]
    return kept


def linear_cases():
    """Parameters and an output linear behind each of them, whose rows have a loss each."""
    rng = np.random.default_rng(0)
    W, V, b, c = variable(rng, 4, 3), variable(rng, 2, 4), variable(rng, 4), variable(rng, 2)
    U = variable(rng, 3, 2)
    filters, grouped = variable(rng, 2, 3, 3), variable(rng, 4, 2, 1)
    heads = variable(rng, 2, 3, 4)
    scaled = ad.primitive(
        lambda x, w: np.sin(x) @ w, name="scaled",
        vjps=[lambda g, y, x, w: np.cos(x) * (g @ w.T), lambda g, y, x, w: np.sin(x).T @ g],
        multiplies=lambda x, w: [ad.Multiplication(w, np.sin(x), "ni,io->no")],
    )  # fmt: skip
    return {
        "two layers by hand": (lambda: (X @ W.T + b) @ V.T + c, [W, b, V, c]),
        "matrix products from both sides": (lambda: (V @ (W @ X.T)).T, [V, W]),
        "einsum": (lambda: ad.einsum("ni,oi->no", X, W) + b, [W, b]),
        "tensordot": (lambda: ad.tensordot(X, U, 1) + c.reshape(1, 2), [U, c]),
        "linear layers": (lambda: nn.functional.linear(nn.functional.linear(X, W, b), V, c), [W, b, V, c]),
        "a vector": (lambda: X @ U[:, 0], [U]),
        "parts of one array": (lambda: X @ U[:, :1] + (X**2) @ U[:, 1:], [U]),
        "a convolution over the whole": (lambda: nn.functional.conv1d(np.ones((5, 3, 3)), filters)[..., 0], [filters]),
        "groups": (lambda: nn.functional.conv1d(np.ones((5, 4, 1)), grouped, groups=2)[..., 0], [grouped]),
        "a weight for each head": (lambda: ad.einsum("ni,hio->nho", X, heads).reshape(6, -1), [heads]),
        "an operation of one's own": (lambda: scaled(X, U) + c, [U, c]),
        "a bias alone": (lambda: np.cos(X) + b[:3], [b]),
    }


@pytest.mark.parametrize("kind", [KFAC, EKFAC])
@pytest.mark.parametrize("name", linear_cases())
def test_with_square_loss_the_blocks_of_linear_layers_are_those_of_the_fisher_matrix(name, kind):
    output, params = linear_cases()[name]
    F = Fisher(output, None, params, likelihood="gaussian").to_dense()
    K = kind(output, None, params, likelihood="gaussian")
    np.testing.assert_allclose(K.to_dense(), block_diagonal(F, K), rtol=1e-9, atol=1e-9 * abs(F).max())


@pytest.mark.parametrize("name", linear_cases())
def test_no_weight_is_overlooked(name):
    output, params = linear_cases()[name]
    K = KFAC(output, None, params, likelihood="gaussian")
    assert any(block.places.shape[2] > 1 for block in K.blocks) or name in ("a bias alone",)
    found = np.sort(np.concatenate([block.places.ravel() for block in K.blocks]))
    np.testing.assert_array_equal(found, np.arange(K.size))


def test_of_rows_that_are_averaged_reduce_is_the_fisher_matrix_and_expand_is_not():
    rng = np.random.default_rng(0)
    W, b, tokens = variable(rng, 2, 3), variable(rng, 2), rng.normal(size=(6, 5, 3))
    output = lambda: (tokens @ W.T + b).mean(axis=1)
    F = Fisher(output, None, [W, b], likelihood="gaussian").to_dense()
    reduced, expanded = [
        KFAC(output, None, [W, b], likelihood="gaussian", sharing=s).to_dense() for s in ("reduce", "expand")
    ]
    np.testing.assert_allclose(reduced, F, rtol=1e-9, atol=1e-12)
    assert abs(expanded - F).max() > 0.1


@pytest.mark.parametrize("likelihood", ["softmax", "gaussian"])
def test_of_one_example_every_block_is_that_of_the_fisher_matrix(likelihood):
    model = nn.Sequential(nn.Linear(3, 4, rng=np.random.default_rng(0)), nn.Tanh(), nn.Linear(4, 3)).double()
    params = list(model.parameters())
    F = Fisher(model(X[:1]), None, params, likelihood=likelihood).to_dense()
    for kind in (KFAC, EKFAC):
        K = kind(model(X[:1]), None, params, likelihood=likelihood)
        np.testing.assert_allclose(K.to_dense(), block_diagonal(F, K), atol=1e-12)
        alone = kind(model(X[0]), None, params, likelihood="softmax")  # no axis of examples
        if likelihood == "softmax":
            np.testing.assert_allclose(alone.to_dense(), K.to_dense(), atol=1e-12)


@pytest.mark.parametrize("kind, options", [
    ("exact", {}), ("mc", {"samples": 3, "rng": 0}), ("empirical", {"targets": np.arange(6) % 3}),
])  # fmt: skip
def test_what_is_no_weight_has_its_block_of_the_fisher_matrix(kind, options):
    norm = nn.LayerNorm(3).double()
    norm.weight.data = np.array([0.5, 1.0, 2.0])
    scale = ad.Tensor([1.0, -2.0, 3.0], requires_grad=True)
    unused = ad.Tensor([1.0, 2.0], requires_grad=True)
    params = [scale, norm.weight, norm.bias, unused]
    output = lambda: norm(np.tanh(X * scale))
    F = Fisher(output, None, params, kind=kind, **options).to_dense()
    K = KFAC(output, None, params, kind=kind, **options)
    np.testing.assert_allclose(K.to_dense(), block_diagonal(F, K), atol=1e-12)
    assert sorted(b.left.shape for b in K.blocks) == [(1, 3, 3)] * 3 + [(2, 1, 1)]
    assert not K.to_dense()[-2:].any()


def test_a_weight_that_is_also_used_in_another_way_is_no_weight():
    w = variable(np.random.default_rng(0), 3, 2)
    output = lambda: X @ w + np.tanh(w).sum(axis=0)
    F = Fisher(output, None, w, likelihood="gaussian").to_dense()
    np.testing.assert_allclose(KFAC(output, None, w, likelihood="gaussian").to_dense(), F, atol=1e-12)


@pytest.mark.parametrize("see", [lambda w: w, lambda w: w.T, lambda w: w[:2]])
def test_a_parameter_that_is_the_output_has_its_block_of_the_fisher_matrix(see):
    w = variable(np.random.default_rng(0), 3, 3)
    K, F = [kind(lambda: see(w), None, w, likelihood="gaussian") for kind in (KFAC, Fisher)]
    assert F.to_dense().any()
    np.testing.assert_allclose(K.to_dense(), F.to_dense(), atol=1e-15)


DATA = np.random.default_rng(1).normal(size=(4, 2))
OF_EXAMPLES = {
    "latent vectors": ((4, 3), lambda p: p @ DATA[:3]),
    "latent vectors as columns": ((3, 4), lambda p: (DATA[:3].T @ p).T),
    "as many outputs as examples": ((2, 3), lambda p: p @ np.sin(np.arange(6.0)).reshape(3, 2)),
    "offsets": ((4, 2), lambda p: np.tanh(DATA + p)),
    "an offset of an example": ((4, 1), lambda p: np.tanh(DATA + p)),
    "the rows of a table": ((5, 3), lambda p: p[[3, 0, 1, 4]] @ DATA[:3]),
    "the rows of a table by take": ((5, 3), lambda p: np.take(p, [3, 0], axis=0) @ DATA[:3]),
}


@pytest.mark.parametrize("likelihood", ["softmax", "gaussian"])
@pytest.mark.parametrize("kind", [KFAC, EKFAC])
@pytest.mark.parametrize("name", OF_EXAMPLES)
def test_entries_of_one_example_each_have_nothing_to_do_with_those_of_another(name, kind, likelihood):
    shape, output = OF_EXAMPLES[name]
    p = variable(np.random.default_rng(0), *shape)
    F = Fisher(lambda: output(p), None, p, likelihood=likelihood).to_dense()
    np.testing.assert_allclose(kind(lambda: output(p), None, p, likelihood=likelihood).to_dense(), F, atol=1e-14)


def test_a_layer_with_as_many_outputs_as_examples_and_one_behind_batch_norm_stay_layers():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 6, rng=rng), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 6, rng=rng)).double()
    K = KFAC(model(X), None, model.parameters())
    assert sorted(b.places.shape for b in K.blocks) == [(1, 6, 1), (1, 6, 1), (1, 6, 4), (1, 6, 7)]


def test_batches_of_tokens_that_repeat_and_that_do_not_go_together():
    rng = np.random.default_rng(0)
    table, w, tokens = variable(rng, 5, 3), variable(rng, 3, 2), np.array([0, 1, 2, 1, 1, 3, 4])
    parts = KFAC(lambda t: table[t] @ w, None, [table, w], batches=[tokens[:1], tokens[1:3], tokens[3:]]).to_dense()
    np.testing.assert_allclose(parts, KFAC(table[tokens] @ w, None, [table, w]).to_dense(), atol=1e-14)


@pytest.mark.parametrize("kind", [KFAC, EKFAC, Fisher])
@pytest.mark.parametrize("likelihood", ["softmax", "gaussian"])
def test_of_no_examples_there_is_a_sum_and_no_mean(kind, likelihood):
    w = variable(np.random.default_rng(0), 3, 2)
    assert not kind(X[:0] @ w, None, w, likelihood=likelihood, reduction="sum").to_dense().any()
    with pytest.raises(ValueError, match="no sample that counts"):
        kind(X[:0] @ w, None, w, likelihood=likelihood)


def test_an_operation_whose_record_does_not_fit_its_shapes_has_its_block_of_the_fisher_matrix():
    double = ad.primitive(
        lambda x, w: 2 * x @ w, name="double", vjps=[lambda g, y, x, w: 2 * g @ w.T, lambda g, y, x, w: 2 * x.T @ g],
        multiplies=lambda x, w: [ad.Multiplication(w, 2 * x, "...i,oi->...o")],
    )  # fmt: skip
    w = variable(np.random.default_rng(0), 3, 2)
    F = Fisher(double(X, w), None, w).to_dense()
    np.testing.assert_allclose(KFAC(double(X, w), None, w).to_dense(), F, atol=1e-14)


def test_weights_inside_vmap_have_their_blocks_of_the_fisher_matrix():
    w, b = variable(np.random.default_rng(0), 3, 2), variable(np.random.default_rng(1), 2)
    K = KFAC(lambda: ad.vmap(lambda x: ad.tanh(x @ w + b))(X), None, [w, b])
    F = Fisher(np.tanh(X @ w + b), None, [w, b]).to_dense()
    np.testing.assert_allclose(K.to_dense(), block_diagonal(F, K), atol=1e-14)


def test_a_weight_whose_parts_overlap_is_no_weight():
    w = variable(np.random.default_rng(0), 3, 2)
    output = lambda: X @ w + np.cos(X) @ w[:, :1]
    F = Fisher(output, None, w, likelihood="gaussian").to_dense()
    np.testing.assert_allclose(KFAC(output, None, w, likelihood="gaussian").to_dense(), F, atol=1e-12)


def test_a_bias_of_two_weights_is_a_layer_by_itself_and_separate_ones_are_too():
    rng = np.random.default_rng(0)
    W, V, b = variable(rng, 3, 2), variable(rng, 3, 2), variable(rng, 2)
    shared = KFAC((X @ W + b) + np.tanh(X @ V + b), None, [W, V, b])
    assert [block.places.shape for block in shared.blocks] == [(1, 2, 3), (1, 2, 3), (1, 2, 1)]
    apart = KFAC(X @ W + b, None, [W, b], separate=True)
    joint = KFAC(X @ W + b, None, [W, b])
    assert [block.places.shape for block in apart.blocks] == [(1, 2, 3), (1, 2, 1)]
    assert [block.places.shape for block in joint.blocks] == [(1, 2, 4)]
    np.testing.assert_allclose(apart.to_dense()[:6, :6], joint.to_dense()[:6, :6], atol=1e-14)
    np.testing.assert_allclose(apart.to_dense()[6:, 6:], joint.to_dense()[6:, 6:], atol=1e-14)


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
def test_the_mean_over_draws_of_tokens_tends_to_the_exact_factors(sharing):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 3, rng=rng)).double()
    tokens, params = rng.normal(size=(4, 2, 3)), list(model.parameters())
    exact = KFAC(model(tokens), None, params, sharing=sharing).to_dense()
    drawn = KFAC(model(tokens), None, params, sharing=sharing, kind="mc", samples=20000, rng=0).to_dense()
    assert np.linalg.norm(exact - drawn) < 0.02 * np.linalg.norm(exact)


# Batches


@pytest.mark.parametrize("kind", [KFAC, EKFAC])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("sharing", ["expand", "reduce"])
def test_batches_give_what_all_examples_at_once_give(kind, reduction, sharing):
    model, _, x = same_networks(lenet, np.random.default_rng(1))
    how = {"reduction": reduction, "sharing": sharing}
    whole = kind(lambda: model(x), None, model.parameters(), **how)
    parts = kind(model, None, model.parameters(), batches=[x[:1], x[1:3], x[3:]], **how)
    if kind is KFAC:
        np.testing.assert_allclose(parts.to_dense(), whole.to_dense(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(parts.trace(), whole.trace(), rtol=1e-9)  # eigenvectors may turn where values are equal
    np.testing.assert_allclose(whole.trace() / (5 if reduction == "sum" else 1),
                               kind(lambda: model(x), None, model.parameters(), sharing=sharing).trace())  # fmt: skip


# Functions of the eigenvalues


@pytest.fixture
def damped():
    model, _, x = same_networks(lenet, np.random.default_rng(2))
    return {kind: kind(model(x), None, model.parameters(), damping=0.01) for kind in (KFAC, EKFAC)}


@pytest.mark.parametrize("kind", [KFAC, EKFAC])
def test_inverse_root_spectrum_and_sums_are_those_of_the_dense_matrix(damped, kind):
    K = damped[kind]
    D, rng = K.to_dense(), np.random.default_rng(0)
    np.testing.assert_allclose(D, D.T, atol=1e-14)
    np.testing.assert_allclose(K.inverse() @ (D @ (v := rng.normal(size=K.size))), v, rtol=1e-9)
    np.testing.assert_allclose(K.inverse(0.5).to_dense(), np.linalg.inv(D + 0.49 * np.eye(K.size)), atol=1e-11)
    S = K.square_root().to_dense()
    np.testing.assert_allclose(S @ S, D, atol=1e-12)
    np.testing.assert_allclose(K.eigenvalues(), np.linalg.eigvalsh(D), atol=1e-12)
    np.testing.assert_allclose(K.logdet(), np.linalg.slogdet(D)[1], rtol=1e-10)
    np.testing.assert_allclose(K.trace(), np.trace(D), rtol=1e-12)
    np.testing.assert_allclose(K.frobenius_norm(), np.linalg.norm(D), rtol=1e-12)
    np.testing.assert_allclose(K.diagonal(), np.diag(D), rtol=1e-9)
    np.testing.assert_allclose(K @ (V := rng.normal(size=(K.size, 3))), D @ V, atol=1e-12)
    np.testing.assert_allclose(K.mapped(np.log).trace(), K.logdet(), rtol=1e-10)


def test_ekfac_has_the_trace_of_the_fisher_matrix_and_is_nearer_to_it_than_kfac(damped):
    model, _, x = same_networks(lenet, np.random.default_rng(2))
    F = Fisher(model(x), None, model.parameters(), damping=0.01).to_dense()
    kept = block_diagonal(F, damped[KFAC])
    np.testing.assert_allclose(damped[EKFAC].trace(), np.trace(F), rtol=1e-10)
    off = [np.linalg.norm(K.to_dense() - kept) for K in damped.values()]
    assert off[1] < off[0]


def test_the_heuristic_inverse_is_that_of_factors_damped_each_by_itself():
    rng = np.random.default_rng(0)
    W, b = variable(rng, 3, 2), variable(rng, 2)
    K, damping = KFAC(X @ W + b, None, [W, b], likelihood="gaussian"), 0.09
    (block,) = K.blocks
    A, B = block.right[0], block.left[0]
    pi = np.sqrt(np.trace(A) / 4 / (np.trace(B) / 2))
    parts = [np.linalg.inv(B + 0.3 / pi * np.eye(2)), np.linalg.inv(A + 0.3 * pi * np.eye(4))]
    order = block.places.ravel()
    found = K.inverse(damping, heuristic=True).to_dense()[np.ix_(order, order)]
    np.testing.assert_allclose(found, np.kron(*parts), rtol=1e-10)
    bias = KFAC(X @ W + b, None, b, likelihood="gaussian")
    np.testing.assert_allclose(bias.inverse(0.5, heuristic=True).to_dense(), np.eye(2) / 1.5, rtol=1e-12)


# What may be wrong with curvature


def dead():
    """A network with a unit that never fires, and a parameter nothing depends on."""
    rng = np.random.default_rng(0)
    W, V, unused = variable(rng, 3, 4), variable(rng, 4, 2), variable(rng, 2)
    W.data[:, 1] = 0
    return lambda: np.maximum(X @ W, 0) @ V, [W, V, unused]


@pytest.mark.parametrize("kind", [KFAC, EKFAC])
def test_singular_factors_have_no_inverse_without_damping_and_an_exact_one_with(kind):
    output, params = dead()
    K = kind(output, None, params)
    D = K.to_dense()
    assert np.isfinite(D).all() and K.logdet() == -np.inf
    with pytest.raises(np.linalg.LinAlgError, match=r"singular.*pass damping="):
        K.inverse()
    np.testing.assert_allclose(K.inverse(1e-3).to_dense(), np.linalg.inv(D + 1e-3 * np.eye(K.size)), atol=1e-9)
    assert np.isfinite(K.inverse(1e-3, heuristic=True).to_dense()).all()
    assert not D[:, -2:].any()
    one = kind(lambda: nn.functional.linear(X[:1], params[0].T), None, params)  # a batch of one
    assert np.isfinite(one.to_dense()).all() and np.linalg.matrix_rank(one.blocks[0].right[0]) == 1


def test_of_float32_factors_are_float32_and_near_those_of_float64():
    output, params = dead()
    exact = KFAC(output, None, params).to_dense()
    x, single = X.astype("float32"), [ad.Tensor(p.numpy().astype("float32"), requires_grad=True) for p in params]
    K = KFAC(np.maximum(x @ single[0], 0) @ single[1], None, single)
    assert K.dtype == np.float32 and K.inverse(0.1).dtype == np.float32
    np.testing.assert_allclose(K.to_dense(), exact, atol=1e-6)
    assert (K.eigenvalues() >= 0).all() and np.isfinite(K.inverse(1e-6).to_dense()).all()


def test_curvature_that_is_not_finite_passes_through_products_and_has_no_spectrum():
    w = ad.Tensor(np.ones((3, 2)), requires_grad=True)
    K = KFAC(np.where(X > 1, np.nan, X) @ w, None, w)
    assert np.isnan(K @ np.ones(6)).any()
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        K.inverse(0.1)


def test_what_makes_no_sense_is_one_clear_error():
    w, table = variable(np.random.default_rng(0), 3, 2), variable(np.random.default_rng(0), 600, 2)
    with pytest.raises(ValueError, match="KFAC: sharing must be one of expand, reduce, not 'both'"):
        KFAC(X @ w, None, w, sharing="both")
    with pytest.raises(ValueError, match="KFAC: kind must be one of"):
        KFAC(X @ w, None, w, kind="half")
    with pytest.raises(ValueError, match=r"params\[0\] does not|params\[0\] .*does not require a gradient"):
        KFAC(X @ w, None, ad.Tensor([1.0]))
    with pytest.raises(ValueError, match=r"params\[1\] \(shape \(600, 2\)\) is multiplied with its input in no way"):
        KFAC(X @ w + np.tanh(table)[:6], None, [w, table])
    with pytest.raises(ValueError, match="6 examples along its first axis, but a layer has 3"):
        EKFAC((w.T @ X.T).T[:, :2] + (np.ones((3, 3)) @ w).sum(axis=0), None, w)
    with pytest.raises(ValueError, match="damping must be a finite number of at least 0, not -1"):
        KFAC(X @ w, None, w).inverse(-1)
    for method in ("square_root", "logdet"):
        with pytest.raises(np.linalg.LinAlgError, match=f"{method}: with damping -1 the least eigenvalue is -"):
            getattr(KFAC(X @ w, None, w, damping=-1), method)()
    for kind in (Fisher, KFAC):
        with pytest.raises(
            ValueError, match=rf"{kind.__name__}: the output has shape \(6, 1\), and softmax needs two .*gaussian"
        ):
            kind(X @ w[:, :1], None, w)
    with pytest.raises(RuntimeError, match="two batches use the parameters in different ways"):
        KFAC(lambda x: x @ w if len(x) > 2 else np.tanh(w)[:2] * x[:, :2], None, w, batches=[X[:4], X[4:]])
    with pytest.raises(TypeError, match=r"ad\.primitive: multiplies must be a function"):
        ad.primitive(lambda x: x, vjps=[lambda g, y, x: g], multiplies="ni,io->no")


def test_after_refresh_the_factors_are_those_of_the_present_values():
    w = ad.Tensor(np.ones((3, 2)), requires_grad=True)
    K = KFAC(lambda: np.tanh(X @ w), None, w)
    before = K.to_dense()
    w.data = 0.5 * np.ones((3, 2))
    np.testing.assert_array_equal(K.to_dense(), before)
    K.refresh()
    np.testing.assert_array_equal(K.to_dense(), KFAC(np.tanh(X @ w), None, w).to_dense())


# Against curvlinops

NET = [
    np.linspace(-1, 1, 24).reshape(3, 2, 2, 2), np.array([0.1, -0.2, 0.3]), np.sin(np.arange(24.0)).reshape(2, 12),
    np.array([0.0, 0.5]),
]  # fmt: skip
SEEN = np.cos(np.arange(48.0)).reshape(4, 2, 3, 2)
STORED = {
    ("kfac", "expand", False): [1.71237431057673, 1.19106791584687, 0.95323592997939, 0.27241424651190],
    ("kfac", "expand", True): [1.71237431057673, 0.98965444876571, 0.56690527070561, 0.17377672127064],
    ("kfac", "reduce", False): [1.48097059398028, 1.18512340513124, 0.95094414905423, 0.27241424651190],
    ("kfac", "reduce", True): [1.48097059398028, 0.98287912786405, 0.56327706134646, 0.17377672127064],
    ("ekfac", "expand", False): [1.70664465092558, 1.19055668163861, 0.95267202175177, 0.27218807722201],
    ("ekfac", "expand", True): [1.70664465092558, 0.99033838603005, 0.56560062690330, 0.17380319266260],
}
"""Trace, norm, and the product with cos(0), cos(1), …: its norm and its entry 30; of curvlinops 3.0.1 in float64."""


def small_net():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 2, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)
    ).double()  # fmt: skip
    for p, values in zip(model.parameters(), NET):
        p.data = values.copy()
    return model


def summary(K):
    y = K @ np.cos(np.arange(53.0))
    D = K @ np.eye(53)
    return [np.trace(D), np.linalg.norm(D), np.linalg.norm(y), y[30]]


@pytest.mark.parametrize("case", STORED)
def test_a_convolutional_network_has_the_factors_that_curvlinops_computes(case):
    name, sharing, separate = case
    model = small_net()
    kind = EKFAC if name == "ekfac" else KFAC
    K = kind(model(SEEN), None, model.parameters(), sharing=sharing, separate=separate)
    np.testing.assert_allclose(summary(K), STORED[case], rtol=1e-9)


@pytest.mark.parametrize("sharing, separate", [("expand", False), ("expand", True), ("reduce", False)])
@pytest.mark.parametrize("kind", [KFAC, EKFAC])
def test_networks_have_the_matrices_of_curvlinops(kind, sharing, separate):
    theirs_of = pytest.importorskip("curvlinops")
    import torch

    if kind is EKFAC and sharing == "reduce":
        sharing = "expand"
    ours, theirs, x = same_networks(lenet, np.random.default_rng(4))
    make = theirs_of.KFACLinearOperator if kind is KFAC else theirs_of.EKFACLinearOperator
    theirs = make(
        theirs, torch.nn.CrossEntropyLoss(), list(theirs.parameters()),
        [(torch.tensor(x), torch.zeros(len(x), dtype=int))], fisher_type="type-2", kfac_approx=sharing,
        separate_weight_and_bias=separate, check_deterministic=False,
    )  # fmt: skip
    K = kind(ours(x), None, ours.parameters(), sharing=sharing, separate=separate)
    expected = (theirs @ torch.eye(K.size, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(K.to_dense(), expected, rtol=1e-9, atol=1e-9 * abs(expected).max())
