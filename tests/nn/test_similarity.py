"""Lengths, angles and distances: PyTorch's numbers to second order, at zero vectors too; errors."""

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F
from tests.against_torch import agrees_with_torch, same_layer


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(
    "options",
    [{}, {"p": 1.0}, {"p": 3.0, "dim": 0}, {"dim": -1, "eps": 10.0}, {"p": float("inf")}, {"p": 0.5}],
    ids=str,
)
def test_normalize_equals_pytorch_s_to_second_order(options):
    torch = pytest.importorskip("torch")
    agrees_with_torch(
        lambda x: F.normalize(x, **options), lambda x: torch.nn.functional.normalize(x, **options), values(3, 4, 2)
    )


def test_a_zero_vector_has_pytorch_s_gradients():
    torch = pytest.importorskip("torch")
    x, y = np.zeros((2, 3)), values(2, 3)
    agrees_with_torch(F.normalize, torch.nn.functional.normalize, x, second=False)
    agrees_with_torch(F.cosine_similarity, torch.nn.functional.cosine_similarity, x, y, second=False)


@pytest.mark.parametrize("options", [{}, {"dim": 0}, {"dim": -1}], ids=str)
@pytest.mark.parametrize("shapes", [((3, 4, 2), (3, 4, 2)), ((3, 1, 2), (4, 2))])
def test_cosine_similarity_equals_pytorch_s_to_second_order(shapes, options):
    torch = pytest.importorskip("torch")
    x, y = values(*shapes[0]), values(*shapes[1], seed=1)
    same_layer(nn.CosineSimilarity(**options), torch.nn.CosineSimilarity(**options), x, y)


@pytest.mark.parametrize(
    "options", [{}, {"p": 1.0}, {"p": 3, "eps": 0.1, "keepdim": True}, {"p": float("inf")}], ids=str
)
@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((4,), (4,)), ((3, 4), (4,)), ((0, 4), (0, 4))])
def test_pairwise_distance_equals_pytorch_s_to_second_order(shapes, options):
    torch = pytest.importorskip("torch")
    x, y = values(*shapes[0]), values(*shapes[1], seed=1)
    same_layer(nn.PairwiseDistance(**options), torch.nn.PairwiseDistance(**options), x, y)


def test_below_eps_a_length_is_constant_so_that_the_gradient_is_the_formula_s():
    torch = pytest.importorskip("torch")
    x, y = values(3, 2), values(3, 2, seed=1)
    theirs = torch.nn.functional.cosine_similarity(
        torch.tensor(x), torch.tensor(y), eps=5.0
    )  # its gradient ignores this
    np.testing.assert_allclose(F.cosine_similarity(x, y, eps=5.0).data, theirs, rtol=1e-12)
    t = ad.Tensor(x, requires_grad=True)
    (gradient,) = ad.gradients(F.cosine_similarity(t, y, eps=5.0).sum(), [t])
    np.testing.assert_allclose(gradient.data, y / 25, rtol=1e-12)


def test_one_hot_is_pytorch_s():
    torch = pytest.importorskip("torch")
    index = np.array([[0, 2], [1, 3]])
    for classes in (-1, 4, 6):
        ours, theirs = F.one_hot(index, classes), torch.nn.functional.one_hot(torch.tensor(index), classes)
        np.testing.assert_array_equal(ours.data, theirs)
        assert ours.dtype == np.int64
    assert F.one_hot(np.zeros((0, 2), int), 3).shape == (0, 2, 3)


X = np.ones((2, 3))


@pytest.mark.parametrize(("error", "message", "call"), [
    (IndexError, r"normalize: shape \(2, 3\) has no axis dim=2", lambda: F.normalize(X, dim=2)),
    (TypeError, r"normalize: got input of .*int64", lambda: F.normalize(X.astype(int))),
    (TypeError, r"normalize: p is a number", lambda: F.normalize(X, p="2")),
    (ValueError, r"cosine_similarity: shapes \(2, 3\) and \(4,\) do not broadcast", lambda: F.cosine_similarity(X, np.ones(4))),
    (ValueError, r"pairwise_distance: needs vectors", lambda: F.pairwise_distance(1.0, 2.0)),
    (TypeError, r"pairwise_distance: keepdim is True or False", lambda: F.pairwise_distance(X, X, keepdim="no")),
    (TypeError, r"CosineSimilarity: dim is an integer", lambda: nn.CosineSimilarity(1.5)),
    (ValueError, r"one_hot: class indices must be in 0 … 1, got 0 … 2", lambda: F.one_hot([0, 2], 2)),
    (ValueError, r"one_hot: class indices must be in 0 … 2, got -1 … 2", lambda: F.one_hot([-1, 2])),
    (ValueError, r"one_hot: got no class indices; say num_classes", lambda: F.one_hot(np.zeros(0, int))),
    (TypeError, r"one_hot: takes integers, not float64", lambda: F.one_hot([0.5])),
    (ValueError, r"one_hot: num_classes is at least 1, not 0", lambda: F.one_hot([0], 0)),
])  # fmt: skip
def test_an_error_names_the_function_what_it_got_and_what_it_expects(error, message, call):
    with pytest.raises(error, match=message):
        call()
    assert isinstance(F.normalize(X), ad.Tensor)
