"""Pixels and channels: PyTorch's numbers, the inverse, errors."""

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F
from tests.against_torch import same_layer


@pytest.mark.parametrize("r", [1, 2, 3])
@pytest.mark.parametrize("batch", [(), (2,), (2, 2)])
def test_pixel_shuffle_equals_pytorch_s_and_unshuffle_undoes_it(r, batch):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(*batch, 2 * r * r, 3, 4))
    y = same_layer(nn.PixelShuffle(r), torch.nn.PixelShuffle(r), x)
    z = same_layer(nn.PixelUnshuffle(r), torch.nn.PixelUnshuffle(r), y.data)
    np.testing.assert_array_equal(z.data, x)
    assert repr(nn.PixelShuffle(r)) == repr(torch.nn.PixelShuffle(r))
    assert repr(nn.PixelUnshuffle(r)) == repr(torch.nn.PixelUnshuffle(r))


def test_an_empty_batch_passes_through():
    x = ad.Tensor(np.ones((0, 8, 3, 4), "float32"), requires_grad=True)
    y = nn.PixelShuffle(2)(x)
    assert y.shape == (0, 2, 6, 8) and nn.PixelUnshuffle(2)(y).shape == x.shape and y.dtype == np.float32
    assert ad.gradients(y.sum(), [x])[0].shape == x.shape


@pytest.mark.parametrize(("error", "message", "call"), [
    (ValueError, r"pixel_shuffle: got input of shape \(3, 2, 2\), expects \(..., C · 4, H, W\)", lambda: F.pixel_shuffle(np.ones((3, 2, 2)), 2)),
    (ValueError, r"pixel_unshuffle: got input of shape \(3, 2, 3\), expects \(..., C, H · 2, W · 2\)", lambda: F.pixel_unshuffle(np.ones((3, 2, 3)), 2)),
    (ValueError, r"PixelShuffle: upscale_factor is at least 1, not 0", lambda: nn.PixelShuffle(0)),
    (TypeError, r"PixelUnshuffle: downscale_factor is an integer", lambda: nn.PixelUnshuffle(2.0)),
])  # fmt: skip
def test_an_error_names_what_it_got_and_what_it_expects(error, message, call):
    with pytest.raises(error, match=message):
        call()
