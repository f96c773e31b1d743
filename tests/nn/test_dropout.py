"""Dropout: its law, its derivatives, its modes, the documents' example."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
import nn.functional as F
from tests.documents import ENTRIES


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), max_size=4), st.floats(0, 1), st.booleans(), st.integers(0, 1000))
def test_values_are_zero_or_scaled_and_gradients_have_the_same_mask(shape, p, inverted, seed):
    rng = np.random.default_rng(seed)
    x = ad.Tensor(rng.uniform(1, 2, shape), requires_grad=True)
    y = F.dropout(x, p, inverted=inverted, rng=rng)
    scale = 1 / (1 - p) if inverted and p < 1 else 1.0
    kept = y.data != 0
    np.testing.assert_allclose(y.data, np.where(kept, x.data * scale, 0), rtol=1e-6)
    g = rng.uniform(1, 2, shape)
    (d,) = ad.gradients(y, x, g)
    np.testing.assert_allclose(d.data, np.where(kept, g * scale, 0), rtol=1e-6)
    assert y.shape == x.shape and y.dtype == np.float64


def test_values_are_dropped_with_probability_p_and_the_mean_stays():
    rng = np.random.default_rng(0)
    x = np.ones(100_000, "float32")
    for p in (0.1, 0.5, 0.9):
        y = F.dropout(x, p, rng=rng)
        assert y.dtype == np.float32
        deviation = np.sqrt(p * (1 - p) / x.size)
        assert abs((y.data == 0).mean() - p) < 5 * deviation
        assert abs(y.data.mean() - 1) < 5 * deviation / (1 - p)
    assert not F.dropout(x, 1.0).data.any()
    np.testing.assert_array_equal(F.dropout(x, 0.0).data, x)


@pytest.mark.parametrize("shape", [(200, 5, 3, 4), (200, 5, 6), (0, 3, 2, 2)])
def test_dropout2d_drops_whole_channels_of_samples(shape):
    rng = np.random.default_rng(0)
    x = ad.Tensor(rng.uniform(1, 2, shape), requires_grad=True)
    layer = nn.Dropout2d(0.4, rng=rng)
    y = layer(x)
    kept = (y.data != 0).reshape(*shape[:2], int(np.prod(shape[2:])))
    assert (kept.all(axis=2) | ~kept.any(axis=2)).all()
    np.testing.assert_allclose(y.data, np.where(y.data != 0, x.data / 0.6, 0))
    if x.size:
        assert abs(kept.mean() - 0.6) < 5 * np.sqrt(0.24 / 1000)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.data, (y.data != 0) / 0.6)
    np.testing.assert_array_equal(layer.eval()(x).data, x.data)


def test_evaluation_is_the_identity_as_pytorch_s():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(3, 4))
    for ours, theirs in [(nn.Dropout, torch.nn.Dropout), (nn.Dropout2d, torch.nn.Dropout2d)]:
        y = ours(0.3).eval()(x[None, None])
        np.testing.assert_array_equal(y.data, theirs(0.3).eval()(torch.tensor(x[None, None])).numpy())
        assert repr(ours(0.3)) == repr(theirs(0.3))
        assert not list(ours().state_dict())


def test_second_derivatives_go_through_the_mask():
    x = ad.Tensor(np.array([1.0, 2.0, 3.0, 4.0]), requires_grad=True)
    y = F.dropout(x**3, 0.5, rng=np.random.default_rng(3))
    (d,) = ad.gradients(y.sum(), x, create_graph=True)
    (e,) = ad.gradients(d.sum(), x)
    np.testing.assert_allclose(e.data, np.where(y.data != 0, 12 * x.data, 0))


def test_the_documents_example_is_reproduced():
    entry = ENTRIES["dropout-example-3"]
    expected = entry["expected"]
    h, mask, keep = (np.array(entry["inputs"][key]) for key in ("h", "mask", "keep_probability"))
    p = expected["equivalent_pytorch_p"]
    assert p == pytest.approx(1 - keep)

    class Given(np.random.Generator):
        """Draws this mask."""

        def random(self, size=None, dtype=np.float64, out=None):
            return np.where(mask == 1, 0.0, 0.99).astype(dtype)

    rng = Given(np.random.PCG64())
    documents, pytorch = (nn.Dropout(p, inverted=i, rng=rng) for i in (False, True))
    np.testing.assert_allclose(documents(h).data, expected["train"])
    np.testing.assert_allclose(documents.eval()(h).data, expected["test_scaled"])
    np.testing.assert_allclose(pytorch(h).data, expected["train_inverted"])
    np.testing.assert_allclose(pytorch.eval()(h).data, expected["test_inverted"])
    many = F.dropout(np.tile(h, (200_000, 1)), p, inverted=False, rng=np.random.default_rng(0)).data
    np.testing.assert_allclose(many.var(axis=0), expected["variance_of_masked_unit"], rtol=0.02)
    np.testing.assert_allclose(many.mean(axis=0), keep * h, rtol=0.02)


def test_draws_come_from_the_given_generator_or_the_seeded_one():
    x = np.ones(50)
    one, other = (F.dropout(x, rng=np.random.default_rng(5)).data for _ in range(2))
    np.testing.assert_array_equal(one, other)
    layer = nn.Dropout()
    nn.manual_seed(5)
    first, second = layer(x).data, layer(x).data
    nn.manual_seed(5)
    np.testing.assert_array_equal(layer(x).data, first)
    np.testing.assert_array_equal(first, one)
    assert (first != second).any()
    layer = nn.Dropout(rng=np.random.default_rng(1))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(copy.deepcopy(layer)(x).data, twin(x).data)


def test_without_recording_nothing_is_recorded():
    x = ad.Tensor(np.ones(5), requires_grad=True)
    with ad.no_grad():
        assert not F.dropout(x).requires_grad


def test_bad_input_is_refused_with_the_layer_s_name():
    for call, kind, words in [
        (lambda: nn.Dropout(1.5), ValueError, "Dropout: p"),
        (lambda: nn.Dropout(-0.1), ValueError, "Dropout: p"),
        (lambda: nn.Dropout(float("nan")), ValueError, "p"),
        (lambda: nn.Dropout2d("0.5"), TypeError, "Dropout2d: p"),
        (lambda: nn.Dropout(rng=3), TypeError, "Generator"),
        (lambda: F.dropout(np.ones(3), 2), ValueError, "dropout: p"),
        (lambda: F.dropout(np.ones(3), rng=0), TypeError, "Generator"),
        (lambda: nn.Dropout()(np.ones(3, int)), TypeError, r"Dropout\(p=0.5\).*int64.*astype"),
        (lambda: nn.Dropout2d()(np.ones((3, 4))), ValueError, r"Dropout2d.*\(3, 4\).*\(N, C, H, W\)"),
    ]:
        with pytest.raises(kind, match=words):
            call()


@pytest.mark.parametrize(("kind", "shape", "channels"), [
    ("Dropout1d", (200, 5, 6), 2), ("Dropout1d", (500, 6), 1), ("Dropout3d", (200, 5, 2, 1, 3), 2), ("Dropout3d", (500, 2, 1, 3), 1),
])  # fmt: skip
def test_whole_channels_are_dropped_with_probability_p(kind, shape, channels):
    layer = getattr(nn, kind)(0.4, rng=np.random.default_rng(0))
    y = layer(np.ones(shape)).data.reshape(np.prod(shape[:channels]), -1)
    assert (y == y[:, :1]).all() and set(np.unique(y.round(6))) == {0.0, round(1 / 0.6, 6)}
    assert abs((y[:, 0] == 0).mean() - 0.4) < 5 * np.sqrt(0.24 / len(y))
    with pytest.raises(ValueError, match=rf"{kind}\(p=0.4\): got input of shape \(6,\)"):
        layer(np.ones(6))


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_alpha_dropout_has_pytorch_s_two_values_and_keeps_mean_and_variance(p):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=40_000)
    t = ad.Tensor(x, requires_grad=True)
    y = F.alpha_dropout(t, p, training=True, rng=np.random.default_rng(1))
    theirs = torch.nn.functional.alpha_dropout(torch.ones(1000, dtype=torch.float64), p, training=True).unique().numpy()
    ones = nn.AlphaDropout(p, rng=np.random.default_rng(2))(np.ones(1000))
    np.testing.assert_allclose(np.unique(ones.data.round(12)), np.unique(theirs.round(12)), rtol=1e-11)
    if p < 1:
        assert abs(y.data.mean()) < 0.03 and abs(y.data.var() - 1) < 0.03
    (g,) = ad.gradients(y.sum(), [t])
    dropped = y.data == y.data.min() if p < 1 else np.ones(len(x), bool)
    assert not g.data[np.isclose(y.data, theirs.min()) & dropped].any()
    assert nn.AlphaDropout(p).eval()(x).data is x
    assert F.alpha_dropout(np.ones((0, 2), "float32"), p, True).dtype == np.float32


def test_dropout2d_takes_three_axes_as_a_batch_of_signals_as_pytorch_s():
    y = nn.Dropout2d(0.5, rng=np.random.default_rng(0))(np.ones((50, 4, 3))).data
    assert (y == y[:, :, :1]).all() and (y != y[:, :1]).any()
