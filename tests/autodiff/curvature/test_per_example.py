"""Gradients of each example from one graph, against one pass through the whole graph for each."""

import warnings

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff import Tensor
from autodiff.batching.batch import PerformanceWarning
from autodiff.curvature import per_example_gradients, per_example_norms
from tests.processor_time import least_times

RNG = np.random.default_rng(0)
N = 5
X, IMAGES, WORDS = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 1, 5, 5)), RNG.integers(0, 6, (N, 3))
W, V, SQUARE = (Tensor(RNG.normal(size=s), requires_grad=True) for s in ((4, 3), (3, 2), (3, 3)))
FIXED = RNG.normal(size=(N, N))


def built(*layers):
    nn.manual_seed(0)
    return nn.Sequential(*[layer() for layer in layers]).double()


MLP = built(lambda: nn.Linear(4, 6), nn.Tanh, lambda: nn.LayerNorm(6), lambda: nn.Linear(6, 3, bias=False))
CONV = built(lambda: nn.Conv2d(1, 2, 2), nn.ReLU, lambda: nn.MaxPool2d(2), nn.Flatten, lambda: nn.Linear(8, 2))
NORMED = built(lambda: nn.Linear(4, 6), lambda: nn.BatchNorm1d(6), nn.ReLU, lambda: nn.Linear(6, 3))
WORDED = built(lambda: nn.Embedding(6, 4), lambda: nn.Linear(4, 3), nn.Tanh, nn.Flatten, lambda: nn.Linear(9, 2))
ATTENTIVE = built(lambda: nn.Embedding(6, 4), lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0))
LONG = built(lambda: nn.Linear(2, 30), nn.Tanh, lambda: nn.Linear(30, 1))
LSTM = nn.LSTM(2, 3, batch_first=True).double()
SEQUENCES = RNG.normal(size=(N, 4, 2))

ONE_PASS = {
    "matmul by hand": (lambda: np.tanh(X @ W + 0.5) @ V, [W, V]),
    "linear layers": (lambda: MLP(X), list(MLP.parameters())),
    "convolution and pooling": (lambda: CONV(IMAGES), list(CONV.parameters())),
    "embedding": (lambda: WORDED(WORDS), list(WORDED.parameters())),
    "rows of few steps, many features": (lambda: LONG(SEQUENCES), list(LONG.parameters())),
    "shared": (lambda: np.tanh(np.tanh(X @ W) @ SQUARE) @ SQUARE, [W, SQUARE]),
    "a function of the weight": (lambda: np.tanh(X @ np.exp(W)) @ (V * 2.0).T.T, [W, V]),
    "some of the weights": (lambda: np.tanh(X @ W) @ V, [W]),
    "sums and products in a row": (lambda: (np.sin(X @ W) * W.sum(0)).sum(1, keepdims=True) / V[0, 0], [W, V]),
    "an unused parameter": (lambda: X @ W, [W, V]),
}  # fmt: skip
ONE_BY_ONE = {
    "batch norm that trains": (lambda: NORMED(X), list(NORMED.parameters())),
    "examples in another order": (lambda: np.tanh(X @ W)[::-1] @ V, [W, V]),
    "examples that are mixed": (lambda: FIXED @ np.tanh(X @ W) @ V, [W, V]),
    "examples that are added up": (lambda: np.cumsum(X @ W, axis=0) @ V, [W, V]),
    "an examples' mean": (lambda: (lambda h: h - h.mean(0))(X @ W) @ V, [W, V]),
    "all rows as one axis": (lambda: (SEQUENCES.reshape(-1, 2) @ W[:2]).reshape(N, -1), [W]),
    "lstm": (lambda: LSTM(SEQUENCES)[0], list(LSTM.parameters())),
}


def looped(output, loss, params):
    z = output()
    d = ad.grad(lambda z: loss(z).sum())(z.data)
    rows = []
    for n in range(len(d)):
        seed = np.zeros_like(d)
        seed[n] = d[n]
        slopes = ad.gradients(z, params, seed, allow_unused=True)
        rows.append([np.zeros(p.shape) if g is None else g.data for g, p in zip(slopes, params)])
    return [np.stack(column) for column in zip(*rows)]


def checked(output, params, chunk):
    for loss in (lambda z: (z**2).mean() + np.sin(z[:, 0]).sum(), lambda z: (z**3).reshape(N, -1).sum(1)):
        expected = looped(output, loss, params)
        found = per_example_gradients(output, loss, params, chunk=chunk)
        for a, b, p in zip(found, expected, params, strict=True):
            assert a.dtype == p.dtype
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        squares = sum((e.reshape(N, -1) ** 2).sum(1) for e in expected)
        np.testing.assert_allclose(per_example_norms(output, loss, params, chunk=chunk), np.sqrt(squares), rtol=1e-9)


@pytest.mark.parametrize("chunk", [None, 1, 2])
@pytest.mark.parametrize("name", ONE_PASS)
def test_one_pass_gives_the_gradient_of_each_example(name, chunk):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerformanceWarning)
        checked(*ONE_PASS[name], chunk)


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_where_examples_have_to_do_with_one_another_each_has_a_pass(name, chunk):
    with pytest.warns(PerformanceWarning, match="5 times"):
        checked(*ONE_BY_ONE[name], chunk)


def test_batch_norm_that_does_not_train_needs_one_pass():
    NORMED.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PerformanceWarning)
            checked(lambda: NORMED(X), list(NORMED.parameters()), None)
    finally:
        NORMED.train()


def test_attention_has_the_gradients_of_each_example():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PerformanceWarning)
        checked(lambda: ATTENTIVE(WORDS), list(ATTENTIVE.parameters()), None)


def test_a_constant_with_as_many_rows_as_examples_is_not_taken_for_them():
    frozen = Tensor(RNG.normal(size=(N, 2)))  # N features
    first = Tensor(RNG.normal(size=(4, N)), requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PerformanceWarning)
        checked(lambda: np.tanh(X @ first) @ frozen, [first], None)
        checked(lambda: np.tanh(X @ (first * FIXED[:4])) @ frozen, [first], None)


def test_gradients_are_those_of_vmap_and_of_the_model_run_on_each_example():
    names, params = zip(*MLP.named_parameters())
    target = RNG.integers(0, 3, N)
    found = per_example_gradients(lambda: MLP(X), lambda z: ad.cross_entropy(z, target) * N, params)
    for n in range(N):
        single = ad.gradients(ad.cross_entropy(MLP(X[n : n + 1]), target[n : n + 1]), params)
        for a, b in zip(found, single):
            np.testing.assert_allclose(a[n], b.data, rtol=1e-9, atol=1e-12)


def test_hooks_are_heard_and_values_that_are_not_finite_stay_with_their_example():
    heard = []

    def hooked():
        h = X @ W
        h.register_hook(lambda g: heard.append(g) or 2 * g)
        return h

    loss = lambda z: (z**2).sum()
    with pytest.warns(PerformanceWarning):
        found = per_example_gradients(hooked, loss, W)
    np.testing.assert_allclose(found, 2 * per_example_gradients(lambda: X @ W, loss, W), rtol=1e-12)
    assert heard
    x = X.copy()
    x[2, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PerformanceWarning)
        found = per_example_gradients(lambda: x @ W, loss, W)
    expected = per_example_gradients(lambda: X @ W, loss, W)
    assert np.isnan(found[2]).any()
    others = np.delete(found, 2, 0)  # 0 · NaN where an example is pulled back through all of them
    assert (np.isnan(others) | np.isclose(others, np.delete(expected, 2, 0), rtol=1e-12)).all()


def test_no_examples_and_one():
    for n in (0, 1):
        found = per_example_gradients(lambda n=n: X[:n] @ W, lambda z: (z**2).sum(), [W, V])
        assert [a.shape for a in found] == [(n, 4, 3), (n, 3, 2)]
        assert per_example_norms(lambda n=n: X[:n] @ W, lambda z: (z**2).sum(), W).shape == (n,)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f: f(lambda: (X @ W).sum(), lambda z: z, W), ValueError, "axis of examples"),
        (lambda f: f(lambda: X @ W, lambda z: z.sum(0), W), ValueError, "each of the 5 examples"),
        (lambda f: f(lambda: X @ W, X, W), TypeError, "loss must be a function"),
        (lambda f: f(lambda: X, lambda z: z.sum(), W), TypeError, "must return a Tensor"),
        (lambda f: f(lambda: X @ W, lambda z: z.sum(), [W, W]), ValueError, r"params\[1\] is params\[0\] again"),
        (lambda f: f(lambda: X @ W, lambda z: z.sum(), W, chunk=0), ValueError, "chunk"),
    ],
)
@pytest.mark.parametrize("f", [per_example_gradients, per_example_norms])
def test_what_is_wrong_is_named(f, call, error, words):
    with pytest.raises(error, match=words):
        call(f)


def test_norms_take_less_than_three_gradients():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(400, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    params, x = list(model.parameters()), rng.normal(size=(128, 400)).astype(np.float32)
    loss = lambda z: (z**2).sum()
    one, norms = least_times(
        lambda: ad.gradients(loss(model(x)), params), lambda: per_example_norms(lambda: model(x), loss, params),
        rounds=40, enough=lambda a, b: b < 2 * a,
    )  # fmt: skip
    assert norms < 3 * one  # about 1.5 where nothing else runs
