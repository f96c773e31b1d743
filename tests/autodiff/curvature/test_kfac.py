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
