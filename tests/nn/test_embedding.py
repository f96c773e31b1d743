"""Embedding, the bilinear layer and the layers that change shapes, against PyTorch."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
import nn.functional as F
from tests.against_torch import agrees_with_torch, same_layer

# Embedding


@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": 1}, {"padding_idx": -1}, {"scale_grad_by_freq": True},
     {"padding_idx": 0, "scale_grad_by_freq": True}, {"max_norm": 1.0}, {"max_norm": 1.5, "norm_type": 1.0}],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(4,), (2, 5), (), (2, 2, 2), (0,), (3, 0)])
def test_an_embedding_is_pytorch_s_in_value_gradients_and_second_derivatives(options, shape):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    index = np.random.default_rng(0).integers(0, 6, shape)
    reference = torch.nn.Embedding(6, 3, **options).double()
    layer = nn.Embedding(6, 3, **options, dtype="float64")
    assert layer.padding_idx == reference.padding_idx and list(layer.state_dict()) == ["weight"]
    if "scale_grad_by_freq" not in options and index.size:
        same_layer(layer, reference, index)
    else:  # PyTorch has no second derivative by frequency, and fails in that of no rows
        layer.load_state_dict({"weight": reference.weight.detach().numpy()})
        g = np.random.default_rng(1).normal(size=(*shape, 3))
        layer(index).backward(g)
        reference(torch.tensor(index)).backward(torch.tensor(g))
        np.testing.assert_allclose(layer.weight.grad.data, reference.weight.grad.numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(layer.weight.data, reference.weight.detach().numpy(), rtol=1e-6)  # max_norm writes


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(0, 3), st.lists(st.integers(0, 3), max_size=3), st.data())
def test_an_embedding_is_indexing_and_adds_up_repeated_rows(rows, width, shape, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    index = rng.integers(0, rows, shape)
    weight = ad.Tensor(rng.normal(size=(rows, width)), requires_grad=True)
    y = F.embedding(index, weight)
    np.testing.assert_array_equal(y.data, weight.data[index])
    g = rng.normal(size=y.shape)
    (d,) = ad.gradients(y, weight, g)
    expected = np.zeros((rows, width))
    for i in np.ndindex(*index.shape):
        expected[index[i]] += g[i]
    np.testing.assert_allclose(d.data, expected, rtol=1e-12, atol=1e-14)


def test_an_embedding_takes_any_integers_and_keeps_float32():
    layer = nn.Embedding(5, 2)
    for index in ([1, 4], np.array([1, 4], "uint8"), ad.Tensor([1, 4])):
        y = layer(index)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y.data, layer.weight.data[[1, 4]])
    y.sum().backward()
    assert layer.weight.grad.dtype == np.float32
    assert layer([]).shape == (0, 2)
    index = np.array([0, 1])
    y = layer(index)
    index[:] = 4  # changed after the fact
    (d,) = ad.gradients(y.sum(), layer.weight)
    assert d.data[:, 0].tolist() == [1, 1, 0, 0, 0]


def test_the_table_starts_standard_normal_with_a_padding_row_of_zeros():
    layer = nn.Embedding(2000, 50, padding_idx=-1, rng=np.random.default_rng(0))
    assert layer.padding_idx == 1999 and not layer.weight.data[-1].any()
    values = layer.weight.data[:-1]
    assert abs(values.mean()) < 5 / np.sqrt(values.size) and abs(values.var() - 1) < 5 * np.sqrt(2 / values.size)


def test_from_pretrained_takes_a_table_as_it_is():
    table = np.arange(6.0).reshape(3, 2)
    state = nn.get_rng_state()
    layer = nn.Embedding.from_pretrained(table, padding_idx=0)
    assert nn.get_rng_state() == state
    assert not layer.weight.requires_grad and layer.weight.dtype == np.float64
    np.testing.assert_array_equal(layer([2, 0]).data, table[[2, 0]])
    assert nn.Embedding.from_pretrained(table, freeze=False)([1]).requires_grad
    assert repr(layer).startswith("Embedding(3, 2, padding_idx=0)")


def test_an_embedding_refuses_what_it_cannot_look_up():
    layer = nn.Embedding(5, 2)
    for call, kind, words in [
        (lambda: layer([0, 5]), IndexError, r"Embedding\(5, 2\): index 5 is out of range for 5 rows"),
        (lambda: layer([-1]), IndexError, "index -1"),
        (lambda: nn.Embedding(0, 2)([0]), IndexError, "0 rows"),
        (lambda: layer([0.0]), TypeError, "Embedding.*float64.*integers"),
        (lambda: layer([True]), TypeError, "bool"),
        (lambda: nn.Embedding(5, 2, sparse=True), ValueError, "sparse"),
        (lambda: nn.Embedding(5, 2, padding_idx=5), ValueError, "padding_idx"),
        (lambda: nn.Embedding(5, 2, padding_idx=-6), ValueError, "padding_idx"),
        (lambda: nn.Embedding(5.0, 2), TypeError, "num_embeddings"),
        (lambda: nn.Embedding(5, -2), ValueError, "embedding_dim"),
        (lambda: nn.Embedding(5, 2, frequency=1), TypeError, "frequency"),
        (lambda: nn.Embedding.from_pretrained(np.ones(3)), ValueError, r"rows, width.*\(3,\)"),
        (lambda: F.embedding([0], np.ones(3)), ValueError, "embedding: needs"),
        (lambda: F.embedding([0], np.ones((3, 2)), sparse=True), ValueError, "sparse"),
    ]:
        with pytest.raises(kind, match=words):
            call()


# Bilinear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes, before", [((3, 4, 2), (5,)), ((2, 1, 3), ()), ((1, 2, 1), (2, 3)), ((2, 2, 2), (0,))])
def test_a_bilinear_layer_is_pytorch_s_in_value_gradients_and_second_derivatives(sizes, before, bias):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    layer = nn.Bilinear(*sizes, bias=bias, dtype="float64")
    reference = torch.nn.Bilinear(*sizes, bias=bias, dtype=torch.float64)
    if before == (0,):
        y = layer(np.zeros((0, 2)), np.zeros((0, 2)))
        y.sum().backward()
        assert y.shape == (0, 2) and not layer.weight.grad.data.any()
    else:
        same_layer(layer, reference, rng.normal(size=before + sizes[:1]), rng.normal(size=before + sizes[1:2]))
    assert repr(layer).split(" · ")[0] == repr(reference)
    assert (np.abs(layer.weight.data) <= 1 / np.sqrt(sizes[0])).all()


def test_a_bilinear_layer_keeps_float32_and_refuses_other_shapes():
    layer = nn.Bilinear(3, 4, 2)
    ones = lambda *shape: np.ones(shape, "float32")
    assert layer(ones(5, 3), ones(5, 4)).dtype == np.float32
    for call, kind, words in [
        (lambda: layer(ones(5, 4), ones(5, 4)), ValueError, r"Bilinear.*\(5, 4\).*\(\.\.\., 3\)"),
        (lambda: layer(ones(5, 3), ones(2, 4)), ValueError, "same axes"),
        (lambda: layer(np.ones((5, 3), int), ones(5, 4)), TypeError, "int64"),
        (lambda: nn.Bilinear(0, 1, 2), ValueError, "in1_features"),
        (lambda: F.bilinear(ones(3), ones(4), ones(2, 4, 3)), ValueError, "bilinear: needs"),
        (lambda: F.bilinear(ones(3), ones(4), ones(2, 3, 4), ones(3)), ValueError, "bias"),
    ]:
        with pytest.raises(kind, match=words):
            call()


# Shapes


@pytest.mark.parametrize("shape", [(2, 3, 4), (5,), (0, 3, 2), (2, 0, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("start, end", [(1, -1), (0, -1), (0, 1), (-2, -1), (0, 0)])
def test_flatten_is_pytorch_s(shape, start, end):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=shape)
    reference = torch.nn.Flatten(start, end)
    try:
        expected = tuple(reference(torch.tensor(x)).shape)
    except (IndexError, RuntimeError):
        with pytest.raises((IndexError, ValueError), match="Flatten"):
            nn.Flatten(start, end)(x)
        return
    assert nn.Flatten(start, end)(x).shape == expected
    assert repr(nn.Flatten(start, end)) == repr(reference)
    if x.size:
        agrees_with_torch(lambda t: nn.Flatten(start, end)(t) ** 2, lambda t: reference(t) ** 2, x)


def test_unflatten_undoes_flatten():
    torch = pytest.importorskip("torch")
    for shape, dim, sizes in [((5, 6), 1, (2, 3)), ((5, 6), -1, (2, -1)), ((6,), 0, (1, 6)), ((0, 4), 1, (2, 2)),
                              ((0, 4), 0, (-1, 2)), ((6, 2), 0, [3, 2])]:  # fmt: skip
        x = np.random.default_rng(0).normal(size=shape)
        y = nn.Unflatten(dim, sizes)(x)
        np.testing.assert_array_equal(y.data, torch.nn.Unflatten(dim, tuple(sizes))(torch.tensor(x)).numpy())
        np.testing.assert_array_equal(y.data.reshape(shape), x)
    t = ad.Tensor(np.ones((2, 6)), requires_grad=True)
    nn.Unflatten(1, (2, 3))(t).sum().backward()
    assert t.grad.shape == (2, 6)


def test_identity_takes_any_arguments_and_returns_its_input():
    x = ad.Tensor([1.0])
    layer = nn.Identity(54, unused=True)
    assert layer(x) is x and repr(layer) == "Identity()" and copy.deepcopy(layer)(x) is x


def test_shaping_refuses_axes_that_are_not_there():
    x = np.ones((2, 3))
    for call, kind, words in [
        (lambda: nn.Flatten(2)(x), IndexError, r"Flatten.*\(2, 3\).*start_dim=2"),
        (lambda: nn.Flatten(1, 0)(x), ValueError, "start_dim comes after"),
        (lambda: nn.Flatten(1.0), TypeError, "start_dim"),
        (lambda: nn.Unflatten(2, (1, 1))(x), IndexError, "dim=2"),
        (lambda: nn.Unflatten(1, (2, 2))(x), ValueError, r"Unflatten.*\(2, 3\)"),
        (lambda: nn.Unflatten(1, (2, -1))(x), ValueError, "cannot be divided"),
        (lambda: nn.Unflatten(1, (-1, -1)), ValueError, "one −1"),
        (lambda: nn.Unflatten(1, 3), TypeError, "tuple"),
    ]:
        with pytest.raises(kind, match=words):
            call()


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"scale_grad_by_freq": True}])
def test_a_table_with_max_norm_is_looked_up_twice_in_one_graph_as_in_pytorch(options):
    torch = pytest.importorskip("torch")
    table = np.random.default_rng(0).normal(size=(6, 3)) * 3
    pairs = np.array([[0, 1, 1], [2, 1, 0], [5, 4, 2]])
    layer = nn.Embedding.from_pretrained(table, freeze=False, max_norm=1.0, **options)
    reference = torch.nn.Embedding.from_pretrained(torch.tensor(table), freeze=False, max_norm=1.0, **options)
    outputs = [layer(row) for row in pairs]
    ((outputs[0] * outputs[1]).sum() + (outputs[2] ** 3).sum()).backward()
    expected = [reference(torch.tensor(row)) for row in pairs]
    ((expected[0] * expected[1]).sum() + (expected[2] ** 3).sum()).backward()
    np.testing.assert_allclose(layer.weight.grad.data, reference.weight.grad.numpy(), rtol=1e-6)
    np.testing.assert_allclose(layer.weight.data, reference.weight.detach().numpy(), rtol=1e-6)


def test_what_else_read_a_table_that_max_norm_rewrote_is_refused():
    layer = nn.Embedding.from_pretrained(np.full((3, 2), 5.0), freeze=False, max_norm=1.0)
    scores = layer([0]) @ layer.weight.T  # tied weights
    later = layer([1])
    with pytest.raises(RuntimeError, match="written or assigned after it was used"):
        (scores.sum() + later.sum()).backward()


def test_max_norm_refuses_a_table_that_is_a_result():
    weight = ad.Tensor(np.full((3, 2), 5.0), requires_grad=True)
    with pytest.raises(ValueError, match="result of multiply"):
        F.embedding([0], weight * 2, max_norm=1.0)
