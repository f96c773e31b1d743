"""A recurrent layer taken step by step gives what the fused layer gives, and leaves no trace."""

import numpy as np
import pytest

import autodiff as ad
import nn
from nn.recurrent.unrolling import unrolled

OPTIONS = [
    {},
    {"num_layers": 3},
    {"bidirectional": True, "num_layers": 2},
    {"batch_first": True, "bias": False},
    {"learn_initial_state": True, "num_layers": 2},
    {"num_layers": 2, "dropout": 0.5},
]
KINDS = [(nn.RNN, {}), (nn.RNN, {"nonlinearity": "relu"}), (nn.LSTM, {}), (nn.GRU, {})]
KINDS += [(nn.GRU, {"reset_after": False}), (nn.GRU, {"update": "new"})]


def flat(result):
    output, end = result
    return [output, *(end if isinstance(end, tuple) else (end,))]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind, more", KINDS)
def test_the_results_and_gradients_are_those_of_the_layer(kind, more, options, rng):
    layer = kind(3, 4, **more, **options, dtype="float64", rng=np.random.default_rng(1))
    for p in layer.parameters():
        p.data = rng.normal(size=p.shape) * 0.5
    x = rng.normal(size=(5, 2, 3))
    state = layer.rng.bit_generator.state
    fused = flat(layer(x))
    layer.rng.bit_generator.state = state
    result, hidden = unrolled(layer, x)
    ours = flat(result)
    params = list(layer.parameters())
    for a, b in zip(ours, fused, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-13)
    weights = [rng.normal(size=a.shape) for a in ours]
    for a, b in zip(ad.gradients(ours, params, weights), ad.gradients(fused, params, weights)):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-11)
    top = layer.num_layers - 1
    last = ad.stack(hidden[f"l{top}"]).numpy()
    output = ours[0].numpy().swapaxes(0, 1) if layer.batch_first else ours[0].numpy()
    np.testing.assert_array_equal(output[..., :4], last)
    assert len(hidden) == layer.num_layers * (1 + layer.bidirectional)


def test_single_sequences_and_given_states_are_taken(rng):
    layer = nn.LSTM(3, 4, dtype="float64")
    x, h, c = rng.normal(size=(5, 3)), rng.normal(size=(1, 4)), rng.normal(size=(1, 4))
    for a, b in zip(flat(unrolled(layer, x, (h, c))[0]), flat(layer(x, (h, c))), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_the_users_generator_does_not_notice():
    layer, before = nn.RNN(3, 4), nn.get_rng_state()
    unrolled(layer, np.ones((2, 1, 3), "float32"))
    assert str(nn.get_rng_state()) == str(before)
